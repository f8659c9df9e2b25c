/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_OPERATOR_H
#define ADMIN_OPERATOR_H
/*
 * operator - what the operator has ordered, put in force and kept
 *
 *	verb -> operator_*() -> farm, moves, drains
 *	                     -> keep, and from there again after a restart
 *
 *	backend mail2           state   "drain"
 *	backend mail2           drain   "rate=5 parallel=20 until=0", and
 *	                                " done" behind it once it is
 *	backend mail2           weight  "50"
 *	backend mail2           state-since, weight-since  "1769853600"
 *	                        while these two are not as usual
 *	user jan@example.org    hold    "wait"
 *	user jan@example.org    pin     "mail3"
 *	user jan@example.org    move    "mail1 mail3"	while it is under way
 *
 * A change of a backend's state or weight is one line of the log (change.h),
 * beside the console's event=order.
 *
 * Shapes   users are canonical, backends titles.
 * Errors   false with err: it could not be kept (keep.h), and was not done.
 * Owns     nothing: all of it is control's.
 * Thread   control's.
 */
#include <stdbool.h>

#include "backends/farm.h"
#include "proxy/base/str.h"

struct control;
struct drain_order;
struct err;

/* After the first configuration, after each reload, and when control begins to
 * serve: what is kept for backends and users is in force again. Drains that
 * were under way go on as soon as all sessions are known, and moves begin
 * again then; before that nobody is let in. */
void operator_restore(struct control *c);

/* order: for DRAIN and MAINTENANCE; NULL: only no new users. who: "uid 0". */
bool operator_set_state(struct control *c, struct str backend,
    enum backend_wish wish, const struct drain_order *order,
    const char *who, struct err *err) __attribute__((warn_unused_result));

/* A drain is done: its end needs no time to settle after a restart. */
void operator_note_drained(struct control *c, struct str backend);

/* weight -1: that of the configuration. */
bool operator_set_weight(struct control *c, struct str backend, int weight,
    const char *who, struct err *err) __attribute__((warn_unused_result));

bool operator_hold(struct control *c, struct str user, bool refuses,
    struct err *err) __attribute__((warn_unused_result));

/* False: the user was not held. */
bool operator_release(struct control *c, struct str user);

bool operator_pin(struct control *c, struct str user, struct str backend,
    struct err *err) __attribute__((warn_unused_result));
void operator_unpin(struct control *c, struct str user);
#endif
