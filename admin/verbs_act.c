/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/verbs.h"

#include <stdlib.h>

#include "admin/call.h"
#include "admin/conf.h"
#include "admin/control_parts.h"
#include "admin/order.h"
#include "admin/verbs_parts.h"
#include "backends/place.h"
#include "proxy/base/mem.h"

#define STEP_LOOKS 2000
#define SESSION_DIGITS 16	/* as the log writes it */

/* --- kick -------------------------------------------------------------------- */

struct kick {
	struct control *control;
	struct place_walk *walk;	/* of a backend's sessions */
	bool now;
	json_int_t n;
};

static void kick_free(void *state)
{
	struct kick *k = state;

	place_walk_free(&k->walk);
	free(k);
}

static void kick_one(void *state, const struct place_session *s)
{
	struct kick *k = state;

	k->n += control_end_session(k->control, s->worker, s->session,
	    "kicked", k->now);
}

static void tell_ended(struct call *c, const struct kick *k)
{
	call_object(c, json_pack("{s:I}", "ended", k->n));
	call_done(c);
}

static void kick_step(struct call *c)
{
	struct kick *k = c->state;
	struct str backend = call_value(c, "--backend");
	struct place_session s;

	for (unsigned i = 0; i < STEP_LOOKS; i++) {
		if (!place_walk_next(k->walk, &s, NULL)) {
			tell_ended(c, k);
			return;
		}
		if (str_eq(s.backend, backend))
			kick_one(k, &s);
	}
}

static bool read_session(struct call *c, uint64_t *out)
{
	struct str text = call_value(c, "--session");

	*out = 0;
	for (size_t i = 0; i < text.n && text.n == SESSION_DIGITS; i++) {
		const char *digit = strchr("0123456789abcdef", text.p[i]);
		if (!digit || !*digit)
			break;
		*out = *out << 4 | (uint64_t)(digit -
		    "0123456789abcdef");
		if (i + 1 == SESSION_DIGITS)
			return true;
	}
	call_misuse(c, "kick: \"%.*s\" is no session; expected %d hexadecimal "
	    "digits, as in the log and in sessions",
	    (int)(text.n > 40 ? 40 : text.n), text.n ? text.p : "",
	    SESSION_DIGITS);
	return false;
}

static void kick_session(struct call *c, struct kick *k)
{
	struct place_session s;
	struct peer *p, *next;
	uint64_t session;

	if (!read_session(c, &session))
		return;
	HASH_ITER(hh, c->control->peers, p, next)
		if (place_find(c->control->place, p->id, session, &s))
			kick_one(k, &s);
	tell_ended(c, k);
}

static void kick_user(struct call *c, struct kick *k)
{
	char room[USER_CANONICAL_MAX];
	struct str user;

	if (!verb_find_user(c, call_value(c, "USER"), room, &user))
		return;
	place_user(c->control->place, user, kick_one, k);
	tell_ended(c, k);
}

void verb_kick(struct call *c)
{
	struct kick k = { .control = c->control,
		.now = call_has(c, "--now") };

	if (!verb_is_serving(c))
		return;
	if (call_has(c, "--session")) {
		kick_session(c, &k);
	} else if (call_has(c, "USER")) {
		kick_user(c, &k);
	} else if (verb_find_backend(c, call_value(c, "--backend"))) {
		struct kick *later = mem_alloc(sizeof *later);
		*later = k;
		later->walk = place_walk_sessions(c->control->place);
		call_walk(c, kick_step, later, kick_free);
	}
}

/* --- orders that the parent carries out ------------------------------------------ */

void verb_reload(struct call *c)
{
	order_reload(c->control->orders, c);
}

void verb_shutdown(struct call *c)
{
	bool has_grace = call_has(c, "--grace");
	uint64_t grace_ms = 0;
	struct err err;

	if (has_grace && !request_duration(&c->request, "--grace", &grace_ms,
	    &err)) {
		call_misuse(c, "%s", err.text);
		return;
	}
	if (!has_grace && c->control->settings)
		grace_ms = conf_main(c->control->settings)->shutdown_grace_ms;
	if (!order_shutdown(c->control->orders, has_grace, grace_ms)) {
		call_fail(c, "the proxy's parent is gone; it is stopping");
		return;
	}
	call_object(c, json_pack("{s:f}", "grace_s",
	    (double)grace_ms / 1000));
	call_done(c);
}
