/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/lex.h"

/* ASTRING-CHAR = ATOM-CHAR / resp-specials */
static bool is_tag_char(char c)
{
	return (lex_is_atom_char(c) || c == ']') && c != '+';
}

static bool is_astring_char(char c)
{
	return lex_is_atom_char(c) || c == ']' || c == '%' || c == '*';
}

static bool take_while(struct lex *l, bool (*is_part)(char), struct str *out)
{
	const char *from = l->at;

	while (l->at < l->end && is_part(*l->at))
		l->at++;
	*out = (struct str){ from, (size_t)(l->at - from) };
	return out->n > 0;
}

bool lex_tag(struct lex *l, struct str *tag_out)
{
	return take_while(l, is_tag_char, tag_out);
}

bool lex_atom(struct lex *l, struct str *atom_out)
{
	return take_while(l, lex_is_atom_char, atom_out);
}

/*
 * quoted      = DQUOTE *QUOTED-CHAR DQUOTE
 * QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> /
 *               "\" quoted-specials / UTF8-2 / UTF8-3 / UTF8-4
 *
 * Bytes above 0x7f pass as they are; the caller knows what it may take.
 */
static bool take_quoted(struct lex *l, struct str *out)
{
	char *to = l->at + 1;

	*out = (struct str){ to, 0 };
	for (l->at++; l->at < l->end; l->at++) {
		char c = *l->at;

		if (c == '"') {
			l->at++;
			out->n = (size_t)(to - out->p);
			return true;
		}
		if (c == '\\') {
			if (++l->at == l->end)
				return false;
			c = *l->at;
			if (c != '"' && c != '\\')
				return false;
		} else if (c == '\0' || c == '\r' || c == '\n') {
			return false;
		}
		*to++ = c;
	}
	return false;
}

/*
 * literal = "{" number64 ["+"] "}" CRLF *CHAR8	; not NUL
 *
 * Its length was bounded when the command was gathered.
 */
static bool take_literal(struct lex *l, struct str *out)
{
	size_t n = 0;

	for (l->at++; l->at < l->end; l->at++) {
		if (*l->at < '0' || *l->at > '9')
			break;
		n = n * 10 + (size_t)(*l->at - '0');
		if (n > (size_t)(l->end - l->at))
			return false;
	}
	lex_char(l, '+');
	if (!lex_char(l, '}'))
		return false;
	lex_char(l, '\r');
	if (!lex_char(l, '\n') || n > (size_t)(l->end - l->at))
		return false;
	*out = (struct str){ l->at, n };
	l->at += n;
	return n == 0 || !memchr(out->p, '\0', n);
}

bool lex_astring(struct lex *l, struct str *string_out)
{
	if (l->at == l->end)
		return false;
	if (*l->at == '"')
		return take_quoted(l, string_out);
	if (*l->at == '{')
		return take_literal(l, string_out);
	return take_while(l, is_astring_char, string_out);
}

bool lex_nstring(struct lex *l, struct str *string_out, bool *is_nil_out)
{
	bool is_atom = l->at < l->end && *l->at != '"' && *l->at != '{';

	if (!lex_astring(l, string_out))
		return false;
	*is_nil_out = is_atom && str_ieq(*string_out, STR("NIL"));
	return true;
}

bool lex_space(struct lex *l)
{
	return lex_char(l, ' ');
}

bool lex_char(struct lex *l, char c)
{
	if (l->at == l->end || *l->at != c)
		return false;
	l->at++;
	return true;
}

bool lex_end(const struct lex *l)
{
	return l->at == l->end;
}
