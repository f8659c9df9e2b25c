/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* imapload.c - IMAP load generator: epoll + OpenSSL, multi-threaded.
 *
 * Modes: login, fetch, rtt, idle, storm (see usage()).  One JSON line per run
 * on stdout, the last one having "event":"result".
 * With -g it also prints {"event":"ready"} when set-up is done and waits for a
 * line on stdin before the measured part, and {"event":"end"} after it and
 * waits again, so that the caller can sample the CPU time and the memory of
 * the program under test at the right moments. */
#include "common.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/epoll.h>

enum {
	M_LOGIN,
	M_FETCH,
	M_RTT,
	M_IDLE,
	M_STORM
};
enum {
	T_TLS,
	T_PLAIN,
	T_STARTTLS
};
enum {
	P_SETUP,
	P_RUN,
	P_STOP,
	P_QUIT
};
enum {
	S_OFF,
	S_CONN,
	S_TLS,
	S_GREET,
	S_STARTTLS,
	S_LOGIN,
	S_SELECT,
	S_READY,
	S_RUN,
	S_IDLEW,
	S_IDLE,
	S_DONEW,
	S_LOGOUT,
	S_FIN
};

struct thr;
struct client {
	int fd, id, st;
	uint32_t tag, evout;
	SSL *ssl;
	SSL_SESSION *sess;
	struct thr *th;
	uint64_t t0, tcmd, lit_left, lit_off;
	int llen, useen, litn, pend;
	char line[480];
};

struct thr {
	pthread_t th;
	int ep, n, started, inflight;
	struct client *cl;
	SSL_CTX *ctx;
	uint32_t *lat;
	size_t nlat, clat;
	uint64_t ops, bytes, fail, resumed, badbytes, baduser, badno, hs, lost,
	    done_ok, ready, nologin, t_last, connfail, eof_early;
	char buf[256 * 1024];
};

static int mode = M_LOGIN, tlsm = T_TLS, nclients = 1, nthreads = 1, sync_go,
	   resume, inflight_max = 200, naddr = 64, sasl, verify = 1;
static double duration = 5, limit = 60;
static const char *host = "127.0.0.1", *userfmt = "user%d",
		  *password = "secret", *fetchcmd = "FETCH 1 BODY[]",
		  *ciphers = "TLS_AES_128_GCM_SHA256", *label = "";
static int firstid, port = 993, usermod = 1000000;
static uint32_t srcbase = 0x7f010001; /* 127.1.0.1 */
static struct sockaddr_in dst;
static char *body;
static size_t bodysz = 4u << 20;
static _Atomic int phase = P_SETUP;
static _Atomic long n_ready, n_failed, n_idle;
static _Atomic int have_tls;
static char tlsver[32], tlscipher[64];
static uint64_t t_start, t_end;

static void start_client(struct thr *t, struct client *c);

static void lat_add(struct thr *t, uint64_t us)
{
	if (t->nlat == t->clat) {
		t->clat = t->clat ? t->clat * 2 : 65536;
		t->lat = realloc(t->lat, t->clat * sizeof *t->lat);
	}
	t->lat[t->nlat++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void client_close(struct client *c, int clean)
{
	if (c->ssl) {
		if (clean)
			SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	ERR_clear_error();
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void client_fail(struct thr *t, struct client *c)
{
	if (c->st > S_OFF && c->st < S_READY)
		t->inflight--;
	if (c->st >= S_READY && c->st != S_LOGOUT && c->st != S_FIN) {
		t->lost++;
		if (c->st == S_IDLE || c->st == S_DONEW)
			n_idle--;
	}
	t->fail++;
	n_failed++;
	client_close(c, 0);
	c->st = S_FIN;
	if (mode == M_LOGIN && phase == P_RUN &&
	    n_failed < 20L * nclients + 1000)
		start_client(t, c);
}

static void want(struct thr *t, struct client *c, int out)
{
	if ((int)c->evout == out)
		return;
	struct epoll_event ev = { EPOLLIN | (out ? EPOLLOUT : 0),
				  { .ptr = c } };
	epoll_ctl(t->ep, EPOLL_CTL_MOD, c->fd, &ev);
	c->evout = (uint32_t)out;
}

static int xsend(struct thr *t, struct client *c, const char *b, size_t n)
{
	ssize_t w;
	(void)t;
	if (c->ssl)
		w = SSL_write(c->ssl, b, (int)n);
	else
		w = send(c->fd, b, n, MSG_NOSIGNAL);
	return w == (ssize_t)n ? 0 : -1;
}

static int cmd(struct thr *t, struct client *c, int st, const char *fmt, ...)
{
	char b[1024];
	va_list ap;
	int n = snprintf(b, sizeof b, "a%u ", ++c->tag);
	va_start(ap, fmt);
	n += vsnprintf(b + n, sizeof b - (size_t)n - 2, fmt, ap);
	va_end(ap);
	memcpy(b + n, "\r\n", 2);
	c->st = st;
	c->tcmd = now_us();
	return xsend(t, c, b, (size_t)n + 2);
}

static void user_of(struct client *c, char *o, size_t n)
{
	snprintf(o, n, userfmt, c->id % usermod);
}

static int send_login(struct thr *t, struct client *c)
{
	static const char al[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char u[128], d[300], o[420];
	user_of(c, u, sizeof u);
	if (!sasl)
		return cmd(t, c, S_LOGIN, "LOGIN %s %s", u, password);
	int n = snprintf(d, sizeof d, "%c%s%c%s", 0, u, 0, password), m = 0;
	for (int i = 0; i < n; i += 3) {
		unsigned v =
		    (unsigned)(unsigned char)d[i] << 16 |
		    (i + 1 < n ? (unsigned)(unsigned char)d[i + 1] << 8 : 0) |
		    (i + 2 < n ? (unsigned)(unsigned char)d[i + 2] : 0);
		o[m++] = al[v >> 18];
		o[m++] = al[v >> 12 & 63];
		o[m++] = i + 1 < n ? al[v >> 6 & 63] : '=';
		o[m++] = i + 2 < n ? al[v & 63] : '=';
	}
	o[m] = 0;
	return cmd(t, c, S_LOGIN, "AUTHENTICATE PLAIN %s", o);
}

static void got_ready(struct thr *t, struct client *c)
{
	c->st = mode == M_IDLE ? S_IDLE : S_READY;
	t->inflight--;
	t->ready++;
	n_ready++;
	if (mode == M_IDLE)
		n_idle++;
	if (phase == P_RUN && (mode == M_RTT || mode == M_FETCH))
		cmd(t, c, S_RUN, "%s", mode == M_RTT ? "NOOP" : fetchcmd);
}

/* a logged-in client goes on to what its mode wants */
static int after_login(struct thr *t, struct client *c)
{
	t->t_last = now_us();
	if (mode == M_LOGIN) {
		lat_add(t, t->t_last - c->t0);
		t->ops++;
		t->inflight--;
		return cmd(t, c, S_LOGOUT, "LOGOUT");
	}
	if (mode == M_STORM) {
		lat_add(t, t->t_last - c->t0);
		t->ops++;
		got_ready(t, c);
		return 0;
	}
	if (mode == M_RTT) {
		got_ready(t, c);
		return 0;
	}
	c->useen = 0;
	return cmd(t, c, S_SELECT, "SELECT INBOX");
}

static int tagged(struct thr *t, struct client *c, int ok)
{
	uint64_t now;
	if (!ok) {
		t->badno++;
		return -1;
	}
	switch (c->st) {
	case S_LOGIN:
		return after_login(t, c);
	case S_SELECT:
		if (verify && !c->useen) {
			t->baduser++;
			return -1;
		}
		if (mode == M_IDLE)
			return cmd(t, c, S_IDLEW, "IDLE");
		got_ready(t, c);
		return 0;
	case S_RUN:
		now = now_us();
		lat_add(t, now - c->tcmd);
		t->ops++;
		if (mode == M_FETCH && c->litn != 1)
			t->badbytes++;
		c->litn = 0;
		if (phase != P_RUN) {
			c->st = S_READY;
			return 0;
		}
		return cmd(t, c, S_RUN, "%s",
			   mode == M_RTT ? "NOOP" : fetchcmd);
	case S_DONEW:
		t->done_ok++;
		n_idle--;
		c->st = S_READY;
		return 0;
	case S_LOGOUT:
		client_close(c, 1);
		c->st = S_FIN;
		if (phase == P_RUN)
			start_client(t, c);
		return 1;
	case S_STARTTLS:
		return 0;
	}
	return -1;
}

static int start_tls(struct thr *t, struct client *c)
{
	c->ssl = SSL_new(t->ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_app_data(c->ssl, c);
	if (resume && c->sess)
		SSL_set_session(c->ssl, c->sess);
	SSL_set_connect_state(c->ssl);
	c->st = S_TLS;
	return 0;
}

/* <0 fail, 1 the client is gone or changed to TLS (stop reading), 0 go on */
static int on_line(struct thr *t, struct client *c)
{
	char *l = c->line, u[160];
	int n = c->llen;
	while (n && (l[n - 1] == '\n' || l[n - 1] == '\r'))
		n--;
	l[n] = 0;
	if (c->st == S_GREET) {
		if (strncmp(l, "* OK", 4))
			return -1;
		if (tlsm == T_STARTTLS && !c->ssl)
			return cmd(t, c, S_STARTTLS, "STARTTLS");
		return send_login(t, c);
	}
	if (l[0] == '*') {
		if (n > 3 && l[n - 1] == '}') {
			char *b = strrchr(l, '{');
			if (b) {
				c->lit_left = strtoull(b + 1, NULL, 10);
				c->lit_off = 0;
				c->litn++;
			}
		} else if (c->st == S_SELECT && verify &&
			   !strncmp(l, "* OK [X-USER ", 13)) {
			user_of(c, u, sizeof u - 1);
			strcat(u, "]");
			if (!strncmp(l + 13, u, strlen(u)))
				c->useen = 1;
		}
		return 0;
	}
	if (l[0] == '+') {
		if (c->st == S_IDLEW)
			got_ready(t, c);
		return 0;
	}
	if (l[0] != 'a')
		return c->litn ? 0 : -1; /* ")" after a literal */
	char *e;
	if (strtoul(l + 1, &e, 10) != c->tag || *e != ' ')
		return -1;
	int ok = !strncasecmp(e + 1, "OK", 2);
	if (c->st == S_STARTTLS) {
		if (!ok)
			return -1;
		start_tls(t, c);
		return 1;
	}
	return tagged(t, c, ok);
}

static int feed(struct thr *t, struct client *c, char *b, size_t n)
{
	t->bytes += n;
	while (n) {
		if (c->lit_left) {
			size_t m = n < c->lit_left ? n : (size_t)c->lit_left;
			if (verify && c->lit_off + m <= bodysz &&
			    memcmp(b, body + c->lit_off, m))
				t->badbytes++;
			c->lit_off += m;
			c->lit_left -= m;
			b += m;
			n -= m;
			continue;
		}
		char *nl = memchr(b, '\n', n);
		size_t m = nl ? (size_t)(nl - b) + 1 : n;
		size_t k = sizeof c->line - 1 - (size_t)c->llen;
		memcpy(c->line + c->llen, b, m < k ? m : k);
		c->llen += (int)(m < k ? m : k);
		b += m;
		n -= m;
		if (nl) {
			int r = on_line(t, c);
			c->llen = 0;
			if (r)
				return r;
		}
	}
	return 0;
}

static int new_sess(SSL *s, SSL_SESSION *ss)
{
	struct client *c = SSL_get_app_data(s);
	if (c->sess)
		SSL_SESSION_free(c->sess);
	c->sess = ss;
	return 1;
}

static void on_event(struct thr *t, struct client *c, uint32_t events)
{
	int r;
	if (c->st == S_CONN) {
		int er = 0;
		socklen_t sl = sizeof er;
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &er, &sl);
		if (er) {
			t->connfail++;
			client_fail(t, c);
			return;
		}
		if (!(events & EPOLLOUT))
			return;
		if (tlsm == T_TLS)
			start_tls(t, c);
		else {
			c->st = S_GREET;
			want(t, c, 0);
		}
	}
	for (;;) {
		if (c->st == S_TLS) {
			r = SSL_do_handshake(c->ssl);
			if (r != 1) {
				r = SSL_get_error(c->ssl, r);
				ERR_clear_error();
				if (r == SSL_ERROR_WANT_READ)
					want(t, c, 0);
				else if (r != SSL_ERROR_WANT_WRITE)
					client_fail(t, c);
				return;
			}
			want(t, c, 0);
			t->hs++;
			if (SSL_session_reused(c->ssl))
				t->resumed++;
			if (!atomic_exchange(&have_tls, 1)) {
				snprintf(tlsver, sizeof tlsver, "%s",
					 SSL_get_version(c->ssl));
				snprintf(tlscipher, sizeof tlscipher, "%s",
					 SSL_get_cipher(c->ssl));
			}
			if (tlsm == T_STARTTLS) {
				if (send_login(t, c) < 0) {
					client_fail(t, c);
					return;
				}
			} else
				c->st = S_GREET;
		}
		ssize_t n;
		if (c->ssl) {
			n = SSL_read(c->ssl, t->buf, sizeof t->buf);
			if (n <= 0) {
				int er = SSL_get_error(c->ssl, (int)n);
				ERR_clear_error();
				if (er == SSL_ERROR_WANT_READ ||
				    er == SSL_ERROR_WANT_WRITE)
					return;
				n = -1;
			}
		} else {
			n = recv(c->fd, t->buf, sizeof t->buf, 0);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n == 0)
				n = -1;
		}
		if (n < 0) {
			if (c->st ==
			    S_LOGOUT) { /* closed before the tagged OK */
				t->eof_early++;
				client_close(c, 0);
				c->st = S_FIN;
				if (phase == P_RUN)
					start_client(t, c);
				return;
			}
			client_fail(t, c);
			return;
		}
		r = feed(t, c, t->buf, (size_t)n);
		if (r < 0) {
			client_fail(t, c);
			return;
		}
		if (r > 0 && c->st != S_TLS)
			return;
	}
}

static void start_client(struct thr *t, struct client *c)
{
	c->llen = 0;
	c->lit_left = 0;
	c->litn = 0;
	c->tag = 0;
	c->t0 = now_us();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	int one = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (naddr > 0) {
		struct sockaddr_in sa = { .sin_family = AF_INET };
		sa.sin_addr.s_addr = htonl(srcbase + (uint32_t)(c->id % naddr));
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
			   sizeof one);
		if (bind(c->fd, (void *)&sa, sizeof sa) < 0)
			die("bind: %s", strerror(errno));
	}
	c->st = S_CONN;
	t->inflight++;
	int r = connect(c->fd, (void *)&dst, sizeof dst);
	if (r < 0 && errno != EINPROGRESS) {
		t->connfail++;
		t->inflight--;
		t->fail++;
		n_failed++;
		close(c->fd);
		c->fd = -1;
		c->st = S_FIN;
		return;
	}
	struct epoll_event ev = { EPOLLIN | EPOLLOUT, { .ptr = c } };
	c->evout = 1;
	epoll_ctl(t->ep, EPOLL_CTL_ADD, c->fd, &ev);
}

static void *worker(void *arg)
{
	struct thr *t = arg;
	struct epoll_event ev[256];
	int ph, last = P_SETUP;
	int setup = mode == M_FETCH || mode == M_RTT || mode == M_IDLE;
	while ((ph = phase) != P_QUIT) {
		if (ph != last && ph == P_RUN) {
			if (mode == M_LOGIN)
				while (t->started < t->n)
					start_client(t, &t->cl[t->started++]);
			if (mode == M_RTT || mode == M_FETCH)
				for (int i = 0; i < t->n; i++)
					if (t->cl[i].st == S_READY &&
					    cmd(t, &t->cl[i], S_RUN, "%s",
						mode == M_RTT ? "NOOP"
							      : fetchcmd) < 0)
						client_fail(t, &t->cl[i]);
			if (mode == M_IDLE)
				for (int i = 0; i < t->n; i++)
					if (t->cl[i].st == S_IDLE) {
						t->cl[i].st = S_DONEW;
						if (xsend(t, &t->cl[i],
							  "DONE\r\n", 6) < 0)
							client_fail(t,
								    &t->cl[i]);
					}
		}
		last = ph;
		int more = 0;
		if ((setup && ph == P_SETUP) ||
		    (mode == M_STORM && ph == P_RUN)) {
			int lim =
			    mode == M_STORM
				? t->n
				: (inflight_max + nthreads - 1) / nthreads;
			int burst = 64;
			while (t->started < t->n && t->inflight < lim &&
			       burst--)
				start_client(t, &t->cl[t->started++]);
			more = t->started < t->n && t->inflight < lim;
		}
		int n = epoll_wait(t->ep, ev, 256, more ? 0 : 5);
		for (int i = 0; i < n; i++)
			on_event(t, ev[i].data.ptr, ev[i].events);
	}
	for (int i = 0; i < t->n; i++)
		client_close(&t->cl[i], 1);
	return NULL;
}

static int cmp32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static volatile sig_atomic_t stopped;
static void on_sig(int s)
{
	(void)s;
	stopped = 1;
}

static void wait_go(void)
{
	if (!sync_go)
		return;
	char b[64];
	while (!stopped) {
		struct pollfd p = { 0, POLLIN, 0 };
		if (poll(&p, 1, 200) > 0) {
			if (read(0, b, sizeof b) <= 0)
				stopped = 1;
			return;
		}
	}
}

static void usage(void)
{
	die("imapload -m login|fetch|rtt|idle|storm [-H host] [-p port] [-s "
	    "tls|plain|starttls]\n"
	    "  [-n clients] [-T threads] [-d seconds] [-c set-up concurrency] "
	    "[-u user%%d] [-M modulo]\n"
	    "  [-w password] [-q 'FETCH 1 BODY[]'] [-r resume TLS sessions] "
	    "[-a AUTHENTICATE PLAIN]\n"
	    "  [-A source addresses (0: do not bind)] [-S first source "
	    "address] [-C TLS 1.3 suite]\n"
	    "  [-V do not check bytes and user] [-l limit seconds] [-g wait "
	    "for go] [-L label] [-i first client number]");
}

int main(int argc, char **argv)
{
	int o;
	while ((o = getopt(argc, argv,
			   "m:H:p:s:n:T:d:c:u:M:w:q:raA:S:C:Vl:gL:i:h")) != -1)
		switch (o) {
		case 'm':
			mode = !strcmp(optarg, "login")	  ? M_LOGIN
			       : !strcmp(optarg, "fetch") ? M_FETCH
			       : !strcmp(optarg, "rtt")	  ? M_RTT
			       : !strcmp(optarg, "idle")  ? M_IDLE
			       : !strcmp(optarg, "storm") ? M_STORM
							  : (usage(), 0);
			break;
		case 'H':
			host = optarg;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 's':
			tlsm = !strcmp(optarg, "tls")	  ? T_TLS
			       : !strcmp(optarg, "plain") ? T_PLAIN
							  : T_STARTTLS;
			break;
		case 'n':
			nclients = atoi(optarg);
			break;
		case 'T':
			nthreads = atoi(optarg);
			break;
		case 'd':
			duration = atof(optarg);
			break;
		case 'c':
			inflight_max = atoi(optarg);
			break;
		case 'u':
			userfmt = optarg;
			break;
		case 'M':
			usermod = atoi(optarg);
			break;
		case 'w':
			password = optarg;
			break;
		case 'q':
			fetchcmd = optarg;
			break;
		case 'r':
			resume = 1;
			break;
		case 'a':
			sasl = 1;
			break;
		case 'A':
			naddr = atoi(optarg);
			break;
		case 'S': {
			struct in_addr a;
			inet_pton(AF_INET, optarg, &a);
			srcbase = ntohl(a.s_addr);
			break;
		}
		case 'C':
			ciphers = optarg;
			break;
		case 'V':
			verify = 0;
			break;
		case 'l':
			limit = atof(optarg);
			break;
		case 'g':
			sync_go = 1;
			break;
		case 'i':
			firstid = atoi(optarg);
			break;
		case 'L':
			label = optarg;
			break;
		default:
			usage();
		}
	static const char *mn[] = { "login", "fetch", "rtt", "idle", "storm" };
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_sig);
	signal(SIGINT, on_sig);
	setvbuf(stdout, NULL, _IOLBF, 0);
	raise_nofile();
	dst.sin_family = AF_INET;
	dst.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &dst.sin_addr) != 1)
		die("host must be an IPv4 address");
	if (mode == M_FETCH && verify) {
		body = malloc(bodysz);
		body_fill(body, bodysz);
	}
	if (nthreads > nclients)
		nthreads = nclients;
	struct thr *th = calloc((size_t)nthreads, sizeof *th);
	for (int i = 0, id = firstid; i < nthreads; i++) {
		struct thr *t = &th[i];
		t->ep = epoll_create1(EPOLL_CLOEXEC);
		t->n = nclients / nthreads + (i < nclients % nthreads);
		t->cl = calloc((size_t)t->n, sizeof *t->cl);
		for (int j = 0; j < t->n; j++) {
			t->cl[j].fd = -1;
			t->cl[j].id = id++;
			t->cl[j].th = t;
		}
		t->ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION);
		SSL_CTX_set_ciphersuites(t->ctx, ciphers);
		SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_options(t->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
		SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
		if (resume) {
			SSL_CTX_set_session_cache_mode(
			    t->ctx,
			    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
			SSL_CTX_sess_set_new_cb(t->ctx, new_sess);
		}
		if (mode == M_FETCH) {
			SSL_CTX_set_read_ahead(t->ctx, 1);
			SSL_CTX_set_default_read_buffer_len(t->ctx,
							    65536 + 4096);
		}
	}
	for (int i = 0; i < nthreads; i++)
		pthread_create(&th[i].th, NULL, worker, &th[i]);

	uint64_t s0 = now_us();
	int setup = mode == M_FETCH || mode == M_RTT || mode == M_IDLE;
	if (setup)
		while (!stopped && n_ready + n_failed < nclients &&
		       now_us() - s0 < limit * 1e6)
			usleep(2000);
	double setup_s = (double)(now_us() - s0) / 1e6;
	long setup_ready = n_ready;
	if (sync_go || mode == M_IDLE)
		printf("{\"event\":\"ready\",\"ready\":%ld,\"failed\":%ld,"
		       "\"setup_s\":%.3f}\n",
		       (long)n_ready, (long)n_failed, setup_s);
	wait_go();
	if (mode == M_IDLE && !sync_go)
		for (t_start = now_us();
		     !stopped && now_us() - t_start < duration * 1e6;)
			usleep(50000);
	double cpu0 = cpu_self();
	long alive_before = n_idle;
	t_start = now_us();
	phase = P_RUN;
	if (mode == M_STORM) {
		while (!stopped && n_ready + n_failed < nclients &&
		       now_us() - t_start < limit * 1e6)
			usleep(500);
	} else if (mode == M_IDLE) {
		while (!stopped && n_idle > 0 && now_us() - t_start < 20e6)
			usleep(2000);
	} else
		while (!stopped && now_us() - t_start < duration * 1e6 &&
		       n_failed < 20L * nclients + 1000)
			usleep(1000);
	phase = P_STOP;
	t_end = now_us();
	double cpu1 = cpu_self();
	if (mode == M_FETCH)
		usleep(100000);
	if (sync_go)
		printf("{\"event\":\"end\"}\n");
	wait_go();
	phase = P_QUIT;
	for (int i = 0; i < nthreads; i++)
		pthread_join(th[i].th, NULL);

	struct thr s;
	memset(&s, 0, sizeof s);
	for (int i = 0; i < nthreads; i++) {
		struct thr *t = &th[i];
		s.ops += t->ops;
		s.bytes += t->bytes;
		s.fail += t->fail;
		s.resumed += t->resumed;
		s.badbytes += t->badbytes;
		s.baduser += t->baduser;
		s.badno += t->badno;
		s.hs += t->hs;
		s.lost += t->lost;
		s.done_ok += t->done_ok;
		s.ready += t->ready;
		s.connfail += t->connfail;
		s.eof_early += t->eof_early;
		if (t->t_last > s.t_last)
			s.t_last = t->t_last;
		s.nlat += t->nlat;
	}
	uint32_t *all = malloc((s.nlat + 1) * sizeof *all);
	size_t k = 0;
	for (int i = 0; i < nthreads; i++) {
		memcpy(all + k, th[i].lat, th[i].nlat * sizeof *all);
		k += th[i].nlat;
	}
	qsort(all, k, sizeof *all, cmp32);
#define Q(p) (k ? all[(size_t)((double)(k - 1) * (p))] : 0)
	double secs = (double)(t_end - t_start) / 1e6;
	if (mode == M_STORM && s.t_last)
		secs = (double)(s.t_last - t_start) / 1e6;
	if (secs < 1e-6)	/* nothing could be measured */
		secs = 1e-6;
	printf("{\"event\":\"result\",\"label\":\"%s\",\"mode\":\"%s\","
	       "\"clients\":%d,\"threads\":%d,"
	       "\"secs\":%.3f,\"setup_s\":%.3f,\"ready\":%ld,\"ops\":%llu,"
	       "\"ops_s\":%.1f,\"MB_s\":%.2f,"
	       "\"bytes\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
	       "\"max_us\":%u,\"fail\":%llu,"
	       "\"connfail\":%llu,\"lost\":%llu,\"bad_bytes\":%llu,\"bad_"
	       "user\":%llu,\"bad_no\":%llu,"
	       "\"eof_early\":%llu,\"handshakes\":%llu,\"resumed\":%llu,"
	       "\"alive\":%ld,\"done_ok\":%llu,"
	       "\"tls\":\"%s\",\"cipher\":\"%s\",\"gen_cpu_s\":%.3f}\n",
	       label, mn[mode], nclients, nthreads, secs, setup_s,
	       setup ? setup_ready : (long)n_ready, (unsigned long long)s.ops,
	       (double)s.ops / secs, (double)s.bytes / secs / 1e6,
	       (unsigned long long)s.bytes, Q(.5), Q(.99), Q(.999),
	       k ? all[k - 1] : 0, (unsigned long long)s.fail,
	       (unsigned long long)s.connfail, (unsigned long long)s.lost,
	       (unsigned long long)s.badbytes, (unsigned long long)s.baduser,
	       (unsigned long long)s.badno, (unsigned long long)s.eof_early,
	       (unsigned long long)s.hs, (unsigned long long)s.resumed,
	       alive_before, (unsigned long long)s.done_ok, tlsver, tlscipher,
	       cpu1 - cpu0);
	return s.fail || s.badbytes || s.baduser ? 2 : 0;
}
