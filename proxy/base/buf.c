/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define BUF_MIN 256

void buf_init(struct buf *b, size_t max)
{
	must(max <= UINT32_MAX);
	*b = (struct buf){ .max = (uint32_t)max };
}

void buf_fini(struct buf *b)
{
	if (b->data)
		mem_wipe(b->data, b->cap);
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

/* Growing copies into fresh memory instead of realloc(), which might leave
 * the old bytes, a password perhaps, in freed memory. */
static void grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_MIN;

	while (cap < need)
		cap *= 2;
	must(cap <= UINT32_MAX);
	char *data = mem_alloc(cap);
	if (b->len)
		memcpy(data, b->data + b->off, b->len);
	if (b->data)
		mem_wipe(b->data, b->cap);
	free(b->data);
	b->data = data;
	b->off = 0;
	b->cap = (uint32_t)cap;
}

char *buf_make_room(struct buf *b, size_t n, size_t spare)
{
	size_t most = b->max ? b->max : UINT32_MAX / 2;

	if (n > most || b->len > most - n) {
		b->overflowed = true;
		return NULL;
	}
	n += spare;
	if ((size_t)b->off + b->len + n > b->cap) {
		if (b->off && b->len + n <= b->cap) {
			memmove(b->data, b->data + b->off, b->len);
			b->off = 0;
		} else {
			grow(b, b->len + n);
		}
	}
	return b->data + b->off + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	must((size_t)b->off + b->len + n <= b->cap);
	b->len += (uint32_t)n;
}

bool buf_append(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return true;
	char *to = buf_reserve(b, n);
	if (!to)
		return false;
	memcpy(to, p, n);
	b->len += (uint32_t)n;
	return true;
}

bool buf_str(struct buf *b, struct str s)
{
	return buf_append(b, s.p, s.n);
}

bool buf_puts(struct buf *b, const char *text)
{
	return buf_append(b, text, strlen(text));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	char *to = buf_make_room(b, (size_t)n, 1);
	if (!to)
		return false;
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (uint32_t)n;
	return true;
}

void buf_consume(struct buf *b, size_t n)
{
	must(n <= b->len);
	b->off += (uint32_t)n;
	b->len -= (uint32_t)n;
	if (b->len == 0)
		b->off = 0;
}

void buf_clear(struct buf *b)
{
	if (b->data)
		mem_wipe(b->data, b->cap);
	b->off = b->len = 0;
	b->overflowed = false;
}
