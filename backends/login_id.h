/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LOGIN_ID_H
#define BACKENDS_LOGIN_ID_H
/*
 * login_id - the ID command that tells a backend who the client is
 *
 * The fields that Dovecot honours from login_trusted_networks, in its order,
 * behind the client's own. x-multiplex is never among them: it would change
 * the framing of the connection.
 *
 * Shapes   any bytes in the client's pairs. What could pass for one of our
 *          fields, could not stand in a quoted string, or breaks the limits
 *          of RFC 2971 is left out; a backend that trusts us believes all of
 *          it.
 * Errors   false: no room in out.
 * Owns     nothing.
 * Source   RFC 2971, 3.1 and 3.3.
 */
#include <stdbool.h>

struct buf;
struct login_id;

/* Appends the whole command, tag I. */
bool login_id_write(struct buf *out, const struct login_id *id)
    __attribute__((warn_unused_result, nonnull));
#endif
