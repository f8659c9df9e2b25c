/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H
/*
 * deadline - many time limits, one timer per class
 *
 * All deadlines of a class have the same length, so those that began first
 * end first: a FIFO list and one timer serve any number of sessions, and an
 * idle session has no timer of its own.
 *
 * Units    seconds of clock.h, which nobody can set.
 * Owns     nothing: a struct deadline lives in its session; it must be
 *          stopped before its memory goes.
 * Errors   none. The callback gets a deadline that is already out of its
 *          list; it may start it again or free what holds it.
 * Thread   the loop's.
 */
#include <ev.h>
#include <stdbool.h>

struct deadline {
	struct deadline *prev, *next;	/* both NULL: not running */
	double at;
};

typedef void deadline_fn(struct deadline *d, void *owner);

struct deadline_class {
	ev_timer timer;
	struct ev_loop *loop;
	struct deadline head;		/* a ring */
	double length_s;
	deadline_fn *fn;
	void *owner;
};

void deadline_class_init(struct deadline_class *c, struct ev_loop *loop,
    double length_s, deadline_fn *fn, void *owner);
void deadline_class_fini(struct deadline_class *c);

/* (Re)starts d: it ends length_s from now. A changed length_s of the class
 * holds for deadlines started from then on; a shorter one may come late by
 * the difference. */
void deadline_start(struct deadline_class *c, struct deadline *d);
void deadline_stop(struct deadline *d);

static inline bool deadline_class_is_idle(const struct deadline_class *c)
{
	return c->head.next == &c->head;
}

static inline int deadline_is_running(const struct deadline *d)
{
	return d->next != NULL;
}
#endif
