/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_CONDITION_H
#define BACKENDS_CONDITION_H
/*
 * condition - how one backend is, as far as was observed
 *
 *	        fall failed checks                fall failed checks
 *	  +-------------------------> DOWN <-----------------------+
 *	  |                             |                          |
 *	 UP <---------------------------+                          |
 *	  ^       rise good checks                                 |
 *	  |                                                        |
 *	  +--- fall failed logins -------------------------> PROBING
 *	  <--- a good login, or rise good checks that prove one ---+
 *
 * Only a check makes a backend DOWN: what real logins tell is partly their
 * clients' doing, so it makes it doubtful. A PROBING backend gets one login at
 * a time, its trial, and after one that failed a pause; what others say then,
 * which may have begun before, is not heard. Without checks (type = none)
 * there is no DOWN.
 *
 * At the beginning nothing is known, and the first check alone decides; so it
 * is when the backend has another address.
 *
 * Who comes back UP comes slowly: condition_share() is the part of its weight
 * that it gets, from CONDITION_SHARE_MIN to 1.
 *
 * Shapes   login failures of one user in a row count once, where that user
 *          may be the reason: a broken mailbox is no broken backend. user is
 *          a hash; 0: whoever it was, it was not their doing. key stands for
 *          a login: condition_key().
 * Units    seconds of clock.h.
 * Errors   none.
 * Owns     nothing.
 * Thread   its owner's. Pure: time and chance come from the caller.
 * Not here timers and checks (health), what the operator wants.
 */
#include <stdbool.h>
#include <stdint.h>

#define CONDITION_WHY_MAX 200
#define CONDITION_SHARE_MIN 0.05

enum condition_state {
	CONDITION_UP,
	CONDITION_PROBING,
	CONDITION_DOWN,
};

struct condition_rules {
	bool is_checked;	/* from time to time, beside real logins */
	bool check_proves;	/* a good check says as much as a login */
	unsigned rise, fall;
	double interval_s, fast_interval_s, slow_start_s;
};

struct condition {
	enum condition_state state;
	double since_s;
	char why[CONDITION_WHY_MAX];	/* empty: so from the beginning */
	bool is_proven;		/* the first check is over */
	unsigned good_checks, bad_checks, bad_logins;
	uint64_t bad_user;	/* of the last failure that counted */
	double up_s;		/* when it came back; 0: it was always up */
	uint64_t trial;		/* PROBING: the login that is let through */
	double try_after_s;	/* the next one is not, before */
};

/* "up", "probing", "down" */
const char *condition_word(enum condition_state state);

void condition_init(struct condition *c, double now_s);

/* It may be another server now: the next check decides alone. */
void condition_doubt(struct condition *c);

/* All below: true when the state has changed. */

/* Other rules may hold: without checks nobody stays DOWN. */
bool condition_rule(struct condition *c, const struct condition_rules *r,
    double now_s);

bool condition_check_ok(struct condition *c, const struct condition_rules *r,
    double now_s);
bool condition_check_failed(struct condition *c,
    const struct condition_rules *r, const char *why, double now_s);

bool condition_login_ok(struct condition *c, uint64_t key, double now_s);
bool condition_login_failed(struct condition *c,
    const struct condition_rules *r, uint64_t key, uint64_t user,
    const char *why, double now_s);

/* A session's login; never 0. */
static inline uint64_t condition_key(uint64_t worker, uint64_t session)
{
	return ((worker << 48) ^ session) | 1ull << 63;
}

/* Whether it may get a login now. Who gets one while PROBING is told by
 * condition_try(): the next one waits until the result is here, or the limit
 * is over; condition_untry() says that there is no result. Who goes there
 * meanwhile all the same is no trial. */
bool condition_is_fit(const struct condition *c, double now_s);
void condition_try(struct condition *c, uint64_t key, double limit_s,
    double now_s);
void condition_untry(struct condition *c, uint64_t key, double now_s);

/* Time to the next check, within a tenth of the interval; chance: 0 to 1. */
double condition_delay(const struct condition *c,
    const struct condition_rules *r, double chance);

/* The part of its weight that it gets. */
double condition_share(const struct condition *c,
    const struct condition_rules *r, double now_s);
#endif
