/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_PARTING_H
#define PROXY_PARTING_H
/*
 * parting - sessions whose backend has died, until their client is told
 *
 *	the backend's leg ends -> BYE now, or in this session's turn
 *
 * All sessions of a backend that dies end at once, and their clients would
 * all come back at once. So the first few are told now and the others one
 * after the other over the pool's disconnect_spread: as if a rate had been
 * set that ends them all in that time. A session that ends alone ends at
 * once. Meanwhile what the client sends is thrown away, and control counts
 * the session no more.
 *
 * Units    seconds.
 * Errors   none.
 * Owns     the worker's table of backends that sessions have left.
 * Thread   the worker's.
 */
#include "proxy/session.h"

/* For relay: the backend has ended the session, and why. */
enum step parting_begin(struct session *s, enum reason why);

/* The run function of the stage PARTING. */
enum step parting_run(struct session *s);

/* When no session is left. */
void parting_fini(struct worker *w);
#endif
