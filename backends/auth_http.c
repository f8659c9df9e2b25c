/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * A driver that asks a server for nginx's auth_http (auth_http_wire.h). The
 * status of HTTP and the body mean nothing. A check is a request, or a timer
 * behind one: to tell a refusal later, or to ask again.
 */
#include <ev.h>
#include <stdlib.h>

#include "backends/auth.h"
#include "backends/auth_http_wire.h"
#include "backends/conf.h"
#include "backends/http_client.h"
#include "backends/url.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define PARALLEL 128
#define ANSWER_MAX (16 * 1024)
#define WAIT_S 1.		/* for a WAIT that names no time */

struct driver {
	const struct conf_auth *conf;
	struct ev_loop *loop;
	struct http_client *client;
	struct str url;
	struct auth_http_server server;
};

struct check {
	struct driver *driver;
	struct auth_request *request;
	struct http_call *call;		/* or it waits: */
	ev_timer timer;
	bool is_refused;		/* and is to be told; else to be asked */
	char text[AUTH_HTTP_TEXT_MAX + 1];
};

/* --- the answer -------------------------------------------------------------------- */

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

static void take_ok(struct check *c, const struct auth_http_answer *a)
{
	/* there is no other way into the backend for who showed none */
	if (c->request->login.is_proven && a->password.n == 0 &&
	    c->driver->conf->backend_login != CONF_BACKEND_LOGIN_MASTER)
		fail(c, "the answer has no Auth-Pass, for a user without one");
	else
		finish(c, &(struct auth_answer){ .verdict = AUTH_OK,
		    .user = a->user, .password = a->password,
		    .address = a->address });
}

static void on_reply(void *owner, const struct http_reply *r)
{
	struct check *c = owner;
	struct auth_http_answer a;

	c->call = NULL;
	if (r->status == 0) {
		fail(c, r->why);
		return;
	}
	auth_http_read(r->head, &a);
	switch (a.verdict) {
	case AUTH_HTTP_OK:
		take_ok(c, &a);
		break;
	case AUTH_HTTP_WAIT:
		sleep_for(c, a.wait_s ? a.wait_s : WAIT_S);
		break;
	case AUTH_HTTP_REFUSED:
		memcpy(c->text, a.text, sizeof c->text);
		c->is_refused = true;
		if (a.wait_s)
			sleep_for(c, a.wait_s);
		else
			refuse(c, true);
		break;
	case AUTH_HTTP_BROKEN:
		fail(c, a.why);
		break;
	}
}

/* --- a check ------------------------------------------------------------------------- */

static void ask(struct check *c)
{
	struct driver *d = c->driver;
	struct buf head;

	buf_init(&head, 0);
	auth_http_write(&head, &d->server, &c->request->login);
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
	d->server = (struct auth_http_server){ .host = url.host,
		.lines = conf->header.v, .n_lines = conf->header.n,
		.gets_certificate = conf->pass_client_certificate };
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
