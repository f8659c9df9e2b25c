/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef TESTS_DNS_PLAY_H
#define TESTS_DNS_PLAY_H
/*
 * dns_play - a name server in the test's own loop
 *
 *	dns_play_begin(loop);
 *	dns_play_a("mail.test", 2, 1, 2);	192.0.2.1 and 192.0.2.2
 *	dns_play_srv("_imap._tcp.test", 10, 60, 143, "mail.test");	one more
 *	... dns.port ...
 *	dns_play_end(loop);
 *
 * Answers A and SRV questions of the names that it was told; AAAA questions
 * with nothing; all others with NXDOMAIN.
 */
#include <arpa/inet.h>
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define DNS_PLAY_NAMES 8
#define DNS_PLAY_RECORDS 8

struct dns_play_name {
	char name[100];
	unsigned n;
	struct {
		bool is_srv;
		unsigned char last_byte;	/* of 192.0.2.x */
		uint16_t priority, weight, port;
		char target[100];
	} records[DNS_PLAY_RECORDS];
};

static struct {
	ev_io io;
	unsigned short port;
	unsigned n_asked;		/* A and SRV */
	unsigned char rcode;
	uint32_t ttl;
	bool is_silent;
	struct dns_play_name names[DNS_PLAY_NAMES];
} dns;

static unsigned char *dns_play_put16(unsigned char *p, unsigned v)
{
	*p++ = (unsigned char)(v >> 8);
	*p++ = (unsigned char)v;
	return p;
}

/* "a.test" in labels; "" is the root. */
static unsigned char *dns_play_put_name(unsigned char *p, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		*p++ = (unsigned char)n;
		memcpy(p, name, n);
		p += n;
		name += n + (name[n] == '.');
	}
	*p++ = 0;
	return p;
}

static struct dns_play_name *dns_play_find(const char *name)
{
	for (unsigned i = 0; i < DNS_PLAY_NAMES; i++)
		if (strcasecmp(dns.names[i].name, name) == 0)
			return &dns.names[i];
	return NULL;
}

static void on_dns_question(struct ev_loop *l, ev_io *io, int revents)
{
	unsigned char m[4096], *p;
	char name[256] = "";
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	ssize_t n = recvfrom(io->fd, m, 512, 0, (struct sockaddr *)&from,
	    &len), at = 12;

	(void)l;
	(void)revents;
	if (n < 17 || dns.is_silent)
		return;
	/* RFC 1035, 4.1: header of 12, then the question's name */
	while (at < n && m[at]) {
		strncat(name, (char *)m + at + 1, m[at]);
		at += m[at] + 1;
		if (m[at])
			strcat(name, ".");
	}
	unsigned type = m[at + 2];
	const struct dns_play_name *known = dns_play_find(name);
	m[2] = 0x84;
	m[3] = dns.rcode ? dns.rcode : known ? 0 : 3;
	m[6] = m[7] = 0;
	memset(m + 8, 0, 4);
	p = m + at + 5;
	for (unsigned i = 0; known && m[3] == 0 && i < known->n; i++) {
		bool is_srv = known->records[i].is_srv;
		if (type != (is_srv ? 33 : 1))
			continue;
		m[7]++;
		p = dns_play_put16(p, 0xc00c);
		p = dns_play_put16(p, type);
		p = dns_play_put16(p, 1);
		p = dns_play_put16(p, dns.ttl >> 16);
		p = dns_play_put16(p, dns.ttl & 0xffff);
		unsigned char *size = p, *data = p = p + 2;
		if (is_srv) {
			p = dns_play_put16(p, known->records[i].priority);
			p = dns_play_put16(p, known->records[i].weight);
			p = dns_play_put16(p, known->records[i].port);
			p = dns_play_put_name(p, known->records[i].target);
		} else {
			memcpy(p, "\300\0\2", 3);
			p[3] = known->records[i].last_byte;
			p += 4;
		}
		dns_play_put16(size, (unsigned)(p - data));
	}
	dns.n_asked += type == 1 || type == 33;
	sendto(io->fd, m, (size_t)(p - m), 0, (struct sockaddr *)&from, len);
}

/* The name has no records from now on. */
static struct dns_play_name *dns_play_clear(const char *name)
{
	struct dns_play_name *n = dns_play_find(name);

	if (!n)
		n = dns_play_find("");
	strcpy(n->name, name);
	n->n = 0;
	return n;
}

/* n addresses, 192.0.2.a and so on, instead of what there was. */
__attribute__((unused))
static void dns_play_a(const char *name, unsigned n, unsigned char a,
    unsigned char b)
{
	struct dns_play_name *to = dns_play_clear(name);

	to->n = n;
	for (unsigned i = 0; i < n; i++) {
		to->records[i].is_srv = false;
		to->records[i].last_byte = i == 0 ? a : b;
	}
}

/* One more. */
__attribute__((unused))
static void dns_play_srv(const char *name, unsigned priority, unsigned weight,
    unsigned port, const char *target)
{
	struct dns_play_name *to = dns_play_find(name);

	if (!to)
		to = dns_play_clear(name);
	to->records[to->n].is_srv = true;
	to->records[to->n].priority = (uint16_t)priority;
	to->records[to->n].weight = (uint16_t)weight;
	to->records[to->n].port = (uint16_t)port;
	strcpy(to->records[to->n++].target, target);
}

static void dns_play_begin(struct ev_loop *loop)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	memset(&dns, 0, sizeof dns);
	dns.port = ntohs(sin.sin_port);
	dns.ttl = 300;
	ev_io_init(&dns.io, on_dns_question, fd, EV_READ);
	ev_io_start(loop, &dns.io);
}

static void dns_play_end(struct ev_loop *loop)
{
	ev_io_stop(loop, &dns.io);
	close(dns.io.fd);
}
#endif
