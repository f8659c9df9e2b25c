/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * bench_decide - what a decision costs
 *
 *	decide   the stages alone: canonical name, routes, hash, lease
 *	control  a real control process behind a socket, this one being its
 *	         worker: DECIDE -> GRANT, with so many in flight; RELEASE goes
 *	         with the next question, as a worker's does
 *	paced    the same, 1,000 questions a second: how long an answer takes
 *
 * CPU times are of this process and of control. With the argument "json" it
 * prints one line for run.py: what the targets speak of.
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin/conf.h"
#include "admin/control.h"
#include "backends/auth.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/ipc.h"

#define USERS 100000
#define QUESTIONS 300000
#define PACE 1000		/* questions a second */
#define PACED_S 4

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Nobody listens where the backends are said to be, so nothing looks after
 * their health. */
static void write_settings(struct buf *out, unsigned n_backends)
{
	for (unsigned i = 0; i < n_backends; i++)
		buf_printf(out, "backend m%u { address = \"127.0.0.1:1\" }\n",
		    i);
	buf_puts(out, "pool main { backends = { ");
	for (unsigned i = 0; i < n_backends; i++)
		buf_printf(out, "%sm%u", i ? ", " : "", i);
	buf_puts(out, " }  health { type = none } }\nlog { level = error }\n"
	    "route { user = \"*@example.net\"  refuse = \"No.\" }\n"
	    "route { network = { \"10.0.0.0/8\" }  refuse = \"No.\" }\n"
	    "route { domain = \"example.org\"  pool = main }\n");
}

static struct str user_name(char to[40], unsigned i)
{
	int n = snprintf(to, 40, "user%u@example.org", i % USERS);

	return (struct str){ to, (size_t)n };
}

/* --- decide ----------------------------------------------------------------- */

static unsigned n_granted;

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	n_granted += a->verdict == DECIDE_GRANT;
}

static void bench_decide(unsigned n_backends)
{
	struct ev_loop *loop = ev_loop_new(0);
	const struct settings_addresses none = { 0 };
	struct resolve *resolve = resolve_new(loop, &none, 1000, NULL, NULL,
	    NULL);
	struct farm *farm = farm_new(resolve);
	struct place *place = place_new();
	struct tables *tables = tables_new(loop, NULL);
	struct auth *auth = auth_new(loop);
	struct moves *moves = moves_new(loop, place, NULL, &(struct moves_calls){
	    0 }, NULL);
	struct decide *d = decide_new(&(struct decide_parts){ .loop = loop,
	    .place = place, .farm = farm, .tables = tables, .auth = auth,
	    .moves = moves },
	    &(struct decide_calls){ .answer = on_answer }, NULL);
	struct decide_question q = { .mechanism = STR("PLAIN"),
		.listener = STR("imaps") };
	struct buf text;
	struct err err;
	char name[40];

	buf_init(&text, 0);
	write_settings(&text, n_backends);
	struct settings *s = settings_from_text(buf_view(&text), "bench",
	    &conf_schema, NULL, NULL, &err);
	if (!s || !decide_configure(d, s, 0, &err))
		die("%s", err.text);
	decide_go(d);
	addr_parse(&q.client, STR("192.0.2.1:4711"));
	n_granted = 0;
	double start = seconds();
	for (unsigned i = 0; i < QUESTIONS; i++) {
		q.session = q.number = i;
		q.user = user_name(name, i);
		decide_ask(d, &q);
		if (i >= USERS)
			decide_release(d, 0, i - USERS);
	}
	double took = seconds() - start;
	printf("decide   %4u backends  %9.0f decisions/s  %6.2f us each "
	    "(%u granted)\n", n_backends, QUESTIONS / took,
	    took * 1e6 / QUESTIONS, n_granted);
	settings_unref(&s);
	buf_fini(&text);
	decide_free(&d);
	moves_free(&moves);
	auth_free(&auth);
	tables_free(&tables);
	place_free(&place);
	farm_free(&farm);
	resolve_free(&resolve);
	ev_loop_destroy(loop);
}

/* --- control ------------------------------------------------------------------- */

static struct {
	struct ev_loop *loop;
	struct link *parent, *worker;
	pid_t pid;
	clockid_t clock;	/* control's CPU time */
	unsigned n_asked, n_answered, n_questions;
	bool is_paced;		/* else the next question follows an answer */
	double start;
	double asked_at[QUESTIONS], took[QUESTIONS];
} t;

struct figures {
	double per_second, own_us, control_us, p50_us, p99_us;
};

static void ask(void)
{
	char name[40];

	if (t.n_asked == t.n_questions)
		return;
	t.asked_at[t.n_asked] = seconds();
	link_send_decide(t.worker, &(struct msg_decide){
	    .question = t.n_asked, .session = t.n_asked,
	    .user = user_name(name, t.n_asked), .mechanism = STR("PLAIN"),
	    .client_address = STR("192.0.2.1:4711"),
	    .listener = STR("imaps"), .tls = true });
	t.n_asked++;
}

static void on_grant(const struct msg_grant *g)
{
	t.took[t.n_answered] = seconds() - t.asked_at[g->question];
	link_send_later(t.worker, &(struct msg){ .type = MSG_RELEASE,
	    .release = { .session = g->question } });
	if (!t.is_paced)
		ask();
	if (++t.n_answered == t.n_questions)
		ev_break(t.loop, EVBREAK_ALL);
}

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	(void)owner;
	if (m->type == MSG_SETTINGS) {
		link_send_synced(l, &(struct msg_synced){ 0 });
		ev_break(t.loop, EVBREAK_ALL);
	} else if (m->type == MSG_GRANT) {
		on_grant(&m->grant);
	} else if (m->type == MSG_FAILED || m->type == MSG_REFUSE ||
	    m->type == MSG_WAIT) {
		die("not granted: %s", msg_name(m->type));
	}
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	(void)owner;
	(void)l;
	die("control is gone: %s", why->text);
}

/* Until control has its settings. */
static void control_start(unsigned n_backends)
{
	int fds[2], peer[2];
	struct buf text;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, peer) < 0)
		die("socketpair");
	fflush(NULL);
	t.pid = fork();
	if (t.pid == 0) {
		close(fds[1]);
		exit(control_main(fds[0]));
	}
	close(fds[0]);
	if (clock_getcpuclockid(t.pid, &t.clock) != 0)
		die("no clock of another process");
	t.loop = ev_loop_new(0);
	t.n_asked = t.n_answered = 0;
	buf_init(&text, 0);
	write_settings(&text, n_backends);
	t.parent = link_open(t.loop, fds[1], "parent", 0, on_message,
	    on_closed, NULL);
	link_send_settings(t.parent, &(struct msg_settings){
	    .generation = 1, .text = buf_view(&text) });
	link_send_peer(t.parent, &(struct msg_peer){ .fd = peer[0] });
	close(peer[0]);
	t.worker = link_open(t.loop, peer[1], "worker", 0, on_message,
	    on_closed, NULL);
	ev_run(t.loop, 0);
	buf_fini(&text);
}

static void control_stop(void)
{
	link_close(&t.worker);
	link_send_stop(t.parent, &(struct msg_stop){ 0 });
	link_close(&t.parent);
	waitpid(t.pid, NULL, 0);
	ev_loop_destroy(t.loop);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Runs the loop until all is answered. */
static struct figures measure(void)
{
	double own = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID),
	    its = cpu_seconds(t.clock), n = t.n_questions;

	ev_run(t.loop, 0);
	qsort(t.took, t.n_questions, sizeof *t.took, by_size);
	return (struct figures){
		.per_second = n / (seconds() - t.start),
		.own_us = (cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - own) *
		    1e6 / n,
		.control_us = (cpu_seconds(t.clock) - its) * 1e6 / n,
		.p50_us = t.took[t.n_questions / 2] * 1e6,
		.p99_us = t.took[t.n_questions / 100 * 99] * 1e6,
	};
}

static struct figures bench_control(unsigned n_backends, unsigned in_flight)
{
	control_start(n_backends);
	t.n_questions = QUESTIONS;
	t.is_paced = false;
	t.start = seconds();
	for (unsigned i = 0; i < in_flight; i++)
		ask();
	struct figures f = measure();
	control_stop();
	return f;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
	while (t.n_asked < t.n_questions &&
	    t.n_asked < (seconds() - t.start) * PACE)
		ask();
}

static struct figures bench_paced(unsigned n_backends)
{
	ev_timer tick;

	control_start(n_backends);
	t.n_questions = PACE * PACED_S;
	t.is_paced = true;
	t.start = seconds();
	ev_timer_init(&tick, on_tick, 0., 1. / PACE);
	ev_timer_start(t.loop, &tick);
	struct figures f = measure();
	ev_timer_stop(t.loop, &tick);
	control_stop();
	return f;
}

int main(int argc, char **argv)
{
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	if (argc > 1 && strcmp(argv[1], "json") == 0) {
		struct figures most = bench_control(10, 64),
		    paced = bench_paced(10);
		printf("{\"ops_s\": %.0f, \"cpu_us_op\": %.2f, "
		    "\"p50_us\": %.0f, \"p99_us\": %.0f}\n",
		    most.per_second, paced.control_us, paced.p50_us,
		    paced.p99_us);
		return 0;
	}
	for (unsigned n = 10; n <= 1000; n *= 10)
		bench_decide(n);
	for (unsigned n = 1; n <= 256; n *= 4) {
		struct figures f = bench_control(10, n);
		printf("control  %3u in flight  %8.0f decisions/s  CPU us "
		    "each: worker %5.2f, control %5.2f\n", n, f.per_second,
		    f.own_us, f.control_us);
	}
	struct figures f = bench_paced(10);
	printf("paced    %u a second  p50 %.0f us, p99 %.0f us  CPU us each: "
	    "worker %5.2f, control %5.2f\n", PACE, f.p50_us, f.p99_us,
	    f.own_us, f.control_us);
	return 0;
}
