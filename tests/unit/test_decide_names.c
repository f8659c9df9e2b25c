/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* Decisions about backends that the DNS knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/table.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "tests/unit/dns_play.h"

#define SRV_NAME "_imap._tcp.example.net"
#define TOGETHER "backend mail { address = \"srv+" SRV_NAME "\" }\n" \
	"backend one { address = \"192.0.2.9:143\" }\n" \
	"pool main { backends = { mail } }\n" \
	"pool plain { backends = { one } }\n" \
	"route { domain = \"plain.org\"  pool = plain }\n" \
	"table homes { type = file  path = \"homes\" }\n" \
	"route { domain = \"table.org\"  table = homes }\n" \
	"route { pool = main }\n"
#define WIDE "backend wide { address = \"wide.example.net:143\" }\n" \
	"pool main { backends = { wide } }\n" \
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
	const char *value;		/* what the table has; NULL: it is slow */
	struct table_request *asked;	/* then */
	uint64_t ended;			/* a session that was told to end */
	unsigned n_answers;
	enum decide_verdict verdict;
	char backend[100], address[ADDR_TEXT_MAX], reason[100];
} t;

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	t.n_answers++;
	t.verdict = a->verdict;
	snprintf(t.backend, sizeof t.backend, "%.*s", STR_ARG(a->backend));
	snprintf(t.reason, sizeof t.reason, "%.*s", STR_ARG(a->reason));
	addr_text(&a->address, t.address);
}

static void on_end(void *owner, uint64_t worker, uint64_t session)
{
	(void)owner;
	(void)worker;
	t.ended = session;
}

static void on_names(void *owner)
{
	(void)owner;
	if (farm_is_outdated(t.farm))
		decide_update(t.decide);
}

static void *source_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	(void)resolve;
	(void)conf;
	(void)fold;
	(void)loop;
	(void)err;
	return &t;
}

static void source_lookup(void *kind, struct table_request *r)
{
	(void)kind;
	if (t.value)
		table_finish(r, TABLE_FOUND, str_from(t.value), NULL);
	else
		t.asked = r;
}

static void source_cancel(void *kind, struct table_request *r)
{
	(void)kind;
	assert_ptr_equal(r, t.asked);
	t.asked = NULL;
}

static void table_says(const char *value)
{
	struct table_request *r = t.asked;

	assert_non_null(r);
	t.asked = NULL;
	table_finish(r, TABLE_FOUND, str_from(value), NULL);
}

static void source_free(void *kind)
{
	(void)kind;
}

static const struct table_kind scripted = {
	.name = "scripted", .is_local = true, .new = source_new,
	.lookup = source_lookup, .cancel = source_cancel, .free = source_free,
};

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)type;
	(void)err;
	return &scripted;
}

/* Nothing here asks one. */
const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	(void)err;
	fail_msg("driver %u is asked for", driver);
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.loop = ev_loop_new(0);
	dns_play_begin(t.loop);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	const struct settings_address address = { "", "127.0.0.1", dns.port };
	const struct settings_addresses servers = { .v = &address, .n = 1 };
	t.resolve = resolve_new(t.loop, &servers, 200, on_names, NULL, NULL);
	t.farm = farm_new(t.resolve);
	t.place = place_new();
	t.tables = tables_new(t.loop, t.resolve);
	t.auth = auth_new(t.loop);
	t.moves = moves_new(t.loop, t.place, NULL,
	    &(struct moves_calls){ .end = NULL }, NULL);
	t.decide = decide_new(&(struct decide_parts){ .loop = t.loop,
	    .place = t.place, .farm = t.farm, .tables = t.tables,
	    .auth = t.auth, .moves = t.moves }, &(struct decide_calls){ .answer = on_answer,
	    .end = on_end }, NULL);
	decide_go(t.decide);
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
	dns_play_end(t.loop);
	ev_loop_destroy(t.loop);
	return 0;
}

static void configure(const char *text)
{
	struct err err;
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);

	if (!s || !decide_configure(t.decide, s, 0, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static struct decide_question question(uint64_t session, const char *user)
{
	struct decide_question q = { .worker = 1, .number = session,
		.session = session, .user = str_from(user),
		.mechanism = STR("PLAIN") };

	assert_true(addr_parse(&q.client, STR("198.51.100.7:4711")));
	return q;
}

static void ask(const struct decide_question *q)
{
	unsigned before = t.n_answers;

	decide_ask(t.decide, q);
	assert_int_equal(t.n_answers, before + 1);
}

/* As a worker does it, again and again while it must wait. */
static const char *who(uint64_t session, const char *user)
{
	struct decide_question q = question(session, user);

	for (ask(&q); t.verdict == DECIDE_WAIT; ask(&q))
		ev_run(t.loop, EVRUN_ONCE);
	return t.verdict == DECIDE_GRANT ? t.backend : t.reason;
}

static void addresses(void)
{
	dns_play_a("m1.example.net", 1, 1, 0);
	dns_play_a("m2.example.net", 1, 2, 0);
	dns_play_a("m3.example.net", 1, 3, 0);
}

static void wait_for_target(const char *name)
{
	while (!farm_find(t.farm, str_from(name)))
		ev_run(t.loop, EVRUN_ONCE);
}

static void test_record_is_waited_for(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	addresses();
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	configure(TOGETHER);
	ask(&q);
	assert_int_equal(t.verdict, DECIDE_WAIT);
	assert_string_equal(who(1, "jan@example.org"),
	    "mail/m1.example.net:143");
	assert_string_equal(t.address, "192.0.2.1:143");
}

static void test_no_record_is_no_backend(void **state)
{
	(void)state;
	configure(TOGETHER);	/* NXDOMAIN */
	assert_string_equal(who(1, "jan@example.org"), "no-backend");
	dns_play_srv(SRV_NAME, 0, 0, 0, "");
	while (farm_is_pending_for(t.farm, STR("mail/x:1")))
		ev_run(t.loop, EVRUN_ONCE);
	assert_string_equal(who(2, "jan@example.org"), "no-backend");
}

/* A target that leaves moves its own users only, and its sessions end when
 * their user comes anew. */
static void test_targets_come_and_go(void **state)
{
	char was[60][100], user[40];
	unsigned n_moved = 0;

	(void)state;
	addresses();
	dns.ttl = 1;
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m2.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m3.example.net");
	configure(TOGETHER);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(user, sizeof user, "u%u@example.org", i);
		strcpy(was[i], who(i + 1, user));
	}
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m2.example.net");
	while (farm_n(t.farm) > 3)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(place_n(t.place), 60);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(user, sizeof user, "u%u@example.org", i);
		t.ended = 0;
		const char *now = who(1000 + i, user);
		if (strcmp(was[i], "mail/m3.example.net:143") != 0) {
			assert_string_equal(now, was[i]);
			assert_int_equal(t.ended, 0);
			continue;
		}
		n_moved++;
		assert_int_equal(t.ended, i + 1);
	}
	assert_in_range(n_moved, 8, 35);
	/* one that comes back takes nobody who has sessions */
	dns_play_srv(SRV_NAME, 10, 10, 143, "m3.example.net");
	wait_for_target("mail/m3.example.net:143");
	for (unsigned i = 0; i < 60; i++) {
		snprintf(user, sizeof user, "u%u@example.org", i);
		assert_string_not_equal(who(2000 + i, user),
		    "mail/m3.example.net:143");
	}
}

static void test_priorities(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	addresses();
	dns_play_srv(SRV_NAME, 30, 10, 143, "m3.example.net");
	dns_play_srv(SRV_NAME, 20, 10, 143, "m2.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	configure(TOGETHER);
	for (unsigned i = 0; i < 30; i++) {
		char user[40];
		snprintf(user, sizeof user, "u%u@example.org", i);
		assert_string_equal(who(100 + i, user),
		    "mail/m1.example.net:143");
	}
	(void)who(1, "jan@example.org");
	q.excluded = STR("mail/m1.example.net:143");
	q.failure = STR("connect: refused");
	ask(&q);
	while (t.verdict == DECIDE_WAIT) {
		ev_run(t.loop, EVRUN_ONCE);
		ask(&q);
	}
	assert_string_equal(t.backend, "mail/m2.example.net:143");
	q.excluded = STR("mail/m1.example.net:143 mail/m2.example.net:143");
	ask(&q);
	while (t.verdict == DECIDE_WAIT) {
		ev_run(t.loop, EVRUN_ONCE);
		ask(&q);
	}
	assert_string_equal(t.backend, "mail/m3.example.net:143");
}

/* Full is not unfit: users do not spill to what is kept for the worst. */
static void test_a_full_target_is_waited_for(void **state)
{
	struct decide_question q = question(2, "eva@example.org");

	(void)state;
	addresses();
	dns_play_srv(SRV_NAME, 20, 10, 143, "m2.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	configure("backend mail { address = \"srv+" SRV_NAME "\"  "
	    "max_sessions = 1 }\npool main { backends = { mail } }\n"
	    "route { pool = main }\n");
	assert_string_equal(who(1, "jan@example.org"),
	    "mail/m1.example.net:143");
	unsigned before = t.n_answers;
	decide_ask(t.decide, &q);
	assert_int_equal(t.n_answers, before);
	decide_release(t.decide, 1, 1);
	assert_int_equal(t.n_answers, before + 1);
	assert_string_equal(t.backend, "mail/m1.example.net:143");
}

/* Backends come and go, say each second: a slow source answers all the same,
 * and what it has said stays. */
static void test_updates_ask_no_table_again(void **state)
{
	struct decide_question first = question(1, "jan@table.org");
	struct decide_question next = question(2, "eva@table.org");

	(void)state;
	configure("backend m9 { address = \"192.0.2.9:143\"\n"
	    "max_sessions = 1 }\npool nine { backends = { m9 } }\n"
	    "table homes { type = file  path = homes }\n"
	    "route { table = homes }\n");
	decide_ask(t.decide, &first);
	const struct table_request *asked = t.asked;
	decide_update(t.decide);
	assert_ptr_equal(t.asked, asked);
	table_says("backend m9");
	assert_string_equal(t.backend, "m9");
	decide_ask(t.decide, &next);
	table_says("backend m9");	/* which is full */
	for (unsigned i = 0; i < 1000; i++)
		decide_update(t.decide);
	assert_null(t.asked);
	assert_int_equal(t.n_answers, 1);
	decide_release(t.decide, 1, 1);
	assert_int_equal(t.n_answers, 2);
	assert_string_equal(t.backend, "m9");
}

static void test_tables_name_targets(void **state)
{
	static const char *const names[] = { "mail/m2.example.net:143",
		"backend mail/m2.example.net:143", "m2.example.net:143",
		"M2.example.net" };
	static const char *const not_now[] = { "mail/m9.example.net:143",
		"m9.example.net", "backend mail/m2.example.net:144" };

	(void)state;
	addresses();
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 10, 10, 143, "m2.example.net");
	configure(TOGETHER);
	for (unsigned i = 0; i < 4; i++) {
		t.value = names[i];
		assert_string_equal(who(1, "jan@table.org"),
		    "mail/m2.example.net:143");
		decide_release(t.decide, 1, 1);
	}
	log_set_output(open("/dev/null", O_WRONLY), LOG_KIND_FILE);
	for (unsigned i = 0; i < 3; i++) {
		t.value = not_now[i];
		assert_string_equal(who(1, "jan@table.org"), "table-value");
	}
	/* the record itself is no place */
	t.value = "backend mail";
	assert_string_equal(who(1, "jan@table.org"), "table-failed");
}

/* A new control: sessions are told, but the record is not there yet. */
static void test_sessions_of_an_unknown_record(void **state)
{
	struct decide_question q = question(2, "jan@plain.org");
	struct place_session s = { .worker = 1, .session = 1,
		.user = STR("jan@plain.org"),
		.backend = STR("mail/m2.example.net:143") };

	(void)state;
	addresses();
	dns_play_srv(SRV_NAME, 10, 10, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 20, 10, 143, "m2.example.net");
	configure(TOGETHER);
	place_take(t.place, &s);
	ask(&q);
	assert_int_equal(t.verdict, DECIDE_WAIT);
	assert_string_equal(who(2, "jan@plain.org"),
	    "mail/m2.example.net:143");
	assert_int_equal(t.ended, 0);
}

static void test_another_address_of_the_same(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	char first[ADDR_TEXT_MAX];

	(void)state;
	dns_play_a("wide.example.net", 2, 1, 2);
	configure(WIDE);
	assert_string_equal(who(1, "jan@example.org"), "wide");
	strcpy(first, t.address);
	q.excluded = STR("wide");
	q.failure = STR("connect: refused");
	assert_true(addr_parse(&q.failed_address, str_from(first)));
	ask(&q);
	assert_int_equal(t.verdict, DECIDE_GRANT);
	assert_string_not_equal(t.address, first);
	/* others do not come to it first */
	assert_string_equal(who(2, "jan@example.org"), "wide");
	assert_string_not_equal(t.address, first);
	/* none is left */
	assert_true(addr_parse(&q.failed_address, str_from(t.address)));
	q.excluded = STR("wide wide");
	ask(&q);
	assert_int_equal(t.verdict, DECIDE_REFUSE);
	/* what is no fault of the address excludes the backend */
	q.excluded = STR("wide");
	q.failure = STR("unavailable: no");
	ask(&q);
	assert_int_equal(t.verdict, DECIDE_REFUSE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_record_is_waited_for),
		TEST(test_no_record_is_no_backend),
		TEST(test_targets_come_and_go),
		TEST(test_priorities),
		TEST(test_a_full_target_is_waited_for),
		TEST(test_sessions_of_an_unknown_record),
		TEST(test_another_address_of_the_same),
		TEST(test_updates_ask_no_table_again),
		TEST(test_tables_name_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
