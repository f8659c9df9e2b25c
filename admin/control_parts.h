/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CONTROL_PARTS_H
#define ADMIN_CONTROL_PARTS_H
/*
 * control_parts - control from the inside: for control.c and the verbs
 *
 * The verbs look at these parts and ask them; what changes a session or a
 * process goes through the functions below.
 *
 * Thread   control's.
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/tickets.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"

#undef uthash_fatal
#define uthash_fatal(msg) die("control: %s", msg)
#include <uthash.h>

/* A worker, as long as its link lives. */
struct peer {
	UT_hash_handle hh;
	uint64_t id;			/* never given twice */
	unsigned index;
	uint64_t pid;			/* as it says; 0 before that */
	bool is_synced;
	struct link *link;
	struct control *control;
};

struct control {
	struct ev_loop *loop;
	struct link *parent;		/* NULL: it is dead */
	struct peer *peers;		/* by id */
	uint64_t next_peer;
	uint64_t awaited;		/* PEERs that the parent will send */
	struct bundle *bundle;		/* FILEs before their SETTINGS */
	struct settings *settings;
	uint64_t generation;		/* of settings; 0: none yet */
	struct resolve *resolve;
	struct farm *farm;
	struct health *health;
	struct place *place;
	struct tables *tables;
	struct auth *auth;
	struct moves *moves;
	struct drains *drains;
	struct geo *geo;
	struct decide *decide;
	struct tickets tickets;
	struct keep *keep;		/* what the operator has ordered */
	bool has_keep;			/* its file was read, if there is one */
	struct console *console;
	struct orders *orders;
	struct buf words, mechanisms;	/* CAPABILITIES, as last sent */
	ev_timer sync;			/* the longest wait for workers */
	ev_timer turn_keys;
	ev_timer end;			/* STOP's grace */
	double started;
	uint64_t parent_started_s;	/* Unix time */
	bool is_serving;
	bool is_stopping;
};

/* Orders the end of a session, at its next safe point or now; why is a word of
 * proxy/reasons.def. False: its worker is gone, and so is the session. */
bool control_end_session(struct control *c, uint64_t worker, uint64_t session,
    const char *why, bool now);

/* Logins under way at the backend go on at another one at once. */
void control_leave_backend(struct control *c, struct str backend);
#endif
