/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/tickets.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

/* Requests of up to 256 bytes are not interrupted and never short. */
static void fill_random(void *to, size_t n)
{
	must(n <= 256);
	if (getrandom(to, n, 0) != (ssize_t)n)
		die("getrandom: %s", strerror(errno));
}

static uint64_t seals_s(uint64_t lifetime_s)
{
	return (lifetime_s + 1) / 2;
}

/* A clock that was set back leaves keys of the future: they go, too. */
static bool is_over(const struct tickets_key *k, uint64_t lifetime_s,
    uint64_t now_s)
{
	return k->created_s > now_s ||
	    now_s - k->created_s >= lifetime_s + seals_s(lifetime_s);
}

static void add(struct tickets *t, uint64_t now_s)
{
	if (t->n < TLS_TICKET_KEYS)
		t->n++;
	memmove(t->keys + 1, t->keys, (t->n - 1) * sizeof *t->keys);
	t->keys[0].created_s = now_s;
	fill_random(t->keys[0].bytes, sizeof t->keys[0].bytes);
}

bool tickets_turn(struct tickets *t, uint64_t lifetime_s, uint64_t now_s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->n; i++)
		if (!is_over(&t->keys[i], lifetime_s, now_s))
			t->keys[kept++] = t->keys[i];
	mem_wipe(t->keys + kept, (TLS_TICKET_KEYS - kept) * sizeof *t->keys);
	t->n = kept;
	if (lifetime_s == 0)
		return false;
	if (t->n && now_s - t->keys[0].created_s < seals_s(lifetime_s))
		return false;
	add(t, now_s);
	return true;
}

uint64_t tickets_next_s(const struct tickets *t, uint64_t lifetime_s,
    uint64_t now_s)
{
	if (lifetime_s == 0)
		return 0;
	if (t->n == 0 || t->keys[0].created_s > now_s)
		return 1;
	uint64_t age = now_s - t->keys[0].created_s;
	return age < seals_s(lifetime_s) ? seals_s(lifetime_s) - age : 1;
}

void tickets_fini(struct tickets *t)
{
	mem_wipe(t, sizeof *t);
}
