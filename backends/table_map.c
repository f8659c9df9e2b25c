/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/table_map.h"

#include <stdlib.h>

#include "backends/pattern_search.h"
#include "backends/table_popmap.h"
#include "backends/textfile.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define LINES_PER_LOOK 4096	/* at stop */

/* Offsets are those of the text. */
struct entry {
	uint32_t key, value, line;
	uint16_t n_key, n_value;
};

struct table_map {
	char *text;
	size_t n_text;
	struct entry *entries;
	size_t n, room;
	uint32_t *slots;		/* entry + 1; 0: empty */
	size_t n_slots;			/* a power of two */
	struct pattern_search **expressions;	/* one per entry, or NULL */
};

struct loading {
	struct table_map *map;
	const char *path;
	enum conf_table_format format;
	bool folds;
	const atomic_bool *stop;
	size_t n_bad;
	struct err first;		/* of the bad lines */
};

void table_map_free(struct table_map **mp)
{
	struct table_map *m = *mp;

	if (!m)
		return;
	*mp = NULL;
	for (size_t i = 0; m->expressions && i < m->n; i++)
		pattern_search_free(&m->expressions[i]);
	free(m->expressions);
	free(m->slots);
	free(m->entries);
	free(m->text);
	free(m);
}

static struct str key_of(const struct table_map *m, const struct entry *e)
{
	return (struct str){ m->text + e->key, e->n_key };
}

static struct str value_of(const struct table_map *m, const struct entry *e)
{
	return (struct str){ m->text + e->value, e->n_value };
}

/* --- exact keys ------------------------------------------------------------ */

/* FNV-1a. The keys are the operator's, so nobody can choose them badly. */
static uint64_t hash(struct str s)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

/* The slot that has the key, or the empty one where it belongs. */
static uint32_t *slot_of(const struct table_map *m, struct str key)
{
	size_t at = hash(key) & (m->n_slots - 1);

	while (m->slots[at] &&
	    !str_eq(key_of(m, &m->entries[m->slots[at] - 1]), key))
		at = (at + 1) & (m->n_slots - 1);
	return &m->slots[at];
}

/* At most half of the slots are in use. */
static void grow(struct table_map *m)
{
	m->room = m->room ? m->room * 2 : 64;
	m->entries = mem_realloc(m->entries, m->room * sizeof *m->entries);
	free(m->slots);
	m->n_slots = m->room * 2;
	m->slots = mem_alloc(m->n_slots * sizeof *m->slots);
	for (size_t i = 0; i < m->n; i++)
		*slot_of(m, key_of(m, &m->entries[i])) = (uint32_t)i + 1;
}

/* --- lines ------------------------------------------------------------------- */

static void bad_line(struct loading *l, unsigned line, const char *why)
{
	if (l->n_bad++ == 0)
		err_set(&l->first, "%s:%u: %s", l->path, line, why);
}

static void fold_key(struct table_map *m, struct str key)
{
	for (size_t i = 0; i < key.n; i++) {
		char *c = &m->text[key.p - m->text + (ptrdiff_t)i];
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	}
}

static void add_expression(struct loading *l, const struct entry *e,
    struct err *err)
{
	struct table_map *m = l->map;
	struct pattern_search *p = pattern_search_new(key_of(m, e), l->folds,
	    err);

	if (!p) {
		bad_line(l, e->line, err->text);
		return;
	}
	if (m->n == m->room) {
		m->room = m->room ? m->room * 2 : 64;
		m->entries = mem_realloc(m->entries,
		    m->room * sizeof *m->entries);
		m->expressions = mem_realloc(m->expressions,
		    m->room * sizeof *m->expressions);
	}
	m->expressions[m->n] = p;
	m->entries[m->n++] = *e;
}

static void add_exact(struct loading *l, const struct entry *e,
    struct err *err)
{
	struct table_map *m = l->map;

	if (m->n == m->room)
		grow(m);
	uint32_t *slot = slot_of(m, key_of(m, e));
	if (*slot) {
		const struct entry *old = &m->entries[*slot - 1];
		if (str_eq(value_of(m, old), value_of(m, e)))
			return;
		err_set(err, "\"%.*s\" has another value in line %u; "
		    "expected one", STR_ARG(key_of(m, e)), old->line);
		bad_line(l, e->line, err->text);
		return;
	}
	m->entries[m->n++] = *e;
	*slot = (uint32_t)m->n;
}

static void take_line(struct loading *l, size_t at, size_t n, unsigned line)
{
	struct table_map *m = l->map;
	struct str key, value;
	struct err err;

	switch (popmap_parse(l->format, m->text + at, n, &key, &value, &err)) {
	case POPMAP_NOTHING:
		return;
	case POPMAP_BAD:
		bad_line(l, line, err.text);
		return;
	case POPMAP_ENTRY:
		break;
	}
	if (key.n > UINT16_MAX) {
		bad_line(l, line, "an expression of over 65535 bytes");
		return;
	}
	struct entry e = { .key = (uint32_t)(key.p - m->text),
		.value = (uint32_t)(value.p - m->text), .line = line,
		.n_key = (uint16_t)key.n, .n_value = (uint16_t)value.n };
	if (l->format == CONF_TABLE_REGEX) {
		add_expression(l, &e, &err);
	} else {
		if (l->folds)
			fold_key(m, key);
		add_exact(l, &e, &err);
	}
}

static bool is_stopped(const struct loading *l)
{
	return l->stop && atomic_load(l->stop);
}

static bool take_lines(struct loading *l, struct err *err)
{
	const struct table_map *m = l->map;
	unsigned line = 0;

	for (size_t at = 0; at < m->n_text;) {
		const char *end = memchr(m->text + at, '\n', m->n_text - at);
		size_t n = end ? (size_t)(end - (m->text + at)) :
		    m->n_text - at;
		if (++line % LINES_PER_LOOK == 0 && is_stopped(l))
			return err_set(err, "stopped");
		take_line(l, at, n, line);
		at += n + 1;
	}
	if (l->n_bad > 1)
		return err_set(err, "%.200s (and %zu more)", l->first.text,
		    l->n_bad - 1);
	if (l->n_bad)
		*err = l->first;
	return l->n_bad == 0;
}

struct table_map *table_map_load(const char *path,
    enum conf_table_format format, bool fold, const atomic_bool *stop,
    struct err *err)
{
	struct table_map *m = mem_alloc(sizeof *m);
	struct loading l = { .map = m, .path = path, .format = format,
		.folds = fold, .stop = stop };

	if (!textfile_read(path, "a table of type lmdb", stop, &m->text,
	    &m->n_text, err) || !take_lines(&l, err))
		table_map_free(&m);
	return m;
}

/* --- searching ------------------------------------------------------------------- */

/*
 *	value = *(char / "$" DIGIT)
 */
static bool fill_in(struct str value, const struct str *groups,
    char to[TABLE_VALUE_MAX], struct str *out)
{
	size_t n = 0;

	for (size_t i = 0; i < value.n; i++) {
		struct str piece = { value.p + i, 1 };
		if (piece.p[0] == '$' && i + 1 < value.n &&
		    value.p[i + 1] >= '1' && value.p[i + 1] <= '9')
			piece = groups[value.p[++i] - '0'];
		if (piece.n > TABLE_VALUE_MAX - n)
			return false;
		if (piece.n)
			memcpy(to + n, piece.p, piece.n);
		n += piece.n;
	}
	*out = (struct str){ to, n };
	return true;
}

static enum table_verdict try_expressions(const struct table_map *m,
    struct str key, char to[TABLE_VALUE_MAX], struct str *value_out,
    const char **why_out)
{
	struct str groups[PATTERN_GROUPS];

	for (size_t i = 0; i < m->n; i++) {
		switch (pattern_search(m->expressions[i], key, groups)) {
		case PATTERN_NO:
			continue;
		case PATTERN_GAVE_UP:
			*why_out = "an expression takes too long";
			return TABLE_FAILED;
		case PATTERN_YES:
			break;
		}
		if (fill_in(value_of(m, &m->entries[i]), groups, to,
		    value_out))
			return TABLE_FOUND;
		*why_out = "the value becomes too long";
		return TABLE_FAILED;
	}
	return TABLE_MISSING;
}

enum table_verdict table_map_find(const struct table_map *m, struct str key,
    char to[TABLE_VALUE_MAX], struct str *value_out, const char **why_out)
{
	if (m->n == 0)
		return TABLE_MISSING;
	if (m->expressions)
		return try_expressions(m, key, to, value_out, why_out);
	uint32_t slot = *slot_of(m, key);
	if (!slot)
		return TABLE_MISSING;
	*value_out = value_of(m, &m->entries[slot - 1]);
	return TABLE_FOUND;
}

size_t table_map_n(const struct table_map *m)
{
	return m->n;
}

bool table_map_values(const struct table_map *m, table_map_visit_fn *visit,
    void *arg)
{
	for (size_t i = 0; i < m->n; i++) {
		struct str value = value_of(m, &m->entries[i]);
		if (m->expressions && memchr(value.p, '$', value.n))
			continue;
		if (!visit(arg, value, m->entries[i].line))
			return false;
	}
	return true;
}
