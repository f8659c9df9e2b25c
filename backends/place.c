/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/place.h"

#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("place: %s", msg)
#include <uthash.h>
#include <utlist.h>

/* A named thing that has sessions: a user or a backend. */
struct holder {
	UT_hash_handle hh;
	size_t n;
	size_t n_users;		/* a backend's */
	struct lease *leases;	/* the oldest first */
	size_t len;
	char name[];
};

struct worker {
	UT_hash_handle hh;
	uint64_t id;
	size_t n;
	struct lease *leases;
};

/* A zeroed key: family, and the bytes that count. */
struct site_key {
	uint64_t family, prefix;
};

struct site {
	UT_hash_handle hh;
	struct site_key key;
	size_t n;
};

struct lease_key {
	uint64_t worker, session;
};

struct lease {
	UT_hash_handle hh;
	struct lease_key key;
	struct holder *user, *backend;
	struct site *site;
	struct worker *worker;
	struct lease *prev, *next;			/* of the user */
	struct lease *worker_prev, *worker_next;
	struct lease *backend_prev, *backend_next;
	struct addr client;
	uint64_t since_ms;
};

/* One of lease and user is where the walk goes on; NULL: at its end. */
struct place_walk {
	struct place *place;
	struct lease *lease;
	struct holder *user;
	bool is_of_users;
	struct place_walk *prev, *next;
};

struct place {
	struct lease *leases;
	struct holder *users, *backends;
	struct site *sites;
	struct worker *workers;
	struct place_walk *walks;
};

struct place *place_new(void)
{
	return mem_alloc(sizeof(struct place));
}

static struct holder *holder_find(struct holder *table, struct str name)
{
	struct holder *h;

	HASH_FIND(hh, table, name.n ? name.p : "", name.n, h);
	return h;
}

static struct holder *holder_get(struct holder **table, struct str name)
{
	struct holder *h = holder_find(*table, name);

	if (!h) {
		h = mem_alloc(sizeof *h + name.n + 1);
		h->len = name.n;
		if (name.n)
			memcpy(h->name, name.p, name.n);
		HASH_ADD_KEYPTR(hh, *table, h->name, h->len, h);
	}
	h->n++;
	return h;
}

static void holder_put(struct holder **table, struct holder *h)
{
	if (--h->n > 0)
		return;
	HASH_DELETE(hh, *table, h);
	free(h);
}

static struct str holder_name(const struct holder *h)
{
	return (struct str){ h->name, h->len };
}

static struct site_key site_key(const struct addr *a)
{
	struct site_key k = { .family = a->sa.sa_family };

	if (a->sa.sa_family == AF_INET6)
		memcpy(&k.prefix, &a->v6.sin6_addr, sizeof k.prefix);
	else if (a->sa.sa_family == AF_INET)
		k.prefix = a->v4.sin_addr.s_addr;
	return k;
}

static struct site *site_find(const struct place *p, const struct addr *a)
{
	struct site_key k = site_key(a);
	struct site *s;

	HASH_FIND(hh, p->sites, &k, sizeof k, s);
	return s;
}

static struct site *site_get(struct place *p, const struct addr *a)
{
	struct site *s = site_find(p, a);

	if (!s) {
		s = mem_alloc(sizeof *s);
		s->key = site_key(a);
		HASH_ADD(hh, p->sites, key, sizeof s->key, s);
	}
	s->n++;
	return s;
}

static void site_put(struct place *p, struct site *s)
{
	if (--s->n > 0)
		return;
	HASH_DELETE(hh, p->sites, s);
	free(s);
}

static struct worker *worker_find(const struct place *p, uint64_t id)
{
	struct worker *w;

	HASH_FIND(hh, p->workers, &id, sizeof id, w);
	return w;
}

static struct worker *worker_get(struct place *p, uint64_t id)
{
	struct worker *w = worker_find(p, id);

	if (!w) {
		w = mem_alloc(sizeof *w);
		w->id = id;
		HASH_ADD(hh, p->workers, id, sizeof w->id, w);
	}
	return w;
}

static struct lease *lease_find(const struct place *p, uint64_t worker,
    uint64_t session)
{
	struct lease_key key = { worker, session };
	struct lease *l;

	HASH_FIND(hh, p->leases, &key, sizeof key, l);
	return l;
}

/* Whether the user has a session at the backend. */
static bool is_there(const struct holder *user, const struct holder *backend)
{
	const struct lease *l;

	DL_FOREACH(user->leases, l)
		if (l->backend == backend)
			return true;
	return false;
}

/* Whoever would have come to l, or to its user who goes with it, does not. */
static void walks_pass(struct place *p, const struct lease *l)
{
	struct place_walk *w;

	DL_FOREACH(p->walks, w) {
		if (w->lease == l)
			w->lease = l->hh.next;
		if (w->user == l->user && l->user->n == 1)
			w->user = l->user->hh.next;
	}
}

static void lease_free(struct place *p, struct lease *l)
{
	walks_pass(p, l);
	HASH_DELETE(hh, p->leases, l);
	DL_DELETE(l->user->leases, l);
	l->backend->n_users -= !is_there(l->user, l->backend);
	DL_DELETE2(l->backend->leases, l, backend_prev, backend_next);
	DL_DELETE2(l->worker->leases, l, worker_prev, worker_next);
	holder_put(&p->users, l->user);
	holder_put(&p->backends, l->backend);
	site_put(p, l->site);
	l->worker->n--;
	if (!l->worker->leases) {
		HASH_DELETE(hh, p->workers, l->worker);
		free(l->worker);
	}
	free(l);
}

void place_take(struct place *p, const struct place_session *s)
{
	struct lease *l = lease_find(p, s->worker, s->session);

	if (l)
		lease_free(p, l);
	l = mem_alloc(sizeof *l);
	l->key = (struct lease_key){ s->worker, s->session };
	l->user = holder_get(&p->users, s->user);
	l->backend = holder_get(&p->backends, s->backend);
	l->site = site_get(p, &s->client);
	l->worker = worker_get(p, s->worker);
	l->worker->n++;
	l->client = s->client;
	l->since_ms = s->since_ms;
	l->backend->n_users += !is_there(l->user, l->backend);
	HASH_ADD(hh, p->leases, key, sizeof l->key, l);
	DL_APPEND(l->user->leases, l);
	DL_APPEND2(l->backend->leases, l, backend_prev, backend_next);
	DL_APPEND2(l->worker->leases, l, worker_prev, worker_next);
}

bool place_release(struct place *p, uint64_t worker, uint64_t session)
{
	struct lease *l = lease_find(p, worker, session);

	if (!l)
		return false;
	lease_free(p, l);
	return true;
}

static struct place_session session_of(const struct lease *l)
{
	return (struct place_session){
		.worker = l->key.worker,
		.session = l->key.session,
		.user = holder_name(l->user),
		.backend = holder_name(l->backend),
		.client = l->client,
		.since_ms = l->since_ms,
	};
}

bool place_find(const struct place *p, uint64_t worker, uint64_t session,
    struct place_session *out)
{
	const struct lease *l = lease_find(p, worker, session);

	if (!l)
		return false;
	*out = session_of(l);
	return true;
}

size_t place_drop_worker(struct place *p, uint64_t worker)
{
	size_t n = 0;

	/* the worker itself goes with its last lease */
	for (struct worker *w; (w = worker_find(p, worker)); n++)
		lease_free(p, w->leases);
	return n;
}

void place_free(struct place **pp)
{
	struct place *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	must(!p->walks);
	while (p->leases)
		lease_free(p, p->leases);
	free(p);
}

size_t place_n(const struct place *p)
{
	return HASH_COUNT(p->leases);
}

size_t place_n_users(const struct place *p)
{
	return HASH_COUNT(p->users);
}

size_t place_n_user(const struct place *p, struct str user)
{
	const struct holder *h = holder_find(p->users, user);

	return h ? h->n : 0;
}

size_t place_n_backend(const struct place *p, struct str backend)
{
	const struct holder *h = holder_find(p->backends, backend);

	return h ? h->n : 0;
}

size_t place_n_backend_users(const struct place *p, struct str backend)
{
	const struct holder *h = holder_find(p->backends, backend);

	return h ? h->n_users : 0;
}

size_t place_n_worker(const struct place *p, uint64_t worker)
{
	const struct worker *w = worker_find(p, worker);

	return w ? w->n : 0;
}

size_t place_n_address(const struct place *p, const struct addr *client)
{
	const struct site *s = site_find(p, client);

	return s ? s->n : 0;
}

struct str place_user_backend(const struct place *p, struct str user)
{
	const struct holder *h = holder_find(p->users, user);

	/* a head's prev is the tail of a utlist */
	return h ? holder_name(h->leases->prev->backend) : STR_NONE;
}

void place_user(const struct place *p, struct str user, place_visit_fn *visit,
    void *arg)
{
	const struct holder *h = holder_find(p->users, user);
	const struct lease *l;

	if (!h)
		return;
	DL_FOREACH(h->leases, l) {
		struct place_session s = session_of(l);
		visit(arg, &s);
	}
}

void place_backend(const struct place *p, struct str backend,
    place_find_fn *visit, void *arg)
{
	const struct holder *h = holder_find(p->backends, backend);
	const struct lease *l;

	if (!h)
		return;
	DL_FOREACH2(h->leases, l, backend_next) {
		struct place_session s = session_of(l);
		if (!visit(arg, &s))
			return;
	}
}

/* --- walks ------------------------------------------------------------------- */

static struct place_walk *walk_new(struct place *p, bool is_of_users)
{
	struct place_walk *w = mem_alloc(sizeof *w);

	w->place = p;
	w->is_of_users = is_of_users;
	if (is_of_users)
		w->user = p->users;
	else
		w->lease = p->leases;
	DL_APPEND(p->walks, w);
	return w;
}

struct place_walk *place_walk_sessions(struct place *p)
{
	return walk_new(p, false);
}

struct place_walk *place_walk_users(struct place *p)
{
	return walk_new(p, true);
}

void place_walk_free(struct place_walk **wp)
{
	struct place_walk *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	DL_DELETE(w->place->walks, w);
	free(w);
}

bool place_walk_next(struct place_walk *w, struct place_session *out,
    size_t *n_out)
{
	const struct lease *l = w->is_of_users ?
	    w->user ? w->user->leases->prev : NULL : w->lease;

	if (!l)
		return false;
	*out = session_of(l);
	if (n_out)
		*n_out = l->user->n;
	if (w->is_of_users)
		w->user = w->user->hh.next;
	else
		w->lease = w->lease->hh.next;
	return true;
}
