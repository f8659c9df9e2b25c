/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_HEALTH_H
#define BACKENDS_HEALTH_H
/*
 * health - watches over the backends: checks them, and hears how logins went
 *
 *	checks, by settings (check.h)  \
 *	                                ->  each one's condition (condition.h)
 *	logins of sessions             /
 *
 * Besides it learns what each backend can do, so that control knows what may
 * be offered to clients before login and workers can send a login in one
 * round trip; for that every backend is asked once in HEALTH_LOOK_S at the
 * least, whatever the type of its checks. What is known stays known.
 *
 * A login counts as failed when the backend did not take it for reasons of
 * its own, and when it was late: HEALTH_LATE_MS, and outlier_factor times
 * what is usual in the pool (the median of its backends).
 *
 * A check whose user is refused says that the check is wrong, not the
 * backend: an expired password must not stop all mail. It is logged as an
 * error, once.
 *
 * Units    seconds of clock.h; ms in names.
 * Errors   none; what was found stands in conditions. Each change of state
 *          is one line of the log (change.h), a certificate near
 *          its end one a day (event=backend_certificate).
 * Owns     its connections, at most HEALTH_CHECKS_MAX at once.
 * Thread   the loop's.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backends/login.h"

#define HEALTH_LOOK_S 60.
#define HEALTH_LOOK_LIMIT_S 10.	/* for one, where there are no checks */
#define HEALTH_RETRY_MIN_S 2.
#define HEALTH_RETRY_MAX_S 30.
#define HEALTH_CHECKS_MAX 256
#define HEALTH_STEP_S 0.5	/* of a slow start */
#define HEALTH_LATE_MS 1000
#define HEALTH_USUAL_MIN 5	/* logins that a backend's usual time needs */

struct backend;
struct ev_loop;
struct farm;
struct health;
struct place;

/* Some backend's capabilities have changed. */
typedef void health_heard_fn(void *owner);

/* A backend's state has changed, or its weight has (backend_weight()). */
typedef void health_changed_fn(void *owner, struct backend *b);

/* farm and place must outlive it. Idle until health_start(). */
struct health *health_new(struct ev_loop *loop, struct farm *farm,
    const struct place *place, health_heard_fn *heard,
    health_changed_fn *changed, void *owner);
void health_free(struct health **h);

/* Watches all backends of the farm from now on. */
void health_start(struct health *h);

/* The farm was updated: who has come is watched, who has left is not, and the
 * checks of the others go on. */
void health_update(struct health *h);

/* To be called before the farm is configured anew. */
void health_stop(struct health *h);

/* How a session's attempt at a backend ended. */
struct health_login {
	enum login_failure failure;	/* NONE: logged in; _end, CANCELLED:
					 * that says nothing */
	bool is_greeted;	/* before it nobody but the backend is to blame */
	uint64_t ms;		/* all of it; 0: its client was waited for */
	uint64_t key;		/* condition_key() */
	uint64_t user;		/* a hash, not 0 */
};

void health_login(struct health *h, struct backend *b,
    const struct health_login *l);
#endif
