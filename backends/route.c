/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/route.h"

#include <stdlib.h>

#include "backends/conf.h"
#include "backends/geo.h"
#include "backends/pattern.h"
#include "backends/region.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

/* Its conditions' elements, ready to be used; of the others conf has them. */
struct row {
	const struct conf_route *conf;
	struct pattern **user, **domain, **sni;
	char (*country)[GEO_COUNTRY_MAX];	/* "": unknown */
	uint32_t *asn;				/* 0: unknown */
};

struct route_table {
	size_t n;
	struct row rows[];
};

/* --- rows ----------------------------------------------------------------- */

static bool compile_patterns(const struct conf_route *conf, const char *key,
    const struct settings_strings *list, bool fold, struct pattern ***out,
    struct err *err)
{
	struct pattern **v = mem_alloc((list->n + 1) * sizeof *v);

	*out = v;	/* ends with NULL */
	for (size_t i = 0; i < list->n; i++) {
		v[i] = pattern_new(list->v[i], fold, err);
		if (!v[i])
			return err_prefix(err, "%s: route.%s", conf->where,
			    key);
	}
	return true;
}

/* Codes were checked with the settings. */
static void compile_places(struct row *r)
{
	const struct settings_strings *countries = &r->conf->country;
	const struct settings_strings *asns = &r->conf->asn;

	r->country = mem_alloc(countries->n * sizeof *r->country);
	for (size_t i = 0; i < countries->n; i++)
		(void)geo_country_parse(r->country[i],
		    str_from(countries->v[i]));
	r->asn = mem_alloc(asns->n * sizeof *r->asn);
	for (size_t i = 0; i < asns->n; i++)
		(void)geo_asn_parse(&r->asn[i], str_from(asns->v[i]));
}

struct route_table *route_compile(const struct conf_route *const *routes,
    size_t n, bool fold_users, struct err *err)
{
	struct route_table *t = mem_alloc(sizeof *t + n * sizeof *t->rows);

	for (size_t i = 0; i < n; i++) {
		struct row *r = &t->rows[t->n++];
		r->conf = routes[i];
		compile_places(r);
		if (!compile_patterns(r->conf, "user", &r->conf->user,
		    fold_users, &r->user, err) ||
		    !compile_patterns(r->conf, "domain", &r->conf->domain,
		    true, &r->domain, err) ||
		    !compile_patterns(r->conf, "sni", &r->conf->sni, true,
		    &r->sni, err)) {
			route_free(&t);
			return NULL;
		}
	}
	return t;
}

static void patterns_free(struct pattern **v)
{
	for (size_t i = 0; v && v[i]; i++)
		pattern_free(&v[i]);
	free(v);
}

void route_free(struct route_table **tp)
{
	struct route_table *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	for (size_t i = 0; i < t->n; i++) {
		patterns_free(t->rows[i].user);
		patterns_free(t->rows[i].domain);
		patterns_free(t->rows[i].sni);
		free(t->rows[i].country);
		free(t->rows[i].asn);
	}
	free(t);
}

/* --- conditions ----------------------------------------------------------- */

enum truth {
	HOLDS_NOT,
	HOLDS,
	NOBODY_KNOWS,		/* the step has why */
};

static enum truth truth_of(bool holds)
{
	return holds ? HOLDS : HOLDS_NOT;
}

static enum truth pattern_holds(const struct pattern *p, struct str text,
    struct route_step *step)
{
	switch (pattern_match(p, text)) {
	case PATTERN_NO:
		return HOLDS_NOT;
	case PATTERN_YES:
		return HOLDS;
	case PATTERN_GAVE_UP:
		break;
	}
	step->gave_up = true;
	return NOBODY_KNOWS;
}

static enum truth told(bool is_told, bool holds, struct route_step *step)
{
	step->is_untold |= !is_told;
	return is_told ? truth_of(holds) : NOBODY_KNOWS;
}

static struct str domain_of(struct str user)
{
	const char *at = user.n ? memrchr(user.p, '@', user.n) : NULL;

	return at ? str_skip(user, (size_t)(at + 1 - user.p)) : STR_NONE;
}

/* The hash is another than balance's: who is in a share says nothing of who
 * goes to which backend. FNV-1a, then the finaliser of SplitMix64. */
static bool percent_holds(unsigned percent, struct str user)
{
	uint64_t h = 0x70657263656e7431ull;

	for (size_t i = 0; i < user.n; i++)
		h = (h ^ (unsigned char)user.p[i]) * 0x100000001b3ull;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 27) * 0x94d049bb133111ebull;
	h ^= h >> 31;
	return (h >> 32) * 100 < (uint64_t)percent << 32;
}

/* Whether element i of a row's condition holds, "!" apart. */
static enum truth element_holds(const struct row *row, enum route_condition c,
    size_t i, const struct route_request *r, struct route_step *step)
{
	const struct conf_route *conf = row->conf;

	switch (c) {
	case ROUTE_USER:
		return pattern_holds(row->user[i], r->user, step);
	case ROUTE_DOMAIN:
		return pattern_holds(row->domain[i], domain_of(r->user), step);
	case ROUTE_REGION:	/* NULL: unknown */
		return told(r->region->how != REGION_UNTOLD,
		    conf->region.v[i] == r->region->region, step);
	case ROUTE_COUNTRY:
		return told(r->place->has_places,
		    strcmp(row->country[i], r->place->country) == 0, step);
	case ROUTE_ASN:
		return told(r->place->has_asns, row->asn[i] == r->place->asn,
		    step);
	case ROUTE_NETWORK:
		return truth_of(net_has(&conf->network.v[i], &r->client));
	case ROUTE_LISTENER:
		return truth_of(str_eq(r->listener,
		    str_from(settings_name(conf->listener.v[i]))));
	case ROUTE_SNI:
		return pattern_holds(row->sni[i], r->sni, step);
	case ROUTE_PERCENT:
		return truth_of(percent_holds(conf->percent, r->user));
	case ROUTE_ALL_HOLD:
		break;
	}
	return HOLDS;
}

struct count {
	size_t n, n_not;	/* elements; those written with "!", the last */
};

static struct count count_elements(const struct conf_route *conf,
    enum route_condition c)
{
	switch (c) {
	case ROUTE_USER:
		return (struct count){ conf->user.n, conf->user.n_not };
	case ROUTE_DOMAIN:
		return (struct count){ conf->domain.n, conf->domain.n_not };
	case ROUTE_REGION:
		return (struct count){ conf->region.n, conf->region.n_not };
	case ROUTE_COUNTRY:
		return (struct count){ conf->country.n, conf->country.n_not };
	case ROUTE_ASN:
		return (struct count){ conf->asn.n, conf->asn.n_not };
	case ROUTE_NETWORK:
		return (struct count){ conf->network.n, conf->network.n_not };
	case ROUTE_LISTENER:
		return (struct count){ conf->listener.n, conf->listener.n_not };
	case ROUTE_SNI:
		return (struct count){ conf->sni.n, conf->sni.n_not };
	case ROUTE_PERCENT:
		return (struct count){ conf->percent < 100, 0 };
	case ROUTE_ALL_HOLD:
		break;
	}
	return (struct count){ 0, 0 };
}

/* The one place where lists and "!" get their meaning. */
static bool condition_holds(const struct row *row, enum route_condition c,
    const struct route_request *r, struct route_step *step)
{
	struct count count = count_elements(row->conf, c);
	size_t first_not = count.n - count.n_not;
	bool has_one = first_not == 0;

	for (size_t i = 0; i < count.n; i++) {
		if (i < first_not && has_one)
			continue;
		switch (element_holds(row, c, i, r, step)) {
		case HOLDS_NOT:
			break;
		case HOLDS:
			if (i >= first_not)
				return false;
			has_one = true;
			break;
		case NOBODY_KNOWS:
			return false;
		}
	}
	return has_one;
}

/* Cheap conditions first would be faster; the order of the manual is easier
 * to explain, and one row costs far less than a microsecond. */
static enum route_condition first_failing(const struct row *row,
    const struct route_request *r, struct route_step *step)
{
	enum route_condition c = 0;

	while (c != ROUTE_ALL_HOLD && condition_holds(row, c, r, step))
		c++;
	return c;
}

/* --- the decision --------------------------------------------------------- */

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
	case ROUTE_REGION:
		return "region";
	case ROUTE_COUNTRY:
		return "country";
	case ROUTE_ASN:
		return "asn";
	case ROUTE_NETWORK:
		return "network";
	case ROUTE_LISTENER:
		return "listener";
	case ROUTE_SNI:
		return "sni";
	case ROUTE_PERCENT:
		return "percent";
	case ROUTE_ALL_HOLD:
		return "";
	}
	return "";
}
