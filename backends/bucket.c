/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/bucket.h"

static double room(const struct bucket *b)
{
	double burst = b->rate * BUCKET_BURST_S;

	return burst > 1 ? burst : 1;
}

static void fill(struct bucket *b, double now_s)
{
	if (now_s <= b->at_s)
		return;
	b->tokens += (now_s - b->at_s) * b->rate;
	if (b->tokens > room(b))
		b->tokens = room(b);
	b->at_s = now_s;
}

void bucket_set_rate(struct bucket *b, double rate, double now_s)
{
	double was = b->rate;

	fill(b, now_s);
	b->rate = rate;
	if (was <= 0 || b->tokens > room(b))
		b->tokens = room(b);
}

uint64_t bucket_take(struct bucket *b, uint64_t most_ms, double now_s)
{
	double wait_ms;

	if (b->rate <= 0)
		return 0;
	fill(b, now_s);
	wait_ms = b->tokens >= 1 ? 0 : (1 - b->tokens) / b->rate * 1000;
	if (wait_ms > (double)most_ms)
		return BUCKET_NEVER;
	b->tokens -= 1;
	/* rounded up, so that it is there then */
	return (uint64_t)wait_ms + (wait_ms > 0);
}

void bucket_give_back(struct bucket *b)
{
	b->tokens += 1;
	if (b->tokens > room(b))
		b->tokens = room(b);
}
