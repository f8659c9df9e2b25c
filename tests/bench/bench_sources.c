/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * bench_sources [NAME SECTION]... - what a decision costs with a table
 *
 * The same question as in bench_decide, in one process, through a route that
 * asks a table of 100,000 users; 64 questions at a time, which matters where
 * the answer comes from elsewhere. Redis is a real one on a Unix socket, with
 * and without the cache. Tables on servers that somebody else has started
 * (sources.py) come as arguments, and are asked less often.
 */
#include <ev.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "backends/table_store.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define USERS 100000
#define QUESTIONS 300000
#define QUESTIONS_FEW 20000	/* to servers that take their time */
#define IN_FLIGHT 64

static char dir[] = "/tmp/bench_sources.XXXXXX";
static pid_t redis;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* In the order of bytes. */
static struct str user_name(char to[40], unsigned i)
{
	int n = snprintf(to, 40, "user%06u@example.org", i % USERS);

	return (struct str){ to, (size_t)n };
}

/* --- the sources ------------------------------------------------------------------ */

static void write_file(void)
{
	char path[64], name[40];

	snprintf(path, sizeof path, "%s/file", dir);
	FILE *f = fopen(path, "we");
	for (unsigned i = 0; f && i < USERS; i++)
		fprintf(f, "%s pool main\n", user_name(name, i).p);
	if (!f || fclose(f) != 0)
		die("%s", path);
	snprintf(path, sizeof path, "%s/regex", dir);
	f = fopen(path, "we");
	if (!f || fputs("^user[0-9]+@example\\.org$: main\n", f) < 0 ||
	    fclose(f) != 0)
		die("%s", path);
}

static void write_lmdb(void)
{
	char path[64], name[40];
	struct err err;

	snprintf(path, sizeof path, "%s/lmdb", dir);
	struct table_build *b = table_build_new(path, &err);
	bool is_good = b != NULL;
	for (unsigned i = 0; i < USERS && is_good; i++)
		is_good = table_build_add(b, user_name(name, i),
		    STR("pool main"), &err);
	if (!is_good || !table_build_finish(b, &err))
		die("%s", err.text);
	table_build_free(&b);
}

static void fill_redis(redisContext *c)
{
	char name[40];
	void *reply;

	for (unsigned i = 0; i < USERS; i++)
		redisAppendCommand(c, "SET %s %s", user_name(name, i).p,
		    "pool main");
	for (unsigned i = 0; i < USERS; i++) {
		if (redisGetReply(c, &reply) != REDIS_OK)
			die("redis: %s", c->errstr);
		freeReplyObject(reply);
	}
}

/* False: it is not installed. */
static bool start_redis(void)
{
	char path[64];

	snprintf(path, sizeof path, "%s/redis", dir);
	fflush(NULL);
	redis = fork();
	if (redis == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (freopen("/dev/null", "w", stdout))
			execlp("redis-server", "redis-server", "--port", "0",
			    "--unixsocket", path, "--dir", dir, "--save", "",
			    (char *)NULL);
		_exit(127);
	}
	while (waitpid(redis, NULL, WNOHANG) == 0) {
		redisContext *c = redisConnectUnix(path);
		if (!c->err)
			fill_redis(c);
		bool is_filled = !c->err;
		redisFree(c);
		if (is_filled)
			return true;
		usleep(10000);
	}
	redis = 0;
	return false;
}

static void end(void)
{
	static const char *const names[] = { "file", "regex", "lmdb",
		"lmdb-lock", "redis" };
	char path[64];

	if (redis > 0) {
		kill(redis, SIGKILL);
		waitpid(redis, NULL, 0);
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* --- the questions ---------------------------------------------------------------- */

static unsigned n_answered, n_granted;

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	n_answered++;
	n_granted += a->verdict == DECIDE_GRANT;
}

static struct settings *configure(struct decide *d, const char *section)
{
	char text[1024];
	struct err err;

	snprintf(text, sizeof text,
	    "backend b1 { address = \"127.0.0.1:1\" }\n"
	    "backend b2 { address = \"127.0.0.1:2\" }\n"
	    "pool main { backends = { b1, b2 } }\n%s\n"
	    "route { %s }\n", section, *section ? "table = t" :
	    "pool = main");
	struct settings *s = settings_from_text(str_from(text), "bench",
	    &conf_schema, NULL, NULL, &err);
	if (!s || !decide_configure(d, s, 0, &err))
		die("%s", err.text);
	decide_go(d);
	return s;
}

static void ask(struct decide *d, unsigned i)
{
	struct decide_question q = { .mechanism = STR("PLAIN"),
		.listener = STR("imaps"), .session = i, .number = i };
	char name[40];

	addr_parse(&q.client, STR("192.0.2.1:4711"));
	q.user = user_name(name, i);
	decide_ask(d, &q);
	if (i >= USERS)
		decide_release(d, 0, i - USERS);
}

static double ask_all(struct ev_loop *loop, struct decide *d,
    unsigned questions)
{
	unsigned n_asked = 0;

	n_answered = n_granted = 0;
	ask(d, n_asked++);		/* until the source is there */
	while (n_answered == 0)
		ev_run(loop, EVRUN_ONCE);
	double began = seconds();
	while (n_answered < questions) {
		for (unsigned i = 0; i < IN_FLIGHT && n_asked < questions &&
		    n_asked - n_answered < IN_FLIGHT; i++)
			ask(d, n_asked++);
		unsigned n_open = n_asked - n_answered;
		ev_run(loop, n_open == IN_FLIGHT ||
		    (n_open > 0 && n_asked == questions) ? EVRUN_ONCE :
		    EVRUN_NOWAIT);
	}
	if (n_granted != questions)
		die("%u were not granted", questions - n_granted);
	return seconds() - began;
}

/* section: the table's, as in proxy.conf; empty: none is asked. */
static void bench(const char *what, const char *section, unsigned questions)
{
	struct ev_loop *loop = ev_loop_new(0);
	const struct settings_addresses none = { 0 };
	struct resolve *resolve = resolve_new(loop, &none, 1000, NULL, NULL,
	    NULL);
	struct farm *farm = farm_new(resolve);
	struct place *place = place_new();
	struct moves *moves = moves_new(loop, place, NULL, &(struct moves_calls){
	    0 }, NULL);
	struct tables *tables = tables_new(loop, NULL);
	struct auth *auth = auth_new(loop);
	struct decide *d = decide_new(&(struct decide_parts){ .loop = loop,
	    .place = place, .farm = farm, .tables = tables, .auth = auth,
	    .moves = moves },
	    &(struct decide_calls){ .answer = on_answer }, NULL);
	struct settings *s = configure(d, section);
	double took = ask_all(loop, d, questions);

	printf("source   %-14s  %9.0f decisions/s  %6.2f us each\n", what,
	    questions / took, took * 1e6 / questions);
	decide_free(&d);
	settings_unref(&s);
	auth_free(&auth);
	tables_free(&tables);
	moves_free(&moves);
	place_free(&place);
	farm_free(&farm);
	resolve_free(&resolve);
	ev_loop_destroy(loop);
}

/* With the directory as %s. */
static void bench_here(const char *what, const char *table)
{
	char section[256];

	snprintf(section, sizeof section, table, dir);
	bench(what, section, QUESTIONS);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	if (!mkdtemp(dir))
		die("%s", dir);
	atexit(end);
	write_file();
	write_lmdb();
	bench("none", "", QUESTIONS);
	bench_here("file", "table t { type = file  path = \"%s/file\" }");
	bench_here("file, regex", "table t { type = file  path = \"%s/regex\"  "
	    "format = regex }");
	bench_here("lmdb", "table t { type = lmdb  path = \"%s/lmdb\" }");
	if (start_redis()) {
		bench_here("redis", "table t { type = redis  "
		    "path = \"%s/redis\"  cache = 0s }");
		bench_here("redis, cached", "table t { type = redis  "
		    "path = \"%s/redis\" }");
	} else {
		puts("source   redis           not installed: redis-server");
	}
	for (int i = 1; i + 1 < argc; i += 2)
		bench(argv[i], argv[i + 1], QUESTIONS_FEW);
	return 0;
}
