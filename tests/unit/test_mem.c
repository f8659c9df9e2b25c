/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

static bool is_zero(const void *p, size_t n)
{
	const char *c = p;

	for (size_t i = 0; i < n; i++)
		if (c[i])
			return false;
	return true;
}

static void test_mem_is_zeroed_and_never_null(void **state)
{
	char *p = mem_alloc(1000), *none = mem_alloc(0);

	(void)state;
	assert_true(is_zero(p, 1000));
	assert_non_null(none);
	none = mem_realloc(none, 0);
	assert_non_null(none);
	free(none);
	free(p);
}

static void test_mem_copies_end_with_nul(void **state)
{
	char *a = mem_strdup("abc"), *b = mem_strdup(NULL);
	char *c = mem_str((struct str){ "abcdef", 3 }), *d = mem_str(STR_NONE);
	char *e = mem_printf("%s-%d", "x", 42);

	(void)state;
	assert_string_equal(a, "abc");
	assert_string_equal(b, "");
	assert_string_equal(c, "abc");
	assert_string_equal(d, "");
	assert_string_equal(e, "x-42");
	free(a);
	free(b);
	free(c);
	free(d);
	free(e);
}

static void test_mem_wipe_and_equal(void **state)
{
	char a[] = "secret", b[] = "secreT";

	(void)state;
	assert_true(mem_equal(a, "secret", 6));
	assert_false(mem_equal(a, b, 6));
	assert_true(mem_equal(a, b, 5));
	assert_true(mem_equal(a, b, 0));
	mem_wipe(a, 0);
	mem_wipe(NULL, 0);
	assert_string_equal(a, "secret");
	mem_wipe(a, sizeof a);
	assert_true(is_zero(a, sizeof a));
}

static void test_mem_arena_gives_aligned_zeroed_pieces(void **state)
{
	static const size_t sizes[] = { 1, 7, 16, 17, 3999, 4000, 4001, 9000,
		0, 1 };
	struct arena *a = arena_new(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = arena_alloc(a, sizes[i]);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		assert_true(is_zero(p, sizes[i]));
		memset(p, 0xaa, sizes[i]);	/* ASan sees an overlap's end */
	}
	arena_free(&a);
	assert_null(a);
	arena_free(&a);
}

static void test_mem_arena_keeps_its_limit(void **state)
{
	struct arena *a = arena_new(160);

	(void)state;
	assert_null(arena_alloc(a, 161));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX / 2));
	for (int i = 0; i < 10; i++)
		assert_non_null(arena_alloc(a, 16));
	assert_null(arena_alloc(a, 1));
	assert_null(arena_str(a, STR("x")).p);
	assert_int_equal(arena_str(a, STR("x")).n, 0);
	arena_free(&a);
}

static void test_mem_arena_strings(void **state)
{
	struct arena *a = arena_new(1000);
	struct str s = arena_str(a, (struct str){ "abcdef", 3 });
	struct str empty = arena_str(a, STR_NONE);

	(void)state;
	assert_int_equal(s.n, 3);
	assert_string_equal(s.p, "abc");
	assert_int_equal(empty.n, 0);
	assert_string_equal(empty.p, "");
	arena_free(&a);
}

static void test_mem_str_views(void **state)
{
	struct str rest, head = str_split(STR("a=b=c"), '=', &rest);

	(void)state;
	assert_true(str_eq(head, STR("a")));
	assert_true(str_eq(rest, STR("b=c")));
	head = str_split(STR("abc"), '=', &rest);
	assert_true(str_eq(head, STR("abc")));
	assert_int_equal(rest.n, 0);
	head = str_split(STR_NONE, '=', &rest);
	assert_int_equal(head.n + rest.n, 0);
	head = str_split(STR("a="), '=', &rest);
	assert_true(str_eq(head, STR("a")) && rest.n == 0);
	assert_true(str_eq(STR_NONE, STR("")));
	assert_true(str_ieq(STR("FetcH"), STR("fETCh")));
	assert_false(str_ieq(STR("FETCH"), STR("FETCHX")));
	assert_true(str_starts(STR("abc"), STR("ab")));
	assert_true(str_starts(STR("abc"), STR_NONE));
	assert_false(str_starts(STR("ab"), STR("abc")));
	assert_true(str_istarts(STR("ABc"), STR("ab")));
}

static void test_mem_err_is_cut_to_fit(void **state)
{
	char longer[600];
	struct err err;

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	assert_false(err_set(&err, "%d: %s", 7, "why"));
	assert_string_equal(err.text, "7: why");
	assert_false(err_prefix(&err, "file %s", "f"));
	assert_string_equal(err.text, "file f: 7: why");
	assert_false(err_set(&err, "%s", longer));
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_false(err_prefix(&err, "p"));
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_memory_equal(err.text, "p: xxx", 6);
	assert_false(err_prefix(&err, "%s", longer));
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_false(err_set(NULL, "x"));
	assert_false(err_prefix(NULL, "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mem_is_zeroed_and_never_null),
		cmocka_unit_test(test_mem_copies_end_with_nul),
		cmocka_unit_test(test_mem_wipe_and_equal),
		cmocka_unit_test(test_mem_arena_gives_aligned_zeroed_pieces),
		cmocka_unit_test(test_mem_arena_keeps_its_limit),
		cmocka_unit_test(test_mem_arena_strings),
		cmocka_unit_test(test_mem_str_views),
		cmocka_unit_test(test_mem_err_is_cut_to_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
