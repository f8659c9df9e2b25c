/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/base/buf.h"

static void assert_holds(const struct buf *b, struct str want)
{
	struct str have = buf_view(b);

	assert_int_equal(have.n, want.n);
	assert_true(str_eq(have, want));
}

static void test_buf_appends_and_consumes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_null(buf_view(&b).p);
	assert_true(buf_append(&b, NULL, 0));
	assert_null(b.data);
	assert_true(buf_puts(&b, "abc"));
	assert_true(buf_str(&b, STR("def")));
	assert_true(buf_str(&b, STR_NONE));
	assert_true(buf_printf(&b, "%d%s", 12, "!"));
	assert_holds(&b, STR("abcdef12!"));
	buf_consume(&b, 4);
	assert_holds(&b, STR("ef12!"));
	buf_consume(&b, 0);
	buf_consume(&b, 5);
	assert_holds(&b, STR(""));
	assert_int_equal(b.off, 0);
	buf_fini(&b);
	assert_null(b.data);
	buf_fini(&b);
}

static void test_buf_refuses_more_than_its_bound(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_true(buf_puts(&b, "12345678"));
	assert_false(b.overflowed);
	assert_false(buf_puts(&b, "abc"));
	assert_true(b.overflowed);
	assert_holds(&b, STR("12345678"));
	assert_false(buf_printf(&b, "%s", "abc"));
	assert_null(buf_reserve(&b, 3));
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(buf_puts(&b, "90"));
	assert_holds(&b, STR("1234567890"));
	buf_consume(&b, 3);
	assert_true(buf_puts(&b, "abc"));
	assert_holds(&b, STR("4567890abc"));
	assert_true(b.overflowed);
	buf_clear(&b);
	assert_false(b.overflowed);
	buf_fini(&b);
	assert_int_equal(b.max, 10);
}

static void test_buf_printf_may_fill_it(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_true(buf_printf(&b, "%s", "1234567890"));
	assert_false(b.overflowed);
	assert_holds(&b, STR("1234567890"));
	assert_false(buf_printf(&b, "%s", "1"));
	buf_fini(&b);
}

static void test_buf_reserve_then_commit(void **state)
{
	struct buf b;
	char *to;

	(void)state;
	buf_init(&b, 0);
	to = buf_reserve(&b, 100);
	assert_non_null(to);
	memcpy(to, "hello", 5);
	assert_int_equal(b.len, 0);
	buf_commit(&b, 5);
	assert_holds(&b, STR("hello"));
	buf_fini(&b);
}

/* A queue in steady use moves its content instead of growing. */
static void test_buf_memory_stays_bounded(void **state)
{
	struct buf b;
	unsigned char in = 0, out = 0;

	(void)state;
	buf_init(&b, 1000);
	for (int turn = 0; turn < 10000; turn++) {
		for (int i = 0; i < turn % 97 && b.len < 1000; i++, in++)
			assert_true(buf_append(&b, &in, 1));
		for (int i = 0; i < turn % 89 && b.len; i++, out++) {
			assert_int_equal((unsigned char)*buf_view(&b).p, out);
			buf_consume(&b, 1);
		}
	}
	assert_in_range(b.cap, 1, 2048);
	buf_fini(&b);
}

static void test_buf_clear_wipes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_true(buf_puts(&b, "password"));
	buf_consume(&b, 2);
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	for (size_t i = 0; i < b.cap; i++)
		assert_int_equal(b.data[i], 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_appends_and_consumes),
		cmocka_unit_test(test_buf_refuses_more_than_its_bound),
		cmocka_unit_test(test_buf_printf_may_fill_it),
		cmocka_unit_test(test_buf_reserve_then_commit),
		cmocka_unit_test(test_buf_memory_stays_bounded),
		cmocka_unit_test(test_buf_clear_wipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
