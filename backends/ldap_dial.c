/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/ldap_dial.h"

#include <fcntl.h>
#include <lber.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "backends/blocker.h"
#include "backends/ldap_client.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define ANSWER_MAX (1 << 20)	/* bytes of one message */

/* All but the arena is in the arena. */
struct ldap_dial {
	struct blocker_task task;
	struct arena *arena;
	const char *url, *bind_dn;
	struct str password;
	bool starttls, verifies;
	struct timeval timeout;
	int ca_fd;
	LDAP *ld;
	struct err err;
	ldap_dial_done_fn *done;
	void *owner;
};

void ldap_dial_explain(LDAP *ld, int result, struct err *err)
{
	char *text = NULL;

	if (ld)
		ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text);
	if (text && text[0])
		err_set(err, "%s: %.150s", ldap_err2string(result), text);
	else
		err_set(err, "%s", ldap_err2string(result));
	ldap_memfree(text);
}

static bool explain(struct ldap_dial *d, const char *step, int result)
{
	ldap_dial_explain(d->ld, result, &d->err);
	return err_prefix(&d->err, "%s", step);
}

/* --- on the thread -------------------------------------------------------- */

static bool set(struct ldap_dial *d, int option, const void *value)
{
	return ldap_set_option(d->ld, option, value) == LDAP_OPT_SUCCESS ||
	    err_set(&d->err, "libldap does not take option %d", option);
}

static bool set_tls(struct ldap_dial *d)
{
	int check = d->verifies ? LDAP_OPT_X_TLS_DEMAND :
	    LDAP_OPT_X_TLS_NEVER;
	int is_server = 0;
	char ca[64];

	snprintf(ca, sizeof ca, "/proc/self/fd/%d", d->ca_fd);
	return (d->ca_fd < 0 || set(d, LDAP_OPT_X_TLS_CACERTFILE, ca)) &&
	    set(d, LDAP_OPT_X_TLS_REQUIRE_CERT, &check) &&
	    set(d, LDAP_OPT_X_TLS_NEWCTX, &is_server);
}

static bool uses_tls(const struct ldap_dial *d)
{
	return d->starttls || strcasestr(d->url, "ldaps://");
}

static bool set_options(struct ldap_dial *d)
{
	int version = LDAP_VERSION3;

	return set(d, LDAP_OPT_PROTOCOL_VERSION, &version) &&
	    set(d, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) &&
	    set(d, LDAP_OPT_NETWORK_TIMEOUT, &d->timeout) &&
	    set(d, LDAP_OPT_TIMEOUT, &d->timeout);
}

/* Any answer of the server's will do. */
static bool ask_something(struct ldap_dial *d)
{
	char none[] = LDAP_NO_ATTRS, *attributes[] = { none, NULL };
	LDAPMessage *m = NULL;
	int result = ldap_search_ext_s(d->ld, "", LDAP_SCOPE_BASE, NULL,
	    attributes, 0, NULL, NULL, NULL, 1, &m);

	ldap_msgfree(m);
	return result >= 0 || explain(d, "no answer", result);
}

static bool introduce(struct ldap_dial *d)
{
	char *password = mem_str(d->password);
	struct berval secret = { d->password.n, password };
	int result = ldap_sasl_bind_s(d->ld, d->bind_dn, LDAP_SASL_SIMPLE,
	    &secret, NULL, NULL, NULL);

	mem_wipe(password, d->password.n);
	free(password);
	return result == LDAP_SUCCESS || explain(d, "bind_dn", result);
}

/* From here on nothing waits: what cannot be sent libldap keeps. */
static bool stop_blocking(struct ldap_dial *d)
{
	ber_len_t most = ANSWER_MAX;
	Sockbuf *sb;
	int fd;

	if (ldap_get_option(d->ld, LDAP_OPT_DESC, &fd) != LDAP_OPT_SUCCESS ||
	    ldap_get_option(d->ld, LDAP_OPT_SOCKBUF, &sb) !=
	    LDAP_OPT_SUCCESS || fd < 0)
		return err_set(&d->err, "libldap has no socket");
	ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &most);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(&d->err, "the socket would block");
	return true;
}

static bool dial(struct ldap_dial *d)
{
	int result = ldap_initialize(&d->ld, d->url);

	if (result != LDAP_SUCCESS)
		return explain(d, "url", result);
	if (!set_options(d) || (uses_tls(d) && !set_tls(d)))
		return false;
	result = ldap_connect(d->ld);
	if (result != LDAP_SUCCESS)
		return explain(d, "connect", result);
	if (d->starttls) {
		result = ldap_start_tls_s(d->ld, NULL, NULL);
		if (result != LDAP_SUCCESS)
			return explain(d, "STARTTLS", result);
	}
	return (d->bind_dn[0] ? introduce(d) : ask_something(d)) &&
	    stop_blocking(d);
}

static void hang_up(struct ldap_dial *d)
{
	if (d->ld)
		ldap_unbind_ext(d->ld, NULL, NULL);
	d->ld = NULL;
}

static void run(struct blocker_task *t)
{
	struct ldap_dial *d = (struct ldap_dial *)(void *)t;

	if (!dial(d))
		hang_up(d);
}

/* --- on the loop ---------------------------------------------------------- */

static void dial_free(struct ldap_dial *d)
{
	struct arena *a = d->arena;

	hang_up(d);
	if (d->ca_fd >= 0)
		close(d->ca_fd);
	arena_free(&a);
}

static void end(struct blocker_task *t, bool is_cancelled)
{
	struct ldap_dial *d = (struct ldap_dial *)(void *)t;
	LDAP *ld = d->ld;

	if (!is_cancelled) {
		d->ld = NULL;
		d->done(d->owner, ld, d->err.text);
	}
	dial_free(d);
}

struct ldap_dial *ldap_dial_new(struct blocker *b,
    const struct ldap_client_options *o, int ca_fd, ldap_dial_done_fn *done,
    void *owner, struct err *err)
{
	size_t n = strlen(o->url) + strlen(o->bind_dn) + o->bind_password.n;
	struct arena *a = arena_new(n + sizeof(struct ldap_dial) + 500);
	struct ldap_dial *d = arena_alloc(a, sizeof *d);

	must(d);
	d->arena = a;
	d->task = (struct blocker_task){ .run = run, .end = end };
	d->url = arena_str(a, str_from(o->url)).p;
	d->bind_dn = arena_str(a, str_from(o->bind_dn)).p;
	d->password = arena_str(a, o->bind_password);
	must(d->url && d->bind_dn && d->password.p);
	d->starttls = o->starttls;
	d->verifies = o->verifies;
	d->timeout.tv_sec = (time_t)o->timeout_s;
	d->timeout.tv_usec = (suseconds_t)((o->timeout_s -
	    (double)d->timeout.tv_sec) * 1e6);
	d->ca_fd = ca_fd < 0 ? -1 : fcntl(ca_fd, F_DUPFD_CLOEXEC, 0);
	d->done = done;
	d->owner = owner;
	if (blocker_submit(b, &d->task))
		return d;
	err_set(err, "no thread to connect by");
	dial_free(d);
	return NULL;
}

void ldap_dial_cancel(struct blocker *b, struct ldap_dial **dp)
{
	struct ldap_dial *d = *dp;

	*dp = NULL;
	if (d)
		blocker_cancel(b, &d->task);
}
