/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_MOVES_H
#define BACKENDS_MOVES_H
/*
 * moves - users on their way to another backend, and users who are held
 *
 *	hook "before" -> END to all of the user's sessions there -> they are
 *	gone -> settle -> hook "after" -> the user's logins go on
 *
 * Meanwhile logins of this user wait, and nobody else's: so a user is never
 * at two backends, and the old one has time to write its indexes. Sessions
 * end between two commands only. When some do not within moves.timeout, the
 * move is given up, the user stays, and whoever ordered it may try again; or,
 * with a deadline, they are cut off then.
 *
 * A move that an operator orders is kept before anybody is told of it, hooks
 * and sessions, and until it is over: after a restart it is taken up again,
 * from its beginning.
 *
 * A held user's logins wait, or are refused, until the user is released: for
 * a mailbox that is being migrated. A pinned user's sessions go to one
 * backend, whatever routes and tables say.
 *
 * Shapes   users are canonical, backends titles.
 * Units    seconds; times are clock_now()'s.
 * Errors   done is told: a hook that failed before the move stops it; one
 *          that fails behind it is only logged.
 * Owns     copies of all names; place and keep are borrowed.
 * Thread   control's.
 * Not here where the user goes then: decide. Which orders survive a restart,
 *          and when they are in force again: admin/operator.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

#define MOVES_KEY "move"	/* in keep, of a user: "FROM TO" */

struct conf_moves;
struct err;
struct ev_loop;
struct keep;
struct moves;
struct place;
struct settings;

struct moves_calls {
	/* The session is to end: at its next safe point, or now. */
	void (*end)(void *owner, uint64_t worker, uint64_t session,
	    bool now);
	/* Logins of this user may go on; empty: of all users. */
	void (*go_on)(void *owner, struct str user);
	/* An ordered move has succeeded: the user belongs there now. Is called
	 * before logins go on. */
	void (*moved)(void *owner, struct str user, struct str to);
};

/* keep: NULL where nobody orders moves. */
struct moves *moves_new(struct ev_loop *loop, const struct place *place,
    struct keep *keep, const struct moves_calls *calls, void *owner);

/* Ends all moves, without calling anybody; what is kept stays so. */
void moves_free(struct moves **m);

/* Takes a reference. Moves under way keep what they began with. */
void moves_configure(struct moves *m, struct settings *settings);

/* --- what a login asks ------------------------------------------------------- */

enum moves_gate {
	MOVES_OPEN,
	MOVES_WAIT,		/* until go_on() */
	MOVES_REFUSE,
};

enum moves_gate moves_gate(const struct moves *m, struct str user);

/* Where the user is pinned to; empty: nowhere. */
struct str moves_pin(const struct moves *m, struct str user);

/* A session of the user's has ended. */
void moves_session_ended(struct moves *m, struct str user);

/* Sessions of many users have ended. */
void moves_recheck(struct moves *m);

/* Anybody's sessions may have been ended a moment ago, by a control before
 * this one: logins of users who have none wait until that has settled. */
void moves_settle(struct moves *m);

/* --- moves --------------------------------------------------------------------- */

enum moves_outcome {
	MOVES_DONE,
	MOVES_CUT,		/* the same, by moves_cut() */
	MOVES_STUCK,		/* sessions did not end in time */
	MOVES_FAILED,		/* a hook stopped it */
	MOVES_STOPPED,		/* moves_stop() */
};

const char *moves_outcome_word(enum moves_outcome o);

typedef void moves_done_fn(void *owner, struct str user,
    enum moves_outcome outcome, const char *why);

/* The user leaves from. to: for the hooks; empty when it is not known before.
 * done may be NULL. False: the user is on the way already. */
bool moves_start(struct moves *m, struct str user, struct str from,
    struct str to, moves_done_fn *done, void *owner);

/* The same as an order, which is kept first, and for which moved() is called.
 * False with err: it cannot be. */
bool moves_order(struct moves *m, struct str user, struct str from,
    struct str to, moves_done_fn *done, void *owner, struct err *err)
    __attribute__((warn_unused_result));

/* An order that was not over when control ended, as it was kept. Whoever is
 * on the way already goes on so. False: that is no order. */
bool moves_resume(struct moves *m, struct str user, struct str kept);

/* Nobody is told any more when the user's move is over. */
void moves_leave(struct moves *m, struct str user);

/* What of these moves has not ended is cut off now. from empty: all. */
void moves_cut(struct moves *m, struct str from);

/* The owner's moves end without having been done; done is told. */
void moves_stop(struct moves *m, const void *owner);

bool moves_has(const struct moves *m, struct str user);
size_t moves_n(const struct moves *m);

/* --- holds and pins ------------------------------------------------------------- */

void moves_hold(struct moves *m, struct str user, bool refuses);

/* False: the user was not held. */
bool moves_release(struct moves *m, struct str user);

/* backend empty: no pin any more. */
void moves_set_pin(struct moves *m, struct str user, struct str backend);

struct moves_user {
	struct str user, pin;
	bool is_held, is_refused, is_moving;
	struct str from, to;	/* of a move */
	const char *phase;	/* "noted" "before" "ending" "settling" "after" */
};

/* Everybody who is held, pinned or moving. */
typedef void moves_visit_fn(void *arg, const struct moves_user *u);
void moves_visit(const struct moves *m, moves_visit_fn *visit, void *arg);
#endif
