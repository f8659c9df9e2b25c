/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/err.h"

#define ARENA_CHUNK_MIN 960
#define ARENA_CHUNK_MAX 4000
#define SMALL 1024

struct chunk {
	struct chunk *next;
	size_t size, used;
	alignas(max_align_t) char data[];
};

struct arena {
	struct chunk *chunks;
	size_t left;
};

/* glibc keeps small blocks at hand for malloc() only. Big ones come from
 * calloc() clean, and untouched. */
void *mem_alloc(size_t n)
{
	bool is_small = n <= SMALL;
	void *p = is_small ? malloc(n ? n : 1) : calloc(1, n);

	if (!p)
		die("out of memory (%zu bytes)", n);
	return is_small ? memset(p, 0, n) : p;
}

void *mem_realloc(void *old, size_t n)
{
	void *p = realloc(old, n ? n : 1);

	if (!p)
		die("out of memory (%zu bytes)", n);
	return p;
}

char *mem_str(struct str s)
{
	char *p = mem_alloc(s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return p;
}

char *mem_strdup(const char *text)
{
	return mem_str(str_from(text));
}

char *mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	int n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		die("out of memory");
	return p;
}

void mem_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}

bool mem_equal(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char differ = 0;

	for (size_t i = 0; i < n; i++)
		differ |= x[i] ^ y[i];
	return differ == 0;
}

static struct chunk *chunk_new(size_t size)
{
	struct chunk *c = mem_alloc(sizeof *c + size);

	c->size = size;
	return c;
}

struct arena *arena_new(size_t limit)
{
	struct arena *a = mem_alloc(sizeof *a);

	a->left = limit;
	return a;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);

	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + align - 1) & ~(align - 1);
	if (n > a->left)
		return NULL;
	struct chunk *c = a->chunks;
	if (!c || c->size - c->used < n) {
		size_t most = c ? ARENA_CHUNK_MAX : ARENA_CHUNK_MIN;

		c = chunk_new(n > most ? n : most);
		c->next = a->chunks;
		a->chunks = c;
	}
	void *p = c->data + c->used;
	c->used += n;
	a->left -= n;
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (!p)
		return STR_NONE;
	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct str){ p, s.n };
}

void arena_free(struct arena **ap)
{
	struct arena *a = *ap;

	if (!a)
		return;
	*ap = NULL;
	while (a->chunks) {
		struct chunk *c = a->chunks;
		a->chunks = c->next;
		mem_wipe(c->data, c->used);
		free(c);
	}
	free(a);
}
