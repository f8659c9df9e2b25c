/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * bench_table - an LMDB table of ten million users
 *
 *	bench_table [USERS]	10,000,000; with QUICK=1 a tenth of it
 *
 * Builds it by mailweir table build, from lines in no order; looks random
 * users up as a route does, alone and while another process changes it; and
 * shows what this process takes for itself before and after, which must not
 * depend on USERS. Page cache is not counted: it is the system's to give and
 * take. Needs some 100 bytes of TMPDIR for each user.
 */
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin/conf.h"
#include "admin/table_cli.h"
#include "backends/conf.h"
#include "backends/table.h"
#include "backends/table_store.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define LOOKUPS 1000000
#define PRIME 2654435761u	/* i * PRIME % users visits them in no order */

static unsigned n_users;
static char dir[256], text_path[300], path[300];

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this process alone: no pages of files. */
static unsigned private_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	unsigned kib = 0;

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %u", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static struct str user_name(char to[40], unsigned i)
{
	return (struct str){ to, (size_t)snprintf(to, 40,
	    "user%08u@example.org", i) };
}

static unsigned scattered(uint64_t i)
{
	return (unsigned)(i * PRIME % n_users);
}

/* --- build ----------------------------------------------------------------------- */

static void write_text(void)
{
	FILE *f = fopen(text_path, "we");
	char name[40];

	if (!f)
		die("%s", text_path);
	for (unsigned i = 0; i < n_users; i++)
		fprintf(f, "%s pool eu\n", user_name(name, scattered(i)).p);
	if (fclose(f) != 0)
		die("%s", text_path);
}

static void build(void)
{
	struct stat st;
	int status;
	double began = seconds();

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		char word0[] = "table", word1[] = "build";
		char *argv[] = { word0, word1, path, text_path, NULL };
		_exit(table_cli(4, argv));
	}
	if (waitpid(pid, &status, 0) != pid || status != 0 ||
	    stat(path, &st) < 0)
		die("no table");
	printf("table  build    %8u users  %6.1f s  %6.1f MB\n", n_users,
	    seconds() - began, (double)st.st_size / 1e6);
}

/* --- look-ups -------------------------------------------------------------------- */

static unsigned n_found;

static void on_found(void *owner, const struct table_answer *a)
{
	(void)owner;
	n_found += a->verdict == TABLE_FOUND;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void look_up(struct table *table, const char *what)
{
	float *us = mem_alloc(LOOKUPS * sizeof *us);
	char name[40];

	n_found = 0;
	for (unsigned i = 0; i < LOOKUPS; i++) {
		struct str user = user_name(name,
		    (unsigned)((uint64_t)random() % n_users));
		double began = seconds();
		table_lookup(table, user, on_found, NULL);
		us[i] = (float)((seconds() - began) * 1e6);
	}
	if (n_found != LOOKUPS)
		die("%u users were not found", LOOKUPS - n_found);
	qsort(us, LOOKUPS, sizeof *us, compare);
	printf("table  look-up  %-14s  p50 %5.1f us  p99 %5.1f us  "
	    "p99.9 %6.1f us  max %7.1f us\n", what, us[LOOKUPS / 2],
	    us[LOOKUPS / 100 * 99], us[LOOKUPS / 1000 * 999],
	    us[LOOKUPS - 1]);
	free(us);
}

/* Until it is killed; one byte on fd for each change. */
_Noreturn static void change(int fd)
{
	struct err err;
	struct table_store *s = table_store_open(path, TABLE_STORE_WRITE, 10,
	    &err);
	char name[40];

	for (unsigned i = 0; s; i++) {
		struct str value = i % 2 ? STR("pool eu") : STR("backend b1");
		if (!table_store_set(s, user_name(name, scattered(i)), value,
		    &err) || write(fd, "", 1) != 1)
			break;
	}
	_exit(1);
}

static void look_up_while_changed(struct table *table)
{
	int fds[2];
	char byte;
	unsigned n = 0;

	fflush(NULL);
	if (pipe(fds) < 0)
		die("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		close(fds[0]);
		change(fds[1]);
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1)
		die("nothing is changed");
	double began = seconds();
	look_up(table, "while changed");
	double took = seconds() - began;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(fds[0], &byte, 1) == 1)
		n++;
	close(fds[0]);
	printf("table  changes  %.0f a second meanwhile\n", n / took);
}

static void remove_all(void)
{
	char lock[310];

	snprintf(lock, sizeof lock, "%s-lock", path);
	unlink(text_path);
	unlink(path);
	unlink(lock);
	rmdir(dir);
}

static void use(void)
{
	struct ev_loop *loop = ev_loop_new(0);
	char text[512];
	struct err err;

	snprintf(text, sizeof text, "backend b1 { address = \"mail1:143\" }\n"
	    "pool eu { backends = { b1 } }\n"
	    "table homes { type = lmdb  path = \"%s\" }\n", path);
	struct settings *s = settings_from_text(str_from(text), "bench",
	    &conf_schema, NULL, NULL, &err);
	struct tables *tables = tables_new(loop, NULL);
	unsigned before = private_kib();
	if (!s || !tables_configure(tables, s, &err))
		die("%s", err.text);
	struct table *table = tables_find(tables, "homes");
	look_up(table, "first time");
	look_up(table, "again");
	look_up_while_changed(table);
	printf("table  memory   %u KiB of its own before, %u KiB after\n",
	    before, private_kib());
	tables_free(&tables);
	settings_unref(&s);
	ev_loop_destroy(loop);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR"), *quick = getenv("QUICK");

	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	n_users = quick && atoi(quick) ? 1000000 : 10000000;
	if (argc > 1)
		n_users = (unsigned)strtoul(argv[1], NULL, 10);
	if (n_users == 0 || n_users > 100000000)
		die("usage: bench_table [USERS]");
	snprintf(dir, sizeof dir, "%.200s/bench_table.XXXXXX",
	    tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		die("%s", dir);
	snprintf(text_path, sizeof text_path, "%s/homes.txt", dir);
	snprintf(path, sizeof path, "%s/homes.lmdb", dir);
	atexit(remove_all);
	write_text();
	build();
	use();
	return 0;
}
