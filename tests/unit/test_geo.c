/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/conf.h"
#include "backends/geo.h"
#include "proxy/base/addr.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

/* Databases made by tests/mmdb.pl, which the build's root has. */
static char dir[64];

static struct {
	struct ev_loop *loop;
	struct geo *geo;
	unsigned n_ready;
	FILE *log;
} t;

static const char *at(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

/* --- codes ---------------------------------------------------------------- */

static void test_geo_codes(void **state)
{
	char country[GEO_COUNTRY_MAX] = "", part[GEO_SUBDIVISION_MAX] = "";
	static const char *const bad_countries[] = { "", "C", "CHE", "C1",
		"\xc3\xa4" };
	static const char *const bad_parts[] = { "", "DE", "DE-", "-BY",
		"DE-ABCD", "DEU-BY", "DE_BY", "DE-B_", "D1-BY" };
	static const char *const bad_asns[] = { "", "AS", "0", "4294967296",
		"99999999999", "-1", "1.2", "AS 1", "unknown" };
	uint32_t asn;

	(void)state;
	assert_true(geo_country_parse(country, STR("ch")));
	assert_string_equal(country, "CH");
	assert_true(geo_subdivision_parse(part, STR("gb-1a")));
	assert_string_equal(part, "GB-1A");
	assert_true(geo_asn_parse(&asn, STR("as64500")) && asn == 64500);
	assert_true(geo_asn_parse(&asn, STR("4294967295")));
	assert_int_equal(asn, UINT32_MAX);
	for (size_t i = 0; i < sizeof bad_countries / sizeof(char *); i++)
		assert_false(geo_country_parse(country,
		    str_from(bad_countries[i])));
	for (size_t i = 0; i < sizeof bad_parts / sizeof(char *); i++)
		assert_false(geo_subdivision_parse(part,
		    str_from(bad_parts[i])));
	for (size_t i = 0; i < sizeof bad_asns / sizeof(char *); i++)
		assert_false(geo_asn_parse(&asn, str_from(bad_asns[i])));
}

/* --- files ---------------------------------------------------------------- */

static int make_databases(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/test_geo.XXXXXX");
	assert_non_null(mkdtemp(dir));
	FILE *p = popen("perl tests/mmdb.pl", "w");
	assert_non_null(p);
	fprintf(p, "@ %s/country GeoLite2-Country\n"
	    "203.0.113.0/24 country=CH continent=EU\n"
	    "203.0.114.0/24 continent=EU\n"
	    "2001:db8::/32 country=DE continent=EU\n", dir);
	fprintf(p, "@ %s/other GeoLite2-Country\n"
	    "203.0.113.0/24 country=AT continent=EU\n", dir);
	fprintf(p, "@ %s/city GeoIP2-City\n"
	    "203.0.113.0/25 country=GB continent=EU subdivisions=ENG,WSM\n"
	    "203.0.115.0/24 country=DE subdivisions=TOOLONG\n", dir);
	fprintf(p, "@ %s/asn GeoLite2-ASN\n203.0.113.0/24 asn=64500\n"
	    "2001:db8::/32 asn=4294967295\n", dir);
	fprintf(p, "@ %s/v4 DBIP-Country-Lite 4\n"
	    "203.0.113.0/24 country=CH continent=EU\n", dir);
	assert_int_equal(pclose(p), 0);
	return 0;
}

static int drop_databases(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", dir);
	return system(command);
}

static void on_ready(void *owner)
{
	(void)owner;
	t.n_ready++;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.log = tmpfile();
	log_set_output(dup(fileno(t.log)), LOG_KIND_FILE);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_INFO);
	t.loop = ev_loop_new(0);
	t.geo = geo_new(t.loop, on_ready, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	geo_free(&t.geo);
	ev_loop_destroy(t.loop);
	fclose(t.log);
	return 0;
}

static void configure(const char *country, const char *city, const char *asn)
{
	const struct conf_geoip conf = { .name = "", .where = "test:1",
		.country = country, .city = city, .asn = asn };

	geo_configure(t.geo, &conf);
	while (!geo_is_ready(t.geo))
		ev_run(t.loop, EVRUN_ONCE);
}

/* "CH EU GB-ENG 64500", "-" for what is unknown, "?" for what nobody tells. */
static const char *found(const char *ip)
{
	static char text[100];
	struct addr a;

	assert_true(addr_parse_ip(&a, str_from(ip)));
	struct geo_place p = geo_find(t.geo, &a);
	const char *none = p.has_places ? "-" : "?";
	int n = snprintf(text, sizeof text, "%s %s %s%s%s",
	    p.country[0] ? p.country : none,
	    p.continent[0] ? p.continent : none,
	    p.subdivisions[0][0] ? p.subdivisions[0] : "",
	    p.n_subdivisions > 1 ? "," : "", p.subdivisions[1]);
	snprintf(text + n, sizeof text - (size_t)n, p.has_asns ? " %u" : " ?",
	    p.asn);
	return text;
}

static void wait_for(const char *ip, const char *wanted)
{
	double until = ev_time() + 20;

	while (strcmp(found(ip), wanted) != 0) {
		if (ev_time() > until)
			fail_msg("%s, and not %s", found(ip), wanted);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static bool has_logged(const char *text)
{
	static char all[20000];

	rewind(t.log);
	all[fread(all, 1, sizeof all - 1, t.log)] = '\0';
	return strstr(all, text) != NULL;
}

static void wait_logged(const char *text)
{
	double until = ev_time() + 20;

	while (!has_logged(text)) {
		if (ev_time() > until)
			fail_msg("not logged: %s", text);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static void copy(const char *from, const char *to, long cut)
{
	static char data[100000];
	FILE *f = fopen(from, "r");
	size_t n = fread(data, 1, sizeof data, f);

	fclose(f);
	f = fopen(to, "w");
	n = cut > 0 ? (size_t)cut : n - (size_t)-cut;
	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

static void put(const char *from, const char *name)
{
	copy(at(from), at("new"), 0);
	assert_int_equal(rename(at("new"), at(name)), 0);
}

static void test_geo_finds(void **state)
{
	(void)state;
	assert_string_equal(found("203.0.113.7"), "? ?  ?");
	configure(at("country"), "", "");
	assert_int_equal(t.n_ready, 1);
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	assert_string_equal(found("::ffff:203.0.113.7"), "CH EU  ?");
	assert_string_equal(found("203.0.114.7"), "- EU  ?");
	assert_string_equal(found("203.0.112.7"), "- -  ?");
	assert_string_equal(found("2001:db8:1::7"), "DE EU  ?");
	assert_string_equal(found("2001:db9::7"), "- -  ?");
	configure(at("country"), at("city"), at("asn"));
	assert_string_equal(found("203.0.113.7"),
	    "GB EU GB-WSM,GB-ENG 64500");
	assert_string_equal(found("203.0.113.200"), "CH EU  64500");
	assert_string_equal(found("203.0.115.1"), "DE -  0");
	assert_string_equal(found("2001:db8::"), "DE EU  4294967295");
	configure("", at("city"), "");
	assert_string_equal(found("203.0.113.200"), "- -  ?");
	configure(at("v4"), "", "");
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	assert_string_equal(found("2001:db8::"), "- -  ?");
	const struct addr nobody = { 0 };
	assert_int_equal(geo_find(t.geo, &nobody).country[0], 0);
}

static void test_geo_follows_the_file(void **state)
{
	(void)state;
	put("country", "live");
	configure(at("live"), "", "");
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	put("other", "live");
	wait_for("203.0.113.7", "AT EU  ?");
	copy(at("country"), at("live"), 0);	/* in place */
	wait_for("203.0.113.7", "CH EU  ?");
	assert_true(has_logged("event=geoip_loaded database=country "
	    "type=GeoLite2-Country built=20"));
}

/* What is cut while it is in use, is gone, or is something else. */
static void test_geo_keeps_the_good_one(void **state)
{
	static const struct {
		const char *from;
		long cut;
		const char *why;
	} rows[] = {
		{ "country", 100, "invalid metadata" },
		{ "country", -1, "" },
		{ "asn", 0, "a database of type \\\"GeoLite2-ASN\\\"; expected "
		    "one of countries" },
	};

	(void)state;
	put("country", "live");
	configure(at("live"), "", "");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		rewind(t.log);
		assert_int_equal(ftruncate(fileno(t.log), 0), 0);
		copy(at(rows[i].from), at("live"), rows[i].cut);
		assert_string_equal(found("203.0.113.7"), "CH EU  ?");
		wait_logged("geoip_refused");
		assert_true(has_logged(rows[i].why));
		assert_true(has_logged("kept=old"));
		assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	}
	unlink(at("live"));
	wait_logged("No such file");
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	put("other", "live");
	wait_for("203.0.113.7", "AT EU  ?");
}

/* A file that others cut must not be the one that is mapped. */
static void test_geo_survives_a_cut_before_it_is_seen(void **state)
{
	(void)state;
	put("country", "live");
	configure(at("live"), "", "");
	assert_int_equal(truncate(at("live"), 0), 0);
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	assert_string_equal(found("2001:db8:1::7"), "DE EU  ?");
}

static void test_geo_without_a_good_file(void **state)
{
	(void)state;
	copy(at("country"), at("bad"), 200);
	configure(at("bad"), at("missing"), "");
	assert_int_equal(t.n_ready, 1);
	assert_string_equal(found("203.0.113.7"), "? ?  ?");
	assert_true(has_logged("kept=none"));
	put("country", "bad");
	wait_for("203.0.113.7", "CH EU  ?");
}

/* The old one serves until the other is read, and stays if it is bad. */
static void test_geo_configured_anew(void **state)
{
	const struct conf_geoip conf = { .name = "", .where = "test:1",
		.country = at("missing"), .city = "", .asn = "" };

	(void)state;
	configure(at("country"), "", "");
	geo_configure(t.geo, &conf);
	assert_true(geo_is_ready(t.geo));
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	wait_logged("No such file");
	assert_string_equal(found("203.0.113.7"), "CH EU  ?");
	assert_int_equal(t.n_ready, 1);
	configure("", "", "");
	assert_string_equal(found("203.0.113.7"), "? ?  ?");
	/* it may go while it is read */
	const struct conf_geoip two = { .name = "", .where = "test:1",
		.country = at("country"), .city = at("city"), .asn = "" };
	geo_configure(t.geo, &two);
}

static void flip(const char *name, long from, long to, unsigned char byte)
{
	FILE *f = fopen(at(name), "r+");

	fseek(f, from, SEEK_SET);
	for (; from < to; from++)
		fputc(byte, f);
	fclose(f);
}

/* Neither damaged trees nor damaged records are followed into nowhere. */
static void test_geo_bears_damage(void **state)
{
	struct stat st;
	struct err err;
	struct conf_geoip conf = { .name = "", .where = "test:1",
		.country = at("broken"), .city = "", .asn = "" };
	unsigned n_refused = 0, n_damaged = 0;

	(void)state;
	assert_int_equal(stat(at("country"), &st), 0);
	for (long i = 0; i < st.st_size; i += 3) {
		copy(at("country"), at("broken"), 0);
		flip("broken", i, i + 3, i % 2 ? 0xff : 0x7f);
		conf.country = at("broken");
		if (!geo_check(&conf, &err)) {
			n_refused++;
			continue;
		}
		geo_free(&t.geo);
		t.geo = geo_new(t.loop, on_ready, NULL);
		configure(at("broken"), "", "");
		(void)found("203.0.113.7");
		(void)found("203.0.114.7");
		(void)found("2001:db8:1::7");
	}
	n_damaged += has_logged("geoip_damaged");
	assert_true(n_refused > 0 && n_damaged > 0);
}

static void test_geo_refuses_a_damaged_tree(void **state)
{
	const struct conf_geoip conf = { .name = "", .where = "test:1",
		.country = at("broken"), .city = "", .asn = "" };
	struct err err;

	(void)state;
	copy(at("country"), conf.country, 0);
	assert_true(geo_check(&conf, &err));
	flip("broken", 0, 3, 0xff);
	assert_false(geo_check(&conf, &err));
	assert_non_null(strstr(err.text, "broken: its search tree is damaged"));
}

static void test_geo_is_checked_before(void **state)
{
	static const struct {
		const char *country, *city, *asn, *wanted;
	} rows[] = {
		{ "country", "city", "asn", NULL },
		{ "city", "", "", NULL },
		{ "", "", "", NULL },
		{ "missing", "", "", "geoip.country: /tmp/" },
		{ "", "country", "", "geoip.city: /tmp/" },
		{ "", "", "city", "expected one of AS numbers" },
		{ ".", "", "", "not a file" },
		{ "empty", "", "", "empty; expected a GeoIP database" },
		{ "text", "", "", "expected a GeoIP database" },
	};
	struct err err;

	(void)state;
	fclose(fopen(at("empty"), "w"));
	FILE *f = fopen(at("text"), "w");
	fputs("no database\n", f);
	fclose(f);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct conf_geoip conf = { .name = "",
			.where = "test:1",
			.country = *rows[i].country ? at(rows[i].country) : "",
			.city = *rows[i].city ? at(rows[i].city) : "",
			.asn = *rows[i].asn ? at(rows[i].asn) : "" };
		bool is_good = geo_check(&conf, &err);
		if (is_good != !rows[i].wanted || (!is_good &&
		    (!strstr(err.text, rows[i].wanted) ||
		    strncmp(err.text, "test:1: geoip.", 14) != 0)))
			fail_msg("row %zu: %s", i, err.text);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geo_codes),
		TEST(test_geo_finds),
		TEST(test_geo_follows_the_file),
		TEST(test_geo_keeps_the_good_one),
		TEST(test_geo_survives_a_cut_before_it_is_seen),
		TEST(test_geo_without_a_good_file),
		TEST(test_geo_configured_anew),
		TEST(test_geo_bears_damage),
		TEST(test_geo_refuses_a_damaged_tree),
		TEST(test_geo_is_checked_before),
	};

	return cmocka_run_group_tests(tests, make_databases, drop_databases);
}
