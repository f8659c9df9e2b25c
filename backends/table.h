/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TABLE_H
#define BACKENDS_TABLE_H
/*
 * table - which pool or backend an operator's own data gives a user
 *
 *	user  ->  keys in turn  ->  cache  ->  one request per key  ->  answer
 *	jan@example.org             hit         file, lmdb, redis ...
 *	jan                         stale
 *	@example.org                miss
 *
 * The first key that the source has decides; a key about which the source
 * cannot be asked fails the whole look-up, for the next key might give an
 * answer that is wrong. Who asks for a key that is being asked for waits for
 * the same answer. Remote sources' answers are cached; local ones are asked
 * each time.
 *
 *	value    = "pool" SP name / "backend" SP name / [user "@"] target
 *	target   = "pool" SP name / "backend" SP name / name / host [":" port]
 *						; split at the last "@"
 *
 * A name alone is a pool's or, if none has it, a backend's. A host must be
 * that of a backend's address, and so must the port, if there is one. What
 * names nothing is an error of the source: it is logged, and FAILED.
 *
 * Shapes   user: canonical, any bytes; what no source can have is MISSING.
 * Units    durations as in the settings.
 * Errors   FAILED with why: the source does not answer, is late, or answers
 *          nonsense, and there is no answer within the grace. Sources' troubles are
 *          logged, but not one line per login.
 * Owns     tables_configure() takes a reference to the settings. Answers and
 *          all they show are valid during the callback only.
 * Thread   control's.
 * Not here what a kind of source is like: struct table_kind, table_kinds.c
 *          and the file of each.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/latency.h"
#include "proxy/base/str.h"

#define TABLE_VALUE_MAX 1024	/* bytes of a source's answer */
#define TABLE_KEYS_MAX 3
#define TABLE_FLIGHTS_MAX 10000	/* keys being asked for, per table */

struct conf_backend;
struct conf_pool;
struct conf_table;
struct err;
struct ev_loop;
struct resolve;
struct settings;
struct table;
struct table_lookup;
struct tables;

enum table_verdict {
	TABLE_FOUND,
	TABLE_MISSING,
	TABLE_FAILED,
};

struct table_answer {
	enum table_verdict verdict;
	/* FOUND: one of these three; the first two belong to the settings that
	 * tables_configure() was last given. */
	const struct conf_pool *pool;
	const struct conf_backend *backend;
	struct str target;	/* of an SRV record: its name, or host[:port];
				 * there may be none such now */
	struct str user;	/* log in as; empty: as the client says */
	struct str key, value;	/* what was found, as the source has it */
	bool is_cached;
	bool is_stale;		/* the source is down: from within the grace */
	const char *why;	/* FAILED: for the log */
};

typedef void table_done_fn(void *owner, const struct table_answer *a);

/* --- all tables of a configuration ---------------------------------------- */

/* resolve, for the names of servers, must outlive it. */
struct tables *tables_new(struct ev_loop *loop, struct resolve *resolve);

/* Every look-up must be done or cancelled. */
void tables_free(struct tables **ts);

/* A table whose section is as it was stays, with its cache. Look-ups that
 * wait go on. False with err, and nothing changed. */
bool tables_configure(struct tables *ts, struct settings *settings,
    struct err *err) __attribute__((warn_unused_result));

/* By its section's title; NULL: there is none. Valid until the next
 * tables_configure(). */
struct table *tables_find(const struct tables *ts, const char *name);

/* Whether each table's source could be read, as far as that can be told at
 * once: for the parent and the command line, since it blocks on files. */
bool tables_check(const struct settings *settings, struct err *err)
    __attribute__((warn_unused_result));

/* For root: gives control's account what it must be able to write. */
bool tables_give(const struct settings *settings, uid_t uid, gid_t gid,
    struct err *err) __attribute__((warn_unused_result));

/* --- look-ups --------------------------------------------------------------- */

/* done may be called before it returns; it returns NULL then. */
struct table_lookup *table_lookup(struct table *t, struct str user,
    table_done_fn *done, void *owner);

/* done is not called any more. *l becomes NULL; NULL is legal. */
void table_cancel(struct table_lookup **l);

const char *table_name(const struct table *t);

struct table_counts {
	uint64_t lookups, found, missing, failed;	/* by users */
	uint64_t hits, stale;		/* by keys: from the cache */
	uint64_t requests;		/* by keys: to the source */
	uint64_t requests_failed;
	struct latency latency;		/* of all requests */
	size_t n_cached, n_flights;	/* now */
};

struct table_counts table_counts(const struct table *t);

/* What a value stands for, by the rules above; false with err. *user_out is
 * a part of the value. delimiter: "@", or what the section says. */
bool table_resolve(const struct settings *settings, const char *delimiter,
    struct str value, struct table_answer *out, struct err *err);

/* --- kinds of sources ---------------------------------------------------------- */

/* A key that is asked for. Valid until it is finished or cancelled. */
struct table_request {
	struct str key;		/* 1..USER_CANONICAL_MAX bytes of any value */
	void *state;		/* the kind's own; NULL at first */
};

/* FOUND comes with its value, of up to TABLE_VALUE_MAX bytes, which is copied;
 * FAILED with why. May be called before lookup() returns. r is gone then. */
void table_finish(struct table_request *r, enum table_verdict verdict,
    struct str value, const char *why);

struct table_kind {
	const char *name;
	/* Local: answers come before lookup() returns or as soon as the source
	 * is loaded, and always are the newest; they are not cached, and no
	 * timeout holds. */
	bool is_local;

	/* Must not block. conf and what hangs on it stay valid until free().
	 * fold: keys come with ASCII letters in lower case. NULL with err: the
	 * configuration is refused; a source that is merely away is no error. */
	void *(*new)(const struct conf_table *conf, bool fold,
	    struct ev_loop *loop, struct resolve *resolve, struct err *err);

	/* Begins to ask. Must escape the key for where it goes, or finish it
	 * as MISSING if it cannot be there. */
	void (*lookup)(void *kind, struct table_request *r);

	/* Nobody wants it any more, or it is late: forget r, without
	 * table_finish(). */
	void (*cancel)(void *kind, struct table_request *r);

	/* All requests were finished or cancelled. Never called from inside
	 * table_finish(). */
	void (*free)(void *kind);

	/* For tables_check(); may block; NULL: nothing can be told. */
	bool (*check)(const struct settings *settings,
	    const struct conf_table *conf, bool fold, struct err *err);

	/* For tables_give(); NULL: there is nothing to give. */
	bool (*give)(const struct conf_table *conf, uid_t uid, gid_t gid,
	    struct err *err);
};

/* By enum conf_table_type; NULL with err: it is not installed. In
 * table_kinds.c, or a test's own. */
const struct table_kind *table_kind(unsigned type, struct err *err);
extern const struct table_kind table_file, table_lmdb, table_redis;
extern const struct table_kind table_file, table_lmdb;
extern const struct table_kind table_http;	/* of the module http */
extern const struct table_kind table_ldap;	/* of the module ldap */
#endif
