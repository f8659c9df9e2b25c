/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/login_id.h"

#include <ctype.h>

#include "backends/login.h"
#include "proxy/base/buf.h"
#include "proxy/base/digits.h"
#include "proxy/imap/quote.h"

#define KEY_MAX        30	/* RFC 2971, 3.3 */
#define SESSION_ID_MAX 64	/* Dovecot's */
#define DNS_NAME_MAX   253
#define OWN_PAIRS      8

/* All of the client's pairs together. RFC 2971 would allow 30 KB; but what a
 * backend reads before login is bounded, and the login comes behind it. */
#define CLIENT_PAIRS_BYTES_MAX 1024

struct writer {
	struct buf *out;
	unsigned n_pairs;
	bool ok;
};

static bool is_of(struct str s, size_t max, bool (*is_part)(char))
{
	if (s.n == 0 || s.n > max)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_part(s.p[i]))
			return false;
	return true;
}

static bool is_ip_char(char c)
{
	return isxdigit((unsigned char)c) || c == '.' || c == ':';
}

/* An address as inet_ntop() writes it. */
static bool is_ip(struct str s)
{
	return is_of(s, 45, is_ip_char);
}

static bool is_dns_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

static bool is_dns_name(struct str s)
{
	if (!is_of(s, DNS_NAME_MAX, is_dns_char))
		return false;
	while (s.n) {
		struct str label = str_split(s, '.', &s);

		if (label.n == 0 || label.n > 63 || label.p[0] == '-')
			return false;
	}
	return true;
}

/* Can be a quoted string, and holds no control bytes either. */
static bool is_plain(struct str s)
{
	if (quote_form(s) != QUOTE_QUOTED)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

/* id_params_list = "(" #(string SPACE nstring) ")" / nil */
static void put(struct writer *w, struct str key, struct str value)
{
	w->ok = w->ok &&
	    buf_puts(w->out, w->n_pairs++ ? " " : "(") &&
	    quote_string(w->out, key) && buf_puts(w->out, " ") &&
	    (value.p ? quote_string(w->out, value) :
	    buf_puts(w->out, "NIL"));
}

static void put_number(struct writer *w, struct str key, unsigned number)
{
	char digits[DIGITS_MAX], *end = digits + sizeof digits;
	char *p = digits_put(end, number, 1);

	if (number)
		put(w, key, (struct str){ p, (size_t)(end - p) });
}

static bool is_repeated(const struct login_id *id, unsigned at)
{
	for (unsigned i = 0; i < at; i++)
		if (str_ieq(id->pairs[i].key, id->pairs[at].key))
			return true;
	return false;
}

static void put_client(struct writer *w, const struct login_id *id)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < id->n_pairs; i++) {
		const struct login_pair *p = &id->pairs[i];

		if (w->n_pairs == LOGIN_ID_PAIRS_MAX - OWN_PAIRS)
			return;
		/* "x-originating-ip" from a client would be believed */
		if (p->key.n == 0 || p->key.n > KEY_MAX ||
		    str_istarts(p->key, STR("x-")) || !is_plain(p->key) ||
		    !is_plain(p->value) || is_repeated(id, i) ||
		    p->value.n > CLIENT_PAIRS_BYTES_MAX ||
		    bytes + p->key.n + p->value.n > CLIENT_PAIRS_BYTES_MAX)
			continue;
		bytes += p->key.n + p->value.n;
		put(w, p->key, p->value);
	}
}

bool login_id_write(struct buf *out, const struct login_id *id)
{
	struct writer w = { .out = out };

	w.ok = buf_puts(out, "I ID ");
	put_client(&w, id);
	if (id->session_id.n && id->session_id.n <= SESSION_ID_MAX &&
	    is_plain(id->session_id))
		put(&w, STR("x-session-id"), id->session_id);
	if (is_ip(id->client_ip)) {
		put(&w, STR("x-originating-ip"), id->client_ip);
		put_number(&w, STR("x-originating-port"), id->client_port);
	}
	if (is_ip(id->connected_ip)) {
		put(&w, STR("x-connected-ip"), id->connected_ip);
		put_number(&w, STR("x-connected-port"), id->connected_port);
	}
	put_number(&w, STR("x-proxy-ttl"), id->ttl);
	put(&w, STR("x-client-transport"),
	    id->client_has_tls ? STR("TLS") : STR("insecure"));
	if (is_dns_name(id->connected_name))
		put(&w, STR("x-connected-name"), id->connected_name);
	return w.ok && buf_puts(out, ")\r\n");
}
