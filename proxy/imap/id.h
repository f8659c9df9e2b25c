/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_ID_H
#define IMAP_ID_H
/*
 * id - reads the arguments of a client's ID command
 *
 *	SP ("name" "x" version {1}CRLF 1)   ->   "name" "x" "version" "1"
 *
 * What is kept is rewritten: quoted strings in ASCII without a control byte,
 * fit for a log line and for an ID to a backend. Bytes above 0x7f become
 * "?". Keys that begin with "x-" are left out: they tell a backend who the
 * client is, and only a proxy may say that.
 *
 * Units    bytes; the limits of RFC 2971 3.3.
 * Errors   false: not the arguments of ID, or over a limit. What does not
 *          fit into kept is left out, in whole pairs.
 * Owns     nothing.
 * Thread   any.
 */
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct lex;

#define ID_PAIRS_MAX 30
#define ID_KEY_MAX 30
#define ID_VALUE_MAX 1024

/* kept: its own max is the bound; it is not cleared first. */
bool id_parse(struct lex *l, struct buf *kept)
    __attribute__((warn_unused_result));
#endif
