/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * A look-up goes through its keys; for each it takes a cached answer or waits
 * in a flight, which is one request of one key to the source. What a flight
 * brings goes to the cache and to all who wait in it.
 */
#include "backends/table.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/table_cache.h"
#include "proxy/base/clock.h"
#include "proxy/base/deadline.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("table: %s", msg)
#include <uthash.h>
#include <utlist.h>

#define COMPLAIN_S 10.		/* between lines on the same trouble */

struct complaint {
	double next;		/* not before */
	uint64_t n_silent;
};

struct table {
	struct table *prev, *next;
	struct tables *tables;
	struct settings *settings;	/* conf's */
	const struct conf_table *conf;
	const struct table_kind *kind;
	void *source;			/* the kind's own */
	bool folds;
	struct table_cache *cache;	/* NULL: the source is local */
	struct flight *flights;		/* by key */
	struct deadline_class late;
	struct table_counts counts;
	bool is_down;			/* the last request failed */
	bool is_down_told;
	double down_since;
	struct complaint down, nonsense;
	bool is_retired;		/* goes when nobody uses it */
	size_t n_users;			/* look-ups, and calls inside */
};

struct tables {
	struct ev_loop *loop;
	struct resolve *resolve;
	ev_timer sweep;
	struct settings *settings;	/* NULL until tables_configure() */
	struct table *all, *retired;
};

struct table_lookup {
	struct table_lookup *prev, *next;	/* in its flight */
	struct table *table;
	struct flight *flight;
	table_done_fn *done;
	void *owner;
	bool is_starting;		/* table_lookup() has not returned */
	bool is_done;
	size_t n_keys, at;
	struct str keys[TABLE_KEYS_MAX];	/* views of user */
	char user[];
};

struct flight {
	UT_hash_handle hh;
	struct table_request request;
	struct table *table;
	struct deadline late;
	double began;
	struct table_lookup *waiting;
	char key[];
};

/* What is known of a key. */
struct result {
	enum table_verdict verdict;
	struct str value;
	bool is_cached, is_stale;
	const char *why;
};

#define FLIGHT_OF(member_pointer, member) \
	((struct flight *)(void *)((char *)(member_pointer) - \
	    offsetof(struct flight, member)))

static bool may_complain(struct complaint *c)
{
	double now = clock_now();

	if (now < c->next) {
		c->n_silent++;
		return false;
	}
	c->next = now + COMPLAIN_S;
	return true;
}

/* --- a table's life ---------------------------------------------------------- */

static void flight_end(struct flight *f)
{
	deadline_stop(&f->late);
	HASH_DELETE(hh, f->table->flights, f);
	free(f);
}

static void table_free(struct table *t)
{
	struct flight *f, *next;

	HASH_ITER(hh, t->flights, f, next) {
		t->kind->cancel(t->source, &f->request);
		flight_end(f);
	}
	if (t->source)
		t->kind->free(t->source);
	deadline_class_fini(&t->late);
	table_cache_free(&t->cache);
	settings_unref(&t->settings);
	free(t);
}

static void sweep(struct tables *ts)
{
	struct table *t, *next;

	DL_FOREACH_SAFE(ts->retired, t, next) {
		if (t->n_users > 0)
			continue;
		DL_DELETE(ts->retired, t);
		table_free(t);
	}
}

static void on_sweep(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	sweep(timer->data);
}

/* Freed in a turn of its own: the kind may be calling. */
static void table_leave(struct table *t)
{
	must(t->n_users > 0);
	if (--t->n_users > 0 || !t->is_retired)
		return;
	ev_timer_stop(t->tables->loop, &t->tables->sweep);
	ev_timer_set(&t->tables->sweep, 0., 0.);
	ev_timer_start(t->tables->loop, &t->tables->sweep);
}

static void table_retire(struct table *t)
{
	t->is_retired = true;
	DL_APPEND(t->tables->retired, t);
	t->n_users++;
	table_leave(t);
}

const char *table_name(const struct table *t)
{
	return t->conf->name;
}

struct table_counts table_counts(const struct table *t)
{
	struct table_counts c = t->counts;

	c.n_cached = t->cache ? table_cache_n(t->cache) : 0;
	c.n_flights = HASH_COUNT(t->flights);
	return c;
}

/* --- look-ups ------------------------------------------------------------------ */

static void lookup_continue(struct table_lookup *l);

static void complain_nonsense(struct table *t, struct str key,
    const char *why)
{
	struct log_line line;

	if (!may_complain(&t->nonsense) ||
	    !log_begin(&line, LOG_LINE_ERROR, "table_value"))
		return;
	log_text(&line, "table", t->conf->name);
	log_str(&line, "key", key);
	log_text(&line, "why", why);
	if (t->nonsense.n_silent)
		log_u64(&line, "more", t->nonsense.n_silent);
	t->nonsense.n_silent = 0;
	log_end(&line);
}

static void lookup_end(struct table_lookup *l, const struct result *r)
{
	struct table *t = l->table;
	struct table_answer a = { .verdict = r->verdict,
		.is_cached = r->is_cached, .is_stale = r->is_stale,
		.why = r->why };
	struct err err;

	if (l->at < l->n_keys)
		a.key = l->keys[l->at];
	if (r->verdict == TABLE_FOUND) {
		a.value = r->value;
		if (!table_resolve(t->tables->settings, t->conf->delimiter,
		    r->value, &a, &err)) {
			a.verdict = TABLE_FAILED;
			a.why = err.text;
			complain_nonsense(t, a.key, err.text);
		}
	}
	switch (a.verdict) {
	case TABLE_FOUND:
		t->counts.found++;
		break;
	case TABLE_MISSING:
		t->counts.missing++;
		break;
	case TABLE_FAILED:
		t->counts.failed++;
		break;
	}
	l->is_done = true;
	l->done(l->owner, &a);
	if (!l->is_starting) {
		free(l);
		table_leave(t);
	}
}

static void lookup_take(struct table_lookup *l, const struct result *r)
{
	switch (r->verdict) {
	case TABLE_MISSING:
		l->at++;
		lookup_continue(l);
		return;
	case TABLE_FOUND:
	case TABLE_FAILED:
		lookup_end(l, r);
		return;
	}
}

enum freshness { NOT_CACHED, STALE, FRESH };

/* An answer beyond its grace is none. */
static enum freshness look_into_cache(struct table *t, struct str key,
    struct result *out)
{
	struct table_cached c;

	if (!t->cache || !table_cache_find(t->cache, key, &c))
		return NOT_CACHED;
	double good_ms = (double)(c.verdict == TABLE_FOUND ?
	    t->conf->cache_ms : t->conf->negative_cache_ms);
	double age_ms = (clock_now() - c.since) * 1000;
	*out = (struct result){ .verdict = c.verdict, .value = c.value,
		.is_cached = true };
	if (age_ms < good_ms)
		return FRESH;
	out->is_stale = true;
	return age_ms < good_ms + (double)t->conf->grace_ms ? STALE :
	    NOT_CACHED;
}

/* --- flights --------------------------------------------------------------------- */

static void note_source(struct table *t, enum table_verdict verdict,
    const char *why)
{
	struct log_line line;
	bool was_down = t->is_down;

	t->is_down = verdict == TABLE_FAILED;
	if (t->is_down) {
		t->counts.requests_failed++;
		if (!was_down)
			t->down_since = clock_now();
		if (t->is_down_told || !may_complain(&t->down))
			return;
		t->is_down_told = true;
		if (!log_begin(&line, LOG_LINE_ERROR, "table_down"))
			return;
		log_text(&line, "table", t->conf->name);
		log_text(&line, "why", why);
		log_end(&line);
	} else if (t->is_down_told) {
		t->is_down_told = false;
		if (!log_begin(&line, LOG_LINE_INFO, "table_up"))
			return;
		log_text(&line, "table", t->conf->name);
		log_seconds(&line, "after", clock_now() - t->down_since);
		log_end(&line);
	}
}

/* Copies the value to where it stays. */
static void result_keep(struct result *r, char to[TABLE_VALUE_MAX])
{
	if (r->value.n > TABLE_VALUE_MAX) {
		*r = (struct result){ .verdict = TABLE_FAILED,
			.why = "the answer is too long" };
	} else if (r->value.n) {
		memcpy(to, r->value.p, r->value.n);
		r->value.p = to;
	}
}

/* r may show what the kind owns and what goes with its request. */
static void flight_land(struct flight *f, struct result r)
{
	struct table *t = f->table;
	char value[TABLE_VALUE_MAX], why[200];
	double now = clock_now();
	struct result old;

	result_keep(&r, value);
	if (r.verdict == TABLE_FAILED) {
		snprintf(why, sizeof why, "%s", r.why ? r.why : "failed");
		r.why = why;
	}
	latency_add(&t->counts.latency, now - f->began);
	note_source(t, r.verdict, r.why);
	if (t->cache && r.verdict != TABLE_FAILED)
		table_cache_put(t->cache, f->request.key,
		    &(struct table_cached){ r.verdict, r.value, now });
	else if (look_into_cache(t, f->request.key, &old) != NOT_CACHED) {
		r = old;
		result_keep(&r, value);
	}
	deadline_stop(&f->late);
	HASH_DELETE(hh, t->flights, f);
	t->n_users++;
	for (struct table_lookup *l; (l = f->waiting);) {
		DL_DELETE(f->waiting, l);
		l->flight = NULL;
		if (r.is_stale)
			t->counts.stale++;
		lookup_take(l, &r);
	}
	free(f);
	table_leave(t);
}

void table_finish(struct table_request *request, enum table_verdict verdict,
    struct str value, const char *why)
{
	flight_land(FLIGHT_OF(request, request), (struct result){
	    .verdict = verdict, .why = why,
	    .value = verdict == TABLE_FOUND ? value : STR_NONE });
}

static void on_late(struct deadline *d, void *owner)
{
	struct flight *f = FLIGHT_OF(d, late);
	struct table *t = owner;
	char why[64];

	t->kind->cancel(t->source, &f->request);
	snprintf(why, sizeof why, "no answer within %u ms",
	    (unsigned)t->conf->timeout_ms);
	flight_land(f, (struct result){ .verdict = TABLE_FAILED,
	    .why = why });
}

/* first: who waits for it, or NULL. May have landed when it returns. */
static void flight_begin(struct table *t, struct str key,
    struct table_lookup *first)
{
	struct flight *f = mem_alloc(sizeof *f + key.n);

	memcpy(f->key, key.p, key.n);
	f->request.key = (struct str){ f->key, key.n };
	f->table = t;
	f->began = clock_now();
	if (first) {
		DL_APPEND(f->waiting, first);
		first->flight = f;
	}
	HASH_ADD_KEYPTR(hh, t->flights, f->key, key.n, f);
	t->counts.requests++;
	if (!t->kind->is_local)
		deadline_start(&t->late, &f->late);
	t->kind->lookup(t->source, &f->request);
}

/* --- look-ups again ---------------------------------------------------------- */

static void lookup_fly(struct table_lookup *l, struct str key)
{
	struct table *t = l->table;
	struct flight *f;

	HASH_FIND(hh, t->flights, key.p, key.n, f);
	if (f) {
		DL_APPEND(f->waiting, l);
		l->flight = f;
	} else if (HASH_COUNT(t->flights) >= TABLE_FLIGHTS_MAX) {
		lookup_end(l, &(struct result){ .verdict = TABLE_FAILED,
		    .why = "too many keys are being asked for" });
	} else {
		flight_begin(t, key, l);
	}
}

/* While the source is down, what is stale serves at once, and behind it the
 * source is tried again. */
static void lookup_continue(struct table_lookup *l)
{
	struct table *t = l->table;
	char value[TABLE_VALUE_MAX];
	struct result r;
	struct flight *f;

	if (l->at == l->n_keys) {
		lookup_end(l, &(struct result){ .verdict = TABLE_MISSING });
		return;
	}
	struct str key = l->keys[l->at];
	enum freshness freshness = look_into_cache(t, key, &r);
	if (freshness == NOT_CACHED || (freshness == STALE && !t->is_down)) {
		lookup_fly(l, key);
		return;
	}
	result_keep(&r, value);
	if (freshness == FRESH) {
		t->counts.hits++;
	} else {
		t->counts.stale++;
		HASH_FIND(hh, t->flights, key.p, key.n, f);
		if (!f && HASH_COUNT(t->flights) < TABLE_FLIGHTS_MAX)
			flight_begin(t, key, NULL);
	}
	lookup_take(l, &r);
}

static void add_key(struct table_lookup *l, struct str key)
{
	if (key.n == 0)
		return;
	for (size_t i = 0; i < l->n_keys; i++)
		if (str_eq(l->keys[i], key))
			return;
	l->keys[l->n_keys++] = key;
}

/*
 *	key = "user@domain" / "user" / "@domain"
 */
static void make_keys(struct table_lookup *l, struct str user)
{
	const struct conf_table *conf = l->table->conf;
	const char *at = user.n ? memrchr(user.p, '@', user.n) : NULL;
	struct str local = user, domain = STR_NONE;

	if (at) {
		local.n = (size_t)(at - user.p);
		domain = str_skip(user, local.n);
	}
	if (conf->type == CONF_TABLE_FILE &&
	    conf->format == CONF_TABLE_REGEX) {
		add_key(l, user);
		return;
	}
	for (size_t i = 0; i < conf->keys.n; i++)
		if (strcmp(conf->keys.v[i], "user") == 0)
			add_key(l, local);
		else if (strcmp(conf->keys.v[i], "@domain") != 0)
			add_key(l, user);
		else if (domain.n > 1)
			add_key(l, domain);
}

struct table_lookup *table_lookup(struct table *t, struct str user,
    table_done_fn *done, void *owner)
{
	struct table_lookup *l = mem_alloc(sizeof *l + user.n);

	if (user.n)
		memcpy(l->user, user.p, user.n);
	l->table = t;
	l->done = done;
	l->owner = owner;
	l->is_starting = true;
	make_keys(l, (struct str){ l->user, user.n });
	t->n_users++;
	t->counts.lookups++;
	lookup_continue(l);
	l->is_starting = false;
	if (!l->is_done)
		return l;
	free(l);
	table_leave(t);
	return NULL;
}

/* The request goes on: its answer is for the cache. */
void table_cancel(struct table_lookup **lp)
{
	struct table_lookup *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	must(l->flight);
	struct table *t = l->table;
	DL_DELETE(l->flight->waiting, l);
	free(l);
	table_leave(t);
}

/* --- configuration ------------------------------------------------------------ */

static bool is_folding(const struct settings *settings)
{
	return conf_auth(settings)->canonical_case == USER_CASE_LOWER;
}

static struct table *table_new(struct tables *ts, struct settings *settings,
    const struct conf_table *conf, struct err *err)
{
	const struct table_kind *kind = table_kind(conf->type, err);

	if (!kind) {
		err_prefix(err, "%s: table %s", conf->where, conf->name);
		return NULL;
	}
	struct table *t = mem_alloc(sizeof *t);
	t->tables = ts;
	t->settings = settings_ref(settings);
	t->conf = conf;
	t->kind = kind;
	t->folds = is_folding(settings);
	deadline_class_init(&t->late, ts->loop,
	    (double)conf->timeout_ms / 1000, on_late, t);
	if (!kind->is_local)
		t->cache = table_cache_new(conf->cache_entries);
	t->source = kind->new(conf, t->folds, ts->loop, ts->resolve,
	    err);
	if (!t->source) {
		err_prefix(err, "%s: table %s", conf->where, conf->name);
		table_free(t);
		return NULL;
	}
	return t;
}

static struct table *find_same(struct tables *ts,
    const struct settings *settings, const struct conf_table *conf)
{
	struct table *t = tables_find(ts, conf->name);

	return t && settings_same(t->conf, conf) &&
	    t->folds == is_folding(settings) ? t : NULL;
}

bool tables_configure(struct tables *ts, struct settings *settings,
    struct err *err)
{
	struct table *made = NULL, *t, *next;
	size_t n;
	const struct conf_table *const *all = conf_table_all(settings, &n);

	for (size_t i = 0; i < n; i++) {
		if (find_same(ts, settings, all[i]))
			continue;
		t = table_new(ts, settings, all[i], err);
		if (!t) {
			DL_FOREACH_SAFE(made, t, next)
				table_free(t);
			return false;
		}
		DL_APPEND(made, t);
	}
	DL_FOREACH_SAFE(ts->all, t, next) {
		const struct conf_table *now = conf_table_find(settings,
		    t->conf->name);
		if (now && find_same(ts, settings, now) == t)
			continue;
		DL_DELETE(ts->all, t);
		table_retire(t);
	}
	DL_CONCAT(ts->all, made);
	settings_ref(settings);
	settings_unref(&ts->settings);
	ts->settings = settings;
	return true;
}

struct table *tables_find(const struct tables *ts, const char *name)
{
	struct table *t;

	DL_FOREACH(ts->all, t)
		if (strcmp(t->conf->name, name) == 0)
			return t;
	return NULL;
}

bool tables_check(const struct settings *settings, struct err *err)
{
	size_t n;
	const struct conf_table *const *all = conf_table_all(settings, &n);

	for (size_t i = 0; i < n; i++) {
		const struct table_kind *kind = table_kind(all[i]->type, err);
		if (!kind || (kind->check && !kind->check(settings, all[i],
		    is_folding(settings), err)))
			return err_prefix(err, "%s: table %s", all[i]->where,
			    all[i]->name);
	}
	return true;
}

bool tables_give(const struct settings *settings, uid_t uid, gid_t gid,
    struct err *err)
{
	size_t n;
	const struct conf_table *const *all = conf_table_all(settings, &n);

	for (size_t i = 0; i < n; i++) {
		const struct table_kind *kind = table_kind(all[i]->type, err);
		if (!kind || (kind->give && !kind->give(all[i], uid, gid,
		    err)))
			return err_prefix(err, "%s: table %s", all[i]->where,
			    all[i]->name);
	}
	return true;
}

struct tables *tables_new(struct ev_loop *loop, struct resolve *resolve)
{
	struct tables *ts = mem_alloc(sizeof *ts);

	ts->loop = loop;
	ts->resolve = resolve;
	ev_timer_init(&ts->sweep, on_sweep, 0., 0.);
	ts->sweep.data = ts;
	return ts;
}

void tables_free(struct tables **tsp)
{
	struct tables *ts = *tsp;
	struct table *t, *next;

	if (!ts)
		return;
	*tsp = NULL;
	DL_FOREACH_SAFE(ts->all, t, next) {
		DL_DELETE(ts->all, t);
		table_retire(t);
	}
	sweep(ts);
	ev_timer_stop(ts->loop, &ts->sweep);
	must(!ts->retired);	/* or a look-up was neither done nor cancelled */
	settings_unref(&ts->settings);
	free(ts);
}
