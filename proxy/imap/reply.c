/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/reply.h"

#include "proxy/imap/lex.h"

/* Takes the word up to the next space from *rest, and the space. */
static struct str take_word(struct str *rest)
{
	return str_split(*rest, ' ', rest);
}

/* tag = 1*<any ASTRING-CHAR except "+">; ASTRING-CHAR excludes the specials,
 * controls and 8-bit bytes */
static bool is_tag(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '+' ||
		    (!lex_is_atom_char(s.p[i]) && s.p[i] != ']'))
			return false;
	return s.n > 0;
}

static enum reply_status to_status(struct str word)
{
	static const struct {
		struct str word;
		enum reply_status status;
	} table[] = {
		{ { "OK", 2 }, REPLY_OK },
		{ { "NO", 2 }, REPLY_NO },
		{ { "BAD", 3 }, REPLY_BAD },
		{ { "BYE", 3 }, REPLY_BYE },
		{ { "PREAUTH", 7 }, REPLY_PREAUTH },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (str_ieq(word, table[i].word))
			return table[i].status;
	return REPLY_DATA;
}

/* Reads decimal digits, all of s; false if there is anything else, or more
 * than fits. */
static bool to_number(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.p[i] - '0');
		if (n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return s.n > 0;
}

/* Where the code that begins at s.p[0] ends, at its "]"; s.n: nowhere.
 * Brackets in it nest or do not: [REFERRAL imap://[::1]/], [X a[b]. */
static size_t code_end(struct str s, bool nested)
{
	const char *close = memchr(s.p, ']', s.n);
	bool quoted = false;
	unsigned depth = 0;

	if (!close)
		return s.n;
	/* mostly there is nothing of that kind in it */
	size_t n = (size_t)(close - s.p);
	if (!memchr(s.p + 1, '[', n - 1) && !memchr(s.p + 1, '"', n - 1))
		return n;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == '[' && !quoted && (nested || i == 0))
			depth++;
		else if (c == ']' && !quoted && --depth == 0)
			return i;
	}
	return s.n;
}

/* resp-text = ["[" resp-text-code "]" SP] text
 *
 * A code that never ends is taken as text. */
static void parse_resp_text(struct reply *r, struct str s)
{
	r->text = s;
	if (!str_starts(s, STR("[")))
		return;
	size_t end = code_end(s, true);
	if (end == s.n)
		end = code_end(s, false);
	if (end == s.n)
		return;
	r->code_args = (struct str){ s.p + 1, end - 1 };
	r->code = take_word(&r->code_args);
	r->text = str_skip(s, end + 1);
	if (str_starts(r->text, STR(" ")))
		r->text = str_skip(r->text, 1);
}

/* literal = "{" number64 ["+"] "}" CRLF; literal8 has a "~" before */
static void parse_literal(struct reply *r)
{
	struct str s = r->line;
	size_t i = s.n;

	if (s.n < 3 || s.p[s.n - 1] != '}')
		return;
	while (i > 0 && s.p[i - 1] != '{')
		i--;
	if (i == 0)
		return;
	struct str digits = { s.p + i, s.n - 1 - i };
	if (digits.n && digits.p[digits.n - 1] == '+')
		digits.n--;
	r->has_literal = to_number(digits, INT64_MAX, &r->literal_bytes);
}

static bool parse_untagged(struct reply *r, struct str rest)
{
	struct str word = take_word(&rest);
	uint64_t number;

	r->status = to_status(word);
	if (r->status != REPLY_DATA) {
		parse_resp_text(r, rest);
		return true;
	}
	if (to_number(word, UINT32_MAX, &number)) {
		r->has_number = true;
		r->number = (uint32_t)number;
		word = take_word(&rest);
	}
	r->name = word;
	r->text = rest;
	parse_literal(r);
	return word.n > 0;
}

static bool parse_line(struct reply *r)
{
	struct str rest = r->line;

	if (str_starts(rest, STR("+"))) {
		/* "+" CRLF is not what the grammar says, but it is seen */
		r->kind = REPLY_CONTINUE;
		rest = str_skip(rest, 1);
		if (rest.n && rest.p[0] != ' ')
			return false;
		r->text = rest.n ? str_skip(rest, 1) : rest;
		return true;
	}
	r->tag = take_word(&rest);
	if (str_eq(r->tag, STR("*"))) {
		r->kind = REPLY_UNTAGGED;
		return parse_untagged(r, rest);
	}
	r->kind = REPLY_TAGGED;
	r->status = to_status(take_word(&rest));
	if (r->status != REPLY_OK && r->status != REPLY_NO &&
	    r->status != REPLY_BAD)
		return false;
	parse_resp_text(r, rest);
	return is_tag(r->tag);
}

enum reply_verdict reply_take(struct str in, size_t max, struct reply *r_out,
    size_t *n_out)
{
	size_t window = in.n < max ? in.n : max;
	const char *lf = window ? memchr(in.p, '\n', window) : NULL;

	if (!lf)
		return in.n < max ? REPLY_MORE : REPLY_TOO_LONG;
	struct str line = { in.p, (size_t)(lf - in.p) };
	*n_out = line.n + 1;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	*r_out = (struct reply){ .line = line };
	if (line.n == 0 || memchr(line.p, '\r', line.n) ||
	    memchr(line.p, '\0', line.n))
		return REPLY_BROKEN;
	return parse_line(r_out) ? REPLY_LINE : REPLY_BROKEN;
}
