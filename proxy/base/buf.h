/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_BUF_H
#define BASE_BUF_H
/*
 * buf - a bounded queue of bytes: append at the end, consume at the front
 *
 * Shapes   buf_view() is all that is held, in one piece.
 * Units    bytes; max is the most it may ever hold (0: no bound).
 * Errors   an append that would pass max changes nothing, marks the buffer
 *          overflowed and returns false.
 * Owns     its memory; none while it is empty and never used. Freed memory
 *          is wiped: buffers hold passwords.
 * Thread   its owner's.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/str.h"

struct buf {
	char *data;
	uint32_t off, len, cap, max;	/* held: data[off .. off + len) */
	bool overflowed;
};

static inline struct str buf_view(const struct buf *b)
{
	return (struct str){ b->data ? b->data + b->off : NULL, b->len };
}

void buf_init(struct buf *b, size_t max);

/* Wipes and frees; the buffer is as after buf_init(). */
void buf_fini(struct buf *b);

bool buf_append(struct buf *b, const void *p, size_t n);
bool buf_str(struct buf *b, struct str s);
bool buf_puts(struct buf *b, const char *text);
bool buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* For buf_reserve(): grows it, or moves the content to the front. spare: bytes
 * behind the n that need not be within max. */
char *buf_make_room(struct buf *b, size_t n, size_t spare);

/* Room for n more bytes behind the content, or NULL when max forbids; what
 * was written there is taken in by buf_commit(). Mostly there is room. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
	size_t room = b->cap - b->off - b->len;

	if (n <= room && (b->max == 0 || n + b->len <= b->max))
		return b->data + b->off + b->len;
	return buf_make_room(b, n, 0);
}

void buf_commit(struct buf *b, size_t n);

/* Drops n bytes at the front; n <= b->len. */
void buf_consume(struct buf *b, size_t n);

/* Drops and wipes the content, keeps the memory. */
void buf_clear(struct buf *b);
#endif
