/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H
/*
 * session - one client's connection, from accept to close
 *
 *	any event of either stream  ->  session_run()  ->  the stage's run
 *
 * The stages stand in stages.def. A stage's run function does what can be
 * done now and says what comes next; it never calls another stage. Only
 * session_enter() changes the stage and only session_close() ends a session:
 * it logs the one closing line, tells the client, and moves the session to
 * the graveyard until the loop's turn is over, so that closing inside any
 * callback is legal.
 *
 * Owns     its streams, its prelogin part, a reference to its snapshot.
 * Units    times are seconds of clock.h.
 * Thread   the worker's.
 */
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/deadline.h"
#include "proxy/base/stream.h"
#include "proxy/frame.h"

struct conf_backend;
struct log_line;
struct prelogin;
struct snapshot;
struct snapshot_listener;
struct worker;

enum stage {
#define STAGE(NAME, word, run) STAGE_##NAME,
#include "proxy/stages.def"
	STAGE_end
};

enum reason {
#define REASON(NAME, word, blame, last, text) REASON_##NAME,
#include "proxy/reasons.def"
	REASON_end
};

enum step {
	STEP_NEXT,		/* done; the next stage */
	STEP_MOVED,		/* session_enter() was called */
	STEP_WAIT,		/* for an event */
	STEP_CLOSE,		/* session_fail() said why */
};

#define SESSION_MAGIC 0x5e551017u

struct session {
	unsigned magic;
	uint8_t stage;			/* enum stage */
	uint8_t why;			/* enum reason; NONE while it lives */
	uint8_t ordered;		/* enum reason: end at a safe point */
	bool is_opaque;			/* relay.mode of its time */
	bool has_lease;			/* control counts it */
	bool is_counted;		/* by admit, for its address */
	bool has_proxied_tls;		/* a load balancer ended the TLS */
	char country[2];		/* the client's; NUL: not known */
	uint64_t id;
	struct worker *worker;
	struct snapshot *snapshot;
	const struct snapshot_listener *listener;
	struct session *prev, *next;	/* the worker's list of all */
	struct stream client, backend;
	struct deadline deadline;
	struct addr client_addr;
	struct prelogin *prelogin;	/* NULL once relaying */
	const struct conf_backend *chosen;	/* of the snapshot granted under */
	struct snapshot *chosen_in;
	char *user;			/* canonical; set by a login */
	const char *tls_version;	/* of the client, static text */
	const char *region;		/* the client's, of snapshot; or "" */
	double accepted_at, login_at, active_at;
	uint64_t c2b_bytes, b2c_bytes;	/* relayed */
	struct relay_pipes *pipes;	/* between plain legs */
	struct frame frame;
};

/* Whose deadline it is. */
#define SESSION_OF(d) \
	((struct session *)(void *)((char *)(d) - \
	    offsetof(struct session, deadline)))

/* Takes over the client's connected socket and runs. */
void session_start(struct worker *w, const struct snapshot_listener *listener,
    int fd, const struct addr *client);

/* The only loop over the stages. The session may be gone afterwards. */
void session_run(struct session *s);

/* The only way to another stage. */
void session_enter(struct session *s, enum stage stage);

/* For run functions: notes why and returns STEP_CLOSE. */
enum step session_fail(struct session *s, enum reason why);

/* Ends it now, outside a run function: deadlines, orders. */
void session_close(struct session *s, enum reason why);

/* Ends it as soon as no command is cut: at once before login, unless the user
 * was moved, which a login follows. */
void session_order_end(struct session *s, enum reason why);

/* Drops all that only a login needs; wipes the credentials. */
void session_forget_prelogin(struct session *s);

/* It has none chosen any more. */
void session_forget_backend(struct session *s);

/* The end of a turn of the loop: what was closed in it is freed. */
void session_bury(struct worker *w);

/* Log fields region= and country=, as far as they are known. */
void session_log_region(const struct session *s, struct log_line *l);

const char *stage_word(enum stage stage);
const char *reason_word(enum reason why);
/* An atom's reason; REASON_NONE when there is none of that name. */
enum reason reason_find(struct str word);

/* The run function of the last stage. */
enum step session_linger_run(struct session *s);
#endif
