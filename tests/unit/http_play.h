/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef TESTS_HTTP_PLAY_H
#define TESTS_HTTP_PLAY_H
/*
 * http_play - an HTTP server on the test's own loop that says what it is told
 *
 *	play_start(loop);
 *	play.reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
 *	...
 *	play_until(&done);	assert_string_equal(play.request, "GET / ...");
 *	play_stop();
 *
 * Each request is kept in play.request; the last one stays. reply = NULL: say
 * nothing.
 */
#include <arpa/inet.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLAY_CONNS 256
#define PLAY_PATIENCE_S 30.

struct play_conn {
	ev_io io;
	bool is_open;
	char got[16384];
	size_t n;
};

static struct {
	struct ev_loop *loop;
	ev_io listener;
	unsigned port;
	const char *reply;
	size_t n_reply;		/* 0: to its NUL */
	bool closes;		/* behind each reply */
	char request[16384];
	unsigned n_requests, n_conns, n_open;
	struct play_conn conns[PLAY_CONNS];
} play;

static inline void play_close(struct play_conn *c)
{
	ev_io_stop(play.loop, &c->io);
	close(c->io.fd);
	c->is_open = false;
	play.n_open--;
}

static inline void play_answer(struct play_conn *c)
{
	size_t n = play.n_reply ? play.n_reply : strlen(play.reply);
	const char *p = play.reply;

	while (n > 0) {
		ssize_t sent = send(c->io.fd, p, n, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		p += sent;
		n -= (size_t)sent;
	}
	if (play.closes)
		play_close(c);
}

static inline void play_on_bytes(struct ev_loop *loop, ev_io *io,
    int revents)
{
	struct play_conn *c = io->data;
	ssize_t n = recv(io->fd, c->got + c->n, sizeof c->got - 1 - c->n, 0);

	(void)loop;
	(void)revents;
	if (n <= 0) {
		play_close(c);
		return;
	}
	c->n += (size_t)n;
	c->got[c->n] = 0;
	if (!memmem(c->got, c->n, "\r\n\r\n", 4))
		return;
	play.n_requests++;
	memcpy(play.request, c->got, c->n + 1);
	c->n = 0;
	if (play.reply)
		play_answer(c);
}

static inline void play_on_connect(struct ev_loop *loop, ev_io *io,
    int revents)
{
	int fd = accept(io->fd, NULL, NULL);
	struct play_conn *c = play.conns;

	(void)revents;
	if (fd < 0)
		return;
	while (c->is_open)
		c++;
	*c = (struct play_conn){ .is_open = true };
	play.n_conns++;
	play.n_open++;
	ev_io_init(&c->io, play_on_bytes, fd, EV_READ);
	c->io.data = c;
	ev_io_start(loop, &c->io);
}

static inline void play_start(struct ev_loop *loop)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&play, 0, sizeof play);
	play.loop = loop;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	play.port = ntohs(a.sin_port);
	ev_io_init(&play.listener, play_on_connect, fd, EV_READ);
	ev_io_start(loop, &play.listener);
}

static inline void play_stop(void)
{
	for (size_t i = 0; i < PLAY_CONNS; i++)
		if (play.conns[i].is_open)
			play_close(&play.conns[i]);
	ev_io_stop(play.loop, &play.listener);
	close(play.listener.fd);
}

static inline void play_late(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)t;
	(void)revents;
	fail_msg("nothing happens any more");
}

/* Runs the loop until *counter is as large as wanted. */
static inline void play_until(const unsigned *counter, unsigned wanted)
{
	ev_timer late;

	ev_now_update(play.loop);
	ev_timer_init(&late, play_late, PLAY_PATIENCE_S, 0.);
	ev_timer_start(play.loop, &late);
	while (*counter < wanted)
		ev_run(play.loop, EVRUN_ONCE);
	ev_timer_stop(play.loop, &late);
}
#endif
