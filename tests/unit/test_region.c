/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/geo.h"
#include "backends/region.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"

/* Regions of a configuration's text. */
struct made {
	struct settings *settings;
	struct regions *regions;
};

static struct made make(const char *text)
{
	struct err err;
	struct made m = { settings_from_text(str_from(text), "test",
	    &conf_schema, NULL, NULL, &err), NULL };
	size_t n;

	if (!m.settings)
		fail_msg("%s", err.text);
	const struct conf_region *const *all = conf_region_all(m.settings,
	    &n);
	m.regions = regions_compile(all, n);
	return m;
}

static void drop(struct made *m)
{
	regions_free(&m->regions);
	settings_unref(&m->settings);
}

static void assert_found(const struct made *m, const char *ip,
    const struct geo_place *place, const char *wanted)
{
	static const struct geo_place nowhere = { .has_places = true,
		.has_asns = true };
	char text[REGION_TEXT_MAX];
	struct addr a;

	assert_true(addr_parse_ip(&a, str_from(ip)));
	struct region_found f = regions_find(m->regions, &a,
	    place ? place : &nowhere);
	if (strcmp(region_text(&f, text), wanted) != 0)
		fail_msg("%s: %s, expected %s", ip, text, wanted);
}

#define NONE "in no region: unknown"
#define UNTOLD "in no region: a GeoIP database is missing"

static void test_region_by_longest_network(void **state)
{
	struct made m = make(
	    "region wide { networks = { 10.0.0.0/8, \"2001:db8::/32\", "
	    "  0.0.0.0/1 } }\n"
	    "region narrow { networks = { 10.1.0.0/16, 10.1.2.3,"
	    "  \"2001:db8:1::/48\" } }\n"
	    "region middle { networks = { 10.1.2.0/24, 10.1.2.128/25,"
	    "  \"2001:db8:1:8000::/49\" } }\n");

	(void)state;
	assert_found(&m, "10.0.0.0", NULL, "network 10.0.0.0/8 of region wide");
	assert_found(&m, "10.255.255.255", NULL,
	    "network 10.0.0.0/8 of region wide");
	assert_found(&m, "11.0.0.0", NULL, "network 0.0.0.0/1 of region wide");
	assert_found(&m, "128.0.0.0", NULL, NONE);
	assert_found(&m, "10.1.0.0", NULL,
	    "network 10.1.0.0/16 of region narrow");
	assert_found(&m, "10.1.3.0", NULL,
	    "network 10.1.0.0/16 of region narrow");
	assert_found(&m, "10.1.2.2", NULL,
	    "network 10.1.2.0/24 of region middle");
	assert_found(&m, "10.1.2.3", NULL,
	    "network 10.1.2.3/32 of region narrow");
	assert_found(&m, "10.1.2.4", NULL,
	    "network 10.1.2.0/24 of region middle");
	assert_found(&m, "10.1.2.200", NULL,
	    "network 10.1.2.128/25 of region middle");
	assert_found(&m, "::ffff:10.1.2.200", NULL,
	    "network 10.1.2.128/25 of region middle");
	assert_found(&m, "2001:db8::1", NULL,
	    "network 2001:db8::/32 of region wide");
	assert_found(&m, "2001:db8:1:7fff::1", NULL,
	    "network 2001:db8:1::/48 of region narrow");
	assert_found(&m, "2001:db8:1:8000::", NULL,
	    "network 2001:db8:1:8000::/49 of region middle");
	assert_found(&m, "2001:db7::", NULL, NONE);
	assert_found(&m, "::10.1.2.3", NULL, NONE);
	drop(&m);
}

static void test_region_first_of_equals(void **state)
{
	struct made m = make(
	    "region a { networks = { 10.0.0.0/8 } countries = CH }\n"
	    "region b { networks = { 10.0.0.0/8, 10.1.0.0/16 }\n"
	    "  countries = { ch, NO }  asns = 64500  continents = EU }\n"
	    "region c { networks = { 10.1.0.0/16, 10.0.0.0/8 }\n"
	    "  asns = AS64500  continents = EU }\n");
	struct geo_place p = { .has_places = true, .has_asns = true,
		.country = "CH", .continent = "EU" };

	(void)state;
	assert_found(&m, "10.2.3.4", NULL, "network 10.0.0.0/8 of region a");
	assert_found(&m, "10.1.3.4", NULL, "network 10.1.0.0/16 of region b");
	assert_found(&m, "192.0.2.1", &p, "country CH of region a");
	memcpy(p.country, "NO", 3);
	assert_found(&m, "192.0.2.1", &p, "country NO of region b");
	memcpy(p.country, "SE", 3);
	assert_found(&m, "192.0.2.1", &p, "continent EU of region b");
	p.asn = 64500;
	assert_found(&m, "192.0.2.1", &p, "asn 64500 of region b");
	drop(&m);
}

static void test_region_the_most_telling_decides(void **state)
{
	struct made m = make(
	    "region continent { continents = EU }\n"
	    "region country { countries = GB }\n"
	    "region part { subdivisions = \"GB-ENG\" }\n"
	    "region town { subdivisions = \"gb-wsm\" }\n"
	    "region as { asns = 4294967295 }\n"
	    "region own { networks = 192.0.2.0/24 }\n");
	struct geo_place p = { .has_places = true, .has_asns = true,
		.country = "GB", .continent = "EU", .asn = 4294967295,
		.subdivisions = { "GB-WSM", "GB-ENG" }, .n_subdivisions = 2 };

	(void)state;
	assert_found(&m, "192.0.2.1", &p, "network 192.0.2.0/24 of region own");
	assert_found(&m, "192.0.3.1", &p, "asn 4294967295 of region as");
	p.asn = 429496729;
	assert_found(&m, "192.0.3.1", &p, "subdivision GB-WSM of region town");
	memcpy(p.subdivisions[0], "GB-XXX", 7);
	assert_found(&m, "192.0.3.1", &p, "subdivision GB-ENG of region part");
	p.n_subdivisions = 1;
	assert_found(&m, "192.0.3.1", &p, "country GB of region country");
	memcpy(p.country, "CH", 3);
	assert_found(&m, "192.0.3.1", &p, "continent EU of region continent");
	memcpy(p.continent, "AS", 3);
	assert_found(&m, "192.0.3.1", &p, NONE);
	drop(&m);
}

/* What nobody can tell is not the same as in no region. */
static void test_region_without_a_database(void **state)
{
	struct geo_place nothing = { 0 }, places = { .has_places = true };
	struct made m = make("region own { networks = 10.0.0.0/8 }\n");

	(void)state;
	assert_found(&m, "192.0.2.1", &nothing, NONE);
	drop(&m);
	m = make("region own { networks = 10.0.0.0/8  countries = CH }\n");
	assert_found(&m, "192.0.2.1", &nothing, UNTOLD);
	assert_found(&m, "10.0.2.1", &nothing,
	    "network 10.0.0.0/8 of region own");
	assert_found(&m, "192.0.2.1", &places, NONE);
	drop(&m);
	m = make("region own { countries = CH  asns = 1 }\n");
	assert_found(&m, "192.0.2.1", &places, UNTOLD);
	memcpy(places.country, "CH", 3);
	assert_found(&m, "192.0.2.1", &places, "country CH of region own");
	drop(&m);
	m = make("");
	assert_found(&m, "192.0.2.1", &nothing, NONE);
	drop(&m);
}

/* Against the plain way to do it. */
static void test_region_of_many_networks(void **state)
{
	enum { NETS = 5000, ASKED = 5000 };
	struct buf text;
	unsigned seed = 7;
	size_t n;

	(void)state;
	buf_init(&text, 0);
	buf_puts(&text, "region a { networks = { 10.0.0.0/8");
	for (int i = 0; i < NETS; i++) {
		if (i == NETS / 2)
			buf_puts(&text, " } }\n"
			    "region b { networks = { 11.0.0.0/8");
		unsigned bits = 9 + (unsigned)rand_r(&seed) % 24;
		uint32_t ip = 0x0a000000 |
		    ((uint32_t)rand_r(&seed) & 0x1ffffff);
		ip &= ~(uint32_t)0 << (32 - bits);
		buf_printf(&text, ", %u.%u.%u.%u/%u", ip >> 24, ip >> 16 & 255,
		    ip >> 8 & 255, ip & 255, bits);
	}
	buf_puts(&text, " } }\n");
	buf_append(&text, "", 1);
	struct made m = make(buf_view(&text).p);
	const struct conf_region *const *all = conf_region_all(m.settings,
	    &n);
	for (int i = 0; i < ASKED; i++) {
		const struct geo_place nowhere = { 0 };
		const struct conf_region *wanted = NULL;
		unsigned longest = 0;
		uint32_t ip = htonl(0x0a000000 |
		    ((uint32_t)rand_r(&seed) & 0x1ffffff));
		struct addr a;
		addr_from_bytes(&a, AF_INET, &ip, 0);
		for (size_t r = 0; r < n; r++)
			for (size_t k = 0; k < all[r]->networks.n; k++) {
				const struct net *net =
				    &all[r]->networks.v[k];
				if (!net_has(net, &a) || net->bits <= longest)
					continue;
				longest = net->bits;
				wanted = all[r];
			}
		assert_ptr_equal(regions_find(m.regions, &a, &nowhere).region,
		    wanted);
	}
	drop(&m);
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_region_by_longest_network),
		cmocka_unit_test(test_region_first_of_equals),
		cmocka_unit_test(test_region_the_most_telling_decides),
		cmocka_unit_test(test_region_without_a_database),
		cmocka_unit_test(test_region_of_many_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
