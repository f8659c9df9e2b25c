/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * bench_decide - what a decision costs
 *
 *	decide   the stages alone: canonical name, routes, hash, lease
 *	control  a real control process behind a socket, this one being its
 *	         worker: DECIDE -> GRANT, RELEASE, with so many in flight
 *
 * CPU times are of this process and of control.
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
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

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Nobody listens where the backends are said to be: control's probes fail at
 * once and cost next to nothing. */
static void write_settings(struct buf *out, unsigned n_backends)
{
	for (unsigned i = 0; i < n_backends; i++)
		buf_printf(out, "backend m%u { address = \"127.0.0.1:1\" }\n",
		    i);
	buf_puts(out, "pool main { backends = { ");
	for (unsigned i = 0; i < n_backends; i++)
		buf_printf(out, "%sm%u", i ? ", " : "", i);
	buf_puts(out, " } }\nlog { level = error }\n"
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
	struct tables *tables = tables_new(loop);
	struct auth *auth = auth_new(loop);
	struct moves *moves = moves_new(loop, place, &(struct moves_calls){
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
	unsigned n_asked, n_answered;
} t;

static void ask(void)
{
	char name[40];

	if (t.n_asked == QUESTIONS)
		return;
	link_send_decide(t.worker, &(struct msg_decide){
	    .question = t.n_asked, .session = t.n_asked,
	    .user = user_name(name, t.n_asked), .mechanism = STR("PLAIN"),
	    .client_address = STR("192.0.2.1:4711"),
	    .listener = STR("imaps"), .tls = true });
	t.n_asked++;
}

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	(void)owner;
	if (m->type == MSG_SETTINGS) {
		link_send_synced(l, &(struct msg_synced){ 0 });
		ev_break(t.loop, EVBREAK_ALL);
	} else if (m->type == MSG_GRANT) {
		link_send_release(l, &(struct msg_release){
		    .session = m->grant.question });
		ask();
		if (++t.n_answered == QUESTIONS)
			ev_break(t.loop, EVBREAK_ALL);
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

static void bench_control(unsigned n_backends, unsigned in_flight)
{
	int fds[2], peer[2];
	struct buf text;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, peer) < 0)
		die("socketpair");
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(fds[1]);
		exit(control_main(fds[0]));
	}
	close(fds[0]);
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
	ev_run(t.loop, 0);	/* until it has its settings */
	double start = seconds(), mine = cpu_seconds(RUSAGE_SELF),
	    its = cpu_seconds(RUSAGE_CHILDREN);
	for (unsigned i = 0; i < in_flight; i++)
		ask();
	ev_run(t.loop, 0);
	double took = seconds() - start;
	mine = cpu_seconds(RUSAGE_SELF) - mine;
	link_close(&t.worker);
	link_send_stop(t.parent, &(struct msg_stop){ 0 });
	link_close(&t.parent);
	waitpid(pid, NULL, 0);
	its = cpu_seconds(RUSAGE_CHILDREN) - its;
	printf("control  %4u backends, %3u in flight  %8.0f decisions/s  "
	    "CPU us each: worker %5.2f, control %5.2f\n", n_backends,
	    in_flight, QUESTIONS / took, mine * 1e6 / QUESTIONS,
	    its * 1e6 / QUESTIONS);
	buf_fini(&text);
	ev_loop_destroy(t.loop);
}

int main(void)
{
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	for (unsigned n = 10; n <= 1000; n *= 10)
		bench_decide(n);
	for (unsigned n = 1; n <= 256; n *= 4)
		bench_control(10, n);
	return 0;
}
