/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include <openssl/ssl.h>

#include "tests/unit/stream_play.h"

#define MIB ((size_t)1 << 20)
#define TINY 4096		/* of a send buffer */
/* What TLS adds to a chunk: 22 bytes a record, and a little for messages. */
#define TLS_EXTRA 1024

static struct cert ca, one;
static struct tls_trust *trust;
static struct tls_tickets tickets;
static struct tls_server *server;
static struct tls_client *client;

static int setup_all(void **state)
{
	struct tls_pair pair = { .name = "test", .min_version = 12 };
	struct tls_peer peer = { .name = "b", .host = "one.example",
		.min_version = 12 };

	(void)state;
	tlsctx_warm_up();
	ca = cert_make("ca", NULL, NULL);
	one = cert_make("one", "DNS:one.example", &ca);
	trust = tls_trust_new(ca.pem, NULL);
	pair.certificate = one.pem;
	pair.key = one.key_pem;
	server = tls_server_new(&pair, 1, &tickets, NULL);
	peer.trust = trust;
	client = tls_client_new(&peer, NULL);
	return trust && server && client ? 0 : -1;
}

static int teardown_all(void **state)
{
	(void)state;
	tls_client_free(&client);
	tls_server_free(&server);
	tls_trust_free(&trust);
	cert_free(&one);
	cert_free(&ca);
	return 0;
}

static void open_play(struct play *p, bool tls, int sndbuf)
{
	play_open(p, sndbuf);
	if (!tls) {
		side_run(&p->client);
		side_run(&p->server);
		return;
	}
	play_tls(p, client, server);
	play_handshake(p);
	if (!p->client.is_ready || !p->server.is_ready)
		fail_msg("client: %s; server: %s", p->client.err.text,
		    p->server.err.text);
}

static bool client_has_echo(struct play *p)
{
	return p->client.received == p->client.to_send || p->client.end;
}

static bool server_has_end(struct play *p)
{
	return p->server.end != STREAM_OK;
}

static bool both_have_end(struct play *p)
{
	return p->client.end && p->server.end;
}

/* --- echo, back-pressure -------------------------------------------------- */

static void echo(bool tls, size_t n, int sndbuf)
{
	struct play p;

	open_play(&p, tls, sndbuf);
	p.server.echoes = true;
	p.client.to_send = n;
	side_run(&p.client);
	play_until(&p, client_has_echo);
	assert_int_equal(p.client.received, n);
	assert_in_range(p.client.most_unsent, 0, PLAY_CHUNK + TLS_EXTRA);
	assert_in_range(p.server.most_unsent, 0, PLAY_CHUNK + TLS_EXTRA);
	if (sndbuf && n > MIB)
		assert_true(p.client.most_unsent > 0);
	play_close(&p);
}

static void test_stream_echoes(void **state)
{
	(void)state;
	echo(false, 1, 0);
	echo(true, 1, 0);
	echo(false, 10 * MIB, 0);
	echo(true, 10 * MIB, 0);
}

static void test_stream_echoes_through_tiny_buffers(void **state)
{
	(void)state;
	echo(false, 10 * MIB, TINY);
	echo(true, 10 * MIB, TINY);
}

/* A reader that stops reading stops the writer, too. */
static bool client_is_blocked(struct play *p)
{
	return stream_unsent(&p->client.stream) > 0;
}

static void blocked(bool tls)
{
	struct play p;
	size_t sent, unsent;

	open_play(&p, tls, TINY);
	p.server.is_paused = true;
	side_run(&p.server);
	p.client.to_send = MIB;
	side_run(&p.client);
	play_until(&p, client_is_blocked);
	sent = p.client.sent;
	unsent = stream_unsent(&p.client.stream);
	for (int i = 0; i < 3; i++)
		ev_run(p.loop, EVRUN_NOWAIT);
	assert_int_equal(p.client.sent, sent);
	assert_int_equal(stream_unsent(&p.client.stream), unsent);
	p.server.is_paused = false;
	p.server.echoes = true;
	side_run(&p.server);
	play_until(&p, client_has_echo);
	assert_int_equal(p.client.received, MIB);
	play_close(&p);
}

static void test_stream_waits_for_a_slow_reader(void **state)
{
	(void)state;
	blocked(false);
	blocked(true);
}

/* However fast the peer sends, others get their turn; and what was left is
 * not forgotten. */
static void fair(bool tls)
{
	struct play p;

	open_play(&p, tls, 4 << 20);
	p.server.is_paused = true;
	side_run(&p.server);
	p.client.to_send = 10 * MIB;
	side_run(&p.client);
	play_until(&p, client_is_blocked);
	p.server.is_paused = false;
	side_run(&p.server);
	p.client.echoes = false;
	p.server.echoes = true;
	play_until(&p, client_has_echo);
	assert_int_equal(p.client.received, 10 * MIB);
	assert_in_range(p.server.most_in_turn, 1, 17 * PLAY_CHUNK);
	assert_in_range(p.client.most_in_turn, 1, 17 * PLAY_CHUNK);
	play_close(&p);
}

static void test_stream_reads_a_bounded_part_in_a_turn(void **state)
{
	(void)state;
	fair(false);
	fair(true);
}

/* --- ends ----------------------------------------------------------------- */

static void half_close(bool tls)
{
	struct play p;

	open_play(&p, tls, TINY);
	p.client.to_send = MIB;
	p.client.ends = true;
	p.server.is_paused = true;
	side_run(&p.server);
	side_run(&p.client);
	play_until(&p, client_is_blocked);
	p.server.is_paused = false;
	side_run(&p.server);
	play_until(&p, server_has_end);
	assert_int_equal(p.server.end, STREAM_EOF);
	assert_int_equal(p.server.received, MIB);
	assert_int_equal(p.client.end, STREAM_OK);
	/* the other direction goes on */
	p.server.to_send = MIB;
	p.server.ends = true;
	side_run(&p.server);
	play_until(&p, both_have_end);
	assert_int_equal(p.client.end, STREAM_EOF);
	assert_int_equal(p.client.received, MIB);
	stream_shutdown(&p.client.stream);
	play_close(&p);
}

static void test_stream_half_closes(void **state)
{
	(void)state;
	half_close(false);
	half_close(true);
}

/* The end stands behind what could not be sent yet. */
static void test_stream_shuts_down_behind_unsent(void **state)
{
	static char bytes[MIB];
	struct play p;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		open_play(&p, tls, TINY);
		p.server.is_paused = true;
		side_run(&p.server);
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = play_pattern(i);
		stream_write(&p.client.stream, bytes, sizeof bytes);
		stream_shutdown(&p.client.stream);
		assert_true(stream_unsent(&p.client.stream) > 0);
		stream_shutdown(&p.client.stream);
		side_run(&p.client);
		p.server.is_paused = false;
		side_run(&p.server);
		play_until(&p, server_has_end);
		assert_int_equal(p.server.end, STREAM_EOF);
		assert_int_equal(p.server.received, MIB);
		assert_int_equal(stream_unsent(&p.client.stream), 0);
		play_close(&p);
	}
}

static void test_stream_close_is_eof_for_the_peer(void **state)
{
	struct play p;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		open_play(&p, tls, 0);
		p.client.to_send = 100;
		side_run(&p.client);
		stream_close(&p.client.stream);
		assert_false(stream_is_open(&p.client.stream));
		stream_close(&p.client.stream);
		play_until(&p, server_has_end);
		assert_int_equal(p.server.end, STREAM_EOF);
		assert_int_equal(p.server.received, 100);
		play_close(&p);
	}
}

static void test_stream_fin_without_close_notify_is_eof(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, true, 0);
	shutdown(p.client.stream.io.fd, SHUT_WR);
	play_until(&p, server_has_end);
	assert_int_equal(p.server.end, STREAM_EOF);
	play_close(&p);
}

static void test_stream_may_close_in_its_callback(void **state)
{
	struct play p;
	struct side a, b;

	(void)state;
	open_play(&p, true, 0);
	play_pair(&p, &a, &b, 0);
	stream_write(&p.client.stream, "x", 1);
	assert_int_equal(stream_flush(&p.client.stream), STREAM_OK);
	/* closed while an event waits, and its number used again */
	int fd = p.server.stream.io.fd;
	stream_close(&p.server.stream);
	int again = dup(b.stream.io.fd);
	assert_int_equal(again, fd);
	side_open(&p, &p.server, again);
	side_run(&p.server);
	stream_close(&b.stream);
	a.to_send = 10;
	a.ends = true;
	side_run(&a);
	play_until(&p, server_has_end);
	assert_int_equal(p.server.end, STREAM_EOF);
	assert_int_equal(p.server.received, 10);
	stream_close(&a.stream);
	play_close(&p);
}

/* --- TCP ------------------------------------------------------------------ */

static int listen_on_loopback(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof at->v4;

	assert_true(addr_parse(at, STR("127.0.0.1:0")));
	assert_int_equal(bind(fd, &at->sa, len), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, &at->sa, &len), 0);
	return fd;
}

static void open_tcp(struct play *p, bool tls)
{
	struct addr at;
	int fd = listen_on_loopback(&at);
	struct err err;

	*p = (struct play){ .loop = ev_loop_new(EVFLAG_NOENV) };
	stream_loop_init(&p->streams, p->loop, PLAY_CHUNK);
	side_open(p, &p->client, -1);
	assert_true(stream_connect(&p->client.stream, &at, NULL, &err));
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(peer >= 0);
	side_open(p, &p->server, peer);
	close(fd);
	if (tls)
		play_tls(p, client, server);
	play_handshake(p);
}

static void test_stream_connects(void **state)
{
	struct play p;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		open_tcp(&p, tls);
		assert_true(p.client.is_ready && p.server.is_ready);
		assert_true(stream_is_connected(&p.client.stream));
		p.server.echoes = true;
		p.client.to_send = 2 * MIB;
		side_run(&p.client);
		play_until(&p, client_has_echo);
		assert_int_equal(p.client.received, 2 * MIB);
		play_close(&p);
	}
}

/* What is written before TCP has answered is not lost. */
static void test_stream_writes_before_it_is_connected(void **state)
{
	struct addr at;
	int fd = listen_on_loopback(&at);
	struct err err;
	struct play p;

	(void)state;
	play_open(&p, 0);
	stream_close(&p.client.stream);
	stream_close(&p.server.stream);
	p.client.ends = true;
	p.client.to_send = 3 * MIB;
	assert_true(stream_connect(&p.client.stream, &at, NULL, &err));
	side_run(&p.client);
	side_open(&p, &p.server, accept4(fd, NULL, NULL, SOCK_NONBLOCK |
	    SOCK_CLOEXEC));
	side_run(&p.server);
	play_until(&p, server_has_end);
	assert_int_equal(p.server.received, 3 * MIB);
	close(fd);
	play_close(&p);
}

static bool client_has_end(struct play *p)
{
	return p->client.end != STREAM_OK;
}

static void test_stream_refused_connection_fails(void **state)
{
	struct addr at;
	struct err err = { "" };
	struct play p;

	(void)state;
	close(listen_on_loopback(&at));
	play_open(&p, 0);
	stream_close(&p.client.stream);
	/* the kernel may know it at once on loopback */
	if (stream_connect(&p.client.stream, &at, NULL, &err)) {
		p.client.to_send = 10;
		side_run(&p.client);
		play_until(&p, client_has_end);
		assert_int_equal(p.client.end, STREAM_FAILED);
		assert_true(stream_is_broken(&p.client.stream));
		assert_string_equal(stream_error(&p.client.stream),
		    strerror(ECONNREFUSED));
	} else {
		assert_string_equal(err.text, "connect: Connection refused");
		assert_false(stream_is_open(&p.client.stream));
	}
	play_close(&p);
}

static void test_stream_reset_is_a_failure(void **state)
{
	struct linger now = { .l_onoff = 1 };
	struct play p;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		open_tcp(&p, tls);
		setsockopt(p.client.stream.io.fd, SOL_SOCKET, SO_LINGER, &now,
		    sizeof now);
		/* without a word of TLS */
		ev_io_stop(p.loop, &p.client.stream.io);
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(dup2(null, p.client.stream.io.fd) >= 0);
		close(null);
		play_until(&p, server_has_end);
		assert_int_equal(p.server.end, STREAM_FAILED);
		assert_int_equal(p.server.stream.error, ECONNRESET);
		/* nothing more is tried */
		stream_write(&p.server.stream, "x", 1);
		assert_int_equal(stream_flush(&p.server.stream),
		    STREAM_FAILED);
		stream_want(&p.server.stream, true);
		assert_false(ev_is_active(&p.server.stream.io));
		play_close(&p);
	}
}

static void test_stream_write_to_a_gone_peer_fails(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, false, 0);
	stream_close(&p.server.stream);
	stream_write(&p.client.stream, "x", 1);
	assert_int_equal(stream_flush(&p.client.stream), STREAM_FAILED);
	assert_int_equal(p.client.stream.send_error, EPIPE);
	stream_write(&p.client.stream, "x", 1);
	stream_shutdown(&p.client.stream);
	play_close(&p);
}

/* --- input that was read already ------------------------------------------ */

static void assert_reads(struct stream *s, const char *want)
{
	char got[256];
	size_t n;

	assert_int_equal(stream_read(s, got, sizeof got, &n), STREAM_OK);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, n);
}

static void test_stream_unread_comes_first(void **state)
{
	struct play p;
	char got[4];
	size_t n;

	(void)state;
	open_play(&p, false, 0);
	struct stream *s = &p.server.stream;
	assert_false(stream_has_input(s));
	stream_unread(s, "cd", 2);
	stream_unread(s, "ab", 2);
	assert_true(stream_has_input(s));
	assert_int_equal(stream_read(s, got, 1, &n), STREAM_OK);
	assert_int_equal(got[0], 'a');
	stream_unread(s, "A", 1);
	assert_reads(s, "Abcd");
	assert_false(stream_has_input(s));
	assert_int_equal(stream_read(s, got, sizeof got, &n), STREAM_AGAIN);
	stream_unread(s, "x", 1);
	stream_drop_input(s);
	assert_int_equal(stream_read(s, got, sizeof got, &n), STREAM_AGAIN);
	play_close(&p);
}

/* A PROXY header is read in the clear, with what stands behind it. */
static void unread_before_tls(size_t piece)
{
	struct play p;
	char got[PLAY_CHUNK];
	size_t n;

	play_open(&p, 0);
	stream_write(&p.client.stream, "HEAD", 4);
	stream_tls_connect(&p.client.stream, client);
	side_run(&p.client);
	p.server.stream.is_drained = false;	/* as an event would */
	assert_int_equal(stream_read(&p.server.stream, got, piece, &n),
	    STREAM_OK);
	assert_true(n > 4);
	assert_memory_equal(got, "HEAD", 4);
	stream_unread(&p.server.stream, got + 4, n - 4);
	stream_tls_accept(&p.server.stream, server);
	play_handshake(&p);
	assert_true(p.client.is_ready && p.server.is_ready);
	p.server.echoes = true;
	p.client.to_send = 1000;
	side_run(&p.client);
	play_until(&p, client_has_echo);
	assert_int_equal(p.client.received, 1000);
	play_close(&p);
}

static void test_stream_unread_before_tls(void **state)
{
	(void)state;
	unread_before_tls(5);
	unread_before_tls(100);
	unread_before_tls(PLAY_CHUNK);
}

/* --- the shared buffers --------------------------------------------------- */

/* Streams of one loop that read by turns, in small pieces, what has come to
 * them in one go: the buffer that they share changes hands with bytes in it. */
static void test_stream_readers_alternate(void **state)
{
	static const size_t pieces[] = { 1, 10, 333, 5000 };
	struct play a, b;

	(void)state;
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		open_play(&a, true, 0);
		b = (struct play){ .loop = a.loop };
		play_pair(&a, &b.client, &b.server, 0);
		play_tls(&b, client, server);
		play_handshake(&b);
		struct side *sides[] = { &a.server, &b.server };
		size_t total = 40 * 100;
		for (size_t k = 0; k < total; k += 100) {
			char record[100];
			for (size_t m = 0; m < 100; m++)
				record[m] = play_pattern(k + m);
			stream_write(&a.client.stream, record, 100);
			stream_write(&b.client.stream, record, 100);
		}
		(void)stream_flush(&a.client.stream);
		(void)stream_flush(&b.client.stream);
		a.server.stream.is_drained = b.server.stream.is_drained =
		    false;
		for (int turn = 0; a.server.received + b.server.received <
		    2 * total; turn++) {
			struct side *s = sides[turn % 2];
			char got[5000];
			size_t n;
			if (s->received == total)
				continue;
			assert_int_equal(stream_read(&s->stream, got,
			    pieces[i], &n), STREAM_OK);
			for (size_t m = 0; m < n; m++)
				assert_int_equal(got[m],
				    play_pattern(s->received + m));
			s->received += n;
		}
		assert_false(stream_has_input(&a.server.stream));
		assert_false(stream_has_input(&b.server.stream));
		stream_close(&b.client.stream);
		stream_close(&b.server.stream);
		play_close(&a);
	}
}

/* OpenSSL is not even asked when nothing can have come: the shared buffer
 * stays with who has it. What waits inside is found all the same. */
static void test_stream_asks_tls_only_when_something_came(void **state)
{
	struct play p;
	char got[10];
	size_t n;

	(void)state;
	open_play(&p, true, 0);
	struct stream *s = &p.server.stream, *c = &p.client.stream;
	stream_write(c, "abcdefghij", 10);
	(void)stream_flush(c);
	s->is_drained = c->is_drained = false;
	assert_int_equal(stream_read(s, got, 4, &n), STREAM_OK);
	assert_true(s->is_drained);
	assert_int_equal(stream_read(s, got, 10, &n), STREAM_OK);
	assert_int_equal(n, 6);
	assert_int_equal(stream_read(c, got, 10, &n), STREAM_AGAIN);
	assert_ptr_equal(p.streams.reader, c);
	assert_int_equal(stream_read(s, got, 10, &n), STREAM_AGAIN);
	assert_ptr_equal(p.streams.reader, c);
	s->is_drained = false;
	assert_int_equal(stream_read(s, got, 10, &n), STREAM_AGAIN);
	assert_ptr_equal(p.streams.reader, s);
	play_close(&p);
}

/* Of two plays on one loop: set before play_until(). */
static struct play *other_play;
static size_t expected;

static bool both_servers_have(struct play *p)
{
	return p->server.received == expected &&
	    other_play->server.received == expected;
}

static bool server_has(struct play *p)
{
	return p->server.received == expected;
}

static bool client_has(struct play *p)
{
	return p->client.received == expected;
}

static void test_stream_writers_alternate(void **state)
{
	struct play a, b;
	size_t total = 0;

	(void)state;
	open_play(&a, true, TINY);
	b = (struct play){ .loop = a.loop };
	play_pair(&a, &b.client, &b.server, TINY);
	play_tls(&b, client, server);
	play_handshake(&b);
	for (int turn = 0; turn < 200; turn++) {
		char piece[300];
		for (size_t m = 0; m < sizeof piece; m++)
			piece[m] = play_pattern(total + m);
		stream_write(&a.client.stream, piece, sizeof piece);
		stream_write(&b.client.stream, piece, sizeof piece);
		total += sizeof piece;
	}
	assert_true(stream_unsent(&a.client.stream) > 0);
	/* the owners are only called for their own events: who was flushed
	 * for another's sake must be sent on nevertheless */
	stream_want(&a.client.stream, true);
	stream_want(&b.client.stream, true);
	expected = total;
	other_play = &b;
	play_until(&a, both_servers_have);
	assert_int_equal(stream_unsent(&a.client.stream), 0);
	stream_close(&b.client.stream);
	stream_close(&b.server.stream);
	play_close(&a);
}

/* stream_want() is the last word of a turn: nothing waits behind it that no
 * event would bring out. */
static void test_stream_want_leaves_nothing_unflushed(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, true, 0);
	stream_write(&p.client.stream, "\0\1\2", 3);
	stream_want(&p.client.stream, true);
	expected = 3;
	play_until(&p, server_has);
	play_close(&p);
}

/* A peer that renews its keys gets its answer though nothing is written. */
static void test_stream_answers_a_key_update(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, true, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(SSL_key_update(p.client.stream.ssl,
		    SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(p.client.stream.ssl), 1);
		p.client.to_send += 10;
		side_run(&p.client);
		expected = p.client.to_send;
		play_until(&p, server_has);
	}
	p.server.to_send = 10;
	side_run(&p.server);
	expected = 10;
	play_until(&p, client_has);
	play_close(&p);
}

static void test_stream_owns_nothing_when_idle(void **state)
{
	struct play p;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		open_play(&p, tls, TINY);
		p.server.echoes = true;
		p.client.to_send = MIB / 8;
		side_run(&p.client);
		play_until(&p, client_has_echo);
		struct stream *both[] = { &p.client.stream, &p.server.stream };
		for (int i = 0; i < 2; i++) {
			assert_null(both[i]->in);
			assert_null(both[i]->out);
			assert_false(stream_has_input(both[i]));
			assert_int_equal(stream_unsent(both[i]), 0);
			assert_int_equal(stream_flush(both[i]), STREAM_OK);
			assert_int_equal(both[i]->io.events & EV_WRITE, 0);
		}
		assert_null(p.streams.writer);
		play_close(&p);
	}
}

/* --- handshakes that fail ------------------------------------------------- */

static void talk_to(bool to_server, const char *bytes, size_t n,
    const char *why)
{
	struct play p;
	struct side *us = NULL;

	play_open(&p, 0);
	if (to_server) {
		us = &p.server;
		stream_tls_accept(&us->stream, server);
		stream_write(&p.client.stream, bytes, n);
		stream_shutdown(&p.client.stream);
	} else {
		us = &p.client;
		stream_tls_connect(&us->stream, client);
		stream_write(&p.server.stream, bytes, n);
		stream_shutdown(&p.server.stream);
	}
	side_run(us);
	play_until(&p, to_server ? server_has_end : client_has_end);
	assert_int_equal(us->end, STREAM_FAILED);
	if (!strstr(us->err.text, why))
		fail_msg("\"%s\" does not say %s", us->err.text, why);
	assert_string_equal(stream_error(&us->stream), "TLS protocol error");
	play_close(&p);
}

static void test_stream_handshake_fails_on_other_bytes(void **state)
{
	static const char http[] = "GET / HTTP/1.0\r\n\r\n";
	static const char imap[] = "* OK IMAP4rev1 ready\r\n";

	(void)state;
	talk_to(true, http, sizeof http - 1, "TLS: ");
	talk_to(true, imap, sizeof imap - 1, "TLS: ");
	talk_to(false, imap, sizeof imap - 1, "TLS: ");
	talk_to(true, "\x16\x03\x01\xff\xff", 5, "TLS: ");
	talk_to(true, "", 0, "closed");
	talk_to(false, "", 0, "closed");
	talk_to(true, "\x16", 1, "closed");
}

static void test_stream_handshake_survives_small_buffers(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, true, 1);
	assert_true(p.client.is_ready && p.server.is_ready);
	play_close(&p);
}

static void test_stream_close_during_a_handshake(void **state)
{
	struct play p;

	(void)state;
	play_open(&p, 0);
	play_tls(&p, client, server);
	side_run(&p.client);
	stream_close(&p.client.stream);
	side_run(&p.server);
	play_until(&p, server_has_end);
	assert_int_equal(p.server.end, STREAM_FAILED);
	stream_shutdown(&p.server.stream);
	play_close(&p);
}

static void test_stream_info_is_empty_without_tls(void **state)
{
	struct stream_tls_info info;
	struct play p;

	(void)state;
	open_play(&p, false, 0);
	stream_tls_info(&p.client.stream, &info);
	assert_false(stream_is_tls(&p.client.stream));
	assert_string_equal(info.version, "");
	assert_string_equal(info.cipher, "");
	assert_int_equal(info.server_name.n + info.peer_name.n, 0);
	stream_set_priority(&p.client.stream, 1);
	assert_int_equal(ev_priority(&p.client.stream.io), 1);
	play_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_echoes),
		cmocka_unit_test(test_stream_echoes_through_tiny_buffers),
		cmocka_unit_test(test_stream_waits_for_a_slow_reader),
		cmocka_unit_test(test_stream_reads_a_bounded_part_in_a_turn),
		cmocka_unit_test(test_stream_half_closes),
		cmocka_unit_test(test_stream_shuts_down_behind_unsent),
		cmocka_unit_test(test_stream_close_is_eof_for_the_peer),
		cmocka_unit_test(test_stream_fin_without_close_notify_is_eof),
		cmocka_unit_test(test_stream_may_close_in_its_callback),
		cmocka_unit_test(test_stream_connects),
		cmocka_unit_test(test_stream_writes_before_it_is_connected),
		cmocka_unit_test(test_stream_refused_connection_fails),
		cmocka_unit_test(test_stream_reset_is_a_failure),
		cmocka_unit_test(test_stream_write_to_a_gone_peer_fails),
		cmocka_unit_test(test_stream_unread_comes_first),
		cmocka_unit_test(test_stream_unread_before_tls),
		cmocka_unit_test(test_stream_readers_alternate),
		cmocka_unit_test(test_stream_asks_tls_only_when_something_came),
		cmocka_unit_test(test_stream_writers_alternate),
		cmocka_unit_test(test_stream_want_leaves_nothing_unflushed),
		cmocka_unit_test(test_stream_answers_a_key_update),
		cmocka_unit_test(test_stream_owns_nothing_when_idle),
		cmocka_unit_test(test_stream_handshake_fails_on_other_bytes),
		cmocka_unit_test(test_stream_handshake_survives_small_buffers),
		cmocka_unit_test(test_stream_close_during_a_handshake),
		cmocka_unit_test(test_stream_info_is_empty_without_tls),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
