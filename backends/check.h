/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_CHECK_H
#define BACKENDS_CHECK_H
/*
 * check - asks one backend how it is
 *
 *	connect, [PROXY LOCAL,]		CHECK_TCP
 *	[TLS, or greeting, STARTTLS,]	CHECK_TLS
 *	greeting, CAPABILITY,		CHECK_GREETING
 *	login, NOOP, LOGOUT		CHECK_LOGIN
 *
 * The same connector and the same login as those of sessions. A check goes as
 * deep as it was ordered, and tells its result once; the farewell (LOGOUT and
 * what comes of it) goes on behind that.
 *
 * Units    seconds; certificate_ends_s is Unix time.
 * Errors   a result with the kind of failure, as of logins, and why.
 * Owns     its connection. backend, user, password and tls of the order are
 *          borrowed until the check has ended; what a result shows is valid
 *          during the callback only.
 * Thread   the loop's.
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/login.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/stream.h"

struct check;
struct conf_backend;
struct tls_client;

enum check_depth {
	CHECK_NOTHING,
	CHECK_TCP,
	CHECK_TLS,		/* where there is none: as CHECK_TCP */
	CHECK_GREETING,
	CHECK_LOGIN,
};

struct check_order {
	const struct conf_backend *backend;
	struct addr address;
	struct tls_client *tls;		/* NULL: it has no TLS */
	enum check_depth depth;
	double limit_s;			/* for all of it */
	struct str user, password;	/* CHECK_LOGIN */
};

struct check_result {
	enum check_depth reached;
	enum login_failure failure;	/* NONE: as deep as was ordered */
	struct str why;
	struct str capabilities;	/* before login; empty: not heard */
	int64_t certificate_ends_s;	/* 0: none was seen */
};

/* Must leave the check alone. */
typedef void check_end_fn(void *owner, const struct check_result *r);

/* The members are the module's own. */
struct check {
	struct check_order order;
	check_end_fn *on_end;
	void *owner;
	enum {
		CHECK_IDLE,
		CHECK_CONNECTING,	/* with implicit TLS that, too */
		CHECK_DIALOGUE,
		CHECK_NOOP,		/* logged in; its answer is awaited */
		CHECK_LEAVING,		/* the result is told */
	} stage;
	enum check_depth reached;
	int64_t certificate_ends_s;
	struct stream stream;
	struct login login;
	struct buf in, out;
	ev_timer limit;
};

void check_init(struct check *c, struct stream_loop *streams,
    check_end_fn *on_end, void *owner);

/* One that is under way is given up, without a result. The result may come
 * before it returns. */
void check_begin(struct check *c, const struct check_order *order);
void check_stop(struct check *c);

/* The result is still to come. */
bool check_is_busy(const struct check *c);
#endif
