/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/moves.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/hook.h"
#include "backends/keep.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("moves: %s", msg)
#include <uthash.h>

enum phase { NOTED, BEFORE, ENDING, SETTLING, AFTER };

static const char *const phase_words[] = {
	[NOTED] = "noted",
	[BEFORE] = "before",
	[ENDING] = "ending",
	[SETTLING] = "settling",
	[AFTER] = "after",
};

struct move {
	enum phase phase;
	char *from, *to;
	struct settings *settings;	/* conf's */
	const struct conf_moves *conf;
	struct hook *hook;
	struct keep_wait *wait;
	bool is_kept;			/* as an order */
	bool is_again;			/* since a restart */
	bool is_cut;
	ev_timer timer;			/* ENDING's limit, or SETTLING */
	double began;
	moves_done_fn *done;
	void *owner;
};

/* Here as long as anything is to be said of the user. */
struct moves_entry {
	UT_hash_handle hh;
	struct moves *moves;
	struct move *move;		/* NULL: not on the way */
	char *pin;			/* NULL: none */
	bool is_held, is_refused;
	bool is_busy;			/* is being used up the stack */
	size_t n_name;
	char name[];
};

struct moves {
	struct ev_loop *loop;
	const struct place *place;
	struct keep *keep;
	struct moves_calls calls;
	void *owner;
	struct settings *settings;
	struct moves_entry *users;
	size_t n_moves;
	ev_timer settle;		/* everybody's, after a restart */
	bool is_settling;		/* ... while it runs */
};

const char *moves_outcome_word(enum moves_outcome o)
{
	switch (o) {
	case MOVES_DONE:
		return "moved";
	case MOVES_CUT:
		return "cut off";
	case MOVES_STUCK:
		return "stuck";
	case MOVES_FAILED:
		return "failed";
	case MOVES_STOPPED:
		return "stopped";
	}
	return "";
}

/* --- users ------------------------------------------------------------------- */

static struct moves_entry *entry_find(const struct moves *m, struct str user)
{
	struct moves_entry *e;

	HASH_FIND(hh, m->users, user.n ? user.p : "", user.n, e);
	return e;
}

static struct moves_entry *entry_get(struct moves *m, struct str user)
{
	struct moves_entry *e = entry_find(m, user);

	if (!e) {
		e = mem_alloc(sizeof *e + user.n + 1);
		e->moves = m;
		e->n_name = user.n;
		memcpy(e->name, user.p, user.n);
		HASH_ADD_KEYPTR(hh, m->users, e->name, e->n_name, e);
	}
	return e;
}

static struct str entry_name(const struct moves_entry *e)
{
	return (struct str){ e->name, e->n_name };
}

static void entry_put(struct moves_entry *e)
{
	if (e->move || e->pin || e->is_held || e->is_busy)
		return;
	HASH_DELETE(hh, e->moves->users, e);
	free(e);
}

/* --- moves --------------------------------------------------------------------- */

static void move_free(struct moves_entry *e)
{
	struct move *v = e->move;

	e->move = NULL;
	e->moves->n_moves--;
	ev_timer_stop(e->moves->loop, &v->timer);
	hook_cancel(&v->hook);
	keep_cancel(&v->wait);
	settings_unref(&v->settings);
	free(v->from);
	free(v->to);
	free(v);
}

static void log_move(const struct moves_entry *e, enum moves_outcome outcome,
    const char *why)
{
	const struct move *v = e->move;
	struct log_line l;

	if (!log_begin(&l, outcome == MOVES_DONE || outcome == MOVES_CUT ?
	    LOG_LINE_INFO : LOG_LINE_WARN, "move"))
		return;
	log_str(&l, "user", entry_name(e));
	log_text(&l, "from", v->from);
	if (*v->to)
		log_text(&l, "to", v->to);
	log_text(&l, "outcome", moves_outcome_word(outcome));
	if (why)
		log_text(&l, "why", why);
	log_seconds(&l, "after", clock_now() - v->began);
	log_end(&l);
}

/* The entry may be gone when it returns, or on the way again. */
static void move_end(struct moves_entry *e, enum moves_outcome outcome,
    const char *why)
{
	struct moves *m = e->moves;
	moves_done_fn *done = e->move->done;
	void *owner = e->move->owner;

	struct str user = entry_name(e);

	log_move(e, outcome, why);
	if (e->move->is_kept)
		keep_drop(m->keep, KEEP_USER, user, MOVES_KEY);
	move_free(e);
	e->is_busy = true;
	if (done)
		done(owner, user, outcome, why);
	if (!e->is_held && !e->move)
		m->calls.go_on(m->owner, user);
	e->is_busy = false;
	entry_put(e);
}

static void enter(struct moves_entry *e, enum phase phase)
{
	struct move *v = e->move;

	v->phase = phase;
	ev_timer_stop(e->moves->loop, &v->timer);
}

static void start_timer(struct moves_entry *e, uint64_t ms)
{
	ev_timer *t = &e->move->timer;

	ev_timer_set(t, (double)ms / 1000, 0.);
	ev_timer_start(e->moves->loop, t);
}

static void start_hook(struct moves_entry *e, const char *when,
    hook_done_fn *done)
{
	struct move *v = e->move;
	const char *const arguments[] = { when, e->name, v->from, v->to,
		NULL };

	v->hook = hook_start(e->moves->loop, v->conf->hook, arguments,
	    (double)v->conf->hook_timeout_ms / 1000, done, e);
}

static void succeed(struct moves_entry *e)
{
	struct moves *m = e->moves;

	if (e->move->is_kept)
		m->calls.moved(m->owner, entry_name(e),
		    str_from(e->move->to));
	move_end(e, e->move->is_cut ? MOVES_CUT : MOVES_DONE, NULL);
}

static void on_after(void *owner, const char *why)
{
	struct moves_entry *e = owner;

	e->move->hook = NULL;
	if (why)
		log_note(LOG_LINE_ERROR, "move_hook", "why", "after %s: %s",
		    e->name, why);
	succeed(e);
}

static void settled(struct moves_entry *e)
{
	enter(e, AFTER);
	if (*e->move->conf->hook)
		start_hook(e, "after", on_after);
	else
		succeed(e);
}

/* What is counted and ended: the user's sessions at the old backend. */
struct there {
	struct moves *moves;
	struct str backend;
	size_t n;
	bool ends, now;
};

static void look(void *arg, const struct place_session *s)
{
	struct there *t = arg;

	if (!str_eq(s->backend, t->backend))
		return;
	t->n++;
	if (t->ends)
		t->moves->calls.end(t->moves->owner, s->worker, s->session,
		    t->now);
}

static size_t look_there(const struct moves_entry *e, bool ends, bool now)
{
	struct there t = { .moves = e->moves,
		.backend = str_from(e->move->from), .ends = ends,
		.now = now };

	place_user(e->moves->place, entry_name(e), look, &t);
	return t.n;
}

static void settle(struct moves_entry *e)
{
	enter(e, SETTLING);
	start_timer(e, e->move->conf->settle_ms);
}

static void check_ended(struct moves_entry *e)
{
	if (look_there(e, false, false) == 0)
		settle(e);
}

static void begin_ending(struct moves_entry *e)
{
	enter(e, ENDING);
	start_timer(e, e->move->conf->timeout_ms);
	if (look_there(e, true, false) > 0)
		return;
	if (e->move->is_again)	/* they may have ended just now */
		settle(e);
	else			/* nobody was there */
		settled(e);
}

static void on_before(void *owner, const char *why)
{
	struct moves_entry *e = owner;
	char text[200];

	e->move->hook = NULL;
	if (why) {
		snprintf(text, sizeof text, "the hook: %s", why);
		move_end(e, MOVES_FAILED, text);
	} else {
		begin_ending(e);
	}
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct moves_entry *e = t->data;
	char text[64];

	(void)loop;
	(void)revents;
	if (e->move->phase == SETTLING) {
		settled(e);
		return;
	}
	size_t n = look_there(e, false, false);
	snprintf(text, sizeof text, "%zu session%s busy", n,
	    n == 1 ? " is" : "s are");
	move_end(e, MOVES_STUCK, text);
}

static void begin(struct moves_entry *e)
{
	enter(e, BEFORE);
	if (*e->move->conf->hook)
		start_hook(e, "before", on_before);
	else
		begin_ending(e);
}

/* What could not be kept is told by keep, and to who waits for its answer. */
static void on_kept(void *owner, const char *why)
{
	struct moves_entry *e = owner;

	(void)why;
	e->move->wait = NULL;
	begin(e);
}

/* NULL: the user is on the way already. */
static struct moves_entry *move_new(struct moves *m, struct str user,
    struct str from, struct str to)
{
	struct moves_entry *e = entry_get(m, user);

	if (e->move)
		return NULL;
	struct move *v = mem_alloc(sizeof *v);
	e->move = v;
	m->n_moves++;
	v->from = mem_str(from);
	v->to = mem_str(to);
	v->settings = settings_ref(m->settings);
	v->conf = conf_moves(m->settings);
	v->began = clock_now();
	ev_init(&v->timer, on_timer);
	v->timer.data = e;
	enter(e, NOTED);
	return e;
}

static void set_done(struct moves_entry *e, moves_done_fn *done, void *owner)
{
	e->move->done = done;
	e->move->owner = owner;
}

bool moves_start(struct moves *m, struct str user, struct str from,
    struct str to, moves_done_fn *done, void *owner)
{
	struct moves_entry *e = move_new(m, user, from, to);

	if (!e)
		return false;
	set_done(e, done, owner);
	begin(e);
	return true;
}

bool moves_order(struct moves *m, struct str user, struct str from,
    struct str to, moves_done_fn *done, void *owner, struct err *err)
{
	char kept[2 * KEEP_TEXT_MAX];

	if (moves_has(m, user))
		return err_set(err, "the user is on the way already");
	int n = snprintf(kept, sizeof kept, "%.*s %.*s", STR_ARG(from),
	    STR_ARG(to));
	if (!keep_set(m->keep, KEEP_USER, user, MOVES_KEY,
	    (struct str){ kept, (size_t)n }, err))
		return false;
	struct moves_entry *e = move_new(m, user, from, to);
	set_done(e, done, owner);
	e->move->is_kept = true;
	e->move->wait = keep_wait(m->keep, on_kept, e);
	return true;
}

bool moves_resume(struct moves *m, struct str user, struct str kept)
{
	struct str to, from = str_split(kept, ' ', &to);

	if (from.n == 0 || to.n == 0)
		return false;
	struct moves_entry *e = move_new(m, user, from, to);
	if (e) {
		e->move->is_kept = e->move->is_again = true;
		begin(e);
	}
	return true;
}

void moves_leave(struct moves *m, struct str user)
{
	struct moves_entry *e = entry_find(m, user);

	if (e && e->move)
		set_done(e, NULL, NULL);
}

void moves_session_ended(struct moves *m, struct str user)
{
	struct moves_entry *e = m->n_moves ? entry_find(m, user) : NULL;

	if (e && e->move && e->move->phase == ENDING)
		check_ended(e);
}

void moves_recheck(struct moves *m)
{
	struct moves_entry *e, *next;

	HASH_ITER(hh, m->users, e, next)
		if (e->move && e->move->phase == ENDING)
			check_ended(e);
}

void moves_cut(struct moves *m, struct str from)
{
	struct moves_entry *e, *next;

	HASH_ITER(hh, m->users, e, next)
		if (e->move && e->move->phase == ENDING &&
		    (from.n == 0 || str_eq(str_from(e->move->from), from)))
			e->move->is_cut |= look_there(e, true, true) > 0;
}

void moves_stop(struct moves *m, const void *owner)
{
	struct moves_entry *e, *next;

	HASH_ITER(hh, m->users, e, next)
		if (e->move && e->move->owner == owner)
			move_end(e, MOVES_STOPPED, NULL);
}

bool moves_has(const struct moves *m, struct str user)
{
	const struct moves_entry *e = entry_find(m, user);

	return e && e->move;
}

size_t moves_n(const struct moves *m)
{
	return m->n_moves;
}

/* --- gates, holds and pins ----------------------------------------------------- */

enum moves_gate moves_gate(const struct moves *m, struct str user)
{
	const struct moves_entry *e = m->users ? entry_find(m, user) : NULL;

	if (e && e->is_held && e->is_refused)
		return MOVES_REFUSE;
	if (e && (e->is_held || e->move))
		return MOVES_WAIT;
	return m->is_settling && place_n_user(m->place, user) == 0 ?
	    MOVES_WAIT : MOVES_OPEN;
}

static void on_settled(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct moves *m = t->data;

	(void)loop;
	(void)revents;
	m->is_settling = false;
	m->calls.go_on(m->owner, STR_NONE);
}

void moves_settle(struct moves *m)
{
	ev_timer_stop(m->loop, &m->settle);
	ev_timer_set(&m->settle,
	    (double)conf_moves(m->settings)->settle_ms / 1000, 0.);
	ev_timer_start(m->loop, &m->settle);
	m->is_settling = true;
}

struct str moves_pin(const struct moves *m, struct str user)
{
	const struct moves_entry *e = m->users ? entry_find(m, user) : NULL;

	return e && e->pin ? str_from(e->pin) : STR_NONE;
}

void moves_hold(struct moves *m, struct str user, bool refuses)
{
	struct moves_entry *e = entry_get(m, user);

	e->is_held = true;
	e->is_refused = refuses;
	if (refuses)	/* those who wait are told */
		m->calls.go_on(m->owner, user);
}

bool moves_release(struct moves *m, struct str user)
{
	struct moves_entry *e = entry_find(m, user);

	if (!e || !e->is_held)
		return false;
	e->is_held = e->is_refused = false;
	if (!e->move)
		m->calls.go_on(m->owner, user);
	entry_put(e);
	return true;
}

void moves_set_pin(struct moves *m, struct str user, struct str backend)
{
	struct moves_entry *e = entry_get(m, user);

	free(e->pin);
	e->pin = backend.n ? mem_str(backend) : NULL;
	entry_put(e);
}

void moves_visit(const struct moves *m, moves_visit_fn *visit, void *arg)
{
	const struct moves_entry *e;

	for (e = m->users; e; e = e->hh.next) {
		struct moves_user u = { .user = entry_name(e),
			.pin = e->pin ? str_from(e->pin) : STR_NONE,
			.is_held = e->is_held, .is_refused = e->is_refused,
			.is_moving = e->move != NULL, .phase = "" };
		if (e->move) {
			u.from = str_from(e->move->from);
			u.to = str_from(e->move->to);
			u.phase = phase_words[e->move->phase];
		}
		visit(arg, &u);
	}
}

/* --- all of them ------------------------------------------------------------------ */

struct moves *moves_new(struct ev_loop *loop, const struct place *place,
    struct keep *keep, const struct moves_calls *calls, void *owner)
{
	struct moves *m = mem_alloc(sizeof *m);

	m->loop = loop;
	m->place = place;
	m->keep = keep;
	m->calls = *calls;
	m->owner = owner;
	ev_init(&m->settle, on_settled);
	m->settle.data = m;
	return m;
}

void moves_configure(struct moves *m, struct settings *settings)
{
	settings_ref(settings);
	settings_unref(&m->settings);
	m->settings = settings;
}

void moves_free(struct moves **mp)
{
	struct moves *m = *mp;
	struct moves_entry *e, *next;

	if (!m)
		return;
	*mp = NULL;
	HASH_ITER(hh, m->users, e, next) {
		if (e->move)
			move_free(e);
		free(e->pin);
		e->pin = NULL;
		e->is_held = false;
		entry_put(e);
	}
	ev_timer_stop(m->loop, &m->settle);
	settings_unref(&m->settings);
	free(m);
}
