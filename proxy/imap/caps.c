/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/caps.h"

#include <stddef.h>

#include "proxy/imap/quote.h"

/* What the dialogue before login itself keeps. LITERAL+ is not among them:
 * the proxy's bound on literals before login is LITERAL-'s. IMAP4rev2 neither:
 * it is a matter of ENABLE, which comes after login. */
static const struct str own[] = {
	{ "IMAP4rev1", 9 }, { "SASL-IR", 7 }, { "LITERAL-", 8 }, { "ID", 2 },
};

/* Words that are between a proxy and its backend, not between the client and
 * its mailbox. A word that ends in "*" stands for all that begin so. */
static const char *const leg_only[] = {
	"AUTH=*",		/* the proxy has its own */
	"STARTTLS",
	"LOGINDISABLED",
	"LOGIN-REFERRALS",	/* they lead around the proxy */
	"MAILBOX-REFERRALS",
	"UNAUTHENTICATE",	/* another user in this user's session */
	"MULTIPLEX*",		/* changes the framing of the connection */
	"X-MULTIPLEX*",
	"XCLIENT*",
	NULL
};

/* Words that are true only of the backend's session. */
static const char *const session_only[] = {
	"LITERAL+",
	"IMAP4rev2",
	"COMPRESS=*",
	NULL
};

static bool matches(struct str word, const char *pattern)
{
	struct str p = str_from(pattern);

	if (p.n && p.p[p.n - 1] == '*')
		return str_istarts(word, (struct str){ p.p, p.n - 1 });
	return str_ieq(word, p);
}

static bool is_listed(struct str word, const char *const *list)
{
	for (; *list; list++)
		if (matches(word, *list))
			return true;
	return false;
}

/* capability      = ("AUTH=" auth-type) / atom
 * auth-type       = atom */
struct str caps_next(struct str *rest)
{
	while (rest->n) {
		struct str word = str_split(*rest, ' ', rest);

		if (word.n <= CAPS_WORD_MAX && quote_is_atom(word))
			return word;
	}
	return STR_NONE;
}

/* What is no capability need not be skipped: it is not equal to one. */
bool caps_has(struct str caps, struct str word)
{
	while (caps.n)
		if (str_ieq(str_split(caps, ' ', &caps), word))
			return word.n > 0;
	return false;
}

bool caps_has_auth(struct str caps, struct str mechanism)
{
	for (struct str w; (w = caps_next(&caps)).n;)
		if (str_istarts(w, STR("AUTH=")) &&
		    str_ieq(str_skip(w, 5), mechanism))
			return true;
	return false;
}

static bool is_subset(struct str a, struct str b)
{
	for (struct str w; (w = caps_next(&a)).n;)
		if (!caps_has(b, w))
			return false;
	return true;
}

/* Mostly a server has said the very same before. */
bool caps_equal(struct str a, struct str b)
{
	return str_eq(a, b) || (is_subset(a, b) && is_subset(b, a));
}

/* A word that is not in the set yet. */
static void append_word(struct buf *out, struct str word)
{
	if (out->len + 1 + word.n > CAPS_MAX)
		return;
	/* space and word in one piece, or neither */
	if (!buf_reserve(out, word.n + 1))
		return;
	if (out->len)
		(void)buf_append(out, " ", 1);
	(void)buf_str(out, word);
}

static void add_word(struct buf *out, struct str word)
{
	if (!caps_has(buf_view(out), word))
		append_word(out, word);
}

void caps_add(struct buf *out, struct str text)
{
	for (struct str w; (w = caps_next(&text)).n;)
		add_word(out, w);
}

void caps_intersect(struct buf *out, struct str a, struct str b)
{
	for (struct str w; (w = caps_next(&a)).n;)
		if (caps_has(b, w))
			add_word(out, w);
}

void caps_mechanisms(struct buf *out, struct str caps)
{
	for (struct str w; (w = caps_next(&caps)).n;)
		if (str_istarts(w, STR("AUTH=")) && w.n > 5)
			add_word(out, str_skip(w, 5));
}

void caps_before_login(struct buf *out, struct str common)
{
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		add_word(out, own[i]);
	for (struct str w; (w = caps_next(&common)).n;)
		if (!is_listed(w, leg_only) && !is_listed(w, session_only))
			add_word(out, w);
}

void caps_after_login(struct buf *out, struct str backend)
{
	for (struct str w; (w = caps_next(&backend)).n;)
		if (!is_listed(w, leg_only))
			append_word(out, w);
}
