/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H
/*
 * settings - a configuration text becomes typed, checked structures
 *
 *	text + rows  ->  struct settings (a snapshot)  ->  text again
 *
 * Knows no setting by name: each folder brings rows (settings.def) and gets
 * structures (conf.h). A section "tls front { ... }" becomes one struct
 * conf_tls; every such struct begins with its name and its place.
 *
 * Shapes   a string is never NULL; "" means not set. A reference to another
 *          section, and a section that stands within another, is a pointer to
 *          that section's struct. Sections that may stand once are always
 *          there: with defaults where the text has none.
 *          Elements of a list that were written with "!" are the last n_not
 *          of its n, without the "!"; only NEGATABLE settings have some.
 * Units    durations in ms, sizes in bytes; the fields' names say so.
 * Errors   "file:line: what is wrong, what was expected"; the first one only.
 * Owns     a snapshot owns all that hangs on it, the content of the files
 *          included, and is never changed. Whoever keeps it takes a reference.
 *          File contents and secrets are wiped at the end.
 * Thread   the thread that made it: the count is not atomic.
 * Source   the syntax is libConfuse's; its header is included by settings*.c
 *          alone.
 * Not here what certificates and keys hold: tlsctx.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

struct addr;
struct buf;
struct err;
struct net;
struct settings;

/* What settings_rows.h puts first into each section's struct. */
struct settings_head {
	const char *name;	/* the title; "" in sections without one */
	const char *where;	/* "proxy.conf:12", where it begins */
};

/* The title of any section's struct. */
static inline const char *settings_name(const void *section)
{
	return ((const struct settings_head *)section)->name;
}

struct settings_file {
	const char *path;	/* "" when not set */
	struct str data;	/* content; a NUL stands behind it */
};

#define SETTINGS_SRV_MARK "srv+"	/* before the name of an SRV record */

struct settings_address {
	const char *text;	/* "[::1]:993", as written */
	const char *host;	/* "::1", a name, "*", or "srv+" and a name */
	uint16_t port;		/* 0 of the last of these */
};

struct settings_strings {
	const char *const *v;
	size_t n, n_not;
};

struct settings_addresses {
	const struct settings_address *v;
	size_t n;
};

struct settings_networks {
	const struct net *v;
	size_t n, n_not;
};

/* What a REFS field is, but for the type of what v points to. */
struct settings_refs {
	const void *const *v;	/* NULL: the row's word for none of them */
	size_t n, n_not;
};

enum settings_type {
	SETTINGS_BOOL,		/* yes/no, true/false, on/off */
	SETTINGS_UINT,
	SETTINGS_DURATION,	/* 500ms 30s 5m 2h 7d */
	SETTINGS_SIZE,		/* 4096 8k 2m 1g */
	SETTINGS_STRING,
	SETTINGS_STRINGS,
	SETTINGS_PATH,		/* a file that is not read, or a choice's word */
	SETTINGS_FILE,		/* a file that is read */
	SETTINGS_SECRET,	/* the same, without the newline at its end;
				 * empty where it was not sent */
	SETTINGS_ADDRESS,	/* host:port, [ip]:port, *:port */
	SETTINGS_ADDRESSES,
	SETTINGS_NETWORKS,	/* 10.0.0.0/8 2001:db8::/32 */
	SETTINGS_CHOICE,	/* one of a list of words: an enum */
	SETTINGS_SET,		/* several of them: bits 1u << enum */
	SETTINGS_REF,		/* the name of a section */
	SETTINGS_REFS,
	SETTINGS_INNER,		/* a section within this one */
};

enum settings_kind {
	SETTINGS_TOP,		/* settings outside any section */
	SETTINGS_ONE,		/* name { }, at most once */
	SETTINGS_MANY,		/* name { }, order counts */
	SETTINGS_TITLED,	/* name title { }, titles differ */
	SETTINGS_WITHIN,	/* name { }, at most once in each of another
				 * kind of section, which has a row for it */
};

enum settings_flags {
	SETTINGS_REQUIRED = 1,	/* has no default */
	SETTINGS_FIXED = 2,	/* a reload does not change it; not for
				 * sections of the kinds MANY and WITHIN */
	SETTINGS_SYSTEM = 4,	/* FILE: "" means the default, which is a file
				 * of the system: it may be missing, and is
				 * read only when the section's check says
				 * settings_need() */
	SETTINGS_NEGATABLE = 8,	/* STRINGS, NETWORKS, REFS: an element may
				 * have "!" before it */
	SETTINGS_SRV = 16,	/* ADDRESS: may be srv+name, of port 0 */
};

struct settings_choice {
	const char *word;
	unsigned value;
};

struct settings_row {
	const char *name;
	enum settings_type type;
	size_t offset;		/* in the section's struct */
	const char *preset;	/* default, as it would be written; "": none */
	uint64_t min, max;	/* UINT, DURATION (ms), SIZE (bytes) */
	unsigned flags;		/* enum settings_flags */
	const struct settings_choice *choices;	/* ends with a NULL word */
	const char *target;	/* REF, REFS, INNER: the section's name */
	const char *none;	/* REFS: word for none of them; or NULL */
	const char *doc;	/* one sentence or more, for the manual */
};

/* A check that one row cannot make; fails by settings_fault(). */
typedef bool settings_check_fn(struct settings *s, const void *section,
    struct err *err);

struct settings_section {
	const char *name;
	enum settings_kind kind;
	size_t size;		/* of its struct */
	const struct settings_row *rows;
	size_t n_rows;
	settings_check_fn *check;	/* or NULL */
	const char *doc;
};

/* All sections, in the order in which they are printed; what stands within
 * another comes before that. */
struct settings_schema {
	const struct settings_section *const *sections;
	size_t n_sections;
};

/* Reads the file, those it includes, and those its settings name (relative
 * to the folder of the first). Returns one reference; NULL with err.
 * Blocks: for the parent and the command line. */
struct settings *settings_load(const char *path,
    const struct settings_schema *schema, struct err *err);

/* The same, but what its settings name is not read, and seems empty: for a
 * command that wants to know a path and may read neither keys nor passwords. */
struct settings *settings_peek(const char *path,
    const struct settings_schema *schema, struct err *err);

/* Gives the content of the file at path, as it was sent by the parent; false
 * when there is none. The bytes are copied. */
typedef bool settings_file_fn(void *arg, const char *path,
    struct str *data_out);

/* The same from memory, touching no file: name stands for the file's in
 * errors; include is refused. */
struct settings *settings_from_text(struct str text, const char *name,
    const struct settings_schema *schema, settings_file_fn *file, void *arg,
    struct err *err);

struct settings *settings_ref(struct settings *s);
/* Drops one reference; *s becomes NULL. NULL is legal. */
void settings_unref(struct settings **s);

/* The struct of a section that stands once (kinds TOP and ONE). */
const void *settings_one(const struct settings *s,
    const struct settings_section *section);

/* Pointers to the structs of a section, in the order of the text. */
const void *const *settings_all(const struct settings *s,
    const struct settings_section *section, size_t *n_out);

/* By title; NULL when there is none. */
const void *settings_find(const struct settings *s,
    const struct settings_section *section, const char *name);

/* For checks: writes "file:line: section name.key: text", the line being that
 * of the setting key in the section (NULL: of the section). Returns false. */
bool settings_fault(const struct settings *s, const void *section,
    const char *key, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* For checks: the same text, but the snapshot is good nevertheless. */
void settings_warn(struct settings *s, const void *section, const char *key,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

typedef void settings_visit_text_fn(void *arg, const char *text);
void settings_warnings(const struct settings *s,
    settings_visit_text_fn *visit, void *arg);

/* For checks: the content of a SYSTEM file, which is big, and few need it. */
void settings_need(struct settings *s, const void *section, const char *key);

/* True when the text had this setting; false when it has its default. */
bool settings_given(const struct settings *s, const void *section,
    const char *key);

/* True when two structs of the same section, of any snapshots, have the same
 * name and equal settings, the content of files included. Of a reference only
 * the name is compared. */
bool settings_same(const void *section, const void *other);

/* Appends every setting in force, in the file's own syntax: the text gives
 * an equal snapshot again. With sources each line ends in "# file:line" or
 * "# default". No content of files. */
void settings_print(const struct settings *s, struct buf *out,
    bool with_sources);

/* Each file that a FILE or SECRET setting names, once. is_secret: no FILE
 * setting names it. */
typedef void settings_visit_file_fn(void *arg, const struct settings_file *f,
    bool is_secret);
void settings_files(const struct settings *s, settings_visit_file_fn *visit,
    void *arg);

/* Each FIXED setting that differs ("workers"): the old value stays in force
 * until the program is started anew, and the log should say so. */
typedef void settings_visit_name_fn(void *arg, const char *name);
void settings_fixed_changes(const struct settings *was,
    const struct settings *now, settings_visit_name_fn *visit, void *arg);
#endif
