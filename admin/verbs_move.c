/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* Maintenance: backends that are emptied, users who are moved or held. */
#include "admin/verbs.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/call.h"
#include "admin/conf.h"
#include "admin/control_parts.h"
#include "admin/operator.h"
#include "admin/verbs_parts.h"
#include "backends/conf.h"
#include "backends/drain.h"
#include "backends/keep.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define WATCH_S 0.5
#define MAINTENANCE_PARALLEL 1000
#define MAINTENANCE_S 30.	/* for sessions to come to an end */
#define AT_ONCE_S 0.001		/* --deadline 0; in an order that is none */
#define RATE_MAX 1000000

/* --- the answer to a change ------------------------------------------------------ */

/* It says that a change is in force, so it waits until that will be so after
 * a restart, too. */
struct answer {
	struct call *call;
	char *mover;		/* a user whose move must be over first; or
				 * NULL */
	struct keep_wait *wait;
	json_t *object;
};

static void answer_free(void *state)
{
	struct answer *a = state;

	if (a->mover)
		moves_leave(a->call->control->moves, str_from(a->mover));
	free(a->mover);
	keep_cancel(&a->wait);
	json_decref(a->object);
	free(a);
}

static struct answer *answer_of(struct call *c)
{
	struct answer *a = c->state;

	if (!a) {
		a = mem_alloc(sizeof *a);
		a->call = c;
		call_wait(c, a, answer_free);
	}
	return a;
}

static void on_kept(void *owner, const char *why)
{
	struct answer *a = owner;

	a->wait = NULL;
	if (why) {
		call_fail(a->call, "this is in force, but a restart will "
		    "forget it: %s", why);
	} else {
		call_object(a->call, json_incref(a->object));
		call_done(a->call);
	}
}

static void tell(struct call *c, json_t *object)
{
	struct control *ctl = c->control;

	if (!*conf_admin(ctl->settings)->state_file) {
		call_object(c, object);
		call_done(c);
		return;
	}
	struct answer *a = answer_of(c);
	a->object = object;
	a->wait = keep_wait(ctl->keep, on_kept, a);
}

/* --- a drain's progress ------------------------------------------------------- */

json_t *verb_drain_progress(const struct control *c, struct str backend)
{
	struct drain_status s;

	if (!drain_find(c->drains, backend, &s))
		return json_null();
	double now = s.is_done ? s.ended : clock_now();
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s}",
	    "done", s.is_done,
	    "users_left", (json_int_t)s.n_users,
	    "sessions_left", (json_int_t)s.n_sessions,
	    "moving", (json_int_t)s.n_moving,
	    "moved", (json_int_t)s.n_moved,
	    "stuck", (json_int_t)s.n_stuck,
	    "failed", (json_int_t)s.n_failed,
	    "cut", (json_int_t)s.n_cut,
	    "seconds", now - s.began,
	    "why", s.why);
}

struct watch {
	struct call *call;
	ev_timer timer;
	char *backend;
	json_t *told;			/* the last event; NULL: none yet */
};

static void watch_free(void *state)
{
	struct watch *w = state;

	ev_timer_stop(w->call->loop, &w->timer);
	json_decref(w->told);
	free(w->backend);
	free(w);
}

/* Only the time may be another one. */
static bool is_told(const struct watch *w, json_t *progress)
{
	if (!w->told)
		return false;
	json_object_set(w->told, "seconds", json_object_get(progress,
	    "seconds"));
	return json_equal(w->told, progress);
}

static void show_progress(struct watch *w)
{
	json_t *progress = verb_drain_progress(w->call->control,
	    str_from(w->backend));

	if (!is_told(w, progress)) {
		json_decref(w->told);
		w->told = json_deep_copy(progress);
		call_event(w->call, json_incref(progress));
	}
	json_decref(progress);
}

static void on_watch(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct watch *w = t->data;
	struct call *c = w->call;
	struct drain_status s;

	(void)loop;
	(void)revents;
	bool is_there = drain_find(c->control->drains, str_from(w->backend),
	    &s);
	if (!is_there) {
		call_fail(c, "the drain was stopped");
		return;
	}
	if (s.is_done || !call_is_full(c))
		show_progress(w);
	if (s.is_done)
		call_done(c);
}

static void watch(struct call *c, struct str backend)
{
	struct watch *w = mem_alloc(sizeof *w);

	w->call = c;
	w->backend = mem_str(backend);
	ev_timer_init(&w->timer, on_watch, 0., WATCH_S);
	w->timer.data = w;
	ev_timer_start(c->loop, &w->timer);
	call_wait(c, w, watch_free);
}

/* --- who could take the users of a backend -------------------------------------- */

static bool has_taker(const struct farm *farm, const struct conf_pool *pool,
    const struct backend *but)
{
	for (size_t i = 0; i < pool->backends.n; i++) {
		size_t n;
		struct backend *const *all = farm_members(farm,
		    pool->backends.v[i], &n);

		for (size_t k = 0; k < n; k++)
			if (all[k] != but && !backend_is_down(all[k]) &&
			    backend_wish(all[k]) == BACKEND_READY &&
			    backend_base_weight(all[k]) > 0)
				return true;
	}
	return false;
}

static bool is_member(const struct conf_pool *pool, const struct backend *b)
{
	for (size_t i = 0; i < pool->backends.n; i++)
		if (str_eq(str_from(pool->backends.v[i]->name),
		    backend_section(b)))
			return true;
	return false;
}

/* In each pool of its, and without it, users can log in. One that nobody can
 * log in to now is worth no question. */
static bool may_leave(struct call *c, struct str name)
{
	const struct farm *farm = c->control->farm;
	const struct backend *b = farm_find(farm, name);
	size_t n;
	const struct conf_pool *const *pools = conf_pool_all(
	    c->control->settings, &n);

	if (!b || backend_wish(b) != BACKEND_READY || backend_is_down(b))
		return true;
	for (size_t i = 0; i < n; i++) {
		bool is_good = !is_member(pools[i], b) ||
		    has_taker(farm, pools[i], b);
		for (size_t k = 0; k < pools[i]->fallback.n; k++)
			is_good |= has_taker(farm, pools[i]->fallback.v[k], b);
		if (is_good)
			continue;
		call_fail(c, "no other backend of pool \"%s\" can take its "
		    "users; maintenance empties it all the same",
		    pools[i]->name);
		return false;
	}
	return true;
}

/* --- drain, maintenance, ready ---------------------------------------------------- */

/* An absent value leaves *out as it is. */
static bool read_seconds(struct call *c, const char *name, double *out)
{
	uint64_t ms;
	struct err err;

	if (!call_has(c, name))
		return true;
	if (!request_duration(&c->request, name, &ms, &err)) {
		call_misuse(c, "%s", err.text);
		return false;
	}
	*out = (double)ms / 1000;
	return true;
}

static bool read_deadline(struct call *c, struct drain_order *order)
{
	if (!read_seconds(c, "--deadline", &order->deadline_s))
		return false;
	if (call_has(c, "--deadline") && order->deadline_s == 0)
		order->deadline_s = AT_ONCE_S;
	return true;
}

static bool read_number(struct call *c, const char *name, uint64_t max,
    uint64_t *out)
{
	struct err err;

	if (!call_has(c, name) || request_number(&c->request, name, 1, max,
	    out, &err))
		return true;
	call_misuse(c, "%s", err.text);
	return false;
}

static void set_state(struct call *c, enum backend_wish wish,
    const struct drain_order *order)
{
	struct str backend = call_value(c, "BACKEND");
	struct control *ctl = c->control;
	struct err err;

	if (!operator_set_state(ctl, backend, wish, order, c->who, &err)) {
		call_fail(c, "%s", err.text);
	} else if (order && call_has(c, "--watch")) {
		watch(c, backend);
	} else {
		tell(c, json_pack("{s:o, s:s, s:I, s:I}",
		    "backend", render_string(backend),
		    "state", backend_wish_word(wish),
		    "users", (json_int_t)place_n_backend_users(ctl->place,
			backend),
		    "sessions", (json_int_t)place_n_backend(ctl->place,
			backend)));
	}
}

void verb_drain(struct call *c)
{
	struct drain_order order = { 0 };
	uint64_t rate = 0, parallel = 0;

	if (!verb_is_serving(c) ||
	    !verb_find_backend(c, call_value(c, "BACKEND")) ||
	    !read_number(c, "--rate", RATE_MAX, &rate) ||
	    !read_number(c, "--parallel", UINT32_MAX, &parallel) ||
	    !read_seconds(c, "--over", &order.over_s) ||
	    !read_deadline(c, &order) ||
	    !may_leave(c, call_value(c, "BACKEND")))
		return;
	order.rate = (double)rate;
	order.parallel = (unsigned)parallel;
	set_state(c, BACKEND_DRAIN, &order);
}

void verb_maintenance(struct call *c)
{
	struct drain_order order = { .parallel = MAINTENANCE_PARALLEL,
		.deadline_s = MAINTENANCE_S };

	if (verb_is_serving(c) &&
	    verb_find_backend(c, call_value(c, "BACKEND")) &&
	    read_deadline(c, &order))
		set_state(c, BACKEND_MAINTENANCE, &order);
}

void verb_ready(struct call *c)
{
	if (verb_has_settings(c) &&
	    verb_find_backend(c, call_value(c, "BACKEND")))
		set_state(c, BACKEND_READY, NULL);
}

/* --- weight ----------------------------------------------------------------------- */

void verb_weight(struct call *c)
{
	struct str backend = call_value(c, "BACKEND");
	bool is_default = str_eq(call_value(c, "WEIGHT"), STR("default"));
	uint64_t weight = 0;
	struct err err;

	if (!verb_has_settings(c) || !verb_find_backend(c, backend))
		return;
	if (!is_default && !request_number(&c->request, "WEIGHT", 0, 1000,
	    &weight, &err)) {
		call_misuse(c, "%s, or default", err.text);
		return;
	}
	if (!operator_set_weight(c->control, backend, is_default ? -1 :
	    (int)weight, c->who, &err)) {
		call_fail(c, "%s", err.text);
		return;
	}
	struct backend *b = farm_find(c->control->farm, backend);
	tell(c, json_pack("{s:o, s:i}", "backend",
	    render_string(backend), "weight", b ?
	    (int)backend_base_weight(b) : (int)weight));
}

/* --- one user ------------------------------------------------------------------------ */

static bool find_user(struct call *c, char room[USER_CANONICAL_MAX],
    struct str *out)
{
	return verb_is_serving(c) &&
	    verb_find_user(c, call_value(c, "USER"), room, out);
}

static json_t *outcome_of(struct str user, const char *outcome)
{
	return json_pack("{s:o, s:s}", "user", render_string(user),
	    "outcome", outcome);
}

static json_t *pinned(struct str user, struct str backend, bool is_there)
{
	char text[KEEP_TEXT_MAX + 80];

	snprintf(text, sizeof text, is_there ?
	    "is at %.*s already, and pinned to it" :
	    "is pinned to %.*s; no session had to move", STR_ARG(backend));
	return outcome_of(user, text);
}

static void on_moved(void *owner, struct str user,
    enum moves_outcome outcome, const char *why)
{
	struct call *c = owner;
	struct answer *a = c->state;

	free(a->mover);
	a->mover = NULL;
	if (outcome == MOVES_DONE || outcome == MOVES_CUT)
		tell(c, outcome_of(user, moves_outcome_word(outcome)));
	else
		call_fail(c, "%s: %s", moves_outcome_word(outcome),
		    why ? why : "");
}

static bool may_take(struct call *c, struct str backend)
{
	const struct backend *b = farm_find(c->control->farm, backend);

	if (!b)
		call_fail(c, "the backend \"%.*s\" is no longer configured",
		    STR_ARG(backend));
	else if (backend_wish(b) != BACKEND_READY)
		call_fail(c, "the backend \"%.*s\" is in %s",
		    STR_ARG(backend), backend_wish_word(backend_wish(b)));
	else if (backend_is_down(b))
		call_fail(c, "the backend \"%.*s\" is down: %s",
		    STR_ARG(backend), backend_condition(b)->why);
	else
		return true;
	return false;
}

static void move(struct call *c, struct str user, struct str backend)
{
	struct control *ctl = c->control;
	struct str from = place_user_backend(ctl->place, user);
	struct err err;

	if (from.n == 0 || str_eq(from, backend)) {
		if (operator_pin(ctl, user, backend, &err))
			tell(c, pinned(user, backend, from.n > 0));
		else
			call_fail(c, "%s", err.text);
	} else if (moves_order(ctl->moves, user, from, backend, on_moved, c,
	    &err)) {
		answer_of(c)->mover = mem_str(user);
	} else {
		call_fail(c, "%s", err.text);
	}
}

void verb_move(struct call *c)
{
	struct str backend = call_value(c, "BACKEND"), user;
	char room[USER_CANONICAL_MAX];
	struct control *ctl = c->control;

	if (!find_user(c, room, &user))
		return;
	if (moves_has(ctl->moves, user)) {
		call_fail(c, "the user is on the way already");
		return;
	}
	if (call_has(c, "--back")) {
		operator_unpin(ctl, user);
		tell(c, outcome_of(user, "as the routes say"));
		return;
	}
	if (!verb_find_backend(c, backend) || !may_take(c, backend))
		return;
	move(c, user, backend);
}

struct kicked {
	struct control *control;
	json_int_t n;
};

static void kick_one(void *arg, const struct place_session *s)
{
	struct kicked *k = arg;

	k->n += control_end_session(k->control, s->worker, s->session,
	    "kicked", false);
}

void verb_hold(struct call *c)
{
	struct kicked k = { c->control, 0 };
	char room[USER_CANONICAL_MAX];
	struct str user;
	struct err err;

	if (!find_user(c, room, &user))
		return;
	if (!operator_hold(c->control, user, call_has(c, "--refuse"), &err)) {
		call_fail(c, "%s", err.text);
		return;
	}
	if (call_has(c, "--kick"))
		place_user(c->control->place, user, kick_one, &k);
	tell(c, json_pack("{s:o, s:s, s:I, s:I}",
	    "user", render_string(user),
	    "logins", call_has(c, "--refuse") ? "refused" : "wait",
	    "sessions", (json_int_t)place_n_user(c->control->place, user),
	    "ended", k.n));
}

void verb_release(struct call *c)
{
	char room[USER_CANONICAL_MAX];
	struct str user;

	if (!find_user(c, room, &user))
		return;
	if (operator_release(c->control, user))
		tell(c, outcome_of(user, "released"));
	else
		call_fail(c, "%.*s is not held", STR_ARG(user));
}

static void show_user(void *arg, const struct moves_user *u)
{
	struct call *c = arg;

	call_row(c, json_pack("{s:o, s:s, s:o, s:s, s:o, s:o}",
	    "user", render_string(u->user),
	    "logins", !u->is_held ? u->is_moving ? "wait" : "go on" :
		u->is_refused ? "refused" : "wait",
	    "pin", render_string(u->pin),
	    "moving", u->phase,
	    "from", render_string(u->from),
	    "to", render_string(u->to)));
}

void verb_moves(struct call *c)
{
	if (!verb_has_settings(c))
		return;
	call_list(c, "user logins pin moving from to");
	moves_visit(c->control->moves, show_user, c);
	call_done(c);
}
