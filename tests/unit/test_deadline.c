/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "proxy/base/deadline.h"
#include "proxy/base/mem.h"

#define SHORT_S 0.004

static struct ev_loop *loop;
static struct deadline_class class;

/* What came, in its order; the deadlines have one letter each. */
struct item {
	struct deadline deadline;
	char name;
	int restarts;
	bool frees;
	struct item *stops;
};
static char came[32];
static size_t n_came;

static void on_deadline(struct deadline *d, void *owner)
{
	struct item *item = (struct item *)(void *)d;

	assert_ptr_equal(owner, &class);
	assert_false(deadline_is_running(d));
	came[n_came++] = item->name;
	if (item->stops)
		deadline_stop(&item->stops->deadline);
	if (item->restarts-- > 0)
		deadline_start(&class, d);
	if (item->frees)
		free(item);
}

static int setup(void **state)
{
	(void)state;
	loop = ev_loop_new(EVFLAG_NOENV);
	deadline_class_init(&class, loop, SHORT_S, on_deadline, &class);
	memset(came, 0, sizeof came);
	n_came = 0;
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	deadline_class_fini(&class);
	ev_loop_destroy(loop);
	return 0;
}

/* The loop ends by itself when no deadline is left to wait for. */
static void assert_comes(const char *want)
{
	ev_run(loop, 0);
	assert_string_equal(came, want);
}

static void test_deadline_keeps_the_order(void **state)
{
	struct item a = { .name = 'a' }, b = { .name = 'b' },
	    c = { .name = 'c' };

	(void)state;
	deadline_start(&class, &b.deadline);
	deadline_start(&class, &a.deadline);
	deadline_start(&class, &c.deadline);
	assert_true(deadline_is_running(&a.deadline));
	assert_comes("bac");
	assert_false(deadline_is_running(&a.deadline));
}

static void test_deadline_is_not_early(void **state)
{
	struct item a = { .name = 'a' };
	double before;

	(void)state;
	class.length_s = 0.02;
	ev_now_update(loop);
	before = ev_time();
	deadline_start(&class, &a.deadline);
	assert_comes("a");
	assert_true(ev_time() - before > 0.019);
}

static void test_deadline_started_again_goes_to_the_end(void **state)
{
	struct item a = { .name = 'a' }, b = { .name = 'b' };

	(void)state;
	deadline_start(&class, &a.deadline);
	deadline_start(&class, &b.deadline);
	deadline_start(&class, &a.deadline);
	assert_comes("ba");
}

static void test_deadline_stopped_does_not_come(void **state)
{
	struct item a = { .name = 'a' }, b = { .name = 'b' },
	    c = { .name = 'c' };

	(void)state;
	deadline_stop(&a.deadline);
	deadline_start(&class, &a.deadline);
	deadline_start(&class, &b.deadline);
	deadline_start(&class, &c.deadline);
	deadline_stop(&a.deadline);
	deadline_stop(&a.deadline);
	deadline_stop(&c.deadline);
	assert_false(deadline_is_running(&a.deadline));
	assert_comes("b");
}

static void test_deadline_all_stopped_frees_the_loop(void **state)
{
	struct item a = { .name = 'a' };

	(void)state;
	deadline_start(&class, &a.deadline);
	deadline_stop(&a.deadline);
	assert_comes("");
	deadline_start(&class, &a.deadline);
	assert_comes("a");
}

static void test_deadline_stops_another_that_is_due(void **state)
{
	struct item b = { .name = 'b' }, c = { .name = 'c' },
	    a = { .name = 'a', .stops = &b };

	(void)state;
	deadline_start(&class, &a.deadline);
	deadline_start(&class, &b.deadline);
	deadline_start(&class, &c.deadline);
	assert_comes("ac");
}

static void test_deadline_restarts_in_its_callback(void **state)
{
	struct item a = { .name = 'a', .restarts = 2 }, b = { .name = 'b' };

	(void)state;
	deadline_start(&class, &a.deadline);
	deadline_start(&class, &b.deadline);
	assert_comes("abaa");
}

static void test_deadline_frees_its_holder(void **state)
{
	(void)state;
	for (char name = 'a'; name < 'd'; name++) {
		struct item *item = mem_alloc(sizeof *item);
		item->name = name;
		item->frees = true;
		deadline_start(&class, &item->deadline);
	}
	assert_comes("abc");
}

static void test_deadline_length_changes_for_new_ones(void **state)
{
	struct item a = { .name = 'a' }, b = { .name = 'b' };

	(void)state;
	deadline_start(&class, &a.deadline);
	class.length_s = 2 * SHORT_S;
	deadline_start(&class, &b.deadline);
	assert_comes("ab");
	class.length_s = SHORT_S / 2;
	deadline_start(&class, &a.deadline);
	assert_comes("aba");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_deadline_keeps_the_order),
		T(test_deadline_is_not_early),
		T(test_deadline_started_again_goes_to_the_end),
		T(test_deadline_stopped_does_not_come),
		T(test_deadline_all_stopped_frees_the_loop),
		T(test_deadline_stops_another_that_is_due),
		T(test_deadline_restarts_in_its_callback),
		T(test_deadline_frees_its_holder),
		T(test_deadline_length_changes_for_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
