/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/addr.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/base/digits.h"

static const void *ip_bytes(const struct addr *a, size_t *n_out)
{
	if (a->sa.sa_family == AF_INET) {
		*n_out = 4;
		return &a->v4.sin_addr;
	}
	*n_out = a->sa.sa_family == AF_INET6 ? 16 : 0;
	return &a->v6.sin6_addr;
}

void addr_from_bytes(struct addr *out, int family, const void *ip,
    unsigned port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	*out = (struct addr){ 0 };
	if (family == AF_INET6 && memcmp(ip, mapped, sizeof mapped) == 0) {
		family = AF_INET;
		ip = (const uint8_t *)ip + sizeof mapped;
	}
	if (family == AF_INET) {
		out->v4.sin_family = AF_INET;
		memcpy(&out->v4.sin_addr, ip, 4);
	} else {
		out->v6.sin6_family = AF_INET6;
		memcpy(&out->v6.sin6_addr, ip, 16);
	}
	addr_set_port(out, port);
}

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa,
    socklen_t len)
{
	if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in v4;
		memcpy(&v4, sa, sizeof v4);
		addr_from_bytes(out, AF_INET, &v4.sin_addr,
		    ntohs(v4.sin_port));
		return true;
	}
	if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 v6;
		memcpy(&v6, sa, sizeof v6);
		addr_from_bytes(out, AF_INET6, &v6.sin6_addr,
		    ntohs(v6.sin6_port));
		/* link-local addresses mean nothing without their link */
		if (out->sa.sa_family == AF_INET6)
			out->v6.sin6_scope_id = v6.sin6_scope_id;
		return true;
	}
	return false;
}

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
}

unsigned addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->v4.sin_port
						: a->v6.sin6_port);
}

void addr_set_port(struct addr *a, unsigned port)
{
	if (a->sa.sa_family == AF_INET)
		a->v4.sin_port = htons((uint16_t)port);
	else
		a->v6.sin6_port = htons((uint16_t)port);
}

bool addr_parse_ip(struct addr *out, struct str text)
{
	char ip[ADDR_IP_MAX];
	uint8_t bytes[16];

	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
		text = (struct str){ text.p + 1, text.n - 2 };
		if (!memchr(text.p, ':', text.n))
			return false;
	}
	if (text.n == 0 || text.n >= sizeof ip || memchr(text.p, 0, text.n))
		return false;
	memcpy(ip, text.p, text.n);
	ip[text.n] = 0;
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, ip, bytes) != 1)
		return false;
	addr_from_bytes(out, family, bytes, 0);
	return true;
}

static bool number_parse(struct str text, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(text.p[i] - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

bool addr_parse(struct addr *out, struct str text)
{
	const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
	struct addr a;
	unsigned port;

	if (!colon)
		return false;
	struct str ip = { text.p, (size_t)(colon - text.p) };
	/* a bare IPv6 address with a port would be ambiguous */
	if (ip.n && ip.p[0] != '[' && memchr(ip.p, ':', ip.n))
		return false;
	if (!number_parse(str_skip(text, ip.n + 1), 65535, &port) ||
	    !addr_parse_ip(&a, ip))
		return false;
	addr_set_port(&a, port);
	*out = a;
	return true;
}

/* "192.0.2.1" backwards from end, like digits_put(). */
static char *put_v4(char *end, const uint8_t *ip)
{
	char *p = end;

	for (int i = 3; i >= 0; i--) {
		p = digits_put(p, ip[i], 1);
		if (i > 0)
			*--p = '.';
	}
	return p;
}

/* The text that begins at from and ends with the NUL before end. */
static const char *copy_text(char *to, const char *from, const char *end)
{
	memcpy(to, from, (size_t)(end - from));
	return to;
}

const char *addr_ip(const struct addr *a, char to[ADDR_IP_MAX])
{
	char text[ADDR_IP_MAX] = "", *end = text + sizeof text;
	size_t n;
	const void *ip = ip_bytes(a, &n);

	if (n == 4)
		return copy_text(to, put_v4(end - 1, ip), end);
	if (n == 0 || !inet_ntop(a->sa.sa_family, ip, to, ADDR_IP_MAX))
		snprintf(to, ADDR_IP_MAX, "none");
	return to;
}

const char *addr_text(const struct addr *a, char to[ADDR_TEXT_MAX])
{
	char text[ADDR_TEXT_MAX] = "", *end = text + sizeof text;
	char *p = digits_put(end - 1, addr_port(a), 1);
	size_t n;
	const void *ip = ip_bytes(a, &n);

	*--p = ':';
	if (n == 4)
		return copy_text(to, put_v4(p, ip), end);
	if (n == 0)
		return addr_ip(a, to);
	to[0] = '[';
	addr_ip(a, to + 1);
	size_t used = strlen(to);
	to[used++] = ']';
	copy_text(to + used, p, end);
	return to;
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	size_t n, m;
	const void *x = ip_bytes(a, &n), *y = ip_bytes(b, &m);

	return n == m && memcmp(x, y, n) == 0;
}

unsigned addr_hash_ip(const struct addr *a)
{
	size_t n;
	const uint8_t *ip = ip_bytes(a, &n);
	uint32_t h = 2166136261u;	/* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ ip[i]) * 16777619u;
	return h;
}

/* Whether the first bits of a and b are alike. */
static bool prefix_same(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	if (bits % 8 == 0)
		return true;
	unsigned mask = 0xffu << (8 - bits % 8) & 0xffu;
	return (a[bits / 8] & mask) == (b[bits / 8] & mask);
}

bool net_parse(struct net *out, struct str text)
{
	struct str bits_text, ip = str_split(text, '/', &bits_text);
	bool has_bits = ip.n < text.n;
	struct net net = { 0 };
	uint8_t zero[16] = { 0 }, rest[16];
	size_t n;

	if (!addr_parse_ip(&net.addr, ip))
		return false;
	const uint8_t *bytes = ip_bytes(&net.addr, &n);
	net.bits = (unsigned)n * 8;
	if (has_bits && !number_parse(bits_text, net.bits, &net.bits))
		return false;
	memcpy(rest, bytes, n);
	for (unsigned i = 0; i < net.bits; i++)
		rest[i / 8] &= (uint8_t)~(0x80u >> i % 8);
	if (memcmp(rest, zero, n) != 0)
		return false;
	*out = net;
	return true;
}

bool net_has(const struct net *net, const struct addr *a)
{
	size_t n, m;
	const uint8_t *x = ip_bytes(&net->addr, &n), *y = ip_bytes(a, &m);

	return n == m && n > 0 && prefix_same(x, y, net->bits);
}
