/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/frontend.h"

#include <ctype.h>
#include <stdio.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/prelogin.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

/* The bits of auth.mechanisms are those of sasl.h. */
_Static_assert((int)CONF_MECHANISM_PLAIN == SASL_PLAIN &&
    (int)CONF_MECHANISM_LOGIN == SASL_LOGIN &&
    (int)CONF_MECHANISM_EXTERNAL == SASL_EXTERNAL &&
    (int)CONF_MECHANISM_SCRAM_SHA_1 == SASL_SCRAM_SHA_1 &&
    (int)CONF_MECHANISM_SCRAM_SHA_256 == SASL_SCRAM_SHA_256 &&
    (int)CONF_MECHANISM_XOAUTH2 == SASL_XOAUTH2 &&
    (int)CONF_MECHANISM_OAUTHBEARER == SASL_OAUTHBEARER,
    "two lists of mechanisms differ");

#define READ_BYTES 1024		/* a client says little before it is in */
#define IN_SLACK (16 * 1024)
#define OUT_MAX (128 * 1024)

void frontend_init(struct session *s)
{
	const struct conf_limits *limits = snapshot_limits(s->snapshot);
	struct prelogin *p = mem_alloc(sizeof *p);

	s->prelogin = p;
	s->worker->n_prelogin++;
	p->tls_cipher = "";
	p->arena = arena_new(PRELOGIN_ARENA_MAX);
	buf_init(&p->in, limits->pipelined_bytes + IN_SLACK);
	buf_init(&p->out, OUT_MAX);
}

void frontend_fini(struct session *s)
{
	struct prelogin *p = s->prelogin;

	preauth_free(&p->preauth);
	buf_fini(&p->in);
	buf_fini(&p->out);
	arena_free(&p->arena);
}

bool frontend_may_bye(const struct session *s)
{
	return s->prelogin->is_greeted ||
	    (s->stage == STAGE_ADMIT &&
		s->listener->conf->tls != CONF_TLS_IMPLICIT);
}

void frontend_flush(struct session *s)
{
	struct buf *out = &s->prelogin->out;
	struct str bytes = buf_view(out);

	stream_write(&s->client, bytes.p, bytes.n);
	(void)stream_flush(&s->client);
	buf_clear(out);
}

/* --- TLS --------------------------------------------------------------- */

void frontend_keep_server_name(struct session *s, struct str name)
{
	char *to = s->prelogin->server_name;

	if (name.n == 0 || name.n >= PRELOGIN_NAME_MAX)
		return;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if (!isalnum(c) && c != '-' && c != '.' && c != '_')
			return;
	}
	for (size_t i = 0; i < name.n; i++)
		to[i] = (char)tolower((unsigned char)name.p[i]);
	to[name.n] = 0;
}

static void keep_tls_info(struct session *s)
{
	struct stream_tls_info info;

	stream_tls_info(&s->client, &info);
	s->tls_version = info.version;
	s->prelogin->tls_cipher = info.cipher;
	frontend_keep_server_name(s, info.server_name);
	if (s->listener->asks_certificate && user_is_valid(info.peer_name) &&
	    info.peer_name.n < PRELOGIN_NAME_MAX)
		memcpy(s->prelogin->external, info.peer_name.p,
		    info.peer_name.n);
}

static void configure(struct session *s)
{
	const struct conf_limits *limits = snapshot_limits(s->snapshot);
	const struct conf_auth *auth = snapshot_auth(s->snapshot);
	const struct conf_listener *conf = s->listener->conf;
	bool has_tls = stream_is_tls(&s->client);
	unsigned offered = SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN);

	/* what is relayed, only the backend can check */
	if (auth->driver == CONF_AUTH_NONE)
		offered |= s->worker->offer.mechanisms;

	s->prelogin->config = (struct preauth_config){
		.line_max = limits->line_bytes,
		.literal_max = limits->literal_bytes,
		.bad_commands = limits->bad_commands,
		.failed_logins = limits->failed_logins,
		.commands_max = limits->commands,
		.mechanisms = (offered & auth->mechanisms) |
		    (s->listener->asks_certificate ?
			SASL_BIT(SASL_EXTERNAL) : 0),
		/* control may replace the worker's while a client waits */
		.capabilities = arena_str(s->prelogin->arena,
		    str_from(s->worker->offer.words)),
		.default_domain = str_from(auth->default_domain),
		.canonical_case = auth->canonical_case,
		.starttls = s->listener->tls && !has_tls &&
		    conf->tls == CONF_TLS_STARTTLS,
		.plaintext_ok = has_tls || s->has_proxied_tls ||
		    conf->plaintext_login,
	};
}

enum step frontend_tls_run(struct session *s)
{
	struct prelogin *p = s->prelogin;
	struct err err = { "" };

	if (s->listener->conf->tls != CONF_TLS_IMPLICIT && !p->wants_starttls)
		return STEP_NEXT;
	if (!stream_is_tls(&s->client))
		stream_tls_accept(&s->client, s->listener->tls);
	switch (stream_handshake(&s->client, &err)) {
	case STREAM_AGAIN:
		stream_want(&s->client, true);
		return STEP_WAIT;
	case STREAM_EOF:
	case STREAM_FAILED:
		(void)snprintf(p->failure_text, sizeof p->failure_text, "%s",
		    err.text);
		return session_fail(s, REASON_TLS_FAILED);
	case STREAM_OK:
		break;
	}
	keep_tls_info(s);
	if (p->wants_starttls) {
		p->wants_starttls = false;
		configure(s);
		preauth_after_tls(p->preauth, &p->config,
		    str_from(p->external));
	}
	return STEP_NEXT;
}

/* --- PREAUTH ----------------------------------------------------------- */

static enum step greet(struct session *s)
{
	struct prelogin *p = s->prelogin;

	configure(s);
	p->preauth = preauth_new(p->arena, &p->config, str_from(p->external));
	if (!p->preauth)
		return session_fail(s, REASON_NO_MEMORY);
	preauth_greet(p->preauth, &p->out);
	p->is_greeted = true;
	return STEP_NEXT;
}

/* NEXT: there are new bytes in prelogin's in. */
static enum step read_client(struct session *s)
{
	struct buf *in = &s->prelogin->in;
	char *to = buf_reserve(in, READ_BYTES);
	size_t n;

	if (!to)
		return session_fail(s, REASON_NO_MEMORY);
	switch (stream_read(&s->client, to, READ_BYTES, &n)) {
	case STREAM_OK:
		buf_commit(in, n);
		return STEP_NEXT;
	case STREAM_AGAIN:
		stream_want(&s->client, true);
		return STEP_WAIT;
	case STREAM_EOF:
		return session_fail(s, REASON_CLIENT_EOF);
	case STREAM_FAILED:
		break;
	}
	return session_fail(s, REASON_CLIENT_ERROR);
}

static void log_refused(struct session *s, const struct refusal *r)
{
	const struct ident *who = preauth_ident(s->prelogin->preauth);
	struct log_line l;

	if (!log_begin(&l, LOG_LINE_INFO, "login_failed"))
		return;
	log_session(&l, s->id);
	if (who && who->user.n) {
		log_str(&l, "user", who->canonical.n ? who->canonical :
		    who->user);
		log_text(&l, "mechanism", sasl_mech_name(who->mech));
	}
	log_addr(&l, "client", &s->client_addr);
	session_log_region(s, &l);
	log_text(&l, "listener", s->listener->conf->name);
	if (*s->tls_version)
		log_text(&l, "tls", s->tls_version);
	log_text(&l, "stage", stage_word(s->stage));
	if (s->chosen && s->stage != STAGE_PREAUTH)
		log_text(&l, "backend", s->chosen->name);
	log_str(&l, "why", r->why);
	if (r->state)
		log_text(&l, "state", r->state);
	log_end(&l);
}

enum step frontend_refuse(struct session *s, const struct refusal *r)
{
	struct prelogin *p = s->prelogin;
	enum preauth_verdict verdict;

	log_refused(s, r);
	verdict = preauth_refuse(p->preauth, r->reply, r->counts, &p->out);
	p->failed_logins += r->counts;
	frontend_flush(s);
	if (r->ends)
		return session_fail(s, REASON_AUTH_ENDS);
	if (verdict == PREAUTH_ABUSE)
		return session_fail(s, REASON_ABUSE);
	session_enter(s, STAGE_PREAUTH);
	return STEP_MOVED;
}

static void begin_starttls(struct session *s)
{
	struct prelogin *p = s->prelogin;

	frontend_flush(s);
	/* nothing said before TLS may be taken for said within it */
	stream_drop_input(&s->client);
	buf_clear(&p->in);
	p->wants_starttls = true;
	session_enter(s, STAGE_TLS);
}

/* The client has to read our replies before it is read itself. */
static enum step more_from_client(struct session *s)
{
	frontend_flush(s);
	if (stream_unsent(&s->client)) {
		stream_want(&s->client, false);
		return STEP_WAIT;
	}
	return read_client(s);
}

enum step frontend_preauth_run(struct session *s)
{
	struct prelogin *p = s->prelogin;
	enum step step = p->preauth ? STEP_NEXT : greet(s);

	while (step == STEP_NEXT) {
		switch (preauth_feed(p->preauth, &p->in, &p->out)) {
		case PREAUTH_MORE:
			step = more_from_client(s);
			continue;
		case PREAUTH_STARTTLS:
			begin_starttls(s);
			return STEP_MOVED;
		case PREAUTH_LOGIN:
			frontend_flush(s);
			return STEP_NEXT;
		case PREAUTH_REFUSED:
			log_refused(s, &(struct refusal){
			    .why = str_from(preauth_why(p->preauth)) });
			continue;
		case PREAUTH_LOGOUT:
			frontend_flush(s);
			return session_fail(s, REASON_LOGOUT);
		case PREAUTH_ABUSE:
			(void)snprintf(p->failure_text, sizeof p->failure_text,
			    "%s", preauth_why(p->preauth));
			frontend_flush(s);
			return session_fail(s, REASON_ABUSE);
		case PREAUTH_RESPONSE:
			must(!"a response outside a login");
		}
	}
	return step;
}

/* --- while a login is under way ------------------------------------------ */

enum step frontend_absorb(struct session *s)
{
	struct prelogin *p = s->prelogin;

	for (;;) {
		if (p->in.len > snapshot_limits(s->snapshot)->pipelined_bytes) {
			stream_want(&s->client, false);
			return STEP_NEXT;
		}
		enum step step = read_client(s);
		if (step == STEP_WAIT)
			return STEP_NEXT;
		if (step != STEP_NEXT)
			return step;
	}
}

bool frontend_challenge(struct session *s, struct str base64)
{
	struct prelogin *p = s->prelogin;

	if (!preauth_challenge(p->preauth, base64, &p->out))
		return false;
	frontend_flush(s);
	return true;
}

enum step frontend_response(struct session *s, struct str *base64_out)
{
	struct prelogin *p = s->prelogin;

	for (;;) {
		switch (preauth_feed(p->preauth, &p->in, &p->out)) {
		case PREAUTH_RESPONSE:
			*base64_out = preauth_response(p->preauth);
			return STEP_NEXT;
		case PREAUTH_ABUSE:
			frontend_flush(s);
			return session_fail(s, REASON_ABUSE);
		case PREAUTH_MORE:
			break;
		case PREAUTH_STARTTLS:
		case PREAUTH_LOGIN:
		case PREAUTH_REFUSED:
		case PREAUTH_LOGOUT:
			must(!"a command within a SASL exchange");
		}
		enum step step = read_client(s);
		if (step != STEP_NEXT)
			return step;
	}
}
