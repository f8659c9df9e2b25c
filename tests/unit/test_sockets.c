/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/sockets.h"

#include <errno.h>
#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/conf.h"
#include "proxy/base/addr.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/ipc.h"

#define TAIL \
	"backend b { address = \"127.0.0.1:143\" }\n" \
	"pool p { backends = { b } }\n" \
	"route { pool = p }\n"
#define LISTENER(name) \
	"listener " name " { address = \"%s\" tls = none " \
	"plaintext_login = yes }\n"

/* Loopback with a port that nobody uses on any address. */
static struct addr free_address(void)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	struct addr a;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has_ipv6 = fd >= 0;

	if (!has_ipv6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(addr_parse(&a, has_ipv6 ? STR("[::]:0") :
	    STR("0.0.0.0:0")));
	assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	close(fd);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&ss, len));
	unsigned port = addr_port(&a);
	assert_true(addr_parse(&a, STR("127.0.0.1:0")));
	addr_set_port(&a, port);
	return a;
}

static bool can_connect(const struct addr *a)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool can = connect(fd, &a->sa, addr_len(a)) == 0;

	close(fd);
	return can;
}

/* Whatever file a default names. */
static bool give_file(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	(void)path;
	*data_out = STR("x");
	return true;
}

__attribute__((format(printf, 1, 2)))
static struct settings *settings_of(const char *fmt, ...)
{
	struct err err = { "" };
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	struct settings *s = settings_from_text(str_from(text), "proxy.conf",
	    &conf_schema, give_file, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static bool bind_to(struct sockets *s, struct settings *settings,
    struct err *err)
{
	bool is_good = sockets_bind(s, settings, err);

	settings_unref(&settings);
	return is_good;
}

/* --- what a worker is sent ------------------------------------------------ */

struct got {
	unsigned n;
	char names[8][16], addresses[8][ADDR_TEXT_MAX];
	ino_t inodes[8];
	bool is_end;
};

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	struct got *g = owner;
	struct stat st;

	(void)l;
	if (m->type == MSG_LISTENERS_END)
		g->is_end = true;
	if (m->type != MSG_LISTENER)
		return;
	assert_true(g->n < 8);
	snprintf(g->names[g->n], 16, "%.*s", STR_ARG(m->listener.name));
	snprintf(g->addresses[g->n], ADDR_TEXT_MAX, "%.*s",
	    STR_ARG(m->listener.address));
	assert_int_equal(fstat(m->listener.fd, &st), 0);
	g->inodes[g->n++] = st.st_ino;
	close(m->listener.fd);
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	(void)owner;
	(void)l;
	fail_msg("%s", why->text);
}

static struct got sent_to(const struct sockets *s, unsigned index)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct got g = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds), 0);
	struct link *a = link_open(loop, fds[0], "parent", 0, on_message,
	    on_closed, &g);
	struct link *b = link_open(loop, fds[1], "worker", 0, on_message,
	    on_closed, &g);
	sockets_send(s, index, a);
	link_send_listeners_end(a, &(struct msg_listeners_end){ 0 });
	while (!g.is_end)
		ev_run(loop, EVRUN_ONCE);
	link_close(&a);
	link_close(&b);
	ev_loop_destroy(loop);
	return g;
}

static ino_t inode_of(const struct got *g, const char *name)
{
	for (unsigned i = 0; i < g->n; i++)
		if (strcmp(g->names[i], name) == 0)
			return g->inodes[i];
	return 0;
}

/* --- tests ------------------------------------------------------------------ */

static void test_sockets_bind_one_for_each_worker(void **state)
{
	struct addr a = free_address();
	char text[ADDR_TEXT_MAX];
	struct sockets *s = sockets_new(2);
	struct err err = { "" };

	(void)state;
	addr_text(&a, text);
	assert_true(bind_to(s, settings_of(LISTENER("one") TAIL, text), &err));
	struct got first = sent_to(s, 0), second = sent_to(s, 1);
	assert_int_equal(first.n, 1);
	assert_string_equal(first.addresses[0], text);
	assert_true(first.inodes[0] != second.inodes[0]);
	assert_true(can_connect(&a));
	sockets_free(&s);
	assert_false(can_connect(&a));
}

static void test_sockets_any_address_takes_both_families(void **state)
{
	struct addr a = free_address(), six;
	struct sockets *s = sockets_new(1);
	struct err err = { "" };
	char text[ADDR_TEXT_MAX];

	(void)state;
	snprintf(text, sizeof text, "*:%u", addr_port(&a));
	if (!bind_to(s, settings_of(LISTENER("one") TAIL, text), &err))
		fail_msg("%s", err.text);
	assert_true(can_connect(&a));
	assert_true(addr_parse_ip(&six, STR("::1")));
	addr_set_port(&six, addr_port(&a));
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		close(fd);
		assert_true(can_connect(&six));
	}
	sockets_free(&s);
}

static void test_sockets_rebind_keeps_what_stays(void **state)
{
	struct addr a = free_address(), b = free_address(), c = free_address();
	char ta[ADDR_TEXT_MAX], tb[ADDR_TEXT_MAX], tc[ADDR_TEXT_MAX];
	struct sockets *s = sockets_new(1);
	struct err err = { "" };

	(void)state;
	addr_text(&a, ta);
	addr_text(&b, tb);
	addr_text(&c, tc);
	assert_true(bind_to(s, settings_of(LISTENER("one") LISTENER("two")
	    TAIL, ta, tb), &err));
	struct got before = sent_to(s, 0);
	/* "one" gets another name, "two" another address. */
	assert_true(bind_to(s, settings_of(LISTENER("two") LISTENER("uno")
	    TAIL, tc, ta), &err));
	struct got after = sent_to(s, 0);
	assert_int_equal(after.n, 2);
	assert_true(inode_of(&after, "uno") == inode_of(&before, "one"));
	assert_true(inode_of(&after, "two") != inode_of(&before, "two"));
	assert_true(can_connect(&a));
	assert_false(can_connect(&b));
	assert_true(can_connect(&c));
	sockets_free(&s);
}

static void test_sockets_refuse_what_another_has(void **state)
{
	struct addr a = free_address(), b = free_address();
	char ta[ADDR_TEXT_MAX], tb[ADDR_TEXT_MAX];
	struct sockets *s = sockets_new(2), *other = sockets_new(2);
	struct err err = { "" };

	(void)state;
	addr_text(&a, ta);
	addr_text(&b, tb);
	assert_true(bind_to(other, settings_of(LISTENER("one") TAIL, ta),
	    &err));
	assert_true(bind_to(s, settings_of(LISTENER("two") TAIL, tb), &err));
	assert_false(bind_to(s, settings_of(LISTENER("one") TAIL, ta), &err));
	assert_non_null(strstr(err.text, "proxy.conf:1: listener one: "));
	assert_non_null(strstr(err.text, strerror(EADDRINUSE)));
	/* All is as before. */
	assert_int_equal(sent_to(s, 0).n, 1);
	assert_true(can_connect(&b));
	sockets_free(&s);
	sockets_free(&other);
}

/* In a process of its own: descriptor 3 is what systemd would have given. */
static int run_given(const char *name, const struct addr *given,
    const char *wanted)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sockaddr_storage ss;
		struct err err = { "" };
		char text[16];
		int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		memcpy(&ss, given, sizeof *given);
		if (bind(fd, (struct sockaddr *)&ss, addr_len(given)) < 0 ||
		    listen(fd, 5) < 0)
			_exit(2);
		dup2(fd, 3);
		struct stat st;
		fstat(3, &st);
		snprintf(text, sizeof text, "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "1", 1);
		setenv("LISTEN_FDNAMES", name, 1);
		struct sockets *s = sockets_new(2);
		if (getenv("LISTEN_FDS") || !bind_to(s, settings_of(
		    LISTENER("one") TAIL, wanted), &err))
			_exit(3);
		struct got g0 = sent_to(s, 0), g1 = sent_to(s, 1);
		_exit(g0.n == 1 && g1.n == 1 && g0.inodes[0] == st.st_ino &&
		    g1.inodes[0] == st.st_ino ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_sockets_take_what_systemd_gave(void **state)
{
	struct addr a = free_address(), b = free_address();
	char ta[ADDR_TEXT_MAX], tb[ADDR_TEXT_MAX];

	(void)state;
	addr_text(&a, ta);
	addr_text(&b, tb);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	assert_int_equal(run_given("weir.socket", &a, ta), 0);
	assert_int_equal(run_given("one", &a, tb), 0);
	assert_int_equal(run_given("other", &a, tb), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets_bind_one_for_each_worker),
		cmocka_unit_test(
		    test_sockets_any_address_takes_both_families),
		cmocka_unit_test(test_sockets_rebind_keeps_what_stays),
		cmocka_unit_test(test_sockets_refuse_what_another_has),
		cmocka_unit_test(test_sockets_take_what_systemd_gave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
