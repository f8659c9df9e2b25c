/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Which backend: the one where the user is already, or one of the pool, or of
 * a fallback pool. A backend that is down is passed over at once, and one in
 * doubt as long as there are others; for one that is only full, or has its
 * logins a second, a login may wait.
 */
#include <stdio.h>
#include <string.h>

#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/decide_impl.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include <utlist.h>

#define RANKS_SHOWN 10
#define TEXT_BYTES 300	/* of an obstacle */

/* What keeps a backend from a session now. */
enum obstacle {
	FIT,
	NOT_WANTED,		/* the operator empties it */
	TRIED,			/* in vain, by this login */
	NO_ADDRESS,
	FULL,
	RESOLVING,
	DOWN,
	DOUBTFUL,		/* another login tries it now */
};

static const char *obstacle_text(const struct backend *b, enum obstacle o,
    char text[TEXT_BYTES])
{
	const struct condition *c = backend_condition(b);

	switch (o) {
	case FIT:
		return "fit";
	case NOT_WANTED:
		return "is being emptied by the operator";
	case TRIED:
		return "was tried";
	case NO_ADDRESS:
		return "has no address";
	case FULL:
		return "is full";
	case RESOLVING:
		return "its name is being resolved";
	case DOWN:
	case DOUBTFUL:
		snprintf(text, TEXT_BYTES, "%s for %.0f s: %s",
		    condition_word(c->state), clock_now() - c->since_s,
		    c->why);
		return text;
	}
	return "";
}

/* One of whose addresses only one has failed, just now, is tried again. */
static bool was_tried(const struct decision *dn, const struct backend *b)
{
	struct str rest = dn->q.excluded;
	bool is_last = false, is_any = false;

	while (rest.n) {
		is_last = str_eq(str_split(rest, ' ', &rest),
		    backend_name(b));
		is_any |= is_last;
	}
	return is_any && !(is_last && dn->tries_address);
}

bool decide_is_full(const struct decide *d, const struct backend *b)
{
	unsigned most = backend_conf(b)->max_sessions;

	return most && place_n_backend(d->parts.place, backend_name(b)) >=
	    most;
}

static enum obstacle ailment(const struct backend *b, bool takes_doubtful)
{
	const struct condition *c = backend_condition(b);

	switch (c->state) {
	case CONDITION_UP:
		break;
	case CONDITION_DOWN:
		return DOWN;
	case CONDITION_PROBING:
		if (!takes_doubtful && !condition_is_fit(c, clock_now()))
			return DOUBTFUL;
		break;
	}
	return FIT;
}

/* FIT: the answer has its address. wish: up to which it may be.
 * takes_doubtful: there is nobody else. */
static enum obstacle obstacle_of(struct decision *dn, const struct backend *b,
    enum backend_wish wish, bool takes_doubtful)
{
	if (backend_wish(b) > wish)
		return NOT_WANTED;
	if (dn->q.excluded.n && was_tried(dn, b))
		return TRIED;
	enum obstacle ill = ailment(b, takes_doubtful);
	if (ill != FIT)
		return ill;
	switch (backend_address(b, balance_hash(dn->user),
	    &dn->answer.address)) {
	case RESOLVE_KNOWN:
		break;
	case RESOLVE_PENDING:
		return RESOLVING;
	case RESOLVE_FAILED:
		return NO_ADDRESS;
	}
	return decide_is_full(dn->decide, b) ? FULL : FIT;
}

static enum obstacle obstacle(struct decision *dn, const struct backend *b)
{
	return obstacle_of(dn, b, BACKEND_READY, false);
}

/* --- the queue --------------------------------------------------------------- */

static bool has_seat(const struct pool *pool)
{
	return pool->n_queued < pool->conf->queue;
}

/* How long it may wait in the pool's queue. */
static uint64_t left_ms(const struct decision *dn, const struct pool *pool)
{
	double left_s = dn->queue.until - clock_now();

	if (!has_seat(pool) || dn->queue.is_late)
		return 0;
	if (dn->queue.until == 0)
		return pool->conf->queue_timeout_ms;
	return left_s > 0 ? (uint64_t)(left_s * 1000) : 0;
}

static enum decide_step wait_in_queue(struct decision *dn, struct pool *pool)
{
	struct decide *d = dn->decide;
	double now = clock_now();

	if (dn->line)
		return decide_wait(dn, "in the queue of the pool");
	if (dn->queue.is_late)
		return decide_refuse(dn, SAY_UNAVAILABLE, "queue-timeout");
	if (!has_seat(pool))
		return decide_refuse(dn, SAY_UNAVAILABLE, "queue-full");
	if (dn->queue.until == 0)
		dn->queue.until = now +
		    (double)pool->conf->queue_timeout_ms / 1000;
	dn->queue.is_in = true;
	dn->queue.pool = pool;
	pool->n_queued++;
	DL_APPEND2(d->queue, dn, queue_prev, queue_next);
	ev_timer_set(&dn->limit, dn->queue.until > now ?
	    dn->queue.until - now : 0., 0.);
	ev_timer_start(d->parts.loop, &dn->limit);
	return DECIDE_SUSPENDED;
}

/* b: the only backend that will do; NULL: any of the pool. */
static enum decide_step wait_for_room(struct decision *dn, struct pool *pool,
    struct backend *b)
{
	decision_break_promise(dn);
	dn->queue.is_for_user = false;
	dn->queue.backend = b;
	return wait_in_queue(dn, pool);
}

static enum decide_step wait_for_user(struct decision *dn)
{
	decision_break_promise(dn);
	dn->queue.is_for_user = true;
	return wait_in_queue(dn, dn->pool);
}

/* b has its logins a second, but one in so many ms is promised. */
static enum decide_step wait_for_turn(struct decision *dn, struct pool *pool,
    struct backend *b, uint64_t ms)
{
	struct decide *d = dn->decide;

	if (ms == BUCKET_NEVER)
		return decide_refuse(dn, SAY_UNAVAILABLE, has_seat(pool) ?
		    "queue-timeout" : "queue-full");
	enum decide_step step = wait_for_room(dn, pool, b);
	dn->queue.promised = b;
	if (step == DECIDE_SUSPENDED) {
		ev_timer_stop(d->parts.loop, &dn->limit);
		ev_timer_set(&dn->limit, (double)ms / 1000, 0.);
		ev_timer_start(d->parts.loop, &dn->limit);
	}
	return step;
}

/* --- one backend only ---------------------------------------------------------- */

static enum decide_step take(struct decision *dn, struct pool *pool,
    struct backend *b)
{
	bool is_promised = dn->queue.promised == b;

	if (is_promised)
		dn->queue.promised = NULL;	/* and kept */
	decision_break_promise(dn);
	uint64_t ms = dn->line || is_promised ? 0 :
	    backend_take_token(b, left_ms(dn, pool));
	if (ms)
		return wait_for_turn(dn, pool, b, ms);
	dn->backend = b;
	dn->pool = pool;
	return DECIDE_NEXT;
}

static enum decide_step only(struct decision *dn, struct pool *pool,
    struct backend *b, enum backend_wish wish, const char *why)
{
	enum obstacle o = obstacle_of(dn, b, wish, true);
	char text[TEXT_BYTES];

	decide_say(dn, "%s, %s: %s", backend_conf(b)->name, why,
	    obstacle_text(b, o, text));
	switch (o) {
	case FIT:
		return take(dn, pool, b);
	case FULL:
		return wait_for_room(dn, pool, b);
	case RESOLVING:
		return decide_wait(dn, "the backend's name is being resolved");
	case NOT_WANTED:
	case TRIED:
	case NO_ADDRESS:
	case DOWN:
	case DOUBTFUL:
		break;
	}
	return decide_refuse(dn, SAY_UNAVAILABLE, "no-backend");
}

/* --- one of a pool --------------------------------------------------------------- */

static size_t choose(const struct decision *dn, const struct pool *pool)
{
	switch (pool->conf->balance) {
	case CONF_BALANCE_USER_HASH:
		return balance_user_hash(pool->balance, dn->user, pool->unfit);
	case CONF_BALANCE_LEAST_SESSIONS:
		for (size_t i = 0; i < pool->n; i++)
			pool->load[i] = place_n_backend(
			    dn->decide->parts.place,
			    backend_name(pool->members[i]));
		return balance_least(pool->balance, pool->load, pool->unfit);
	case CONF_BALANCE_ROUND_ROBIN:
		return balance_round_robin(pool->balance, pool->unfit);
	case CONF_BALANCE_FIRST:
		return balance_first(pool->balance, pool->unfit);
	}
	return BALANCE_NONE;
}

/* All members by rank, for a person to read. */
static void show_ranks(struct decision *dn, struct pool *pool)
{
	char text[TEXT_BYTES];
	size_t at;

	memset(pool->unfit, 0, pool->n * sizeof *pool->unfit);
	for (size_t rank = 1; rank <= RANKS_SHOWN; rank++) {
		at = balance_user_hash(pool->balance, dn->user, pool->unfit);
		if (at == BALANCE_NONE)
			break;
		pool->unfit[at] = true;
		const struct backend *b = pool->members[at];
		decide_say(dn, "pool %s, rank %zu in the user's hash: %s, "
		    "weight %u%s: %s", pool->conf->name, rank,
		    backend_conf(b)->name, backend_conf(b)->weight,
		    backend_tier(b) ? ", if none before it serves" : "",
		    obstacle_text(b, obstacle(dn, b), text));
	}
}

/* FIT: dn->backend. Most questions need one look: the first choice is fit.
 * Otherwise what would help most: FULL before all that cannot be waited
 * for. */
static enum obstacle one_of(struct decision *dn, struct pool *pool,
    bool takes_doubtful)
{
	enum obstacle worst = NO_ADDRESS;
	char text[TEXT_BYTES];
	size_t at;

	if (dn->line && pool->conf->balance == CONF_BALANCE_USER_HASH)
		show_ranks(dn, pool);
	if (pool->is_pending)
		return RESOLVING;
	pool_begin(pool);
	for (unsigned tier = 0; tier < pool->n_tiers;) {
		at = choose(dn, pool);
		if (at == BALANCE_NONE) {
			if (worst == FULL)	/* it serves, though not now */
				break;
			pool_open_tier(pool, ++tier);
			continue;
		}
		dn->backend = pool->members[at];
		enum obstacle o = obstacle_of(dn, dn->backend, BACKEND_READY,
		    takes_doubtful);
		decide_say(dn, "%s: %s", backend_conf(dn->backend)->name,
		    obstacle_text(dn->backend, o, text));
		if (o == FIT || o == RESOLVING)
			return o;
		if (o == FULL || (o == DOUBTFUL && worst != FULL))
			worst = o;
		pool->unfit[at] = true;
	}
	return worst;
}

static enum decide_step one_of_pools(struct decision *dn,
    bool takes_doubtful)
{
	struct pool *first = dn->pool, *full = NULL;
	bool has_doubtful = false;

	for (size_t i = 0; i <= first->n_fallback; i++) {
		struct pool *pool = i ? first->fallback[i - 1] : first;
		if (i)
			decide_say(dn, "falls back on pool %s",
			    pool->conf->name);
		switch (one_of(dn, pool, takes_doubtful)) {
		case FIT:
			return take(dn, pool, dn->backend);
		case RESOLVING:
			return decide_wait(dn,
			    "the backend's name is being resolved");
		case FULL:
			if (!full)
				full = pool;
			break;
		case DOUBTFUL:
			has_doubtful = true;
			break;
		case NOT_WANTED:
		case TRIED:
		case NO_ADDRESS:
		case DOWN:
			break;
		}
		/* it serves, though not at once */
		if (full)
			break;
	}
	if (has_doubtful && !full) {
		decide_say(dn, "there is nobody but those in doubt");
		return one_of_pools(dn, true);
	}
	return full ? wait_for_room(dn, full, NULL) :
	    decide_refuse(dn, SAY_UNAVAILABLE, "no-backend");
}

/* --- where the user is ------------------------------------------------------------ */

/* Whether this login has shown that the backend is down, and not only that it
 * would not take the login. */
static bool is_down(const struct decision *dn, const struct backend *b)
{
	struct addr address;

	return backend_is_down(b) ||
	    backend_address(b, 0, &address) == RESOLVE_FAILED ||
	    (was_tried(dn, b) && (str_starts(dn->q.failure, STR("connect")) ||
		str_starts(dn->q.failure, STR("timeout")) ||
		str_starts(dn->q.failure, STR("closed")) ||
		str_starts(dn->q.failure, STR("tls"))));
}

static struct backend *users_backend(const struct decision *dn)
{
	const struct decide *d = dn->decide;

	if (!dn->pool->conf->keep_user_together)
		return NULL;
	struct str name = place_user_backend(d->parts.place, dn->user);
	struct backend *b = name.n ? farm_find(d->parts.farm, name) : NULL;
	if (!b && name.n)
		decide_say(dn, "the user's sessions at %.*s end: it is gone",
		    STR_ARG(name));
	if (b && (is_down(dn, b) || backend_wish(b) == BACKEND_MAINTENANCE)) {
		decide_say(dn, "the user's sessions at %.*s end: it is %s",
		    STR_ARG(name), is_down(dn, b) ? "down" :
		    "in maintenance");
		return NULL;
	}
	return b;
}

/* The user's sessions are at an SRV record's target, and the record is not
 * known yet: whether that is gone shows later. */
static bool must_wait_for_record(const struct decision *dn)
{
	const struct decide *d = dn->decide;
	struct str name = place_user_backend(d->parts.place, dn->user);

	return name.n && !farm_find(d->parts.farm, name) &&
	    farm_is_pending_for(d->parts.farm, name);
}

enum decide_step decide_stage_balance(struct decision *dn)
{
	struct decide *d = dn->decide;

	/* a session that tries again is not in its own way */
	if (!dn->line)
		(void)decide_end_lease(d, dn->key);
	switch (moves_gate(d->parts.moves, dn->user)) {
	case MOVES_OPEN:
		break;
	case MOVES_WAIT:
		decide_say(dn, "the user is held, or moving");
		return wait_for_user(dn);
	case MOVES_REFUSE:
		decide_say(dn, "the user is held");
		return decide_refuse(dn, SAY_UNAVAILABLE, "held");
	}
	if (must_wait_for_record(dn))
		return decide_wait(dn, "the SRV record is being resolved");
	struct backend *b = users_backend(dn);
	if (b) {
		struct pool *pool = pool_has(dn->pool, b) ? dn->pool :
		    plan_pool_of(d->plan, b);
		return only(dn, pool ? pool : dn->pool, b, BACKEND_DRAIN,
		    "where the user's sessions are");
	}
	struct str pin = moves_pin(d->parts.moves, dn->user);
	b = pin.n ? farm_find(d->parts.farm, pin) : NULL;
	if (b && obstacle(dn, b) == FIT)
		return only(dn, plan_pool_of(d->plan, b), b,
		    BACKEND_READY, "where the operator has moved the user");
	if (dn->pinned)
		return only(dn, dn->pool, dn->pinned, BACKEND_READY,
		    "and no other");
	return one_of_pools(dn, false);
}
