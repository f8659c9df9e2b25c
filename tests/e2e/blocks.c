/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * blocks - counts the heap blocks that are in use, by LD_PRELOAD
 *
 * Each process writes the count to BLOCKS_DIR/PID, which it opens and maps
 * before it gives up opening files.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);

static long spare, *count = &spare;

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("BLOCKS_DIR");
	char path[256];

	snprintf(path, sizeof path, "%s/%d", dir ? dir : ".", (int)getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, sizeof *count) < 0)
		return;
	void *at = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return;
	count = at;
	*count = spare;
}

/* Threads of one process count together. */
static void add(long n)
{
	__atomic_fetch_add(count, n, __ATOMIC_RELAXED);
}

void *malloc(size_t n)
{
	void *p = __libc_malloc(n);

	add(p != NULL);
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = __libc_calloc(n, size);

	add(p != NULL);
	return p;
}

void *realloc(void *old, size_t n)
{
	void *p = __libc_realloc(old, n);

	if (!old)
		add(p != NULL);
	else if (n == 0)
		add(-1);
	return p;
}

void free(void *p)
{
	add(-(p != NULL));
	__libc_free(p);
}
