/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef UNIT_STREAM_PLAY_H
#define UNIT_STREAM_PLAY_H
/*
 * stream_play - two streams on one loop, and certificates for them
 *
 *	play_open()  ->  play_tls()  ->  play_handshake()  ->  play_until()
 *
 * A side does what its fields say whenever it is called: it shakes hands,
 * reads and compares, writes its part of the pattern, ends its direction.
 * Include it behind cmocka.h.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "proxy/base/mem.h"
#include "proxy/base/stream.h"
#include "proxy/base/tlsctx.h"

#define PLAY_CHUNK 16384
#define PLAY_LIMIT_S 10.

/* --- certificates --------------------------------------------------------- */

struct cert {
	X509 *x509;
	EVP_PKEY *key;
	struct str pem, key_pem;
};

static inline struct str play_bio_text(BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	char *copy = mem_str((struct str){ p, (size_t)n });

	BIO_free(b);
	return (struct str){ copy, (size_t)n };
}

static inline void play_extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* alt: as in "DNS:a.example,IP:127.0.0.1"; NULL: none. ca NULL: a CA that
 * signs itself. */
static inline struct cert cert_make(const char *cn, const char *alt,
    const struct cert *ca)
{
	static long serial = 1;
	struct cert c = { .x509 = X509_new(), .key = EVP_EC_gen("P-256") };
	X509_NAME *name = X509_get_subject_name(c.x509);

	X509_set_version(c.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x509), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c.x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c.x509), 3600);
	X509_set_pubkey(c.x509, c.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
	    (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(c.x509, ca ? X509_get_subject_name(ca->x509) :
	    name);
	play_extend(c.x509, NID_basic_constraints,
	    ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (alt)
		play_extend(c.x509, NID_subject_alt_name, alt);
	assert_true(X509_sign(c.x509, ca ? ca->key : c.key, EVP_sha256()) > 0);
	BIO *b = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, c.x509);
	PEM_write_bio_PrivateKey(k, c.key, NULL, NULL, 0, NULL, NULL);
	c.pem = play_bio_text(b);
	c.key_pem = play_bio_text(k);
	return c;
}

/* The text of play_bio_text(). */
static inline void play_free_text(struct str text)
{
	char *p;

	memcpy(&p, &text.p, sizeof p);
	free(p);
}

static inline void cert_free(struct cert *c)
{
	play_free_text(c->pem);
	play_free_text(c->key_pem);
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
}

/* --- sides ---------------------------------------------------------------- */

struct side {
	struct stream stream;
	size_t to_send, sent, received;	/* of the pattern */
	size_t most_unsent, most_in_turn;
	bool echoes;		/* sends what it has received */
	bool ends;		/* shuts down behind the last byte */
	bool is_ready;		/* the handshake is done */
	bool is_paused;		/* reads nothing */
	enum stream_verdict end;	/* EOF or FAILED, once it came */
	struct err err;
};

struct play {
	struct ev_loop *loop;
	struct stream_loop streams;
	struct side client, server;
	bool is_late;
};

static inline char play_pattern(size_t i)
{
	return (char)(i ^ i >> 8 ^ i >> 16);
}

static inline void side_write(struct side *s)
{
	size_t most = s->echoes ? s->received : s->to_send;
	char piece[PLAY_CHUNK];

	while (s->sent < most && !stream_unsent(&s->stream) &&
	    !s->stream.has_shutdown && !s->stream.error) {
		size_t n = most - s->sent;
		if (n > sizeof piece)
			n = sizeof piece;
		for (size_t i = 0; i < n; i++)
			piece[i] = play_pattern(s->sent + i);
		stream_write(&s->stream, piece, n);
		s->sent += n;
		(void)stream_flush(&s->stream);
		if (s->most_unsent < stream_unsent(&s->stream))
			s->most_unsent = stream_unsent(&s->stream);
	}
	if (s->ends && !s->stream.has_shutdown &&
	    (s->echoes ? s->end == STREAM_EOF && s->sent == s->received :
	    s->sent == s->to_send))
		stream_shutdown(&s->stream);
}

static inline void side_read(struct side *s)
{
	char *to = s->stream.loop->scratch;
	size_t before = s->received, n;

	/* an echo that is not taken stops the reading */
	while (!s->end && !(s->echoes && stream_unsent(&s->stream))) {
		enum stream_verdict v = stream_read(&s->stream, to, PLAY_CHUNK,
		    &n);
		if (v == STREAM_EOF || v == STREAM_FAILED)
			s->end = v;
		if (v != STREAM_OK)
			break;
		for (size_t i = 0; i < n; i++)
			if (to[i] != play_pattern(s->received + i))
				fail_msg("byte %zu", s->received + i);
		s->received += n;
		if (s->echoes)
			side_write(s);
	}
	if (s->most_in_turn < s->received - before)
		s->most_in_turn = s->received - before;
}

static inline void side_run(struct side *s)
{
	if (!s->is_ready) {
		switch (stream_handshake(&s->stream, &s->err)) {
		case STREAM_OK:
			s->is_ready = true;
			break;
		case STREAM_AGAIN:
			stream_want(&s->stream, true);
			return;
		case STREAM_EOF:
		case STREAM_FAILED:
			s->end = STREAM_FAILED;
			stream_want(&s->stream, false);
			return;
		}
	}
	if (!s->is_paused)
		side_read(s);
	side_write(s);
	if (stream_flush(&s->stream) == STREAM_FAILED)
		s->end = STREAM_FAILED;
	stream_want(&s->stream, !s->is_paused &&
	    !(s->echoes && stream_unsent(&s->stream)));
}

static inline void play_on_stream(struct stream *stream, int revents)
{
	(void)revents;
	side_run(stream->owner);
}

/* --- the play ------------------------------------------------------------- */

static inline void play_on_late(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct play *p = t->data;

	(void)revents;
	p->is_late = true;
	ev_break(loop, EVBREAK_ALL);
}

/* Runs turn by turn until done() says so. */
static inline void play_until(struct play *p, bool (*done)(struct play *p))
{
	ev_timer late;

	ev_now_update(p->loop);
	ev_timer_init(&late, play_on_late, PLAY_LIMIT_S, 0.);
	late.data = p;
	ev_timer_start(p->loop, &late);
	while (!done(p) && !p->is_late)
		ev_run(p->loop, EVRUN_ONCE);
	ev_timer_stop(p->loop, &late);
	if (p->is_late)
		fail_msg("stuck: client %zu sent %zu got, server %zu sent "
		    "%zu got", p->client.sent, p->client.received,
		    p->server.sent, p->server.received);
}

static inline void side_open(struct play *p, struct side *s, int fd)
{
	*s = (struct side){ .err.text = "" };
	stream_init(&s->stream, &p->streams, play_on_stream, s);
	if (fd >= 0)
		stream_adopt(&s->stream, fd);
}

/* A connected pair of the loop, with send buffers of so many bytes (0: as
 * the kernel likes). */
static inline void play_pair(struct play *p, struct side *a, struct side *b,
    int sndbuf)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2 && sndbuf; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &sndbuf,
		    sizeof sndbuf);
	side_open(p, a, fds[0]);
	side_open(p, b, fds[1]);
}

static inline void play_open(struct play *p, int sndbuf)
{
	*p = (struct play){ .loop = ev_loop_new(EVFLAG_NOENV) };
	stream_loop_init(&p->streams, p->loop, PLAY_CHUNK);
	play_pair(p, &p->client, &p->server, sndbuf);
}

static inline void play_close(struct play *p)
{
	stream_close(&p->client.stream);
	stream_close(&p->server.stream);
	stream_loop_fini(&p->streams);
	ev_loop_destroy(p->loop);
}

static inline void play_tls(struct play *p, struct tls_client *c,
    struct tls_server *s)
{
	stream_tls_connect(&p->client.stream, c);
	stream_tls_accept(&p->server.stream, s);
}

static inline bool play_both_settled(struct play *p)
{
	return (p->client.is_ready || p->client.end) &&
	    (p->server.is_ready || p->server.end);
}

/* The client's last flight is on its way even when it believes to be done,
 * so that a refusal by the server shows there. */
static inline void play_handshake(struct play *p)
{
	side_run(&p->server);
	side_run(&p->client);
	play_until(p, play_both_settled);
}
#endif
