/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends/passwd.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"

#define SHA256 "$5$rounds=1000$tWVolpv2ZlFxD7rf$" \
	"t7Bt3h2eC4S7dfNgqZwTHMHx6zr/68/h0PgzISBiAs9"
#define BCRYPT "$2b$04$2C3eKIGxDZKd6MKczYl9PeTL3pAtOSl30Qrf94JZ3ilBOlA/kIAIq"

static char path[64];

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/test_passwd.XXXXXX");
	close(mkstemp(path));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static void put(const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static struct passwd *load(const char *text)
{
	struct err err;

	put(text);
	struct passwd *p = passwd_load(path, true, NULL, &err);
	if (!p)
		fail_msg("%s", err.text);
	return p;
}

static bool find(const struct passwd *p, const char *user,
    struct passwd_user *out)
{
	return passwd_find(p, str_from(user), STR("Example.org"), out);
}

#define assert_str(s, text) assert_true(str_eq(s, str_from(text)))

static void test_passwd_reads_short_and_long_lines(void **state)
{
	struct passwd_user u;

	(void)state;
	struct passwd *p = load(
	    "# users\n\n"
	    "Jan@example.org:" SHA256 "\n"
	    "eva@example.org:{sha256-CRYPT}" SHA256 ":1000:1000:Eva:/h:/sh:"
	    "pool=eu userdb_quota_rule=*:bytes=1G as=eva@new.example\r\n"
	    "uli@example.net:{BLF-CRYPT}" BCRYPT "::::::backend=b1\n"
	    "ron@example.net:{CRYPT}" BCRYPT ":1000:1000\n"
	    "off@example.net:!" BCRYPT ":\n"
	    "none@example.net:*");
	assert_int_equal(passwd_n(p), 6);
	assert_true(find(p, "jan@example.org", &u));
	assert_str(u.hash, SHA256);
	assert_int_equal(u.pool.n + u.backend.n + u.as.n, 0);
	assert_true(find(p, "eva@example.org", &u));
	assert_str(u.hash, SHA256);
	assert_str(u.pool, "eu");
	assert_str(u.as, "eva@new.example");
	assert_true(find(p, "uli@example.net", &u));
	assert_str(u.hash, BCRYPT);
	assert_str(u.backend, "b1");
	assert_true(find(p, "ron@example.net", &u));
	assert_true(find(p, "off@example.net", &u));
	assert_int_equal(u.hash.n, 0);
	assert_true(find(p, "none@example.net", &u));
	assert_int_equal(u.hash.n, 0);
	assert_false(find(p, "Jan@example.org", &u));
	assert_false(find(p, "jan", &u));
	passwd_free(&p);
	p = load("");
	assert_false(find(p, "jan", &u));
	assert_int_equal(passwd_any_hash(p, STR("jan")).n, 0);
	passwd_free(&p);
}

/* Else jan of any domain could log in by the password of the one jan. */
static void test_passwd_gives_bare_names_to_the_default_domain(void **state)
{
	struct passwd_user u;

	(void)state;
	struct passwd *p = load("jan:" SHA256 "\neva:" SHA256 "\n"
	    "eva@example.org:" BCRYPT "\n");
	assert_true(find(p, "jan@example.org", &u));
	assert_true(find(p, "jan", &u));
	assert_false(find(p, "jan@example.net", &u));
	assert_false(find(p, "@example.org", &u));
	assert_true(find(p, "eva@example.org", &u));
	assert_str(u.hash, BCRYPT);
	assert_false(passwd_find(p, STR("jan@"), STR_NONE, &u));
	passwd_free(&p);
}

static void test_passwd_names_bad_lines(void **state)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{ "jan", ":1: no colon; expected user:hash" },
		{ ":x", ":1: no user" },
		{ "jan:", ":1: no hash; expected yescrypt" },
		{ "jan::1:1", ":1: no hash" },
		{ "\n#\njan:secret", ":3: a hash of an unknown kind" },
		{ "jan:{PLAIN}secret", "{PLAIN}, which is not checked here; "
		    "expected yescrypt" },
		{ "jan:{MD5-CRYPT}$1$x$y", "{MD5-CRYPT}, which" },
		{ "jan:{SHA512-CRYPT.b64}AAAA", "{SHA512-CRYPT.b64}, which" },
		{ "jan:$1$salt$qJH7.N4xYta3aEG/dfqo/0", "an unknown kind" },
		{ "jan:{SHA512-CRYPT}" SHA256, "expected it to begin with "
		    "$6$" },
		{ "jan:{CRYPT" SHA256, "a { without its }" },
		{ "jan:{}" , "a hash of an unknown kind" },
		{ "jan:$6$salt$short", "not a whole hash of SHA512-CRYPT; "
		    "expected 86" },
		{ "jan:" BCRYPT "x", "not a whole hash" },
		{ "jan:" SHA256 " ", "not a whole hash" },
		{ "jan+x:" SHA256, "\"jan+x\" has a + or *" },
		{ "jan*x:" SHA256, "has a + or *" },
		{ "j\001n:" SHA256, "not a user name" },
		{ "jan:" SHA256 ":::::: pool=", "pool without a value" },
		{ "jan:" SHA256 "::::::pool=a backend=b", "both pool=" },
		{ "jan:" SHA256 "::::::as=\xff", "as= is not a user name" },
		{ "jan:" SHA256 "::::::allow_nets=10.0.0.0/8",
		    "the field allow_nets is not obeyed" },
		{ "jan:" SHA256 "::::::nologin", "nologin is not obeyed" },
		{ "jan:" SHA256 "\nJAN:" BCRYPT, ":2: \"jan\" stands in line "
		    "1 too" },
		{ "a\nb\njan:" SHA256 "\nc", ":1: no colon; expected "
		    "user:hash (and 2 more)" },
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		put(rows[i].text);
		assert_null(passwd_load(path, true, NULL, &err));
		if (strncmp(err.text, path, strlen(path)) != 0 ||
		    !strstr(err.text, rows[i].wanted) ||
		    strstr(err.text, "secret"))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
	unlink(path);
	assert_null(passwd_load(path, true, NULL, &err));
	assert_non_null(strstr(err.text, "No such file"));
	put("");
}

/* What stands in for an unknown user's hash. */
static void test_passwd_draws_any_hash_evenly(void **state)
{
	char name[32];
	unsigned n_bcrypt = 0;

	(void)state;
	struct passwd *p = load("a:" SHA256 "\nb:" BCRYPT "\nc:!\nd:" SHA256
	    "\ne:" BCRYPT "\n");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "nobody%d", i);
		struct str s = passwd_any_hash(p, str_from(name));
		assert_true(s.n > 0);
		assert_true(str_eq(s, passwd_any_hash(p, str_from(name))));
		n_bcrypt += s.n == sizeof BCRYPT - 1;
	}
	assert_in_range(n_bcrypt, 200, 800);
	passwd_free(&p);
	p = load("a:!\n");
	assert_int_equal(passwd_any_hash(p, STR("x")).n, 0);
	passwd_free(&p);
}

static void test_passwd_reads_many(void **state)
{
	FILE *f = fopen(path, "w");
	struct passwd_user u;
	struct err err;
	char name[40];

	(void)state;
	for (int i = 0; i < 100000; i++)
		fprintf(f, "user%d@example.org:" SHA256 "::::::pool=p%d\n", i,
		    i);
	fclose(f);
	double began = clock_now();
	struct passwd *p = passwd_load(path, true, NULL, &err);
	assert_non_null(p);
	assert_true(clock_now() - began < 5);
	for (int i = 0; i < 100000; i += 77) {
		snprintf(name, sizeof name, "user%d@example.org", i);
		assert_true(find(p, name, &u));
		snprintf(name, sizeof name, "p%d", i);
		assert_str(u.pool, name);
	}
	passwd_free(&p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_passwd_reads_short_and_long_lines),
		TEST(test_passwd_gives_bare_names_to_the_default_domain),
		TEST(test_passwd_names_bad_lines),
		TEST(test_passwd_draws_any_hash_evenly),
		TEST(test_passwd_reads_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
