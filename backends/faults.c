/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/faults.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

struct fault {
	struct addr addr;
	double until_s, lasts_s;
};

void faults_fini(struct faults *f)
{
	free(f->v);
	*f = (struct faults){ 0 };
}

static struct fault *find(const struct faults *f, const struct addr *a)
{
	for (size_t i = 0; i < f->n; i++)
		if (addr_same_ip(&f->v[i].addr, a))
			return &f->v[i];
	return NULL;
}

static void forget(struct faults *f, struct fault *gone)
{
	size_t at = (size_t)(gone - f->v);

	f->n--;
	memmove(gone, gone + 1, (f->n - at) * sizeof *gone);
}

bool faults_has(const struct faults *f, const struct addr *a, double now_s)
{
	const struct fault *known = find(f, a);

	return known && now_s < known->until_s;
}

bool faults_add(struct faults *f, const struct addr *a, double now_s)
{
	struct fault *known = find(f, a);
	double lasts_s = FAULTS_MIN_S;

	if (known && now_s < known->until_s)
		return false;
	if (known) {
		/* what was well for longer than it was not begins anew */
		if (now_s - known->until_s < known->lasts_s)
			lasts_s = 2 * known->lasts_s;
		forget(f, known);
	} else if (f->n == FAULTS_N_MAX) {
		forget(f, f->v);
	}
	if (lasts_s > FAULTS_MAX_S)
		lasts_s = FAULTS_MAX_S;
	f->v = mem_realloc(f->v, (f->n + 1) * sizeof *f->v);
	f->v[f->n++] = (struct fault){ *a, now_s + lasts_s, lasts_s };
	return true;
}

bool faults_drop(struct faults *f, const struct addr *a)
{
	struct fault *known = find(f, a);

	if (!known)
		return false;
	forget(f, known);
	return true;
}
