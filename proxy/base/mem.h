/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_MEM_H
#define BASE_MEM_H
/*
 * mem - memory that never fails, and arenas that leave no secret behind
 *
 * mem_*    the heap: zeroed, never NULL; the program ends when there is none.
 * arena_*  many small things with one end: freed together, wiped first.
 *          For what lives until a login is done.
 *
 * Errors   out of memory: die(). An arena asked for more than its limit:
 *          arena_alloc() returns NULL, and the caller refuses its peer.
 * Owns     the caller; free() what mem_* gave, arena_free() frees all of it.
 * Thread   any, one at a time per arena.
 */
#include <stddef.h>

#include "proxy/base/str.h"

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull));

/* A NUL-terminated copy. */
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_str(struct str s) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* Overwrites n bytes in a way that the compiler keeps. */
void mem_wipe(void *p, size_t n);

/* Compares secrets: takes the same time wherever they differ. */
bool mem_equal(const void *a, const void *b, size_t n);

struct arena;

/* limit: the bytes that all allocations together may take. */
struct arena *arena_new(size_t limit);

/* Zeroed and aligned for any type; NULL when the limit would be passed. */
void *arena_alloc(struct arena *a, size_t n);

/* A NUL-terminated copy whose view is returned; p is NULL over the limit. */
struct str arena_str(struct arena *a, struct str s);

/* Wipes and frees all; *a becomes NULL. NULL is legal. */
void arena_free(struct arena **a);
#endif
