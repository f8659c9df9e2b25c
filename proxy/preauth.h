/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_PREAUTH_H
#define PROXY_PREAUTH_H
/*
 * preauth - the IMAP dialogue before login, client side
 *
 *	client bytes  ->  replies to the client + a verdict
 *
 * A complete server for the not-authenticated state. It never fails and
 * never waits: the caller moves bytes, and acts on verdicts.
 *
 *	preauth_new, preauth_greet
 *	preauth_feed ... MORE      come back with more bytes
 *	                 STARTTLS  flush out, do TLS, preauth_after_tls()
 *	                 LOGIN     ask control; then preauth_refuse(), or log in
 *	                           at the backend and preauth_accept(), with
 *	                           preauth_challenge() in between when the
 *	                           mechanism is relayed
 *	                 RESPONSE  hand preauth_response() to the backend
 *	                 REFUSED   log it; feed again
 *	                 LOGOUT, ABUSE    flush out, close
 *	preauth_free
 *
 * Shapes   in: any split of the client's bytes, also one byte a call. It
 *          takes one command at a time: while a login is open nothing is
 *          eaten, and bytes behind it stay in in, for the backend when it is
 *          accepted, or as further commands when it is refused.
 *          A line ends with CRLF; a bare LF is taken too, as Dovecot does.
 * Units    sizes in bytes.
 * Errors   a bad command is answered BAD and counted. ABUSE when a budget is
 *          spent (BYE is in out), when out overflowed, or when the peer
 *          speaks HTTP (then out has nothing for it).
 * Owns     its line and the credentials, both bounded by config; wiped when
 *          an attempt ends and in preauth_free(). The config is borrowed.
 *          preauth never keeps a pointer into in.
 * Thread   the worker that owns the session.
 * Source   RFC 9051 and RFC 3501, sections 6.1 and 6.2; RFC 2971 (ID); 4959
 *          (SASL-IR); 5161 3.1; 5530; 6855 5; 7888 (LITERAL-).
 * Not here TLS, password checks, deadlines, the commands after login.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"
#include "proxy/base/user.h"
#include "proxy/imap/sasl.h"

struct arena;
struct buf;
struct preauth;

#define PREAUTH_TAG_MAX 100
#define PREAUTH_ID_MAX 1024

/* Shared by all sessions of a listener in one TLS state. */
struct preauth_config {
	size_t line_max;	/* a command without its literals */
	size_t literal_max;	/* all literals of a command together */
	unsigned bad_commands;	/* BYE when so many were bad */
	unsigned failed_logins;	/* BYE when so many failed */
	unsigned commands_max;	/* BYE when so many were good */
	unsigned mechanisms;	/* SASL_BIT()s: what the backends can, too */
	struct str capabilities;/* words to show besides IMAP4rev1, STARTTLS,
				 * LOGINDISABLED and AUTH=; may be empty */
	struct str default_domain;
	enum user_case canonical_case;
	bool starttls;		/* offered here and now */
	bool plaintext_ok;	/* credentials may come now: TLS is active or
				 * the listener does without. Otherwise none
				 * are taken, SCRAM's neither. */
};

enum preauth_verdict {
	PREAUTH_MORE,		/* ate what it could */
	PREAUTH_STARTTLS,	/* OK is in out; what was left in in, dropped */
	PREAUTH_LOGIN,		/* preauth_ident() is complete */
	PREAUTH_RESPONSE,	/* preauth_response() is there */
	PREAUTH_REFUSED,	/* a login was answered NO; preauth_why() */
	PREAUTH_LOGOUT,		/* BYE and OK are in out */
	PREAUTH_ABUSE,		/* preauth_why(); BYE is in out, or nothing */
};

/* Who wants to log in. Valid from PREAUTH_LOGIN until preauth_refuse(),
 * preauth_accept() or preauth_free(). An absent field is empty. */
struct ident {
	enum sasl_mech mech;	/* SASL_LOGIN for the LOGIN command as well */
	struct str user;	/* to route by, as sent: authzid or authcid */
	struct str canonical;	/* the same in the form users are compared in */
	struct str authcid;
	struct str authzid;
	struct str password;	/* PLAIN and LOGIN; never empty there */
	struct str initial;	/* relayed: the first message in base64 */
	struct str tag;
	bool client_asked_capability; /* by command, since TLS began */
};

/* external: the user whom the client's certificate names, or empty; copied.
 * EXTERNAL is offered when it is given and in config->mechanisms. NULL when
 * the arena's limit is passed. */
struct preauth *preauth_new(struct arena *arena,
    const struct preauth_config *config, struct str external);

/* Wipes and frees what is not the arena's; *p becomes NULL. NULL is legal. */
void preauth_free(struct preauth **p);

/* Appends "* OK [CAPABILITY ...] ...". */
void preauth_greet(const struct preauth *p, struct buf *out);

/* Eats from in, appends to out. In PREAUTH_LOGIN and PREAUTH_RESPONSE it
 * eats nothing until one of the four functions below was called. */
enum preauth_verdict preauth_feed(struct preauth *p, struct buf *in,
    struct buf *out) __attribute__((warn_unused_result));

/* NULL while no login is open. */
const struct ident *preauth_ident(const struct preauth *p);

/* Relayed mechanisms: sends the backend's challenge (base64, may be empty)
 * to the client, whose next line makes PREAUTH_RESPONSE. False when it is not
 * base64: nothing was sent, the login is still open. */
bool preauth_challenge(struct preauth *p, struct str base64, struct buf *out)
    __attribute__((warn_unused_result));

/* That line: valid base64 of at most line_max bytes, or empty, or "*" when
 * the client cancels or sent something else. */
struct str preauth_response(const struct preauth *p);

/* The login failed. reply: "NO [CODE] text", without tag and line end; a
 * cancelled exchange is answered BAD whatever reply says. Wipes credentials,
 * tag and SASL state. counts: it is the client's fault. MORE or ABUSE. */
enum preauth_verdict preauth_refuse(struct preauth *p, const char *reply,
    bool counts, struct buf *out) __attribute__((warn_unused_result));

/* The login succeeded: untagged (whole lines with their ends, may be empty),
 * then the tag and reply ("OK [CAPABILITY ...] Logged in."). Wipes like
 * preauth_refuse(). What is in in belongs to the backend now. */
void preauth_accept(struct preauth *p, struct str untagged, struct str reply,
    struct buf *out);

/* TLS is active after PREAUTH_STARTTLS. Whatever the client said before is
 * forgotten, but for what it used up of its budgets. */
void preauth_after_tls(struct preauth *p, const struct preauth_config *config,
    struct str external);

/* The client's ID as a safe list of IMAP strings without the parentheses,
 * "name" "x" "version" "1", at most PREAUTH_ID_MAX bytes; empty: none. Keys
 * that begin with "x-" are left out: only a proxy may set those. */
struct str preauth_client_id(const struct preauth *p);

/* After REFUSED and ABUSE: a constant text for the log. */
const char *preauth_why(const struct preauth *p);

/* The capabilities to show now, "IMAP4rev1 ...", without a line end. */
void preauth_capabilities(const struct preauth *p, struct buf *out);
#endif
