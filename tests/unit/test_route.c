/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/geo.h"
#include "backends/pattern.h"
#include "backends/region.h"
#include "backends/route.h"
#include "proxy/base/err.h"

static const struct conf_pool pools[] = {
	{ .name = "a", .where = "" },
	{ .name = "b", .where = "" },
	{ .name = "c", .where = "" },
};

/* Only the head of a listener is ever looked at here. */
static const struct settings_head imaps_head = { "imaps", "" };

static const struct conf_listener *imaps(void)
{
	return (const struct conf_listener *)(const void *)&imaps_head;
}

static struct conf_route row(const struct conf_pool *pool)
{
	return (struct conf_route){ .name = "", .where = "proxy.conf:7",
		.percent = 100, .refuse = "", .pool = pool };
}

/* As settings make it of { ... }; the last n_not had "!". */
#define LIST(n_not, ...) ((struct settings_strings){ \
	(const char *const[]){ __VA_ARGS__ }, \
	sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), n_not })

static const struct geo_place nowhere;
static const struct region_found untold = { .how = REGION_UNTOLD };

static struct route_request request(const char *user, const char *client)
{
	struct route_request r = { .user = str_from(user),
		.place = &nowhere, .region = &untold,
		.listener = STR("imaps") };

	if (client)
		assert_true(addr_parse_ip(&r.client, str_from(client)));
	return r;
}

static void test_pattern_glob(void **state)
{
	static const struct {
		const char *glob, *text;
		bool fold, yes;
	} rows[] = {
		{ "jan", "jan", false, true },
		{ "jan", "Jan", false, false },
		{ "jan", "Jan", true, true },
		{ "jan", "jane", false, false },
		{ "jan", "ja", false, false },
		{ "*", "", false, true },
		{ "?*", "", false, false },
		{ "", "", false, true },
		{ "", "x", false, false },
		{ "*@example.org", "jan@example.org", false, true },
		{ "*@example.org", "jan@example.org.net", false, false },
		{ "*@example.org", "@example.org", false, true },
		{ "j?n@*", "jan@x", false, true },
		{ "a*b*c", "aXbXbXc", false, true },
		{ "a*b*c", "aXbXbX", false, false },
		{ "*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false,
		    false },
		{ "[a]", "a", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pattern *p = pattern_new(rows[i].glob, rows[i].fold,
		    NULL);
		if ((pattern_match(p, str_from(rows[i].text)) ==
		    PATTERN_YES) != rows[i].yes)
			fail_msg("%s: %s", rows[i].glob, rows[i].text);
		pattern_free(&p);
	}
}

static void test_pattern_expression(void **state)
{
	struct pattern *p = pattern_new("~(jan|eva)@.*\\.org", true, NULL);
	struct err err;

	(void)state;
	assert_int_equal(pattern_match(p, STR("JAN@example.org")),
	    PATTERN_YES);
	assert_int_equal(pattern_match(p, STR("eva@x.org")), PATTERN_YES);
	/* the whole text, not a part of it; and the bar is no way around */
	assert_int_equal(pattern_match(p, STR("xjan@x.org")), PATTERN_NO);
	assert_int_equal(pattern_match(p, STR("jan@x.org.net")), PATTERN_NO);
	assert_int_equal(pattern_match(p, STR("jan")), PATTERN_NO);
	assert_int_equal(pattern_match(p, STR("")), PATTERN_NO);
	assert_int_equal(pattern_match(p, STR("jan@\xff.org")), PATTERN_NO);
	pattern_free(&p);
	assert_null(pattern_new("~(jan", false, &err));
	assert_non_null(strstr(err.text, "(jan"));
}

static void test_pattern_gives_up(void **state)
{
	struct pattern *p = pattern_new("~(a+)+(a+)+b", false, NULL);

	(void)state;
	assert_int_equal(pattern_match(p,
	    STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")),
	    PATTERN_YES);
	assert_int_equal(pattern_match(p,
	    STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabx")),
	    PATTERN_GAVE_UP);
	pattern_free(&p);
}

/* The rows of the following tests, one for each condition. */
static struct route_table *make(struct conf_route rows[6])
{
	static struct net net;
	static const struct conf_listener *listeners[1];
	const struct conf_route *all[6];

	assert_true(net_parse(&net, STR("10.0.0.0/8")));
	listeners[0] = imaps();
	for (int i = 0; i < 6; i++) {
		rows[i] = row(&pools[i % 3]);
		all[i] = &rows[i];
	}
	static const char *const user[] = { "jan@*" };
	static const char *const domain[] = { "Example.ORG" };
	static const char *const sni[] = { "*.example.org" };
	static const char *const expression[] = { "~.*@imaps\\.org" };
	rows[0].user = (struct settings_strings){ user, 1, 0 };
	rows[1].domain = (struct settings_strings){ domain, 1, 0 };
	rows[1].sni = (struct settings_strings){ sni, 1, 0 };
	rows[2].network.v = &net;
	rows[2].network.n = 1;
	rows[3].listener.v = listeners;
	rows[3].listener.n = 1;
	rows[3].user = (struct settings_strings){ expression, 1, 0 };
	rows[4].pool = NULL;
	rows[4].refuse = "[CONTACTADMIN] No mail service for this address.";
	struct route_table *t = route_compile(all, 6, true, NULL);
	assert_non_null(t);
	return t;
}

static void test_route_first_match_decides(void **state)
{
	struct conf_route rows[6];
	struct route_table *t = make(rows);
	static const struct {
		const char *user, *client, *listener, *sni;
		int row;
	} wants[] = {
		{ "jan@example.org", NULL, "", "", 0 },
		{ "eva@example.org", NULL, "", "imap.Example.org", 1 },
		{ "eva@example.org", NULL, "", "", 4 },
		{ "x@sub.example.org", NULL, "", "imap.example.org", 4 },
		{ "eva@example.org", "10.1.2.3", "", "", 2 },
		{ "eva@example.org", "::ffff:10.1.2.3", "", "", 2 },
		{ "eva@example.org", "11.1.2.3", "", "", 4 },
		{ "eva@imaps.org", NULL, "imaps", "", 3 },
		{ "eva@imaps.org", NULL, "imap", "", 4 },
		{ "eva", NULL, "", "", 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		struct route_request r = request(wants[i].user,
		    wants[i].client);
		r.listener = str_from(wants[i].listener);
		r.sni = str_from(wants[i].sni);
		struct route_outcome o = route_find(t, 0, &r, NULL, NULL);
		if (o.route != &rows[wants[i].row])
			fail_msg("row %zu: route %td", i, o.route - rows);
		assert_true(o.kind == (wants[i].row == 4 ? ROUTE_REFUSED
							 : ROUTE_TO_POOL));
		assert_ptr_equal(o.pool, rows[wants[i].row].pool);
	}
	route_free(&t);
}

static void test_route_without_a_match_refuses(void **state)
{
	struct conf_route r = row(&pools[0]);
	const struct conf_route *all[] = { &r };
	struct route_request q = request("eva@x", NULL);

	(void)state;
	r.user = LIST(0, "jan");
	struct route_table *t = route_compile(all, 1, true, NULL);
	struct route_outcome o = route_find(t, 0, &q, NULL, NULL);
	assert_int_equal(o.kind, ROUTE_REFUSED);
	assert_string_equal(o.text, ROUTE_REFUSE_NONE);
	assert_null(o.route);
	route_free(&t);
	t = route_compile(NULL, 0, true, NULL);
	assert_int_equal(route_find(t, 0, &q, NULL, NULL).kind, ROUTE_REFUSED);
	route_free(&t);
}

static void test_route_names_the_bad_pattern(void **state)
{
	struct conf_route r = row(&pools[0]);
	const struct conf_route *all[] = { &r };
	struct err err;

	(void)state;
	r.domain = LIST(0, "good", "~*");
	assert_null(route_compile(all, 1, true, &err));
	assert_non_null(strstr(err.text, "proxy.conf:7: route.domain"));
}

static void note(void *arg, const struct route_step *step)
{
	char *text = arg;

	snprintf(text + strlen(text), 200 - strlen(text), "%s%s%s ",
	    route_condition_name(step->failed), step->gave_up ? "!" : "",
	    step->is_untold ? "?" : "");
}

static void test_route_explains(void **state)
{
	struct conf_route rows[6];
	struct route_table *t = make(rows);
	struct route_request r = request("eva@example.org", "192.0.2.1");
	char text[200] = "";

	(void)state;
	route_find(t, 0, &r, note, text);
	assert_string_equal(text, "user sni network user  ");
	route_free(&t);
}

/* --- one condition -------------------------------------------------------- */

static bool holds(const struct conf_route *r, const struct route_request *q)
{
	const struct conf_route *all[] = { r };
	struct route_table *t = route_compile(all, 1, true, NULL);
	enum route_outcome_kind kind = route_find(t, 0, q, NULL, NULL).kind;

	route_free(&t);
	return kind == ROUTE_TO_POOL;
}

/* One of those without "!", and none of those with it. */
static void test_route_lists_and_negation(void **state)
{
	struct conf_route r = row(&pools[0]);
	struct route_request jan = request("jan@example.org", NULL);
	struct route_request eva = request("eva@example.net", NULL);

	(void)state;
	r.user = LIST(0, "jan@*", "eva@*");
	assert_true(holds(&r, &jan) && holds(&r, &eva));
	r.user = LIST(1, "eva@*");
	assert_true(holds(&r, &jan) && !holds(&r, &eva));
	r.user = LIST(2, "eva@*", "jan@*");
	assert_false(holds(&r, &jan) || holds(&r, &eva));
	r.user = LIST(1, "*@example.*", "jan@*");
	assert_true(!holds(&r, &jan) && holds(&r, &eva));
	/* nothing that holds makes up for what must not */
	r.user = LIST(1, "jan@*", "*@example.org", "*n@*");
	assert_false(holds(&r, &jan) || holds(&r, &eva));
	r.user = LIST(0, "*");
	r.domain = LIST(1, "example.net");
	assert_true(holds(&r, &jan) && !holds(&r, &eva));
	r.domain = (struct settings_strings){ 0 };
	r.sni = LIST(1, "?*");
	assert_true(holds(&r, &jan));
	jan.sni = STR("x");
	assert_false(holds(&r, &jan));
}

static void test_route_negated_networks_and_listeners(void **state)
{
	const struct conf_listener *listeners[] = { imaps() };
	struct conf_route r = row(&pools[0]);
	struct net nets[2];

	(void)state;
	assert_true(net_parse(&nets[0], STR("10.0.0.0/8")) &&
	    net_parse(&nets[1], STR("10.9.0.0/16")));
	struct route_request q = request("jan", "10.1.2.3");
	r.network.v = nets;
	r.network.n = 2;
	r.network.n_not = 1;
	assert_true(holds(&r, &q));
	q = request("jan", "10.9.2.3");
	assert_false(holds(&r, &q));
	q = request("jan", "11.9.2.3");
	assert_false(holds(&r, &q));
	r.network.n = 0;
	r.network.n_not = 0;
	r.listener.v = listeners;
	r.listener.n = r.listener.n_not = 1;
	assert_false(holds(&r, &q));
	q.listener = STR("imap");
	assert_true(holds(&r, &q));
}

static void test_route_pattern_that_gives_up_fails_both_ways(void **state)
{
	struct conf_route r = row(&pools[0]);
	struct route_request q = request(
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabx", NULL);

	(void)state;
	r.user = LIST(0, "~(a+)+(a+)+b");
	assert_false(holds(&r, &q));
	r.user = LIST(1, "~(a+)+(a+)+b");
	assert_false(holds(&r, &q));
}

static void test_route_country_and_asn(void **state)
{
	struct conf_route r = row(&pools[0]);
	struct geo_place here = { .has_places = true, .country = "CH" };
	struct route_request q = request("jan", "192.0.2.1");

	(void)state;
	q.place = &here;
	r.country = LIST(0, "ch", "NO");
	assert_true(holds(&r, &q));
	r.country = LIST(1, "CH");
	assert_false(holds(&r, &q));
	r.country = LIST(1, "DE");
	assert_true(holds(&r, &q));
	r.country = LIST(0, "unknown");
	assert_false(holds(&r, &q));
	/* an address that the database has not */
	here.country[0] = '\0';
	assert_true(holds(&r, &q));
	r.country = LIST(1, "DE");
	assert_true(holds(&r, &q));
	r.country = LIST(2, "DE", "unknown");
	assert_false(holds(&r, &q));
	/* no database: nobody can tell, neither way */
	here.has_places = false;
	r.country = LIST(0, "unknown");
	assert_false(holds(&r, &q));
	r.country = LIST(1, "DE");
	assert_false(holds(&r, &q));
	r.country = (struct settings_strings){ 0 };
	r.asn = LIST(0, "64500", "AS64501");
	here.asn = 64501;
	assert_false(holds(&r, &q));
	here.has_asns = true;
	assert_true(holds(&r, &q));
	r.asn = LIST(1, "64501");
	assert_false(holds(&r, &q));
	r.asn = LIST(0, "unknown");
	here.asn = 0;
	assert_true(holds(&r, &q));
}

static void test_route_region(void **state)
{
	const struct conf_region home = { .name = "home", .where = "" };
	const struct conf_region eu = { .name = "eu", .where = "" };
	const struct conf_region *both[] = { &home, &eu };
	const struct conf_region *home_or_unknown[] = { &home, NULL };
	struct region_found found = { .how = REGION_BY_NETWORK,
		.region = &eu };
	struct conf_route r = row(&pools[0]);
	struct route_request q = request("jan", "192.0.2.1");

	(void)state;
	q.region = &found;
	r.region.v = both;
	r.region.n = 2;
	assert_true(holds(&r, &q));
	r.region.n_not = 1;	/* home and not eu */
	assert_false(holds(&r, &q));
	found.region = &home;
	assert_true(holds(&r, &q));
	found = (struct region_found){ .how = REGION_NONE };
	assert_false(holds(&r, &q));
	r.region.v = home_or_unknown;
	r.region.n_not = 0;
	assert_true(holds(&r, &q));
	r.region.n_not = 2;
	assert_false(holds(&r, &q));
	found.how = REGION_UNTOLD;
	assert_false(holds(&r, &q));
	r.region.n_not = 0;
	assert_false(holds(&r, &q));
}

#define USERS 100000u

/* A share is right to half a percent of all, grows without moving anybody
 * back, and has the same part of each backend's users. */
static void test_route_percent(void **state)
{
	static const unsigned shares[] = { 0, 1, 5, 50, 99, 100 };
	struct conf_route r = row(&pools[0]);
	struct balance *b = balance_new();
	unsigned n[6] = { 0 }, of_backend[4] = { 0 }, canary[4] = { 0 };
	struct route_table *t[6];
	const struct conf_route *all[] = { &r };
	struct conf_route rows[6];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		balance_add(b, (struct str){ &"abcd"[i], 1 }, 100);
	for (size_t i = 0; i < 6; i++) {
		rows[i] = r;
		rows[i].percent = shares[i];
		all[0] = &rows[i];
		t[i] = route_compile(all, 1, true, NULL);
	}
	for (unsigned u = 0; u < USERS; u++) {
		char user[40];
		snprintf(user, sizeof user, "user%u@example.org", u);
		struct route_request q = request(user, NULL);
		size_t at = balance_user_hash(b, q.user, NULL);
		bool was_in = false;
		of_backend[at]++;
		for (size_t i = 0; i < 6; i++) {
			bool is_in = route_find(t[i], 0, &q, NULL, NULL).kind ==
			    ROUTE_TO_POOL;
			assert_true(is_in || !was_in);
			was_in = is_in;
			n[i] += is_in;
			canary[at] += is_in && shares[i] == 5;
		}
	}
	for (size_t i = 0; i < 6; i++) {
		unsigned wanted = USERS / 100 * shares[i];
		if (n[i] > wanted + USERS / 200 || n[i] + USERS / 200 < wanted)
			fail_msg("%u %%: %u", shares[i], n[i]);
		route_free(&t[i]);
	}
	assert_int_equal(n[0], 0);
	assert_int_equal(n[5], USERS);
	for (size_t i = 0; i < 4; i++) {
		double share = 100. * canary[i] / of_backend[i];
		if (share < 4.5 || share > 5.5)
			fail_msg("backend %zu: %f %%", i, share);
	}
	balance_free(&b);
}

/* Today's users stay on their side tomorrow. */
static void test_route_percent_is_stable(void **state)
{
	struct conf_route r = row(&pools[0]);
	char sides[17] = "";

	(void)state;
	r.percent = 50;
	for (unsigned u = 0; u < 16; u++) {
		char user[40];
		snprintf(user, sizeof user, "user%u@example.org", u);
		struct route_request q = request(user, NULL);
		sides[u] = holds(&r, &q) ? 'y' : 'n';
	}
	assert_string_equal(sides, "ynynyyynnnnnynyy");
}

static void test_route_explains_what_is_missing(void **state)
{
	struct conf_route r = row(&pools[0]);
	const struct conf_route *all[] = { &r };
	struct route_request q = request("jan", "192.0.2.1");
	char text[200] = "";

	(void)state;
	r.country = LIST(0, "CH");
	struct route_table *t = route_compile(all, 1, true, NULL);
	route_find(t, 0, &q, note, text);
	assert_string_equal(text, "country? ");
	route_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pattern_glob),
		cmocka_unit_test(test_pattern_expression),
		cmocka_unit_test(test_pattern_gives_up),
		cmocka_unit_test(test_route_first_match_decides),
		cmocka_unit_test(test_route_without_a_match_refuses),
		cmocka_unit_test(test_route_names_the_bad_pattern),
		cmocka_unit_test(test_route_explains),
		cmocka_unit_test(test_route_lists_and_negation),
		cmocka_unit_test(test_route_negated_networks_and_listeners),
		cmocka_unit_test(
		    test_route_pattern_that_gives_up_fails_both_ways),
		cmocka_unit_test(test_route_country_and_asn),
		cmocka_unit_test(test_route_region),
		cmocka_unit_test(test_route_percent),
		cmocka_unit_test(test_route_percent_is_stable),
		cmocka_unit_test(test_route_explains_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
