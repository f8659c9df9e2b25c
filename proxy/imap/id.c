/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/id.h"

#include "proxy/base/buf.h"
#include "proxy/imap/lex.h"
#include "proxy/imap/quote.h"

/* Control bytes go, since the pair is shown and sent on. */
static struct str cleaned(struct str s, char *room)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c != 0x7f)
			room[n++] = c < 0x80 ? (char)c : '?';
	}
	return (struct str){ room, n };
}

static void keep(struct buf *kept, struct str key, struct str value,
    bool is_nil)
{
	char key_room[ID_KEY_MAX], value_room[ID_VALUE_MAX];
	size_t len = kept->len;

	key = cleaned(key, key_room);
	value = cleaned(value, value_room);
	if (key.n == 0 || str_istarts(key, STR("x-")))
		return;
	if ((len == 0 || buf_puts(kept, " ")) && quote_string(kept, key) &&
	    buf_puts(kept, " ") &&
	    (is_nil ? buf_puts(kept, "NIL") : quote_string(kept, value)))
		return;
	kept->len = (uint32_t)len;	/* takes the half of a pair back */
}

/*
 * id-params-list = "(" *(string SP nstring) ")" / nil	; RFC 2971 section 4
 *
 * Between the pairs stands a space, as its examples show and its ABNF
 * forgot. Atoms are taken where strings should stand.
 */
bool id_parse(struct lex *l, struct buf *kept)
{
	struct str key, value;
	bool is_nil;

	if (!lex_space(l))
		return false;
	if (!lex_char(l, '('))
		return lex_nstring(l, &value, &is_nil) && is_nil && lex_end(l);
	for (unsigned n = 0; !lex_char(l, ')'); n++) {
		if (n == ID_PAIRS_MAX || (n > 0 && !lex_space(l)))
			return false;
		if (!lex_astring(l, &key) || key.n > ID_KEY_MAX ||
		    !lex_space(l) || !lex_nstring(l, &value, &is_nil) ||
		    value.n > ID_VALUE_MAX)
			return false;
		keep(kept, key, value, is_nil);
	}
	return lex_end(l);
}
