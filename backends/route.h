/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_ROUTE_H
#define BACKENDS_ROUTE_H
/*
 * route - which pool a login belongs to, or why it is refused
 *
 * The rows "route" of the configuration in their order: the first one whose
 * conditions all hold decides. One that names a table decides only if the
 * table knows the user: the caller asks it and, if it does not, goes on
 * behind that row.
 *
 * A condition is a list: of its elements one must hold (if there are any), and
 * none of those that were written with "!".
 *
 * Shapes   an absent value of the request is empty; so sni = "*" holds also
 *          without SNI, and sni = "?*" does not. user is canonical; its
 *          domain is what stands behind its last "@". Patterns: pattern.h;
 *          those of domain and sni hold in either case, those of user where
 *          users are folded. place and region are never NULL.
 * Errors   route_compile(): NULL with err, "file:line: ...". A condition
 *          fails, whatever else is in its list, where a pattern gives up
 *          (pattern.h; only the operator's own expression does) or where no
 *          database tells what is asked for; the step says so.
 * Owns     a table borrows the snapshot that its rows come from.
 * Thread   its owner's.
 * Not here asking tables.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

#define ROUTE_REFUSE_NONE "[AUTHORIZATIONFAILED] No route for this user."

struct conf_pool;
struct conf_route;
struct conf_table;
struct err;
struct geo_place;
struct region_found;
struct route_table;

struct route_request {
	struct str user;
	struct addr client;
	const struct geo_place *place;	/* the client's */
	const struct region_found *region;
	struct str listener;		/* its title */
	struct str sni;
};

enum route_outcome_kind {
	ROUTE_TO_POOL,
	ROUTE_TO_TABLE,
	ROUTE_REFUSED,
};

struct route_outcome {
	enum route_outcome_kind kind;
	const struct conf_pool *pool;	/* TO_POOL */
	const struct conf_table *table;	/* TO_TABLE */
	size_t next;			/* TO_TABLE: the row behind */
	const char *text;		/* REFUSED: behind "NO " */
	const struct conf_route *route;	/* who decided; NULL: nobody did */
};

enum route_condition {
	ROUTE_USER,
	ROUTE_DOMAIN,
	ROUTE_REGION,
	ROUTE_COUNTRY,
	ROUTE_ASN,
	ROUTE_NETWORK,
	ROUTE_LISTENER,
	ROUTE_SNI,
	ROUTE_PERCENT,
	ROUTE_ALL_HOLD,
};

/* One row that was looked at; the last one told has ALL_HOLD, if any has. */
struct route_step {
	const struct conf_route *route;
	enum route_condition failed;	/* the first that did not hold */
	bool gave_up;			/* because a pattern did */
	bool is_untold;			/* because a database is missing */
};

typedef void route_explain_fn(void *arg, const struct route_step *step);

struct route_table *route_compile(const struct conf_route *const *routes,
    size_t n, bool fold_users, struct err *err);
void route_free(struct route_table **t);

/* Looks at the rows from number first on. explain may be NULL. */
struct route_outcome route_find(const struct route_table *t, size_t first,
    const struct route_request *r, route_explain_fn *explain, void *arg);

/* "network": the setting's name; "" for ALL_HOLD. */
const char *route_condition_name(enum route_condition c);
#endif
