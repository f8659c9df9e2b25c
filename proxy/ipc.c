/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/ipc.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"

#define LINK_MAGIC   0x6c696e6bu
#define READ_BYTES   (64u << 10)
#define KEEP_BYTES   (128u << 10)	/* a buffer above it is given back */
#define LENGTH_BYTES 4
#define FDS_IN_MAX   16		/* a peer of ours has one under way at most */

enum link_state {
	LINK_HELLO,		/* the peer's HELLO is awaited */
	LINK_UP,
	LINK_FAILED,		/* on_closed() comes from the loop soon */
	LINK_TOLD,		/* ... and was called; link_close() is due */
};

/* A descriptor that leaves with the byte at this place of the output. */
struct fd_out {
	uint64_t at;
	int fd;
};

struct link {
	unsigned magic;
	enum link_state state;
	struct ev_loop *loop;
	void *owner;
	link_message_fn *on_message;
	link_closed_fn *on_closed;
	struct err why;
	int fd;
	bool busy;		/* a callback runs: link_close() must wait */
	bool closed;		/* ... and was called meanwhile */
	bool mute;		/* the peer reads no more */
	ev_io read;
	ev_io write;		/* also fed by link_send(), see there */
	ev_timer later;		/* what link_send_later() has queued */
	struct buf in, out;
	uint64_t sent;		/* bytes written so far: the place of out */
	struct fd_out *fds_out;
	size_t n_fds_out, cap_fds_out;
	int fds_in[FDS_IN_MAX];
	unsigned n_fds_in;
	uint64_t n_unknown;
};

static struct link *check(struct link *l)
{
	must(l->magic == LINK_MAGIC);
	return l;
}

/* --- end ----------------------------------------------------------------- */

/* The owner learns it from the loop, never inside its own link_send(). */
static void fail(struct link *l, const char *text)
{
	if (l->state >= LINK_FAILED)
		return;
	l->state = LINK_FAILED;
	if (!l->why.text[0])
		err_set(&l->why, "%s", text);
	ev_io_stop(l->loop, &l->read);
	ev_io_stop(l->loop, &l->write);
	ev_feed_event(l->loop, &l->write, EV_CUSTOM);
}

static void fail_errno(struct link *l, const char *what)
{
	err_set(&l->why, "%s: %s", what, strerror(errno));
	fail(l, what);
}

static void drop_output(struct link *l)
{
	for (size_t i = 0; i < l->n_fds_out; i++)
		close(l->fds_out[i].fd);
	free(l->fds_out);
	l->fds_out = NULL;
	l->n_fds_out = l->cap_fds_out = 0;
	buf_fini(&l->out);
}

static void release(struct link *l)
{
	for (unsigned i = 0; i < l->n_fds_in; i++)
		close(l->fds_in[i]);
	drop_output(l);
	buf_fini(&l->in);
	l->magic = 0;
	free(l);
}

/* --- output -------------------------------------------------------------- */

/* Writes n bytes of out; fd goes with the first of them. */
static ssize_t write_some(struct link *l, size_t n, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { l->out.data + l->out.off, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t k;

	if (fd >= 0) {
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.room);
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		k = sendmsg(l->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (k < 0 && errno == EINTR);
	return k;
}

/* One piece: up to the next descriptor's frame, whose first byte must be the
 * first of its own sendmsg(). False: no more can be written now. */
static bool flush_piece(struct link *l)
{
	bool has_fd = l->n_fds_out && l->fds_out[0].at == l->sent;
	size_t n = l->out.len;

	if (l->n_fds_out > has_fd)
		n = (size_t)(l->fds_out[has_fd].at - l->sent);
	ssize_t k = write_some(l, n, has_fd ? l->fds_out[0].fd : -1);
	if (k < 0) {
		if (errno == EAGAIN) {
			ev_io_start(l->loop, &l->write);
		} else if (errno == EPIPE || errno == ECONNRESET) {
			/* What it said last can still be read. */
			l->mute = true;
			drop_output(l);
			ev_io_stop(l->loop, &l->write);
		} else {
			fail_errno(l, "cannot write");
		}
		return false;
	}
	if (has_fd) {
		close(l->fds_out[0].fd);
		l->n_fds_out--;
		memmove(l->fds_out, l->fds_out + 1,
		    l->n_fds_out * sizeof(*l->fds_out));
	}
	mem_wipe(l->out.data + l->out.off, (size_t)k);
	buf_consume(&l->out, (size_t)k);
	l->sent += (uint64_t)k;
	return true;
}

static void flush(struct link *l)
{
	while (l->out.len)
		if (!flush_piece(l))
			return;
	ev_io_stop(l->loop, &l->write);
	if (l->out.cap > KEEP_BYTES)
		drop_output(l);
}

static void add_fd(struct link *l, uint64_t at, int fd)
{
	if (l->n_fds_out == l->cap_fds_out) {
		l->cap_fds_out = l->cap_fds_out ? 2 * l->cap_fds_out : 8;
		l->fds_out = mem_realloc(l->fds_out,
		    l->cap_fds_out * sizeof(*l->fds_out));
	}
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0) {
		fail_errno(l, "cannot duplicate a descriptor to send");
		return;
	}
	l->fds_out[l->n_fds_out++] = (struct fd_out){ at, own };
}

/* The write watcher has the lowest priority: fed here, its callback runs when
 * all others of this turn have, and before the loop blocks. So a turn's
 * messages leave in one write. */
static bool enqueue(struct link *l, const struct msg *m)
{
	int fd;

	check(l);
	if (l->state >= LINK_FAILED || l->closed || l->mute)
		return false;
	uint64_t at = l->sent + l->out.len;
	if (!msg_encode(&l->out, m, &fd)) {
		err_set(&l->why, "%s does not fit: %u bytes wait for the peer",
		    msg_name(m->type), l->out.len);
		fail(l, "queue full");
		return false;
	}
	if (fd >= 0)
		add_fd(l, at, fd);
	return true;
}

void link_send(struct link *l, const struct msg *m)
{
	if (enqueue(l, m) && !ev_is_active(&l->write))
		ev_feed_event(l->loop, &l->write, EV_WRITE);
}

void link_send_later(struct link *l, const struct msg *m)
{
	if (!enqueue(l, m) || ev_is_active(&l->later))
		return;
	ev_timer_set(&l->later, IPC_LATER_S, 0.);
	ev_timer_start(l->loop, &l->later);
}

static void on_later(struct ev_loop *loop, ev_timer *t, int events)
{
	struct link *l = check(t->data);

	(void)events;
	if (l->out.len && !ev_is_active(&l->write))
		ev_feed_event(loop, &l->write, EV_WRITE);
}

#define MESSAGE(NAME, name, number, ...) \
	void link_send_##name(struct link *l, const struct msg_##name *m) \
	{ \
		link_send(l, &(struct msg){ .type = MSG_##NAME, .name = *m }); \
	}
#include "proxy/messages.def"

static void on_write(struct ev_loop *loop, ev_io *w, int events)
{
	struct link *l = check(w->data);

	(void)loop;
	(void)events;
	if (l->state < LINK_FAILED)
		flush(l);
	if (l->state != LINK_FAILED)
		return;
	l->state = LINK_TOLD;
	l->busy = true;
	l->on_closed(l->owner, l, &l->why);
	l->busy = false;
	if (l->closed)
		release(l);
}

/* --- input --------------------------------------------------------------- */

static int take_fd(struct link *l)
{
	int fd = l->fds_in[0];

	l->n_fds_in--;
	memmove(l->fds_in, l->fds_in + 1, l->n_fds_in * sizeof(*l->fds_in));
	return fd;
}

static bool hello_is_good(struct link *l, const struct msg *m)
{
	if (m->type != MSG_HELLO) {
		err_set(&l->why, "%s before HELLO", msg_name(m->type));
		fail(l, "protocol error");
		return false;
	}
	if (m->hello.version >> 16 != IPC_VERSION_MAJOR) {
		err_set(&l->why, "peer speaks version %u.%u, not %u.x",
		    (unsigned)(m->hello.version >> 16),
		    (unsigned)(m->hello.version & 0xffff), IPC_VERSION_MAJOR);
		fail(l, "version");
		return false;
	}
	l->state = LINK_UP;
	return true;
}

static void dispatch(struct link *l, struct str map)
{
	struct msg m;
	bool has_fd;
	enum msg_verdict verdict = msg_decode(map, &m, &has_fd);
	int fd = -1;

	if (verdict == MSG_BAD || (has_fd && l->n_fds_in == 0)) {
		fail(l, "bad message");
		return;
	}
	if (has_fd)
		fd = take_fd(l);
	if (verdict == MSG_UNKNOWN) {
		l->n_unknown++;
		if (l->state == LINK_HELLO)
			fail(l, "unknown message before HELLO");
	}
	bool is_wanted = verdict == MSG_OK &&
	    (l->state == LINK_HELLO ? hello_is_good(l, &m) :
	     m.type != MSG_HELLO);
	if (fd >= 0 && (!is_wanted || !msg_set_fd(&m, fd)))
		close(fd);
	if (is_wanted)
		l->on_message(l->owner, l, &m);
}

/* Until no whole frame is left, or the link ended. */
static void dispatch_all(struct link *l)
{
	l->busy = true;
	while (l->state < LINK_FAILED && !l->closed &&
	    l->in.len >= LENGTH_BYTES) {
		char *p = l->in.data + l->in.off;
		uint32_t n = 0;

		for (int i = 0; i < LENGTH_BYTES; i++)
			n = n << 8 | (unsigned char)p[i];
		if (n > IPC_FRAME_MAX) {
			fail(l, "frame too long");
			break;
		}
		if (l->in.len - LENGTH_BYTES < n)
			break;
		dispatch(l, (struct str){ p + LENGTH_BYTES, n });
		mem_wipe(p + LENGTH_BYTES, n);	/* may hold a password */
		buf_consume(&l->in, LENGTH_BYTES + n);
	}
	if (l->in.len == 0 && l->in.cap > KEEP_BYTES)
		buf_fini(&l->in);
	l->busy = false;
	if (l->closed)
		release(l);
}

/* Puts aside the descriptors that came; more than a peer of ours would have
 * under way are a flood and end the link. */
static void keep_fds(struct link *l, struct msghdr *mh)
{
	bool is_flood = mh->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c;
	     c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			    sizeof(int));
			if (l->n_fds_in < FDS_IN_MAX) {
				l->fds_in[l->n_fds_in++] = fd;
			} else {
				close(fd);
				is_flood = true;
			}
		}
	}
	if (is_flood)
		fail(l, "descriptors lost: too many, or none left here");
}

static void on_read(struct ev_loop *loop, ev_io *w, int events)
{
	struct link *l = check(w->data);
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS_IN_MAX * sizeof(int))];
	} control;
	struct iovec iov = { buf_reserve(&l->in, READ_BYTES), READ_BYTES };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room),
	};

	(void)loop;
	(void)events;
	ssize_t k = recvmsg(l->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	/* Reset: the peer died before it read all that we wrote. */
	if (k < 0 && errno != ECONNRESET) {
		if (errno != EAGAIN && errno != EINTR)
			fail_errno(l, "cannot read");
		return;
	}
	if (k <= 0) {
		fail(l, l->in.len ? "closed in mid-message" : "closed");
		return;
	}
	buf_commit(&l->in, (size_t)k);
	keep_fds(l, &mh);
	dispatch_all(l);
}

/* --- begin and end ------------------------------------------------------- */

struct link *link_open(struct ev_loop *loop, int fd, const char *role,
    unsigned index, link_message_fn *on_message, link_closed_fn *on_closed,
    void *owner)
{
	struct link *l = mem_alloc(sizeof(*l));

	*l = (struct link){
		.magic = LINK_MAGIC,
		.loop = loop,
		.owner = owner,
		.on_message = on_message,
		.on_closed = on_closed,
		.fd = fd,
	};
	buf_init(&l->in, LENGTH_BYTES + IPC_FRAME_MAX + READ_BYTES);
	buf_init(&l->out, IPC_QUEUE_MAX);
	ev_io_init(&l->read, on_read, fd, EV_READ);
	l->read.data = l;
	ev_io_init(&l->write, on_write, fd, EV_WRITE);
	ev_set_priority(&l->write, EV_MINPRI);
	l->write.data = l;
	ev_init(&l->later, on_later);
	l->later.data = l;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ev_io_start(loop, &l->read);
	link_send_hello(l, &(struct msg_hello){
		.version = IPC_VERSION,
		.role = str_from(role),
		.index = index,
		.pid = (uint64_t)getpid(),
	});
	return l;
}

void link_close(struct link **lp)
{
	struct link *l = *lp;

	*lp = NULL;
	if (!l || check(l)->closed)
		return;
	if (l->state < LINK_FAILED)
		flush(l);
	ev_io_stop(l->loop, &l->read);
	ev_io_stop(l->loop, &l->write);
	ev_timer_stop(l->loop, &l->later);
	ev_clear_pending(l->loop, &l->read);
	ev_clear_pending(l->loop, &l->write);
	close(l->fd);
	l->fd = -1;
	l->closed = true;
	if (!l->busy)
		release(l);
}

bool link_is_full(const struct link *l)
{
	return l->out.len > IPC_QUEUE_FULL;
}

size_t link_queued_bytes(const struct link *l)
{
	return l->out.len;
}

uint64_t link_n_unknown(const struct link *l)
{
	return l->n_unknown;
}
