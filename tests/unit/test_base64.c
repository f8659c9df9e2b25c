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

#include "proxy/base/base64.h"
#include "proxy/base/buf.h"

/* RFC 4648 section 10, and bytes that need the last two letters. */
static const struct {
	const char *plain, *text;
} pairs[] = {
	{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "+/+/" },
};

static void test_base64_pairs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct str plain = str_from(pairs[i].plain);
		struct str text = str_from(pairs[i].text);
		char room[16];
		struct buf b;
		size_t n;

		buf_init(&b, 0);
		assert_true(base64_encode(&b, plain.p, plain.n));
		assert_true(str_eq(buf_view(&b), text));
		assert_int_equal(text.n, BASE64_ENCODED(plain.n));
		assert_true(base64_is_valid(text));
		assert_true(base64_decode(text, room, plain.n, &n));
		assert_true(str_eq((struct str){ room, n }, plain));
		if (plain.n)
			assert_false(base64_decode(text, room, plain.n - 1,
			    &n));
		memcpy(room, text.p, text.n);
		assert_true(base64_decode((struct str){ room, text.n }, room,
		    sizeof room, &n));
		assert_true(str_eq((struct str){ room, n }, plain));
		buf_fini(&b);
	}
}

static void test_base64_is_strict(void **state)
{
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zm8=Zg==",
		"Zh==", "Zm9=", "Zm9v\n", "Zm 9", "Zm-_", "Zm9vZ", "=m9v",
		"Z=9v", "Zm=v", "*", "\xc3\xa4\xc3\xa4",
	};
	char room[16];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (base64_is_valid(str_from(bad[i])) ||
		    base64_decode(str_from(bad[i]), room, sizeof room, &n))
			fail_msg("%s", bad[i]);
	assert_false(base64_is_valid(STR("Zm9\0")));
}

static void test_base64_writes_all_or_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 7);
	assert_false(base64_encode(&b, "foob", 4));
	assert_int_equal(b.len, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_pairs),
		cmocka_unit_test(test_base64_is_strict),
		cmocka_unit_test(test_base64_writes_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
