/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "proxy/base/addr.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/ipc.h"

#define LISTEN_FDS_START 3	/* sd_listen_fds(3) */

/* The sockets of one listener. */
struct bound {
	struct bound *next;
	char *name;
	char *wanted;			/* the address as it is written */
	struct addr addr;		/* as it is bound */
	unsigned n_fds;			/* one per worker; 1: one for all */
	int *fds;
};

struct given {
	struct given *next;
	int fd;
	char *name;
	struct addr addr;
};

struct sockets {
	unsigned n_workers;
	struct bound *all;
	struct given *given;		/* by systemd, not used yet */
};

static void bound_free(struct bound *b)
{
	for (unsigned i = 0; i < b->n_fds; i++)
		close(b->fds[i]);
	free(b->fds);
	free(b->name);
	free(b->wanted);
	free(b);
}

static void bound_free_all(struct bound **list)
{
	struct bound *b, *next;

	LL_FOREACH_SAFE(*list, b, next)
		bound_free(b);
	*list = NULL;
}

/* --- what systemd gave --------------------------------------------------- */

static bool is_listening(int fd, struct addr *addr_out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof ss, n_is = sizeof(int);
	int is = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &n_is) == 0 &&
	    is && getsockname(fd, (struct sockaddr *)&ss, &n) == 0 &&
	    addr_from_sockaddr(addr_out, (struct sockaddr *)&ss, n);
}

static void take_given(struct sockets *s)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	struct str names = str_from(getenv("LISTEN_FDNAMES"));

	if (pid && n && strtol(pid, NULL, 10) == getpid()) {
		int end = LISTEN_FDS_START + (int)strtol(n, NULL, 10);

		for (int fd = LISTEN_FDS_START; fd < end; fd++) {
			struct str name = str_split(names, ':', &names);
			struct addr addr;

			fcntl(fd, F_SETFD, FD_CLOEXEC);
			if (!is_listening(fd, &addr)) {
				log_note(LOG_LINE_WARN, "listen", "why",
				    "descriptor %d of LISTEN_FDS is no "
				    "listening TCP socket", fd);
				continue;
			}
			fcntl(fd, F_SETFL, O_NONBLOCK);
			struct given *g = mem_alloc(sizeof *g);
			*g = (struct given){ .fd = fd, .name = mem_str(name),
				.addr = addr };
			LL_APPEND(s->given, g);
		}
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static bool same_addr(const struct addr *a, const struct addr *b)
{
	return addr_same_ip(a, b) && addr_port(a) == addr_port(b);
}

/* The address decides before the name: a socket unit with two addresses gives
 * both the same name. */
static struct given *find_given(const struct sockets *s,
    const struct conf_listener *l, const struct addr *addr)
{
	struct given *g;

	LL_FOREACH(s->given, g)
		if (same_addr(&g->addr, addr))
			return g;
	LL_FOREACH(s->given, g)
		if (strcmp(g->name, l->name) == 0)
			return g;
	return NULL;
}

/* --- binding --------------------------------------------------------------- */

/* "*" and "::" take IPv6 and IPv4; IPv4 alone where the kernel has no IPv6. */
static bool address_of(const struct conf_listener *l, struct addr *out)
{
	static int has_ipv6 = -1;
	bool is_star = strcmp(l->address.host, "*") == 0;

	if (has_ipv6 < 0) {
		int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

		has_ipv6 = fd >= 0;
		if (fd >= 0)
			close(fd);
	}
	const char *host = !is_star ? l->address.host :
	    has_ipv6 ? "::" : "0.0.0.0";
	if (!addr_parse_ip(out, str_from(host)))
		return false;
	addr_set_port(out, l->address.port);
	return true;
}

/* A bound socket, or -1 with errno. */
static int bind_one(const struct addr *addr, bool shares_port)
{
	int on = 1, off = 0;
	int fd = socket(addr->sa.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (addr->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (shares_port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (bind(fd, &addr->sa, addr_len(addr)) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool port_is_ours(const struct sockets *s, const struct bound *fresh,
    unsigned port)
{
	const struct bound *b;

	LL_FOREACH(s->all, b)
		if (addr_port(&b->addr) == port)
			return true;
	LL_FOREACH(fresh, b)
		if (addr_port(&b->addr) == port)
			return true;
	return false;
}

/* With SO_REUSEPORT a second mailweir of the same account would silently get
 * half of the connections; without it bind() says that there is another. */
static bool is_free(const struct addr *addr)
{
	int fd = bind_one(addr, false);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool bind_all(struct bound *b, unsigned n, unsigned backlog)
{
	b->fds = mem_alloc(n * sizeof *b->fds);
	for (; b->n_fds < n; b->n_fds++) {
		int fd = bind_one(&b->addr, true);

		if (fd < 0)
			return false;
		b->fds[b->n_fds] = fd;
		/* Port 0: the next worker's has the one that this one got. */
		if (!addr_port(&b->addr)) {
			struct sockaddr_storage ss;
			socklen_t len = sizeof ss;

			getsockname(fd, (struct sockaddr *)&ss, &len);
			addr_from_sockaddr(&b->addr, (struct sockaddr *)&ss,
			    len);
		}
	}
	/* Not before all are bound: what comes in is shared out among those
	 * that listen. */
	for (unsigned i = 0; i < n; i++)
		if (listen(b->fds[i], (int)backlog) < 0)
			return false;
	return true;
}

static bool refuse(const struct conf_listener *l, struct err *err)
{
	return err_set(err, "%s: listener %s: %s: %s%s", l->where, l->name,
	    l->address.text, strerror(errno), errno == EACCES ?
	    "; ports under 1024 need root or CAP_NET_BIND_SERVICE" : "");
}

static bool add(struct sockets *s, struct bound **fresh,
    const struct conf_listener *l, struct err *err)
{
	struct bound *b = mem_alloc(sizeof *b);

	b->name = mem_strdup(l->name);
	b->wanted = mem_strdup(l->address.text);
	LL_PREPEND(*fresh, b);
	if (!address_of(l, &b->addr)) {
		errno = EINVAL;
		return refuse(l, err);
	}
	struct given *g = find_given(s, l, &b->addr);
	if (g) {
		b->fds = mem_alloc(sizeof *b->fds);
		b->fds[b->n_fds++] = g->fd;
		b->addr = g->addr;
		LL_DELETE(s->given, g);
		free(g->name);
		free(g);
		return true;
	}
	unsigned port = addr_port(&b->addr);
	bool must_be_free = port && !port_is_ours(s, (*fresh)->next, port);
	if ((must_be_free && !is_free(&b->addr)) ||
	    !bind_all(b, s->n_workers, l->backlog))
		return refuse(l, err);
	return true;
}

static struct bound *find_bound(const struct sockets *s,
    const struct conf_listener *l)
{
	struct bound *b;

	LL_FOREACH(s->all, b)
		if (strcmp(b->wanted, l->address.text) == 0)
			return b;
	return NULL;
}

/* Keeps those that a listener of the settings has, under its name of now. */
static void drop_others(struct sockets *s,
    const struct conf_listener *const *wanted, size_t n)
{
	struct bound *kept = NULL, *b;

	for (size_t i = 0; i < n; i++) {
		b = find_bound(s, wanted[i]);
		if (!b)
			continue;
		LL_DELETE(s->all, b);
		LL_PREPEND(kept, b);
		free(b->name);
		b->name = mem_strdup(wanted[i]->name);
	}
	bound_free_all(&s->all);
	s->all = kept;
}

bool sockets_bind(struct sockets *s, const struct settings *settings,
    struct err *err)
{
	struct bound *fresh = NULL;
	size_t n;
	const struct conf_listener *const *wanted =
	    conf_listener_all(settings, &n);

	for (size_t i = 0; i < n; i++) {
		if (!find_bound(s, wanted[i]) &&
		    !add(s, &fresh, wanted[i], err)) {
			bound_free_all(&fresh);
			return false;
		}
	}
	drop_others(s, wanted, n);
	LL_CONCAT(s->all, fresh);
	return true;
}

void sockets_send(const struct sockets *s, unsigned index, struct link *l)
{
	char text[ADDR_TEXT_MAX];
	const struct bound *b;

	LL_FOREACH(s->all, b)
		link_send_listener(l, &(struct msg_listener){
			.name = str_from(b->name),
			.address = str_from(addr_text(&b->addr, text)),
			.fd = b->fds[b->n_fds > 1 ? index : 0],
		});
}

struct sockets *sockets_new(unsigned n_workers)
{
	struct sockets *s = mem_alloc(sizeof *s);

	s->n_workers = n_workers;
	take_given(s);
	return s;
}

void sockets_free(struct sockets **sp)
{
	struct sockets *s = *sp;
	struct given *g, *next;

	*sp = NULL;
	if (!s)
		return;
	bound_free_all(&s->all);
	LL_FOREACH_SAFE(s->given, g, next) {
		close(g->fd);
		free(g->name);
		free(g);
	}
	free(s);
}
