/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_DECIDE_H
#define BACKENDS_DECIDE_H
/*
 * decide - who goes where: a question through the stages to its answer
 *
 *	question -> auth -> route -> balance -> place -> GRANT
 *	              \________\________\________\_____> REFUSE or WAIT
 *
 * auth     who vouches for the user. Today the backend does, by the client's
 *          own credentials; but for EXTERNAL, where the worker has verified
 *          a certificate. Only for a login that is proven so the backend is
 *          given the master user: a password that nobody has checked must
 *          not open a mailbox.
 * route    the pool (route.h).
 * balance  the backend of that pool (balance.h), without those that were
 *          tried already or have no address.
 * place    limits, and the session's lease (place.h).
 *
 * A stage may suspend a question and resume it later: what it needs then was
 * copied. Today only decide_hold() makes questions wait.
 *
 * Shapes   users are made canonical here. excluded: titles of backends with
 *          single spaces between. An answer's text is what the client gets
 *          behind its tag: "NO [UNAVAILABLE] ...".
 * Units    ms in names.
 * Errors   decide_configure(): false with err, and the old configuration
 *          stays in force. A question always gets one answer, unless
 *          decide_forget() comes first.
 * Owns     a reference to the settings; place and farm are borrowed. The
 *          answer and all it shows are valid during the callback only.
 * Thread   control's.
 * Not here messages: control makes questions of them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

#define DECIDE_HELD_MAX 100000	/* questions; what is beyond gets WAIT */
#define DECIDE_WAIT_MS 100

struct decide;
struct err;
struct farm;
struct place;
struct settings;

struct decide_question {
	uint64_t worker, number;	/* whom to answer, and to what */
	uint64_t session;		/* the worker's */
	uint64_t now_ms;		/* Unix time, for the lease */
	struct str user, mechanism, listener, sni;
	struct str excluded, failure;
	struct addr client;
};

enum decide_verdict {
	DECIDE_GRANT,
	DECIDE_REFUSE,
	DECIDE_WAIT,
};

struct decide_answer {
	enum decide_verdict verdict;
	uint64_t worker, number;
	/* GRANT */
	struct str user;		/* log in as */
	struct str master_user, master_password;
	struct str backend, pool, capabilities;
	struct addr address;
	uint64_t deadline_ms;
	/* REFUSE */
	struct str text, reason;
	/* WAIT */
	uint64_t wait_ms;
};

typedef void decide_answer_fn(void *owner, const struct decide_answer *a);

struct decide *decide_new(struct place *place, struct farm *farm,
    decide_answer_fn *answer, void *owner);
void decide_free(struct decide **d);

/* Configures the farm as well. sessions_per_address 0: no limit. */
bool decide_configure(struct decide *d, struct settings *settings,
    unsigned sessions_per_address, struct err *err);

/* The answer may come before it returns. */
void decide_ask(struct decide *d, const struct decide_question *q);

/* While held, questions wait; decide_go() answers them in their order. Held
 * from the beginning. */
void decide_hold(struct decide *d);
void decide_go(struct decide *d);

/* The worker is gone: its questions get no answer. */
void decide_forget(struct decide *d, uint64_t worker);

/* The same way for a person to read, a line at a time; takes no lease. */
typedef void decide_line_fn(void *arg, const char *stage, const char *text);
void decide_explain(struct decide *d, const struct decide_question *q,
    decide_line_fn *line, void *arg);
#endif
