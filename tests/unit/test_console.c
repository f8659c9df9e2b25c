/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/control.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/ipc.h"

/*
 * A real control process with a worker that has many sessions; the test is its
 * parent, that worker, and the operator.
 */
#define SESSIONS 30000u
#define USERS    10000u

static struct ev_loop *loop;
static struct link *parent, *worker;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_len;
static pid_t pid;
static unsigned n_ends, n_grants, n_ready, n_reloads;

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	(void)owner;
	n_ends += m->type == MSG_END;
	n_grants += m->type == MSG_GRANT;
	n_ready += m->type == MSG_READY;
	n_reloads += m->type == MSG_RELOAD;
	if (m->type == MSG_RELOAD)
		link_send_reloaded(l, &(struct msg_reloaded){
		    .number = m->reload.number, .generation = 7,
		    .text = m->reload.number % 2 ? STR_NONE :
			STR("proxy.conf:3: wrong") });
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	fail_msg("a link has closed: %s", why->text);
	(void)owner;
	(void)l;
}

/* Ours has no other way to wait: what comes and goes on the links runs while
 * a client waits for bytes, and only a little at a time. */
static void turn(void)
{
	ev_run(loop, EVRUN_NOWAIT);
}

static void wait_until(const unsigned *counter, unsigned wanted)
{
	while (*counter < wanted)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(*counter, wanted);
}

static void tell_sessions(void)
{
	char user[32];

	for (unsigned i = 0; i < SESSIONS; i++) {
		snprintf(user, sizeof user, "user%u@example.org", i % USERS);
		link_send_session(worker, &(struct msg_session){
		    .session = i + 1, .user = str_from(user),
		    .backend = i % USERS % 4 ? STR("m1") : STR("m2"),
		    .client_address = STR("192.0.2.9:99"),
		    .since_ms = 1000000 });
	}
	link_send_synced(worker, &(struct msg_synced){ SESSIONS });
}

static int listen_here(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* an abstract name, chosen by the kernel */
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    listen(fd, 8) < 0)
		return -1;
	address_len = sizeof address;
	getsockname(fd, (struct sockaddr *)&address, &address_len);
	return fd;
}

static struct link *open_link(int fd, const char *role)
{
	return link_open(loop, fd, role, 0, on_message, on_closed, NULL);
}

/* --- a client ----------------------------------------------------------------- */

static int come(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address,
	    address_len), 0);
	return fd;
}

static void say(int fd, const char *line)
{
	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL),
	    strlen(line));
}

/* Appends the answer, and returns its last line, which is static. */
static const char *hear(int fd, struct buf *out)
{
	static char last[512];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char piece[4096];

		turn();
		if (poll(&p, 1, 1) == 0)
			continue;
		ssize_t n = recv(fd, piece, sizeof piece, 0);
		assert_true(n > 0);
		buf_append(out, piece, (size_t)n);
		/* no other line begins so */
		struct str s = buf_view(out);
		const char *end = s.p[s.n - 1] != '\n' ? NULL : s.n < 3 ? NULL :
		    memrchr(s.p, '\n', s.n - 1);
		const char *line = end ? end + 1 : s.p;
		if (s.p[s.n - 1] != '\n' || *line != '=')
			continue;
		snprintf(last, sizeof last, "%.*s",
		    (int)(s.p + s.n - 1 - line), line);
		out->len = (uint32_t)(line - s.p);
		return last;
	}
}

static json_t *ask(int fd, const char *line)
{
	struct buf b;
	json_error_t error;

	buf_init(&b, 0);
	say(fd, line);
	assert_string_equal(hear(fd, &b), "= ok");
	json_t *v = json_loadb(buf_view(&b).p, b.len, 0, &error);
	if (!v)
		fail_msg("%s: %s", line, error.text);
	buf_fini(&b);
	return v;
}

/* --- setup ---------------------------------------------------------------------- */

static void wait_for_sessions(int fd, json_int_t wanted)
{
	for (bool is_there = false; !is_there; ) {
		json_t *v = ask(fd, "status --json\n");
		is_there = json_integer_value(json_object_get(v,
		    "sessions")) == wanted &&
		    json_is_true(json_object_get(v, "serving"));
		json_decref(v);
	}
}

static int setup(void **state)
{
	int fds[2], peer[2], console = listen_here();

	(void)state;
	loop = ev_loop_new(0);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	if (console < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, peer) < 0)
		return -1;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fds[1]);
		close(peer[0]);
		close(peer[1]);
		close(console);
		exit(control_main(fds[0]));
	}
	close(fds[0]);
	parent = open_link(fds[1], "parent");
	link_send_admin(parent, &(struct msg_admin){ .started_s = 1000,
	    .fd = console });
	close(console);
	link_send_settings(parent, &(struct msg_settings){ .generation = 1,
	    .text = STR("backend m1 { address = \"127.0.0.1:1\" }\n"
	    "backend m2 { address = \"127.0.0.1:1\" }\n"
	    "pool main { backends = { m1, m2 }  health { type = none } }\n"
	    "route { pool = main }\nlog { level = error }\n") });
	link_send_peer(parent, &(struct msg_peer){ .fd = peer[0] });
	close(peer[0]);
	worker = open_link(peer[1], "worker");
	tell_sessions();
	n_ready = n_ends = 0;
	wait_until(&n_ready, 1);
	console = come();
	wait_for_sessions(console, SESSIONS);
	close(console);
	return 0;
}

static int teardown(void **state)
{
	int status;

	(void)state;
	link_close(&worker);
	link_send_stop(parent, &(struct msg_stop){ 0 });
	link_close(&parent);
	ev_loop_destroy(loop);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* --- tests ---------------------------------------------------------------------- */

static void test_console_shows_many(void **state)
{
	int fd = come();

	(void)state;
	json_t *v = ask(fd, "sessions --json\n");
	assert_int_equal(json_array_size(v), SESSIONS);
	const json_t *last = json_array_get(v, SESSIONS - 1);
	assert_string_equal(json_string_value(json_object_get(last,
	    "session")), "0000000000007530");
	assert_string_equal(json_string_value(json_object_get(last, "since")),
	    "1970-01-01T00:16:40Z");
	json_decref(v);
	v = ask(fd, "sessions --json --backend m2\n");
	assert_int_equal(json_array_size(v), SESSIONS / 4);
	json_decref(v);
	v = ask(fd, "sessions --json --limit 777\n");
	assert_int_equal(json_array_size(v), 777);
	json_decref(v);
	v = ask(fd, "who --json\n");
	assert_int_equal(json_array_size(v), USERS);
	json_decref(v);
	v = ask(fd, "who --json user99*\n");
	assert_int_equal(json_array_size(v), 111);
	json_decref(v);
	v = ask(fd, "backends --json\n");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(v,
	    1), "users")), USERS / 4);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(v,
	    0), "sessions")), SESSIONS / 4 * 3);
	json_decref(v);
	close(fd);
}

/* A walk goes no further than its reader, and holds up nobody; sessions come
 * and go under it; readers leave in the middle. */
static void test_console_walks_with_its_reader(void **state)
{
	int slow = come(), gone = come(), fd = come();
	struct buf b;

	(void)state;
	say(slow, "sessions --json\n");
	say(gone, "sessions\n");
	n_grants = 0;
	for (unsigned i = 0; i < 100; i++)
		link_send_decide(worker, &(struct msg_decide){ .question = i,
		    .session = SESSIONS + 1 + i, .user = STR("new"),
		    .mechanism = STR("PLAIN"),
		    .client_address = STR("192.0.2.9:1") });
	for (unsigned i = 0; i < 100; i++)
		link_send_release(worker, &(struct msg_release){
		    .session = SESSIONS + 1 + i });
	wait_until(&n_grants, 100);
	/* more turns than a walk over all would take */
	for (unsigned i = 0; i < 400; i++)
		wait_for_sessions(fd, SESSIONS);
	for (unsigned i = SESSIONS - 2000; i < SESSIONS; i++)
		link_send_release(worker, &(struct msg_release){
		    .session = i + 1 });
	close(gone);
	wait_for_sessions(fd, SESSIONS - 2000);
	/* it has not run ahead of its reader: those are not in it */
	buf_init(&b, 0);
	assert_string_equal(hear(slow, &b), "= ok");
	json_t *v = json_loadb(buf_view(&b).p, b.len, 0, NULL);
	assert_int_equal(json_array_size(v), SESSIONS - 2000);
	json_decref(v);
	buf_fini(&b);
	close(slow);
	close(fd);
}

static void test_console_kicks_many(void **state)
{
	int fd = come();

	(void)state;
	json_t *v = ask(fd, "kick --backend m2 --json\n");
	assert_int_equal(json_integer_value(json_object_get(v, "ended")),
	    SESSIONS / 4);
	json_decref(v);
	wait_until(&n_ends, SESSIONS / 4);
	v = ask(fd, "kick --json user1@EXAMPLE.org\n");
	assert_int_equal(json_integer_value(json_object_get(v, "ended")), 3);
	json_decref(v);
	v = ask(fd, "kick --json --session 0000000000000007\n");
	assert_int_equal(json_integer_value(json_object_get(v, "ended")), 1);
	json_decref(v);
	wait_until(&n_ends, SESSIONS / 4 + 4);
	close(fd);
}

/* Each reload has its own answer, in order, however many ask. */
static void test_console_reloads_in_turn(void **state)
{
	int fds[5];
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	n_reloads = 0;
	for (unsigned i = 0; i < 5; i++) {
		fds[i] = come();
		say(fds[i], "reload\n");
	}
	close(fds[2]);
	unsigned n_good = 0;
	for (unsigned i = 0; i < 5; i++) {
		if (i == 2)
			continue;
		const char *last = hear(fds[i], &b);
		n_good += strcmp(last, "= ok") == 0;
		if (strcmp(last, "= ok") != 0 &&
		    strcmp(last, "= error: proxy.conf:3: wrong") != 0)
			fail_msg("%s", last);
		close(fds[i]);
	}
	/* which number each of them had is not for us to know */
	assert_in_range(n_good, 1, 3);
	assert_in_range(n_reloads, 4, 5);
	buf_fini(&b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_console_shows_many),
		TEST(test_console_walks_with_its_reader),
		TEST(test_console_kicks_many),
		TEST(test_console_reloads_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
