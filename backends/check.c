/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/check.h"

#include <errno.h>

#include "backends/conf.h"
#include "proxy/base/err.h"
#include "proxy/base/tlsctx.h"
#include "proxy/imap/reply.h"

#define CHUNK 16384
#define IN_MAX (4 * CHUNK)

static void close_all(struct check *c)
{
	if (c->stage == CHECK_IDLE)
		return;
	c->stage = CHECK_IDLE;
	ev_timer_stop(c->stream.loop->loop, &c->limit);
	stream_close(&c->stream);
	login_fini(&c->login);
	buf_fini(&c->in);
	buf_fini(&c->out);
}

static void reach(struct check *c, enum check_depth depth)
{
	if (c->reached < depth)
		c->reached = depth;
}

/* Only a connection that was there is reset; the others are refused. */
static bool was_connected(const struct stream *s)
{
	return stream_is_open(s) && (stream_is_connected(s) ||
	    s->error == ECONNRESET || s->error == EPIPE);
}

/* How deep it came, if not noted yet. */
static void sound(struct check *c)
{
	if (c->stream.ssl && !c->stream.is_handshaking)
		reach(c, CHECK_TLS);
	else if (was_connected(&c->stream))
		reach(c, c->order.backend->tls == CONF_TLS_NONE ? CHECK_TLS :
		    CHECK_TCP);
	if (login_capability_before(&c->login).n &&
	    (c->order.backend->tls == CONF_TLS_NONE ||
	     c->reached >= CHECK_TLS))
		reach(c, CHECK_GREETING);
}

/* The result, once. What it shows must live while it is told: so the check
 * leaves before, and is closed behind it, if no other was begun. */
static void tell(struct check *c, enum login_failure failure, struct str why)
{
	sound(c);
	c->stage = CHECK_LEAVING;
	c->on_end(c->owner, &(struct check_result){
	    .reached = c->reached, .failure = failure, .why = why,
	    .capabilities = login_capability_before(&c->login),
	    .certificate_ends_s = c->certificate_ends_s });
}

static void failed(struct check *c)
{
	tell(c, login_failure(&c->login), login_detail(&c->login));
	close_all(c);
}

static void abort_as(struct check *c, enum login_failure kind,
    const char *why)
{
	login_abort(&c->login, kind, why);
	failed(c);
}

/* As deep as was ordered, and there is nobody to say goodbye to. */
static void succeeded(struct check *c)
{
	tell(c, LOGIN_FAIL_NONE, STR_NONE);
	close_all(c);
}

static void send_out(struct check *c)
{
	struct str bytes = buf_view(&c->out);

	stream_write(&c->stream, bytes.p, bytes.n);
	(void)stream_flush(&c->stream);
	buf_clear(&c->out);
}

/* --- the connection ---------------------------------------------------------- */

/* True when TLS is done, or was not wanted. */
static bool handshake(struct check *c)
{
	struct err err = { "" };
	struct stream_tls_info info;

	switch (stream_handshake(&c->stream, &err)) {
	case STREAM_OK:
		stream_tls_info(&c->stream, &info);
		c->certificate_ends_s = info.peer_ends_s;
		return true;
	case STREAM_AGAIN:
		stream_want(&c->stream, true);
		return false;
	case STREAM_EOF:
	case STREAM_FAILED:
		break;
	}
	abort_as(c, c->stream.error && c->stream.error != EPROTO ?
	    LOGIN_FAIL_CONNECT : LOGIN_FAIL_TLS, err.text);
	return false;
}

/* True when new bytes are in. */
static bool read_in(struct check *c)
{
	char *to = buf_reserve(&c->in, CHUNK);
	size_t n;

	if (!to) {
		abort_as(c, LOGIN_FAIL_PROTOCOL, "too many bytes");
		return false;
	}
	switch (stream_read(&c->stream, to, CHUNK, &n)) {
	case STREAM_OK:
		buf_commit(&c->in, n);
		return true;
	case STREAM_AGAIN:
		stream_want(&c->stream, true);
		return false;
	case STREAM_EOF:
		abort_as(c, LOGIN_FAIL_CLOSED, "connection closed");
		return false;
	case STREAM_FAILED:
		break;
	}
	abort_as(c, c->stream.error == EPROTO ? LOGIN_FAIL_TLS :
	    LOGIN_FAIL_CONNECT, stream_error(&c->stream));
	return false;
}

/* A plain connection that is all that was wanted. A refusal shows at a read. */
static void look(struct check *c)
{
	if (stream_is_connected(&c->stream) || read_in(c)) {
		succeeded(c);
	} else if (c->stage != CHECK_IDLE) {
		c->stream.wants_write = true;
		stream_want(&c->stream, true);
	}
}

/* --- the dialogue -------------------------------------------------------------- */

/* LOGOUT is sent; the backend closes. */
static void leave(struct check *c)
{
	char scratch[512];
	size_t n;

	for (;;) {
		switch (stream_read(&c->stream, scratch, sizeof scratch, &n)) {
		case STREAM_OK:
			continue;
		case STREAM_AGAIN:
			stream_want(&c->stream, true);
			return;
		case STREAM_EOF:
		case STREAM_FAILED:
			close_all(c);
			return;
		}
	}
}

static void say_goodbye(struct check *c)
{
	send_out(c);
	stream_want(&c->stream, true);
	tell(c, LOGIN_FAIL_NONE, STR_NONE);
}

static void logged_in(struct check *c)
{
	if (c->order.depth < CHECK_LOGIN) {
		say_goodbye(c);	/* its LOGOUT is in out */
		return;
	}
	buf_puts(&c->out, "N NOOP\r\n");
	send_out(c);
	c->stage = CHECK_NOOP;
}

/* One turn; true when there is more to do at once. */
static bool converse(struct check *c)
{
	enum login_verdict verdict;

	if (c->stream.is_handshaking) {
		if (!handshake(c))
			return false;
		if (c->order.depth == CHECK_TLS) {
			succeeded(c);
			return false;
		}
		verdict = login_tls_done(&c->login, &c->out);
	} else {
		verdict = login_feed(&c->login, &c->in, &c->out);
	}
	switch (verdict) {
	case LOGIN_MORE:
		send_out(c);
		return read_in(c);
	case LOGIN_STARTTLS:
		send_out(c);
		stream_drop_input(&c->stream);
		stream_tls_connect(&c->stream, c->order.tls);
		return true;
	case LOGIN_OK:
		logged_in(c);
		return true;
	case LOGIN_CHALLENGE:	/* not to who says all at once */
	case LOGIN_FAILED:
		break;
	}
	failed(c);
	return false;
}

/* The same behind the login: until NOOP is answered. */
static bool await_noop(struct check *c)
{
	struct reply r;
	size_t n;

	switch (reply_take(buf_view(&c->in), LOGIN_LINE_MAX, &r, &n)) {
	case REPLY_MORE:
		return read_in(c);
	case REPLY_LINE:
		break;
	case REPLY_BROKEN:
	case REPLY_TOO_LONG:
		abort_as(c, LOGIN_FAIL_PROTOCOL, "not a line of IMAP");
		return false;
	}
	bool is_answer = r.kind == REPLY_TAGGED && str_eq(r.tag, STR("N"));
	bool is_bye = r.kind == REPLY_UNTAGGED && r.status == REPLY_BYE;
	bool is_good = is_answer && r.status == REPLY_OK;
	buf_consume(&c->in, n);
	if (is_good) {
		reach(c, CHECK_LOGIN);
		buf_puts(&c->out, "Q LOGOUT\r\n");
		say_goodbye(c);
	} else if (is_answer || is_bye) {
		abort_as(c, is_bye ? LOGIN_FAIL_BYE : LOGIN_FAIL_PROTOCOL,
		    is_bye ? "BYE behind the login" : "backend refused NOOP");
	}
	return c->stage == CHECK_NOOP;
}

static void on_stream(struct stream *s, int revents)
{
	struct check *c = s->owner;

	(void)revents;
	if (c->stage == CHECK_CONNECTING && c->order.depth == CHECK_TCP) {
		look(c);
	} else if (c->stage == CHECK_CONNECTING && handshake(c)) {
		c->stage = CHECK_DIALOGUE;
		/* nobody is to greet */
		if (c->order.depth == CHECK_TLS &&
		    c->order.backend->tls != CONF_TLS_STARTTLS)
			succeeded(c);
	}
	while (c->stage == CHECK_DIALOGUE && converse(c))
		;
	while (c->stage == CHECK_NOOP && await_noop(c))
		;
	if (c->stage == CHECK_LEAVING)
		leave(c);
}

/* --- its begin and end ------------------------------------------------------------ */

static const char *awaited(const struct check *c)
{
	if (!stream_is_connected(&c->stream))
		return "no connection in time";
	if (c->stage == CHECK_NOOP)
		return "no answer to NOOP in time";
	if (c->stream.is_handshaking)
		return "TLS not finished in time";
	return login_is_greeted(&c->login) ? "no answer in time" :
	    "no greeting in time";
}

static void on_limit(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct check *c = t->data;

	(void)loop;
	(void)revents;
	if (c->stage == CHECK_LEAVING)
		close_all(c);
	else
		abort_as(c, LOGIN_FAIL_TIMEOUT, awaited(c));
}

/* proxy-protocol.txt, 2.2: version 2, LOCAL, no addresses: a check that the
 * proxy makes on its own behalf. */
static const char proxy_local[16] =
    "\r\n\r\n\0\r\nQUIT\n\x20\0\0";	/* and the NUL of the string */

static void open_login(struct check *c)
{
	static const enum login_tls tls[] = {
		[CONF_TLS_NONE] = LOGIN_TLS_NONE,
		[CONF_TLS_STARTTLS] = LOGIN_TLS_START,
		[CONF_TLS_IMPLICIT] = LOGIN_TLS_IMPLICIT,
	};
	const struct conf_backend *b = c->order.backend;

	login_init(&c->login, &(struct login_request){
	    .purpose = c->order.depth == CHECK_LOGIN ? LOGIN_SESSION :
		LOGIN_PROBE,
	    .tls = tls[b->tls], .pipeline = b->pipeline,
	    .user = c->order.user, .password = c->order.password });
}

void check_begin(struct check *c, const struct check_order *order)
{
	const struct conf_backend *b = order->backend;
	struct ev_loop *loop = c->stream.loop->loop;
	struct err err = { "" };

	close_all(c);
	must(order->depth > CHECK_NOTHING);
	must(!order->tls == (b->tls == CONF_TLS_NONE));
	c->order = *order;
	if (order->depth == CHECK_TLS && b->tls == CONF_TLS_NONE)
		c->order.depth = CHECK_TCP;
	c->stage = CHECK_CONNECTING;
	c->reached = CHECK_NOTHING;
	c->certificate_ends_s = 0;
	buf_init(&c->in, IN_MAX);
	buf_init(&c->out, LOGIN_OUT_MAX);
	open_login(c);
	ev_timer_set(&c->limit, order->limit_s, 0.);
	ev_timer_start(loop, &c->limit);
	if (!stream_connect(&c->stream, &order->address, NULL, &err)) {
		abort_as(c, LOGIN_FAIL_CONNECT, err.text);
		return;
	}
	if (b->client_info == CONF_CLIENT_INFO_PROXY_V2)
		stream_write(&c->stream, proxy_local, sizeof proxy_local);
	if (b->tls == CONF_TLS_IMPLICIT && c->order.depth > CHECK_TCP)
		stream_tls_connect(&c->stream, order->tls);
	on_stream(&c->stream, 0);
}

void check_init(struct check *c, struct stream_loop *streams,
    check_end_fn *on_end, void *owner)
{
	*c = (struct check){ .on_end = on_end, .owner = owner };
	stream_init(&c->stream, streams, on_stream, c);
	ev_init(&c->limit, on_limit);
	c->limit.data = c;
}

void check_stop(struct check *c)
{
	close_all(c);
}

bool check_is_busy(const struct check *c)
{
	return c->stage != CHECK_IDLE && c->stage != CHECK_LEAVING;
}
