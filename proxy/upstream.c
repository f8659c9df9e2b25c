/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/upstream.h"

#include <errno.h>
#include <stdio.h>

#include "backends/conf.h"
#include "proxy/ask.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/frontend.h"
#include "proxy/imap/caps.h"
#include "proxy/prelogin.h"
#include "proxy/proxyline.h"
#include "proxy/relay.h"
#include "proxy/snapshot.h"
#include "proxy/upstream_request.h"
#include "proxy/worker.h"

#define READ_BYTES 2048		/* more than a read brings, as a rule */
#define IN_MAX (32 * 1024)
#define EXCLUDED_MAX 4096

/* --- the limit on an attempt --------------------------------------------- */

static double left_s(const struct session *s)
{
	const struct prelogin *p = s->prelogin;

	return p->decide_at + p->allowed_s - clock_now();
}

static void set_limit(struct session *s, double after_s)
{
	ev_timer *t = &s->prelogin->limit;

	ev_timer_stop(s->worker->loop, t);
	ev_timer_set(t, after_s > 0.001 ? after_s : 0.001, 0.);
	ev_timer_start(s->worker->loop, t);
}

/* A plain connection is used before TCP has answered, so the limit on
 * connecting may end in the stage LOGIN: then it counts only if the backend
 * is not there, or has not greeted. */
static void on_limit(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct session *s = t->data;
	struct prelogin *p = s->prelogin;

	(void)loop;
	(void)revents;
	if (s->stage == STAGE_DECIDE)
		p->answer = ANSWER_NONE;
	else if (s->stage == STAGE_LOGIN && left_s(s) > 0.001 &&
	    login_is_greeted(&p->login))
		set_limit(s, left_s(s));
	else
		p->is_timed_out = true;
	session_run(s);
}

/* --- attempts ------------------------------------------------------------ */

static void attempt_begin(struct session *s)
{
	struct prelogin *p = s->prelogin;

	if (!p->attempt)
		p->attempt = arena_new(ATTEMPT_ARENA_MAX);
	if (!p->decide_at) {
		p->decide_at = clock_now();
		buf_init(&p->excluded, EXCLUDED_MAX);
		ev_init(&p->limit, on_limit);
		p->limit.data = s;
	}
	ask_decide(s);
}

/* Ends one attempt, whatever came of it; the question may be asked anew. */
static void attempt_end(struct session *s)
{
	struct prelogin *p = s->prelogin;

	ask_attempt_end(s, LOGIN_FAIL_CANCELLED);	/* if not told */
	ask_cancel(s);
	if (p->decide_at)
		ev_timer_stop(s->worker->loop, &p->limit);
	if (p->is_login_open)
		login_fini(&p->login);
	p->is_login_open = p->is_timed_out = p->is_left = false;
	p->is_challenged = p->is_awaiting_client = false;
	if (!p->is_logged_in)
		stream_close(&s->backend);
	buf_fini(&p->backend_in);
	buf_fini(&p->backend_out);
	arena_free(&p->attempt);
	p->login_as = p->master_user = p->master_password = STR_NONE;
	p->login_user = p->login_password = STR_NONE;
	p->refusal = p->refusal_reason = p->hint = STR_NONE;
	p->is_denied = p->ends = false;
	p->answer = ANSWER_NONE;
}

void upstream_fini(struct session *s)
{
	attempt_end(s);
	buf_fini(&s->prelogin->excluded);
}

/* The login as a whole is over without success. */
static enum step refuse(struct session *s, const struct refusal *r)
{
	struct prelogin *p = s->prelogin;
	enum step step = frontend_refuse(s, r);

	attempt_end(s);
	ask_released(s);
	session_forget_backend(s);
	buf_fini(&p->excluded);
	p->decide_at = 0;
	p->attempts = 0;
	p->failure_text[0] = 0;
	return step;
}

/* --- DECIDE -------------------------------------------------------------- */

static void exclude(struct session *s, const char *backend)
{
	struct buf *b = &s->prelogin->excluded;

	if (b->len)
		buf_puts(b, " ");
	buf_puts(b, backend);
}

static enum step granted(struct session *s)
{
	struct prelogin *p = s->prelogin;

	if (s->chosen)
		return STEP_NEXT;
	/* a grant by a configuration that this worker has not yet, or by one
	 * that it has no more: ask again a little later */
	if (++p->attempts >= ATTEMPTS_MAX)
		return refuse(s, &(struct refusal){
		    .reply = login_failure_reply(LOGIN_FAIL_CONNECT),
		    .why = STR("control granted an unknown backend") });
	p->answer = ANSWER_WAIT;
	set_limit(s, 0.1);
	return STEP_WAIT;
}

enum step upstream_decide_run(struct session *s)
{
	struct prelogin *p = s->prelogin;
	enum step step = frontend_absorb(s);

	if (step != STEP_NEXT)
		return step;
	switch (p->answer) {
	case ANSWER_NONE:
		attempt_begin(s);
		return STEP_WAIT;
	case ANSWER_OPEN:
		return STEP_WAIT;
	case ANSWER_WAIT:
		if (!ev_is_active(&p->limit))
			set_limit(s, p->wait_s);
		return STEP_WAIT;
	case ANSWER_REFUSE:
		/* the arena's strings end with a NUL */
		return refuse(s, &(struct refusal){ .reply = p->refusal.p,
		    .counts = p->is_denied, .ends = p->ends,
		    .why = p->refusal_reason });
	case ANSWER_GRANT:
		break;
	}
	return granted(s);
}

/* --- when a backend fails ------------------------------------------------ */

static bool may_try_next(const struct session *s)
{
	const struct prelogin *p = s->prelogin;

	return login_failure_retry(login_failure(&p->login)) &&
	    !p->is_challenged && p->attempts < ATTEMPTS_MAX && left_s(s) > 0.05;
}

static void log_failed_backend(struct session *s)
{
	struct login *login = &s->prelogin->login;
	char address[ADDR_TEXT_MAX];
	struct log_line l;
	unsigned more;

	if (!snapshot_may_log(s->chosen_in, s->chosen, clock_now(), &more) ||
	    !log_begin(&l, LOG_LINE_WARN, "backend_failed"))
		return;
	log_session(&l, s->id);
	log_text(&l, "backend", s->chosen->name);
	log_text(&l, "address", addr_text(&s->prelogin->address, address));
	log_text(&l, "kind", login_failure_word(login_failure(login)));
	log_str(&l, "why", login_detail(login));
	log_text(&l, "state", login_state(login));
	if (more)
		log_u64(&l, "more", more);
	log_end(&l);
}

/* The dialogue has failed, and p->login knows how. */
static enum step failed(struct session *s)
{
	struct prelogin *p = s->prelogin;
	struct login *login = &p->login;
	enum login_failure kind = login_failure(login);
	char reply[600], why[200];

	p->attempts++;
	ask_heard(s);
	ask_attempt_end(s, kind);
	if (kind != LOGIN_FAIL_AUTH_DENIED && kind != LOGIN_FAIL_CANCELLED)
		log_failed_backend(s);
	struct str detail = login_detail(login), text = login_reply(login);
	snprintf(why, sizeof why, "%s: %.*s", login_failure_word(kind),
	    STR_ARG(detail));
	if (may_try_next(s)) {
		exclude(s, s->chosen->name);
		snprintf(p->failure_text, sizeof p->failure_text, "%s", why);
		attempt_end(s);
		session_enter(s, STAGE_DECIDE);
		return STEP_MOVED;
	}
	snprintf(reply, sizeof reply, "%.*s", STR_ARG(text));
	return refuse(s, &(struct refusal){ .reply = reply,
	    .counts = kind == LOGIN_FAIL_AUTH_DENIED ||
		kind == LOGIN_FAIL_CANCELLED,
	    .why = str_from(why), .state = login_state(login) });
}

static enum step fail_as(struct session *s, enum login_failure kind,
    const char *why)
{
	login_abort(&s->prelogin->login, kind, why);
	return failed(s);
}

/* --- when the backend is not wanted any more ------------------------------- */

/* Control has its reasons, and learns nothing about the backend from this. */
static enum step leave(struct session *s)
{
	ask_attempt_end(s, LOGIN_FAIL_CANCELLED);
	return fail_as(s, LOGIN_FAIL_UNAVAILABLE,
	    "no logins are wanted there any more");
}

void upstream_leave(struct session *s, struct str backend)
{
	if ((s->stage != STAGE_CONNECT && s->stage != STAGE_LOGIN) ||
	    !str_eq(backend, str_from(s->chosen->name)))
		return;
	s->prelogin->is_left = true;
	session_run(s);
}

/* --- when the user moves --------------------------------------------------- */

/* A question that is open gets an answer for where the user is now. */
bool upstream_moved(struct session *s)
{
	if (s->stage == STAGE_DECIDE)
		return true;
	if ((s->stage != STAGE_CONNECT && s->stage != STAGE_LOGIN) ||
	    s->prelogin->is_challenged)
		return false;
	attempt_end(s);
	ask_released(s);	/* the move may wait for it */
	session_enter(s, STAGE_DECIDE);
	session_run(s);
	return true;
}

/* --- CONNECT ------------------------------------------------------------- */

static enum step begin_tls(struct session *s)
{
	struct err err = { "" };
	struct tls_client *t = snapshot_tls_client(s->chosen_in, s->chosen,
	    &err);

	if (!t)
		return fail_as(s, LOGIN_FAIL_TLS, err.text);
	stream_tls_connect(&s->backend, t);
	return STEP_NEXT;
}

/* Which of the backend's source addresses this session connects from. */
static const struct addr *source_of(const struct session *s)
{
	const struct settings_networks *all = &s->chosen->source_addresses;
	int family = s->prelogin->address.sa.sa_family;

	for (size_t i = 0; i < all->n; i++) {
		const struct addr *a = &all->v[(s->id + i) % all->n].addr;
		if (a->sa.sa_family == family)
			return a;
	}
	return NULL;
}

static enum step open_backend(struct session *s)
{
	struct prelogin *p = s->prelogin;
	struct err err = { "" };

	buf_init(&p->backend_in, IN_MAX);
	buf_init(&p->backend_out, LOGIN_OUT_MAX);
	upstream_request_open(s);
	ask_attempt_begin(s);
	if (!stream_connect(&s->backend, &p->address, source_of(s), &err))
		return fail_as(s, LOGIN_FAIL_CONNECT, err.text);
	double limit = left_s(s);
	set_limit(s, limit < p->connect_s ? limit : p->connect_s);
	if (!upstream_request_header(s, &p->backend_out))
		return fail_as(s, LOGIN_FAIL_PROTOCOL, "PROXY header");
	struct str header = buf_view(&p->backend_out);
	stream_write(&s->backend, header.p, header.n);
	buf_clear(&p->backend_out);
	return s->chosen->tls == CONF_TLS_IMPLICIT ? begin_tls(s) : STEP_NEXT;
}

/* Both sides are watched while the backend's leg is made. */
static enum step wait_for_backend(struct session *s)
{
	stream_want(&s->backend, true);
	return STEP_WAIT;
}

/* NEXT when TLS is done, or not wanted. */
static enum step handshake(struct session *s)
{
	struct err err = { "" };

	switch (stream_handshake(&s->backend, &err)) {
	case STREAM_OK:
		return STEP_NEXT;
	case STREAM_AGAIN:
		return wait_for_backend(s);
	case STREAM_EOF:
	case STREAM_FAILED:
		break;
	}
	return fail_as(s, s->backend.error && s->backend.error != EPROTO ?
	    LOGIN_FAIL_CONNECT : LOGIN_FAIL_TLS, err.text);
}

enum step upstream_connect_run(struct session *s)
{
	enum step step = frontend_absorb(s);

	if (step == STEP_NEXT && s->prelogin->is_left)
		return leave(s);
	if (step == STEP_NEXT && s->prelogin->is_timed_out)
		return fail_as(s, LOGIN_FAIL_TIMEOUT, "connect_timeout");
	if (step == STEP_NEXT && !stream_is_open(&s->backend))
		step = open_backend(s);
	if (step == STEP_NEXT)
		step = handshake(s);
	return step;
}

/* --- LOGIN --------------------------------------------------------------- */

static void send_to_backend(struct session *s)
{
	struct buf *out = &s->prelogin->backend_out;
	struct str bytes = buf_view(out);

	stream_write(&s->backend, bytes.p, bytes.n);
	(void)stream_flush(&s->backend);
	buf_clear(out);
}

/* NEXT: new bytes are in backend_in. */
static enum step read_backend(struct session *s)
{
	struct buf *in = &s->prelogin->backend_in;
	char *to = buf_reserve(in, READ_BYTES);
	size_t n;

	if (!to)
		return fail_as(s, LOGIN_FAIL_PROTOCOL, "too many bytes");
	switch (stream_read(&s->backend, to, READ_BYTES, &n)) {
	case STREAM_OK:
		buf_commit(in, n);
		return STEP_NEXT;
	case STREAM_AGAIN:
		return wait_for_backend(s);
	case STREAM_EOF:
		return fail_as(s, LOGIN_FAIL_CLOSED, "connection closed");
	case STREAM_FAILED:
		break;
	}
	return fail_as(s, s->backend.error == EPROTO ? LOGIN_FAIL_TLS :
	    LOGIN_FAIL_CONNECT, stream_error(&s->backend));
}

static void log_login(const struct session *s)
{
	struct log_line l;

	if (!log_begin(&l, LOG_LINE_INFO, "login"))
		return;
	log_session(&l, s->id);
	log_text(&l, "user", s->user);
	log_addr(&l, "client", &s->client_addr);
	session_log_region(s, &l);
	log_text(&l, "listener", s->listener->conf->name);
	if (*s->tls_version)
		log_text(&l, "tls", s->tls_version);
	log_text(&l, "mechanism",
	    sasl_mech_name(preauth_ident(s->prelogin->preauth)->mech));
	log_text(&l, "backend", s->chosen->name);
	log_seconds(&l, "login_s", s->login_at - s->accepted_at);
	log_end(&l);
}

/* A client that asked for the capabilities gets them untagged, for
 * it may not look into the response code; the others in the OK itself. */
static void answer_client(struct session *s)
{
	struct prelogin *p = s->prelogin;
	struct str text = login_text(&p->login);
	struct buf caps, reply, untagged;

	buf_init(&caps, CAPS_MAX);
	buf_init(&reply, 0);
	buf_init(&untagged, 0);
	caps_after_login(&caps, login_capability(&p->login));
	struct str words = buf_view(&caps);
	buf_str(&untagged, login_untagged(&p->login));
	if (preauth_ident(p->preauth)->client_asked_capability)
		buf_printf(&untagged, "* CAPABILITY %.*s\r\n", STR_ARG(words));
	buf_puts(&reply, "OK [CAPABILITY ");
	buf_str(&reply, words);
	buf_puts(&reply, "] ");
	buf_str(&reply, text.n ? text : STR("Logged in"));
	preauth_accept(p->preauth, buf_view(&untagged), buf_view(&reply),
	    &p->out);
	buf_fini(&caps);
	buf_fini(&reply);
	buf_fini(&untagged);
}

/* Logged in: from here on the two streams belong to the relay. */
static enum step succeeded(struct session *s)
{
	struct prelogin *p = s->prelogin;

	s->login_at = clock_now();
	ask_attempt_end(s, LOGIN_FAIL_NONE);
	s->user = mem_str(preauth_ident(p->preauth)->canonical);
	log_login(s);
	ask_heard(s);
	send_to_backend(s);
	answer_client(s);
	relay_begin(s, &p->out, &p->backend_in, &p->in);
	session_forget_prelogin(s);
	return STEP_NEXT;
}

/* Relayed SASL: the client's line goes to the backend when it has come. */
static enum step carry_response(struct session *s)
{
	struct prelogin *p = s->prelogin;
	struct str line;
	enum step step = frontend_response(s, &line);

	if (step != STEP_NEXT)
		return step;
	p->is_awaiting_client = false;
	login_respond(&p->login, line, &p->backend_out);
	return STEP_NEXT;
}

static enum step challenge(struct session *s)
{
	struct prelogin *p = s->prelogin;

	send_to_backend(s);
	if (!frontend_challenge(s, login_challenge(&p->login)))
		return fail_as(s, LOGIN_FAIL_PROTOCOL, "bad challenge");
	p->is_challenged = p->is_awaiting_client = true;
	return STEP_NEXT;
}

/* One turn of the dialogue. NEXT: there is more to do at once. */
static enum step converse(struct session *s)
{
	struct prelogin *p = s->prelogin;
	enum login_verdict verdict;

	if (s->backend.is_handshaking) {
		enum step step = handshake(s);
		if (step != STEP_NEXT)
			return step;
		verdict = login_tls_done(&p->login, &p->backend_out);
	} else {
		verdict = login_feed(&p->login, &p->backend_in,
		    &p->backend_out);
	}
	switch (verdict) {
	case LOGIN_MORE:
		send_to_backend(s);
		return read_backend(s);
	case LOGIN_STARTTLS:
		send_to_backend(s);
		stream_drop_input(&s->backend);
		return begin_tls(s);
	case LOGIN_CHALLENGE:
		return challenge(s);
	case LOGIN_OK:
		p->is_logged_in = true;
		return STEP_NEXT;
	case LOGIN_FAILED:
		break;
	}
	return failed(s);
}

enum step upstream_login_run(struct session *s)
{
	struct prelogin *p = s->prelogin;

	if (p->is_left)
		return leave(s);
	if (p->is_timed_out)
		return fail_as(s, LOGIN_FAIL_TIMEOUT,
		    login_is_greeted(&p->login) ? "login_timeout" :
		    "no greeting within connect_timeout");
	for (;;) {
		enum step step = p->is_awaiting_client ? carry_response(s) :
		    frontend_absorb(s);
		if (step == STEP_CLOSE || step == STEP_MOVED)
			return step;
		step = converse(s);
		if (p->is_logged_in)
			return succeeded(s);
		if (step != STEP_NEXT)
			return step;
	}
}
