/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <netdb.h>

#include "backends/http_client.h"
#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "tests/unit/http_play.h"

#define OK_BODY(n, text) "HTTP/1.1 200 OK\r\nContent-Length: " #n \
	"\r\nX-Sign:  so  \r\n\r\n" text

static struct {
	struct ev_loop *loop;
	struct http_client *client;
	struct http_call *calls[PLAY_CONNS];
	unsigned n_done;
	unsigned status;
	char body[256], why[256], head[256];
} t;

/* --- names: resolved by the test ---------------------------------------------- */

static int stall[2] = { -1, -1 };

/* This stands before libc's: "stalled.test" waits until the test's end. */
int getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **out)
{
	int (*libc)(const char *, const char *, const struct addrinfo *,
	    struct addrinfo **) = (int (*)(const char *, const char *,
	    const struct addrinfo *, struct addrinfo **))(uintptr_t)dlsym(
	    RTLD_NEXT, "getaddrinfo");
	char c;

	if (name && strcmp(name, "stalled.test") == 0) {
		while (read(stall[0], &c, 1) < 0)
			;
		return EAI_NONAME;
	}
	return libc(name && strcmp(name, "known.test") == 0 ? "127.0.0.1" :
	    name, service, hints, out);
}

/* --- the caller's side ----------------------------------------------------------- */

static void on_done(void *owner, const struct http_reply *r)
{
	struct http_call **mine = owner;

	*mine = NULL;
	t.n_done++;
	t.status = r->status;
	snprintf(t.body, sizeof t.body, "%.*s", STR_ARG(r->body));
	snprintf(t.why, sizeof t.why, "%s", r->why ? r->why : "");
	snprintf(t.head, sizeof t.head, "%.*s", STR_ARG(r->head));
}

static void client(const struct http_options *o)
{
	http_client_free(&t.client);
	t.client = http_client_new(t.loop, o);
}

static void get_with(size_t i, const char *host, const char *target,
    const char *head)
{
	char url[256];

	snprintf(url, sizeof url, "http://%s:%u%s", host, play.port, target);
	t.calls[i] = http_get(t.client, str_from(url), str_from(head),
	    on_done, &t.calls[i]);
}

static void get(const char *target)
{
	get_with(0, "127.0.0.1", target, "Host: here\r\n");
}

static void assert_failed(const char *why)
{
	assert_int_equal(t.status, 0);
	if (!strstr(t.why, why))
		fail_msg("\"%s\" does not say \"%s\"", t.why, why);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.loop = ev_loop_new(0);
	play_start(t.loop);
	client(&(struct http_options){ .n_parallel = 8, .max_bytes = 200 });
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < PLAY_CONNS; i++)
		http_cancel(&t.calls[i]);
	http_client_free(&t.client);
	play_stop();
	ev_loop_destroy(t.loop);
	return 0;
}

/* --- tests ------------------------------------------------------------------------- */

static void test_http_client_sends_what_it_is_told(void **state)
{
	(void)state;
	play.reply = OK_BODY(2, "hi");
	get_with(0, "127.0.0.1", "/a/../%2e?x=%s&y",
	    "Host: here\r\nA: b\r\nEmpty: \r\nA: c d\r\n");
	play_until(&t.n_done, 1);
	assert_string_equal(play.request, "GET /a/../%2e?x=%s&y HTTP/1.1\r\n"
	    "Host: here\r\nA: b\r\nEmpty:\r\nA: c d\r\n\r\n");
	assert_int_equal(t.status, 200);
	assert_string_equal(t.body, "hi");
	assert_string_equal(t.head,
	    "Content-Length: 2\r\nX-Sign:  so  \r\n\r\n");
}

static void test_http_client_keeps_connections(void **state)
{
	(void)state;
	play.reply = OK_BODY(2, "hi");
	for (unsigned i = 1; i <= 5; i++) {
		get("/");
		play_until(&t.n_done, i);
		assert_int_equal(t.status, 200);
	}
	assert_int_equal(play.n_conns, 1);
}

static void test_http_client_survives_a_kept_connection_that_closes(
    void **state)
{
	(void)state;
	play.reply = OK_BODY(2, "hi");
	play.closes = true;
	for (unsigned i = 1; i <= 5; i++) {
		get("/");
		play_until(&t.n_done, i);
		assert_int_equal(t.status, 200);
	}
}

static void test_http_client_plain_reads_the_header_only(void **state)
{
	(void)state;
	client(&(struct http_options){ .n_parallel = 8, .max_bytes = 200,
	    .is_plain = true });
	/* the connection stays open and the body never comes */
	play.reply = "HTTP/1.1 500 No\r\nX-Sign: yes\r\n\r\n";
	get("/q");
	play_until(&t.n_done, 1);
	assert_string_equal(play.request,
	    "GET /q HTTP/1.0\r\nHost: here\r\n\r\n");
	assert_int_equal(t.status, 500);
	assert_string_equal(t.head, "X-Sign: yes\r\n\r\n");
	get("/q");
	play_until(&t.n_done, 2);
	assert_int_equal(play.n_conns, 2);
}

static void test_http_client_follows_no_redirect(void **state)
{
	char reply[256];

	(void)state;
	snprintf(reply, sizeof reply, "HTTP/1.1 302 Found\r\nContent-Length: "
	    "0\r\nLocation: http://127.0.0.1:%u/elsewhere\r\n\r\n", play.port);
	play.reply = reply;
	get("/");
	play_until(&t.n_done, 1);
	assert_int_equal(t.status, 302);
	assert_int_equal(play.n_requests, 1);
}

static void test_http_client_takes_nothing_from_the_environment(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
	play.reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	    "Set-Cookie: a=b; path=/\r\n\r\n";
	get("/");
	play_until(&t.n_done, 1);
	assert_int_equal(t.status, 200);
	get("/");
	play_until(&t.n_done, 2);
	assert_null(strstr(play.request, "ookie"));
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
}

static void test_http_client_bounds_answers(void **state)
{
	char reply[2048], filler[1000];

	(void)state;
	memset(filler, 'x', sizeof filler);
	filler[sizeof filler - 1] = 0;
	play.reply = reply;
	snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: "
	    "999\r\n\r\n%s", filler);
	get("/body");
	play_until(&t.n_done, 1);
	assert_failed("longer than 200 bytes");
	snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nA: %s\r\n\r\n",
	    filler);
	get("/head");
	play_until(&t.n_done, 2);
	assert_failed("longer than 200 bytes");
}

static void test_http_client_says_what_is_no_answer(void **state)
{
	static const struct {
		const char *name, *reply, *why;
	} rows[] = {
		{ "nothing", "", "mpty reply" },
		{ "no HTTP", "* OK IMAP ready\r\n", "HTTP/0.9" },
		{ "cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
		    "" },
	};

	(void)state;
	play.closes = true;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		play.reply = rows[i].reply;
		t.status = 1;
		get("/");
		play_until(&t.n_done, (unsigned)i + 1);
		print_message("%s: %s\n", rows[i].name, t.why);
		assert_failed(rows[i].why);
		assert_true(t.why[0]);
	}
}

static void test_http_client_refused_connection_is_told(void **state)
{
	(void)state;
	t.calls[0] = http_get(t.client, STR("http://127.0.0.1:1/"),
	    STR("Host: x\r\n"), on_done, &t.calls[0]);
	play_until(&t.n_done, 1);
	assert_failed("connect");
}

static void test_http_client_bounds_requests_under_way(void **state)
{
	(void)state;
	client(&(struct http_options){ .n_parallel = 3, .max_bytes = 200 });
	for (size_t i = 0; i < 20; i++)
		get_with(i, "127.0.0.1", "/", "Host: here\r\n");
	play_until(&play.n_requests, 3);
	for (int i = 0; i < 20; i++)
		ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(play.n_requests, 3);
	/* one that ends makes room */
	http_cancel(&t.calls[1]);
	play_until(&play.n_requests, 4);
	play.reply = OK_BODY(2, "hi");
	http_cancel(&t.calls[0]);
	http_cancel(&t.calls[2]);
	http_cancel(&t.calls[3]);
	play_until(&t.n_done, 16);
	assert_int_equal(play.n_requests, 20);
}

static void test_http_client_bounds_time(void **state)
{
	(void)state;
	client(&(struct http_options){ .n_parallel = 1, .max_bytes = 200,
	    .timeout_ms = 50 });
	double began = clock_now();
	get_with(0, "127.0.0.1", "/", "Host: here\r\n");
	get_with(1, "127.0.0.1", "/", "Host: here\r\n");
	play_until(&t.n_done, 2);
	assert_failed("no answer within 50 ms");
	assert_true(clock_now() - began >= 0.05);
}

static void test_http_client_cancels_at_any_time(void **state)
{
	(void)state;
	get("/");
	http_cancel(&t.calls[0]);
	assert_null(t.calls[0]);
	http_cancel(&t.calls[0]);
	get("/");
	play_until(&play.n_requests, 1);
	http_cancel(&t.calls[0]);
	play.reply = OK_BODY(2, "hi");
	get("/");
	play_until(&t.n_done, 1);
	assert_int_equal(t.n_done, 1);
}

/* The first that is done cancels the others and asks again. */
static void on_done_cancel_all(void *owner, const struct http_reply *r)
{
	(void)owner;
	(void)r;
	t.n_done++;
	for (size_t i = 0; i < 8; i++)
		if (&t.calls[i] != owner)
			http_cancel(&t.calls[i]);
	*(struct http_call **)owner = NULL;
	get_with(20, "127.0.0.1", "/", "Host: here\r\n");
}

static void test_http_client_cancels_inside_a_callback(void **state)
{
	char url[64];

	(void)state;
	play.reply = OK_BODY(2, "hi");
	snprintf(url, sizeof url, "http://127.0.0.1:%u/", play.port);
	for (size_t i = 0; i < 8; i++)
		t.calls[i] = http_get(t.client, str_from(url),
		    STR("Host: x\r\n"), on_done_cancel_all, &t.calls[i]);
	play_until(&t.n_done, 2);
	for (int i = 0; i < 20; i++)
		ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(t.n_done, 2);
}

static void test_http_client_names_do_not_block(void **state)
{
	(void)state;
	play.reply = OK_BODY(2, "hi");
	double began = clock_now();
	get_with(0, "stalled.test", "/", "Host: x\r\n");
	for (int i = 0; i < 5; i++)
		ev_run(t.loop, EVRUN_NOWAIT);
	get_with(1, "known.test", "/", "Host: x\r\n");
	play_until(&t.n_done, 1);
	assert_int_equal(t.status, 200);
	/* nor does giving up on one */
	assert_non_null(t.calls[0]);
	http_cancel(&t.calls[0]);
	http_client_free(&t.client);
	assert_true(clock_now() - began < PLAY_PATIENCE_S / 2);
}

/* What was sent is nowhere in the memory that was freed. */
static void test_http_client_wipes_what_it_sent(void **state)
{
	static char secret[] = "sesame-0123456789-sesame";
	char head[100];

	(void)state;
	play.reply = OK_BODY(2, "hi");
	snprintf(head, sizeof head, "Host: x\r\nAuth-Pass: %s\r\n", secret);
	get_with(0, "127.0.0.1", "/", head);
	mem_wipe(head, sizeof head);
	play_until(&t.n_done, 1);
	assert_non_null(strstr(play.request, secret));
	mem_wipe(play.request, sizeof play.request);
	mem_wipe(play.conns, sizeof play.conns[0].got * 2);
	http_client_free(&t.client);
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned long from = 0, to = 0;
	while (fgets(line, sizeof line, maps))
		if (strstr(line, "[heap]"))
			assert_int_equal(sscanf(line, "%lx-%lx", &from, &to),
			    2);
	fclose(maps);
	if (from == to)
		skip();		/* a sanitizer has its own heap */
	assert_null(memmem((char *)from, to - from, secret, strlen(secret)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_http_client_sends_what_it_is_told),
		T(test_http_client_keeps_connections),
		T(test_http_client_survives_a_kept_connection_that_closes),
		T(test_http_client_plain_reads_the_header_only),
		T(test_http_client_follows_no_redirect),
		T(test_http_client_takes_nothing_from_the_environment),
		T(test_http_client_bounds_answers),
		T(test_http_client_says_what_is_no_answer),
		T(test_http_client_refused_connection_is_told),
		T(test_http_client_bounds_requests_under_way),
		T(test_http_client_bounds_time),
		T(test_http_client_cancels_at_any_time),
		T(test_http_client_cancels_inside_a_callback),
		T(test_http_client_names_do_not_block),
		T(test_http_client_wipes_what_it_sent),
	};

	if (pipe2(stall, O_CLOEXEC) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
