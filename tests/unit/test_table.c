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
#include <time.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define FARM \
	"backend b1 { address = \"mail1.example.net:143\" }\n" \
	"backend b2 { address = \"mail1.example.net:993\"  tls = implicit }\n" \
	"backend b3 { address = \"[2001:db8::3]:143\" }\n" \
	"pool eu { backends = { b1, b2 } }\n" \
	"pool b3 { backends = { b3 } }\n"

/* --- a remote source that answers when the test says so ---------------------- */

#define N_OPEN TABLE_FLIGHTS_MAX

struct source {
	struct table_request *open[N_OPEN];
	size_t n_open, n_asked, n_cancelled;
	char asked[16][64];
};

static struct {
	struct ev_loop *loop;
	struct tables *tables;
	struct table *table;
	struct source *source;
	size_t n_sources;
	bool is_refusing, is_prompt;
	struct table_answer answer;
	char user[64], why[256];
	unsigned n_answers;
	double skew;			/* the clock's */
} t;

/* Time is the test's: this stands before libc's. */
int clock_gettime(clockid_t id, struct timespec *out)
{
	double now = 1000 + t.skew;

	(void)id;
	out->tv_sec = (time_t)now;
	out->tv_nsec = (long)((now - (double)out->tv_sec) * 1e9);
	return 0;
}

static void *source_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	(void)resolve;
	(void)conf;
	(void)fold;
	assert_ptr_equal(loop, t.loop);
	if (t.is_refusing) {
		err_set(err, "cannot be");
		return NULL;
	}
	t.n_sources++;
	t.source = mem_alloc(sizeof *t.source);
	return t.source;
}

static void source_free(void *kind)
{
	struct source *s = kind;

	assert_int_equal(s->n_open, 0);
	t.n_sources--;
	free(s);
}

static void source_lookup(void *kind, struct table_request *r)
{
	struct source *s = kind;

	snprintf(s->asked[s->n_asked++ % 16], 64, "%.*s", STR_ARG(r->key));
	if (t.is_prompt) {
		table_finish(r, str_eq(r->key, STR("jan")) ? TABLE_FOUND :
		    TABLE_MISSING, STR("eu"), NULL);
		return;
	}
	assert_true(s->n_open < N_OPEN);
	s->open[s->n_open++] = r;
}

static void forget(struct source *s, struct table_request *r)
{
	size_t i = 0;

	while (s->open[i] != r)
		assert_true(++i < s->n_open);
	s->open[i] = s->open[--s->n_open];
}

static void source_cancel(void *kind, struct table_request *r)
{
	struct source *s = kind;

	s->n_cancelled++;
	forget(s, r);
}

static const struct table_kind remote = {
	.name = "remote", .new = source_new, .lookup = source_lookup,
	.cancel = source_cancel, .free = source_free,
};
const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)type;
	(void)err;
	return &remote;
}

/* Answers the oldest request. */
static void say(enum table_verdict verdict, const char *text)
{
	struct table_request *r;

	assert_true(t.source->n_open > 0);
	r = t.source->open[0];
	forget(t.source, r);
	table_finish(r, verdict, str_from(text), text);
}

/* --- the test's side ------------------------------------------------------------ */

static void on_done(void *owner, const struct table_answer *a)
{
	struct table_lookup **pending = owner;

	if (pending)
		*pending = NULL;
	t.n_answers++;
	t.answer = *a;
	snprintf(t.user, sizeof t.user, "%.*s", STR_ARG(a->user));
	snprintf(t.why, sizeof t.why, "%s", a->why ? a->why : "");
}

static struct settings *parse(const char *section)
{
	char text[4096];
	struct err err;

	snprintf(text, sizeof text, FARM "%s", section);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void configure(const char *section)
{
	struct settings *s = parse(section);
	struct err err;

	if (!tables_configure(t.tables, s, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
	t.table = tables_find(t.tables, "homes");
	assert_non_null(t.table);
}

#define HOMES(more) "table homes { type = file  path = x " more " }\n"

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(0);
	t.tables = tables_new(t.loop, NULL);
	configure(HOMES("cache = 10s negative_cache = 3s grace = 60s"));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tables_free(&t.tables);
	assert_int_equal(t.n_sources, 0);
	ev_loop_destroy(t.loop);
	return 0;
}

static void turn(void)
{
	t.skew += 0.01;
	ev_run(t.loop, EVRUN_NOWAIT);
}

static struct table_lookup *ask(const char *user)
{
	return table_lookup(t.table, str_from(user), on_done, NULL);
}

static void assert_pool(const char *name)
{
	assert_int_equal(t.answer.verdict, TABLE_FOUND);
	assert_non_null(t.answer.pool);
	assert_string_equal(t.answer.pool->name, name);
}

/* --- keys ------------------------------------------------------------------------- */

static void test_table_tries_keys_in_turn(void **state)
{
	(void)state;
	assert_non_null(ask("jan@example.org"));
	say(TABLE_MISSING, NULL);
	say(TABLE_MISSING, NULL);
	assert_int_equal(t.n_answers, 0);
	say(TABLE_FOUND, "eu");
	assert_int_equal(t.n_answers, 1);
	assert_pool("eu");
	assert_string_equal(t.source->asked[0], "jan@example.org");
	assert_string_equal(t.source->asked[1], "jan");
	assert_string_equal(t.source->asked[2], "@example.org");
}

static void test_table_stops_where_the_source_fails(void **state)
{
	(void)state;
	ask("jan@example.org");
	say(TABLE_MISSING, NULL);
	say(TABLE_FAILED, "no connection");
	assert_int_equal(t.n_answers, 1);
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_string_equal(t.why, "no connection");
	assert_int_equal(t.source->n_asked, 2);
}

static void test_table_takes_each_key_once(void **state)
{
	static const struct {
		const char *user;
		size_t n_keys;
	} rows[] = { { "jan", 1 }, { "@example.org", 1 }, { "jan@", 2 },
		{ "a@b@c", 3 }, { "@", 1 } };

	(void)state;
	t.is_prompt = true;
	configure(HOMES("cache = 0s negative_cache = 0s grace = 0s"));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t before = t.source->n_asked;
		assert_null(ask(rows[i].user));
		size_t n = t.source->n_asked - before;
		if (n != rows[i].n_keys)
			fail_msg("%s: %zu keys", rows[i].user, n);
	}
	assert_null(ask(""));
	assert_int_equal(t.answer.verdict, TABLE_MISSING);
}

static void test_table_obeys_keys_of_settings(void **state)
{
	(void)state;
	configure(HOMES("keys = { \"@domain\", user }"));
	ask("jan@example.org");
	say(TABLE_MISSING, NULL);
	say(TABLE_MISSING, NULL);
	assert_int_equal(t.answer.verdict, TABLE_MISSING);
	assert_string_equal(t.source->asked[0], "@example.org");
	assert_string_equal(t.source->asked[1], "jan");
}

static void test_table_passes_keys_as_they_are(void **state)
{
	static const char *const users[] = { "*)(uid=*", "' OR 1=1 --",
		"%s%n", "a\r\nSET x", "j\xe4n", "\\", "{\"x\":1}" };

	(void)state;
	configure(HOMES("keys = { user@domain }"));
	for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
		ask(users[i]);
		assert_string_equal(t.source->asked[i], users[i]);
		say(TABLE_MISSING, NULL);
	}
	const struct str nul = STR("a\0b");
	table_lookup(t.table, nul, on_done, NULL);
	assert_true(str_eq(t.source->open[0]->key, nul));
	say(TABLE_FOUND, "eu");
	assert_pool("eu");
}

/* --- cache ------------------------------------------------------------------------ */

static void test_table_caches_both_answers(void **state)
{
	(void)state;
	configure(HOMES("cache = 10s negative_cache = 3s grace = 0s "
	    "keys = { user@domain }"));
	ask("jan");
	say(TABLE_FOUND, "eu");
	ask("eva");
	say(TABLE_MISSING, NULL);
	t.skew = 2.9;
	assert_null(ask("jan"));
	assert_pool("eu");
	assert_true(t.answer.is_cached);
	assert_null(ask("eva"));
	assert_int_equal(t.answer.verdict, TABLE_MISSING);
	t.skew = 3.1;
	assert_null(ask("jan"));
	assert_non_null(ask("eva"));
	say(TABLE_MISSING, NULL);
	t.skew = 10.1;
	assert_non_null(ask("jan"));
	say(TABLE_FOUND, "b1");
	assert_string_equal(t.answer.backend->name, "b1");
	struct table_counts c = table_counts(t.table);
	assert_int_equal(c.lookups, 7);
	assert_int_equal(c.hits, 3);
	assert_int_equal(c.requests, 4);
	assert_int_equal(c.n_cached, 2);
	assert_int_equal(c.n_flights, 0);
}

static void test_table_forgets_what_is_unused(void **state)
{
	(void)state;
	configure(HOMES("cache_entries = 2 keys = { user@domain }"));
	const char *const users[] = { "a", "b", "c" };
	for (size_t i = 0; i < 3; i++) {
		ask(users[i]);
		say(TABLE_FOUND, "eu");
		assert_null(ask("a"));
	}
	assert_non_null(ask("b"));
	say(TABLE_FOUND, "eu");
	assert_int_equal(table_counts(t.table).n_cached, 2);
}

static void test_table_asks_once_for_many(void **state)
{
	struct table_lookup *l[100];

	(void)state;
	for (size_t i = 0; i < 100; i++)
		l[i] = table_lookup(t.table, STR("jan"), on_done, &l[i]);
	assert_int_equal(t.source->n_open, 1);
	table_cancel(&l[7]);
	say(TABLE_FOUND, "eu");
	assert_int_equal(t.n_answers, 99);
	assert_int_equal(t.source->n_asked, 1);
}

/* One of those who wait, when it hears, cancels another. */
static struct table_lookup *victim;

static void on_done_cancel(void *owner, const struct table_answer *a)
{
	on_done(owner, a);
	table_cancel(&victim);
}

static void test_table_bears_cancelling_inside(void **state)
{
	(void)state;
	table_lookup(t.table, STR("jan"), on_done_cancel, NULL);
	victim = ask("jan");
	ask("jan");
	say(TABLE_FOUND, "eu");
	assert_int_equal(t.n_answers, 2);
	assert_null(victim);
}

static void test_table_cancelled_still_fills_the_cache(void **state)
{
	struct table_lookup *l = ask("jan");

	(void)state;
	table_cancel(&l);
	assert_int_equal(t.source->n_cancelled, 0);
	say(TABLE_FOUND, "eu");
	assert_int_equal(t.n_answers, 0);
	assert_null(ask("jan"));
	assert_pool("eu");
}

/* --- a source that is down ----------------------------------------------------------- */

static void test_table_serves_stale_within_grace(void **state)
{
	(void)state;
	ask("jan");
	say(TABLE_FOUND, "eu");
	t.skew = 11;
	assert_non_null(ask("jan"));
	say(TABLE_FAILED, "no connection");
	assert_pool("eu");
	assert_true(t.answer.is_stale);
	/* known to be down: at once, and tried again behind it */
	t.skew = 12;
	assert_null(ask("jan"));
	assert_true(t.answer.is_stale);
	assert_null(ask("jan"));
	assert_int_equal(t.source->n_open, 1);
	say(TABLE_FOUND, "b1");
	assert_null(ask("jan"));
	assert_false(t.answer.is_stale);
	assert_string_equal(t.answer.backend->name, "b1");
	t.skew = 12 + 10 + 61;
	assert_non_null(ask("jan"));
	say(TABLE_FAILED, "no connection");
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_int_equal(table_counts(t.table).stale, 3);
}

static void test_table_serves_stale_negatives(void **state)
{
	(void)state;
	ask("jan@example.org");
	say(TABLE_MISSING, NULL);
	say(TABLE_MISSING, NULL);
	say(TABLE_FOUND, "eu");
	t.skew = 20;
	ask("jan@example.org");
	say(TABLE_FAILED, "no connection");
	assert_pool("eu");
	assert_true(t.answer.is_stale);
	while (t.source->n_open)
		say(TABLE_FAILED, "no connection");
}

static void run_until(unsigned n_answers)
{
	for (int i = 0; i < 1000 && t.n_answers < n_answers; i++)
		turn();
	assert_int_equal(t.n_answers, n_answers);
}

static void test_table_does_not_wait_longer_than_timeout(void **state)
{
	(void)state;
	configure(HOMES("timeout = 200ms"));
	ask("jan");
	ask("eva@example.org");
	run_until(2);
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_string_equal(t.why, "no answer within 200 ms");
	assert_int_equal(t.source->n_cancelled, 2);
	assert_int_equal(table_counts(t.table).requests_failed, 2);
}

static void test_table_bounds_flights(void **state)
{
	(void)state;
	for (int i = 0; i < TABLE_FLIGHTS_MAX; i++) {
		char user[32];
		snprintf(user, sizeof user, "u%d", i);
		struct table_lookup *l = ask(user);
		table_cancel(&l);
	}
	assert_null(ask("one-more"));
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_int_equal(table_counts(t.table).n_flights, TABLE_FLIGHTS_MAX);
}

static void test_table_refuses_long_answers(void **state)
{
	char text[TABLE_VALUE_MAX + 2];

	(void)state;
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	ask("jan");
	say(TABLE_FOUND, text);
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_string_equal(t.why, "the answer is too long");
}

/* --- reloads --------------------------------------------------------------------------- */

static void test_table_stays_over_reloads(void **state)
{
	struct table *was = t.table;

	(void)state;
	ask("jan");
	say(TABLE_FOUND, "eu");
	configure("limits { }\n"
	    HOMES("cache = 10s negative_cache = 3s grace = 60s"));
	assert_ptr_equal(t.table, was);
	assert_null(ask("jan"));
	assert_pool("eu");
	configure(HOMES("cache = 11s"));
	assert_non_null(ask("jan"));
	say(TABLE_FOUND, "eu");
	turn();
	assert_int_equal(t.n_sources, 1);
}

static void test_table_of_before_answers_who_waits(void **state)
{
	struct source *was = t.source;

	(void)state;
	ask("jan");
	configure(HOMES("cache = 11s"));
	turn();
	assert_int_equal(t.n_sources, 2);
	t.source = was;
	say(TABLE_FOUND, "eu");
	assert_pool("eu");
	turn();
	assert_int_equal(t.n_sources, 1);
}

static void test_table_refused_changes_nothing(void **state)
{
	struct settings *s = parse(HOMES("cache = 11s"));
	struct err err;

	(void)state;
	t.is_refusing = true;
	assert_false(tables_configure(t.tables, s, &err));
	assert_string_equal(err.text, "test:6: table homes: cannot be");
	settings_unref(&s);
	assert_ptr_equal(tables_find(t.tables, "homes"), t.table);
	ask("jan");
	say(TABLE_FOUND, "eu");
	assert_pool("eu");
}

/* --- values ----------------------------------------------------------------------------- */

static void test_table_values(void **state)
{
	static const struct {
		const char *value, *pool, *backend, *user;
	} rows[] = {
		{ "eu", "eu", NULL, "" },
		{ " eu \n", "eu", NULL, "" },
		{ "b1", NULL, "b1", "" },
		{ "b3", "b3", NULL, "" },	/* a pool comes first */
		{ "backend b3", NULL, "b3", "" },
		{ "backend\t b3", NULL, "b3", "" },
		{ "pool b3", "b3", NULL, "" },
		{ "pool b1", NULL, NULL, NULL },
		{ "backend eu", NULL, NULL, NULL },
		{ "mail1.example.net", NULL, "b1", "" },
		{ "MAIL1.example.net:143", NULL, "b1", "" },
		{ "mail1.example.net:993", NULL, "b2", "" },
		{ "mail1.example.net:imaps", NULL, "b2", "" },
		{ "mail1.example.net:110", NULL, NULL, NULL },
		{ "mail1.example.net:", NULL, NULL, NULL },
		{ "mail1.example.net:0143", NULL, "b1", "" },
		{ "mail1.example.net:99999999999", NULL, NULL, NULL },
		{ "[2001:db8::3]:143", NULL, "b3", "" },
		{ "[2001:DB8:0::3]", NULL, "b3", "" },
		{ "2001:db8::3", NULL, "b3", "" },
		{ "[2001:db8::3", NULL, NULL, NULL },
		{ "[2001:db8::3]143", NULL, NULL, NULL },
		{ "evil.example.com:143", NULL, NULL, NULL },
		{ "joe@mail1.example.net:143", NULL, "b1", "joe" },
		{ "joe@example.org@mail1.example.net", NULL, "b1",
		    "joe@example.org" },
		{ "joe@eu", "eu", NULL, "joe" },
		{ "@mail1.example.net", NULL, NULL, NULL },
		{ "j\roe@mail1.example.net", NULL, NULL, NULL },
		{ "joe@", NULL, NULL, NULL },
		{ "", NULL, NULL, NULL },
		{ "pool ", NULL, NULL, NULL },
		{ "pool", NULL, NULL, NULL },
		{ "*)(", NULL, NULL, NULL },
	};
	struct settings *s = parse("");

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct table_answer a;
		struct err err;
		bool is_good = table_resolve(s, "@", str_from(rows[i].value),
		    &a, &err);
		if (is_good != (rows[i].user != NULL))
			fail_msg("%s: %d", rows[i].value, is_good);
		if (!is_good)
			continue;
		if (!str_eq(str_from(a.pool ? a.pool->name : NULL),
		    str_from(rows[i].pool)) ||
		    !str_eq(str_from(a.backend ? a.backend->name : NULL),
		    str_from(rows[i].backend)) ||
		    !str_eq(a.user, str_from(rows[i].user)))
			fail_msg("%s: another answer", rows[i].value);
	}
	struct table_answer a;
	assert_true(table_resolve(s, "%%", STR("a@b%%eu"), &a, NULL));
	assert_true(str_eq(a.user, STR("a@b")));
	settings_unref(&s);
}

static void test_table_value_that_names_nothing_fails(void **state)
{
	(void)state;
	ask("jan");
	say(TABLE_FOUND, "evil.example.com");
	assert_int_equal(t.answer.verdict, TABLE_FAILED);
	assert_non_null(strstr(t.why, "no backend's address"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_table_tries_keys_in_turn),
		TEST(test_table_stops_where_the_source_fails),
		TEST(test_table_takes_each_key_once),
		TEST(test_table_obeys_keys_of_settings),
		TEST(test_table_passes_keys_as_they_are),
		TEST(test_table_caches_both_answers),
		TEST(test_table_forgets_what_is_unused),
		TEST(test_table_asks_once_for_many),
		TEST(test_table_bears_cancelling_inside),
		TEST(test_table_cancelled_still_fills_the_cache),
		TEST(test_table_serves_stale_within_grace),
		TEST(test_table_serves_stale_negatives),
		TEST(test_table_does_not_wait_longer_than_timeout),
		TEST(test_table_bounds_flights),
		TEST(test_table_refuses_long_answers),
		TEST(test_table_stays_over_reloads),
		TEST(test_table_of_before_answers_who_waits),
		TEST(test_table_refused_changes_nothing),
		TEST(test_table_values),
		TEST(test_table_value_that_names_nothing_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
