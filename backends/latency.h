/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LATENCY_H
#define BACKENDS_LATENCY_H
/*
 * latency - how long answers took: how many by powers of ten
 *
 *	n[0] under 10 us, n[1] under 100 us, 1 ms ... 1 s, the last: longer
 *
 * Units    seconds.
 * Errors   none. All zero is nothing counted.
 * Owns     nothing.
 * Thread   its owner's.
 */
#include <stdint.h>

#define LATENCY_STEPS 7

struct latency {
	uint64_t n[LATENCY_STEPS];
	double seconds;		/* of all together */
};

void latency_add(struct latency *l, double seconds);
#endif
