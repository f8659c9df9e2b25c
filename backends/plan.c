/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/plan.h"

#include <stdlib.h>
#include <string.h>

#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/region.h"
#include "backends/route.h"
#include "proxy/base/mem.h"

static void pool_free(struct pool *pool)
{
	balance_free(&pool->balance);
	free(pool->members);
	free(pool->unfit);
	free(pool->load);
	free(pool->fallback);
	free(pool);
}

void plan_leave(struct plan *p)
{
	struct pool *pool, *next;

	HASH_ITER(hh, p->pools, pool, next) {
		HASH_DELETE(hh, p->pools, pool);
		pool_free(pool);
	}
}

void plan_free(struct plan **pp)
{
	struct plan *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	plan_leave(p);
	route_free(&p->routes);
	regions_free(&p->regions);
	settings_unref(&p->settings);
	free(p);
}

struct plan *plan_new(struct settings *settings,
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
		return NULL;
	}
	const struct conf_region *const *regions = conf_region_all(settings,
	    &n);
	p->regions = regions_compile(regions, n);
	p->has_regions = n > 0;
	return p;
}

static void add_members(struct pool *pool, struct backend *const *more,
    size_t n)
{
	pool->members = mem_realloc(pool->members,
	    (pool->n + n + 1) * sizeof(struct backend *));
	for (size_t i = 0; i < n; i++) {
		balance_add(pool->balance, backend_name(more[i]),
		    backend_weight(more[i]));
		if (backend_tier(more[i]) >= pool->n_tiers)
			pool->n_tiers = backend_tier(more[i]) + 1;
		pool->members[pool->n++] = more[i];
	}
}

static void add_pool(struct plan *p, const struct conf_pool *conf,
    const struct farm *farm)
{
	struct pool *pool = mem_alloc(sizeof *pool);

	pool->conf = conf;
	pool->balance = balance_new();
	for (size_t i = 0; i < conf->backends.n; i++) {
		const struct conf_backend *section = conf->backends.v[i];
		size_t n;
		struct backend *const *members = farm_members(farm, section,
		    &n);
		add_members(pool, members, n);
		pool->is_pending |= farm_is_pending(farm, section);
	}
	pool->unfit = mem_alloc((pool->n + 1) * sizeof *pool->unfit);
	pool->load = mem_alloc((pool->n + 1) * sizeof *pool->load);
	HASH_ADD_PTR(p->pools, conf, pool);
}

void plan_join(struct plan *p, const struct farm *farm)
{
	size_t n;
	const struct conf_pool *const *all = conf_pool_all(p->settings, &n);
	struct pool *pool, *next;

	for (size_t i = 0; i < n; i++)
		add_pool(p, all[i], farm);
	HASH_ITER(hh, p->pools, pool, next) {
		pool->n_fallback = pool->conf->fallback.n;
		pool->fallback = mem_alloc(
		    pool->n_fallback * sizeof(struct pool *));
		for (size_t i = 0; i < pool->n_fallback; i++)
			pool->fallback[i] = plan_pool(p,
			    pool->conf->fallback.v[i]);
	}
}

void plan_weigh(struct plan *p, const struct backend *b)
{
	struct pool *pool, *next;

	HASH_ITER(hh, p->pools, pool, next)
		for (size_t i = 0; i < pool->n; i++)
			if (pool->members[i] == b)
				balance_set_weight(pool->balance, i,
				    backend_weight(b));
}

struct pool *plan_pool(const struct plan *p, const struct conf_pool *conf)
{
	struct pool *pool;

	HASH_FIND_PTR(p->pools, &conf, pool);
	must(pool);
	return pool;
}

struct pool *plan_pool_of(const struct plan *p, const struct backend *b)
{
	struct pool *pool, *next;

	/* in the order of the settings, since they were added so */
	HASH_ITER(hh, p->pools, pool, next)
		if (pool_has(pool, b))
			return pool;
	return NULL;
}

bool pool_has(const struct pool *p, const struct backend *b)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->members[i] == b)
			return true;
	return false;
}

void pool_begin(struct pool *p)
{
	memset(p->unfit, 0, p->n * sizeof *p->unfit);
	/* nearly always there is one tier, and nobody to ask for it */
	for (size_t i = 0; p->n_tiers > 1 && i < p->n; i++)
		p->unfit[i] = backend_tier(p->members[i]) > 0;
}

void pool_open_tier(struct pool *p, unsigned tier)
{
	for (size_t i = 0; i < p->n; i++)
		if (backend_tier(p->members[i]) == tier)
			p->unfit[i] = false;
}
