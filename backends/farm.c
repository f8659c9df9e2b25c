/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/farm.h"

#include <stdlib.h>

#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/faults.h"
#include "backends/target.h"
#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/imap/caps.h"

#define uthash_fatal(msg) die("farm: %s", msg)
#include <uthash.h>

struct backend {
	UT_hash_handle hh;
	char *name;
	const struct conf_backend *conf;
	struct conf_backend *own;	/* that; NULL: it is the settings' */
	const char *section;	/* its title */
	struct resolve_name *host;
	struct faults faults;
	unsigned tier;
	size_t turn;		/* of its addresses, for checks */
	char *peer;		/* whose words the capabilities are */
	struct buf capabilities;
	struct condition condition;
	struct condition_rules rules;
	struct bucket logins;
	const struct conf_pool *pool;	/* that cares for it */
	size_t index;
	enum backend_wish wish;
	struct backend_since since;
	int weight;		/* the operator's; -1: the configuration's */
	bool is_kept;		/* by the farm_configure() that runs */
};

/* What pools name: a backend, or an SRV record. */
struct section {
	UT_hash_handle hh;
	const struct conf_backend *conf;
	struct resolve_name *srv;	/* NULL: it is a backend */
	unsigned version;		/* of the record, as taken */
	bool is_pending;		/* there was none to take */
	struct backend **members;
	size_t n;
};

struct farm {
	struct resolve *resolve;
	struct settings *settings;
	struct section *sections;	/* by title */
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
	faults_fini(&b->faults);
	buf_fini(&b->capabilities);
	free(b->own);
	free(b->peer);
	free(b->name);
	free(b);
}

static void sections_free(struct section **all)
{
	struct section *s, *next;

	HASH_ITER(hh, *all, s, next) {
		HASH_DELETE(hh, *all, s);
		resolve_unwatch(&s->srv);
		free(s->members);
		free(s);
	}
}

void farm_free(struct farm **fp)
{
	struct farm *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	sections_free(&f->sections);
	while (f->backends)
		backend_free(f, f->backends);
	free(f->list);
	settings_unref(&f->settings);
	free(f);
}

/* --- backends of settings ---------------------------------------------------- */

static struct backend *backend_get(struct farm *f, const char *name)
{
	struct backend *b = farm_find(f, str_from(name));

	if (!b) {
		b = mem_alloc(sizeof *b);
		b->name = mem_strdup(name);
		b->weight = -1;
		buf_init(&b->capabilities, CAPS_MAX);
		condition_init(&b->condition, clock_now());
		HASH_ADD_KEYPTR(hh, f->backends, b->name, strlen(name), b);
	}
	return b;
}

/* own: conf, if it is not the settings'. */
static struct backend *backend_configure(struct farm *f,
    const struct conf_backend *conf, struct conf_backend *own)
{
	struct backend *b = backend_get(f, conf->name);
	struct resolve_name *was = b->host;
	char *peer = mem_printf("%s:%u %d", conf->address.host,
	    conf->address.port, (int)conf->tls);

	must(!b->is_kept);	/* a section is added once */
	b->is_kept = true;
	b->conf = conf;
	b->section = conf->name;
	if (b->own != own)
		free(b->own);
	b->own = own;
	b->host = resolve_watch(f->resolve, conf->address.host);
	resolve_unwatch(&was);
	if (b->peer && strcmp(b->peer, peer) != 0) {
		buf_clear(&b->capabilities);
		faults_fini(&b->faults);
		condition_doubt(&b->condition);
	}
	free(b->peer);
	b->peer = peer;
	f->list = mem_realloc(f->list, (f->n + 1) * sizeof(struct backend *));
	b->pool = NULL;
	b->index = f->n;
	f->list[f->n++] = b;
	return b;
}

static void log_target(const char *event, const struct backend *b)
{
	struct log_line l;

	if (!log_begin(&l, LOG_LINE_INFO, event))
		return;
	log_text(&l, "backend", b->name);
	log_u64(&l, "weight", b->conf->weight);
	log_u64(&l, "tier", b->tier);
	log_end(&l);
}

static void target_add(struct farm *f, struct section *s,
    const struct resolve_target *t, unsigned weight, unsigned tier)
{
	char *name = target_name(s->conf, t);
	struct backend *known = farm_find(f, str_from(name)), *b;
	bool is_new = !known;
	/* of the same section of the same settings */
	bool stays = known && known->section == s->conf->name;
	struct conf_backend *own = stays ? known->own :
	    target_conf(s->conf, str_from(name), weight);

	own->weight = weight;
	b = backend_configure(f, own, own);
	free(name);
	b->section = s->conf->name;
	b->tier = tier;
	s->members[s->n++] = b;
	if (is_new)
		log_target("target_came", b);
}

static void section_add_targets(struct farm *f, struct section *s)
{
	size_t n = resolve_n_targets(s->srv);
	unsigned most = 0, sum = 0, tier = 0;

	for (size_t i = 0; i < n; i++)
		if (resolve_target(s->srv, i)->weight > most)
			most = resolve_target(s->srv, i)->weight;
	s->members = mem_alloc((n + 1) * sizeof(struct backend *));
	for (size_t i = 0; i < n; i++) {
		const struct resolve_target *t = resolve_target(s->srv, i);
		bool is_first = i == 0 ||
		    resolve_target(s->srv, i - 1)->priority != t->priority;
		tier += i > 0 && is_first;
		sum = is_first ? 0 : sum;
		for (size_t k = i; is_first && k < n &&
		    resolve_target(s->srv, k)->priority == t->priority; k++)
			sum += resolve_target(s->srv, k)->weight;
		target_add(f, s, t, target_weight(s->conf, t, most, sum),
		    tier);
	}
}

static bool is_unknown(const struct section *s)
{
	return resolve_state(s->srv) == RESOLVE_PENDING;
}

static void section_add(struct farm *f, const struct conf_backend *conf)
{
	struct section *s;

	HASH_FIND_STR(f->sections, conf->name, s);
	if (s)		/* of another pool, too */
		return;
	s = mem_alloc(sizeof *s);
	s->conf = conf;
	HASH_ADD_KEYPTR(hh, f->sections, conf->name, strlen(conf->name), s);
	if (target_is_srv(conf)) {
		s->srv = resolve_watch(f->resolve, conf->address.host);
		s->version = resolve_version(s->srv);
		s->is_pending = is_unknown(s);
		section_add_targets(f, s);
		return;
	}
	s->members = mem_alloc(sizeof(struct backend *));
	s->members[s->n++] = backend_configure(f, conf, NULL);
}

/* --- who cares for them ------------------------------------------------------ */

/* The pool does, unless another one does already. */
static void pool_care(const struct farm *f, const struct conf_pool *pool)
{
	for (size_t i = 0; i < pool->backends.n; i++) {
		size_t n;
		struct backend *const *members = farm_members(f,
		    pool->backends.v[i], &n);
		for (size_t k = 0; k < n; k++) {
			struct backend *b = members[k];
			if (!b->pool ||
			    (b->pool->health->type == CONF_HEALTH_NONE &&
			     pool->health->type != CONF_HEALTH_NONE))
				b->pool = pool;
		}
	}
}

static void backend_follow(struct backend *b)
{
	const struct conf_health *h = b->pool->health;

	b->rules = (struct condition_rules){
		.is_checked = h->type != CONF_HEALTH_NONE,
		.check_proves = h->type == CONF_HEALTH_LOGIN,
		.rise = h->rise, .fall = h->fall,
		.interval_s = (double)h->interval_ms / 1000,
		.fast_interval_s = (double)h->fast_interval_ms / 1000,
		.slow_start_s = (double)b->pool->slow_start_ms / 1000 };
	bucket_set_rate(&b->logins, b->pool->login_rate, clock_now());
}

void farm_configure(struct farm *f, struct settings *settings)
{
	struct section *old = f->sections;
	struct backend *b, *next;
	size_t n_pools;
	const struct conf_pool *const *pools = conf_pool_all(settings,
	    &n_pools);

	settings = settings_ref(settings);
	f->sections = NULL;
	f->n = 0;
	for (size_t i = 0; i < n_pools; i++)
		for (size_t k = 0; k < pools[i]->backends.n; k++)
			section_add(f, pools[i]->backends.v[k]);
	for (size_t i = 0; i < n_pools; i++)
		pool_care(f, pools[i]);
	for (size_t i = 0; i < f->n; i++)
		backend_follow(f->list[i]);
	sections_free(&old);	/* behind it: their names are watched on */
	HASH_ITER(hh, f->backends, b, next) {
		if (b->is_kept) {
			b->is_kept = false;
			continue;
		}
		if (b->own)
			log_target("target_left", b);
		backend_free(f, b);
	}
	settings_unref(&f->settings);
	f->settings = settings;
}

bool farm_is_outdated(const struct farm *f)
{
	const struct section *s;

	for (s = f->sections; s; s = s->hh.next)
		if (s->srv && (resolve_version(s->srv) != s->version ||
		    is_unknown(s) != s->is_pending))
			return true;
	return false;
}

void farm_update(struct farm *f)
{
	farm_configure(f, f->settings);
}

/* --- all of them ---------------------------------------------------------------- */

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

struct backend *farm_find_host(const struct farm *f, struct str host,
    unsigned port)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct settings_address *a = &f->list[i]->conf->address;
		if ((port == 0 || a->port == port) &&
		    str_ieq(str_from(a->host), host))
			return f->list[i];
	}
	return NULL;
}

struct backend *farm_find_address(const struct farm *f, const struct addr *a)
{
	for (size_t i = 0; i < f->n; i++)
		if (backend_has_address(f->list[i], a))
			return f->list[i];
	return NULL;
}

static const struct section *section_find(const struct farm *f,
    struct str title)
{
	const struct section *s;

	HASH_FIND(hh, f->sections, title.n ? title.p : "", title.n, s);
	return s;
}

struct backend *const *farm_members(const struct farm *f,
    const struct conf_backend *section, size_t *n_out)
{
	const struct section *s = section_find(f, str_from(section->name));

	must(s);
	*n_out = s->n;
	return s->members;
}

bool farm_is_pending(const struct farm *f,
    const struct conf_backend *section)
{
	const struct section *s = section_find(f, str_from(section->name));

	return s && s->is_pending;
}

bool farm_is_pending_for(const struct farm *f, struct str name)
{
	const struct conf_backend *section = f->settings ?
	    target_section(f->settings, name) : NULL;
	const struct section *s;

	for (s = f->sections; s; s = s->hh.next)
		if ((!section || s->conf == section) && s->is_pending)
			return true;
	return false;
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

struct str backend_section(const struct backend *b)
{
	return str_from(b->section);
}

const struct conf_backend *backend_conf(const struct backend *b)
{
	return b->conf;
}

size_t backend_index(const struct backend *b)
{
	return b->index;
}

const struct conf_pool *backend_pool(const struct backend *b)
{
	return b->pool;
}

const struct condition_rules *backend_rules(const struct backend *b)
{
	return &b->rules;
}

const struct condition *backend_condition(const struct backend *b)
{
	return &b->condition;
}

struct condition *backend_observe(struct backend *b)
{
	return &b->condition;
}

bool backend_is_down(const struct backend *b)
{
	return b->condition.state == CONDITION_DOWN;
}

uint64_t backend_take_token(struct backend *b, uint64_t most_ms)
{
	return bucket_take(&b->logins, most_ms, clock_now());
}

void backend_granted(struct backend *b, uint64_t key)
{
	condition_try(&b->condition, key,
	    (double)b->pool->login_timeout_ms / 1000, clock_now());
}

void backend_return_token(struct backend *b)
{
	bucket_give_back(&b->logins);
}

void backend_ungranted(struct backend *b, uint64_t key)
{
	condition_untry(&b->condition, key, clock_now());
}

unsigned backend_tier(const struct backend *b)
{
	return b->tier;
}

/* --- addresses -------------------------------------------------------------- */

/* A backend's addresses of which more than one may be asked have few faults,
 * so that the list of them is short or empty. */
static bool is_fit(const struct backend *b, const struct addr *a)
{
	return b->faults.n == 0 || !faults_has(&b->faults, a, clock_now());
}

/* The greatest draw of key and address wins: an address that comes or goes
 * moves its own keys only. */
enum resolve_state backend_address(const struct backend *b, uint64_t key,
    struct addr *out)
{
	enum resolve_state state = resolve_state(b->host);
	size_t n = resolve_n_addrs(b->host);
	uint64_t best = 0;
	bool best_is_fit = false;

	if (state != RESOLVE_KNOWN)
		return state;
	for (size_t i = 0; i < n; i++) {
		struct addr a = backend_address_at(b, i);
		uint64_t draw = n == 1 ? 0 :
		    balance_pair(key, addr_hash_ip(&a));
		bool fit = n == 1 || is_fit(b, &a);
		/* when all are at fault none is left out */
		if (i > 0 && (fit < best_is_fit ||
		    (fit == best_is_fit && draw <= best)))
			continue;
		*out = a;
		best = draw;
		best_is_fit = fit;
	}
	return state;
}

enum resolve_state backend_next_address(struct backend *b, struct addr *out)
{
	enum resolve_state state = resolve_state(b->host);

	if (state == RESOLVE_KNOWN)
		*out = backend_address_at(b,
		    b->turn++ % resolve_n_addrs(b->host));
	return state;
}

size_t backend_n_addresses(const struct backend *b)
{
	return resolve_n_addrs(b->host);
}

struct addr backend_address_at(const struct backend *b, size_t i)
{
	return resolve_addr(b->host, i, b->conf->address.port);
}

bool backend_has_address(const struct backend *b, const struct addr *a)
{
	if (addr_port(a) != b->conf->address.port)
		return false;
	for (size_t i = 0; i < backend_n_addresses(b); i++) {
		struct addr its = backend_address_at(b, i);
		if (addr_same_ip(&its, a))
			return true;
	}
	return false;
}

bool backend_is_at_fault(const struct backend *b, const struct addr *a)
{
	return !is_fit(b, a);
}

static void log_address(const struct backend *b, enum log_level level,
    const char *event, const struct addr *a)
{
	struct log_line l;

	if (!log_begin(&l, level, event))
		return;
	log_text(&l, "backend", b->name);
	log_addr(&l, "address", a);
	log_u64(&l, "addresses", backend_n_addresses(b));
	log_end(&l);
}

bool backend_has_other_doors(const struct backend *b)
{
	size_t n = backend_n_addresses(b);

	for (size_t i = 0; n > 1 && i < n; i++) {
		struct addr a = backend_address_at(b, i);
		if (is_fit(b, &a))
			return true;
	}
	return false;
}

bool backend_fault(struct backend *b, const struct addr *bad)
{
	if (backend_n_addresses(b) < 2)	/* there is nothing to choose */
		return false;
	if (backend_has_address(b, bad) &&
	    faults_add(&b->faults, bad, clock_now()))
		log_address(b, LOG_LINE_WARN, "address_fault", bad);
	return backend_has_other_doors(b);
}

void backend_fault_over(struct backend *b, const struct addr *good)
{
	if (faults_drop(&b->faults, good))
		log_address(b, LOG_LINE_INFO, "address_ok", good);
}

/* --- capabilities ------------------------------------------------------------- */

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

struct backend_since *backend_since(struct backend *b)
{
	return &b->since;
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

unsigned backend_weight(const struct backend *b)
{
	unsigned full = backend_base_weight(b) * FARM_WEIGHT_UNIT;
	unsigned now = (unsigned)(full * condition_share(&b->condition,
	    &b->rules, clock_now()));

	return now || !full ? now : 1;
}
