/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/session.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include <utlist.h>

#define ACCEPTS_PER_TURN 4
#define PRIORITY (-1)	/* after everything that is under way */
#define PAUSE_S 0.5

struct listener {
	ev_io io;
	struct worker *worker;
	char *name, *address;
	int burst;		/* how many to accept in the next turn */
	bool is_new;		/* told since the last sweep */
	struct listener *next;
};

static void pause_accepting(struct worker *w, const char *why)
{
	if (w->is_paused)
		return;
	w->is_paused = true;
	listener_update(w);
	ev_timer_set(&w->resume, PAUSE_S, 0.);
	ev_timer_start(w->loop, &w->resume);
	/* once until a session could be accepted again */
	if (!w->has_told_pause)
		log_note(LOG_LINE_WARN, "accept_paused", "why", "%s", why);
	w->has_told_pause = true;
}

/* Errors of the one connection, which is gone (accept(2)). */
static bool is_of_connection(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EINTR:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case ENONET:
		return true;
	}
	return false;
}

static void start(struct listener *l, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	struct worker *w = l->worker;
	const struct snapshot_listener *conf =
	    snapshot_find_listener(w->snapshot, str_from(l->name));
	struct addr client;

	if (!conf || !addr_from_sockaddr(&client, sa, len)) {
		close(fd);
		return;
	}
	w->has_told_pause = false;
	session_start(w, conf, fd, &client);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	struct listener *l = io->data;
	struct worker *w = l->worker;

	(void)loop;
	(void)revents;
	/* a last accept() in vain is saved where connections come singly */
	int burst = l->burst;
	l->burst = burst < ACCEPTS_PER_TURN ? 2 * burst : burst;
	for (int i = 0; i < burst; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof sa;
		if (w->n_sessions >= w->sessions_max) {
			pause_accepting(w, "as many sessions as allowed");
			return;
		}
		int fd = accept4(io->fd, (struct sockaddr *)&sa, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			start(l, fd, (struct sockaddr *)&sa, len);
		} else if (errno == EAGAIN) {
			l->burst = 1;
			return;
		} else if (!is_of_connection(errno)) {
			pause_accepting(w, strerror(errno));
			return;
		}
	}
}

static void destroy(struct listener *l)
{
	LL_DELETE(l->worker->listeners, l);
	ev_io_stop(l->worker->loop, &l->io);
	close(l->io.fd);
	free(l->name);
	free(l->address);
	free(l);
}

void listener_add(struct worker *w, struct str name, struct str address, int fd)
{
	struct listener *l, *tmp;
	int on = 1;

	if (fd < 0)
		return;
	LL_FOREACH_SAFE(w->listeners, l, tmp)
		if (str_eq(name, str_from(l->name)) &&
		    str_eq(address, str_from(l->address)))
			destroy(l);
	l = mem_alloc(sizeof *l);
	l->worker = w;
	l->name = mem_str(name);
	l->address = mem_str(address);
	l->burst = 1;
	l->is_new = true;
	/* accepted sockets inherit them: no call per connection */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	ev_io_init(&l->io, on_connection, fd, EV_READ);
	ev_set_priority(&l->io, PRIORITY);
	l->io.data = l;
	LL_PREPEND(w->listeners, l);
	listener_update(w);
}

void listener_sweep(struct worker *w)
{
	struct listener *l, *tmp;

	LL_FOREACH_SAFE(w->listeners, l, tmp) {
		if (!l->is_new)
			destroy(l);
		else
			l->is_new = false;
	}
}

void listener_update(struct worker *w)
{
	bool wanted = w->snapshot && !w->is_stopping && !w->is_paused;
	struct listener *l;

	LL_FOREACH(w->listeners, l) {
		/* a reload's socket may come before its settings */
		if (wanted && snapshot_find_listener(w->snapshot,
			str_from(l->name)))
			ev_io_start(w->loop, &l->io);
		else
			ev_io_stop(w->loop, &l->io);
	}
}

void listener_close_all(struct worker *w)
{
	while (w->listeners)
		destroy(w->listeners);
}
