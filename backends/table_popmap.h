/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TABLE_POPMAP_H
#define BACKENDS_TABLE_POPMAP_H
/*
 * table_popmap - a line of a table's text file
 *
 *	plain    jan@example.org  pool eu
 *	popmap   jan@example.org: jan@mail1.example.net:143
 *	regex    ^(.*)@b([0-9])\.example\.org$: $1@mail$2.example.net
 *
 * Shapes   in: a line without its newline. It is changed where quotes are
 *          taken off. out: views of it; the key has 1..USER_CANONICAL_MAX
 *          bytes (an expression: any number), the value 1..TABLE_VALUE_MAX
 *          and no control characters.
 * Errors   BAD with err: what is wrong, what was expected.
 * Owns     nothing.
 * Thread   any.
 * Source   perditiondb(5): popmap and the regular expression map.
 * Not here what a value stands for: table_resolve().
 */
#include "backends/conf.h"
#include "proxy/base/str.h"

struct err;

enum popmap_verdict {
	POPMAP_ENTRY,
	POPMAP_NOTHING,		/* an empty line or a comment */
	POPMAP_BAD,
};

enum popmap_verdict popmap_parse(enum conf_table_format format, char *line,
    size_t n, struct str *key_out, struct str *value_out, struct err *err)
    __attribute__((warn_unused_result, nonnull));

/* Can stand in an LMDB table: 1 to 511 bytes, no control characters. */
bool popmap_is_key(struct str key);

/* Looks like a value: a word, or pool or backend and a word. */
bool popmap_is_value(struct str value);
#endif
