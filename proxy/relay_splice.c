/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/relay_splice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

#define LITERAL_MIN (64 * 1024)	/* a shorter rest is copied as fast */
#define PIPE_BYTES (256 * 1024)
#define SPLICES_MAX 4

struct pipe {
	int read_fd, write_fd;	/* 0: none, for 0 is never a pipe here */
	size_t n;		/* bytes in it */
};

struct relay_pipes {
	struct pipe side[2];	/* by whose bytes they carry */
};

/* The kernel grants an account so many pages of pipes, and pipes of two pages
 * beyond: those would be slower than copying. */
static bool pipe_open(int fds[2])
{
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return false;
	if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) >= 0)
		return true;
	close(fds[0]);
	close(fds[1]);
	return false;
}

static bool pipe_take(struct worker *w, struct pipe *p)
{
	int fds[2];

	if (w->n_free_pipes) {
		w->n_free_pipes--;
		fds[0] = w->free_pipes[w->n_free_pipes][0];
		fds[1] = w->free_pipes[w->n_free_pipes][1];
	} else if (!pipe_open(fds)) {
		return false;
	}
	*p = (struct pipe){ .read_fd = fds[0], .write_fd = fds[1] };
	return true;
}

static void pipe_close(struct pipe *p)
{
	if (p->read_fd) {
		close(p->read_fd);
		close(p->write_fd);
	}
	*p = (struct pipe){ 0 };
}

/* An empty pipe serves the next who needs one. */
static void pipe_give_back(struct worker *w, struct pipe *p)
{
	if (w->n_free_pipes == WORKER_FREE_PIPES) {
		pipe_close(p);
		return;
	}
	w->free_pipes[w->n_free_pipes][0] = p->read_fd;
	w->free_pipes[w->n_free_pipes][1] = p->write_fd;
	w->n_free_pipes++;
	*p = (struct pipe){ 0 };
}

/* How many of the next bytes nobody has to see. */
static uint64_t unseen(const struct session *s, enum frame_side side)
{
	return s->is_opaque ? UINT64_MAX : frame_literal_left(&s->frame, side);
}

bool relay_splice_suits(const struct session *s, enum frame_side side)
{
	const struct stream *from =
	    side == FRAME_CLIENT ? &s->client : &s->backend;

	if (s->client.ssl || s->backend.ssl)
		return false;
	if (s->pipes && s->pipes->side[side].n)
		return true;
	return unseen(s, side) >= LITERAL_MIN && !from->is_drained &&
	    !stream_has_input(from);
}

static void count(struct session *s, enum frame_side side, size_t n)
{
	*(side == FRAME_CLIENT ? &s->c2b_bytes : &s->b2c_bytes) += n;
	if (!s->is_opaque)
		frame_pass(&s->frame, side, n);
	relay_touch(s);
}

/* At most so many bytes. */
static enum stream_verdict fill(struct stream *from, struct pipe *p,
    uint64_t most)
{
	size_t want = most < PIPE_BYTES ? (size_t)most : PIPE_BYTES;

	for (;;) {
		ssize_t n = splice(from->io.fd, NULL, p->write_fd, NULL, want,
		    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		if (n > 0) {
			p->n += (size_t)n;
			return STREAM_OK;
		}
		if (n == 0) {
			from->has_eof = true;
			return STREAM_EOF;
		}
		if (errno == EAGAIN) {
			from->is_drained = true;
			return STREAM_AGAIN;
		}
		if (errno != EINTR) {
			from->error = errno;
			return STREAM_FAILED;
		}
	}
}

/* False: the receiver takes no more now, or has failed. */
static bool drain(struct pipe *p, struct stream *to)
{
	while (p->n) {
		ssize_t n = splice(p->read_fd, NULL, to->io.fd, NULL, p->n,
		    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		if (n > 0)
			p->n -= (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			return false;
		else if (n < 0 && errno != EINTR) {
			to->send_error = errno;
			pipe_close(p);
			return false;
		}
	}
	return true;
}

static enum stream_verdict run(struct session *s, enum frame_side side,
    struct pipe *p)
{
	struct stream *from = side == FRAME_CLIENT ? &s->client : &s->backend;
	struct stream *to = side == FRAME_CLIENT ? &s->backend : &s->client;

	if (stream_unsent(to) || to->has_shutdown || !drain(p, to))
		return STREAM_AGAIN;
	for (int i = 0; i < SPLICES_MAX; i++) {
		if (from->has_eof)
			return STREAM_EOF;
		uint64_t most = unseen(s, side);
		if (most == 0)
			return STREAM_OK;
		enum stream_verdict v = fill(from, p, most);
		if (v != STREAM_OK)
			return v;
		count(s, side, p->n);
		if (!drain(p, to))
			break;
	}
	return STREAM_AGAIN;
}

enum stream_verdict relay_splice(struct session *s, enum frame_side side)
{
	struct stream *to = side == FRAME_CLIENT ? &s->backend : &s->client;

	if (!s->pipes)
		s->pipes = mem_alloc(sizeof *s->pipes);
	struct pipe *p = &s->pipes->side[side];
	if (!p->read_fd && !pipe_take(s->worker, p))
		return relay_copy(s, side);
	enum stream_verdict v = run(s, side, p);
	to->wants_write = p->n > 0;
	if (p->n == 0)
		pipe_give_back(s->worker, p);
	return v;
}

bool relay_is_blocked(const struct session *s, enum frame_side side)
{
	const struct stream *to =
	    side == FRAME_CLIENT ? &s->backend : &s->client;

	return stream_unsent(to) || to->has_shutdown || to->wants_write;
}

void relay_pipes_free(struct relay_pipes **pp)
{
	struct relay_pipes *pipes = *pp;

	if (!pipes)
		return;
	*pp = NULL;
	pipe_close(&pipes->side[0]);
	pipe_close(&pipes->side[1]);
	free(pipes);
}
