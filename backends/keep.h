/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_KEEP_H
#define BACKENDS_KEEP_H
/*
 * keep - what an operator has ordered, and what the DNS has told, over reloads
 *        and restarts
 *
 *	kind       name              key     value
 *	"backend"  "mail2"           state   "drain"
 *	"backend"  "mail2"           weight  "50"
 *	"user"     "jan@example.org" hold    ""
 *	"name"     "mail2.test"      0       "192.0.2.2"
 *
 * A small table in memory and in a file. Each change begins to write all of
 * it anew, beside the loop, into a file of its own that then takes the place
 * of the old one: whenever the program is killed, either the old content is
 * there or the new one. Changes that come meanwhile go out together.
 *
 * Shapes   kind and key are words of [a-z0-9-]; name and value any bytes but
 *          NUL. What they mean is their users' matter; what a newer release
 *          has put there is kept.
 * Units    KEEP_* in bytes.
 * Errors   A file that is not as it was written is told (file:line, what was
 *          expected), renamed to PATH.bad-TIME, and the table is empty. One
 *          that cannot be read is left alone: then nothing is written. A
 *          write that fails is told, and tried again after KEEP_AGAIN_S and
 *          with the next change.
 * Owns     copies of all it is told. Views are valid until the next change.
 * Thread   the loop's; a thread of its own writes, and sees a copy.
 * Source   rename(2), fsync(2): the file before, the folder after the rename.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/str.h"

#define KEEP_BACKEND "backend"
#define KEEP_USER    "user"
#define KEEP_NAME    "name"

#define KEEP_WORD_MAX    32
#define KEEP_TEXT_MAX    1024	/* a name, a value */
#define KEEP_RECORDS_MAX 20000
#define KEEP_FILE_MAX    (32u << 20)
#define KEEP_AGAIN_S     10.

struct err;
struct ev_loop;
struct keep;
struct keep_wait;

/* Empty, and in memory only until keep_open(). */
struct keep *keep_new(struct ev_loop *loop);

/* Waits until all is written: for the end. Nobody may wait any more. */
void keep_free(struct keep **k);

/* Reads path, and writes there from now on; a missing file is an empty table.
 * Blocks: for the start. False with err: as said above. */
bool keep_open(struct keep *k, const char *path, struct err *err);

/* p is NULL when there is none; an empty value has one. */
struct str keep_get(const struct keep *k, const char *kind, struct str name,
    const char *key);

/* False with err: too long or too many; nothing has changed then. */
bool keep_set(struct keep *k, const char *kind, struct str name,
    const char *key, struct str value, struct err *err)
    __attribute__((warn_unused_result));

/* key NULL: all of that name. */
void keep_drop(struct keep *k, const char *kind, struct str name,
    const char *key);

/* Those of a kind, the oldest first. visit must not change the table. */
typedef void keep_visit_fn(void *arg, struct str name, const char *key,
    struct str value);
void keep_visit(const struct keep *k, const char *kind, keep_visit_fn *visit,
    void *arg);

/* done is called from the loop when all that was changed so far is on the
 * disk (why is NULL), or a write of it has failed. Without a file it is told
 * so: why says that a restart will forget. */
typedef void keep_done_fn(void *owner, const char *why);
struct keep_wait *keep_wait(struct keep *k, keep_done_fn *done, void *owner);

/* done is not called any more. *w becomes NULL; NULL is legal. It is gone by
 * itself when done is called. */
void keep_cancel(struct keep_wait **w);

/* For the parent: the folder of path must belong to uid, or is made so. Root
 * gives away nothing that is there. */
bool keep_give(const char *path, uid_t uid, gid_t gid, struct err *err)
    __attribute__((warn_unused_result));
#endif
