/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/settings_parts.h"

#define NAME_MAX_BYTES 64

void *settings_alloc(struct settings *s, size_t n)
{
	void *p = arena_alloc(s->arena, n);

	must(p);	/* the arena has no limit */
	return p;
}

char *settings_text(struct settings *s, struct str text)
{
	char *copy = settings_alloc(s, text.n + 1);

	if (text.n)
		memcpy(copy, text.p, text.n);
	return copy;
}

char *settings_format(struct settings *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	char *text = settings_alloc(s, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(text, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return text;
}

const char *settings_path(struct settings *s, const char *path)
{
	if (!s->dir || path[0] == '/' || strcmp(s->dir, ".") == 0)
		return settings_text(s, str_from(path));
	return settings_format(s, "%s/%s", s->dir, path);
}

/* Into memory of the arena at once: it may be a key. */
static bool read_all(struct settings *s, int fd, size_t size, size_t max,
    struct str *out)
{
	size_t room = size ? size : max, n = 0;
	char *data = settings_alloc(s, room + 1);

	for (;;) {
		ssize_t got = read(fd, data + n, room + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		if (got == 0)
			break;
		n += (size_t)got;
		if (n > room) {		/* it grew under our hands */
			errno = EFBIG;
			return false;
		}
	}
	data[n] = '\0';
	*out = (struct str){ data, n };
	return true;
}

bool settings_read_file(struct settings *s, const char *path, size_t max,
    struct str *data_out, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	bool ok = fd >= 0 && fstat(fd, &st) == 0;

	if (ok && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		ok = false;
	} else if (ok && st.st_size > (off_t)max) {
		errno = EFBIG;
		ok = false;
	}
	ok = ok && read_all(s, fd, (size_t)st.st_size, max, data_out);
	if (!ok)
		err_set(err, "cannot read \"%.140s\": %s; expected a file",
		    path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

struct part *settings_add_part(struct settings *s, size_t section,
    const char *title, const char *file, int line)
{
	const struct settings_section *def = s->schema->sections[section];
	struct group *g = &s->groups[section];
	struct part *p = settings_alloc(s, sizeof *p + def->size);
	struct settings_head *head = (struct settings_head *)(void *)p->data;

	p->def = def;
	p->file = file;
	p->line = line;
	p->raws = settings_alloc(s, def->n_rows * sizeof *p->raws);
	head->name = settings_text(s, str_from(title));
	head->where = file ? settings_format(s, "%s:%d", file, line) :
	    "default";
	*g->end = p;
	g->end = &p->next;
	g->n++;
	return p;
}

size_t settings_inner_section(const struct settings *s,
    const struct settings_row *row)
{
	size_t i = 0;

	must(row->type == SETTINGS_INNER);
	while (strcmp(s->schema->sections[i]->name, row->target) != 0) {
		i++;
		must(i < s->schema->n_sections);
	}
	must(s->schema->sections[i]->kind == SETTINGS_WITHIN);
	return i;
}

struct part *settings_add_inner(struct settings *s, struct part *outer,
    const struct settings_row *row, const char *file, int line)
{
	struct part *p = settings_add_part(s, settings_inner_section(s, row),
	    "", file, line);
	const void *data = p->data;

	p->outer = outer;
	if (!inner_of(row, outer->data))
		memcpy(outer->data + row->offset, &data, sizeof data);
	return p;
}

const char *settings_row_name(const struct part *p, const char *key,
    char *out, size_t size)
{
	const char *name = settings_name(p->data);
	char outer[100] = "";

	if (p->outer)
		settings_row_name(p->outer, "", outer, sizeof outer);
	if (p->def->kind == SETTINGS_TOP)
		snprintf(out, size, "%s", key ? key : "settings");
	else
		snprintf(out, size, "%s%s%s%s%s%s", outer, p->def->name,
		    name[0] ? " " : "", name, key ? "." : "", key ? key : "");
	return out;
}

static size_t row_of(const struct settings_section *def, const char *key)
{
	size_t i = 0;

	while (strcmp(def->rows[i].name, key) != 0) {
		i++;
		must(i < def->n_rows);
	}
	return i;
}

/* "file:line: section name.key: ", the line being that of the n-th value. */
static void put_place(const struct part *p, const char *key, size_t n,
    struct err *err)
{
	const char *file = p->file;
	int line = p->line;
	char name[160];

	if (key) {
		const struct raws *raws = &p->raws[row_of(p->def, key)];
		if (n < raws->n) {
			file = raws->v[n].file;
			line = raws->v[n].line;
		}
	}
	settings_row_name(p, key, name, sizeof name);
	if (file)
		err_prefix(err, "%s:%d: %s", file, line, name);
	else
		err_prefix(err, "%s", name);
}

bool settings_fault(const struct settings *s, const void *section,
    const char *key, struct err *err, const char *fmt, ...)
{
	va_list ap;

	(void)s;
	if (!err)
		return false;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	put_place(part_of(section), key, 0, err);
	return false;
}

void settings_warn(struct settings *s, const void *section, const char *key,
    const char *fmt, ...)
{
	struct warning *w = settings_alloc(s, sizeof *w);
	struct err text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text.text, sizeof text.text, fmt, ap);
	va_end(ap);
	put_place(part_of(section), key, 0, &text);
	w->text = settings_text(s, str_from(text.text));
	*s->warnings_end = w;
	s->warnings_end = &w->next;
}

void settings_warnings(const struct settings *s,
    settings_visit_text_fn *visit, void *arg)
{
	for (const struct warning *w = s->warnings; w; w = w->next)
		visit(arg, w->text);
}

bool settings_given(const struct settings *s, const void *section,
    const char *key)
{
	const struct part *p = part_of(section);

	(void)s;
	return p->raws[row_of(p->def, key)].n > 0;
}

void settings_need(struct settings *s, const void *section, const char *key)
{
	const struct part *p = part_of(section);
	const struct settings_row *row = &p->def->rows[row_of(p->def, key)];
	struct settings_file *f = (void *)((char *)(uintptr_t)section +
	    row->offset);

	must(row->flags & SETTINGS_SYSTEM);
	settings_fill_file(s, row, f, NULL);
}

static bool is_twice(const struct part *first, const struct part *second,
    struct err *err)
{
	return settings_fault(NULL, second->data, NULL, err, "there already "
	    "at %s:%d; expected one such section", first->file, first->line);
}

/* The same for those within others. */
static bool complete_inner(struct settings *s, struct part *p,
    struct err *err)
{
	const struct settings_row *row = p->outer ? p->outer->def->rows :
	    p->def->rows;

	if (p->outer) {
		while (row->type != SETTINGS_INNER ||
		    strcmp(row->target, p->def->name) != 0)
			row++;
		const void *first = inner_of(row, p->outer->data);
		return first == p->data || is_twice(part_of(first), p, err);
	}
	for (; row < p->def->rows + p->def->n_rows; row++)
		if (row->type == SETTINGS_INNER && !inner_of(row, p->data))
			settings_add_inner(s, p, row, NULL, 0);
	return true;
}

/* Sections that stand at most once stand exactly once from here on. */
static bool complete(struct settings *s, struct err *err)
{
	for (size_t i = 0; i < s->schema->n_sections; i++) {
		const struct settings_section *def = s->schema->sections[i];
		const struct group *g = &s->groups[i];
		if (def->kind != SETTINGS_ONE && def->kind != SETTINGS_TOP)
			continue;
		if (g->n == 0)
			settings_add_part(s, i, "", NULL, 0);
		if (g->n > 1)
			return is_twice(g->first, g->first->next, err);
	}
	return true;
}

static bool check_name(const struct settings *s, const struct part *p,
    struct err *err)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *name = settings_name(p->data);
	size_t n = strlen(name);

	if (p->def->kind != SETTINGS_TITLED)
		return true;
	if (n > 0 && n <= NAME_MAX_BYTES && strspn(name, legal) == n)
		return true;
	return settings_fault(s, p->data, NULL, err, "not a name; expected "
	    "1 to %d letters, digits, \".\", \"_\" and \"-\"",
	    NAME_MAX_BYTES);
}

static bool fill_part(struct settings *s, struct part *p, struct err *err)
{
	if (!check_name(s, p, err))
		return false;
	for (size_t i = 0; i < p->def->n_rows; i++) {
		const struct settings_row *row = &p->def->rows[i];
		struct raws *raws = &p->raws[i];
		if ((row->flags & SETTINGS_REQUIRED) &&
		    (raws->n == 0 || !raws->v[0].text[0]))
			return settings_fault(s, p->data,
			    raws->n ? row->name : NULL, err,
			    "%s is missing; expected %s = ...", row->name,
			    row->name);
		if (row->type == SETTINGS_INNER)
			continue;
		bool is_ref = row->type == SETTINGS_REF ||
		    row->type == SETTINGS_REFS;
		if (!settings_negate(s, row, raws, err) || (!is_ref &&
		    !settings_set_field(s, row, raws, p->data, err))) {
			put_place(p, row->name, 0, err);
			return false;
		}
	}
	return true;
}

static const void *find_target(const struct settings *s, const char *section,
    const char *name)
{
	for (size_t i = 0; i < s->schema->n_sections; i++)
		if (strcmp(s->schema->sections[i]->name, section) == 0)
			return settings_find(s, s->schema->sections[i], name);
	must(!"a row refers to a section of the schema");
	return NULL;
}

static bool link_row(struct settings *s, struct part *p, size_t i,
    struct err *err)
{
	const struct settings_row *row = &p->def->rows[i];
	const struct raws *raws = &p->raws[i];
	void *field = p->data + row->offset;
	const void **v = settings_alloc(s, raws->n * sizeof *v);

	if (raws->n == 1 && !raws->v[0].text[0])
		return true;
	for (size_t j = 0; j < raws->n; j++) {
		const char *name = raws->v[j].text;
		bool is_none = row->none && strcmp(name, row->none) == 0;
		if (!is_none)
			v[j] = find_target(s, row->target, name);
		if (!is_none && !v[j]) {
			err_set(err, "there is no %s \"%.64s\"; expected the "
			    "name of one%s%s", row->target, name,
			    row->none ? ", or " : "",
			    row->none ? row->none : "");
			put_place(p, row->name, j, err);
			return false;
		}
		for (size_t k = 0; k < j; k++)
			if (v[k] == v[j])
				return settings_fault(s, p->data, row->name,
				    err, "\"%s\" is there twice; expected it "
				    "once", name);
	}
	if (row->type == SETTINGS_REF) {
		if (raws->n)
			memcpy(field, v, sizeof v[0]);
		return true;
	}
	memcpy(field, &(struct settings_refs){ v, raws->n, raws->n_not },
	    sizeof(struct settings_refs));
	return true;
}

static bool link_part(struct settings *s, struct part *p, struct err *err)
{
	for (size_t i = 0; i < p->def->n_rows; i++) {
		enum settings_type type = p->def->rows[i].type;
		if ((type == SETTINGS_REF || type == SETTINGS_REFS) &&
		    !link_row(s, p, i, err))
			return false;
	}
	return true;
}

static bool check_part(struct settings *s, struct part *p, struct err *err)
{
	return !p->def->check || p->def->check(s, p->data, err);
}

static bool each_part(struct settings *s,
    bool (*step)(struct settings *s, struct part *p, struct err *err),
    struct err *err)
{
	for (size_t i = 0; i < s->schema->n_sections; i++)
		for (struct part *p = s->groups[i].first; p; p = p->next)
			if (!step(s, p, err))
				return false;
	return true;
}

/* The structs of each section as an array, for look-ups. */
static void index_parts(struct settings *s)
{
	for (size_t i = 0; i < s->schema->n_sections; i++) {
		struct group *g = &s->groups[i];
		size_t n = 0;
		g->data = settings_alloc(s, g->n * sizeof *g->data);
		for (struct part *p = g->first; p; p = p->next)
			g->data[n++] = p->data;
	}
}

static struct settings *make(const struct settings_schema *schema)
{
	struct settings *s = mem_alloc(sizeof *s);

	s->refs = 1;
	s->schema = schema;
	s->arena = arena_new(SIZE_MAX);
	s->files_end = &s->files;
	s->warnings_end = &s->warnings;
	s->groups = settings_alloc(s, schema->n_sections * sizeof *s->groups);
	for (size_t i = 0; i < schema->n_sections; i++)
		s->groups[i].end = &s->groups[i].first;
	return s;
}

/* The one way from text to a snapshot; takes the reference. */
static struct settings *build(struct settings *s, struct str text,
    const char *name, struct err *err)
{
	bool ok = settings_parse(s, text, settings_text(s, str_from(name)),
	    err) && complete(s, err) && each_part(s, complete_inner, err);

	if (ok)
		index_parts(s);
	ok = ok && each_part(s, fill_part, err) &&
	    each_part(s, link_part, err) && each_part(s, check_part, err);
	if (!ok)
		settings_unref(&s);
	return s;
}

static struct settings *load(const char *path,
    const struct settings_schema *schema, bool is_peek, struct err *err)
{
	struct settings *s = make(schema);
	const char *slash = strrchr(path, '/');
	struct str text, dir = { path, slash ? (size_t)(slash - path) : 0 };

	s->is_peek = is_peek;
	s->dir = slash ? dir.n ? settings_text(s, dir) : "/" : ".";
	if (!settings_read_file(s, path, SETTINGS_TEXT_MAX, &text, err)) {
		settings_unref(&s);
		return NULL;
	}
	return build(s, text, path, err);
}

struct settings *settings_load(const char *path,
    const struct settings_schema *schema, struct err *err)
{
	return load(path, schema, false, err);
}

struct settings *settings_peek(const char *path,
    const struct settings_schema *schema, struct err *err)
{
	return load(path, schema, true, err);
}

struct settings *settings_from_text(struct str text, const char *name,
    const struct settings_schema *schema, settings_file_fn *file, void *arg,
    struct err *err)
{
	struct settings *s = make(schema);

	s->file = file;
	s->file_arg = arg;
	return build(s, text, name, err);
}

struct settings *settings_ref(struct settings *s)
{
	s->refs++;
	return s;
}

void settings_unref(struct settings **sp)
{
	struct settings *s = *sp;

	*sp = NULL;
	if (!s || --s->refs > 0)
		return;
	arena_free(&s->arena);
	free(s);
}

static const struct group *group_of(const struct settings *s,
    const struct settings_section *section)
{
	size_t i = 0;

	while (s->schema->sections[i] != section) {
		i++;
		must(i < s->schema->n_sections);
	}
	return &s->groups[i];
}

const void *settings_one(const struct settings *s,
    const struct settings_section *section)
{
	const struct group *g = group_of(s, section);

	must(g->n == 1);
	return g->data[0];
}

const void *const *settings_all(const struct settings *s,
    const struct settings_section *section, size_t *n_out)
{
	const struct group *g = group_of(s, section);

	*n_out = g->n;
	return g->data;
}

const void *settings_find(const struct settings *s,
    const struct settings_section *section, const char *name)
{
	const struct group *g = group_of(s, section);

	for (size_t i = 0; i < g->n; i++)
		if (strcmp(settings_name(g->data[i]), name) == 0)
			return g->data[i];
	return NULL;
}

void settings_files(const struct settings *s, settings_visit_file_fn *visit,
    void *arg)
{
	for (const struct held_file *f = s->files; f; f = f->next)
		visit(arg, &f->file, f->is_secret);
}
