/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H
/*
 * worker - the process that carries sessions
 *
 * A single-threaded loop: listeners accept, sessions run. All that it needs
 * comes by message: listening sockets and the log from the parent, the
 * configuration with its files, ticket keys and decisions from control. It
 * opens no file.
 *
 * A lost control is waited for: sessions go on, logins wait. A lost parent is
 * the end: sessions get BYE at their next safe point, within WORKER_ORPHAN_S.
 *
 * Thread   its own; everything below is this process's.
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/deadline.h"
#include "proxy/base/stream.h"
#include "proxy/base/tlsctx.h"

struct asked;
struct counted_address;
struct end_order;
struct left_backend;
struct link;
struct listener;
struct session;
struct settings_schema;
struct snapshot;

#define WORKER_ORPHAN_S 5
#define WORKER_FREE_PIPES 16

struct worker {
	struct ev_loop *loop;
	unsigned index;
	unsigned n_workers;
	uint64_t fds_max;		/* descriptors that it may have */
	const struct settings_schema *schema;
	struct link *parent, *control;
	struct snapshot *snapshot;	/* NULL until the first SETTINGS */
	struct bundle *bundle;		/* FILEs before their SETTINGS */
	struct stream_loop streams;
	struct tls_tickets tickets;
	struct {
		char *words;		/* before login, without AUTH= */
		unsigned mechanisms;	/* SASL_BIT()s that backends relay */
	} offer;

	struct listener *listeners;
	bool is_stopping;		/* nothing more is accepted */
	bool is_paused;			/* out of descriptors or sessions */
	bool has_told_pause;
	ev_timer resume;		/* tries again after a pause */

	unsigned n_prelogin;		/* of n_sessions, not yet relayed */
	ev_timer trim;			/* gives back what logins have used */
	struct session *sessions;	/* all that live, utlist */
	struct session *dead;		/* the graveyard of this turn */
	unsigned n_sessions, sessions_max;
	struct counted_address *addresses;	/* connections by address */
	uint64_t next_session;

	int free_pipes[WORKER_FREE_PIPES][2];	/* empty, for splice */
	unsigned n_free_pipes;

	struct end_order *ends;		/* ENDs of this turn, not yet done */
	size_t n_ends, ends_cap;

	struct asked *asked;		/* open questions to control */
	uint64_t next_question;

	struct deadline_class login_limit;	/* accept to login */
	struct deadline_class idle_limit;	/* nothing moves */
	struct deadline_class half_limit;	/* one side has closed */
	struct deadline_class linger_limit;	/* last words go out */
	struct left_backend *left;	/* backends that died, by name */
	ev_timer grace;			/* STOP: what is left ends now */
	ev_prepare turn;		/* the end of each turn */
};

struct worker_start {
	const struct settings_schema *schema;	/* admin/ knows it, we not */
	unsigned n_workers;			/* who share limits.sessions */
};

/* Runs until it is told to stop and its last session has ended. fd: the link
 * to the parent. Returns the process's exit status. */
int worker_main(int fd, unsigned index, const struct worker_start *start);

/* A session needs its prelogin part no more. */
void worker_login_ended(struct worker *w);

/* A session has ended: accept again, if that was waited for; and if the
 * worker is stopping and it was the last, end. */
void worker_session_ended(struct worker *w);
#endif
