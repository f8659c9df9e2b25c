/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * A descriptor of the process (pidfd) becomes readable when it ends, so no
 * signal and no other child is in play.
 */
#include "backends/hook.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"

#define ARGUMENTS_MAX 16

struct hook {
	struct ev_loop *loop;
	pid_t pid;		/* 0: it was not started */
	int fd;			/* of the process, or -1 */
	ev_io end;
	ev_timer limit;
	bool is_late;
	char why[160];
	hook_done_fn *done;
	void *owner;
};

static void hook_free(struct hook *h)
{
	ev_io_stop(h->loop, &h->end);
	ev_timer_stop(h->loop, &h->limit);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

static void finish(struct hook *h, const char *why)
{
	hook_done_fn *done = h->done;
	void *owner = h->owner;
	char text[sizeof h->why];

	snprintf(text, sizeof text, "%s", why ? why : "");
	hook_free(h);
	done(owner, why ? text : NULL);
}

/* It has ended: how? */
static void reap(struct hook *h)
{
	siginfo_t info = { 0 };

	while (waitid(P_PID, (id_t)h->pid, &info, WEXITED) < 0)
		if (errno != EINTR)
			break;
	if (h->is_late)
		snprintf(h->why, sizeof h->why, "it did not end in time");
	else if (info.si_code != CLD_EXITED)
		snprintf(h->why, sizeof h->why, "killed by signal %d",
		    info.si_status);
	else if (info.si_status != 0)
		snprintf(h->why, sizeof h->why, "exit status %d",
		    info.si_status);
	finish(h, h->why[0] ? h->why : NULL);
}

static void on_end(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	reap(io->data);
}

static void on_limit(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct hook *h = t->data;

	(void)loop;
	(void)revents;
	if (h->pid == 0) {
		finish(h, h->why);
		return;
	}
	h->is_late = true;
	kill(-h->pid, SIGKILL);
}

/* 0, or an errno. */
static int spawn(struct hook *h, const char *program,
    const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX + 2] = { program };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	size_t n = 0;

	while (n < ARGUMENTS_MAX && arguments[n]) {
		argv[n + 1] = arguments[n];
		n++;
	}
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null",
	    O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO,
	    STDOUT_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
	    POSIX_SPAWN_SETSIGMASK);
	/* posix_spawn() changes none of its strings */
	int error = posix_spawn(&h->pid, program, &files, &attr,
	    (char *const *)(void *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return error;
}

struct hook *hook_start(struct ev_loop *loop, const char *program,
    const char *const *arguments, double limit_s, hook_done_fn *done,
    void *owner)
{
	struct hook *h = mem_alloc(sizeof *h);

	h->loop = loop;
	h->fd = -1;
	h->done = done;
	h->owner = owner;
	ev_init(&h->end, on_end);
	ev_init(&h->limit, on_limit);
	h->end.data = h->limit.data = h;
	int error = spawn(h, program, arguments);
	if (error) {
		h->pid = 0;
	} else {
		h->fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
		if (h->fd < 0) {
			error = errno;
			kill(-h->pid, SIGKILL);
			while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
				;
			h->pid = 0;
		}
	}
	if (error) {
		snprintf(h->why, sizeof h->why, "%s: %s", program,
		    strerror(error));
		limit_s = 0;	/* told in a turn of its own */
	} else {
		ev_io_set(&h->end, h->fd, EV_READ);
		ev_io_start(loop, &h->end);
	}
	ev_timer_set(&h->limit, limit_s, 0.);
	ev_timer_start(loop, &h->limit);
	return h;
}

void hook_cancel(struct hook **hp)
{
	struct hook *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	if (h->pid) {
		kill(-h->pid, SIGKILL);
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	hook_free(h);
}
