/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define DOVECOT_BEFORE "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE " \
	"LITERAL+ STARTTLS AUTH=PLAIN AUTH=SCRAM-SHA-256"

static void check(struct buf *got, const char *want)
{
	if (!str_eq(buf_view(got), str_from(want)))
		fail_msg("\"%.*s\", not \"%s\"", STR_ARG(buf_view(got)),
		    want);
	buf_clear(got);
}

static void test_caps_has_whole_words_in_any_case(void **state)
{
	struct str caps = STR(DOVECOT_BEFORE);

	(void)state;
	assert_true(caps_has(caps, STR("imap4REV1")));
	assert_true(caps_has(caps, STR("LITERAL+")));
	assert_true(caps_has(caps, STR("STARTTLS")));
	assert_false(caps_has(caps, STR("LITERAL")));
	assert_false(caps_has(caps, STR("IMAP4")));
	assert_false(caps_has(caps, STR("")));
	assert_false(caps_has(STR_NONE, STR("ID")));
	assert_true(caps_has_auth(caps, STR("plain")));
	assert_true(caps_has_auth(caps, STR("SCRAM-SHA-256")));
	assert_false(caps_has_auth(caps, STR("SCRAM-SHA-1")));
	assert_false(caps_has_auth(caps, STR("")));
}

static void test_caps_skips_what_is_no_capability(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	caps_add(&b, STR("  A  B\tC (D) \"E\" F] G\r\nH \xc3\xa4 I a {3} "
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "
	    "J"));
	check(&b, "A I J");
	buf_fini(&b);
}

static void test_caps_are_bounded(void **state)
{
	char word[32];
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	for (int i = 0; i < 2000; i++) {
		snprintf(word, sizeof(word), "WORD%d", i);
		caps_add(&b, str_from(word));
	}
	assert_in_range(b.len, CAPS_MAX - 16, CAPS_MAX);
	buf_fini(&b);
	/* a bounded buffer loses words, not parts of them */
	buf_init(&b, 7);
	caps_add(&b, STR("AAAA BBBB CC"));
	check(&b, "AAAA CC");
	buf_fini(&b);
}

static void test_caps_intersect_keeps_the_common(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	caps_intersect(&b, STR("IMAP4rev1 IDLE ID ENABLE"),
	    STR("ENABLE imap4rev1 NAMESPACE IDLE"));
	check(&b, "IMAP4rev1 IDLE ENABLE");
	caps_intersect(&b, STR("IMAP4rev1"), STR_NONE);
	check(&b, "");
	assert_true(caps_equal(STR("A B"), STR("b a")));
	assert_false(caps_equal(STR("A B"), STR("A")));
	assert_false(caps_equal(STR("A"), STR("A B")));
	caps_mechanisms(&b, STR(DOVECOT_BEFORE " AUTH="));
	check(&b, "PLAIN SCRAM-SHA-256");
	buf_fini(&b);
}

static void test_caps_before_login_are_those_we_keep(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	caps_before_login(&b, STR(DOVECOT_BEFORE));
	check(&b, "IMAP4rev1 SASL-IR LITERAL- ID ENABLE IDLE");
	caps_before_login(&b, STR("IMAP4rev1 IMAP4rev2 IDLE NAMESPACE "
	    "LOGINDISABLED UIDPLUS COMPRESS=DEFLATE UNAUTHENTICATE "
	    "MULTIPLEX LITERAL- AUTH=X LOGIN-REFERRALS UTF8=ACCEPT"));
	check(&b, "IMAP4rev1 SASL-IR LITERAL- ID IDLE NAMESPACE UIDPLUS "
	    "UTF8=ACCEPT");
	caps_before_login(&b, STR_NONE);
	check(&b, "IMAP4rev1 SASL-IR LITERAL- ID");
	buf_fini(&b);
}

static void test_caps_after_login_are_the_backends(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	caps_after_login(&b, STR("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID "
	    "ENABLE IDLE SORT SORT=DISPLAY UNSELECT LITERAL+ NOTIFY "
	    "COMPRESS=DEFLATE AUTH=PLAIN starttls X-GM-EXT-1 "
	    "MAILBOX-REFERRALS UNAUTHENTICATE X-MULTIPLEX XLIST"));
	check(&b, "IMAP4rev1 SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY "
	    "UNSELECT LITERAL+ NOTIFY COMPRESS=DEFLATE X-GM-EXT-1 XLIST");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_caps_has_whole_words_in_any_case),
		cmocka_unit_test(test_caps_skips_what_is_no_capability),
		cmocka_unit_test(test_caps_are_bounded),
		cmocka_unit_test(test_caps_intersect_keeps_the_common),
		cmocka_unit_test(test_caps_before_login_are_those_we_keep),
		cmocka_unit_test(test_caps_after_login_are_the_backends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
