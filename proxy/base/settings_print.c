/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * settings_print - a snapshot as text again
 */
#include <stdlib.h>

#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/settings_parts.h"

/* In double quotes; in single ones where libConfuse would see an escape or
 * an environment variable. */
static void print_quoted(const char *before, const char *text,
    struct buf *out)
{
	if (!strpbrk(text, "\\\"$")) {
		buf_printf(out, "\"%s%s\"", before, text);
		return;
	}
	buf_printf(out, "'%s", before);
	for (const char *p = text; *p; p++) {
		if (*p == '\\' || *p == '\'')
			buf_puts(out, "\\");
		buf_append(out, p, 1);
	}
	buf_puts(out, "'");
}

static void print_string(const char *text, struct buf *out)
{
	print_quoted("", text, out);
}

/* What stands before element i of a list. */
static const char *start_element(size_t i, size_t n, size_t n_not,
    struct buf *out)
{
	buf_puts(out, i ? ", " : " ");
	return i >= n - n_not ? "!" : "";
}

static void print_strings(const struct settings_strings *list,
    struct buf *out)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *before = start_element(i, list->n, list->n_not,
		    out);
		print_quoted(before, list->v[i], out);
	}
}

static void print_networks(const struct settings_networks *list,
    struct buf *out)
{
	char ip[ADDR_IP_MAX];

	for (size_t i = 0; i < list->n; i++) {
		const char *before = start_element(i, list->n, list->n_not,
		    out);
		buf_printf(out, "\"%s%s/%u\"", before,
		    addr_ip(&list->v[i].addr, ip), list->v[i].bits);
	}
}

static const char *word_of(const struct settings_choice *c, unsigned value)
{
	while (c->value != value)
		c++;
	return c->word;
}

static void print_set(const struct settings_row *row, unsigned bits,
    struct buf *out)
{
	const char *before = " ";

	for (const struct settings_choice *c = row->choices; c->word; c++)
		if (bits & 1u << c->value) {
			buf_printf(out, "%s%s", before, c->word);
			before = ", ";
		}
}

static void print_refs(const struct settings_row *row,
    const struct settings_refs *list, struct buf *out)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *name = list->v[i] ? settings_name(list->v[i]) :
		    row->none;
		if (*start_element(i, list->n, list->n_not, out))
			buf_printf(out, "\"!%s\"", name);
		else
			buf_puts(out, name);
	}
}

static void print_list(const struct settings_row *row, const void *field,
    struct buf *out)
{
	const struct settings_addresses *addresses = field;

	buf_puts(out, "{");
	if (row->type == SETTINGS_SET)
		print_set(row, *(const unsigned *)field, out);
	else if (row->type == SETTINGS_REFS)
		print_refs(row, field, out);
	else if (row->type == SETTINGS_STRINGS)
		print_strings(field, out);
	else if (row->type == SETTINGS_ADDRESSES)
		for (size_t i = 0; i < addresses->n; i++) {
			buf_puts(out, i ? ", " : " ");
			print_string(addresses->v[i].text, out);
		}
	else
		print_networks(field, out);
	buf_puts(out, " }");
}

void settings_print_field(const struct settings_row *row, const void *data,
    struct buf *out)
{
	const void *field = (const char *)data + row->offset;
	const void *ref;

	switch (row->type) {
	case SETTINGS_BOOL:
		buf_puts(out, *(const bool *)field ? "yes" : "no");
		return;
	case SETTINGS_UINT:
		settings_print_number(row->type, *(const uint32_t *)field,
		    out);
		return;
	case SETTINGS_DURATION:
	case SETTINGS_SIZE:
		settings_print_number(row->type, *(const uint64_t *)field,
		    out);
		return;
	case SETTINGS_STRING:
	case SETTINGS_PATH:
		print_string(*(const char *const *)field, out);
		return;
	case SETTINGS_FILE:
	case SETTINGS_SECRET:
		print_string(((const struct settings_file *)field)->path,
		    out);
		return;
	case SETTINGS_ADDRESS:
		print_string(((const struct settings_address *)field)->text,
		    out);
		return;
	case SETTINGS_CHOICE:
		buf_puts(out, word_of(row->choices,
		    *(const unsigned *)field));
		return;
	case SETTINGS_REF:
		ref = *(const void *const *)field;
		buf_puts(out, ref ? settings_name(ref) : "\"\"");
		return;
	case SETTINGS_STRINGS:
	case SETTINGS_ADDRESSES:
	case SETTINGS_NETWORKS:
	case SETTINGS_SET:
	case SETTINGS_REFS:
		print_list(row, field, out);
		return;
	case SETTINGS_INNER:
		break;
	}
	must(!"a section is no field");
}

static void print_source(const struct part *part, size_t row,
    struct buf *out)
{
	const struct raws *raws = &part->raws[row];

	if (raws->n == 0)
		buf_puts(out, "\t# default");
	else
		buf_printf(out, "\t# %s:%d", raws->v[0].file,
		    raws->v[0].line);
}

static void print_part(const struct part *part, struct buf *out,
    bool with_sources)
{
	const struct settings_section *def = part->def;
	bool is_top = def->kind == SETTINGS_TOP;
	const char *name = settings_name(part->data);
	const char *margin = part->outer ? "\t" : "";

	if (!is_top)
		buf_printf(out, "%s%s%s%s {\n", margin, def->name,
		    name[0] ? " " : "", name);
	for (size_t i = 0; i < def->n_rows; i++) {
		const struct settings_row *row = &def->rows[i];
		if (row->type == SETTINGS_INNER) {
			print_part(part_of(inner_of(row, part->data)), out,
			    with_sources);
			continue;
		}
		buf_printf(out, "%s%s%s = ", margin, is_top ? "" : "\t",
		    row->name);
		settings_print_field(row, part->data, out);
		if (with_sources)
			print_source(part, i, out);
		buf_puts(out, "\n");
	}
	if (!is_top)
		buf_printf(out, "%s}\n", margin);
}

void settings_print(const struct settings *s, struct buf *out,
    bool with_sources)
{
	for (size_t i = 0; i < s->schema->n_sections; i++)
		for (const struct part *p = s->groups[i].first; p;
		    p = p->next)
			if (!p->outer)
				print_part(p, out, with_sources);
}

static bool is_same_field(const struct settings_row *row, const void *a,
    const void *b, struct buf *text_a, struct buf *text_b)
{
	const struct settings_file *x, *y;

	if (row->type == SETTINGS_INNER)
		return settings_same(inner_of(row, a), inner_of(row, b));
	buf_clear(text_a);
	buf_clear(text_b);
	settings_print_field(row, a, text_a);
	settings_print_field(row, b, text_b);
	if (!str_eq(buf_view(text_a), buf_view(text_b)))
		return false;
	if (row->type != SETTINGS_FILE && row->type != SETTINGS_SECRET)
		return true;
	x = (const void *)((const char *)a + row->offset);
	y = (const void *)((const char *)b + row->offset);
	return str_eq(x->data, y->data);
}

bool settings_same(const void *section, const void *other)
{
	const struct part *a = part_of(section), *b = part_of(other);
	bool is_same = a->def == b->def &&
	    strcmp(settings_name(a->data), settings_name(b->data)) == 0;
	struct buf text_a, text_b;

	buf_init(&text_a, 0);
	buf_init(&text_b, 0);
	for (size_t i = 0; i < a->def->n_rows && is_same; i++)
		is_same = is_same_field(&a->def->rows[i], a->data, b->data,
		    &text_a, &text_b);
	buf_fini(&text_a);
	buf_fini(&text_b);
	return is_same;
}

static void compare_part(const struct part *was, const struct part *now,
    settings_visit_name_fn *visit, void *arg)
{
	const struct settings_section *def = was->def;
	struct buf a, b;
	char name[160];

	buf_init(&a, 0);
	buf_init(&b, 0);
	for (size_t i = 0; i < def->n_rows; i++) {
		if (!(def->rows[i].flags & SETTINGS_FIXED))
			continue;
		buf_clear(&a);
		buf_clear(&b);
		settings_print_field(&def->rows[i], was->data, &a);
		settings_print_field(&def->rows[i], now->data, &b);
		if (str_eq(buf_view(&a), buf_view(&b)))
			continue;
		settings_row_name(was, def->rows[i].name, name, sizeof name);
		visit(arg, name);
	}
	buf_fini(&a);
	buf_fini(&b);
}

void settings_fixed_changes(const struct settings *was,
    const struct settings *now, settings_visit_name_fn *visit, void *arg)
{
	for (size_t i = 0; i < was->schema->n_sections; i++)
		for (const struct part *p = was->groups[i].first; p;
		    p = p->next) {
			const void *other = settings_find(now, p->def,
			    settings_name(p->data));
			if (other && p->def->kind != SETTINGS_MANY &&
			    p->def->kind != SETTINGS_WITHIN)
				compare_part(p, part_of(other), visit, arg);
		}
}
