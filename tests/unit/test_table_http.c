/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/table.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "tests/unit/http_play.h"

static struct {
	struct ev_loop *loop;
	struct tables *tables;
	struct table *table;
	struct table_lookup *lookup;
	unsigned n_done;
	enum table_verdict verdict;
	char target[64], user[64], why[256];
} t;

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)err;
	assert_int_equal(type, CONF_TABLE_HTTP);
	return &table_http;
}

static void on_done(void *owner, const struct table_answer *a)
{
	(void)owner;
	t.lookup = NULL;
	t.n_done++;
	t.verdict = a->verdict;
	snprintf(t.target, sizeof t.target, "%s", a->pool ? a->pool->name :
	    a->backend ? a->backend->name : "");
	snprintf(t.user, sizeof t.user, "%.*s", STR_ARG(a->user));
	snprintf(t.why, sizeof t.why, "%s", a->why ? a->why : "");
}

static bool token(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	*data_out = strcmp(path, "token") == 0 ?
	    STR("Authorization: Bearer 123\n") : STR("x");
	return true;
}

static void configure(const char *target, const char *more)
{
	char text[1024];
	struct err err;

	snprintf(text, sizeof text,
	    "backend both { address = \"mail1.example.net:143\" }\n"
	    "pool eu { backends = { both } }\n"
	    "pool both { backends = { both } }\n"
	    "table homes { type = http  keys = { \"user@domain\" }\n"
	    "url = \"http://127.0.0.1:%u%s\"  cache = 0  negative_cache = 0\n"
	    "grace = 0  %s }\n",
	    play.port, target, more);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, token, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	assert_true(tables_configure(t.tables, s, &err));
	settings_unref(&s);
	t.table = tables_find(t.tables, "homes");
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(0);
	t.tables = tables_new(t.loop, NULL);
	play_start(t.loop);
	configure("/where?user=%s", "");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	table_cancel(&t.lookup);
	tables_free(&t.tables);
	play_stop();
	ev_loop_destroy(t.loop);
	return 0;
}

static void ask(struct str user)
{
	unsigned n = t.n_done;

	t.lookup = table_lookup(t.table, user, on_done, NULL);
	play_until(&t.n_done, n + 1);
}

static char reply_text[4096];

static void reply(unsigned status, const char *body)
{
	snprintf(reply_text, sizeof reply_text, "HTTP/1.1 %u X\r\n"
	    "Content-Length: %zu\r\n\r\n%s", status, strlen(body), body);
	play.reply = reply_text;
}

/* --- tests ------------------------------------------------------------------------- */

static void test_table_http_asks_for_the_key(void **state)
{
	char expected[256];

	(void)state;
	configure("/where?user=%s&x=%20", "header = token");
	reply(200, "{\"pool\": \"eu\"}");
	ask(STR("jan@example.org"));
	snprintf(expected, sizeof expected,
	    "GET /where?user=jan%%40example.org&x=%%20 HTTP/1.1\r\n"
	    "Host: 127.0.0.1:%u\r\nAccept: application/json\r\n"
	    "Authorization: Bearer 123\r\n\r\n", play.port);
	assert_string_equal(play.request, expected);
	assert_int_equal(t.verdict, TABLE_FOUND);
	assert_string_equal(t.target, "eu");
}

static void test_table_http_reads_answers(void **state)
{
	static const struct {
		const char *body, *target, *user;
		enum table_verdict verdict;
		unsigned status;
	} rows[] = {
		{ "{\"pool\": \"eu\"}", "eu", "", TABLE_FOUND, 200 },
		{ "{\"pool\": \"eu\", \"user\": \"jan@x\", \"n\": [1]}", "eu",
		    "jan@x", TABLE_FOUND, 200 },
		{ "{\"value\": \"b@mail1.example.net:143\"}", "both", "b",
		    TABLE_FOUND, 200 },
		{ "{\"value\": \"eu\", \"user\": \"c\"}", "eu", "c",
		    TABLE_FOUND, 200 },
		{ "{\"backend\": \"both\", \"user\": \"d\", \"pool\": null}",
		    "both", "d", TABLE_FOUND, 200 },
		{ "null", "", "", TABLE_MISSING, 200 },
		{ " {} \n", "", "", TABLE_MISSING, 200 },
		{ "whatever", "", "", TABLE_MISSING, 404 },
		{ "", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"eu\"} x", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"eu\", \"pool\": \"eu\"}", "", "",
		    TABLE_FAILED, 200 },
		{ "[\"eu\"]", "", "", TABLE_FAILED, 200 },
		{ "\"eu\"", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": 7}", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"\"}", "", "", TABLE_FAILED, 200 },
		{ "{\"user\": \"jan\"}", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"eu\", \"backend\": \"both\"}", "", "",
		    TABLE_FAILED, 200 },
		{ "{\"pool\": \"nowhere\"}", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"eu\\u0000\"}", "", "", TABLE_FAILED, 200 },
		{ "{\"pool\": \"eu\"}", "", "", TABLE_FAILED, 500 },
		{ "{\"pool\": \"eu\"}", "", "", TABLE_FAILED, 403 },
		{ "{\"pool\": \"eu\"}", "", "", TABLE_FAILED, 201 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		reply(rows[i].status, rows[i].body);
		ask(STR("jan"));
		if (t.verdict != rows[i].verdict)
			fail_msg("%u %s: %d %s", rows[i].status, rows[i].body,
			    t.verdict, t.why);
		assert_string_equal(t.target, rows[i].target);
		assert_string_equal(t.user, rows[i].user);
		assert_int_equal(t.verdict == TABLE_FAILED, t.why[0] != 0);
	}
}

/* A pool and a backend have the name; the answer says which. */
static void test_table_http_user_and_backend(void **state)
{
	(void)state;
	configure("/%s", "delimiter = \"%\"");
	reply(200, "{\"backend\": \"both\", \"user\": \"a%b\"}");
	t.lookup = table_lookup(t.table, STR("jan"), on_done, NULL);
	play_until(&t.n_done, 1);
	assert_string_equal(t.user, "a%b");
	assert_string_equal(t.target, "both");
}

static void test_table_http_too_long(void **state)
{
	static char big[20000];

	(void)state;
	snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\nContent-Length: "
	    "17000\r\n\r\n{\"pool\": \"eu\"}%17000s", "");
	play.reply = big;
	ask(STR("jan"));
	assert_int_equal(t.verdict, TABLE_FAILED);
	memset(reply_text, 0, sizeof reply_text);
	char value[TABLE_VALUE_MAX + 40];
	snprintf(value, sizeof value, "{\"value\": \"%0*d\"}",
	    TABLE_VALUE_MAX + 1, 0);
	reply(200, value);
	ask(STR("jan"));
	assert_int_equal(t.verdict, TABLE_FAILED);
	assert_non_null(strstr(t.why, "too long"));
}

static void test_table_http_key_stays_one_value(void **state)
{
	static const struct {
		const char *key, *sent;
	} rows[] = {
		{ "a&b=c#d?e", "a%26b%3Dc%23d%3Fe" },
		{ "*)(uid=\"'%", "%2A%29%28uid%3D%22%27%25" },
		{ "a b+c~._-", "a%20b%2Bc~._-" },
		{ "%s%s", "%25s%25s" },
		{ "j\xc3\xa9", "j%C3%A9" },
		{ "../x", "..%2Fx" },
	};
	char expected[256];

	(void)state;
	reply(200, "{\"pool\": \"eu\"}");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ask(str_from(rows[i].key));
		snprintf(expected, sizeof expected, "GET /where?user=%s HTTP",
		    rows[i].sent);
		if (strncmp(play.request, expected, strlen(expected)) != 0)
			fail_msg("%s was sent as %.60s", rows[i].key,
			    play.request);
	}
}

static void test_table_http_keys_that_no_source_has(void **state)
{
	static const struct str rows[] = {
		{ "a\r\nX: y", 7 }, { "a\0b", 3 }, { "a\x7f", 2 },
		{ "j\xe9", 2 }, { "\xc0\xaf", 2 },
	};
	static const struct str in_path[] = {
		{ "..", 2 }, { ".", 1 }, { "../x", 4 }, { "x/..", 4 },
		{ "x\\..\\y", 6 }, { "a/./b", 5 },
	};

	(void)state;
	reply(200, "{\"pool\": \"eu\"}");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ask(rows[i]);
		assert_int_equal(t.verdict, TABLE_MISSING);
	}
	configure("/users/%s/home", "");
	for (size_t i = 0; i < sizeof in_path / sizeof in_path[0]; i++) {
		ask(in_path[i]);
		assert_int_equal(t.verdict, TABLE_MISSING);
	}
	assert_int_equal(play.n_requests, 0);
	ask(STR("a..b"));
	assert_int_equal(t.verdict, TABLE_FOUND);
}

static void test_table_http_stalled_server(void **state)
{
	(void)state;
	configure("/%s", "timeout = 30ms");
	ask(STR("jan"));
	assert_int_equal(t.verdict, TABLE_FAILED);
	assert_non_null(strstr(t.why, "30 ms"));
	/* a look-up under way when the configuration goes */
	t.lookup = table_lookup(t.table, STR("piet"), on_done, NULL);
	table_cancel(&t.lookup);
	configure("/other/%s", "");
	reply(200, "{\"pool\": \"eu\"}");
	ask(STR("jan"));
	assert_string_equal(t.target, "eu");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_table_http_asks_for_the_key),
		T(test_table_http_reads_answers),
		T(test_table_http_user_and_backend),
		T(test_table_http_too_long),
		T(test_table_http_key_stays_one_value),
		T(test_table_http_keys_that_no_source_has),
		T(test_table_http_stalled_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
