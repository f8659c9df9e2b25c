/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_DRAIN_H
#define BACKENDS_DRAIN_H
/*
 * drain - empties backends, user by user
 *
 *	the backend's oldest session -> its user -> moves_start()
 *
 * So many users a second and so many at once as was ordered. A user whose
 * sessions are busy is tried again when those that were have ended; what is
 * left at the deadline is cut off. A drain is done when
 * the backend has no session, which is one line of the log
 * (event=drained), and begins again should one appear.
 *
 * Shapes   backends by title; there is one drain a backend, and an order for
 *          one that is under way replaces it, its counts included.
 * Units    seconds; times are clock_now()'s; rates in users a second.
 * Errors   none: what does not move is counted, with the last reason.
 * Owns     its drains; moves and place are borrowed.
 * Thread   control's.
 * Not here that no new user comes to the backend: farm's wish.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

#define DRAIN_PARALLEL 20	/* where none is ordered */
#define DRAIN_AGAIN_S 5.	/* to a user whose move failed */

struct drains;
struct ev_loop;
struct moves;
struct place;

struct drain_order {
	double rate;		/* 0: by over_s, or without limit */
	double over_s;		/* all users within so long; 0: by rate */
	unsigned parallel;	/* moves at once; 0: DRAIN_PARALLEL */
	double deadline_s;	/* from now on; 0: none */
	bool is_done;		/* it was, before a restart */
};

struct drain_status {
	struct str backend;
	struct drain_order order;
	double rate;		/* that it comes to */
	bool is_done;
	size_t n_sessions, n_users;	/* left */
	size_t n_moving;
	/* users so far; stuck, failed: each try; cut: those of moved whose
	 * sessions ended by the deadline */
	uint64_t n_moved, n_stuck, n_failed, n_cut;
	const char *why;	/* the last that did not move and is there
				 * still; "" */
	double began, ended;
};

/* A drain is done. */
typedef void drain_done_fn(void *owner, const struct drain_status *s);

struct drains *drains_new(struct ev_loop *loop, const struct place *place,
    struct moves *moves, drain_done_fn *done, void *owner);
void drains_free(struct drains **d);

void drain_start(struct drains *d, struct str backend,
    const struct drain_order *order);

/* The rate that the order comes to with the users who are there now. */
double drain_rate(const struct drains *d, struct str backend,
    const struct drain_order *order);

/* Users on the way stay where they are. False: there is no drain. */
bool drain_stop(struct drains *d, struct str backend);

/* False: there is none, and was none since the last drain_stop(). */
bool drain_find(const struct drains *d, struct str backend,
    struct drain_status *out);
#endif
