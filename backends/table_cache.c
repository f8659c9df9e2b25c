/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/table_cache.h"

#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("table_cache: %s", msg)
#include <uthash.h>
#include <utlist.h>

struct entry {
	UT_hash_handle hh;
	struct entry *prev, *next;
	struct table_cached answer;
	size_t n_key;
	char bytes[];		/* key, value */
};

struct table_cache {
	struct entry *by_key;
	struct entry *by_use;	/* the one used longest ago comes first */
	size_t max;
};

struct table_cache *table_cache_new(size_t max)
{
	struct table_cache *c = mem_alloc(sizeof *c);

	must(max > 0);
	c->max = max;
	return c;
}

static void entry_drop(struct table_cache *c, struct entry *e)
{
	HASH_DELETE(hh, c->by_key, e);
	DL_DELETE(c->by_use, e);
	free(e);
}

void table_cache_free(struct table_cache **cp)
{
	struct table_cache *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	while (c->by_use)
		entry_drop(c, c->by_use);
	free(c);
}

static struct entry *entry_find(const struct table_cache *c, struct str key)
{
	struct entry *e;

	HASH_FIND(hh, c->by_key, key.p, key.n, e);
	return e;
}

bool table_cache_find(struct table_cache *c, struct str key,
    struct table_cached *out)
{
	struct entry *e = entry_find(c, key);

	if (!e)
		return false;
	DL_DELETE(c->by_use, e);
	DL_APPEND(c->by_use, e);
	*out = e->answer;
	return true;
}

void table_cache_put(struct table_cache *c, struct str key,
    const struct table_cached *answer)
{
	struct entry *old = entry_find(c, key);
	struct entry *e = mem_alloc(sizeof *e + key.n + answer->value.n);

	memcpy(e->bytes, key.p, key.n);
	e->n_key = key.n;
	e->answer = *answer;
	e->answer.value.p = e->bytes + key.n;
	if (answer->value.n)
		memcpy(e->bytes + key.n, answer->value.p, answer->value.n);
	if (old)
		entry_drop(c, old);
	else if (HASH_COUNT(c->by_key) >= c->max)
		entry_drop(c, c->by_use);
	HASH_ADD_KEYPTR(hh, c->by_key, e->bytes, e->n_key, e);
	DL_APPEND(c->by_use, e);
}

size_t table_cache_n(const struct table_cache *c)
{
	return HASH_COUNT(c->by_key);
}
