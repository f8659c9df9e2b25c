/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * What login writes, read by a backend that takes every byte as it stands:
 * whatever the credentials and the client's ID hold, the backend sees the
 * commands that were meant, once each, with these very values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "backends/login.h"
#include "proxy/base/base64.h"
#include "proxy/imap/caps.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define VALUE_MAX 48
#define PAIRS_MAX 40
#define ROUNDS 20000

struct backend {
	const char *caps;
	struct buf heard;		/* from login, not yet read */
	struct buf says;
	unsigned n_id, n_login, n_capability;
	struct buf id, user, password, sasl;
	bool is_sasl;
};

/* Takes what ends in CRLF. A line holds no other CR, LF or NUL. */
static bool take_line(struct backend *b, struct str *line_out)
{
	struct str s = buf_view(&b->heard);
	const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL;

	if (!lf)
		return false;
	size_t n = (size_t)(lf - s.p);
	assert_true(n > 0 && s.p[n - 1] == '\r');
	*line_out = (struct str){ s.p, n - 1 };
	assert_null(memchr(s.p, '\r', n - 1));
	assert_null(n > 1 ? memchr(s.p, '\0', n - 1) : NULL);
	return true;
}

/* Reads one quoted string; returns what is behind it. */
static struct str take_quoted(struct str s, struct buf *out)
{
	size_t i = 1;

	assert_true(s.n >= 2 && s.p[0] == '"');
	buf_clear(out);
	for (; i < s.n && s.p[i] != '"'; i++) {
		if (s.p[i] == '\\')
			i++;
		assert_true(i < s.n && (unsigned char)s.p[i] < 0x80);
		buf_append(out, s.p + i, 1);
	}
	assert_true(i < s.n);
	return str_skip(s, i + 1);
}

static void hear(struct login *l, struct backend *b, struct buf *in,
    struct buf *out, enum login_verdict *v)
{
	buf_str(in, buf_view(&b->says));
	buf_clear(&b->says);
	*v = login_feed(l, in, out);
	buf_str(&b->heard, buf_view(out));
	buf_clear(out);
}

/* A string of LOGIN: quoted, or {n} with a "+" in between, or {n+}. The bytes
 * up to its end are dropped from heard. */
static void take_string(struct login *l, struct backend *b, struct buf *in,
    struct buf *out, enum login_verdict *v, struct buf *to)
{
	struct str s = buf_view(&b->heard), line;
	unsigned long n;
	bool waits = true;
	char *end;

	if (s.n && s.p[0] == '"') {
		assert_true(take_line(b, &line));
		struct str rest = take_quoted(line, to);
		buf_consume(&b->heard, line.n - rest.n);
		return;
	}
	assert_true(take_line(b, &line));
	assert_true(line.p[0] == '{');
	n = strtoul(line.p + 1, &end, 10);
	if (*end == '+') {
		assert_true(caps_has(str_from(b->caps), STR("LITERAL+")) ||
		    (caps_has(str_from(b->caps), STR("LITERAL-")) &&
		    n <= 4096));
		waits = false;
		end++;
	}
	assert_true(*end == '}' && end + 1 == line.p + line.n);
	buf_consume(&b->heard, line.n + 2);
	if (waits) {
		assert_int_equal(b->heard.len, 0);
		buf_puts(&b->says, "+ go on\r\n");
		hear(l, b, in, out, v);
	}
	assert_true(b->heard.len >= n);
	buf_clear(to);
	buf_append(to, buf_view(&b->heard).p, n);
	buf_consume(&b->heard, n);
}

static void take_login(struct login *l, struct backend *b, struct buf *in,
    struct buf *out, enum login_verdict *v)
{
	buf_consume(&b->heard, sizeof("L LOGIN ") - 1);
	take_string(l, b, in, out, v, &b->user);
	assert_true(str_starts(buf_view(&b->heard), STR(" ")));
	buf_consume(&b->heard, 1);
	take_string(l, b, in, out, v, &b->password);
	assert_true(str_starts(buf_view(&b->heard), STR("\r\n")));
	buf_consume(&b->heard, 2);
}

static void take_plain(struct login *l, struct backend *b, struct buf *in,
    struct buf *out, enum login_verdict *v, struct str line)
{
	static const struct str head = { "L AUTHENTICATE PLAIN", 20 };

	if (line.n == head.n) {
		assert_false(caps_has(str_from(b->caps), STR("SASL-IR")));
		buf_consume(&b->heard, line.n + 2);
		assert_int_equal(b->heard.len, 0);
		buf_puts(&b->says, "+ \r\n");
		hear(l, b, in, out, v);
		assert_true(take_line(b, &line));
	} else {
		buf_consume(&b->heard, head.n + 1);
		line = str_skip(line, head.n + 1);
	}
	size_t n;
	char *to = buf_reserve(&b->sasl, line.n + 1);
	assert_true(base64_decode(line, to, line.n, &n));
	buf_commit(&b->sasl, n);
	buf_consume(&b->heard, line.n + 2);
	b->is_sasl = true;
}

/* Answers one command; anything that login should not say is an error. */
static void serve(struct login *l, struct backend *b, struct buf *in,
    struct buf *out, enum login_verdict *v)
{
	struct str line;

	assert_true(take_line(b, &line));
	if (str_starts(line, STR("I ID ("))) {
		b->n_id++;
		buf_str(&b->id, str_skip(line, 6));
		buf_consume(&b->heard, line.n + 2);
		buf_puts(&b->says, "I OK\r\n");
	} else if (str_eq(line, STR("C CAPABILITY"))) {
		b->n_capability++;
		buf_consume(&b->heard, line.n + 2);
		buf_printf(&b->says, "* CAPABILITY %s\r\nC OK\r\n", b->caps);
	} else if (str_starts(line, STR("L LOGIN "))) {
		b->n_login++;
		take_login(l, b, in, out, v);
		buf_puts(&b->says, "L OK\r\n");
	} else {
		assert_true(str_starts(line, STR("L AUTHENTICATE PLAIN")));
		b->n_login++;
		take_plain(l, b, in, out, v, line);
		buf_puts(&b->says, "L OK\r\n");
	}
	if (b->heard.len == 0)
		hear(l, b, in, out, v);
}

static void check_id(const struct backend *b)
{
	struct str s = buf_view(&b->id);
	unsigned n_pairs = 0, n_ours = 0;
	struct buf key, value;

	buf_init(&key, 0);
	buf_init(&value, 0);
	while (!str_eq(s, STR(")"))) {
		if (n_pairs++) {
			assert_true(str_starts(s, STR(" ")));
			s = str_skip(s, 1);
		}
		s = take_quoted(s, &key);
		assert_true(str_starts(s, STR(" ")));
		s = str_skip(s, 1);
		if (str_starts(s, STR("NIL")))
			s = str_skip(s, 3);
		else
			s = take_quoted(s, &value);
		assert_in_range(key.len, 1, 30);
		assert_in_range(value.len, 0, 1024);
		if (!str_istarts(buf_view(&key), STR("x-")))
			continue;
		n_ours++;
		if (str_ieq(buf_view(&key), STR("x-originating-ip")))
			assert_true(str_eq(buf_view(&value),
			    STR("192.0.2.7")));
	}
	assert_in_range(n_pairs, 1, LOGIN_ID_PAIRS_MAX);
	assert_in_range(n_ours, 2, 8);
	buf_fini(&key);
	buf_fini(&value);
}

static uint32_t seed = 1;

static uint32_t any(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Bytes and words that mean something to IMAP, or to a careless writer. */
static struct str any_value(char *to)
{
	static const struct {
		const char *p;
		size_t n;
	} parts[] = {
		{ "\r\n", 2 }, { "\r", 1 }, { "\n", 1 }, { "\"", 1 },
		{ "\\", 1 }, { " ", 1 }, { "{3}", 3 }, { "{3+}\r\n", 6 },
		{ "\r\nX LOGOUT\r\n", 12 }, { ")", 1 }, { "(", 1 },
		{ "NIL", 3 }, { "\xc3\xa4", 2 }, { "\xff", 1 }, { "%s", 2 },
		{ "jan", 3 }, { "a", 1 }, { "x-originating-ip", 16 },
		{ "X-", 2 }, { "name", 4 }, { "*", 1 }, { "+", 1 },
	};
	size_t n = 0;

	for (uint32_t i = any(6); i > 0; i--) {
		uint32_t k = any(N(parts));

		if (n + parts[k].n > VALUE_MAX)
			break;
		memcpy(to + n, parts[k].p, parts[k].n);
		n += parts[k].n;
	}
	if (n && any(40) == 0)
		to[any((uint32_t)n)] = '\0';
	return (struct str){ to, n };
}

static bool is_sayable(struct str s)
{
	return s.n && !memchr(s.p, '\0', s.n);
}

static void check_login(const struct backend *b, const struct login *l)
{
	const struct login_request *q = &l->request;
	struct str rest, authzid, user;

	assert_int_equal(b->n_login, 1);
	if (!b->is_sasl) {
		assert_true(str_eq(buf_view(&b->user), q->user));
		assert_true(str_eq(buf_view(&b->password), q->password));
		return;
	}
	authzid = str_split(buf_view(&b->sasl), '\0', &rest);
	user = str_split(rest, '\0', &rest);
	assert_true(str_eq(authzid, q->authzid));
	assert_true(str_eq(user, q->user));
	assert_true(str_eq(rest, q->password));
}

static void log_in(const struct login_request *q, const char *caps,
    bool in_banner)
{
	struct backend b = { .caps = caps };
	enum login_verdict v = LOGIN_MORE;
	struct buf in, out;
	struct login l;

	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	login_init(&l, q);
	buf_printf(&b.says, in_banner ? "* OK [CAPABILITY %s] hi\r\n" :
	    "* OK hi\r\n", caps);
	hear(&l, &b, &in, &out, &v);
	while (v == LOGIN_MORE)
		serve(&l, &b, &in, &out, &v);
	if (v == LOGIN_OK) {
		assert_int_equal(b.heard.len, 0);
		assert_true(is_sayable(q->user) && is_sayable(q->password));
		check_login(&b, &l);
		assert_in_range(b.n_capability, 1, 2);
	} else {
		assert_int_equal(v, LOGIN_FAILED);
		assert_int_equal(b.n_login, 0);
		if (is_sayable(q->user) && is_sayable(q->password) &&
		    (!q->authzid.n || is_sayable(q->authzid)))
			assert_int_equal(login_failure(&l),
			    LOGIN_FAIL_REMOTE_CONFIG);
	}
	assert_in_range(b.n_id, 0, 1);
	if (b.n_id)
		check_id(&b);
	login_fini(&l);
	buf_fini(&b.heard);
	buf_fini(&b.says);
	buf_fini(&b.id);
	buf_fini(&b.user);
	buf_fini(&b.password);
	buf_fini(&b.sasl);
	buf_fini(&in);
	buf_fini(&out);
}

static void test_login_wire_holds_one_command_whatever_the_values(
    void **state)
{
	static const char *const caps[] = {
		"IMAP4rev1 SASL-IR ID AUTH=PLAIN", "IMAP4rev1 ID AUTH=PLAIN",
		"IMAP4rev1 ID", "IMAP4rev1 ID LITERAL+", "IMAP4rev1 LITERAL-",
	};
	char bytes[5 + 2 * PAIRS_MAX][VALUE_MAX];
	struct login_pair pairs[PAIRS_MAX];

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		const char *with = caps[any(N(caps))];
		struct login_request q = {
			.pipeline = any(2),
			.user = any_value(bytes[0]),
			.password = any_value(bytes[1]),
			.authzid = any(4) ? STR_NONE : any_value(bytes[2]),
			.hint = any(2) ? str_from(with) : STR_NONE,
			.id = { .send = any(2), .client_ip = STR("192.0.2.7"),
				.session_id = any_value(bytes[3]),
				.connected_name = any_value(bytes[4]),
				.connected_ip = STR("x\r\n"),
				.ttl = any(3), .pairs = pairs,
				.n_pairs = any(PAIRS_MAX) },
		};

		for (unsigned k = 0; k < q.id.n_pairs; k++)
			pairs[k] = (struct login_pair){
				any_value(bytes[5 + 2 * k]), any(4) ?
				any_value(bytes[6 + 2 * k]) : STR_NONE };
		log_in(&q, with, any(2));
	}
}

static void test_login_wire_id_is_dovecots(void **state)
{
	char session[65];
	const struct login_pair pairs[] = {
		{ STR("name"), STR("Thunder\"bird") }, { STR("x"), STR_NONE },
		{ STR("X-Originating-IP"), STR("127.0.0.1") },
		{ STR("NAME"), STR("again") }, { STR("os"), STR("\r\n") },
		{ STR("1234567890123456789012345678901"), STR("long") },
	};
	struct login_request q = { .pipeline = true, .user = STR("u"),
		.password = STR("p"), .id = { .send = true,
		.session_id = { session, 64 }, .client_ip = STR("::1"),
		.connected_ip = STR("nonsense"), .connected_port = 5,
		.connected_name = STR("a..b"), .pairs = pairs,
		.n_pairs = N(pairs) } };
	struct buf in, out, want;
	struct login l;

	(void)state;
	memset(session, 's', sizeof(session));
	buf_init(&in, 0);
	buf_init(&out, 0);
	buf_init(&want, 0);
	buf_printf(&want, "I ID (\"name\" \"Thunder\\\"bird\" \"x\" NIL "
	    "\"x-session-id\" \"%.64s\" \"x-originating-ip\" \"::1\" "
	    "\"x-client-transport\" \"insecure\")\r\n"
	    "L LOGIN \"u\" \"p\"\r\n", session);
	login_init(&l, &q);
	buf_puts(&in, "* OK [CAPABILITY IMAP4rev1 ID] hi\r\n");
	assert_int_equal(login_feed(&l, &in, &out), LOGIN_MORE);
	assert_true(str_eq(buf_view(&out), buf_view(&want)));
	login_fini(&l);
	buf_fini(&in);
	buf_fini(&out);
	buf_fini(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_login_wire_holds_one_command_whatever_the_values),
		cmocka_unit_test(test_login_wire_id_is_dovecots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
