/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/probe.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/random.h>

#include "backends/backend_tls.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/login.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/stream.h"
#include "proxy/base/tlsctx.h"

#define CHUNK 16384
#define IN_MAX (4 * CHUNK)
#define PENDING_S 0.2		/* its name is being resolved, or PROBES_MAX */

enum stage {
	IDLE,			/* the timer begins the next probe */
	HANDSHAKE,		/* connecting; with implicit TLS that, too */
	DIALOGUE,
	LEAVING,		/* LOGOUT is sent; its end is awaited */
};

struct one {
	struct probe *probe;
	struct backend *backend;
	struct addr addr;
	enum stage stage;
	struct stream stream;
	struct tls_client *tls;	/* kept: it resumes */
	struct login login;
	struct buf in, out;
	ev_timer timer;		/* begins a probe, or limits it */
	double retry_s;
	bool has_failed;
};

struct probe {
	struct ev_loop *loop;
	struct stream_loop streams;
	struct farm *farm;
	struct backend_trusts *trusts;
	probe_heard_fn *heard;
	void *owner;
	struct one *all;
	size_t n, n_running;
};

static void begin_in(struct one *o, double seconds)
{
	struct ev_loop *loop = o->probe->loop;

	ev_timer_stop(loop, &o->timer);
	ev_timer_set(&o->timer, seconds, 0.);
	ev_timer_start(loop, &o->timer);
}

/* Within 5 % of the time, so that proxies started together spread. */
static double spread(double seconds)
{
	unsigned char r;

	if (getrandom(&r, 1, GRND_NONBLOCK) != 1)
		return seconds;
	return seconds * (0.95 + r / 2560.);
}

static void close_all(struct one *o)
{
	if (o->stage == IDLE)
		return;
	o->stage = IDLE;
	o->probe->n_running--;
	stream_close(&o->stream);
	login_fini(&o->login);
	buf_fini(&o->in);
	buf_fini(&o->out);
}

static void log_turn(const struct one *o, enum log_level level,
    const char *event, const char *kind, struct str why)
{
	struct log_line l;

	if (!log_begin(&l, level, event))
		return;
	log_str(&l, "backend", backend_name(o->backend));
	log_addr(&l, "address", &o->addr);
	if (kind)
		log_text(&l, "kind", kind);
	if (why.n)
		log_str(&l, "why", why);
	log_end(&l);
}

static void failed_as(struct one *o, const char *kind, struct str why)
{
	if (!o->has_failed)
		log_turn(o, LOG_LINE_WARN, "probe_failed", kind, why);
	o->has_failed = true;
	close_all(o);
	begin_in(o, spread(o->retry_s));
	o->retry_s *= 2;
	if (o->retry_s > PROBE_RETRY_MAX_S)
		o->retry_s = PROBE_RETRY_MAX_S;
}

/* The dialogue knows why. */
static void failed(struct one *o)
{
	enum login_failure kind = login_failure(&o->login);

	if ((kind == LOGIN_FAIL_CONNECT || kind == LOGIN_FAIL_TIMEOUT) &&
	    backend_fault(o->backend, &o->addr)) {
		/* the farm has logged it */
		close_all(o);
		begin_in(o, spread(PROBE_RETRY_MIN_S));
		return;
	}
	failed_as(o, login_failure_word(kind), login_detail(&o->login));
}

static void abort_as(struct one *o, enum login_failure kind, const char *why)
{
	login_abort(&o->login, kind, why);
	failed(o);
}

static void send_out(struct one *o)
{
	struct str bytes = buf_view(&o->out);

	stream_write(&o->stream, bytes.p, bytes.n);
	(void)stream_flush(&o->stream);
	buf_clear(&o->out);
}

static void succeeded(struct one *o)
{
	backend_fault_over(o->backend, &o->addr);
	bool is_new = backend_hear(o->backend,
	    login_capability_before(&o->login));

	if (o->has_failed)
		log_turn(o, LOG_LINE_INFO, "probe_ok", NULL, STR_NONE);
	o->has_failed = false;
	o->retry_s = PROBE_RETRY_MIN_S;
	o->stage = LEAVING;
	send_out(o);	/* the backend closes; we only do after a while */
	if (is_new)
		o->probe->heard(o->probe->owner);
}

static void finished(struct one *o)
{
	close_all(o);
	begin_in(o, spread(PROBE_EVERY_S));
}

/* --- the connection ---------------------------------------------------------- */

static bool begin_tls(struct one *o)
{
	const struct conf_backend *b = backend_conf(o->backend);
	struct err err = { "" };

	if (!o->tls)
		o->tls = backend_tls_client(o->probe->trusts, b, &err);
	if (!o->tls) {
		abort_as(o, LOGIN_FAIL_TLS, err.text);
		return false;
	}
	stream_tls_connect(&o->stream, o->tls);
	return true;
}

/* True when TLS is done, or was not wanted. */
static bool handshake(struct one *o)
{
	struct err err = { "" };

	switch (stream_handshake(&o->stream, &err)) {
	case STREAM_OK:
		return true;
	case STREAM_AGAIN:
		stream_want(&o->stream, true);
		return false;
	case STREAM_EOF:
	case STREAM_FAILED:
		break;
	}
	abort_as(o, o->stream.error && o->stream.error != EPROTO ?
	    LOGIN_FAIL_CONNECT : LOGIN_FAIL_TLS, err.text);
	return false;
}

/* True when new bytes are in. */
static bool read_in(struct one *o)
{
	char *to = buf_reserve(&o->in, CHUNK);
	size_t n;

	if (!to) {
		abort_as(o, LOGIN_FAIL_PROTOCOL, "too many bytes");
		return false;
	}
	switch (stream_read(&o->stream, to, CHUNK, &n)) {
	case STREAM_OK:
		buf_commit(&o->in, n);
		return true;
	case STREAM_AGAIN:
		stream_want(&o->stream, true);
		return false;
	case STREAM_EOF:
		abort_as(o, LOGIN_FAIL_CLOSED, "connection closed");
		return false;
	case STREAM_FAILED:
		break;
	}
	abort_as(o, o->stream.error == EPROTO ? LOGIN_FAIL_TLS :
	    LOGIN_FAIL_CONNECT, stream_error(&o->stream));
	return false;
}

/* One turn; true when there is more to do at once. */
static bool converse(struct one *o)
{
	enum login_verdict verdict;

	if (o->stream.is_handshaking) {
		if (!handshake(o))
			return false;
		verdict = login_tls_done(&o->login, &o->out);
	} else {
		verdict = login_feed(&o->login, &o->in, &o->out);
	}
	switch (verdict) {
	case LOGIN_MORE:
		send_out(o);
		return read_in(o);
	case LOGIN_STARTTLS:
		send_out(o);
		stream_drop_input(&o->stream);
		return begin_tls(o);
	case LOGIN_OK:
		succeeded(o);
		return true;
	case LOGIN_CHALLENGE:	/* a probe does not log in */
	case LOGIN_FAILED:
		break;
	}
	failed(o);
	return false;
}

/* The BYE and the answer to LOGOUT are of no interest. */
static void leave(struct one *o)
{
	char scratch[512];
	size_t n;

	for (;;) {
		switch (stream_read(&o->stream, scratch, sizeof scratch, &n)) {
		case STREAM_OK:
			continue;
		case STREAM_AGAIN:
			stream_want(&o->stream, true);
			return;
		case STREAM_EOF:
		case STREAM_FAILED:
			finished(o);
			return;
		}
	}
}

static void on_stream(struct stream *s, int revents)
{
	struct one *o = s->owner;

	(void)revents;
	if (o->stage == HANDSHAKE && handshake(o))
		o->stage = DIALOGUE;
	while (o->stage == DIALOGUE && converse(o))
		;
	if (o->stage == LEAVING)
		leave(o);
}

/* --- a probe's begin and end --------------------------------------------------- */

/* proxy-protocol.txt, 2.2: version 2, LOCAL, no addresses: a check that the
 * proxy makes on its own behalf. */
static const char proxy_local[16] =
    "\r\n\r\n\0\r\nQUIT\n\x20\0\0";	/* and the NUL of the string */

static void begin(struct one *o)
{
	const struct conf_backend *b = backend_conf(o->backend);
	static const enum login_tls tls[] = {
		[CONF_TLS_NONE] = LOGIN_TLS_NONE,
		[CONF_TLS_STARTTLS] = LOGIN_TLS_START,
		[CONF_TLS_IMPLICIT] = LOGIN_TLS_IMPLICIT,
	};
	const struct login_request request = { .purpose = LOGIN_PROBE,
		.tls = tls[b->tls], .pipeline = b->pipeline };
	struct err err = { "" };

	o->stage = HANDSHAKE;
	o->probe->n_running++;
	buf_init(&o->in, IN_MAX);
	buf_init(&o->out, LOGIN_OUT_MAX);
	login_init(&o->login, &request);
	begin_in(o, PROBE_LIMIT_S);
	if (!stream_connect(&o->stream, &o->addr, NULL, &err)) {
		abort_as(o, LOGIN_FAIL_CONNECT, err.text);
		return;
	}
	if (b->client_info == CONF_CLIENT_INFO_PROXY_V2)
		stream_write(&o->stream, proxy_local, sizeof proxy_local);
	if (b->tls == CONF_TLS_IMPLICIT && !begin_tls(o))
		return;
	on_stream(&o->stream, 0);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct one *o = t->data;

	(void)loop;
	(void)revents;
	if (o->stage == LEAVING) {
		finished(o);
	} else if (o->stage != IDLE) {
		abort_as(o, LOGIN_FAIL_TIMEOUT, "no answer in time");
	} else if (o->probe->n_running >= PROBES_MAX) {
		begin_in(o, PENDING_S);
	} else {
		switch (backend_next_address(o->backend, &o->addr)) {
		case RESOLVE_KNOWN:
			begin(o);
			break;
		case RESOLVE_PENDING:
			begin_in(o, PENDING_S);
			break;
		case RESOLVE_FAILED:	/* resolve has logged it */
			begin_in(o, PROBE_RETRY_MIN_S);
			break;
		}
	}
}

/* --- all of them --------------------------------------------------------------- */

struct probe *probe_new(struct ev_loop *loop, struct farm *farm,
    probe_heard_fn *heard, void *owner)
{
	struct probe *p = mem_alloc(sizeof *p);

	p->loop = loop;
	p->farm = farm;
	p->heard = heard;
	p->owner = owner;
	stream_loop_init(&p->streams, loop, CHUNK);
	return p;
}

void probe_start(struct probe *p)
{
	must(!p->all);
	p->trusts = backend_trusts_new();
	p->n = farm_n(p->farm);
	p->all = mem_alloc(p->n * sizeof *p->all);
	for (size_t i = 0; i < p->n; i++) {
		struct one *o = &p->all[i];
		o->probe = p;
		o->backend = farm_at(p->farm, i);
		o->retry_s = PROBE_RETRY_MIN_S;
		stream_init(&o->stream, &p->streams, on_stream, o);
		ev_init(&o->timer, on_timer);
		o->timer.data = o;
		begin_in(o, 0.);
	}
}

void probe_stop(struct probe *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct one *o = &p->all[i];
		close_all(o);
		ev_timer_stop(p->loop, &o->timer);
		tls_client_free(&o->tls);
	}
	backend_trusts_free(&p->trusts);
	free(p->all);
	p->all = NULL;
	p->n = 0;
}

void probe_free(struct probe **pp)
{
	struct probe *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	probe_stop(p);
	stream_loop_fini(&p->streams);
	free(p);
}
