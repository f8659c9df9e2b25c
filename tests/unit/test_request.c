/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "admin/request.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"

/* "verb NAME=value NAME=value", or "! what is wrong". */
static const char *read_line(const char *takes, struct str line)
{
	static char text[512];
	static struct request r;
	struct err err = { "" };

	if (!request_parse(&r, line, &err) ||
	    !request_match(&r, takes, &err)) {
		snprintf(text, sizeof text, "! %s", err.text);
		return text;
	}
	int n = snprintf(text, sizeof text, "%.*s%s", STR_ARG(r.verb),
	    r.wants_json ? " (json)" : "");
	for (unsigned i = 0; i < r.n_values; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, " %.*s=%.*s",
		    STR_ARG(r.values[i].name), STR_ARG(r.values[i].value));
	return text;
}

#define READ(takes, line) read_line(takes, STR(line))

static void test_request_words(void **state)
{
	(void)state;
	assert_string_equal(READ("", ""), "");
	assert_string_equal(READ("", "  status  "), "status");
	assert_string_equal(READ("", "status --json"), "status (json)");
	assert_string_equal(READ("", "--json status"), "status (json)");
	assert_string_equal(READ("A B", "v x y"), "v A=x B=y");
	assert_string_equal(READ("A B", "v \"x y\" \"\""), "v A=x y B=");
	assert_string_equal(READ("A", "v \"a\\\"b\\\\c\""), "v A=a\"b\\c");
	assert_string_equal(READ("A", "v \"--json\""), "v A=--json");
	assert_string_equal(READ("A", "v j\xc3\xb6rg"), "v A=j\xc3\xb6rg");
}

static void test_request_bad_words(void **state)
{
	char many[3 * REQUEST_WORDS_MAX + 8] = "v", longest[REQUEST_LINE_MAX + 1];

	(void)state;
	assert_non_null(strstr(READ("A", "v \"x"), "not closed"));
	assert_non_null(strstr(READ("A", "v \"x\\n\""), "expected \\\""));
	assert_non_null(strstr(READ("A", "v x\"y"), "without quotes"));
	assert_non_null(strstr(READ("A", "v x\\y"), "without quotes"));
	assert_non_null(strstr(READ("A", "v \"x\"y"), "inside a word"));
	assert_non_null(strstr(READ("A", "v x\ty"), "control"));
	assert_non_null(strstr(READ("A", "v x\0y"), "control"));
	assert_non_null(strstr(READ("A", "v \xff"), "UTF-8"));
	assert_non_null(strstr(READ("A", "v \xc2\x85"), "control"));
	for (int i = 0; i <= REQUEST_WORDS_MAX; i++)
		strcat(many, " x");
	assert_non_null(strstr(read_line("A", str_from(many)), "more than"));
	memset(longest, 'x', sizeof longest);
	assert_non_null(strstr(read_line("A", (struct str){ longest,
	    sizeof longest }), "more than 4096"));
	assert_null(strstr(read_line("", (struct str){ longest,
	    REQUEST_LINE_MAX }), "more than"));
}

#define SESSIONS "[USER | --backend NAME] [--limit N]"
#define KICK "USER | --session ID | --backend NAME"
#define ROUTE "USER ADDRESS [LISTENER]"

static void test_request_arguments(void **state)
{
	(void)state;
	assert_string_equal(READ(SESSIONS, "s"), "s");
	assert_string_equal(READ(SESSIONS, "s jan"), "s USER=jan");
	assert_string_equal(READ(SESSIONS, "s --limit 5 jan"),
	    "s --limit=5 USER=jan");
	assert_string_equal(READ(SESSIONS, "s --backend m1 --limit 5"),
	    "s --backend=m1 --limit=5");
	assert_string_equal(READ(SESSIONS, "s --backend --limit"),
	    "s --backend=--limit");
	assert_string_equal(READ(ROUTE, "r a b"), "r USER=a ADDRESS=b");
	assert_string_equal(READ(ROUTE, "r a b c"),
	    "r USER=a ADDRESS=b LISTENER=c");
	assert_string_equal(READ(KICK, "k --session 1"), "k --session=1");
	assert_string_equal(READ(KICK " [--now]", "k --backend m --now"),
	    "k --backend=m --now=");
	assert_string_equal(READ(KICK " [--now]", "k --now jan"),
	    "k --now= USER=jan");
	assert_string_equal(READ("B [--rate N | --over D] [--watch]",
	    "d x --watch --over 5m"), "d B=x --watch= --over=5m");
}

static void test_request_bad_arguments(void **state)
{
	(void)state;
	assert_string_equal(READ("", "status now"), "! status: one argument "
	    "too many: now; expected: status (no argument)");
	assert_string_equal(READ(KICK, "kick"), "! kick: missing: USER | "
	    "--session ID | --backend NAME; expected: kick USER | "
	    "--session ID | --backend NAME");
	assert_non_null(strstr(READ(KICK, "k jan --backend m1"),
	    "only one can be given"));
	assert_non_null(strstr(READ(KICK, "k jan eva"), "too many: eva"));
	assert_non_null(strstr(READ(KICK, "k --backend"), "no value behind"));
	assert_non_null(strstr(READ(KICK, "k --back m1"), "unknown option"));
	assert_non_null(strstr(READ(KICK, "k --backends m1"),
	    "unknown option"));
	assert_non_null(strstr(READ(SESSIONS, "s --limit 1 --limit 2"),
	    "given twice"));
	assert_non_null(strstr(READ(ROUTE, "r a"), "missing: ADDRESS"));
	assert_non_null(strstr(READ("B [--watch]", "d --watch"),
	    "missing: B"));
	assert_non_null(strstr(READ("B [--watch]", "d x --watch y"),
	    "too many: y"));
}

static void test_request_numbers(void **state)
{
	static const struct {
		const char *word;
		int64_t ms;
	} durations[] = {
		{ "0", 0 }, { "0s", 0 }, { "7ms", 7 }, { "30s", 30000 },
		{ "5m", 300000 }, { "2h", 7200000 }, { "1d", 86400000 },
		{ "2d", -1 }, { "25h", -1 }, { "5", -1 }, { "s", -1 },
		{ "5x", -1 }, { "-5s", -1 }, { "5 s", -1 }, { "", -1 },
		{ "99999999999999999999s", -1 },
	};
	struct request r = { .n_values = 1, .values[0].name = STR("--n") };
	struct err err;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
		r.values[0].value = str_from(durations[i].word);
		bool is_good = request_duration(&r, "--n", &n, &err);
		assert_int_equal(is_good ? (int64_t)n : -1, durations[i].ms);
	}
	r.values[0].value = STR("20");
	assert_true(request_number(&r, "--n", 1, 20, &n, &err));
	assert_int_equal(n, 20);
	assert_false(request_number(&r, "--n", 1, 19, &n, &err));
	assert_false(request_number(&r, "--n", 21, 30, &n, &err));
	assert_string_equal(err.text, "--n: \"20\"; expected a number from 21 "
	    "to 30");
	r.values[0].value = STR("2x");
	assert_false(request_number(&r, "--n", 1, 20, &n, &err));
}

/* What is written is read back as the same word, whatever it is. */
static void test_request_quotes(void **state)
{
	static const char *const words[] = { "jan", "", "a b", "\"", "\\", " ",
		"a\"b\\", "--json", "--", "x--y", "j\xc3\xb6rg", "=x" };

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct buf line;
		char wanted[64];

		buf_init(&line, 0);
		buf_puts(&line, "v ");
		request_quote(&line, str_from(words[i]));
		snprintf(wanted, sizeof wanted, "v A=%s", words[i]);
		assert_string_equal(read_line("A", buf_view(&line)), wanted);
		buf_fini(&line);
	}
}

static void test_request_nearest(void **state)
{
	struct str kick = STR("kick"), who = STR("who");

	(void)state;
	assert_string_equal(request_nearer(STR("kik"), kick, who).p, "kick");
	assert_string_equal(request_nearer(STR("kcik"), who, kick).p, "kick");
	assert_string_equal(request_nearer(STR("whoo"), kick, who).p, "who");
	assert_int_equal(request_nearer(STR("shutdown"), kick, who).n, 0);
	assert_int_equal(request_nearer(STR("ab"), kick, who).n, 0);
	assert_int_equal(request_nearer(STR(""), kick, who).n, 0);
	assert_string_equal(request_nearer(STR("kick"), STR_NONE, kick).p,
	    "kick");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_words),
		cmocka_unit_test(test_request_bad_words),
		cmocka_unit_test(test_request_arguments),
		cmocka_unit_test(test_request_bad_arguments),
		cmocka_unit_test(test_request_numbers),
		cmocka_unit_test(test_request_quotes),
		cmocka_unit_test(test_request_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
