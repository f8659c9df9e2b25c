/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/resolve.h"

#include <ares.h>
#include <ev.h>
#include <stdlib.h>

#include "backends/resolve_srv.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/settings.h"

#define uthash_fatal(msg) die("resolve: %s", msg)
#include <uthash.h>
#include <utlist.h>

#define TRIES 2			/* rounds over all servers */
#define CLASS_IN 1
#define TYPE_SRV 33
#define TTL_OF_NONE_S 5		/* the hosts file has no TTLs */

struct resolve_name {
	UT_hash_handle hh;
	struct resolve *resolve;
	unsigned refs;
	bool is_asked;			/* c-ares will call back */
	bool is_numeric;
	const char *srv;		/* what to ask; NULL: addresses */
	bool has_failed;		/* the last time; was logged */
	bool has_news;			/* for resolve_take_news() */
	enum resolve_state state;
	struct addr *addrs;
	size_t n_addrs;
	struct resolve_target *targets;
	size_t n_targets;
	unsigned version;		/* of the targets */
	double retry_s;
	ev_timer again;
	char host[];
};

/* A socket of c-ares. */
struct socket_watch {
	ev_io io;
	struct resolve *resolve;
	struct socket_watch *prev, *next;
};

struct resolve {
	struct ev_loop *loop;
	ares_channel channel;
	struct socket_watch *sockets;
	ev_timer timeout;
	ev_timer tell;			/* on_changed, outside of c-ares */
	struct resolve_name *names;
	resolve_changed_fn *on_changed;
	void *owner;
};

/* --- c-ares on libev ---------------------------------------------------- */

static void arm_timeout(struct resolve *r)
{
	struct timeval tv, *left = ares_timeout(r->channel, NULL, &tv);

	ev_timer_stop(r->loop, &r->timeout);
	if (!left)
		return;
	ev_timer_set(&r->timeout, (double)left->tv_sec +
	    (double)left->tv_usec / 1e6 + 0.001, 0.);
	ev_timer_start(r->loop, &r->timeout);
}

static void on_timeout(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct resolve *r = t->data;

	(void)loop;
	(void)revents;
	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timeout(r);
}

static void on_socket(struct ev_loop *loop, ev_io *io, int revents)
{
	struct socket_watch *w = io->data;
	struct resolve *r = w->resolve;	/* w may be gone behind the call */
	int fd = io->fd;

	(void)loop;
	ares_process_fd(r->channel, revents & EV_READ ? fd : ARES_SOCKET_BAD,
	    revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm_timeout(r);
}

/* c-ares says which of its sockets wait for what; for nothing: it closes. */
static void on_socket_state(void *arg, ares_socket_t fd, int read, int write)
{
	struct resolve *r = arg;
	struct socket_watch *w;

	DL_SEARCH_SCALAR(r->sockets, w, io.fd, fd);
	if (!w) {
		if (!read && !write)
			return;
		w = mem_alloc(sizeof *w);
		w->resolve = r;
		ev_init(&w->io, on_socket);
		w->io.data = w;
		DL_APPEND(r->sockets, w);
	}
	ev_io_stop(r->loop, &w->io);
	ev_io_set(&w->io, fd, (read ? EV_READ : 0) | (write ? EV_WRITE : 0));
	if (read || write) {
		ev_io_start(r->loop, &w->io);
		return;
	}
	DL_DELETE(r->sockets, w);
	free(w);
}

static bool set_servers(ares_channel channel,
    const struct settings_addresses *servers, struct err *err)
{
	struct buf csv;

	if (servers->n == 0)
		return true;
	buf_init(&csv, 0);
	for (size_t i = 0; i < servers->n; i++) {
		bool v6 = strchr(servers->v[i].host, ':') != NULL;
		buf_printf(&csv, "%s%s%s%s:%u", i ? "," : "", v6 ? "[" : "",
		    servers->v[i].host, v6 ? "]" : "",
		    (unsigned)servers->v[i].port);
	}
	buf_append(&csv, "", 1);
	int rc = ares_set_servers_ports_csv(channel, buf_view(&csv).p);
	buf_fini(&csv);
	return rc == ARES_SUCCESS ||
	    err_set(err, "dns.servers: %s", ares_strerror(rc));
}

static bool channel_open(struct resolve *r, ares_channel *out,
    const struct settings_addresses *servers, uint64_t timeout_ms,
    struct err *err)
{
	struct ares_options options = {
		.timeout = (int)timeout_ms,
		.tries = TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
	};
	int rc = ares_init_options(out, &options, ARES_OPT_TIMEOUTMS |
	    ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

	if (rc != ARES_SUCCESS)
		return err_set(err, "dns: %s", ares_strerror(rc));
	if (set_servers(*out, servers, err))
		return true;
	ares_destroy(*out);
	return false;
}

/* --- names ---------------------------------------------------------------- */

static void name_free(struct resolve_name *n)
{
	free(n->addrs);
	free(n->targets);
	free(n);
}

static void tell(struct resolve_name *n)
{
	struct resolve *r = n->resolve;

	n->has_news = true;
	if (!ev_is_active(&r->tell)) {
		ev_timer_set(&r->tell, 0., 0.);
		ev_timer_start(r->loop, &r->tell);
	}
}

static void on_tell(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct resolve *r = t->data;

	(void)loop;
	(void)revents;
	if (r->on_changed)
		r->on_changed(r->owner);
}

static void ask_in(struct resolve_name *n, double seconds)
{
	ev_timer_stop(n->resolve->loop, &n->again);
	ev_timer_set(&n->again, seconds, 0.);
	ev_timer_start(n->resolve->loop, &n->again);
}

static bool has_addr(const struct addr *addrs, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (addr_same_ip(&addrs[i], a))
			return true;
	return false;
}

static double ttl_of(const struct ares_addrinfo *info)
{
	int ttl = RESOLVE_TTL_MAX_S;

	for (const struct ares_addrinfo_node *a = info->nodes; a;
	     a = a->ai_next)
		if (a->ai_ttl < ttl)
			ttl = a->ai_ttl;
	for (const struct ares_addrinfo_cname *c = info->cnames; c;
	     c = c->next)
		if (c->ttl < ttl)
			ttl = c->ttl;
	if (ttl <= 0)
		ttl = TTL_OF_NONE_S;
	return ttl < RESOLVE_TTL_MIN_S ? RESOLVE_TTL_MIN_S : ttl;
}

static void set_addrs(struct resolve_name *n, const struct addr *fresh,
    size_t n_fresh)
{
	bool same = n_fresh == n->n_addrs;

	for (size_t i = 0; i < n_fresh && same; i++)
		same = has_addr(n->addrs, n->n_addrs, &fresh[i]);
	if (same)
		return;
	n->addrs = mem_realloc(n->addrs, n_fresh * sizeof *fresh);
	memcpy(n->addrs, fresh, n_fresh * sizeof *fresh);
	n->n_addrs = n_fresh;
	tell(n);
}

/* False: the answer holds no address. */
static bool take_addrs(struct resolve_name *n, const struct ares_addrinfo *info)
{
	struct addr fresh[RESOLVE_ADDRS_MAX];
	size_t n_fresh = 0;

	for (const struct ares_addrinfo_node *a = info->nodes;
	     a && n_fresh < RESOLVE_ADDRS_MAX; a = a->ai_next) {
		struct addr addr;
		if (addr_from_sockaddr(&addr, a->ai_addr,
		    (socklen_t)a->ai_addrlen) &&
		    !has_addr(fresh, n_fresh, &addr))
			fresh[n_fresh++] = addr;
	}
	if (n_fresh == 0)
		return false;
	set_addrs(n, fresh, n_fresh);
	return true;
}

static void take_targets(struct resolve_name *n,
    const struct resolve_srv *srv)
{
	bool same = n->state == RESOLVE_KNOWN && n->n_targets == srv->n;

	/* not by memcmp(): behind a name's NUL there may be anything */
	for (size_t i = 0; i < srv->n && same; i++) {
		const struct resolve_target *a = &n->targets[i];
		const struct resolve_target *b = &srv->v[i];
		same = strcmp(a->host, b->host) == 0 && a->port == b->port &&
		    a->priority == b->priority && a->weight == b->weight;
	}
	if (same)
		return;
	n->targets = mem_realloc(n->targets, (srv->n + 1) * sizeof srv->v[0]);
	memcpy(n->targets, srv->v, srv->n * sizeof srv->v[0]);
	n->n_targets = srv->n;
	n->version++;
	tell(n);
}

static void name_known(struct resolve_name *n, double ttl)
{
	if (n->has_failed)
		log_note(LOG_LINE_INFO, "resolved", "name", "%s", n->host);
	if (n->state != RESOLVE_KNOWN)
		tell(n);
	n->has_failed = false;
	n->state = RESOLVE_KNOWN;
	n->retry_s = RESOLVE_RETRY_MIN_S;
	ask_in(n, ttl);
}

static void name_failed(struct resolve_name *n, const char *why)
{
	struct log_line l;

	if (!n->has_failed &&
	    log_begin(&l, LOG_LINE_WARN, "resolve_failed")) {
		log_text(&l, "name", n->host);
		log_text(&l, "why", why);
		if (n->srv)
			log_u64(&l, "stale_targets", n->n_targets);
		else
			log_u64(&l, "stale_addresses", n->n_addrs);
		log_end(&l);
	}
	n->has_failed = true;
	if (n->state == RESOLVE_PENDING) {
		n->state = resolve_n_words(n) ? RESOLVE_KNOWN :
		    RESOLVE_FAILED;
		tell(n);
	}
	ask_in(n, n->retry_s);
	n->retry_s *= 2;
	if (n->retry_s > RESOLVE_RETRY_MAX_S)
		n->retry_s = RESOLVE_RETRY_MAX_S;
}

static void on_answer(void *arg, int status, int timeouts,
    struct ares_addrinfo *info)
{
	struct resolve_name *n = arg;

	(void)timeouts;
	n->is_asked = false;
	if (n->refs == 0) {
		name_free(n);
	} else if (status == ARES_SUCCESS && take_addrs(n, info)) {
		name_known(n, ttl_of(info));
	} else if (status != ARES_EDESTRUCTION) {
		name_failed(n, status == ARES_SUCCESS ? "no address" :
		    ares_strerror(status));
	}
	if (info)
		ares_freeaddrinfo(info);
}

static void on_srv_answer(void *arg, int status, int timeouts,
    unsigned char *message, int len)
{
	struct resolve_name *n = arg;
	struct resolve_srv srv;

	(void)timeouts;
	n->is_asked = false;
	if (n->refs == 0) {
		name_free(n);
	} else if (status == ARES_SUCCESS &&
	    resolve_srv_parse(message, (size_t)len, &srv)) {
		take_targets(n, &srv);
		name_known(n, srv.ttl_s < RESOLVE_TTL_MIN_S ?
		    RESOLVE_TTL_MIN_S : srv.ttl_s);
	} else if (status != ARES_EDESTRUCTION) {
		name_failed(n, status == ARES_SUCCESS ? "no server" :
		    ares_strerror(status));
	}
}

static void ask(struct resolve_name *n)
{
	const struct ares_addrinfo_hints hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };

	ev_timer_stop(n->resolve->loop, &n->again);
	n->is_asked = true;
	/* either may call back at once */
	if (n->srv)
		ares_query(n->resolve->channel, n->srv, CLASS_IN, TYPE_SRV,
		    on_srv_answer, n);
	else
		ares_getaddrinfo(n->resolve->channel, n->host, NULL, &hints,
		    on_answer, n);
}

static void on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct resolve_name *n = t->data;
	struct resolve *r = n->resolve;

	(void)loop;
	(void)revents;
	ask(n);
	arm_timeout(r);
}

struct resolve_name *resolve_watch(struct resolve *r, const char *host)
{
	struct resolve_name *n;
	struct addr numeric;
	size_t len = strlen(host);

	HASH_FIND(hh, r->names, host, len, n);
	if (n) {
		n->refs++;
		return n;
	}
	n = mem_alloc(sizeof *n + len + 1);
	n->resolve = r;
	n->refs = 1;
	n->has_news = true;
	n->retry_s = RESOLVE_RETRY_MIN_S;
	memcpy(n->host, host, len);
	if (str_starts(str_from(host), STR(SETTINGS_SRV_MARK)))
		n->srv = n->host + strlen(SETTINGS_SRV_MARK);
	ev_timer_init(&n->again, on_again, 0., 0.);
	n->again.data = n;
	HASH_ADD_KEYPTR(hh, r->names, n->host, len, n);
	if (addr_parse_ip(&numeric, str_from(host))) {
		n->is_numeric = true;
		n->state = RESOLVE_KNOWN;
		n->addrs = mem_alloc(sizeof numeric);
		n->addrs[0] = numeric;
		n->n_addrs = 1;
	} else {
		ask(n);
		arm_timeout(r);
	}
	return n;
}

void resolve_unwatch(struct resolve_name **np)
{
	struct resolve_name *n = *np;

	if (!n)
		return;
	*np = NULL;
	if (--n->refs > 0)
		return;
	HASH_DELETE(hh, n->resolve->names, n);
	ev_timer_stop(n->resolve->loop, &n->again);
	/* c-ares knows an asked one: on_answer() frees it, at the latest when
	 * the channel is destroyed */
	if (!n->is_asked)
		name_free(n);
}

enum resolve_state resolve_state(const struct resolve_name *n)
{
	return n->state;
}

size_t resolve_n_addrs(const struct resolve_name *n)
{
	return n->n_addrs;
}

struct addr resolve_addr(const struct resolve_name *n, size_t i,
    unsigned port)
{
	must(i < n->n_addrs);
	struct addr a = n->addrs[i];
	addr_set_port(&a, port);
	return a;
}

size_t resolve_n_targets(const struct resolve_name *n)
{
	return n->n_targets;
}

const struct resolve_target *resolve_target(const struct resolve_name *n,
    size_t i)
{
	must(i < n->n_targets);
	return &n->targets[i];
}

unsigned resolve_version(const struct resolve_name *n)
{
	return n->version;
}

/* --- answers that outlive it ------------------------------------------------ */

void resolve_visit(const struct resolve *r, resolve_visit_fn *visit,
    void *arg)
{
	struct resolve_name *n, *next;

	HASH_ITER(hh, r->names, n, next)
		if (!n->is_numeric)
			visit(arg, n);
}

const struct resolve_name *resolve_find(const struct resolve *r,
    struct str host)
{
	const struct resolve_name *n;

	HASH_FIND(hh, r->names, host.n ? host.p : "", host.n, n);
	return n;
}

const char *resolve_host(const struct resolve_name *n)
{
	return n->host;
}

bool resolve_is_fresh(const struct resolve_name *n)
{
	return n->state == RESOLVE_KNOWN && !n->has_failed;
}

bool resolve_take_news(struct resolve_name *n)
{
	bool has_news = n->has_news;

	n->has_news = false;
	return has_news;
}

size_t resolve_n_words(const struct resolve_name *n)
{
	return n->srv ? n->n_targets : n->n_addrs;
}

const char *resolve_word(const struct resolve_name *n, size_t i,
    char to[RESOLVE_WORD_MAX])
{
	must(i < resolve_n_words(n));
	return n->srv ? resolve_srv_write(&n->targets[i], to) :
	    addr_ip(&n->addrs[i], to);
}

void resolve_recall(struct resolve_name *n, const struct str *words,
    size_t n_words)
{
	struct resolve_srv srv = { .n = 0 };
	struct addr addrs[RESOLVE_ADDRS_MAX];
	size_t n_addrs = 0;

	if (n->state == RESOLVE_KNOWN || resolve_n_words(n))
		return;
	for (size_t i = 0; i < n_words; i++) {
		if (n->srv)
			resolve_srv_read(&srv, words[i]);
		else if (n_addrs < RESOLVE_ADDRS_MAX)
			n_addrs += addr_parse_ip(&addrs[n_addrs], words[i]);
	}
	if (srv.n)
		take_targets(n, &srv);
	if (n_addrs)
		set_addrs(n, addrs, n_addrs);
	if (n->state == RESOLVE_FAILED && resolve_n_words(n)) {
		n->state = RESOLVE_KNOWN;
		tell(n);
	}
}

/* --- the whole -------------------------------------------------------------- */

struct resolve *resolve_new(struct ev_loop *loop,
    const struct settings_addresses *servers, uint64_t timeout_ms,
    resolve_changed_fn *changed, void *owner, struct err *err)
{
	static bool has_library;
	struct resolve *r = mem_alloc(sizeof *r);

	if (!has_library && ares_library_init(ARES_LIB_INIT_ALL))
		die("c-ares cannot be used");
	has_library = true;
	r->loop = loop;
	r->on_changed = changed;
	r->owner = owner;
	ev_timer_init(&r->timeout, on_timeout, 0., 0.);
	r->timeout.data = r;
	ev_timer_init(&r->tell, on_tell, 0., 0.);
	r->tell.data = r;
	if (channel_open(r, &r->channel, servers, timeout_ms, err))
		return r;
	free(r);
	return NULL;
}

bool resolve_configure(struct resolve *r,
    const struct settings_addresses *servers, uint64_t timeout_ms,
    struct err *err)
{
	ares_channel fresh;
	struct resolve_name *n, *next;

	/* questions under way cannot be taken along: they are asked anew */
	if (!channel_open(r, &fresh, servers, timeout_ms, err))
		return false;
	ares_destroy(r->channel);
	r->channel = fresh;
	HASH_ITER(hh, r->names, n, next)
		if (!n->is_numeric)
			ask(n);
	arm_timeout(r);
	return true;
}

void resolve_free(struct resolve **rp)
{
	struct resolve *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	must(!r->names);
	ares_destroy(r->channel);
	must(!r->sockets);
	ev_timer_stop(r->loop, &r->timeout);
	ev_timer_stop(r->loop, &r->tell);
	free(r);
}
