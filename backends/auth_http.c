/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * nginx's auth_http protocol: all that is known of a login goes out in the
 * header of a GET, and the answer is in the header that comes back. The HTTP
 * status and the body mean nothing.
 *
 *	Auth-Status: OK		the backend is at Auth-Server, Auth-Port;
 *				Auth-User and Auth-Pass replace the client's
 *	Auth-Status: WAIT	ask again in Auth-Wait seconds
 *	Auth-Status: <text>	no; told after Auth-Wait seconds, or at once
 *				and the connection ends
 *
 * Stricter than nginx: an answer without Auth-Status is none, where nginx
 * takes it for OK; WAIT without a time is one second.
 */
#include <ctype.h>
#include <ev.h>
#include <stdlib.h>

#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/http_client.h"
#include "backends/url.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/tlscert.h"
#include "proxy/base/user.h"

#define PARALLEL 128
#define ANSWER_MAX (16 * 1024)
#define TEXT_MAX 400		/* of a refusal */
#define PASSWORD_MAX 4096	/* as a literal of the client's may be */
#define WAIT_S 1.		/* for a WAIT that names no time */

struct driver {
	const struct conf_auth *conf;
	struct ev_loop *loop;
	struct http_client *client;
	struct str url;
	struct str host;	/* without the port, as nginx sends it */
};

struct check {
	struct driver *driver;
	struct auth_request *request;
	struct http_call *call;		/* or it waits: */
	ev_timer timer;
	bool is_refused;		/* and is to be told; else to be asked */
	char text[TEXT_MAX + 1];
};

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

static void write_question(struct buf *to, const struct driver *d,
    const struct auth_login *l)
{
	char ip[ADDR_IP_MAX];

	write_line(to, "Host", d->host);
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
		write_tls(to, l, d->conf->pass_client_certificate);
	for (size_t i = 0; i < d->conf->header.n; i++)
		buf_printf(to, "%s\r\n", d->conf->header.v[i]);
}

/* --- the answer -------------------------------------------------------------------- */

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
static const char *read_ok(const struct driver *d, const struct auth_login *l,
    const struct said *said, struct auth_answer *out)
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
	if (l->is_proven && said->password.n == 0 &&
	    d->conf->backend_login != CONF_BACKEND_LOGIN_MASTER)
		return "the answer has no Auth-Pass, for a user without one";
	out->user = said->user;
	out->password = said->password;
	return NULL;
}

static void finish(struct check *c, const struct auth_answer *answer)
{
	struct auth_request *r = c->request;

	ev_timer_stop(c->driver->loop, &c->timer);
	auth_finish(r, answer);
	free(c);
}

static void fail(struct check *c, const char *why)
{
	finish(c, &(struct auth_answer){ .verdict = AUTH_FAILED,
	    .why = why });
}

/* The text becomes the rest of a response line (RFC 9051, text). */
static void keep_text(struct check *c, struct str text)
{
	size_t n = text.n < TEXT_MAX ? text.n : TEXT_MAX;

	for (size_t i = 0; i < n; i++)
		c->text[i] = (char)(isprint((unsigned char)text.p[i]) ?
		    text.p[i] : '?');
	c->text[n] = 0;
}

static void refuse(struct check *c, bool ends)
{
	finish(c, &(struct auth_answer){ .verdict = AUTH_DENIED,
	    .text = str_from(c->text), .ends = ends, .why = c->text });
}

static void sleep_for(struct check *c, double seconds)
{
	ev_timer_set(&c->timer, seconds, 0.);
	ev_timer_start(c->driver->loop, &c->timer);
}

static void on_reply(void *owner, const struct http_reply *r)
{
	struct check *c = owner;
	struct said said = { 0 };
	struct auth_answer ok = { .verdict = AUTH_OK };
	struct str head = r->head, name, value;

	c->call = NULL;
	if (r->status == 0) {
		fail(c, r->why);
		return;
	}
	while (http_next_header(&head, &name, &value))
		read_line(&said, name, value);
	if (said.is_refused) {
		keep_text(c, said.text);
		c->is_refused = true;
		if (said.wait_s)
			sleep_for(c, said.wait_s);
		else
			refuse(c, true);
	} else if (said.is_wait) {
		sleep_for(c, said.wait_s ? said.wait_s : WAIT_S);
	} else if (!said.is_ok) {
		fail(c, "the answer has no Auth-Status");
	} else {
		const char *why = read_ok(c->driver, &c->request->login,
		    &said, &ok);
		if (why)
			fail(c, why);
		else
			finish(c, &ok);
	}
}

/* --- a check ------------------------------------------------------------------------- */

static void ask(struct check *c)
{
	struct driver *d = c->driver;
	struct buf head;

	buf_init(&head, 0);
	write_question(&head, d, &c->request->login);
	c->call = http_get(d->client, d->url, buf_view(&head), on_reply, c);
	buf_fini(&head);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct check *c = t->data;

	(void)loop;
	(void)revents;
	if (c->is_refused)
		refuse(c, false);
	else
		ask(c);
}

static void driver_check(void *driver, struct auth_request *r)
{
	struct check *c = mem_alloc(sizeof *c);

	c->driver = driver;
	c->request = r;
	ev_init(&c->timer, on_timer);
	c->timer.data = c;
	r->state = c;
	ask(c);
}

static void driver_cancel(void *driver, struct auth_request *r)
{
	struct driver *d = driver;
	struct check *c = r->state;

	http_cancel(&c->call);
	ev_timer_stop(d->loop, &c->timer);
	free(c);
}

/* --- the driver's life ----------------------------------------------------------------- */

static void *driver_new(const struct settings *settings,
    const struct conf_auth *conf, struct ev_loop *loop, struct err *err)
{
	struct url url;

	(void)settings;
	if (!url_parse(str_from(conf->url), &url, err))
		return NULL;
	struct driver *d = mem_alloc(sizeof *d);
	d->conf = conf;
	d->loop = loop;
	d->url = str_from(conf->url);
	d->host = url.host;
	d->client = http_client_new(loop, &(struct http_options){
	    .n_parallel = PARALLEL, .max_bytes = ANSWER_MAX,
	    .timeout_ms = conf->timeout_ms, .ca = conf->ca.data,
	    .is_plain = true });
	return d;
}

static void driver_free(void *driver)
{
	struct driver *d = driver;

	http_client_free(&d->client);
	free(d);
}

const struct auth_kind auth_http = {
	.name = "http",
	.has_timeout = false,
	.new = driver_new,
	.check = driver_check,
	.cancel = driver_cancel,
	.free = driver_free,
};
