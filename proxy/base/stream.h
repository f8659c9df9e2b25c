/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H
/*
 * stream - one TCP connection, plain or TLS, without blocking
 *
 *	on an event:  stream_handshake() until OK, then
 *	              stream_read() until AGAIN, stream_write() what there is,
 *	              stream_flush(), stream_want()
 *
 * An idle stream owns no buffer. Raw bytes come and go through buffers of
 * the loop: one recv() may bring several TLS records, one send() may carry
 * several. What the kernel does not take, or what was read and not yet used,
 * is kept in memory of the stream's own until it is gone.
 *
 * Shapes   stream_write() takes all it is given; the caller stops making
 *          more while stream_unsent() is not 0. So a stream keeps at most
 *          what it was given in one go, with TLS's overhead.
 *          stream_read() must be called until AGAIN, or be called again
 *          later without an event: bytes may wait inside.
 * Errors   verdicts; FAILED is final and stream_error() says why. When
 *          sending fails, reading goes on until nothing is left: a peer's
 *          last words may be there. A failed
 *          connect() shows at the first read: a plain stream is used at once,
 *          the kernel keeps what is written until the peer has answered.
 * Owns     the descriptor and all inside; stream_close() frees, and may be
 *          called in any callback. The struct itself is the caller's.
 * Thread   the loop's.
 */
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/err.h"
#include "proxy/base/str.h"

struct buf;
struct ssl_st;
struct stream;
struct stream_rest;
struct tls_client;
struct tls_server;

enum stream_verdict {
	STREAM_OK,
	STREAM_AGAIN,		/* come back at the next event */
	STREAM_EOF,		/* the peer has ended its direction */
	STREAM_FAILED,
};

typedef void stream_fn(struct stream *s, int revents);

/* The buffers that all streams of a loop share. */
struct stream_loop {
	struct ev_loop *loop;
	size_t chunk;			/* bytes of one read */
	char *scratch;			/* chunk bytes for the reader's use */
	char *in, *out;			/* raw bytes: TLS only */
	size_t in_off, in_len;		/* of reader's */
	size_t out_len, out_cap;	/* of writer's */
	struct stream *reader, *writer;
};

struct stream {
	ev_io io;
	struct stream_loop *loop;
	struct ssl_st *ssl;
	struct stream_rest *in, *out;
	stream_fn *fn;
	void *owner;
	int error;			/* errno, or EPROTO for TLS: the end */
	int send_error;			/* what came before can still be read */
	uint8_t n_recvs;		/* since the last event */
	bool is_handshaking;
	bool is_drained;		/* no recv() before the next event */
	bool has_eof;			/* nothing more will be read */
	bool has_shutdown;		/* nothing more may be written */
	bool wants_write;		/* the owner writes to the socket itself */
};

/* chunk: what a read takes at most; 16 KiB or more. */
void stream_loop_init(struct stream_loop *l, struct ev_loop *loop,
    size_t chunk);
void stream_loop_fini(struct stream_loop *l);

/* A closed stream that knows whom to call. */
void stream_init(struct stream *s, struct stream_loop *l, stream_fn *fn,
    void *owner);
/* Nothing more can be sent. */
static inline bool stream_is_broken(const struct stream *s)
{
	return s->error || s->send_error;
}

static inline bool stream_is_open(const struct stream *s)
{
	return s->io.fd >= 0;
}

/* Takes over a connected, non-blocking socket. */
void stream_adopt(struct stream *s, int fd);

/* Starts to connect, from an address of this host or, with NULL, from one that
 * the system chooses; false with err when it cannot even be tried. */
bool stream_connect(struct stream *s, const struct addr *to,
    const struct addr *from, struct err *err);

/* Whether TCP has answered; for the limit on connecting. */
bool stream_is_connected(const struct stream *s);

/* From now on TLS. Input read before must have been used or dropped
 * (stream_drop_input) or given back (stream_unread) by the caller. */
void stream_tls_accept(struct stream *s, struct tls_server *t);
void stream_tls_connect(struct stream *s, struct tls_client *t);

/* OK: its last messages leave with the next stream_flush(), which the caller
 * owes in any case: mostly there is something to say, in the same packet. */
enum stream_verdict stream_handshake(struct stream *s, struct err *err);
static inline bool stream_is_tls(const struct stream *s)
{
	return s->ssl != NULL;
}

enum stream_verdict stream_read(struct stream *s, void *to, size_t n,
    size_t *n_out) __attribute__((warn_unused_result));

/* Puts n bytes back in front: they are read first. n <= chunk. */
void stream_unread(struct stream *s, const void *p, size_t n);

/* Bytes that a read would give without an event. */
bool stream_has_input(const struct stream *s);

/* Forgets what was received and not read: what came before TLS. */
void stream_drop_input(struct stream *s);

void stream_write(struct stream *s, const void *p, size_t n);
enum stream_verdict stream_flush(struct stream *s);
size_t stream_unsent(const struct stream *s);

/* Ends our direction behind what is unsent: close_notify, then FIN. */
void stream_shutdown(struct stream *s);

/* Sets the events waited for: writing while something is unsent, reading
 * when the caller wants it and the peer has not ended; none once the stream
 * has failed, which flush and read tell. The last call of a turn. */
void stream_want(struct stream *s, bool read);
void stream_close(struct stream *s);
const char *stream_error(const struct stream *s);

/* Higher is served first within a turn of the loop. */
void stream_set_priority(struct stream *s, int priority);

/* What TLS agreed on; all empty for a plain stream. Views live as long as
 * the stream, peer_name is copied into name. */
struct stream_tls_info {
	const char *version, *cipher;
	struct str server_name;		/* SNI */
	struct str peer_name;		/* verified certificate's user */
	int64_t peer_ends_s;		/* its certificate does: Unix time; 0:
					 * it has shown none */
	bool is_resumed;
	char name[256];
};
void stream_tls_info(const struct stream *s, struct stream_tls_info *out);

/* Appends the peer's certificate in DER, if it has shown one that is verified;
 * false: none, or no room. */
bool stream_tls_certificate(const struct stream *s, struct buf *out);

/* Between stream.c and stream_tls.c. */
void stream_rest_add(struct stream_rest **r, const void *p, size_t n);
void stream_send_raw(struct stream *s, const void *p, size_t n);
void stream_batch_raw(struct stream *s, const void *p, size_t n);
size_t stream_take_raw(struct stream *s, void *to, size_t n);
bool stream_is_dry(const struct stream *s);
enum stream_verdict stream_tls_read(struct stream *s, void *to, size_t n,
    size_t *n_out);
void stream_tls_write(struct stream *s, const void *p, size_t n);
enum stream_verdict stream_tls_handshake(struct stream *s, struct err *err);
bool stream_tls_has_input(const struct stream *s);
void stream_tls_shutdown(struct stream *s);
void stream_tls_free(struct stream *s);
#endif
