/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* What decide makes of the answers of a driver of authentication. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define TEXT(auth, routes) \
	"auth { driver = file  path = passwd  timeout = 50ms  " auth " }\n" \
	"backend m1 { address = \"192.0.2.1:143\" }\n" \
	"backend m2 { address = \"192.0.2.2:143\" }\n" \
	"pool one { backends = { m1 } }\npool two { backends = { m2 } }\n" \
	routes

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct decide_parts parts;
	struct decide *decide;
	struct auth_request *asked;	/* open at the driver */
	unsigned n_asked, n_cancelled, n_answers;
	struct decide_answer answer;
	char backend[32], login_user[64], login_password[64], text[128],
	    reason[32], master_user[32];
} t;

static void keep(char *to, size_t size, struct str s)
{
	snprintf(to, size, "%.*s", STR_ARG(s));
}

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	t.n_answers++;
	t.answer = *a;
	keep(t.backend, sizeof t.backend, a->backend);
	keep(t.login_user, sizeof t.login_user, a->login_user);
	keep(t.login_password, sizeof t.login_password, a->login_password);
	keep(t.master_user, sizeof t.master_user, a->master_user);
	keep(t.text, sizeof t.text, a->text);
	keep(t.reason, sizeof t.reason, a->reason);
}

static void on_end(void *owner, uint64_t worker, uint64_t session)
{
	(void)owner;
	(void)worker;
	(void)session;
}

/* --- a driver that answers when the test says so ------------------------------ */

static void *driver_new(const struct settings *settings,
    const struct conf_auth *conf, struct ev_loop *loop, struct err *err)
{
	(void)settings;
	(void)conf;
	(void)loop;
	(void)err;
	return &t;
}

static void driver_check(void *driver, struct auth_request *r)
{
	(void)driver;
	t.n_asked++;
	t.asked = r;
}

static void driver_cancel(void *driver, struct auth_request *r)
{
	(void)driver;
	(void)r;
	t.n_cancelled++;
	t.asked = NULL;
}

static void driver_free(void *driver)
{
	(void)driver;
}

static const struct auth_kind scripted = {
	.name = "scripted", .has_timeout = true, .new = driver_new,
	.check = driver_check, .cancel = driver_cancel, .free = driver_free,
};

const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	(void)driver;
	(void)err;
	return &scripted;
}

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)type;
	(void)err;
	fail_msg("no table is here");
	return NULL;
}

static void driver_says(const struct auth_answer *a)
{
	struct auth_request *r = t.asked;

	assert_non_null(r);
	t.asked = NULL;
	auth_finish(r, a);
}

/* --- the test's side ------------------------------------------------------------- */

static bool password_file(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	(void)path;
	*data_out = STR("secret\n");
	return true;
}

static void configure(const char *text)
{
	struct err err;
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, password_file, NULL, &err);

	if (!s || !decide_configure(t.decide, s, 0, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static int setup(void **state)
{
	static const struct settings_addresses none;
	static const struct decide_calls calls = { .answer = on_answer,
		.end = on_end };
	static const struct moves_calls no_moves;

	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(EVFLAG_NOENV);
	t.resolve = resolve_new(t.loop, &none, 100, NULL, NULL, NULL);
	t.parts.loop = t.loop;
	t.parts.farm = farm_new(t.resolve);
	t.parts.place = place_new();
	t.parts.tables = tables_new(t.loop, NULL);
	t.parts.auth = auth_new(t.loop);
	t.parts.moves = moves_new(t.loop, t.parts.place, NULL,
	    &no_moves, NULL);
	t.decide = decide_new(&t.parts, &calls, NULL);
	decide_go(t.decide);
	configure(TEXT("", "route { pool = one }\n"));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	decide_free(&t.decide);
	moves_free(&t.parts.moves);
	auth_free(&t.parts.auth);
	tables_free(&t.parts.tables);
	farm_free(&t.parts.farm);
	place_free(&t.parts.place);
	resolve_free(&t.resolve);
	ev_loop_destroy(t.loop);
	return 0;
}

static struct decide_question question(const char *user)
{
	struct decide_question q = { .worker = 1, .number = 7, .session = 7,
		.user = str_from(user), .mechanism = STR("PLAIN"),
		.password = STR("pass word"), .attempt = 2,
		.listener = STR("imaps"), .has_tls = true,
		.tls_version = STR("TLSv1.3") };

	assert_true(addr_parse(&q.client, STR("198.51.100.7:4711")));
	return q;
}

/* Asks, and the driver answers. */
static void ask(const char *user, const struct auth_answer *a)
{
	struct decide_question q = question(user);

	t.n_answers = 0;
	decide_ask(t.decide, &q);
	assert_int_equal(t.n_answers, 0);
	driver_says(a);
	assert_int_equal(t.n_answers, 1);
}

static const struct auth_answer ok = { .verdict = AUTH_OK };

static void test_auth_is_told_all(void **state)
{
	struct decide_question q = question("Jan@Example.ORG");

	(void)state;
	decide_ask(t.decide, &q);
	assert_non_null(t.asked);
	const struct auth_login *l = &t.asked->login;
	assert_true(str_eq(l->user, STR("Jan@Example.ORG")));
	assert_true(str_eq(l->canonical, STR("jan@example.org")));
	assert_true(str_eq(l->password, STR("pass word")));
	assert_true(str_eq(l->tls_version, STR("TLSv1.3")));
	assert_int_equal(l->attempt, 2);
	assert_false(l->is_proven);
	driver_says(&ok);
	assert_int_equal(t.answer.verdict, DECIDE_GRANT);
	assert_string_equal(t.backend, "m1");
	/* the client's own credentials serve at the backend */
	assert_string_equal(t.login_user, "");
	assert_string_equal(t.login_password, "");
	assert_string_equal(t.master_user, "");
}

static void test_auth_denies(void **state)
{
	(void)state;
	ask("jan", &(struct auth_answer){ .verdict = AUTH_DENIED });
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
	assert_string_equal(t.text,
	    "NO [AUTHENTICATIONFAILED] Authentication failed.");
	assert_true(t.answer.is_denied);
	assert_false(t.answer.ends);
	ask("jan", &(struct auth_answer){ .verdict = AUTH_DENIED,
	    .text = STR("[EXPIRED] Too old."), .ends = true });
	assert_string_equal(t.text, "NO [EXPIRED] Too old.");
	assert_true(t.answer.ends);
	assert_int_equal(place_n(t.parts.place), 0);
}

/* A source that is down never looks like a wrong password. */
static void test_auth_fails(void **state)
{
	struct decide_question q = question("jan");

	(void)state;
	ask("jan", &(struct auth_answer){ .verdict = AUTH_FAILED,
	    .why = "away" });
	assert_string_equal(t.text,
	    "NO [UNAVAILABLE] Account is temporarily unavailable.");
	assert_false(t.answer.is_denied);
	/* nor one that is late */
	t.n_answers = 0;
	decide_ask(t.decide, &q);
	while (!t.n_answers)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.n_cancelled, 1);
	assert_string_equal(t.reason, "auth-failed");
}

static void test_auth_chooses_where_and_as_whom(void **state)
{
	struct auth_answer a = ok;

	(void)state;
	a.pool = STR("two");
	a.user = STR("j.smit");
	a.password = STR("other");
	ask("jan", &a);
	assert_string_equal(t.backend, "m2");
	assert_string_equal(t.login_user, "j.smit");
	assert_string_equal(t.login_password, "other");
	a = ok;
	a.backend = STR("m2");
	ask("eva", &a);
	assert_string_equal(t.backend, "m2");
	a = ok;
	assert_true(addr_parse(&a.address, STR("192.0.2.2:143")));
	ask("ann", &a);
	assert_string_equal(t.backend, "m2");
	/* what the configuration does not have */
	assert_true(addr_parse(&a.address, STR("192.0.2.2:144")));
	ask("bob", &a);
	assert_string_equal(t.reason, "auth-value");
	a = ok;
	a.pool = STR("three");
	ask("bob", &a);
	assert_string_equal(t.reason, "auth-value");
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
}

/* Of the routes only refusals count then. */
static void test_auth_does_not_pass_a_refusal(void **state)
{
	struct auth_answer a = ok;

	(void)state;
	configure(TEXT("", "route { user = \"eva*\"  refuse = \"No.\" }\n"
	    "route { pool = one }\n"));
	a.pool = STR("two");
	ask("jan", &a);
	assert_string_equal(t.backend, "m2");
	ask("eva", &a);
	assert_string_equal(t.text, "NO No.");
	/* and where no route is, the driver's choice is enough */
	configure(TEXT("", "route { user = \"eva*\"  refuse = \"No.\" }\n"));
	ask("jan", &a);
	assert_string_equal(t.backend, "m2");
	ask("jan", &ok);
	assert_string_equal(t.reason, "no-route");
}

static void test_auth_opens_the_way_for_the_master(void **state)
{
	struct decide_question q = question("jan*root");

	(void)state;
	configure(TEXT("backend_login = master  master_user = root\n"
	    "master_password_file = pw", "route { pool = one }\n"));
	ask("jan", &ok);
	assert_string_equal(t.master_user, "root");
	/* a password from the driver is for the backend itself */
	struct auth_answer a = ok;
	a.password = STR("other");
	ask("jan", &a);
	assert_string_equal(t.master_user, "");
	assert_string_equal(t.login_password, "other");
	/* whose password is this? the driver would take it for jan's */
	unsigned before = t.n_asked;
	t.n_answers = 0;
	decide_ask(t.decide, &q);
	assert_int_equal(t.n_answers, 1);
	assert_int_equal(t.n_asked, before);
	assert_string_equal(t.reason, "master-user");
}

static void test_auth_needs_no_password_of_the_proven(void **state)
{
	struct decide_question q = question("jan");

	(void)state;
	q.password = STR_NONE;
	t.n_answers = 0;
	decide_ask(t.decide, &q);
	assert_string_equal(t.reason, "no-password");
	q.mechanism = STR("EXTERNAL");
	decide_ask(t.decide, &q);
	assert_non_null(t.asked);
	assert_true(t.asked->login.is_proven);
	driver_says(&ok);
	assert_int_equal(t.answer.verdict, DECIDE_GRANT);
}

static void test_auth_ends_with_its_question(void **state)
{
	struct decide_question q = question("jan");

	(void)state;
	decide_ask(t.decide, &q);
	decide_release(t.decide, 1, 7);
	assert_int_equal(t.n_cancelled, 1);
	decide_ask(t.decide, &q);
	decide_drop_worker(t.decide, 1);
	assert_int_equal(t.n_cancelled, 2);
	decide_ask(t.decide, &q);
	/* another driver is asked anew */
	configure(TEXT("threads = 3", "route { pool = two }\n"));
	assert_int_equal(t.n_cancelled, 3);
	assert_int_equal(t.n_asked, 4);
	driver_says(&ok);
	assert_string_equal(t.backend, "m2");
	decide_ask(t.decide, &q);	/* freed with the rest */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_auth_is_told_all),
		TEST(test_auth_denies),
		TEST(test_auth_fails),
		TEST(test_auth_chooses_where_and_as_whom),
		TEST(test_auth_does_not_pass_a_refusal),
		TEST(test_auth_opens_the_way_for_the_master),
		TEST(test_auth_needs_no_password_of_the_proven),
		TEST(test_auth_ends_with_its_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
