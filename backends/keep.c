/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/keep.h"

#include <ev.h>
#include <pthread.h>
#include <stdlib.h>

#include "backends/keep_file.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define uthash_fatal(msg) die("keep: %s", msg)
#include <uthash.h>
#include <utlist.h>

struct record {
	UT_hash_handle hh;
	char *kind, *key;
	struct str name, value;
	size_t id_n;
	char id[];			/* kind NUL key NUL name */
};

struct keep_wait {
	struct keep *keep;
	uint64_t change;		/* up to here it must be written */
	keep_done_fn *done;
	void *owner;
	struct keep_wait *prev, *next;
};

/* A write: what the thread may see. */
struct job {
	struct keep *keep;
	struct buf text;
	uint64_t change;
	bool is_good;
	struct err err;
};

struct keep {
	struct ev_loop *loop;
	char *path;			/* NULL: memory only */
	struct record *records;
	uint64_t change, written;	/* counters of changes */
	uint64_t failed;		/* the last one of which a write failed */
	struct err failure;
	struct job *job;		/* under way, or NULL */
	pthread_t thread;
	ev_async done;
	ev_timer turn;			/* begins the next write */
	struct keep_wait *waits;
};

/* --- records --------------------------------------------------------------- */

static struct str str_copy(struct str s)
{
	return (struct str){ mem_str(s), s.n };
}

static size_t make_id(char *to, const char *kind, struct str name,
    const char *key)
{
	size_t n = 0, k = strlen(kind) + 1;

	memcpy(to, kind, k);
	n += k;
	k = strlen(key) + 1;
	memcpy(to + n, key, k);
	n += k;
	if (name.n)
		memcpy(to + n, name.p, name.n);
	return n + name.n;
}

#define ID_MAX (2 * (KEEP_WORD_MAX + 1) + KEEP_TEXT_MAX)

static bool fits(const char *kind, struct str name, const char *key)
{
	return strlen(kind) <= KEEP_WORD_MAX && strlen(key) <= KEEP_WORD_MAX &&
	    name.n <= KEEP_TEXT_MAX;
}

static struct record *find(const struct keep *k, const char *kind,
    struct str name, const char *key)
{
	char id[ID_MAX];
	struct record *r;

	if (!fits(kind, name, key))
		return NULL;
	size_t n = make_id(id, kind, name, key);
	HASH_FIND(hh, k->records, id, n, r);
	return r;
}

static void record_free(struct keep *k, struct record *r)
{
	HASH_DELETE(hh, k->records, r);
	free(r->kind);
	free(r->key);
	free((char *)(uintptr_t)r->name.p);
	free((char *)(uintptr_t)r->value.p);
	free(r);
}

static void clear(struct keep *k)
{
	struct record *r, *next;

	HASH_ITER(hh, k->records, r, next)
		record_free(k, r);
}

static bool put(struct keep *k, const char *kind, struct str name,
    const char *key, struct str value, struct err *err)
{
	struct record *r = find(k, kind, name, key);
	char id[ID_MAX];

	if (!fits(kind, name, key) || value.n > KEEP_TEXT_MAX)
		return err_set(err, "a name or value of more than %d bytes",
		    KEEP_TEXT_MAX);
	if (!r && HASH_COUNT(k->records) >= KEEP_RECORDS_MAX)
		return err_set(err, "more than %d orders are kept",
		    KEEP_RECORDS_MAX);
	if (r) {
		free((char *)(uintptr_t)r->value.p);
		r->value = str_copy(value);
		return true;
	}
	size_t n = make_id(id, kind, name, key);
	r = mem_alloc(sizeof *r + n);
	memcpy(r->id, id, n);
	r->id_n = n;
	r->kind = mem_strdup(kind);
	r->key = mem_strdup(key);
	r->name = str_copy(name);
	r->value = str_copy(value);
	HASH_ADD_KEYPTR(hh, k->records, r->id, r->id_n, r);
	return true;
}

/* --- writing ----------------------------------------------------------------- */

static void *write_job(void *arg)
{
	struct job *j = arg;

	j->is_good = keep_file_write(j->keep->path, buf_view(&j->text),
	    &j->err);
	ev_async_send(j->keep->loop, &j->keep->done);
	return NULL;
}

static void make_text(const struct keep *k, struct buf *out)
{
	struct record *r, *next;

	keep_file_begin(out);
	HASH_ITER(hh, k->records, r, next)
		keep_file_put(out, r->kind, r->name, r->key, r->value);
	keep_file_end(out, HASH_COUNT(k->records));
}

static void set_turn(struct keep *k, double seconds)
{
	ev_timer_stop(k->loop, &k->turn);
	ev_timer_set(&k->turn, seconds, 0.);
	ev_timer_start(k->loop, &k->turn);
}

static void wait_free(struct keep_wait *w)
{
	DL_DELETE(w->keep->waits, w);
	free(w);
}

/* Those whose changes have been written, or could not be. One that is told may
 * cancel or begin others: look from the front again. */
static void tell_waits(struct keep *k)
{
	struct keep_wait *w;

again:
	DL_FOREACH(k->waits, w) {
		keep_done_fn *done = w->done;
		void *owner = w->owner;
		const char *why = NULL;

		if (!k->path)
			why = "no state_file: a restart will forget it";
		else if (w->change <= k->written)
			why = NULL;
		else if (!k->job && w->change <= k->failed)
			why = k->failure.text;
		else
			continue;
		wait_free(w);
		done(owner, why);
		goto again;
	}
}

/* Ends the job, whose thread is done or soon will be. */
static void finish_job(struct keep *k)
{
	struct job *j = k->job;

	pthread_join(k->thread, NULL);
	k->job = NULL;
	if (j->is_good) {
		k->written = j->change;
	} else {
		k->failed = j->change;
		k->failure = j->err;
		log_note(LOG_LINE_ERROR, "state_file", "why", "%s",
		    j->err.text);
	}
	buf_fini(&j->text);
	free(j);
}

static void begin_job(struct keep *k)
{
	struct job *j = mem_alloc(sizeof *j);

	j->keep = k;
	j->change = k->change;
	buf_init(&j->text, 0);
	make_text(k, &j->text);
	k->job = j;
	int rc = pthread_create(&k->thread, NULL, write_job, j);
	if (rc != 0)
		die("keep: no thread: %s", strerror(rc));
}

static void on_turn(struct ev_loop *loop, ev_timer *t, int events)
{
	struct keep *k = t->data;

	(void)loop;
	(void)events;
	if (!k->job && k->path && k->change > k->written)
		begin_job(k);
	tell_waits(k);
}

static void on_done(struct ev_loop *loop, ev_async *a, int events)
{
	struct keep *k = a->data;

	(void)loop;
	(void)events;
	if (!k->job)
		return;
	finish_job(k);
	if (k->change > k->written)
		set_turn(k, k->change > k->failed ? 0. : KEEP_AGAIN_S);
	tell_waits(k);
}

static void changed(struct keep *k)
{
	k->change++;
	set_turn(k, 0.);
}

/* --- reading -------------------------------------------------------------------- */

static bool take(void *arg, const char *kind, struct str name,
    const char *key, struct str value, struct err *err)
{
	return put(arg, kind, name, key, value, err);
}

bool keep_open(struct keep *k, const char *path, struct err *err)
{
	must(!k->path);
	switch (keep_file_read(path, take, k, err)) {
	case KEEP_FILE_READ:
		k->path = mem_strdup(path);
		return true;
	case KEEP_FILE_UNREADABLE:
		return false;
	case KEEP_FILE_CORRUPT:
		break;
	}
	clear(k);
	if (keep_file_put_aside(path, err))
		k->path = mem_strdup(path);
	return false;
}

/* --- for users --------------------------------------------------------------------- */

struct str keep_get(const struct keep *k, const char *kind, struct str name,
    const char *key)
{
	const struct record *r = find(k, kind, name, key);

	return r ? r->value : STR_NONE;
}

bool keep_set(struct keep *k, const char *kind, struct str name,
    const char *key, struct str value, struct err *err)
{
	const struct record *r = find(k, kind, name, key);

	if (r && str_eq(r->value, value))
		return true;
	if (!put(k, kind, name, key, value, err))
		return false;
	changed(k);
	return true;
}

void keep_drop(struct keep *k, const char *kind, struct str name,
    const char *key)
{
	struct record *r = key ? find(k, kind, name, key) : NULL, *next;
	size_t before = HASH_COUNT(k->records);

	if (r)
		record_free(k, r);
	if (!key)
		HASH_ITER(hh, k->records, r, next)
			if (strcmp(r->kind, kind) == 0 &&
			    str_eq(r->name, name))
				record_free(k, r);
	if (HASH_COUNT(k->records) != before)
		changed(k);
}

void keep_visit(const struct keep *k, const char *kind, keep_visit_fn *visit,
    void *arg)
{
	struct record *r, *next;

	HASH_ITER(hh, k->records, r, next)
		if (strcmp(r->kind, kind) == 0)
			visit(arg, r->name, r->key, r->value);
}

struct keep_wait *keep_wait(struct keep *k, keep_done_fn *done, void *owner)
{
	struct keep_wait *w = mem_alloc(sizeof *w);

	*w = (struct keep_wait){ .keep = k, .change = k->change,
		.done = done, .owner = owner };
	DL_APPEND(k->waits, w);
	/* also when nothing need be written, done comes from the loop; a write
	 * that has failed is tried again for who asks */
	set_turn(k, 0.);
	return w;
}

void keep_cancel(struct keep_wait **w)
{
	if (*w)
		wait_free(*w);
	*w = NULL;
}

struct keep *keep_new(struct ev_loop *loop)
{
	struct keep *k = mem_alloc(sizeof *k);

	k->loop = loop;
	ev_timer_init(&k->turn, on_turn, 0., 0.);
	ev_async_init(&k->done, on_done);
	k->turn.data = k->done.data = k;
	ev_async_start(loop, &k->done);
	ev_unref(loop);		/* it keeps no loop running */
	return k;
}

void keep_free(struct keep **kp)
{
	struct keep *k = *kp;

	if (!k)
		return;
	*kp = NULL;
	must(!k->waits);
	if (k->job)
		finish_job(k);
	if (k->path && k->change > k->written) {
		begin_job(k);
		finish_job(k);
	}
	ev_timer_stop(k->loop, &k->turn);
	ev_ref(k->loop);
	ev_async_stop(k->loop, &k->done);
	clear(k);
	free(k->path);
	free(k);
}
