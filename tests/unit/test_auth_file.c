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
#include "backends/auth.h"
#include "backends/conf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

/* all of "secret" */
#define YESCRYPT "$y$j75$vtMesl7fygsSDHj.vaC02/$" \
	"RirJhHxQIpQGNaFe.5Qf8.3SCFY78WHDPBkoDvVw/Q3"
#define SHA512 "$6$rounds=1000$7cNKgw./kAcWFChL$" \
	"k8MXikoMZTzGfyQE5BdDWT7J0vd69.h0J5LcESJq/" \
	"m8Hxkye9YjrnWnwPiX3.yc28eexw97QzgUVTAdpRZebC."
#define SHA256 "$5$rounds=1000$tWVolpv2ZlFxD7rf$" \
	"t7Bt3h2eC4S7dfNgqZwTHMHx6zr/68/h0PgzISBiAs9"
#define BCRYPT "$2b$04$2C3eKIGxDZKd6MKczYl9PeTL3pAtOSl30Qrf94JZ3ilBOlA/kIAIq"
#define BCRYPT_Y "$2y$04$KVHpMR4ZaE9jJUmzBoWBNOI.VH5zhWSe4rkPf9YBobUlXcLA/bscK"

const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	(void)err;
	assert_int_equal(driver, CONF_AUTH_FILE);
	return &auth_file;
}

static char dir[64], path[128];

static struct {
	struct ev_loop *loop;
	struct auth *auth;
	enum auth_verdict verdict;
	char text[200];			/* why, or what came with OK */
	unsigned n_answers, n_failed;
} t;

static void put(const char *text)
{
	char other[160];

	snprintf(other, sizeof other, "%s.new", path);
	FILE *f = fopen(other, "w");
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(other, path), 0);
}

static struct settings *settings(const char *more)
{
	char text[600];
	struct err err;

	snprintf(text, sizeof text,
	    "backend b1 { address = \"mail1.example.net:143\" }\n"
	    "pool eu { backends = { b1 } }\n"
	    "auth { driver = file  path = \"%s\"  threads = 1\n"
	    "default_domain = example.org  %s }\n", path, more);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void configure(const char *more)
{
	struct settings *s = settings(more);
	struct err err;

	assert_true(auth_configure(t.auth, s, &err));
	settings_unref(&s);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	snprintf(dir, sizeof dir, "/tmp/test_auth_file.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/passwd", dir);
	t.loop = ev_loop_new(EVFLAG_AUTO);
	t.auth = auth_new(t.loop);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	auth_free(&t.auth);
	ev_loop_destroy(t.loop);
	unlink(path);
	return rmdir(dir);
}

static void on_answer(void *owner, const struct auth_answer *a)
{
	(void)owner;
	t.n_answers++;
	t.n_failed += a->verdict == AUTH_FAILED;
	t.verdict = a->verdict;
	if (a->verdict == AUTH_OK)
		snprintf(t.text, sizeof t.text, "%.*s/%.*s/%.*s",
		    STR_ARG(a->pool), STR_ARG(a->backend), STR_ARG(a->user));
	else
		snprintf(t.text, sizeof t.text, "%s", a->why);
}

static struct auth_check *begin(struct str user, struct str password,
    bool is_proven)
{
	return auth_ask(t.auth, &(struct auth_login){ .user = user,
	    .canonical = user, .password = password, .is_proven = is_proven },
	    on_answer, NULL);
}

static void wait_answers(unsigned n)
{
	while (t.n_answers < n)
		ev_run(t.loop, EVRUN_ONCE);
}

static enum auth_verdict ask_str(struct str user, struct str password)
{
	unsigned n = t.n_answers + 1;

	begin(user, password, false);
	wait_answers(n);
	return t.verdict;
}

static enum auth_verdict ask(const char *user, const char *password)
{
	return ask_str(str_from(user), str_from(password));
}

static enum auth_verdict ask_proven(const char *user)
{
	unsigned n = t.n_answers + 1;

	begin(str_from(user), STR_NONE, true);
	wait_answers(n);
	return t.verdict;
}

static void test_auth_file_checks_each_kind_of_hash(void **state)
{
	static const char *const users[] = { "y@x", "6@x", "5@x", "2b@x",
		"2y@x" };

	(void)state;
	put("y@x:{CRYPT}" YESCRYPT "\n6@x:{SHA512-CRYPT}" SHA512 "\n"
	    "5@x:" SHA256 "\n2b@x:{BLF-CRYPT}" BCRYPT "\n2y@x:" BCRYPT_Y
	    "::::::pool=eu as=z@x");
	configure("");
	for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
		assert_int_equal(ask(users[i], "secret"), AUTH_OK);
		assert_int_equal(ask(users[i], "Secret"), AUTH_DENIED);
		assert_string_equal(t.text, "wrong password");
		assert_int_equal(ask(users[i], "secretx"), AUTH_DENIED);
	}
	assert_int_equal(ask("2y@x", "secret"), AUTH_OK);
	assert_string_equal(t.text, "eu//z@x");
	assert_int_equal(ask("no@x", "secret"), AUTH_DENIED);
	assert_string_equal(t.text, "no such user");
}

static void test_auth_file_bears_any_password(void **state)
{
	char many[2000];

	(void)state;
	memset(many, 'x', sizeof many);
	put("jan:" SHA256 "\noff:!" SHA256 "\n");
	configure("");
	assert_int_equal(ask("jan@example.org", "secret"), AUTH_OK);
	assert_int_equal(ask_str(STR("jan@example.org"), STR("secret\0x")),
	    AUTH_DENIED);
	assert_int_equal(ask_str(STR("jan@example.org"),
	    (struct str){ many, sizeof many }), AUTH_DENIED);
	assert_int_equal(ask("jan@example.org", SHA256), AUTH_DENIED);
	assert_int_equal(ask("jan@example.org", ""), AUTH_DENIED);
	assert_int_equal(ask("off@example.org", "secret"), AUTH_DENIED);
	assert_int_equal(ask("off@example.org", ""), AUTH_DENIED);
	assert_int_equal(ask_str(STR("jan\0@example.org"), STR("secret")),
	    AUTH_DENIED);
}

static void test_auth_file_knows_who_is_proven(void **state)
{
	(void)state;
	put("jan:!::::::backend=b1\n");
	configure("");
	assert_int_equal(ask_proven("jan@example.org"), AUTH_OK);
	assert_string_equal(t.text, "/b1/");
	assert_int_equal(ask_proven("eva@example.org"), AUTH_DENIED);
}

/* Else it could be told from the time who is there. */
static void test_auth_file_hashes_for_unknown_users_too(void **state)
{
	(void)state;
	put("jan@x:$6$rounds=300000$7cNKgw./kAcWFChL$" /* 100 ms and more */
	    "k8MXikoMZTzGfyQE5BdDWT7J0vd69.h0J5LcESJq/"
	    "m8Hxkye9YjrnWnwPiX3.yc28eexw97QzgUVTAdpRZebC.\n");
	configure("");
	assert_int_equal(ask_proven("jan@x"), AUTH_OK);
	double began = auth_counts(t.auth).latency.seconds;
	assert_int_equal(ask("jan@x", "wrong"), AUTH_DENIED);
	double known = auth_counts(t.auth).latency.seconds - began;
	assert_int_equal(ask("eva@x", "wrong"), AUTH_DENIED);
	double unknown = auth_counts(t.auth).latency.seconds - began - known;
	if (unknown < known / 3 || unknown > known * 3)
		fail_msg("known %g s, unknown %g s", known, unknown);
}

static void test_auth_file_follows_the_file(void **state)
{
	(void)state;
	put("jan@x:" SHA256 "\n");
	configure("");
	assert_int_equal(ask("jan@x", "secret"), AUTH_OK);
	put("eva@x:" SHA256 "\n");
	while (ask("eva@x", "secret") != AUTH_OK)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(ask("jan@x", "secret"), AUTH_DENIED);
	/* a bad one changes nothing: seen by one turn of the loop, refused in
	 * the next */
	put("jan@x:" SHA256 "\neva@x\n");
	for (int i = 0; i < 3; i++)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(ask("eva@x", "secret"), AUTH_OK);
	assert_int_equal(ask("jan@x", "secret"), AUTH_DENIED);
}

static void test_auth_file_fails_without_a_file(void **state)
{
	(void)state;
	configure("");
	assert_int_equal(ask("jan@x", "secret"), AUTH_FAILED);
	assert_non_null(strstr(t.text, "No such file"));
	assert_int_equal(ask_proven("jan@x"), AUTH_FAILED);
	put("jan@x:" SHA256 "\n");
	while (ask("jan@x", "secret") != AUTH_OK)
		ev_run(t.loop, EVRUN_ONCE);
}

static void test_auth_file_bounds_what_waits(void **state)
{
	struct auth_check *checks[300];
	unsigned n = 0;

	(void)state;
	put("jan@x:" BCRYPT "\n");
	configure("");
	assert_int_equal(ask_proven("jan@x"), AUTH_OK);
	t.n_answers = 0;
	for (size_t i = 0; i < 300; i++) {
		checks[n] = begin(STR("jan@x"), STR("secret"), false);
		n += checks[n] != NULL;
	}
	/* one thread: 100 wait, the rest fails at once */
	assert_in_range(t.n_failed, 1, 200);
	assert_string_equal(t.text, "too many passwords wait for their check");
	for (unsigned i = 0; i < n; i += 2)
		auth_cancel(&checks[i]);
	wait_answers(t.n_failed + n / 2);
	assert_int_equal(t.verdict, AUTH_OK);
	assert_int_equal(auth_counts(t.auth).n_open, 0);
}

static void test_auth_file_may_go_while_it_works(void **state)
{
	struct auth_check *early, *late;

	(void)state;
	put("jan@x:" YESCRYPT "\n");
	configure("");
	early = begin(STR("jan@x"), STR("secret"), false);
	auth_cancel(&early);
	assert_int_equal(ask_proven("jan@x"), AUTH_OK);
	/* one that was begun with the old settings goes on */
	begin(STR("jan@x"), STR("secret"), false);
	configure("timeout = 6s");
	wait_answers(2);
	assert_int_equal(t.verdict, AUTH_OK);
	assert_int_equal(ask_proven("jan@x"), AUTH_OK);
	late = begin(STR("jan@x"), STR("secret"), false);
	auth_cancel(&late);
}

static void test_auth_file_is_tested_before(void **state)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{ "jan:" SHA256 "::::::pool=eu\n", NULL },
		{ "jan:" SHA256 "\neva:!::::::pool=us\n",
		    "passwd:2: \"us\" is no pool" },
		{ "jan:!::::::backend=b2\n", "passwd:1: \"b2\" is no backend" },
		{ "jan\n", "passwd:1: no colon" },
	};
	struct settings *s = settings("");
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		put(rows[i].text);
		bool is_good = auth_test(s, &err);
		if (is_good != !rows[i].wanted ||
		    (!is_good && (!strstr(err.text, rows[i].wanted) ||
		    !strstr(err.text, "test:3: auth: "))))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
	settings_unref(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_auth_file_checks_each_kind_of_hash),
		TEST(test_auth_file_bears_any_password),
		TEST(test_auth_file_knows_who_is_proven),
		TEST(test_auth_file_hashes_for_unknown_users_too),
		TEST(test_auth_file_follows_the_file),
		TEST(test_auth_file_fails_without_a_file),
		TEST(test_auth_file_bounds_what_waits),
		TEST(test_auth_file_may_go_while_it_works),
		TEST(test_auth_file_is_tested_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
