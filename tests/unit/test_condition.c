/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "backends/condition.h"

static const struct condition_rules greeting = { .is_checked = true,
	.rise = 2, .fall = 3, .interval_s = 5, .fast_interval_s = 1,
	.slow_start_s = 60 };
static const struct condition_rules login = { .is_checked = true,
	.check_proves = true, .rise = 2, .fall = 3, .interval_s = 5,
	.fast_interval_s = 1, .slow_start_s = 60 };
static const struct condition_rules none = { .rise = 2, .fall = 3,
	.interval_s = 5, .fast_interval_s = 1, .slow_start_s = 60 };

static double now;

static struct condition proven(void)
{
	struct condition c;

	now = 1000;
	condition_init(&c, now);
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_int_equal(c.state, CONDITION_UP);
	return c;
}

static struct condition down(void)
{
	struct condition c = proven();

	for (int i = 0; i < 3; i++)
		condition_check_failed(&c, &greeting, "connect: refused",
		    ++now);
	assert_int_equal(c.state, CONDITION_DOWN);
	return c;
}

/* Nobody's doing: it was refused before anybody was named. */
static struct condition doubtful(const struct condition_rules *r)
{
	struct condition c = proven();

	for (int i = 0; i < 3; i++)
		condition_login_failed(&c, r, 1, 0, "unavailable: x", ++now);
	assert_int_equal(c.state, CONDITION_PROBING);
	return c;
}

static void test_condition_falls_after_fall_checks(void **state)
{
	struct condition c = proven();

	(void)state;
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	/* one that is good begins the count anew */
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_true(condition_is_fit(&c, now));
	assert_true(condition_check_failed(&c, &greeting, "timeout: y",
	    ++now));
	assert_int_equal(c.state, CONDITION_DOWN);
	assert_string_equal(c.why, "timeout: y");
	assert_true(c.since_s >= now && c.since_s <= now);
	assert_false(condition_is_fit(&c, now + 1e6));
	/* told once */
	assert_false(condition_check_failed(&c, &greeting, "z", ++now));
	assert_string_equal(c.why, "timeout: y");
}

static void test_condition_rises_after_rise_checks(void **state)
{
	struct condition c = down();

	(void)state;
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_true(condition_check_ok(&c, &greeting, ++now));
	assert_int_equal(c.state, CONDITION_UP);
	assert_string_equal(c.why, "2 good checks");
	assert_false(condition_check_ok(&c, &greeting, ++now));
	/* a login that was on its way when it went down proves nothing */
	c = down();
	assert_false(condition_login_ok(&c, 1, ++now));
	assert_int_equal(c.state, CONDITION_DOWN);
}

static void test_condition_first_check_decides(void **state)
{
	struct condition c;

	(void)state;
	condition_init(&c, 5);
	assert_true(condition_is_fit(&c, 5));
	assert_true(condition_check_failed(&c, &greeting, "x", 6));
	assert_int_equal(c.state, CONDITION_DOWN);
	/* the same name at another address */
	condition_doubt(&c);
	assert_int_equal(c.state, CONDITION_DOWN);
	assert_true(condition_check_ok(&c, &greeting, 7));
	assert_string_equal(c.why, "1 good check");
	condition_doubt(&c);
	assert_true(condition_check_failed(&c, &greeting, "x", 8));
	c = doubtful(&greeting);
	condition_doubt(&c);
	assert_true(condition_check_ok(&c, &greeting, ++now));
	assert_int_equal(c.state, CONDITION_UP);
}

static void test_condition_logins_make_it_doubtful(void **state)
{
	struct condition c = proven();

	(void)state;
	assert_false(condition_login_failed(&c, &greeting, 1, 1, "x", ++now));
	assert_false(condition_login_failed(&c, &greeting, 1, 2, "x", ++now));
	assert_false(condition_login_ok(&c, 1, ++now));
	assert_false(condition_login_failed(&c, &greeting, 1, 1, "x", ++now));
	assert_false(condition_login_failed(&c, &greeting, 1, 2, "x", ++now));
	assert_true(condition_login_failed(&c, &greeting, 1, 3, "late: y",
	    ++now));
	assert_int_equal(c.state, CONDITION_PROBING);
	assert_string_equal(c.why, "late: y");
	/* a check that does not log in does not clear it */
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_false(condition_check_ok(&c, &greeting, ++now));
	assert_int_equal(c.state, CONDITION_PROBING);
	assert_false(condition_login_ok(&c, 1, ++now));	/* nobody was let in */
	condition_try(&c, 1, 30, now);
	assert_true(condition_login_ok(&c, 1, ++now));
	assert_int_equal(c.state, CONDITION_UP);
	assert_string_equal(c.why, "a login succeeded");
	/* but one that does, does */
	c = doubtful(&login);
	assert_false(condition_check_ok(&c, &login, ++now));
	assert_true(condition_check_ok(&c, &login, ++now));
	/* and failed checks make it down */
	c = doubtful(&greeting);
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_false(condition_check_failed(&c, &greeting, "x", ++now));
	assert_true(condition_check_failed(&c, &greeting, "x", ++now));
	assert_int_equal(c.state, CONDITION_DOWN);
}

static void test_condition_one_user_counts_once(void **state)
{
	struct condition c = proven();

	(void)state;
	for (int i = 0; i < 50; i++)
		assert_false(condition_login_failed(&c, &greeting, 1, 7, "x",
		    ++now));
	/* where it cannot be their doing, it counts each time */
	assert_false(condition_login_failed(&c, &greeting, 1, 0, "x", ++now));
	assert_true(condition_login_failed(&c, &greeting, 1, 0, "x", ++now));
}

static void test_condition_doubtful_gets_one_at_a_time(void **state)
{
	struct condition c = doubtful(&none);

	(void)state;
	assert_true(condition_is_fit(&c, now));
	condition_try(&c, 1, 30, now);
	assert_false(condition_is_fit(&c, now));
	assert_false(condition_is_fit(&c, now + 29));
	assert_true(condition_is_fit(&c, now + 30));	/* it was forgotten */
	/* it failed: a pause */
	now += 5;
	assert_false(condition_login_failed(&c, &none, 1, 1, "x", now));
	assert_false(condition_is_fit(&c, now + 0.9));
	assert_true(condition_is_fit(&c, now + 1));
	/* its client has gone: the next one */
	condition_try(&c, 1, 30, ++now);
	condition_untry(&c, 1, ++now);
	assert_true(condition_is_fit(&c, now));
	/* what others say may be of the time before */
	condition_try(&c, 1, 30, ++now);
	assert_false(condition_login_ok(&c, 2, now));
	assert_false(condition_login_failed(&c, &none, 2, 5, "x", now));
	condition_untry(&c, 2, now);
	assert_int_equal(c.state, CONDITION_PROBING);
	assert_false(condition_is_fit(&c, now + 29));
	/* it succeeded: all of them */
	condition_try(&c, 1, 30, now);
	assert_true(condition_login_ok(&c, 1, now));
	assert_true(condition_is_fit(&c, now));
	condition_try(&c, 1, 30, now);
	assert_true(condition_is_fit(&c, now));
}

/* Users who have sessions there come whatever its state: more of them in the
 * time of a login than would leave a trial alone. */
static void test_condition_trial_is_heard_in_a_crowd(void **state)
{
	struct condition c = doubtful(&none);

	(void)state;
	for (uint64_t key = 1; key < 50; key++)
		condition_try(&c, key, 30, now += 0.01);
	assert_false(condition_login_ok(&c, 20, now));
	assert_true(condition_login_ok(&c, 1, now));
	/* one of which nothing is heard holds up nobody for good */
	c = doubtful(&none);
	condition_try(&c, 1, 30, now);
	condition_try(&c, 2, 30, now += 30);
	assert_false(condition_login_ok(&c, 1, now));
	assert_true(condition_login_ok(&c, 2, now));
}

static void test_condition_without_checks_is_never_down(void **state)
{
	struct condition c = down();

	(void)state;
	assert_false(condition_rule(&c, &greeting, ++now));
	assert_true(condition_rule(&c, &none, ++now));
	assert_int_equal(c.state, CONDITION_PROBING);
	assert_false(condition_rule(&c, &none, ++now));
	condition_try(&c, 1, 30, now);
	assert_true(condition_login_ok(&c, 1, ++now));
}

static void test_condition_delay(void **state)
{
	struct condition c;

	(void)state;
#define BETWEEN(low, high, r) do { \
	double least = condition_delay(&c, r, 0); \
	double most = condition_delay(&c, r, 1); \
	assert_true(least > (low) - 1e-9 && most < (high) + 1e-9); \
	assert_true(most > least); \
} while (0)
	condition_init(&c, 1);
	BETWEEN(0.9, 1.1, &greeting);	/* nothing is known */
	c = proven();
	BETWEEN(4.5, 5.5, &greeting);
	condition_check_failed(&c, &greeting, "x", ++now);
	BETWEEN(0.9, 1.1, &greeting);	/* it may be falling */
	condition_check_ok(&c, &greeting, ++now);
	BETWEEN(4.5, 5.5, &greeting);
	c = down();
	BETWEEN(4.5, 5.5, &greeting);
	condition_check_ok(&c, &greeting, ++now);
	BETWEEN(0.9, 1.1, &greeting);	/* or rising */
	c = doubtful(&greeting);
	BETWEEN(0.9, 1.1, &greeting);
}

static void test_condition_share_grows(void **state)
{
	struct condition c = proven();
	double last = 0;

	(void)state;
	/* it never was away */
	assert_true(condition_share(&c, &greeting, now) >= 1);
	c = down();
	condition_check_ok(&c, &greeting, ++now);
	condition_check_ok(&c, &greeting, ++now);
	for (int s = 0; s <= 60; s++) {
		double share = condition_share(&c, &greeting, now + s);
		assert_true(share >= last);
		assert_true(share >= CONDITION_SHARE_MIN - 1e-9);
		if (s >= 3)
			assert_true(share > s / 60. - 1e-9 &&
			    share < s / 60. + 1e-9);
		last = share;
	}
	assert_true(last >= 1);
	/* slow_start = 0 */
	struct condition_rules at_once = greeting;
	at_once.slow_start_s = 0;
	assert_true(condition_share(&c, &at_once, now) >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_condition_falls_after_fall_checks),
		cmocka_unit_test(test_condition_rises_after_rise_checks),
		cmocka_unit_test(test_condition_first_check_decides),
		cmocka_unit_test(test_condition_logins_make_it_doubtful),
		cmocka_unit_test(test_condition_one_user_counts_once),
		cmocka_unit_test(test_condition_doubtful_gets_one_at_a_time),
		cmocka_unit_test(test_condition_trial_is_heard_in_a_crowd),
		cmocka_unit_test(test_condition_without_checks_is_never_down),
		cmocka_unit_test(test_condition_delay),
		cmocka_unit_test(test_condition_share_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
