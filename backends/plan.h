/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PLAN_H
#define BACKENDS_PLAN_H
/*
 * plan - a configuration in the form in which decide uses it
 *
 *	settings + farm  ->  routes, regions, pools with their members
 *
 * Errors   plan_new(): NULL with err, and the farm is as it was.
 * Owns     a reference to the settings. Its backends are the farm's: a plan
 *          ends before the farm is configured anew.
 * Thread   control's.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/err.h"

#define uthash_fatal(msg) die("decide: %s", msg)
#include <uthash.h>

struct backend;
struct balance;
struct conf_auth;
struct conf_backend;
struct conf_pool;
struct farm;
struct regions;
struct route_table;
struct settings;

struct pool {
	UT_hash_handle hh;
	const struct conf_pool *conf;
	struct balance *balance;
	size_t n;
	struct backend **members;
	unsigned n_tiers;		/* backend_tier() of its members */
	bool is_pending;		/* who are members is not known yet */
	bool *unfit;			/* room for a question's use */
	size_t *load;			/* the same */
	size_t n_fallback;
	struct pool **fallback;
	size_t n_queued;		/* logins that wait for a backend */
};

struct plan {
	struct settings *settings;
	const struct conf_auth *auth;
	struct route_table *routes;
	struct regions *regions;
	bool has_regions;		/* any at all */
	struct pool *pools;		/* by conf */
	unsigned sessions_per_address;
};

/* The pools come with plan_join(), once nothing can fail any more. */
struct plan *plan_new(struct settings *settings,
    unsigned sessions_per_address, struct err *err);
void plan_free(struct plan **p);

/* Makes the pools of the farm's backends; plan_leave() unmakes them. */
void plan_join(struct plan *p, const struct farm *farm);
void plan_leave(struct plan *p);

/* The backend has another weight. */
void plan_weigh(struct plan *p, const struct backend *b);

struct pool *plan_pool(const struct plan *p, const struct conf_pool *conf);

/* The first pool that has it; NULL: none has. */
struct pool *plan_pool_of(const struct plan *p, const struct backend *b);

/* Whether b is a member of it. */
bool pool_has(const struct pool *p, const struct backend *b);

/* For a question: of its members only those of the first tier are fit; then
 * those of the next ones too, as far as they were not found unfit. */
void pool_begin(struct pool *p);
void pool_open_tier(struct pool *p, unsigned tier);
#endif
