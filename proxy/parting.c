/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/parting.h"

#include <stdlib.h>

#include "backends/conf.h"
#include "proxy/ask.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/relay_splice.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

#define uthash_fatal(msg) die("parting: %s", msg)
#include <uthash.h>
#include <utlist.h>

#define READS_MAX 16

/* A backend that sessions have left without a word. */
struct left_backend {
	UT_hash_handle hh;
	double since;		/* the first of this burst */
	double spread_s;
	unsigned total, gone;	/* total: when it began */
	struct deadline_class turns;	/* of its sessions, in their order */
	char name[];
};

static bool is_over(const struct left_backend *l, double now)
{
	return l->gone == 0 || now - l->since > l->spread_s;
}

/* Its session's turn has come. */
static void on_turn(struct deadline *d, void *owner)
{
	struct session *s = SESSION_OF(d);

	(void)owner;
	session_close(s, s->ordered);
}

static void forget(struct worker *w, struct left_backend *l)
{
	deadline_class_fini(&l->turns);
	HASH_DELETE(hh, w->left, l);
	free(l);
}

static struct left_backend *find(struct worker *w, const char *name,
    double now)
{
	struct left_backend *l, *next;

	HASH_FIND_STR(w->left, name, l);
	if (!l) {
		/* names come and go with the configuration */
		HASH_ITER(hh, w->left, l, next)
			if (is_over(l, now) && deadline_class_is_idle(&l->turns))
				forget(w, l);
		l = mem_alloc(sizeof *l + strlen(name) + 1);
		memcpy(l->name, name, strlen(name));
		deadline_class_init(&l->turns, w->loop, 0, on_turn, w);
		HASH_ADD_STR(w->left, name, l);
	}
	return l;
}

static unsigned count(const struct worker *w, const char *name)
{
	const struct session *s;
	unsigned n = 0;

	DL_FOREACH(w->sessions, s)
		n += s->stage == STAGE_RELAY &&
		    strcmp(s->chosen->name, name) == 0;
	return n;
}

/* Of the rate that ends all within the spread, the first second's sessions go
 * at once. NULL: so does this one; else length_s is its time. */
static struct deadline_class *turn_of(struct session *s)
{
	struct worker *w = s->worker;
	double spread_s = snapshot_spread_seconds(s->chosen_in, s->chosen);
	double now = clock_now();

	if (spread_s <= 0)
		return NULL;
	struct left_backend *l = find(w, s->chosen->name, now);
	if (is_over(l, now)) {
		l->since = now;
		l->spread_s = spread_s;
		l->total = count(w, l->name);
		l->gone = 0;
	}
	l->gone++;
	if ((l->gone - 1) * l->spread_s < l->total)
		return NULL;
	double share = (double)l->gone / l->total;
	double after = l->since + l->spread_s * (share < 1 ? share : 1) - now;
	l->turns.length_s = after > 0 ? after : 0;
	return &l->turns;
}

enum step parting_begin(struct session *s, enum reason why)
{
	struct deadline_class *turn = NULL;

	if (why == REASON_BACKEND_EOF || why == REASON_BACKEND_ERROR)
		turn = turn_of(s);
	if (!turn)
		return session_fail(s, why);
	s->ordered = (uint8_t)why;
	ask_released(s);
	relay_pipes_free(&s->pipes);
	stream_close(&s->backend);
	deadline_start(turn, &s->deadline);
	session_enter(s, STAGE_PARTING);
	return STEP_MOVED;
}

enum step parting_run(struct session *s)
{
	struct stream_loop *l = &s->worker->streams;
	size_t n;

	for (int i = 0; i < READS_MAX; i++) {
		switch (stream_read(&s->client, l->scratch, l->chunk, &n)) {
		case STREAM_OK:
			continue;
		case STREAM_AGAIN:
			break;
		case STREAM_EOF:
		case STREAM_FAILED:
			return session_fail(s, s->ordered);
		}
		break;
	}
	stream_want(&s->client, true);
	return STEP_WAIT;
}

void parting_fini(struct worker *w)
{
	struct left_backend *l, *next;

	HASH_ITER(hh, w->left, l, next)
		forget(w, l);
}
