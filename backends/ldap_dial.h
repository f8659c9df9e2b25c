/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LDAP_DIAL_H
#define BACKENDS_LDAP_DIAL_H
/*
 * ldap_dial - makes a connection to a directory, on a thread
 *
 *	name, TCP, TLS, bind or a first question  ->  a handle that never blocks
 *
 * Even where nobody binds the server is asked something: one that stands
 * still takes connections for a while, and would look alive.
 *
 * Units    each step takes o->timeout_s at most.
 * Errors   done() gets no handle, and why.
 * Owns     the options are copied; the handle is done()'s.
 * Thread   the loop's; done() is called there, and not after
 *          ldap_dial_cancel() or the blocker's end.
 */
#include <ldap.h>
#include <stdbool.h>

struct blocker;
struct err;
struct ldap_client_options;
struct ldap_dial;

typedef void ldap_dial_done_fn(void *owner, LDAP *ld, const char *why);

/* ca_fd: a file with o->ca in it, or -1. NULL with err: there is no thread. */
struct ldap_dial *ldap_dial_new(struct blocker *b,
    const struct ldap_client_options *o, int ca_fd, ldap_dial_done_fn *done,
    void *owner, struct err *err);
void ldap_dial_cancel(struct blocker *b, struct ldap_dial **d);

/* What libldap and the server say of a result. */
void ldap_dial_explain(LDAP *ld, int result, struct err *err);
#endif
