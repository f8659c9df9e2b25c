/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "backends/conf.h"
#include "backends/pattern.h"
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
		.user = "", .domain = "", .sni = "", .refuse = "",
		.pool = pool };
}

static struct route_request request(const char *user, const char *client)
{
	struct route_request r = { .user = str_from(user),
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
	rows[0].user = "jan@*";
	rows[1].domain = "Example.ORG";
	rows[1].sni = "*.example.org";
	rows[2].network.v = &net;
	rows[2].network.n = 1;
	rows[3].listener.v = listeners;
	rows[3].listener.n = 1;
	rows[3].user = "~.*@imaps\\.org";
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
	r.user = "jan";
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
	r.domain = "~*";
	assert_null(route_compile(all, 1, true, &err));
	assert_non_null(strstr(err.text, "proxy.conf:7: route.domain"));
}

static void note(void *arg, const struct route_step *step)
{
	char *text = arg;

	snprintf(text + strlen(text), 200 - strlen(text), "%s%s ",
	    route_condition_name(step->failed), step->gave_up ? "!" : "");
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
