/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "tests/unit/login_play.h"

static void test_login_is_one_round_trip(void **state)
{
	const struct row rows[] = {
		{ "Dovecot, plain", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .text = "Logged in", .caps = AFTER,
		    .untagged = "", .state = "authenticate/authenticate" },
		{ "Dovecot, ID and implicit TLS",
		    JAN(.tls = LOGIN_TLS_IMPLICIT, .id = ID_ALL), .dialogue =
		    "< " DOVECOT "\n"
		    "> " ID_ALL_LINE "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * ID (\"name\" \"Dovecot\")\n"
		    "< I OK ID completed.\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .caps = AFTER, .untagged = "",
		    .state = "id+authenticate/authenticate" },
		{ "Dovecot, STARTTLS with a hint", JAN(.tls = LOGIN_TLS_START,
		    .hint = STR(BEFORE " AUTH=PLAIN"), .id = ID_ALL),
		    .dialogue =
		    "< " DOVECOT_TLS "\n"
		    "> S STARTTLS\n"
		    "< S OK Begin TLS negotiation now.\n"
		    "= STARTTLS\n"
		    "> C CAPABILITY\n"
		    "> " ID_ALL_LINE "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * CAPABILITY " BEFORE " AUTH=PLAIN\n"
		    "< C OK Pre-login capabilities listed, post-login "
		    "capabilities have more.\n"
		    "< * ID (\"name\" \"Dovecot\")\n"
		    "< I OK ID completed.\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .caps = AFTER, .state =
		    "id+starttls+capability+authenticate/authenticate" },
		{ "Dovecot, STARTTLS without a hint", JAN(.tls =
		    LOGIN_TLS_START, .id = ID_ALL), .dialogue =
		    "< " DOVECOT_TLS "\n"
		    "> S STARTTLS\n"
		    "< S OK Begin TLS negotiation now.\n"
		    "= STARTTLS\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY " BEFORE " AUTH=PLAIN\n"
		    "< C OK Pre-login capabilities listed.\n"
		    "> " ID_ALL_LINE "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< * ID NIL\n"
		    "< I OK ID completed.\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .caps = AFTER },
		{ "banner without capabilities, with a hint",
		    JAN(.hint = STR(BEFORE " AUTH=PLAIN")), .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    /* Dovecot after a CAPABILITY command: no response code */
		    "< * CAPABILITY " BEFORE " AUTH=PLAIN\n"
		    "< C OK Pre-login capabilities listed.\n"
		    "< * CAPABILITY " AFTER "\n"
		    "< L OK Logged in\n"
		    "= OK\n", .caps = AFTER, .text = "Logged in" },
		{ "banner without capabilities", JAN(), .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\n"
		    "< C OK\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK [CAPABILITY IMAP4rev1 IDLE]\n"
		    "= OK\n", .caps = "IMAP4rev1 IDLE",
		    .text = "Logged in." },
		{ "session bytes behind the OK", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n"
		    "< * OK [ALERT] x\n"
		    "< * 1 FET\n", .left = "* OK [ALERT] x\r\n* 1 FET\r\n" },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_waits_without_pipelining(void **state)
{
	const struct row rows[] = {
		{ "one command at a time", { .user = STR("jan"),
		    .password = STR("secret"), .tls = LOGIN_TLS_START,
		    .id = ID_ALL, .hint = STR(BEFORE " AUTH=PLAIN") }, .dialogue =
		    "< " DOVECOT_TLS "\n"
		    "> S STARTTLS\n"
		    "< S OK go\n"
		    "= STARTTLS\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY " BEFORE " AUTH=PLAIN\n"
		    "< C OK\n"
		    "> " ID_ALL_LINE "\n"
		    "< * ID NIL\n"
		    "< I BAD what?\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK Logged in\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY " AFTER "\n"
		    "< C OK\n"
		    "= OK\n", .caps = AFTER },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_asks_for_capabilities_after_login(void **state)
{
	const struct row rows[] = {
		{ "asked for", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK done\n"
		    "> C CAPABILITY\n"
		    "< * CAPABILITY IMAP4rev1 IDLE\n"
		    "< C OK done\n"
		    "= OK\n"
		    "< * 5 EXISTS\n", .caps = "IMAP4rev1 IDLE",
		    .text = "done", .left = "* 5 EXISTS\r\n" },
		{ "in the code of the answer", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK [REFERRAL imap://h/] done\n"
		    "> C CAPABILITY\n"
		    "< C OK [CAPABILITY IMAP4rev1] done\n"
		    "= OK\n", .caps = "IMAP4rev1", .text = "done" },
		{ "none told", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< L OK done\n"
		    "> C CAPABILITY\n"
		    "< C OK done\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL,
		    .reply = UNAVAILABLE },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_says_credentials_in_the_form_that_is_known(
    void **state)
{
	const struct row rows[] = {
		{ "PLAIN without SASL-IR", JAN(), .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n"
		    "> L AUTHENTICATE PLAIN\n"
		    "< + \n"
		    "> " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n",
		    .state = "authenticate+auth-continue/authenticate" },
		{ "the same, with a bare +", JAN(), .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n"
		    "> L AUTHENTICATE PLAIN\n"
		    "< +\n"
		    "> " PLAIN "\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "LOGIN, quoted; + is ignored", { PIPE,
		    .user = STR("jan"), .password =
		    STR("se\"cr\\et") }, .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN \"jan\" \"se\\\"cr\\\\et\"\n"
		    "< + idling\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .state = "login/login" },
		{ "LOGIN, literals that wait", { PIPE,
		    .user = STR("j\xc3\xa4n"),
		    .password = STR("s\xc3\xa9") }, .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN {4}\n"
		    "< + ok\n"
		    "> j\xc3\xa4n {3}\n"
		    "< + ok\n"
		    "> s\xc3\xa9\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "LOGIN, one literal that waits", { PIPE,
		    .user = STR("jan"), .password =
		    STR("s\xc3\xa9") }, .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN \"jan\" {3}\n"
		    "< +\n"
		    "> s\xc3\xa9\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "LOGIN, LITERAL-", { PIPE,
		    .user = STR("jan"), .password = STR("s\xc3\xa9") },
		    .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 LITERAL-] old\n"
		    "> L LOGIN \"jan\" {3+}\n"
		    "> s\xc3\xa9\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "LOGIN, LITERAL+ only hinted", { PIPE,
		    .user = STR("jan"), .password =
		    STR("s\xc3\xa9"), .hint = STR("IMAP4rev1 LITERAL+") },
		    .dialogue =
		    "< " BARE "\n"
		    "> C CAPABILITY\n"
		    "> L LOGIN \"jan\" {3}\n"
		    "< * CAPABILITY IMAP4rev1\n"
		    "< C OK\n"
		    "< + \n"
		    "> s\xc3\xa9\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "a literal is refused", { PIPE,
		    .user = STR("jan"), .password = STR("s\xc3\xa9") },
		    .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN \"jan\" {3}\n"
		    "< L NO no literals\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_AUTH_DENIED },
		{ "OK before the literal", { PIPE,
		    .user = STR("jan"), .password =
		    STR("s\xc3\xa9") }, .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN \"jan\" {3}\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL },
		{ "master user", { PIPE,
		    .password = STR("secret"), .authzid = STR("jan"),
		    .user = STR("master") }, .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN amFuAG1hc3RlcgBzZWNyZXQ=\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "master user needs PLAIN", { PIPE,
		    .password = STR("secret"), .authzid = STR("jan"),
		    .user = STR("master") }, .dialogue =
		    "< " OLD "\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_REMOTE_CONFIG,
		    .reply = SERVERBUG, .detail = "master" },
		{ "authzid that says nothing new", JAN(.authzid =
		    STR("jan")), .dialogue =
		    "< " OLD "\n"
		    "> L LOGIN \"jan\" \"secret\"\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "EXTERNAL", { .pipeline = true, .kind = LOGIN_BY_EXTERNAL,
		    .tls = LOGIN_TLS_IMPLICIT, .authzid = STR("jan") },
		    .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=EXTERNAL] hi\n"
		    "> L AUTHENTICATE EXTERNAL amFu\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "EXTERNAL without a name and SASL-IR", { .pipeline = true,
		    .kind = LOGIN_BY_EXTERNAL }, .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 AUTH=EXTERNAL] hi\n"
		    "> L AUTHENTICATE EXTERNAL\n"
		    "< + \n"
		    "> \n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
	};

	(void)state;
	play_all(rows, N(rows));
}

#define SCRAM_BANNER "* OK [CAPABILITY IMAP4rev1 SASL-IR " \
	"AUTH=SCRAM-SHA-256] hi"

static void test_login_relays_a_mechanism(void **state)
{
	const struct row rows[] = {
		{ "SCRAM", SCRAM, .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< + cj1hYmM=\n"
		    "= CHALLENGE cj1hYmM=\n"
		    "! Yz1iaXdz\n"
		    "> Yz1iaXdz\n"
		    "< + dj1hYmM=\n"
		    "= CHALLENGE dj1hYmM=\n"
		    "! \n"
		    "> \n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n", .caps = AFTER,
		    .state = "authenticate+auth-continue/authenticate" },
		{ "SCRAM without SASL-IR", SCRAM, .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256] hi\n"
		    "> L AUTHENTICATE SCRAM-SHA-256\n"
		    "< + \n"
		    "> biwsbj1q\n"
		    "< + cj1hYmM=\n"
		    "= CHALLENGE cj1hYmM=\n"
		    "! Yz1iaXdz\n"
		    "> Yz1iaXdz\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "no initial response", { PIPE, .kind =
		    LOGIN_BY_RELAY, .mechanism = STR("SCRAM-SHA-256") },
		    .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256\n"
		    "< + \n"
		    "= CHALLENGE \n"
		    "! biwsbj1q\n"
		    "> biwsbj1q\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "SCRAM where LOGIN is disabled", SCRAM, .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 SASL-IR LOGINDISABLED "
		    "AUTH=SCRAM-SHA-256] hi\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= OK\n" },
		{ "initial response that is not base64", { .pipeline = true,
		    .kind = LOGIN_BY_RELAY, .mechanism = STR("OAUTHBEARER"),
		    .initial = STR("bix=") }, .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 SASL-IR "
		    "AUTH=OAUTHBEARER] hi\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_AUTH_DENIED },
		{ "OAuth refusal", { .pipeline = true,
		    .kind = LOGIN_BY_RELAY, .mechanism = STR("OAUTHBEARER"),
		    .initial = STR("biws") }, .dialogue =
		    "< * OK [CAPABILITY IMAP4rev1 SASL-IR "
		    "AUTH=OAUTHBEARER] hi\n"
		    "> L AUTHENTICATE OAUTHBEARER biws\n"
		    "< + eyJzdGF0dXMiOiI0MDEifQ==\n"
		    "= CHALLENGE eyJzdGF0dXMiOiI0MDEifQ==\n"
		    "! AQ==\n"
		    "> AQ==\n"
		    "< L NO [AUTHENTICATIONFAILED] Authentication failed.\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_AUTH_DENIED,
		    .reply = DENIED },
		{ "the client cancels", SCRAM, .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< + cj1hYmM=\n"
		    "= CHALLENGE cj1hYmM=\n"
		    "! *\n"
		    "> *\n"
		    "< L BAD Authentication aborted by client.\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_CANCELLED,
		    .reply = "BAD Authentication cancelled." },
		{ "the client injects", SCRAM, .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< + cj1hYmM=\n"
		    "= CHALLENGE cj1hYmM=\n"
		    "! Yz1i\r\n! X LOGOUT\n"
		    "> *\n"
		    "< L OK no matter\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL },
		{ "challenge that is not base64", SCRAM, .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< + r=abc\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL },
		{ "OK while the client is asked", SCRAM, .dialogue =
		    "< " SCRAM_BANNER "\n"
		    "> L AUTHENTICATE SCRAM-SHA-256 biwsbj1q\n"
		    "< + cj1hYmM=\n"
		    "= CHALLENGE cj1hYmM=\n"
		    "< " LOGIN_OK_LINE "\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL },
		{ "not offered", SCRAM, .dialogue =
		    "< " DOVECOT "\n"
		    "= FAILED\n", .failure = LOGIN_FAIL_REMOTE_CONFIG,
		    .reply = SERVERBUG },
		{ "PLAIN wants more", JAN(), .dialogue =
		    "< " DOVECOT "\n"
		    "> L AUTHENTICATE PLAIN " PLAIN "\n"
		    "< + \n"
		    "= FAILED\n", .failure = LOGIN_FAIL_PROTOCOL },
	};

	(void)state;
	play_all(rows, N(rows));
}

static void test_login_bounds_the_rounds(void **state)
{
	struct login_request q = SCRAM;
	enum login_verdict v;
	struct buf in, out;
	struct login l;
	int rounds = 0;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	login_init(&l, &q);
	buf_puts(&in, SCRAM_BANNER "\r\n");
	v = login_feed(&l, &in, &out);
	assert_int_equal(v, LOGIN_MORE);
	for (;; rounds++) {
		buf_puts(&in, "+ cj1hYmM=\r\n");
		v = login_feed(&l, &in, &out);
		if (v != LOGIN_CHALLENGE)
			break;
		login_respond(&l, STR("Yz1i"), &out);
	}
	assert_int_equal(v, LOGIN_FAILED);
	assert_int_equal(rounds, LOGIN_ROUNDS_MAX);
	login_fini(&l);
	buf_fini(&in);
	buf_fini(&out);
}

static void test_login_probe_asks_for_capabilities_only(void **state)
{
	static const struct {
		enum login_tls tls;
		const char *in, *out, *tls_in, *caps;
	} rows[] = {
		{ LOGIN_TLS_NONE, DOVECOT "\r\n", "Q LOGOUT\r\n", NULL,
		    BEFORE " AUTH=PLAIN" },
		{ LOGIN_TLS_IMPLICIT,
		    BARE "\r\n* CAPABILITY  IMAP4rev1 ID\r\nC OK\r\n",
		    "C CAPABILITY\r\nQ LOGOUT\r\n", NULL, "IMAP4rev1 ID" },
		{ LOGIN_TLS_START, DOVECOT_TLS "\r\nS OK\r\n",
		    "S STARTTLS\r\nC CAPABILITY\r\nQ LOGOUT\r\n",
		    "* CAPABILITY IMAP4rev1 ID\r\nC OK\r\n",
		    "IMAP4rev1 ID" },
	};
	struct buf in, out;
	struct login l;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	for (size_t i = 0; i < N(rows); i++) {
		struct login_request q = { .purpose = LOGIN_PROBE,
			PIPE, .tls = rows[i].tls, .hint = STR("IMAP4rev1") };

		login_init(&l, &q);
		buf_puts(&in, rows[i].in);
		enum login_verdict v = login_feed(&l, &in, &out);
		if (rows[i].tls_in) {
			assert_int_equal(v, LOGIN_STARTTLS);
			v = login_tls_done(&l, &out);
			assert_int_equal(v, LOGIN_MORE);
			buf_puts(&in, rows[i].tls_in);
			v = login_feed(&l, &in, &out);
		}
		assert_int_equal(v, LOGIN_OK);
		assert_true(str_eq(buf_view(&out), str_from(rows[i].out)));
		assert_true(str_eq(login_capability_before(&l),
		    str_from(rows[i].caps)));
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
		cmocka_unit_test(test_login_is_one_round_trip),
		cmocka_unit_test(test_login_waits_without_pipelining),
		cmocka_unit_test(test_login_asks_for_capabilities_after_login),
		cmocka_unit_test(
		    test_login_says_credentials_in_the_form_that_is_known),
		cmocka_unit_test(test_login_relays_a_mechanism),
		cmocka_unit_test(test_login_bounds_the_rounds),
		cmocka_unit_test(test_login_probe_asks_for_capabilities_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
