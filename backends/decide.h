/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_DECIDE_H
#define BACKENDS_DECIDE_H
/*
 * decide - who goes where: a question through the stages to its answer
 *
 *	question -> auth -> route -> balance -> place -> GRANT
 *	              \________\________\________\_____> REFUSE or WAIT
 *
 * auth     who vouches for the user: a driver (auth.h); or the backend, by
 *          the client's own credentials; but for EXTERNAL, where the worker
 *          has verified a certificate. Only for a login that is proven here
 *          the backend is given the master user: a password that nobody has
 *          checked must not open a mailbox. A driver may name the pool or
 *          the backend; then of the routes only refusals still count.
 * route    the pool, or one backend, by where the client is among others
 *          (route.h, table.h, geo.h, region.h).
 * balance  the backend. A user who is held or on the way to another backend
 *          waits first (moves.h). Where users are kept together, the one that has the
 *          user's sessions; otherwise one of the pool (balance.h), or of its
 *          fallback pools. Who is down gets nobody; a doubtful one
 *          (condition.h) one login at a time, or all where there is nobody
 *          else. Where all are full, and where the chosen one has its
 *          logins a second, the question waits in a queue.
 * place    limits, and the session's lease (place.h). A user who comes to
 *          another backend than before moves as a whole: the sessions that
 *          are left elsewhere are told to end.
 *
 * A stage may suspend a question, and others go on meanwhile. Nothing that
 * one question waits for holds up another's.
 *
 * Shapes   users are made canonical here. excluded: titles of backends with
 *          single spaces between. An answer's text is what the client gets
 *          behind its tag: "NO [UNAVAILABLE] ...".
 * Units    ms in names.
 * Errors   decide_configure(): false with err, and the old configuration
 *          stays in force. A question always gets one answer, unless
 *          decide_release() or decide_drop_worker() comes first.
 * Owns     a reference to the settings; its parts are borrowed. A question
 *          is copied, and its password wiped. The answer and all it shows
 *          are valid during the callback only.
 * Thread   control's.
 * Not here messages: control makes questions of them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

#define DECIDE_OPEN_MAX 100000	/* questions; what is beyond gets WAIT */
#define DECIDE_WAIT_MS 100

struct auth;
struct backend;
struct decide;
struct decision;
struct err;
struct ev_loop;
struct farm;
struct geo;
struct moves;
struct place;
struct settings;
struct tables;

struct decide_question {
	uint64_t worker, number;	/* whom to answer, and to what */
	uint64_t session;		/* the worker's */
	struct str user, mechanism, listener, sni;
	struct str excluded, failure;	/* of the last of the excluded */
	struct addr failed_address;	/* the same; none: not known */
	struct addr client;
	/* for drivers of auth */
	struct str password;
	unsigned attempt;
	struct addr local;
	bool is_proxied, has_tls;
	struct str tls_version, tls_cipher, certificate;
};

enum decide_verdict {
	DECIDE_GRANT,
	DECIDE_REFUSE,
	DECIDE_WAIT,
};

struct decide_answer {
	enum decide_verdict verdict;
	uint64_t worker, number;
	/* GRANT */
	struct str user;		/* log in as; for a master's authzid */
	struct str login_user, login_password;	/* instead of the client's */
	struct str master_user, master_password;
	struct str backend, pool, capabilities;
	struct addr address;
	uint64_t deadline_ms;
	/* REFUSE */
	struct str text, reason;
	bool is_denied;			/* wrong credentials: it counts */
	bool ends;			/* the connection ends, too */
	/* GRANT and REFUSE: where the client is, as far as it is known */
	struct str region, country;
	/* WAIT */
	uint64_t wait_ms;
};

/* Borrowed; they must outlive it. */
struct decide_parts {
	struct ev_loop *loop;
	struct place *place;
	struct farm *farm;
	struct tables *tables;
	struct auth *auth;
	struct moves *moves;
	struct geo *geo;		/* NULL: nobody knows where clients are */
};

struct decide_calls {
	void (*answer)(void *owner, const struct decide_answer *a);
	/* The session is to end, for its user has moved. */
	void (*end)(void *owner, uint64_t worker, uint64_t session);
};

struct decide *decide_new(const struct decide_parts *parts,
    const struct decide_calls *calls, void *owner);
void decide_free(struct decide **d);

/* Configures farm, tables and auth as well. Questions that wait begin anew;
 * how long they may wait stays.
 * sessions_per_address 0: no limit. */
bool decide_configure(struct decide *d, struct settings *settings,
    unsigned sessions_per_address, struct err *err);

/* The farm is outdated: pools get the backends that there are now, the farm
 * is updated. Questions that wait for a backend choose again. */
void decide_update(struct decide *d);

/* The answer may come before it returns. */
void decide_ask(struct decide *d, const struct decide_question *q);

/* While held, questions wait; decide_go() answers them in their order. Held
 * from the beginning. */
void decide_hold(struct decide *d);
void decide_go(struct decide *d);

/* The session has ended: its lease, or its question, is no more. */
void decide_release(struct decide *d, uint64_t worker, uint64_t session);

/* There may be room at the backend for logins that wait; or it has fallen, and
 * those that it has promised a turn go elsewhere. */
void decide_wake(struct decide *d, const struct backend *b);

/* The backend has another weight. */
void decide_weigh(struct decide *d, const struct backend *b);

/* Logins of this user, or of all when it is empty, may go on (moves.h). */
void decide_go_on(struct decide *d, struct str user);

/* The worker is gone, and so are its questions and sessions. */
void decide_drop_worker(struct decide *d, uint64_t worker);

/* The same way for a person to read, a line at a time; takes no lease, and
 * asks no driver of auth. explained is called at the end, perhaps before it
 * returns; then it returns NULL. */
typedef void decide_line_fn(void *arg, const char *stage, const char *text);
typedef void decide_explained_fn(void *arg, const struct decide_answer *a);
struct decision *decide_explain(struct decide *d,
    const struct decide_question *q, decide_line_fn *line,
    decide_explained_fn *explained, void *arg);

/* explained is not called any more. *e becomes NULL; NULL is legal. */
void decide_explain_cancel(struct decision **e);

/* Logins that wait now: for a source, or in a pool's queue. */
size_t decide_n_suspended(const struct decide *d);
#endif
