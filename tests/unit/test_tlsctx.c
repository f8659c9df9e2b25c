/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "tests/unit/stream_play.h"

static struct cert ca, other_ca, one, two, wild, by_ip, jan;
static struct tls_trust *trust, *other_trust;
static struct tls_tickets tickets;

static int setup_all(void **state)
{
	(void)state;
	tlsctx_warm_up();
	ca = cert_make("ca", NULL, NULL);
	other_ca = cert_make("other ca", NULL, NULL);
	one = cert_make("one", "DNS:one.example", &ca);
	two = cert_make("two", "DNS:two.example", &ca);
	wild = cert_make("wild", "DNS:*.wild.example", &ca);
	by_ip = cert_make("ip", "IP:192.0.2.1,IP:2001:db8::1", &ca);
	jan = cert_make("jan", NULL, &ca);
	trust = tls_trust_new(ca.pem, NULL);
	other_trust = tls_trust_new(other_ca.pem, NULL);
	return trust && other_trust ? 0 : -1;
}

static int teardown_all(void **state)
{
	(void)state;
	cert_free(&ca);
	cert_free(&other_ca);
	cert_free(&one);
	cert_free(&two);
	cert_free(&wild);
	cert_free(&by_ip);
	cert_free(&jan);
	tls_trust_free(&trust);
	tls_trust_free(&other_trust);
	return 0;
}

static int setup(void **state)
{
	unsigned char key[TLS_TICKET_KEY_BYTES];

	(void)state;
	tickets = (struct tls_tickets){ 0 };
	RAND_bytes(key, sizeof key);
	tls_tickets_add(&tickets, key);
	return 0;
}

static struct tls_pair pair_of(const struct cert *c)
{
	return (struct tls_pair){ .name = "test", .certificate = c->pem,
		.key = c->key_pem, .min_version = 12 };
}

static struct tls_server *server_new(const struct tls_pair *pairs, size_t n)
{
	struct err err = { "" };
	struct tls_server *t = tls_server_new(pairs, n, &tickets, &err);

	if (!t)
		fail_msg("%s", err.text);
	return t;
}

static struct tls_server *server_of(const struct cert *c)
{
	struct tls_pair pair = pair_of(c);

	return server_new(&pair, 1);
}

static struct tls_peer peer_of(const char *host)
{
	return (struct tls_peer){ .name = "b1", .trust = trust, .host = host,
		.min_version = 12 };
}

static struct tls_client *client_new(const struct tls_peer *peer)
{
	struct err err = { "" };
	struct tls_client *t = tls_client_new(peer, &err);

	if (!t)
		fail_msg("%s", err.text);
	return t;
}

/* One connection and what became of it. */
struct result {
	bool client_ok, server_ok, is_resumed;
	char client_err[256], server_err[256];
	char version[16], name[256], sni[256], certificate[64], alpn[16];
};

struct want {			/* of the client */
	int max_version;	/* 0: any */
	const char *alpn;	/* in wire form; NULL: as it is; "": none */
};

static bool has_exchanged(struct play *p)
{
	return p->client.end || p->server.end ||
	    (p->client.received == p->client.to_send &&
	    p->server.received == p->server.to_send);
}

static void note(struct result *r, struct play *p)
{
	struct stream_tls_info info;
	const unsigned char *alpn;
	unsigned n;

	stream_tls_info(&p->server.stream, &info);
	snprintf(r->version, sizeof r->version, "%s", info.version);
	snprintf(r->name, sizeof r->name, "%.*s", STR_ARG(info.peer_name));
	snprintf(r->sni, sizeof r->sni, "%.*s", STR_ARG(info.server_name));
	r->is_resumed = info.is_resumed;
	stream_tls_info(&p->client.stream, &info);
	assert_int_equal(info.is_resumed, r->is_resumed);
	assert_int_equal(info.peer_name.n, 0);
	SSL_get0_alpn_selected(p->client.stream.ssl, &alpn, &n);
	snprintf(r->alpn, sizeof r->alpn, "%.*s", (int)n,
	    n ? (const char *)alpn : "");
	X509_NAME_get_text_by_NID(X509_get_subject_name(
	    SSL_get0_peer_certificate(p->client.stream.ssl)), NID_commonName,
	    r->certificate, sizeof r->certificate);
}

static struct result connect_with(struct tls_client *c, struct tls_server *s,
    const struct want *want)
{
	struct result r = { 0 };
	struct play p;

	play_open(&p, 0);
	play_tls(&p, c, s);
	if (want && want->max_version)
		SSL_set_max_proto_version(p.client.stream.ssl,
		    want->max_version);
	if (want && want->alpn)
		SSL_set_alpn_protos(p.client.stream.ssl,
		    (const unsigned char *)want->alpn,
		    (unsigned)strlen(want->alpn));
	/* a byte each way brings tickets, and alerts, to the client */
	p.client.to_send = p.server.to_send = 1;
	play_handshake(&p);
	play_until(&p, has_exchanged);
	r.client_ok = p.client.end != STREAM_FAILED && p.client.received == 1;
	r.server_ok = p.server.end != STREAM_FAILED && p.server.is_ready;
	snprintf(r.client_err, sizeof r.client_err, "%s", p.client.err.text);
	snprintf(r.server_err, sizeof r.server_err, "%s", p.server.err.text);
	if (r.client_ok && r.server_ok)
		note(&r, &p);
	play_close(&p);
	return r;
}

static void assert_ok(const struct result *r)
{
	if (!r->client_ok || !r->server_ok)
		fail_msg("client: %s; server: %s", r->client_err,
		    r->server_err);
}

static struct result connect_to(const struct cert *cert, const char *host)
{
	struct tls_server *s = server_of(cert);
	struct tls_peer peer = peer_of(host);
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s, NULL);

	tls_client_free(&c);
	tls_server_free(&s);
	return r;
}

/* --- who the peer is ------------------------------------------------------ */

static void test_tlsctx_agrees(void **state)
{
	struct result r = connect_to(&one, "one.example");

	(void)state;
	assert_ok(&r);
	assert_string_equal(r.version, "TLSv1.3");
	assert_string_equal(r.alpn, "imap");
	assert_string_equal(r.sni, "one.example");
	assert_string_equal(r.name, "");
	assert_string_equal(r.certificate, "one");
	assert_false(r.is_resumed);
}

static void test_tlsctx_verifies_the_name(void **state)
{
	static const struct {
		const struct cert *cert;
		const char *host;
		bool ok;
	} rows[] = {
		{ &one, "one.example", true },
		{ &one, "ONE.example", true },
		{ &one, "two.example", false },
		{ &one, "x.one.example", false },
		{ &wild, "a.wild.example", true },
		{ &wild, "wild.example", false },
		{ &wild, "a.b.wild.example", false },
		{ &by_ip, "192.0.2.1", true },
		{ &by_ip, "2001:db8::1", true },
		{ &by_ip, "192.0.2.2", false },
		{ &one, "192.0.2.1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct result r = connect_to(rows[i].cert, rows[i].host);
		if (r.client_ok != rows[i].ok)
			fail_msg("%s: %s", rows[i].host, r.client_err);
		if (!r.client_ok)
			assert_non_null(strstr(r.client_err,
			    "TLS certificate: "));
	}
}

static void test_tlsctx_refuses_an_unknown_ca(void **state)
{
	struct tls_server *s = server_of(&one);
	struct tls_peer peer = peer_of("one.example");
	peer.trust = other_trust;
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s, NULL);

	(void)state;
	assert_false(r.client_ok);
	assert_non_null(strstr(r.client_err, "TLS certificate: "));
	assert_false(r.server_ok);
	tls_client_free(&c);
	peer.trust = NULL;
	c = client_new(&peer);
	r = connect_with(c, s, NULL);
	assert_ok(&r);
	tls_client_free(&c);
	tls_server_free(&s);
}

/* --- ALPN, versions ------------------------------------------------------- */

static void test_tlsctx_speaks_imap_only(void **state)
{
	static const struct {
		const char *alpn, *agreed;
		bool ok;
	} rows[] = {
		{ "\4imap", "imap", true },
		{ "\2h2\4imap", "imap", true },
		{ "", "", true },
		{ "\2h2", "", false },
		{ "\10http/1.1\4pop3", "", false },
		{ "\5imaps", "", false },
		{ "\3ima", "", false },
	};
	struct tls_server *s = server_of(&one);
	struct tls_peer peer = peer_of("one.example");
	struct tls_client *c = client_new(&peer);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct result r = connect_with(c, s,
		    &(struct want){ .alpn = rows[i].alpn });
		if (r.client_ok != rows[i].ok || r.server_ok != rows[i].ok)
			fail_msg("row %zu: %s", i, r.server_err);
		assert_string_equal(r.alpn, rows[i].agreed);
	}
	tls_client_free(&c);
	tls_server_free(&s);
}

static bool version_works(int server_min, int client_max)
{
	struct tls_pair pair = pair_of(&one);
	pair.min_version = server_min;
	struct tls_server *s = server_new(&pair, 1);
	struct tls_peer peer = peer_of("one.example");
	peer.min_version = 10;
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s,
	    &(struct want){ .max_version = client_max });

	tls_client_free(&c);
	tls_server_free(&s);
	assert_int_equal(r.client_ok, r.server_ok);
	return r.client_ok;
}

static void test_tlsctx_least_version(void **state)
{
	(void)state;
	assert_true(version_works(12, TLS1_2_VERSION));
	assert_false(version_works(12, TLS1_1_VERSION));
	assert_false(version_works(12, TLS1_VERSION));
	assert_false(version_works(0, TLS1_1_VERSION));
	assert_false(version_works(13, TLS1_2_VERSION));
	assert_true(version_works(13, 0));
	assert_true(version_works(11, TLS1_1_VERSION));
	assert_false(version_works(11, TLS1_VERSION));
	assert_true(version_works(10, TLS1_VERSION));
}

/* --- SNI ------------------------------------------------------------------ */

static void test_tlsctx_sni_chooses(void **state)
{
	static const struct {
		const char *name, *certificate;
	} rows[] = {
		{ "one.example", "one" },
		{ "two.example", "two" },
		{ "TWO.Example", "two" },
		{ "a.wild.example", "wild" },
		{ "wild.example", "one" },
		{ "nobody.example", "one" },
		{ "192.0.2.1", "one" },		/* no SNI for addresses */
	};
	struct tls_pair pairs[] = { pair_of(&one), pair_of(&two),
		pair_of(&wild) };
	struct tls_server *s = server_new(pairs, 3);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_peer peer = peer_of(rows[i].name);
		peer.trust = NULL;
		struct tls_client *c = client_new(&peer);
		struct result r = connect_with(c, s, NULL);
		assert_ok(&r);
		if (strcmp(r.certificate, rows[i].certificate) != 0)
			fail_msg("%s: %s", rows[i].name, r.certificate);
		tls_client_free(&c);
	}
	tls_server_free(&s);
}

static bool sni_version_works(int first_min, int second_min, const char *host)
{
	struct tls_pair pairs[] = { pair_of(&one), pair_of(&two) };
	pairs[0].min_version = first_min;
	pairs[1].min_version = second_min;
	struct tls_server *s = server_new(pairs, 2);
	struct tls_peer peer = peer_of(host);
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s,
	    &(struct want){ .max_version = TLS1_2_VERSION });

	tls_client_free(&c);
	tls_server_free(&s);
	return r.client_ok;
}

static void test_tlsctx_sni_brings_its_version(void **state)
{
	(void)state;
	assert_true(sni_version_works(12, 13, "one.example"));
	assert_false(sni_version_works(12, 13, "two.example"));
	assert_false(sni_version_works(13, 12, "one.example"));
	assert_true(sni_version_works(13, 12, "two.example"));
}

/* --- client certificates -------------------------------------------------- */

/* The name that a server with these pairs knows the client by. */
static struct result show_certificate(const struct tls_pair *pairs, size_t n,
    const char *host, const struct cert *cert)
{
	struct tls_server *s = server_new(pairs, n);
	struct tls_peer peer = peer_of(host);

	if (cert) {
		peer.certificate = cert->pem;
		peer.key = cert->key_pem;
	}
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s, NULL);
	tls_client_free(&c);
	tls_server_free(&s);
	assert_ok(&r);
	return r;
}

static void test_tlsctx_certificate_names_the_user(void **state)
{
	static const struct {
		const char *cn, *alt, *name;
		bool is_ours;
	} rows[] = {
		{ "jan", NULL, "jan", true },
		{ "jan", "email:jan@example.org", "jan@example.org", true },
		{ "jan", "DNS:a.example,email:j@a.example,email:k@a.example",
		    "j@a.example", true },
		{ "jan", "DNS:a.example", "jan", true },
		{ "jan", "email:jan@example.org", "", false },
		{ "jan", NULL, "", false },
	};
	struct tls_pair pair = pair_of(&one);

	(void)state;
	pair.client_ca = ca.pem;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct cert c = cert_make(rows[i].cn, rows[i].alt,
		    rows[i].is_ours ? &ca : &other_ca);
		struct result r = show_certificate(&pair, 1, "one.example",
		    &c);
		if (strcmp(r.name, rows[i].name) != 0)
			fail_msg("row %zu: \"%s\"", i, r.name);
		cert_free(&c);
	}
	struct result r = show_certificate(&pair, 1, "one.example", NULL);
	assert_string_equal(r.name, "");
	/* nobody asks, nobody is named */
	pair.client_ca = STR_NONE;
	r = show_certificate(&pair, 1, "one.example", &jan);
	assert_string_equal(r.name, "");
}

/* One section asks, the other does not, whichever is first. */
static void test_tlsctx_sni_brings_its_client_ca(void **state)
{
	struct tls_pair pairs[] = { pair_of(&one), pair_of(&two) };
	struct cert stranger = cert_make("jan", NULL, &other_ca);

	(void)state;
	for (int asks = 0; asks < 2; asks++) {
		const char *asking = asks ? "two.example" : "one.example";
		const char *other = asks ? "one.example" : "two.example";
		pairs[asks].client_ca = ca.pem;
		pairs[!asks].client_ca = STR_NONE;
		struct result r = show_certificate(pairs, 2, asking, &jan);
		assert_string_equal(r.name, "jan");
		r = show_certificate(pairs, 2, asking, &stranger);
		assert_string_equal(r.name, "");
		r = show_certificate(pairs, 2, asking, NULL);
		assert_string_equal(r.name, "");
		r = show_certificate(pairs, 2, other, &jan);
		assert_string_equal(r.name, "");
	}
	cert_free(&stranger);
}

/* --- tickets -------------------------------------------------------------- */

static void add_random_key(struct tls_tickets *t)
{
	unsigned char key[TLS_TICKET_KEY_BYTES];

	assert_int_equal(RAND_bytes(key, sizeof key), 1);
	tls_tickets_add(t, key);
}

static void test_tlsctx_ticket_keys_rotate(void **state)
{
	struct tls_tickets t = { 0 };
	unsigned char key[TLS_TICKET_KEY_BYTES] = { 0 };

	(void)state;
	for (unsigned i = 1; i <= 6; i++) {
		key[0] = (unsigned char)i;
		tls_tickets_add(&t, key);
		assert_int_equal(t.n, i < TLS_TICKET_KEYS ? i :
		    TLS_TICKET_KEYS);
		assert_int_equal(t.keys[0][0], i);
	}
	assert_int_equal(t.keys[TLS_TICKET_KEYS - 1][0],
	    6 - TLS_TICKET_KEYS + 1);
	key[0] = 4;
	tls_tickets_add(&t, key);
	assert_int_equal(t.keys[0][0], 6);
}

static void resume(int max_version)
{
	struct want want = { .max_version = max_version };
	struct tls_tickets theirs = tickets;
	struct tls_pair pair = pair_of(&one);
	struct err err;
	struct tls_server *a = server_new(&pair, 1);
	struct tls_server *b = tls_server_new(&pair, 1, &theirs, &err);
	struct tls_peer peer = peer_of("one.example");
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, a, &want);

	assert_ok(&r);
	assert_false(r.is_resumed);
	for (int i = 0; i < 3; i++) {		/* another worker */
		r = connect_with(c, i % 2 ? a : b, &want);
		assert_ok(&r);
		assert_true(r.is_resumed);
	}
	for (int i = 1; i < TLS_TICKET_KEYS; i++) {
		tls_client_free(&c);
		c = client_new(&peer);
		r = connect_with(c, a, &want);
		assert_false(r.is_resumed);
		for (int k = 0; k < i; k++)
			add_random_key(&theirs);
		r = connect_with(c, b, &want);	/* by an older key */
		assert_ok(&r);
		assert_true(r.is_resumed);
		/* by the newest; OpenSSL's client does not tell of a ticket
		 * that TLS 1.2 renews, and drops the old one */
		r = connect_with(c, b, &want);
		assert_ok(&r);
		assert_int_equal(r.is_resumed, max_version == TLS1_3_VERSION);
		theirs = tickets;
	}
	tls_client_free(&c);
	c = client_new(&peer);
	r = connect_with(c, a, &want);
	for (int i = 0; i < TLS_TICKET_KEYS; i++)
		add_random_key(&theirs);
	r = connect_with(c, b, &want);
	assert_ok(&r);
	assert_false(r.is_resumed);
	tls_client_free(&c);
	tls_server_free(&a);
	tls_server_free(&b);
}

static void test_tlsctx_resumes_with_another_worker(void **state)
{
	(void)state;
	resume(TLS1_3_VERSION);
	resume(TLS1_2_VERSION);
}

static void test_tlsctx_resumes_no_session_of_another_ca(void **state)
{
	struct tls_pair pair = pair_of(&one);
	pair.client_ca = ca.pem;
	struct tls_server *a = server_new(&pair, 1);
	pair.client_ca = other_ca.pem;
	struct tls_server *b = server_new(&pair, 1);
	struct tls_peer peer = peer_of("one.example");
	peer.certificate = jan.pem;
	peer.key = jan.key_pem;
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, a, NULL);

	(void)state;
	assert_ok(&r);
	r = connect_with(c, a, NULL);
	assert_true(r.is_resumed);
	assert_string_equal(r.name, "jan");
	r = connect_with(c, b, NULL);
	assert_ok(&r);
	assert_false(r.is_resumed);
	assert_string_equal(r.name, "");
	tls_client_free(&c);
	tls_server_free(&a);
	tls_server_free(&b);
}

/* A session of one section says nothing about the other's client CA. */
static void test_tlsctx_resumes_by_section(void **state)
{
	struct tls_pair pairs[] = { pair_of(&one), pair_of(&two) };
	pairs[1].client_ca = ca.pem;
	struct tls_server *s = server_new(pairs, 2);
	struct tls_peer peer = peer_of("two.example");
	peer.certificate = jan.pem;
	peer.key = jan.key_pem;
	struct tls_client *c = client_new(&peer);
	struct result r = connect_with(c, s, NULL);

	(void)state;
	assert_ok(&r);
	r = connect_with(c, s, NULL);
	assert_ok(&r);
	assert_true(r.is_resumed);
	assert_string_equal(r.name, "jan");
	tls_client_free(&c);
	tls_server_free(&s);
}

static void test_tlsctx_works_without_ticket_keys(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_server *s = server_of(&one);
	struct tls_peer peer = peer_of("one.example");
	struct tls_client *c = client_new(&peer);

	(void)state;
	tickets.n = 0;
	for (int i = 0; i < 4; i++) {
		struct result r = connect_with(c, s,
		    &(struct want){ .max_version = versions[i / 2] });
		assert_ok(&r);
		assert_false(r.is_resumed);
	}
	tls_client_free(&c);
	tls_server_free(&s);
}

/* --- life and bad material ------------------------------------------------ */

static bool client_has_all(struct play *p)
{
	return p->client.received == p->client.to_send;
}

static void test_tlsctx_may_go_while_connections_live(void **state)
{
	struct tls_pair pairs[] = { pair_of(&one), pair_of(&two) };
	struct tls_server *s = server_new(pairs, 2);
	struct tls_peer peer = peer_of("one.example");
	struct tls_client *c = client_new(&peer);
	struct play p;

	(void)state;
	play_open(&p, 0);
	play_tls(&p, c, s);
	tls_server_free(&s);
	assert_null(s);
	tls_server_free(&s);
	play_handshake(&p);
	assert_true(p.client.is_ready && p.server.is_ready);
	p.client.to_send = 1000;
	p.server.echoes = true;
	side_run(&p.client);
	play_until(&p, client_has_all);
	play_close(&p);
	tls_client_free(&c);
	tls_client_free(&c);
}

static void assert_refused(const struct tls_pair *pair, const char *what)
{
	struct err err = { "" };
	struct tls_server *s = tls_server_new(pair, 1, &tickets, &err);

	assert_null(s);
	if (!strstr(err.text, what) || !strstr(err.text, "tls test: "))
		fail_msg("\"%s\" does not say %s", err.text, what);
	assert_int_equal(ERR_peek_error(), 0);
}

static void test_tlsctx_refuses_bad_material(void **state)
{
	struct tls_pair good = pair_of(&one), bad;
	BIO *b = BIO_new(BIO_s_mem());
	unsigned char pass[] = "pass";

	(void)state;
	bad = good;
	bad.certificate = STR("no PEM");
	assert_refused(&bad, "certificate: ");
	bad.certificate = STR_NONE;
	assert_refused(&bad, "certificate: ");
	bad = good;
	bad.key = STR("no PEM");
	assert_refused(&bad, "key: ");
	bad.key = two.key_pem;
	assert_refused(&bad, "key: ");
	PEM_write_bio_PrivateKey(b, one.key, EVP_aes_128_cbc(), pass, 4, NULL,
	    NULL);
	bad.key = play_bio_text(b);
	assert_refused(&bad, "key: ");
	play_free_text(bad.key);
	bad = good;
	bad.client_ca = STR("no PEM");
	assert_refused(&bad, "client_ca: ");
	bad = good;
	bad.ciphers = "no such cipher";
	assert_refused(&bad, "ciphers: ");
	bad = good;
	bad.ciphersuites = "no such suite";
	assert_refused(&bad, "ciphersuites: ");
}

static void test_tlsctx_client_refuses_bad_material(void **state)
{
	struct tls_peer peer = peer_of("one.example");
	struct err err = { "" };

	(void)state;
	assert_null(tls_trust_new(STR_NONE, &err));
	assert_null(tls_trust_new(STR("no PEM"), &err));
	assert_non_null(strstr(err.text, "ca: "));
	peer.certificate = jan.pem;
	peer.key = one.key_pem;
	assert_null(tls_client_new(&peer, &err));
	assert_non_null(strstr(err.text, "backend b1: key: "));
	/* without a name any certificate of the CA would do */
	peer = peer_of("");
	assert_null(tls_client_new(&peer, &err));
	peer.host = NULL;
	assert_null(tls_client_new(&peer, &err));
	assert_non_null(strstr(err.text, "backend b1: "));
}

/* How many certificates a client is shown. */
static int chain_length(const struct tls_pair *pair)
{
	struct tls_server *s = server_new(pair, 1);
	struct tls_peer peer = peer_of("one.example");
	struct tls_client *c = client_new(&peer);
	struct play p;

	play_open(&p, 0);
	play_tls(&p, c, s);
	play_handshake(&p);
	assert_true(p.client.is_ready);
	int n = sk_X509_num(SSL_get_peer_cert_chain(p.client.stream.ssl));
	play_close(&p);
	tls_client_free(&c);
	tls_server_free(&s);
	return n;
}

static void test_tlsctx_sends_the_chain(void **state)
{
	char *both = mem_printf("%.*s%.*s", STR_ARG(one.pem),
	    STR_ARG(ca.pem));
	struct tls_pair pair = pair_of(&one);

	(void)state;
	pair.certificate = str_from(both);
	assert_int_equal(chain_length(&pair), 2);
	free(both);
}

/* A CA that clients are verified by is no part of the server's own chain. */
static void test_tlsctx_sends_no_more_than_the_file(void **state)
{
	struct tls_pair pair = pair_of(&one);

	(void)state;
	pair.client_ca = ca.pem;
	assert_int_equal(chain_length(&pair), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(test_tlsctx_agrees),
		T(test_tlsctx_verifies_the_name),
		T(test_tlsctx_refuses_an_unknown_ca),
		T(test_tlsctx_speaks_imap_only),
		T(test_tlsctx_least_version),
		T(test_tlsctx_sni_chooses),
		T(test_tlsctx_sni_brings_its_version),
		T(test_tlsctx_certificate_names_the_user),
		T(test_tlsctx_sni_brings_its_client_ca),
		T(test_tlsctx_ticket_keys_rotate),
		T(test_tlsctx_resumes_with_another_worker),
		T(test_tlsctx_resumes_no_session_of_another_ca),
		T(test_tlsctx_resumes_by_section),
		T(test_tlsctx_works_without_ticket_keys),
		T(test_tlsctx_may_go_while_connections_live),
		T(test_tlsctx_refuses_bad_material),
		T(test_tlsctx_client_refuses_bad_material),
		T(test_tlsctx_sends_the_chain),
		T(test_tlsctx_sends_no_more_than_the_file),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
