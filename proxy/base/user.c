/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/user.h"

#include <stdint.h>

/*
 * The length of the character at the front of s, 0 when it is not UTF-8.
 *
 *	UTF8-2 = %xC2-DF UTF8-tail
 *	UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
 *	         %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *	UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
 *	         %xF4 %x80-8F 2( UTF8-tail )
 */
static size_t utf8_len(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (s.n < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool user_is_utf8(struct str s)
{
	while (s.n) {
		size_t n = utf8_len(s);

		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

/* C1 controls (U+0080..U+009F) are controls to a terminal that shows a log. */
static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < s.n &&
		    (unsigned char)s.p[i + 1] < 0xa0)
			return true;
	}
	return false;
}

bool user_is_text(struct str s)
{
	return !has_control(s) && user_is_utf8(s);
}

bool user_is_valid(struct str raw)
{
	return raw.n > 0 && raw.n <= USER_MAX && user_is_text(raw);
}

struct writer {
	char *out;
	size_t n;
	enum user_case fold;
	bool is_full;
};

static void put(struct writer *w, struct str s)
{
	if (s.n > USER_CANONICAL_MAX - w->n) {
		w->is_full = true;
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (w->fold == USER_CASE_LOWER && c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		w->out[w->n++] = c;
	}
}

bool user_canonical(struct str raw, struct str default_domain,
    enum user_case fold, char out[USER_CANONICAL_MAX], size_t *n_out)
{
	struct writer w = { .out = out, .fold = fold };
	struct str ignored, domain, local;

	*n_out = 0;
	if (!user_is_valid(raw))
		return false;
	struct str name = str_split(raw, USER_MASTER_SEPARATOR, &ignored);
	/* The last "@" begins the domain: a quoted local part may hold one. */
	const char *at = name.n ? memrchr(name.p, '@', name.n) : NULL;
	if (at) {
		local = (struct str){ name.p, (size_t)(at - name.p) };
		domain = str_skip(name, local.n + 1);
	} else {
		local = name;
		domain = default_domain;
	}
	if (local.n == 0 || (at && domain.n == 0))
		return false;
	/* A name that begins with "+" (a telephone number) has no detail. */
	const char *plus = memchr(local.p + 1, USER_DETAIL_SEPARATOR,
	    local.n - 1);
	if (plus)
		local.n = (size_t)(plus - local.p);
	put(&w, local);
	if (domain.n) {
		put(&w, STR("@"));
		put(&w, domain);
	}
	if (w.is_full)
		return false;
	*n_out = w.n;
	return true;
}
