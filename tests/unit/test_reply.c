/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX 64
#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Takes a line, whole and with each shorter input before, which must all want
 * more; bytes behind the line are not touched. */
static enum reply_verdict take(struct str in, struct reply *r, size_t *n)
{
	size_t end = 0;
	enum reply_verdict v;

	while (end < in.n && in.p[end] != '\n')
		end++;
	for (size_t i = 0; i < end && i < MAX; i++)
		assert_int_equal(reply_take((struct str){ in.p, i }, MAX, r,
		    n), REPLY_MORE);
	v = reply_take(in, MAX, r, n);
	if (v == REPLY_LINE)
		assert_int_equal(*n, end + 1);
	return v;
}

static void check(const char *row, const char *what, struct str got,
    const char *want)
{
	if (!str_eq(got, str_from(want)))
		fail_msg("%s: %s is \"%.*s\", not \"%s\"", row, what,
		    STR_ARG(got), want);
}

static void test_reply_takes_status_responses_apart(void **state)
{
	static const struct {
		const char *in;
		enum reply_kind kind;
		enum reply_status status;
		const char *tag, *code, *args, *text;
	} rows[] = {
		{ "* OK ready\r\n", REPLY_UNTAGGED, REPLY_OK, "*", "", "",
		    "ready" },
		{ "* ok [ALERT] hi\r\n", REPLY_UNTAGGED, REPLY_OK, "*",
		    "ALERT", "", "hi" },
		{ "* OK [CAPABILITY IMAP4rev1 ID] ready\n", REPLY_UNTAGGED,
		    REPLY_OK, "*", "CAPABILITY", "IMAP4rev1 ID", "ready" },
		{ "* PREAUTH [X] you\r\n", REPLY_UNTAGGED, REPLY_PREAUTH,
		    "*", "X", "", "you" },
		{ "* BYE\r\n", REPLY_UNTAGGED, REPLY_BYE, "*", "", "", "" },
		{ "a1 NO [X \"a]b\"] t\r\n", REPLY_TAGGED, REPLY_NO, "a1",
		    "X", "\"a]b\"", "t" },
		{ "a1 NO [X \"a\\\"]b\"] t\r\n", REPLY_TAGGED, REPLY_NO, "a1",
		    "X", "\"a\\\"]b\"", "t" },
		{ "L NO [REFERRAL imap://[::1]:1/] t\r\n", REPLY_TAGGED,
		    REPLY_NO, "L", "REFERRAL", "imap://[::1]:1/", "t" },
		{ "L NO [X a[b] t\r\n", REPLY_TAGGED, REPLY_NO, "L", "X",
		    "a[b", "t" },
		{ "L NO [[]\r\n", REPLY_TAGGED, REPLY_NO, "L", "[", "", "" },
		{ "L NO [\r\n", REPLY_TAGGED, REPLY_NO, "L", "", "", "[" },
		{ "a1 BAD [never ends\r\n", REPLY_TAGGED, REPLY_BAD, "a1",
		    "", "", "[never ends" },
		{ "L OK [A]\r\n", REPLY_TAGGED, REPLY_OK, "L", "A", "", "" },
		{ "L OK [A]x\r\n", REPLY_TAGGED, REPLY_OK, "L", "A", "",
		    "x" },
		{ "L OK []\r\n", REPLY_TAGGED, REPLY_OK, "L", "", "", "" },
		{ "L OK\r\n", REPLY_TAGGED, REPLY_OK, "L", "", "", "" },
		{ "* OK text ends in {3}\r\n", REPLY_UNTAGGED, REPLY_OK, "*",
		    "", "", "text ends in {3}" },
		{ "+ b64=\r\n", REPLY_CONTINUE, REPLY_DATA, "", "", "",
		    "b64=" },
		{ "+ \r\n", REPLY_CONTINUE, REPLY_DATA, "", "", "", "" },
		{ "+\r\n", REPLY_CONTINUE, REPLY_DATA, "", "", "", "" },
	};
	struct reply r;
	size_t n;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		const char *row = rows[i].in;

		if (take(str_from(row), &r, &n) != REPLY_LINE)
			fail_msg("%s: no line", row);
		assert_int_equal(r.kind, rows[i].kind);
		assert_int_equal(r.status, rows[i].status);
		check(row, "tag", r.tag, rows[i].tag);
		check(row, "code", r.code, rows[i].code);
		check(row, "args", r.code_args, rows[i].args);
		check(row, "text", r.text, rows[i].text);
		assert_false(r.has_literal);
	}
}

static void test_reply_takes_data_responses_apart(void **state)
{
	static const struct {
		const char *in, *name, *text;
		bool has_number;
		uint32_t number;
		bool has_literal;
		uint64_t literal;
	} rows[] = {
		{ "* CAPABILITY IMAP4rev1 ID\r\n", "CAPABILITY",
		    "IMAP4rev1 ID", 0, 0, 0, 0 },
		{ "* ID NIL\r\n", "ID", "NIL", 0, 0, 0, 0 },
		{ "* SEARCH\r\n", "SEARCH", "", 0, 0, 0, 0 },
		{ "* 23 EXISTS\r\n", "EXISTS", "", 1, 23, 0, 0 },
		{ "* 4294967295 EXPUNGE\r\n", "EXPUNGE", "", 1, UINT32_MAX,
		    0, 0 },
		{ "* 4294967296 EXPUNGE\r\n", "4294967296", "EXPUNGE", 0, 0,
		    0, 0 },
		{ "* 1 FETCH (BODY[] {310}\r\n", "FETCH", "(BODY[] {310}", 1,
		    1, 1, 310 },
		{ "* 1 FETCH (BINARY[] ~{0}\r\n", "FETCH", "(BINARY[] ~{0}",
		    1, 1, 1, 0 },
		{ "* ID (\"a\" {5+}\r\n", "ID", "(\"a\" {5+}", 0, 0, 1, 5 },
		{ "* X {}\r\n", "X", "{}", 0, 0, 0, 0 },
		{ "* X {99999999999999999999}\r\n", "X",
		    "{99999999999999999999}", 0, 0, 0, 0 },
		{ "* X 5}\r\n", "X", "5}", 0, 0, 0, 0 },
	};
	struct reply r;
	size_t n;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		const char *row = rows[i].in;

		if (take(str_from(row), &r, &n) != REPLY_LINE)
			fail_msg("%s: no line", row);
		assert_int_equal(r.kind, REPLY_UNTAGGED);
		assert_int_equal(r.status, REPLY_DATA);
		check(row, "name", r.name, rows[i].name);
		check(row, "text", r.text, rows[i].text);
		assert_int_equal(r.has_number, rows[i].has_number);
		assert_int_equal(r.number, rows[i].number);
		assert_int_equal(r.has_literal, rows[i].has_literal);
		if (r.has_literal)
			assert_int_equal(r.literal_bytes, rows[i].literal);
	}
}

static void test_reply_refuses_what_is_no_line(void **state)
{
	const struct str rows[] = {
		STR("\r\n"), STR("\n"), STR("*\r\n"), STR("* \r\n"),
		STR("* 5\r\n"), STR("+x\r\n"), STR("a1\r\n"),
		STR("a1 HELLO\r\n"), STR("a1 BYE x\r\n"),
		STR("a1 PREAUTH x\r\n"), STR(" OK x\r\n"),
		STR("a{1 OK x\r\n"), STR("a\xc3\xa4 OK x\r\n"),
		STR("* OK a\rb\r\n"), STR("* OK a\0b\r\n"),
		STR("* OK x\r\r\n"), STR("HTTP/1.1 400 Bad Request\r\n"),
		STR("220 mail ESMTP\r\n"), STR("\x16\x03\x01\n"),
	};
	struct reply r;
	size_t n;

	(void)state;
	for (size_t i = 0; i < N(rows); i++)
		if (take(rows[i], &r, &n) != REPLY_BROKEN)
			fail_msg("row %zu: taken as a line", i);
}

static void test_reply_bounds_the_line(void **state)
{
	char in[MAX + 1];
	struct reply r;
	size_t n;

	(void)state;
	memset(in, 'x', sizeof(in));
	memcpy(in, "* OK ", 5);
	assert_int_equal(take((struct str){ in, MAX }, &r, &n),
	    REPLY_TOO_LONG);
	in[MAX] = '\n';
	assert_int_equal(take((struct str){ in, MAX + 1 }, &r, &n),
	    REPLY_TOO_LONG);
	in[MAX - 1] = '\n';
	assert_int_equal(take((struct str){ in, MAX + 1 }, &r, &n),
	    REPLY_LINE);
	assert_int_equal(n, MAX);
}

static void test_reply_takes_one_line_only(void **state)
{
	struct reply r;
	size_t n;

	(void)state;
	assert_int_equal(take(STR("L OK hi\r\n* 1 EXISTS\r\n"), &r, &n),
	    REPLY_LINE);
	assert_int_equal(n, 9);
	assert_int_equal(reply_take(STR_NONE, MAX, &r, &n), REPLY_MORE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply_takes_status_responses_apart),
		cmocka_unit_test(test_reply_takes_data_responses_apart),
		cmocka_unit_test(test_reply_refuses_what_is_no_line),
		cmocka_unit_test(test_reply_bounds_the_line),
		cmocka_unit_test(test_reply_takes_one_line_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
