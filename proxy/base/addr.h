/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H
/*
 * addr - Internet addresses and networks
 *
 * Shapes   struct addr is IPv4 or IPv6 with a port; family AF_UNSPEC (all
 *          zero) means "none". IPv4-mapped IPv6 addresses become IPv4 as soon
 *          as they enter (addr_from_sockaddr), so that a dual-stack socket
 *          and an IPv4 one show the same client alike.
 * Units    ports in host order at this interface.
 * Errors   parsers return false and change nothing.
 * Owns     nothing.
 * Thread   any.
 * Source   RFC 4291 §2.5.5.2 (mapped addresses), RFC 5952 (text form).
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "proxy/base/str.h"

#define ADDR_IP_MAX 46	/* INET6_ADDRSTRLEN */
#define ADDR_TEXT_MAX 56	/* "[ip]:port" and NUL */

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

struct net {
	struct addr addr;
	unsigned bits;
};

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa,
    socklen_t len);
socklen_t addr_len(const struct addr *a);

/* From the bytes of an address as they stand in a packet: 4 or 16. */
void addr_from_bytes(struct addr *out, int family, const void *ip,
    unsigned port);

unsigned addr_port(const struct addr *a);
void addr_set_port(struct addr *a, unsigned port);

/* A numeric address without port, with or without brackets. */
bool addr_parse_ip(struct addr *out, struct str text);

/* "192.0.2.1:993" or "[2001:db8::1]:993". */
bool addr_parse(struct addr *out, struct str text);

/* Text forms; "none" for AF_UNSPEC. Return to. */
const char *addr_ip(const struct addr *a, char to[ADDR_IP_MAX]);
const char *addr_text(const struct addr *a, char to[ADDR_TEXT_MAX]);

bool addr_same_ip(const struct addr *a, const struct addr *b);

/* A hash of the address without its port. */
unsigned addr_hash_ip(const struct addr *a);

/* "10.0.0.0/8", "2001:db8::/32", or an address alone. Bits set behind the
 * prefix are refused: they are mostly a typing error. */
bool net_parse(struct net *out, struct str text);
bool net_has(const struct net *n, const struct addr *a);
#endif
