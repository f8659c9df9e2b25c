/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/auth_http_wire.h"

#include <ctype.h>

#include "backends/auth.h"
#include "proxy/base/buf.h"
#include "proxy/base/tlscert.h"
#include "proxy/base/user.h"

#define PASSWORD_MAX 4096	/* as a literal of the client's may be */

/* --- the question ------------------------------------------------------------------ */

/* Control characters, space and percent, as nginx does (MAIL_AUTH). */
static void write_escaped(struct buf *to, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ' || c == '%')
			buf_printf(to, "%%%02X", c);
		else
			buf_append(to, &s.p[i], 1);
	}
}

static void write_line(struct buf *to, const char *name, struct str value)
{
	buf_printf(to, "%s: %.*s\r\n", name, STR_ARG(value));
}

static void write_secret(struct buf *to, const char *name, struct str value)
{
	buf_printf(to, "%s: ", name);
	write_escaped(to, value);
	buf_puts(to, "\r\n");
}

static void write_proxied(struct buf *to, const struct auth_login *l)
{
	char ip[ADDR_IP_MAX];

	write_line(to, "Proxy-Protocol-Addr",
	    str_from(addr_ip(&l->client, ip)));
	buf_printf(to, "Proxy-Protocol-Port: %u\r\n", addr_port(&l->client));
	write_line(to, "Proxy-Protocol-Server-Addr",
	    str_from(addr_ip(&l->local, ip)));
	buf_printf(to, "Proxy-Protocol-Server-Port: %u\r\n",
	    addr_port(&l->local));
}

static void write_tls(struct buf *to, const struct auth_login *l,
    bool with_certificate)
{
	struct tlscert cert;

	buf_puts(to, "Auth-SSL: on\r\n");
	write_line(to, "Auth-SSL-Protocol", l->tls_version);
	write_line(to, "Auth-SSL-Cipher", l->tls_cipher);
	if (!tlscert_init(&cert, l->certificate))
		return;
	/* one that cannot be verified ends the handshake */
	write_line(to, "Auth-SSL-Verify", STR("SUCCESS"));
	write_line(to, "Auth-SSL-Subject", str_from(cert.subject));
	write_line(to, "Auth-SSL-Issuer", str_from(cert.issuer));
	write_line(to, "Auth-SSL-Serial", str_from(cert.serial));
	write_line(to, "Auth-SSL-Fingerprint", str_from(cert.fingerprint));
	if (with_certificate)
		write_secret(to, "Auth-SSL-Cert", str_from(cert.pem));
	tlscert_fini(&cert);
}

void auth_http_write(struct buf *to, const struct auth_http_server *server,
    const struct auth_login *l)
{
	char ip[ADDR_IP_MAX];

	write_line(to, "Host", server->host);
	write_line(to, "Auth-Method", l->is_proven ? STR("external") :
	    STR("plain"));
	write_secret(to, "Auth-User", l->user);
	write_secret(to, "Auth-Pass", l->password);
	write_line(to, "Auth-Protocol", STR("imap"));
	buf_printf(to, "Auth-Login-Attempt: %u\r\n", l->attempt);
	write_line(to, "Client-IP", str_from(addr_ip(&l->client, ip)));
	if (l->is_proxied)
		write_proxied(to, l);
	if (l->has_tls)
		write_tls(to, l, server->gets_certificate);
	for (size_t i = 0; i < server->n_lines; i++)
		buf_printf(to, "%s\r\n", server->lines[i]);
}

/* --- the answer -------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes the first line with a colon off *head; false: there is none. */
static bool next_line(struct str *head, struct str *name_out,
    struct str *value_out)
{
	struct str line, value;

	do {
		if (head->n == 0)
			return false;
		line = str_split(*head, '\n', head);
		*name_out = str_split(line, ':', &value);
	} while (name_out->n == line.n);
	while (value.n && is_blank(value.p[0]))
		value = str_skip(value, 1);
	while (value.n && is_blank(value.p[value.n - 1]))
		value.n--;
	*value_out = value;
	return true;
}

struct said {
	bool is_ok, is_wait, is_refused;
	struct str text;	/* refused */
	struct str server, port, user, password;
	unsigned wait_s;
};

/* What is not a number is 0, as with nginx. */
static unsigned read_number(struct str s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]) || i > 5)
			return 0;
		n = n * 10 + (unsigned)(s.p[i] - '0');
	}
	return n;
}

static void read_line(struct said *said, struct str name, struct str value)
{
	if (str_ieq(name, STR("Auth-Status"))) {
		if (str_eq(value, STR("OK"))) {
			said->is_ok = true;
		} else if (str_eq(value, STR("WAIT"))) {
			said->is_wait = true;
		} else {
			said->is_refused = true;
			said->text = value;
		}
	} else if (str_ieq(name, STR("Auth-Server"))) {
		said->server = value;
	} else if (str_ieq(name, STR("Auth-Port"))) {
		said->port = value;
	} else if (str_ieq(name, STR("Auth-User"))) {
		said->user = value;
	} else if (str_ieq(name, STR("Auth-Pass"))) {
		said->password = value;
	} else if (str_ieq(name, STR("Auth-Wait"))) {
		said->wait_s = read_number(value);
	}
}

/* NULL, or what is wrong with it. */
static const char *read_ok(const struct said *said,
    struct auth_http_answer *out)
{
	unsigned port = read_number(said->port);

	if (said->server.n == 0 || said->port.n == 0)
		return "the answer has no Auth-Server or no Auth-Port";
	if (!addr_parse_ip(&out->address, said->server))
		return "Auth-Server is not an IP address";
	if (port < 1 || port > 65535)
		return "Auth-Port is not a port";
	addr_set_port(&out->address, port);
	if (said->user.n && !user_is_valid(said->user))
		return "Auth-User is not a user name";
	if (said->password.n > PASSWORD_MAX)
		return "Auth-Pass is too long";
	out->user = said->user;
	out->password = said->password;
	return NULL;
}

/* The text becomes the rest of a response line (RFC 9051, text). */
static void read_text(struct str text, char to[AUTH_HTTP_TEXT_MAX + 1])
{
	size_t n = text.n < AUTH_HTTP_TEXT_MAX ? text.n : AUTH_HTTP_TEXT_MAX;

	for (size_t i = 0; i < n; i++)
		to[i] = (char)(isprint((unsigned char)text.p[i]) ?
		    text.p[i] : '?');
	to[n] = 0;
}

void auth_http_read(struct str head, struct auth_http_answer *out)
{
	struct said said = { 0 };
	struct str name, value;

	*out = (struct auth_http_answer){ .verdict = AUTH_HTTP_BROKEN };
	while (next_line(&head, &name, &value))
		read_line(&said, name, value);
	out->wait_s = said.wait_s;
	if (said.is_refused) {
		out->verdict = AUTH_HTTP_REFUSED;
		read_text(said.text, out->text);
	} else if (said.is_wait) {
		out->verdict = AUTH_HTTP_WAIT;
	} else if (!said.is_ok) {
		out->why = "the answer has no Auth-Status";
	} else {
		out->why = read_ok(&said, out);
		if (!out->why)
			out->verdict = AUTH_HTTP_OK;
	}
}
