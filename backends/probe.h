/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PROBE_H
#define BACKENDS_PROBE_H
/*
 * probe - asks every backend from time to time what it can do
 *
 *	connect, [PROXY LOCAL,] [TLS,] greeting, [STARTTLS,] CAPABILITY, LOGOUT
 *
 * So control knows what may be offered to clients before login, and workers
 * can send their logins in one round trip. Health checks will grow from it.
 *
 * Units    seconds.
 * Errors   a probe that fails is logged when the one before had not failed,
 *          and so is the next that succeeds. Each asks the next of the
 *          backend's addresses; where only one of several did not answer,
 *          that is a fault of the address (farm.h). What is known of a
 *          backend stays known.
 * Owns     its connections, at most PROBES_MAX at once.
 * Thread   the loop's.
 */
#define PROBE_EVERY_S 60.
#define PROBE_LIMIT_S 10.	/* for all of one probe */
#define PROBE_RETRY_MIN_S 2.
#define PROBE_RETRY_MAX_S 30.
#define PROBES_MAX 32

struct ev_loop;
struct farm;
struct probe;

/* Some backend's capabilities have changed. */
typedef void probe_heard_fn(void *owner);

/* farm must outlive it. Idle until probe_start(). */
struct probe *probe_new(struct ev_loop *loop, struct farm *farm,
    probe_heard_fn *heard, void *owner);
void probe_free(struct probe **p);

/* Probes all backends of the farm from now on. */
void probe_start(struct probe *p);

/* To be called before the farm is configured anew. */
void probe_stop(struct probe *p);
#endif
