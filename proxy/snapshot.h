/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H
/*
 * snapshot - a configuration as a worker uses it
 *
 *	settings  +  TLS contexts of listeners and backends
 *
 * A reload makes a new one; sessions keep the one that they began with, and
 * the last of them frees it.
 *
 * Errors   NULL with err: a certificate or key is no good.
 * Owns     a reference to its settings, and the contexts.
 * Thread   the worker's. tickets must outlive it.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct conf_auth;
struct conf_backend;
struct conf_limits;
struct conf_listener;
struct conf_log;
struct conf_relay;
struct err;
struct settings;
struct snapshot;
struct tls_client;
struct tls_server;
struct tls_tickets;

struct snapshot_listener {
	const struct conf_listener *conf;
	struct tls_server *tls;		/* NULL: no TLS here */
	bool asks_certificate;		/* EXTERNAL may be offered */
};

/* Takes over the caller's reference to settings, also when it fails. */
struct snapshot *snapshot_new(struct settings *settings,
    struct tls_tickets *tickets, struct err *err);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot **s);

const struct conf_limits *snapshot_limits(const struct snapshot *s);
const struct conf_relay *snapshot_relay(const struct snapshot *s);
const struct conf_auth *snapshot_auth(const struct snapshot *s);
const struct conf_log *snapshot_log(const struct snapshot *s);

/* By title; NULL when there is none (any more). */
const struct snapshot_listener *snapshot_find_listener(
    const struct snapshot *s, struct str name);

/* By title, or by the name of an SRV record's target (backends/target.h); NULL
 * when there is no such section (any more). Valid until as many
 * snapshot_put_backend() came. */
const struct conf_backend *snapshot_get_backend(struct snapshot *s,
    struct str name);

/* *b becomes NULL; NULL is legal. */
void snapshot_put_backend(struct snapshot *s, const struct conf_backend **b);

/* Targets that are in use, or kept for the next use, which is bounded. */
size_t snapshot_n_targets(const struct snapshot *s);

/* A region's name as long as the snapshot lives; "" when there is no such. */
const char *snapshot_region(const struct snapshot *s, struct str name);

/* pool.connect_timeout of the pool of that name. */
double snapshot_connect_seconds(const struct snapshot *s, struct str pool);

/* pool.disconnect_spread of the first pool that has this backend. */
double snapshot_spread_seconds(const struct snapshot *s,
    const struct conf_backend *b);

/* How to speak TLS to a backend of this snapshot; made at the first use and
 * kept, with the session to resume. NULL with err. */
/* Whether a failure of this backend is worth a line of the log: one a second
 * is. *more_out: how many were not, since the last that was. */
bool snapshot_may_log(struct snapshot *s, const struct conf_backend *conf,
    double now_s, unsigned *more_out);

struct tls_client *snapshot_tls_client(struct snapshot *s,
    const struct conf_backend *backend, struct err *err);
#endif
