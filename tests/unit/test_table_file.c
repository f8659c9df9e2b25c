/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/filewatch.h"
#include "backends/table.h"
#include "backends/table_map.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define FARM \
	"backend b1 { address = \"mail1.example.net:143\" }\n" \
	"backend b2 { address = \"mail2.example.net:143\" }\n" \
	"pool eu { backends = { b1, b2 } }\n"

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)type;
	(void)err;
	return &table_file;
}

static char dir[64], path[128];

static struct {
	struct ev_loop *loop;
	struct tables *tables;
	struct table_answer answer;
	unsigned n_answers;
} t;

static void write_file(const char *to, const char *text, size_t n)
{
	FILE *f = fopen(to, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void put(const char *text)
{
	write_file(path, text, strlen(text));
}

/* As a careful operator does. */
static void replace(const char *text)
{
	char other[160];

	snprintf(other, sizeof other, "%s.new", path);
	write_file(other, text, strlen(text));
	assert_int_equal(rename(other, path), 0);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	filewatch_interval_s = 0.02;
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	snprintf(dir, sizeof dir, "/tmp/test_table_file.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/map", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tables_free(&t.tables);
	if (t.loop)
		ev_loop_destroy(t.loop);
	unlink(path);
	rmdir(dir);
	return 0;
}

/* --- the map ----------------------------------------------------------------- */

static struct table_map *load(enum conf_table_format format)
{
	struct err err;
	struct table_map *m = table_map_load(path, format, true, NULL, &err);

	if (!m)
		fail_msg("%s", err.text);
	return m;
}

static void assert_found(const struct table_map *m, const char *key,
    const char *value)
{
	char to[TABLE_VALUE_MAX];
	struct str out;
	const char *why;
	enum table_verdict v = table_map_find(m, str_from(key), to, &out,
	    &why);

	if (v != (value ? TABLE_FOUND : TABLE_MISSING) ||
	    (value && !str_eq(out, str_from(value))))
		fail_msg("%s: %d", key, (int)v);
}

static void assert_refused(enum conf_table_format format, const char *text,
    const char *wanted)
{
	struct err err;

	put(text);
	assert_null(table_map_load(path, format, true, NULL, &err));
	if (strncmp(err.text, path, strlen(path)) != 0 ||
	    !strstr(err.text, wanted))
		fail_msg("%s: %s", text, err.text);
}

static void test_table_map_finds_exact_keys(void **state)
{
	(void)state;
	put("Jan@Example.org eu\n# eva@example.org eu\njan@example.org eu\n"
	    "@example.net backend b2");
	struct table_map *m = load(CONF_TABLE_PLAIN);
	assert_int_equal(table_map_n(m), 2);
	assert_found(m, "jan@example.org", "eu");
	assert_found(m, "@example.net", "backend b2");
	assert_found(m, "eva@example.org", NULL);
	assert_found(m, "jan@example.or", NULL);
	table_map_free(&m);
	put("");
	m = load(CONF_TABLE_PLAIN);
	assert_found(m, "jan", NULL);
	table_map_free(&m);
}

static void test_table_map_finds_many(void **state)
{
	FILE *f = fopen(path, "w");
	char key[32], value[32];

	(void)state;
	for (int i = 0; i < 50000; i++)
		fprintf(f, "user%d: m%d@mail1\n", i, i);
	fclose(f);
	struct table_map *m = load(CONF_TABLE_POPMAP);
	assert_int_equal(table_map_n(m), 50000);
	for (int i = 0; i < 50000; i++) {
		snprintf(key, sizeof key, "user%d", i);
		snprintf(value, sizeof value, "m%d@mail1", i);
		assert_found(m, key, value);
	}
	assert_found(m, "user50000", NULL);
	table_map_free(&m);
}

static void test_table_map_tries_expressions_in_turn(void **state)
{
	(void)state;
	put("# the first match wins\n"
	    "^(.*)@b([0-9])\\.example\\.org$: $1@mail$2.example.net\n"
	    "b[0-9]\\.example: eu\n"
	    "\"^(a)|(x)$\": $1-$2-$3$\n"
	    "^J: b1\n");
	struct table_map *m = load(CONF_TABLE_REGEX);
	assert_found(m, "eva@b2.example.org", "eva@mail2.example.net");
	assert_found(m, "eva@b2.example.com", "eu");
	assert_found(m, "abc", "a--$");
	assert_found(m, "x", "-x-$");
	assert_found(m, "jan", "b1");
	assert_found(m, "eva", NULL);
	table_map_free(&m);
}

static void test_table_map_bounds_what_users_may_cost(void **state)
{
	char to[TABLE_VALUE_MAX], key[300];
	struct str out;
	const char *why = NULL;

	(void)state;
	put("^(a+)+$: eu\n");
	struct table_map *m = load(CONF_TABLE_REGEX);
	memset(key, 'a', sizeof key);
	key[sizeof key - 1] = '!';
	assert_int_equal(table_map_find(m, (struct str){ key, sizeof key },
	    to, &out, &why), TABLE_FAILED);
	assert_string_equal(why, "an expression takes too long");
	table_map_free(&m);
	put("(.*): $1$1$1$1\n");
	m = load(CONF_TABLE_REGEX);
	assert_int_equal(table_map_find(m, (struct str){ key, sizeof key },
	    to, &out, &why), TABLE_FAILED);
	assert_string_equal(why, "the value becomes too long");
	table_map_free(&m);
}

static void test_table_map_names_bad_lines(void **state)
{
	(void)state;
	assert_refused(CONF_TABLE_PLAIN, "a eu\n\nb\n", ":3: ");
	assert_refused(CONF_TABLE_PLAIN, "a\nb\nc eu\n", "(and 1 more)");
	assert_refused(CONF_TABLE_PLAIN, "a eu\nA us\n",
	    ":2: \"a\" has another value in line 1; expected one");
	assert_refused(CONF_TABLE_POPMAP, "a eu\n", ":1: no colon");
	assert_refused(CONF_TABLE_REGEX, "a: eu\n(: us\n", ":2: \"(\": ");
	unlink(path);
	struct err err;
	assert_null(table_map_load(path, CONF_TABLE_PLAIN, true, NULL, &err));
	assert_non_null(strstr(err.text, "No such file"));
	assert_null(table_map_load(dir, CONF_TABLE_PLAIN, true, NULL, &err));
	assert_non_null(strstr(err.text, "not a file"));
}

static void test_table_map_stops_when_told(void **state)
{
	FILE *f = fopen(path, "w");
	const atomic_bool stop = true;
	struct err err;

	(void)state;
	for (int i = 0; i < 10000; i++)
		fprintf(f, "user%d eu\n", i);
	fclose(f);
	assert_null(table_map_load(path, CONF_TABLE_PLAIN, true, &stop,
	    &err));
}

static void test_table_map_bears_any_user(void **state)
{
	static const struct str users[] = { { "", 0 }, { "*)(", 3 },
		{ "'\"%s", 4 }, { "a\r\nb", 4 }, { "a\0b", 3 },
		{ "j\xe4n", 3 } };
	static const char *const maps[] = { "a eu\n", "^a$: eu\n" };
	char to[TABLE_VALUE_MAX], longest[512];
	struct str out;
	const char *why;

	(void)state;
	memset(longest, 'x', sizeof longest);
	for (size_t i = 0; i < 2; i++) {
		put(maps[i]);
		struct table_map *m = load(i ? CONF_TABLE_REGEX :
		    CONF_TABLE_PLAIN);
		for (size_t j = 0; j < sizeof users / sizeof users[0]; j++)
			assert_int_equal(table_map_find(m, users[j], to, &out,
			    &why), TABLE_MISSING);
		assert_int_equal(table_map_find(m,
		    (struct str){ longest, sizeof longest }, to, &out, &why),
		    TABLE_MISSING);
		table_map_free(&m);
	}
}

/* --- the kind ------------------------------------------------------------------- */

static void configure(const char *more)
{
	char text[2048];
	struct err err;

	if (!t.loop) {
		t.loop = ev_loop_new(0);
		t.tables = tables_new(t.loop, NULL);
	}
	snprintf(text, sizeof text, FARM "table homes { type = file  "
	    "path = \"%s\"  %s }\n", path, more);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	if (!s || !tables_configure(t.tables, s, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static void on_done(void *owner, const struct table_answer *a)
{
	(void)owner;
	t.answer = *a;
	t.n_answers++;
	ev_break(t.loop, EVBREAK_ONE);
}

static void too_late(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void)l;
	(void)timer;
	(void)revents;
	fail_msg("nothing happened");
}

static enum table_verdict ask(const char *user)
{
	struct table *table = tables_find(t.tables, "homes");
	ev_timer late;

	if (!table_lookup(table, str_from(user), on_done, NULL))
		return t.answer.verdict;
	ev_timer_init(&late, too_late, 10., 0.);
	ev_timer_start(t.loop, &late);
	ev_run(t.loop, 0);
	ev_timer_stop(t.loop, &late);
	return t.answer.verdict;
}

static void test_table_file_answers_when_it_is_read(void **state)
{
	(void)state;
	put("jan eu\neva joe@mail2.example.net\n");
	configure("");
	struct table *table = tables_find(t.tables, "homes");
	struct table_lookup *l = table_lookup(table, STR("jan"), on_done,
	    NULL);
	assert_non_null(l);
	table_cancel(&l);
	assert_int_equal(ask("jan@example.org"), TABLE_FOUND);
	assert_string_equal(t.answer.pool->name, "eu");
	assert_int_equal(t.n_answers, 1);
	assert_int_equal(ask("eva"), TABLE_FOUND);
	assert_string_equal(t.answer.backend->name, "b2");
	assert_int_equal(ask("nobody"), TABLE_MISSING);
}

/* The watch turns the loop. */
static void wait_for(const char *user, enum table_verdict wanted)
{
	double until = ev_time() + 10;

	while (ask(user) != wanted) {
		assert_true(ev_time() < until);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static void test_table_file_follows_the_file(void **state)
{
	(void)state;
	put("jan eu\n");
	configure("");
	assert_int_equal(ask("jan"), TABLE_FOUND);
	replace("eva eu\n");
	wait_for("eva", TABLE_FOUND);
	assert_int_equal(ask("jan"), TABLE_MISSING);
	put("eva eu\njoe eu\n");
	wait_for("joe", TABLE_FOUND);
}

static void test_table_file_keeps_the_good_one(void **state)
{
	(void)state;
	put("jan eu\n");
	configure("");
	assert_int_equal(ask("jan"), TABLE_FOUND);
	/* seen by the first look, refused when the thread says so */
	replace("eva eu us\n");
	for (int i = 0; i < 3; i++) {
		ev_run(t.loop, EVRUN_ONCE);
		assert_int_equal(ask("jan"), TABLE_FOUND);
	}
	assert_int_equal(ask("jan"), TABLE_FOUND);
	unlink(path);
	replace("jan eu\neva eu\n");
	wait_for("eva", TABLE_FOUND);
}

static void test_table_file_fails_without_a_file(void **state)
{
	(void)state;
	configure("");
	assert_int_equal(ask("jan"), TABLE_FAILED);
	assert_non_null(strstr(t.answer.why, "No such file"));
	replace("jan eu\n");
	wait_for("jan", TABLE_FOUND);
}

static void test_table_file_may_go_while_it_is_read(void **state)
{
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 200000; i++)
		fprintf(f, "user%d eu\n", i);
	fclose(f);
	configure("");
	tables_free(&t.tables);
	t.tables = tables_new(t.loop, NULL);
	configure("cache = 1m");
	configure("cache = 2m");
	assert_int_equal(ask("user7"), TABLE_FOUND);
}

static void test_table_file_is_checked_before(void **state)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{ "jan eu\n", NULL },
		{ "jan eu\neva us\n", "map:2: \"us\": no pool" },
		{ "jan\n", "map:1: " },
	};
	char text[512];
	struct err err;

	(void)state;
	snprintf(text, sizeof text, FARM "table homes { type = file  "
	    "path = \"%s\" }\n", path);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		put(rows[i].text);
		bool is_good = tables_check(s, &err);
		if (is_good != !rows[i].wanted ||
		    (!is_good && (!strstr(err.text, rows[i].wanted) ||
		    !strstr(err.text, "test:4: table homes: "))))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
	settings_unref(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_table_map_finds_exact_keys),
		TEST(test_table_map_finds_many),
		TEST(test_table_map_tries_expressions_in_turn),
		TEST(test_table_map_bounds_what_users_may_cost),
		TEST(test_table_map_names_bad_lines),
		TEST(test_table_map_stops_when_told),
		TEST(test_table_map_bears_any_user),
		TEST(test_table_file_answers_when_it_is_read),
		TEST(test_table_file_follows_the_file),
		TEST(test_table_file_keeps_the_good_one),
		TEST(test_table_file_fails_without_a_file),
		TEST(test_table_file_may_go_while_it_is_read),
		TEST(test_table_file_is_checked_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
