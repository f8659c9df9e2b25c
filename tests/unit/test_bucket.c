/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/bucket.h"

/* Takes all that is there. */
static unsigned drain(struct bucket *b, double now_s)
{
	unsigned n = 0;

	while (n < 100000 && bucket_take(b, 0, now_s) == 0)
		n++;
	return n;
}

static void test_bucket_without_rate_is_no_limit(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	assert_int_equal(drain(&b, 5), 100000);
}

static void test_bucket_holds_its_rate(void **state)
{
	struct bucket b = { 0 };
	unsigned n = 0;

	(void)state;
	bucket_set_rate(&b, 200, 100);
	/* asked without pause for ten seconds */
	for (unsigned ms = 0; ms <= 10000; ms++)
		n += drain(&b, 100 + ms / 1000.);
	assert_in_range(n, 2018, 2022);	/* a burst, and then the rate */
	/* a long pause gives no more than a burst */
	assert_int_equal(drain(&b, 1000), 20);
}

/* Who has to wait is told when, each a turn later than the one before; and
 * then it is theirs. */
static void test_bucket_promises(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	bucket_set_rate(&b, 2, 50);
	assert_int_equal(bucket_take(&b, 1800, 50), 0);
	assert_in_range(bucket_take(&b, 1800, 50), 500, 501);
	assert_in_range(bucket_take(&b, 1800, 50), 1000, 1001);
	assert_in_range(bucket_take(&b, 1800, 50.25), 1250, 1251);
	assert_in_range(bucket_take(&b, 1800, 50.25), 1750, 1751);
	/* none is taken for who cannot wait so long */
	for (int i = 0; i < 5; i++)
		assert_true(bucket_take(&b, 1800, 50.25) == BUCKET_NEVER);
	assert_in_range(bucket_take(&b, 1800, 51.25), 1250, 1251);
	/* rates below one a second still let one through */
	struct bucket slow = { 0 };
	bucket_set_rate(&slow, 0.5, 0);
	assert_int_equal(bucket_take(&slow, 5000, 0), 0);
	assert_in_range(bucket_take(&slow, 5000, 0), 2000, 2001);
}

/* Another rate gives nothing for free; a clock that stands still neither. */
static void test_bucket_changes_its_rate(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	bucket_set_rate(&b, 100, 1);
	assert_int_equal(drain(&b, 1), 10);
	bucket_set_rate(&b, 1000, 1);
	assert_int_equal(drain(&b, 1), 0);
	assert_int_equal(drain(&b, 0.5), 0);
	assert_int_equal(drain(&b, 1.05), 50);
	bucket_set_rate(&b, 10, 9);
	assert_int_equal(drain(&b, 9), 1);
	bucket_set_rate(&b, 0, 9);
	assert_int_equal(drain(&b, 9), 100000);
}

static void test_bucket_takes_back(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	bucket_give_back(&b);	/* without limit: nothing */
	bucket_set_rate(&b, 10, 1);
	for (int i = 0; i < 3; i++)
		bucket_give_back(&b);	/* it was full */
	assert_int_equal(drain(&b, 1), 1);
	for (int i = 0; i < 100; i++) {
		assert_in_range(bucket_take(&b, 200, 1), 100, 101);
		bucket_give_back(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket_without_rate_is_no_limit),
		cmocka_unit_test(test_bucket_holds_its_rate),
		cmocka_unit_test(test_bucket_promises),
		cmocka_unit_test(test_bucket_changes_its_rate),
		cmocka_unit_test(test_bucket_takes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
