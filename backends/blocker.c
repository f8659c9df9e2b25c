/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/blocker.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include <utlist.h>

/* Everything but loop and done is under the lock. Once it is closed it belongs
 * to its threads, and the last one frees it. */
struct blocker {
	struct ev_loop *loop;
	ev_async done;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct blocker_task *waiting, *ended;
	size_t n_waiting;
	unsigned n_threads, n_idle, max_threads;
	bool is_closed;
};

static void destroy(struct blocker *b)
{
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->work);
	free(b);
}

/* With the lock held; NULL: the thread shall end. */
static struct blocker_task *next_task(struct blocker *b)
{
	struct blocker_task *t;

	b->n_idle++;
	while (!b->waiting && !b->is_closed)
		pthread_cond_wait(&b->work, &b->lock);
	b->n_idle--;
	t = b->waiting;
	if (!t)
		return NULL;
	DL_DELETE(b->waiting, t);
	b->n_waiting--;
	t->is_running = true;
	return t;
}

static void *work(void *arg)
{
	struct blocker *b = arg;
	struct blocker_task *t;

	pthread_mutex_lock(&b->lock);
	while ((t = next_task(b))) {
		pthread_mutex_unlock(&b->lock);
		t->run(t);
		pthread_mutex_lock(&b->lock);
		if (b->is_closed) {
			t->end(t, true);
			continue;
		}
		DL_APPEND(b->ended, t);
		ev_async_send(b->loop, &b->done);
	}
	bool is_last = --b->n_threads == 0;
	pthread_mutex_unlock(&b->lock);
	if (is_last)
		destroy(b);
	return NULL;
}

/* Signals are for the loop's thread. */
static bool start_thread(struct blocker *b)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int error = pthread_create(&thread, &attr, work, b);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error == 0;
}

bool blocker_submit(struct blocker *b, struct blocker_task *t)
{
	bool is_taken = true;

	pthread_mutex_lock(&b->lock);
	if (b->n_waiting >= b->n_idle && b->n_threads < b->max_threads) {
		if (start_thread(b))
			b->n_threads++;
		is_taken = b->n_threads > 0;
	}
	if (is_taken) {
		t->is_running = t->is_cancelled = false;
		DL_APPEND(b->waiting, t);
		b->n_waiting++;
		pthread_cond_signal(&b->work);
	}
	pthread_mutex_unlock(&b->lock);
	return is_taken;
}

void blocker_cancel(struct blocker *b, struct blocker_task *t)
{
	pthread_mutex_lock(&b->lock);
	t->is_cancelled = true;
	bool is_waiting = !t->is_running;
	if (is_waiting) {
		DL_DELETE(b->waiting, t);
		b->n_waiting--;
	}
	pthread_mutex_unlock(&b->lock);
	if (is_waiting)
		t->end(t, true);
}

/* Whoever ends may submit and cancel, also what stands in the list. */
static void on_done(struct ev_loop *loop, ev_async *a, int revents)
{
	struct blocker *b = a->data;
	struct blocker_task *t;

	(void)loop;
	(void)revents;
	for (;;) {
		pthread_mutex_lock(&b->lock);
		t = b->ended;
		if (t)
			DL_DELETE(b->ended, t);
		pthread_mutex_unlock(&b->lock);
		if (!t)
			return;
		t->end(t, t->is_cancelled);
	}
}

size_t blocker_n_waiting(struct blocker *b)
{
	pthread_mutex_lock(&b->lock);
	size_t n = b->n_waiting;
	pthread_mutex_unlock(&b->lock);
	return n;
}

struct blocker *blocker_new(struct ev_loop *loop, unsigned n_threads)
{
	struct blocker *b = mem_alloc(sizeof *b);

	b->loop = loop;
	b->max_threads = n_threads;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	ev_async_init(&b->done, on_done);
	b->done.data = b;
	ev_async_start(loop, &b->done);
	return b;
}

void blocker_free(struct blocker **bp)
{
	struct blocker *b = *bp;
	struct blocker_task *idle, *t, *next;

	if (!b)
		return;
	*bp = NULL;
	ev_async_stop(b->loop, &b->done);
	pthread_mutex_lock(&b->lock);
	b->is_closed = true;
	idle = b->waiting;
	DL_CONCAT(idle, b->ended);
	b->waiting = b->ended = NULL;
	b->n_waiting = 0;
	bool is_last = b->n_threads == 0;
	pthread_cond_broadcast(&b->work);
	pthread_mutex_unlock(&b->lock);
	DL_FOREACH_SAFE(idle, t, next)
		t->end(t, true);
	if (is_last)
		destroy(b);
}
