/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_TABLE_INPUT_H
#define ADMIN_TABLE_INPUT_H
/*
 * table_input - a table's text, sorted, for mailweir table build
 *
 * Units    memory: the text's size and 50 bytes per line, half of these only
 *          while it is sorted; text that is in order already is not sorted.
 * Errors   NULL, after bad() was told of each line: what is wrong, what was
 *          expected. A key may stand in several lines if their values are
 *          the same.
 * Owns     all; keys and values are views of it.
 * Thread   a command's own process: it blocks.
 */
#include <stdbool.h>
#include <stdio.h>

#include "backends/conf.h"
#include "proxy/base/str.h"

struct table_input;

struct table_input_news {
	/* Called often: n of all; all 0: nobody knows. */
	void (*progress)(void *arg, const char *what, size_t n, size_t all);
	/* line 0: it could not be read */
	void (*bad)(void *arg, size_t line, const char *why);
	void *arg;
};

struct table_input *table_input_read(FILE *from,
    enum conf_table_format format, bool fold,
    const struct table_input_news *news);
void table_input_free(struct table_input **in);

size_t table_input_n(const struct table_input *in);

/* In ascending order of the keys' bytes. */
void table_input_at(const struct table_input *in, size_t i,
    struct str *key_out, struct str *value_out);
#endif
