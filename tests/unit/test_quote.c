/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void check(size_t row, struct buf *got, struct str want)
{
	if (!str_eq(buf_view(got), want))
		fail_msg("row %zu: \"%.*s\", not \"%.*s\"", row,
		    STR_ARG(buf_view(got)), STR_ARG(want));
	buf_clear(got);
}

static void test_quote_astring_takes_the_plainest_form(void **state)
{
	const struct {
		struct str in;
		size_t nonsync_max;
		struct str out;		/* none: cannot be written */
	} rows[] = {
		{ STR("jan"), 0, STR("jan") },
		{ STR("jan@example.org"), 0, STR("jan@example.org") },
		{ STR(""), 0, STR("\"\"") },
		{ STR("nil"), 0, STR("\"nil\"") },
		{ STR("NILS"), 0, STR("NILS") },
		{ STR("a b"), 0, STR("\"a b\"") },
		{ STR("a\"b\\c"), 0, STR("\"a\\\"b\\\\c\"") },
		{ STR("a]b"), 0, STR("\"a]b\"") },
		{ STR("{3}"), 0, STR("\"{3}\"") },
		{ STR("{3+}"), 0, STR("\"{3+}\"") },
		{ STR("~{3"), 0, STR("\"~{3\"") },
		{ STR("+x"), 0, STR("\"+x\"") },
		{ STR("*"), 0, STR("\"*\"") },
		{ STR("a\tb\x7f"), 0, STR("\"a\tb\x7f\"") },
		{ STR("\xc3\xa4"), 0, STR_NONE },
		{ STR("\xc3\xa4"), 1, STR_NONE },
		{ STR("\xc3\xa4"), 2, STR("{2+}\r\n\xc3\xa4") },
		{ STR("a\r\nb"), SIZE_MAX, STR("{4+}\r\na\r\nb") },
		{ STR("a\r\nb"), 0, STR_NONE },
		{ STR("a\0b"), SIZE_MAX, STR_NONE },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	for (size_t i = 0; i < N(rows); i++) {
		bool ok = quote_astring(&b, rows[i].in, rows[i].nonsync_max);

		if (ok != (rows[i].out.n > 0))
			fail_msg("row %zu: returned %d", i, ok);
		check(i, &b, rows[i].out);
	}
	buf_fini(&b);
}

static void test_quote_string_refuses_what_ends_a_line(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_false(quote_string(&b, STR("a\r")));
	assert_false(quote_string(&b, STR("\n")));
	assert_false(quote_string(&b, STR("a\0")));
	assert_false(quote_string(&b, STR("\x80")));
	assert_int_equal(b.len, 0);
	buf_fini(&b);
}

/* Each form is undone here as a server reads it. */
static void test_quote_string_reads_back(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	for (int c = 1; c < 0x80; c++) {
		char in[3] = { (char)c, '"', (char)c }, back[3];
		size_t n = 0;

		if (c == '\r' || c == '\n')
			continue;
		assert_true(quote_string(&b, (struct str){ in, 3 }));
		struct str s = buf_view(&b);
		assert_int_equal(s.p[0], '"');
		assert_int_equal(s.p[s.n - 1], '"');
		for (size_t i = 1; i < s.n - 1; i++) {
			if (s.p[i] == '\\')
				i++;
			else
				assert_int_not_equal(s.p[i], '"');
			assert_in_range(n, 0, 2);
			back[n++] = s.p[i];
		}
		assert_int_equal(n, 3);
		assert_memory_equal(in, back, 3);
		buf_clear(&b);
	}
	buf_fini(&b);
}

static void test_quote_writes_all_or_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_false(quote_string(&b, STR("12345678")));
	assert_false(quote_astring(&b, STR("\x80\x80\x80\x80"), SIZE_MAX));
	assert_int_equal(b.len, 0);
	assert_true(quote_literal_head(&b, 5, false));
	check(0, &b, STR("{5}\r\n"));
	buf_fini(&b);
}

static void test_quote_printable_hides_controls_and_cuts(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_true(quote_printable(&b, STR("a\0b\r\n\x1b[1m\x7f"), 99));
	check(0, &b, STR("a?b???[1m?"));
	assert_true(quote_printable(&b, STR("abc"), 2));
	check(1, &b, STR("ab"));
	assert_true(quote_printable(&b, STR("a\xc3\xa4"), 2));
	check(2, &b, STR("a"));
	assert_true(quote_printable(&b, STR("a\xc3\xa4"), 3));
	check(3, &b, STR("a\xc3\xa4"));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote_astring_takes_the_plainest_form),
		cmocka_unit_test(test_quote_string_refuses_what_ends_a_line),
		cmocka_unit_test(test_quote_string_reads_back),
		cmocka_unit_test(test_quote_writes_all_or_nothing),
		cmocka_unit_test(test_quote_printable_hides_controls_and_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
