/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/operator.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/control_parts.h"
#include "backends/decide.h"
#include "backends/drain.h"
#include "backends/keep.h"
#include "backends/moves.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define KEY_STATE  "state"
#define KEY_DRAIN  "drain"
#define KEY_WEIGHT "weight"
#define KEY_HOLD   "hold"
#define KEY_PIN    "pin"

static const char *const wish_words[] = {
	[BACKEND_READY] = "ready",
	[BACKEND_DRAIN] = "drain",
	[BACKEND_MAINTENANCE] = "maintenance",
};

#define DONE " done"

/* --- how a drain is kept ------------------------------------------------------ */

/* Its deadline is kept as a time of day, for the proxy may be down a while;
 * and the rate, for the rest is not to take all of the time again. */
static void write_order(const struct control *c, struct str backend,
    const struct drain_order *order, char *to, size_t size)
{
	double until = order->deadline_s > 0 ?
	    ev_now(c->loop) + order->deadline_s : 0;

	snprintf(to, size, "rate=%.9g parallel=%u until=%.3f",
	    drain_rate(c->drains, backend, order), order->parallel, until);
}

static bool is_done(struct str kept)
{
	size_t n = sizeof DONE - 1;

	return kept.n >= n && str_eq((struct str){ kept.p + kept.n - n, n },
	    STR(DONE));
}

static bool read_order(const struct control *c, const char *text,
    struct drain_order *out)
{
	double until;

	*out = (struct drain_order){ 0 };
	if (sscanf(text, "rate=%lf parallel=%u until=%lf", &out->rate,
	    &out->parallel, &until) != 3)
		return false;
	if (until > 0) {
		double left = until - ev_now(c->loop);
		out->deadline_s = left > 0.1 ? left : 0.1;
	}
	return true;
}

/* --- backends ------------------------------------------------------------------- */

static bool keep_backend(struct control *c, struct str backend,
    const char *key, const char *value, struct err *err)
{
	if (value)
		return keep_set(c->keep, KEEP_BACKEND, backend, key,
		    str_from(value), err);
	keep_drop(c->keep, KEEP_BACKEND, backend, key);
	return true;
}

bool operator_set_state(struct control *c, struct str backend,
    enum backend_wish wish, const struct drain_order *order, struct err *err)
{
	struct backend *b = farm_find(c->farm, backend);
	char text[128];

	if (order)
		write_order(c, backend, order, text, sizeof text);
	if (!keep_backend(c, backend, KEY_STATE, wish == BACKEND_READY ?
	    NULL : wish_words[wish], err) ||
	    !keep_backend(c, backend, KEY_DRAIN, order ? text : NULL, err))
		return false;
	if (b)
		backend_set_wish(b, wish);
	if (wish == BACKEND_MAINTENANCE)
		control_leave_backend(c, backend);
	drain_stop(c->drains, backend);
	if (order)
		drain_start(c->drains, backend, order);
	if (b && wish == BACKEND_READY)
		decide_wake(c->decide, b);
	return true;
}

void operator_note_drained(struct control *c, struct str backend)
{
	struct str kept = keep_get(c->keep, KEEP_BACKEND, backend, KEY_DRAIN);
	char text[KEEP_TEXT_MAX];
	struct err err;

	if (!kept.p || is_done(kept))
		return;
	int n = snprintf(text, sizeof text, "%.*s" DONE, STR_ARG(kept));
	if (!keep_set(c->keep, KEEP_BACKEND, backend, KEY_DRAIN,
	    (struct str){ text, (size_t)n }, &err))
		log_note(LOG_LINE_ERROR, "state_file", "why", "%s", err.text);
}

bool operator_set_weight(struct control *c, struct str backend, int weight,
    struct err *err)
{
	struct backend *b = farm_find(c->farm, backend);
	char text[16];

	snprintf(text, sizeof text, "%d", weight);
	if (!keep_backend(c, backend, KEY_WEIGHT, weight < 0 ? NULL : text,
	    err))
		return false;
	if (b) {
		backend_set_weight(b, weight);
		decide_weigh(c->decide, b);
	}
	return true;
}

/* --- users ------------------------------------------------------------------------ */

bool operator_hold(struct control *c, struct str user, bool refuses,
    struct err *err)
{
	if (!keep_set(c->keep, KEEP_USER, user, KEY_HOLD,
	    refuses ? STR("refuse") : STR("wait"), err))
		return false;
	moves_hold(c->moves, user, refuses);
	return true;
}

bool operator_release(struct control *c, struct str user)
{
	keep_drop(c->keep, KEEP_USER, user, KEY_HOLD);
	return moves_release(c->moves, user);
}

bool operator_pin(struct control *c, struct str user, struct str backend,
    struct err *err)
{
	if (!keep_set(c->keep, KEEP_USER, user, KEY_PIN, backend, err))
		return false;
	moves_set_pin(c->moves, user, backend);
	return true;
}

void operator_unpin(struct control *c, struct str user)
{
	keep_drop(c->keep, KEEP_USER, user, KEY_PIN);
	moves_set_pin(c->moves, user, STR_NONE);
}

bool operator_move(struct control *c, struct str user, struct str from,
    struct str to, moves_done_fn *done, void *owner, struct err *err)
{
	char *was = mem_str(moves_pin(c->moves, user));
	bool is_good = operator_pin(c, user, to, err);

	if (is_good && !moves_order(c->moves, user, from, to, done, owner,
	    err)) {
		is_good = false;
		/* there was room for either, so there is */
		if (!*was || !operator_pin(c, user, str_from(was), NULL))
			operator_unpin(c, user);
	}
	free(was);
	return is_good;
}

/* --- after a restart ----------------------------------------------------------------- */

static void complain(struct str name, const char *key, struct str value)
{
	log_note(LOG_LINE_ERROR, "state_file", "why", "%.*s: %s \"%.*s\" is "
	    "not understood", STR_ARG(name), key, STR_ARG(value));
}

static bool find_wish(struct str word, enum backend_wish *out)
{
	for (unsigned i = 0; i < sizeof wish_words / sizeof *wish_words; i++) {
		if (!str_eq(word, str_from(wish_words[i])))
			continue;
		*out = (enum backend_wish)i;
		return true;
	}
	return false;
}

static void restore_drain(struct control *c, struct str name,
    struct str value)
{
	struct drain_order order;
	struct drain_status status;

	/* without all sessions it would be done too soon */
	if (!c->is_serving)
		return;
	/* values end with a NUL */
	if (!read_order(c, value.p, &order)) {
		complain(name, KEY_DRAIN, value);
	} else if (!drain_find(c->drains, name, &status)) {
		drain_start(c->drains, name, &order);
		/* it is not known whose sessions it has just ended */
		if (!is_done(value))
			moves_settle(c->moves);
	}
}

static void restore_backend(void *arg, struct str name, const char *key,
    struct str value)
{
	struct control *c = arg;
	struct backend *b = farm_find(c->farm, name);
	enum backend_wish wish;

	if (!b)		/* it may come back by a reload */
		return;
	if (strcmp(key, KEY_STATE) == 0) {
		if (find_wish(value, &wish))
			backend_set_wish(b, wish);
		else
			complain(name, key, value);
	} else if (strcmp(key, KEY_DRAIN) == 0) {
		restore_drain(c, name, value);
	} else if (strcmp(key, KEY_WEIGHT) == 0) {
		backend_set_weight(b, atoi(value.p));
		decide_weigh(c->decide, b);
	}
}

static void restore_user(void *arg, struct str name, const char *key,
    struct str value)
{
	struct control *c = arg;

	if (strcmp(key, KEY_HOLD) == 0)
		moves_hold(c->moves, name, str_eq(value, STR("refuse")));
	else if (strcmp(key, KEY_PIN) == 0)
		moves_set_pin(c->moves, name, value);
	else if (strcmp(key, MOVES_KEY) == 0 && c->is_serving &&
	    !moves_resume(c->moves, name, value))
		complain(name, key, value);
}

void operator_restore(struct control *c)
{
	keep_visit(c->keep, KEEP_BACKEND, restore_backend, c);
	keep_visit(c->keep, KEEP_USER, restore_user, c);
}
