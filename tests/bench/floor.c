/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* floor.c - the reference for what is physically possible: a minimal epoll +
 * OpenSSL relay.  It accepts TLS (or plain), connects plain or TLS to one fixed
 * backend and shuttles bytes.  No IMAP, no configuration, no logging.
 *
 *   default   SSL_set_fd: OpenSSL reads and writes the socket itself
 *             (one write() a record, two read()s a record)
 *   -M        batch: a custom BIO; raw bytes come and go through one buffer
 *             per thread, so one send()/recv() carries several records
 *   -X        -M, and after the client's handshake the SSL object is freed: the
 *             traffic secrets (keylog callback) go to a ~250 byte struct and
 * our own TLS 1.3 AES-GCM record layer.  EXPERIMENT: shows how small an idle
 * session can be; KeyUpdate is answered by closing. */
#include "common.h"
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#define RAWSZ (256 * 1024)

struct xtls {
	uint8_t sec[2][48], key[2][32],
	    iv[2][12]; /* 0 read (client), 1 write */
	uint64_t seq[2];
	uint8_t klen, hlen;
};

struct relay;
struct end {
	int fd;
	uint8_t hs, want_w, stop_r, eof, conn, ev;
	SSL *ssl;
	struct xtls *x; /* -X: instead of ssl after the handshake */
	char *pend;	/* clear bytes waiting to be written to this end */
	uint32_t plen, poff;
	char *raw; /* -M: encrypted bytes waiting for the socket */
	uint32_t rlen, roff;
	char *rin; /* -M: raw input not yet used */
	uint32_t rinlen;
};
struct relay {
	struct end e[2];
	struct relay *next;
};

struct thr {
	pthread_t th;
	int ep, lfd;
	struct relay *dead;
	struct end
	    *drained; /* -M: its last recv() was short: do not ask again */
	size_t rpos, rlen, wlen;
	char rbuf[RAWSZ], wbuf[RAWSZ + 65536], buf[RAWSZ];
};

static SSL_CTX *sctx, *cctx;
static struct sockaddr_in baddr[16];
static int nb, opt_batch, opt_tlsb, opt_plain, rsz = 16384, opt_resb, opt_x;
static _Atomic unsigned rr;
static __thread struct thr *me;
static __thread SSL_SESSION *bsess;
static BIO_METHOD *bm;
static __thread EVP_CIPHER_CTX *xc[2];
static __thread struct xtls *xowner[2];
static EVP_CIPHER *aes128, *aes256;

static int b_write(BIO *b, const char *p, int n)
{
	(void)b;
	if (me->wlen + (size_t)n > sizeof me->wbuf)
		return -1;
	memcpy(me->wbuf + me->wlen, p, (size_t)n);
	me->wlen += (size_t)n;
	return n;
}

static int b_read(BIO *b, char *p, int n)
{
	struct end *e = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	if (me->rpos == me->rlen) {
		me->rpos = me->rlen = 0;
		if (e->rin) {
			memcpy(me->rbuf, e->rin, e->rinlen);
			me->rlen = e->rinlen;
			free(e->rin);
			e->rin = NULL;
		} else {
			if (me->drained == e) {
				BIO_set_retry_read(b);
				return -1;
			}
			ssize_t r = recv(e->fd, me->rbuf, sizeof me->rbuf, 0);
			if (r > 0 && r < (ssize_t)sizeof me->rbuf)
				me->drained = e;
			if (r <= 0) {
				if (r < 0 && errno == EAGAIN)
					BIO_set_retry_read(b);
				return r == 0 ? 0 : -1;
			}
			me->rlen = (size_t)r;
		}
	}
	size_t m = me->rlen - me->rpos;
	if (m > (size_t)n)
		m = (size_t)n;
	memcpy(p, me->rbuf + me->rpos, m);
	me->rpos += m;
	return (int)m;
}

static long b_ctrl(BIO *b, int c, long n, void *p)
{
	(void)b;
	(void)n;
	(void)p;
	return c == BIO_CTRL_FLUSH || c == BIO_CTRL_DUP;
}

/* -M: after the work on e: send what was made, keep what was not used */
static int raw_done(struct end *e)
{
	if (!opt_batch || !(e->ssl || e->x))
		return 0;
	if (me->rpos < me->rlen) {
		e->rinlen = (uint32_t)(me->rlen - me->rpos);
		e->rin = malloc(e->rinlen);
		memcpy(e->rin, me->rbuf + me->rpos, e->rinlen);
	}
	me->rpos = me->rlen = 0;
	return 0;
}

static int raw_send(struct end *e)
{
	size_t off = 0, n = me->wlen;
	me->wlen = 0;
	if (!n)
		return 0;
	if (!e->raw)
		while (off < n) {
			ssize_t w =
			    send(e->fd, me->wbuf + off, n - off, MSG_NOSIGNAL);
			if (w < 0) {
				if (errno == EAGAIN)
					break;
				return -1;
			}
			off += (size_t)w;
		}
	if (off < n) {
		uint32_t have = e->raw ? e->rlen - e->roff : 0;
		char *r = malloc(have + n - off);
		if (have)
			memcpy(r, e->raw + e->roff, have);
		memcpy(r + have, me->wbuf + off, n - off);
		free(e->raw);
		e->raw = r;
		e->roff = 0;
		e->rlen = (uint32_t)(have + n - off);
	}
	return 0;
}

static void hkdf_label(const uint8_t *sec, int hlen, const char *label,
		       uint8_t *out, int n)
{
	uint8_t info[64], md[64];
	unsigned mdl;
	int l = (int)strlen(label), k = 0;
	info[k++] = (uint8_t)(n >> 8);
	info[k++] = (uint8_t)n;
	info[k++] = (uint8_t)(6 + l);
	memcpy(info + k, "tls13 ", 6);
	memcpy(info + k + 6, label, (size_t)l);
	k += 6 + l;
	info[k++] = 0;
	info[k++] = 1;
	HMAC(hlen == 32 ? EVP_sha256() : EVP_sha384(), sec, hlen, info,
	     (size_t)k, md, &mdl);
	memcpy(out, md, (size_t)n);
}

static void keylog(const SSL *s, const char *l)
{
	struct xtls *x = SSL_get_app_data(s);
	int d = !strncmp(l, "CLIENT_TRAFFIC_SECRET_0 ", 24)   ? 0
		: !strncmp(l, "SERVER_TRAFFIC_SECRET_0 ", 24) ? 1
							      : -1;
	if (!x || d < 0)
		return;
	l = strchr(l + 24, ' ') + 1;
	for (x->hlen = 0; l[0] && l[1] && x->hlen < 48; l += 2) {
		unsigned v;
		sscanf(l, "%2x", &v);
		x->sec[d][x->hlen++] = (uint8_t)v;
	}
}

/* take over the record layer from OpenSSL; nrec: app records already sent */
static int x_take(struct end *e, int nrec)
{
	struct xtls *x = SSL_get_app_data(e->ssl);
	int id =
	    (int)SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(e->ssl));
	if (SSL_version(e->ssl) != TLS1_3_VERSION ||
	    (id != 0x1301 && id != 0x1302))
		return -1;
	x->klen = id == 0x1301 ? 16 : 32;
	for (int d = 0; d < 2; d++) {
		hkdf_label(x->sec[d], x->hlen, "key", x->key[d], x->klen);
		hkdf_label(x->sec[d], x->hlen, "iv", x->iv[d], 12);
	}
	x->seq[1] = (uint64_t)nrec;
	e->x = x;
	SSL_free(e->ssl);
	e->ssl = NULL;
	return 0;
}

static EVP_CIPHER_CTX *x_ctx(struct xtls *x, int d)
{
	uint8_t nonce[12];
	memcpy(nonce, x->iv[d], 12);
	for (int i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(x->seq[d] >> (8 * i));
	x->seq[d]++;
	if (!xc[d])
		xc[d] = EVP_CIPHER_CTX_new();
	if (xowner[d] == x)
		EVP_CipherInit_ex(xc[d], NULL, NULL, NULL, nonce, d);
	else {
		EVP_CipherInit_ex(xc[d], x->klen == 16 ? aes128 : aes256, NULL,
				  x->key[d], nonce, d);
		xowner[d] = x;
	}
	return xc[d];
}

static ssize_t x_write(struct end *e, const char *b, size_t n)
{
	size_t off = 0;
	while (off < n && me->wlen < RAWSZ) {
		size_t m = n - off > 16384 ? 16384 : n - off;
		uint8_t *o = (uint8_t *)me->wbuf + me->wlen, t = 23;
		int l;
		EVP_CIPHER_CTX *c = x_ctx(e->x, 1);
		o[0] = 23;
		o[1] = 3;
		o[2] = 3;
		o[3] = (uint8_t)((m + 17) >> 8);
		o[4] = (uint8_t)(m + 17);
		EVP_EncryptUpdate(c, NULL, &l, o, 5);
		EVP_EncryptUpdate(c, o + 5, &l, (const uint8_t *)b + off,
				  (int)m);
		EVP_EncryptUpdate(c, o + 5 + m, &l, &t, 1);
		EVP_EncryptFinal_ex(c, o + 6 + m, &l);
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, o + 6 + m);
		me->wlen += m + 22;
		off += m;
	}
	return (ssize_t)off;
}

static ssize_t x_read(struct end *e, char *b, size_t n)
{
	if (me->rpos == me->rlen) {
		me->rpos = me->rlen = 0;
		if (e->rin) {
			memcpy(me->rbuf, e->rin, e->rinlen);
			me->rlen = e->rinlen;
			free(e->rin);
			e->rin = NULL;
		}
	}
	for (;;) {
		size_t have = me->rlen - me->rpos, l;
		uint8_t *p = (uint8_t *)me->rbuf + me->rpos;
		if (have >= 5 && have >= 5 + (l = (size_t)p[3] << 8 | p[4])) {
			int o;
			if (l < 17 || l > 16384 + 256 || l - 16 > n)
				return -1;
			me->rpos += 5 + l;
			EVP_CIPHER_CTX *c = x_ctx(e->x, 0);
			EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16,
					    p + 5 + l - 16);
			EVP_DecryptUpdate(c, NULL, &o, p, 5);
			EVP_DecryptUpdate(c, (uint8_t *)b, &o, p + 5,
					  (int)l - 16);
			if (EVP_DecryptFinal_ex(c, (uint8_t *)b + o, &o) != 1)
				return -1;
			l -= 16;
			while (l && !b[l - 1])
				l--;
			if (!l || b[l - 1] != 23)
				return -1; /* alert, KeyUpdate */
			if (l == 1)
				continue;
			return (ssize_t)l - 1;
		}
		if (me->rpos) {
			memmove(me->rbuf, me->rbuf + me->rpos, have);
			me->rpos = 0;
			me->rlen = have;
		}
		if (me->drained == e)
			return 0;
		ssize_t r =
		    recv(e->fd, me->rbuf + have, sizeof me->rbuf - have, 0);
		if (r == 0)
			return -1;
		if (r > 0 && r < (ssize_t)(sizeof me->rbuf - have))
			me->drained = e;
		if (r < 0)
			return errno == EAGAIN ? 0 : -1;
		me->rlen += (size_t)r;
	}
}

/* >0, 0 would block, -1 closed or failed */
static ssize_t e_read(struct end *e, char *b, size_t n)
{
	if (e->x)
		return x_read(e, b, n);
	if (e->ssl) {
		int r = SSL_read(e->ssl, b, (int)n);
		if (r > 0)
			return r;
		r = SSL_get_error(e->ssl, r);
		ERR_clear_error();
		return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE
			   ? 0
			   : -1;
	}
	ssize_t r = recv(e->fd, b, n, 0);
	return r > 0 ? r : r < 0 && errno == EAGAIN ? 0 : -1;
}

static ssize_t e_write(struct end *e, const char *b, size_t n)
{
	if (e->x) {
		if (e->raw)
			return 0;
		ssize_t w = x_write(e, b, n);
		return me->wlen > RAWSZ / 2 && raw_send(e) < 0 ? -1 : w;
	}
	if (e->ssl) {
		if (opt_batch && e->raw)
			return 0;
		int r = SSL_write(e->ssl, b, (int)n);
		if (r > 0) { /* -M: the caller's flush, or a full buffer, sends
				it */
			if (opt_batch && me->wlen > RAWSZ / 2 &&
			    raw_send(e) < 0)
				return -1;
			return r;
		}
		r = SSL_get_error(e->ssl, r);
		ERR_clear_error();
		return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE
			   ? 0
			   : -1;
	}
	ssize_t r = send(e->fd, b, n, MSG_NOSIGNAL);
	return r >= 0 ? r : errno == EAGAIN ? 0 : -1;
}

static void arm(struct end *e, struct relay *r, int idx)
{
	if (e->fd < 0)
		return;
	uint8_t w = (e->stop_r ? 0 : EPOLLIN) | (e->want_w ? EPOLLOUT : 0);
	if (w == e->ev)
		return;
	struct epoll_event ev = {
		w, { .u64 = (uint64_t)(uintptr_t)r | (uint64_t)idx }
	};
	epoll_ctl(me->ep, e->ev == 0xff ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, e->fd,
		  &ev);
	e->ev = w;
}

static void relay_close(struct relay *r)
{
	if (r->e[0].fd == -2)
		return;
	for (int i = 0; i < 2; i++) {
		struct end *e = &r->e[i];
		if (e->ssl) {
			if (!e->hs && !e->raw) {
				SSL_shutdown(e->ssl);
				if (opt_batch)
					raw_send(e);
			}
			if (opt_x && e->hs)
				free(SSL_get_app_data(e->ssl));
			SSL_free(e->ssl);
			ERR_clear_error();
		}
		if (e->x) {
			for (int d = 0; d < 2; d++)
				if (xowner[d] == e->x)
					xowner[d] = NULL;
			free(e->x);
			e->x = NULL;
		}
		me->wlen = 0;
		if (e->fd >= 0)
			close(e->fd);
		free(e->pend);
		free(e->raw);
		free(e->rin);
		e->fd = -2;
	}
	r->next = me->dead;
	me->dead = r;
}

static SSL *mkssl(SSL_CTX *cx, struct end *e)
{
	SSL *s = SSL_new(cx);
	if (opt_batch) {
		BIO *b = BIO_new(bm);
		BIO_set_data(b, e);
		BIO_set_init(b, 1);
		SSL_set_bio(s, b, b);
	} else
		SSL_set_fd(s, e->fd);
	e->hs = 1;
	if (opt_x && cx == sctx)
		SSL_set_app_data(s, calloc(1, sizeof(struct xtls)));
	return s;
}

static int new_bsess(SSL *s, SSL_SESSION *ss)
{
	(void)s;
	if (bsess)
		SSL_SESSION_free(bsess);
	bsess = ss;
	return 1;
}

static int backend_connect(struct relay *r)
{
	struct end *b = &r->e[1];
	int one = 1;
	b->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (b->fd < 0)
		return -1;
	setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct sockaddr_in *a = &baddr[rr++ % (unsigned)nb];
	if (connect(b->fd, (void *)a, sizeof *a) < 0 && errno != EINPROGRESS)
		return -1;
	b->conn = b->want_w = 1;
	b->ev = 0xff;
	arm(b, r, 1);
	return 0;
}

static int handshake(struct end *e)
{
	int x = SSL_do_handshake(e->ssl),
	    er = x == 1 ? 0 : SSL_get_error(e->ssl, x);
	int nrec = 0; /* records of the last flight: the tickets */
	for (size_t p = 0; p + 5 <= me->wlen; nrec++)
		p += 5 + ((size_t)(uint8_t)me->wbuf[p + 3] << 8 |
			  (uint8_t)me->wbuf[p + 4]);
	if (opt_batch && raw_send(e) < 0)
		return -1;
	if (er) {
		ERR_clear_error();
		e->want_w = er == SSL_ERROR_WANT_WRITE || e->raw;
		return er == SSL_ERROR_WANT_READ || er == SSL_ERROR_WANT_WRITE
			   ? 0
			   : -1;
	}
	e->hs = 0;
	if (opt_x && SSL_is_server(e->ssl) && x_take(e, nrec) < 0)
		return -1;
	e->want_w = !!e->raw;
	return 1;
}

static int pump1(struct relay *r, int i)
{
	struct end *s = &r->e[i], *d = &r->e[!i];
	for (int k = 0;
	     k < 16 || me->rpos < me->rlen || (s->ssl && SSL_pending(s->ssl));
	     k++) {
		if (d->pend || d->raw || d->fd < 0 || d->hs || d->conn) {
			s->stop_r = 1;
			return 0;
		}
		ssize_t n = e_read(s, me->buf, (size_t)rsz), off = 0;
		if (n < 0) {
			s->eof = 1;
			return -1;
		}
		if (n == 0)
			return 0;
		while (off < n) {
			ssize_t w =
			    e_write(d, me->buf + off, (size_t)(n - off));
			if (w < 0)
				return -1;
			if (w == 0) {
				d->plen = (uint32_t)(n - off);
				d->poff = 0;
				d->pend = malloc(d->plen);
				memcpy(d->pend, me->buf + off, d->plen);
				d->want_w = 1;
				break;
			}
			off += w;
		}
		if (d->raw)
			d->want_w = 1;
		if (n < rsz && !s->ssl && !s->x)
			return 0;
	}
	return 0;
}

/* move what can be moved from e[i] to e[!i] */
static int pump(struct relay *r, int i)
{
	struct end *d = &r->e[!i];
	int x = pump1(r, i);
	if (opt_batch && (d->ssl || d->x) && me->wlen) {
		if (raw_send(d) < 0)
			return -1;
		if (d->raw)
			d->want_w = 1;
	}
	return x;
}

static int on_event(struct relay *r, int i, uint32_t evs)
{
	struct end *e = &r->e[i], *o = &r->e[!i];
	int x;
	if (e->fd < 0)
		return 0;
	if (e->conn) {
		int er = 0;
		socklen_t sl = sizeof er;
		if (!(evs & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return 0;
		getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &er, &sl);
		if (er)
			return -1;
		e->conn = e->want_w = 0;
		if (opt_tlsb) {
			e->ssl = mkssl(cctx, e);
			if (opt_resb && bsess)
				SSL_set_session(e->ssl, bsess);
			SSL_set_connect_state(e->ssl);
		}
		o->stop_r = 0;
	}
	if (e->raw) {
		while (e->roff < e->rlen) {
			ssize_t w = send(e->fd, e->raw + e->roff,
					 e->rlen - e->roff, MSG_NOSIGNAL);
			if (w < 0 && errno != EAGAIN)
				return -1;
			if (w < 0)
				break;
			e->roff += (uint32_t)w;
		}
		if (e->roff < e->rlen)
			return 0;
		free(e->raw);
		e->raw = NULL;
		e->want_w = 0;
		o->stop_r = 0;
	}
	if (e->hs) {
		x = handshake(e);
		if (x <= 0)
			return x;
		if (i == 0 && backend_connect(r) < 0)
			return -1;
		if (i == 1)
			o->stop_r = 0;
	}
	if (e->pend) {
		while (e->poff < e->plen) {
			ssize_t w =
			    e_write(e, e->pend + e->poff, e->plen - e->poff);
			if (w < 0)
				return -1;
			if (w == 0)
				break;
			e->poff += (uint32_t)w;
		}
		if (opt_batch && raw_send(e) < 0)
			return -1;
		if (e->poff < e->plen)
			return 0;
		free(e->pend);
		e->pend = NULL;
		e->want_w = !!e->raw;
		o->stop_r = 0;
	}
	if (e->conn || e->hs)
		return 0;
	if (pump(r, i) < 0)
		return -1;
	if (o->rin ||
	    (o->ssl &&
	     SSL_pending(o->ssl))) { /* more is there without an event */
		raw_done(e);
		if (!o->stop_r && pump(r, !i) < 0)
			return -1;
		raw_done(o);
	}
	return 0;
}

static void *loop(void *arg)
{
	struct thr *t = me = arg;
	struct epoll_event ev[256];
	for (;;) {
		int n = epoll_wait(t->ep, ev, 256, -1);
		for (int k = 0; k < n; k++) {
			if (!ev[k].data.u64) {
				for (int j = 0; j < 32; j++) {
					int fd = accept4(t->lfd, NULL, NULL,
							 SOCK_NONBLOCK |
							     SOCK_CLOEXEC),
					    one = 1;
					if (fd < 0)
						break;
					setsockopt(fd, IPPROTO_TCP, TCP_NODELAY,
						   &one, sizeof one);
					struct relay *r = calloc(1, sizeof *r);
					r->e[0].fd = fd;
					r->e[0].ev = 0xff;
					r->e[1].fd = -1;
					if (!opt_plain) {
						r->e[0].ssl =
						    mkssl(sctx, &r->e[0]);
						SSL_set_accept_state(
						    r->e[0].ssl);
					} else if (backend_connect(r) < 0) {
						relay_close(r);
						continue;
					}
					arm(&r->e[0], r, 0);
				}
				continue;
			}
			struct relay *r =
			    (void *)(uintptr_t)(ev[k].data.u64 & ~1ull);
			int i = ev[k].data.u64 & 1;
			if (r->e[0].fd == -2)
				continue;
			t->drained = NULL;
			int x = on_event(r, i, ev[k].events);
			raw_done(&r->e[i]);
			if (x < 0)
				relay_close(r);
			else {
				arm(&r->e[0], r, 0);
				arm(&r->e[1], r, 1);
			}
		}
		while (t->dead) {
			struct relay *r = t->dead;
			t->dead = r->next;
			free(r);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int o, nth = 2, nfork = 1, tickets = 2, port = 0;
	const char *cert = NULL, *key = NULL, *lip = "127.0.0.1";
	while ((o = getopt(argc, argv, "l:b:c:k:t:f:r:n:MXBPRh")) != -1)
		switch (o) {
		case 'l': {
			char *c = strrchr(optarg, ':');
			*c = 0;
			lip = optarg;
			port = atoi(c + 1);
			break;
		}
		case 'b': {
			char *c = strrchr(optarg, ':');
			*c = 0;
			baddr[nb].sin_family = AF_INET;
			inet_pton(AF_INET, optarg, &baddr[nb].sin_addr);
			baddr[nb++].sin_port = htons((uint16_t)atoi(c + 1));
			break;
		}
		case 'c':
			cert = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 't':
			nth = atoi(optarg);
			break;
		case 'f':
			nfork = atoi(optarg);
			break;
		case 'r':
			rsz = atoi(optarg);
			break;
		case 'n':
			tickets = atoi(optarg);
			break;
		case 'M':
			opt_batch = 1;
			break;
		case 'X':
			opt_batch = opt_x = 1;
			break;
		case 'B':
			opt_tlsb = 1;
			break;
		case 'R':
			opt_resb = 1;
			break;
		case 'P':
			opt_plain = 1;
			break;
		default:
			die("floor -l ip:port -b ip:port [-b ...] -c cert -k "
			    "key [-t threads] [-f processes] [-r read size]\n"
			    "  [-n tickets] [-M batched BIO] [-X own record "
			    "layer] [-B TLS to the backend] [-R resume it] [-P "
			    "plain clients]");
		}
	if (!nb || !port || rsz < 1 || rsz > 131072)
		die("floor: bad arguments");
	if (opt_x && rsz < 32768)
		rsz = 65536;
	signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	bm = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "batch");
	BIO_meth_set_write(bm, b_write);
	BIO_meth_set_read(bm, b_read);
	BIO_meth_set_ctrl(bm, b_ctrl);
	int mode = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
		   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
	if (!opt_plain) {
		sctx = SSL_CTX_new(TLS_server_method());
		SSL_CTX_set_mode(sctx, mode);
		SSL_CTX_set_options(sctx, SSL_OP_IGNORE_UNEXPECTED_EOF |
					      SSL_OP_NO_RENEGOTIATION);
		SSL_CTX_set_session_cache_mode(sctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_num_tickets(sctx, (size_t)tickets);
		if (opt_x) {
			SSL_CTX_set_keylog_callback(sctx, keylog);
			aes128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
			aes256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
		}
		SSL_CTX_set_session_id_context(sctx, (const unsigned char *)"f",
					       1);
		if (SSL_CTX_use_certificate_chain_file(sctx, cert) != 1 ||
		    SSL_CTX_use_PrivateKey_file(sctx, key, SSL_FILETYPE_PEM) !=
			1)
			die("bad certificate or key");
	}
	cctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_mode(cctx, mode);
	SSL_CTX_set_options(cctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	if (opt_resb) {
		SSL_CTX_set_session_cache_mode(
		    cctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(cctx, new_bsess);
	}
	for (int i = 1; i < nfork; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			break;
		}
	for (int i = 0; i < nth; i++) {
		struct thr *t = calloc(1, sizeof *t);
		struct sockaddr_in sa = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)port) };
		int one = 1;
		inet_pton(AF_INET, lip, &sa.sin_addr);
		t->ep = epoll_create1(EPOLL_CLOEXEC);
		t->lfd = socket(AF_INET,
				SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(t->lfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		setsockopt(t->lfd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
		if (bind(t->lfd, (void *)&sa, sizeof sa) < 0 ||
		    listen(t->lfd, 65535) < 0)
			die("listen: %s", strerror(errno));
		struct epoll_event ev = { EPOLLIN, { .u64 = 0 } };
		epoll_ctl(t->ep, EPOLL_CTL_ADD, t->lfd, &ev);
		if (i == nth - 1)
			loop(t);
		else
			pthread_create(&t->th, NULL, loop, t);
	}
	return 0;
}
