/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/balance.h"

#define USERS 1000000
#define DIGEST 0xaca52baf66ee0793ull	/* of the choices for all of them */

static struct str user_name(char to[32], unsigned i)
{
	int n = snprintf(to, 32, "user%u@example.org", i);

	return (struct str){ to, (size_t)n };
}

static struct balance *make(unsigned n, const unsigned *weights)
{
	struct balance *b = balance_new();

	for (unsigned i = 0; i < n; i++) {
		char name[16];
		int len = snprintf(name, sizeof name, "mail%u", i);
		balance_add(b, (struct str){ name, (size_t)len },
		    weights ? weights[i] : 100);
	}
	return b;
}

/* Nobody is off its share by more than 2 % (with 10 members). */
static void check_shares(const unsigned *weights, unsigned n)
{
	struct balance *b = make(n, weights);
	unsigned got[16] = { 0 }, sum = 0;
	char name[32];

	for (unsigned i = 0; i < n; i++)
		sum += weights ? weights[i] : 100;
	for (unsigned i = 0; i < USERS; i++)
		got[balance_user_hash(b, user_name(name, i), NULL)]++;
	for (unsigned i = 0; i < n; i++) {
		double share = (double)USERS * (weights ? weights[i] : 100) /
		    sum;
		if (fabs(got[i] - share) > 0.02 * share)
			fail_msg("member %u: %u users for a share of %.0f", i,
			    got[i], share);
	}
	balance_free(&b);
}

static void test_balance_shares_alike(void **state)
{
	(void)state;
	check_shares(NULL, 10);
}

static void test_balance_shares_by_weight(void **state)
{
	const unsigned weights[] = { 100, 200, 300, 50, 100, 250, 100, 1000,
		400, 150 };

	(void)state;
	check_shares(weights, 10);
}

static void test_balance_shares_none_to_weight_0(void **state)
{
	const unsigned weights[] = { 0, 1, 0 }, zero[] = { 0, 0 };
	char name[32];

	(void)state;
	struct balance *b = make(3, weights);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(balance_user_hash(b, user_name(name, i),
		    NULL), 1);
		assert_int_equal(balance_round_robin(b, NULL), 1);
	}
	balance_free(&b);
	b = make(2, zero);
	assert_true(balance_user_hash(b, STR("jan"), NULL) == BALANCE_NONE);
	assert_true(balance_round_robin(b, NULL) == BALANCE_NONE);
	balance_free(&b);
	b = balance_new();
	assert_true(balance_user_hash(b, STR("jan"), NULL) == BALANCE_NONE);
	balance_free(&b);
}

static void test_balance_moves_only_who_must(void **state)
{
	struct balance *b = make(10, NULL);
	bool unfit[10] = { [3] = true };
	unsigned moved[10] = { 0 };
	char name[32];

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		struct str user = user_name(name, i);
		size_t before = balance_user_hash(b, user, NULL);
		size_t after = balance_user_hash(b, user, unfit);
		assert_int_not_equal(after, 3);
		if (before != 3)
			assert_int_equal(after, before);
		else
			moved[after]++;
	}
	/* and those who had to move are shared out evenly */
	for (unsigned i = 0; i < 10; i++)
		if (i != 3)
			assert_true(fabs(moved[i] - USERS / 90.) <
			    USERS / 90. * 0.1);
	balance_free(&b);
}

/* A changed weight takes users from all or gives to all, and shuffles none
 * between the others. */
static void test_balance_weight_moves_one_way(void **state)
{
	struct balance *b = make(10, NULL), *heavier = make(10, NULL);
	char name[32];

	(void)state;
	balance_set_weight(heavier, 4, 150);
	for (unsigned i = 0; i < USERS; i++) {
		struct str user = user_name(name, i);
		size_t before = balance_user_hash(b, user, NULL);
		size_t after = balance_user_hash(heavier, user, NULL);
		assert_true(before == after || after == 4);
	}
	balance_free(&b);
	balance_free(&heavier);
}

static void test_balance_order_does_not_matter(void **state)
{
	struct balance *there = make(10, NULL), *back = balance_new();
	char name[32];

	(void)state;
	for (int i = 9; i >= 0; i--) {
		int n = snprintf(name, sizeof name, "mail%d", i);
		balance_add(back, (struct str){ name, (size_t)n }, 100);
	}
	for (unsigned i = 0; i < USERS; i++) {
		struct str user = user_name(name, i);
		assert_int_equal(balance_user_hash(there, user, NULL),
		    9 - balance_user_hash(back, user, NULL));
	}
	balance_free(&there);
	balance_free(&back);
}

/* All are tried before it ends, each once. */
static void test_balance_excluded_gives_the_next(void **state)
{
	struct balance *b = make(10, NULL);
	bool unfit[10] = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++) {
		size_t m = balance_user_hash(b, STR("jan@example.org"), unfit);
		assert_in_range(m, 0, 9);
		assert_false(unfit[m]);
		unfit[m] = true;
	}
	assert_true(balance_user_hash(b, STR("jan@example.org"), unfit) ==
	    BALANCE_NONE);
	balance_free(&b);
}

/* These answers are a promise: other proxies and releases give the same. */
static void test_balance_known_answers(void **state)
{
	const unsigned weights[] = { 100, 200, 300, 50, 100, 250 };
	static const struct {
		const char *user;
		size_t equal, weighted;
	} rows[] = {
		{ "jan@example.org", 0, 5 },
		{ "eva@example.org", 0, 0 },
		{ "user1@example.org", 3, 1 },
		{ "user2@example.org", 3, 3 },
		{ "", 0, 0 },
		{ "mail0", 9, 1 },
	};
	struct balance *equal = make(10, NULL), *weighted = make(6, weights);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str user = str_from(rows[i].user);
		size_t a = balance_user_hash(equal, user, NULL);
		size_t w = balance_user_hash(weighted, user, NULL);
		if (a != rows[i].equal || w != rows[i].weighted)
			fail_msg("\"%s\": %zu, %zu", rows[i].user, a, w);
	}
	assert_true(balance_hash(STR("jan@example.org")) == 0xdb17f6a58c93a9eaull);
	balance_free(&equal);
	balance_free(&weighted);
}

/* The same for a million users: no process may come to another answer. */
static void test_balance_known_digest(void **state)
{
	struct balance *b = make(10, NULL);
	uint64_t digest = 0;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < USERS; i++)
		digest = digest * 31 +
		    balance_user_hash(b, user_name(name, i), NULL);
	if (digest != DIGEST)
		fail_msg("%#llx", (unsigned long long)digest);
	balance_free(&b);
}

static void test_balance_first_in_the_list(void **state)
{
	const unsigned weights[] = { 0, 1, 100 };
	struct balance *b = make(3, weights);
	bool unfit[3] = { false };

	(void)state;
	assert_int_equal(balance_first(b, NULL), 1);
	unfit[1] = true;
	assert_int_equal(balance_first(b, unfit), 2);
	unfit[2] = true;
	assert_true(balance_first(b, unfit) == BALANCE_NONE);
	balance_free(&b);
}

static void test_balance_least_by_weight(void **state)
{
	const unsigned weights[] = { 100, 300, 0 };
	struct balance *b = make(3, weights);
	size_t load[3] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 400; i++)
		load[balance_least(b, load, NULL)]++;
	assert_int_equal(load[0], 100);
	assert_int_equal(load[1], 300);
	/* who has come back empty gets all until it has its share */
	load[1] = 0;
	for (unsigned i = 0; i < 290; i++)
		load[balance_least(b, load, NULL)]++;
	assert_int_equal(load[1], 290);
	assert_true(balance_least(b, load, (const bool[]){ true, true, true })
	    == BALANCE_NONE);
	balance_free(&b);
}

static void test_balance_round_robin_is_smooth(void **state)
{
	const unsigned weights[] = { 5, 1, 1 };
	const size_t turns[] = { 0, 0, 1, 0, 2, 0, 0 };

	(void)state;
	struct balance *b = make(3, weights);
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < 7; i++)
			assert_int_equal(balance_round_robin(b, NULL),
			    turns[i]);
	balance_free(&b);
}

static void test_balance_round_robin_passes_over_unfit(void **state)
{
	struct balance *b = make(3, NULL);
	bool unfit[3] = { [1] = true };
	unsigned got[3] = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		got[balance_round_robin(b, unfit)]++;
	assert_int_equal(got[0], 50);
	assert_int_equal(got[1], 0);
	assert_int_equal(got[2], 50);
	/* it is owed nothing for the time it was away */
	for (int i = 0; i < 99; i++)
		got[balance_round_robin(b, NULL)]++;
	assert_int_equal(got[1], 33);
	balance_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_balance_shares_alike),
		cmocka_unit_test(test_balance_shares_by_weight),
		cmocka_unit_test(test_balance_shares_none_to_weight_0),
		cmocka_unit_test(test_balance_moves_only_who_must),
		cmocka_unit_test(test_balance_weight_moves_one_way),
		cmocka_unit_test(test_balance_order_does_not_matter),
		cmocka_unit_test(test_balance_excluded_gives_the_next),
		cmocka_unit_test(test_balance_known_answers),
		cmocka_unit_test(test_balance_known_digest),
		cmocka_unit_test(test_balance_first_in_the_list),
		cmocka_unit_test(test_balance_least_by_weight),
		cmocka_unit_test(test_balance_round_robin_is_smooth),
		cmocka_unit_test(test_balance_round_robin_passes_over_unfit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
