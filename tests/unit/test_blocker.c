/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backends/blocker.h"

static struct {
	struct ev_loop *loop;
	struct blocker *b;
	pthread_t thread;		/* the loop's */
	sem_t begun, go, gone;
	unsigned order[16], n_ended, n_cancelled;
	atomic_uint n_run;
} t;

struct job {
	struct blocker_task task;
	unsigned number;
	bool blocks;
};

static void run(struct blocker_task *task)
{
	struct job *j = (struct job *)(void *)task;

	assert_false(pthread_equal(pthread_self(), t.thread));
	if (j->blocks) {
		sem_post(&t.begun);
		sem_wait(&t.go);
	}
	atomic_fetch_add(&t.n_run, 1);
}

static void end(struct blocker_task *task, bool is_cancelled)
{
	struct job *j = (struct job *)(void *)task;

	assert_true(pthread_equal(pthread_self(), t.thread));
	t.order[t.n_ended++] = j->number;
	t.n_cancelled += is_cancelled;
	free(j);
}

/* After blocker_free(): on the thread. */
static void end_late(struct blocker_task *task, bool is_cancelled)
{
	assert_true(is_cancelled);
	assert_false(pthread_equal(pthread_self(), t.thread));
	free(task);
	sem_post(&t.gone);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.loop = ev_loop_new(EVFLAG_AUTO);
	t.thread = pthread_self();
	sem_init(&t.begun, 0, 0);
	sem_init(&t.go, 0, 0);
	sem_init(&t.gone, 0, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blocker_free(&t.b);
	ev_loop_destroy(t.loop);
	return 0;
}

static struct blocker_task *submit(unsigned number, bool blocks)
{
	struct job *j = calloc(1, sizeof *j);

	j->task = (struct blocker_task){ .run = run, .end = end };
	j->number = number;
	j->blocks = blocks;
	assert_true(blocker_submit(t.b, &j->task));
	return &j->task;
}

static void wait_ended(unsigned n)
{
	while (t.n_ended < n)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.n_ended, n);
}

static void test_blocker_runs_in_order(void **state)
{
	(void)state;
	t.b = blocker_new(t.loop, 1);
	for (unsigned i = 0; i < 10; i++)
		submit(i, false);
	wait_ended(10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(t.order[i], i);
	assert_int_equal(t.n_run, 10);
	assert_int_equal(t.n_cancelled, 0);
}

static void test_blocker_runs_side_by_side(void **state)
{
	(void)state;
	t.b = blocker_new(t.loop, 3);
	for (unsigned i = 0; i < 5; i++)
		submit(i, true);
	for (unsigned i = 0; i < 3; i++)
		sem_wait(&t.begun);
	assert_int_equal(blocker_n_waiting(t.b), 2);
	assert_int_equal(sem_trywait(&t.begun), -1);
	for (unsigned i = 0; i < 5; i++)
		sem_post(&t.go);
	wait_ended(5);
	assert_int_equal(blocker_n_waiting(t.b), 0);
}

static void test_blocker_cancels(void **state)
{
	(void)state;
	t.b = blocker_new(t.loop, 1);
	struct blocker_task *running = submit(1, true);
	sem_wait(&t.begun);
	struct blocker_task *waiting = submit(2, false);
	submit(3, false);
	/* one that waits is gone at once and never runs */
	blocker_cancel(t.b, waiting);
	assert_int_equal(t.n_ended, 1);
	assert_int_equal(t.order[0], 2);
	assert_int_equal(blocker_n_waiting(t.b), 1);
	/* one that runs ends when it has run */
	blocker_cancel(t.b, running);
	assert_int_equal(t.n_ended, 1);
	sem_post(&t.go);
	wait_ended(3);
	assert_int_equal(t.order[1], 1);
	assert_int_equal(t.n_cancelled, 2);
	assert_int_equal(t.n_run, 2);
}

static void test_blocker_goes_while_it_works(void **state)
{
	(void)state;
	t.b = blocker_new(t.loop, 1);
	struct blocker_task *running = submit(1, true);
	running->end = end_late;
	sem_wait(&t.begun);
	submit(2, false);
	blocker_free(&t.b);
	assert_int_equal(t.n_ended, 1);
	assert_int_equal(t.n_cancelled, 1);
	sem_post(&t.go);
	sem_wait(&t.gone);
	assert_int_equal(t.n_run, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_blocker_runs_in_order),
		TEST(test_blocker_runs_side_by_side),
		TEST(test_blocker_cancels),
		TEST(test_blocker_goes_while_it_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
