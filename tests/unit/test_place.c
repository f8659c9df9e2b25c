/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/place.h"

static void take(struct place *p, uint64_t worker, uint64_t session,
    const char *user, const char *backend, const char *client)
{
	struct place_session s = { .worker = worker, .session = session,
		.user = str_from(user), .backend = str_from(backend),
		.since_ms = 1000 + session };

	if (client)
		assert_true(addr_parse_ip(&s.client, str_from(client)));
	place_take(p, &s);
}

static size_t at(const struct place *p, const char *client)
{
	struct addr a;

	assert_true(addr_parse_ip(&a, str_from(client)));
	return place_n_address(p, &a);
}

static void test_place_counts(void **state)
{
	struct place *p = place_new();

	(void)state;
	take(p, 1, 1, "jan", "mail1", "192.0.2.1");
	take(p, 1, 2, "jan", "mail1", "192.0.2.2");
	take(p, 2, 1, "eva", "mail2", "192.0.2.1");
	assert_int_equal(place_n(p), 3);
	assert_int_equal(place_n_users(p), 2);
	assert_int_equal(place_n_user(p, STR("jan")), 2);
	assert_int_equal(place_n_user(p, STR("ja")), 0);
	assert_int_equal(place_n_backend(p, STR("mail1")), 2);
	assert_int_equal(place_n_backend(p, STR("mail2")), 1);
	assert_int_equal(at(p, "192.0.2.1"), 2);
	assert_int_equal(at(p, "192.0.2.3"), 0);
	assert_true(place_release(p, 1, 1));
	assert_false(place_release(p, 1, 1));
	assert_false(place_release(p, 2, 2));
	assert_int_equal(place_n_user(p, STR("jan")), 1);
	assert_int_equal(at(p, "192.0.2.1"), 1);
	assert_true(place_release(p, 1, 2));
	assert_int_equal(place_n_users(p), 1);
	assert_int_equal(place_n_backend(p, STR("mail1")), 0);
	place_free(&p);
	assert_null(p);
}

static void test_place_takes_anew(void **state)
{
	struct place *p = place_new();
	struct place_session s;

	(void)state;
	take(p, 1, 7, "jan", "mail1", "192.0.2.1");
	take(p, 1, 7, "jan", "mail2", "192.0.2.1");
	assert_int_equal(place_n(p), 1);
	assert_int_equal(place_n_user(p, STR("jan")), 1);
	assert_int_equal(at(p, "192.0.2.1"), 1);
	assert_int_equal(place_n_backend(p, STR("mail1")), 0);
	assert_true(place_find(p, 1, 7, &s));
	assert_true(str_eq(s.backend, STR("mail2")));
	assert_int_equal(s.since_ms, 1007);
	assert_false(place_find(p, 1, 8, &s));
	place_free(&p);
}

static void test_place_addresses_are_sites(void **state)
{
	struct place *p = place_new();

	(void)state;
	take(p, 1, 1, "a", "m", "2001:db8:1:2::1");
	take(p, 1, 2, "a", "m", "2001:db8:1:2:ffff::9");
	take(p, 1, 3, "a", "m", "2001:db8:1:3::1");
	take(p, 1, 4, "a", "m", "::ffff:192.0.2.1");
	take(p, 1, 5, "a", "m", NULL);
	assert_int_equal(at(p, "2001:db8:1:2::7"), 2);
	assert_int_equal(at(p, "2001:db8:1:3::7"), 1);
	assert_int_equal(at(p, "192.0.2.1"), 1);
	assert_int_equal(at(p, "192.0.2.2"), 0);
	place_free(&p);
}

static void test_place_drops_a_worker(void **state)
{
	struct place *p = place_new();

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		take(p, i % 2, i, i % 3 ? "jan" : "eva", "m", "192.0.2.1");
	assert_int_equal(place_drop_worker(p, 1), 50);
	assert_int_equal(place_drop_worker(p, 1), 0);
	assert_int_equal(place_drop_worker(p, 9), 0);
	assert_int_equal(place_n(p), 50);
	assert_int_equal(at(p, "192.0.2.1"), 50);
	assert_false(place_release(p, 1, 1));
	assert_true(place_release(p, 0, 2));
	place_free(&p);
}

static void note(void *arg, const struct place_session *s)
{
	char *text = arg;

	sprintf(text + strlen(text), "%u:%u@%.*s ", (unsigned)s->worker,
	    (unsigned)s->session, STR_ARG(s->backend));
}

static void test_place_knows_a_user(void **state)
{
	struct place *p = place_new();
	char text[200] = "";

	(void)state;
	assert_int_equal(place_user_backend(p, STR("jan")).n, 0);
	take(p, 1, 1, "jan", "mail1", NULL);
	take(p, 1, 2, "eva", "mail3", NULL);
	take(p, 2, 1, "jan", "mail2", NULL);
	assert_true(str_eq(place_user_backend(p, STR("jan")), STR("mail2")));
	place_user(p, STR("jan"), note, text);
	assert_string_equal(text, "1:1@mail1 2:1@mail2 ");
	place_release(p, 2, 1);
	assert_true(str_eq(place_user_backend(p, STR("jan")), STR("mail1")));
	place_free(&p);
}

/* Whatever comes in whatever order, the counts are those of a plain list. */
static void test_place_agrees_with_a_list(void **state)
{
	enum { N = 64 };
	int user[2][N], backend[2][N];
	struct place *p = place_new();

	(void)state;
	memset(user, -1, sizeof user);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		int w = rand() % 2, s = rand() % N;
		char u[32], b[32], a[32];
		if (rand() % 2) {
			user[w][s] = rand() % 10;
			backend[w][s] = rand() % 3;
			snprintf(u, sizeof u, "u%d", user[w][s]);
			snprintf(b, sizeof b, "b%d", backend[w][s]);
			snprintf(a, sizeof a, "192.0.2.%d", user[w][s]);
			take(p, (uint64_t)w, (uint64_t)s, u, b, a);
		} else {
			assert_int_equal(place_release(p, (uint64_t)w,
			    (uint64_t)s), user[w][s] >= 0);
			user[w][s] = -1;
		}
		if (i % 100)
			continue;
		size_t users[10] = { 0 }, backends[3] = { 0 };
		for (int k = 0; k < 2 * N; k++)
			if (user[k / N][k % N] >= 0) {
				users[user[k / N][k % N]]++;
				backends[backend[k / N][k % N]]++;
			}
		for (int k = 0; k < 10; k++) {
			snprintf(u, sizeof u, "u%d", k);
			snprintf(a, sizeof a, "192.0.2.%d", k);
			assert_int_equal(place_n_user(p, str_from(u)),
			    users[k]);
			assert_int_equal(at(p, a), users[k]);
		}
		for (int k = 0; k < 3; k++) {
			snprintf(b, sizeof b, "b%d", k);
			assert_int_equal(place_n_backend(p, str_from(b)),
			    backends[k]);
		}
	}
	place_free(&p);
}

/* The users met, in order, with the number of sessions where it is > 1. */
static const char *met(struct place_walk *w, size_t most)
{
	static char text[256];
	struct place_session s;
	size_t n, used = 0;

	text[0] = '\0';
	while (most-- > 0 && place_walk_next(w, &s, &n)) {
		used += (size_t)snprintf(text + used, sizeof text - used,
		    "%.*s@%.*s/%zu ", STR_ARG(s.user), STR_ARG(s.backend), n);
	}
	return text;
}

static void test_place_walks(void **state)
{
	struct place *p = place_new();

	(void)state;
	struct place_walk *none = place_walk_sessions(p);
	assert_string_equal(met(none, 9), "");
	place_walk_free(&none);
	take(p, 1, 1, "jan", "mail1", NULL);
	take(p, 1, 2, "eva", "mail2", NULL);
	take(p, 2, 1, "jan", "mail3", NULL);
	take(p, 2, 2, "ole", "mail2", NULL);
	assert_int_equal(place_n_worker(p, 1), 2);
	assert_int_equal(place_n_worker(p, 3), 0);
	struct place_walk *users = place_walk_users(p);
	struct place_walk *all = place_walk_sessions(p);
	assert_string_equal(met(all, 9), "jan@mail1/2 eva@mail2/1 jan@mail3/2 "
	    "ole@mail2/1 ");
	assert_string_equal(met(users, 9), "jan@mail3/2 eva@mail2/1 "
	    "ole@mail2/1 ");
	place_walk_free(&users);
	place_walk_free(&all);
	assert_null(all);
	place_free(&p);
}

/* What is gone is not met, also when the walk stood just before it. */
static void test_place_walks_while_sessions_come_and_go(void **state)
{
	struct place *p = place_new();

	(void)state;
	take(p, 1, 1, "jan", "mail1", NULL);
	take(p, 1, 2, "jan", "mail1", NULL);
	take(p, 1, 3, "eva", "mail2", NULL);
	take(p, 2, 4, "ole", "mail2", NULL);
	struct place_walk *users = place_walk_users(p);
	struct place_walk *all = place_walk_sessions(p);
	struct place_walk *second = place_walk_sessions(p);
	assert_string_equal(met(all, 1), "jan@mail1/2 ");
	assert_string_equal(met(users, 1), "jan@mail1/2 ");
	place_release(p, 1, 2);	/* where all stands */
	place_release(p, 1, 3);	/* where users stands, and the next of all */
	place_release(p, 1, 1);
	take(p, 2, 5, "new", "mail1", NULL);
	assert_string_equal(met(all, 9), "ole@mail2/1 new@mail1/1 ");
	assert_string_equal(met(users, 9), "ole@mail2/1 new@mail1/1 ");
	place_drop_worker(p, 2);
	assert_string_equal(met(second, 9), "");
	assert_string_equal(met(all, 9), "");
	place_walk_free(&users);
	place_walk_free(&all);
	place_walk_free(&second);
	place_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_place_counts),
		cmocka_unit_test(test_place_takes_anew),
		cmocka_unit_test(test_place_addresses_are_sites),
		cmocka_unit_test(test_place_drops_a_worker),
		cmocka_unit_test(test_place_knows_a_user),
		cmocka_unit_test(test_place_agrees_with_a_list),
		cmocka_unit_test(test_place_walks),
		cmocka_unit_test(test_place_walks_while_sessions_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
