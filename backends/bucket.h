/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_BUCKET_H
#define BACKENDS_BUCKET_H
/*
 * bucket - so many a second and no more: a token bucket
 *
 *	bucket_take() = 0		a token was there and is taken
 *	bucket_take() = n		it is promised: it comes in n ms
 *	bucket_take() = BUCKET_NEVER	that would take too long
 *
 * A full bucket holds what comes in BUCKET_BURST_S, and one token at least:
 * that much may pass at once after a pause. Promises are kept in their order,
 * so nobody has to ask twice.
 *
 * Units    tokens a second; now_s on a clock that only goes forward.
 * Errors   none. A rate of 0 is no limit.
 * Owns     nothing; all zero is a bucket without limit.
 * Thread   its owner's. Pure: the time comes from the caller.
 */
#include <stdint.h>

#define BUCKET_BURST_S 0.1
#define BUCKET_NEVER UINT64_MAX

struct bucket {
	double rate;
	double tokens;		/* less than 0: what is promised */
	double at_s;
};

/* Full when it had no limit before; else it keeps what it holds. */
void bucket_set_rate(struct bucket *b, double rate, double now_s);

uint64_t bucket_take(struct bucket *b, uint64_t most_ms, double now_s);

/* A token that was taken, or promised, is not used. */
void bucket_give_back(struct bucket *b);
#endif
