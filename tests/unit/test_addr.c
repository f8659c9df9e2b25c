/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "proxy/base/addr.h"

/* want NULL: it is refused. */
static const struct {
	const char *text, *want;
} ips[] = {
	{ "192.0.2.1", "192.0.2.1" },
	{ "0.0.0.0", "0.0.0.0" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "2001:db8::1", "2001:db8::1" },
	{ "2001:0DB8:0:0:0:0:0:1", "2001:db8::1" },
	{ "[2001:db8::1]", "2001:db8::1" },
	{ "::", "::" },
	{ "[::1]", "::1" },
	{ "::ffff:192.0.2.1", "192.0.2.1" },
	{ "[::ffff:c000:201]", "192.0.2.1" },
	{ "::192.0.2.1", "::192.0.2.1" },
	{ "64:ff9b::192.0.2.1", "64:ff9b::c000:201" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	{ "", NULL },
	{ "[]", NULL },
	{ "[", NULL },
	{ "[192.0.2.1]", NULL },
	{ "[::1", NULL },
	{ "::1]", NULL },
	{ "[[::1]]", NULL },
	{ "192.0.2", NULL },
	{ "192.0.2.256", NULL },
	{ "192.0.2.01", NULL },
	{ "192.0.2.1 ", NULL },
	{ " 192.0.2.1", NULL },
	{ "192.0.2.1.", NULL },
	{ "0x7f.0.0.1", NULL },
	{ "2130706433", NULL },
	{ "fe80::1%eth0", NULL },
	{ "1:2:3:4:5:6:7:8:9", NULL },
	{ "::1::", NULL },
	{ ":", NULL },
	{ "localhost", NULL },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255.255", NULL },
};

static void test_addr_parses_ip(void **state)
{
	char text[ADDR_IP_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof ips / sizeof *ips; i++) {
		struct addr a, before;
		memset(&a, 0x5a, sizeof a);
		before = a;
		bool ok = addr_parse_ip(&a, str_from(ips[i].text));
		if (ok != (ips[i].want != NULL))
			fail_msg("\"%s\"", ips[i].text);
		if (!ok) {
			assert_memory_equal(&a, &before, sizeof a);
			continue;
		}
		if (strcmp(addr_ip(&a, text), ips[i].want) != 0)
			fail_msg("\"%s\" became %s", ips[i].text, text);
		assert_int_equal(addr_port(&a), 0);
	}
	struct addr a;
	assert_false(addr_parse_ip(&a, (struct str){ "1.2.3.4\0", 8 }));
	assert_false(addr_parse_ip(&a, STR_NONE));
}

static const struct {
	const char *text, *want;
} addrs[] = {
	{ "192.0.2.1:993", "192.0.2.1:993" },
	{ "192.0.2.1:0", "192.0.2.1:0" },
	{ "192.0.2.1:65535", "192.0.2.1:65535" },
	{ "[2001:db8::1]:143", "[2001:db8::1]:143" },
	{ "[::ffff:192.0.2.1]:143", "192.0.2.1:143" },
	{ "", NULL },
	{ ":", NULL },
	{ ":993", NULL },
	{ "192.0.2.1", NULL },
	{ "192.0.2.1:", NULL },
	{ "192.0.2.1:65536", NULL },
	{ "192.0.2.1:100000", NULL },
	{ "192.0.2.1:0993", NULL },
	{ "192.0.2.1:-1", NULL },
	{ "192.0.2.1:+1", NULL },
	{ "192.0.2.1: 1", NULL },
	{ "192.0.2.1:1x", NULL },
	{ "192.0.2.1:imap", NULL },
	{ "2001:db8::1:143", NULL },
	{ "::1:143", NULL },
	{ "[::1]", NULL },
	{ "[::1]:", NULL },
	{ "[::1]143", NULL },
	{ "[::1:143", NULL },
	{ "[192.0.2.1]:143", NULL },
};

static void test_addr_parses_with_port(void **state)
{
	char text[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof addrs / sizeof *addrs; i++) {
		struct addr a, before;
		memset(&a, 0x5a, sizeof a);
		before = a;
		bool ok = addr_parse(&a, str_from(addrs[i].text));
		if (ok != (addrs[i].want != NULL))
			fail_msg("\"%s\"", addrs[i].text);
		if (!ok)
			assert_memory_equal(&a, &before, sizeof a);
		else if (strcmp(addr_text(&a, text), addrs[i].want) != 0)
			fail_msg("\"%s\" became %s", addrs[i].text, text);
	}
}

static void test_addr_none_has_a_text(void **state)
{
	struct addr none = { 0 };
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_string_equal(addr_text(&none, text), "none");
	assert_string_equal(addr_ip(&none, text), "none");
}

static void test_addr_longest_text_fits(void **state)
{
	char text[ADDR_TEXT_MAX];
	uint8_t ip[16];
	struct addr a;

	(void)state;
	memset(ip, 0xff, sizeof ip);
	addr_from_bytes(&a, AF_INET6, ip, 65535);
	assert_string_equal(addr_text(&a, text),
	    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_addr_from_sockaddr(void **state)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(993), .sin6_scope_id = 3 };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		.sin_port = htons(143) };
	struct sockaddr other = { .sa_family = AF_UNIX };
	char text[ADDR_TEXT_MAX];
	struct addr a;

	(void)state;
	inet_pton(AF_INET6, "::ffff:192.0.2.9", &v6.sin6_addr);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&v6, sizeof v6));
	assert_string_equal(addr_text(&a, text), "192.0.2.9:993");
	assert_int_equal(addr_len(&a), sizeof v4);
	inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&v6, sizeof v6));
	assert_string_equal(addr_text(&a, text), "[fe80::1]:993");
	assert_int_equal(a.v6.sin6_scope_id, 3);
	assert_int_equal(addr_len(&a), sizeof v6);
	inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&v4, sizeof v4));
	assert_string_equal(addr_text(&a, text), "192.0.2.7:143");
	assert_false(addr_from_sockaddr(&a, (struct sockaddr *)&v6,
	    sizeof v6 - 1));
	assert_false(addr_from_sockaddr(&a, (struct sockaddr *)&v4, 8));
	assert_false(addr_from_sockaddr(&a, &other, sizeof other));
}

static void test_addr_same_ip_and_hash(void **state)
{
	struct addr a, b, c, d, none = { 0 };

	(void)state;
	assert_true(addr_parse(&a, STR("192.0.2.1:1")));
	assert_true(addr_parse(&b, STR("[::ffff:192.0.2.1]:2")));
	assert_true(addr_parse(&c, STR("192.0.2.2:1")));
	assert_true(addr_parse(&d, STR("[::c000:201]:1")));
	assert_true(addr_same_ip(&a, &b));
	assert_int_equal(addr_hash_ip(&a), addr_hash_ip(&b));
	assert_false(addr_same_ip(&a, &c));
	assert_false(addr_same_ip(&a, &d));
	assert_false(addr_same_ip(&a, &none));
	assert_true(addr_same_ip(&none, &none));
	assert_int_not_equal(addr_hash_ip(&a), addr_hash_ip(&c));
}

/* in and not_in are of a network that is accepted. */
static const struct {
	const char *net, *in, *not_in;
} nets[] = {
	{ "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
	{ "10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3" },
	{ "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
	{ "192.0.2.4/30", "192.0.2.7", "192.0.2.8" },
	{ "192.0.2.1/32", "192.0.2.1", "192.0.2.0" },
	{ "192.0.2.1", "192.0.2.1", "192.0.2.3" },
	{ "0.0.0.0/0", "255.1.2.3", "::1" },
	{ "::/0", "2001:db8::1", "192.0.2.1" },
	{ "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::" },
	{ "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
	{ "[2001:db8::]/32", "2001:db8::", "2001:db7:ffff::" },
	{ "::1", "::1", "::2" },
	{ "::ffff:10.0.0.0/8", "10.1.1.1", "11.1.1.1" },
	{ "", NULL, NULL },
	{ "/", NULL, NULL },
	{ "/8", NULL, NULL },
	{ "10.0.0.0/", NULL, NULL },
	{ "10.0.0.0/33", NULL, NULL },
	{ "10.0.0.0/-1", NULL, NULL },
	{ "10.0.0.0/08", NULL, NULL },
	{ "10.0.0.0/8/8", NULL, NULL },
	{ "10.0.0.0/8 ", NULL, NULL },
	{ "10.0.0.0/255.0.0.0", NULL, NULL },
	{ "10.0.0.1/8", NULL, NULL },
	{ "192.0.2.5/30", NULL, NULL },
	{ "2001:db8::1/32", NULL, NULL },
	{ "::/129", NULL, NULL },
	{ "::ffff:10.0.0.0/104", NULL, NULL },
	{ "10.0.0.0:143/8", NULL, NULL },
};

static void test_addr_networks(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
		struct net net;
		struct addr a;
		bool ok = net_parse(&net, str_from(nets[i].net));
		if (ok != (nets[i].in != NULL))
			fail_msg("\"%s\"", nets[i].net);
		if (!ok)
			continue;
		assert_true(addr_parse_ip(&a, str_from(nets[i].in)));
		if (!net_has(&net, &a))
			fail_msg("%s has no %s", nets[i].net, nets[i].in);
		assert_true(addr_parse_ip(&a, str_from(nets[i].not_in)));
		if (net_has(&net, &a))
			fail_msg("%s has %s", nets[i].net, nets[i].not_in);
		assert_false(net_has(&net, &(struct addr){ 0 }));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr_parses_ip),
		cmocka_unit_test(test_addr_parses_with_port),
		cmocka_unit_test(test_addr_none_has_a_text),
		cmocka_unit_test(test_addr_longest_text_fits),
		cmocka_unit_test(test_addr_from_sockaddr),
		cmocka_unit_test(test_addr_same_ip_and_hash),
		cmocka_unit_test(test_addr_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
