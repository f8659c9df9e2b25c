/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/base/crc32c.h"
#include "proxy/base/err.h"
#include "proxy/proxyline.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\x11"
#define TCP4_ADDRESSES "\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb"

static const char *const kinds[] = { "LOCAL", "TCP" };

/* What a header says, as text; "bad" or "more" when it is none. */
static const char *describe(enum proxyline_verdict verdict,
    const struct proxyline *l)
{
	static char text[512];
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	if (verdict != PROXYLINE_DONE)
		return verdict == PROXYLINE_MORE ? "more" : "bad";
	int n = sprintf(text, "%s %s %s", kinds[l->kind],
	    addr_text(&l->source, from), addr_text(&l->destination, to));
	const struct { const char *name; struct str value; } views[] = {
		{ "alpn", l->alpn }, { "authority", l->authority },
		{ "id", l->unique_id }, { "version", l->tls.version },
		{ "cipher", l->tls.cipher }, { "cn", l->tls.cn },
	};
	const struct { const char *name; bool is_set; } flags[] = {
		{ "tls", l->tls.is_on }, { "cert", l->tls.has_cert },
		{ "had", l->tls.had_cert }, { "verified", l->tls.is_verified },
		{ "crc", l->has_crc },
	};
	for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
		if (views[i].value.n)
			n += sprintf(text + n, " %s=%.*s", views[i].name,
			    STR_ARG(views[i].value));
	}
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		if (flags[i].is_set)
			n += sprintf(text + n, " %s", flags[i].name);
	}
	return text;
}

/* A copy of exactly n bytes, so that a sanitizer sees a read behind them. */
static enum proxyline_verdict parse(const char *p, size_t n,
    struct proxyline *out, size_t *used)
{
	static char *copy;	/* the views in *out live to the next call */
	struct err err = { "" };

	free(copy);
	copy = malloc(n ? n : 1);
	memcpy(copy, p, n);
	enum proxyline_verdict verdict =
	    proxyline_parse(copy, n, out, used, &err);
	assert_true((verdict == PROXYLINE_BAD) == (err.text[0] != 0));
	return verdict;
}

/*
 * Every beginning of the bytes, growing as they would come, with what follows
 * behind the header: nothing but MORE before the verdict, and the same verdict
 * when all came at once.
 */
static void check(const char *name, struct str bytes, const char *expected)
{
	enum proxyline_verdict verdict = PROXYLINE_MORE;
	struct proxyline l;
	size_t used = 0, n = 0;

	while (verdict == PROXYLINE_MORE && n <= bytes.n) {
		verdict = parse(bytes.p, n, &l, &used);
		n++;
	}
	const char *got = describe(verdict, &l);
	if (strcmp(got, expected))
		fail_msg("%s: %s, not %s", name, got, expected);
	if (verdict == PROXYLINE_DONE)
		assert_int_equal(used, n - 1);
	size_t used_whole = 0;
	got = describe(parse(bytes.p, bytes.n, &l, &used_whole), &l);
	if (strcmp(got, expected))
		fail_msg("%s, at once: %s, not %s", name, got, expected);
	assert_int_equal(used, used_whole);
}

#define CHECK(bytes, expected) check(#bytes, STR(bytes), expected)

static void test_proxyline_v1(void **state)
{
	(void)state;
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\na1 NOOP\r\n",
	    "TCP 192.168.0.1:56324 192.168.0.11:443");
	CHECK("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
	    "TCP 255.255.255.255:65535 255.255.255.255:65535");
	CHECK("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 0 993\r\n",
	    "TCP [2001:db8::1]:0 [2001:db8::2]:993");
	CHECK("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    "TCP [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 "
	    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	/* mapped addresses are IPv4 in all of Mailweir */
	CHECK("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n",
	    "TCP 192.0.2.1:1 [2001:db8::2]:2");
	CHECK("PROXY UNKNOWN\r\n", "LOCAL none none");
	CHECK("PROXY UNKNOWN whatever \0 this is\r\n", "LOCAL none none");
	CHECK("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    "LOCAL none none");
}

static void test_proxyline_v1_bad(void **state)
{
	(void)state;
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1\r 192.168.0.11 56324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 56324 \r\n", "bad");
	CHECK("PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.01 192.168.0.11 56324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.256 192.168.0.11 56324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.1 192.168.0.11 56324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 00 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 +1 443\r\n", "bad");
	CHECK("PROXY TCP4 192.168.0.1 192.168.0.11 0x1 443\r\n", "bad");
	CHECK("PROXY TCP4 ::1 ::1 1 2\r\n", "bad");
	CHECK("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "bad");
	CHECK("PROXY TCP6 [::1] ::1 1 2\r\n", "bad");
	CHECK("PROXY TCP6 1::2::3 ::1 1 2\r\n", "bad");
	CHECK("PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "bad");
	CHECK("PROXY TCP5 ::1 ::1 1 2\r\n", "bad");
	CHECK("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "bad");
	CHECK("PROXY UNKNOWNS\r\n", "bad");
	CHECK("PROXY UNKNOWN\n", "bad");
	CHECK("PROXY UNKNOWN x\ry\r\n", "bad");
	CHECK("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n", "bad");
	CHECK("PROXY\r\n", "bad");
	CHECK("PROXY \r\n", "bad");
	CHECK("PROXY TCP4\r\n", "bad");
	CHECK("proxy TCP4 192.168.0.1 192.168.0.11 1 2\r\n", "bad");
}

/* BAD with the first byte that cannot be, not at the end of the line. */
static void test_proxyline_early(void **state)
{
	const struct str starts[] = {
		STR("a"), STR("G"), STR("\x16"), STR("PO"), STR("PROXYT"),
		STR("PROXY  "), STR("PROXY TCP5"), STR("PROXY UNKNOWNX"),
		STR("PROXY TCP4 g"), STR("PROXY TCP4 :"),
		STR("PROXY TCP4 300.1.1.1 "), STR("PROXY TCP6 1:2 "),
		STR("PROXY TCP4 1.1.1.1 1.1.1.1 00"),
		STR("PROXY TCP4 1.1.1.1 1.1.1.1 65536"),
		STR("PROXY TCP4 1.1.1.1 1.1.1.1 1 2 "),
		STR("PROXY TCP4 1.1.1.1 1.1.1.1\r"),
		STR("PROXY TCP4 1.1.1.1\n"),
		STR("\r\n\r\n\0\r\nQUI\r"), STR(SIGNATURE "\x11"),
		STR(SIGNATURE "\x22"), STR(SIGNATURE "\x21\x41"),
		STR(SIGNATURE "\x21\x13"), STR(SIGNATURE "\x21\x11\0\x0b"),
		STR(SIGNATURE "\x21\x21\0\x23"),
		STR(SIGNATURE "\x21\x31\0\xd7"),
		STR(SIGNATURE "\x20\0\x0f\xf1"),
	};
	struct proxyline l;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
		struct str s = starts[i];
		for (size_t n = 0; n < s.n; n++) {
			if (parse(s.p, n, &l, &used) != PROXYLINE_MORE)
				fail_msg("start %zu, too early", i);
		}
		if (parse(s.p, s.n, &l, &used) != PROXYLINE_BAD)
			fail_msg("start %zu, not seen", i);
	}
}

static void test_proxyline_v2(void **state)
{
	(void)state;
	CHECK(SIGNATURE "\x21" TCP4 "\0\x0c" TCP4_ADDRESSES "a1 NOOP\r\n",
	    "TCP 192.168.0.1:56324 192.168.0.11:443");
	CHECK(SIGNATURE "\x21\x21\0\x24"
	    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
	    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x03\xe1",
	    "TCP [2001:db8::1]:56324 [2001:db8::2]:993");
	/* LOCAL: whatever it says is skipped by length */
	CHECK(SIGNATURE "\x20\0\0\0", "LOCAL none none");
	CHECK(SIGNATURE "\x20\xff\0\x03" "abc", "LOCAL none none");
	CHECK(SIGNATURE "\x20\x11\0\x01" "a", "LOCAL none none");
	/* not known, or not TCP */
	CHECK(SIGNATURE "\x21\0\0\0", "LOCAL none none");
	CHECK(SIGNATURE "\x21\0\0\x05" "abcde", "LOCAL none none");
	CHECK(SIGNATURE "\x21\x12\0\x0c" TCP4_ADDRESSES, "LOCAL none none");
	CHECK(SIGNATURE "\x21\x10\0\x0c" TCP4_ADDRESSES, "LOCAL none none");
}

static void test_proxyline_v2_unix(void **state)
{
	char bytes[16 + 216 + 5] = SIGNATURE "\x21\x31\0\xdd";

	(void)state;
	memcpy(bytes + 16 + 216, "\x05\0\x02id", 5);
	check("unix", (struct str){ bytes, sizeof bytes },
	    "LOCAL none none id=id");
}

#define HEAD(n) SIGNATURE "\x21" TCP4 "\0" n TCP4_ADDRESSES
#define PEERS "TCP 192.168.0.1:56324 192.168.0.11:443"

static void test_proxyline_tlvs(void **state)
{
	(void)state;
	CHECK(HEAD("\x2b") "\x01\0\x04imap" "\x02\0\x08" "mail.org"
	    "\x05\0\x02" "17" "\x04\0\0" "\x04\0\x02\0\0",
	    PEERS " alpn=imap authority=mail.org id=17");
	/* unknown types, and a name space */
	CHECK(HEAD("\x17") "\xe0\0\x01x\xe0\0\0\x30\0\x01n",
	    PEERS);
	CHECK(HEAD("\x14") "\x20\0\x05\0\0\0\0\0", PEERS);
	CHECK(HEAD("\x1e") "\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3",
	    PEERS " version=TLSv1.3 tls");
	CHECK(HEAD("\x1c") "\x20\0\x0d\x07\0\0\0\0\x21\0\x01v\x22\0\x01j",
	    PEERS " version=v cn=j tls cert had verified");
	/* not verified, or no certificate at all: the name is not shown */
	CHECK(HEAD("\x18") "\x20\0\x09\x03\0\0\0\x01\x22\0\x01j",
	    PEERS " tls cert");
	CHECK(HEAD("\x18") "\x20\0\x09\x01\0\0\0\0\x22\0\x01j",
	    PEERS " tls");
	CHECK(HEAD("\x18") "\x20\0\x09\x02\0\0\0\0\x22\0\x01j",
	    PEERS " cert");
}

static void test_proxyline_tlvs_bad(void **state)
{
	(void)state;
	CHECK(HEAD("\x0d") "\x01", "bad");
	CHECK(HEAD("\x0e") "\x01\0", "bad");
	CHECK(HEAD("\x0f") "\x01\0\x01", "bad");
	CHECK(HEAD("\x10") "\x01\xff\xffx", "bad");
	/* the TLV reaches behind the header */
	CHECK(HEAD("\x11") "\x20\0\x05\0\0\0\0\0\0\0\0\0\0\0", "bad");
	CHECK(HEAD("\x10") "\x20\0\x01x", "bad");
	CHECK(HEAD("\x16") "\x20\0\x07\0\0\0\0\0\x21\0", "bad");
	CHECK(HEAD("\x18") "\x20\0\x09\0\0\0\0\0\x21\0\x02x", "bad");
	/* a TLV inside may not reach out */
	CHECK(HEAD("\x1b") "\x20\0\x08\0\0\0\0\0\x21\0\x03\x05\0\0\0", "bad");
	/* twice */
	CHECK(HEAD("\x14") "\x02\0\x01" "a\x02\0\x01" "b", "bad");
	CHECK(HEAD("\x1c") "\x20\0\x0d\x07\0\0\0\0\x22\0\x01j\x22\0\x01k",
	    "bad");
	/* checksums of a wrong length and a wrong value */
	CHECK(HEAD("\x11") "\x03\0\x02\0\0", "bad");
	CHECK(HEAD("\x13") "\x03\0\x04\0\0\0\0", "bad");
}

static void test_proxyline_unique_id_length(void **state)
{
	char bytes[28 + 3 + 129] = HEAD("\x8f");
	struct proxyline l;
	size_t used;

	(void)state;
	memcpy(bytes + 28, "\x05\0\x80", 3);
	assert_int_equal(parse(bytes, 28 + 3 + 128, &l, &used),
	    PROXYLINE_DONE);
	assert_int_equal(l.unique_id.n, 128);
	bytes[15]++;
	bytes[30]++;
	assert_int_equal(parse(bytes, sizeof bytes, &l, &used),
	    PROXYLINE_BAD);
}

static void test_proxyline_longest(void **state)
{
	char bytes[PROXYLINE_MAX] = SIGNATURE "\x20\0\x0f\xf0";

	(void)state;
	check("4096 bytes", (struct str){ bytes, sizeof bytes },
	    "LOCAL none none");
}

/* The checksum may stand anywhere; one bit changed anywhere is noticed. */
static void test_proxyline_checksum(void **state)
{
	char bytes[] = HEAD("\x1a") "\x03\0\x04\0\0\0\0" "\x01\0\x04imap";
	size_t n = sizeof bytes - 1, used;
	struct proxyline l;

	(void)state;
	uint32_t crc = crc32c(0, bytes, n);
	for (int i = 0; i < 4; i++)
		bytes[31 + i] = (char)(crc >> (24 - 8 * i));
	check("checksum", (struct str){ bytes, n }, PEERS " alpn=imap crc");
	for (size_t bit = 16 * 8; bit < n * 8; bit++) {
		bytes[bit / 8] ^= (char)(1 << bit % 8);
		bool is_type = bit / 8 == 28;	/* it is none any more then */
		enum proxyline_verdict verdict = parse(bytes, n, &l, &used);
		assert_true(is_type ? verdict == PROXYLINE_BAD || !l.has_crc
				    : verdict == PROXYLINE_BAD);
		bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
}

static struct proxyline full_line(void)
{
	struct proxyline l = {
		.kind = PROXYLINE_TCP,
		.alpn = STR("imap"),
		.authority = STR("imap.example.org"),
		.unique_id = STR("00c3f1a2"),
		.tls = {
			.is_on = true, .has_cert = true, .had_cert = true,
			.is_verified = true, .version = STR("TLSv1.3"),
			.cipher = STR("TLS_AES_256_GCM_SHA384"),
			.cn = STR("jan"),
		},
	};
	assert_true(addr_parse(&l.source, STR("192.0.2.1:40000")));
	assert_true(addr_parse(&l.destination, STR("198.51.100.1:993")));
	return l;
}

static void check_built(const struct proxyline *l, const char *expected)
{
	struct buf out;

	buf_init(&out, 0);
	assert_true(proxyline_build_v2(&out, l));
	check(expected, buf_view(&out), expected);
	buf_fini(&out);
}

static void test_proxyline_build(void **state)
{
	struct proxyline l = full_line();

	(void)state;
	check_built(&l, "TCP 192.0.2.1:40000 198.51.100.1:993 alpn=imap "
	    "authority=imap.example.org id=00c3f1a2 version=TLSv1.3 "
	    "cipher=TLS_AES_256_GCM_SHA384 cn=jan tls cert had verified crc");
	l.tls.is_verified = false;
	l.alpn = l.authority = STR_NONE;
	check_built(&l, "TCP 192.0.2.1:40000 198.51.100.1:993 id=00c3f1a2 "
	    "version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 tls cert had crc");
	l.tls.is_on = false;
	assert_true(addr_parse(&l.source, STR("[2001:db8::1]:40000")));
	assert_true(addr_parse(&l.destination, STR("[2001:db8::2]:993")));
	check_built(&l,
	    "TCP [2001:db8::1]:40000 [2001:db8::2]:993 id=00c3f1a2 crc");
	assert_true(addr_parse(&l.destination, STR("198.51.100.1:993")));
	check_built(&l,
	    "TCP [2001:db8::1]:40000 198.51.100.1:993 id=00c3f1a2 crc");
	l.kind = PROXYLINE_LOCAL;
	check_built(&l, "LOCAL none none");
}

static void test_proxyline_build_bytes(void **state)
{
	struct proxyline l = full_line();
	struct buf out;

	(void)state;
	l.alpn = l.authority = STR_NONE;
	l.tls = (struct proxyline_tls){ .is_on = true,
		.version = STR("TLSv1.2") };
	buf_init(&out, 0);
	assert_true(proxyline_build_v2(&out, &l));
	static const char expected[] = SIGNATURE "\x21\x11\0\x30"
	    "\xc0\0\x02\x01\xc6\x33\x64\x01\x9c\x40\x03\xe1"
	    "\x05\0\x08" "00c3f1a2"
	    "\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.2"
	    "\x03\0\x04";
	assert_int_equal(buf_view(&out).n, sizeof expected - 1 + 4);
	assert_memory_equal(buf_view(&out).p, expected, sizeof expected - 1);
	buf_clear(&out);
	assert_true(proxyline_build_v2(&out,
	    &(struct proxyline){ .kind = PROXYLINE_LOCAL }));
	assert_int_equal(buf_view(&out).n, 16);
	assert_memory_equal(buf_view(&out).p, SIGNATURE "\x20\0\0\0", 16);
	buf_fini(&out);
}

static void test_proxyline_build_too_long(void **state)
{
	static char name[PROXYLINE_MAX];
	struct proxyline l = full_line();
	struct buf out;

	(void)state;
	memset(name, 'x', sizeof name);
	buf_init(&out, 0);
	size_t fits = 0;
	for (size_t n = 3900; n <= sizeof name; n++) {
		l.tls.cn = (struct str){ name, n };
		buf_clear(&out);
		if (proxyline_build_v2(&out, &l)) {
			fits = n;
			check("long", (struct str){ buf_view(&out).p, 13 },
			    "more");
			assert_true(buf_view(&out).n <= PROXYLINE_MAX);
		} else {
			assert_int_equal(buf_view(&out).n, 0);
		}
	}
	assert_in_range(fits, 3900, sizeof name - 1);
	buf_fini(&out);
	buf_init(&out, 20);
	l.tls.cn = STR_NONE;
	assert_false(proxyline_build_v2(&out, &l));
	assert_int_equal(buf_view(&out).n, 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxyline_v1),
		cmocka_unit_test(test_proxyline_v1_bad),
		cmocka_unit_test(test_proxyline_early),
		cmocka_unit_test(test_proxyline_v2),
		cmocka_unit_test(test_proxyline_v2_unix),
		cmocka_unit_test(test_proxyline_tlvs),
		cmocka_unit_test(test_proxyline_tlvs_bad),
		cmocka_unit_test(test_proxyline_unique_id_length),
		cmocka_unit_test(test_proxyline_longest),
		cmocka_unit_test(test_proxyline_checksum),
		cmocka_unit_test(test_proxyline_build),
		cmocka_unit_test(test_proxyline_build_bytes),
		cmocka_unit_test(test_proxyline_build_too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
