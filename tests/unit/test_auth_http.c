/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "tests/unit/cert_play.h"
#include "tests/unit/http_play.h"

static struct {
	struct ev_loop *loop;
	struct auth *auth;
	struct auth_check *check;
	unsigned n_done;
	struct auth_answer answer;
	char user[300], password[300], text[500], why[500];
} t;

const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	(void)err;
	assert_int_equal(driver, CONF_AUTH_HTTP);
	return &auth_http;
}

static void on_done(void *owner, const struct auth_answer *a)
{
	(void)owner;
	t.check = NULL;
	t.n_done++;
	t.answer = *a;
	snprintf(t.user, sizeof t.user, "%.*s", STR_ARG(a->user));
	snprintf(t.password, sizeof t.password, "%.*s", STR_ARG(a->password));
	snprintf(t.text, sizeof t.text, "%.*s", STR_ARG(a->text));
	snprintf(t.why, sizeof t.why, "%s", a->why ? a->why : "");
}

static bool secret(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	(void)path;
	*data_out = STR("master-secret");
	return true;
}

static void configure(const char *more)
{
	char text[1024];
	struct err err;

	snprintf(text, sizeof text, "auth { driver = http\n"
	    "url = \"http://127.0.0.1:%u/a/b?x=y\"\n%s }\n", play.port, more);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, secret, NULL, &err);
	if (!s)
		fail_msg("%s", err.text);
	assert_true(auth_configure(t.auth, s, &err));
	settings_unref(&s);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.loop = ev_loop_new(0);
	t.auth = auth_new(t.loop);
	play_start(t.loop);
	play.closes = true;
	configure("timeout = 5s");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	auth_cancel(&t.check);
	auth_free(&t.auth);
	play_stop();
	ev_loop_destroy(t.loop);
	return 0;
}

/* What a login by LOGIN is, from 192.0.2.7. */
static struct auth_login jan(void)
{
	struct auth_login l = { .user = STR("jan"), .canonical = STR("jan"),
		.password = STR("secret"), .attempt = 1,
		.listener = STR("imap") };

	assert_true(addr_parse(&l.client, STR("192.0.2.7:5555")));
	assert_true(addr_parse(&l.local, STR("192.0.2.1:143")));
	return l;
}

static void begin(const struct auth_login *l)
{
	t.check = auth_ask(t.auth, l, on_done, NULL);
}

static void ask(const struct auth_login *l)
{
	unsigned n = t.n_done;

	begin(l);
	play_until(&t.n_done, n + 1);
}

static char reply_text[20000];

static void say(const char *lines)
{
	snprintf(reply_text, sizeof reply_text, "HTTP/1.0 200 OK\r\n%s\r\n",
	    lines);
	play.reply = reply_text;
}

static void ask_jan(void)
{
	struct auth_login l = jan();

	ask(&l);
}

#define AT "Auth-Server: 192.0.2.10\r\nAuth-Port: 143\r\n"
#define FIRST "GET /a/b?x=y HTTP/1.0\r\nHost: 127.0.0.1\r\n"

/* --- what is asked: byte for byte what nginx 1.22 sends --------------------------- */

static void test_auth_http_question(void **state)
{
	struct auth_login l = jan();

	(void)state;
	configure("header = { \"X-Key: sesame\", \"X-Two: a b\" }");
	say("Auth-Status: OK\r\n" AT);
	l.attempt = 3;
	ask(&l);
	assert_string_equal(play.request, FIRST
	    "Auth-Method: plain\r\n"
	    "Auth-User: jan\r\n"
	    "Auth-Pass: secret\r\n"
	    "Auth-Protocol: imap\r\n"
	    "Auth-Login-Attempt: 3\r\n"
	    "Client-IP: 192.0.2.7\r\n"
	    "X-Key: sesame\r\n"
	    "X-Two: a b\r\n"
	    "\r\n");
}

static void test_auth_http_question_by_proxy_and_tls(void **state)
{
	struct auth_login l = jan();

	(void)state;
	configure("header = { \"X-Key: sesame\" }");
	say("Auth-Status: OK\r\n" AT);
	l.is_proxied = l.has_tls = true;
	l.tls_version = STR("TLSv1.3");
	l.tls_cipher = STR("TLS_AES_256_GCM_SHA384");
	ask(&l);
	assert_string_equal(play.request, FIRST
	    "Auth-Method: plain\r\n"
	    "Auth-User: jan\r\n"
	    "Auth-Pass: secret\r\n"
	    "Auth-Protocol: imap\r\n"
	    "Auth-Login-Attempt: 1\r\n"
	    "Client-IP: 192.0.2.7\r\n"
	    "Proxy-Protocol-Addr: 192.0.2.7\r\n"
	    "Proxy-Protocol-Port: 5555\r\n"
	    "Proxy-Protocol-Server-Addr: 192.0.2.1\r\n"
	    "Proxy-Protocol-Server-Port: 143\r\n"
	    "Auth-SSL: on\r\n"
	    "Auth-SSL-Protocol: TLSv1.3\r\n"
	    "Auth-SSL-Cipher: TLS_AES_256_GCM_SHA384\r\n"
	    "X-Key: sesame\r\n"
	    "\r\n");
}

static void test_auth_http_question_with_certificate(void **state)
{
	struct auth_login l = jan();
	char der[1024], expected[4096];
	int n;

	(void)state;
	say("Auth-Status: OK\r\n" AT "Auth-Pass: x\r\n");
	l.has_tls = l.is_proven = true;
	l.password = STR_NONE;
	l.tls_version = STR("TLSv1.2");
	l.tls_cipher = STR("ECDHE-ECDSA-AES256-GCM-SHA384");
	l.certificate = cert_der(cert_lines, der);
	ask(&l);
	n = snprintf(expected, sizeof expected, "%s", FIRST
	    "Auth-Method: external\r\n"
	    "Auth-User: jan\r\n"
	    "Auth-Pass:\r\n"
	    "Auth-Protocol: imap\r\n"
	    "Auth-Login-Attempt: 1\r\n"
	    "Client-IP: 192.0.2.7\r\n"
	    "Auth-SSL: on\r\n"
	    "Auth-SSL-Protocol: TLSv1.2\r\n"
	    "Auth-SSL-Cipher: ECDHE-ECDSA-AES256-GCM-SHA384\r\n"
	    "Auth-SSL-Verify: SUCCESS\r\n"
	    "Auth-SSL-Subject: " CERT_SUBJECT "\r\n"
	    "Auth-SSL-Issuer: " CERT_SUBJECT "\r\n"
	    "Auth-SSL-Serial: " CERT_SERIAL "\r\n"
	    "Auth-SSL-Fingerprint: " CERT_FINGERPRINT "\r\n");
	char *end = expected + n;
	snprintf(end, sizeof expected - (size_t)n, "\r\n");
	assert_string_equal(play.request, expected);

	configure("pass_client_certificate = yes");
	ask(&l);
	end += sprintf(end, "Auth-SSL-Cert: -----BEGIN%%20CERTIFICATE-----%%0A");
	for (const char *p = cert_lines; *p; p++)
		end += sprintf(end, *p == '\n' ? "%%0A" : "%c", *p);
	sprintf(end, "-----END%%20CERTIFICATE-----%%0A\r\n\r\n");
	assert_string_equal(play.request, expected);
}

static void test_auth_http_escapes_as_nginx(void **state)
{
	struct auth_login l = jan();
	char all[256], expected[1024], *to = expected;

	(void)state;
	say("Auth-Status: no\r\n");
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)i;
	l.user = STR("*)(uid=\"'%");
	l.password = (struct str){ all, sizeof all };
	to += sprintf(to, "Auth-User: *)(uid=\"'%%25\r\nAuth-Pass: ");
	for (size_t i = 0; i < sizeof all; i++)
		to += sprintf(to, i <= ' ' || i == '%' ? "%%%02X" : "%c",
		    (unsigned)i);
	sprintf(to, "\r\nAuth-Protocol: imap\r\n");
	ask(&l);
	assert_non_null(strstr(play.request, expected));
}

/* --- what is answered ------------------------------------------------------------- */

static void test_auth_http_ok(void **state)
{
	char text[ADDR_TEXT_MAX];

	(void)state;
	say("Auth-Status: OK\r\n" AT);
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_OK);
	assert_string_equal(addr_text(&t.answer.address, text),
	    "192.0.2.10:143");
	assert_string_equal(t.user, "");
	assert_string_equal(t.password, "");
	/* names in any case, credentials replaced, IPv6, any HTTP status */
	play.reply = "HTTP/1.1 404 Not Found\r\nauth-status:OK\r\n"
	    "AUTH-SERVER:  2001:db8::1  \r\nAuth-Port: 993\r\n"
	    "Auth-User: piet@example.org\r\nAuth-Pass: a b%20\xe9\r\n\r\n";
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_OK);
	assert_string_equal(addr_text(&t.answer.address, text),
	    "[2001:db8::1]:993");
	assert_string_equal(t.user, "piet@example.org");
	assert_string_equal(t.password, "a b%20\xe9");
}

static void test_auth_http_refused(void **state)
{
	(void)state;
	say("Auth-Status: Invalid login or password\r\n");
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
	assert_string_equal(t.text, "Invalid login or password");
	assert_true(t.answer.ends);
	/* OK and WAIT are exact words, and a refusal outweighs them */
	say("Auth-Status: ok\r\n" AT);
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
	say("Auth-Status: no\r\nAuth-Status: OK\r\n" AT);
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
	assert_string_equal(t.text, "no");
}

static void test_auth_http_refusal_is_one_line(void **state)
{
	char lines[1000];

	(void)state;
	say("Auth-Status: a\rb\x01\tc\xe9\x7f\r\n");
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
	assert_string_equal(t.text, "a?b??c??");
	snprintf(lines, sizeof lines, "Auth-Status: %0900d\r\n", 0);
	say(lines);
	ask_jan();
	assert_int_equal(strlen(t.text), 400);
}

static void test_auth_http_refusal_is_put_off(void **state)
{
	double began = clock_now();

	(void)state;
	say("Auth-Wait: 1\r\nAuth-Status: no\r\n");
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
	assert_string_equal(t.text, "no");
	assert_false(t.answer.ends);
	assert_true(clock_now() - began >= 0.99);
	assert_int_equal(play.n_requests, 1);
}

static void test_auth_http_waits_and_asks_again(void **state)
{
	struct auth_login l = jan();
	double began = clock_now();
	char first[sizeof play.request];

	(void)state;
	say("Auth-Status: WAIT\r\nAuth-Wait: 1\r\n");
	begin(&l);
	play_until(&play.n_requests, 1);
	memcpy(first, play.request, sizeof first);
	say("Auth-Status: OK\r\n" AT);
	play_until(&t.n_done, 1);
	assert_int_equal(t.answer.verdict, AUTH_OK);
	assert_int_equal(play.n_requests, 2);
	assert_string_equal(play.request, first);
	assert_true(clock_now() - began >= 0.99);
	/* without a time it must not turn into a flood */
	say("Auth-Status: WAIT\r\n");
	began = clock_now();
	begin(&l);
	play_until(&play.n_requests, 4);
	assert_true(clock_now() - began >= 0.99);
}

static void test_auth_http_answers_that_are_none(void **state)
{
	static const struct {
		const char *lines, *why;
	} rows[] = {
		{ "", "no Auth-Status" },
		{ AT, "no Auth-Status" },
		{ "Auth-Status: OK\r\n", "no Auth-Server" },
		{ "Auth-Status: OK\r\nAuth-Server: 192.0.2.1\r\n",
		    "no Auth-Port" },
		{ "Auth-Status: OK\r\nAuth-Server: mail1\r\nAuth-Port: 143\r\n",
		    "not an IP" },
		{ "Auth-Status: OK\r\nAuth-Server: unix:/x\r\nAuth-Port: 1\r\n",
		    "not an IP" },
		{ "Auth-Status: OK\r\nAuth-Server: 192.0.2.1\r\n"
		    "Auth-Port: 0\r\n", "not a port" },
		{ "Auth-Status: OK\r\nAuth-Server: 192.0.2.1\r\n"
		    "Auth-Port: 65536\r\n", "not a port" },
		{ "Auth-Status: OK\r\nAuth-Server: 192.0.2.1\r\n"
		    "Auth-Port: 143x\r\n", "not a port" },
		{ "Auth-Status: OK\r\nAuth-User: a\x01\r\n" AT,
		    "not a user name" },
		{ "Auth-Status: OK\r\nAuth-User: \xe9\r\n" AT,
		    "not a user name" },
	};
	char long_line[18000];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		say(rows[i].lines);
		ask_jan();
		if (t.answer.verdict != AUTH_FAILED ||
		    !strstr(t.why, rows[i].why))
			fail_msg("%s: %d %s", rows[i].lines,
			    t.answer.verdict, t.why);
	}
	snprintf(long_line, sizeof long_line, "X: %017000d\r\nAuth-Status: "
	    "OK\r\n" AT, 0);
	say(long_line);
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_FAILED);
	play.reply = "* OK IMAP ready\r\n";
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_FAILED);
	play.reply = "";
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_FAILED);
}

static void test_auth_http_external_needs_a_password(void **state)
{
	struct auth_login l = jan();

	(void)state;
	l.is_proven = true;
	l.password = STR_NONE;
	say("Auth-Status: OK\r\n" AT);
	ask(&l);
	assert_int_equal(t.answer.verdict, AUTH_FAILED);
	assert_non_null(strstr(t.why, "Auth-Pass"));
	say("Auth-Status: OK\r\nAuth-Pass: x\r\n" AT);
	ask(&l);
	assert_int_equal(t.answer.verdict, AUTH_OK);
	/* but for where a master user logs in */
	configure("backend_login = master  master_user = m  "
	    "master_password_file = f");
	say("Auth-Status: OK\r\n" AT);
	ask(&l);
	assert_int_equal(t.answer.verdict, AUTH_OK);
}

static void test_auth_http_stalled_server(void **state)
{
	(void)state;
	configure("timeout = 30ms");
	play.reply = NULL;
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_FAILED);
	assert_non_null(strstr(t.why, "30 ms"));
	/* Auth-Wait is not bounded by that */
	say("Auth-Wait: 1\r\nAuth-Status: no\r\n");
	ask_jan();
	assert_int_equal(t.answer.verdict, AUTH_DENIED);
}

static void test_auth_http_cancels_at_any_time(void **state)
{
	struct auth_login l = jan();

	(void)state;
	play.reply = NULL;
	begin(&l);
	auth_cancel(&t.check);
	begin(&l);
	play_until(&play.n_requests, 1);
	auth_cancel(&t.check);
	say("Auth-Wait: 600\r\nAuth-Status: no\r\n");
	begin(&l);
	play_until(&play.n_requests, 2);
	while (play.n_open)
		ev_run(t.loop, EVRUN_ONCE);
	for (int i = 0; i < 20; i++)
		ev_run(t.loop, EVRUN_NOWAIT);
	auth_cancel(&t.check);
	assert_int_equal(t.n_done, 0);
	assert_int_equal(auth_counts(t.auth).n_open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_auth_http_question),
		T(test_auth_http_question_by_proxy_and_tls),
		T(test_auth_http_question_with_certificate),
		T(test_auth_http_escapes_as_nginx),
		T(test_auth_http_ok),
		T(test_auth_http_refused),
		T(test_auth_http_refusal_is_one_line),
		T(test_auth_http_refusal_is_put_off),
		T(test_auth_http_waits_and_asks_again),
		T(test_auth_http_answers_that_are_none),
		T(test_auth_http_external_needs_a_password),
		T(test_auth_http_stalled_server),
		T(test_auth_http_cancels_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
