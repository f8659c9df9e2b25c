/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/user.h"

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct row {
	const char *raw, *domain;
	enum user_case fold;
	const char *canonical;	/* NULL: not a name */
} rows[] = {
	{ "Jan", "Example.ORG", USER_CASE_LOWER, "jan@example.org" },
	{ "Jan", "", USER_CASE_LOWER, "jan" },
	{ "Jan@X.de", "example.org", USER_CASE_LOWER, "jan@x.de" },
	{ "Jan@X.de", "example.org", USER_CASE_KEEP, "Jan@X.de" },
	{ "jan+lists@x.de", "", USER_CASE_LOWER, "jan@x.de" },
	{ "jan+a+b", "x.de", USER_CASE_LOWER, "jan@x.de" },
	{ "+49123", "x.de", USER_CASE_LOWER, "+49123@x.de" },
	{ "jan*admin", "x.de", USER_CASE_LOWER, "jan@x.de" },
	{ "jan@x.de*admin@y.de", "", USER_CASE_LOWER, "jan@x.de" },
	{ "jan+a@x.de*admin", "", USER_CASE_LOWER, "jan@x.de" },
	{ "a@b@x.de", "", USER_CASE_LOWER, "a@b@x.de" },
	{ "J\xc3\x84N", "", USER_CASE_LOWER, "j\xc3\x84n" },
	{ "with space", "", USER_CASE_LOWER, "with space" },
	{ "", "x.de", USER_CASE_LOWER, NULL },
	{ "*admin", "x.de", USER_CASE_LOWER, NULL },
	{ "@x.de", "", USER_CASE_LOWER, NULL },
	{ "jan@", "x.de", USER_CASE_LOWER, NULL },
	{ "a\tb", "", USER_CASE_LOWER, NULL },
	{ "a\x7f", "", USER_CASE_LOWER, NULL },
	{ "a\xc2\x85", "", USER_CASE_LOWER, NULL },
	{ "a\xc2\xa0", "", USER_CASE_LOWER, "a\xc2\xa0" },
	{ "\xff", "", USER_CASE_LOWER, NULL },
	{ HUNDRED HUNDRED TEN TEN TEN TEN TEN "123456", "", USER_CASE_LOWER,
	    HUNDRED HUNDRED TEN TEN TEN TEN TEN "123456" },
	{ HUNDRED HUNDRED TEN TEN TEN TEN TEN "1234567", "", USER_CASE_LOWER,
	    NULL },
	{ HUNDRED HUNDRED, HUNDRED HUNDRED HUNDRED TEN "1", USER_CASE_LOWER,
	    HUNDRED HUNDRED "@" HUNDRED HUNDRED HUNDRED TEN "1" },
	{ HUNDRED HUNDRED, HUNDRED HUNDRED HUNDRED TEN "12", USER_CASE_LOWER,
	    NULL },
};

static void test_user_canonical(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *r = &rows[i];
		char out[USER_CANONICAL_MAX];
		size_t n;
		bool good = user_canonical(str_from(r->raw),
		    str_from(r->domain), r->fold, out, &n);
		struct str got = { out, n };

		if (good != (r->canonical != NULL) ||
		    (good && !str_eq(got, str_from(r->canonical))))
			fail_msg("%s: %d %.*s", r->raw, good, STR_ARG(got));
	}
}

static void test_user_has_no_nul(void **state)
{
	(void)state;
	assert_false(user_is_valid(STR("a\0b")));
}

static void test_user_utf8(void **state)
{
	static const char *const good[] = {
		"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
	};
	static const char *const bad[] = {
		"\x80", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xc2\x41",
		"\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80",
		"\xe2\x82\x41",
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!user_is_utf8(str_from(good[i])))
			fail_msg("good %zu", i);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (user_is_utf8(str_from(bad[i])))
			fail_msg("bad %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_utf8),
		cmocka_unit_test(test_user_has_no_nul),
		cmocka_unit_test(test_user_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
