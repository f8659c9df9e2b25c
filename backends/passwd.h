/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PASSWD_H
#define BACKENDS_PASSWD_H
/*
 * passwd - a file of users and hashes, read whole and made ready to be searched
 *
 *	line   = user ":" hash [":" uid ":" gid ":" gecos ":" home ":" shell
 *	         [":" extra *(SP extra)]]
 *	hash   = ["{" scheme "}"] crypt / ("!" / "*") anything
 *	extra  = ("pool" / "backend" / "as") "=" value / another program's
 *
 * That is what Dovecot's passwd-file has, so one file may serve both. A hash
 * that begins with ! or * is locked: no password fits it. Fields of Dovecot's
 * that would keep a user out (nologin, allow_nets) are refused, since to pass
 * over them would let the user in; those that route are ours; others mean
 * nothing here.
 *
 * Shapes   fold: the file's users are taken in lower case, as who searches has
 *          them already. Names are those of auth.canonical_case, without
 *          +detail.
 * Units    bytes, as in textfile.h.
 * Errors   NULL with err, "file:line: what is wrong, what was expected (and n
 *          more)"; no hash is ever in it. One bad line, or a user that stands
 *          in two, and the file is not used at all.
 * Owns     a copy of all; it is wiped.
 * Thread   passwd_load() any, since it blocks; the rest one at a time.
 * Not here whether a password fits: auth_file.c.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct err;
struct passwd;

/* Views of the file; absent: empty. */
struct passwd_user {
	struct str hash;	/* for crypt(3); empty: locked */
	struct str pool, backend, as;
};

/* stop: gives up soon after it becomes true; may be NULL. */
struct passwd *passwd_load(const char *path, bool fold,
    const atomic_bool *stop, struct err *err);
void passwd_free(struct passwd **p);

/* A user of the default domain may stand there without it. */
bool passwd_find(const struct passwd *p, struct str canonical,
    struct str default_domain, struct passwd_user *out);

/* The hash of some line, always the same for a name and drawn evenly over all
 * names, so that checking it takes the time that a user's takes; empty: there
 * is none. */
struct str passwd_any_hash(const struct passwd *p, struct str name);

size_t passwd_n(const struct passwd *p);

/* Each user with the line; false as soon as visit() says so. */
typedef bool passwd_visit_fn(void *arg, const struct passwd_user *u,
    unsigned line);
bool passwd_users(const struct passwd *p, passwd_visit_fn *visit, void *arg);
#endif
