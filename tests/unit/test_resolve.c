/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ev.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/resolve.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/settings.h"

/* A name server in the same loop: answers A questions with what the test
 * sets, AAAA questions with nothing. */
static struct {
	ev_io io;
	unsigned short port;
	unsigned n_asked;
	unsigned char rcode, n_addrs, last_byte[4];
	uint32_t ttl;
	bool is_silent;
} server;

static struct ev_loop *loop;
static unsigned n_changed;

static void on_question(struct ev_loop *l, ev_io *io, int revents)
{
	unsigned char m[600];
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	ssize_t n = recvfrom(io->fd, m, 512, 0, (struct sockaddr *)&from,
	    &len);

	(void)l;
	(void)revents;
	if (n < 17 || server.is_silent)
		return;
	/* RFC 1035, 4.1: header of 12, then the question's name */
	ssize_t end = 12;
	while (end < n && m[end])
		end += m[end] + 1;
	end += 5;
	bool is_a = m[end - 4] == 0 && m[end - 3] == 1;
	m[2] = 0x84;
	m[3] = server.rcode;
	m[7] = is_a && !server.rcode ? server.n_addrs : 0;
	memset(m + 8, 0, 4);
	for (int i = 0; i < m[7]; i++) {
		const unsigned char rr[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0,
			(unsigned char)(server.ttl >> 8),
			(unsigned char)server.ttl, 0, 4, 192, 0, 2,
			server.last_byte[i] };
		memcpy(m + end, rr, sizeof rr);
		end += (ssize_t)sizeof rr;
	}
	server.n_asked += is_a;
	sendto(io->fd, m, (size_t)end, 0, (struct sockaddr *)&from, len);
}

static void changed(void *owner)
{
	(void)owner;
	n_changed++;
	ev_break(loop, EVBREAK_ONE);
}

static void too_late(struct ev_loop *l, ev_timer *t, int revents)
{
	(void)l;
	(void)t;
	(void)revents;
	fail_msg("nothing happened");
}

static void wait_change(void)
{
	ev_timer late;

	ev_timer_init(&late, too_late, 10., 0.);
	ev_timer_start(loop, &late);
	ev_run(loop, 0);
	ev_timer_stop(loop, &late);
}

static int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	(void)state;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	memset(&server, 0, sizeof server);
	server.port = ntohs(sin.sin_port);
	server.ttl = 300;
	n_changed = 0;
	loop = ev_loop_new(0);
	ev_io_init(&server.io, on_question, fd, EV_READ);
	ev_io_start(loop, &server.io);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ev_io_stop(loop, &server.io);
	close(server.io.fd);
	ev_loop_destroy(loop);
	return 0;
}

static struct resolve *make(void)
{
	const struct settings_address address = { "", "127.0.0.1",
		server.port };
	const struct settings_addresses servers = { &address, 1 };
	struct err err;
	struct resolve *r = resolve_new(loop, &servers, 200, changed, NULL,
	    &err);

	if (!r)
		fail_msg("%s", err.text);
	return r;
}

static void answer(unsigned n, unsigned char a, unsigned char b)
{
	server.n_addrs = (unsigned char)n;
	server.last_byte[0] = a;
	server.last_byte[1] = b;
}

static unsigned in_use(const struct resolve_name *n)
{
	struct addr a = resolve_addr(n, 143);

	assert_int_equal(addr_port(&a), 143);
	return ntohl(a.v4.sin_addr.s_addr) & 0xff;
}

static void test_resolve_numeric_needs_no_server(void **state)
{
	struct resolve *r = make();
	struct resolve_name *v4 = resolve_watch(r, "192.0.2.7");
	struct resolve_name *v6 = resolve_watch(r, "2001:db8::1");
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(resolve_state(v4), RESOLVE_KNOWN);
	assert_int_equal(in_use(v4), 7);
	struct addr a = resolve_addr(v6, 993);
	assert_string_equal(addr_text(&a, text), "[2001:db8::1]:993");
	resolve_unwatch(&v4);
	resolve_unwatch(&v6);
	resolve_free(&r);
	assert_int_equal(server.n_asked, 0);
}

static void test_resolve_hosts_file(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "localhost");

	(void)state;
	if (resolve_state(n) == RESOLVE_PENDING)
		wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	struct addr a = resolve_addr(n, 143);
	assert_true(a.sa.sa_family == AF_INET6 || in_use(n) == 1);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_asks_once_for_two(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");
	struct resolve_name *again = resolve_watch(r, "mail.example.net");

	(void)state;
	answer(1, 1, 0);
	assert_ptr_equal(n, again);
	assert_int_equal(resolve_state(n), RESOLVE_PENDING);
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(in_use(n), 1);
	assert_int_equal(server.n_asked, 1);
	resolve_unwatch(&n);
	assert_int_equal(in_use(again), 1);
	resolve_unwatch(&again);
	resolve_free(&r);
}

static void test_resolve_fault_takes_the_next(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");

	(void)state;
	answer(2, 1, 2);
	wait_change();
	assert_int_equal(resolve_n_addrs(n), 2);
	unsigned first = in_use(n);
	struct addr bad = resolve_addr(n, 143);
	resolve_fault(n, &bad);
	assert_int_equal(in_use(n), 3 - first);
	/* a late report about the other changes nothing */
	resolve_fault(n, &bad);
	assert_int_equal(in_use(n), 3 - first);
	bad = resolve_addr(n, 143);
	resolve_fault(n, &bad);
	assert_int_equal(in_use(n), first);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_follows_the_ttl(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");

	(void)state;
	server.ttl = 1;
	answer(1, 1, 0);
	wait_change();
	answer(1, 9, 0);
	wait_change();
	assert_int_equal(in_use(n), 9);
	/* what is in use stays so as long as it is named */
	answer(2, 3, 9);
	wait_change();
	assert_int_equal(resolve_n_addrs(n), 2);
	assert_int_equal(in_use(n), 9);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_failure_and_recovery(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");

	(void)state;
	server.rcode = 3;	/* NXDOMAIN */
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_FAILED);
	server.rcode = 0;
	server.ttl = 1;
	answer(1, 4, 0);
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	/* stale is better than nothing */
	server.rcode = 2;	/* SERVFAIL */
	unsigned asked = server.n_asked;
	while (server.n_asked == asked)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(in_use(n), 4);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_unwatch_and_free_while_asked(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");
	struct resolve_name *other = resolve_watch(r, "mail2.example.net");

	(void)state;
	server.is_silent = true;
	resolve_unwatch(&n);
	n = resolve_watch(r, "mail.example.net");
	assert_int_equal(resolve_state(n), RESOLVE_PENDING);
	resolve_unwatch(&other);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_configure_asks_anew(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");
	const struct settings_address address = { "", "127.0.0.1",
		server.port };
	const struct settings_addresses servers = { &address, 1 };

	(void)state;
	answer(1, 6, 0);
	assert_true(resolve_configure(r, &servers, 500, NULL));
	wait_change();
	assert_int_equal(in_use(n), 6);
	resolve_unwatch(&n);
	resolve_free(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_resolve_numeric_needs_no_server),
		TEST(test_resolve_hosts_file),
		TEST(test_resolve_asks_once_for_two),
		TEST(test_resolve_fault_takes_the_next),
		TEST(test_resolve_follows_the_ttl),
		TEST(test_resolve_failure_and_recovery),
		TEST(test_resolve_unwatch_and_free_while_asked),
		TEST(test_resolve_configure_asks_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
