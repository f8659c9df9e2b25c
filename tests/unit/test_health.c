/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * What logins say of backends; the checks are tried on real servers, by
 * tests/e2e/test_h_health.py. The loop does not turn here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <string.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/health.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define BACKENDS \
	"backend m1 { address = \"192.0.2.1:143\" }\n" \
	"backend m2 { address = \"192.0.2.2:143\" }\n" \
	"backend m3 { address = \"192.0.2.3:143\" }\n"
#define POOLS BACKENDS \
	"pool main { backends = { m1, m2 } }\n" \
	"pool alone { backends = { m3 }  outlier_factor = 2 }\n"

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct farm *farm;
	struct place *place;
	struct health *health;
	unsigned n_changes;
	uint64_t user;
} t;

static void on_heard(void *owner)
{
	(void)owner;
}

static void on_changed(void *owner, struct backend *b)
{
	(void)owner;
	assert_non_null(b);
	t.n_changes++;
}

static void configure(const char *text)
{
	struct err err = { "" };
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);

	if (!s)
		fail_msg("%s", err.text);
	health_stop(t.health);
	farm_configure(t.farm, s);
	health_start(t.health);
	settings_unref(&s);
}

static int setup(void **state)
{
	const struct settings_addresses servers = { 0 };

	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(0);
	t.resolve = resolve_new(t.loop, &servers, 100, NULL, NULL, NULL);
	t.farm = farm_new(t.resolve);
	t.place = place_new();
	t.health = health_new(t.loop, t.farm, t.place, on_heard, on_changed,
	    NULL);
	configure(POOLS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	health_free(&t.health);
	farm_free(&t.farm);
	place_free(&t.place);
	resolve_free(&t.resolve);
	ev_loop_destroy(t.loop);
	return 0;
}

static struct condition *condition(const char *name)
{
	return backend_observe(farm_find(t.farm, str_from(name)));
}

/* Of another user each time, behind the greeting. */
static enum condition_state login(const char *name, enum login_failure kind,
    uint64_t ms)
{
	struct health_login l = { .failure = kind, .is_greeted = true,
		.ms = ms, .key = 1, .user = ++t.user };

	health_login(t.health, farm_find(t.farm, str_from(name)), &l);
	return condition(name)->state;
}

static void test_health_counts_failures_of_the_backend(void **state)
{
	static const enum login_failure bad[] = { LOGIN_FAIL_CONNECT,
		LOGIN_FAIL_TLS, LOGIN_FAIL_TIMEOUT, LOGIN_FAIL_CLOSED,
		LOGIN_FAIL_PROTOCOL, LOGIN_FAIL_BYE, LOGIN_FAIL_UNAVAILABLE,
		LOGIN_FAIL_BAD };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		condition_init(condition("m1"), clock_now());
		unsigned before = t.n_changes;
		assert_int_equal(login("m1", bad[i], 5), CONDITION_UP);
		assert_int_equal(login("m1", bad[i], 5), CONDITION_UP);
		assert_int_equal(t.n_changes, before);
		assert_int_equal(login("m1", bad[i], 5), CONDITION_PROBING);
		assert_int_equal(t.n_changes, before + 1);
	}
	assert_string_equal(condition("m1")->why, "logins fail: bad");
}

static void test_health_does_not_count_the_rest(void **state)
{
	static const enum login_failure neutral[] = { LOGIN_FAIL_REMOTE_CONFIG,
		LOGIN_FAIL_OTHER_CODE, LOGIN_FAIL_SERVERBUG,
		LOGIN_FAIL_REFERRAL, LOGIN_FAIL_CANCELLED, LOGIN_FAIL_end };
	static const enum login_failure good[] = { LOGIN_FAIL_NONE,
		LOGIN_FAIL_AUTH_DENIED, LOGIN_FAIL_LIMIT };

	(void)state;
	for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
		condition_init(condition("m1"), clock_now());
		login("m1", LOGIN_FAIL_BYE, 5);
		login("m1", LOGIN_FAIL_BYE, 5);
		for (int n = 0; n < 5; n++)
			assert_int_equal(login("m1", neutral[i], 5),
			    CONDITION_UP);
		/* they do not clear it either */
		assert_int_equal(login("m1", LOGIN_FAIL_BYE, 5),
		    CONDITION_PROBING);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		condition_init(condition("m1"), clock_now());
		login("m1", LOGIN_FAIL_BYE, 5);
		login("m1", LOGIN_FAIL_BYE, 5);
		login("m1", good[i], 5);
		assert_int_equal(login("m1", LOGIN_FAIL_BYE, 5),
		    CONDITION_UP);
	}
	assert_int_equal(login_failure_find(STR("unavailable")),
	    LOGIN_FAIL_UNAVAILABLE);
	assert_int_equal(login_failure_find(STR("of a newer release")),
	    LOGIN_FAIL_end);
}

static void get_used_to(const char *name, uint64_t ms)
{
	for (int i = 0; i < HEALTH_USUAL_MIN; i++)
		login(name, LOGIN_FAIL_NONE, ms);
}

static void test_health_knows_late_from_usual(void **state)
{
	(void)state;
	get_used_to("m1", 20);
	/* nobody to compare with */
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m1", LOGIN_FAIL_NONE, 3000),
		    CONDITION_UP);
	get_used_to("m3", 20);
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m3", LOGIN_FAIL_NONE, 9000),
		    CONDITION_UP);
	configure(POOLS);	/* what was usual is forgotten */
	get_used_to("m1", 300);
	get_used_to("m2", 300);
	/* five times the usual 300, and a second */
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m1", LOGIN_FAIL_NONE, 1400),
		    CONDITION_UP);
	/* a client was waited for: that says nothing */
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m1", LOGIN_FAIL_NONE, 0),
		    CONDITION_UP);
	login("m1", LOGIN_FAIL_NONE, 1600);
	login("m1", LOGIN_FAIL_NONE, 1600);
	assert_int_equal(login("m1", LOGIN_FAIL_NONE, 1600),
	    CONDITION_PROBING);
	assert_true(str_starts(str_from(condition("m1")->why),
	    STR("late: 1600 ms, usual are 30")));
}

static void test_health_late_is_a_second_at_least(void **state)
{
	(void)state;
	get_used_to("m1", 2);
	get_used_to("m2", 2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m1", LOGIN_FAIL_NONE, 990),
		    CONDITION_UP);
	/* and it can be turned off */
	configure(BACKENDS "pool main { backends = { m1, m2 }\n"
	    "outlier_factor = 0 }\n");
	get_used_to("m1", 2);
	get_used_to("m2", 2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(login("m1", LOGIN_FAIL_NONE, 20000),
		    CONDITION_UP);
}

/* The first pool whose type is not none, in the order of the file. */
static void test_health_one_pool_cares(void **state)
{
	(void)state;
	configure(BACKENDS
	    "pool a { backends = { m1, m2 }  health { type = none }\n"
	    "  slow_start = 5s }\n"
	    "pool b { backends = { m2 }  health { type = tcp  fall = 7 }\n"
	    "  slow_start = 7s }\n"
	    "pool c { backends = { m2, m3 }  health { type = tls } }\n");
	struct backend *m1 = farm_find(t.farm, STR("m1"));
	struct backend *m2 = farm_find(t.farm, STR("m2"));
	assert_string_equal(backend_pool(m1)->name, "a");
	assert_string_equal(backend_pool(m2)->name, "b");
	assert_false(backend_rules(m1)->is_checked);
	assert_int_equal(backend_rules(m2)->fall, 7);
	assert_true(backend_rules(m2)->slow_start_s > 6.9);
}

/* A reload keeps what is known; what is down without checks is doubtful. */
static void test_health_reload(void **state)
{
	struct condition *c = condition("m1");

	(void)state;
	condition_check_failed(c, backend_rules(farm_find(t.farm,
	    STR("m1"))), "x", clock_now());
	assert_int_equal(c->state, CONDITION_DOWN);
	configure(POOLS);
	assert_int_equal(condition("m1")->state, CONDITION_DOWN);
	assert_true(condition("m1")->is_proven);
	configure("backend m1 { address = \"192.0.2.9:143\" }\n"
	    "pool main { backends = { m1 } }\n");
	assert_int_equal(condition("m1")->state, CONDITION_DOWN);
	assert_false(condition("m1")->is_proven);
	t.n_changes = 0;
	configure("backend m1 { address = \"192.0.2.9:143\" }\n"
	    "pool main { backends = { m1 }  health { type = none } }\n");
	assert_int_equal(condition("m1")->state, CONDITION_PROBING);
	assert_int_equal(t.n_changes, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_health_counts_failures_of_the_backend),
		TEST(test_health_does_not_count_the_rest),
		TEST(test_health_knows_late_from_usual),
		TEST(test_health_late_is_a_second_at_least),
		TEST(test_health_one_pool_cares),
		TEST(test_health_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
