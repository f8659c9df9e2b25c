/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/keep.h"
#include "backends/keep_file.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

static struct ev_loop *loop;
static char folder[64], path[96];

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/mw-keep-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/state", folder);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	loop = ev_loop_new(0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	ev_loop_destroy(loop);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

/* --- a table -------------------------------------------------------------- */

static const char *said;

static void on_done(void *owner, const char *why)
{
	static char copy[256];

	assert_ptr_equal(owner, &said);
	snprintf(copy, sizeof copy, "%s", why ? why : "written");
	said = copy;
	ev_break(loop, EVBREAK_ONE);
}

/* What is told when all so far is on the disk. */
static const char *wait_for(struct keep *k)
{
	said = NULL;
	keep_wait(k, on_done, &said);
	assert_null(said);	/* never before it returns */
	while (!said)
		ev_run(loop, 0);
	return said;
}

static void set(struct keep *k, const char *kind, struct str name,
    const char *key, const char *value)
{
	struct err err;

	if (!keep_set(k, kind, name, key, str_from(value), &err))
		fail_msg("%s", err.text);
}

static void add_line(void *arg, struct str name, const char *key,
    struct str value)
{
	char *text = arg;

	snprintf(text + strlen(text), 512 - strlen(text), "%.*s %s=%.*s; ",
	    STR_ARG(name), key, STR_ARG(value));
}

static const char *all(const struct keep *k, const char *kind)
{
	static char text[512];

	text[0] = '\0';
	keep_visit(k, kind, add_line, text);
	return text;
}

static struct keep *reopen(void)
{
	struct keep *k = keep_new(loop);
	struct err err;

	if (!keep_open(k, path, &err))
		fail_msg("%s", err.text);
	return k;
}

static void test_keep_in_memory(void **state)
{
	struct keep *k = keep_new(loop);
	struct err err;
	char longest[KEEP_TEXT_MAX + 1];

	(void)state;
	assert_null(keep_get(k, KEEP_BACKEND, STR("m1"), "state").p);
	set(k, KEEP_BACKEND, STR("m1"), "state", "drain");
	set(k, KEEP_USER, STR("m1"), "state", "");
	set(k, KEEP_BACKEND, STR("m1"), "weight", "50");
	set(k, KEEP_BACKEND, STR("m2"), "weight", "7");
	set(k, KEEP_BACKEND, STR("m1"), "state", "ready");
	assert_string_equal(keep_get(k, KEEP_BACKEND, STR("m1"), "state").p,
	    "ready");
	assert_non_null(keep_get(k, KEEP_USER, STR("m1"), "state").p);
	assert_string_equal(all(k, KEEP_BACKEND),
	    "m1 state=ready; m1 weight=50; m2 weight=7; ");
	keep_drop(k, KEEP_BACKEND, STR("m1"), "state");
	keep_drop(k, KEEP_BACKEND, STR("m1"), "none");
	assert_string_equal(all(k, KEEP_BACKEND), "m1 weight=50; m2 weight=7; ");
	keep_drop(k, KEEP_BACKEND, STR("m1"), NULL);
	assert_string_equal(all(k, KEEP_BACKEND), "m2 weight=7; ");
	assert_string_equal(all(k, KEEP_USER), "m1 state=; ");
	memset(longest, 'x', sizeof longest);
	assert_false(keep_set(k, KEEP_USER, (struct str){ longest,
	    sizeof longest }, "hold", STR(""), &err));
	assert_false(keep_set(k, KEEP_USER, STR("jan"), "hold", (struct str){
	    longest, sizeof longest }, &err));
	assert_true(keep_set(k, KEEP_USER, (struct str){ longest,
	    KEEP_TEXT_MAX }, "hold", STR(""), &err));
	assert_non_null(strstr(wait_for(k), "no state_file"));
	keep_free(&k);
	assert_null(k);
}

static void test_keep_over_a_restart(void **state)
{
	struct str odd = STR("j\xc3\xb6 \"x\" \\ \n\t\x7f\xff end 1");
	struct keep *k = reopen();

	(void)state;
	set(k, KEEP_BACKEND, STR("m 1"), "state", "drain");
	set(k, KEEP_USER, odd, "hold", "since \"now\"\n");
	set(k, "thing-2", STR(""), "of-later", "");
	assert_string_equal(wait_for(k), "written");
	struct keep *other = reopen();
	assert_string_equal(all(other, KEEP_BACKEND), "m 1 state=drain; ");
	assert_string_equal(keep_get(other, KEEP_USER, odd, "hold").p,
	    "since \"now\"\n");
	assert_non_null(keep_get(other, "thing-2", STR(""), "of-later").p);
	keep_free(&other);
	/* what was not waited for is there as well; so is what was dropped */
	keep_drop(k, KEEP_USER, odd, NULL);
	set(k, KEEP_BACKEND, STR("m2"), "state", "maintenance");
	keep_free(&k);
	k = reopen();
	assert_string_equal(all(k, KEEP_BACKEND),
	    "m 1 state=drain; m2 state=maintenance; ");
	assert_string_equal(all(k, KEEP_USER), "");
	/* no change, no write */
	struct stat before, after;
	assert_int_equal(stat(path, &before), 0);
	set(k, KEEP_BACKEND, STR("m2"), "state", "maintenance");
	assert_string_equal(wait_for(k), "written");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_mode & 0777, 0600);
	keep_free(&k);
}

static void test_keep_waits(void **state)
{
	struct keep *k = reopen();

	(void)state;
	set(k, KEEP_BACKEND, STR("m1"), "state", "drain");
	struct keep_wait *w = keep_wait(k, on_done, NULL);
	keep_cancel(&w);
	assert_null(w);
	keep_cancel(&w);
	/* changes while a write is under way are in the next one */
	for (int i = 0; i < 50; i++) {
		char text[16];
		snprintf(text, sizeof text, "%d", i);
		set(k, KEEP_BACKEND, STR("m1"), "weight", text);
		ev_run(loop, EVRUN_NOWAIT);
	}
	assert_string_equal(wait_for(k), "written");
	struct keep *other = reopen();
	assert_string_equal(all(other, KEEP_BACKEND),
	    "m1 state=drain; m1 weight=49; ");
	keep_free(&other);
	keep_free(&k);
}

static void test_keep_write_that_fails(void **state)
{
	struct keep *k = reopen();
	char away[96];

	(void)state;
	snprintf(away, sizeof away, "%s.away", folder);
	set(k, KEEP_BACKEND, STR("m1"), "state", "drain");
	assert_string_equal(wait_for(k), "written");
	assert_int_equal(rename(folder, away), 0);
	set(k, KEEP_BACKEND, STR("m2"), "state", "drain");
	assert_non_null(strstr(wait_for(k), "No such file"));
	assert_int_equal(rename(away, folder), 0);
	/* tried again for who asks */
	assert_string_equal(wait_for(k), "written");
	keep_free(&k);
	k = reopen();
	assert_string_equal(all(k, KEEP_BACKEND),
	    "m1 state=drain; m2 state=drain; ");
	keep_free(&k);
}

static void test_keep_has_an_end(void **state)
{
	struct keep *k = keep_new(loop);
	struct err err;
	char name[16];

	(void)state;
	for (int i = 0; i < KEEP_RECORDS_MAX; i++) {
		snprintf(name, sizeof name, "u%d", i);
		set(k, KEEP_USER, str_from(name), "hold", "");
	}
	assert_false(keep_set(k, KEEP_USER, STR("one"), "hold", STR(""),
	    &err));
	assert_true(keep_set(k, KEEP_USER, STR("u7"), "hold", STR("x"), &err));
	keep_free(&k);
}

/* --- files that are no good ------------------------------------------------------ */

static void write_text(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static unsigned count_aside(void)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	for (const struct dirent *e; (e = readdir(d)); )
		n += strncmp(e->d_name, "state.bad-", 10) == 0;
	closedir(d);
	return n;
}

#define HEAD "mailweir-state 1\n"
#define GOOD "backend \"m1\" state \"drain\"\n"

static void test_keep_bad_files(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
		{ "", ":1: expected \"mailweir-state 1\"" },
		{ "mailweir-state 2\nend 0\n", ":1: expected" },
		{ HEAD, ":2: the file was cut; expected a last line \"end 0\"" },
		{ HEAD GOOD, ":3: the file was cut" },
		{ HEAD GOOD "end 1", ":4: the file was cut" },
		{ HEAD GOOD "end 2\n", ":3: expected \"end 1\"" },
		{ HEAD GOOD "end 1\n\n", ":4: expected nothing" },
		{ HEAD "backend m1 state \"x\"\nend 1\n", ":2: expected a kind" },
		{ HEAD "backend \"m1\" state \"x\nend 1\n", ":2: expected" },
		{ HEAD "backend \"m1\" state \"x\" y\nend 1\n", ":2:" },
		{ HEAD "backend \"m1\"state \"x\"\nend 1\n", ":2:" },
		{ HEAD "backend \"m1\" state \"\\x00\"\nend 1\n", ":2:" },
		{ HEAD "backend \"m1\" state \"\\n\"\nend 1\n", ":2:" },
		{ HEAD "BACKEND \"m1\" state \"x\"\nend 1\n", ":2:" },
		{ HEAD "\nend 0\n", ":2:" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct keep *k = keep_new(loop);
		struct err err = { "" };

		write_text(bad[i].text);
		assert_false(keep_open(k, path, &err));
		if (!strstr(err.text, bad[i].said) ||
		    !strstr(err.text, "renamed to"))
			fail_msg("%zu: %s", i, err.text);
		assert_string_equal(all(k, KEEP_BACKEND), "");
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(count_aside() > 0, 1);
		set(k, KEEP_BACKEND, STR("m1"), "state", "ready");
		assert_string_equal(wait_for(k), "written");
		keep_free(&k);
		k = reopen();
		assert_string_equal(all(k, KEEP_BACKEND), "m1 state=ready; ");
		keep_free(&k);
	}
}

/* Nothing is written where something unknown stands. */
static void test_keep_unreadable(void **state)
{
	struct keep *k = keep_new(loop);
	struct err err;

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(keep_open(k, path, &err));
	assert_non_null(strstr(err.text, "is no file"));
	set(k, KEEP_BACKEND, STR("m1"), "state", "drain");
	assert_non_null(strstr(wait_for(k), "no state_file"));
	keep_free(&k);
	assert_int_equal(rmdir(path), 0);
}

/* --- killed while it writes ------------------------------------------------------- */

/* Two texts of several pages, so that a mixture would show. */
static struct str text_of(char c)
{
	static char old[40000], fresh[50000];
	size_t n = c == 'o' ? sizeof old : sizeof fresh;

	memset(old, 'o', sizeof old);
	memset(fresh, 'f', sizeof fresh);
	return (struct str){ c == 'o' ? old : fresh, n };
}

static bool file_is(char c)
{
	static char got[60000];
	FILE *f = fopen(path, "r");
	struct str wanted = text_of(c);

	assert_non_null(f);
	size_t n = fread(got, 1, sizeof got, f);
	fclose(f);
	return str_eq((struct str){ got, n }, wanted);
}

static _Noreturn void write_traced(void)
{
	struct err err;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(77);
	raise(SIGSTOP);
	_exit(keep_file_write(path, text_of('f'), &err) ? 0 : 1);
}

/* Kills a writer at its n-th stop, before and behind each of its system
 * calls; the exit status of one that came to its end, or -1. */
static int kill_writer(unsigned n)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		write_traced();
	assert_true(pid > 0);
	for (unsigned i = 0; waitpid(pid, &status, 0) == pid; i++) {
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return -1;
		if (i == n)
			kill(pid, SIGKILL);
		else
			ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
	}
	return 1;
}

static void test_keep_killed_at_any_point(void **state)
{
	unsigned n, n_old = 0, n_fresh = 0;
	struct err err;
	int status = -1;

	(void)state;
	for (n = 1; status < 0; n++) {
		assert_true(keep_file_write(path, text_of('o'), &err));
		status = kill_writer(n);
		if (status == 77)
			skip();
		if (file_is('o'))
			n_old++;
		else if (file_is('f'))
			n_fresh++;
		else
			fail_msg("a mixture after %u stops", n);
	}
	assert_int_equal(status, 0);
	/* open, write, fsync, close, rename, and the folder */
	assert_true(n_old >= 8 && n_fresh >= 4);
}

/* --- folders ------------------------------------------------------------------------- */

static void test_keep_gives_a_folder(void **state)
{
	char inner[96], file[128];
	struct err err;
	struct stat st;
	uid_t me = geteuid();

	(void)state;
	snprintf(inner, sizeof inner, "%s/new", folder);
	snprintf(file, sizeof file, "%s/state", inner);
	uid_t uid = me == 0 ? 65534 : me;
	assert_true(keep_give(file, uid, getegid(), &err));
	assert_int_equal(stat(inner, &st), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_true(keep_give(file, uid, getegid(), &err));
	/* one of somebody else's is not given away */
	assert_false(keep_give(file, uid + 1, getegid(), &err));
	assert_non_null(strstr(err.text, "belongs to account"));
	assert_int_equal(stat(inner, &st), 0);
	assert_int_equal(st.st_uid, uid);
	snprintf(file, sizeof file, "%s/no/such/state", folder);
	assert_false(keep_give(file, uid, getegid(), &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_keep_in_memory),
		TEST(test_keep_over_a_restart),
		TEST(test_keep_waits),
		TEST(test_keep_write_that_fails),
		TEST(test_keep_has_an_end),
		TEST(test_keep_bad_files),
		TEST(test_keep_unreadable),
		TEST(test_keep_killed_at_any_point),
		TEST(test_keep_gives_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
