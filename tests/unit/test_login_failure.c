/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "tests/unit/login_play.h"

/* L AUTHENTICATE was sent and this is the answer. */
#define REFUSED(line) "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n" \
	"< " line "\n= FAILED\n"

static void test_login_failure_tells_the_client_what_it_may_know(void **state)
{
	const struct row rows[] = {
		{ "wrong password", JAN(), .dialogue =
		    REFUSED("L NO [AUTHENTICATIONFAILED] No such user jan."),
		    .failure = LOGIN_FAIL_AUTH_DENIED, .reply = DENIED,
		    .detail = "No such user jan.",
		    .state = "authenticate/authenticate" },
		{ "no code", JAN(), .dialogue =
		    REFUSED("L NO Unknown user."),
		    .failure = LOGIN_FAIL_AUTH_DENIED, .reply = DENIED },
		{ "a code that says nothing", JAN(), .dialogue =
		    REFUSED("L NO [CAPABILITY IMAP4rev1] Unknown user."),
		    .failure = LOGIN_FAIL_AUTH_DENIED, .reply = DENIED },
		{ "unavailable", JAN(), .dialogue =
		    REFUSED("L NO [UNAVAILABLE] Down for maintenance"),
		    .failure = LOGIN_FAIL_UNAVAILABLE,
		    .reply = "NO [UNAVAILABLE] Down for maintenance" },
		{ "referral", JAN(), .dialogue =
		    REFUSED("L NO [REFERRAL imap://jan@mail2/] Try there"),
		    .failure = LOGIN_FAIL_REFERRAL, .reply = UNAVAILABLE },
		{ "server bug", JAN(), .dialogue =
		    REFUSED("L NO [SERVERBUG] assertion failed"),
		    .failure = LOGIN_FAIL_SERVERBUG, .reply = SERVERBUG },
		{ "limit", JAN(), .dialogue =
		    REFUSED("L NO [LIMIT] Too many connections"),
		    .failure = LOGIN_FAIL_LIMIT,
		    .reply = "NO [LIMIT] Too many connections" },
		{ "other code", JAN(), .dialogue =
		    REFUSED("L NO [EXPIRED] Your password has expired"),
		    .failure = LOGIN_FAIL_OTHER_CODE,
		    .reply = "NO [EXPIRED] Your password has expired" },
		{ "other code with arguments", JAN(), .dialogue =
		    REFUSED("L NO [X a \"b]c\"] t\tu"),
		    .failure = LOGIN_FAIL_OTHER_CODE,
		    .reply = "NO [X a \"b]c\"] t?u" },
		{ "BAD", JAN(), .dialogue = REFUSED("L BAD too long"),
		    .failure = LOGIN_FAIL_BAD, .reply = UNAVAILABLE },
		{ "BAD with a code", JAN(), .dialogue =
		    REFUSED("L BAD [LIMIT] x"), .failure = LOGIN_FAIL_LIMIT,
		    .reply = "NO [LIMIT] x" },
		{ "no line of IMAP", JAN(), .dialogue =
		    REFUSED("550 go away"), .failure = LOGIN_FAIL_PROTOCOL,
		    .reply = UNAVAILABLE },
		{ "closed", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "= closed\n", .failure = LOGIN_FAIL_CLOSED,
		    .reply = UNAVAILABLE, .detail = "backend closed",
		    .state = "authenticate/banner" },
		{ "BYE and closed", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * BYE Disconnected: Shutting down\n"
		    "= closed\n", .failure = LOGIN_FAIL_BYE,
		    .reply = UNAVAILABLE, .detail = "Shutting down",
		    .state = "authenticate/bye" },
		{ "BYE and an answer", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * BYE Too many failures\n"
		    "< L NO [AUTHENTICATIONFAILED] no\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_AUTH_DENIED,
		    .reply = DENIED },
	};

	(void)state;
	play_all(rows, N(rows));
	assert_true(login_failure_retry(LOGIN_FAIL_UNAVAILABLE));
	assert_true(login_failure_retry(LOGIN_FAIL_PROTOCOL));
	assert_true(login_failure_retry(LOGIN_FAIL_BYE));
	assert_false(login_failure_retry(LOGIN_FAIL_AUTH_DENIED));
	assert_false(login_failure_retry(LOGIN_FAIL_LIMIT));
	assert_false(login_failure_retry(LOGIN_FAIL_SERVERBUG));
	assert_false(login_failure_retry(LOGIN_FAIL_REMOTE_CONFIG));
}

static void test_login_failure_refuses_backends_that_cannot(void **state)
{
	const struct row rows[] = {
		{ "BYE", JAN(), .dialogue = "< * BYE full\n= FAILED\n",
		    .failure = LOGIN_FAIL_BYE, .reply = UNAVAILABLE,
		    .state = "none/banner" },
		{ "PREAUTH", JAN(), .dialogue =
		    "< * PREAUTH [CAPABILITY IMAP4rev1] root\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL, .reply = UNAVAILABLE },
		{ "NO", JAN(), .dialogue = "< * NO hi\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "POP3", JAN(), .dialogue = "< +OK ready\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL, .state = "none/none" },
		{ "a tag", JAN(), .dialogue = "< L OK hi\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "no IMAP4rev1", JAN(), .dialogue =
		    "< * OK [CAPABILITY IMAP4 AUTH=PLAIN] hi\n= FAILED\n",
		    .failure = LOGIN_FAIL_REMOTE_CONFIG, .reply = SERVERBUG },
		{ "LOGINDISABLED without TLS", JAN(), .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] "
		    "hi\n= FAILED\n", .failure = LOGIN_FAIL_REMOTE_CONFIG,
		    .reply = SERVERBUG, .state = "none/banner" },
		{ "LOGINDISABLED and no PLAIN", JAN(.tls =
		    LOGIN_TLS_IMPLICIT), .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_REMOTE_CONFIG },
		{ "no STARTTLS", JAN(.tls = LOGIN_TLS_START), .dialogue =
		    "< " DOVECOT "\n= FAILED\n",
		    .failure = LOGIN_FAIL_REMOTE_CONFIG, .reply = SERVERBUG },
		{ "STARTTLS unknown", JAN(.tls = LOGIN_TLS_START),
		    .dialogue =
		    "< " BARE "\n> S STARTTLS\n< S BAD what?\n= FAILED\n",
		    .failure = LOGIN_FAIL_REMOTE_CONFIG, .reply = SERVERBUG },
		{ "STARTTLS not now", JAN(.tls = LOGIN_TLS_START),
		    .dialogue =
		    "< " BARE "\n> S STARTTLS\n< S NO no key\n= FAILED\n",
		    .failure = LOGIN_FAIL_TLS, .reply = UNAVAILABLE },
		{ "CAPABILITY refused", JAN(), .dialogue =
		    "< " BARE "\n> C CAPABILITY\n< C BAD what?\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "CAPABILITY without an answer", JAN(), .dialogue =
		    "< " BARE "\n> C CAPABILITY\n< C OK done\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "an answer to no question", JAN(), .dialogue =
		    "< " BARE "\n> C CAPABILITY\n< I OK done\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "OK out of turn", JAN(.id = ID_ALL), .dialogue =
		    "< " DOVECOT "\n> " ID_ALL_LINE "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "a literal", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * ID (\"name\" {5}\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "PREAUTH later", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * PREAUTH hi\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
		{ "a challenge to nothing", JAN(), .dialogue =
		    "< " BARE "\n> C CAPABILITY\n< + more\n= FAILED\n",
		    .failure = LOGIN_FAIL_PROTOCOL },
	};

	(void)state;
	play_all(rows, N(rows));
}

/* What is heard before TLS is anybody's: the capabilities and untagged lines
 * are forgotten, and bytes behind S OK end the attempt. */
static void test_login_failure_forgets_what_came_before_tls(void **state)
{
	const struct row rows[] = {
		{ "a list in the clear", JAN(.tls = LOGIN_TLS_START),
		    .dialogue =
		    "< " DOVECOT_TLS "\n"
		    "> S STARTTLS\n"
		    "< * OK [ALERT] call this number\n"
		    "< * CAPABILITY IMAP4rev1 AUTH=EVIL\n"
		    "< S OK go\n"
		    "= STARTTLS\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\n"
		    "< C OK\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .untagged = "", .caps = AFTER },
	};
	struct login_request q = JAN(.tls = LOGIN_TLS_START);
	struct buf in, out;
	struct login l;

	(void)state;
	play_all(rows, N(rows));

	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	for (int behind = 0; behind < 2; behind++) {
		login_init(&l, &q);
		buf_puts(&in, DOVECOT_TLS "\r\nS OK go\r\n");
		if (behind)
			buf_puts(&in, "*");
		assert_int_equal(login_feed(&l, &in, &out),
		    behind ? LOGIN_FAILED : LOGIN_STARTTLS);
		if (behind)
			assert_int_equal(login_failure(&l),
			    LOGIN_FAIL_PROTOCOL);
		login_fini(&l);
		buf_clear(&in);
		buf_clear(&out);
	}
	buf_fini(&in);
	buf_fini(&out);
}

static void test_login_failure_notices_a_wrong_hint(void **state)
{
	const struct row rows[] = {
		{ "refused for its form", JAN(.hint = STR("IMAP4rev1 "
		    "SASL-IR AUTH=PLAIN")), .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * CAPABILITY IMAP4rev1 AUTH=PLAIN\n"
		    "< C OK\n"
		    "< L BAD no initial response, please\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL,
		    .reply = UNAVAILABLE },
		{ "refused for the password", JAN(.hint = STR("IMAP4rev1 "
		    "SASL-IR AUTH=PLAIN")), .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=X\n"
		    "< C OK\n"
		    "< L NO [AUTHENTICATIONFAILED] no\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_AUTH_DENIED },
		{ "hint that would not do", JAN(.hint = STR("IMAP4rev1 "
		    "LOGINDISABLED")), .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\n"
		    "< C OK\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_failure_keeps_untagged_lines_for_the_client(void **state)
{
	const struct row rows[] = {
		{ "alerts, but no ID, BYE and CAPABILITY", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * OK [ALERT] Password expires soon\n"
		    "< * ID NIL\n"
		    "< * OK [CAPABILITY X] hm\n"
		    "< * CAPABILITY IMAP4rev1 IDLE\n"
		    "< * 1 EXISTS\n"
		    "< * BYE not really\n"
		    "< * OK your password is secret, not S3CRET\n"
		    "< L OK in\n"
		    "= OK\n", .caps = "IMAP4rev1 IDLE", .untagged =
		    "* OK [ALERT] Password expires soon\r\n* 1 EXISTS\r\n" },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_failure_bounds_what_it_keeps(void **state)
{
	struct login_request q = JAN();
	enum login_verdict v;
	struct buf in, out;
	struct login l;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	login_init(&l, &q);
	buf_puts(&in, DOVECOT "\r\n");
	for (int i = 0; i < 1000; i++)
		buf_puts(&in, "* OK [ALERT] ...............................\r\n");
	v = login_feed(&l, &in, &out);
	assert_int_equal(v, LOGIN_MORE);
	assert_in_range(login_untagged(&l).n, 1, LOGIN_UNTAGGED_MAX);
	assert_int_equal(in.len, 0);
	/* a line without end */
	for (int i = 0; i < LOGIN_LINE_MAX && v == LOGIN_MORE; i++) {
		buf_puts(&in, "x");
		v = login_feed(&l, &in, &out);
	}
	assert_int_equal(v, LOGIN_FAILED);
	assert_int_equal(in.len, LOGIN_LINE_MAX);
	assert_int_equal(login_failure(&l), LOGIN_FAIL_PROTOCOL);
	/* a failure that is already known is not another one */
	login_abort(&l, LOGIN_FAIL_TIMEOUT, "late");
	assert_int_equal(login_failure(&l), LOGIN_FAIL_PROTOCOL);
	login_fini(&l);

	/* an out that takes nothing */
	buf_fini(&out);
	buf_init(&out, 8);
	buf_clear(&in);
	buf_puts(&in, DOVECOT "\r\n");
	login_init(&l, &q);
	assert_int_equal(login_feed(&l, &in, &out), LOGIN_FAILED);
	login_fini(&l);
	buf_fini(&in);
	buf_fini(&out);
}

static void test_login_failure_hides_credentials_that_are_repeated(void **state)
{
	const struct row rows[] = {
		{ "in a refusal", JAN(), .dialogue =
		    REFUSED("L NO [LIMIT] AUTHENTICATE PLAIN " PLAIN "?"),
		    .failure = LOGIN_FAIL_LIMIT, .reply = UNAVAILABLE,
		    .detail = "backend refused the login: (it repeats" },
		{ "in a broken line", JAN(), .dialogue =
		    REFUSED("password secret is not known"),
		    .failure = LOGIN_FAIL_PROTOCOL, .detail = "(it repeats" },
		{ "in the OK", JAN(), .dialogue =
		    "< " DOVECOT "\n> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK [CAPABILITY IMAP4rev1] secret taken\n= OK\n",
		    .text = "Logged in." },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_failure_reads_referrals(void **state)
{
	static const struct {
		const char *url, *user, *host;	/* host NULL: no good */
		uint16_t port;
	} rows[] = {
		{ "imap://mail2/", "", "mail2", 143 },
		{ "imap://jan@mail2.example.org:1143/", "jan",
		    "mail2.example.org", 1143 },
		{ "IMAP://jan%40x.org;AUTH=*@192.0.2.1/", "jan@x.org",
		    "192.0.2.1", 143 },
		{ "imap://;AUTH=PLAIN@h", "", "h", 143 },
		{ "imap://[2001:db8::1]:993/", "", "2001:db8::1", 993 },
		{ "imap://[2001:db8::1]/", "", "2001:db8::1", 143 },
		{ "imap://", NULL, NULL, 0 },
		{ "imap://h:0/", NULL, NULL, 0 },
		{ "imap://h:65536/", NULL, NULL, 0 },
		{ "imap://h:x/", NULL, NULL, 0 },
		{ "imap://[::1]x/", NULL, NULL, 0 },
		{ "imap://a@b@c/", NULL, NULL, 0 },
		{ "imap://j%0d%0a@h/", NULL, NULL, 0 },
		{ "imap://j%4@h/", NULL, NULL, 0 },
		{ "imap://h x/", NULL, NULL, 0 },
		{ "imaps://h/", NULL, NULL, 0 },
		{ "", NULL, NULL, 0 },
	};
	struct login_request q = JAN();
	struct buf in, out;
	struct login l;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	for (size_t i = 0; i < N(rows); i++) {
		login_init(&l, &q);
		buf_printf(&in, DOVECOT "\r\nL NO [REFERRAL %s] go\r\n",
		    rows[i].url);
		assert_int_equal(login_feed(&l, &in, &out), LOGIN_FAILED);
		assert_int_equal(login_failure(&l), LOGIN_FAIL_REFERRAL);
		const struct login_referral *r = login_referral(&l);
		if (!str_eq(r->host, str_from(rows[i].host)) ||
		    !str_eq(r->user, str_from(rows[i].user)) ||
		    r->port != rows[i].port)
			fail_msg("%s: user %.*s host %.*s port %u",
			    rows[i].url, STR_ARG(r->user), STR_ARG(r->host),
			    r->port);
		login_fini(&l);
		buf_clear(&in);
		buf_clear(&out);
	}
	buf_fini(&in);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_login_failure_tells_the_client_what_it_may_know),
		cmocka_unit_test(
		    test_login_failure_refuses_backends_that_cannot),
		cmocka_unit_test(
		    test_login_failure_forgets_what_came_before_tls),
		cmocka_unit_test(test_login_failure_notices_a_wrong_hint),
		cmocka_unit_test(
		    test_login_failure_keeps_untagged_lines_for_the_client),
		cmocka_unit_test(test_login_failure_bounds_what_it_keeps),
		cmocka_unit_test(
		    test_login_failure_hides_credentials_that_are_repeated),
		cmocka_unit_test(test_login_failure_reads_referrals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
