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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/filewatch.h"
#include "backends/table.h"
#include "backends/table_store.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)err;
	return type == CONF_TABLE_LMDB ? &table_lmdb : NULL;
}

static char dir[64], path[128];

static struct {
	struct ev_loop *loop;
	struct tables *tables;
	enum table_verdict verdict;
	char value[64], why[256];
} t;

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	filewatch_interval_s = 0.02;
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	snprintf(dir, sizeof dir, "/tmp/test_table_store.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/t.lmdb", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	tables_free(&t.tables);
	if (t.loop)
		ev_loop_destroy(t.loop);
	snprintf(command, sizeof command, "rm -r '%s'", dir);
	return system(command);
}

static struct table_store *open_store(enum table_store_mode mode)
{
	struct err err;
	struct table_store *s = table_store_open(path, mode, 0, &err);

	if (!s)
		fail_msg("%s", err.text);
	return s;
}

/* Keys k0000000 ... with the value text. */
static void build(const char *to, unsigned n, const char *text)
{
	struct err err;
	struct table_build *b = table_build_new(to, &err);
	bool is_good = b != NULL;
	char key[16];

	for (unsigned i = 0; i < n && is_good; i++) {
		snprintf(key, sizeof key, "k%07u", i);
		is_good = table_build_add(b, str_from(key), str_from(text),
		    &err);
	}
	if (!is_good || !table_build_finish(b, &err))
		fail_msg("%s", err.text);
	table_build_free(&b);
}

/* By another process, as an operator's command does it. */
static void set_elsewhere(const char *key, const char *value)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err err;
		struct table_store *s = table_store_open(path,
		    TABLE_STORE_WRITE, 5, &err);
		bool is_good = s && table_store_set(s, str_from(key),
		    str_from(value), &err);
		if (!is_good)
			fprintf(stderr, "%s\n", err.text);
		table_store_close(&s);
		_exit(!is_good);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void assert_get(struct table_store *s, const char *key,
    const char *wanted)
{
	char to[TABLE_VALUE_MAX];
	struct str value;
	struct err err = { "" };
	enum table_verdict v = table_store_get(s, str_from(key), to, &value,
	    &err);

	if (v != (wanted ? TABLE_FOUND : TABLE_MISSING) ||
	    (wanted && !str_eq(value, str_from(wanted))))
		fail_msg("%s: %d, %s", key, (int)v, err.text);
}

/* --- the store ----------------------------------------------------------------- */

static void test_store_sets_and_deletes(void **state)
{
	struct table_store *s = open_store(TABLE_STORE_WRITE);
	struct err err;

	(void)state;
	assert_get(s, "jan", NULL);
	assert_true(table_store_set(s, STR("jan"), STR("pool eu"), &err));
	assert_true(table_store_set(s, STR("jan"), STR("pool us"), &err));
	assert_get(s, "jan", "pool us");
	assert_int_equal(table_store_n(s), 1);
	assert_int_equal(table_store_del(s, STR("jan"), &err), TABLE_FOUND);
	assert_int_equal(table_store_del(s, STR("jan"), &err), TABLE_MISSING);
	assert_get(s, "jan", NULL);
	table_store_close(&s);
}

static void test_store_bears_any_key(void **state)
{
	static const struct str keys[] = { { "", 0 }, { "*)(", 3 },
		{ "'\"%s", 4 }, { "a\r\nb", 4 }, { "a\0b", 3 },
		{ "j\xe4n", 3 } };
	char to[TABLE_VALUE_MAX], longest[600];
	struct str value;
	struct err err;

	(void)state;
	build(path, 10, "eu");
	struct table_store *s = open_store(TABLE_STORE_READ);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_int_equal(table_store_get(s, keys[i], to, &value,
		    &err), TABLE_MISSING);
	memset(longest, 'x', sizeof longest);
	for (size_t n = 250; n < sizeof longest; n++)
		assert_int_equal(table_store_get(s,
		    (struct str){ longest, n }, to, &value, &err),
		    TABLE_MISSING);
	table_store_close(&s);
}

static void test_store_builds_many(void **state)
{
	struct stat st;

	(void)state;
	build(path, 300000, "pool eu");
	struct table_store *s = open_store(TABLE_STORE_READ);
	assert_int_equal(table_store_n(s), 300000);
	assert_get(s, "k0000000", "pool eu");
	assert_get(s, "k0299999", "pool eu");
	assert_get(s, "k0300000", NULL);
	table_store_close(&s);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 300000 * 50);
}

static void test_store_build_wants_order(void **state)
{
	struct err err;
	struct table_build *b = table_build_new(path, &err);

	(void)state;
	assert_true(table_build_add(b, STR("b"), STR("eu"), &err));
	assert_false(table_build_add(b, STR("a"), STR("eu"), &err));
	table_build_free(&b);
	assert_int_equal(rmdir(dir), 0);	/* nothing is left */
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_store_build_keeps_mode(void **state)
{
	char lock[160];
	struct stat st;

	(void)state;
	snprintf(lock, sizeof lock, "%s-lock", path);
	build(path, 1, "eu");
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(chmod(lock, 0660), 0);
	build(path, 2, "eu");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(lock, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
}

/* The reader's map grows with the writer's. */
static void test_store_is_changed_in_use(void **state)
{
	char key[32];
	struct err err;

	(void)state;
	build(path, 10, "eu");
	struct table_store *s = open_store(TABLE_STORE_READ);
	assert_get(s, "jan", NULL);
	set_elsewhere("jan", "pool us");
	assert_get(s, "jan", "pool us");
	pid_t pid = fork();
	if (pid == 0) {
		char value[1001];
		memset(value, 'v', 1000);
		value[1000] = 0;
		struct table_store *w = table_store_open(path,
		    TABLE_STORE_WRITE, 5, &err);
		for (int i = 0; i < 3000; i++) {
			snprintf(key, sizeof key, "n%d", i);
			if (!w || !table_store_set(w, str_from(key),
			    str_from(value), &err))
				_exit(1);
		}
		table_store_close(&w);
		_exit(0);
	}
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0)
		assert_get(s, "jan", "pool us");
	assert_int_equal(status, 0);
	assert_int_equal(table_store_n(s), 3011);
	table_store_close(&s);
}

static void test_store_notices_what_is_bad(void **state)
{
	struct err err;
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 20000; i++)
		fputs("no table", f);
	fclose(f);
	assert_null(table_store_open(path, TABLE_STORE_LOOK, 0, &err));
	assert_null(table_store_open(path, TABLE_STORE_READ, 0, &err));
	assert_non_null(strstr(err.text, path));
	unlink(path);
	assert_null(table_store_open(path, TABLE_STORE_READ, 0, &err));
	assert_non_null(strstr(err.text, "No such file"));
	build(path, 10000, "eu");
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size / 2), 0);
	assert_null(table_store_open(path, TABLE_STORE_LOOK, 0, &err));
	assert_non_null(strstr(err.text, "cut"));
}

/* The data are others, the lock file is still the old one's: a reader of the
 * old data goes on, and who comes new sees it. */
static void test_store_notices_a_foreign_lock(void **state)
{
	char other[160], other_lock[170];
	struct err err;

	(void)state;
	build(path, 10, "old");
	struct table_store *s = open_store(TABLE_STORE_READ);
	set_elsewhere("jan", "old");
	set_elsewhere("jan", "old");
	snprintf(other, sizeof other, "%s.other", path);
	snprintf(other_lock, sizeof other_lock, "%s-lock", other);
	build(other, 10, "new");
	assert_int_equal(rename(other, path), 0);
	unlink(other_lock);
	assert_get(s, "k0000001", "old");
	assert_true(table_store_is_replaced(s));
	pid_t pid = fork();
	if (pid == 0) {
		struct table_store *r = table_store_open(path,
		    TABLE_STORE_READ, 0.2, &err);
		_exit(r || !strstr(err.text, "was replaced"));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	table_store_close(&s);
	s = open_store(TABLE_STORE_READ);
	assert_get(s, "k0000001", "new");
	table_store_close(&s);
}

/* One change ahead: so are data that are just being changed. */
static void test_store_does_not_write_over_a_foreign_change(void **state)
{
	char mine[128], lock[160];
	struct err err;

	(void)state;
	build(path, 10, "old");
	struct table_store *s = open_store(TABLE_STORE_READ);
	memcpy(mine, path, sizeof mine);
	snprintf(path, sizeof path, "%.100s.other", mine);
	build(path, 10, "new");
	set_elsewhere("jan", "new");
	snprintf(lock, sizeof lock, "%s-lock", path);
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(rename(path, mine), 0);
	memcpy(path, mine, sizeof path);
	pid_t pid = fork();
	if (pid == 0) {
		struct table_store *w = table_store_open(path,
		    TABLE_STORE_WRITE, 0, &err);
		_exit(w || !strstr(err.text, "was replaced"));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	table_store_close(&s);
	set_elsewhere("eva", "new");
	s = open_store(TABLE_STORE_READ);
	assert_get(s, "jan", "new");
	table_store_close(&s);
}

/* --- the kind -------------------------------------------------------------------- */

static void configure(const char *more)
{
	char text[1024];
	struct err err;

	if (!t.loop) {
		t.loop = ev_loop_new(0);
		t.tables = tables_new(t.loop, NULL);
	}
	snprintf(text, sizeof text, "backend eu { address = \"mail1:143\" }\n"
	    "backend us { address = \"mail2:143\" }\n"
	    "table homes { type = lmdb  path = \"%s\" %s }\n"
	    "table again { type = lmdb  path = \"%s\" }\n", path, more, path);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	if (!s || !tables_configure(t.tables, s, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static void on_done(void *owner, const struct table_answer *a)
{
	(void)owner;
	t.verdict = a->verdict;
	snprintf(t.value, sizeof t.value, "%.*s", STR_ARG(a->value));
	snprintf(t.why, sizeof t.why, "%s", a->why ? a->why : "");
}

static enum table_verdict ask(const char *table, const char *user)
{
	assert_null(table_lookup(tables_find(t.tables, table), str_from(user),
	    on_done, NULL));
	return t.verdict;
}

static void test_lmdb_answers_at_once(void **state)
{
	(void)state;
	build(path, 100, "eu");
	configure("");
	assert_int_equal(ask("homes", "k0000007"), TABLE_FOUND);
	assert_int_equal(ask("again", "k0000007@example.org"), TABLE_FOUND);
	assert_int_equal(ask("homes", "nobody"), TABLE_MISSING);
	set_elsewhere("@example.net", "us");
	assert_int_equal(ask("homes", "nobody@example.net"), TABLE_FOUND);
	assert_string_equal(t.value, "us");
	configure("cache = 1m");
	assert_int_equal(ask("homes", "k0000007"), TABLE_FOUND);
	assert_int_equal(ask("again", "k0000007"), TABLE_FOUND);
}

static void test_lmdb_follows_renames(void **state)
{
	(void)state;
	build(path, 10, "eu");
	configure("");
	for (int i = 0; i < 4; i++) {
		const char *value = i % 2 ? "eu" : "us";
		build(path, 1000, value);
		double until = ev_time() + 10;
		do {
			assert_true(ev_time() < until);
			ev_run(t.loop, EVRUN_ONCE);
			/* the old one or the new one, never none */
			assert_int_equal(ask("homes", "k0000005"),
			    TABLE_FOUND);
		} while (strcmp(t.value, value) != 0);
		set_elsewhere("jan", value);
		assert_int_equal(ask("again", "jan"), TABLE_FOUND);
	}
}

static void test_lmdb_keeps_the_good_one(void **state)
{
	char other[160];

	(void)state;
	build(path, 10, "eu");
	configure("");
	snprintf(other, sizeof other, "%s.other", path);
	FILE *f = fopen(other, "w");
	fputs("no table", f);
	fclose(f);
	assert_int_equal(rename(other, path), 0);
	for (int i = 0; i < 2; i++) {
		ev_run(t.loop, EVRUN_ONCE);
		assert_int_equal(ask("homes", "k0000005"), TABLE_FOUND);
	}
	assert_int_equal(unlink(path), 0);
	for (int i = 0; i < 2; i++) {
		ev_run(t.loop, EVRUN_ONCE);
		assert_int_equal(ask("homes", "k0000005"), TABLE_FOUND);
	}
}

static void test_lmdb_survives_a_cut(void **state)
{
	(void)state;
	build(path, 100000, "eu");
	configure("");
	assert_int_equal(ask("homes", "k0000005"), TABLE_FOUND);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(ask("homes", "k0000005"), TABLE_FAILED);
	build(path, 10, "us");
	double until = ev_time() + 10;
	while (ask("homes", "k0000005") != TABLE_FOUND) {
		assert_true(ev_time() < until);
		ev_run(t.loop, EVRUN_ONCE);
	}
	assert_string_equal(t.value, "us");
}

/* Who writes then does it with another one. */
static void test_lmdb_survives_its_lock(void **state)
{
	char lock[160];

	(void)state;
	build(path, 10, "eu");
	configure("");
	assert_int_equal(ask("homes", "k0000005"), TABLE_FOUND);
	snprintf(lock, sizeof lock, "%s-lock", path);
	assert_int_equal(unlink(lock), 0);
	for (int i = 0; i < 4; i++)
		set_elsewhere("jan", i % 2 ? "eu" : "us");
	assert_int_equal(ask("homes", "jan"), TABLE_FOUND);
	assert_string_equal(t.value, "eu");
}

static void test_lmdb_comes_when_it_can(void **state)
{
	(void)state;
	configure("");
	assert_int_equal(ask("homes", "k0000005"), TABLE_FAILED);
	assert_non_null(strstr(t.why, "No such file"));
	build(path, 10, "us");
	double until = ev_time() + 10;
	while (ask("homes", "k0000005") != TABLE_FOUND) {
		assert_true(ev_time() < until);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static void test_lmdb_lock_is_given(void **state)
{
	char lock[160];
	struct err err;
	struct stat st;

	(void)state;
	build(path, 10, "us");
	snprintf(lock, sizeof lock, "%s-lock", path);
	unlink(lock);
	assert_true(table_store_give_lock(path, getuid(), getgid(), &err));
	assert_int_equal(stat(lock, &st), 0);
	assert_int_equal(st.st_uid, getuid());
	unlink(lock);
	assert_int_equal(symlink("/dev/null", lock), 0);
	assert_false(table_store_give_lock(path, getuid(), getgid(), &err));
	unlink(lock);
	assert_int_equal(link(path, lock), 0);
	assert_false(table_store_give_lock(path, getuid(), getgid(), &err));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_store_sets_and_deletes),
		TEST(test_store_bears_any_key),
		TEST(test_store_builds_many),
		TEST(test_store_build_wants_order),
		TEST(test_store_build_keeps_mode),
		TEST(test_store_is_changed_in_use),
		TEST(test_store_notices_what_is_bad),
		TEST(test_store_notices_a_foreign_lock),
		TEST(test_store_does_not_write_over_a_foreign_change),
		TEST(test_lmdb_answers_at_once),
		TEST(test_lmdb_follows_renames),
		TEST(test_lmdb_keeps_the_good_one),
		TEST(test_lmdb_survives_a_cut),
		TEST(test_lmdb_survives_its_lock),
		TEST(test_lmdb_comes_when_it_can),
		TEST(test_lmdb_lock_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
