/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/buf.h"
#include "proxy/base/stream.h"
#include "proxy/base/tlsctx.h"

/* OpenSSL talks to this BIO instead of the socket: input comes from the
 * loop's shared buffer, output is gathered there. Writing never blocks, so
 * SSL_write() always takes all. */

static int bio_write(BIO *b, const char *p, int n)
{
	if (n > 0)
		stream_batch_raw(BIO_get_data(b), p, (size_t)n);
	return n;
}

static int bio_read(BIO *b, char *p, int n)
{
	struct stream *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return 0;
	size_t got = stream_take_raw(s, p, (size_t)n);
	if (got)
		return (int)got;
	if (s->has_eof)
		return 0;
	if (!s->error)
		BIO_set_retry_read(b);
	return -1;
}

static long bio_ctrl(BIO *b, int cmd, long n, void *p)
{
	struct stream *s = BIO_get_data(b);

	(void)n;
	(void)p;
	if (cmd == BIO_CTRL_EOF)
		return s->has_eof;
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
	    "stream");
	if (!method)
		die("out of memory");
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

static void attach(struct stream *s, SSL *ssl)
{
	BIO *b = BIO_new(bio_method());

	must(!s->ssl);
	if (!b || !ssl)
		die("out of memory");
	BIO_set_data(b, s);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b);
	s->ssl = ssl;
	s->is_handshaking = true;
}

void stream_tls_accept(struct stream *s, struct tls_server *t)
{
	attach(s, tls_server_accept(t));
	SSL_set_accept_state(s->ssl);
}

void stream_tls_connect(struct stream *s, struct tls_client *t)
{
	attach(s, tls_client_connect(t));
	SSL_set_connect_state(s->ssl);
}

static enum stream_verdict fail(struct stream *s)
{
	if (!s->error)
		s->error = EPROTO;
	return STREAM_FAILED;
}

static void handshake_error(struct stream *s, struct err *err)
{
	long verify = SSL_get_verify_result(s->ssl);

	if (s->has_eof && !ERR_peek_error())
		err_set(err, "the peer closed during the TLS handshake");
	else if (stream_is_broken(s))
		err_set(err, "TLS handshake: %s", stream_error(s));
	else if (verify != X509_V_OK)
		err_set(err, "TLS certificate: %s",
		    X509_verify_cert_error_string(verify));
	else
		tlsctx_error(err);
	ERR_clear_error();
}

/* An old error would be taken for this call's. There hardly ever is one, and
 * looking is cheaper than clearing. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

enum stream_verdict stream_tls_handshake(struct stream *s, struct err *err)
{
	/* only a client has something to say before it has heard anything */
	bool is_to_begin = !SSL_is_server(s->ssl) && SSL_in_before(s->ssl);

	if (!is_to_begin && stream_is_dry(s))
		return STREAM_AGAIN;
	forget_errors();
	int r = SSL_do_handshake(s->ssl);
	int why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, r);

	if (why == SSL_ERROR_NONE) {
		s->is_handshaking = false;
		return STREAM_OK;
	}
	(void)stream_flush(s);
	if (why == SSL_ERROR_WANT_READ && !stream_is_broken(s))
		return STREAM_AGAIN;
	handshake_error(s, err);
	return fail(s);
}

enum stream_verdict stream_tls_read(struct stream *s, void *to, size_t n,
    size_t *n_out)
{
	*n_out = 0;
	must(!s->is_handshaking);
	if (stream_is_dry(s))
		return STREAM_AGAIN;
	forget_errors();
	if (SSL_read_ex(s->ssl, to, n, n_out) == 1)
		return STREAM_OK;
	switch (SSL_get_error(s->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
		return s->send_error ? STREAM_FAILED : STREAM_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		s->has_eof = true;
		return STREAM_EOF;
	default:
		ERR_clear_error();
		return fail(s);
	}
}

void stream_tls_write(struct stream *s, const void *p, size_t n)
{
	size_t done;

	must(!s->is_handshaking);
	if (s->error)
		return;
	forget_errors();
	if (SSL_write_ex(s->ssl, p, n, &done) != 1) {
		ERR_clear_error();
		(void)fail(s);
	}
}

bool stream_tls_has_input(const struct stream *s)
{
	return SSL_has_pending(s->ssl);
}

void stream_tls_shutdown(struct stream *s)
{
	forget_errors();
	SSL_shutdown(s->ssl);
	forget_errors();
}

void stream_tls_free(struct stream *s)
{
	/* OpenSSL takes a session that was not closed by both sides for
	 * unfit to be resumed, which no TLS since 1.1 asks for. */
	if (!s->is_handshaking)
		SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN |
		    SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->ssl);
	s->ssl = NULL;
	s->is_handshaking = false;
}

/* The user that a verified client certificate stands for: its first
 * rfc822Name, or else its common name. */
static struct str certificate_user(X509 *cert, char *to, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name,
	    NULL, NULL);
	struct str user = STR_NONE;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		if (g->type != GEN_EMAIL)
			continue;
		int n = ASN1_STRING_length(g->d.rfc822Name);
		if (n <= 0 || (size_t)n >= size)
			continue;
		memcpy(to, ASN1_STRING_get0_data(g->d.rfc822Name), (size_t)n);
		user = (struct str){ to, (size_t)n };
		break;
	}
	GENERAL_NAMES_free(names);
	if (!user.n) {
		int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert),
		    NID_commonName, to, (int)size);
		if (n > 0)
			user = (struct str){ to, (size_t)n };
	}
	if (user.n && memchr(user.p, 0, user.n))
		return STR_NONE;	/* an embedded NUL: somebody cheats */
	return user;
}

bool stream_tls_certificate(const struct stream *s, struct buf *out)
{
	X509 *cert = s->ssl && !s->is_handshaking ?
	    SSL_get0_peer_certificate(s->ssl) : NULL;

	if (!cert || SSL_get_verify_result(s->ssl) != X509_V_OK)
		return false;
	int n = i2d_X509(cert, NULL);
	unsigned char *to = n > 0 ? (void *)buf_reserve(out, (size_t)n) : NULL;
	if (!to)
		return false;
	buf_commit(out, (size_t)i2d_X509(cert, &to));
	return true;
}

/* 0: not a date that can be read. */
static int64_t certificate_end(const X509 *cert)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
		return 0;
	return timegm(&tm);
}

void stream_tls_info(const struct stream *s, struct stream_tls_info *out)
{
	*out = (struct stream_tls_info){ .version = "", .cipher = "" };
	if (!s->ssl || s->is_handshaking)
		return;
	out->version = SSL_get_version(s->ssl);
	out->cipher = SSL_get_cipher_name(s->ssl);
	out->server_name = str_from(SSL_get_servername(s->ssl,
	    TLSEXT_NAMETYPE_host_name));
	out->is_resumed = SSL_session_reused(s->ssl);
	X509 *cert = SSL_get0_peer_certificate(s->ssl);
	if (cert)
		out->peer_ends_s = certificate_end(cert);
	if (cert && SSL_is_server(s->ssl) &&
	    SSL_get_verify_result(s->ssl) == X509_V_OK)
		out->peer_name = certificate_user(cert, out->name,
		    sizeof out->name);
}
