/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_KEEP_FILE_H
#define BACKENDS_KEEP_FILE_H
/*
 * keep_file - the file of keep: its form, and how it is replaced
 *
 *	mailweir-state 1
 *	backend "mail2" state "drain"
 *	user "jan \"J\"\x09@example.org" hold ""
 *	end 2
 *
 * Shapes   one record a line; in quotes \" \\ and \xHH for control bytes. The
 *          last line says how many there are, so that a file that was cut is
 *          known.
 * Errors   err: "PATH:LINE: what is wrong; expected ..."
 * Thread   any: it blocks on the file.
 * Source   rename(2), fsync(2).
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct buf;
struct err;

enum keep_file_verdict {
	KEEP_FILE_READ,		/* also when there is no file */
	KEEP_FILE_CORRUPT,
	KEEP_FILE_UNREADABLE,
};

/* False with err: the record cannot be. */
typedef bool keep_file_record_fn(void *arg, const char *kind, struct str name,
    const char *key, struct str value, struct err *err);

enum keep_file_verdict keep_file_read(const char *path,
    keep_file_record_fn *record, void *arg, struct err *err);

/* Renames it to PATH.bad-TIME, which err tells behind what it says already;
 * false: it stays. */
bool keep_file_put_aside(const char *path, struct err *err);

void keep_file_begin(struct buf *out);
void keep_file_put(struct buf *out, const char *kind, struct str name,
    const char *key, struct str value);
void keep_file_end(struct buf *out, size_t n_records);

/* Puts the text in place of what is there, wholly or not at all. */
bool keep_file_write(const char *path, struct str text, struct err *err)
    __attribute__((warn_unused_result));
#endif
