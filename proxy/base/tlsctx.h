/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_TLSCTX_H
#define BASE_TLSCTX_H
/*
 * tlsctx - what many TLS connections share
 *
 *	tls_server   the certificates of one listener, chosen by SNI
 *	tls_trust    certificate authorities; many backends may share them
 *	tls_client   how a backend is verified, and the session to resume
 *	tls_tickets  the session ticket keys of all workers
 *
 * Shapes   all material is PEM text in memory: nothing here opens a file.
 * Errors   err says what is wrong with which file; NULL or false.
 * Owns     *_new copies what it needs; *_free takes the pointer and nulls
 *          it. A stream keeps the SSL_CTX that it began with, so contexts
 *          may be freed while connections live; tls_tickets must outlive
 *          them all, tls_client the streams that use it.
 * Thread   one per process.
 * Source   RFC 8446; RFC 5077 (tickets); RFC 7301 with IANA's "imap" (ALPN,
 *          ALPACA: a client that offers ALPN without "imap" is refused).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/base/str.h"

struct ssl_ctx_st;
struct ssl_st;

#define TLS_TICKET_KEYS 4	/* one that seals, the others still open */
#define TLS_TICKET_KEY_BYTES 80	/* name 16, AES-256 key 32, HMAC key 32 */

struct tls_tickets {
	unsigned n;
	unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY_BYTES];
};

/* Has OpenSSL load all that it would load later: its configuration, random
 * numbers, algorithms. Before a process gives up opening files. */
void tlsctx_warm_up(void);

/* The newest key seals from now on; the oldest is dropped. The same key
 * again changes nothing. */
void tls_tickets_add(struct tls_tickets *t,
    const unsigned char key[TLS_TICKET_KEY_BYTES]);

/* One section "tls NAME" of the configuration. */
struct tls_pair {
	const char *name;		/* for messages */
	struct str certificate, key;	/* PEM; the leaf first, then its chain */
	struct str client_ca;		/* empty: no client certificate is asked */
	int min_version;		/* 10, 11, 12, 13: TLS 1.0 to 1.3 */
	const char *ciphers;		/* up to TLS 1.2; "" or NULL: default */
	const char *ciphersuites;	/* TLS 1.3 */
};

struct tls_server;
struct tls_server *tls_server_new(const struct tls_pair *pairs, size_t n,
    struct tls_tickets *tickets, struct err *err);
void tls_server_free(struct tls_server **t);

struct tls_trust;
struct tls_trust *tls_trust_new(struct str pem, struct err *err);
void tls_trust_free(struct tls_trust **t);

struct tls_peer {
	const char *name;		/* the backend's, for messages */
	struct tls_trust *trust;	/* NULL: nobody is verified */
	struct str certificate, key;	/* ours; may be empty */
	const char *host;		/* DNS name or IP to be verified */
	int min_version;
};

struct tls_client;
struct tls_client *tls_client_new(const struct tls_peer *peer, struct err *err);
void tls_client_free(struct tls_client **t);

/* The next connection makes a whole handshake: the certificate that the peer
 * has now is seen and verified. */
void tls_client_forget_session(struct tls_client *t);

/* For stream_tls only: a fresh connection object. */
struct ssl_st *tls_server_accept(struct tls_server *t);
struct ssl_st *tls_client_connect(struct tls_client *t);

/* What OpenSSL says went wrong last, and an empty error queue. */
void tlsctx_error(struct err *err);
#endif
