/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_TABLE_INPUT_H
#define ADMIN_TABLE_INPUT_H
/*
 * table_input - a table's text, sorted, for mailweir table build
 *
 * Units    memory: the text's size and 50 bytes per line, half of these only
 *          while it is sorted; text that is in order already is not sorted.
 * Errors   NULL with err: "line 12: what is wrong, what was expected (and n
 *          more)". A key may stand in several lines if their values are the
 *          same.
 * Owns     all; keys and values are views of it.
 * Thread   a command's own process: it blocks.
 */
#include <stdbool.h>
#include <stdio.h>

#include "backends/conf.h"
#include "proxy/base/str.h"

struct err;
struct table_input;

/* Called often: n of all; all 0: nobody knows. */
typedef void table_input_progress_fn(void *arg, const char *what, size_t n,
    size_t all);

struct table_input *table_input_read(FILE *from,
    enum conf_table_format format, bool fold,
    table_input_progress_fn *progress, void *arg, struct err *err);
void table_input_free(struct table_input **in);

size_t table_input_n(const struct table_input *in);

/* In ascending order of the keys' bytes. */
void table_input_at(const struct table_input *in, size_t i,
    struct str *key_out, struct str *value_out);
#endif
