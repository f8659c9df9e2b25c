/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_RESOLVE_H
#define BACKENDS_RESOLVE_H
/*
 * resolve - the addresses behind names, kept fresh without waiting
 *
 *	resolve_watch("mail1.example.net")  ->  PENDING
 *	... the loop turns ...              ->  KNOWN: 192.0.2.1, 2001:db8::1
 *	resolve_fault(192.0.2.1)            ->  KNOWN: 2001:db8::1 comes first
 *
 * A watched name is asked for again when its TTL is over. All its addresses
 * are kept; the first one is in use until somebody finds fault with it.
 *
 * Shapes   a name, or a numeric address, which is KNOWN at once and for good.
 *          The system's hosts file and resolver configuration count. The
 *          same name watched twice is asked for once.
 * Units    TTLs in seconds, bounded by RESOLVE_TTL_MIN_S and _MAX_S.
 * Errors   while a name cannot be resolved its last addresses stay in use;
 *          FAILED when there never were any. Either is logged once, and so
 *          is its end. It is tried again after RESOLVE_RETRY_MIN_S, then
 *          more and more seldom.
 * Owns     its watchers and all names; resolve_unwatch() every watch before
 *          resolve_free().
 * Thread   the loop's. Reads the hosts file, which is short and local;
 *          everything else is asked without blocking.
 * Source   ares_getaddrinfo(3); c-ares is known to resolve.c alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"

#define RESOLVE_TTL_MIN_S 1
#define RESOLVE_TTL_MAX_S 3600
#define RESOLVE_RETRY_MIN_S 1
#define RESOLVE_RETRY_MAX_S 30
#define RESOLVE_ADDRS_MAX 32	/* per name; more are left out */

struct ev_loop;
struct err;
struct resolve;
struct resolve_name;
struct settings_addresses;

enum resolve_state {
	RESOLVE_PENDING,	/* no answer yet */
	RESOLVE_KNOWN,
	RESOLVE_FAILED,		/* no answer so far; is tried again */
};

/* Called when the state or the addresses of some name have changed. */
typedef void resolve_changed_fn(void *owner);

/* servers: empty for the system's. timeout_ms: for one server to answer. NULL
 * with err. changed may be NULL. */
struct resolve *resolve_new(struct ev_loop *loop,
    const struct settings_addresses *servers, uint64_t timeout_ms,
    resolve_changed_fn *changed, void *owner, struct err *err);
void resolve_free(struct resolve **r);

/* Other servers from now on, and all names asked for anew; false with err, and
 * nothing changed. */
bool resolve_configure(struct resolve *r,
    const struct settings_addresses *servers, uint64_t timeout_ms,
    struct err *err);

struct resolve_name *resolve_watch(struct resolve *r, const char *host);
void resolve_unwatch(struct resolve_name **n);

enum resolve_state resolve_state(const struct resolve_name *n);

/* The address in use, with this port; only while KNOWN. */
struct addr resolve_addr(const struct resolve_name *n, unsigned port);
size_t resolve_n_addrs(const struct resolve_name *n);

/* The address did not answer: if it is the one in use, the next one is from
 * now on. */
void resolve_fault(struct resolve_name *n, const struct addr *bad);
#endif
