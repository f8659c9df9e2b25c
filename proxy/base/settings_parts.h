/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_SETTINGS_PARTS_H
#define BASE_SETTINGS_PARTS_H
/*
 * settings_parts - what the files of settings share; nobody else includes it
 *
 *	settings_lex	comments away, quoting checked
 *	settings_parse	libConfuse: text -> raw values with their places
 *	settings_values	one raw value <-> one typed field
 *	settings	the snapshot: presets, references, checks, look-ups
 *	settings_print	the snapshot as text
 *
 * Owns     everything hangs on the snapshot's arena.
 */
#include <stdalign.h>
#include <stddef.h>

#include "proxy/base/settings.h"

struct arena;

#define SETTINGS_TEXT_MAX (16 << 20)	/* bytes of one file of settings */

/* A value as it stands in the text. */
struct raw {
	const char *text;
	const char *file;
	int line;
};

/* All values of one setting of one section; n 0: not given. Once negated, the
 * last n_not are those that were written with "!". */
struct raws {
	struct raw *v;
	size_t n, n_not;
};

/* One section of the text. */
struct part {
	const struct settings_section *def;
	const char *file;	/* NULL: it does not stand in the text */
	int line;
	struct raws *raws;	/* one for each row */
	const struct part *outer;	/* WITHIN: in which it stands */
	struct part *next;
	alignas(max_align_t) char data[];	/* its struct conf_... */
};

struct group {			/* all parts of one section of the schema */
	struct part *first, **end;
	const void **data;	/* their structs */
	size_t n;
};

struct held_file {
	struct settings_file file;
	bool is_secret;		/* of no FILE setting */
	struct held_file *next;
};

struct warning {
	const char *text;
	struct warning *next;
};

struct settings {
	unsigned refs;
	const struct settings_schema *schema;
	struct arena *arena;
	struct group *groups;	/* one for each section of the schema */
	struct held_file *files, **files_end;
	struct warning *warnings, **warnings_end;
	const char *dir;	/* for relative paths; NULL: from memory */
	bool is_peek;		/* no file is read but the settings' own */
	settings_file_fn *file;
	void *file_arg;
};

/* From the arena; never NULL. */
void *settings_alloc(struct settings *s, size_t n);
char *settings_text(struct settings *s, struct str text);
char *settings_format(struct settings *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A part with its defaults still to be filled in. */
struct part *settings_add_part(struct settings *s, size_t section,
    const char *title, const char *file, int line);

static inline const struct part *part_of(const void *section)
{
	return (const struct part *)(const void *)
	    ((const char *)section - offsetof(struct part, data));
}

/* The number of the section that stands within another for this row. */
size_t settings_inner_section(const struct settings *s,
    const struct settings_row *row);

/* A part within outer. The first one becomes the outer's field. */
struct part *settings_add_inner(struct settings *s, struct part *outer,
    const struct settings_row *row, const char *file, int line);

static inline const void *inner_of(const struct settings_row *row,
    const void *data)
{
	return *(const void *const *)(const void *)
	    ((const char *)data + row->offset);
}

/* "listener imaps.address"; key NULL: "listener imaps"; of a section within
 * another: "pool main.health.rise". Returns out. */
const char *settings_row_name(const struct part *p, const char *key,
    char *out, size_t size);

/* path as seen from the folder of the configuration. */
const char *settings_path(struct settings *s, const char *path);

/* Reads at most max bytes from the disk into the arena. */
bool settings_read_file(struct settings *s, const char *path, size_t max,
    struct str *data_out, struct err *err);

/* Overwrites comments by spaces, so that libConfuse, which miscounts lines
 * there, sees none; refuses what it would drop or change in silence. */
bool settings_lex(char *text, size_t n, const char *file, struct err *err);

bool settings_parse(struct settings *s, struct str text, const char *name,
    struct err *err);

/* Whether a type takes "{ a, b }". */
bool settings_is_list(enum settings_type type);

/* Moves the values of a NEGATABLE row that have "!" before them to the end, and
 * drops it. */
bool settings_negate(struct settings *s, const struct settings_row *row,
    struct raws *raws, struct err *err);

/* Fills in what the file at field's path holds, unless it may be missing. */
bool settings_fill_file(struct settings *s, const struct settings_row *row,
    struct settings_file *field, struct err *err);

/* Fills the field from its values, or from the row's preset when there are
 * none; not for references. The error names no place. */
bool settings_set_field(struct settings *s, const struct settings_row *row,
    const struct raws *raws, void *data, struct err *err);

/* Appends the value as it would be written. */
void settings_print_field(const struct settings_row *row, const void *data,
    struct buf *out);

/* "8k", "35m": how numbers of that type are written best. */
void settings_print_number(enum settings_type type, uint64_t n,
    struct buf *out);
#endif
