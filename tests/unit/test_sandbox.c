/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/sandbox.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/err.h"

static struct err why;

#define check(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "line %d: %s: errno %d\n", __LINE__, \
			    #cond, errno); \
			_exit(1); \
		} \
	} while (0)

/* Runs the checks in a process of their own. */
static int run_inside(void (*checks)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (!sandbox_enter(&why))
			_exit(77);
		checks();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();		/* this kernel has no seccomp */
	return status;
}

static void forbidden(void)
{
	char *const argv[] = { NULL };

	check(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	check(socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EPERM);
	check(execve("/bin/true", argv, argv) < 0 && errno == EPERM);
	check(unlink("/nowhere") < 0 && errno == EPERM);
	check(mkdir("/nowhere/x", 0700) < 0 && errno == EPERM);
	check(setuid(1) < 0 && errno == EPERM);
	check(listen(0, 1) < 0 && errno == EPERM);
	if (SANDBOX_IS_SANITIZED)
		return;
	check(open("/etc/passwd", O_RDONLY) < 0 && errno == EPERM);
	check(openat(AT_FDCWD, "/", O_PATH) < 0 && errno == EPERM);
	check(fork() < 0 && errno == EPERM);
	check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 && errno == EPERM);
	check(kill(getppid(), 0) < 0 && errno == EPERM);
	check(mmap(NULL, 4096, PROT_READ | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)w;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void allowed(void)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	struct stat st;
	struct rlimit r;
	int fds[2], on = 1;

	for (int family = AF_INET; ; family = AF_INET6) {
		int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK |
		    SOCK_CLOEXEC, 0);

		check(fd >= 0 || errno == EAFNOSUPPORT);
		if (fd >= 0) {
			check(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on,
			    sizeof on) == 0);
			check(getsockname(fd, (struct sockaddr *)&ss,
			    &len) == 0);
			check(close(fd) == 0);
		}
		if (family == AF_INET6)
			break;
	}
	check(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	check(fstat(fds[0], &st) == 0);
	check(getrlimit(RLIMIT_NOFILE, &r) == 0);
	char *p = malloc(64 << 20);
	check(p);
	p[0] = 1;
	p = realloc(p, 128 << 20);
	check(p);
	free(p);

	struct ev_loop *loop = ev_loop_new(0);
	ev_timer t;
	check(loop);
	ev_timer_init(&t, on_timer, 0.001, 0.);
	ev_timer_start(loop, &t);
	ev_run(loop, 0);
	ev_loop_destroy(loop);
}

static void test_sandbox_forbids(void **state)
{
	(void)state;
	assert_int_equal(run_inside(forbidden), 0);
}

static void test_sandbox_allows_what_a_worker_does(void **state)
{
	(void)state;
	assert_int_equal(run_inside(allowed), 0);
}

static void test_sandbox_lets_abort_through(void **state)
{
	const struct rlimit none = { 0, 0 };

	(void)state;
	setrlimit(RLIMIT_CORE, &none);
	if (SANDBOX_IS_SANITIZED)
		skip();
	int status = run_inside(abort);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandbox_forbids),
		cmocka_unit_test(test_sandbox_allows_what_a_worker_does),
		cmocka_unit_test(test_sandbox_lets_abort_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
