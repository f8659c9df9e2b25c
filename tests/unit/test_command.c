/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * A row is a stream and what comes of it: each verdict by a letter, and the
 * text of each whole command in brackets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/imap/command.h"

#define LINE_MAX_BYTES 40
#define LITERAL_MAX_BYTES 10

static const struct row {
	const char *name;
	enum command_mode mode;
	const char *stream, *result;
} rows[] = {
	{ "lines", COMMAND_WHOLE, "a X\r\nb Y\n\r\nc", "[a X][b Y][]+" },
	{ "half a line", COMMAND_WHOLE, "a X\r", "+" },
	{ "literal that waits", COMMAND_WHOLE, "a X {3}\r\nb\r\n y\r\n",
	    "L[a X {3}\r\nb\r\n y]" },
	{ "literals that do not", COMMAND_WHOLE,
	    "a X {3+}\r\nb\r\n ({2+}\r\n{}\r\nb",
	    "[a X {3+}\r\nb\r\n ({2+}\r\n{}]+" },
	{ "empty literal", COMMAND_WHOLE, "a {0}\r\n\r\n", "L[a {0}\r\n]" },
	{ "literal that ends the text", COMMAND_WHOLE, "a {1+}\r\nb",
	    "+" },
	{ "CR ends a literal", COMMAND_WHOLE, "a {2+}\r\nx\r\n",
	    "[a {2+}\r\nx\r]" },
	{ "LF ends a literal", COMMAND_WHOLE, "a {2+}\r\nx\n\n",
	    "[a {2+}\r\nx\n]" },
	{ "a head that begins in a literal", COMMAND_WHOLE,
	    "a {3+}\r\n {1}\r\nx", "[a {3+}\r\n {1}]+" },
	{ "a head that is all of a line", COMMAND_WHOLE,
	    "a {3+}\r\nxyz{1}\r\n", "[a {3+}\r\nxyz{1}]" },
	{ "a head in quotes", COMMAND_WHOLE, "a \"b {3}\r\n", "[a \"b {3}]" },
	{ "a head behind quotes", COMMAND_WHOLE, "a \"b\" {3}\r\n", "L+" },
	{ "an escaped quote", COMMAND_WHOLE, "a \"b\\\" {3}\r\n",
	    "[a \"b\\\" {3}]" },
	{ "an escaped backslash", COMMAND_WHOLE, "a \"b\\\\\" {3}\r\n",
	    "L+" },
	{ "quotes end with the line", COMMAND_WHOLE, "a \"b\r\nc {3}\r\n",
	    "[a \"b]L+" },
	{ "no head", COMMAND_WHOLE, "a b{3}\r\na {}\r\na {+}\r\na {3+\r\n}\r\n",
	    "[a b{3}][a {}][a {+}][a {3+][}]" },
	{ "no head either", COMMAND_WHOLE, "{3}\r\n3}\r\na {3++}\r\n",
	    "[{3}][3}][a {3++}]" },
	{ "limit of a line", COMMAND_WHOLE,
	    "1234567890123456789012345678901234567\n"
	    "123456789012345678901234567890123456789\n"
	    "1234567890123456789012345678901234567890",
	    "[1234567890123456789012345678901234567]"
	    "[123456789012345678901234567890123456789]+" },
	{ "over the limit of a line", COMMAND_WHOLE,
	    "12345678901234567890123456789012345678901", "!" },
	{ "the limit is for all lines", COMMAND_WHOLE,
	    "a 34567890123456 {0+}\r\n 34567890123456789", "!" },
	{ "literal at the limit", COMMAND_WHOLE,
	    "a {4+}\r\n1234 {6+}\r\n123456\r\n",
	    "[a {4+}\r\n1234 {6+}\r\n123456]" },
	{ "literal over the limit", COMMAND_WHOLE, "a {11+}\r\n", "#" },
	{ "literals over the limit", COMMAND_WHOLE,
	    "a {4+}\r\n1234 {7+}\r\n", "#" },
	{ "one that waits over the limit", COMMAND_WHOLE,
	    "a {4+}\r\n1234 {7}\r\nb X\r\n", "B[b X]" },
	{ "number over all limits", COMMAND_WHOLE,
	    "a {18446744073709551617}\r\n", "B" },
	{ "line mode", COMMAND_LINE, "a {3}\r\n\"\\{1+}\n*\r\n",
	    "[a {3}][\"\\{1+}][*]" },
};

static void feed(struct command *c, enum command_mode mode, struct buf *in,
    struct buf *out)
{
	for (;;) {
		switch (command_feed(c, mode, in)) {
		case COMMAND_MORE:
			return;
		case COMMAND_DONE:
			buf_puts(out, "[");
			buf_str(out, command_text(c));
			buf_puts(out, "]");
			struct lex l = command_lex(c);
			assert_true((size_t)(l.end - l.at) ==
			    command_text(c).n);
			command_reset(c);
			break;
		case COMMAND_LITERAL:
			buf_puts(out, "L");
			command_proceed(c);
			break;
		case COMMAND_LITERAL_TOO_BIG:
			buf_puts(out, "B");
			command_reset(c);
			break;
		case COMMAND_TOO_LONG:
			buf_puts(out, "!");
			buf_clear(in);
			command_reset(c);
			return;
		case COMMAND_TOO_BIG:
			buf_puts(out, "#");
			buf_clear(in);
			command_reset(c);
			return;
		}
	}
}

static void run(const struct row *row, size_t step)
{
	struct str left = str_from(row->stream);
	struct command c;
	struct buf in, out;

	command_init(&c, LINE_MAX_BYTES, LITERAL_MAX_BYTES);
	buf_init(&in, 0);
	buf_init(&out, 0);
	while (left.n) {
		size_t n = step < left.n ? step : left.n;

		buf_append(&in, left.p, n);
		left = str_skip(left, n);
		feed(&c, row->mode, &in, &out);
		assert_int_equal(in.len, 0);
	}
	if (command_text(&c).n || c.place != COMMAND_IN_LINE)
		buf_puts(&out, "+");
	if (!str_eq(buf_view(&out), str_from(row->result)))
		fail_msg("%s, step %zu:\nis:     %.*s\nshould: %s", row->name,
		    step, STR_ARG(buf_view(&out)), row->result);
	command_fini(&c);
	buf_fini(&in);
	buf_fini(&out);
}

static void test_command_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		run(&rows[i], SIZE_MAX);
		run(&rows[i], 1);
		run(&rows[i], 7);
	}
}

/* LITERAL-: whatever the limit is, what does not wait has at most 4096. */
static void test_command_literal_minus(void **state)
{
	struct command c;
	struct buf in;

	(void)state;
	buf_init(&in, 0);
	command_init(&c, 100, 100000);
	buf_puts(&in, "a {4096+}\r\n");
	assert_int_equal(command_feed(&c, COMMAND_WHOLE, &in), COMMAND_MORE);
	command_reset(&c);
	buf_puts(&in, "a {5000}\r\n");
	assert_int_equal(command_feed(&c, COMMAND_WHOLE, &in),
	    COMMAND_LITERAL);
	command_reset(&c);
	buf_puts(&in, "a {4097+}\r\n");
	assert_int_equal(command_feed(&c, COMMAND_WHOLE, &in),
	    COMMAND_TOO_BIG);
	command_fini(&c);
	buf_fini(&in);
}

static void test_command_counts_literals(void **state)
{
	struct command c;
	struct buf in;

	(void)state;
	buf_init(&in, 0);
	command_init(&c, 1000, 10);
	buf_puts(&in, "a");
	for (int i = 0; i < COMMAND_LITERALS_MAX; i++)
		buf_puts(&in, " {0+}\r\n");
	assert_int_equal(command_feed(&c, COMMAND_WHOLE, &in), COMMAND_MORE);
	buf_puts(&in, " {0+}\r\n");
	assert_int_equal(command_feed(&c, COMMAND_WHOLE, &in),
	    COMMAND_TOO_BIG);
	command_fini(&c);
	buf_fini(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_streams),
		cmocka_unit_test(test_command_literal_minus),
		cmocka_unit_test(test_command_counts_literals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
