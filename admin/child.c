/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/close_range.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/privileges.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/ipc.h"

int child_open_program(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		return -1;
	path[n] = '\0';
	/* Out of the way of CHILD_FD. */
	int low = open(path, O_PATH | O_CLOEXEC);
	int fd = fcntl(low, F_DUPFD_CLOEXEC, CHILD_FD + 1);
	close(low);
	return fd;
}

/* --- in the new process -------------------------------------------------- */

static _Noreturn void become(const struct child *c, int fd)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1,
		SIGUSR2, SIGPIPE };
	char index[16], n_workers[16];
	struct err err;
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	dup2(STDIN_FILENO, STDOUT_FILENO);	/* /dev/null */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd != CHILD_FD)
		dup3(fd, CHILD_FD, 0);
	else
		fcntl(fd, F_SETFD, 0);
	(void)close_range(CHILD_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	unsetenv("NOTIFY_SOCKET");
	if (!privileges_drop(c->privileges, &err)) {
		fprintf(stderr, "mailweir: %s: %s\n", c->role, err.text);
		_exit(CHILD_EXIT_SETUP);
	}
	snprintf(index, sizeof index, "%u", c->index);
	snprintf(n_workers, sizeof n_workers, "%u", c->n_workers);
	const char *const argv[] = { "mailweir", "--role", c->role, "--index",
		index, "--of", n_workers, NULL };
	execveat(c->program, "", (char *const *)(uintptr_t)argv, environ,
	    AT_EMPTY_PATH);
	fprintf(stderr, "mailweir: %s: exec: %s\n", c->role, strerror(errno));
	_exit(CHILD_EXIT_SETUP);
}

/* --- in the parent --------------------------------------------------------- */

static void on_kill_time(struct ev_loop *loop, ev_timer *w, int events)
{
	struct child *c = w->data;

	(void)loop;
	(void)events;
	child_kill(c);
}

static void on_start_time(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	child_start(w->data);
}

static void set_timer(struct child *c, double seconds,
    void (*cb)(struct ev_loop *, ev_timer *, int))
{
	ev_timer_stop(EV_DEFAULT_ &c->timer);
	ev_timer_init(&c->timer, cb, seconds, 0.);
	c->timer.data = c;
	ev_timer_start(EV_DEFAULT_ &c->timer);
}

static void log_end_of(const struct child *c)
{
	struct log_line l;

	if (!log_begin(&l, c->status == 0 ? LOG_LINE_INFO : LOG_LINE_ERROR,
	    "child_end"))
		return;
	log_text(&l, "role", c->role);
	log_u64(&l, "index", c->index);
	log_u64(&l, "pid", (uint64_t)c->pid);
	if (WIFSIGNALED(c->status))
		log_text(&l, "signal", sigabbrev_np(WTERMSIG(c->status)));
	else
		log_u64(&l, "status", (uint64_t)WEXITSTATUS(c->status));
	log_seconds(&l, "lived", ev_now(EV_DEFAULT) - c->started);
	log_end(&l);
}

static void end(struct child *c)
{
	if (ev_now(EV_DEFAULT) - c->started >= CHILD_STEADY_S)
		c->n_deaths = 0;
	ev_timer_stop(EV_DEFAULT_ &c->timer);
	link_close(&c->link);
	c->pid = 0;
	c->ready = 0;
	c->on_ended(c);
}

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	struct child *c = owner;

	(void)l;
	if (m->type != MSG_HELLO)
		c->on_message(c, m);
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	struct child *c = owner;

	(void)l;
	link_close(&c->link);
	log_note(LOG_LINE_DEBUG, "child_link", "why", "%s %u: %s", c->role,
	    c->index, why->text);
	set_timer(c, CHILD_ORPHAN_S, on_kill_time);
}

/* Its last words may still be in the link: they are read before the link is
 * closed, because on_exit_of() has a lower priority. */
static void on_exit_of(struct ev_loop *loop, ev_child *w, int events)
{
	struct child *c = w->data;

	(void)events;
	ev_child_stop(loop, w);
	c->status = w->rstatus;
	log_end_of(c);
	end(c);
}

void child_start(struct child *c)
{
	int fds[2];

	must(c->pid == 0);
	c->started = ev_now(EV_DEFAULT);
	c->status = EXIT_FAILURE << 8;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		log_note(LOG_LINE_ERROR, "child_start", "why", "%s %u: %s",
		    c->role, c->index, strerror(errno));
		end(c);
		return;
	}
	pid_t pid = fork();
	if (pid == 0)
		become(c, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		log_note(LOG_LINE_ERROR, "child_start", "why", "%s %u: %s",
		    c->role, c->index, strerror(errno));
		close(fds[0]);
		end(c);
		return;
	}
	c->pid = pid;
	ev_child_init(&c->exited, on_exit_of, pid, 0);
	ev_set_priority(&c->exited, EV_MINPRI);
	c->exited.data = c;
	ev_child_start(EV_DEFAULT_ &c->exited);
	c->link = link_open(EV_DEFAULT, fds[0], "parent", c->index,
	    on_message, on_closed, c);
	c->on_started(c);
}

void child_restart(struct child *c)
{
	double wait = 0.;

	if (c->n_deaths > 0) {
		wait = CHILD_WAIT_MIN_S;
		for (unsigned i = 1; i < c->n_deaths; i++)
			if (wait < CHILD_WAIT_MAX_S)
				wait *= 2;
		if (wait > CHILD_WAIT_MAX_S)
			wait = CHILD_WAIT_MAX_S;
	}
	c->n_deaths++;
	set_timer(c, wait, on_start_time);
}

void child_kill(struct child *c)
{
	if (c->pid == 0)
		return;
	log_note(LOG_LINE_WARN, "child_kill", "why",
	    "%s %u, pid %d, did not end", c->role, c->index, (int)c->pid);
	kill(c->pid, SIGKILL);
}

void child_fini(struct child *c)
{
	ev_child_stop(EV_DEFAULT_ &c->exited);
	ev_timer_stop(EV_DEFAULT_ &c->timer);
	link_close(&c->link);
	if (c->pid)
		kill(c->pid, SIGKILL);
	c->pid = 0;
}
