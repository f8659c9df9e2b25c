/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "admin/tickets.h"

#define LIFE 1000
#define START 1700000000u

static void test_tickets_begin_with_one(void **state)
{
	struct tickets t = { 0 };

	(void)state;
	assert_true(tickets_turn(&t, LIFE, START));
	assert_int_equal(t.n, 1);
	assert_int_equal(t.keys[0].created_s, START);
	assert_false(tickets_turn(&t, LIFE, START));
	assert_false(tickets_turn(&t, LIFE, START + LIFE / 2 - 1));
	assert_int_equal(t.n, 1);
	tickets_fini(&t);
	assert_int_equal(t.n, 0);
}

static void test_tickets_newest_is_first(void **state)
{
	struct tickets t = { 0 };
	struct tickets_key old;

	(void)state;
	tickets_turn(&t, LIFE, START);
	old = t.keys[0];
	assert_true(tickets_turn(&t, LIFE, START + LIFE / 2));
	assert_int_equal(t.n, 2);
	assert_memory_equal(&t.keys[1], &old, sizeof old);
	assert_memory_not_equal(t.keys[0].bytes, old.bytes, sizeof old.bytes);
	tickets_fini(&t);
}

/* A ticket opens for its whole life, whenever it was sealed. */
static void test_tickets_open_for_their_life(void **state)
{
	struct tickets t = { 0 };
	unsigned char sealed_by[10 * LIFE][TICKETS_NAME_BYTES];

	(void)state;
	for (unsigned now = 0; now < 10 * LIFE; now++) {
		bool found = now < LIFE;
		tickets_turn(&t, LIFE, START + now);
		memcpy(sealed_by[now], t.keys[0].bytes, TICKETS_NAME_BYTES);
		for (unsigned i = 0; i < t.n && !found; i++)
			found = memcmp(t.keys[i].bytes,
			    sealed_by[now - LIFE + 1],
			    TICKETS_NAME_BYTES) == 0;
		assert_true(found);
		assert_true(t.n <= 3);
	}
	tickets_fini(&t);
}

static void test_tickets_end_when_switched_off(void **state)
{
	struct tickets t = { 0 };
	const struct tickets none = { 0 };

	(void)state;
	tickets_turn(&t, LIFE, START);
	assert_false(tickets_turn(&t, 0, START + 1));
	assert_memory_equal(&t, &none, sizeof t);
	assert_int_equal(tickets_next_s(&t, 0, START), 0);
}

static void test_tickets_survive_a_clock_set_back(void **state)
{
	struct tickets t = { 0 };

	(void)state;
	tickets_turn(&t, LIFE, START);
	assert_int_equal(tickets_next_s(&t, LIFE, START - 5000), 1);
	assert_true(tickets_turn(&t, LIFE, START - 5000));
	assert_int_equal(t.n, 1);
	assert_int_equal(t.keys[0].created_s, START - 5000);
	tickets_fini(&t);
}

static void test_tickets_tell_when_to_turn(void **state)
{
	struct tickets t = { 0 };

	(void)state;
	assert_int_equal(tickets_next_s(&t, LIFE, START), 1);
	tickets_turn(&t, LIFE, START);
	assert_int_equal(tickets_next_s(&t, LIFE, START), LIFE / 2);
	assert_int_equal(tickets_next_s(&t, LIFE, START + 100),
	    LIFE / 2 - 100);
	assert_int_equal(tickets_next_s(&t, LIFE, START + LIFE), 1);
	/* the shortest life */
	assert_true(tickets_turn(&t, 1, START + LIFE));
	assert_int_equal(tickets_next_s(&t, 1, START + LIFE), 1);
	tickets_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tickets_begin_with_one),
		cmocka_unit_test(test_tickets_newest_is_first),
		cmocka_unit_test(test_tickets_open_for_their_life),
		cmocka_unit_test(test_tickets_end_when_switched_off),
		cmocka_unit_test(test_tickets_survive_a_clock_set_back),
		cmocka_unit_test(test_tickets_tell_when_to_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
