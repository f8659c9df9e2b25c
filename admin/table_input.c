/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/table_input.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/table_popmap.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define READ_BYTES ((size_t)1 << 20)
#define LINES_PER_LOOK 4096

struct entry {
	const char *key, *value;
	uint16_t n_key, n_value;
	uint32_t line;
};

struct table_input {
	char *text;
	size_t n_text;
	struct entry *entries;
	size_t n, room;
	const struct table_input_news *news;
	bool has_bad_lines;
};

void table_input_free(struct table_input **inp)
{
	struct table_input *in = *inp;

	if (!in)
		return;
	*inp = NULL;
	free(in->text);
	free(in->entries);
	free(in);
}

static void bad_line(struct table_input *in, size_t line, const char *why)
{
	in->has_bad_lines = true;
	in->news->bad(in->news->arg, line, why);
}

static void read_all(struct table_input *in, FILE *from)
{
	size_t room = 0, got;

	do {
		if (room - in->n_text < READ_BYTES) {
			room = room ? room * 2 : READ_BYTES * 4;
			in->text = mem_realloc(in->text, room);
		}
		got = fread(in->text + in->n_text, 1, READ_BYTES, from);
		in->n_text += got;
		in->news->progress(in->news->arg, "bytes read:", in->n_text, 0);
	} while (got > 0);
	if (ferror(from))
		bad_line(in, 0, strerror(errno));
}

static void fold_key(struct table_input *in, struct str key)
{
	char *p = in->text + (key.p - in->text);

	for (size_t i = 0; i < key.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
}

static void add(struct table_input *in, struct str key, struct str value,
    size_t line)
{
	if (in->n == in->room) {
		in->room = in->room ? in->room * 2 : 4096;
		in->entries = mem_realloc(in->entries,
		    in->room * sizeof *in->entries);
	}
	in->entries[in->n++] = (struct entry){ key.p, value.p,
		(uint16_t)key.n, (uint16_t)value.n, (uint32_t)line };
}

static void take_lines(struct table_input *in, enum conf_table_format format,
    bool fold)
{
	size_t line = 0;
	struct str key, value;
	struct err err;

	for (size_t at = 0; at < in->n_text;) {
		char *p = in->text + at;
		const char *end = memchr(p, '\n', in->n_text - at);
		size_t n = end ? (size_t)(end - p) : in->n_text - at;
		at += n + 1;
		if (++line % LINES_PER_LOOK == 0)
			in->news->progress(in->news->arg, "lines parsed:", line, 0);
		switch (popmap_parse(format, p, n, &key, &value, &err)) {
		case POPMAP_NOTHING:
			break;
		case POPMAP_BAD:
			bad_line(in, line, err.text);
			break;
		case POPMAP_ENTRY:
			if (!popmap_is_key(key)) {
				bad_line(in, line, "no key of 1 to 511 bytes "
				    "without control characters");
				break;
			}
			if (fold)
				fold_key(in, key);
			add(in, key, value, line);
			break;
		}
	}
}

/* --- order ---------------------------------------------------------------- */

static struct str key_of(const struct entry *e)
{
	return (struct str){ e->key, e->n_key };
}

static struct str value_of(const struct entry *e)
{
	return (struct str){ e->value, e->n_value };
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = memcmp(x->key, y->key, x->n_key < y->n_key ? x->n_key :
	    y->n_key);

	return order ? order : (int)x->n_key - (int)y->n_key;
}

static void sort(struct table_input *in)
{
	for (size_t i = 1; i < in->n; i++) {
		if (compare(&in->entries[i - 1], &in->entries[i]) <= 0)
			continue;
		in->news->progress(in->news->arg, "lines to sort:", in->n, in->n);
		qsort(in->entries, in->n, sizeof *in->entries, compare);
		return;
	}
}

static void drop_doubles(struct table_input *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->n; i++) {
		const struct entry *e = &in->entries[i];
		const struct entry *last = n ? &in->entries[n - 1] : NULL;
		struct err err;
		if (!last || !str_eq(key_of(last), key_of(e))) {
			in->entries[n++] = *e;
			continue;
		}
		if (str_eq(value_of(last), value_of(e)))
			continue;
		err_set(&err, "\"%.*s\" has another value in line %u; "
		    "expected one", STR_ARG(key_of(e)), last->line);
		bad_line(in, e->line, err.text);
	}
	in->n = n;
}

struct table_input *table_input_read(FILE *from,
    enum conf_table_format format, bool fold,
    const struct table_input_news *news)
{
	struct table_input *in = mem_alloc(sizeof *in);

	in->news = news;
	read_all(in, from);
	if (!in->has_bad_lines)
		take_lines(in, format, fold);
	if (!in->has_bad_lines) {
		sort(in);
		drop_doubles(in);
	}
	if (in->has_bad_lines)
		table_input_free(&in);
	return in;
}

size_t table_input_n(const struct table_input *in)
{
	return in->n;
}

void table_input_at(const struct table_input *in, size_t i,
    struct str *key_out, struct str *value_out)
{
	*key_out = key_of(&in->entries[i]);
	*value_out = value_of(&in->entries[i]);
}
