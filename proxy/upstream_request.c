/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/upstream_request.h"

#include "backends/conf.h"
#include "proxy/base/digits.h"
#include "proxy/base/mem.h"
#include "proxy/prelogin.h"
#include "proxy/proxyline.h"
#include "proxy/session.h"

#define PROXY_TTL 7	/* hops, as Dovecot begins */

void upstream_find_local_address(struct session *s)
{
	struct addr *local = &s->prelogin->local_addr;
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;

	if (local->sa.sa_family == AF_UNSPEC &&
	    getsockname(s->client.io.fd, (struct sockaddr *)&sa, &len) == 0)
		addr_from_sockaddr(local, (struct sockaddr *)&sa, len);
}

/* Takes one quoted string off the front of *rest, its escapes undone in a
 * copy; none there: false. */
static bool take_quoted(struct arena *a, struct str *rest, struct str *out)
{
	size_t i = 0, n = 0, end;

	while (i < rest->n && rest->p[i] == ' ')
		i++;
	if (i == rest->n || rest->p[i] != '"')
		return false;
	for (end = ++i; end < rest->n && rest->p[end] != '"'; end++)
		if (rest->p[end] == '\\')
			end++;
	char *to = end < rest->n ? arena_alloc(a, end - i + 1) : NULL;
	if (!to)
		return false;
	for (; i < end; i++) {
		if (rest->p[i] == '\\')
			i++;
		to[n++] = rest->p[i];
	}
	*rest = str_skip(*rest, end + 1);
	*out = (struct str){ to, n };
	return true;
}

/* The client's own ID, which preauth has made a list of quoted strings. */
static unsigned client_pairs(struct prelogin *p)
{
	struct str rest = preauth_client_id(p->preauth);
	unsigned n = 0;

	while (n < LOGIN_ID_PAIRS_MAX &&
	    take_quoted(p->attempt, &rest, &p->pairs[n].key) &&
	    take_quoted(p->attempt, &rest, &p->pairs[n].value))
		n++;
	return n;
}

static void fill_id(struct session *s, struct login_id *id)
{
	struct prelogin *p = s->prelogin;

	upstream_find_local_address(s);
	digits_hex(p->session_text, s->id);
	*id = (struct login_id){
		.send = true,
		.session_id = { p->session_text, DIGITS_HEX },
		.client_ip = str_from(addr_ip(&s->client_addr, p->client_ip)),
		.client_port = (uint16_t)addr_port(&s->client_addr),
		.connected_ip = str_from(addr_ip(&s->prelogin->local_addr, p->local_ip)),
		.connected_port = (uint16_t)addr_port(&s->prelogin->local_addr),
		.connected_name = str_from(p->server_name),
		.client_has_tls = stream_is_tls(&s->client) ||
		    s->has_proxied_tls,
		.ttl = PROXY_TTL,
		.pairs = p->pairs,
		.n_pairs = client_pairs(p),
	};
}

static void fill_credentials(const struct prelogin *p, struct login_request *r)
{
	const struct ident *who = preauth_ident(p->preauth);

	if (p->master_user.n) {
		r->kind = LOGIN_BY_PASSWORD;
		r->user = p->master_user;
		r->password = p->master_password;
		r->authzid = p->login_as;
	} else if (who->mech == SASL_EXTERNAL && !p->login_password.n) {
		r->kind = LOGIN_BY_EXTERNAL;
		r->authzid = p->login_as;
	} else if (sasl_mech_class(who->mech) == SASL_RELAYED) {
		r->kind = LOGIN_BY_RELAY;
		r->mechanism = str_from(sasl_mech_name(who->mech));
		r->initial = who->initial;
	} else {
		r->kind = LOGIN_BY_PASSWORD;
		r->user = p->login_user.n ? p->login_user :
		    who->authcid.n ? who->authcid : who->user;
		r->password = p->login_password.n ? p->login_password :
		    who->password;
		/* a name that was given here is the whole one */
		r->authzid = p->login_user.n ? STR_NONE : who->authzid;
	}
}

void upstream_request_open(struct session *s)
{
	static const enum login_tls tls[] = {
		[CONF_TLS_NONE] = LOGIN_TLS_NONE,
		[CONF_TLS_STARTTLS] = LOGIN_TLS_START,
		[CONF_TLS_IMPLICIT] = LOGIN_TLS_IMPLICIT,
	};
	struct prelogin *p = s->prelogin;
	struct login_request r = {
		.purpose = LOGIN_SESSION,
		.tls = tls[s->chosen->tls],
		.pipeline = s->chosen->pipeline,
		.hint = p->hint,
	};

	fill_credentials(p, &r);
	if (s->chosen->client_info == CONF_CLIENT_INFO_ID)
		fill_id(s, &r.id);
	login_init(&p->login, &r);
	p->is_login_open = true;
}

bool upstream_request_header(struct session *s, struct buf *out)
{
	if (s->chosen->client_info != CONF_CLIENT_INFO_PROXY_V2)
		return true;
	upstream_find_local_address(s);
	digits_hex(s->prelogin->session_text, s->id);
	bool has_tls = stream_is_tls(&s->client);
	bool has_name = s->prelogin->external[0];
	struct proxyline line = {
		.kind = PROXYLINE_TCP,
		.source = s->client_addr,
		.destination = s->prelogin->local_addr,
		.authority = str_from(s->prelogin->server_name),
		.unique_id = { s->prelogin->session_text, DIGITS_HEX },
		.tls = {
			.is_on = has_tls || s->has_proxied_tls,
			.has_cert = has_name,
			.had_cert = has_name,
			.is_verified = has_name,
			.version = str_from(s->tls_version),
			.cipher = str_from(s->prelogin->tls_cipher),
			.cn = str_from(s->prelogin->external),
		},
	};
	return proxyline_build_v2(out, &line);
}
