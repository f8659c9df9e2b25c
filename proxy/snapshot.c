/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/snapshot.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "backends/backend_tls.h"
#include "backends/target.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/tlsctx.h"
#include "proxy/conf.h"

#define LOG_EVERY_S 1.	/* of one backend's failures */
#define IDLE_MAX 64		/* targets that are kept though nobody uses them */

struct known_backend {
	const struct conf_backend *conf;
	struct tls_client *tls;
	double logged_s;	/* snapshot_may_log() */
	unsigned n_unlogged;
	UT_hash_handle hh;	/* by name */
	/* of a target of an SRV record, since they come and go: */
	struct conf_backend *own;	/* conf; NULL: it is a section's */
	size_t n_users;
	struct known_backend *prev, *next;	/* while idle */
};

struct snapshot {
	unsigned n_refs;
	struct settings *settings;
	struct snapshot_listener *listeners;
	size_t n_listeners;
	struct known_backend *all;	/* array */
	size_t n_backends;
	struct known_backend *by_name;	/* hash over it, and over targets */
	struct known_backend *idle;	/* the longest idle first */
	size_t n_idle;
	struct backend_trusts *trusts;
};

static bool add_listener(struct snapshot_listener *l,
    const struct conf_listener *conf, struct tls_tickets *tickets,
    struct err *err)
{
	size_t n = conf->certificates.n;

	l->conf = conf;
	if (conf->tls == CONF_TLS_NONE || n == 0)
		return true;
	struct tls_pair *pairs = mem_alloc(n * sizeof *pairs);
	for (size_t i = 0; i < n; i++) {
		const struct conf_tls *t = conf->certificates.v[i];
		pairs[i] = (struct tls_pair){ .name = t->name,
			.certificate = t->certificate.data,
			.key = t->key.data, .client_ca = t->client_ca.data,
			.min_version = 10 + (int)t->min_version,
			.ciphers = t->ciphers,
			.ciphersuites = t->ciphersuites };
		l->asks_certificate |= t->client_ca.data.n > 0;
	}
	l->tls = tls_server_new(pairs, n, tickets, err);
	free(pairs);
	return l->tls != NULL;
}

static void add_backends(struct snapshot *s)
{
	const struct conf_backend *const *all =
	    conf_backend_all(s->settings, &s->n_backends);

	s->all = mem_alloc(s->n_backends * sizeof *s->all);
	for (size_t i = 0; i < s->n_backends; i++) {
		struct known_backend *b = &s->all[i];
		b->conf = all[i];
		HASH_ADD_KEYPTR(hh, s->by_name, b->conf->name,
		    strlen(b->conf->name), b);
	}
}

static void target_free(struct snapshot *s, struct known_backend *b)
{
	HASH_DELETE(hh, s->by_name, b);
	DL_DELETE(s->idle, b);
	s->n_idle--;
	tls_client_free(&b->tls);
	free(b->own);
	free(b);
}

static void destroy(struct snapshot *s)
{
	/* whoever uses one has a reference to the snapshot as well */
	while (s->idle)
		target_free(s, s->idle);
	HASH_CLEAR(hh, s->by_name);
	for (size_t i = 0; i < s->n_backends; i++)
		tls_client_free(&s->all[i].tls);
	for (size_t i = 0; i < s->n_listeners; i++)
		tls_server_free(&s->listeners[i].tls);
	backend_trusts_free(&s->trusts);
	free(s->all);
	free(s->listeners);
	settings_unref(&s->settings);
	free(s);
}

struct snapshot *snapshot_new(struct settings *settings,
    struct tls_tickets *tickets, struct err *err)
{
	struct snapshot *s = mem_alloc(sizeof *s);
	size_t n;
	const struct conf_listener *const *all =
	    conf_listener_all(settings, &n);

	s->n_refs = 1;
	s->trusts = backend_trusts_new();
	s->settings = settings;
	s->listeners = mem_alloc(n * sizeof *s->listeners);
	for (; s->n_listeners < n; s->n_listeners++)
		if (!add_listener(&s->listeners[s->n_listeners],
			all[s->n_listeners], tickets, err)) {
			destroy(s);
			return NULL;
		}
	add_backends(s);
	return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	s->n_refs++;
	return s;
}

void snapshot_unref(struct snapshot **sp)
{
	struct snapshot *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	must(s->n_refs > 0);
	if (--s->n_refs == 0)
		destroy(s);
}

const struct conf_limits *snapshot_limits(const struct snapshot *s)
{
	return conf_limits(s->settings);
}

const struct conf_relay *snapshot_relay(const struct snapshot *s)
{
	return conf_relay(s->settings);
}

const struct conf_auth *snapshot_auth(const struct snapshot *s)
{
	return conf_auth(s->settings);
}

const struct conf_log *snapshot_log(const struct snapshot *s)
{
	return conf_log(s->settings);
}

const char *snapshot_region(const struct snapshot *s, struct str name)
{
	size_t n;
	const struct conf_region *const *all = conf_region_all(s->settings,
	    &n);

	for (size_t i = 0; i < n; i++)
		if (str_eq(str_from(all[i]->name), name))
			return all[i]->name;
	return "";
}

double snapshot_connect_seconds(const struct snapshot *s, struct str pool)
{
	size_t n;
	const struct conf_pool *const *all = conf_pool_all(s->settings, &n);

	for (size_t i = 0; i < n; i++)
		if (str_eq(str_from(all[i]->name), pool))
			return (double)all[i]->connect_timeout_ms / 1000;
	return 5;
}

double snapshot_spread_seconds(const struct snapshot *s,
    const struct conf_backend *b)
{
	size_t n;
	const struct conf_pool *const *all = conf_pool_all(s->settings, &n);
	const struct conf_backend *section = target_section(s->settings,
	    str_from(b->name));

	if (!section)
		section = b;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < all[i]->backends.n; k++)
			if (all[i]->backends.v[k] == section)
				return (double)all[i]->disconnect_spread_ms /
				    1000;
	return 0;
}

const struct snapshot_listener *snapshot_find_listener(
    const struct snapshot *s, struct str name)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (str_eq(str_from(s->listeners[i].conf->name), name))
			return &s->listeners[i];
	return NULL;
}

static struct known_backend *find_backend(const struct snapshot *s,
    struct str name)
{
	struct known_backend *b;

	HASH_FIND(hh, s->by_name, name.p, name.n, b);
	return b;
}

static struct known_backend *target_new(struct snapshot *s, struct str name)
{
	const struct conf_backend *section = target_section(s->settings,
	    name);
	struct conf_backend *own = section ?
	    target_conf(section, name, section->weight) : NULL;

	if (!own)
		return NULL;
	struct known_backend *b = mem_alloc(sizeof *b);
	b->conf = b->own = own;
	HASH_ADD_KEYPTR(hh, s->by_name, own->name, name.n, b);
	DL_APPEND(s->idle, b);
	s->n_idle++;
	return b;
}

const struct conf_backend *snapshot_get_backend(struct snapshot *s,
    struct str name)
{
	struct known_backend *b = name.n ? find_backend(s, name) : NULL;

	if (!b && name.n)
		b = target_new(s, name);
	/* an SRV name itself is no backend */
	if (!b || (!b->own && target_is_srv(b->conf)))
		return NULL;
	if (b->own && b->n_users++ == 0) {
		DL_DELETE(s->idle, b);
		s->n_idle--;
	}
	return b->conf;
}

void snapshot_put_backend(struct snapshot *s, const struct conf_backend **cp)
{
	const struct conf_backend *conf = *cp;

	if (!conf)
		return;
	*cp = NULL;
	struct known_backend *b = find_backend(s, str_from(conf->name));
	must(b && b->conf == conf);
	if (!b->own || --b->n_users > 0)
		return;
	DL_APPEND(s->idle, b);
	if (++s->n_idle > IDLE_MAX)
		target_free(s, s->idle);
}

size_t snapshot_n_targets(const struct snapshot *s)
{
	return HASH_COUNT(s->by_name) - s->n_backends;
}

bool snapshot_may_log(struct snapshot *s, const struct conf_backend *conf,
    double now_s, unsigned *more_out)
{
	struct known_backend *b = find_backend(s, str_from(conf->name));

	must(b && b->conf == conf);
	if (b->logged_s > 0 && now_s - b->logged_s < LOG_EVERY_S) {
		b->n_unlogged++;
		return false;
	}
	*more_out = b->n_unlogged;
	b->n_unlogged = 0;
	b->logged_s = now_s;
	return true;
}

struct tls_client *snapshot_tls_client(struct snapshot *s,
    const struct conf_backend *conf, struct err *err)
{
	struct known_backend *b = find_backend(s, str_from(conf->name));

	must(b && b->conf == conf);
	if (!b->tls)
		b->tls = backend_tls_client(s->trusts, conf, err);
	return b->tls;
}
