/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LDAP_CHECK_H
#define BACKENDS_LDAP_CHECK_H
/*
 * ldap_check - whether texts are what libldap can take
 *
 * Errors   false with err, which names the text.
 * Thread   any; it does not block.
 * Not here placeholders: ldap_text.h. They are filled in already.
 */
#include <stdbool.h>

struct err;

/* Each may be NULL: not checked. */
bool ldap_check(const char *url, const char *dn, const char *filter,
    struct err *err) __attribute__((warn_unused_result));
#endif
