/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_FAULTS_H
#define BACKENDS_FAULTS_H
/*
 * faults - addresses that did not answer, and are left out for a while
 *
 *	add(a)  ->  has(a) for FAULTS_MIN_S; the next time, unless it has
 *	answered meanwhile or long ago, twice as long, up to FAULTS_MAX_S
 *
 * Many who find the same fault at once count as one.
 *
 * Shapes   addresses are compared without their ports. All zero is none.
 * Units    seconds of clock.h.
 * Errors   none; beyond FAULTS_N_MAX addresses the oldest is forgotten.
 * Owns     its memory; faults_fini() frees it.
 * Thread   its owner's.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/addr.h"

#define FAULTS_MIN_S 30.
#define FAULTS_MAX_S 300.
#define FAULTS_N_MAX 32

struct fault;

struct faults {
	struct fault *v;
	size_t n;
};

void faults_fini(struct faults *f);

bool faults_has(const struct faults *f, const struct addr *a, double now_s);

/* False: it was at fault already. */
bool faults_add(struct faults *f, const struct addr *a, double now_s);

/* It has answered. False: it was not known to be at fault. */
bool faults_drop(struct faults *f, const struct addr *a);
#endif
