/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "proxy/base/tlscert.h"
#include "tests/unit/cert_play.h"

static void test_tlscert_texts_are_those_of_nginx(void **state)
{
	char der[1024], pem[2048];
	struct tlscert c;

	(void)state;
	assert_true(tlscert_init(&c, cert_der(cert_lines, der)));
	assert_string_equal(c.subject, CERT_SUBJECT);
	assert_string_equal(c.issuer, CERT_SUBJECT);
	assert_string_equal(c.serial, CERT_SERIAL);
	assert_string_equal(c.fingerprint, CERT_FINGERPRINT);
	snprintf(pem, sizeof pem, CERT_PEM_BEGIN "%s" CERT_PEM_END,
	    cert_lines);
	assert_string_equal(c.pem, pem);
	tlscert_fini(&c);
	assert_null(c.pem);
}

static void test_tlscert_names_end_no_line(void **state)
{
	char der[1024];
	struct tlscert c;

	(void)state;
	assert_true(tlscert_init(&c, cert_der(cert_evil_lines, der)));
	assert_string_equal(c.subject, "CN=a\\0D\\0AX: y");
	tlscert_fini(&c);
}

static void test_tlscert_refuses_what_is_none(void **state)
{
	char bytes[1024 + 1];
	struct str der = cert_der(cert_lines, bytes);
	struct tlscert c;

	(void)state;
	assert_false(tlscert_init(&c, STR_NONE));
	assert_false(tlscert_init(&c, STR("no certificate")));
	for (size_t n = 1; n < der.n; n++)
		assert_false(tlscert_init(&c, (struct str){ der.p, n }));
	bytes[der.n] = 0;
	assert_false(tlscert_init(&c, (struct str){ der.p, der.n + 1 }));
	assert_null(c.subject);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tlscert_texts_are_those_of_nginx),
		cmocka_unit_test(test_tlscert_names_end_no_line),
		cmocka_unit_test(test_tlscert_refuses_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
