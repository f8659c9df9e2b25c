/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/quote.h"

#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/imap/lex.h"

enum quote_form quote_form(struct str s)
{
	enum quote_form form = QUOTE_QUOTED;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\0')
			return QUOTE_NEITHER;
		if (c == '\r' || c == '\n' || c >= 0x80)
			form = QUOTE_LITERAL;
	}
	return form;
}

/* Also kept out: "~" and "+" at the front, where old servers take them for a
 * literal8 or a continuation. */
bool quote_is_atom(struct str s)
{
	if (s.n == 0 || str_ieq(s, STR("NIL")) ||
	    s.p[0] == '~' || s.p[0] == '+')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!lex_is_atom_char(s.p[i]))
			return false;
	return true;
}

/* quoted          = DQUOTE *QUOTED-CHAR DQUOTE
 * QUOTED-CHAR     = <any TEXT-CHAR except quoted-specials> /
 *                   "\" quoted-specials / UTF8-2 / UTF8-3 / UTF8-4
 * quoted-specials = DQUOTE / "\"
 *
 * UTF-8 is for servers of RFC 9051 and RFC 6855 only; here it is a literal. */
bool quote_string(struct buf *out, struct str s)
{
	if (quote_form(s) != QUOTE_QUOTED || s.n > SIZE_MAX / 2 - 2)
		return false;
	char *to = buf_reserve(out, 2 * s.n + 2);
	if (!to)
		return false;
	size_t n = 0;
	to[n++] = '"';
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			to[n++] = '\\';
		to[n++] = s.p[i];
	}
	to[n++] = '"';
	buf_commit(out, n);
	return true;
}

bool quote_literal_head(struct buf *out, size_t n, bool nonsync)
{
	return buf_printf(out, "{%zu%s}\r\n", n, nonsync ? "+" : "");
}

bool quote_astring(struct buf *out, struct str s, size_t nonsync_max)
{
	if (quote_is_atom(s))
		return buf_str(out, s);
	switch (quote_form(s)) {
	case QUOTE_QUOTED:
		return quote_string(out, s);
	case QUOTE_LITERAL:
		/* head and bytes in one piece, or not at all; 32 bytes are
		 * enough for any head */
		if (s.n > nonsync_max || s.n > SIZE_MAX - 32 ||
		    !buf_reserve(out, s.n + 32))
			return false;
		must(quote_literal_head(out, s.n, true));
		must(buf_str(out, s));
		return true;
	case QUOTE_NEITHER:
		return false;
	}
	return false;
}

bool quote_printable(struct buf *out, struct str s, size_t max)
{
	size_t n = s.n;

	if (n > max) {
		n = max;
		while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
	}
	if (n == 0)
		return true;
	char *to = buf_reserve(out, n);
	if (!to)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		to[i] = c < ' ' || c == 0x7f ? '?' : s.p[i];
	}
	buf_commit(out, n);
	return true;
}
