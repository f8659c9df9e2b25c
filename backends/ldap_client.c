/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/ldap_client.h"

#include <ev.h>
#include <ldap.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#include "backends/blocker.h"
#include "backends/ldap_dial.h"
#include "backends/ldap_reply.h"
#include "proxy/base/deadline.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define PAUSE_FIRST_S 0.2
#define PAUSE_MOST_S 3.
#define THREADS 2		/* to connect by */

#define TEXT_OF(n) TEXT_OF_(n)
#define TEXT_OF_(n) #n
const char ldap_client_library[] = "libldap " TEXT_OF(LDAP_VENDOR_VERSION_MAJOR)
    "." TEXT_OF(LDAP_VENDOR_VERSION_MINOR) "."
    TEXT_OF(LDAP_VENDOR_VERSION_PATCH);

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_UP };

/* One connection. */
struct link {
	struct ldap_client *client;
	enum link_state state;
	struct ldap_dial *dial;		/* CONNECTING */
	LDAP *ld;			/* UP */
	ev_io io;
	struct deadline silent;		/* runs while there are calls */
	struct ldap_client_call *calls;	/* sent */
	size_t n_calls, n_unsent;
	bool is_full;			/* until the socket takes more */
	bool has_answered;		/* a call, ever */
};

struct ldap_client_call {
	struct ldap_client_call *prev, *next;
	struct ldap_client *client;
	struct link *link;		/* NULL: in the queue */
	int id;				/* of the message */
	int error;			/* it could not be sent */
	char *dn, *filter;		/* a search's base; NULL: that itself */
	bool is_bind;
	struct str password;		/* a bind's, until it is sent */
	LDAPMessage *entry;
	size_t n_entries;
	ldap_client_done_fn *done;	/* NULL: nobody waits any more */
	void *owner;
};

struct ldap_client {
	struct ev_loop *loop;
	struct ldap_client_options o;	/* with texts of its own */
	int ca_fd;
	struct blocker *blocker;
	struct link *links;
	struct ldap_client_call *queue;
	size_t n_queue;
	struct deadline_class silence;
	bool is_away;			/* a pause, or the try after it */
	struct err why;			/* so */
	ev_timer pause;
	double pause_s;			/* the next one */
};

static void pump(struct ldap_client *c);

/* --- calls ---------------------------------------------------------------- */

static void forget_password(struct ldap_client_call *call)
{
	char *p = (char *)(uintptr_t)call->password.p;

	if (p)
		mem_wipe(p, call->password.n);
	free(p);
	call->password = STR_NONE;
}

static void call_free(struct ldap_client_call *call)
{
	forget_password(call);
	ldap_msgfree(call->entry);
	free(call->filter);
	free(call->dn);
	free(call);
}

static void call_unlink(struct ldap_client_call *call)
{
	struct link *l = call->link;

	if (l) {
		DL_DELETE(l->calls, call);
		l->n_unsent -= call->error != LDAP_SUCCESS;
		if (--l->n_calls == 0)
			deadline_stop(&l->silent);
	} else {
		DL_DELETE(call->client->queue, call);
		call->client->n_queue--;
	}
}

static void call_end(struct ldap_client_call *call,
    const struct ldap_client_reply *reply)
{
	call_unlink(call);
	if (call->done)
		call->done(call->owner, reply);
	call_free(call);
}

static void call_fail(struct ldap_client_call *call, const char *why)
{
	call_end(call, &(struct ldap_client_reply){
	    .verdict = LDAP_CLIENT_FAILED, .why = why });
}

/* --- links ---------------------------------------------------------------- */

/* The same pause for everybody would bring them all back at once. */
static void go_away(struct ldap_client *c, const char *why)
{
	unsigned char dice = 0;

	RAND_bytes(&dice, 1);
	err_set(&c->why, "%s", why);
	c->is_away = true;
	if (ev_is_active(&c->pause))
		return;
	ev_timer_set(&c->pause, c->pause_s * (0.75 + dice / 512.), 0.);
	ev_timer_start(c->loop, &c->pause);
	c->pause_s *= 2;
	if (c->pause_s > PAUSE_MOST_S)
		c->pause_s = PAUSE_MOST_S;
}

static void link_close(struct link *l)
{
	struct ldap_client *c = l->client;

	ldap_dial_cancel(c->blocker, &l->dial);
	if (l->ld) {
		ev_io_stop(c->loop, &l->io);
		ldap_unbind_ext(l->ld, NULL, NULL);
		l->ld = NULL;
	}
	l->state = LINK_DOWN;
}

static bool has_link(const struct ldap_client *c)
{
	for (size_t i = 0; i < c->o.n_links; i++)
		if (c->links[i].state == LINK_UP)
			return true;
	return false;
}

/* Nobody shall wait for a server that is away. */
static void fail_queue(struct ldap_client *c)
{
	char why[sizeof c->why.text];

	memcpy(why, c->why.text, sizeof why);
	while (c->queue && c->is_away && !has_link(c))
		call_fail(c->queue, why);
}

/* The server is away if it was silent or has never answered here; else it may
 * just have got tired of the connection. */
static void link_lose(struct link *l, bool is_silent, const char *text)
{
	struct ldap_client *c = l->client;
	struct ldap_client_call *call;
	char why[sizeof c->why.text];

	snprintf(why, sizeof why, "%s", text);
	link_close(l);
	if (is_silent || !l->has_answered)
		go_away(c, why);
	while ((call = l->calls))
		call_fail(call, why);
	fail_queue(c);
	pump(c);
}

static void on_silence(struct deadline *d, void *owner)
{
	struct ldap_client *c = owner;
	char why[64];

	snprintf(why, sizeof why, "no answer within %.0f ms",
	    c->o.timeout_s * 1000);
	for (size_t i = 0; i < c->o.n_links; i++)
		if (d == &c->links[i].silent) {
			link_lose(&c->links[i], true, why);
			return;
		}
}

static void on_dialled(void *owner, LDAP *ld, const char *why)
{
	struct link *l = owner;
	struct ldap_client *c = l->client;
	int fd = -1;

	l->dial = NULL;
	l->state = LINK_DOWN;
	if (!ld) {
		go_away(c, why);
		fail_queue(c);
		return;
	}
	c->is_away = false;
	ev_timer_stop(c->loop, &c->pause);
	ldap_get_option(ld, LDAP_OPT_DESC, &fd);
	l->ld = ld;
	l->state = LINK_UP;
	l->has_answered = l->is_full = false;
	ev_io_set(&l->io, fd, EV_READ);
	ev_io_start(c->loop, &l->io);
	pump(c);
}

static bool link_connect(struct link *l)
{
	struct ldap_client *c = l->client;
	struct err err;

	l->dial = ldap_dial_new(c->blocker, &c->o, c->ca_fd, on_dialled, l,
	    &err);
	if (l->dial)
		l->state = LINK_CONNECTING;
	else
		go_away(c, err.text);
	return l->dial != NULL;
}

static void on_pause_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct ldap_client *c = t->data;

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->o.n_links; i++)
		if (c->links[i].state == LINK_CONNECTING)
			return;		/* its end tells more */
	for (size_t i = 0; i < c->o.n_links; i++)
		if (c->links[i].state == LINK_DOWN) {
			link_connect(&c->links[i]);
			return;
		}
	c->is_away = false;		/* all others still work */
}

/* --- answers -------------------------------------------------------------- */

static void take_result(struct ldap_client_call *call, LDAP *ld,
    LDAPMessage *m)
{
	struct ldap_reply r;

	if (call->is_bind)
		ldap_reply_to_bind(&r, ld, m);
	else
		ldap_reply_to_search(&r, ld, m, call->entry, call->n_entries,
		    call->filter == NULL, call->client->o.attributes);
	call_end(call, &r.reply);
	ldap_reply_fini(&r);
}

/* False: the server says goodbye. */
static bool take_message(struct link *l, LDAPMessage *m)
{
	struct ldap_client_call *call;
	int id = ldap_msgid(m);

	if (id == 0) {
		ldap_msgfree(m);
		return false;
	}
	l->has_answered = true;
	l->client->pause_s = PAUSE_FIRST_S;
	DL_SEARCH_SCALAR(l->calls, call, id, id);
	if (!call) {
		ldap_msgfree(m);
		return true;
	}
	deadline_start(&l->client->silence, &l->silent);
	switch (ldap_msgtype(m)) {
	case LDAP_RES_SEARCH_ENTRY:
		if (call->n_entries++ == 0) {
			call->entry = m;
			return true;
		}
		break;
	case LDAP_RES_SEARCH_RESULT:
	case LDAP_RES_BIND:
		take_result(call, l->ld, m);
		break;
	default:
		break;		/* a referral, which is not followed */
	}
	ldap_msgfree(m);
	return true;
}

/* libldap sends what it has kept when it is asked for answers. */
static void watch(struct link *l, bool is_full)
{
	if (l->is_full == is_full)
		return;
	l->is_full = is_full;
	ev_io_stop(l->client->loop, &l->io);
	ev_io_modify(&l->io, EV_READ | (is_full ? EV_WRITE : 0));
	ev_io_start(l->client->loop, &l->io);
}

/* False: the connection was no good. */
static bool fail_unsent(struct link *l)
{
	struct ldap_client_call *call, *next;
	struct err err;

	DL_FOREACH_SAFE(l->calls, call, next) {
		if (call->error == LDAP_SUCCESS)
			continue;
		ldap_dial_explain(l->ld, call->error, &err);
		if (call->error == LDAP_SERVER_DOWN) {
			link_lose(l, false, err.text);
			return false;
		}
		call_fail(call, err.text);
		next = l->calls;	/* done() may have cancelled others */
	}
	return true;
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	struct link *l = io->data;
	struct timeval now = { 0, 0 };
	LDAPMessage *m;
	struct err err;

	(void)loop;
	(void)revents;
	watch(l, false);
	if (l->n_unsent && !fail_unsent(l))
		return;
	for (;;) {
		int type = ldap_result(l->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &now,
		    &m);
		if (type == 0)
			break;
		if (type < 0) {
			int result = LDAP_SERVER_DOWN;
			ldap_get_option(l->ld, LDAP_OPT_RESULT_CODE, &result);
			ldap_dial_explain(l->ld, result, &err);
			link_lose(l, false, err.text);
			return;
		}
		if (!take_message(l, m)) {
			link_lose(l, false, "the server ends the connection");
			return;
		}
	}
	pump(l->client);
}

/* --- from the queue to a link --------------------------------------------- */

static int send_bind(struct ldap_client_call *call, LDAP *ld)
{
	struct berval secret = { call->password.n,
		(char *)(uintptr_t)call->password.p };

	return ldap_sasl_bind(ld, call->dn, LDAP_SASL_SIMPLE, &secret, NULL,
	    NULL, &call->id);
}

static int send_search(struct ldap_client_call *call, LDAP *ld)
{
	char *attributes[LDAP_CLIENT_ATTRIBUTES + 1] = { NULL };
	const char *const *names = call->client->o.attributes;
	char none[] = LDAP_NO_ATTRS;
	size_t n = 0;

	for (; names && names[n]; n++)
		attributes[n] = (char *)(uintptr_t)names[n];
	if (n == 0)
		attributes[0] = none;
	return ldap_search_ext(ld, call->dn, call->filter ?
	    LDAP_SCOPE_SUBTREE : LDAP_SCOPE_BASE, call->filter, attributes, 0,
	    NULL, NULL, NULL, 2, &call->id);
}

/* One that cannot be sent ends in a turn of its own, for done() must not be
 * called yet. Until then the link gets no more: libldap would open a new
 * connection, and wait for it. */
static void call_send(struct ldap_client_call *call, struct link *l)
{
	int error = call->is_bind ? send_bind(call, l->ld) :
	    send_search(call, l->ld);

	if (error == LDAP_BUSY) {	/* of libldap: another is half sent */
		watch(l, true);
		return;
	}
	forget_password(call);
	call_unlink(call);
	call->link = l;
	DL_APPEND(l->calls, call);
	if (l->n_calls++ == 0)
		deadline_start(&l->client->silence, &l->silent);
	call->error = error;
	if (error != LDAP_SUCCESS) {
		l->n_unsent++;
		call->id = -1;
		ev_feed_event(l->client->loop, &l->io, EV_READ);
	}
}

static struct link *find_room(struct ldap_client *c)
{
	for (size_t i = 0; i < c->o.n_links; i++)
		if (c->links[i].state == LINK_UP && !c->links[i].n_unsent &&
		    !c->links[i].is_full &&
		    c->links[i].n_calls < c->o.n_parallel)
			return &c->links[i];
	return NULL;
}

/* As many connections as there is work for. */
static void connect_more(struct ldap_client *c)
{
	size_t n_coming = 0;

	for (size_t i = 0; i < c->o.n_links; i++)
		if (c->links[i].state == LINK_CONNECTING)
			n_coming += c->o.n_parallel;
	for (size_t i = 0; i < c->o.n_links && n_coming < c->n_queue; i++)
		if (c->links[i].state == LINK_DOWN && !c->is_away &&
		    link_connect(&c->links[i]))
			n_coming += c->o.n_parallel;
}

static void pump(struct ldap_client *c)
{
	struct link *l;

	while (c->queue && (l = find_room(c)))
		call_send(c->queue, l);
	connect_more(c);
}

static struct ldap_client_call *call_begin(struct ldap_client *c,
    struct str dn, const char *filter, struct str password,
    ldap_client_done_fn *done, void *owner, struct err *err)
{
	if (c->is_away && !has_link(c)) {
		*err = c->why;
		return NULL;
	}
	if (c->n_queue >= LDAP_CLIENT_QUEUE) {
		err_set(err, "too many requests wait for a connection");
		return NULL;
	}
	struct ldap_client_call *call = mem_alloc(sizeof *call);
	call->client = c;
	call->dn = mem_str(dn);
	call->filter = filter ? mem_strdup(filter) : NULL;
	call->is_bind = password.n > 0;
	if (call->is_bind)
		call->password = (struct str){ mem_str(password),
			password.n };
	call->done = done;
	call->owner = owner;
	DL_APPEND(c->queue, call);
	c->n_queue++;
	pump(c);
	return call;
}

struct ldap_client_call *ldap_client_search(struct ldap_client *c,
    const char *base, const char *filter, ldap_client_done_fn *done,
    void *owner, struct err *err)
{
	return call_begin(c, str_from(base), filter, STR_NONE, done, owner,
	    err);
}

struct ldap_client_call *ldap_client_bind(struct ldap_client *c,
    struct str dn, struct str password, ldap_client_done_fn *done,
    void *owner, struct err *err)
{
	must(password.n > 0 && dn.n > 0 && c->o.n_parallel == 1);
	return call_begin(c, dn, NULL, password, done, owner, err);
}

/* What was sent keeps its place until the answer is there: a bind cannot be
 * taken back (RFC 4511, section 4.11), and silence must be noticed. */
void ldap_client_cancel(struct ldap_client_call *call)
{
	call->done = NULL;
	if (call->link)
		return;
	call_unlink(call);
	call_free(call);
}

/* --- the client ----------------------------------------------------------- */

/* libldap wants a file, and control may not be able to read the one that the
 * settings name. */
static int make_ca(struct str ca, struct err *err)
{
	int fd = memfd_create("ldap-ca", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, ca.p, ca.n) == (ssize_t)ca.n)
		return fd;
	err_set(err, "no memory for the certificates of ca");
	if (fd >= 0)
		close(fd);
	return -1;
}

struct ldap_client *ldap_client_new(const struct ldap_client_options *o,
    struct ev_loop *loop, struct err *err)
{
	int ca_fd = o->ca.n ? make_ca(o->ca, err) : -1;

	if (o->ca.n && ca_fd < 0)
		return NULL;
	struct ldap_client *c = mem_alloc(sizeof *c);
	c->loop = loop;
	c->o = *o;
	c->o.url = mem_strdup(o->url);
	c->o.bind_dn = mem_strdup(o->bind_dn);
	c->o.bind_password.p = mem_str(o->bind_password);
	c->o.ca = STR_NONE;
	c->ca_fd = ca_fd;
	c->blocker = blocker_new(loop, o->n_links < THREADS ? o->n_links :
	    THREADS);
	c->pause_s = PAUSE_FIRST_S;
	ev_timer_init(&c->pause, on_pause_over, 0., 0.);
	c->pause.data = c;
	deadline_class_init(&c->silence, loop, o->timeout_s, on_silence, c);
	c->links = mem_alloc(o->n_links * sizeof *c->links);
	for (size_t i = 0; i < o->n_links; i++) {
		c->links[i].client = c;
		ev_io_init(&c->links[i].io, on_ready, -1, EV_READ);
		c->links[i].io.data = &c->links[i];
	}
	return c;
}

void ldap_client_free(struct ldap_client **cp)
{
	struct ldap_client *c = *cp;
	struct ldap_client_call *call;

	if (!c)
		return;
	*cp = NULL;
	must(!c->queue);
	for (size_t i = 0; i < c->o.n_links; i++) {
		while ((call = c->links[i].calls)) {
			must(!call->done);
			call_unlink(call);
			call_free(call);
		}
		link_close(&c->links[i]);
	}
	ev_timer_stop(c->loop, &c->pause);
	deadline_class_fini(&c->silence);
	blocker_free(&c->blocker);
	if (c->ca_fd >= 0)
		close(c->ca_fd);
	free((char *)(uintptr_t)c->o.url);
	free((char *)(uintptr_t)c->o.bind_dn);
	mem_wipe((char *)(uintptr_t)c->o.bind_password.p,
	    c->o.bind_password.n);
	free((char *)(uintptr_t)c->o.bind_password.p);
	free(c->links);
	free(c);
}
