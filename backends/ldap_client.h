/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LDAP_CLIENT_H
#define BACKENDS_LDAP_CLIENT_H
/*
 * ldap_client - searches and binds at a directory, without waiting for it
 *
 *	call  ->  queue  ->  link with room  ->  answer
 *	                     up / connecting / down
 *
 * A link is one connection. It is made on a thread, since libldap blocks on
 * names, TCP and TLS, and then served by the loop. One that is lost, or silent
 * for timeout_s with calls open, fails what it carries. Then a connection is
 * tried anew after a pause that grows and is a little different each time, and
 * until one is there calls fail at once.
 *
 * A bind changes who a connection is, and nothing else may be under way
 * meanwhile: binds need a client of their own, with n_parallel = 1 and without
 * bind_dn.
 *
 * Shapes   dn, filter: as ldap_text.h makes them. Referrals are not followed.
 * Units    seconds, bytes.
 * Errors   FAILED with why. A call for which there is no hope or no room
 *          now is not begun: NULL with err.
 * Owns     the options are copied, but for the attributes. A reply is valid
 *          during the callback only. Passwords are wiped; libldap's copies of
 *          them are not.
 * Thread   the loop's.
 * Source   RFC 4511; ldap_dial makes the connections.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

#define LDAP_CLIENT_ATTRIBUTES 3	/* at most */
#define LDAP_CLIENT_QUEUE 1000		/* calls that wait for a link */

struct err;
struct ev_loop;
struct ldap_client;
struct ldap_client_call;

struct ldap_client_options {
	const char *url;	/* one or more, tried in turn */
	bool starttls, verifies;
	struct str ca;		/* PEM */
	const char *bind_dn;	/* "": nobody */
	struct str bind_password;
	double timeout_s;
	unsigned n_links, n_parallel;	/* calls per link */
	const char *const *attributes;	/* to ask for; NULL at the end */
};

enum ldap_client_verdict {
	LDAP_CLIENT_YES,	/* one entry; or the password is right */
	LDAP_CLIENT_NO,		/* no entry; or it is not */
	LDAP_CLIENT_FAILED,
};

struct ldap_client_reply {
	enum ldap_client_verdict verdict;
	struct str dn;		/* of the entry */
	struct str values[LDAP_CLIENT_ATTRIBUTES];	/* empty: has none */
	const char *why;	/* FAILED, NO of a bind */
};

typedef void ldap_client_done_fn(void *owner,
    const struct ldap_client_reply *r);

struct ldap_client *ldap_client_new(const struct ldap_client_options *o,
    struct ev_loop *loop, struct err *err);

/* All calls must be done or cancelled. Not from inside done(). */
void ldap_client_free(struct ldap_client **c);

/* done is never called before it returns. filter NULL: the entry that has the
 * name base; else the one below base. */
struct ldap_client_call *ldap_client_search(struct ldap_client *c,
    const char *base, const char *filter, ldap_client_done_fn *done,
    void *owner, struct err *err);

/* The password must not be empty: that would be no bind at all (RFC 4513,
 * section 5.1.2). */
struct ldap_client_call *ldap_client_bind(struct ldap_client *c,
    struct str dn, struct str password, ldap_client_done_fn *done,
    void *owner, struct err *err);

/* done is not called any more. */
void ldap_client_cancel(struct ldap_client_call *call);

extern const char ldap_client_library[];	/* "libldap 2.5.13" */
#endif
