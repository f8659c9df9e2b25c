/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_FILEWATCH_H
#define BACKENDS_FILEWATCH_H
/*
 * filewatch - tells when a file has become another
 *
 * Looks at the file once in FILEWATCH_S. One that was replaced by rename is
 * told at once; one that is written in place, when it has not changed from one
 * look to the next; one that is gone, when it still is at the next look.
 *
 * A stat(2) per second costs less than to understand every file system's
 * notices, and sees changes on those that give none.
 *
 * Errors   none: a file that cannot be seen is one that is gone.
 * Owns     a copy of path.
 * Thread   the loop's. The file should be on a local disk: stat(2) blocks.
 */
#define FILEWATCH_S 1.

/* FILEWATCH_S; tests may have less patience. */
extern double filewatch_interval_s;

struct ev_loop;
struct filewatch;

/* May free the watch. */
typedef void filewatch_fn(void *owner);

/* Tells of what happens from now on. */
struct filewatch *filewatch_new(struct ev_loop *loop, const char *path,
    filewatch_fn *changed, void *owner);
void filewatch_free(struct filewatch **w);
#endif
