/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H
/*
 * listener - accepts connections, a few in each turn of the loop
 *
 * A new connection costs a handshake at once, so that what is accepted in a
 * turn bounds how long the established sessions wait in it. The others stay
 * in the kernel's queue, which costs nothing.
 *
 * Errors   without descriptors or memory, or with limits.sessions reached,
 *          accepting pauses until a session has ended or a moment has passed;
 *          clients wait in the queue meanwhile.
 * Owns     the listening sockets, which the parent has, too.
 * Thread   the worker's.
 */
#include <stdint.h>

#include "proxy/base/str.h"

struct worker;

/* Takes over fd; replaces the one of the same name and address. */
void listener_add(struct worker *w, struct str name, struct str address,
    int fd);

/* All are told: those not added since the last call are closed. */
void listener_sweep(struct worker *w);

/* Accepts or not, as the worker's state wants it. */
void listener_update(struct worker *w);
void listener_close_all(struct worker *w);
#endif
