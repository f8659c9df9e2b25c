/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_HOOK_H
#define BACKENDS_HOOK_H
/*
 * hook - runs an operator's program beside the loop
 *
 *	hook_start(program, arguments)  ->  done(exit status)
 *
 * Shapes   the arguments go as they are, no shell looks at them. The program
 *          has no standard input, and its output goes to where the log's
 *          standard error goes.
 * Units    seconds.
 * Errors   done is told what went wrong: it could not be started, did not end
 *          in time (it is killed then, with all of its process group), was
 *          killed, or its status was not 0.
 * Owns     its process until it has ended; hook_cancel() kills it.
 * Thread   the loop's.
 */
struct ev_loop;
struct hook;

/* why: NULL when all went well. */
typedef void hook_done_fn(void *owner, const char *why);

/* arguments end with NULL; the first one is not the program's name. done is
 * never called before it returns. */
struct hook *hook_start(struct ev_loop *loop, const char *program,
    const char *const *arguments, double limit_s, hook_done_fn *done,
    void *owner);

/* done is not called any more. *h becomes NULL; NULL is legal. */
void hook_cancel(struct hook **h);
#endif
