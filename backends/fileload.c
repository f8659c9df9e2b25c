/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/fileload.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "backends/filewatch.h"
#include "proxy/base/mem.h"

struct fileload {
	struct ev_loop *loop;
	struct filewatch *watch;
	const struct fileload_owner *calls;
	void *owner;
	pthread_t thread;
	bool is_running, must_repeat;
	atomic_bool stop;
	ev_async end;
};

static void *run(void *arg)
{
	struct fileload *l = arg;

	l->calls->load(l->owner, &l->stop);
	ev_async_send(l->loop, &l->end);
	return NULL;
}

/* Signals are for the loop's thread. */
static bool start_thread(struct fileload *l)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	int error = pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error == 0;
}

static void begin(struct fileload *l)
{
	l->must_repeat = l->is_running;
	if (l->is_running)
		return;
	l->is_running = start_thread(l);
	if (!l->is_running)
		l->calls->done(l->owner, false);
}

static void on_end(struct ev_loop *loop, ev_async *a, int revents)
{
	struct fileload *l = a->data;

	(void)loop;
	(void)revents;
	pthread_join(l->thread, NULL);
	l->is_running = false;
	l->calls->done(l->owner, true);
	if (l->must_repeat)
		begin(l);
}

static void on_change(void *owner)
{
	begin(owner);
}

struct fileload *fileload_new(struct ev_loop *loop, const char *path,
    const struct fileload_owner *calls, void *owner)
{
	struct fileload *l = mem_alloc(sizeof *l);

	l->loop = loop;
	l->calls = calls;
	l->owner = owner;
	ev_async_init(&l->end, on_end);
	l->end.data = l;
	ev_async_start(loop, &l->end);
	l->watch = filewatch_new(loop, path, on_change, l);
	begin(l);
	return l;
}

void fileload_free(struct fileload **lp)
{
	struct fileload *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	atomic_store(&l->stop, true);
	if (l->is_running)
		pthread_join(l->thread, NULL);
	ev_async_stop(l->loop, &l->end);
	filewatch_free(&l->watch);
	free(l);
}
