/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_FRONTEND_H
#define PROXY_FRONTEND_H
/*
 * frontend - the client's leg until it is logged in: TLS, then IMAP
 *
 * Moves bytes between the client's stream and preauth, which knows what to
 * say. The stages DECIDE to LOGIN use it to hear the client meanwhile (absorb)
 * and to answer it.
 *
 * Owns     prelogin's part "frontend".
 * Thread   the worker's.
 */
#include "proxy/session.h"

struct str;

/* Gives the session its prelogin part. */
void frontend_init(struct session *s);
void frontend_fini(struct session *s);

enum step frontend_tls_run(struct session *s);
enum step frontend_preauth_run(struct session *s);

/* The name that the client asked for by TLS: the peer's word, so only what can
 * be a host name is kept. */
void frontend_keep_server_name(struct session *s, struct str name);

/* While a login is under way: takes in what the client pipelines, within
 * limits.pipelined. NEXT, or CLOSE when the client has gone. */
enum step frontend_absorb(struct session *s);

/* Relayed SASL: asks the client. False: the challenge is no base64. */
bool frontend_challenge(struct session *s, struct str base64);

/* NEXT: the client's line is there, base64 or "*"; WAIT; CLOSE. */
enum step frontend_response(struct session *s, struct str *base64_out);

/* What a refused login says to the client and to the log. */
struct refusal {
	const char *reply;	/* "NO [CODE] text" */
	bool counts;		/* against limits.failed_logins */
	bool ends;		/* the connection ends, too */
	struct str why;		/* for the log */
	const char *state;	/* how far the backend's dialogue came; NULL */
};

/* Answers and logs; the step goes back to PREAUTH, or CLOSE. */
enum step frontend_refuse(struct session *s, const struct refusal *r);

/* Sends what is in prelogin's out. */
void frontend_flush(struct session *s);

/* May an untagged BYE be sent before login? */
bool frontend_may_bye(const struct session *s);
#endif
