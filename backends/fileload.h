/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_FILELOAD_H
#define BACKENDS_FILELOAD_H
/*
 * fileload - a file read by a thread, and again whenever it changes
 *
 *	fileload_new()  ->  load(), in a thread  ->  done(), on the loop
 *	                         ^___ the file has changed ___|
 *
 * For files that are too big to be read on a loop, which stops nobody's login
 * then. One load runs at a time; a change meanwhile is followed by another.
 *
 * Shapes   what load() makes it leaves with the owner, in fields that nobody
 *          else touches before done().
 * Errors   load()'s are its owner's. Without a thread done() is called with
 *          was_run false, perhaps before fileload_new() returns.
 * Owns     a copy of path.
 * Thread   the loop's, but for load(), which must give up soon after *stop
 *          becomes true: fileload_free() waits for it. done() must not free
 *          it.
 */
#include <stdatomic.h>
#include <stdbool.h>

struct ev_loop;
struct fileload;

struct fileload_owner {
	void (*load)(void *owner, const atomic_bool *stop);
	void (*done)(void *owner, bool was_run);
};

/* The first load begins at once. */
struct fileload *fileload_new(struct ev_loop *loop, const char *path,
    const struct fileload_owner *calls, void *owner);

/* done() is not called any more; what a load has left is the owner's. */
void fileload_free(struct fileload **l);
#endif
