/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TABLE_CACHE_H
#define BACKENDS_TABLE_CACHE_H
/*
 * table_cache - answers of a source, each with its age
 *
 * Shapes   keys and values: any bytes. At most max answers; beyond it the
 *          one that was neither put nor found longest goes.
 * Units    seconds of clock.h.
 * Errors   none.
 * Owns     copies of all. What table_cache_find() shows is valid until the
 *          next table_cache_put().
 * Thread   its owner's.
 * Not here how long an answer is good: its owner compares ages.
 */
#include <stddef.h>

#include "backends/table.h"
#include "proxy/base/str.h"

struct table_cache;

struct table_cached {
	enum table_verdict verdict;	/* FOUND or MISSING */
	struct str value;
	double since;
};

struct table_cache *table_cache_new(size_t max);
void table_cache_free(struct table_cache **c);

/* False: there is none. */
bool table_cache_find(struct table_cache *c, struct str key,
    struct table_cached *out);

void table_cache_put(struct table_cache *c, struct str key,
    const struct table_cached *answer);

size_t table_cache_n(const struct table_cache *c);
#endif
