/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_FRAME_H
#define PROXY_FRAME_H
/*
 * frame - where lines, literals and commands end in a relayed session
 *
 *	bytes of both sides, as they are relayed  ->  answers to questions
 *
 * Follows an IMAP session after login without reading more of it than the
 * first two words of a line and its last bytes: line ends, literals (skipped
 * by count), commands in flight, IDLE. So the relay knows the safe points.
 *
 * Shapes   any split of either side's bytes, also one byte a call. Feed a
 *          chunk when it was read, before it is written to the other side:
 *          then an answer is never fed before its question. A line ends with
 *          LF; CR before it belongs to the end, as Dovecot takes it.
 * Units    bytes.
 * Errors   none. When following makes no sense any more (COMPRESS began, a
 *          line that is not IMAP, a client that does not wait for "+" and
 *          is refused) the frame becomes opaque, for good, and says no to
 *          every question about places. Peers are never told.
 * Owns     nothing: no allocation, no pointer into the bytes.
 * Thread   the worker that owns the session.
 * Source   RFC 9051 and RFC 3501, sections 2.2, 4.3, 7 and 9; RFC 7888 and
 *          RFC 4466 (literals); 2177 (IDLE); 4978 (COMPRESS).
 * Not here the bytes behind a safe point that wait in the relay's own queue:
 *          the caller sends them before it puts a line of its own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_COMMANDS 8	/* followed by tag; more are only counted */
#define FRAME_TAIL 23		/* "{" 19 digits "+}" CR */

enum frame_side {
	FRAME_CLIENT,
	FRAME_BACKEND,
};

/* The commands that matter to who follows. */
enum frame_command {
	FRAME_OTHER,
	FRAME_IDLE,
	FRAME_IDLE_DONE,	/* an IDLE whose DONE was sent */
	FRAME_COMPRESS,
	FRAME_STARTTLS,		/* legal again after UNAUTHENTICATE */
	FRAME_LOGOUT,
	FRAME_NOTIFY,
	FRAME_UNAUTHENTICATE,
};

/* Private from here to the functions; in the header to be embedded. */

/* One side's place in its line. */
struct frame_line {
	uint64_t literal;		/* bytes of it still to come */
	uint32_t tag;			/* hash of the first word */
	uint8_t part, form, word;	/* enums of frame.c */
	uint8_t name_n;			/* length of the second word, so far */
	uint8_t tail_n;			/* FRAME_TAIL means: or more */
	char tail[FRAME_TAIL];		/* the last bytes of the line */
};

struct frame_entry {
	uint32_t tag;
	uint8_t command;	/* enum frame_command */
	uint8_t owed;		/* "+" that the backend has yet to send */
	bool is_open;		/* the client is still sending it */
};

struct frame {
	struct frame_line line[2];			/* by enum frame_side */
	struct frame_entry entry[FRAME_COMMANDS];	/* oldest first */
	uint32_t n_more;	/* in flight but without an entry */
	uint32_t stray;		/* tag of a client's line that is no command */
	uint16_t seen;		/* bit set of enum frame_command */
	uint8_t n_entries;
	uint8_t client, idle;	/* enums of frame.c */
	bool is_pending;	/* a literal waits for "+" */
	bool is_opaque;
	bool bye_seen;
};

/* Both sides at a line start, nothing in flight: right after login. What the
 * client pipelined behind its login is fed like all the rest. */
void frame_init(struct frame *f);

void frame_feed(struct frame *f, enum frame_side side, const char *p,
    size_t n);

/* Bytes of the literal under way that are still to come: they may be relayed
 * without being fed, and then be told to frame_pass(). 0: what comes is fed. */
uint64_t frame_literal_left(const struct frame *f, enum frame_side side);
void frame_pass(struct frame *f, enum frame_side side, uint64_t n);

/* False in a line, in a literal, between the parts of a command, and while a
 * literal waits for the backend's leave. */
bool frame_at_line_start(const struct frame *f, enum frame_side side);

/* No command in flight but a confirmed IDLE, and both sides at a line start:
 * a BYE toward the client cuts nothing. */
bool frame_is_safe(const struct frame *f);

/* The stream to the client is at a line start: "* BYE" is a line of its own
 * there, though commands may be in flight. */
bool frame_can_bye(const struct frame *f);

bool frame_is_opaque(const struct frame *f);

/* The backend said "+" to IDLE and the client has not said DONE. */
bool frame_in_idle(const struct frame *f);

/* The client has sent such a command, whatever became of it. */
bool frame_has_seen(const struct frame *f, enum frame_command command);

/* frame_has_seen(f, FRAME_LOGOUT): an end that follows is the client's wish. */
bool frame_logout_seen(const struct frame *f);

/* The backend has sent "* BYE" itself; another one would be noise. */
bool frame_bye_seen(const struct frame *f);

/* Commands that have no tagged response yet. */
size_t frame_in_flight(const struct frame *f);
#endif
