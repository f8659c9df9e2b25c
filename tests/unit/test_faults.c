/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "backends/faults.h"

static struct addr ip(unsigned n)
{
	char text[40];
	struct addr a;

	snprintf(text, sizeof text, "192.0.2.%u", n);
	assert_true(addr_parse_ip(&a, str_from(text)));
	return a;
}

static void test_faults_end(void **state)
{
	struct faults f = { 0 };
	struct addr a = ip(1), b = ip(2);

	(void)state;
	assert_false(faults_has(&f, &a, 100));
	assert_true(faults_add(&f, &a, 100));
	assert_true(faults_has(&f, &a, 100));
	assert_false(faults_has(&f, &b, 100));
	assert_true(faults_has(&f, &a, 99.9 + FAULTS_MIN_S));
	assert_false(faults_has(&f, &a, 100 + FAULTS_MIN_S));
	faults_fini(&f);
}

static void test_faults_many_at_once(void **state)
{
	struct faults f = { 0 };
	struct addr a = ip(1);

	(void)state;
	assert_true(faults_add(&f, &a, 100));
	for (int i = 0; i < 100; i++)
		assert_false(faults_add(&f, &a, 100 + i * .2));
	assert_false(faults_has(&f, &a, 100 + FAULTS_MIN_S));
	faults_fini(&f);
}

static void test_faults_last_longer_each_time(void **state)
{
	struct faults f = { 0 };
	struct addr a = ip(1);
	double now = 100, lasts = FAULTS_MIN_S;

	(void)state;
	for (int i = 0; i < 8; i++) {
		assert_true(faults_add(&f, &a, now));
		assert_true(faults_has(&f, &a, now + lasts - 1));
		assert_false(faults_has(&f, &a, now + lasts));
		now += lasts + 1;
		lasts = lasts * 2 > FAULTS_MAX_S ? FAULTS_MAX_S : lasts * 2;
	}
	/* not when it was well for as long */
	now += FAULTS_MAX_S;
	assert_true(faults_add(&f, &a, now));
	assert_false(faults_has(&f, &a, now + FAULTS_MIN_S));
	/* nor when it has answered */
	assert_true(faults_add(&f, &a, now + FAULTS_MIN_S));
	assert_true(faults_drop(&f, &a));
	assert_false(faults_drop(&f, &a));
	assert_false(faults_has(&f, &a, now + FAULTS_MIN_S));
	assert_true(faults_add(&f, &a, now + FAULTS_MIN_S));
	assert_false(faults_has(&f, &a, now + 2 * FAULTS_MIN_S));
	faults_fini(&f);
}

static void test_faults_are_bounded(void **state)
{
	struct faults f = { 0 };
	struct addr first = ip(0), last = ip(FAULTS_N_MAX);

	(void)state;
	for (unsigned i = 0; i <= FAULTS_N_MAX; i++) {
		struct addr a = ip(i);
		assert_true(faults_add(&f, &a, i));
	}
	assert_int_equal(f.n, FAULTS_N_MAX);
	assert_false(faults_has(&f, &first, 1));
	assert_true(faults_has(&f, &last, FAULTS_N_MAX));
	faults_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults_end),
		cmocka_unit_test(test_faults_many_at_once),
		cmocka_unit_test(test_faults_last_longer_each_time),
		cmocka_unit_test(test_faults_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
