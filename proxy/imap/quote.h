/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_QUOTE_H
#define IMAP_QUOTE_H
/*
 * quote - writes strings so that IMAP reads back exactly these bytes
 *
 * Shapes   a string may hold any bytes, from anybody; no function writes one
 *          in a form in which it could end the string, or the line.
 * Units    bytes.
 * Errors   a writer that returns false wrote nothing: the form does not suit
 *          the bytes (ask quote_form() first), or `out` is full.
 * Owns     nothing.
 * Source   RFC 9051, 9 (astring, quoted, literal); RFC 7888 (LITERAL-).
 * Not here literals that need an answer before their bytes: the caller
 *          writes the head, waits for "+", and writes the bytes.
 */
#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/str.h"

#define QUOTE_LITERAL_MINUS_MAX 4096	/* RFC 7888, 5 */

enum quote_form {
	QUOTE_QUOTED = 0,	/* ASCII without NUL, CR and LF */
	QUOTE_LITERAL,		/* anything without NUL */
	QUOTE_NEITHER,		/* NUL: only literal8 and base64 hold it */
};

/* The plainest form that every server reads. */
enum quote_form quote_form(struct str s) __attribute__((warn_unused_result));

/* May s stand as an atom? (A non-empty one; NIL is not for an atom.) */
bool quote_is_atom(struct str s) __attribute__((warn_unused_result));

/* "..." with \ before \ and ". Only for QUOTE_QUOTED. */
bool quote_string(struct buf *out, struct str s)
    __attribute__((warn_unused_result, nonnull));

/* An atom where s is one, else a quoted string, else {n+} and the bytes, if
 * nonsync_max (QUOTE_LITERAL_MINUS_MAX, for LITERAL-; SIZE_MAX, for LITERAL+;
 * 0, for neither) allows n of them. */
bool quote_astring(struct buf *out, struct str s, size_t nonsync_max)
    __attribute__((warn_unused_result, nonnull));

/* {n} CRLF, or {n+} CRLF where no answer is waited for. */
bool quote_literal_head(struct buf *out, size_t n, bool nonsync)
    __attribute__((warn_unused_result, nonnull));

/* s for a log: control bytes become "?", and at most max bytes are written.
 * A sequence of UTF-8 is not cut in two. */
bool quote_printable(struct buf *out, struct str s, size_t max)
    __attribute__((nonnull));
#endif
