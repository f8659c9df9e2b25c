/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_ADMIT_H
#define PROXY_ADMIT_H
/*
 * admit - who may come in: the PROXY header and the limit per address
 *
 * A connection from a network of proxy_protocol_from must begin with a PROXY
 * header, and counts as its source says. Nobody else may send one: there it
 * is taken for what a client says, and fails as such.
 *
 * sessions_per_address is counted here per worker, so that a flood is turned
 * away before TLS; control counts the logins of all workers exactly.
 *
 * Thread   the worker's.
 */
#include "proxy/session.h"

enum step admit_run(struct session *s);

/* The session ends: its address has one connection less. */
void admit_forget(struct session *s);
#endif
