/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/ask.h"

#include "backends/conf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/ipc.h"
#include "proxy/prelogin.h"
#include "proxy/session.h"
#include "proxy/snapshot.h"
#include "proxy/upstream_request.h"
#include "proxy/worker.h"
#include <utlist.h>

#define CERTIFICATE_MAX (16 * 1024)

/* What a driver of auth may want to know; without one the credentials stay
 * here. */
static void fill_login(struct session *s, struct msg_decide *m,
    char local[ADDR_TEXT_MAX], struct buf *certificate)
{
	struct prelogin *p = s->prelogin;

	upstream_find_local_address(s);
	m->password = preauth_ident(p->preauth)->password;
	m->attempt = p->failed_logins + 1;
	m->local_address = str_from(addr_text(&p->local_addr, local));
	m->proxied = p->is_proxied;
	m->tls_version = str_from(s->tls_version);
	m->tls_cipher = str_from(p->tls_cipher);
	if (s->listener->asks_certificate &&
	    stream_tls_certificate(&s->client, certificate))
		m->certificate = buf_view(certificate);
}

static void send_decide(struct session *s)
{
	const struct prelogin *p = s->prelogin;
	const struct ident *who = preauth_ident(p->preauth);
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];
	char failed[ADDR_TEXT_MAX];
	struct buf certificate;

	struct msg_decide m = {
	    .question = p->asked.question,
	    .session = s->id,
	    .user = who->user,
	    .mechanism = str_from(sasl_mech_name(who->mech)),
	    .client_address = str_from(addr_text(&s->client_addr, client)),
	    .listener = str_from(s->listener->conf->name),
	    .sni = str_from(p->server_name),
	    .tls = stream_is_tls(&s->client),
	    .excluded = buf_view(&p->excluded),
	    .failure = str_from(p->failure_text) };
	if (p->failure_text[0])
		m.failed_address = str_from(addr_text(&p->address, failed));
	buf_init(&certificate, CERTIFICATE_MAX);
	if (snapshot_auth(s->snapshot)->driver != CONF_AUTH_NONE)
		fill_login(s, &m, local, &certificate);
	link_send_decide(s->worker->control, &m);
	buf_fini(&certificate);
}

void ask_decide(struct session *s)
{
	struct worker *w = s->worker;
	struct asked *a = &s->prelogin->asked;

	must(!a->session);
	a->session = s;
	a->question = w->next_question++;
	HASH_ADD(hh, w->asked, question, sizeof a->question, a);
	s->prelogin->answer = ANSWER_OPEN;
	if (w->control)
		send_decide(s);
}

static void close_question(struct worker *w, struct asked *a)
{
	HASH_DEL(w->asked, a);
	a->session = NULL;
}

static void send_release(const struct session *s)
{
	if (s->worker->control)
		link_send_later(s->worker->control, &(struct msg){
		    .type = MSG_RELEASE, .release = { .session = s->id } });
}

void ask_cancel(struct session *s)
{
	struct asked *a = &s->prelogin->asked;

	if (!a->session)
		return;
	close_question(s->worker, a);
	send_release(s);	/* the answer may be a grant, on its way here */
}

void ask_released(struct session *s)
{
	if (!s->has_lease)
		return;
	s->has_lease = false;
	send_release(s);
}

void ask_attempt_begin(struct session *s)
{
	s->prelogin->attempt_at = clock_now();
}

/* What follows a challenge is the client's doing as well. */
void ask_attempt_end(struct session *s, enum login_failure kind)
{
	struct prelogin *p = s->prelogin;
	double took_s = clock_now() - p->attempt_at;

	if (!p->attempt_at)
		return;
	p->attempt_at = 0;
	if (p->is_challenged && (kind == LOGIN_FAIL_TIMEOUT ||
	    kind == LOGIN_FAIL_CLOSED))
		kind = LOGIN_FAIL_CANCELLED;
	if (!s->worker->control)
		return;
	link_send_later(s->worker->control, &(struct msg){
	    .type = MSG_ATTEMPT, .attempt = {
		.session = s->id,
		.backend = str_from(s->chosen->name),
		.failure = kind == LOGIN_FAIL_NONE ? STR_NONE :
		    str_from(login_failure_word(kind)),
		.is_greeted = login_is_greeted(&p->login),
		.ms = p->is_challenged ? 0 :
		    (uint64_t)(took_s * 1000) + 1 } });
}

void ask_heard(const struct session *s)
{
	const struct prelogin *p = s->prelogin;
	struct str words = login_capability_before(&p->login);

	if (s->worker->control && words.n &&
	    (p->hint.n == 0 || login_hint_was_wrong(&p->login)))
		link_send_backend_capabilities(s->worker->control,
		    &(struct msg_backend_capabilities){
			.backend = str_from(s->chosen->name),
			.words = words });
}

static void take_region(struct session *s, struct str region,
    struct str country)
{
	s->region = snapshot_region(s->snapshot, region);
	if (country.n == sizeof s->country)
		memcpy(s->country, country.p, country.n);
	else
		memset(s->country, 0, sizeof s->country);
}

static void take_grant(struct session *s, const struct msg_grant *g)
{
	struct prelogin *p = s->prelogin;
	struct arena *a = p->attempt;

	s->has_lease = true;
	take_region(s, g->region, g->country);
	session_forget_backend(s);
	s->chosen_in = snapshot_ref(s->worker->snapshot);
	s->chosen = snapshot_get_backend(s->chosen_in, g->backend);
	if (!addr_parse(&p->address, g->address))
		snapshot_put_backend(s->chosen_in, &s->chosen);
	p->login_as = arena_str(a, g->user);
	/* without its name the master user would log in as itself */
	if (!p->login_as.p)
		snapshot_put_backend(s->chosen_in, &s->chosen);
	p->login_user = arena_str(a, g->login_user);
	p->login_password = arena_str(a, g->login_password);
	p->master_user = arena_str(a, g->master_user);
	p->master_password = arena_str(a, g->master_password);
	p->hint = arena_str(a, g->capabilities);
	p->connect_s = snapshot_connect_seconds(s->chosen_in, g->pool);
	p->allowed_s = (double)g->deadline_ms / 1000;
	p->answer = ANSWER_GRANT;
}

void ask_answered(struct worker *w, const struct msg *m)
{
	/* the question is the first field of all three */
	uint64_t question = m->type == MSG_GRANT ? m->grant.question :
	    m->type == MSG_REFUSE ? m->refuse.question : m->wait.question;
	struct asked *a;

	HASH_FIND(hh, w->asked, &question, sizeof question, a);
	if (!a)
		return;	/* its session has ended; ask_cancel() told control */
	struct session *s = a->session;
	struct prelogin *p = s->prelogin;
	close_question(w, a);
	if (m->type == MSG_GRANT) {
		take_grant(s, &m->grant);
	} else if (m->type == MSG_REFUSE) {
		take_region(s, m->refuse.region, m->refuse.country);
		p->refusal = arena_str(p->attempt, m->refuse.text);
		if (!p->refusal.n)
			p->refusal = STR("NO [UNAVAILABLE] Try again later.");
		p->refusal_reason = arena_str(p->attempt, m->refuse.reason);
		p->is_denied = m->refuse.denied;
		p->ends = m->refuse.ends;
		p->answer = ANSWER_REFUSE;
	} else {
		p->wait_s = (double)m->wait.ms / 1000;
		p->answer = ANSWER_WAIT;
	}
	session_run(s);
}

static void send_session(struct worker *w, const struct session *s)
{
	char client[ADDR_TEXT_MAX];
	struct str user = s->prelogin ?
	    preauth_ident(s->prelogin->preauth)->canonical : str_from(s->user);
	double age = clock_now() - s->accepted_at;

	link_send_session(w->control, &(struct msg_session){
	    .session = s->id,
	    .user = user,
	    .backend = str_from(s->chosen ? s->chosen->name : ""),
	    .client_address = str_from(addr_text(&s->client_addr, client)),
	    .listener = str_from(s->listener->conf->name),
	    .since_ms = (uint64_t)((ev_time() - age) * 1000) });
}

void ask_resync(struct worker *w)
{
	struct asked *a, *tmp;
	struct session *s;
	uint64_t n = 0;

	DL_FOREACH(w->sessions, s) {
		if (!s->has_lease)
			continue;
		send_session(w, s);
		n++;
	}
	link_send_synced(w->control, &(struct msg_synced){ .sessions = n });
	HASH_ITER(hh, w->asked, a, tmp)
		send_decide(a->session);
}
