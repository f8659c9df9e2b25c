/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_USER_H
#define BASE_USER_H
/*
 * user - what a user name is, and the form in which users are compared
 *
 *	raw         Jan+lists@Example.ORG   Jan*admin (a master user's login)
 *	canonical   jan@example.org         jan@default.domain
 *
 * Routing, placement, limits and kicks all use the canonical form, so that
 * one user is one user everywhere. A backend is told the raw name.
 *
 *	raw       = name [ "*" master ]
 *	name      = local [ "+" detail ] [ "@" domain ]
 *
 * Shapes   raw: 1..USER_MAX bytes of UTF-8 without control characters.
 * Units    bytes.
 * Errors   false: not a name.
 * Thread   any.
 * Not here Unicode case and normalisation: only ASCII letters are folded.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

#define USER_MAX 256
#define USER_CANONICAL_MAX 512 /* a name, "@" and the default domain */
#define USER_DETAIL_SEPARATOR '+'
#define USER_MASTER_SEPARATOR '*'

enum user_case {
	USER_CASE_LOWER,
	USER_CASE_KEEP,
};

/* Well-formed UTF-8 (RFC 3629): no surrogates, no overlong forms. */
bool user_is_utf8(struct str s);

/* The same without control characters, of any length. */
bool user_is_text(struct str s);

/* A raw name as above. */
bool user_is_valid(struct str raw);

/* Writes the canonical form of raw to out (not NUL-terminated) and its
 * length to *n_out. False when raw is not valid or nothing would be left,
 * or it does not fit. An empty default_domain is not appended. */
bool user_canonical(struct str raw, struct str default_domain,
    enum user_case fold, char out[USER_CANONICAL_MAX], size_t *n_out)
    __attribute__((warn_unused_result));
#endif
