/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/control.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/ipc.h"

/* A real control process; the test is its parent and its workers. What comes
 * over a link is written down as text, a line a message. */
struct side {
	struct link *link;
	char heard[8192];
	bool is_closed;
};

static struct ev_loop *loop;
static struct side parent, workers[2];
static pid_t pid;

/* An IMAP server in the same loop, for control's probes. */
static struct {
	ev_io accept, client;
	unsigned short port;
	const char *capabilities;
} imap;

#define HEAR(s, ...) \
	snprintf((s)->heard + strlen((s)->heard), \
	    sizeof (s)->heard - strlen((s)->heard), __VA_ARGS__)

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	struct side *s = owner;

	(void)l;
	switch (m->type) {
	case MSG_GRANT:
		HEAR(s, "GRANT %u %.*s %.*s %.*s\n",
		    (unsigned)m->grant.question, STR_ARG(m->grant.backend),
		    STR_ARG(m->grant.address), STR_ARG(m->grant.user));
		break;
	case MSG_REFUSE:
		HEAR(s, "REFUSE %u %.*s\n", (unsigned)m->refuse.question,
		    STR_ARG(m->refuse.text));
		break;
	case MSG_FILE:
		HEAR(s, "FILE %.*s=%.*s\n", STR_ARG(m->file.path),
		    STR_ARG(m->file.data));
		break;
	case MSG_SETTINGS:
		HEAR(s, "SETTINGS %u\n", (unsigned)m->settings.generation);
		break;
	case MSG_TICKET_KEY:
		HEAR(s, "TICKET_KEY %zu\n", m->ticket_key.name.n +
		    m->ticket_key.key.n);
		break;
	case MSG_CAPABILITIES:
		HEAR(s, "CAPABILITIES %.*s; %.*s\n",
		    STR_ARG(m->capabilities.words),
		    STR_ARG(m->capabilities.mechanisms));
		break;
	case MSG_READY:
		HEAR(s, "READY %u\n", (unsigned)m->ready.generation);
		break;
	case MSG_FAILED:
		HEAR(s, "FAILED %u %.*s\n", (unsigned)m->failed.generation,
		    STR_ARG(m->failed.text));
		break;
	default:
		HEAR(s, "%s\n", msg_name(m->type));
	}
	ev_break(loop, EVBREAK_ALL);
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	struct side *s = owner;

	(void)l;
	(void)why;
	s->is_closed = true;
	link_close(&s->link);
	ev_break(loop, EVBREAK_ALL);
}

static void on_late(struct ev_loop *l, ev_timer *t, int revents)
{
	(void)t;
	(void)revents;
	ev_break(l, EVBREAK_ALL);
}

/* One turn: until something is heard, or the time is over (false). */
static bool turn(double seconds)
{
	ev_timer late;

	ev_now_update(loop);
	ev_timer_init(&late, on_late, seconds, 0.);
	ev_timer_start(loop, &late);
	ev_run(loop, 0);
	bool in_time = ev_is_active(&late);
	ev_timer_stop(loop, &late);
	return in_time;
}

static void wait_for(struct side *s, const char *text)
{
	while (!strstr(s->heard, text))
		if (!turn(10.))
			fail_msg("waited for \"%s\" in vain, got:\n%s", text,
			    s->heard);
}

static void open_side(struct side *s, int fd, const char *role,
    unsigned index)
{
	*s = (struct side){ 0 };
	s->link = link_open(loop, fd, role, index, on_message, on_closed, s);
}

static void open_worker(unsigned i)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds), 0);
	link_send_peer(parent.link, &(struct msg_peer){ .index = i,
	    .fd = fds[0] });
	close(fds[0]);
	open_side(&workers[i], fds[1], "worker", i);
}

static void send_synced(unsigned i)
{
	link_send_synced(workers[i].link, &(struct msg_synced){ 0 });
}

static void send_settings(unsigned generation, const char *text)
{
	link_send_settings(parent.link, &(struct msg_settings){
	    .generation = generation, .text = str_from(text) });
}

static void ask(unsigned worker, unsigned question, unsigned session,
    const char *user)
{
	link_send_decide(workers[worker].link, &(struct msg_decide){
	    .question = question, .session = session,
	    .user = str_from(user), .mechanism = STR("PLAIN"),
	    .client_address = STR("192.0.2.9:4711"),
	    .listener = STR("imaps") });
}

/* --- the IMAP server ------------------------------------------------------ */

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
	    strlen(text));
}

static void on_command(struct ev_loop *l, ev_io *io, int revents)
{
	char text[512], tag[32], word[32], reply[600];
	ssize_t n = recv(io->fd, text, sizeof text - 1, 0);
	char *rest = text;

	(void)revents;
	text[n > 0 ? n : 0] = 0;
	while (n > 0 && sscanf(rest, "%31s %31s", tag, word) == 2) {
		snprintf(reply, sizeof reply, "* %s %s\r\n%s OK\r\n",
		    strcmp(word, "LOGOUT") == 0 ? "BYE" : word,
		    imap.capabilities, tag);
		say(io->fd, reply);
		rest = strchr(rest, '\n');
		rest = rest ? rest + 1 : text + n;
	}
	if (n <= 0) {
		ev_io_stop(l, io);
		close(io->fd);
	}
}

static void on_connect(struct ev_loop *l, ev_io *io, int revents)
{
	int fd = accept(io->fd, NULL, NULL);

	(void)revents;
	if (ev_is_active(&imap.client)) {
		ev_io_stop(l, &imap.client);
		close(imap.client.fd);
	}
	ev_io_init(&imap.client, on_command, fd, EV_READ);
	ev_io_start(l, &imap.client);
	say(fd, "* OK hello\r\n");
}

static void start_imap(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(fd, 5), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	imap.port = ntohs(sin.sin_port);
	imap.capabilities = "IMAP4rev1 ID IDLE STARTTLS AUTH=PLAIN "
	    "AUTH=SCRAM-SHA-256";
	ev_io_init(&imap.accept, on_connect, fd, EV_READ);
	ev_io_start(loop, &imap.accept);
	ev_init(&imap.client, on_command);
}

static void stop_imap(void)
{
	if (ev_is_active(&imap.client)) {
		ev_io_stop(loop, &imap.client);
		close(imap.client.fd);
	}
	ev_io_stop(loop, &imap.accept);
	close(imap.accept.fd);
}

/* A configuration with one backend, which is that server. */
static const char *settings_text(const char *more)
{
	static char text[1024];

	snprintf(text, sizeof text,
	    "backend m1 { address = \"127.0.0.1:%u\" }\n"
	    "pool main { backends = { m1 }  health { type = none } }\n"
	    "route { user = \"refused\"  refuse = \"Go away.\" }\n"
	    "route { pool = main }\n"
	    "log { level = error }\n%s", imap.port, more);
	return text;
}

/* --- setup ------------------------------------------------------------------ */

static int setup(void **state)
{
	int fds[2];

	(void)state;
	loop = ev_loop_new(0);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	start_imap();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fds[1]);
		close(imap.accept.fd);
		exit(control_main(fds[0]));
	}
	close(fds[0]);
	open_side(&parent, fds[1], "parent", 0);
	memset(workers, 0, sizeof workers);
	return 0;
}

/* Control has to end by itself when all is over. */
static void assert_ends(void)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	pid = 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++)
		link_close(&workers[i].link);
	if (parent.link)
		link_send_stop(parent.link, &(struct msg_stop){ 0 });
	link_close(&parent.link);
	if (pid)
		assert_ends();
	stop_imap();
	ev_loop_destroy(loop);
	return 0;
}

/* --- tests ------------------------------------------------------------------- */

static void test_control_takes_and_hands_on_settings(void **state)
{
	(void)state;
	open_worker(0);
	link_send_file(parent.link, &(struct msg_file){
	    .path = STR("pw"), .data = STR("secret") });
	link_send_file(parent.link, &(struct msg_file){
	    .path = STR("authorities"), .data = STR("known") });
	send_settings(1, settings_text("backend other { address = "
	    "\"127.0.0.1:1\"  ca = authorities }\n"
	    "auth { mechanisms = { EXTERNAL } "
	    "backend_login = master  master_user = root "
	    "master_password_file = pw }\n"));
	wait_for(&parent, "READY 1\n");
	wait_for(&workers[0], "SETTINGS 1\n");
	/* but no password */
	assert_non_null(strstr(workers[0].heard,
	    "HELLO\nTICKET_KEY 80\nFILE authorities=known\nSETTINGS 1\n"));
	/* a worker that comes later gets all of it as well */
	open_worker(1);
	wait_for(&workers[1], "SETTINGS 1\n");
	assert_non_null(strstr(workers[1].heard,
	    "HELLO\nTICKET_KEY 80\nFILE authorities=known\nSETTINGS 1\n"));
}

static void test_control_keeps_the_old_settings(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	wait_for(&parent, "READY 1\n");
	send_settings(2, "pool main { backends = { m9 } }\n");
	wait_for(&parent, "FAILED 2 ");
	send_synced(0);
	ask(0, 1, 1, "jan");
	wait_for(&workers[0], "GRANT 1 m1 127.0.0.1:");
	assert_null(strstr(workers[0].heard, "SETTINGS 2"));
	send_settings(3, settings_text("limits { sessions_per_address = 1 }"));
	wait_for(&workers[0], "SETTINGS 3\n");
	ask(0, 2, 2, "jan");
	wait_for(&workers[0], "REFUSE 2 NO [LIMIT] ");
}

/* The first one could not be put in force, say for a module that is missing;
 * the operator mends that and orders a reload. */
static void test_control_gets_over_bad_first_settings(void **state)
{
	char folder[] = "/tmp/mailweir-control.XXXXXX", more[200], path[64];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/orders", folder);
	snprintf(more, sizeof more, "admin { state_file = \"%s\" }\n"
	    "table t { type = http  url = \"http://127.0.0.1/%%s\" }\n", path);
	send_settings(1, settings_text(more));
	wait_for(&parent, " 1");	/* READY where it is installed */
	*strstr(more, "table") = 0;
	send_settings(2, settings_text(more));
	wait_for(&parent, "READY 2\n");
	remove(path);
	assert_int_equal(rmdir(folder), 0);
}

static void test_control_answers(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	send_synced(0);
	ask(0, 7, 1, "Jan");
	ask(0, 8, 2, "refused");
	wait_for(&workers[0], "REFUSE 8 NO Go away.\n");
	assert_non_null(strstr(workers[0].heard, "GRANT 7 m1 127.0.0.1:"));
	assert_non_null(strstr(workers[0].heard, " Jan\n"));
}

/* Control is new, and the workers have sessions: one that has not told them
 * yet makes the question of another wait. */
static void test_control_waits_for_all_workers(void **state)
{
	(void)state;
	open_worker(0);
	open_worker(1);
	send_settings(1, settings_text("limits { sessions_per_address = 1 }"));
	send_synced(0);
	ask(0, 1, 1, "jan");
	wait_for(&parent, "READY 1\n");
	wait_for(&workers[0], "SETTINGS 1\n");
	assert_null(strstr(workers[0].heard, "REFUSE"));
	assert_null(strstr(workers[0].heard, "GRANT"));
	link_send_session(workers[1].link, &(struct msg_session){
	    .session = 5, .user = STR("eva"), .backend = STR("m1"),
	    .client_address = STR("192.0.2.9:99") });
	send_synced(1);
	wait_for(&workers[0], "REFUSE 1 NO [LIMIT] ");
	/* RELEASE makes room; so does the end of a worker */
	link_send_release(workers[1].link, &(struct msg_release){
	    .session = 5 });
	link_send_session(workers[1].link, &(struct msg_session){
	    .session = 6, .user = STR("eva"), .backend = STR("m1"),
	    .client_address = STR("192.0.2.9:99") });
	ask(1, 2, 7, "jan");
	wait_for(&workers[1], "REFUSE 2 NO [LIMIT] ");
	link_close(&workers[1].link);
	open_worker(1);
	wait_for(&workers[1], "SETTINGS 1\n");
	ask(0, 3, 1, "jan");
	wait_for(&workers[0], "GRANT 3 m1 ");
}

/* A worker that it will hear of in a moment counts already. */
static void test_control_waits_for_workers_to_come(void **state)
{
	(void)state;
	link_send_admin(parent.link, &(struct msg_admin){ .peers = 2,
	    .fd = -1 });
	open_worker(0);
	send_settings(1, settings_text("limits { sessions_per_address = 1 }"));
	send_synced(0);
	ask(0, 1, 1, "jan");
	wait_for(&parent, "READY 1\n");
	wait_for(&workers[0], "SETTINGS 1\n");
	assert_null(strstr(workers[0].heard, "GRANT"));
	open_worker(1);
	link_send_session(workers[1].link, &(struct msg_session){
	    .session = 5, .user = STR("eva"), .backend = STR("m1"),
	    .client_address = STR("192.0.2.9:99") });
	send_synced(1);
	wait_for(&workers[0], "REFUSE 1 NO [LIMIT] ");
}

static void test_control_waits_only_so_long(void **state)
{
	(void)state;
	open_worker(0);
	open_worker(1);
	send_settings(1, settings_text(""));
	send_synced(0);
	ask(0, 1, 1, "jan");
	wait_for(&workers[0], "GRANT 1 m1 ");
}

static void test_control_tells_what_backends_can(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	wait_for(&workers[0], "CAPABILITIES ");
	assert_non_null(strstr(workers[0].heard, "CAPABILITIES SASL-IR "
	    "LITERAL- ID IDLE; PLAIN SCRAM-SHA-256\n"));
	link_send_backend_capabilities(workers[0].link,
	    &(struct msg_backend_capabilities){ .backend = STR("m1"),
	    .words = STR("IMAP4rev1 ID AUTH=PLAIN") });
	wait_for(&workers[0], "CAPABILITIES SASL-IR LITERAL- ID; PLAIN\n");
	/* and a new worker learns the same */
	open_worker(1);
	wait_for(&workers[1], "CAPABILITIES SASL-IR LITERAL- ID; PLAIN\n");
}

static void test_control_ends_behind_its_workers(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	send_synced(0);
	wait_for(&workers[0], "SETTINGS 1\n");
	link_send_stop(parent.link, &(struct msg_stop){ .grace_ms = 60000 });
	ask(0, 1, 1, "jan");
	wait_for(&workers[0], "GRANT 1 m1 ");
	link_close(&workers[0].link);
	while (!parent.is_closed)
		assert_true(turn(10.));
	assert_ends();
}

static void test_control_ends_in_its_grace(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	wait_for(&workers[0], "SETTINGS 1\n");
	link_send_stop(parent.link, &(struct msg_stop){ .grace_ms = 60000 });
	link_send_stop(parent.link, &(struct msg_stop){ .grace_ms = 10 });
	while (!parent.is_closed || !workers[0].is_closed)
		assert_true(turn(10.));
	assert_ends();
}

static void test_control_outlives_a_killed_parent(void **state)
{
	(void)state;
	open_worker(0);
	send_settings(1, settings_text(""));
	send_synced(0);
	wait_for(&workers[0], "SETTINGS 1\n");
	link_close(&parent.link);
	ask(0, 1, 1, "jan");
	wait_for(&workers[0], "GRANT 1 m1 ");
	link_close(&workers[0].link);
	assert_ends();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_control_takes_and_hands_on_settings),
		TEST(test_control_keeps_the_old_settings),
		TEST(test_control_gets_over_bad_first_settings),
		TEST(test_control_answers),
		TEST(test_control_waits_for_all_workers),
		TEST(test_control_waits_for_workers_to_come),
		TEST(test_control_waits_only_so_long),
		TEST(test_control_tells_what_backends_can),
		TEST(test_control_ends_behind_its_workers),
		TEST(test_control_ends_in_its_grace),
		TEST(test_control_outlives_a_killed_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
