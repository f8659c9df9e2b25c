/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/conf.h"

#include <ctype.h>

#include "backends/pattern.h"
#include "proxy/base/addr.h"
#include "proxy/base/err.h"

#define REFUSE_MAX 400

static bool check_auth(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_auth *a = section;

	if (strpbrk(a->default_domain, "@ \t"))
		return settings_fault(s, a, "default_domain", err,
		    "\"%.80s\" is not a domain; expected one like example.org",
		    a->default_domain);
	if (a->backend_login == CONF_BACKEND_LOGIN_PASS)
		return true;
	if (!a->master_user[0])
		return settings_fault(s, a, "backend_login", err,
		    "master without a master user; expected master_user");
	if (!a->master_password_file.path[0])
		return settings_fault(s, a, "backend_login", err,
		    "master without a password; expected "
		    "master_password_file");
	if (a->driver == CONF_AUTH_NONE &&
	    !(a->mechanisms & 1u << CONF_MECHANISM_EXTERNAL))
		settings_warn(s, a, "backend_login", "master has no effect "
		    "without a driver or EXTERNAL in mechanisms");
	return true;
}

static bool check_backend(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_backend *b = section;
	static const char *const of_tls[] = { "ca", "tls_name", "verify",
		"certificate", "key", "tls_min_version" };

	if (strcmp(b->address.host, "*") == 0)
		return settings_fault(s, b, "address", err, "\"%s\" is every "
		    "address; expected that of one server",
		    b->address.text);
	for (size_t i = 0; i < b->source_addresses.n; i++) {
		const struct net *from = &b->source_addresses.v[i];
		if (from->bits != (from->addr.sa.sa_family == AF_INET ? 32 :
			128))
			return settings_fault(s, b, "source_addresses", err,
			    "a network; expected single addresses");
	}
	if (!b->certificate.path[0] != !b->key.path[0])
		return settings_fault(s, b, b->key.path[0] ? "key" :
		    "certificate", err, "certificate and key belong "
		    "together; expected both or none");
	if (b->tls != CONF_TLS_NONE) {
		if (!b->verify)
			settings_warn(s, b, "verify", "the server may be "
			    "anybody; yes is better");
		return true;
	}
	for (size_t i = 0; i < sizeof of_tls / sizeof of_tls[0]; i++)
		if (settings_given(s, b, of_tls[i]))
			settings_warn(s, b, of_tls[i], "has no effect with "
			    "tls = none");
	return true;
}

static bool check_pool(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_pool *p = section;
	uint64_t weight = 0;

	for (size_t i = 0; i < p->backends.n; i++)
		weight += p->backends.v[i]->weight;
	if (weight == 0)
		settings_warn(s, p, "backends", "all have weight 0: no user "
		    "is placed here");
	for (size_t i = 0; i < p->fallback.n; i++)
		if (p->fallback.v[i] == p)
			return settings_fault(s, p, "fallback", err,
			    "the pool itself; expected other pools");
	if (p->login_timeout_ms < p->connect_timeout_ms)
		return settings_fault(s, p, "login_timeout", err,
		    "shorter than connect_timeout; expected it longer, since "
		    "it covers that");
	return true;
}

/*
 *	refuse = [ "[" atom *( SP word ) "]" SP ] 1*text-char
 *
 * It goes to the client as the text of a NO (RFC 9051, resp-text).
 */
static bool is_refusal(const char *text)
{
	const char *p = text;

	for (; *p; p++)
		if (!isprint((unsigned char)*p))
			return false;
	if ((size_t)(p - text) > REFUSE_MAX)
		return false;
	p = text;
	if (*p == '[') {
		size_t n = strcspn(++p, "]");
		if (!isalpha((unsigned char)*p) ||
		    strcspn(p, "[(){%*\"\\") < n || p[n] != ']' ||
		    p[n + 1] != ' ')
			return false;
		p += n + 2;
	}
	return *p && *p != ' ';
}

static bool check_pattern(struct settings *s, const struct conf_route *r,
    const char *key, const char *text, struct err *err)
{
	struct err why;
	struct pattern *p;

	if (!text[0])
		return true;
	p = pattern_new(text, true, &why);
	if (!p)
		return settings_fault(s, r, key, err, "%s; expected a glob, "
		    "or ~ and an expression", why.text);
	pattern_free(&p);
	return true;
}

static bool always_holds(const struct conf_route *r)
{
	return !r->table && !r->user[0] && !r->domain[0] && !r->sni[0] &&
	    r->network.n == 0 && r->listener.n == 0;
}

static bool check_route(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_route *r = section;
	size_t n;
	const struct conf_route *const *all = conf_route_all(s, &n);

	int n_outcomes = !!r->pool + !!r->table + !!r->refuse[0];

	if (n_outcomes > 1)
		return settings_fault(s, r, NULL, err, "%d outcomes; "
		    "expected one of pool, table and refuse", n_outcomes);
	if (n_outcomes == 0)
		return settings_fault(s, r, NULL, err, "no outcome; expected "
		    "pool, table or refuse");
	if (r->refuse[0] && !is_refusal(r->refuse))
		return settings_fault(s, r, "refuse", err, "not a reply; "
		    "expected plain ASCII text, with or without a [CODE] and "
		    "a space before it");
	for (size_t i = 0; i < n && all[i] != r; i++)
		if (always_holds(all[i])) {
			settings_warn(s, r, NULL, "never reached: the route "
			    "at %s always holds", all[i]->where);
			break;
		}
	return check_pattern(s, r, "user", r->user, err) &&
	    check_pattern(s, r, "domain", r->domain, err) &&
	    check_pattern(s, r, "sni", r->sni, err);
}

static bool check_table(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_table *t = section;
	static const char *const keys[] = { "user@domain", "user", "@domain" };

	switch (t->type) {
	case CONF_TABLE_FILE:
	case CONF_TABLE_LMDB:
		if (!t->path[0])
			return settings_fault(s, t, NULL, err, "no file; "
			    "expected path");
		break;
	}
	if (!t->delimiter[0])
		return settings_fault(s, t, "delimiter", err, "empty; "
		    "expected a character like @");
	if (t->keys.n == 0 || t->keys.n > sizeof keys / sizeof keys[0])
		return settings_fault(s, t, "keys", err, "%zu keys; expected "
		    "one to three", t->keys.n);
	for (size_t i = 0, j; i < t->keys.n; i++) {
		for (j = 0; j < sizeof keys / sizeof keys[0]; j++)
			if (strcmp(t->keys.v[i], keys[j]) == 0)
				break;
		if (j == sizeof keys / sizeof keys[0])
			return settings_fault(s, t, "keys", err, "\"%.80s\" "
			    "is no kind of key; expected user@domain, user or "
			    "@domain", t->keys.v[i]);
	}
	return true;
}

static bool check_dns(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_dns *d = section;
	struct addr a;

	for (size_t i = 0; i < d->servers.n; i++)
		if (!addr_parse_ip(&a, str_from(d->servers.v[i].host)))
			return settings_fault(s, d, "servers", err,
			    "\"%.80s\" has a name; expected an IP address "
			    "and a port", d->servers.v[i].text);
	return true;
}

#define SETTINGS_MAKE_TABLES
#include "proxy/base/settings_rows.h"
#include "backends/settings.def"
