/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/place.h"
#include "backends/route.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"

#define uthash_fatal(msg) die("decide: %s", msg)
#include <uthash.h>
#include <utlist.h>

#define SAY_UNAVAILABLE \
	STR("NO [UNAVAILABLE] Account is temporarily unavailable.")
#define SAY_LIMIT STR("NO [LIMIT] Too many sessions from your address.")
#define SAY_NO_USER STR("NO [AUTHENTICATIONFAILED] Authentication failed.")

enum stage { AUTH, ROUTE, BALANCE, PLACE, GRANT };

static const char *const stage_names[] = {
	[AUTH] = "auth",
	[ROUTE] = "route",
	[BALANCE] = "balance",
	[PLACE] = "place",
	[GRANT] = "grant",
};

struct pool {
	UT_hash_handle hh;
	const struct conf_pool *conf;
	struct balance *balance;
	struct backend **members;
	bool *unfit;			/* room for a question's use */
};

/* A configuration as it is used here. */
struct plan {
	struct settings *settings;
	const struct conf_auth *auth;
	struct route_table *routes;
	struct pool *pools;		/* by conf */
	unsigned sessions_per_address;
};

/* A question on its way; what it shows lies in text. */
struct decision {
	struct decide *decide;
	struct decide_question q;
	struct buf text;
	char refusal[512];
	char canonical[USER_CANONICAL_MAX];
	enum stage stage;
	bool is_proven;			/* nobody need check a password */
	struct str user;		/* canonical */
	struct pool *pool;
	struct backend *backend;
	struct decide_answer answer;
	decide_line_fn *line;		/* NULL: no explanation is wanted */
	void *line_arg;
	struct decision *prev, *next;
};

struct decide {
	struct place *place;
	struct farm *farm;
	decide_answer_fn *on_answer;
	void *owner;
	struct plan *plan;		/* NULL until decide_configure() */
	bool is_held;
	struct decision *held;
	size_t n_held;
	struct decision *spare;		/* to be used again */
};

enum step {
	STEP_NEXT,
	STEP_ANSWERED,			/* the answer is complete */
};

/* A line of the explanation. */
static void say(const struct decision *dn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct decision *dn, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!dn->line)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dn->line(dn->line_arg, stage_names[dn->stage], text);
}

static enum step refuse(struct decision *dn, struct str text,
    const char *reason)
{
	dn->answer.verdict = DECIDE_REFUSE;
	dn->answer.text = text;
	dn->answer.reason = str_from(reason);
	say(dn, "refused: %.*s", STR_ARG(text));
	return STEP_ANSWERED;
}

static enum step wait(struct decision *dn, const char *why)
{
	dn->answer.verdict = DECIDE_WAIT;
	dn->answer.wait_ms = DECIDE_WAIT_MS;
	say(dn, "must wait: %s", why);
	return STEP_ANSWERED;
}

/* --- the stages ------------------------------------------------------------ */

static enum step stage_auth(struct decision *dn)
{
	const struct conf_auth *auth = dn->decide->plan->auth;
	size_t n;

	if (!user_canonical(dn->q.user, str_from(auth->default_domain),
	    auth->canonical_case, dn->canonical, &n))
		return refuse(dn, SAY_NO_USER, "user-name");
	dn->user = (struct str){ dn->canonical, n };
	dn->is_proven = str_ieq(dn->q.mechanism, STR("EXTERNAL"));
	say(dn, "user %.*s, %s", STR_ARG(dn->user), dn->is_proven ?
	    "proven by a client certificate" : "to be checked by the backend");
	return STEP_NEXT;
}

static void on_route_step(void *arg, const struct route_step *step)
{
	const struct decision *dn = arg;

	if (step->gave_up)
		log_note(LOG_LINE_WARN, "pattern_gave_up", "route", "%s: %s",
		    step->route->where, route_condition_name(step->failed));
	if (step->failed == ROUTE_ALL_HOLD)
		say(dn, "%s: holds", step->route->where);
	else
		say(dn, "%s: %s does not hold%s", step->route->where,
		    route_condition_name(step->failed),
		    step->gave_up ? " (the pattern gave up)" : "");
}

static enum step stage_route(struct decision *dn)
{
	const struct plan *plan = dn->decide->plan;
	const struct route_request r = { .user = dn->user,
		.client = dn->q.client, .listener = dn->q.listener,
		.sni = dn->q.sni };
	struct route_outcome o = route_find(plan->routes, &r, on_route_step,
	    dn);

	switch (o.kind) {
	case ROUTE_REFUSED:
		snprintf(dn->refusal, sizeof dn->refusal, "NO %s", o.text);
		return refuse(dn, str_from(dn->refusal),
		    o.route ? "route-refuses" : "no-route");
	case ROUTE_TO_POOL:
		break;
	}
	HASH_FIND_PTR(plan->pools, &o.pool, dn->pool);
	must(dn->pool);
	say(dn, "pool %s", o.pool->name);
	return STEP_NEXT;
}

static bool was_tried(const struct decision *dn, const struct backend *b)
{
	struct str rest = dn->q.excluded;

	while (rest.n)
		if (str_eq(str_split(rest, ' ', &rest), backend_name(b)))
			return true;
	return false;
}

static size_t choose(const struct decision *dn, const bool *unfit)
{
	const struct pool *pool = dn->pool;

	switch (pool->conf->balance) {
	case CONF_BALANCE_USER_HASH:
		return balance_user_hash(pool->balance, dn->user, unfit);
	case CONF_BALANCE_ROUND_ROBIN:
		return balance_round_robin(pool->balance, unfit);
	}
	return BALANCE_NONE;
}

/* Most questions need one look: nothing is excluded and the backend has an
 * address. Only otherwise is it noted who is unfit, and chosen again. */
static enum step stage_balance(struct decision *dn)
{
	struct pool *pool = dn->pool;
	size_t n = balance_n(pool->balance), at;

	memset(pool->unfit, 0, n * sizeof *pool->unfit);
	if (dn->q.excluded.n)
		for (size_t i = 0; i < n; i++) {
			pool->unfit[i] = was_tried(dn, pool->members[i]);
			if (pool->unfit[i])
				say(dn, "%s: was tried",
				    pool->conf->backends.v[i]->name);
		}
	while ((at = choose(dn, pool->unfit)) != BALANCE_NONE) {
		dn->backend = pool->members[at];
		const char *name = backend_conf(dn->backend)->name;
		switch (backend_address(dn->backend, &dn->answer.address)) {
		case RESOLVE_KNOWN:
			say(dn, "%s", name);
			return STEP_NEXT;
		case RESOLVE_PENDING:
			return wait(dn, "the backend's name is being resolved");
		case RESOLVE_FAILED:
			say(dn, "%s: has no address", name);
			pool->unfit[at] = true;
			break;
		}
	}
	return refuse(dn, SAY_UNAVAILABLE, "no-backend");
}

static enum step stage_place(struct decision *dn)
{
	const struct decide_question *q = &dn->q;
	struct place *place = dn->decide->place;
	unsigned limit = dn->decide->plan->sessions_per_address;
	struct place_session mine;
	size_t n = limit ? place_n_address(place, &q->client) : 0;

	/* a session that tries again is not in its own way */
	if (n && place_find(place, q->worker, q->session, &mine))
		n--;
	if (limit && n >= limit)
		return refuse(dn, SAY_LIMIT, "address-limit");
	if (!dn->line)
		place_take(place, &(struct place_session){
		    .worker = q->worker, .session = q->session,
		    .user = dn->user, .backend = backend_name(dn->backend),
		    .client = q->client, .since_ms = q->now_ms });
	return STEP_NEXT;
}

static enum step stage_grant(struct decision *dn)
{
	const struct conf_auth *auth = dn->decide->plan->auth;
	struct decide_answer *a = &dn->answer;
	char text[ADDR_TEXT_MAX];

	a->verdict = DECIDE_GRANT;
	a->user = dn->q.user;
	a->backend = backend_name(dn->backend);
	a->pool = str_from(dn->pool->conf->name);
	a->capabilities = backend_capabilities(dn->backend);
	a->deadline_ms = dn->pool->conf->login_timeout_ms;
	if (dn->is_proven &&
	    auth->backend_login == CONF_BACKEND_LOGIN_MASTER) {
		a->master_user = str_from(auth->master_user);
		a->master_password = auth->master_password_file.data;
	}
	say(dn, "%.*s at %s as %s", STR_ARG(a->backend),
	    addr_text(&a->address, text), a->master_user.n ?
	    "the master user" : "the client itself");
	return STEP_ANSWERED;
}

static enum step (*const stages[])(struct decision *dn) = {
	[AUTH] = stage_auth,
	[ROUTE] = stage_route,
	[BALANCE] = stage_balance,
	[PLACE] = stage_place,
	[GRANT] = stage_grant,
};

/* --- questions -------------------------------------------------------------- */

static void decision_run(struct decision *dn)
{
	while (stages[dn->stage](dn) == STEP_NEXT)
		dn->stage++;
}

static struct str copy(struct buf *to, struct str s)
{
	size_t at = to->len;

	must(buf_str(to, s));
	return (struct str){ buf_view(to).p + at, s.n };
}

static struct decision *decision_new(struct decide *d,
    const struct decide_question *q)
{
	struct decision *dn = d->spare;

	if (dn)
		LL_DELETE(d->spare, dn);
	else
		dn = mem_alloc(sizeof *dn);
	dn->decide = d;
	dn->stage = AUTH;
	dn->line = NULL;
	dn->answer = (struct decide_answer){ .worker = q->worker,
		.number = q->number };
	dn->q = *q;
	/* all room at once: views must not move while the others come */
	must(buf_reserve(&dn->text, q->user.n + q->mechanism.n +
	    q->listener.n + q->sni.n + q->excluded.n + q->failure.n + 1));
	dn->q.user = copy(&dn->text, q->user);
	dn->q.mechanism = copy(&dn->text, q->mechanism);
	dn->q.listener = copy(&dn->text, q->listener);
	dn->q.sni = copy(&dn->text, q->sni);
	dn->q.excluded = copy(&dn->text, q->excluded);
	dn->q.failure = copy(&dn->text, q->failure);
	return dn;
}

static void decision_free(struct decision *dn)
{
	struct decide *d = dn->decide;

	buf_clear(&dn->text);
	LL_PREPEND(d->spare, dn);
}

/* A backend that was tried in vain may be reached by another of its
 * addresses. */
static void note_failure(struct decide *d, const struct decide_question *q)
{
	struct str rest = q->excluded, last = STR_NONE;
	struct addr bad;

	if (!str_starts(q->failure, STR("connect")) &&
	    !str_starts(q->failure, STR("timeout")))
		return;
	while (rest.n)
		last = str_split(rest, ' ', &rest);
	struct backend *b = farm_find(d->farm, last);
	if (b && backend_address(b, &bad) == RESOLVE_KNOWN)
		backend_fault(b, &bad, (double)q->now_ms / 1000);
}

static void answer(struct decision *dn)
{
	struct decide *d = dn->decide;

	if (!d->plan) {
		wait(dn, "there is no configuration yet");
	} else {
		note_failure(d, &dn->q);
		decision_run(dn);
	}
	/* what is refused is nowhere */
	if (dn->answer.verdict == DECIDE_REFUSE)
		place_release(d->place, dn->q.worker, dn->q.session);
	d->on_answer(d->owner, &dn->answer);
	decision_free(dn);
}

void decide_ask(struct decide *d, const struct decide_question *q)
{
	struct decision *dn = decision_new(d, q);

	if (!d->is_held) {
		answer(dn);
	} else if (d->n_held < DECIDE_HELD_MAX) {
		DL_APPEND(d->held, dn);
		d->n_held++;
	} else {
		wait(dn, "too many questions are held");
		d->on_answer(d->owner, &dn->answer);
		decision_free(dn);
	}
}

static void unhold(struct decide *d, struct decision *dn)
{
	DL_DELETE(d->held, dn);
	d->n_held--;
}

void decide_hold(struct decide *d)
{
	d->is_held = true;
}

void decide_go(struct decide *d)
{
	d->is_held = false;
	while (d->held && !d->is_held) {
		struct decision *dn = d->held;
		unhold(d, dn);
		answer(dn);
	}
}

void decide_forget(struct decide *d, uint64_t worker)
{
	struct decision *dn, *next;

	DL_FOREACH_SAFE(d->held, dn, next) {
		if (dn->q.worker != worker)
			continue;
		unhold(d, dn);
		decision_free(dn);
	}
}

void decide_explain(struct decide *d, const struct decide_question *q,
    decide_line_fn *line, void *arg)
{
	struct decision *dn = decision_new(d, q);

	dn->line = line;
	dn->line_arg = arg;
	if (d->plan)
		decision_run(dn);
	else
		wait(dn, "there is no configuration yet");
	decision_free(dn);
}

/* --- configuration ----------------------------------------------------------- */

static void plan_free(struct plan **pp)
{
	struct plan *p = *pp;
	struct pool *pool, *next;

	if (!p)
		return;
	*pp = NULL;
	HASH_ITER(hh, p->pools, pool, next) {
		HASH_DELETE(hh, p->pools, pool);
		balance_free(&pool->balance);
		free(pool->members);
		free(pool->unfit);
		free(pool);
	}
	route_free(&p->routes);
	settings_unref(&p->settings);
	free(p);
}

static void add_pool(struct plan *p, const struct conf_pool *conf,
    const struct farm *farm)
{
	struct pool *pool = mem_alloc(sizeof *pool);
	size_t n = conf->backends.n;

	pool->conf = conf;
	pool->balance = balance_new();
	pool->members = mem_alloc(n * sizeof *pool->members);
	pool->unfit = mem_alloc(n * sizeof *pool->unfit);
	for (size_t i = 0; i < n; i++) {
		const struct conf_backend *b = conf->backends.v[i];
		balance_add(pool->balance, str_from(b->name), b->weight);
		pool->members[i] = farm_find(farm, str_from(b->name));
		must(pool->members[i]);
	}
	HASH_ADD_PTR(p->pools, conf, pool);
}

bool decide_configure(struct decide *d, struct settings *settings,
    unsigned sessions_per_address, struct err *err)
{
	struct plan *p = mem_alloc(sizeof *p);
	size_t n;

	p->settings = settings_ref(settings);
	p->auth = conf_auth(settings);
	p->sessions_per_address = sessions_per_address;
	const struct conf_route *const *routes = conf_route_all(settings, &n);
	p->routes = route_compile(routes, n,
	    p->auth->canonical_case == USER_CASE_LOWER, err);
	if (!p->routes) {
		plan_free(&p);
		return false;
	}
	/* nothing can fail from here on: the old plan's backends may go */
	plan_free(&d->plan);
	farm_configure(d->farm, settings);
	const struct conf_pool *const *pools = conf_pool_all(settings, &n);
	for (size_t i = 0; i < n; i++)
		add_pool(p, pools[i], d->farm);
	d->plan = p;
	return true;
}

struct decide *decide_new(struct place *place, struct farm *farm,
    decide_answer_fn *on_answer, void *owner)
{
	struct decide *d = mem_alloc(sizeof *d);

	d->place = place;
	d->farm = farm;
	d->on_answer = on_answer;
	d->owner = owner;
	d->is_held = true;
	return d;
}

void decide_free(struct decide **dp)
{
	struct decide *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	while (d->held) {
		struct decision *dn = d->held;
		unhold(d, dn);
		decision_free(dn);
	}
	while (d->spare) {
		struct decision *dn = d->spare;
		LL_DELETE(d->spare, dn);
		buf_fini(&dn->text);
		free(dn);
	}
	plan_free(&d->plan);
	free(d);
}
