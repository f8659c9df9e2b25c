/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define ROOM 8192

static int pipe_fds[2];

/* The log writes into a pipe that the test reads. */
static int setup(void **state)
{
	(void)state;
	if (pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	log_set_output(pipe_fds[1], LOG_KIND_FILE);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_INFO);
	log_set_role(NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(pipe_fds[0]);
	log_set_output(STDERR_FILENO, LOG_KIND_FILE);
	return 0;
}

/* What was logged since, as a string. */
static const char *logged(void)
{
	static char text[ROOM];
	ssize_t n = read(pipe_fds[0], text, sizeof text - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

/* The same behind the time, which is a fixed number of bytes. */
static const char *behind_time(const char *line)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

	for (const char *f = form; *f; f++, line++) {
		if (*f == 'd')
			assert_true(isdigit((unsigned char)*line));
		else
			assert_int_equal(*line, *f);
	}
	return line;
}

static void log_value(struct str value)
{
	struct log_line l;

	assert_true(log_begin(&l, LOG_LINE_INFO, "e"));
	log_str(&l, "k", value);
	log_end(&l);
}

/* --- a reader of JSON, strict where it matters here ----------------------- */

static const char *json_string(const char *p)
{
	assert_int_equal(*p, '"');
	for (p++; *p != '"'; p++) {
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
		if (*p != '\\')
			continue;
		p++;
		if (*p == 'u') {
			for (int i = 0; i < 4; i++)
				assert_true(isxdigit((unsigned char)*++p));
		} else {
			assert_true(*p == '"' || *p == '\\');
		}
	}
	return p + 1;
}

static const char *json_number(const char *p)
{
	assert_true(isdigit((unsigned char)*p));
	while (isdigit((unsigned char)*p) || *p == '.')
		p++;
	return p;
}

/* One object of strings and numbers, and LF. */
static void assert_json(const char *p)
{
	assert_int_equal(*p, '{');
	do {
		p = json_string(p + 1);
		assert_int_equal(*p++, ':');
		p = *p == '"' ? json_string(p) : json_number(p);
	} while (*p == ',');
	assert_string_equal(p, "}\n");
}

/* --- tests ---------------------------------------------------------------- */

static void test_log_line_has_its_fields(void **state)
{
	struct log_line l;
	struct addr a = { 0 };

	(void)state;
	assert_true(addr_parse(&a, STR("[2001:db8::1]:993")));
	log_set_role("worker");
	assert_true(log_begin(&l, LOG_LINE_WARN, "login"));
	log_session(&l, 0xc3f1a2);
	log_text(&l, "user", "jan");
	log_addr(&l, "from", &a);
	log_u64(&l, "n", UINT64_MAX);
	log_seconds(&l, "s", 1.23456);
	log_seconds(&l, "past", -1);
	log_end(&l);
	assert_string_equal(behind_time(logged()),
	    "warn role=worker event=login s=0000000000c3f1a2 user=jan "
	    "from=[2001:db8::1]:993 n=18446744073709551615 s=1.235 "
	    "past=0.000\n");
}

static void test_log_json_has_the_same_fields(void **state)
{
	struct log_line l;
	const char *line;

	(void)state;
	log_set_form(LOG_FORMAT_JSON, LOG_LINE_INFO);
	assert_true(log_begin(&l, LOG_LINE_ERROR, "x"));
	log_session(&l, 1);
	log_u64(&l, "n", 7);
	log_seconds(&l, "t", 0.5);
	log_end(&l);
	line = logged();
	assert_json(line);
	assert_non_null(strstr(line, "Z\",\"level\":\"error\",\"event\":\"x\","
	    "\"s\":\"0000000000000001\",\"n\":7,\"t\":0.500}\n"));
}

static const struct {
	const char *name;
	struct str value;
	const char *logfmt, *json;
} values[] = {
	{ "plain", { "jan", 3 }, "jan", "\"jan\"" },
	{ "empty", { "", 0 }, "\"\"", "\"\"" },
	{ "none", { NULL, 0 }, "\"\"", "\"\"" },
	{ "space", { "a b", 3 }, "\"a b\"", "\"a b\"" },
	{ "equals sign", { "a=b", 3 }, "\"a=b\"", "\"a=b\"" },
	{ "quote", { "a\"b", 3 }, "\"a\\\"b\"", "\"a\\\"b\"" },
	{ "backslash", { "a\\b", 3 }, "\"a\\\\b\"", "\"a\\\\b\"" },
	{ "line end", { "a\r\nb", 4 }, "\"a\\x0d\\x0ab\"",
	    "\"a\\u000d\\u000ab\"" },
	{ "NUL", { "a\0b", 3 }, "\"a\\x00b\"", "\"a\\u0000b\"" },
	{ "escape", { "\033[2J", 4 }, "\"\\x1b[2J\"", "\"\\u001b[2J\"" },
	{ "DEL", { "\x7f", 1 }, "\"\\x7f\"", "\"\\u007f\"" },
	{ "UTF-8", { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7", 9 },
	    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7\"",
	    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7\"" },
	{ "C1 control", { "\xc2\x9b", 2 }, "\"\\xc2\\x9b\"",
	    "\"\\u00c2\\u009b\"" },
	{ "first after C1", { "\xc2\xa0", 2 }, "\"\xc2\xa0\"",
	    "\"\xc2\xa0\"" },
	{ "Latin-1", { "\xe9", 1 }, "\"\\xe9\"", "\"\\u00e9\"" },
	{ "overlong", { "\xc0\xaf", 2 }, "\"\\xc0\\xaf\"",
	    "\"\\u00c0\\u00af\"" },
	{ "overlong of three", { "\xe0\x9f\xbf", 3 }, "\"\\xe0\\x9f\\xbf\"",
	    "\"\\u00e0\\u009f\\u00bf\"" },
	{ "surrogate", { "\xed\xa0\x80", 3 }, "\"\\xed\\xa0\\x80\"",
	    "\"\\u00ed\\u00a0\\u0080\"" },
	{ "above U+10FFFF", { "\xf4\x90\x80\x80", 4 },
	    "\"\\xf4\\x90\\x80\\x80\"",
	    "\"\\u00f4\\u0090\\u0080\\u0080\"" },
	{ "cut short", { "a\xe2\x82", 3 }, "\"a\\xe2\\x82\"",
	    "\"a\\u00e2\\u0082\"" },
	{ "bad third byte", { "\xe2\x82!", 3 }, "\"\\xe2\\x82!\"",
	    "\"\\u00e2\\u0082!\"" },
};

static void test_log_values_are_escaped(void **state)
{
	char want[256];

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_INFO);
		log_value(values[i].value);
		snprintf(want, sizeof want, "info event=e k=%s\n",
		    values[i].logfmt);
		const char *line = behind_time(logged());
		if (strcmp(line, want) != 0)
			fail_msg("%s: %s", values[i].name, line);

		log_set_form(LOG_FORMAT_JSON, LOG_LINE_INFO);
		log_value(values[i].value);
		snprintf(want, sizeof want, "\"event\":\"e\",\"k\":%s}\n",
		    values[i].json);
		line = logged();
		assert_json(line);
		if (!strstr(line, want))
			fail_msg("%s: %s", values[i].name, line);
	}
}

/* n bytes of text, then what is at the edge, then more. */
static void assert_cut(size_t n, const char *edge, const char *want_end)
{
	char value[LOG_VALUE_MAX + 64], want[LOG_VALUE_MAX + 64];

	memset(value, 'a', sizeof value);
	memcpy(value + n, edge, strlen(edge));
	log_value((struct str){ value, sizeof value });
	const char *at = strstr(logged(), " k=");
	assert_non_null(at);
	memset(want, 'a', sizeof want);
	strcpy(want + n, want_end);
	at += strcspn(at, "a");
	assert_string_equal(at, want);
}

static void test_log_value_is_cut(void **state)
{
	char value[LOG_VALUE_MAX];

	(void)state;
	memset(value, 'a', sizeof value);
	log_value((struct str){ value, sizeof value });
	assert_null(strstr(logged(), "..."));
	assert_cut(LOG_VALUE_MAX, "", "...\n");
	assert_cut(LOG_VALUE_MAX - 3, "\xe2\x82\xac",
	    "\xe2\x82\xac...\"\n");
	assert_cut(LOG_VALUE_MAX - 2, "\xe2\x82\xac", "...\"\n");
	assert_cut(LOG_VALUE_MAX - 1, "\xe2\x82\xac", "...\"\n");
	assert_cut(LOG_VALUE_MAX - 1, "\xff", "\\xff...\"\n");
}

/* Whatever goes in, what comes out is one line of bounded length. */
static void fill_line(size_t step, char c, size_t n_values, enum log_format f)
{
	char value[LOG_VALUE_MAX + 1];
	struct log_line l;

	memset(value, c, sizeof value);
	log_set_form(f, LOG_LINE_INFO);
	assert_true(log_begin(&l, LOG_LINE_INFO, "e"));
	for (size_t i = 0; i < n_values; i++) {
		log_str(&l, "key", (struct str){ value, step });
		log_u64(&l, "number", 1234567890);
		log_seconds(&l, "seconds", 12.5);
	}
	assert_true(l.n < LOG_LINE_MAX);
	log_end(&l);
	const char *line = logged();
	size_t length = strlen(line);
	assert_in_range(length, 1, LOG_LINE_MAX);
	assert_int_equal(line[length - 1], '\n');
	assert_ptr_equal(strchr(line, '\n'), line + length - 1);
	if (f == LOG_FORMAT_JSON)
		assert_json(line);
}

static void test_log_full_line_stays_well_formed(void **state)
{
	static const char bytes[] = "a\n\"\xff";

	(void)state;
	for (size_t step = 0; step <= LOG_VALUE_MAX + 1; step++)
		for (size_t i = 0; i < sizeof bytes - 1; i++) {
			fill_line(step, bytes[i], 40, LOG_FORMAT_LOGFMT);
			fill_line(step, bytes[i], 40, LOG_FORMAT_JSON);
		}
}

static void test_log_level_is_a_limit(void **state)
{
	struct log_line l;

	(void)state;
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_WARN);
	assert_true(log_begin(&l, LOG_LINE_ERROR, "e"));
	assert_true(log_begin(&l, LOG_LINE_WARN, "e"));
	assert_false(log_begin(&l, LOG_LINE_INFO, "e"));
	assert_false(log_begin(&l, LOG_LINE_DEBUG, "e"));
	log_note(LOG_LINE_INFO, "e", "k", "%d", 1);
	assert_string_equal(logged(), "");
	log_note(LOG_LINE_WARN, "e", "k", "%d two", 1);
	assert_string_equal(behind_time(logged()), "warn event=e k=\"1 two\"\n");
}

static void test_log_lost_lines_are_counted(void **state)
{
	char junk[4096] = { 0 };
	const char *line;
	static char drain[1 << 20];

	(void)state;
	while (write(pipe_fds[1], junk, sizeof junk) > 0)
		;
	for (int i = 0; i < 7; i++)
		log_note(LOG_LINE_INFO, "e", "k", "%d", i);
	while (read(pipe_fds[0], drain, sizeof drain) > 0)
		;
	log_note(LOG_LINE_INFO, "e", "k", "after");
	line = behind_time(logged());
	assert_string_equal(line, "info event=e log_lines_lost=7 k=after\n");
	log_note(LOG_LINE_INFO, "e", "k", "again");
	assert_string_equal(behind_time(logged()), "info event=e k=again\n");
}

static void test_log_lines_may_nest(void **state)
{
	struct log_line a, b;
	char junk[4096] = { 0 };
	static char drain[1 << 20];

	(void)state;
	while (write(pipe_fds[1], junk, sizeof junk) > 0)
		;
	log_note(LOG_LINE_INFO, "e", "k", "lost");
	while (read(pipe_fds[0], drain, sizeof drain) > 0)
		;
	assert_true(log_begin(&a, LOG_LINE_INFO, "a"));
	assert_true(log_begin(&b, LOG_LINE_INFO, "b"));
	log_end(&b);
	log_end(&a);
	log_note(LOG_LINE_INFO, "c", "k", "v");
	assert_non_null(strstr(logged(), "event=c k=v\n"));
}

static void test_log_opens_a_file_to_append(void **state)
{
	char path[] = "/tmp/mailweir-log-XXXXXX", text[ROOM] = { 0 };
	struct err err = { "" };
	enum log_kind kind;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "first\n", 6), 6);
	log_set_output(log_open(path, &kind, &err), LOG_KIND_FILE);
	assert_int_equal(kind, LOG_KIND_FILE);
	log_note(LOG_LINE_INFO, "e", "k", "v");
	assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
	assert_memory_equal(text, "first\n", 6);
	assert_string_equal(behind_time(text + 6), "info event=e k=v\n");
	close(fd);
	unlink(path);
	assert_int_equal(log_open("/nowhere/at/all", &kind, &err), -1);
	assert_non_null(strstr(err.text, "/nowhere/at/all"));
	fd = log_open("stderr", &kind, &err);
	assert_true(fd > STDERR_FILENO);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_log_line_has_its_fields),
		T(test_log_json_has_the_same_fields),
		T(test_log_values_are_escaped),
		T(test_log_value_is_cut),
		T(test_log_full_line_stays_well_formed),
		T(test_log_level_is_a_limit),
		T(test_log_lost_lines_are_counted),
		T(test_log_lines_may_nest),
		T(test_log_opens_a_file_to_append),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
