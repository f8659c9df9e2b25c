/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Tables of type lmdb: asked in place, so what is written is seen by the next
 * look-up, and memory is the system's page cache. A page that is not there
 * is read while the loop waits: a table on a slow disk should fit in memory.
 *
 * A process may open a file only once, so tables of the same file share it;
 * and while a reload replaces a table, so do the old and the new one.
 */
#include <ev.h>
#include <stdlib.h>
#include <utlist.h>

#include "backends/conf.h"
#include "backends/filewatch.h"
#include "backends/table.h"
#include "backends/table_store.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

struct shared {
	struct shared *prev, *next;
	size_t n_tables;
	char *path;
	struct ev_loop *loop;
	struct filewatch *watch;
	struct table_store *store;	/* NULL: could not be opened */
	struct err why;
	ev_timer retry;			/* while there is none */
	bool is_refusal_told;
};

static struct shared *all;		/* control's thread */

static void tell(struct shared *f, bool is_open, const char *why)
{
	struct log_line l;

	if (!is_open && f->is_refusal_told)
		return;
	f->is_refusal_told = !is_open;
	if (is_open ? !log_begin(&l, LOG_LINE_INFO, "table_loaded") :
	    !log_begin(&l, LOG_LINE_ERROR, "table_refused"))
		return;
	log_text(&l, "path", f->path);
	if (is_open) {
		log_u64(&l, "entries", table_store_n(f->store));
	} else {
		log_text(&l, "why", why);
		log_text(&l, "kept", f->store ? "old" : "none");
	}
	log_end(&l);
}

/* The old one goes first: both may have the same lock file. */
static void open_anew(struct shared *f)
{
	table_store_close(&f->store);
	f->store = table_store_open(f->path, TABLE_STORE_READ, 0, &f->why);
	tell(f, f->store != NULL, f->why.text);
	ev_timer_stop(f->loop, &f->retry);
	if (!f->store)
		ev_timer_start(f->loop, &f->retry);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	open_anew(timer->data);
}

/* Writing to it is no news. One that cannot be used does not replace one that
 * can. */
static void on_change(void *owner)
{
	struct shared *f = owner;
	struct err err;

	if (f->store && !table_store_is_replaced(f->store))
		return;
	struct table_store *look = table_store_open(f->path,
	    TABLE_STORE_LOOK, 0, &err);
	if (look || !f->store || table_store_is_cut(f->store)) {
		table_store_close(&look);
		open_anew(f);
	} else {
		tell(f, false, err.text);
	}
}

static void *lmdb_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	const char *path = conf->path;
	struct shared *f;

	(void)resolve;
	(void)fold;
	(void)err;
	DL_FOREACH(all, f)
		if (strcmp(f->path, path) == 0 && f->loop == loop)
			break;
	if (!f) {
		f = mem_alloc(sizeof *f);
		f->path = mem_strdup(path);
		f->loop = loop;
		ev_timer_init(&f->retry, on_retry, filewatch_interval_s, 0.);
		f->retry.data = f;
		f->watch = filewatch_new(loop, path, on_change, f);
		DL_APPEND(all, f);
		open_anew(f);
	}
	f->n_tables++;
	return f;
}

static void lmdb_free(void *kind)
{
	struct shared *f = kind;

	if (--f->n_tables > 0)
		return;
	DL_DELETE(all, f);
	ev_timer_stop(f->loop, &f->retry);
	filewatch_free(&f->watch);
	table_store_close(&f->store);
	free(f->path);
	free(f);
}

static void lmdb_lookup(void *kind, struct table_request *r)
{
	struct shared *f = kind;
	char value[TABLE_VALUE_MAX];
	struct str out = STR_NONE;
	enum table_verdict verdict = TABLE_FAILED;

	if (f->store && table_store_is_cut(f->store))
		open_anew(f);
	if (f->store)
		verdict = table_store_get(f->store, r->key, value, &out,
		    &f->why);
	/* somebody has put another file there just now */
	if (verdict == TABLE_FAILED && f->store &&
	    table_store_is_replaced(f->store)) {
		open_anew(f);
		if (f->store)
			verdict = table_store_get(f->store, r->key, value,
			    &out, &f->why);
	}
	table_finish(r, verdict, out, f->why.text);
}

/* Never: answers come at once. */
static void lmdb_cancel(void *kind, struct table_request *r)
{
	(void)kind;
	(void)r;
	must(!"a request that waits");
}

static bool lmdb_check(const struct settings *settings,
    const struct conf_table *conf, bool fold, struct err *err)
{
	struct table_store *s = table_store_open(conf->path,
	    TABLE_STORE_LOOK, 0, err);

	(void)settings;
	(void)fold;
	if (!s)
		return false;
	table_store_close(&s);
	return true;
}

static bool lmdb_give(const struct conf_table *conf, uid_t uid, gid_t gid,
    struct err *err)
{
	return table_store_give_lock(conf->path, uid, gid, err);
}

const struct table_kind table_lmdb = {
	.name = "lmdb",
	.is_local = true,
	.new = lmdb_new,
	.lookup = lmdb_lookup,
	.cancel = lmdb_cancel,
	.free = lmdb_free,
	.check = lmdb_check,
	.give = lmdb_give,
};
