/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * What decide makes of the health of backends, which is set here by hand, and
 * of the room that they have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"

#define BACKENDS \
	"backend m1 { address = \"192.0.2.1:143\" }\n" \
	"backend m2 { address = \"192.0.2.2:143\" }\n" \
	"backend m3 { address = \"192.0.2.3:143\" }\n"
#define POOL(settings) BACKENDS \
	"pool main { backends = { m1, m2 }  balance = first  fallback = spare" \
	"  keep_user_together = no  " settings " }\n" \
	"pool spare { backends = m3 }\n" \
	"route { pool = main }\n"

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct farm *farm;
	struct place *place;
	struct tables *tables;
	struct auth *auth;
	struct moves *moves;
	struct decide *decide;
	unsigned n_answers, n_refused, n_ended;
	uint64_t number;		/* of the last question answered */
	enum decide_verdict verdict;
	char backend[32], reason[32], text[2000];
} t;

static void copy(char *to, size_t size, struct str s)
{
	snprintf(to, size, "%.*s", STR_ARG(s));
}

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	t.n_answers++;
	t.number = a->number;
	t.verdict = a->verdict;
	t.n_refused += a->verdict == DECIDE_REFUSE;
	copy(t.backend, sizeof t.backend, a->backend);
	copy(t.reason, sizeof t.reason, a->reason);
}

static void on_end(void *owner, uint64_t worker, uint64_t session)
{
	(void)owner;
	(void)worker;
	(void)session;
	t.n_ended++;
}

static void on_move_end(void *owner, uint64_t worker, uint64_t session,
    bool now)
{
	(void)now;
	on_end(owner, worker, session);
}

static void on_go_on(void *owner, struct str user)
{
	(void)owner;
	decide_go_on(t.decide, user);
}

/* There are no tables here, and no drivers of auth. */
const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	err_set(err, "no driver %u", driver);
	return NULL;
}

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	err_set(err, "no kind %u", type);
	return NULL;
}

static void configure(const char *text)
{
	struct err err = { "" };
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);

	if (!s || !decide_configure(t.decide, s, 0, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static int setup(void **state)
{
	const struct settings_addresses servers = { 0 };
	const struct decide_calls calls = { .answer = on_answer,
		.end = on_end };

	(void)state;
	memset(&t, 0, sizeof t);
	t.loop = ev_loop_new(0);
	t.resolve = resolve_new(t.loop, &servers, 100, NULL, NULL, NULL);
	t.farm = farm_new(t.resolve);
	t.place = place_new();
	t.tables = tables_new(t.loop, t.resolve);
	t.auth = auth_new(t.loop);
	t.moves = moves_new(t.loop, t.place, NULL, &(struct moves_calls){
	    .end = on_move_end, .go_on = on_go_on }, NULL);
	t.decide = decide_new(&(struct decide_parts){ .loop = t.loop,
	    .place = t.place, .farm = t.farm, .tables = t.tables,
	    .auth = t.auth, .moves = t.moves }, &calls, NULL);
	decide_go(t.decide);
	configure(POOL(""));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	decide_free(&t.decide);
	moves_free(&t.moves);
	auth_free(&t.auth);
	tables_free(&t.tables);
	farm_free(&t.farm);
	place_free(&t.place);
	resolve_free(&t.resolve);
	ev_loop_destroy(t.loop);
	return 0;
}

static struct decide_question question(uint64_t session, const char *user)
{
	struct decide_question q = { .worker = 1, .number = session,
		.session = session,
		.user = str_from(user), .mechanism = STR("PLAIN"),
		.listener = STR("imaps") };

	assert_true(addr_parse(&q.client, STR("198.51.100.7:4711")));
	return q;
}

/* The time of day, which somebody sets while the program runs; libev asks for
 * it in one of two ways. */
static time_t stepped_s;

int clock_gettime(clockid_t id, struct timespec *to)
{
	int rc = (int)syscall(SYS_clock_gettime, id, to);

	if (id == CLOCK_REALTIME)
		to->tv_sec += stepped_s;
	return rc;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	to->tv_sec = now.tv_sec;
	to->tv_usec = now.tv_nsec / 1000;
	return 0;
}

/* The backend, the reason of a refusal, or "" while it waits. */
static const char *ask_as(uint64_t session, const char *user)
{
	struct decide_question q = question(session, user);
	unsigned before = t.n_answers;

	decide_ask(t.decide, &q);
	if (t.n_answers == before)
		return "";
	return t.verdict == DECIDE_GRANT ? t.backend : t.reason;
}

static const char *ask(uint64_t session)
{
	return ask_as(session, "jan@example.org");
}

static struct backend *backend(const char *name)
{
	return farm_find(t.farm, str_from(name));
}

/* As control does. */
static void change(struct backend *b)
{
	decide_weigh(t.decide, b);
	decide_wake(t.decide, b);
}

static void make(const char *name, enum condition_state state)
{
	struct backend *b = backend(name);
	struct condition *c = backend_observe(b);

	c->state = state;
	c->since_s = clock_now();
	c->try_after_s = 0;
	snprintf(c->why, sizeof c->why, "why");
	change(b);
}

static void test_decide_leaves_out_who_is_down(void **state)
{
	(void)state;
	assert_string_equal(ask(1), "m1");
	make("m1", CONDITION_DOWN);
	assert_string_equal(ask(2), "m2");
	make("m2", CONDITION_DOWN);
	assert_string_equal(ask(3), "m3");	/* the fallback */
	make("m3", CONDITION_DOWN);
	assert_string_equal(ask(4), "no-backend");
	assert_int_equal(t.verdict, DECIDE_REFUSE);
	make("m1", CONDITION_UP);
	assert_string_equal(ask(5), "m1");
}

static void test_decide_tries_a_doubtful_one(void **state)
{
	(void)state;
	make("m1", CONDITION_PROBING);
	assert_string_equal(ask(1), "m1");
	assert_string_equal(ask(2), "m2");	/* one at a time */
	assert_true(condition_login_ok(backend_observe(backend("m1")),
	    condition_key(1, 1), clock_now()));
	assert_string_equal(ask(3), "m1");
}

static void test_decide_takes_the_doubtful_before_nobody(void **state)
{
	(void)state;
	make("m1", CONDITION_PROBING);
	make("m2", CONDITION_DOWN);
	make("m3", CONDITION_DOWN);
	for (uint64_t i = 1; i < 5; i++)
		assert_string_equal(ask(i), "m1");
	/* a pool that falls back has somebody */
	make("m3", CONDITION_UP);
	assert_string_equal(ask(5), "m3");
}

/* Together at who is doubtful; as a whole away from who is down. */
static void test_decide_keeps_together_until_down(void **state)
{
	(void)state;
	configure(BACKENDS "pool main { backends = { m1, m2 }\n"
	    "balance = first }\nroute { pool = main }\n");
	assert_string_equal(ask(1), "m1");
	make("m1", CONDITION_PROBING);
	assert_string_equal(ask(2), "m1");
	assert_string_equal(ask(3), "m1");
	assert_string_equal(ask_as(4, "eva@example.org"), "m2");
	make("m1", CONDITION_DOWN);
	assert_string_equal(ask(5), "m2");
	assert_int_equal(t.n_ended, 3);
}

static void note(void *arg, const char *stage, const char *text)
{
	(void)arg;
	snprintf(t.text + strlen(t.text), sizeof t.text - strlen(t.text),
	    "%s: %s\n", stage, text);
}

static void explained(void *arg, const struct decide_answer *a)
{
	(void)arg;
	(void)a;
}

static void test_decide_explains_health(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	make("m1", CONDITION_DOWN);
	make("m2", CONDITION_PROBING);
	decide_explain(t.decide, &q, note, explained, NULL);
	assert_non_null(strstr(t.text, "balance: m1: down for 0 s: why\n"));
	assert_non_null(strstr(t.text, "balance: m2: fit\n"));
	/* it has taken nobody's turn */
	assert_string_equal(ask(2), "m2");
	t.text[0] = '\0';
	decide_explain(t.decide, &q, note, explained, NULL);
	assert_non_null(strstr(t.text,
	    "balance: m2: probing for 0 s: why\n"));
}

/* Each waits for its turn, and no longer; who waits at one that falls goes
 * elsewhere at once. */
static void test_decide_waits_for_the_rate(void **state)
{
	double begin = clock_now();

	(void)state;
	configure(POOL("login_rate = 20  queue = 3  queue_timeout = 1s"));
	assert_string_equal(ask_as(1, "u1"), "m1");
	assert_string_equal(ask_as(2, "u2"), "m1");	/* a burst of two */
	for (uint64_t i = 3; i < 6; i++)
		assert_string_equal(ask_as(i, "u3"), "");
	assert_string_equal(ask_as(6, "u6"), "queue-full");
	/* a session's end is no second login */
	decide_release(t.decide, 1, 1);
	assert_int_equal(t.n_answers, 3);
	while (t.n_answers < 5)
		ev_run(t.loop, EVRUN_ONCE);
	assert_string_equal(t.backend, "m1");
	assert_true(clock_now() - begin > 0.095);
	make("m1", CONDITION_DOWN);
	assert_int_equal(t.n_answers, 6);
	assert_string_equal(t.backend, "m2");
	assert_int_equal(decide_n_suspended(t.decide), 0);
}

static void test_decide_does_not_wait_too_long(void **state)
{
	(void)state;
	configure(POOL("login_rate = 1  queue_timeout = 1500ms"));
	assert_string_equal(ask(1), "m1");
	assert_string_equal(ask(2), "");
	assert_string_equal(ask(3), "queue-timeout");
}

/* The second of two that were held is refused, and its end is what the first
 * one waits for by then. */
static void test_decide_goes_on_while_others_end(void **state)
{
	(void)state;
	configure("backend m1 { address = \"192.0.2.1:143\"  max_sessions = 1 }\n"
	    "pool main { backends = m1 }\n"
	    "route { user = \"eva@*\"  refuse = \"[CONTACTADMIN] Gone.\" }\n"
	    "route { pool = main }\n");
	assert_string_equal(ask(1), "m1");
	decide_hold(t.decide);
	assert_string_equal(ask_as(2, "u2"), "");
	assert_string_equal(ask_as(1, "eva@example.org"), "");
	decide_go(t.decide);
	assert_int_equal(t.n_answers, 3);
	assert_int_equal(t.verdict, DECIDE_REFUSE);
	assert_string_equal(t.backend, "");
	assert_int_equal(place_n_user(t.place, STR("u2")), 1);
	assert_int_equal(decide_n_suspended(t.decide), 0);
}

/* A slow start: a twentieth of the weight at first, the whole in the end. */
static void test_decide_weighs_who_comes_back(void **state)
{
	unsigned n = 0;

	(void)state;
	configure(BACKENDS "pool main { backends = { m1, m2 }\n"
	    "slow_start = 1h }\nroute { pool = main }\n");
	struct condition *c = backend_observe(backend("m1"));
	c->up_s = clock_now();
	change(backend("m1"));
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < 400; i++) {
			char user[32];
			snprintf(user, sizeof user, "u%u", i);
			n += strcmp(ask_as(1, user), "m1") == 0;
			decide_release(t.decide, 1, 1);
		}
		if (pass == 0)
			assert_in_range(n, 5, 40);
		else
			assert_in_range(n, 160, 240);
		c->up_s -= 3600;
		n = 0;
		change(backend("m1"));
	}
}

static void run_until(double at_s)
{
	while (clock_now() < at_s) {
		ev_sleep(0.01);
		ev_run(t.loop, EVRUN_NOWAIT);
	}
}

/* Of two backends that have their logins a second, as POOL() has them. */
static void fill_buckets(uint64_t *next)
{
	while (*ask_as(*next, "u"))
		++*next;
}

/* Whoever does not come for the login that was promised leaves it to others. */
static void test_decide_takes_promises_back(void **state)
{
	uint64_t next = 1;

	(void)state;
	configure(POOL("login_rate = 10  queue_timeout = 1s"));
	fill_buckets(&next);
	for (unsigned i = 0; i < 100; i++) {
		assert_string_equal(ask_as(next + i, "u"), "");
		decide_release(t.decide, 1, next + i);
	}
	/* so does who is sent elsewhere */
	for (unsigned i = 0; i < 100; i++) {
		assert_string_equal(ask_as(next + i, "u"), "");
		make("m1", CONDITION_DOWN);
		make("m1", CONDITION_UP);
		decide_release(t.decide, 1, next + i);
	}
}

/* Other backends, or a reload, each second: nobody loses a turn, or waits
 * longer than may be. */
static void test_decide_goes_on_through_updates(void **state)
{
	const char *text = POOL("login_rate = 20  queue_timeout = 1s");
	uint64_t next = 1;

	(void)state;
	configure(text);
	fill_buckets(&next);
	for (uint64_t i = 1; i < 4; i++)
		assert_string_equal(ask_as(next + i, "u"), "");
	unsigned answered = t.n_answers;
	for (unsigned i = 0; i < 20; i++) {
		decide_update(t.decide);
		configure(text);
	}
	while (decide_n_suspended(t.decide)) {
		ev_run(t.loop, EVRUN_ONCE);
		decide_update(t.decide);
	}
	assert_int_equal(t.n_answers, answered + 4);
	assert_int_equal(t.n_refused, 0);
}

static void test_decide_waits_no_longer_for_updates(void **state)
{
	const char *text = BACKENDS
	    "backend full { address = \"192.0.2.4:143\"  max_sessions = 1 }\n"
	    "pool main { backends = { full }  queue_timeout = 300ms"
	    "  keep_user_together = no }\n"
	    "route { pool = main }\n";
	double begin = clock_now();

	(void)state;
	configure(text);
	assert_string_equal(ask_as(1, "u1"), "full");
	assert_string_equal(ask_as(2, "u2"), "");
	for (unsigned i = 1; t.n_answers < 2 && i < 20; i++) {
		run_until(begin + i * 0.1);
		decide_update(t.decide);
		configure(text);
	}
	assert_string_equal(t.reason, "queue-timeout");
	assert_true(clock_now() - begin < 1);
}

static void test_decide_waits_by_no_clock_that_is_set(void **state)
{
	(void)state;
	configure("backend m1 { address = \"192.0.2.1:143\"\n"
	    "max_sessions = 1 }\npool main { backends = { m1 }\n"
	    "queue_timeout = 500ms }\nroute { pool = main }\n");
	assert_string_equal(ask_as(1, "u1"), "m1");
	for (int hours = -1; hours <= 1; hours += 2) {
		double begin = clock_now();
		unsigned before = t.n_answers;
		assert_string_equal(ask_as(2, "u2"), "");
		stepped_s += hours * 3600;
		run_until(begin + 0.1);
		decide_update(t.decide);
		run_until(begin + 0.3);
		assert_int_equal(t.n_answers, before);
		run_until(begin + 1);
		assert_int_equal(t.n_answers, before + 1);
		assert_string_equal(t.reason, "queue-timeout");
	}
}

/* Room first, and then a turn: both within the same time. */
static void test_decide_waits_once(void **state)
{
	double begin = clock_now();

	(void)state;
	configure(BACKENDS
	    "backend full { address = \"192.0.2.4:143\"  max_sessions = 1 }\n"
	    "pool main { backends = { full }  queue_timeout = 1900ms"
	    "  keep_user_together = no  login_rate = 1 }\n"
	    "route { pool = main }\n");
	assert_string_equal(ask_as(1, "u1"), "full");
	assert_string_equal(ask_as(2, "u2"), "");
	assert_string_equal(ask_as(3, "u3"), "");
	run_until(begin + 0.3);
	decide_release(t.decide, 1, 1);
	/* the second is promised the next turn; the third's comes too late */
	assert_string_equal(t.reason, "queue-timeout");
	assert_int_equal(decide_n_suspended(t.decide), 1);
}

/* What was granted and is not used: a trial is over, and a token there. */
static void test_decide_gives_back_what_is_not_used(void **state)
{
	struct err err = { "" };
	struct settings *s = settings_from_text(str_from(
	    POOL("login_rate = 2  queue = 0")), "test", &conf_schema, NULL,
	    NULL, &err);

	(void)state;
	make("m1", CONDITION_PROBING);
	assert_string_equal(ask(1), "m1");
	decide_release(t.decide, 1, 1);
	assert_string_equal(ask(2), "m1");
	assert_string_equal(ask(3), "m2");
	assert_string_equal(ask(2), "m1");	/* the same once more */
	decide_release(t.decide, 1, 2);
	assert_string_equal(ask(2), "m1");
	decide_drop_worker(t.decide, 1);
	assert_string_equal(ask(2), "m1");
	assert_string_equal(ask(3), "m2");
	decide_release(t.decide, 1, 2);
	/* who is refused for another reason has taken nothing */
	if (!s || !decide_configure(t.decide, s, 1, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
	assert_string_equal(ask(4), "address-limit");
	assert_string_equal(ask(5), "address-limit");
	decide_release(t.decide, 1, 3);
	assert_string_equal(ask(6), "m1");
}

/* One place is free, again and again, and thousands wait for it: each is given
 * to the next, without all the others being asked. */
static void test_decide_wakes_as_many_as_have_room(void **state)
{
	const unsigned n = 20000;
	char user[32];

	(void)state;
	configure("backend m1 { address = \"192.0.2.1:143\"\n"
	    "max_sessions = 1 }\npool main { backends = { m1 }\n"
	    "queue = 100000  queue_timeout = 5m }\n"
	    "route { pool = main }\n");
	for (unsigned i = 1; i <= n; i++) {
		snprintf(user, sizeof user, "u%u", i);
		assert_string_equal(ask_as(i, user), i == 1 ? "m1" : "");
	}
	clock_t begin = clock();
	for (unsigned i = 1; i < n; i++) {
		decide_release(t.decide, 1, i);
		assert_int_equal(t.n_answers, i + 1);
		assert_int_equal(t.number, i + 1);
	}
	assert_true(clock() - begin < 10 * CLOCKS_PER_SEC);
	assert_int_equal(decide_n_suspended(t.decide), 0);
	/* who falls keeps nobody waiting */
	for (unsigned i = 1; i < 5; i++)
		ask_as(n + i, "jan@example.org");
	make("m1", CONDITION_DOWN);
	assert_int_equal(decide_n_suspended(t.decide), 0);
	assert_string_equal(t.reason, "no-backend");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_decide_leaves_out_who_is_down),
		TEST(test_decide_tries_a_doubtful_one),
		TEST(test_decide_takes_the_doubtful_before_nobody),
		TEST(test_decide_keeps_together_until_down),
		TEST(test_decide_explains_health),
		TEST(test_decide_waits_for_the_rate),
		TEST(test_decide_does_not_wait_too_long),
		TEST(test_decide_goes_on_while_others_end),
		TEST(test_decide_weighs_who_comes_back),
		TEST(test_decide_takes_promises_back),
		TEST(test_decide_goes_on_through_updates),
		TEST(test_decide_waits_no_longer_for_updates),
		TEST(test_decide_waits_by_no_clock_that_is_set),
		TEST(test_decide_waits_once),
		TEST(test_decide_gives_back_what_is_not_used),
		TEST(test_decide_wakes_as_many_as_have_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
