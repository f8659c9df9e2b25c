/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/relay.h"

#include <errno.h>

#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/conf.h"
#include "proxy/parting.h"
#include "proxy/relay_splice.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

/* Reads in one turn; what a stream has already taken in does not count, since
 * no event would come for it. */
#define READS_MAX 16
#define WAYS_MAX 8	/* changes between copying and splicing in one turn */
#define PRIORITY 1	/* before handshakes */

static void feed(struct session *s, enum frame_side side, const void *p,
    size_t n)
{
	*(side == FRAME_CLIENT ? &s->c2b_bytes : &s->b2c_bytes) += n;
	if (!s->is_opaque)
		frame_feed(&s->frame, side, p, n);
}

static void pass(struct session *s, enum frame_side side, const struct buf *b)
{
	struct str bytes = buf_view(b);

	feed(s, side, bytes.p, bytes.n);
	stream_write(side == FRAME_CLIENT ? &s->backend : &s->client, bytes.p,
	    bytes.n);
}

void relay_begin(struct session *s, const struct buf *answer,
    const struct buf *from_backend, const struct buf *from_client)
{
	struct str first = buf_view(answer);

	s->is_opaque = snapshot_relay(s->snapshot)->mode == CONF_RELAY_OPAQUE;
	frame_init(&s->frame);
	stream_write(&s->client, first.p, first.n);
	pass(s, FRAME_BACKEND, from_backend);
	(void)stream_flush(&s->client);
	pass(s, FRAME_CLIENT, from_client);
	(void)stream_flush(&s->backend);
	stream_set_priority(&s->client, PRIORITY);
	stream_set_priority(&s->backend, PRIORITY);
	s->active_at = clock_now();
	deadline_stop(&s->deadline);
	deadline_start(&s->worker->idle_limit, &s->deadline);
}

/* A limit of half an hour need not be exact to the millisecond. */
void relay_touch(struct session *s)
{
	struct deadline_class *limit = &s->worker->idle_limit;
	double now = clock_coarse();

	if (s->client.has_eof || s->backend.has_eof)
		limit = &s->worker->half_limit;
	if (now - s->active_at < limit->length_s / 64)
		return;
	s->active_at = now;
	deadline_start(limit, &s->deadline);
}

/* Moves what can be moved now; EOF and FAILED are of the side read from. */
enum stream_verdict relay_copy(struct session *s, enum frame_side side)
{
	struct stream *from = side == FRAME_CLIENT ? &s->client : &s->backend;
	struct stream *to = side == FRAME_CLIENT ? &s->backend : &s->client;
	char *scratch = from->loop->scratch;
	size_t n;

	for (int i = 0; i < READS_MAX || stream_has_input(from); i++) {
		if (stream_unsent(to) || to->has_shutdown)
			break;
		enum stream_verdict v = stream_read(from, scratch,
		    from->loop->chunk, &n);
		if (v != STREAM_OK) {
			(void)stream_flush(to);
			return v;
		}
		feed(s, side, scratch, n);
		stream_write(to, scratch, n);
		relay_touch(s);
		if (relay_splice_suits(s, side)) {
			(void)stream_flush(to);
			return STREAM_OK;
		}
	}
	(void)stream_flush(to);
	return STREAM_AGAIN;
}

/* One side has ended; the other may still have something to say. */
static void half_close(struct session *s, struct stream *to)
{
	if (to->has_shutdown)
		return;
	/* after LOGOUT the backend closes by itself */
	if (!frame_logout_seen(&s->frame))
		stream_shutdown(to);
	deadline_start(&s->worker->half_limit, &s->deadline);
}

static enum reason client_ended(const struct session *s)
{
	return s->client.has_eof || s->client.error == ECONNRESET ||
	    s->client.send_error ? REASON_CLIENT_EOF : REASON_CLIENT_ERROR;
}

static enum reason backend_ended(const struct session *s)
{
	if (s->client.has_eof)
		return REASON_CLIENT_EOF;
	if (frame_logout_seen(&s->frame))
		return REASON_LOGOUT;
	if (frame_bye_seen(&s->frame))
		return REASON_BACKEND_BYE;
	return s->backend.has_eof ? REASON_BACKEND_EOF : REASON_BACKEND_ERROR;
}

bool relay_may_end(const struct session *s)
{
	return s->is_opaque || frame_is_opaque(&s->frame) ||
	    frame_is_safe(&s->frame);
}

/* A long literal begins in what was copied, and ends before what is copied
 * again. */
static enum stream_verdict move(struct session *s, enum frame_side side)
{
	enum stream_verdict v = STREAM_OK;

	for (int i = 0; i < WAYS_MAX && v == STREAM_OK; i++)
		v = relay_splice_suits(s, side) ? relay_splice(s, side) :
		    relay_copy(s, side);
	return v;
}

enum step relay_run(struct session *s)
{
	/* the backend first: sending to one that has gone would fail, and its
	 * last words are for the client */
	enum stream_verdict backend = move(s, FRAME_BACKEND);
	enum stream_verdict client = move(s, FRAME_CLIENT);

	if (backend == STREAM_EOF || backend == STREAM_FAILED)
		return parting_begin(s, backend_ended(s));
	if (client == STREAM_FAILED)
		return session_fail(s, client_ended(s));
	if (client == STREAM_EOF)
		half_close(s, &s->backend);
	if (s->ordered && relay_may_end(s))
		return session_fail(s, s->ordered);
	stream_want(&s->client, !relay_is_blocked(s, FRAME_CLIENT));
	stream_want(&s->backend, !relay_is_blocked(s, FRAME_BACKEND));
	return STEP_WAIT;
}
