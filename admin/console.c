/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/console.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "admin/call.h"
#include "admin/verbs.h"
#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define READ_BYTES 4096
#define SWEEP_S 1.

struct client {
	struct console *console;
	int fd;
	ev_io read, write;
	struct buf in, out;
	struct call *call;		/* NULL: none is under way */
	bool is_order_told;		/* it is in the log */
	double moved_at;		/* clock_now(): last byte in or out */
	bool is_eof;			/* it says no more; it may listen */
	bool is_ending;			/* we say no more */
	struct ucred who;
	struct client *prev, *next;
};

struct console {
	struct control *control;
	struct ev_loop *loop;
	ev_io accept;			/* fd -1: there is none */
	ev_timer sweep;			/* runs while there are clients */
	struct client *clients;
	unsigned n_clients;
	double idle_s;			/* 0: for ever */
};

static void client_free(struct client *cl)
{
	struct console *c = cl->console;

	call_free(&cl->call);
	ev_io_stop(c->loop, &cl->read);
	ev_io_stop(c->loop, &cl->write);
	close(cl->fd);
	buf_fini(&cl->in);
	buf_fini(&cl->out);
	DL_DELETE(c->clients, cl);
	c->n_clients--;
	free(cl);
}

/* --- answers --------------------------------------------------------------- */

static void put_end(struct client *cl, enum call_outcome outcome,
    const char *why)
{
	switch (outcome) {
	case CALL_GOOD:
		buf_puts(&cl->out, "= ok\n");
		return;
	case CALL_REFUSED:
		buf_printf(&cl->out, "= error: %s\n", why);
		return;
	case CALL_MISUSED:
		buf_printf(&cl->out, "= usage: %s\n", why);
		return;
	}
}

/* Who ordered what, and whether it was refused. An order that takes a while is
 * told when it begins, and again should it fail. */
static void log_order(struct client *cl)
{
	const struct call *call = cl->call;
	struct log_line l;
	struct buf words;

	if (cl->is_order_told && call->outcome == CALL_GOOD)
		return;
	cl->is_order_told = true;
	if (!call->verb || !call->verb->changes ||
	    !log_begin(&l, LOG_LINE_INFO, "order"))
		return;
	buf_init(&words, 0);
	buf_puts(&words, call->verb->word);
	for (unsigned i = 0; i < call->request.n_words; i++) {
		buf_puts(&words, " ");
		if (call->request.words[i].is_quoted)
			request_quote(&words, call->request.words[i].text);
		else
			buf_str(&words, call->request.words[i].text);
	}
	log_str(&l, "what", buf_view(&words));
	log_u64(&l, "uid", cl->who.uid);
	log_u64(&l, "pid", (uint64_t)cl->who.pid);
	if (call->outcome != CALL_GOOD)
		log_text(&l, "refused", call->err.text);
	log_end(&l);
	buf_fini(&words);
}

/* --- clients ------------------------------------------------------------------ */

static void client_run(struct client *cl);

static void on_news(void *owner)
{
	struct client *cl = owner;

	if (cl->call->is_over) {
		log_order(cl);
		put_end(cl, cl->call->outcome, cl->call->err.text);
		call_free(&cl->call);
	}
	client_run(cl);
}

static void begin(struct client *cl, struct str line)
{
	struct console *c = cl->console;
	char who[32];

	snprintf(who, sizeof who, "uid %lld", (long long)cl->who.uid);
	cl->call = call_new(c->control, c->loop, who, &cl->out, on_news, cl);
	cl->is_order_told = false;
	call_begin(cl->call, line);
	if (!cl->call->is_over)
		log_order(cl);
}

/* The next line that is there begins its call. */
static void take_line(struct client *cl)
{
	while (!cl->call && !cl->is_ending) {
		struct str in = buf_view(&cl->in);
		const char *end = in.p ? memchr(in.p, '\n', in.n) : NULL;
		struct str line = { in.p, end ? (size_t)(end - in.p) : in.n };
		size_t used = line.n + (end != NULL);

		if (!end && line.n > REQUEST_LINE_MAX) {
			put_end(cl, CALL_MISUSED, "the line is too long");
			cl->is_ending = true;
			return;
		}
		if (!in.p || in.n == 0 || (!end && !cl->is_eof))
			return;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n)
			begin(cl, line);
		buf_consume(&cl->in, used);
	}
}

/* False: the client is gone. */
static bool flush(struct client *cl)
{
	while (cl->out.len) {
		struct str s = buf_view(&cl->out);
		ssize_t n = send(cl->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&cl->out, (size_t)n);
		cl->moved_at = clock_now();
	}
	return true;
}

static void want(struct ev_loop *loop, ev_io *w, bool is_wanted)
{
	if (is_wanted)
		ev_io_start(loop, w);
	else
		ev_io_stop(loop, w);
}

/* Writes what can be written, begins what can be begun, and says what is to
 * be waited for. The client may be gone afterwards. */
static void client_run(struct client *cl)
{
	struct ev_loop *loop = cl->console->loop;

	bool is_there = flush(cl);
	if (is_there && cl->out.len == 0) {
		take_line(cl);
		is_there = flush(cl);
	}
	bool is_done = cl->is_ending || (cl->is_eof && cl->in.len == 0);
	if (!is_there || (is_done && !cl->call && cl->out.len == 0)) {
		client_free(cl);
		return;
	}
	want(loop, &cl->write, cl->out.len > 0);
	want(loop, &cl->read, !cl->is_eof && !cl->is_ending &&
	    cl->in.len <= REQUEST_LINE_MAX);
	if (cl->call)
		call_has_room(cl->call);
}

static void on_read(struct ev_loop *loop, ev_io *w, int events)
{
	struct client *cl = w->data;
	ssize_t n = recv(cl->fd, buf_reserve(&cl->in, READ_BYTES), READ_BYTES,
	    MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		client_free(cl);
		return;
	}
	buf_commit(&cl->in, (size_t)n);
	cl->is_eof = n == 0;
	cl->moved_at = clock_now();
	client_run(cl);
}

static void on_write(struct ev_loop *loop, ev_io *w, int events)
{
	(void)loop;
	(void)events;
	client_run(w->data);
}

/* --- limits in time ------------------------------------------------------------- */

/* One that only says no more (printf | nc) still wants its answer; one that
 * has closed does not, and its calls must not wait for their end. */
static bool has_hung_up(const struct client *cl)
{
	struct pollfd p = { .fd = cl->fd };

	return cl->is_eof && poll(&p, 1, 0) > 0 &&
	    p.revents & (POLLHUP | POLLERR);
}

static void on_sweep(struct ev_loop *loop, ev_timer *t, int events)
{
	struct console *c = t->data;
	struct client *cl, *next;

	(void)events;
	DL_FOREACH_SAFE(c->clients, cl, next) {
		bool is_late = c->idle_s > 0 &&
		    clock_now() - cl->moved_at > c->idle_s;
		bool waits_for_us = cl->call && cl->out.len == 0;

		if (has_hung_up(cl)) {
			client_free(cl);
		} else if (is_late && !waits_for_us) {
			if (cl->out.len == 0)
				put_end(cl, CALL_REFUSED,
				    "no request for too long");
			(void)flush(cl);
			client_free(cl);
		}
	}
	if (!c->clients)
		ev_timer_stop(loop, t);
	if (c->accept.fd >= 0)
		ev_io_start(loop, &c->accept);
}

/* --- new clients ------------------------------------------------------------------ */

static void client_new(struct console *c, int fd)
{
	struct client *cl = mem_alloc(sizeof *cl);
	socklen_t n = sizeof cl->who;

	cl->console = c;
	cl->fd = fd;
	cl->moved_at = clock_now();
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cl->who, &n) < 0)
		cl->who = (struct ucred){ .uid = (uid_t)-1 };
	buf_init(&cl->in, REQUEST_LINE_MAX + 1 + READ_BYTES);
	buf_init(&cl->out, 0);
	ev_io_init(&cl->read, on_read, fd, EV_READ);
	ev_io_init(&cl->write, on_write, fd, EV_WRITE);
	cl->read.data = cl->write.data = cl;
	DL_APPEND(c->clients, cl);
	c->n_clients++;
	client_run(cl);
}

static void turn_away(int fd)
{
	static const char text[] = "= error: too many clients\n";

	(void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void on_accept(struct ev_loop *loop, ev_io *w, int events)
{
	struct console *c = w->data;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			ev_io_stop(loop, w);	/* on_sweep() tries again */
	} else if (c->n_clients < CONSOLE_CLIENTS_MAX) {
		client_new(c, fd);
	} else {
		turn_away(fd);
	}
	if (!ev_is_active(&c->sweep))
		ev_timer_again(loop, &c->sweep);
}

void console_listen(struct console *c, int fd)
{
	ev_io_stop(c->loop, &c->accept);
	if (c->accept.fd >= 0)
		close(c->accept.fd);
	ev_io_set(&c->accept, fd, EV_READ);
	if (fd >= 0)
		ev_io_start(c->loop, &c->accept);
}

void console_set_idle(struct console *c, double seconds)
{
	c->idle_s = seconds;
}

struct console *console_new(struct control *control, struct ev_loop *loop)
{
	struct console *c = mem_alloc(sizeof *c);

	c->control = control;
	c->loop = loop;
	ev_io_init(&c->accept, on_accept, -1, EV_READ);
	ev_timer_init(&c->sweep, on_sweep, SWEEP_S, SWEEP_S);
	c->accept.data = c->sweep.data = c;
	return c;
}

void console_free(struct console **cp)
{
	struct console *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	while (c->clients)
		client_free(c->clients);
	ev_timer_stop(c->loop, &c->sweep);
	console_listen(c, -1);
	free(c);
}
