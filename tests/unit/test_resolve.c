/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/resolve.h"
#include "backends/resolve_srv.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/settings.h"
#include "tests/unit/dns_play.h"

static struct ev_loop *loop;
static unsigned n_changed;

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
	(void)state;
	n_changed = 0;
	loop = ev_loop_new(0);
	dns_play_begin(loop);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dns_play_end(loop);
	ev_loop_destroy(loop);
	return 0;
}

static struct resolve *make(void)
{
	const struct settings_address address = { "", "127.0.0.1",
		dns.port };
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
	dns_play_a("mail.example.net", n, a, b);
}

static unsigned first(const struct resolve_name *n)
{
	struct addr a = resolve_addr(n, 0, 143);

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
	assert_int_equal(first(v4), 7);
	struct addr a = resolve_addr(v6, 0, 993);
	assert_string_equal(addr_text(&a, text), "[2001:db8::1]:993");
	resolve_unwatch(&v4);
	resolve_unwatch(&v6);
	resolve_free(&r);
	assert_int_equal(dns.n_asked, 0);
}

static void test_resolve_hosts_file(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "localhost");

	(void)state;
	if (resolve_state(n) == RESOLVE_PENDING)
		wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	struct addr a = resolve_addr(n, 0, 143);
	assert_true(a.sa.sa_family == AF_INET6 || first(n) == 1);
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
	assert_int_equal(first(n), 1);
	assert_int_equal(dns.n_asked, 1);
	resolve_unwatch(&n);
	assert_int_equal(first(again), 1);
	resolve_unwatch(&again);
	resolve_free(&r);
}

static void test_resolve_follows_the_ttl(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");

	(void)state;
	dns.ttl = 1;
	answer(1, 1, 0);
	wait_change();
	answer(1, 9, 0);
	wait_change();
	assert_int_equal(first(n), 9);
	answer(2, 3, 9);
	wait_change();
	assert_int_equal(resolve_n_addrs(n), 2);
	/* the same in another order is no news */
	unsigned changes = n_changed, asked = dns.n_asked;
	answer(2, 9, 3);
	while (dns.n_asked < asked + 2)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(n_changed, changes);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_failure_and_recovery(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");

	(void)state;
	dns.rcode = 3;	/* NXDOMAIN */
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_FAILED);
	dns.rcode = 0;
	dns.ttl = 1;
	answer(1, 4, 0);
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	/* stale is better than nothing */
	dns.rcode = 2;	/* SERVFAIL */
	unsigned asked = dns.n_asked;
	while (dns.n_asked == asked)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(first(n), 4);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_unwatch_and_free_while_asked(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "mail.example.net");
	struct resolve_name *other = resolve_watch(r, "mail2.example.net");

	(void)state;
	dns.is_silent = true;
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
		dns.port };
	const struct settings_addresses servers = { &address, 1 };

	(void)state;
	answer(1, 6, 0);
	assert_true(resolve_configure(r, &servers, 500, NULL));
	wait_change();
	assert_int_equal(first(n), 6);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void assert_target(const struct resolve_name *n, size_t i,
    const char *want)
{
	const struct resolve_target *t = resolve_target(n, i);
	char got[300];

	snprintf(got, sizeof got, "%u %u %u %s", t->priority, t->weight,
	    t->port, t->host);
	assert_string_equal(got, want);
}

#define SRV_NAME "_imap._tcp.example.net"

static void test_resolve_srv(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "srv+" SRV_NAME);

	(void)state;
	dns.ttl = 1;
	dns_play_srv(SRV_NAME, 20, 0, 143, "spare.example.net");
	dns_play_srv(SRV_NAME, 10, 60, 993, "Mail2.Example.NET");
	dns_play_srv(SRV_NAME, 10, 40, 143, "mail1.example.net");
	dns_play_srv(SRV_NAME, 30, 1, 143, "mail1.example.net");
	dns_play_srv(SRV_NAME, 10, 1, 0, "nothing.example.net");
	dns_play_srv(SRV_NAME, 10, 1, 143, "bad name;example.net");
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(resolve_n_targets(n), 3);
	assert_target(n, 0, "10 40 143 mail1.example.net");
	assert_target(n, 1, "10 60 993 mail2.example.net");
	assert_target(n, 2, "20 0 143 spare.example.net");
	unsigned version = resolve_version(n);
	/* by its TTL, to others */
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 1, 2, 143, "mail1.example.net");
	wait_change();
	assert_int_not_equal(resolve_version(n), version);
	assert_int_equal(resolve_n_targets(n), 1);
	assert_target(n, 0, "1 2 143 mail1.example.net");
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_srv_of_no_service(void **state)
{
	struct resolve *r = make();
	struct resolve_name *n = resolve_watch(r, "srv+" SRV_NAME);

	(void)state;
	dns.ttl = 1;
	dns_play_srv(SRV_NAME, 1, 2, 143, "mail1.example.net");
	wait_change();
	assert_int_equal(resolve_n_targets(n), 1);
	/* nonsense, and a server that fails, change nothing */
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 1, 2, 0, "mail1.example.net");
	for (unsigned end = dns.n_asked + 1; dns.n_asked < end;)
		ev_run(loop, EVRUN_ONCE);
	dns.rcode = 3;
	for (unsigned end = dns.n_asked + 1; dns.n_asked < end;)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(resolve_n_targets(n), 1);
	/* "." does: RFC 2782, Target */
	dns.rcode = 0;
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 0, 0, 0, "");
	wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(resolve_n_targets(n), 0);
	resolve_unwatch(&n);
	resolve_free(&r);
}

/* Whatever a name server sends: no more is read than there is. */
static void test_resolve_srv_damaged(void **state)
{
	unsigned char m[300], *p = m, *whole;
	struct resolve_srv srv;

	(void)state;
	memset(m, 0, sizeof m);
	m[5] = m[7] = 1;
	p = dns_play_put_name(p + 12, SRV_NAME);
	p = dns_play_put16(dns_play_put16(p, 33), 1);
	p = dns_play_put16(p, 0xc00c);
	p = dns_play_put16(dns_play_put16(p, 33), 1);
	p = dns_play_put16(dns_play_put16(p, 0), 60);
	unsigned char *size = p;
	p = dns_play_put16(p + 2, 1);
	p = dns_play_put16(dns_play_put16(p, 2), 143);
	p = dns_play_put_name(p, "mail.example.net");
	dns_play_put16(size, (unsigned)(p - size - 2));
	size_t n = (size_t)(p - m);
	assert_true(resolve_srv_parse(m, n, &srv));
	assert_int_equal(srv.n, 1);
	assert_int_equal(srv.ttl_s, 60);
	for (size_t cut = 0; cut < n; cut++) {
		/* of its own size, for the sanitizer to see */
		whole = malloc(cut + 1);
		memcpy(whole, m, cut);
		assert_false(resolve_srv_parse(whole, cut, &srv));
		free(whole);
	}
	for (size_t at = 0; at < n; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			whole = malloc(n);
			memcpy(whole, m, n);
			whole[at] ^= (unsigned char)(1u << bit);
			(void)resolve_srv_parse(whole, n, &srv);
			assert_true(srv.n <= 1);
			free(whole);
		}
}

/* --- answers that outlive it --------------------------------------------------- */

static void recall(struct resolve_name *n, const char *a, const char *b)
{
	const struct str words[] = { str_from(a), str_from(b) };

	resolve_recall(n, words, 2);
}

static void test_resolve_recalls_when_nobody_answers(void **state)
{
	struct resolve *r = make();
	char word[RESOLVE_WORD_MAX];

	(void)state;
	dns.is_silent = true;
	struct resolve_name *n = resolve_watch(r, "mail.example.net");
	recall(n, "no address", "192.0.2.9");
	assert_int_equal(resolve_state(n), RESOLVE_PENDING);
	assert_false(resolve_is_fresh(n));
	while (resolve_state(n) == RESOLVE_PENDING)
		wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_false(resolve_is_fresh(n));
	assert_int_equal(first(n), 9);
	assert_string_equal(resolve_word(n, 0, word), "192.0.2.9");
	/* an answer is more than a memory */
	dns.is_silent = false;
	answer(1, 7, 0);
	wait_change();
	assert_true(resolve_is_fresh(n));
	assert_int_equal(first(n), 7);
	recall(n, "192.0.2.8", "192.0.2.9");
	assert_int_equal(first(n), 7);
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_recalls_what_has_failed(void **state)
{
	struct resolve *r = make();

	(void)state;
	struct resolve_name *n = resolve_watch(r, "unknown.example.net");
	while (resolve_state(n) == RESOLVE_PENDING)
		wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_FAILED);
	recall(n, "", "no address");
	assert_int_equal(resolve_state(n), RESOLVE_FAILED);
	n_changed = 0;
	recall(n, "192.0.2.9", "2001:db8::1");
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(resolve_n_addrs(n), 2);
	wait_change();
	assert_int_equal(n_changed, 1);
	assert_ptr_equal(resolve_find(r, STR("unknown.example.net")), n);
	assert_null(resolve_find(r, STR("mail.example.net")));
	resolve_unwatch(&n);
	resolve_free(&r);
}

static void test_resolve_recalls_targets(void **state)
{
	static const char *const bad[] = { "", "10", "10 60 143",
		"10 60 143 ", "10 60 65536 a.test", "10 60 0 a.test",
		"10  143 a.test", "-1 60 143 a.test", "1 2 3 a b",
		"100000 60 143 a.test" };
	struct resolve *r = make();
	char word[RESOLVE_WORD_MAX];

	(void)state;
	dns.is_silent = true;
	struct resolve_name *n = resolve_watch(r, "srv+_imap._tcp.test");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		recall(n, bad[i], "");
	assert_int_equal(resolve_n_targets(n), 0);
	unsigned version = resolve_version(n);
	recall(n, "20 0 143 b.test", "10 60 65535 a.test");
	assert_int_not_equal(resolve_version(n), version);
	while (resolve_state(n) == RESOLVE_PENDING)
		wait_change();
	assert_int_equal(resolve_state(n), RESOLVE_KNOWN);
	assert_int_equal(resolve_n_words(n), 2);
	assert_string_equal(resolve_word(n, 0, word), "10 60 65535 a.test");
	assert_string_equal(resolve_word(n, 1, word), "20 0 143 b.test");
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
		TEST(test_resolve_follows_the_ttl),
		TEST(test_resolve_failure_and_recovery),
		TEST(test_resolve_unwatch_and_free_while_asked),
		TEST(test_resolve_configure_asks_anew),
		TEST(test_resolve_srv),
		TEST(test_resolve_srv_of_no_service),
		TEST(test_resolve_srv_damaged),
		TEST(test_resolve_recalls_when_nobody_answers),
		TEST(test_resolve_recalls_what_has_failed),
		TEST(test_resolve_recalls_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
