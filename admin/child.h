/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CHILD_H
#define ADMIN_CHILD_H
/*
 * child - the life of one other role's process
 *
 *	child_start() -> on_started() -> on_message()... -> on_ended()
 *	     ^                                                  |
 *	     +---------- child_restart(), after a while --------+
 *
 * The child is this program again (exec), with no descriptor but 0, 1, 2 and
 * the link to the parent at CHILD_FD, with less rights (privileges.h), and
 * deaf to the signals that a terminal or a service manager sends to all
 * processes of a service: the parent speaks for them.
 *
 * Units    seconds.
 * Errors   a process that cannot be started counts as one that died.
 * Owns     the process and the link; a link that breaks while the process
 *          lives gives it CHILD_ORPHAN_S to end.
 * Thread   the parent's default loop.
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child;
struct link;
struct msg;
struct privileges;

#define CHILD_FD         3
#define CHILD_ORPHAN_S   10.
#define CHILD_WAIT_MIN_S 0.1	/* after the second death, and doubling */
#define CHILD_WAIT_MAX_S 10.
#define CHILD_STEADY_S   30.	/* who lived so long begins anew */
#define CHILD_EXIT_SETUP 126	/* it could not even begin */

typedef void child_fn(struct child *c);
typedef void child_message_fn(struct child *c, const struct msg *m);

struct child {
	const char *role;		/* "control" or "worker" */
	unsigned index, n_workers;
	int program;			/* of child_open_program() */
	const struct privileges *privileges;
	child_fn *on_started;		/* the link is new: tell it all */
	child_message_fn *on_message;
	child_fn *on_ended;		/* status says how; it was logged */
	void *owner;

	pid_t pid;			/* 0: there is none */
	int status;			/* of the last, as from waitpid() */
	struct link *link;		/* NULL: there is none */
	uint64_t ready;			/* generation; for the owner */
	ev_child exited;
	ev_timer timer;			/* the next start, or SIGKILL */
	ev_tstamp started;
	unsigned n_deaths;		/* in a row, none of them steady */
};

/* The program that runs now, to be started again also when its file has been
 * replaced; -1 with errno. (Not exec of /proc/self/exe: that is valgrind's
 * own program under valgrind, where readlink() tells the truth.) */
int child_open_program(void);

/* The caller has filled in what stands before the empty line. */
void child_start(struct child *c);

/* After on_ended(): at once the first time, later with a growing wait. */
void child_restart(struct child *c);

/* SIGKILL, if it lives. */
void child_kill(struct child *c);

/* Stops the watchers, kills; for the end. */
void child_fini(struct child *c);
#endif
