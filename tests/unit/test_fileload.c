/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/fileload.h"
#include "backends/filewatch.h"

static char path[64];

/* The thread's part is what load() says; a load ends when the test lets it. */
static struct {
	struct ev_loop *loop;
	struct fileload *load;
	sem_t may_end;
	char content[16], seen[16];
	bool blocks_signals, was_stopped;
	atomic_uint n_begun;
	unsigned n_done;
} t;

static void put(const char *text)
{
	char other[80];

	snprintf(other, sizeof other, "%s.new", path);
	FILE *f = fopen(other, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(rename(other, path), 0);
}

static void load(void *owner, const atomic_bool *stop)
{
	sigset_t blocked;
	FILE *f = fopen(path, "r");

	assert_ptr_equal(owner, &t);
	size_t n = fread(t.content, 1, sizeof t.content - 1, f);
	t.content[n] = '\0';
	fclose(f);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	t.blocks_signals = sigismember(&blocked, SIGTERM);
	atomic_fetch_add(&t.n_begun, 1);
	while (sem_trywait(&t.may_end) != 0 && !atomic_load(stop))
		usleep(1000);
	t.was_stopped = atomic_load(stop);
}

static void done(void *owner, bool was_run)
{
	assert_ptr_equal(owner, &t);
	assert_true(was_run);
	t.n_done++;
	memcpy(t.seen, t.content, sizeof t.seen);
	ev_break(t.loop, EVBREAK_ALL);
}

static const struct fileload_owner calls = { load, done };

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	snprintf(path, sizeof path, "/tmp/test_fileload.%d", (int)getpid());
	put("one");
	sem_init(&t.may_end, 0, 0);
	t.loop = ev_loop_new(0);
	t.load = fileload_new(t.loop, path, &calls, &t);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fileload_free(&t.load);
	ev_loop_destroy(t.loop);
	unlink(path);
	return 0;
}

static void finish_load(void)
{
	sem_post(&t.may_end);
	ev_run(t.loop, 0);
}

static void wait_begun(unsigned n)
{
	double until = ev_time() + 20;

	while (atomic_load(&t.n_begun) < n) {
		assert_true(ev_time() < until);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static void test_fileload_reads_at_once_and_when_it_changes(void **state)
{
	(void)state;
	finish_load();
	assert_int_equal(t.n_done, 1);
	assert_string_equal(t.seen, "one");
	assert_true(t.blocks_signals);
	put("two");
	wait_begun(2);
	finish_load();
	assert_int_equal(t.n_done, 2);
	assert_string_equal(t.seen, "two");
}

static void on_change(void *owner)
{
	(void)owner;
	ev_break(t.loop, EVBREAK_ALL);
}

/* What was read may be the old content already. */
static void test_fileload_reads_again_what_changes_meanwhile(void **state)
{
	(void)state;
	while (atomic_load(&t.n_begun) == 0)
		usleep(1000);
	/* a watch that began later is told later */
	struct filewatch *w = filewatch_new(t.loop, path, on_change, NULL);
	put("two");
	ev_run(t.loop, 0);
	filewatch_free(&w);
	assert_int_equal(atomic_load(&t.n_begun), 1);
	finish_load();
	assert_string_equal(t.seen, "one");
	wait_begun(2);
	finish_load();
	assert_int_equal(t.n_done, 2);
	assert_string_equal(t.seen, "two");
}

static void test_fileload_ends_while_it_reads(void **state)
{
	(void)state;
	while (atomic_load(&t.n_begun) == 0)
		usleep(1000);
	fileload_free(&t.load);
	assert_null(t.load);
	assert_true(t.was_stopped);
	assert_int_equal(t.n_done, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fileload_reads_at_once_and_when_it_changes),
		TEST(test_fileload_reads_again_what_changes_meanwhile),
		TEST(test_fileload_ends_while_it_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
