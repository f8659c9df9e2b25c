/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_PROXYLINE_H
#define PROXY_PROXYLINE_H
/*
 * proxyline - the PROXY protocol header, versions 1 and 2
 *
 *	first bytes of a connection  ->  who really is there
 *	who really is there          ->  a version 2 header for a backend
 *
 * Shapes   parse is given all bytes so far, from the first one; on DONE the
 *          header is the first *used_out of them.
 *          The views point into the input of proxyline_parse().
 * Units    bytes.
 * Errors   BAD as soon as the bytes cannot become a header, with the reason
 *          in err: close, without an answer.
 * Owns     nothing.
 * Thread   any.
 * Source   The PROXY protocol, versions 1 and 2 (HAProxy's
 *          doc/proxy-protocol.txt), section 2.
 * Not here who may send one: the caller asks only peers it trusts, and
 *          always asks those.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

struct buf;
struct err;

#define PROXYLINE_MAX 4096		/* longer headers are BAD */
#define PROXYLINE_UNIQUE_ID_MAX 128

enum proxyline_verdict {
	PROXYLINE_MORE = 0,
	PROXYLINE_DONE,
	PROXYLINE_BAD,
};

enum proxyline_kind {
	PROXYLINE_LOCAL,	/* the connection's own addresses hold */
	PROXYLINE_TCP,		/* source and destination do */
};

struct proxyline_tls {
	bool is_on;		/* the client spoke TLS; without it: nothing */
	bool has_cert;		/* it sent a certificate on this connection, */
	bool had_cert;		/* or at least once in this TLS session, */
	bool is_verified;	/* which was verified */
	struct str version, cipher;
	struct str cn;		/* common name; empty unless is_verified */
};

/* A view is empty where the header says nothing. */
struct proxyline {
	enum proxyline_kind kind;
	struct addr source, destination;
	struct str alpn;
	struct str authority;		/* the server name in the TLS hello */
	struct str unique_id;
	struct proxyline_tls tls;
	bool has_crc;			/* there was a checksum, and it held */
};

/* Writes *out and *used_out only when DONE. */
enum proxyline_verdict proxyline_parse(const char *p, size_t n,
    struct proxyline *out, size_t *used_out, struct err *err)
    __attribute__((warn_unused_result));

/* Appends a version 2 header that ends with its checksum. LOCAL (for health
 * checks) is a bare header: nothing else in line is looked at. For TCP both
 * addresses must be there; where their families differ the IPv4 one goes
 * IPv4-mapped. False when the header would pass PROXYLINE_MAX or the buffer's
 * bound; then nothing is appended. */
bool proxyline_build_v2(struct buf *out, const struct proxyline *line)
    __attribute__((warn_unused_result));
#endif
