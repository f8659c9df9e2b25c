/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/call.h"
#include "admin/control_parts.h"
#include "admin/verbs_parts.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/pattern.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"
#include "proxy/conf.h"

#define STEP_ROWS 200		/* of an answer, a turn of the loop */
#define STEP_LOOKS 2000		/* at sessions that may not be shown */

/* --- what several verbs need ------------------------------------------------ */

bool verb_find_user(struct call *c, struct str name,
    char out[USER_CANONICAL_MAX], struct str *user_out)
{
	const struct conf_auth *auth = conf_auth(c->control->settings);
	size_t n;

	if (!user_canonical(name, str_from(auth->default_domain),
	    auth->canonical_case, out, &n)) {
		call_misuse(c, "\"%.*s\" is no user's name",
		    (int)(name.n > 80 ? 80 : name.n), name.n ? name.p : "");
		return false;
	}
	*user_out = (struct str){ out, n };
	return true;
}

/* One that has just left the configuration may have sessions still. */
bool verb_find_backend(struct call *c, struct str name)
{
	const struct farm *farm = c->control->farm;
	struct str nearest = STR_NONE;
	int n = (int)(name.n > 80 ? 80 : name.n);

	if (farm_find(farm, name) ||
	    place_n_backend(c->control->place, name) > 0)
		return true;
	for (size_t i = 0; i < farm_n(farm); i++)
		nearest = request_nearer(name, nearest,
		    backend_name(farm_at(farm, i)));
	if (nearest.n)
		call_fail(c, "there is no backend \"%.*s\"; did you mean "
		    "\"%.*s\"?", n, name.p, STR_ARG(nearest));
	else
		call_fail(c, "there is no backend \"%.*s\"; backends lists "
		    "all", n, name.n ? name.p : "");
	return false;
}

bool verb_has_settings(struct call *c)
{
	if (c->control->settings)
		return true;
	call_fail(c, "there is no configuration yet; try again");
	return false;
}

bool verb_is_serving(struct call *c)
{
	if (!verb_has_settings(c))
		return false;
	if (!c->control->is_serving)
		call_fail(c, "not all sessions are known yet; try again");
	return c->control->is_serving;
}

/* --- status ------------------------------------------------------------------- */

static json_t *workers_of(struct control *c)
{
	json_t *all = json_array();
	struct peer *p, *next;

	HASH_ITER(hh, c->peers, p, next)
		json_array_append_new(all, json_pack("{s:i, s:I, s:I, s:b}",
		    "index", (int)p->index, "pid", (json_int_t)p->pid,
		    "sessions", (json_int_t)place_n_worker(c->place, p->id),
		    "told_all", p->is_synced));
	return all;
}

void verb_status(struct call *c)
{
	struct control *ctl = c->control;
	double now = ev_now(ctl->loop);

	call_object(c, json_pack("{s:s, s:o, s:I, s:b, s:b, s:I, s:i, s:o, "
	    "s:I, s:I, s:I, s:o}",
	    "version", MAILWEIR_VERSION,
	    "started", render_time((double)ctl->parent_started_s),
	    "uptime_s", (json_int_t)(now - (double)ctl->parent_started_s),
	    "serving", ctl->is_serving,
	    "stopping", ctl->is_stopping,
	    "generation", (json_int_t)ctl->generation,
	    "control_pid", (int)getpid(),
	    "control_started", render_time(ctl->started),
	    "users", (json_int_t)place_n_users(ctl->place),
	    "sessions", (json_int_t)place_n(ctl->place),
	    "logins_waiting", (json_int_t)decide_n_suspended(ctl->decide),
	    "workers", workers_of(ctl)));
	call_done(c);
}

/* --- backends ------------------------------------------------------------------- */

static json_t *pools_of(const struct settings *s, struct str section)
{
	json_t *names = json_array();
	size_t n;
	const struct conf_pool *const *pools = conf_pool_all(s, &n);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < pools[i]->backends.n; k++)
			if (str_eq(str_from(pools[i]->backends.v[k]->name),
			    section))
				json_array_append_new(names,
				    render_string(str_from(pools[i]->name)));
	return names;
}

/* All its addresses, as far as they are known. */
static json_t *addresses_of(const struct backend *b)
{
	json_t *all = json_array();
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < backend_n_addresses(b); i++) {
		struct addr a = backend_address_at(b, i);
		json_array_append_new(all, json_string(addr_text(&a, text)));
	}
	return all;
}

static json_t *drain_of(const struct control *c, struct str backend)
{
	json_t *progress = verb_drain_progress(c, backend);
	char text[80];

	if (json_is_null(progress))
		return progress;
	json_int_t moved = json_integer_value(json_object_get(progress,
	    "moved"));
	if (json_is_true(json_object_get(progress, "done")))
		snprintf(text, sizeof text, "done, %lld moved",
		    (long long)moved);
	else
		snprintf(text, sizeof text, "%lld moved, %lld left",
		    (long long)moved, (long long)json_integer_value(
		    json_object_get(progress, "users_left")));
	json_object_set_new(progress, "summary", json_string(text));
	return progress;
}

/* A row. */
static json_t *backend_row(const struct control *c, const struct backend *b)
{
	const struct conf_backend *conf = backend_conf(b);
	const struct condition *how = backend_condition(b);
	struct str name = backend_name(b);

	return json_pack("{s:o, s:s, s:s, s:i, s:o, s:o, s:s, s:o, s:i, s:I, s:I, s:o, s:o}",
	    "name", render_string(name),
	    "state", backend_wish_word(backend_wish(b)),
	    "health", condition_word(how->state),
	    "since_s", (int)(clock_now() - how->since_s), "why",
	    render_string(str_from(how->why)),
	    "pools", pools_of(c->settings, backend_section(b)),
	    "address", conf->address.text,
	    "connects_to", addresses_of(b),
	    "weight", (int)backend_base_weight(b),
	    "sessions", (json_int_t)place_n_backend(c->place, name),
	    "users", (json_int_t)place_n_backend_users(c->place, name),
	    "drain", drain_of(c, name),
	    "capabilities", render_string(backend_capabilities(b)));
}

void verb_backends(struct call *c)
{
	const struct farm *farm = c->control->farm;

	if (!verb_has_settings(c))
		return;
	call_list(c, "name state health since_s why pools address "
	    "connects_to weight sessions users drain capabilities");
	for (size_t i = 0; i < farm_n(farm); i++)
		call_row(c, backend_row(c->control, farm_at(farm, i)));
	call_done(c);
}

/* --- sessions ------------------------------------------------------------------- */

struct sessions_walk {
	struct call *call;
	struct place_walk *walk;
	uint64_t left;			/* rows that may still be shown */
};

static void sessions_walk_free(void *state)
{
	struct sessions_walk *w = state;

	place_walk_free(&w->walk);
	free(w);
}

static int worker_index(const struct control *c, uint64_t worker)
{
	struct peer *p;

	HASH_FIND(hh, c->peers, &worker, sizeof worker, p);
	return p ? (int)p->index : -1;
}

static void show_session(void *state, const struct place_session *s)
{
	struct sessions_walk *w = state;
	char id[17], ip[ADDR_IP_MAX];

	if (w->left == 0)
		return;
	w->left--;
	snprintf(id, sizeof id, "%016" PRIx64, s->session);
	call_row(w->call, json_pack("{s:s, s:o, s:o, s:s, s:i, s:o}",
	    "session", id,
	    "user", render_string(s->user),
	    "backend", render_string(s->backend),
	    "client", addr_ip(&s->client, ip),
	    "worker", worker_index(w->call->control, s->worker),
	    "since", render_time((double)s->since_ms / 1000)));
}

static void sessions_step(struct call *c)
{
	struct sessions_walk *w = c->state;
	struct str backend = call_value(c, "--backend");
	struct place_session s;

	for (unsigned i = 0, n = 0; i < STEP_LOOKS && n < STEP_ROWS; i++) {
		if (w->left == 0 || !place_walk_next(w->walk, &s, NULL)) {
			call_done(c);
			return;
		}
		if (backend.p && !str_eq(s.backend, backend))
			continue;
		show_session(w, &s);
		n++;
	}
}

void verb_sessions(struct call *c)
{
	char room[USER_CANONICAL_MAX];
	struct str user = STR_NONE;
	uint64_t limit = UINT64_MAX;
	struct err err;

	if (call_has(c, "--limit") && !request_number(&c->request, "--limit",
	    1, UINT32_MAX, &limit, &err)) {
		call_misuse(c, "%s", err.text);
		return;
	}
	if (call_has(c, "--backend") &&
	    !verb_find_backend(c, call_value(c, "--backend")))
		return;
	if (call_has(c, "USER") && (!verb_has_settings(c) ||
	    !verb_find_user(c, call_value(c, "USER"), room, &user)))
		return;
	call_list(c, "session user backend client worker since");
	struct sessions_walk *w = mem_alloc(sizeof *w);
	w->call = c;
	w->left = limit;
	if (call_has(c, "USER")) {
		place_user(c->control->place, user, show_session, w);
		sessions_walk_free(w);
		call_done(c);
		return;
	}
	w->walk = place_walk_sessions(c->control->place);
	call_walk(c, sessions_step, w, sessions_walk_free);
}

/* --- who ----------------------------------------------------------------------------- */

struct who_walk {
	struct place_walk *walk;
	struct pattern *pattern;	/* NULL: everybody */
};

static void who_walk_free(void *state)
{
	struct who_walk *w = state;

	place_walk_free(&w->walk);
	pattern_free(&w->pattern);
	free(w);
}

static void who_step(struct call *c)
{
	struct who_walk *w = c->state;
	struct place_session s;
	size_t n_sessions;

	/* an expression may take its time with each */
	for (unsigned i = 0; i < STEP_ROWS; i++) {
		if (!place_walk_next(w->walk, &s, &n_sessions)) {
			call_done(c);
			return;
		}
		if (w->pattern &&
		    pattern_match(w->pattern, s.user) != PATTERN_YES)
			continue;
		call_row(c, json_pack("{s:o, s:o, s:I}",
		    "user", render_string(s.user),
		    "backend", render_string(s.backend),
		    "sessions", (json_int_t)n_sessions));
	}
}

void verb_who(struct call *c)
{
	struct who_walk *w;
	struct pattern *pattern = NULL;
	struct err err;

	if (call_has(c, "PATTERN")) {
		char *text = mem_str(call_value(c, "PATTERN"));
		pattern = pattern_new(text, true, &err);
		free(text);
		if (!pattern) {
			call_misuse(c, "%s", err.text);
			return;
		}
	}
	w = mem_alloc(sizeof *w);
	w->pattern = pattern;
	w->walk = place_walk_users(c->control->place);
	call_list(c, "user backend sessions");
	call_walk(c, who_step, w, who_walk_free);
}

/* --- route ------------------------------------------------------------------------------ */

struct route_look {
	struct call *call;
	struct decision *explained;	/* NULL: it has come to its end */
};

static void route_look_free(void *state)
{
	struct route_look *l = state;

	decide_explain_cancel(&l->explained);
	free(l);
}

static void show_stage(void *arg, const char *stage, const char *text)
{
	struct route_look *l = arg;

	call_row(l->call, json_pack("{s:s, s:o}", "stage", stage,
	    "what", render_string(str_from(text))));
}

static void on_explained(void *arg, const struct decide_answer *a)
{
	struct route_look *l = arg;

	(void)a;	/* the lines have said it */
	l->explained = NULL;
	call_done(l->call);
}

static bool find_listener(struct call *c, struct str name)
{
	char *text = mem_str(name);
	bool is_there = conf_listener_find(c->control->settings, text);

	free(text);
	if (!is_there)
		call_fail(c, "route: there is no listener \"%.*s\"",
		    (int)(name.n > 80 ? 80 : name.n), name.n ? name.p : "");
	return is_there;
}

void verb_route(struct call *c)
{
	struct str address = call_value(c, "ADDRESS");
	struct decide_question q = { .user = call_value(c, "USER"),
		.mechanism = STR("PLAIN"),
		.listener = call_value(c, "LISTENER") };

	if (!verb_has_settings(c) ||
	    (q.listener.n && !find_listener(c, q.listener)))
		return;
	if (!addr_parse_ip(&q.client, address)) {
		call_misuse(c, "route: \"%.*s\" is no address; expected one "
		    "like 192.0.2.1 or 2001:db8::1",
		    (int)(address.n > 60 ? 60 : address.n),
		    address.n ? address.p : "");
		return;
	}
	call_list(c, "stage what");
	struct route_look *l = mem_alloc(sizeof *l);
	l->call = c;
	call_wait(c, l, route_look_free);
	struct decision *explained = decide_explain(c->control->decide, &q,
	    show_stage, on_explained, l);
	if (explained)		/* or l is gone */
		l->explained = explained;
}
