/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/balance.h"

#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

struct member {
	uint64_t hash;		/* of its name */
	uint32_t weight;
	int64_t credit;		/* round-robin: turns it is owed */
};

struct balance {
	struct member *members;
	size_t n;
};

/*
 * The draw of a backend for a user is e / weight, where e = -log2(x) and x is
 * the hash of both names read as a number in (0, 1]; e is exponentially
 * distributed, and so the smallest quotient belongs to each backend as often
 * as its share of the weights says. e is kept in units of 2^-LOG_BITS and
 * two quotients are compared by cross-multiplication: e < 2^38 and
 * weight < 2^16 leave room in 64 bits.
 *
 * log2 comes from a table of LOG_STEPS chords. It lies under the curve by
 * 2e-7 at most, for all backends alike.
 */
#define LOG_BITS 32
#define LOG_STEP_BITS 10
#define LOG_STEPS (1u << LOG_STEP_BITS)

static uint64_t log_table[LOG_STEPS + 1];

/* log2(1 + i / LOG_STEPS), bit by bit: to square a number is to double its
 * logarithm, and a square above 2 shows a one. */
static uint64_t log_entry(uint32_t i)
{
	uint64_t m = (1ull << 31) + ((uint64_t)i << (31 - LOG_STEP_BITS));
	uint64_t log = 0;

	if (i == LOG_STEPS)
		return 1ull << LOG_BITS;
	for (int bit = LOG_BITS - 1; bit >= 0; bit--) {
		m = m * m >> 31;
		if (m >> 32) {
			m >>= 1;
			log |= 1ull << bit;
		}
	}
	return log;
}

/* -log2(x / 2^64) in units of 2^-LOG_BITS; x > 0. */
static uint64_t draw(uint64_t x)
{
	unsigned zeros = (unsigned)__builtin_clzll(x);
	uint64_t fraction = x << zeros << 1;	/* x = 1.fraction * 2^k */
	size_t i = fraction >> (64 - LOG_STEP_BITS);
	uint64_t low = fraction << LOG_STEP_BITS >> 32;
	uint64_t log = log_table[i] +
	    ((log_table[i + 1] - log_table[i]) * low >> 32);

	return ((uint64_t)(zeros + 1) << LOG_BITS) - log;
}

/* Each bit of the answer depends on each bit of x, and no two x give the same
 * (the finaliser of MurmurHash3). */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	x ^= x >> 33;
	return x;
}

/* FNV-1a of 64 bits, its weak upper bits mixed. */
uint64_t balance_hash(struct str user)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < user.n; i++)
		h = (h ^ (unsigned char)user.p[i]) * 0x100000001b3ull;
	return mix(h);
}

uint64_t balance_pair(uint64_t user_hash, uint64_t other)
{
	return mix(user_hash ^ mix(~other));
}

struct balance *balance_new(void)
{
	struct balance *b = mem_alloc(sizeof *b);

	if (log_table[LOG_STEPS] == 0)
		for (uint32_t i = 0; i <= LOG_STEPS; i++)
			log_table[i] = log_entry(i);
	return b;
}

void balance_free(struct balance **bp)
{
	struct balance *b = *bp;

	if (!b)
		return;
	*bp = NULL;
	free(b->members);
	free(b);
}

void balance_add(struct balance *b, struct str name, unsigned weight)
{
	must(weight <= BALANCE_WEIGHT_MAX);
	b->members = mem_realloc(b->members, (b->n + 1) * sizeof *b->members);
	/* mixed once more, so that a backend named as a user is not its twin */
	b->members[b->n++] = (struct member){
		.hash = mix(~balance_hash(name)), .weight = weight };
}

void balance_set_weight(struct balance *b, size_t member, unsigned weight)
{
	must(member < b->n && weight <= BALANCE_WEIGHT_MAX);
	b->members[member].weight = weight;
}

size_t balance_n(const struct balance *b)
{
	return b->n;
}

static bool is_fit(const struct balance *b, size_t i, const bool *unfit)
{
	return b->members[i].weight > 0 && !(unfit && unfit[i]);
}

size_t balance_user_hash(const struct balance *b, struct str user,
    const bool *unfit)
{
	const struct member *best = NULL;
	uint64_t user_hash = balance_hash(user), best_draw = 0;

	for (size_t i = 0; i < b->n; i++) {
		const struct member *m = &b->members[i];
		if (!is_fit(b, i, unfit))
			continue;
		/* 0 has no logarithm */
		uint64_t e = draw(mix(user_hash ^ m->hash) | 1);
		uint64_t mine = best ? e * best->weight : 0;
		uint64_t theirs = best ? best_draw * m->weight : 1;
		/* a tie must not depend on the order of the members */
		if (mine < theirs || (mine == theirs && m->hash < best->hash)) {
			best = m;
			best_draw = e;
		}
	}
	return best ? (size_t)(best - b->members) : BALANCE_NONE;
}

/* Each turn everybody is paid its weight; who has most serves and pays what
 * all were paid together. */
size_t balance_round_robin(struct balance *b, const bool *unfit)
{
	struct member *best = NULL;
	int64_t paid = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct member *m = &b->members[i];
		if (!is_fit(b, i, unfit))
			continue;
		m->credit += m->weight;
		paid += m->weight;
		if (!best || m->credit > best->credit)
			best = m;
	}
	if (!best)
		return BALANCE_NONE;
	best->credit -= paid;
	return (size_t)(best - b->members);
}

size_t balance_first(const struct balance *b, const bool *unfit)
{
	for (size_t i = 0; i < b->n; i++)
		if (is_fit(b, i, unfit))
			return i;
	return BALANCE_NONE;
}

/* Compares (load + 1) / weight, the load that each would come to. */
size_t balance_least(const struct balance *b, const size_t *load,
    const bool *unfit)
{
	size_t best = BALANCE_NONE;

	for (size_t i = 0; i < b->n; i++) {
		if (!is_fit(b, i, unfit))
			continue;
		if (best == BALANCE_NONE ||
		    ((uint64_t)load[i] + 1) * b->members[best].weight <
		    ((uint64_t)load[best] + 1) * b->members[i].weight)
			best = i;
	}
	return best;
}
