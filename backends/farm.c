/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/farm.h"

#include <stdlib.h>

#include "backends/conf.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/imap/caps.h"

#define uthash_fatal(msg) die("farm: %s", msg)
#include <uthash.h>

#define FAULT_EVERY_S 1.

struct backend {
	UT_hash_handle hh;
	char *name;
	const struct conf_backend *conf;
	struct resolve_name *host;
	char *peer;		/* whose words the capabilities are */
	struct buf capabilities;
	double fault_at;
	enum backend_wish wish;
	int weight;		/* the operator's; -1: the configuration's */
	bool is_kept;		/* by the farm_configure() that runs */
};

struct farm {
	struct resolve *resolve;
	struct settings *settings;
	struct backend *backends;	/* by name */
	struct backend **list;
	size_t n;
};

struct farm *farm_new(struct resolve *resolve)
{
	struct farm *f = mem_alloc(sizeof *f);

	f->resolve = resolve;
	return f;
}

static void backend_free(struct farm *f, struct backend *b)
{
	HASH_DELETE(hh, f->backends, b);
	resolve_unwatch(&b->host);
	buf_fini(&b->capabilities);
	free(b->peer);
	free(b->name);
	free(b);
}

void farm_free(struct farm **fp)
{
	struct farm *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	while (f->backends)
		backend_free(f, f->backends);
	free(f->list);
	settings_unref(&f->settings);
	free(f);
}

static struct backend *backend_get(struct farm *f, const char *name)
{
	struct backend *b = farm_find(f, str_from(name));

	if (!b) {
		b = mem_alloc(sizeof *b);
		b->name = mem_strdup(name);
		b->weight = -1;
		buf_init(&b->capabilities, CAPS_MAX);
		HASH_ADD_KEYPTR(hh, f->backends, b->name, strlen(name), b);
	}
	return b;
}

static void backend_configure(struct farm *f, const struct conf_backend *conf)
{
	struct backend *b = backend_get(f, conf->name);
	struct resolve_name *was = b->host;
	char *peer = mem_printf("%s:%u %d", conf->address.host,
	    conf->address.port, (int)conf->tls);

	if (b->is_kept) {	/* of another pool, too */
		free(peer);
		return;
	}
	b->is_kept = true;
	b->conf = conf;
	b->host = resolve_watch(f->resolve, conf->address.host);
	resolve_unwatch(&was);
	if (b->peer && strcmp(b->peer, peer) != 0)
		buf_clear(&b->capabilities);
	free(b->peer);
	b->peer = peer;
	f->list = mem_realloc(f->list, (f->n + 1) * sizeof(struct backend *));
	f->list[f->n++] = b;
}

void farm_configure(struct farm *f, struct settings *settings)
{
	struct backend *b, *next;
	size_t n_pools;
	const struct conf_pool *const *pools = conf_pool_all(settings,
	    &n_pools);

	settings = settings_ref(settings);
	f->n = 0;
	for (size_t i = 0; i < n_pools; i++)
		for (size_t k = 0; k < pools[i]->backends.n; k++)
			backend_configure(f, pools[i]->backends.v[k]);
	HASH_ITER(hh, f->backends, b, next) {
		if (!b->is_kept)
			backend_free(f, b);
		else
			b->is_kept = false;
	}
	settings_unref(&f->settings);
	f->settings = settings;
}

size_t farm_n(const struct farm *f)
{
	return f->n;
}

struct backend *farm_at(const struct farm *f, size_t i)
{
	must(i < f->n);
	return f->list[i];
}

struct backend *farm_find(const struct farm *f, struct str name)
{
	struct backend *b;

	HASH_FIND(hh, f->backends, name.n ? name.p : "", name.n, b);
	return b;
}

void farm_common(const struct farm *f, struct buf *out)
{
	struct buf common, both;
	bool has_any = false;

	buf_init(&common, CAPS_MAX);
	buf_init(&both, CAPS_MAX);
	for (size_t i = 0; i < f->n; i++) {
		struct str caps = buf_view(&f->list[i]->capabilities);
		if (caps.n == 0)
			continue;
		buf_clear(&both);
		if (has_any)
			caps_intersect(&both, buf_view(&common), caps);
		else
			caps_add(&both, caps);
		has_any = true;
		struct buf t = common;
		common = both;
		both = t;
	}
	caps_add(out, buf_view(&common));
	buf_fini(&common);
	buf_fini(&both);
}

struct str backend_name(const struct backend *b)
{
	return str_from(b->name);
}

const struct conf_backend *backend_conf(const struct backend *b)
{
	return b->conf;
}

enum resolve_state backend_address(const struct backend *b, struct addr *out)
{
	enum resolve_state state = resolve_state(b->host);

	if (state == RESOLVE_KNOWN)
		*out = resolve_addr(b->host, b->conf->address.port);
	return state;
}

void backend_fault(struct backend *b, const struct addr *bad, double now_s)
{
	if (now_s - b->fault_at < FAULT_EVERY_S && now_s >= b->fault_at)
		return;
	b->fault_at = now_s;
	resolve_fault(b->host, bad);
}

struct str backend_capabilities(const struct backend *b)
{
	return buf_view(&b->capabilities);
}

bool backend_hear(struct backend *b, struct str capabilities)
{
	if (capabilities.n == 0 ||
	    caps_equal(capabilities, buf_view(&b->capabilities)))
		return false;
	buf_clear(&b->capabilities);
	caps_add(&b->capabilities, capabilities);
	return true;
}

enum backend_wish backend_wish(const struct backend *b)
{
	return b->wish;
}

void backend_set_wish(struct backend *b, enum backend_wish wish)
{
	b->wish = wish;
}

const char *backend_wish_word(enum backend_wish wish)
{
	switch (wish) {
	case BACKEND_READY:
		return "ready";
	case BACKEND_DRAIN:
		return "drain";
	case BACKEND_MAINTENANCE:
		return "maintenance";
	}
	return "";
}

unsigned backend_base_weight(const struct backend *b)
{
	return b->weight < 0 ? b->conf->weight : (unsigned)b->weight;
}

void backend_set_weight(struct backend *b, int weight)
{
	b->weight = weight;
}
