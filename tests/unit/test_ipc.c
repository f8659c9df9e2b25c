/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/ipc.h"

#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"

/* --- random messages, made and compared by the rows themselves ----------- */

static unsigned seed = 1;

static unsigned rnd(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

static struct str random_bytes(void)
{
	static char pool[70000];
	static const size_t sizes[] = { 0, 1, 31, 32, 255, 256, 300, 66000 };
	size_t n = sizes[rnd(rnd(4) ? 6 : 8)];

	if (!pool[0])
		for (size_t i = 0; i < sizeof(pool); i++)
			pool[i] = (char)(1 + rnd(255));
	return (struct str){ pool + rnd(100), n };
}

static uint64_t random_u64(void)
{
	return (uint64_t)rnd(1u << 24) << rnd(40) >> rnd(24);
}

#define U64(field, key)   m->field = random_u64();
#define BOOL(field, key)  m->field = rnd(2) != 0;
#define BYTES(field, key) m->field = random_bytes();
#define FD(field)         m->field = -1;
#define MESSAGE(NAME, name, number, ...) \
	static void fill_##name(struct msg_##name *m) { __VA_ARGS__ }
#include "proxy/messages.def"

#define U64(field, key)   assert_true(a->field == b->field);
#define BOOL(field, key)  assert_true(a->field == b->field);
#define BYTES(field, key) assert_true(str_eq(a->field, b->field));
#define FD(field)         assert_int_equal(a->field, b->field);
#define MESSAGE(NAME, name, number, ...) \
	static void same_##name(const struct msg_##name *a, \
	    const struct msg_##name *b) { __VA_ARGS__ }
#include "proxy/messages.def"

static const enum msg_type types[] = {
#define MESSAGE(NAME, name, number, ...) MSG_##NAME,
#include "proxy/messages.def"
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

static struct msg random_msg(enum msg_type type)
{
	struct msg m = { .type = type };

	switch (type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		fill_##name(&m.name); \
		break;
#include "proxy/messages.def"
	}
	return m;
}

static void assert_same(const struct msg *a, const struct msg *b)
{
	assert_int_equal(a->type, b->type);
	switch (a->type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		same_##name(&a->name, &b->name); \
		break;
#include "proxy/messages.def"
	}
}

/* --- codec ---------------------------------------------------------------- */

static void test_ipc_codec_keeps_every_message(void **state)
{
	struct buf b;
	struct msg back;
	bool has_fd;
	int fd;

	(void)state;
	buf_init(&b, 0);
	for (unsigned i = 0; i < 40 * N_TYPES; i++) {
		struct msg m = random_msg(types[i % N_TYPES]);

		buf_clear(&b);
		assert_true(msg_encode(&b, &m, &fd));
		struct str map = str_skip(buf_view(&b), 4);
		assert_int_equal(msg_decode(map, &back, &has_fd), MSG_OK);
		assert_false(has_fd);
		assert_same(&m, &back);
		/* A cut frame is bad wherever it is cut. */
		for (size_t n = 0; n < map.n; n += n < 400 ? 1 : 9001)
			assert_int_equal(msg_decode((struct str){ map.p, n },
			    &back, &has_fd), MSG_BAD);
	}
	buf_fini(&b);
}

static void test_ipc_codec_leaves_out_what_is_empty(void **state)
{
	struct msg m = { .type = MSG_SYNCED };
	struct buf b;
	int fd;

	(void)state;
	buf_init(&b, 0);
	assert_true(msg_encode(&b, &m, &fd));
	assert_true(str_eq(buf_view(&b), STR("\0\0\0\4\x81\xa1t\x29")));
	buf_fini(&b);
}

struct row {
	const char *name;
	struct str map;
	enum msg_verdict verdict;
};

static void test_ipc_codec_judges_foreign_frames(void **state)
{
	const struct row rows[] = {
		{ "unknown key with a deep value", STR("\x83\xa1t\x29\xa3new"
		    "\x92\x81\xa1x\xc0\xd4\1\1\xa1n\7"), MSG_OK },
		{ "key that is no string", STR("\x83\xa1t\x29\5\6\xa1n\7"),
		    MSG_OK },
		{ "number as uint 64, name as bin", STR("\x82\xc4\1t\xcf\0\0\0"
		    "\0\0\0\0\x29\xa1n\xcd\0\7"), MSG_OK },
		{ "map 16", STR("\xde\0\2\xa1t\x29\xa1n\7"), MSG_OK },
		{ "key twice: the last", STR("\x83\xa1t\x29\xa1n\1\xa1n\7"),
		    MSG_OK },
		{ "unknown message", STR("\x82\xa1t\xcd\x7f\xff\xa1n\xa1x"),
		    MSG_UNKNOWN },
		{ "number over 32 bits", STR("\x81\xa1t\xcf\0\0\0\1\0\0\0\x29"),
		    MSG_UNKNOWN },
		{ "empty", STR(""), MSG_BAD },
		{ "empty map", STR("\x80"), MSG_BAD },
		{ "no map", STR("\x29"), MSG_BAD },
		{ "array", STR("\x92\xa1t\x29"), MSG_BAD },
		{ "t is not first", STR("\x82\xa1n\7\xa1t\x29"), MSG_BAD },
		{ "t is a string", STR("\x81\xa1t\xa1x"), MSG_BAD },
		{ "field of another type", STR("\x82\xa1t\x29\xa1n\xa1x"),
		    MSG_BAD },
		{ "negative number", STR("\x82\xa1t\x29\xa1n\xff"), MSG_BAD },
		{ "fd is no bool", STR("\x82\xa1t\x29\xa2" "fd\1"), MSG_BAD },
		{ "bytes behind the map", STR("\x81\xa1t\x29\xc0"), MSG_BAD },
		{ "reserved byte", STR("\x82\xa1t\x29\xa1x\xc1"), MSG_BAD },
		{ "map of 4 G pairs", STR("\xdf\xff\xff\xff\xff\xa1t\x29"),
		    MSG_BAD },
		{ "array of 4 G", STR("\x82\xa1t\x29\xa1x\xdd\xff\xff\xff\xff"),
		    MSG_BAD },
		{ "string of 4 G", STR("\x82\xa1t\x29\xa1x\xdb\xff\xff\xff\xff"),
		    MSG_BAD },
		{ "array of arrays of 4 G", STR("\x82\xa1t\x29\xa1x"
		    "\xdd\0\0\0\1\xdd\xff\xff\xff\xff\xc0"), MSG_BAD },
	};
	struct msg m;
	bool has_fd;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Its own memory, so that ASan sees the end. */
		char *copy = mem_alloc(rows[i].map.n + !rows[i].map.n);
		memcpy(copy, rows[i].map.p, rows[i].map.n);
		enum msg_verdict v = msg_decode(
		    (struct str){ copy, rows[i].map.n }, &m, &has_fd);

		if (v != rows[i].verdict)
			fail_msg("%s: verdict %d", rows[i].name, (int)v);
		if (v == MSG_OK && m.synced.sessions != 7)
			fail_msg("%s: field is lost", rows[i].name);
		free(copy);
	}
}

static void test_ipc_codec_survives_depth(void **state)
{
	size_t n = 1 << 20;
	char *deep = mem_alloc(n);
	struct msg m;
	bool has_fd;

	(void)state;
	memset(deep, '\x91', n);
	memcpy(deep, "\x82\xa1t\x29\xa1x", 6);
	deep[n - 1] = '\xc0';
	assert_int_equal(msg_decode((struct str){ deep, n }, &m, &has_fd),
	    MSG_OK);
	free(deep);
}

static void test_ipc_codec_keeps_the_bounds(void **state)
{
	struct msg m = { .type = MSG_FILE };
	struct buf b;
	int fd;

	(void)state;
	m.file.data = (struct str){ mem_alloc(IPC_FRAME_MAX), IPC_FRAME_MAX };
	buf_init(&b, 0);
	buf_puts(&b, "before");
	assert_false(msg_encode(&b, &m, &fd));
	assert_true(str_eq(buf_view(&b), STR("before")));
	buf_fini(&b);
	buf_init(&b, 10);
	m.file.data.n = 10;
	assert_false(msg_encode(&b, &m, &fd));
	assert_int_equal(b.len, 0);
	m.file.data.n = 0;
	assert_true(msg_encode(&b, &m, &fd));
	buf_fini(&b);
	free((char *)(uintptr_t)m.file.data.p);
}

/* --- link ------------------------------------------------------------------ */

struct end {
	struct link *link;
	int raw;			/* the peer's side, when a test plays it */
	unsigned n_messages;
	unsigned close_after;		/* messages; 0: never */
	bool closes_itself;
	struct err why;
	bool is_closed;
	struct msg expected[64];
	unsigned n_expected;
	int fds[300];
	unsigned n_fds;
};

static struct ev_loop *loop;

static void on_message(void *owner, struct link *l, const struct msg *m)
{
	struct end *e = owner;

	assert_ptr_equal(l, e->link);
	if (m->type == MSG_HELLO)
		return;
	if (m->type == MSG_LISTENER && m->listener.fd >= 0)
		e->fds[e->n_fds++] = m->listener.fd;
	if (e->n_messages < e->n_expected)
		assert_same(m, &e->expected[e->n_messages]);
	e->n_messages++;
	if (e->n_messages == e->close_after) {
		link_close(&e->link);
		e->is_closed = true;
	}
}

static void on_closed(void *owner, struct link *l, const struct err *why)
{
	struct end *e = owner;

	assert_ptr_equal(l, e->link);
	e->why = *why;
	e->is_closed = true;
	link_close(&e->link);
}

static void on_late(struct ev_loop *lp, ev_timer *w, int events)
{
	(void)lp;
	(void)w;
	(void)events;
	fail_msg("nothing happened for 10 s");
}

/* Turns the loop until *flag, or *count reaches n. */
static void run_until(const bool *flag, const unsigned *count, unsigned n)
{
	ev_timer late;

	ev_timer_init(&late, on_late, 10., 0.);
	ev_timer_start(loop, &late);
	ev_invoke_pending(loop);	/* or ev_run() would block behind it */
	while (!*flag && !(count && *count >= n))
		ev_run(loop, EVRUN_ONCE);
	ev_timer_stop(loop, &late);
}

static void open_pair(struct end *a, struct end *b)
{
	int fds[2];

	*a = (struct end){ .raw = -1 };
	*b = (struct end){ .raw = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds), 0);
	a->link = link_open(loop, fds[0], "control", 0, on_message, on_closed,
	    a);
	b->link = link_open(loop, fds[1], "worker", 1, on_message, on_closed,
	    b);
}

/* A link whose peer is the test; the HELLO of the link is read off. */
static void open_raw(struct end *a)
{
	int fds[2];
	char hello[200];

	*a = (struct end){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds), 0);
	a->raw = fds[1];
	a->link = link_open(loop, fds[0], "control", 0, on_message, on_closed,
	    a);
	ev_run(loop, EVRUN_NOWAIT);
	assert_true(read(a->raw, hello, sizeof(hello)) > 4);
}

static void raw_write(struct end *a, struct str bytes)
{
	assert_int_equal(write(a->raw, bytes.p, bytes.n), bytes.n);
}

static void close_end(struct end *e)
{
	link_close(&e->link);
	if (e->raw >= 0)
		close(e->raw);
	for (unsigned i = 0; i < e->n_fds; i++)
		close(e->fds[i]);
}

static void test_ipc_link_carries_messages_in_order(void **state)
{
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	for (unsigned i = 0; i < 64; i++) {
		do
			b.expected[i] = random_msg(types[rnd(N_TYPES)]);
		while (b.expected[i].type == MSG_HELLO);
		link_send(a.link, &b.expected[i]);
	}
	b.n_expected = 64;
	run_until(&b.is_closed, &b.n_messages, 64);
	assert_int_equal(b.n_messages, 64);
	close_end(&a);
	run_until(&b.is_closed, NULL, 0);
	assert_string_equal(b.why.text, "closed");
	close_end(&b);
}

static void test_ipc_link_joins_split_frames(void **state)
{
	static const char stream[] =	/* HELLO, SYNCED, unknown */
	    "\0\0\0\x0b\x82\xa1t\1\xa1v\xce\0\1\0\0"
	    "\0\0\0\7\x82\xa1t\x29\xa1n\7"
	    "\0\0\0\4\x81\xa1t\x7e";
	const size_t n_all = sizeof(stream) - 1;
	struct end a;

	(void)state;
	for (size_t step = 1; step < n_all; step++) {
		open_raw(&a);
		a.n_expected = 1;
		a.expected[0] = (struct msg){ .type = MSG_SYNCED,
			.synced.sessions = 7 };
		for (size_t n = 0; n < n_all; n += step) {
			size_t k = step < n_all - n ? step : n_all - n;

			raw_write(&a, (struct str){ stream + n, k });
			ev_run(loop, EVRUN_NOWAIT);
		}
		assert_int_equal(a.n_messages, 1);
		assert_int_equal(link_n_unknown(a.link), 1);
		assert_false(a.is_closed);
		close_end(&a);
	}
}

/* Each descriptor is a pipe of its own, known by its inode. */
static void test_ipc_link_passes_descriptors_in_order(void **state)
{
	enum { N = 200 };
	struct end a, b;
	ino_t inodes[N];
	unsigned n_sent = 0;

	(void)state;
	open_pair(&a, &b);
	for (unsigned i = 0; i < N; i++) {
		int fds[2];
		struct stat st;

		for (unsigned k = rnd(4); k; k--, n_sent++)
			link_send_release(a.link,
			    &(struct msg_release){ .session = i });
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		assert_int_equal(fstat(fds[0], &st), 0);
		inodes[i] = st.st_ino;
		link_send_listener(a.link, &(struct msg_listener){
			.name = random_bytes(), .fd = fds[0] });
		n_sent++;
		close(fds[0]);
		close(fds[1]);
		if (rnd(20) == 0)
			ev_run(loop, EVRUN_NOWAIT);
	}
	link_send_listener(a.link, &(struct msg_listener){ .fd = -1 });
	run_until(&b.is_closed, &b.n_messages, n_sent + 1);
	assert_int_equal(b.n_fds, N);
	for (unsigned i = 0; i < N; i++) {
		struct stat st;

		assert_int_equal(fstat(b.fds[i], &st), 0);
		assert_true(st.st_ino == inodes[i]);
		assert_true(fcntl(b.fds[i], F_GETFD) & FD_CLOEXEC);
	}
	close_end(&a);
	close_end(&b);
}

static void test_ipc_link_closes_unwanted_descriptors(void **state)
{
	struct end a, b;
	int fds[2];
	char c;

	(void)state;
	/* The link is closed while the descriptor waits to be sent. */
	open_pair(&a, &b);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	link_send_peer(a.link, &(struct msg_peer){ .fd = fds[1] });
	close(fds[1]);
	link_close(&a.link);
	link_close(&b.link);
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
}

static void hostile(struct str bytes, const char *why)
{
	struct end a;

	open_raw(&a);
	raw_write(&a, bytes);
	run_until(&a.is_closed, NULL, 0);
	assert_string_equal(a.why.text, why);
	close_end(&a);
}

static void test_ipc_link_wants_hello_first(void **state)
{
	(void)state;
	hostile(STR("\0\0\0\4\x81\xa1t\x29"), "SYNCED before HELLO");
	hostile(STR("\0\0\0\4\x81\xa1t\x7f"), "unknown message before HELLO");
	hostile(STR("\0\0\0\x0b\x82\xa1t\1\xa1v\xce\0\2\0\1"),
	    "peer speaks version 2.1, not 1.x");
	hostile(STR("\0\0\0\4\x81\xa1t\1"), "peer speaks version 0.0, not 1.x");
	hostile(STR("\1\0\0\1"), "frame too long");
	hostile(STR("\0\0\0\0"), "bad message");
	hostile(STR("GET / HTTP/1.0\r\n\r\n"), "frame too long");
	/* It says that a descriptor came, and none did. */
	hostile(STR("\0\0\0\x0b\x82\xa1t\1\xa1v\xce\0\1\0\1"
	    "\0\0\0\x08\x82\xa1t\x0c\xa2" "fd\xc3"), "bad message");
}

static void test_ipc_link_takes_a_newer_minor_version(void **state)
{
	struct end a;

	(void)state;
	open_raw(&a);
	raw_write(&a, STR("\0\0\0\x0e\x83\xa1t\1\xa1v\xce\0\1\0\x63\xa1?\xc3"
	    "\0\0\0\4\x81\xa1t\x29"));
	run_until(&a.is_closed, &a.n_messages, 1);
	assert_false(a.is_closed);
	close(a.raw);
	a.raw = -1;
	run_until(&a.is_closed, NULL, 0);
	assert_string_equal(a.why.text, "closed");
	close_end(&a);
}

static void test_ipc_link_tells_of_a_cut_message(void **state)
{
	struct end a;

	(void)state;
	open_raw(&a);
	raw_write(&a, STR("\0\0\0\4\x81\xa1"));
	close(a.raw);
	a.raw = -1;
	run_until(&a.is_closed, NULL, 0);
	assert_string_equal(a.why.text, "closed in mid-message");
	close_end(&a);
}

static void test_ipc_link_may_be_closed_by_its_callback(void **state)
{
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	b.close_after = 3;
	for (unsigned i = 0; i < 10; i++)
		link_send_release(a.link, &(struct msg_release){ i });
	run_until(&a.is_closed, NULL, 0);
	assert_int_equal(b.n_messages, 3);
	assert_null(b.link);
	close_end(&a);
	close_end(&b);
}

/* What was sent before the close arrives, though the reader's own writes
 * fail by then. */
static void test_ipc_link_delivers_last_words(void **state)
{
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	ev_run(loop, EVRUN_NOWAIT);
	for (unsigned i = 0; i < 100; i++)
		link_send_release(a.link, &(struct msg_release){ i });
	link_close(&a.link);
	link_send_release(b.link, &(struct msg_release){ 1 });
	run_until(&b.is_closed, NULL, 0);
	assert_int_equal(b.n_messages, 100);
	assert_string_equal(b.why.text, "closed");
	close_end(&b);
}

static void test_ipc_link_carries_large_messages(void **state)
{
	size_t n = 1 << 20;
	char *data = mem_alloc(n);
	struct end a, b;

	(void)state;
	for (size_t i = 0; i < n; i++)
		data[i] = (char)rnd(256);
	open_pair(&a, &b);
	b.n_expected = 20;
	for (unsigned i = 0; i < 20; i++) {
		b.expected[i] = (struct msg){ .type = MSG_FILE,
			.file = { STR("k"), { data, n } } };
		link_send(a.link, &b.expected[i]);
	}
	assert_true(link_is_full(a.link));
	run_until(&b.is_closed, &b.n_messages, 20);
	assert_int_equal(b.n_messages, 20);
	assert_false(link_is_full(a.link));
	assert_int_equal(link_queued_bytes(a.link), 0);
	close_end(&a);
	close_end(&b);
	free(data);
}

static void test_ipc_link_ends_when_the_peer_stops_reading(void **state)
{
	size_t n = 1 << 20;
	char *data = mem_alloc(n);
	struct end a;

	(void)state;
	open_raw(&a);
	for (unsigned i = 0; i < 70; i++) {
		link_send_file(a.link, &(struct msg_file){
			.data = { data, n } });
		assert_false(a.is_closed);	/* never from link_send() */
	}
	run_until(&a.is_closed, NULL, 0);
	assert_non_null(strstr(a.why.text, "FILE does not fit"));
	close_end(&a);
	free(data);
}

/* What the question of each login costs in the codec; printed, not judged. */
static void test_ipc_codec_speed(void **state)
{
	enum { ROUNDS = 20000 };
	struct msg_decide d = { .question = 1, .session = 2,
		.user = STR("jan@example.org"), .mechanism = STR("PLAIN"),
		.client_address = STR("192.0.2.1:50000"),
		.local_address = STR("198.51.100.1:993"),
		.listener = STR("imaps"), .sni = STR("imap.example.org"),
		.tls = true };
	struct msg_grant g = { .question = 1, .backend = STR("mail1"),
		.address = STR("10.0.0.12:993"),
		.user = STR("jan@example.org"),
		.capabilities = STR("IMAP4rev1"), .pool = STR("main"),
		.region = STR("de"), .country = STR("DE"),
		.deadline_ms = 30000 };
	struct msg ask = { .type = MSG_DECIDE, .decide = d };
	struct msg answer = { .type = MSG_GRANT, .grant = g };
	struct timespec t0, t1;
	struct msg m;
	struct buf b;
	bool has_fd;
	int fd;

	(void)state;
	buf_init(&b, 0);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		b.len = 0;
		assert_true(msg_encode(&b, &ask, &fd));
		if (msg_decode(str_skip(buf_view(&b), 4), &m, &has_fd))
			fail();
		b.len = 0;
		assert_true(msg_encode(&b, &answer, &fd));
		if (msg_decode(str_skip(buf_view(&b), 4), &m, &has_fd))
			fail();
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	print_message("DECIDE and GRANT, encoded and decoded: %.0f ns\n",
	    ((double)(t1.tv_sec - t0.tv_sec) * 1e9 +
	    (double)(t1.tv_nsec - t0.tv_nsec)) / ROUNDS);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipc_codec_keeps_every_message),
		cmocka_unit_test(test_ipc_codec_leaves_out_what_is_empty),
		cmocka_unit_test(test_ipc_codec_judges_foreign_frames),
		cmocka_unit_test(test_ipc_codec_survives_depth),
		cmocka_unit_test(test_ipc_codec_keeps_the_bounds),
		cmocka_unit_test(test_ipc_link_carries_messages_in_order),
		cmocka_unit_test(test_ipc_link_joins_split_frames),
		cmocka_unit_test(test_ipc_link_passes_descriptors_in_order),
		cmocka_unit_test(test_ipc_link_closes_unwanted_descriptors),
		cmocka_unit_test(test_ipc_link_wants_hello_first),
		cmocka_unit_test(test_ipc_link_takes_a_newer_minor_version),
		cmocka_unit_test(test_ipc_link_tells_of_a_cut_message),
		cmocka_unit_test(test_ipc_link_may_be_closed_by_its_callback),
		cmocka_unit_test(test_ipc_link_delivers_last_words),
		cmocka_unit_test(test_ipc_link_carries_large_messages),
		cmocka_unit_test(
		    test_ipc_link_ends_when_the_peer_stops_reading),
		cmocka_unit_test(test_ipc_codec_speed),
	};

	loop = ev_loop_new(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
