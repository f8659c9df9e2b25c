/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * The server here does what a real one cannot be made to do: silence at a
 * certain message, odd results, full buffers. It runs on the test's own loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ev.h>
#include <fcntl.h>
#include <lber.h>
#include <ldap.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/ldap_check.h"
#include "backends/ldap_client.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"

#define CONNS 8
#define TIMEOUT_S 0.4

static double timeout_s;

enum manner {
	ANSWERS,	/* an entry; a bind by "right" is good */
	DEAF,		/* not even the first question */
	SILENT,		/* the first question only */
	DROPS,		/* closes at the second message */
	GOODBYE,	/* a notice of disconnection instead of an answer */
	BABBLES,	/* no LDAP */
	REFERS,		/* references, and then nothing found */
	TWICE,		/* two entries */
	MANY_VALUES,
	DOES_NOT_READ,	/* after the first question */
};

struct conn {
	ev_io io;
	int fd;
	unsigned n_messages;
	size_t n;
	char buf[1 << 16];
};

static struct {
	struct ev_loop *loop;
	int fd;
	ev_io accept;
	char url[64];
	enum manner manner;
	int code;			/* of results */
	struct conn conns[CONNS];
	unsigned n_conns, n_open_binds, most_binds;
	struct ldap_client *client;
	unsigned n_done, n_yes, n_no, n_failed;
	char dn[100], value[100], why[300];
} t;

/* --- the server ----------------------------------------------------------- */

static void say(const struct conn *c, BerElement *ber)
{
	struct berval out;

	assert_int_equal(ber_flatten2(ber, &out, 0), 0);
	ssize_t n = write(c->fd, out.bv_val, out.bv_len);
	assert_int_equal(n, out.bv_len);
	ber_free(ber, 1);
}

static void say_result(const struct conn *c, ber_int_t id, ber_tag_t tag,
    int code)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);

	/* libldap forgets to free the text of a notice */
	ber_printf(ber, "{it{ess}}", id, tag, (ber_int_t)code, "",
	    id ? "because" : "");
	say(c, ber);
}

static void say_entry(const struct conn *c, ber_int_t id)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);

	ber_printf(ber, "{it{s{{s[s]}}}}", id, LDAP_RES_SEARCH_ENTRY,
	    "uid=jan,o=x", "mailhost", "mail1");
	if (t.manner == MANY_VALUES) {
		ber_free(ber, 1);
		ber = ber_alloc_t(LBER_USE_DER);
		ber_printf(ber, "{it{s{{s[ss]}}}}", id, LDAP_RES_SEARCH_ENTRY,
		    "uid=jan,o=x", "mailHost", "mail1", "mail2");
	}
	say(c, ber);
}

static void drop(struct conn *c)
{
	ev_io_stop(t.loop, &c->io);
	close(c->fd);
	c->fd = -1;
}

static void answer_search(struct conn *c, ber_int_t id)
{
	if (t.manner == REFERS) {
		BerElement *ber = ber_alloc_t(LBER_USE_DER);
		ber_printf(ber, "{it{s}}", id, LDAP_RES_SEARCH_REFERENCE,
		    "ldap://elsewhere/o=x");
		say(c, ber);
	} else if (t.code == 0) {
		say_entry(c, id);
		if (t.manner == TWICE)
			say_entry(c, id);
	}
	say_result(c, id, LDAP_RES_SEARCH_RESULT, t.code);
}

static void on_message(struct conn *c, BerElement *ber)
{
	struct berval dn, secret;
	ber_int_t id, version;
	ber_tag_t tag;
	ber_len_t len;

	assert_true(ber_scanf(ber, "{i", &id) != LBER_ERROR);
	tag = ber_peek_tag(ber, &len);
	if (tag == LDAP_REQ_UNBIND || t.manner == DEAF)
		return;
	if (c->n_messages++ == 0) {	/* are you there? */
		say_result(c, id, tag == LDAP_REQ_BIND ? LDAP_RES_BIND :
		    LDAP_RES_SEARCH_RESULT, 0);
		return;
	}
	if (t.manner == SILENT) {
		t.n_open_binds += tag == LDAP_REQ_BIND;
	} else if (t.manner == DROPS) {
		drop(c);
	} else if (t.manner == GOODBYE) {
		say_result(c, 0, LDAP_RES_EXTENDED, LDAP_UNAVAILABLE);
	} else if (t.manner == BABBLES) {
		assert_int_equal(write(c->fd, "* OK hello\r\n", 12), 12);
	} else if (tag == LDAP_REQ_BIND) {
		assert_true(ber_scanf(ber, "{imtm}", &version, &dn, &tag,
		    &secret) != LBER_ERROR);
		say_result(c, id, LDAP_RES_BIND, t.code ? t.code :
		    secret.bv_len == 5 && memcmp(secret.bv_val, "right",
		    5) == 0 ? 0 : LDAP_INVALID_CREDENTIALS);
	} else {
		answer_search(c, id);
	}
}

/* The bytes of the first message; 0: it is not whole. */
static size_t message_size(const struct conn *c)
{
	const unsigned char *p = (const unsigned char *)c->buf;
	size_t n_len = c->n > 1 && p[1] & 0x80 ? p[1] & 0x7f : 0;
	size_t n = n_len ? 0 : c->n > 1 ? p[1] : 0;

	if (c->n < 2 + n_len)
		return 0;
	for (size_t i = 0; i < n_len; i++)
		n = n << 8 | p[2 + i];
	return c->n < 2 + n_len + n ? 0 : 2 + n_len + n;
}

static void on_bytes(struct ev_loop *loop, ev_io *io, int revents)
{
	struct conn *c = io->data;
	size_t size;

	(void)loop;
	(void)revents;
	if (t.manner == DOES_NOT_READ && c->n_messages > 0) {
		ev_io_stop(t.loop, io);
		return;
	}
	ssize_t n = read(c->fd, c->buf + c->n, sizeof c->buf - c->n);
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n += (size_t)n;
	while (c->fd >= 0 && (size = message_size(c))) {
		struct berval whole = { size, c->buf };
		BerElement *ber = ber_init(&whole);
		on_message(c, ber);
		ber_free(ber, 1);
		memmove(c->buf, c->buf + size, c->n -= size);
	}
}

static void on_accept(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	assert_in_range(t.n_conns, 0, CONNS - 1);
	struct conn *c = &t.conns[t.n_conns++];
	c->fd = accept(io->fd, NULL, NULL);
	assert_true(c->fd >= 0);
	c->io.data = c;
	ev_io_init(&c->io, on_bytes, c->fd, EV_READ);
	c->io.data = c;
	ev_io_start(t.loop, &c->io);
}

static int setup(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;

	(void)state;
	memset(&t, 0, sizeof t);
	timeout_s = TIMEOUT_S;
	signal(SIGPIPE, SIG_IGN);
	t.loop = ev_loop_new(EVFLAG_AUTO);
	t.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t.fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(t.fd, 10), 0);
	getsockname(t.fd, (struct sockaddr *)&a, &n);
	snprintf(t.url, sizeof t.url, "ldap://127.0.0.1:%d",
	    ntohs(a.sin_port));
	ev_io_init(&t.accept, on_accept, t.fd, EV_READ);
	ev_io_start(t.loop, &t.accept);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ldap_client_free(&t.client);
	for (unsigned i = 0; i < t.n_conns; i++)
		if (t.conns[i].fd >= 0)
			drop(&t.conns[i]);
	close(t.fd);
	ev_loop_destroy(t.loop);
	return 0;
}

/* --- the client ----------------------------------------------------------- */

static const char *const attributes[] = { "mailHost", NULL };

static void make(unsigned n_links, unsigned n_parallel, const char *bind_dn)
{
	struct err err;

	t.client = ldap_client_new(&(struct ldap_client_options){
	    .url = t.url, .verifies = true, .bind_dn = bind_dn,
	    .bind_password = STR("secret"), .timeout_s = timeout_s,
	    .n_links = n_links, .n_parallel = n_parallel,
	    .attributes = attributes }, t.loop, &err);
	assert_non_null(t.client);
}

static void on_done(void *owner, const struct ldap_client_reply *r)
{
	(void)owner;
	t.n_done++;
	switch (r->verdict) {
	case LDAP_CLIENT_YES:
		t.n_yes++;
		snprintf(t.dn, sizeof t.dn, "%.*s", STR_ARG(r->dn));
		snprintf(t.value, sizeof t.value, "%.*s",
		    STR_ARG(r->values[0]));
		return;
	case LDAP_CLIENT_NO:
		t.n_no++;
		return;
	case LDAP_CLIENT_FAILED:
		t.n_failed++;
		snprintf(t.why, sizeof t.why, "%s", r->why);
		return;
	}
}

static struct ldap_client_call *search(void)
{
	struct err err;
	struct ldap_client_call *call = ldap_client_search(t.client, "o=x",
	    "(uid=jan)", on_done, NULL, &err);

	if (!call)
		snprintf(t.why, sizeof t.why, "%s", err.text);
	return call;
}

static struct ldap_client_call *bind_by(const char *password)
{
	struct err err;
	struct ldap_client_call *call = ldap_client_bind(t.client,
	    STR("uid=jan,o=x"), str_from(password), on_done, NULL, &err);

	assert_non_null(call);
	return call;
}

static void wait_done(unsigned n)
{
	while (t.n_done < n)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.n_done, n);
}

static void test_ldap_client_finds(void **state)
{
	(void)state;
	make(1, 10, "cn=reader");
	assert_non_null(search());
	assert_non_null(search());
	wait_done(2);
	assert_int_equal(t.n_yes, 2);
	assert_string_equal(t.dn, "uid=jan,o=x");
	assert_string_equal(t.value, "mail1");	/* in any case of the name */
	assert_int_equal(t.n_conns, 1);
}

static void test_ldap_client_binds(void **state)
{
	(void)state;
	make(2, 1, "");
	bind_by("right");
	bind_by("wrong");
	bind_by("right");
	wait_done(3);
	assert_int_equal(t.n_yes, 2);
	assert_int_equal(t.n_no, 1);
	assert_in_range(t.n_conns, 1, 2);
}

/* A bind that nobody waits for any more still has its connection. */
static void test_ldap_client_binds_one_at_a_time(void **state)
{
	struct ldap_client_call *calls[4];

	(void)state;
	t.manner = SILENT;
	make(2, 1, "");
	for (size_t i = 0; i < 4; i++)
		calls[i] = bind_by("right");
	while (t.n_open_binds < 2)
		ev_run(t.loop, EVRUN_ONCE);
	for (size_t i = 0; i < 3; i++)
		ldap_client_cancel(calls[i]);
	for (int i = 0; i < 5; i++)
		ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(t.n_open_binds, 2);
	assert_int_equal(t.n_conns, 2);
	wait_done(1);
	assert_int_equal(t.n_failed, 1);
}

static void test_ldap_client_takes_each_result(void **state)
{
	static const struct {
		enum manner manner;
		int code;
		bool binds;
		enum ldap_client_verdict verdict;
		const char *why;
	} rows[] = {
		{ TWICE, 0, false, LDAP_CLIENT_FAILED, "more than one entry" },
		{ MANY_VALUES, 0, false, LDAP_CLIENT_FAILED,
		    "mailHost has 2 values; expected one" },
		{ REFERS, 0, false, LDAP_CLIENT_NO, NULL },
		{ ANSWERS, LDAP_REFERRAL, false, LDAP_CLIENT_FAILED,
		    "Referral" },
		{ ANSWERS, LDAP_NO_SUCH_OBJECT, false, LDAP_CLIENT_FAILED,
		    "No such object: because" },
		{ ANSWERS, LDAP_SIZELIMIT_EXCEEDED, false, LDAP_CLIENT_FAILED,
		    "more than one entry" },
		{ ANSWERS, LDAP_BUSY, false, LDAP_CLIENT_FAILED,
		    "Server is busy: because" },
		{ ANSWERS, LDAP_INVALID_CREDENTIALS, true, LDAP_CLIENT_NO,
		    NULL },
		{ ANSWERS, LDAP_INAPPROPRIATE_AUTH, true, LDAP_CLIENT_NO,
		    NULL },
		{ ANSWERS, LDAP_UNWILLING_TO_PERFORM, true, LDAP_CLIENT_FAILED,
		    "Server is unwilling to perform: because" },
		{ ANSWERS, LDAP_BUSY, true, LDAP_CLIENT_FAILED, "busy" },
		{ ANSWERS, LDAP_SASL_BIND_IN_PROGRESS, true,
		    LDAP_CLIENT_FAILED, "" },
	};

	(void)state;
	make(1, 1, "");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		t.manner = rows[i].manner;
		t.code = rows[i].code;
		t.n_done = t.n_yes = t.n_no = t.n_failed = 0;
		if (rows[i].binds)
			bind_by("right");
		else
			assert_non_null(search());
		wait_done(1);
		enum ldap_client_verdict v = t.n_yes ? LDAP_CLIENT_YES :
		    t.n_no ? LDAP_CLIENT_NO : LDAP_CLIENT_FAILED;
		if (v != rows[i].verdict ||
		    (rows[i].why && !strstr(t.why, rows[i].why)))
			fail_msg("row %zu: %d, %s", i, (int)v, t.why);
	}
}

/* One answers no more: who waits is told in time, and who comes then at once;
 * when it answers, it is found again. */
static void test_ldap_client_notices_silence(void **state)
{
	(void)state;
	t.manner = SILENT;
	make(1, 10, "");
	double began = clock_now();
	struct ldap_client_call *given_up = search();
	assert_non_null(search());
	while (t.n_conns == 0 || t.conns[0].n_messages < 3)
		ev_run(t.loop, EVRUN_ONCE);
	ldap_client_cancel(given_up);
	t.manner = DEAF;
	wait_done(1);
	assert_in_range((clock_now() - began) * 1000, TIMEOUT_S * 900, 10000);
	assert_int_equal(t.n_failed, 1);
	assert_string_equal(t.why, "no answer within 400 ms");
	t.why[0] = 0;
	assert_null(search());
	assert_string_equal(t.why, "no answer within 400 ms");
	/* to take a connection is no sign of life */
	while (t.n_conns < 3)
		ev_run(t.loop, EVRUN_ONCE);
	assert_null(search());
	assert_non_null(strstr(t.why, "no answer: "));
	t.manner = ANSWERS;
	while (!search())
		ev_run(t.loop, EVRUN_ONCE);
	wait_done(2);
	assert_int_equal(t.n_yes, 1);
}

static void test_ldap_client_bears_what_breaks(void **state)
{
	static const enum manner manners[] = { DROPS, GOODBYE, BABBLES };

	(void)state;
	make(1, 10, "");
	for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
		t.manner = manners[i];
		t.n_done = t.n_yes = t.n_failed = 0;
		assert_non_null(search());
		assert_non_null(search());
		wait_done(2);
		if (t.n_failed != 2)
			fail_msg("manner %zu", i);
		t.manner = ANSWERS;
		while (!search())
			ev_run(t.loop, EVRUN_ONCE);
		wait_done(3);
		assert_int_equal(t.n_yes, 1);
	}
}

/* It is not the connection's fault, and the next one is sent. */
static void test_ldap_client_fails_what_cannot_be_sent(void **state)
{
	struct err err;

	(void)state;
	make(1, 10, "");
	assert_non_null(ldap_client_search(t.client, "o=x", "((", on_done,
	    NULL, &err));
	assert_non_null(search());
	wait_done(1);
	assert_int_equal(t.n_failed, 1);
	assert_non_null(strstr(t.why, "filter"));
	wait_done(2);
	assert_int_equal(t.n_yes, 1);
	assert_int_equal(t.n_conns, 1);
}

/* It closes what is idle: no trouble at all. */
static void test_ldap_client_comes_back(void **state)
{
	(void)state;
	make(1, 10, "");
	for (unsigned i = 1; i <= 3; i++) {
		assert_non_null(search());
		wait_done(i);
		assert_int_equal(t.n_yes, i);
		assert_int_equal(t.n_conns, i);
		drop(&t.conns[i - 1]);
		for (int turn = 0; turn < 3; turn++)
			ev_run(t.loop, EVRUN_NOWAIT);
	}
}

static void test_ldap_client_fails_without_a_server(void **state)
{
	(void)state;
	ev_io_stop(t.loop, &t.accept);
	close(t.fd);
	t.fd = -1;
	make(3, 1, "");
	bind_by("right");
	bind_by("right");
	wait_done(2);
	assert_int_equal(t.n_failed, 2);
	assert_non_null(strstr(t.why, "connect: "));
	assert_null(search());
}

static void test_ldap_client_bounds_its_queue(void **state)
{
	struct ldap_client_call *calls[LDAP_CLIENT_QUEUE];

	(void)state;
	t.manner = DEAF;
	make(1, 10, "");
	for (size_t i = 0; i < LDAP_CLIENT_QUEUE; i++)
		assert_non_null(calls[i] = search());
	assert_null(search());
	assert_string_equal(t.why, "too many requests wait for a connection");
	for (size_t i = 0; i < LDAP_CLIENT_QUEUE; i++)
		ldap_client_cancel(calls[i]);
	/* and it may go while it connects */
	ldap_client_free(&t.client);
}

/* The server reads no more and the buffers fill: nothing waits for it here,
 * and what could not be sent is sent when it reads on. */
static void test_ldap_client_never_waits_to_send(void **state)
{
	char filter[3000];
	struct err err;
	unsigned n = 1;
	double longest = 0;

	(void)state;
	memset(filter, 'x', sizeof filter);
	memcpy(filter, "(uid=", 5);
	memcpy(filter + sizeof filter - 2, ")", 2);
	timeout_s = 20;
	make(1, 1000000, "");
	assert_non_null(search());
	wait_done(1);
	t.manner = DOES_NOT_READ;
	for (bool is_taken = true; is_taken; n += is_taken) {
		double began = clock_now();
		is_taken = ldap_client_search(t.client, "o=x", filter,
		    on_done, NULL, &err);
		if (n % 50 == 0)
			ev_run(t.loop, EVRUN_NOWAIT);
		if (clock_now() - began > longest)
			longest = clock_now() - began;
	}
	/* the buffers and the queue */
	assert_in_range(n, LDAP_CLIENT_QUEUE + 2, 1000000);
	assert_true(longest < 1);
	assert_int_equal(t.n_done, 1);
	t.manner = ANSWERS;
	ev_io_start(t.loop, &t.conns[0].io);
	wait_done(n);
	if (t.n_yes != n)
		fail_msg("%u failed: %s", t.n_failed, t.why);
}

static void test_ldap_check(void **state)
{
	struct err err;

	(void)state;
	assert_true(ldap_check("ldap://a:1 ldaps://b", "ou=p,dc=x",
	    "(&(a=b)(c=\\2a))", &err));
	assert_true(ldap_check(NULL, "", NULL, &err));
	assert_false(ldap_check("ldapx://a", NULL, NULL, &err));
	assert_non_null(strstr(err.text, "is not a URL of LDAP"));
	assert_false(ldap_check(NULL, "people", NULL, &err));
	assert_non_null(strstr(err.text, "\"people\" is not a name"));
	assert_false(ldap_check(NULL, NULL, "(&(a=b)", &err));
	assert_non_null(strstr(err.text, "\"(&(a=b)\" is not a filter"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ldap_client_finds),
		TEST(test_ldap_client_binds),
		TEST(test_ldap_client_binds_one_at_a_time),
		TEST(test_ldap_client_takes_each_result),
		TEST(test_ldap_client_notices_silence),
		TEST(test_ldap_client_bears_what_breaks),
		TEST(test_ldap_client_fails_what_cannot_be_sent),
		TEST(test_ldap_client_comes_back),
		TEST(test_ldap_client_fails_without_a_server),
		TEST(test_ldap_client_bounds_its_queue),
		TEST(test_ldap_client_never_waits_to_send),
		cmocka_unit_test(test_ldap_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
