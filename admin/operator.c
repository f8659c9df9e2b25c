/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/operator.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/control_parts.h"
#include "backends/change.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/drain.h"
#include "backends/keep.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/log.h"

#define KEY_STATE  "state"
#define KEY_DRAIN  "drain"
#define KEY_WEIGHT "weight"
#define SINCE      "-since"	/* behind these two: Unix time */
#define KEY_HOLD   "hold"
#define KEY_PIN    "pin"

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

/* What is not known is so since the proxy's start, as far as anybody knows. */
static double since(const struct control *c, struct str backend,
    const char *key, double known)
{
	struct str kept = keep_get(c->keep, KEEP_BACKEND, backend, key);

	return kept.p ? strtod(kept.p, NULL) : known > 0 ? known :
	    (double)c->parent_started_s;
}

/* False with err: it could not be kept. The time is, as long as the change has
 * a record itself. */
static bool tell_change(struct control *c, const char *key, double *known,
    const char *who, struct change change, struct err *err)
{
	bool is_usual = !keep_get(c->keep, KEEP_BACKEND, change.backend,
	    key).p;
	double now = ev_now(c->loop);
	char key_since[KEEP_WORD_MAX], why[80], text[32];

	if (strcmp(change.from, change.to) == 0)
		return true;
	snprintf(key_since, sizeof key_since, "%s" SINCE, key);
	change.after_s = now - since(c, change.backend, key_since, *known);
	snprintf(text, sizeof text, "%.3f", now);
	if (!keep_backend(c, change.backend, key_since, is_usual ? NULL :
	    text, err))
		return false;
	*known = now;
	snprintf(why, sizeof why, "order of %s", who);
	change.why = why;
	change.n_sessions = place_n_backend(c->place, change.backend);
	change_log(&change);
	return true;
}

static bool keep_state(struct control *c, struct str backend,
    enum backend_wish wish, const struct drain_order *order, struct err *err)
{
	char text[128];

	if (order)
		write_order(c, backend, order, text, sizeof text);
	return keep_backend(c, backend, KEY_STATE, wish == BACKEND_READY ?
	    NULL : backend_wish_word(wish), err) &&
	    keep_backend(c, backend, KEY_DRAIN, order ? text : NULL, err);
}

bool operator_set_state(struct control *c, struct str backend,
    enum backend_wish wish, const struct drain_order *order, const char *who,
    struct err *err)
{
	struct backend *b = farm_find(c->farm, backend);
	struct change change = { .backend = backend,
		.to = backend_wish_word(wish) };

	if (!keep_state(c, backend, wish, order, err))
		return false;
	if (b) {
		change.from = backend_wish_word(backend_wish(b));
		if (!tell_change(c, KEY_STATE, &backend_since(b)->wish, who,
		    change, err))
			return false;
		backend_set_wish(b, wish);
	}
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
    const char *who, struct err *err)
{
	struct backend *b = farm_find(c->farm, backend);
	char from[16], to[16];
	struct change change = { .event = "backend_weight",
		.backend = backend, .from = from, .to = to };

	snprintf(to, sizeof to, "%d", weight);
	if (!keep_backend(c, backend, KEY_WEIGHT, weight < 0 ? NULL : to,
	    err))
		return false;
	if (!b)
		return true;
	snprintf(from, sizeof from, "%u", backend_base_weight(b));
	if (weight < 0)
		snprintf(to, sizeof to, "%u", backend_conf(b)->weight);
	if (!tell_change(c, KEY_WEIGHT, &backend_since(b)->weight, who,
	    change, err))
		return false;
	backend_set_weight(b, weight);
	decide_weigh(c->decide, b);
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

/* --- after a restart ----------------------------------------------------------------- */

static void complain(struct str name, const char *key, struct str value)
{
	log_note(LOG_LINE_ERROR, "state_file", "why", "%.*s: %s \"%.*s\" is "
	    "not understood", STR_ARG(name), key, STR_ARG(value));
}

static bool find_wish(struct str word, enum backend_wish *out)
{
	for (unsigned i = BACKEND_READY; i <= BACKEND_MAINTENANCE; i++) {
		*out = (enum backend_wish)i;
		if (str_eq(word, str_from(backend_wish_word(*out))))
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
		order.is_done = is_done(value);
		drain_start(c->drains, name, &order);
		/* it is not known whose sessions it has just ended */
		if (!order.is_done)
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
