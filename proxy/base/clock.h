/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
/*
 * clock - seconds that only go forward
 *
 * For limits and durations: the time of day (ev_now(), time()) jumps when
 * somebody sets it, and would end every idle session at once.
 *
 * Units    seconds since some moment; not the time of day.
 * Thread   any.
 */
#include <time.h>

static inline double clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The same clock, some milliseconds behind, at a fraction of the price: for
 * what happens with every packet. */
static inline double clock_coarse(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
#endif
