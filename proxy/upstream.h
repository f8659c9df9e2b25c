/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H
/*
 * upstream - the backend's leg until it is logged in
 *
 *	DECIDE   control is asked for a backend
 *	CONNECT  TCP, PROXY header, implicit TLS
 *	LOGIN    the dialogue of backends/login, STARTTLS within it
 *
 * A backend that cannot be used sends the session back to DECIDE with that
 * backend excluded, within one deadline over all attempts; what a backend has
 * judged (a wrong password) sends it back to PREAUTH. One of which control
 * says meanwhile that nobody is to go there is left as one that has failed,
 * but not blamed for it. When the user has moved meanwhile, control is asked
 * again, and the client does not notice.
 *
 * Owns     prelogin's parts "DECIDE" and "CONNECT, LOGIN".
 * Thread   the worker's.
 */
#include "proxy/session.h"

enum step upstream_decide_run(struct session *s);
enum step upstream_connect_run(struct session *s);
enum step upstream_login_run(struct session *s);

/* The backend is not the user's any more. False: it is too late to ask again,
 * or too early; nothing has changed then. */
bool upstream_moved(struct session *s);

/* A login under way at this backend gives it up, as after any failure. */
void upstream_leave(struct session *s, struct str backend);

/* Ends what is under way; wipes the attempt's credentials. */
void upstream_fini(struct session *s);
#endif
