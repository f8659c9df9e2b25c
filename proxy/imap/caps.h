/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_CAPS_H
#define IMAP_CAPS_H
/*
 * caps - sets of IMAP capabilities
 *
 * A set is its text, as in a CAPABILITY response without that word: words
 * between single spaces, each once, in the order in which the server named
 * them. Case is kept and does not matter.
 *
 * Shapes   the readers take any text and skip what is no capability (empty
 *          words, words with bytes that no atom has). The writers write sets.
 * Units    CAPS_MAX bytes and CAPS_WORD_MAX per word bound a set; what is
 *          beyond is left out.
 * Errors   a word that does not fit is left out: a set may lose words, but
 *          never has a wrong one.
 * Owns     nothing. Writers append to out.
 * Thread   any.
 * Source   RFC 9051, 6.1.1 and 7.2.2; the words: IANA's registry.
 */
#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/str.h"

#define CAPS_MAX      4096
#define CAPS_WORD_MAX 64

/* The next word, which is taken from *rest; empty: there is none. */
struct str caps_next(struct str *rest) __attribute__((nonnull));

bool caps_has(struct str caps, struct str word);

/* Is AUTH=mechanism among them? */
bool caps_has_auth(struct str caps, struct str mechanism);

bool caps_equal(struct str a, struct str b);

/* Appends the words of text, which is not a part of out, to the set in out. */
void caps_add(struct buf *out, struct str text) __attribute__((nonnull));

/* The words of a that are in b, too. */
void caps_intersect(struct buf *out, struct str a, struct str b)
    __attribute__((nonnull));

/* The mechanisms: the words "AUTH=" without that beginning. */
void caps_mechanisms(struct buf *out, struct str caps)
    __attribute__((nonnull));

/* What a client is shown before login, but for STARTTLS, LOGINDISABLED and
 * AUTH=, which the caller knows: what the proxy itself keeps, and those of
 * common (what all backends have before login) that it can let through. */
void caps_before_login(struct buf *out, struct str common)
    __attribute__((nonnull));

/* What a client is shown after login: the words of the backend's set without
 * those that make no sense, or harm, behind a proxy. */
void caps_after_login(struct buf *out, struct str backend)
    __attribute__((nonnull));
#endif
