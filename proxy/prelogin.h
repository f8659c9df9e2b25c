/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_PRELOGIN_H
#define PROXY_PRELOGIN_H
/*
 * prelogin - what a session needs until it is relayed, and not a moment longer
 *
 * Each part is written by its own stage (named at the part) and read by the
 * ones behind it. session_forget_prelogin() wipes and frees all of it.
 *
 * Thread   the worker's.
 */
#include <ev.h>

#include "backends/login.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/digits.h"
#include "proxy/preauth.h"
#include <uthash.h>

struct arena;
struct session;

/* The arena holds preauth and names; the buffers have bounds of their own. */
#define PRELOGIN_ARENA_MAX (64 * 1024)
#define PRELOGIN_NAME_MAX 256

/* An attempt at one backend: the grant and the login's dialogue. */
#define ATTEMPT_ARENA_MAX (32 * 1024)
#define ATTEMPTS_MAX 8

enum answer_kind {
	ANSWER_NONE,		/* not asked */
	ANSWER_OPEN,		/* asked; control has not answered */
	ANSWER_GRANT,
	ANSWER_REFUSE,
	ANSWER_WAIT,
};

struct asked {			/* a question to control */
	uint64_t question;
	struct session *session;
	UT_hash_handle hh;
};

struct prelogin {
	struct arena *arena;

	/* frontend: ADMIT, TLS, PREAUTH */
	struct buf in, out;		/* the client's bytes; ours to it */
	struct preauth *preauth;
	struct preauth_config config;
	bool wants_starttls, has_starttls;
	bool is_greeted;
	struct addr local_addr;		/* where the client came in */
	bool is_proxied;		/* as a PROXY header has told */
	const char *tls_cipher;
	char server_name[PRELOGIN_NAME_MAX];	/* SNI */
	char external[PRELOGIN_NAME_MAX];	/* the certificate's user */
	unsigned failed_logins;

	/* DECIDE */
	struct asked asked;
	enum answer_kind answer;
	struct arena *attempt;		/* strings of the answer */
	struct addr address;
	struct str login_as, master_user, master_password, hint;
	struct str login_user, login_password;	/* not the client's own */
	struct str refusal, refusal_reason;
	bool is_denied, ends;		/* with a refusal */
	double wait_s, connect_s, allowed_s;
	struct buf excluded;		/* backends tried, space separated */
	unsigned attempts;
	double decide_at;		/* when the first was asked for */
	double attempt_at;		/* when this one began; 0: not yet */

	/* CONNECT, LOGIN */
	ev_timer limit;			/* on the attempt */
	bool is_timed_out, is_login_open, is_logged_in;
	bool is_left;			/* nobody is to go there any more */
	bool is_challenged, is_awaiting_client;	/* relayed SASL */
	char failure_text[200];
	struct login login;
	struct buf backend_in, backend_out;
	char session_text[DIGITS_HEX];
	char client_ip[ADDR_IP_MAX], local_ip[ADDR_IP_MAX];
	struct login_pair pairs[LOGIN_ID_PAIRS_MAX];
};
#endif
