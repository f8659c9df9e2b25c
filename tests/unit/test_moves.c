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
#include <unistd.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/drain.h"
#include "backends/keep.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

static struct {
	struct ev_loop *loop;
	struct place *place;
	struct keep *keep;
	struct moves *moves;
	struct drains *drains;
	unsigned n_ends, n_cut, n_went_on, n_done, n_drained;
	unsigned most_moving;
	enum moves_outcome outcome;
	char went_on[64], why[200];
	char dir[64];
} t;

static void on_end(void *owner, uint64_t worker, uint64_t session, bool now)
{
	(void)owner;
	(void)worker;
	(void)session;
	t.n_ends++;
	t.n_cut += now;
}

static void on_go_on(void *owner, struct str user)
{
	(void)owner;
	t.n_went_on++;
	snprintf(t.went_on, sizeof t.went_on, "%.*s", STR_ARG(user));
}

static void on_moved(void *owner, struct str user, struct str to)
{
	(void)owner;
	assert_int_equal(t.n_went_on, 0);
	moves_set_pin(t.moves, user, to);
}

static void on_done(void *owner, struct str user, enum moves_outcome outcome,
    const char *why)
{
	(void)owner;
	(void)user;
	t.n_done++;
	t.outcome = outcome;
	snprintf(t.why, sizeof t.why, "%s", why ? why : "");
}

static void on_drained(void *owner, const struct drain_status *s)
{
	(void)owner;
	assert_true(s->is_done);
	t.n_drained++;
}

static void configure(const char *moves)
{
	char text[512];
	struct err err;

	snprintf(text, sizeof text, "backend m1 { address = \"192.0.2.1:1\" }\n"
	    "pool main { backends = { m1 } }\nroute { pool = main }\n"
	    "moves { %s }\n", moves);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	moves_configure(t.moves, s);
	settings_unref(&s);
}

static void begin(void)
{
	static const struct moves_calls calls = { on_end, on_go_on,
		on_moved };

	t.keep = keep_new(t.loop);
	t.moves = moves_new(t.loop, t.place, t.keep, &calls, NULL);
	t.drains = drains_new(t.loop, t.place, t.moves, on_drained, NULL);
	configure("settle = 20ms");
}

static void end(void)
{
	drains_free(&t.drains);
	moves_free(&t.moves);
	keep_free(&t.keep);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(EVFLAG_NOENV);
	t.place = place_new();
	begin();
	snprintf(t.dir, sizeof t.dir, "/tmp/test_moves.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	end();
	place_free(&t.place);
	ev_loop_destroy(t.loop);
	snprintf(command, sizeof command, "rm -r '%s'", t.dir);
	return system(command);
}

static void take(uint64_t session, const char *user, const char *backend)
{
	place_take(t.place, &(struct place_session){ .worker = 1,
	    .session = session, .user = str_from(user),
	    .backend = str_from(backend),
	    .since_ms = (uint64_t)(ev_now(t.loop) * 1000) });
}

static void gone(uint64_t session, const char *user)
{
	assert_true(place_release(t.place, 1, session));
	moves_session_ended(t.moves, str_from(user));
}

static void start(const char *user)
{
	assert_true(moves_start(t.moves, str_from(user), STR("m1"), STR("m2"),
	    on_done, NULL));
}

#define JAN "jan@example.org"

/* --- moves ------------------------------------------------------------------- */

static void test_moves_until_the_last_session_has_ended(void **state)
{
	(void)state;
	take(1, JAN, "m1");
	take(2, JAN, "m1");
	take(3, JAN, "m2");	/* of another backend: not meant */
	take(4, "eva@example.org", "m1");
	start(JAN);
	assert_int_equal(t.n_ends, 2);
	assert_int_equal(t.n_cut, 0);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	assert_int_equal(moves_gate(t.moves, STR("eva@example.org")),
	    MOVES_OPEN);
	assert_false(moves_start(t.moves, STR(JAN), STR("m1"), STR("m2"),
	    on_done, NULL));
	gone(1, JAN);
	ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	double begin = ev_time();
	gone(2, JAN);
	assert_int_equal(t.n_done, 0);		/* it has to settle */
	while (!t.n_done)
		ev_run(t.loop, EVRUN_ONCE);
	assert_true(ev_time() - begin >= 0.015);
	assert_int_equal(t.outcome, MOVES_DONE);
	assert_string_equal(t.went_on, JAN);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_OPEN);
	assert_int_equal(moves_n(t.moves), 0);
}

static void test_moves_nobody_at_once(void **state)
{
	(void)state;
	start(JAN);
	assert_int_equal(t.n_done, 1);
	assert_int_equal(t.outcome, MOVES_DONE);
}

/* A command that takes long is not cut: the user stays. */
static void test_moves_gives_up_when_sessions_are_busy(void **state)
{
	(void)state;
	configure("timeout = 1s");
	take(1, JAN, "m1");
	start(JAN);
	while (!t.n_done)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.outcome, MOVES_STUCK);
	assert_string_equal(t.why, "1 session is busy");
	assert_int_equal(t.n_went_on, 1);
	assert_int_equal(t.n_cut, 0);
	take(2, JAN, "m1");
	start(JAN);
	moves_cut(t.moves, STR("m1"));
	assert_int_equal(t.n_cut, 2);
}

static char *make_hook(const char *script)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/hook", t.dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

static void hook(const char *script)
{
	char text[256];

	snprintf(text, sizeof text, "settle = 0  hook_timeout = 500ms  "
	    "hook = \"%s\"", make_hook(script));
	configure(text);
}

static void test_moves_calls_the_hook(void **state)
{
	char script[128], line[200];

	(void)state;
	snprintf(script, sizeof script, "echo \"$*\" >>%s/called", t.dir);
	hook(script);
	take(1, JAN, "m1");
	start(JAN);
	assert_int_equal(t.n_ends, 0);		/* not before the hook */
	while (!t.n_ends)
		ev_run(t.loop, EVRUN_ONCE);
	gone(1, JAN);
	while (!t.n_done)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.outcome, MOVES_DONE);
	snprintf(script, sizeof script, "%s/called", t.dir);
	FILE *f = fopen(script, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "before " JAN " m1 m2\n");
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "after " JAN " m1 m2\n");
	assert_null(fgets(line, sizeof line, f));
	fclose(f);
}

static void test_moves_stops_when_the_hook_fails(void **state)
{
	static const struct {
		const char *script, *why;
	} rows[] = {
		{ "exit 3", "the hook: exit status 3" },
		{ "kill -9 $$", "the hook: killed by signal 9" },
		{ "sleep 60 & sleep 60", "the hook: it did not end in time" },
	};

	(void)state;
	take(1, JAN, "m1");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		hook(rows[i].script);
		t.n_done = 0;
		start(JAN);
		while (!t.n_done)
			ev_run(t.loop, EVRUN_ONCE);
		assert_int_equal(t.outcome, MOVES_FAILED);
		assert_string_equal(t.why, rows[i].why);
	}
	configure("hook = \"/nonexistent/hook\"");
	t.n_done = 0;
	start(JAN);
	while (!t.n_done)
		ev_run(t.loop, EVRUN_ONCE);
	assert_string_equal(t.why,
	    "the hook: /nonexistent/hook: No such file or directory");
	assert_int_equal(t.n_ends, 0);
	assert_int_equal(place_n(t.place), 1);
}

static void test_moves_is_freed_at_any_time(void **state)
{
	(void)state;
	hook("sleep 60");
	start(JAN);			/* its hook is killed */
	configure("settle = 1m");
	take(1, "eva@example.org", "m1");
	start("eva@example.org");
	take(2, "ann@example.org", "m1");
	start("ann@example.org");
	gone(2, "ann@example.org");
	moves_hold(t.moves, STR("bob@example.org"), false);
	moves_set_pin(t.moves, STR("bob@example.org"), STR("m2"));
}

/* --- holds and pins -------------------------------------------------------------- */

static void note(void *arg, const struct moves_user *u)
{
	char *to = arg;

	snprintf(to + strlen(to), 200 - strlen(to), "%.*s%s%s pin=%.*s;",
	    STR_ARG(u->user), u->is_held ? " held" : "",
	    u->is_refused ? " refused" : "", STR_ARG(u->pin));
}

static void test_moves_holds_a_user(void **state)
{
	char text[200] = "";

	(void)state;
	moves_hold(t.moves, STR(JAN), false);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	moves_hold(t.moves, STR(JAN), true);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_REFUSE);
	assert_int_equal(t.n_went_on, 1);	/* to be refused */
	moves_set_pin(t.moves, STR(JAN), STR("m2"));
	moves_visit(t.moves, note, text);
	assert_string_equal(text, JAN " held refused pin=m2;");
	/* a move's end does not open what is held */
	start(JAN);
	assert_int_equal(t.n_went_on, 1);
	assert_true(moves_release(t.moves, STR(JAN)));
	assert_false(moves_release(t.moves, STR(JAN)));
	assert_int_equal(t.n_went_on, 2);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_OPEN);
	assert_true(str_eq(moves_pin(t.moves, STR(JAN)), STR("m2")));
	moves_set_pin(t.moves, STR(JAN), STR_NONE);
	assert_int_equal(moves_pin(t.moves, STR(JAN)).n, 0);
	text[0] = 0;
	moves_visit(t.moves, note, text);
	assert_string_equal(text, "");
}

/* --- over a restart ------------------------------------------------------------- */

static void open_keep(void)
{
	struct err err;
	char path[128];

	snprintf(path, sizeof path, "%s/state", t.dir);
	if (!keep_open(t.keep, path, &err))
		fail_msg("%s", err.text);
}

/* Control dies, and another one takes up what it finds. */
static void restart(void)
{
	end();
	begin();
	open_keep();
}

static struct str kept_of_jan(void)
{
	return keep_get(t.keep, KEEP_USER, STR(JAN), MOVES_KEY);
}

static void order(void)
{
	struct err err;

	if (!moves_order(t.moves, STR(JAN), STR("m1"), STR("m2"), on_done,
	    NULL, &err))
		fail_msg("%s", err.text);
}

static void run_until(const unsigned *counter, unsigned n)
{
	while (*counter < n)
		ev_run(t.loop, EVRUN_ONCE);
}

static void test_moves_takes_an_order_up_again(void **state)
{
	struct err err;

	(void)state;
	open_keep();
	take(1, JAN, "m1");
	order();
	assert_false(moves_order(t.moves, STR(JAN), STR("m1"), STR("m2"),
	    on_done, NULL, &err));
	assert_string_equal(err.text, "the user is on the way already");
	/* nobody leaves before it is on the disk, nor is let in */
	assert_int_equal(t.n_ends, 0);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	run_until(&t.n_ends, 1);
	restart();
	assert_true(str_eq(kept_of_jan(), STR("m1 m2")));
	assert_true(moves_resume(t.moves, STR(JAN), kept_of_jan()));
	assert_true(moves_resume(t.moves, STR(JAN), kept_of_jan()));
	assert_int_equal(moves_n(t.moves), 1);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	assert_int_equal(t.n_ends, 2);		/* it is told again */
	gone(1, JAN);
	run_until(&t.n_went_on, 1);
	assert_int_equal(t.n_done, 0);		/* who asked has gone */
	assert_true(str_eq(moves_pin(t.moves, STR(JAN)), STR("m2")));
	assert_null(kept_of_jan().p);
	restart();
	assert_null(kept_of_jan().p);
}

/* The last session may have ended when nobody looked. */
static void test_moves_settles_after_a_restart(void **state)
{
	char script[128], line[200];

	(void)state;
	open_keep();
	order();
	restart();
	snprintf(script, sizeof script, "echo \"$*\" >>%s/called", t.dir);
	snprintf(line, sizeof line, "settle = 30ms  hook = \"%s\"",
	    make_hook(script));
	configure(line);
	assert_true(moves_resume(t.moves, STR(JAN), kept_of_jan()));
	double began = ev_time();
	run_until(&t.n_went_on, 1);
	assert_true(ev_time() - began >= 0.025);
	snprintf(script, sizeof script, "%s/called", t.dir);
	FILE *f = fopen(script, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "before " JAN " m1 m2\n");
	assert_non_null(fgets(line, sizeof line, f));
	assert_string_equal(line, "after " JAN " m1 m2\n");
	fclose(f);
}

/* Where the hook has not said that it may be, nobody is sent later, either. */
static void test_moves_pins_nobody_who_stays(void **state)
{
	(void)state;
	hook("exit 1");
	take(1, JAN, "m1");
	order();
	run_until(&t.n_done, 1);
	assert_int_equal(t.outcome, MOVES_FAILED);
	assert_int_equal(moves_pin(t.moves, STR(JAN)).n, 0);
	assert_null(kept_of_jan().p);
}

static void test_moves_resumes_only_orders(void **state)
{
	static const char *const rows[] = { "", "m1", " m2", "m1 " };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_false(moves_resume(t.moves, STR(JAN),
		    str_from(rows[i])));
	assert_int_equal(moves_n(t.moves), 0);
}

static void test_moves_tells_nobody_who_has_left(void **state)
{
	(void)state;
	order();
	moves_leave(t.moves, STR(JAN));
	moves_leave(t.moves, STR("eva@example.org"));
	run_until(&t.n_went_on, 1);
	assert_int_equal(t.n_done, 0);
	assert_null(kept_of_jan().p);
}

/* Whoever has a session somewhere was not sent away. */
static void test_moves_lets_all_settle(void **state)
{
	(void)state;
	take(1, "eva@example.org", "m1");
	moves_settle(t.moves);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_WAIT);
	assert_int_equal(moves_gate(t.moves, STR("eva@example.org")),
	    MOVES_OPEN);
	double began = ev_time();
	run_until(&t.n_went_on, 1);
	assert_string_equal(t.went_on, "");
	assert_true(ev_time() - began >= 0.015);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_OPEN);
}

/* --- drains ------------------------------------------------------------------------ */

#define USERS 30

static const char *user_name(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof name, "u%u@example.org", i);
	return name;
}

/* Two sessions each. */
static void fill(void)
{
	for (unsigned i = 0; i < USERS; i++) {
		take(2 * i, user_name(i), "m1");
		take(2 * i + 1, user_name(i), "m1");
	}
	assert_int_equal(place_n_backend_users(t.place, STR("m1")), USERS);
}

/* Sessions of users on the way end, but for the busy one's. */
static void obey(unsigned busy)
{
	for (unsigned i = 0; i < USERS; i++) {
		if (i == busy || !moves_has(t.moves, str_from(user_name(i))))
			continue;
		for (unsigned k = 0; k < 2; k++)
			if (place_release(t.place, 1, 2 * i + k))
				moves_session_ended(t.moves,
				    str_from(user_name(i)));
	}
}

static void run_drain(unsigned busy)
{
	while (!t.n_drained) {
		if (moves_n(t.moves) > t.most_moving)
			t.most_moving = (unsigned)moves_n(t.moves);
		obey(busy);
		ev_run(t.loop, EVRUN_ONCE);
		if (t.n_cut)
			obey(USERS);
	}
}

static void test_drain_moves_everybody(void **state)
{
	struct drain_status s;

	(void)state;
	fill();
	drain_start(t.drains, STR("m1"), &(struct drain_order){
	    .parallel = 4 });
	run_drain(USERS);
	assert_int_equal(t.most_moving, 4);
	assert_int_equal(place_n(t.place), 0);
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_true(s.is_done);
	assert_int_equal(s.n_moved, USERS);
	assert_int_equal(s.n_users, 0);
	assert_true(drain_stop(t.drains, STR("m1")));
	assert_false(drain_find(t.drains, STR("m1"), &s));
}

/* Of a worker that tells its sessions late. */
static void test_drain_begins_again(void **state)
{
	struct drain_status s;

	(void)state;
	drain_start(t.drains, STR("m1"), &(struct drain_order){ 0 });
	run_drain(USERS);
	fill();
	t.n_drained = 0;
	run_drain(USERS);
	assert_int_equal(place_n(t.place), 0);
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_int_equal(s.n_moved, USERS);
}

static void test_drain_that_was_done_stays_so(void **state)
{
	const struct drain_order order = { .is_done = true };
	struct drain_status s;

	(void)state;
	drain_start(t.drains, STR("m1"), &order);
	ev_run(t.loop, EVRUN_NOWAIT);
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_true(s.is_done);
	assert_int_equal(t.n_drained, 0);
	fill();
	run_drain(USERS);
	assert_int_equal(place_n(t.place), 0);
}

static void test_drain_rate_is_told(void **state)
{
	(void)state;
	fill();
	assert_float_equal(drain_rate(t.drains, STR("m1"),
	    &(struct drain_order){ .over_s = 3600 }), USERS / 3600., 1e-9);
	assert_float_equal(drain_rate(t.drains, STR("m1"),
	    &(struct drain_order){ .over_s = 60, .rate = 7 }), 7, 1e-9);
	assert_float_equal(drain_rate(t.drains, STR("m1"),
	    &(struct drain_order){ 0 }), 0, 1e-9);
}

static void test_drain_keeps_to_the_rate(void **state)
{
	(void)state;
	fill();
	double begin = ev_time();
	drain_start(t.drains, STR("m1"), &(struct drain_order){
	    .over_s = 1, .parallel = 100 });
	run_drain(USERS);
	/* the first steps at once, the last one has to settle */
	assert_true(ev_time() - begin > 0.8);
	assert_true(ev_time() - begin < 5);
	assert_true(t.most_moving < USERS / 2);
}

static void test_drain_cuts_what_is_left_at_the_deadline(void **state)
{
	struct drain_status s;

	(void)state;
	fill();
	drain_start(t.drains, STR("m1"), &(struct drain_order){
	    .parallel = 4, .deadline_s = 0.5 });
	run_drain(7);
	assert_true(t.n_cut > 0);
	assert_int_equal(place_n(t.place), 0);
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_int_equal(s.n_moved, USERS);
	assert_int_equal(s.n_cut, 1);
}

static void test_drain_tells_who_is_stuck(void **state)
{
	struct drain_status s;

	(void)state;
	configure("settle = 0  timeout = 1s");
	take(1, JAN, "m1");
	take(2, "eva@example.org", "m1");
	drain_start(t.drains, STR("m1"), &(struct drain_order){ 0 });
	do {
		ev_run(t.loop, EVRUN_ONCE);
		if (t.n_ends == 2 && place_n(t.place) == 2)
			gone(2, "eva@example.org");
		assert_true(drain_find(t.drains, STR("m1"), &s));
	} while (!s.n_stuck);
	assert_string_equal(s.why, JAN ": 1 session is busy");
	assert_int_equal(s.n_moved, 1);
	assert_int_equal(s.n_users, 1);
	assert_false(s.is_done);
	/* ready again: the user may log in where they are */
	assert_true(drain_stop(t.drains, STR("m1")));
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_OPEN);
}

static void run_until_stuck(unsigned users)
{
	struct drain_status s;

	do {
		ev_run(t.loop, EVRUN_ONCE);
		assert_true(drain_find(t.drains, STR("m1"), &s));
	} while (s.n_stuck < users);
}

/* His other session is back at once; it is not told to leave again until
 * something has come of it. */
static void test_drain_waits_for_busy_sessions(void **state)
{
	(void)state;
	configure("settle = 0  timeout = 1s");
	take(1, JAN, "m1");
	take(2, JAN, "m1");
	drain_start(t.drains, STR("m1"), &(struct drain_order){ 0 });
	while (t.n_ends < 2)
		ev_run(t.loop, EVRUN_ONCE);
	gone(2, JAN);
	run_until_stuck(1);
	take(3, JAN, "m1");
	for (int steps = 0; steps < 3; steps++)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.n_ends, 2);
	assert_int_equal(moves_gate(t.moves, STR(JAN)), MOVES_OPEN);
	gone(1, JAN);
	while (t.n_ends < 3)
		ev_run(t.loop, EVRUN_ONCE);
	gone(3, JAN);
	while (!t.n_drained)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(place_n(t.place), 0);
}

/* Nor when they have left on their own. */
static void test_drain_tells_nobody_who_has_left(void **state)
{
	struct drain_status s;

	(void)state;
	configure("settle = 0  timeout = 1s");
	take(1, JAN, "m1");
	take(2, JAN, "m1");
	take(3, "eva@example.org", "m1");
	drain_start(t.drains, STR("m1"), &(struct drain_order){ 0 });
	run_until_stuck(2);
	gone(3, "eva@example.org");
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_string_equal(s.why, JAN ": 2 sessions are busy");
	gone(1, JAN);
	gone(2, JAN);
	assert_true(drain_find(t.drains, STR("m1"), &s));
	assert_string_equal(s.why, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_moves_until_the_last_session_has_ended),
		TEST(test_moves_nobody_at_once),
		TEST(test_moves_gives_up_when_sessions_are_busy),
		TEST(test_moves_calls_the_hook),
		TEST(test_moves_stops_when_the_hook_fails),
		TEST(test_moves_is_freed_at_any_time),
		TEST(test_moves_holds_a_user),
		TEST(test_moves_takes_an_order_up_again),
		TEST(test_moves_settles_after_a_restart),
		TEST(test_moves_pins_nobody_who_stays),
		TEST(test_moves_resumes_only_orders),
		TEST(test_moves_tells_nobody_who_has_left),
		TEST(test_moves_lets_all_settle),
		TEST(test_drain_moves_everybody),
		TEST(test_drain_begins_again),
		TEST(test_drain_that_was_done_stays_so),
		TEST(test_drain_rate_is_told),
		TEST(test_drain_keeps_to_the_rate),
		TEST(test_drain_cuts_what_is_left_at_the_deadline),
		TEST(test_drain_tells_who_is_stuck),
		TEST(test_drain_waits_for_busy_sessions),
		TEST(test_drain_tells_nobody_who_has_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
