/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PLACE_H
#define BACKENDS_PLACE_H
/*
 * place - who is where: the one table of all live sessions
 *
 *	worker + session  ->  user, backend, client
 *	user              ->  that user's sessions
 *	backend, address  ->  how many
 *
 * A session is here from its GRANT to its RELEASE. Workers hold the truth: a
 * new control fills the table from their SESSION messages, and forgets what
 * a dead worker had.
 *
 * Shapes   a session is named by its worker and the number it has there;
 *          the worker is a number that control gives to each link and never
 *          gives again. user is canonical. What begins at a client is
 *          counted per IPv4 address and per IPv6 /64, the least that a site
 *          has.
 * Errors   taking a known session replaces what was known of it; releasing
 *          an unknown one does nothing: a message may be late.
 * Owns     copies of all it is told. Views it gives are valid until the
 *          next change.
 * Thread   control's.
 * Cost     about 320 bytes per session of a user of their own; all questions
 *          are answered without a walk, but for those about one user's or
 *          one worker's sessions.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

struct place;

struct place_session {
	uint64_t worker, session;
	struct str user, backend;
	struct addr client;		/* the port is not kept */
	uint64_t since_ms;		/* Unix time */
};

struct place *place_new(void);
void place_free(struct place **p);

void place_take(struct place *p, const struct place_session *s);

/* False: there was none. */
bool place_release(struct place *p, uint64_t worker, uint64_t session);
bool place_find(const struct place *p, uint64_t worker, uint64_t session,
    struct place_session *out);

/* Forgets all of a worker's sessions; says how many. */
size_t place_drop_worker(struct place *p, uint64_t worker);

size_t place_n(const struct place *p);
size_t place_n_users(const struct place *p);
size_t place_n_user(const struct place *p, struct str user);
size_t place_n_backend(const struct place *p, struct str backend);
size_t place_n_backend_users(const struct place *p, struct str backend);
size_t place_n_worker(const struct place *p, uint64_t worker);
size_t place_n_address(const struct place *p, const struct addr *client);

/* Where the user's newest session is; empty: nowhere. */
struct str place_user_backend(const struct place *p, struct str user);

/* The user's sessions, the oldest first. visit must not change the table. */
typedef void place_visit_fn(void *arg, const struct place_session *s);
void place_user(const struct place *p, struct str user, place_visit_fn *visit,
    void *arg);

/* The backend's sessions, the oldest first, until visit says false; it must
 * not change the table. */
typedef bool place_find_fn(void *arg, const struct place_session *s);
void place_backend(const struct place *p, struct str backend,
    place_find_fn *visit, void *arg);

/*
 * Walks over all sessions (the oldest told first) or all users, as far in one
 * go as the walker likes: the table may change between two steps. Who is
 * there from the first step to the last is met; who comes or goes may be.
 */
struct place_walk;
struct place_walk *place_walk_sessions(struct place *p);
struct place_walk *place_walk_users(struct place *p);
void place_walk_free(struct place_walk **w);

/* False: there is no more. Of a user the newest session is shown, and *n_out
 * says how many there are; n_out may be NULL. */
bool place_walk_next(struct place_walk *w, struct place_session *out,
    size_t *n_out);
#endif
