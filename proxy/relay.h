/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H
/*
 * relay - the session after login: two pumps
 *
 *	client  -> scratch -> backend        backend -> scratch -> client
 *
 * Both directions share the loop's scratch. What a receiver does not take
 * stays in its stream, and its sender is not read until it is gone: a
 * direction holds relay.buffer at the most, with what TLS adds to it.
 * The frame is fed with every byte before it is sent on.
 *
 * A side that ends its direction has that passed on to the other, which then
 * has relay.half_closed_timeout to finish.
 *
 * Thread   the worker's.
 * Source   RFC 9051 §5.4 (autologout), §7.1.5 (BYE).
 */
#include "proxy/session.h"

struct buf;

#define RELAY_LINGER_S 2

/* The login is done. Sends each side what the login has left: to the client
 * its answer and what the backend said behind it, to the backend what the
 * client has pipelined. */
void relay_begin(struct session *s, const struct buf *answer,
    const struct buf *from_backend, const struct buf *from_client);
enum step relay_run(struct session *s);

/* For relay_splice: the session is alive; and the way through memory. OK: what
 * comes next is better spliced. */
void relay_touch(struct session *s);
enum stream_verdict relay_copy(struct session *s, enum frame_side side);

/* May the session be ended now, without cutting a command? */
bool relay_may_end(const struct session *s);
#endif
