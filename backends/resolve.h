/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_RESOLVE_H
#define BACKENDS_RESOLVE_H
/*
 * resolve - the addresses behind names, kept fresh without waiting
 *
 *	resolve_watch("mail1.example.net")  ->  PENDING
 *	... the loop turns ...              ->  KNOWN: 192.0.2.1, 2001:db8::1
 *
 *	resolve_watch("srv+_imap._tcp.example.net")
 *	... the loop turns ...              ->  KNOWN: imap1.example.net:143,
 *	                                        priority 10, weight 60, ...
 *
 * A watched name is asked for again when its TTL is over.
 *
 * Shapes   a name; or a numeric address, which is KNOWN at once and for good;
 *          or SETTINGS_SRV_MARK and the name of an SRV record, which has targets
 *          instead of addresses: none when it says that there is no such
 *          service. The system's hosts file and resolver configuration count
 *          for addresses. The same name watched twice is asked for once.
 * Units    TTLs in seconds, bounded by RESOLVE_TTL_MIN_S and _MAX_S.
 * Errors   while a name cannot be resolved its last addresses or targets stay
 *          in use, also those that resolve_recall() has told; FAILED when
 *          there never were any. Either is logged once,
 *          and so is its end. It is tried again after RESOLVE_RETRY_MIN_S,
 *          then more and more seldom.
 * Owns     its watchers and all names; resolve_unwatch() every watch before
 *          resolve_free().
 * Thread   the loop's. Reads the hosts file, which is short and local;
 *          everything else is asked without blocking.
 * Source   ares_getaddrinfo(3), ares_query(3); c-ares is known to resolve*.c
 *          alone. RFC 2782.
 * Not here which of the addresses to take: farm.
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
#define RESOLVE_TARGETS_MAX 64	/* the same */
#define RESOLVE_HOST_MAX 254	/* of a name, with its NUL */

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

/* What an SRV record names. */
struct resolve_target {
	char host[RESOLVE_HOST_MAX];	/* in lower case */
	uint16_t port;
	uint16_t priority;		/* the lowest serves first */
	uint16_t weight;
};

/* Called when the state, the addresses or the targets of some name have
 * changed. */
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

size_t resolve_n_addrs(const struct resolve_name *n);

/* In no order that means anything. */
struct addr resolve_addr(const struct resolve_name *n, size_t i,
    unsigned port);

/* By priority, then by name and port. */
size_t resolve_n_targets(const struct resolve_name *n);
const struct resolve_target *resolve_target(const struct resolve_name *n,
    size_t i);

/* Another number whenever the targets are others than before. */
unsigned resolve_version(const struct resolve_name *n);

/*
 * For who keeps answers longer than this process lives. An answer is a list
 * of words, in their order: "192.0.2.1", or "10 60 143 imap1.example.net"
 * (priority, weight, port, host).
 */
#define RESOLVE_WORD_MAX (RESOLVE_HOST_MAX + 20)
#define RESOLVE_WORDS_MAX RESOLVE_TARGETS_MAX

/* All names but numeric addresses; visit must not watch or unwatch. */
typedef void resolve_visit_fn(void *arg, struct resolve_name *n);
void resolve_visit(const struct resolve *r, resolve_visit_fn *visit,
    void *arg);

/* NULL: nobody watches it. */
const struct resolve_name *resolve_find(const struct resolve *r,
    struct str host);
const char *resolve_host(const struct resolve_name *n);

/* KNOWN, and the last question was answered. */
bool resolve_is_fresh(const struct resolve_name *n);

/* It is new, or its state or answer is, since this was asked last. */
bool resolve_take_news(struct resolve_name *n);
size_t resolve_n_words(const struct resolve_name *n);
const char *resolve_word(const struct resolve_name *n, size_t i,
    char to[RESOLVE_WORD_MAX]);

/* What was known before: in use when the name cannot be resolved, as if it had
 * been heard now. Nothing happens when there is an answer already; words that
 * are none are left out. */
void resolve_recall(struct resolve_name *n, const struct str *words,
    size_t n_words);
#endif
