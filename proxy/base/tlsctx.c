/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/tlsctx.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/mem.h"

struct tls_server {
	struct tls_tickets *tickets;
	size_t n;
	SSL_CTX *ctx[];		/* the first serves who names no other */
};

struct tls_trust {
	X509_STORE *store;
};

struct tls_client {
	SSL_CTX *ctx;
	SSL_SESSION *session;	/* the last ticket, to resume */
	char *host;
	bool verify;
};

void tlsctx_error(struct err *err)
{
	unsigned long e = ERR_get_error();
	char text[160];

	if (e)
		ERR_error_string_n(e, text, sizeof text);
	err_set(err, "TLS: %s", e ? text : "unknown error");
	ERR_clear_error();
}

void tlsctx_warm_up(void)
{
	unsigned char random[16];
	SSL_CTX *ctx;

	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS |
	    OPENSSL_INIT_LOAD_CONFIG, NULL);
	ctx = SSL_CTX_new(TLS_method());
	if (!ctx || RAND_bytes(random, sizeof random) != 1)
		die("OpenSSL cannot be initialised");
	SSL_CTX_free(ctx);
}

/* --- PEM from memory --------------------------------------------------- */

static BIO *pem_bio(struct str pem)
{
	return BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n);
}

/* A password prompt would block for ever. */
static int no_password(char *buf, int size, int rw, void *u)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)u;
	return 0;
}

static bool use_key(SSL_CTX *ctx, struct str pem, struct err *err)
{
	BIO *b = pem_bio(pem);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
	bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;

	if (!ok) {
		tlsctx_error(err);
		err_prefix(err, key ? "key" :
		    "key: expected an unencrypted private key in PEM form");
	} else if (SSL_CTX_check_private_key(ctx) != 1) {
		ERR_clear_error();
		ok = err_set(err, "key: is not the key of the certificate");
	}
	EVP_PKEY_free(key);
	BIO_free(b);
	return ok;
}

static bool use_certificate(SSL_CTX *ctx, struct str pem, struct err *err)
{
	BIO *b = pem_bio(pem);
	X509 *cert = PEM_read_bio_X509_AUX(b, NULL, no_password, NULL);
	bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;

	if (!ok) {
		ERR_clear_error();
		err_set(err, "certificate: expected a certificate in PEM form");
	}
	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(b, NULL, no_password, NULL)))
		if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
			X509_free(cert);
			tlsctx_error(err);
			ok = false;
		}
	ERR_clear_error();	/* the end of the chain is no error */
	BIO_free(b);
	return ok;
}

/* All certificates of a CA file; names: those to tell the peer, or NULL. */
static bool trust(X509_STORE *store, struct str pem, SSL_CTX *names,
    struct err *err)
{
	BIO *b = pem_bio(pem);
	size_t n = 0;
	X509 *cert;

	while ((cert = PEM_read_bio_X509_AUX(b, NULL, no_password, NULL))) {
		X509_STORE_add_cert(store, cert);
		if (names)
			SSL_CTX_add_client_CA(names, cert);
		X509_free(cert);
		n++;
	}
	ERR_clear_error();
	BIO_free(b);
	return n ? true :
	    err_set(err, "ca: expected certificates in PEM form, found none");
}

static int version_of(int v)
{
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION,
		TLS1_2_VERSION, TLS1_3_VERSION };

	return v >= 10 && v <= 13 ? versions[v - 10] : TLS1_2_VERSION;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method, int min_version)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		die("out of memory");
	/* the chain is what the file holds, not to be found for each hello */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF |
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	    SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_min_proto_version(ctx, version_of(min_version));
	/* TLS 1.0 and 1.1 need SHA-1 signatures: who asked for them gets them */
	if (min_version < 12)
		SSL_CTX_set_security_level(ctx, 0);
	return ctx;
}

/* --- tickets ----------------------------------------------------------- */

void tls_tickets_add(struct tls_tickets *t,
    const unsigned char key[TLS_TICKET_KEY_BYTES])
{
	for (unsigned i = 0; i < t->n; i++)
		if (memcmp(t->keys[i], key, TLS_TICKET_KEY_BYTES) == 0)
			return;
	if (t->n < TLS_TICKET_KEYS)
		t->n++;
	memmove(t->keys[1], t->keys[0], (t->n - 1) * sizeof t->keys[0]);
	memcpy(t->keys[0], key, TLS_TICKET_KEY_BYTES);
}

static bool ticket_mac(EVP_MAC_CTX *mac, unsigned char *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, 32),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
		    0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Returns as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) says: 1 use it, 2 use it
 * and give a fresh ticket, 0 go on without, -1 error. In TLS 1.3 clients use a
 * ticket only once (RFC 8446 C.4): without a fresh one every second login
 * would be a full one. */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
	struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	static EVP_CIPHER *aes;

	if (!aes)
		aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (t->n == 0)
		return 0;
	if (seal) {
		unsigned char *key = t->keys[0];
		memcpy(name, key, 16);
		return RAND_bytes(iv, 16) == 1 && EVP_EncryptInit_ex(cipher,
		    aes, NULL, key + 16, iv) == 1 &&
		    ticket_mac(mac, key + 48) ? 1 : -1;
	}
	for (unsigned i = 0; i < t->n; i++) {
		unsigned char *key = t->keys[i];
		if (memcmp(name, key, 16) != 0)
			continue;
		if (EVP_DecryptInit_ex(cipher, aes, NULL, key + 16, iv) != 1 ||
		    !ticket_mac(mac, key + 48))
			return -1;
		return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
	}
	return 0;
}

/* --- server ------------------------------------------------------------ */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
    const unsigned char *in, unsigned in_n, void *arg)
{
	(void)ssl;
	(void)arg;
	for (unsigned i = 0; i < in_n; i += 1u + in[i])
		if (in[i] == 4 && in_n - i > 4 &&
		    memcmp(in + i + 1, "imap", 4) == 0) {
			*out = in + i + 1;
			*out_n = 4;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* RFC 6066 §3: ServerNameList with one entry of type host_name. */
static struct str hello_name(SSL *ssl)
{
	const unsigned char *p;
	size_t n;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) !=
	    1 || n < 5 || p[2] != TLSEXT_NAMETYPE_host_name)
		return STR_NONE;
	size_t len = (size_t)p[3] << 8 | p[4];
	if (len > n - 5 || len > TLSEXT_MAXLEN_host_name)
		return STR_NONE;
	return (struct str){ (const char *)p + 5, len };
}

/* The certificate is chosen before anything else is negotiated, so that its
 * own TLS versions and client CA count as well. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *t = arg;
	struct str name = hello_name(ssl);

	(void)alert;
	for (size_t i = 0; name.n && i < t->n; i++) {
		X509 *cert = SSL_CTX_get0_certificate(t->ctx[i]);
		if (X509_check_host(cert, name.p, name.n, 0, NULL) != 1)
			continue;
		if (i == 0)
			break;
		SSL_set_SSL_CTX(ssl, t->ctx[i]);
		SSL_set_min_proto_version(ssl,
		    (int)SSL_CTX_get_min_proto_version(t->ctx[i]));
		/* NULL would keep the callback of the first, if it has one */
		SSL_set_verify(ssl, SSL_CTX_get_verify_mode(t->ctx[i]),
		    SSL_CTX_get_verify_callback(t->ctx[i]));
		break;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* A client whose certificate fails may still log in with a password: the
 * result is asked for where EXTERNAL is decided. */
static int on_client_certificate(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

/* Sessions resume only under the section that they were made under: another
 * one may trust other client certificates. */
static void set_session_context(SSL_CTX *ctx, const struct tls_pair *p)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_Digest(p->client_ca.p ? p->client_ca.p : "", p->client_ca.n, md,
	    &n, EVP_sha256(), NULL);
	SSL_CTX_set_session_id_context(ctx, md, n);
}

static SSL_CTX *server_ctx(const struct tls_pair *p, struct tls_server *t,
    struct err *err)
{
	SSL_CTX *ctx = ctx_new(TLS_server_method(), p->min_version);
	bool ok = use_certificate(ctx, p->certificate, err) &&
	    use_key(ctx, p->key, err);

	if (ok && p->ciphers && *p->ciphers &&
	    SSL_CTX_set_cipher_list(ctx, p->ciphers) != 1)
		ok = err_set(err, "ciphers: no known cipher in \"%s\"",
		    p->ciphers);
	if (ok && p->ciphersuites && *p->ciphersuites &&
	    SSL_CTX_set_ciphersuites(ctx, p->ciphersuites) != 1)
		ok = err_set(err, "ciphersuites: not understood: \"%s\"",
		    p->ciphersuites);
	if (ok && p->client_ca.n) {
		ok = trust(SSL_CTX_get_cert_store(ctx), p->client_ca, ctx,
		    err);
		err_prefix(ok ? NULL : err, "client_ca");
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_client_certificate);
	}
	if (!ok) {
		ERR_clear_error();
		err_prefix(err, "tls %s", p->name);
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	set_session_context(ctx, p);
	SSL_CTX_set_app_data(ctx, t->tickets);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	return ctx;
}

struct tls_server *tls_server_new(const struct tls_pair *pairs, size_t n,
    struct tls_tickets *tickets, struct err *err)
{
	must(n > 0 && tickets);
	struct tls_server *t = mem_alloc(sizeof *t + n * sizeof *t->ctx);

	t->tickets = tickets;
	for (; t->n < n; t->n++) {
		t->ctx[t->n] = server_ctx(&pairs[t->n], t, err);
		if (!t->ctx[t->n]) {
			tls_server_free(&t);
			return NULL;
		}
	}
	if (n > 1)
		SSL_CTX_set_client_hello_cb(t->ctx[0], on_hello, t);
	return t;
}

void tls_server_free(struct tls_server **tp)
{
	struct tls_server *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	for (size_t i = 0; i < t->n; i++) {
		/* handshakes under way keep the context, not t */
		SSL_CTX_set_client_hello_cb(t->ctx[i], NULL, NULL);
		SSL_CTX_free(t->ctx[i]);
	}
	free(t);
}

struct ssl_st *tls_server_accept(struct tls_server *t)
{
	return SSL_new(t->ctx[0]);
}

/* --- client ------------------------------------------------------------ */

struct tls_trust *tls_trust_new(struct str pem, struct err *err)
{
	struct tls_trust *t = mem_alloc(sizeof *t);

	t->store = X509_STORE_new();
	if (!t->store)
		die("out of memory");
	if (!trust(t->store, pem, NULL, err))
		tls_trust_free(&t);
	return t;
}

void tls_trust_free(struct tls_trust **tp)
{
	struct tls_trust *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	X509_STORE_free(t->store);
	free(t);
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_client *t = SSL_get_app_data(ssl);

	SSL_SESSION_free(t->session);
	t->session = session;
	return 1;	/* ours now */
}

struct tls_client *tls_client_new(const struct tls_peer *p, struct err *err)
{
	struct tls_client *t = mem_alloc(sizeof *t);
	bool ok = true;

	t->ctx = ctx_new(TLS_client_method(), p->min_version);
	t->host = mem_strdup(p->host ? p->host : "");
	t->verify = p->trust != NULL;
	if (p->trust)
		SSL_CTX_set1_cert_store(t->ctx, p->trust->store);
	/* OpenSSL takes an empty name for one that is not to be verified */
	if (t->verify && !*t->host)
		ok = err_set(err, "no name to verify its certificate by");
	if (ok && p->certificate.n)
		ok = use_certificate(t->ctx, p->certificate, err) &&
		    use_key(t->ctx, p->key, err);
	if (!ok) {
		err_prefix(err, "backend %s", p->name);
		tls_client_free(&t);
		return NULL;
	}
	SSL_CTX_set_verify(t->ctx, t->verify ? SSL_VERIFY_PEER :
	    SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT |
	    SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_new_session);
	return t;
}

void tls_client_forget_session(struct tls_client *t)
{
	SSL_SESSION_free(t->session);
	t->session = NULL;
}

void tls_client_free(struct tls_client **tp)
{
	struct tls_client *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	SSL_SESSION_free(t->session);
	SSL_CTX_free(t->ctx);
	free(t->host);
	free(t);
}

struct ssl_st *tls_client_connect(struct tls_client *t)
{
	static const unsigned char alpn[] = { 4, 'i', 'm', 'a', 'p' };
	unsigned char ip[16];
	SSL *ssl = SSL_new(t->ctx);

	if (!ssl)
		return NULL;
	SSL_set_app_data(ssl, t);
	SSL_set_alpn_protos(ssl, alpn, sizeof alpn);
	bool is_ip = inet_pton(AF_INET, t->host, ip) == 1 ||
	    inet_pton(AF_INET6, t->host, ip) == 1;
	if (!is_ip && *t->host)
		SSL_set_tlsext_host_name(ssl, t->host);
	if (t->verify) {
		X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
		int ok = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, t->host)
			       : X509_VERIFY_PARAM_set1_host(param, t->host, 0);
		if (ok != 1) {
			SSL_free(ssl);
			return NULL;
		}
	}
	if (t->session)
		SSL_set_session(ssl, t->session);
	return ssl;
}
