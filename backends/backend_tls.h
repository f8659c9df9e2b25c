/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_BACKEND_TLS_H
#define BACKENDS_BACKEND_TLS_H
/*
 * backend_tls - how to speak TLS to the backends of a configuration
 *
 * Backends that name the same CA file share what was made of it: the system's
 * authorities take a megabyte.
 *
 * Errors   NULL with err: a file of the backend's is no good.
 * Owns     the trusts; the settings, whose file contents they are known by,
 *          must live as long. A tls_client is the caller's.
 * Thread   one.
 */
struct backend_trusts;
struct conf_backend;
struct err;
struct tls_client;

struct backend_trusts *backend_trusts_new(void);
void backend_trusts_free(struct backend_trusts **t);

struct tls_client *backend_tls_client(struct backend_trusts *t,
    const struct conf_backend *b, struct err *err);
#endif
