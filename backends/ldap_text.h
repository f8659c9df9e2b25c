/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LDAP_TEXT_H
#define BACKENDS_LDAP_TEXT_H
/*
 * ldap_text - users' names in the texts of LDAP
 *
 *	(&(objectClass=mailUser)(mail=%s))   uid=%n,ou=people,dc=%d
 *
 *	%s %u	the whole name
 *	%n	the part before its last @
 *	%d	the rest; empty where there is none
 *	%%	a percent sign
 *
 * Whatever a name holds, it stays inside its value: every byte that is not
 * plainly harmless is written as a backslash and two hexadecimal digits, which
 * filters and names both have.
 *
 * Shapes   a template is NUL-terminated; a name has any bytes.
 * Errors   false with err: a template is not good for what it is for.
 * Owns     the caller gets a text, free().
 * Thread   any.
 * Source   RFC 4515, section 3 (filters); RFC 4514, section 2.4 (names).
 */
#include <stdbool.h>

#include "proxy/base/str.h"

struct err;

/* letters: which placeholders may stand there, "und"; one must. */
bool ldap_text_check(const char *template, const char *letters,
    struct err *err) __attribute__((warn_unused_result));

/* As checked. */
char *ldap_text_fill(const char *template, struct str name)
    __attribute__((malloc, returns_nonnull));

/* One or more of ldap://host[:port], ldaps://... and ldapi://path, with
 * spaces between them. is_tls_out: all are ldaps; is_local_out: all are this
 * host, where nobody listens in. */
bool ldap_text_check_urls(const char *urls, bool *is_tls_out,
    bool *is_local_out, struct err *err) __attribute__((warn_unused_result));
#endif
