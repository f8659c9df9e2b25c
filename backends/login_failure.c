/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/login_failure.h"

#include "proxy/base/err.h"
#include "proxy/imap/quote.h"
#include "proxy/imap/reply.h"

#define LOGIN_SAY_DENIED \
	"NO [AUTHENTICATIONFAILED] Authentication failed."
#define LOGIN_SAY_UNAVAILABLE \
	"NO [UNAVAILABLE] Account is temporarily unavailable."
#define LOGIN_SAY_SERVERBUG \
	"NO [SERVERBUG] Account is temporarily unavailable."
#define LOGIN_SAY_CANCELLED \
	"BAD Authentication cancelled."

#define CODE_MAX 128
#define TEXT_MAX 400
#define PORT_IMAP 143

static const struct {
	const char *word;
	bool retry;
	const char *reply;
} kinds[] = {
#define FAILURE(name, word, retry, reply) { word, retry, reply },
#include "backends/login_failures.def"
#undef FAILURE
};

const char *login_failure_word(enum login_failure kind)
{
	must(kind < LOGIN_FAIL_end);
	return kinds[kind].word;
}

enum login_failure login_failure_find(struct str word)
{
	for (unsigned i = 0; i < LOGIN_FAIL_end; i++)
		if (str_eq(word, str_from(kinds[i].word)))
			return (enum login_failure)i;
	return LOGIN_FAIL_end;
}

bool login_failure_retry(enum login_failure kind)
{
	must(kind < LOGIN_FAIL_end);
	return kinds[kind].retry;
}

const char *login_failure_reply(enum login_failure kind)
{
	must(kind < LOGIN_FAIL_end);
	return kinds[kind].reply ? kinds[kind].reply : LOGIN_SAY_UNAVAILABLE;
}

/* A NO without a code is about the credentials: that is what servers older
 * than RFC 5530 say. A CAPABILITY code says nothing about the refusal. */
enum login_failure login_failure_of(const struct reply *r)
{
	static const struct {
		struct str code;
		enum login_failure kind;
	} table[] = {
		{ { "AUTHENTICATIONFAILED", 20 }, LOGIN_FAIL_AUTH_DENIED },
		{ { "UNAVAILABLE", 11 }, LOGIN_FAIL_UNAVAILABLE },
		{ { "LIMIT", 5 }, LOGIN_FAIL_LIMIT },
		{ { "SERVERBUG", 9 }, LOGIN_FAIL_SERVERBUG },
		{ { "REFERRAL", 8 }, LOGIN_FAIL_REFERRAL },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (str_ieq(r->code, table[i].code))
			return table[i].kind;
	if (r->status == REPLY_BAD)
		return LOGIN_FAIL_BAD;
	if (r->code.n == 0 || str_ieq(r->code, STR("CAPABILITY")))
		return LOGIN_FAIL_AUTH_DENIED;
	return LOGIN_FAIL_OTHER_CODE;
}

/* A code too long to be shown whole is not shown: half a code would swallow
 * the text. */
void login_failure_forward(struct buf *out, const struct reply *r)
{
	size_t code_n = r->code.n + r->code_args.n;

	(void)buf_puts(out, "NO ");
	if (r->code.n && code_n <= CODE_MAX) {
		(void)buf_puts(out, "[");
		quote_printable(out, r->code, CODE_MAX);
		if (r->code_args.n)
			(void)buf_puts(out, " ");
		quote_printable(out, r->code_args, CODE_MAX);
		(void)buf_puts(out, "] ");
	}
	if (r->text.n)
		quote_printable(out, r->text, TEXT_MAX);
	else
		(void)buf_puts(out, "Login failed.");
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Appends s with each %xx decoded; false if one is broken or gives a control
 * byte. */
static bool decode_percent(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '%') {
			int hi = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int lo = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			c = (unsigned char)(hi << 4 | lo);
			i += 2;
		}
		if (c < ' ' || c == 0x7f || !buf_append(out, &c, 1))
			return false;
	}
	return true;
}

static bool parse_port(struct str s, uint16_t *out)
{
	unsigned port = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		port = port * 10 + (unsigned)(s.p[i] - '0');
		if (port > UINT16_MAX)
			return false;
	}
	*out = (uint16_t)port;
	return port > 0;
}

static bool is_host(struct str s, const char *more)
{
	if (s.n == 0 || s.n > 253)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || (c && strchr(more, c))))
			return false;
	}
	return true;
}

/* iserver = [iuserinfo "@"] host [ ":" port ]
 * host    = IP-literal / IPv4address / reg-name
 * iuserinfo = enc-user [iauth] / [enc-user] iauth
 * iauth   = ";AUTH=" ( "*" / enc-auth-type ) */
bool login_referral_parse(struct str url, struct buf *text,
    struct login_referral *out)
{
	struct str rest, host, user = STR_NONE, port = STR_NONE;
	bool is_ipv6 = false;

	*out = (struct login_referral){ .port = PORT_IMAP };
	buf_clear(text);
	if (!str_istarts(url, STR("imap://")) || memchr(url.p, ' ', url.n))
		return false;
	host = str_split(str_skip(url, 7), '/', &rest);
	if (host.n && memchr(host.p, '@', host.n)) {
		user = str_split(host, '@', &rest);
		host = rest;
		user = str_split(user, ';', &rest);
	}
	if (str_starts(host, STR("["))) {
		host = str_split(str_skip(host, 1), ']', &port);
		is_ipv6 = true;
		if (port.n && port.p[0] != ':')
			return false;
		port = port.n ? str_skip(port, 1) : port;
	} else {
		host = str_split(host, ':', &port);
	}
	if (!is_host(host, is_ipv6 ? ":." : "-._") ||
	    (port.n && !parse_port(port, &out->port)) ||
	    !decode_percent(user, text))
		return false;
	size_t user_n = text->len;
	if (!buf_str(text, host))
		return false;
	out->user = (struct str){ buf_view(text).p, user_n };
	out->host = str_skip(buf_view(text), user_n);
	return true;
}
