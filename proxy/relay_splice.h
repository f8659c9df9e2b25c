/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_RELAY_SPLICE_H
#define PROXY_RELAY_SPLICE_H
/*
 * relay_splice - the pump without a copy: socket to pipe to socket
 *
 * For two plain legs: with relay.mode = opaque all that is relayed, with
 * framed the literals that are long enough. A session has a pipe for a
 * direction only while bytes wait in it; empty pipes are the worker's, for
 * whoever needs one next.
 *
 * Errors   without a pipe (descriptors have run out) the caller copies.
 * Thread   the worker's.
 * Source   splice(2).
 */
#include "proxy/session.h"

struct relay_pipes;

/* Is it the better way for what comes next of this side? While its bytes wait
 * in a pipe, it is the only one. */
bool relay_splice_suits(const struct session *s, enum frame_side side);

/* As relay_copy(). */
enum stream_verdict relay_splice(struct session *s, enum frame_side side);

/* Does the receiver of this side's bytes take none now? */
bool relay_is_blocked(const struct session *s, enum frame_side side);

void relay_pipes_free(struct relay_pipes **pipes);
#endif
