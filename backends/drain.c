/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/drain.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("drain: %s", msg)
#include <uthash.h>

#define STEP_S 0.1		/* how often the rate is looked at */
#define REST_S 1.		/* and a backend that is empty */

/* A user who has not left. Busy sessions have been told to, and will; until
 * then the others, which would be back at once, are left alone. */
struct stuck {
	UT_hash_handle hh;	/* the longest stuck first */
	double again_at;
	uint64_t told_ms;	/* those from before were told; 0: none was */
	char *why;		/* "user: why" */
	size_t n_user;
	char user[];
};

struct drain {
	UT_hash_handle hh;
	struct drains *drains;
	char *backend;
	struct drain_order order;
	double rate, allowed;	/* users that may leave now */
	double at, began, ended, deadline_at;
	bool is_done, is_cut;
	size_t n_moving;
	uint64_t n_moved, n_stuck, n_failed, n_cut;
	struct stuck *stuck;
	ev_timer step;
};

struct drains {
	struct ev_loop *loop;
	const struct place *place;
	struct moves *moves;
	drain_done_fn *done;
	void *owner;
	struct drain *all;
};

/* --- who is next ------------------------------------------------------------- */

struct search {
	const struct drain *drain;
	double now;
	char *user;		/* found */
};

static struct stuck *stuck_find(const struct drain *n, struct str user)
{
	struct stuck *s;

	HASH_FIND(hh, n->stuck, user.n ? user.p : "", user.n, s);
	return s;
}

struct old {
	const char *backend;
	uint64_t before_ms;
	bool is_there;
};

static void look(void *arg, const struct place_session *s)
{
	struct old *o = arg;

	o->is_there |= s->since_ms < o->before_ms &&
	    str_eq(s->backend, str_from(o->backend));
}

static bool is_stuck(const struct drain *n, struct str user, double now)
{
	const struct stuck *s = stuck_find(n, user);
	struct old old = { .backend = n->backend };

	if (!s)
		return false;
	if (s->again_at > now)
		return true;
	old.before_ms = s->told_ms;
	place_user(n->drains->place, user, look, &old);
	return old.is_there;
}

static bool visit(void *arg, const struct place_session *s)
{
	struct search *q = arg;

	if (is_stuck(q->drain, s->user, q->now) ||
	    moves_has(q->drain->drains->moves, s->user))
		return true;
	q->user = mem_str(s->user);
	return false;
}

static void forget_stuck(struct drain *n, struct stuck *s)
{
	HASH_DELETE(hh, n->stuck, s);
	free(s->why);
	free(s);
}

static void note_stuck(struct drain *n, struct str user, bool is_told,
    const char *why)
{
	struct stuck *s = stuck_find(n, user);

	if (s)
		forget_stuck(n, s);
	s = mem_alloc(sizeof *s + user.n + 1);
	memcpy(s->user, user.p, user.n);
	s->n_user = user.n;
	s->why = mem_printf("%.*s: %s", STR_ARG(user), why);
	if (is_told)
		s->told_ms = (uint64_t)(ev_now(n->drains->loop) * 1000);
	else
		s->again_at = clock_now() + DRAIN_AGAIN_S;
	HASH_ADD_KEYPTR(hh, n->stuck, s->user, user.n, s);
}

static void on_moved(void *owner, struct str user,
    enum moves_outcome outcome, const char *why)
{
	struct drain *n = owner;
	struct stuck *s = stuck_find(n, user);

	n->n_moving--;
	n->n_cut += outcome == MOVES_CUT;
	switch (outcome) {
	case MOVES_DONE:
	case MOVES_CUT:
		n->n_moved++;
		if (s)
			forget_stuck(n, s);
		break;
	case MOVES_STUCK:
		n->n_stuck++;
		note_stuck(n, user, true, why);
		break;
	case MOVES_FAILED:
		n->n_failed++;
		note_stuck(n, user, false, why);
		break;
	case MOVES_STOPPED:
		break;
	}
}

/* False: nobody can leave now. */
static bool move_next(struct drain *n)
{
	struct drains *d = n->drains;
	struct search q = { .drain = n, .now = clock_now() };

	place_backend(d->place, str_from(n->backend), visit, &q);
	if (!q.user)
		return false;
	/* it may be done before this returns, so it is counted first */
	n->n_moving++;
	bool has_begun = moves_start(d->moves, str_from(q.user),
	    str_from(n->backend), STR_NONE, on_moved, n);
	if (!has_begun)
		n->n_moving--;
	free(q.user);
	return has_begun;
}

/* --- its course ------------------------------------------------------------------ */

static void drain_status(const struct drain *n, struct drain_status *out);

static void set_step(struct drain *n, double every_s)
{
	struct ev_loop *loop = n->drains->loop;

	ev_timer_stop(loop, &n->step);
	ev_timer_set(&n->step, every_s, every_s);
	ev_timer_start(loop, &n->step);
}

static void check_done(struct drain *n)
{
	struct drains *d = n->drains;
	struct drain_status status;
	struct log_line l;

	if (n->is_done || n->n_moving > 0 ||
	    place_n_backend(d->place, str_from(n->backend)) > 0)
		return;
	n->is_done = true;
	n->ended = clock_now();
	set_step(n, REST_S);
	if (log_begin(&l, LOG_LINE_INFO, "drained")) {
		log_text(&l, "backend", n->backend);
		log_u64(&l, "moved", n->n_moved);
		log_u64(&l, "stuck", n->n_stuck);
		log_u64(&l, "failed", n->n_failed);
		log_u64(&l, "cut", n->n_cut);
		log_seconds(&l, "after", n->ended - n->began);
		log_end(&l);
	}
	drain_status(n, &status);
	d->done(d->owner, &status);
}

static void cut(struct drain *n)
{
	/* who is stuck, or was not reached, leaves as well */
	n->is_cut = true;
	n->rate = 0;
	n->order.parallel = UINT32_MAX;
	struct stuck *s, *next;
	HASH_ITER(hh, n->stuck, s, next)
		forget_stuck(n, s);
}

static void on_step(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct drain *n = t->data;
	double now = clock_now();

	(void)loop;
	(void)revents;
	if (n->is_done) {
		if (place_n_backend(n->drains->place,
		    str_from(n->backend)) == 0)
			return;
		/* of a worker that has told its sessions late */
		n->is_done = false;
		set_step(n, STEP_S);
	}
	if (n->deadline_at && now >= n->deadline_at && !n->is_cut)
		cut(n);
	/* who begins to leave in this step has until the next one */
	if (n->is_cut)
		moves_cut(n->drains->moves, str_from(n->backend));
	n->allowed += n->rate * (now - n->at);
	/* a pause is not made up for */
	if (n->allowed > n->rate * STEP_S + 1)
		n->allowed = n->rate * STEP_S + 1;
	n->at = now;
	while (n->n_moving < n->order.parallel &&
	    (n->rate == 0 || n->allowed >= 1)) {
		if (!move_next(n))
			break;
		n->allowed -= 1;
	}
	check_done(n);
}

static void drain_free(struct drain *n)
{
	struct drains *d = n->drains;
	struct stuck *s, *next;

	moves_stop(d->moves, n);
	ev_timer_stop(d->loop, &n->step);
	HASH_ITER(hh, n->stuck, s, next)
		forget_stuck(n, s);
	HASH_DELETE(hh, d->all, n);
	free(n->backend);
	free(n);
}

static struct drain *find(const struct drains *d, struct str backend)
{
	struct drain *n;

	HASH_FIND(hh, d->all, backend.n ? backend.p : "", backend.n, n);
	return n;
}

double drain_rate(const struct drains *d, struct str backend,
    const struct drain_order *order)
{
	if (order->rate > 0 || order->over_s <= 0)
		return order->rate;
	size_t users = place_n_backend_users(d->place, backend);
	return (double)(users ? users : 1) / order->over_s;
}

void drain_start(struct drains *d, struct str backend,
    const struct drain_order *order)
{
	struct drain *n = find(d, backend);

	if (n)
		drain_free(n);
	n = mem_alloc(sizeof *n);
	n->drains = d;
	n->backend = mem_str(backend);
	n->order = *order;
	if (n->order.parallel == 0)
		n->order.parallel = DRAIN_PARALLEL;
	n->rate = drain_rate(d, backend, order);
	n->allowed = 1;
	n->at = n->began = n->ended = clock_now();
	n->is_done = order->is_done;
	if (order->deadline_s > 0)
		n->deadline_at = n->began + order->deadline_s;
	HASH_ADD_KEYPTR(hh, d->all, n->backend, backend.n, n);
	ev_timer_init(&n->step, on_step, 0., n->is_done ? REST_S : STEP_S);
	n->step.data = n;
	ev_timer_start(d->loop, &n->step);
}

bool drain_stop(struct drains *d, struct str backend)
{
	struct drain *n = find(d, backend);

	if (n)
		drain_free(n);
	return n != NULL;
}

/* --- for others to see ------------------------------------------------------------- */

static const char *last_why(const struct drain *n)
{
	const char *why = "";

	for (const struct stuck *s = n->stuck; s; s = s->hh.next)
		if (str_eq(place_user_backend(n->drains->place,
		    (struct str){ s->user, s->n_user }),
		    str_from(n->backend)))
			why = s->why;
	return why;
}

static void drain_status(const struct drain *n, struct drain_status *out)
{
	const struct place *place = n->drains->place;
	struct str backend = str_from(n->backend);

	*out = (struct drain_status){ .backend = backend, .order = n->order,
		.rate = n->rate, .is_done = n->is_done,
		.n_sessions = place_n_backend(place, backend),
		.n_users = place_n_backend_users(place, backend),
		.n_moving = n->n_moving, .n_moved = n->n_moved,
		.n_stuck = n->n_stuck, .n_failed = n->n_failed,
		.n_cut = n->n_cut,
		.why = last_why(n), .began = n->began, .ended = n->ended };
}

bool drain_find(const struct drains *d, struct str backend,
    struct drain_status *out)
{
	const struct drain *n = find(d, backend);

	if (n)
		drain_status(n, out);
	return n != NULL;
}

struct drains *drains_new(struct ev_loop *loop, const struct place *place,
    struct moves *moves, drain_done_fn *done, void *owner)
{
	struct drains *d = mem_alloc(sizeof *d);

	d->loop = loop;
	d->place = place;
	d->moves = moves;
	d->done = done;
	d->owner = owner;
	return d;
}

void drains_free(struct drains **dp)
{
	struct drains *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	while (d->all)
		drain_free(d->all);
	free(d);
}
