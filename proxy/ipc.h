/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_IPC_H
#define PROXY_IPC_H
/*
 * ipc - typed messages between the roles over a Unix stream socket
 *
 *	struct msg_decide  ->  frame  ~~ socket ~~>  frame  ->  struct msg
 *
 * messages.def has one row per message; the structs, codec and senders are
 * made from it. A frame is a length (4 bytes, big-endian) and a MessagePack
 * map: "t", the message's number, comes first, then the fields by their short
 * keys; what is zero or empty is left out. A descriptor travels with the first
 * byte of its frame.
 *
 * A link owns the socket. What is sent in one turn of the loop leaves in one
 * write when the turn's callbacks have run; order is kept, also of frames with
 * descriptors. Each side's first message is HELLO, sent by link_open().
 *
 * Shapes   a received struct str points into the link's buffer and is valid
 *          during the callback only.
 * Units    IPC_* in bytes.
 * Errors   unknown keys are skipped; unknown messages are skipped and
 *          counted. A bad frame, a wrong HELLO, a queue over IPC_QUEUE_MAX, an
 *          error of the socket, and end of file end the link: on_closed() is
 *          called once, from the loop, and what is sent later is dropped.
 * Owns     link_send() copies the message and duplicates its descriptor: the
 *          sender keeps its own. A received descriptor (close-on-exec; -1:
 *          none) belongs to on_message().
 * Thread   the loop's.
 * Not here what the messages mean: the roles.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/base/str.h"

struct buf;
struct ev_loop;
struct link;

#define IPC_VERSION_MAJOR 1
#define IPC_VERSION_MINOR 0
#define IPC_VERSION       (IPC_VERSION_MAJOR << 16 | IPC_VERSION_MINOR)

#define IPC_FRAME_MAX     (16u << 20)
#define IPC_QUEUE_FULL    (1u << 20)	/* link_is_full() above it */
#define IPC_LATER_S       0.02
#define IPC_QUEUE_MAX     (64u << 20)	/* the link ends above it */

enum msg_type {
#define MESSAGE(NAME, name, number, ...) MSG_##NAME = number,
#include "proxy/messages.def"
};

/* struct msg_hello and the others. */
#define U64(field, key)   uint64_t field;
#define BOOL(field, key)  bool field;
#define BYTES(field, key) struct str field;
#define FD(field)         int field;
#define MESSAGE(NAME, name, number, ...) struct msg_##name { __VA_ARGS__ };
#include "proxy/messages.def"

struct msg {
	enum msg_type type;
	union {
#define MESSAGE(NAME, name, number, ...) struct msg_##name name;
#include "proxy/messages.def"
	};
};

/* "DECIDE"; "?" for a number without a row. */
const char *msg_name(enum msg_type type);

/* --- codec: pure -------------------------------------------------------- */

enum msg_verdict {
	MSG_OK,
	MSG_UNKNOWN,		/* a sound map, but of a newer release */
	MSG_BAD,		/* no MessagePack, or not as we write it */
};

/* Appends the frame to out; false, and out as before, when out's bound or
 * IPC_FRAME_MAX forbids. *fd_out: the descriptor to go with it, or -1. */
bool msg_encode(struct buf *out, const struct msg *m, int *fd_out)
    __attribute__((warn_unused_result, nonnull));

/* Reads the map behind a frame's length; strings point into it. *has_fd_out
 * says that a descriptor was sent along (true also for MSG_UNKNOWN); the
 * message's own descriptor is -1 until the caller sets it by msg_set_fd(). */
enum msg_verdict msg_decode(struct str map, struct msg *m_out,
    bool *has_fd_out) __attribute__((warn_unused_result, nonnull));

/* False: this type of message has no descriptor. */
bool msg_set_fd(struct msg *m, int fd);

/* --- link ---------------------------------------------------------------- */

/* HELLO comes first and once; it was checked. May call link_close(). */
typedef void link_message_fn(void *owner, struct link *l, const struct msg *m);

/* The link is dead, why says why; the owner must call link_close(), here or
 * later. */
typedef void link_closed_fn(void *owner, struct link *l,
    const struct err *why);

/* Takes over fd, a connected Unix stream socket, and says HELLO as role and
 * index. Never fails: an unusable fd ends the link from the loop. */
struct link *link_open(struct ev_loop *loop, int fd, const char *role,
    unsigned index, link_message_fn *on_message, link_closed_fn *on_closed,
    void *owner) __attribute__((nonnull(1, 3, 5, 6), returns_nonnull));

/* Tries once to write what is queued, closes the socket; *l becomes NULL and
 * no callback comes. Legal inside callbacks. NULL is legal. */
void link_close(struct link **l);

void link_send(struct link *l, const struct msg *m) __attribute__((nonnull));

/* For what nobody waits for: goes with the next message, or IPC_LATER_S later,
 * so that it costs the peer no turn of its own. Order is kept. */
void link_send_later(struct link *l, const struct msg *m)
    __attribute__((nonnull));

/* link_send_decide(l, &(struct msg_decide){ .question = 1, ... }) */
#define MESSAGE(NAME, name, number, ...) \
	void link_send_##name(struct link *l, const struct msg_##name *m) \
	    __attribute__((nonnull));
#include "proxy/messages.def"

/* More than IPC_QUEUE_FULL waits for the peer: who can send less should. */
bool link_is_full(const struct link *l);

/* Bytes that wait for the peer; messages of unknown type so far. */
size_t link_queued_bytes(const struct link *l);
uint64_t link_n_unknown(const struct link *l);
#endif
