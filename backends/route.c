/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/route.h"

#include <stdlib.h>

#include "backends/conf.h"
#include "backends/pattern.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

struct row {
	const struct conf_route *conf;
	struct pattern *user, *domain, *sni;	/* NULL: no such condition */
};

struct route_table {
	size_t n;
	struct row rows[];
};

static bool compile_one(const struct conf_route *conf, const char *key,
    const char *text, bool fold, struct pattern **out, struct err *err)
{
	if (!text[0])
		return true;
	*out = pattern_new(text, fold, err);
	return *out || err_prefix(err, "%s: route.%s", conf->where, key);
}

struct route_table *route_compile(const struct conf_route *const *routes,
    size_t n, bool fold_users, struct err *err)
{
	struct route_table *t = mem_alloc(sizeof *t + n * sizeof *t->rows);

	for (size_t i = 0; i < n; i++) {
		struct row *r = &t->rows[t->n++];
		r->conf = routes[i];
		if (!compile_one(r->conf, "user", r->conf->user, fold_users,
		    &r->user, err) ||
		    !compile_one(r->conf, "domain", r->conf->domain, true,
		    &r->domain, err) ||
		    !compile_one(r->conf, "sni", r->conf->sni, true, &r->sni,
		    err)) {
			route_free(&t);
			return NULL;
		}
	}
	return t;
}

void route_free(struct route_table **tp)
{
	struct route_table *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	for (size_t i = 0; i < t->n; i++) {
		pattern_free(&t->rows[i].user);
		pattern_free(&t->rows[i].domain);
		pattern_free(&t->rows[i].sni);
	}
	free(t);
}

static struct str domain_of(struct str user)
{
	const char *at = user.n ? memrchr(user.p, '@', user.n) : NULL;

	return at ? str_skip(user, (size_t)(at + 1 - user.p)) : STR_NONE;
}

static bool pattern_holds(const struct pattern *p, struct str text,
    struct route_step *step)
{
	if (!p)
		return true;
	enum pattern_verdict v = pattern_match(p, text);
	step->gave_up = v == PATTERN_GAVE_UP;
	return v == PATTERN_YES;
}

static bool network_holds(const struct conf_route *c, const struct addr *client)
{
	for (size_t i = 0; i < c->network.n; i++)
		if (net_has(&c->network.v[i], client))
			return true;
	return c->network.n == 0;
}

static bool listener_holds(const struct conf_route *c, struct str listener)
{
	for (size_t i = 0; i < c->listener.n; i++)
		if (str_eq(str_from(settings_name(c->listener.v[i])),
		    listener))
			return true;
	return c->listener.n == 0;
}

/* Cheap conditions first would be faster; the order of the manual is easier
 * to explain, and one row costs far less than a microsecond. */
static enum route_condition first_failing(const struct row *row,
    const struct route_request *r, struct route_step *step)
{
	if (!pattern_holds(row->user, r->user, step))
		return ROUTE_USER;
	if (!pattern_holds(row->domain, domain_of(r->user), step))
		return ROUTE_DOMAIN;
	if (!network_holds(row->conf, &r->client))
		return ROUTE_NETWORK;
	if (!listener_holds(row->conf, r->listener))
		return ROUTE_LISTENER;
	if (!pattern_holds(row->sni, r->sni, step))
		return ROUTE_SNI;
	return ROUTE_ALL_HOLD;
}

static struct route_outcome outcome_of(const struct conf_route *conf,
    size_t next)
{
	if (conf->table)
		return (struct route_outcome){ .kind = ROUTE_TO_TABLE,
			.table = conf->table, .next = next, .route = conf };
	if (conf->pool)
		return (struct route_outcome){ .kind = ROUTE_TO_POOL,
			.pool = conf->pool, .route = conf };
	return (struct route_outcome){ .kind = ROUTE_REFUSED,
		.text = conf->refuse, .route = conf };
}

struct route_outcome route_find(const struct route_table *t, size_t first,
    const struct route_request *r, route_explain_fn *explain, void *arg)
{
	for (size_t i = first; i < t->n; i++) {
		struct route_step step = { .route = t->rows[i].conf };
		step.failed = first_failing(&t->rows[i], r, &step);
		if (explain)
			explain(arg, &step);
		if (step.failed == ROUTE_ALL_HOLD)
			return outcome_of(step.route, i + 1);
	}
	return (struct route_outcome){ .kind = ROUTE_REFUSED,
		.text = ROUTE_REFUSE_NONE };
}

const char *route_condition_name(enum route_condition c)
{
	switch (c) {
	case ROUTE_USER:
		return "user";
	case ROUTE_DOMAIN:
		return "domain";
	case ROUTE_NETWORK:
		return "network";
	case ROUTE_LISTENER:
		return "listener";
	case ROUTE_SNI:
		return "sni";
	case ROUTE_ALL_HOLD:
		return "";
	}
	return "";
}
