/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/session.h"

#include <stdlib.h>

#include "backends/conf.h"
#include "proxy/admit.h"
#include "proxy/ask.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/frontend.h"
#include "proxy/parting.h"
#include "proxy/prelogin.h"
#include "proxy/relay.h"
#include "proxy/relay_splice.h"
#include "proxy/snapshot.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"
#include <utlist.h>

/* An idle session's memory, but for OpenSSL's part. */
_Static_assert(sizeof(struct session) <= 600, "struct session has grown");

static const struct {
	const char *word;
	enum step (*run)(struct session *s);
} stages[] = {
#define STAGE(NAME, word, run) { word, run },
#include "proxy/stages.def"
};

static const struct {
	const char *word, *blame, *last, *text;
} reasons[] = {
#define REASON(NAME, word, blame, last, text) { word, blame, last, text },
#include "proxy/reasons.def"
};

const char *stage_word(enum stage stage)
{
	return stages[stage].word;
}

const char *reason_word(enum reason why)
{
	return reasons[why].word;
}

enum reason reason_find(struct str word)
{
	for (unsigned i = 0; i < REASON_end; i++)
		if (str_eq(word, str_from(reasons[i].word)))
			return i;
	return REASON_NONE;
}

static void on_stream(struct stream *stream, int revents)
{
	struct session *s = stream->owner;

	(void)revents;
	must(s->magic == SESSION_MAGIC);
	session_run(s);
}

void session_start(struct worker *w, const struct snapshot_listener *listener,
    int fd, const struct addr *client)
{
	struct session *s = mem_alloc(sizeof *s);

	s->magic = SESSION_MAGIC;
	s->worker = w;
	s->id = w->next_session++;
	s->snapshot = snapshot_ref(w->snapshot);
	s->listener = listener;
	s->client_addr = *client;
	s->tls_version = "";
	s->region = "";
	s->accepted_at = clock_now();
	stream_init(&s->client, &w->streams, on_stream, s);
	stream_init(&s->backend, &w->streams, on_stream, s);
	stream_adopt(&s->client, fd);
	frontend_init(s);
	DL_APPEND(w->sessions, s);
	w->n_sessions++;
	deadline_start(&w->login_limit, &s->deadline);
	session_run(s);
}

/* Not every stage may follow every other. */
static bool may_enter(enum stage from, enum stage to)
{
	if (to == from + 1 || to == STAGE_LINGER)
		return true;
	switch (to) {
	case STAGE_TLS:		/* STARTTLS */
		return from == STAGE_PREAUTH;
	case STAGE_PREAUTH:	/* the login was refused */
		return from == STAGE_DECIDE || from == STAGE_CONNECT ||
		    from == STAGE_LOGIN;
	case STAGE_DECIDE:	/* the next backend, or another one */
		return from == STAGE_CONNECT || from == STAGE_LOGIN;
	case STAGE_ADMIT:
	case STAGE_CONNECT:
	case STAGE_LOGIN:
	case STAGE_RELAY:
	case STAGE_PARTING:
	case STAGE_LINGER:
	case STAGE_end:
		break;
	}
	return false;
}

void session_enter(struct session *s, enum stage stage)
{
	struct log_line l;

	must(may_enter(s->stage, stage));
	if (log_begin(&l, LOG_LINE_DEBUG, "stage")) {
		log_session(&l, s->id);
		log_text(&l, "from", stage_word(s->stage));
		log_text(&l, "to", stage_word(stage));
		log_end(&l);
	}
	s->stage = (uint8_t)stage;
}

enum step session_fail(struct session *s, enum reason why)
{
	s->why = (uint8_t)why;
	return STEP_CLOSE;
}

void session_log_region(const struct session *s, struct log_line *l)
{
	if (*s->region)
		log_text(l, "region", s->region);
	if (s->country[0])
		log_str(l, "country", (struct str){ s->country,
		    sizeof s->country });
}

static void log_close(const struct session *s)
{
	double now = clock_now();
	struct log_line l;

	if (!log_begin(&l, LOG_LINE_INFO, "close"))
		return;
	log_session(&l, s->id);
	if (s->user)
		log_text(&l, "user", s->user);
	log_addr(&l, "client", &s->client_addr);
	session_log_region(s, &l);
	log_text(&l, "listener", s->listener->conf->name);
	if (*s->tls_version)
		log_text(&l, "tls", s->tls_version);
	if (s->chosen)
		log_text(&l, "backend", s->chosen->name);
	log_text(&l, "reason", reasons[s->why].word);
	log_text(&l, "blame", reasons[s->why].blame);
	if (!s->login_at)
		log_text(&l, "stage", stage_word(s->stage));
	log_u64(&l, "in", s->c2b_bytes);
	log_u64(&l, "out", s->b2c_bytes);
	if (s->login_at)
		log_seconds(&l, "login_s", s->login_at - s->accepted_at);
	log_seconds(&l, "total_s", now - s->accepted_at);
	if (s->prelogin && s->prelogin->failure_text[0])
		log_text(&l, "detail", s->prelogin->failure_text);
	log_end(&l);
}

/* The last line goes out only where a line may stand. True: it was sent. */
static bool say_last(struct session *s)
{
	const char *last = reasons[s->why].last;

	if (!last || stream_is_broken(&s->client) || s->client.has_shutdown ||
	    s->client.is_handshaking)
		return false;
	if (s->stage >= STAGE_RELAY ? s->is_opaque || !frame_can_bye(&s->frame)
	    || frame_bye_seen(&s->frame) : !frontend_may_bye(s))
		return false;
	stream_write(&s->client, last, strlen(last));
	stream_write(&s->client, "\r\n", 2);
	return true;
}

static void bury(struct session *s)
{
	struct worker *w = s->worker;

	deadline_stop(&s->deadline);
	stream_close(&s->client);
	DL_DELETE(w->sessions, s);
	LL_PREPEND(w->dead, s);
	w->n_sessions--;
	worker_session_ended(w);
}

/* The one way out. */
static void end(struct session *s)
{
	if (s->stage == STAGE_LINGER) {
		bury(s);
		return;
	}
	must(s->why != REASON_NONE);
	bool spoke = say_last(s) || s->stage < STAGE_RELAY;
	log_close(s);
	admit_forget(s);
	ask_released(s);
	session_forget_prelogin(s);
	relay_pipes_free(&s->pipes);
	stream_close(&s->backend);
	deadline_stop(&s->deadline);
	session_enter(s, STAGE_LINGER);
	(void)stream_flush(&s->client);
	bool unsent = stream_unsent(&s->client) > 0;
	/* Closing while the peer's bytes are unread would send RST, and take
	 * the last words with it. */
	if (stream_is_broken(&s->client) ||
	    (!unsent && (s->client.has_eof || !spoke))) {
		bury(s);
		return;
	}
	stream_shutdown(&s->client);
	deadline_start(unsent ? &s->worker->half_limit :
	    &s->worker->linger_limit, &s->deadline);
	session_run(s);
}

enum step session_linger_run(struct session *s)
{
	struct stream_loop *l = &s->worker->streams;
	size_t n;

	/* after a failed handshake TLS has nothing to read any more */
	if (s->client.is_handshaking) {
		while (stream_take_raw(&s->client, l->scratch, l->chunk) > 0)
			continue;
		if (s->client.has_eof || s->client.error)
			return STEP_CLOSE;
		stream_want(&s->client, true);
		return STEP_WAIT;
	}
	for (int i = 0; i < 16; i++) {
		switch (stream_read(&s->client, l->scratch, l->chunk, &n)) {
		case STREAM_OK:
			continue;
		case STREAM_AGAIN:
			stream_want(&s->client, true);
			return STEP_WAIT;
		case STREAM_EOF:
			if (!stream_unsent(&s->client))
				return STEP_CLOSE;
			stream_want(&s->client, false);
			return STEP_WAIT;
		case STREAM_FAILED:
			return STEP_CLOSE;
		}
	}
	return STEP_CLOSE;	/* it sends faster than a last line deserves */
}

void session_run(struct session *s)
{
	for (;;) {
		must(s->magic == SESSION_MAGIC);
		switch (stages[s->stage].run(s)) {
		case STEP_NEXT:
			session_enter(s, s->stage + 1u);
			continue;
		case STEP_MOVED:
			continue;
		case STEP_WAIT:
			return;
		case STEP_CLOSE:
			end(s);
			return;
		}
	}
}

void session_close(struct session *s, enum reason why)
{
	if (s->stage != STAGE_LINGER)
		s->why = (uint8_t)why;
	end(s);
}

void session_order_end(struct session *s, enum reason why)
{
	if (s->stage == STAGE_LINGER ||
	    (why == REASON_MOVED && upstream_moved(s)))
		return;
	if (s->stage != STAGE_RELAY || relay_may_end(s))
		session_close(s, why);
	else
		s->ordered = (uint8_t)why;
}

void session_forget_prelogin(struct session *s)
{
	if (!s->prelogin)
		return;
	upstream_fini(s);
	frontend_fini(s);
	mem_wipe(s->prelogin, sizeof *s->prelogin);
	free(s->prelogin);
	s->prelogin = NULL;
	worker_login_ended(s->worker);
}

void session_forget_backend(struct session *s)
{
	if (s->chosen)
		snapshot_put_backend(s->chosen_in, &s->chosen);
	snapshot_unref(&s->chosen_in);
}

void session_bury(struct worker *w)
{
	while (w->dead) {
		struct session *s = w->dead;
		LL_DELETE(w->dead, s);
		session_forget_backend(s);
		snapshot_unref(&s->snapshot);
		free(s->user);
		s->magic = 0;
		free(s);
	}
}
