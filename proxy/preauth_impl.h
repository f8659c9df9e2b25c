/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_PREAUTH_IMPL_H
#define PROXY_PREAUTH_IMPL_H
/*
 * preauth_impl - what preauth.c (lines, commands, budgets) and preauth_sasl.c
 * (credentials) share; for nobody else
 *
 * Every function that returns a verdict has ended the command or attempt
 * with it: return it, touch nothing behind it.
 */
#include "proxy/base/buf.h"
#include "proxy/imap/command.h"
#include "proxy/preauth.h"

struct lex;

/* What the next line of the client is. */
enum expect {
	EXPECT_COMMAND,
	EXPECT_SASL,		/* a message of a SASL exchange, for us */
	EXPECT_RELAY,		/* the same, for the backend */
	EXPECT_DECISION,	/* nothing: a login is open */
	EXPECT_TLS,		/* nothing: TLS comes first */
	EXPECT_OVER,		/* nothing any more */
};

struct preauth {
	const struct preauth_config *config;
	struct arena *arena;
	struct str external;
	struct command command;
	struct buf client_id;
	unsigned n_bad, n_failed, n_commands;
	bool asked_capability;
	const char *why;
	enum expect expect;

	/* One attempt; forget() wipes it. */
	struct buf secret;	/* what ident's views point to */
	size_t n_login_user;	/* LOGIN: the name is in secret, so long */
	bool is_cancelled;
	struct ident ident;
	size_t n_tag;
	char tag[PREAUTH_TAG_MAX];
	char canonical[USER_CANONICAL_MAX];
};

/* A command, with the cursor behind its name. */
typedef enum preauth_verdict preauth_run_fn(struct preauth *p, struct lex *l,
    struct buf *out);

#define COMMAND(name, run, literals, when) preauth_run_fn preauth_run_##run;
#include "proxy/commands.def"
#undef COMMAND

/* The client's line in EXPECT_SASL. */
enum preauth_verdict preauth_take_sasl(struct preauth *p, struct buf *out);

/* Tagged; text is "OK ..." or "NO ...". */
enum preauth_verdict preauth_answer(struct preauth *p, struct buf *out,
    const char *text);

/* Tagged BAD; untagged without a valid tag. */
enum preauth_verdict preauth_bad(struct preauth *p, struct buf *out,
    const char *text);
enum preauth_verdict preauth_bad_arguments(struct preauth *p,
    struct buf *out);

/* A login that needs no backend to fail; why is for the log only. */
enum preauth_verdict preauth_fail(struct preauth *p, struct buf *out,
    const char *why);

bool preauth_offers(const struct preauth *p, enum sasl_mech mech);

/* The LOGIN command hands over a password as PLAIN does: where neither of
 * the two is wanted, it is not wanted either. */
bool preauth_offers_login(const struct preauth *p);
#endif
