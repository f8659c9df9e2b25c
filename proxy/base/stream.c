/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"

/* Room in the shared output beyond two chunks: TLS's overhead on them, and a
 * handshake's messages. Two make half as many calls as one. */
#define OUT_EXTRA 16384

/* The recv()s of one stream in one turn. Who sends faster than that waits for
 * the next turn, which comes at once, and others have theirs first. */
#define RECVS_MAX 16

struct stream_rest {
	size_t off, len, cap;	/* bytes: data[off .. len) */
	char data[];
};

void stream_loop_init(struct stream_loop *l, struct ev_loop *loop,
    size_t chunk)
{
	must(chunk >= 16384);
	*l = (struct stream_loop){ .loop = loop, .chunk = chunk,
		.out_cap = 2 * chunk + OUT_EXTRA };
	l->scratch = mem_alloc(chunk);
	l->in = mem_alloc(chunk);
	l->out = mem_alloc(l->out_cap);
}

void stream_loop_fini(struct stream_loop *l)
{
	must(!l->reader && !l->writer);
	mem_wipe(l->scratch, l->chunk);
	mem_wipe(l->in, l->chunk);
	free(l->scratch);
	free(l->in);
	free(l->out);
}

void stream_rest_add(struct stream_rest **rp, const void *p, size_t n)
{
	struct stream_rest *r = *rp;
	size_t have = r ? r->len - r->off : 0;

	if (n == 0)
		return;
	if (!r || r->cap - r->len < n) {
		struct stream_rest *bigger;
		size_t cap = have + n;
		bigger = mem_alloc(sizeof *bigger + cap);
		bigger->cap = cap;
		bigger->len = have;
		if (have)
			memcpy(bigger->data, r->data + r->off, have);
		free(r);
		*rp = r = bigger;
	}
	memcpy(r->data + r->len, p, n);
	r->len += n;
}

static void rest_free(struct stream_rest **rp)
{
	free(*rp);
	*rp = NULL;
}

static size_t rest_take(struct stream_rest **rp, void *to, size_t n)
{
	struct stream_rest *r = *rp;

	if (n > r->len - r->off)
		n = r->len - r->off;
	memcpy(to, r->data + r->off, n);
	r->off += n;
	if (r->off == r->len)
		rest_free(rp);
	return n;
}

static void rest_prepend(struct stream_rest **rp, const void *p, size_t n)
{
	struct stream_rest *behind = *rp;

	*rp = NULL;
	stream_rest_add(rp, p, n);
	if (behind) {
		stream_rest_add(rp, behind->data + behind->off,
		    behind->len - behind->off);
		rest_free(&behind);
	}
}

/* What the reader has left in the shared buffer moves into its own memory,
 * since another stream is about to read. */
static void reader_evict(struct stream_loop *l)
{
	struct stream *s = l->reader;

	if (s && l->in_off < l->in_len)
		rest_prepend(&s->in, l->in + l->in_off,
		    l->in_len - l->in_off);
	l->reader = NULL;
	l->in_off = l->in_len = 0;
}

static void reader_forget(struct stream *s)
{
	if (s->loop->reader != s)
		return;
	s->loop->reader = NULL;
	s->loop->in_off = s->loop->in_len = 0;
}

/* Sends from p; true when all n are gone. *sent_out says how many. */
static bool send_some(struct stream *s, const char *p, size_t n,
    size_t *sent_out)
{
	size_t off = 0;

	while (off < n && !s->send_error) {
		ssize_t w = send(s->io.fd, p + off, n - off, MSG_NOSIGNAL);
		if (w >= 0)
			off += (size_t)w;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			s->send_error = errno;
	}
	*sent_out = off;
	return off == n;
}

void stream_send_raw(struct stream *s, const void *p, size_t n)
{
	size_t sent = 0;

	if (stream_is_broken(s))
		return;
	if (!s->out && send_some(s, p, n, &sent))
		return;
	if (!s->send_error)
		stream_rest_add(&s->out, (const char *)p + sent, n - sent);
}

static void writer_flush(struct stream_loop *l)
{
	struct stream *s = l->writer;
	size_t n = l->out_len;

	l->writer = NULL;
	l->out_len = 0;
	if (s && n)
		stream_send_raw(s, l->out, n);
}

static void send_rest(struct stream *s)
{
	struct stream_rest *r = s->out;
	size_t sent;

	if (send_some(s, r->data + r->off, r->len - r->off, &sent)) {
		rest_free(&s->out);
		if (s->has_shutdown)
			shutdown(s->io.fd, SHUT_WR);
	} else if (s->send_error) {
		rest_free(&s->out);
	} else {
		r->off += sent;
	}
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
	struct stream *s = w->data;

	(void)loop;
	s->is_drained = false;
	s->n_recvs = 0;
	if (revents & EV_WRITE && s->out)
		send_rest(s);
	s->fn(s, revents);
}

void stream_init(struct stream *s, struct stream_loop *l, stream_fn *fn,
    void *owner)
{
	*s = (struct stream){ .loop = l, .fn = fn, .owner = owner };
	ev_io_init(&s->io, on_io, -1, 0);
	s->io.data = s;
}

void stream_set_priority(struct stream *s, int priority)
{
	bool active = ev_is_active(&s->io);

	if (active)
		ev_io_stop(s->loop->loop, &s->io);
	ev_set_priority(&s->io, priority);
	if (active)
		ev_io_start(s->loop->loop, &s->io);
}

void stream_adopt(struct stream *s, int fd)
{
	must(!stream_is_open(s));
	ev_io_set(&s->io, fd, 0);
	s->error = s->send_error = 0;
	s->is_drained = true;	/* an event will tell when there is something */
	s->is_handshaking = s->wants_write = false;
	s->has_eof = s->has_shutdown = false;
}

/* The port is chosen at connect(), so that one port may serve connections to
 * several servers. */
static bool bind_to(int fd, const struct addr *from)
{
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	return bind(fd, &from->sa, addr_len(from)) == 0;
}

bool stream_connect(struct stream *s, const struct addr *to,
    const struct addr *from, struct err *err)
{
	int on = 1;
	int fd = socket(to->sa.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	bool is_bound = !from || bind_to(fd, from);
	if (!is_bound || (connect(fd, &to->sa, addr_len(to)) < 0 &&
	    errno != EINPROGRESS)) {
		err_set(err, "%s: %s", is_bound ? "connect" : "bind",
		    strerror(errno));
		close(fd);
		return false;
	}
	stream_adopt(s, fd);
	return true;
}

bool stream_is_connected(const struct stream *s)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;

	return getpeername(s->io.fd, (struct sockaddr *)&sa, &len) == 0;
}

static size_t receive(struct stream *s, void *to, size_t n)
{
	ssize_t r;

	/* after a failed send no event may come: look, drained or not */
	if ((s->is_drained && !s->send_error) || s->has_eof || s->error)
		return 0;
	do {
		r = recv(s->io.fd, to, n, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno != EAGAIN) {
		s->error = errno;
		return 0;
	}
	if (r == 0)
		s->has_eof = true;
	/* a short read has emptied the socket: do not ask again */
	s->is_drained = r < (ssize_t)n || ++s->n_recvs >= RECVS_MAX;
	return r > 0 ? (size_t)r : 0;
}

/* Raw bytes for TLS, through the shared buffer; 0: none now, or the end. */
size_t stream_take_raw(struct stream *s, void *to, size_t n)
{
	struct stream_loop *l = s->loop;

	if (l->reader != s) {
		reader_evict(l);
		l->reader = s;
	}
	if (l->in_off == l->in_len) {
		l->in_off = 0;
		l->in_len = s->in ? rest_take(&s->in, l->in, l->chunk)
				  : receive(s, l->in, l->chunk);
	}
	if (n > l->in_len - l->in_off)
		n = l->in_len - l->in_off;
	if (n)
		memcpy(to, l->in + l->in_off, n);
	l->in_off += n;
	return n;
}

/* No event has come since the socket was emptied, and nothing is left inside:
 * OpenSSL would find out the same for thousands of instructions. */
bool stream_is_dry(const struct stream *s)
{
	return s->is_drained && !s->has_eof && !stream_is_broken(s) &&
	    !stream_has_input(s);
}

enum stream_verdict stream_read(struct stream *s, void *to, size_t n,
    size_t *n_out)
{
	if (s->ssl)
		return stream_tls_read(s, to, n, n_out);
	*n_out = s->in ? rest_take(&s->in, to, n) : receive(s, to, n);
	if (*n_out)
		return STREAM_OK;
	if (s->error)
		return STREAM_FAILED;
	if (s->has_eof)
		return STREAM_EOF;
	return s->send_error ? STREAM_FAILED : STREAM_AGAIN;
}

void stream_unread(struct stream *s, const void *p, size_t n)
{
	must(!s->ssl);
	rest_prepend(&s->in, p, n);
}

bool stream_has_input(const struct stream *s)
{
	const struct stream_loop *l = s->loop;

	if (s->in || (l->reader == s && l->in_off < l->in_len))
		return true;
	return s->ssl && stream_tls_has_input(s);
}

void stream_drop_input(struct stream *s)
{
	reader_forget(s);
	rest_free(&s->in);
}

enum stream_verdict stream_handshake(struct stream *s, struct err *err)
{
	if (!s->is_handshaking)
		return STREAM_OK;
	return stream_tls_handshake(s, err);
}

void stream_write(struct stream *s, const void *p, size_t n)
{
	must(!s->has_shutdown);
	if (n == 0)
		return;
	if (s->ssl)
		stream_tls_write(s, p, n);
	else
		stream_send_raw(s, p, n);
}

enum stream_verdict stream_flush(struct stream *s)
{
	if (s->loop->writer == s)
		writer_flush(s->loop);
	if (stream_is_broken(s))
		return STREAM_FAILED;
	return s->out ? STREAM_AGAIN : STREAM_OK;
}

size_t stream_unsent(const struct stream *s)
{
	return s->out ? s->out->len - s->out->off : 0;
}

/* Bytes that TLS wants to send wait in the shared buffer, for one stream at a
 * time, so that several records go in one send(). */
void stream_batch_raw(struct stream *s, const void *p, size_t n)
{
	struct stream_loop *l = s->loop;

	if (l->writer != s || l->out_cap - l->out_len < n) {
		writer_flush(l);
		l->writer = s;
	}
	if (n > l->out_cap) {
		stream_send_raw(s, p, n);
		return;
	}
	memcpy(l->out + l->out_len, p, n);
	l->out_len += n;
}

void stream_shutdown(struct stream *s)
{
	if (s->has_shutdown || !stream_is_open(s))
		return;
	if (s->ssl && !s->is_handshaking && !stream_is_broken(s))
		stream_tls_shutdown(s);
	s->has_shutdown = true;
	(void)stream_flush(s);
	if (!s->out)
		shutdown(s->io.fd, SHUT_WR);
}

void stream_want(struct stream *s, bool read)
{
	struct ev_loop *loop = s->loop->loop;
	int want;

	if (!stream_is_open(s))
		return;
	/* TLS answers a key update from within a read */
	(void)stream_flush(s);
	want = (read && !s->has_eof ? EV_READ : 0) |
	    (s->out || s->wants_write ? EV_WRITE : 0);
	if (s->error)
		want = 0;
	if ((s->io.events & (EV_READ | EV_WRITE)) == want)
		return;
	ev_io_stop(loop, &s->io);
	s->io.events = (s->io.events & EV__IOFDSET) | want;
	if (want)
		ev_io_start(loop, &s->io);
}

void stream_close(struct stream *s)
{
	if (!stream_is_open(s))
		return;
	if (s->ssl) {
		if (!s->is_handshaking && !s->has_shutdown &&
		    !stream_is_broken(s))
			stream_tls_shutdown(s);
		(void)stream_flush(s);
		stream_tls_free(s);
	}
	if (s->loop->writer == s)
		writer_flush(s->loop);
	stream_drop_input(s);
	rest_free(&s->out);
	ev_io_stop(s->loop->loop, &s->io);
	close(s->io.fd);
	ev_io_set(&s->io, -1, 0);
}

const char *stream_error(const struct stream *s)
{
	if (s->error == EPROTO)
		return "TLS protocol error";
	return strerror(s->error ? s->error : s->send_error);
}
