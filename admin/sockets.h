/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_SOCKETS_H
#define ADMIN_SOCKETS_H
/*
 * sockets - the listening sockets, which outlive every worker
 *
 * Each listener has one socket per worker, bound with SO_REUSEPORT, so that
 * the kernel shares out the connections and no worker waits for another. The
 * parent keeps them all open: when a worker dies its connections wait in its
 * sockets for the next one. A socket that systemd gave (LISTEN_FDS) is one for
 * all workers; the listener whose address or title it has gets it.
 *
 * Errors   sockets_bind(): err, and all is as before.
 * Owns     the descriptors.
 * Thread   the parent.
 * Source   socket(7), SO_REUSEPORT; sd_listen_fds(3).
 */
#include <stdbool.h>

struct err;
struct link;
struct settings;
struct sockets;

/* Takes over what systemd gave and clears its environment variables. */
struct sockets *sockets_new(unsigned n_workers);
void sockets_free(struct sockets **s);

/* Binds what settings names and is not there, closes what it does not name. */
bool sockets_bind(struct sockets *s, const struct settings *settings,
    struct err *err) __attribute__((warn_unused_result));

/* One LISTENER for each listener, with the socket of worker index. */
void sockets_send(const struct sockets *s, unsigned index, struct link *l);
#endif
