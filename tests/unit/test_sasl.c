/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/imap/sasl.h"

#define VIEW(lit) { lit, sizeof(lit) - 1 }
#define TEN "0123456789"
#define LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN \
	TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* names: "authcid/authzid/password/user"; NULL: refused. */
static const struct row {
	enum sasl_mech mech;
	struct str message;
	const char *names;
} rows[] = {
	{ SASL_PLAIN, VIEW("\0jan\0pw"), "jan//pw/jan" },
	{ SASL_PLAIN, VIEW("eva\0jan\0pw"), "jan/eva/pw/eva" },
	{ SASL_PLAIN, VIEW("\0j\xc3\xa4n\0p\xc3\xa4"),
	    "j\xc3\xa4n//p\xc3\xa4/j\xc3\xa4n" },
	{ SASL_PLAIN, VIEW(""), NULL },
	{ SASL_PLAIN, VIEW("jan"), NULL },
	{ SASL_PLAIN, VIEW("\0jan"), NULL },
	{ SASL_PLAIN, VIEW("\0jan\0"), NULL },
	{ SASL_PLAIN, VIEW("\0\0pw"), NULL },
	{ SASL_PLAIN, VIEW("\0jan\0pw\0"), NULL },
	{ SASL_PLAIN, VIEW("\0jan\0pw\0x"), NULL },
	{ SASL_PLAIN, VIEW("\0j\nan\0pw"), NULL },
	{ SASL_PLAIN, VIEW("e\r\nva\0jan\0pw"), NULL },
	{ SASL_PLAIN, VIEW("\0jan\0p\r\nw"), NULL },
	{ SASL_PLAIN, VIEW("\0j\xe4n\0pw"), NULL },
	{ SASL_PLAIN, VIEW("\0j\xc0\x80n\0pw"), NULL },
	{ SASL_PLAIN, VIEW("\0" LONG "\0pw"), NULL },
	{ SASL_LOGIN, VIEW("jan"), NULL },
	{ SASL_EXTERNAL, VIEW(""), "///" },
	{ SASL_EXTERNAL, VIEW("jan"), "/jan//jan" },
	{ SASL_EXTERNAL, VIEW("j\0an"), NULL },
	{ SASL_SCRAM_SHA_1, VIEW("n,,n=jan,r=x"), "jan///jan" },
	{ SASL_SCRAM_SHA_256, VIEW("y,a=eva,n=jan,r=x,e=1"), "jan/eva//eva" },
	{ SASL_SCRAM_SHA_256, VIEW("n,a==2Ce=3D,n==3Dj=2C,r=x"),
	    "=j,/,e=//,e=" },
	{ SASL_SCRAM_SHA_256, VIEW("p=tls-unique,,n=jan,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=jan"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=jan,r="), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,a=,n=jan,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,m=x,n=jan,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=j=3dn,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=j=3,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=j=,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,,n=j\nn,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW("n,x,n=jan,r=x"), NULL },
	{ SASL_SCRAM_SHA_256, VIEW(""), NULL },
	{ SASL_XOAUTH2, VIEW("user=jan\1auth=Bearer tok\1\1"), "jan///jan" },
	{ SASL_XOAUTH2, VIEW("user=jan\1auth=bearer tok\1\1"), "jan///jan" },
	{ SASL_XOAUTH2, VIEW("user=\1auth=Bearer tok\1\1"), NULL },
	{ SASL_XOAUTH2, VIEW("user=jan\1auth=Bearer tok\1"), NULL },
	{ SASL_XOAUTH2, VIEW("user=jan\1auth=Bearer \1\1"), NULL },
	{ SASL_XOAUTH2, VIEW("user=jan"), NULL },
	{ SASL_XOAUTH2, VIEW("auth=Bearer tok\1user=jan\1\1"), NULL },
	{ SASL_OAUTHBEARER, VIEW("n,a=jan,\1auth=Bearer tok\1\1"),
	    "/jan//jan" },
	{ SASL_OAUTHBEARER,
	    VIEW("n,a=j=2C,\1host=h\1port=1\1auth=Bearer t\1\1"), "/j,//j," },
	{ SASL_OAUTHBEARER, VIEW("n,,\1auth=Bearer tok\1\1"), NULL },
	{ SASL_OAUTHBEARER, VIEW("n,a=jan,\1host=h\1\1"), NULL },
	{ SASL_OAUTHBEARER, VIEW("n,a=jan,\1auth=Bearer tok\1"), NULL },
	{ SASL_OAUTHBEARER, VIEW("n,a=jan,\1auth=Bearer tok\1\1x"), NULL },
	{ SASL_OAUTHBEARER, VIEW("\1"), NULL },
	{ SASL_end, VIEW("x"), NULL },
};

static void test_sasl_names(void **state)
{
	struct buf got;

	(void)state;
	buf_init(&got, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *row = &rows[i];
		char *message = malloc(row->message.n ? row->message.n : 1);
		struct sasl_names names;

		memcpy(message, row->message.p, row->message.n);
		bool good = sasl_names_parse(row->mech, message,
		    row->message.n, &names);
		buf_printf(&got, "%.*s/%.*s/%.*s/%.*s",
		    STR_ARG(names.authcid), STR_ARG(names.authzid),
		    STR_ARG(names.password),
		    STR_ARG(sasl_names_user(&names)));
		if (good != (row->names != NULL) ||
		    !str_eq(buf_view(&got), good ? str_from(row->names) :
		    STR("///")))
			fail_msg("row %zu (%.*s): %d %.*s", i,
			    STR_ARG(row->message), good,
			    STR_ARG(buf_view(&got)));
		buf_clear(&got);
		free(message);
	}
	buf_fini(&got);
}

static void test_sasl_mechs(void **state)
{
	enum sasl_mech mech;

	(void)state;
	for (enum sasl_mech m = 0; m < SASL_end; m++) {
		assert_true(sasl_mech_find(str_from(sasl_mech_name(m)),
		    &mech));
		assert_int_equal(m, mech);
	}
	assert_true(sasl_mech_find(STR("scram-sha-256"), &mech));
	assert_int_equal(mech, SASL_SCRAM_SHA_256);
	assert_int_equal(sasl_mech_class(mech), SASL_RELAYED);
	assert_int_equal(sasl_mech_class(SASL_PLAIN), SASL_READ);
	assert_false(sasl_mech_is_client_first(SASL_LOGIN));
	assert_false(sasl_mech_find(STR("SCRAM-SHA-256-PLUS"), &mech));
	assert_false(sasl_mech_find(STR(""), &mech));
}

static void test_sasl_builds_plain(void **state)
{
	struct sasl_names names;
	char message[64];
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_true(sasl_plain(&b, STR("eva"), STR("admin"), STR("pw")));
	assert_true(str_eq(buf_view(&b), STR("eva\0admin\0pw")));
	memcpy(message, buf_view(&b).p, b.len);
	assert_true(sasl_names_parse(SASL_PLAIN, message, b.len, &names));
	assert_true(str_eq(names.password, STR("pw")));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sasl_mechs),
		cmocka_unit_test(test_sasl_names),
		cmocka_unit_test(test_sasl_builds_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
