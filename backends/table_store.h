/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TABLE_STORE_H
#define BACKENDS_TABLE_STORE_H
/*
 * table_store - a table on disk: LMDB's file, memory-mapped
 *
 *	FILE		the data: keys and values as bytes, one database
 *	FILE-lock	who reads and writes: belongs to that data
 *
 * Any number of processes may read while one writes; readers never wait. A
 * writer must not reuse what somebody still reads, which is what FILE-lock
 * is for: who reads must be able to write to that one.
 *
 * FILE may be replaced by rename. The lock file is then an old one's as long
 * as somebody holds the old file; who opens meanwhile sees that the two do
 * not belong together, and waits or tries again. table_build renames both.
 * FILE must not be written to by anything else, or cut.
 *
 * Shapes   keys: 1..TABLE_STORE_KEY_MAX bytes; other keys are MISSING.
 * Errors   err, with the path.
 * Owns     its map and descriptors. A process opens a file only once.
 * Thread   one at a time per store. Blocks on disk where the pages looked at
 *          are not in memory, and for other writers if it writes.
 * Source   lmdb.h, which is included by table_store*.c alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/table.h"

#define TABLE_STORE_KEY_MAX 511

struct err;
struct table_store;
struct table_build;

enum table_store_mode {
	TABLE_STORE_READ,
	TABLE_STORE_WRITE,	/* creates it */
	TABLE_STORE_LOOK,	/* without locks: to see whether it is good;
				 * no look-ups */
};

/* wait_s: for those who hold an old file that was replaced. */
struct table_store *table_store_open(const char *path,
    enum table_store_mode mode, double wait_s, struct err *err);
void table_store_close(struct table_store **s);

/* FOUND: copied to "to". */
enum table_verdict table_store_get(struct table_store *s, struct str key,
    char to[TABLE_VALUE_MAX], struct str *value_out, struct err *err);

bool table_store_set(struct table_store *s, struct str key, struct str value,
    struct err *err);
enum table_verdict table_store_del(struct table_store *s, struct str key,
    struct err *err);

/* In the order of keys; ends when visit() says false. */
typedef bool table_store_visit_fn(void *arg, struct str key,
    struct str value);
bool table_store_each(struct table_store *s, table_store_visit_fn *visit,
    void *arg, struct err *err);

uint64_t table_store_n(struct table_store *s);

/* The path names another file now (or none), or this one was cut, or the last
 * look-up found that FILE-lock belongs to another file. */
bool table_store_is_replaced(const struct table_store *s);

/* This one was cut: its pages must not be touched. Two system calls cheaper
 * than a crash. */
bool table_store_is_cut(const struct table_store *s);

/* Makes FILE-lock, so that this account can use it. For root. */
bool table_store_give_lock(const char *path, uid_t uid, gid_t gid,
    struct err *err);

/* --- a new file ------------------------------------------------------------------ */

/* A file beside path, which becomes path when it is complete. */
struct table_build *table_build_new(const char *path, struct err *err);

/* In ascending order of bytes. */
bool table_build_add(struct table_build *b, struct str key, struct str value,
    struct err *err);

/* The new file takes the old one's place, owner and mode. */
bool table_build_finish(struct table_build *b, struct err *err);

/* What is not finished leaves nothing behind. */
void table_build_free(struct table_build **b);
#endif
