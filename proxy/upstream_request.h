/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_UPSTREAM_REQUEST_H
#define PROXY_UPSTREAM_REQUEST_H
/*
 * upstream_request - what a backend is told about the client
 *
 * From who logs in, the grant and the backend's settings: the request for
 * backends/login, and the PROXY header. A backend gets the client's address by
 * ID or by the PROXY header, never by both: Dovecot checks its trust in ID
 * against the address that the PROXY header gave.
 *
 * Owns     the request's views point into prelogin.
 * Thread   the worker's.
 */
#include <stdbool.h>

struct buf;
struct session;

/* Sees to prelogin's local_addr, unless a PROXY header has told it. */
void upstream_find_local_address(struct session *s);

/* Begins the dialogue: login_init(). */
void upstream_request_open(struct session *s);

/* Appends the PROXY header when the backend wants one. False: no room. */
bool upstream_request_header(struct session *s, struct buf *out);
#endif
