/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H
/*
 * base64 - RFC 4648 section 4, strict
 *
 * Shapes   the standard alphabet, padded, in one piece: no line ends, no
 *          spaces, no bits left over. The empty text is the empty value.
 * Units    bytes.
 * Errors   decoding anything else fails, and so does a lack of room.
 * Owns     nothing.
 * Thread   any.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct buf;

/* The most that n encoded bytes decode to; what n bytes encode to. */
#define BASE64_DECODED_MAX(n) ((n) / 4 * 3)
#define BASE64_ENCODED(n) (((n) + 2) / 3 * 4)

/* Appends the encoded form; false when out has no room for all of it. */
bool base64_encode(struct buf *out, const void *p, size_t n);

/* Decodes into out, which holds cap bytes. out may be in.p: decoding in
 * place is legal. On failure out may hold a part and *n_out is 0. */
bool base64_decode(struct str in, void *out, size_t cap, size_t *n_out)
    __attribute__((warn_unused_result));

/* Would base64_decode() take it? */
bool base64_is_valid(struct str in);
#endif
