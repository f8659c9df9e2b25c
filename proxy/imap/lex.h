/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_LEX_H
#define IMAP_LEX_H
/*
 * lex - reads the words of one whole IMAP command
 *
 *	struct lex l = command_lex(&command);
 *	if (!lex_tag(&l, &tag) || !lex_space(&l) || !lex_atom(&l, &name))
 *		...bad
 *
 * Shapes   a command as command.h gathers it: literals are in the text, the
 *          last line end is not.
 * Errors   false: the text at the cursor is something else. The cursor may
 *          have moved; the command is bad as a whole.
 * Owns     nothing. Results point into the text, where quoted strings were
 *          unescaped in place, so each part can be read once only.
 * Thread   any.
 * Source   RFC 9051 section 9.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct lex {
	char *at, *end;
};

/*
 * ATOM-CHAR     = <any CHAR except atom-specials>
 * atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards /
 *                 quoted-specials / resp-specials
 */
static inline bool lex_is_atom_char(char c)
{
	switch (c) {
	case '(':
	case ')':
	case '{':
	case '%':
	case '*':
	case '"':
	case '\\':
	case ']':
		return false;
	}
	return c > ' ' && c < 0x7f;
}

bool lex_tag(struct lex *l, struct str *tag_out);
bool lex_atom(struct lex *l, struct str *atom_out);

/* An atom, a quoted string or a literal. As an atom it may also hold "%",
 * "*" and "]": people type LOGIN jan*admin by hand, and Dovecot takes it. */
bool lex_astring(struct lex *l, struct str *string_out);

/* The same, but NIL without quotes is no string: *is_nil_out. */
bool lex_nstring(struct lex *l, struct str *string_out, bool *is_nil_out);

bool lex_space(struct lex *l);

/* Takes c when it is next. */
bool lex_char(struct lex *l, char c);

/* Is everything read? */
bool lex_end(const struct lex *l);
#endif
