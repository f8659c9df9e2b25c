/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/worker.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "proxy/ask.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/bundle.h"
#include "proxy/conf.h"
#include "proxy/imap/sasl.h"
#include "proxy/ipc.h"
#include "proxy/listener.h"
#include "proxy/parting.h"
#include "proxy/relay.h"
#include "proxy/sandbox.h"
#include "proxy/session.h"
#include "proxy/snapshot.h"
#include "proxy/upstream.h"

/* Descriptors that are not a session's: links, log, listeners, epoll, pipes. */
#define OTHER_FDS 64
#define TRIM_S 2.
#define DEFAULT_WORDS "SASL-IR LITERAL- ID"

/* --- configuration ------------------------------------------------------- */

static void set_limits(struct worker *w)
{
	const struct conf_limits *limits = snapshot_limits(w->snapshot);
	const struct conf_log *log = snapshot_log(w->snapshot);

	log_set_form(log->format, log->level);
	w->login_limit.length_s = (double)limits->login_timeout_ms / 1000;
	w->idle_limit.length_s =
	    (double)snapshot_relay(w->snapshot)->idle_timeout_ms / 1000;
	w->half_limit.length_s =
	    (double)snapshot_relay(w->snapshot)->half_closed_timeout_ms / 1000;
	/* two descriptors a session */
	uint64_t most = w->fds_max > 2 * OTHER_FDS ?
	    (w->fds_max - OTHER_FDS) / 2 : 1;
	uint64_t share = limits->sessions / w->n_workers +
	    (limits->sessions % w->n_workers != 0);
	w->sessions_max = (unsigned)(share < most ? share : most);
}

static void take_settings(struct worker *w, const struct msg_settings *m)
{
	struct err err = { "" };
	struct settings *settings = bundle_take_settings(w->bundle, m,
	    w->schema, &err);
	struct snapshot *snapshot = settings ?
	    snapshot_new(settings, &w->tickets, &err) : NULL;

	if (!snapshot) {
		log_note(LOG_LINE_ERROR, "settings_refused", "why", "%s",
		    err.text);
		if (w->parent)
			link_send_failed(w->parent, &(struct msg_failed){
			    .generation = m->generation,
			    .text = str_from(err.text) });
		return;
	}
	bool is_first = !w->snapshot;
	snapshot_unref(&w->snapshot);
	w->snapshot = snapshot;
	if (is_first)
		stream_loop_init(&w->streams, w->loop,
		    snapshot_relay(snapshot)->buffer_bytes);
	set_limits(w);
	listener_update(w);
	if (w->parent)
		link_send_ready(w->parent,
		    &(struct msg_ready){ .generation = m->generation });
}

static void take_ticket_key(struct worker *w, const struct msg_ticket_key *m)
{
	unsigned char key[TLS_TICKET_KEY_BYTES];

	if (m->name.n + m->key.n != sizeof key)
		return;
	memcpy(key, m->name.p, m->name.n);
	memcpy(key + m->name.n, m->key.p, m->key.n);
	tls_tickets_add(&w->tickets, key);
	mem_wipe(key, sizeof key);
}

static void take_capabilities(struct worker *w, const struct msg_capabilities *m)
{
	struct str rest = m->mechanisms;
	enum sasl_mech mech;

	free(w->offer.words);
	w->offer.words = mem_str(m->words);
	w->offer.mechanisms = 0;
	while (rest.n) {
		struct str word = str_split(rest, ' ', &rest);
		if (sasl_mech_find(word, &mech))
			w->offer.mechanisms |= SASL_BIT(mech);
	}
}

/* --- stopping ------------------------------------------------------------ */

static void finish_if_empty(struct worker *w)
{
	if (w->is_stopping && !w->sessions)
		ev_break(w->loop, EVBREAK_ALL);
}

void worker_session_ended(struct worker *w)
{
	if (w->is_paused && w->n_sessions < w->sessions_max)
		ev_feed_event(w->loop, &w->resume, EV_TIMER);
	finish_if_empty(w);
}

/* Logins leave holes between the sessions that stay. When none is under way
 * any more, pages that are wholly free go back to the system. */
static void on_trim(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct worker *w = t->data;

	(void)loop;
	(void)revents;
	if (w->n_prelogin == 0)
		malloc_trim(0);
}

void worker_login_ended(struct worker *w)
{
	must(w->n_prelogin > 0);
	if (--w->n_prelogin > 0 || ev_is_active(&w->trim))
		return;
	ev_timer_set(&w->trim, TRIM_S, 0.);
	ev_timer_start(w->loop, &w->trim);
}

static void on_resume(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct worker *w = t->data;

	(void)revents;
	ev_timer_stop(loop, t);
	w->is_paused = false;
	listener_update(w);
}

static void on_grace(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct worker *w = t->data;
	struct session *s, *tmp;

	(void)loop;
	(void)revents;
	DL_FOREACH_SAFE(w->sessions, s, tmp)
		session_close(s, REASON_SHUTDOWN);
	/* whoever lingers still is cut off */
	DL_FOREACH_SAFE(w->sessions, s, tmp)
		session_close(s, REASON_SHUTDOWN);
	finish_if_empty(w);
}

static void stop(struct worker *w, double grace_s)
{
	struct session *s, *tmp;

	w->is_stopping = true;
	listener_close_all(w);
	ev_timer_stop(w->loop, &w->grace);
	ev_timer_set(&w->grace, grace_s > 0 ? grace_s : 0.001, 0.);
	ev_timer_start(w->loop, &w->grace);
	DL_FOREACH_SAFE(w->sessions, s, tmp)
		session_order_end(s, REASON_SHUTDOWN);
	finish_if_empty(w);
}

/* --- orders to end sessions ------------------------------------------------ */

struct end_order {
	uint64_t session;
	enum reason why;
	bool now;			/* not at a safe point only */
};

static void take_end(struct worker *w, const struct msg_end *m)
{
	enum reason why = reason_find(m->reason);

	if (w->n_ends == w->ends_cap) {
		w->ends_cap = w->ends_cap ? 2 * w->ends_cap : 16;
		w->ends = mem_realloc(w->ends, w->ends_cap * sizeof *w->ends);
	}
	w->ends[w->n_ends++] = (struct end_order){
		.session = m->session, .why = why ? why : REASON_KICKED,
		.now = m->now };
}

static int compare_ends(const void *a, const void *b)
{
	const struct end_order *x = a, *y = b;

	return (x->session > y->session) - (x->session < y->session);
}

/* Sessions are in no index, which would cost each of them memory. So the
 * orders of a turn are sorted, and one walk finds the sessions of all. */
static void do_ends(struct worker *w)
{
	struct session *s, *tmp;

	if (w->n_ends == 0)
		return;
	qsort(w->ends, w->n_ends, sizeof *w->ends, compare_ends);
	DL_FOREACH_SAFE(w->sessions, s, tmp) {
		const struct end_order key = { .session = s->id };
		const struct end_order *e = bsearch(&key, w->ends, w->n_ends,
		    sizeof *w->ends, compare_ends);
		if (e && e->now && s->stage >= STAGE_RELAY)
			session_close(s, e->why);
		else if (e)
			session_order_end(s, e->why);
	}
	free(w->ends);
	w->ends = NULL;
	w->n_ends = w->ends_cap = 0;
}

/* --- backends that nobody is to log in to ---------------------------------- */

static void take_leave(struct worker *w, const struct msg_leave *m)
{
	struct session *s, *tmp;

	DL_FOREACH_SAFE(w->sessions, s, tmp)
		upstream_leave(s, m->backend);
}

/* --- messages ------------------------------------------------------------ */

static void on_control_message(void *owner, struct link *l,
    const struct msg *m)
{
	struct worker *w = owner;

	(void)l;
	switch (m->type) {
	case MSG_FILE:
		bundle_take_file(w->bundle, &m->file);
		break;
	case MSG_SETTINGS:
		take_settings(w, &m->settings);
		break;
	case MSG_TICKET_KEY:
		take_ticket_key(w, &m->ticket_key);
		break;
	case MSG_CAPABILITIES:
		take_capabilities(w, &m->capabilities);
		break;
	case MSG_GRANT:
	case MSG_REFUSE:
	case MSG_WAIT:
		ask_answered(w, m);
		break;
	case MSG_END:
		take_end(w, &m->end);
		break;
	case MSG_LEAVE:
		take_leave(w, &m->leave);
		break;
	default:	/* not for a worker, or of a newer release */
		break;
	}
}

static void on_control_closed(void *owner, struct link *l,
    const struct err *why)
{
	struct worker *w = owner;

	(void)l;
	log_note(LOG_LINE_WARN, "control_lost", "why", "%s", why->text);
	link_close(&w->control);
	bundle_empty(w->bundle);
}

static void take_control(struct worker *w, int fd)
{
	link_close(&w->control);
	if (fd < 0)
		return;
	w->control = link_open(w->loop, fd, "worker", w->index,
	    on_control_message, on_control_closed, w);
	ask_resync(w);
}

static void take_log(const struct msg_log *m)
{
	log_set_output(m->fd, str_eq(m->kind, STR("syslog")) ?
	    LOG_KIND_SYSLOG : LOG_KIND_FILE);
}

static void on_parent_message(void *owner, struct link *l, const struct msg *m)
{
	struct worker *w = owner;

	(void)l;
	switch (m->type) {
	case MSG_LISTENER:
		if (w->is_stopping)
			close(m->listener.fd);
		else
			listener_add(w, m->listener.name, m->listener.address,
			    m->listener.fd);
		break;
	case MSG_LISTENERS_END:
		listener_sweep(w);
		break;
	case MSG_PEER:
		take_control(w, m->peer.fd);
		break;
	case MSG_LOG:
		take_log(&m->log);
		break;
	case MSG_STOP:
		stop(w, (double)m->stop.grace_ms / 1000);
		break;
	default:	/* not for a worker, or of a newer release */
		break;
	}
}

/* Nobody could give us new descriptors, stop or reload us any more. */
static void on_parent_closed(void *owner, struct link *l,
    const struct err *why)
{
	struct worker *w = owner;

	(void)l;
	if (!w->is_stopping)
		log_note(LOG_LINE_ERROR, "parent_lost", "why", "%s",
		    why->text);
	link_close(&w->parent);
	stop(w, WORKER_ORPHAN_S);
}

/* --- limits in time ------------------------------------------------------ */

static void on_login_limit(struct deadline *d, void *owner)
{
	(void)owner;
	session_close(SESSION_OF(d), REASON_LOGIN_TIMEOUT);
}

static void on_idle_limit(struct deadline *d, void *owner)
{
	(void)owner;
	session_close(SESSION_OF(d), REASON_IDLE_TIMEOUT);
}

static void on_half_limit(struct deadline *d, void *owner)
{
	(void)owner;
	session_close(SESSION_OF(d), REASON_HALF_CLOSED);
}

/* --- the process --------------------------------------------------------- */

static void on_turn_end(struct ev_loop *loop, ev_prepare *p, int revents)
{
	(void)loop;
	(void)revents;
	do_ends(p->data);
	session_bury(p->data);
	log_flush();
}

static void init_limits(struct worker *w)
{
	deadline_class_init(&w->login_limit, w->loop, 60, on_login_limit, w);
	deadline_class_init(&w->idle_limit, w->loop, 2100, on_idle_limit, w);
	deadline_class_init(&w->half_limit, w->loop, 60, on_half_limit, w);
	deadline_class_init(&w->linger_limit, w->loop, RELAY_LINGER_S,
	    on_half_limit, w);
	ev_init(&w->grace, on_grace);
	w->grace.data = w;
	ev_init(&w->trim, on_trim);
	w->trim.data = w;
	ev_init(&w->resume, on_resume);
	w->resume.data = w;
	ev_prepare_init(&w->turn, on_turn_end);
	w->turn.data = w;
	ev_prepare_start(w->loop, &w->turn);
}

/* Sessions of all workers, also of dead ones, have different numbers. */
static uint64_t first_session(void)
{
	uint32_t high;

	if (getrandom(&high, sizeof high, 0) != (ssize_t)sizeof high)
		die("no random numbers");
	return (uint64_t)high << 32 | 1;
}

static void fini(struct worker *w)
{
	session_bury(w);
	listener_close_all(w);
	parting_fini(w);
	link_close(&w->control);
	link_close(&w->parent);
	bundle_free(&w->bundle);
	if (w->snapshot)
		stream_loop_fini(&w->streams);
	snapshot_unref(&w->snapshot);
	free(w->offer.words);
	free(w->ends);
	for (unsigned i = 0; i < w->n_free_pipes; i++) {
		close(w->free_pipes[i][0]);
		close(w->free_pipes[i][1]);
	}
	ev_prepare_stop(w->loop, &w->turn);
	mem_wipe(&w->tickets, sizeof w->tickets);
	ev_loop_destroy(w->loop);
	log_flush();
}

int worker_main(int fd, unsigned index, const struct worker_start *start)
{
	struct worker w = { .index = index, .schema = start->schema,
		.n_workers = start->n_workers };
	struct rlimit fds = { .rlim_cur = 1024 };
	struct err err = { "" };

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &fds);
	w.fds_max = fds.rlim_cur;
	log_set_role("worker");
	log_hold();
	w.loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	if (!w.loop)
		die("worker: no event loop");
	w.next_session = first_session();
	w.bundle = bundle_new();
	w.offer.words = mem_strdup(DEFAULT_WORDS);
	init_limits(&w);
	w.parent = link_open(w.loop, fd, "worker", index, on_parent_message,
	    on_parent_closed, &w);
	tlsctx_warm_up();
	if (!sandbox_enter(&err))
		log_note(LOG_LINE_WARN, "sandbox", "why", "%s", err.text);
	ev_run(w.loop, 0);
	fini(&w);
	return 0;
}
