/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <stdio.h>

#include "backends/conf.h"
#include "backends/decide_impl.h"
#include "backends/farm.h"
#include "backends/place.h"
#include "backends/route.h"
#include "backends/target.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

/* A source has answered: the question goes on, now or when it was suspended. */
static void tell(struct decision *dn)
{
	dn->has_news = true;
	if (dn->is_suspended)
		decision_resume(dn);
}

static bool take_news(struct decision *dn)
{
	bool has_news = dn->has_news;

	dn->has_news = false;
	return has_news;
}

/* --- auth ------------------------------------------------------------------- */

static void on_checked(void *owner, const struct auth_answer *a)
{
	struct decision *dn = owner;

	dn->check = NULL;
	dn->verdict = *a;
	dn->verdict.user = decision_note(dn, a->user);
	dn->verdict.password = decision_note(dn, a->password);
	dn->verdict.pool = decision_note(dn, a->pool);
	dn->verdict.backend = decision_note(dn, a->backend);
	dn->verdict.text = decision_note(dn, a->text);
	dn->verdict.why = a->why ?
	    decision_note(dn, str_from(a->why)).p : NULL;
	tell(dn);
}

static void ask_driver(struct decision *dn)
{
	const struct decide_question *q = &dn->q;

	dn->check = auth_ask(dn->decide->parts.auth, &(struct auth_login){
	    .user = q->user, .canonical = dn->user, .password = q->password,
	    .is_proven = dn->is_proven, .attempt = q->attempt,
	    .client = q->client, .local = q->local,
	    .is_proxied = q->is_proxied, .listener = q->listener,
	    .sni = q->sni, .has_tls = q->has_tls,
	    .tls_version = q->tls_version, .tls_cipher = q->tls_cipher,
	    .certificate = q->certificate }, on_checked, dn);
}

/* By its name, or by its host and port. */
static struct backend *find_named(const struct decision *dn, struct str name)
{
	const struct farm *farm = dn->decide->parts.farm;
	struct backend *b = farm_find(farm, name);
	struct str host;
	unsigned port;

	if (!b && target_split(name, &host, &port))
		b = farm_find_host(farm, host, port);
	return b;
}

static enum decide_step source_lies(struct decision *dn, const char *what,
    struct str name)
{
	log_note(LOG_LINE_ERROR, "auth_value", "why", "%s \"%.*s\": there is "
	    "none in the configuration's pools", what, STR_ARG(name));
	return decide_refuse(dn, SAY_UNAVAILABLE, "auth-value");
}

/* Where the driver sends the user, if it does. */
static enum decide_step take_target(struct decision *dn)
{
	const struct auth_answer *v = &dn->verdict;
	struct decide *d = dn->decide;
	char text[ADDR_TEXT_MAX];

	if (v->backend.n) {
		dn->pinned = find_named(dn, v->backend);
		if (!dn->pinned)
			return source_lies(dn, "backend", v->backend);
	} else if (v->address.sa.sa_family != AF_UNSPEC) {
		dn->pinned = farm_find_address(d->parts.farm, &v->address);
		if (!dn->pinned)
			return source_lies(dn, "backend",
			    str_from(addr_text(&v->address, text)));
	} else if (v->pool.n) {
		/* a note ends with a NUL */
		const struct conf_pool *conf = conf_pool_find(
		    d->plan->settings, v->pool.p);
		if (!conf)
			return source_lies(dn, "pool", v->pool);
		dn->pool = plan_pool(d->plan, conf);
	}
	if (dn->pinned)
		dn->pool = plan_pool_of(d->plan, dn->pinned);
	return DECIDE_NEXT;
}

static enum decide_step judge(struct decision *dn)
{
	const struct auth_answer *v = &dn->verdict;

	switch (v->verdict) {
	case AUTH_OK:
		dn->is_proven = true;
		dn->login_user = v->user;
		dn->login_password = v->password;
		return take_target(dn);
	case AUTH_DENIED:
		dn->answer.is_denied = true;
		dn->answer.ends = v->ends;
		if (!v->text.n)
			return decide_refuse(dn, SAY_DENIED, "auth-denied");
		snprintf(dn->refusal, sizeof dn->refusal, "NO %.*s",
		    STR_ARG(v->text));
		return decide_refuse(dn, str_from(dn->refusal),
		    "auth-denied");
	case AUTH_FAILED:
		break;
	}
	return decide_refuse(dn, SAY_UNAVAILABLE, "auth-failed");
}

enum decide_step decide_stage_auth(struct decision *dn)
{
	const struct decide *d = dn->decide;
	size_t n;

	if (take_news(dn))
		return judge(dn);
	if (!user_canonical(dn->q.user, str_from(d->plan->auth->default_domain),
	    d->plan->auth->canonical_case, dn->canonical, &n))
		return decide_refuse(dn, SAY_DENIED, "user-name");
	dn->user = (struct str){ dn->canonical, n };
	dn->is_proven = str_ieq(dn->q.mechanism, STR("EXTERNAL"));
	if (!auth_is_asked(d->parts.auth) || dn->line) {
		decide_say(dn, "user %.*s, %s", STR_ARG(dn->user),
		    dn->is_proven ? "proven by a client certificate" :
		    auth_is_asked(d->parts.auth) ?
		    "to be checked by the driver (not asked without a "
		    "password)" : "to be checked by the backend");
		return DECIDE_NEXT;
	}
	if (!dn->is_proven && !dn->q.password.n)
		return decide_refuse(dn, SAY_DENIED, "no-password");
	/* the password of jan*root is root's, whom the driver would not see */
	if (memchr(dn->q.user.p, USER_MASTER_SEPARATOR, dn->q.user.n))
		return decide_refuse(dn, SAY_DENIED, "master-user");
	ask_driver(dn);
	return take_news(dn) ? judge(dn) : DECIDE_SUSPENDED;
}

/* --- route ------------------------------------------------------------------ */

static void on_route_step(void *arg, const struct route_step *step)
{
	const struct decision *dn = arg;

	if (step->gave_up)
		log_note(LOG_LINE_WARN, "pattern_gave_up", "route", "%s: %s",
		    step->route->where, route_condition_name(step->failed));
	if (step->failed == ROUTE_ALL_HOLD)
		decide_say(dn, "%s: holds", step->route->where);
	else
		decide_say(dn, "%s: %s does not hold%s", step->route->where,
		    route_condition_name(step->failed),
		    step->gave_up ? " (the pattern gave up)" :
		    step->is_untold ? " (a GeoIP database is missing)" : "");
}

static const char *or_unknown(const char *code)
{
	return code[0] ? code : GEO_UNKNOWN;
}

static void say_location(const struct decision *dn)
{
	const struct geo_place *p = &dn->geo;
	char text[REGION_TEXT_MAX];

	if (p->has_places)
		decide_say(dn, "country %s, subdivision %s, continent %s",
		    or_unknown(p->country), or_unknown(p->subdivisions[0]),
		    or_unknown(p->continent));
	if (p->has_asns && p->asn)
		decide_say(dn, "asn %u", p->asn);
	else if (p->has_asns)
		decide_say(dn, "asn " GEO_UNKNOWN);
	if (dn->decide->plan->has_regions)
		decide_say(dn, "%s", region_text(&dn->region, text));
}

static void on_found(void *owner, const struct table_answer *a)
{
	struct decision *dn = owner;

	dn->lookup = NULL;
	dn->found = *a;
	dn->found.user = decision_note(dn, a->user);
	dn->found.key = decision_note(dn, a->key);
	dn->found.value = decision_note(dn, a->value);
	dn->found.target = decision_note(dn, a->target);
	dn->found.why = a->why ?
	    decision_note(dn, str_from(a->why)).p : NULL;
	tell(dn);
}

static enum decide_step to_pool(struct decision *dn,
    const struct conf_pool *conf)
{
	dn->pool = plan_pool(dn->decide->plan, conf);
	decide_say(dn, "pool %s", conf->name);
	return DECIDE_NEXT;
}

/* A section's name, or that of an SRV record's target. */
static enum decide_step to_backend(struct decision *dn, struct str name)
{
	struct decide *d = dn->decide;

	dn->pinned = find_named(dn, name);
	dn->pool = dn->pinned ? plan_pool_of(d->plan, dn->pinned) : NULL;
	if (!dn->pinned && farm_is_pending_for(d->parts.farm, name))
		return decide_wait(dn, "the SRV record is being resolved");
	if (!dn->pool) {
		log_note(LOG_LINE_ERROR, "table_value", "why",
		    "backend %.*s is in no pool, and in no SRV record of "
		    "one's", STR_ARG(name));
		return decide_refuse(dn, SAY_UNAVAILABLE, "table-value");
	}
	struct str known = backend_name(dn->pinned);
	decide_say(dn, "backend %.*s, by the rules of pool %s",
	    STR_ARG(known), dn->pool->conf->name);
	return DECIDE_NEXT;
}

/* NEXT: the table decides. SUSPENDED: it does not know the user, the routes
 * behind are to be looked at. */
static enum decide_step take_found(struct decision *dn)
{
	const struct table_answer *f = &dn->found;
	const char *name = table_name(dn->table);

	switch (f->verdict) {
	case TABLE_MISSING:
		decide_say(dn, "table %s: does not have the user", name);
		return DECIDE_SUSPENDED;
	case TABLE_FAILED:
		decide_say(dn, "table %s: failed: %s", name,
		    f->why ? f->why : "");
		return decide_refuse(dn, SAY_UNAVAILABLE, "table-failed");
	case TABLE_FOUND:
		break;
	}
	decide_say(dn, "table %s: %.*s has \"%.*s\"%s", name, STR_ARG(f->key),
	    STR_ARG(f->value), f->is_stale ? ", from the cache, stale since "
	    "the source is down" : f->is_cached ? ", from the cache" : "");
	if (f->user.n)
		dn->login_user = f->user;
	if (f->pool)
		return to_pool(dn, f->pool);
	return to_backend(dn, f->backend ? str_from(f->backend->name) :
	    f->target);
}

static struct route_outcome next_route(struct decision *dn)
{
	const struct route_request r = { .user = dn->user,
		.client = dn->q.client, .place = &dn->geo,
		.region = &dn->region, .listener = dn->q.listener,
		.sni = dn->q.sni };

	return route_find(dn->decide->plan->routes, dn->row, &r,
	    on_route_step, dn);
}

/* The driver's choice stands, unless a route refuses. */
static bool is_chosen(const struct decision *dn,
    const struct route_outcome *o)
{
	return dn->pool && !(o->kind == ROUTE_REFUSED && o->route);
}

enum decide_step decide_stage_route(struct decision *dn)
{
	struct decide *d = dn->decide;
	bool has_news = take_news(dn);

	if (!has_news && dn->line)
		say_location(dn);
	for (;;) {
		if (has_news) {
			enum decide_step step = take_found(dn);
			if (step != DECIDE_SUSPENDED)
				return step;
		}
		struct route_outcome o = next_route(dn);
		if (is_chosen(dn, &o)) {
			decide_say(dn, "pool %s, by the driver of auth",
			    dn->pool->conf->name);
			return DECIDE_NEXT;
		}
		switch (o.kind) {
		case ROUTE_REFUSED:
			snprintf(dn->refusal, sizeof dn->refusal, "NO %s",
			    o.text);
			return decide_refuse(dn, str_from(dn->refusal),
			    o.route ? "route-refuses" : "no-route");
		case ROUTE_TO_POOL:
			return to_pool(dn, o.pool);
		case ROUTE_TO_TABLE:
			break;
		}
		dn->row = o.next;
		dn->table = tables_find(d->parts.tables, o.table->name);
		must(dn->table);
		dn->lookup = table_lookup(dn->table, dn->user, on_found, dn);
		has_news = take_news(dn);
		if (!has_news)
			return DECIDE_SUSPENDED;
	}
}

/* --- place ------------------------------------------------------------------ */

struct mover {
	struct decide *decide;
	struct str backend;
};

static void end_if_elsewhere(void *arg, const struct place_session *s)
{
	const struct mover *m = arg;

	if (!str_eq(s->backend, m->backend))
		m->decide->calls.end(m->decide->owner, s->worker, s->session);
}

enum decide_step decide_stage_place(struct decision *dn)
{
	const struct decide_question *q = &dn->q;
	struct decide *d = dn->decide;
	unsigned limit = d->plan->sessions_per_address;

	if (limit && place_n_address(d->parts.place, &q->client) >= limit) {
		if (!dn->line)
			backend_return_token(dn->backend);
		return decide_refuse(dn, SAY_LIMIT, "address-limit");
	}
	if (dn->line)
		return DECIDE_NEXT;
	backend_granted(dn->backend, condition_key(q->worker, q->session));
	place_take(d->parts.place, &(struct place_session){
	    .worker = q->worker, .session = q->session, .user = dn->user,
	    .backend = backend_name(dn->backend), .client = q->client,
	    .since_ms = (uint64_t)(ev_now(d->parts.loop) * 1000) });
	if (dn->pool->conf->keep_user_together)
		place_user(d->parts.place, dn->user, end_if_elsewhere,
		    &(struct mover){ d, backend_name(dn->backend) });
	return DECIDE_NEXT;
}

/* --- grant ------------------------------------------------------------------ */

/* Which of the backend's addresses there are, for a person to read. */
static void show_addresses(struct decision *dn)
{
	const struct backend *b = dn->backend;
	size_t n = backend_n_addresses(b);
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; dn->line && n > 1 && i < n; i++) {
		struct addr a = backend_address_at(b, i);
		decide_say(dn, "address %s: %s", addr_text(&a, text),
		    backend_is_at_fault(b, &a) ? "did not answer lately" :
		    addr_same_ip(&a, &dn->answer.address) ?
		    "by the user's hash" : "for other users");
	}
}

enum decide_step decide_stage_grant(struct decision *dn)
{
	const struct conf_auth *auth = dn->decide->plan->auth;
	struct decide_answer *a = &dn->answer;
	char text[ADDR_TEXT_MAX];

	a->verdict = DECIDE_GRANT;
	a->user = dn->login_user.n ? dn->login_user : dn->q.user;
	a->login_user = dn->login_user;
	a->login_password = dn->login_password;
	a->backend = backend_name(dn->backend);
	a->pool = str_from(dn->pool->conf->name);
	a->capabilities = backend_capabilities(dn->backend);
	a->deadline_ms = dn->pool->conf->login_timeout_ms;
	if (dn->is_proven && !dn->login_password.n &&
	    auth->backend_login == CONF_BACKEND_LOGIN_MASTER) {
		a->master_user = str_from(auth->master_user);
		a->master_password = auth->master_password_file.data;
	}
	show_addresses(dn);
	decide_say(dn, "%.*s at %s as %s%.*s", STR_ARG(a->backend),
	    addr_text(&a->address, text), a->master_user.n ?
	    "the master user on behalf of " : "",
	    STR_ARG(a->user));
	return DECIDE_ANSWERED;
}
