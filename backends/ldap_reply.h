/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LDAP_REPLY_H
#define BACKENDS_LDAP_REPLY_H
/*
 * ldap_reply - what a directory's messages say to a search or a bind
 *
 * Errors   FAILED with why: more than one entry or value, a referral, and
 *          every result but those that say yes or no.
 * Owns     what the reply shows, until ldap_reply_fini().
 * Thread   the loop's.
 * Source   RFC 4511, sections 4.1.9, 4.2.2 and 4.5.2.
 */
#include <ldap.h>
#include <stdbool.h>

#include "backends/ldap_client.h"
#include "proxy/base/err.h"

struct ldap_reply {
	struct ldap_client_reply reply;
	struct err why;
	char *dn;
	struct berval **values[LDAP_CLIENT_ATTRIBUTES];
};

/* result: the last message; entry: the first of n_entries, or NULL. is_base:
 * one entry was asked for by its name, and may be missing. */
void ldap_reply_to_search(struct ldap_reply *r, LDAP *ld,
    LDAPMessage *result, LDAPMessage *entry, size_t n_entries, bool is_base,
    const char *const *attributes);
void ldap_reply_to_bind(struct ldap_reply *r, LDAP *ld, LDAPMessage *result);
void ldap_reply_fini(struct ldap_reply *r);
#endif
