/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/admit.h"

#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/conf.h"
#include "proxy/frontend.h"
#include "proxy/prelogin.h"
#include "proxy/proxyline.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include <uthash.h>

/* An IPv6 customer has a /64 at the least, so that is what counts as one. */
struct address_key {
	uint8_t family;
	uint8_t ip[8];
};

struct counted_address {
	struct address_key key;
	unsigned n;
	UT_hash_handle hh;
};

static struct address_key key_of(const struct addr *a)
{
	struct address_key key = { .family = (uint8_t)a->sa.sa_family };

	if (a->sa.sa_family == AF_INET)
		memcpy(key.ip, &a->v4.sin_addr, 4);
	else
		memcpy(key.ip, &a->v6.sin6_addr, 8);
	return key;
}

/* False: the address has as many as it may. */
static bool count(struct session *s)
{
	unsigned most = snapshot_limits(s->snapshot)->sessions_per_address;
	struct address_key key = key_of(&s->client_addr);
	struct counted_address *c;

	if (most == 0)
		return true;
	HASH_FIND(hh, s->worker->addresses, &key, sizeof key, c);
	if (!c) {
		c = mem_alloc(sizeof *c);
		c->key = key;
		HASH_ADD(hh, s->worker->addresses, key, sizeof c->key, c);
	} else if (c->n >= most) {
		return false;
	}
	c->n++;
	s->is_counted = true;
	return true;
}

void admit_forget(struct session *s)
{
	struct address_key key = key_of(&s->client_addr);
	struct counted_address *c;

	if (!s->is_counted)
		return;
	s->is_counted = false;
	HASH_FIND(hh, s->worker->addresses, &key, sizeof key, c);
	must(c && c->n > 0);
	if (--c->n == 0) {
		HASH_DEL(s->worker->addresses, c);
		free(c);
	}
}

static bool is_trusted(const struct session *s)
{
	const struct settings_networks *nets =
	    &s->listener->conf->proxy_protocol_from;

	for (size_t i = 0; i < nets->n; i++)
		if (net_has(&nets->v[i], &s->client_addr))
			return true;
	return false;
}

static void take_header(struct session *s, const struct proxyline *line)
{
	if (line->kind == PROXYLINE_LOCAL)
		return;
	s->client_addr = line->source;
	s->prelogin->local_addr = line->destination;
	s->prelogin->is_proxied = true;
	s->has_proxied_tls = line->tls.is_on;
	frontend_keep_server_name(s, line->authority);
}

static enum step refuse_header(struct session *s, const char *why)
{
	struct log_line l;

	if (log_begin(&l, LOG_LINE_WARN, "proxy_header")) {
		log_session(&l, s->id);
		log_addr(&l, "from", &s->client_addr);
		log_text(&l, "why", why);
		log_end(&l);
	}
	return session_fail(s, REASON_PROXY_HEADER);
}

/* Bytes behind the header are the client's own: TLS or IMAP. */
static enum step read_header(struct session *s)
{
	struct buf *in = &s->prelogin->in;
	struct proxyline line;
	struct err err = { "" };
	size_t n, used;

	for (;;) {
		char *to = buf_reserve(in, PROXYLINE_MAX);
		if (!to)
			return refuse_header(s, "too long");
		switch (stream_read(&s->client, to, PROXYLINE_MAX, &n)) {
		case STREAM_AGAIN:
			stream_want(&s->client, true);
			return STEP_WAIT;
		case STREAM_EOF:
			return session_fail(s, REASON_CLIENT_EOF);
		case STREAM_FAILED:
			return session_fail(s, REASON_CLIENT_ERROR);
		case STREAM_OK:
			break;
		}
		buf_commit(in, n);
		struct str have = buf_view(in);
		switch (proxyline_parse(have.p, have.n, &line, &used, &err)) {
		case PROXYLINE_MORE:
			continue;
		case PROXYLINE_BAD:
			return refuse_header(s, err.text);
		case PROXYLINE_DONE:
			break;
		}
		take_header(s, &line);
		if (have.n > used)
			stream_unread(&s->client, have.p + used,
			    have.n - used);
		buf_clear(in);
		return STEP_NEXT;
	}
}

enum step admit_run(struct session *s)
{
	if (is_trusted(s)) {
		enum step step = read_header(s);
		if (step != STEP_NEXT)
			return step;
	}
	if (!count(s))
		return session_fail(s, REASON_ADDRESS_LIMIT);
	return STEP_NEXT;
}
