/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TABLE_MAP_H
#define BACKENDS_TABLE_MAP_H
/*
 * table_map - a table's text file, read whole and made ready to be searched
 *
 * Exact keys are found by hash; expressions are tried in the file's order.
 * A key may stand in several lines only if their values are the same.
 *
 * Shapes   fold: keys of the file are taken in lower case, expressions match
 *          in either; who searches has lower case already.
 * Units    bytes, as in textfile.h. Memory: the file's size, and some 30
 *          bytes per line.
 * Errors   NULL with err, "file:line: what is wrong, what was expected (and
 *          n more)": a file with one bad line is not used at all. A file that
 *          changes while it is read is not used either.
 * Owns     a copy of all.
 * Thread   table_map_load() any, since it blocks; the rest one at a time.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "backends/conf.h"
#include "backends/table.h"

struct err;
struct table_map;

/* stop: gives up soon after it becomes true; may be NULL. */
struct table_map *table_map_load(const char *path,
    enum conf_table_format format, bool fold, const atomic_bool *stop,
    struct err *err);
void table_map_free(struct table_map **m);

/* FOUND: the value, written to "to" or a view of the map. FAILED with why: an
 * expression gave up, or the value becomes too long. */
enum table_verdict table_map_find(const struct table_map *m, struct str key,
    char to[TABLE_VALUE_MAX], struct str *value_out, const char **why_out);

/* Lines that are in use. */
size_t table_map_n(const struct table_map *m);

/* Each value with its line; false as soon as visit() says so. A value with
 * "$" in it is not final in a map of expressions, and left out. */
typedef bool table_map_visit_fn(void *arg, struct str value, unsigned line);
bool table_map_values(const struct table_map *m, table_map_visit_fn *visit,
    void *arg);
#endif
