/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* fakebackend.c - a very cheap IMAP server for measuring proxies.
 *
 * epoll, one event loop per thread, SO_REUSEPORT listeners, ~100 bytes of user
 * memory for a plain session.  Any user and password are accepted.
 * Messages: 1 = 1 MiB, 2 = 10 KiB, 3 = 100 bytes, 4.. = -z sizes in order.
 * "SELECT" answers with "* OK [X-USER name]" so that a client can check that
 * it reached its own account.  "tag XSTAT" (no login needed) gives counters. */
#include "common.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#define CAPS \
	"IMAP4rev1 LITERAL+ SASL-IR LOGIN-REFERRALS ID ENABLE IDLE AUTH=PLAIN"
#define OUTSZ (96 * 1024)
#define INSZ (64 * 1024)

enum {
	F_HS = 1,
	F_AUTHED = 2,
	F_IDLE = 4,
	F_AUTHWAIT = 8,
	F_PROXY = 16,
	F_CLOSE = 32,
	F_SEL = 64,
	F_BLOCK = 128,
	F_STARTTLS = 256,
	F_OUTEV = 512,
	F_TLS = 1024
};

struct conn {
	int fd;
	uint32_t fl;
	SSL *ssl;
	char *in;
	uint32_t inlen, scan;
	char *out;
	uint32_t outlen, outoff;
	uint32_t body_len, body_off;
	char *user;
	char tag[24];
};

struct lst {
	int fd, tls;
};

struct thr {
	pthread_t th;
	int ep, nl;
	struct lst l[32];
	size_t outlen;
	char out[OUTSZ];
	char in[INSZ * 2];
};

static SSL_CTX *ctx;
static char *body;
static size_t msgsz[32] = { 1048576, 10240, 100 };
static int nmsg = 3, opt_proxy, opt_nosaslir;
static const char *caps = CAPS;
/* shared by the processes of -f */
static struct stats {
	_Atomic long conns, accepts, logins, auth, cmds, bytes, idle, proxyhdr,
	    resumed;
} * st;

static void conn_free(struct thr *t, struct conn *c)
{
	(void)t;
	if (c->fl & F_IDLE)
		st->idle--;
	if (c->ssl) {
		if (!(c->fl & F_HS))
			SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
		ERR_clear_error();
	}
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c->user);
	free(c);
	st->conns--;
}

/* >0 written, 0 would block, -1 error */
static ssize_t xwrite(struct conn *c, const void *b, size_t n)
{
	if (c->ssl) {
		int r = SSL_write(c->ssl, b, n > 1 << 20 ? 1 << 20 : (int)n);
		if (r > 0)
			return r;
		r = SSL_get_error(c->ssl, r);
		return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE
			   ? 0
			   : -1;
	}
	ssize_t r = send(c->fd, b, n, MSG_NOSIGNAL);
	if (r >= 0)
		return r;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int flush_out(struct thr *t, struct conn *c)
{
	size_t off = 0;
	while (off < t->outlen) {
		ssize_t w = xwrite(c, t->out + off, t->outlen - off);
		if (w < 0) {
			t->outlen = 0;
			return -1;
		}
		if (w == 0) {
			c->outlen = (uint32_t)(t->outlen - off);
			c->outoff = 0;
			c->out = malloc(c->outlen);
			memcpy(c->out, t->out + off, c->outlen);
			c->fl |= F_BLOCK;
			break;
		}
		st->bytes += w;
		off += (size_t)w;
	}
	t->outlen = 0;
	return 0;
}

static void put(struct thr *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->out + t->outlen, OUTSZ - t->outlen, fmt, ap);
	va_end(ap);
	t->outlen += (size_t)n;
}

static int send_body(struct thr *t, struct conn *c)
{
	while (c->body_off < c->body_len) {
		ssize_t w;
		if (!c->ssl && t->outlen) { /* head and body in one call */
			struct iovec v[2] = { { t->out, t->outlen },
					      { body + c->body_off,
						c->body_len - c->body_off } };
			w = writev(c->fd, v, 2);
			if (w < (ssize_t)t->outlen) {
				if (w < 0 && errno != EAGAIN)
					return -1;
				if (w > 0) {
					memmove(t->out, t->out + w,
						t->outlen - (size_t)w);
					t->outlen -= (size_t)w;
				}
				if (flush_out(t, c) < 0)
					return -1;
				if (c->fl & F_BLOCK)
					return 0;
				continue;
			}
			st->bytes += w;
			w -= (ssize_t)t->outlen;
			t->outlen = 0;
			c->body_off += (uint32_t)w;
			continue;
		}
		if (t->outlen && flush_out(t, c) < 0)
			return -1;
		if (c->fl & F_BLOCK)
			return 0;
		w = xwrite(c, body + c->body_off, c->body_len - c->body_off);
		if (w < 0)
			return -1;
		if (w == 0) {
			c->fl |= F_BLOCK;
			return 0;
		}
		st->bytes += w;
		c->body_off += (uint32_t)w;
	}
	c->body_len = c->body_off = 0;
	put(t, ")\r\n%s OK Fetch completed.\r\n", c->tag);
	return 0;
}

static char *astring(char *p, char *e, char *o, size_t osz)
{
	size_t n = 0;
	while (p < e && *p == ' ')
		p++;
	if (p < e && *p == '"') {
		for (p++; p < e && *p != '"'; p++) {
			if (*p == '\\' && p + 1 < e)
				p++;
			if (n + 1 < osz)
				o[n++] = *p;
		}
		p++;
	} else if (p < e && *p == '{') {
		size_t l = strtoul(p + 1, NULL, 10);
		p = memchr(p, '\n', (size_t)(e - p));
		if (!p || (size_t)(e - p - 1) < l)
			return NULL;
		for (p++; l; l--, p++)
			if (n + 1 < osz)
				o[n++] = *p;
	} else
		for (; p < e && *p != ' ' && *p != '\r' && *p != '\n'; p++)
			if (n + 1 < osz)
				o[n++] = *p;
	o[n] = 0;
	return n || osz ? p : NULL;
}

static int unb64(const char *s, const char *e, unsigned char *o, int max)
{
	unsigned acc = 0;
	int bits = 0, n = 0;
	for (; s < e; s++) {
		int v;
		if (*s >= 'A' && *s <= 'Z')
			v = *s - 'A';
		else if (*s >= 'a' && *s <= 'z')
			v = *s - 'a' + 26;
		else if (*s >= '0' && *s <= '9')
			v = *s - '0' + 52;
		else if (*s == '+')
			v = 62;
		else if (*s == '/')
			v = 63;
		else
			break;
		acc = acc << 6 | (unsigned)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			if (n < max - 1)
				o[n++] = (unsigned char)(acc >> bits);
		}
	}
	o[n] = 0;
	return n;
}

static void logged_in(struct thr *t, struct conn *c, const char *tag,
		      const char *user)
{
	free(c->user);
	c->user = strdup(user);
	c->fl |= F_AUTHED;
	st->logins++;
	put(t, "%s OK [CAPABILITY %s] Logged in\r\n", tag, caps);
}

static void sasl_plain(struct thr *t, struct conn *c, const char *p,
		       const char *e)
{
	unsigned char d[1024];
	int n = unb64(p, e, d, sizeof d);
	char *z = memchr(d, 0, (size_t)n);
	st->auth++;
	if (!z || z + 1 >= (char *)d + n) {
		put(t, "%s NO [AUTHENTICATIONFAILED] bad PLAIN\r\n", c->tag);
		return;
	}
	logged_in(t, c, c->tag, z + 1);
}

static int command(struct thr *t, struct conn *c, char *p, char *e)
{
	char tag[24], user[256], pass[256];
	size_t n = 0;
	char *le = e;
	while (le > p && (le[-1] == '\n' || le[-1] == '\r'))
		le--;
	st->cmds++;
	if (c->fl & F_IDLE) {
		c->fl &= ~(uint32_t)F_IDLE;
		st->idle--;
		if (le - p == 4 && !strncasecmp(p, "DONE", 4))
			put(t, "%s OK Idle completed.\r\n", c->tag);
		else
			put(t, "%s BAD Expected DONE.\r\n", c->tag);
		return 0;
	}
	if (c->fl & F_AUTHWAIT) {
		c->fl &= ~(uint32_t)F_AUTHWAIT;
		sasl_plain(t, c, p, le);
		return 0;
	}
	while (p < le && *p != ' ') {
		if (n + 1 < sizeof tag)
			tag[n++] = *p;
		p++;
	}
	tag[n] = 0;
	while (p < le && *p == ' ')
		p++;
	char *a = p;
	while (a < le && *a != ' ')
		a++;
	size_t l = (size_t)(a - p);
#define IS(s) (l == sizeof(s) - 1 && !strncasecmp(p, s, l))
	if (IS("NOOP") || IS("CHECK") || IS("CLOSE") || IS("ENABLE") ||
	    IS("UNSELECT"))
		put(t, "%s OK %.*s completed.\r\n", tag, (int)l, p);
	else if (IS("FETCH") || IS("UID")) {
		if (IS("UID")) {
			while (a < le && *a == ' ')
				a++;
			while (a < le && *a != ' ')
				a++;
		}
		int m = atoi(a);
		if (!(c->fl & F_SEL) || m < 1 || m > nmsg) {
			put(t, "%s BAD No mailbox or message.\r\n", tag);
			return 0;
		}
		size_t z = msgsz[m - 1];
		put(t, "* %d FETCH (BODY[] {%zu}\r\n", m, z);
		if (t->outlen + z + 64 < OUTSZ) {
			memcpy(t->out + t->outlen, body, z);
			t->outlen += z;
			put(t, ")\r\n%s OK Fetch completed.\r\n", tag);
			return 0;
		}
		memcpy(c->tag, tag, sizeof tag);
		c->body_len = (uint32_t)z;
		c->body_off = 0;
		return send_body(t, c);
	} else if (IS("LOGIN")) {
		a = astring(a, e, user, sizeof user);
		a = a ? astring(a, e, pass, sizeof pass) : NULL;
		if (!a || !*user)
			put(t, "%s BAD Missing arguments.\r\n", tag);
		else
			logged_in(t, c, tag, user);
	} else if (IS("AUTHENTICATE")) {
		while (a < le && *a == ' ')
			a++;
		if (le - a < 5 || strncasecmp(a, "PLAIN", 5)) {
			put(t, "%s NO Unsupported mechanism.\r\n", tag);
			return 0;
		}
		memcpy(c->tag, tag, sizeof tag);
		a += 5;
		while (a < le && *a == ' ')
			a++;
		if (a < le)
			sasl_plain(t, c, a, le);
		else {
			c->fl |= F_AUTHWAIT;
			put(t, "+ \r\n");
		}
	} else if (IS("CAPABILITY"))
		put(t, "* CAPABILITY %s\r\n%s OK Done.\r\n", caps, tag);
	else if (IS("ID"))
		put(t,
		    "* ID (\"name\" \"fakebackend\")\r\n%s OK ID "
		    "completed.\r\n",
		    tag);
	else if (IS("SELECT") || IS("EXAMINE")) {
		if (!(c->fl & F_AUTHED)) {
			put(t, "%s BAD Not logged in.\r\n", tag);
			return 0;
		}
		c->fl |= F_SEL;
		put(t,
		    "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen "
		    "\\Draft)\r\n"
		    "* %d EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] UIDs "
		    "valid\r\n"
		    "* OK [X-USER %s] Your account\r\n"
		    "%s OK [READ-WRITE] Select completed.\r\n",
		    nmsg, c->user, tag);
	} else if (IS("IDLE")) {
		if (!(c->fl & F_AUTHED)) {
			put(t, "%s BAD Not logged in.\r\n", tag);
			return 0;
		}
		memcpy(c->tag, tag, sizeof tag);
		c->fl |= F_IDLE;
		st->idle++;
		put(t, "+ idling\r\n");
	} else if (IS("STARTTLS") && ctx && !c->ssl) {
		put(t, "%s OK Begin TLS negotiation now.\r\n", tag);
		c->fl |= F_STARTTLS;
	} else if (IS("LOGOUT")) {
		put(t, "* BYE Logging out\r\n%s OK Logout completed.\r\n", tag);
		c->fl |= F_CLOSE;
	} else if (IS("LIST"))
		put(t,
		    "* LIST (\\HasNoChildren) \"/\" INBOX\r\n%s OK List "
		    "completed.\r\n",
		    tag);
	else if (IS("NAMESPACE"))
		put(t, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%s OK Done.\r\n",
		    tag);
	else if (IS("XSTAT"))
		put(t,
		    "* XSTAT conns=%ld accepts=%ld logins=%ld auth=%ld "
		    "cmds=%ld bytes=%ld "
		    "idle=%ld proxyhdr=%ld resumed=%ld cpu_us=%ld\r\n%s OK "
		    "Done.\r\n",
		    (long)st->conns, (long)st->accepts, (long)st->logins,
		    (long)st->auth, (long)st->cmds, (long)st->bytes,
		    (long)st->idle, (long)st->proxyhdr, (long)st->resumed,
		    (long)(cpu_self() * 1e6), tag);
	else
		put(t, "%s BAD Unknown command.\r\n", tag);
	return 0;
}

/* Runs the complete commands in buf; says how many bytes were used. */
static int process(struct thr *t, struct conn *c, char *buf, size_t n,
		   size_t *used)
{
	size_t pos = 0;
	while (pos < n && !(c->fl & (F_BLOCK | F_CLOSE | F_STARTTLS))) {
		size_t scan = pos + c->scan, end = 0;
		while (!end) {
			char *nl = scan < n ? memchr(buf + scan, '\n', n - scan)
					    : NULL;
			if (!nl) {
				c->scan = (uint32_t)(scan - pos);
				goto out;
			}
			size_t e = (size_t)(nl - buf), q;
			if (e >= scan + 3 && buf[e - 1] == '\r' &&
			    buf[e - 2] == '}') {
				int plus = 0;
				q = e - 2;
				if (q > scan && buf[q - 1] == '+')
					plus = 1, q--;
				size_t d = q;
				while (q > scan && buf[q - 1] >= '0' &&
				       buf[q - 1] <= '9')
					q--;
				if (q < d && q > scan && buf[q - 1] == '{') {
					size_t l = strtoul(buf + q, NULL, 10);
					if (l > 65536)
						return -1;
					if (!plus)
						put(t, "+ OK\r\n");
					scan = e + 1 + l;
					continue;
				}
			}
			end = e + 1;
		}
		c->scan = 0;
		if (command(t, c, buf + pos, buf + end) < 0)
			return -1;
		pos = end;
		if (t->outlen > OUTSZ / 3 && flush_out(t, c) < 0)
			return -1;
	}
out:
	*used = pos;
	return 0;
}

static int proxy_header(struct conn *c, char *b, size_t n, size_t *used)
{
	static const char sig[12] = "\r\n\r\n\0\r\nQUIT\n";
	*used = 0;
	if (n >= 1 && b[0] == 'P') {
		char *nl = memchr(b, '\n', n);
		if (!nl)
			return n > 107 ? -1 : 0;
		if (strncmp(b, "PROXY ", 6))
			return -1;
		*used = (size_t)(nl - b + 1);
	} else if (n >= 16 && !memcmp(b, sig, 12)) {
		size_t l = 16 + ((size_t)(unsigned char)b[14] << 8 |
				 (unsigned char)b[15]);
		if (n < l)
			return 0;
		*used = l;
	} else
		return n >= 16 ? -1 : 0;
	c->fl &= ~(uint32_t)F_PROXY;
	st->proxyhdr++;
	return 1;
}

static void want_out(struct thr *t, struct conn *c, int on)
{
	if (!!(c->fl & F_OUTEV) == on)
		return;
	struct epoll_event ev = { on ? EPOLLOUT : EPOLLIN, { .ptr = c } };
	epoll_ctl(t->ep, EPOLL_CTL_MOD, c->fd, &ev);
	c->fl ^= F_OUTEV;
}

static void greet(struct thr *t)
{
	put(t, "* OK [CAPABILITY %s] fakebackend ready.\r\n", caps);
}

static void start_tls(struct conn *c)
{
	c->ssl = SSL_new(ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_accept_state(c->ssl);
	c->fl |= F_HS;
	c->fl &= ~(uint32_t)F_STARTTLS;
}

/* -1: close the connection */
static int on_io(struct thr *t, struct conn *c)
{
	size_t used;
	t->outlen = 0;
	if (c->fl & F_BLOCK) {
		while (c->outoff < c->outlen) {
			ssize_t w = xwrite(c, c->out + c->outoff,
					   c->outlen - c->outoff);
			if (w < 0)
				return -1;
			if (w == 0)
				return 0;
			st->bytes += w;
			c->outoff += (uint32_t)w;
		}
		free(c->out);
		c->out = NULL;
		c->outlen = c->outoff = 0;
		c->fl &= ~(uint32_t)F_BLOCK;
		if (c->body_len && send_body(t, c) < 0)
			return -1;
	}
	if (c->fl & F_HS) {
		int r = SSL_do_handshake(c->ssl);
		if (r != 1) {
			r = SSL_get_error(c->ssl, r);
			ERR_clear_error();
			return r == SSL_ERROR_WANT_READ ||
				       r == SSL_ERROR_WANT_WRITE
				   ? 0
				   : -1;
		}
		c->fl &= ~(uint32_t)F_HS;
		if (SSL_session_reused(c->ssl))
			st->resumed++;
		if (c->fl & F_TLS)
			greet(t);
	}
	for (;;) {
		size_t have = c->inlen;
		ssize_t r = 0;
		if (c->fl & F_BLOCK)
			break;
		if (have > INSZ)
			return -1;
		if (have) {
			memcpy(t->in, c->in, have);
			free(c->in);
			c->in = NULL;
			c->inlen = 0;
		}
		if (c->ssl) {
			r = SSL_read(c->ssl, t->in + have, INSZ);
			if (r <= 0) {
				int er = SSL_get_error(c->ssl, (int)r);
				ERR_clear_error();
				if (er != SSL_ERROR_WANT_READ)
					return -1;
				r = 0;
			}
		} else {
			r = recv(c->fd, t->in + have, INSZ, 0);
			if (r == 0)
				return -1;
			if (r < 0) {
				if (errno != EAGAIN && errno != EINTR)
					return -1;
				r = 0;
			}
		}
		size_t n = have + (size_t)r, off = 0;
		if (c->fl & F_PROXY) {
			int pr = proxy_header(c, t->in, n, &used);
			if (pr < 0)
				return -1;
			off = used;
			if (pr > 0)
				greet(t);
		}
		if (!(c->fl & F_PROXY) && off < n) {
			if (process(t, c, t->in + off, n - off, &used) < 0)
				return -1;
			off += used;
		}
		if (t->outlen && flush_out(t, c) < 0)
			return -1;
		if (n > off) {
			c->inlen = (uint32_t)(n - off);
			c->in = malloc(c->inlen);
			memcpy(c->in, t->in + off, c->inlen);
		}
		if ((c->fl & F_CLOSE) && !(c->fl & F_BLOCK))
			return -1;
		if (c->fl & F_STARTTLS) {
			c->inlen = 0;
			start_tls(c);
			break;
		}
		if (r == 0 || !c->ssl)
			break;
	}
	if (t->outlen && flush_out(t, c) < 0)
		return -1;
	return 0;
}

static void on_accept(struct thr *t, struct lst *l)
{
	for (int i = 0; i < 64; i++) {
		int fd =
		    accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		int one = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct conn *c = calloc(1, sizeof *c);
		c->fd = fd;
		st->conns++;
		st->accepts++;
		if (opt_proxy)
			c->fl |= F_PROXY;
		struct epoll_event ev = { EPOLLIN, { .ptr = c } };
		epoll_ctl(t->ep, EPOLL_CTL_ADD, fd, &ev);
		if (l->tls) {
			start_tls(c);
			c->fl |= F_TLS;
			continue;
		}
		if (!opt_proxy) {
			t->outlen = 0;
			greet(t);
			if (flush_out(t, c) < 0)
				conn_free(t, c);
		}
	}
}

static void *loop(void *arg)
{
	struct thr *t = arg;
	struct epoll_event ev[256];
	for (;;) {
		int n = epoll_wait(t->ep, ev, 256, -1);
		for (int i = 0; i < n; i++) {
			char *p = ev[i].data.ptr;
			if (p >= (char *)t->l && p < (char *)(t->l + 32)) {
				on_accept(t, (struct lst *)p);
				continue;
			}
			struct conn *c = ev[i].data.ptr;
			if (on_io(t, c) < 0)
				conn_free(t, c);
			else
				want_out(t, c, !!(c->fl & F_BLOCK));
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int o, nth = 1, nl = 0, nfork = 1;
	struct {
		char *a;
		int tls;
	} la[32];
	const char *cert = NULL, *key = NULL;
	size_t max = 0;
	while ((o = getopt(argc, argv, "l:L:c:k:t:f:z:PSh")) != -1)
		switch (o) {
		case 'l':
		case 'L':
			la[nl].a = optarg;
			la[nl++].tls = o == 'L';
			break;
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
		case 'z':
			msgsz[nmsg++] = strtoul(optarg, NULL, 10);
			break;
		case 'P':
			opt_proxy = 1;
			break;
		case 'S':
			opt_nosaslir = 1;
			break;
		default:
			die("fakebackend [-l ip:port] [-L ip:port(TLS)] [-c "
			    "cert -k key] [-t threads]\n"
			    "  [-f processes (each with its own file "
			    "descriptor limit)] [-z bytes (a further message)] "
			    "[-P expect PROXY v1/v2 header] [-S no SASL-IR]");
		}
	if (opt_nosaslir)
		caps = "IMAP4rev1 LITERAL+ ID IDLE AUTH=PLAIN";
	signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	if (cert) {
		ctx = SSL_CTX_new(TLS_server_method());
		SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_RELEASE_BUFFERS |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
		if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
		    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) !=
			1)
			die("bad certificate or key");
	}
	for (int i = 0; i < nmsg; i++)
		if (msgsz[i] > max)
			max = msgsz[i];
	body = malloc(max);
	body_fill(body, max);
	st = mmap(NULL, sizeof *st, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 1; i < nfork; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			break;
		}
	for (int i = 0; i < nth; i++) {
		struct thr *t = calloc(1, sizeof *t);
		t->ep = epoll_create1(EPOLL_CLOEXEC);
		for (int j = 0; j < nl; j++) {
			char ip[64];
			struct sockaddr_in sa = { .sin_family = AF_INET };
			char *co = strrchr(la[j].a, ':');
			if (!co)
				die("want ip:port, got %s", la[j].a);
			snprintf(ip, sizeof ip, "%.*s", (int)(co - la[j].a),
				 la[j].a);
			inet_pton(AF_INET, ip, &sa.sin_addr);
			sa.sin_port = htons((uint16_t)atoi(co + 1));
			int fd = socket(
				AF_INET,
				SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
			    one = 1;
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
				   sizeof one);
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one,
				   sizeof one);
			if (bind(fd, (void *)&sa, sizeof sa) < 0 ||
			    listen(fd, 65535) < 0)
				die("listen %s: %s", la[j].a, strerror(errno));
			if (la[j].tls && !ctx)
				die("-L needs -c and -k");
			t->l[j].fd = fd;
			t->l[j].tls = la[j].tls;
			struct epoll_event ev = { EPOLLIN,
						  { .ptr = &t->l[j] } };
			epoll_ctl(t->ep, EPOLL_CTL_ADD, fd, &ev);
		}
		if (i == nth - 1)
			loop(t);
		else
			pthread_create(&t->th, NULL, loop, t);
	}
	return 0;
}
