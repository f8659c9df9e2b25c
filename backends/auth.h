/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_AUTH_H
#define BACKENDS_AUTH_H
/*
 * auth - who may log in, by a source other than the backend
 *
 *	user, secret, where from  ->  driver  ->  OK / DENIED / FAILED
 *	                              file http ldap
 *
 * With auth.driver = none there is nothing here to ask (auth_is_asked()): the
 * backend checks the client's own credentials.
 *
 * Shapes   user: as the client wrote it, of 1..USER_MAX valid bytes; password: never
 *          empty, unless is_proven. A DENIED text stands behind "NO ", and
 *          may begin with a response code (RFC 5530); empty: the usual text.
 * Units    ms in names.
 * Errors   FAILED with why: the source does not answer, is late, or answers
 *          nonsense. That is never told to a client as a wrong password.
 *          Troubles are logged, but not one line per login.
 * Owns     auth_configure() takes a reference to the settings; auth_ask()
 *          copies the request and wipes it at its end. The answer and all it shows are valid
 *          during the callback only.
 * Thread   control's.
 * Not here what a driver is like: struct auth_kind, auth_kinds.c, and the
 *          file of each.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backends/latency.h"
#include "proxy/base/addr.h"
#include "proxy/base/str.h"

struct auth;
struct auth_check;
struct conf_auth;
struct err;
struct ev_loop;
struct settings;

/* What is known of a login; absent: empty. */
struct auth_login {
	struct str user;	/* as the client wrote it */
	struct str canonical;	/* as users are compared */
	struct str password;
	bool is_proven;		/* by a certificate: there is no password */
	unsigned attempt;	/* 1.. on its connection */
	struct addr client, local;
	bool is_proxied;	/* both were told by a PROXY header */
	struct str listener, sni;
	bool has_tls;
	struct str tls_version, tls_cipher;	/* "TLSv1.3" */
	struct str certificate;	/* of the client: DER */
};

enum auth_verdict {
	AUTH_OK,
	AUTH_DENIED,
	AUTH_FAILED,
};

struct auth_answer {
	enum auth_verdict verdict;
	/* OK: each may be absent */
	struct str user;	/* log in at the backend as */
	struct str password;	/* and by */
	struct str pool, backend;	/* titles */
	struct addr address;	/* of a backend; AF_UNSPEC: none */
	/* DENIED */
	struct str text;
	bool ends;		/* the connection ends with the answer */
	const char *why;	/* FAILED, DENIED: for the log */
};

typedef void auth_done_fn(void *owner, const struct auth_answer *a);

struct auth *auth_new(struct ev_loop *loop);

/* Every check must be done or cancelled. */
void auth_free(struct auth **a);

/* A driver whose settings are as they were stays. Checks under way at another
 * one go on. False with err, and nothing changed. */
bool auth_configure(struct auth *a, struct settings *settings,
    struct err *err) __attribute__((warn_unused_result));

/* False: the backend decides, do not ask. */
bool auth_is_asked(const struct auth *a);

/* done may be called before it returns; it returns NULL then. */
struct auth_check *auth_ask(struct auth *a, const struct auth_login *login,
    auth_done_fn *done, void *owner);

/* done is not called any more. *c becomes NULL; NULL is legal. */
void auth_cancel(struct auth_check **c);

/* Whether the source could be read, as far as that can be told at once: for
 * the parent and the command line, since it blocks on files. */
bool auth_test(const struct settings *settings, struct err *err)
    __attribute__((warn_unused_result));

struct auth_counts {
	uint64_t checks, ok, denied, failed;
	struct latency latency;	/* of all checks */
	size_t n_open;		/* now */
};

struct auth_counts auth_counts(const struct auth *a);

/* --- drivers ------------------------------------------------------------------ */

/* A check under way. Valid until it is finished or cancelled. */
struct auth_request {
	struct auth_login login;
	void *state;		/* the driver's own; NULL at first */
};

/* What the answer shows is used before it returns. May be called before
 * check() returns. r is gone then. */
void auth_finish(struct auth_request *r, const struct auth_answer *answer);

struct auth_kind {
	const char *name;
	/* False: auth.timeout does not hold, since the answer costs time of
	 * ours and not of a server (hashing passwords), or is put off by the
	 * server's own wish. The client's own deadline still holds. */
	bool has_timeout;

	/* Must not block. conf and what hangs on it stay valid until free().
	 * NULL with err: the configuration is refused; a source that is
	 * merely away is no error. */
	void *(*new)(const struct settings *settings,
	    const struct conf_auth *conf, struct ev_loop *loop,
	    struct err *err);

	/* Begins to check. Must escape what it sends for where it goes. */
	void (*check)(void *driver, struct auth_request *r);

	/* Nobody wants it any more, or it is late: forget r, without
	 * auth_finish(). */
	void (*cancel)(void *driver, struct auth_request *r);

	/* All requests were finished or cancelled. Never called from inside
	 * auth_finish(). */
	void (*free)(void *driver);

	/* For auth_test(); may block; NULL: nothing can be told. */
	bool (*test)(const struct settings *settings,
	    const struct conf_auth *conf, struct err *err);
};

/* By enum conf_auth_driver; NULL with err: it was not built in, or is not
 * installed. In auth_kinds.c, or a test's own. CONF_AUTH_NONE has none. */
const struct auth_kind *auth_kind(unsigned driver, struct err *err);
extern const struct auth_kind auth_file;
extern const struct auth_kind auth_http;	/* of the module http */
extern const struct auth_kind auth_ldap;	/* of the module ldap */
#endif
