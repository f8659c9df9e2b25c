/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Tables of type file: the file is read by a thread, so that a million lines
 * stop nobody's login; what it made is taken over by the loop whole. Until
 * the first time keys wait; later the old content serves until the new one is
 * there, and for as long as the new one is bad.
 */
#include <stdlib.h>
#include <utlist.h>

#include "backends/conf.h"
#include "backends/fileload.h"
#include "backends/table.h"
#include "backends/table_map.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

struct waiter {
	struct waiter *prev, *next;
	struct table_request *request;
};

struct file {
	const struct conf_table *conf;
	bool folds;
	struct fileload *load;
	struct table_map *map;		/* in use; NULL: none yet */
	struct err why;			/* there is none */
	struct waiter *waiting;
	bool is_loaded;			/* for the first time, or in vain */
	/* What the thread made: its own until load_end(). */
	struct table_map *loaded;
	struct err load_error;
	double seconds;
};

static void log_loaded(const struct file *f)
{
	struct log_line l;

	if (f->loaded ? !log_begin(&l, LOG_LINE_INFO, "table_loaded") :
	    !log_begin(&l, LOG_LINE_ERROR, "table_refused"))
		return;
	log_text(&l, "table", f->conf->name);
	if (f->loaded) {
		log_u64(&l, "entries", table_map_n(f->loaded));
		log_seconds(&l, "after", f->seconds);
	} else {
		log_text(&l, "why", f->load_error.text);
		log_text(&l, "kept", f->map ? "old" : "none");
	}
	log_end(&l);
}

static void answer(const struct file *f, struct table_request *r)
{
	char value[TABLE_VALUE_MAX];
	struct str out = STR_NONE;
	const char *why = f->why.text;
	enum table_verdict verdict = f->map ? table_map_find(f->map, r->key,
	    value, &out, &why) : TABLE_FAILED;

	table_finish(r, verdict, out, why);
}

static void answer_waiting(struct file *f)
{
	struct waiter *waiting = f->waiting, *w, *next;
	struct table_request *r;

	f->waiting = NULL;
	DL_FOREACH_SAFE(waiting, w, next) {
		DL_DELETE(waiting, w);
		r = w->request;
		free(w);
		answer(f, r);
	}
}

/* In the thread. */
static void load(void *owner, const atomic_bool *stop)
{
	struct file *f = owner;
	double began = clock_now();

	f->loaded = table_map_load(f->conf->path, f->conf->format, f->folds,
	    stop, &f->load_error);
	f->seconds = clock_now() - began;
}

static void load_end(void *owner, bool was_run)
{
	struct file *f = owner;

	if (!was_run)
		err_set(&f->load_error, "%s: no thread to read it",
		    f->conf->path);
	log_loaded(f);
	f->is_loaded = true;
	if (f->loaded) {
		table_map_free(&f->map);
		f->map = f->loaded;
		f->loaded = NULL;
	} else {
		f->why = f->load_error;
	}
	answer_waiting(f);
}

static const struct fileload_owner loader = { load, load_end };

static void *file_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	struct file *f = mem_alloc(sizeof *f);

	(void)resolve;
	(void)err;
	f->conf = conf;
	f->folds = fold;
	f->load = fileload_new(loop, conf->path, &loader, f);
	return f;
}

static void file_lookup(void *kind, struct table_request *r)
{
	struct file *f = kind;

	if (f->is_loaded) {
		answer(f, r);
		return;
	}
	struct waiter *w = mem_alloc(sizeof *w);
	w->request = r;
	r->state = w;
	DL_APPEND(f->waiting, w);
}

static void file_cancel(void *kind, struct table_request *r)
{
	struct file *f = kind;
	struct waiter *w = r->state;

	DL_DELETE(f->waiting, w);
	free(w);
}

static void file_free(void *kind)
{
	struct file *f = kind;

	must(!f->waiting);
	fileload_free(&f->load);
	table_map_free(&f->loaded);
	table_map_free(&f->map);
	free(f);
}

/* --- before the start ------------------------------------------------------- */

struct check {
	const struct settings *settings;
	const struct conf_table *conf;
	struct err *err;
};

static bool check_value(void *arg, struct str value, unsigned line)
{
	struct check *c = arg;
	struct table_answer a;

	return table_resolve(c->settings, c->conf->delimiter, value, &a,
	    c->err) || err_prefix(c->err, "%s:%u", c->conf->path, line);
}

static bool file_check(const struct settings *settings,
    const struct conf_table *conf, bool fold, struct err *err)
{
	struct table_map *m = table_map_load(conf->path, conf->format, fold,
	    NULL, err);
	struct check c = { settings, conf, err };

	if (!m)
		return false;
	bool is_good = table_map_values(m, check_value, &c);
	table_map_free(&m);
	return is_good;
}

const struct table_kind table_file = {
	.name = "file",
	.is_local = true,
	.new = file_new,
	.lookup = file_lookup,
	.cancel = file_cancel,
	.free = file_free,
	.check = file_check,
};
