/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_DECIDE_IMPL_H
#define BACKENDS_DECIDE_IMPL_H
/*
 * decide_impl - what decide.c and its stages share; nobody else's
 *
 * decide.c owns a question's life: it runs the stages, keeps what is
 * suspended, and gives the answer. decide_stages.c asks and judges the user
 * and the route, decide_balance.c chooses a backend.
 */
#include <ev.h>

#include "backends/auth.h"
#include "backends/decide.h"
#include "backends/geo.h"
#include "backends/plan.h"
#include "backends/region.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/user.h"

#define SAY_UNAVAILABLE \
	STR("NO [UNAVAILABLE] Account is temporarily unavailable.")
#define SAY_LIMIT STR("NO [LIMIT] Too many sessions from your address.")
#define SAY_DENIED STR("NO [AUTHENTICATIONFAILED] Authentication failed.")

enum decide_stage {
	DECIDE_AUTH,
	DECIDE_ROUTE,
	DECIDE_BALANCE,
	DECIDE_PLACE,
	DECIDE_LAST,
};

enum decide_step {
	DECIDE_NEXT,
	DECIDE_ANSWERED,		/* the answer is complete */
	DECIDE_SUSPENDED,		/* decision_resume() will be called */
};

/* A decision waits: whose sessions must end, or move, for it to go on. */
struct decide_queue {
	bool is_in;
	bool is_late;			/* it may not wait any longer */
	struct pool *pool;
	bool is_for_user;		/* who is held or on the way */
	struct backend *backend;	/* NULL: any of the pool */
	struct backend *promised;	/* its token will be this login's */
	double until;			/* of clock.h; 0: not waited yet */
};

struct decision_key {
	uint64_t worker, session;
};

/* A question on its way; what it shows lies in text and, as far as sources
 * said it, in notes. */
struct decision {
	struct decide *decide;
	struct decide_question q;
	struct buf text;
	struct arena *notes;		/* NULL: no source was asked */
	char refusal[512];
	char canonical[USER_CANONICAL_MAX];
	enum decide_stage stage;
	bool tries_address;		/* the backend that has just failed
					 * has another one */
	bool is_proven;			/* nobody need check a password */
	struct str user;		/* canonical */
	bool is_located;
	struct geo_place geo;		/* where the client is */
	struct region_found region;
	struct str login_user, login_password;	/* instead of the client's */
	bool has_news;			/* a source has answered */
	struct auth_check *check;	/* under way */
	struct auth_answer verdict;	/* its answer, kept */
	struct table_lookup *lookup;
	struct table_answer found;
	struct table *table;		/* asked last */
	size_t row;			/* the next route to look at */
	struct pool *pool;
	struct backend *pinned;		/* no other one will do */
	struct backend *backend;
	struct decide_queue queue;
	const struct conf_pool *kept_pool;	/* decide_update() runs */
	struct str kept_pin;		/* the name of pinned */
	ev_timer limit;			/* while it is in the queue */
	struct decide_answer answer;
	decide_line_fn *line;		/* NULL: no explanation is wanted */
	decide_explained_fn *explained;
	void *explained_arg;
	bool is_suspended, is_held;
	struct decision_key key;
	UT_hash_handle hh;		/* while suspended; not explanations */
	struct decision *prev, *next;	/* of all suspended */
	struct decision *queue_prev, *queue_next;
};

struct decide {
	struct decide_parts parts;
	struct decide_calls calls;
	void *owner;
	struct plan *plan;		/* NULL until decide_configure() */
	bool is_held;
	struct decision *suspended;	/* the oldest first */
	struct decision *by_session;	/* the same, by key */
	size_t n_suspended;
	struct decision *queue;		/* those of them that wait for room */
	struct decision *spare;		/* NULL, or one to be used again */
};

/* A line of the explanation; cheap when none is wanted. */
void decide_say(const struct decision *dn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* text is what the client gets behind its tag, reason is for the log. */
enum decide_step decide_refuse(struct decision *dn, struct str text,
    const char *reason);
enum decide_step decide_wait(struct decision *dn, const char *why);

/* Copies what a source said to where it stays; empty stays empty. */
struct str decision_note(struct decision *dn, struct str s);

/* What a suspended question waited for is there. */
void decision_resume(struct decision *dn);

/* Leaves the queue, if it is in it. */
void decision_unqueue(struct decision *dn);

/* The token that a backend has promised it, if one has, is for others. */
void decision_break_promise(struct decision *dn);

/* It has as many sessions as it may. */
bool decide_is_full(const struct decide *d, const struct backend *b);

/* The session has its lease no more. False: it had none. */
bool decide_end_lease(struct decide *d, struct decision_key key);

enum decide_step decide_stage_auth(struct decision *dn);
enum decide_step decide_stage_route(struct decision *dn);
enum decide_step decide_stage_balance(struct decision *dn);
enum decide_step decide_stage_place(struct decision *dn);
enum decide_step decide_stage_grant(struct decision *dn);
#endif
