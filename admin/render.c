/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"

void render_init(struct render *r, bool wants_json, struct buf *out)
{
	*r = (struct render){ .wants_json = wants_json, .out = out };
}

void render_fini(struct render *r)
{
	json_decref(r->rows);
	r->rows = NULL;
}

static int put_json_piece(const char *p, size_t n, void *out)
{
	return buf_append(out, p, n) ? 0 : -1;
}

static void put_json(struct render *r, const json_t *value)
{
	(void)json_dump_callback(value, put_json_piece, r->out, JSON_COMPACT);
}

/* --- cells ----------------------------------------------------------------- */

/* As a person reads it; the caller frees. */
static char *cell_text(const json_t *v)
{
	struct buf b;

	switch (json_typeof(v)) {
	case JSON_STRING:
		return mem_strdup(json_string_length(v) ?
		    json_string_value(v) : "-");
	case JSON_INTEGER:
		return mem_printf("%lld", (long long)json_integer_value(v));
	case JSON_REAL:
		return mem_printf("%.3f", json_real_value(v));
	case JSON_TRUE:
		return mem_strdup("yes");
	case JSON_FALSE:
		return mem_strdup("no");
	case JSON_OBJECT:
		v = json_object_get(v, "summary");
		return v ? cell_text(v) : mem_strdup("-");
	case JSON_NULL:
		return mem_strdup("-");
	case JSON_ARRAY:
		break;
	}
	buf_init(&b, 0);
	for (size_t i = 0; i < json_array_size(v); i++) {
		char *one = cell_text(json_array_get(v, i));
		buf_printf(&b, "%s%s", i ? "," : "", one);
		free(one);
	}
	char *all = b.len ? mem_str(buf_view(&b)) : mem_strdup("-");
	buf_fini(&b);
	return all;
}

/* In columns of a terminal, as far as one can tell: characters. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_puts(out, " ");
}

/* Numbers stand right; nothing stands behind the last cell. */
static void put_cell(struct buf *out, const char *text, size_t wide,
    bool is_number, bool is_first, bool is_last)
{
	size_t n = width(text), pad = n < wide ? wide - n : 0;

	if (is_number)
		put_spaces(out, pad);
	if (is_first && *text == '=')
		buf_puts(out, " ");
	buf_puts(out, text);
	if (!is_last)
		put_spaces(out, is_number ? 2 : pad + 2);
}

/* --- lists ------------------------------------------------------------------- */

/* The names of the columns, as NUL-terminated strings. */
static size_t split_columns(const char *columns,
    char names[RENDER_COLUMNS_MAX][32])
{
	struct str rest = str_from(columns);
	size_t n = 0;

	while (rest.n) {
		struct str one = str_split(rest, ' ', &rest);
		must(n < RENDER_COLUMNS_MAX && one.n < sizeof names[0]);
		memcpy(names[n], one.p, one.n);
		names[n++][one.n] = '\0';
	}
	return n;
}

static void put_heads(struct render *r, char names[][32], size_t n,
    const bool *is_number)
{
	for (size_t i = 0; i < n; i++) {
		char head[32];
		size_t k = 0;

		for (; names[i][k]; k++)
			head[k] = names[i][k] == '_' ? ' ' :
			    (char)(names[i][k] >= 'a' && names[i][k] <= 'z' ?
			    names[i][k] - 'a' + 'A' : names[i][k]);
		head[k] = '\0';
		put_cell(r->out, head, r->widths[i], is_number[i], i == 0,
		    i + 1 == n);
	}
	buf_puts(r->out, "\n");
}

static void put_table(struct render *r)
{
	char names[RENDER_COLUMNS_MAX][32];
	bool is_number[RENDER_COLUMNS_MAX];
	size_t n = split_columns(r->columns, names);
	size_t n_rows = json_array_size(r->rows);
	char **cells = mem_alloc((n * n_rows + 1) * sizeof *cells);

	for (size_t i = 0; i < n; i++) {
		is_number[i] = json_is_number(json_object_get(
		    json_array_get(r->rows, 0), names[i]));
		if (r->widths[i] < width(names[i]))
			r->widths[i] = width(names[i]);
	}
	for (size_t k = 0; k < n * n_rows; k++) {
		const json_t *row = json_array_get(r->rows, k / n);
		const json_t *v = json_object_get(row, names[k % n]);
		/* or text and JSON would say different things */
		must(v && json_object_size(row) == n);
		cells[k] = cell_text(v);
		if (r->widths[k % n] < width(cells[k]))
			r->widths[k % n] = width(cells[k]);
	}
	if (!r->has_rows)
		put_heads(r, names, n, is_number);
	for (size_t k = 0; k < n * n_rows; k++) {
		put_cell(r->out, cells[k], r->widths[k % n], is_number[k % n],
		    k % n == 0, k % n == n - 1);
		if (k % n == n - 1)
			buf_puts(r->out, "\n");
		free(cells[k]);
	}
	free(cells);
}

void render_list(struct render *r, const char *columns)
{
	r->is_list = true;
	r->has_rows = false;
	r->columns = columns;
	memset(r->widths, 0, sizeof r->widths);
	json_decref(r->rows);
	r->rows = json_array();
}

void render_row(struct render *r, json_t *object)
{
	must(r->is_list && object);
	json_array_append_new(r->rows, object);
}

void render_flush(struct render *r)
{
	size_t n = json_array_size(r->rows);

	if (!r->is_list || n == 0)
		return;
	if (!r->wants_json)
		put_table(r);
	for (size_t i = 0; r->wants_json && i < n; i++) {
		buf_puts(r->out, i || r->has_rows ? ",\n" : "[\n");
		put_json(r, json_array_get(r->rows, i));
	}
	r->has_rows = true;
	json_array_clear(r->rows);
}

void render_end(struct render *r)
{
	if (!r->is_list)
		return;
	render_flush(r);
	if (r->wants_json)
		buf_puts(r->out, r->has_rows ? "\n]\n" : "[]\n");
	else if (!r->has_rows)
		put_table(r);		/* its heads alone */
	r->is_list = false;
}

/* --- objects and events -------------------------------------------------------- */

static bool is_table(const json_t *v)
{
	return json_is_object(json_array_get(v, 0));
}

static void put_member_table(struct render *r, const char *name, json_t *rows)
{
	struct buf columns;
	const char *key;
	json_t *v;

	buf_init(&columns, 0);
	json_object_foreach(json_array_get(rows, 0), key, v)
		buf_printf(&columns, "%s%s", columns.len ? " " : "", key);
	char *text = mem_str(buf_view(&columns));
	struct render t;
	render_init(&t, false, r->out);
	buf_printf(r->out, "\n%s\n", name);
	render_list(&t, text);
	json_decref(t.rows);
	t.rows = json_incref(rows);
	put_table(&t);
	render_fini(&t);
	free(text);
	buf_fini(&columns);
}

void render_object(struct render *r, json_t *object)
{
	size_t wide = 0;
	const char *key;
	json_t *v;

	must(object);
	if (r->wants_json) {
		put_json(r, object);
		buf_puts(r->out, "\n");
		json_decref(object);
		return;
	}
	json_object_foreach(object, key, v)
		if (!is_table(v) && width(key) > wide)
			wide = width(key);
	json_object_foreach(object, key, v) {
		if (is_table(v))
			continue;
		char *text = cell_text(v);
		put_cell(r->out, key, wide, false, true, false);
		buf_printf(r->out, "%s\n", text);
		free(text);
	}
	json_object_foreach(object, key, v)
		if (is_table(v))
			put_member_table(r, key, v);
	json_decref(object);
}

void render_event(struct render *r, json_t *object)
{
	const char *key, *gap = "";
	json_t *v;

	must(object);
	if (r->wants_json) {
		put_json(r, object);
	} else {
		json_object_foreach(object, key, v) {
			char *text = cell_text(v);
			buf_printf(r->out, "%s%s %s", gap, key, text);
			free(text);
			gap = "  ";
		}
	}
	buf_puts(r->out, "\n");
	json_decref(object);
}

/* --- values ---------------------------------------------------------------------- */

json_t *render_string(struct str s)
{
	json_t *made = NULL;

	if (user_is_text(s) && !memchr(s.p ? s.p : "", '\0', s.n))
		made = json_stringn(s.p ? s.p : "", s.n);
	if (made)
		return made;
	char *clean = mem_str(s);
	for (size_t i = 0; i < s.n; i++)
		if (clean[i] < 0x20 || clean[i] > 0x7e)
			clean[i] = '?';
	made = json_stringn(clean, s.n);
	must(made);
	free(clean);
	return made;
}

json_t *render_time(double unix_s)
{
	time_t t = (time_t)unix_s;
	char text[32];
	struct tm tm;

	if (!gmtime_r(&t, &tm) ||
	    !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(text);
}
