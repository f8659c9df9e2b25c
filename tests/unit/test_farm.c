/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/target.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "tests/unit/dns_play.h"

#define SRV_NAME "_imap._tcp.example.net"
#define MAIL "backend mail { address = \"srv+" SRV_NAME "\" " \
	"tls = starttls  weight = 70 }\n"
#define WIDE "backend wide { address = \"wide.example.net:143\" }\n"

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct farm *farm;
	struct settings *settings;		/* the farm has them too */
} t;

static void on_names(void *owner)
{
	(void)owner;
	ev_break(t.loop, EVBREAK_ONE);
}

static int setup(void **state)
{
	(void)state;
	t.settings = NULL;
	t.loop = ev_loop_new(0);
	dns_play_begin(t.loop);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	const struct settings_address address = { "", "127.0.0.1", dns.port };
	const struct settings_addresses servers = { .v = &address, .n = 1 };
	t.resolve = resolve_new(t.loop, &servers, 200, on_names, NULL, NULL);
	t.farm = farm_new(t.resolve);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	farm_free(&t.farm);
	settings_unref(&t.settings);
	resolve_free(&t.resolve);
	dns_play_end(t.loop);
	ev_loop_destroy(t.loop);
	return 0;
}

static void configure(const char *text)
{
	struct err err;
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err);

	if (!s)
		fail_msg("%s", err.text);
	farm_configure(t.farm, s);
	settings_unref(&t.settings);
	t.settings = s;
}

static void wait_until(bool (*is_so)(void))
{
	while (!is_so())
		ev_run(t.loop, EVRUN_ONCE);
}

static bool is_outdated(void)
{
	return farm_is_outdated(t.farm);
}

static struct backend *find(const char *name)
{
	return farm_find(t.farm, str_from(name));
}

static bool is_wide_known(void)
{
	struct addr a;

	return backend_address(find("wide"), 0, &a) == RESOLVE_KNOWN;
}

static bool has_third(void)
{
	struct addr a;

	assert_true(addr_parse(&a, STR("192.0.2.3:143")));
	return farm_find_address(t.farm, &a);
}

static unsigned address_of(const struct backend *b, uint64_t key)
{
	struct addr a;

	assert_int_equal(backend_address(b, key, &a), RESOLVE_KNOWN);
	assert_int_equal(addr_port(&a), 143);
	return ntohl(a.v4.sin_addr.s_addr) & 0xff;
}

static struct addr ip(const char *text)
{
	struct addr a;

	assert_true(addr_parse(&a, str_from(text)));
	return a;
}

static void test_farm_uses_all_addresses(void **state)
{
	unsigned counts[4] = { 0 }, was[100];

	(void)state;
	dns_play_a("wide.example.net", 2, 1, 2);
	configure(WIDE "pool p { backends = { wide } }");
	wait_until(is_wide_known);
	const struct backend *b = find("wide");
	for (unsigned key = 0; key < 100; key++) {
		was[key] = address_of(b, key);
		counts[was[key]]++;
		assert_int_equal(address_of(b, key), was[key]);
	}
	assert_int_equal(counts[1] + counts[2], 100);
	assert_in_range(counts[1], 30, 70);
	/* known by each of them */
	struct addr second = ip("192.0.2.2:143"), other = ip("192.0.2.3:143"),
	    port = ip("192.0.2.2:144");
	assert_ptr_equal(farm_find_address(t.farm, &second), b);
	assert_null(farm_find_address(t.farm, &other));
	assert_null(farm_find_address(t.farm, &port));
	/* another address takes its own keys only */
	dns_play_a("wide.example.net", 2, 3, 2);
	const struct settings_address address = { "", "127.0.0.1", dns.port };
	const struct settings_addresses servers = { .v = &address, .n = 1 };
	assert_true(resolve_configure(t.resolve, &servers, 200, NULL));
	wait_until(has_third);
	for (unsigned key = 0; key < 100; key++)
		if (was[key] == 2)
			assert_in_range(address_of(b, key), 2, 3);
	assert_ptr_equal(farm_find_address(t.farm, &other), b);
}

static void test_farm_leaves_out_what_is_at_fault(void **state)
{
	struct addr first = ip("192.0.2.1:143"), second = ip("192.0.2.2:143"),
	    old = ip("192.0.2.9:143"), next;
	unsigned turns[3] = { 0 }, counts[3] = { 0 };

	(void)state;
	dns_play_a("wide.example.net", 2, 1, 2);
	configure(WIDE "pool p { backends = { wide } }");
	wait_until(is_wide_known);
	struct backend *b = find("wide");
	/* one that it has no more says nothing about the others */
	assert_true(backend_fault(b, &old));
	assert_true(backend_fault(b, &first));
	assert_true(backend_fault(b, &first));
	assert_true(backend_is_at_fault(b, &first));
	for (unsigned key = 0; key < 100; key++)
		assert_int_equal(address_of(b, key), 2);
	/* checks ask both */
	for (unsigned i = 0; i < 4; i++) {
		backend_next_address(b, &next);
		turns[addr_same_ip(&next, &first) ? 1 : 2]++;
	}
	assert_int_equal(turns[1], 2);
	/* where all are at fault, it is the backend, and none is left out */
	assert_false(backend_fault(b, &second));
	for (unsigned key = 0; key < 100; key++)
		counts[address_of(b, key)]++;
	assert_in_range(counts[1], 30, 70);
	backend_fault_over(b, &first);
	for (unsigned key = 0; key < 100; key++)
		assert_int_equal(address_of(b, key), 1);
}

static void test_farm_literal_is_simple(void **state)
{
	struct addr a = ip("192.0.2.1:143");

	(void)state;
	configure("backend one { address = \"192.0.2.1:143\" }\n"
	    "pool p { backends = { one } }");
	assert_false(backend_fault(find("one"), &a));
	assert_false(backend_is_at_fault(find("one"), &a));
	assert_int_equal(address_of(find("one"), 77), 1);
	assert_ptr_equal(farm_find_host(t.farm, STR("192.0.2.1"), 0),
	    find("one"));
}

static const struct conf_backend *mail_section(void)
{
	return conf_pool_all(t.settings, &(size_t){ 0 })[0]->
	    backends.v[0];
}

static void assert_members(const char *want)
{
	char got[400] = "";
	size_t n;
	struct backend *const *members = farm_members(t.farm, mail_section(),
	    &n);

	for (size_t i = 0; i < n; i++) {
		char one[120];
		snprintf(one, sizeof one, "%s%s*%u/%u", i ? " " : "",
		    backend_conf(members[i])->name,
		    backend_conf(members[i])->weight,
		    backend_tier(members[i]));
		strcat(got, one);
	}
	assert_string_equal(got, want);
	assert_int_equal(farm_n(t.farm), n);
}

static void test_farm_targets_are_backends(void **state)
{
	(void)state;
	dns_play_srv(SRV_NAME, 10, 60, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 10, 0, 993, "m2.example.net");
	dns_play_srv(SRV_NAME, 20, 0, 143, "spare.example.net");
	dns_play_a("m1.example.net", 1, 1, 0);
	configure(MAIL "pool p { backends = { mail } }\n"
	    "pool q { backends = { mail } }");
	assert_members("");
	assert_true(farm_is_pending(t.farm, mail_section()));
	assert_true(farm_is_pending_for(t.farm,
	    STR("mail/m1.example.net:143")));
	assert_true(farm_is_pending_for(t.farm, STR("m1.example.net")));
	wait_until(is_outdated);
	farm_update(t.farm);
	assert_false(farm_is_outdated(t.farm));
	assert_false(farm_is_pending(t.farm, mail_section()));
	assert_false(farm_is_pending_for(t.farm, STR("m1.example.net")));
	assert_members("mail/m1.example.net:143*60/0 "
	    "mail/m2.example.net:993*1/0 mail/spare.example.net:143*70/1");
	assert_null(find("mail"));
	const struct conf_backend *c =
	    backend_conf(find("mail/m2.example.net:993"));
	assert_int_equal(c->tls, CONF_TLS_STARTTLS);
	assert_string_equal(c->address.host, "m2.example.net");
	assert_string_equal(c->address.text, "m2.example.net:993");
	assert_int_equal(c->address.port, 993);
	assert_non_null(farm_find_host(t.farm, STR("M1.example.net"), 143));
	assert_null(farm_find_host(t.farm, STR("m1.example.net"), 993));
}

static void test_farm_targets_come_and_go(void **state)
{
	(void)state;
	dns.ttl = 1;
	dns_play_srv(SRV_NAME, 10, 60, 143, "m1.example.net");
	dns_play_srv(SRV_NAME, 10, 40, 143, "m2.example.net");
	configure(MAIL "pool p { backends = { mail } }");
	wait_until(is_outdated);
	farm_update(t.farm);
	struct backend *m2 = find("mail/m2.example.net:143");
	backend_hear(m2, STR("IMAP4rev1 IDLE"));
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 10, 40, 143, "m2.example.net");
	dns_play_srv(SRV_NAME, 10, 2000, 143, "m3.example.net");
	wait_until(is_outdated);
	farm_update(t.farm);
	assert_members("mail/m2.example.net:143*1/0 "
	    "mail/m3.example.net:143*31/0");
	/* the same one */
	assert_ptr_equal(find("mail/m2.example.net:143"), m2);
	assert_int_equal(backend_capabilities(m2).n, 14);
	/* no service */
	dns_play_clear(SRV_NAME);
	dns_play_srv(SRV_NAME, 0, 0, 0, "");
	wait_until(is_outdated);
	farm_update(t.farm);
	assert_members("");
	assert_false(farm_is_pending(t.farm, mail_section()));
}

static void test_farm_reload_keeps_targets(void **state)
{
	(void)state;
	dns_play_srv(SRV_NAME, 10, 60, 143, "m1.example.net");
	configure(MAIL "pool p { backends = { mail } }");
	wait_until(is_outdated);
	farm_update(t.farm);
	unsigned asked = dns.n_asked;
	configure("backend mail { address = \"srv+" SRV_NAME "\"  tls = none  "
	    "max_sessions = 5 }\npool p { backends = { mail } }");
	assert_members("mail/m1.example.net:143*60/0");
	assert_int_equal(backend_conf(find("mail/m1.example.net:143"))->
	    max_sessions, 5);
	assert_int_equal(dns.n_asked, asked);
	configure("backend mail { address = \"srv+" SRV_NAME "\"  weight = 0 "
	    "}\npool p { backends = { mail } }");
	assert_members("mail/m1.example.net:143*0/0");
}

static void test_target_split(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
	} good[] = {
		{ "a.b", "a.b", 0 }, { "a.b:143", "a.b", 143 },
		{ "a:imaps", "a", 993 }, { "[::1]:143", "::1", 143 },
		{ "[::1]", "::1", 0 }, { "::1", "::1", 0 },
	};
	static const char *const bad[] = { "", ":143", "a:", "a:0", "a:65536",
		"[::1", "[::1]143", "a:x" };
	struct str host;
	unsigned port;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(target_split(str_from(good[i].text), &host,
		    &port));
		assert_true(str_eq(host, str_from(good[i].host)));
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(target_split(str_from(bad[i]), &host, &port));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_farm_uses_all_addresses),
		TEST(test_farm_leaves_out_what_is_at_fault),
		TEST(test_farm_literal_is_simple),
		TEST(test_farm_targets_are_backends),
		TEST(test_farm_targets_come_and_go),
		TEST(test_farm_reload_keeps_targets),
		cmocka_unit_test(test_target_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
