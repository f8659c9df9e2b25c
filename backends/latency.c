/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/latency.h"

#include <stddef.h>

void latency_add(struct latency *l, double seconds)
{
	double limit = 10e-6;
	size_t i = 0;

	while (i < LATENCY_STEPS - 1 && seconds >= limit) {
		limit *= 10;
		i++;
	}
	l->n[i]++;
	l->seconds += seconds;
}
