/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/conf.h"

#include <ctype.h>
#include <sys/un.h>

#include "backends/geo_code.h"
#include "backends/ldap_text.h"
#include "backends/pattern.h"
#include "backends/url.h"
#include "proxy/base/addr.h"
#include "proxy/base/err.h"

#define REFUSE_MAX 400
#define HEADERS_MAX 32
#define NO_CA "https, and nobody who may have signed the server's " \
	"certificate; expected ca"

/*
 *	line = 1*( ALPHA / DIGIT / "-" / "_" ) ":" *( SP / VCHAR )
 */
static bool is_header_line(struct str line)
{
	size_t n = 0;

	while (n < line.n && (isalnum((unsigned char)line.p[n]) ||
	    line.p[n] == '-' || line.p[n] == '_'))
		n++;
	if (n == 0 || n == line.n || line.p[n] != ':')
		return false;
	while (++n < line.n)
		if (!isprint((unsigned char)line.p[n]))
			return false;
	return true;
}

static bool check_auth_http(struct settings *s, const struct conf_auth *a,
    struct err *err)
{
	struct url url;
	struct err why;

	if (!a->url[0])
		return settings_fault(s, a, "driver", err, "http without a "
		    "server; expected url");
	if (!url_parse(str_from(a->url), &url, &why))
		return settings_fault(s, a, "url", err, "%s", why.text);
	if (url.is_tls && !a->ca.path[0])
		return settings_fault(s, a, "url", err, NO_CA);
	if (a->header.n > HEADERS_MAX)
		return settings_fault(s, a, "header", err, "%zu lines; "
		    "expected %d at most", a->header.n, HEADERS_MAX);
	for (size_t i = 0; i < a->header.n; i++)
		if (!is_header_line(str_from(a->header.v[i])))
			return settings_fault(s, a, "header", err,
			    "\"%.80s\" is not a header line; expected "
			    "\"Name: value\"", a->header.v[i]);
	return true;
}

/* What a table and auth have in common. */
struct ldap_server {
	const char *url;
	bool starttls;
	bool verifies;
	const char *ca, *bind_dn, *password_file;
};

static bool check_ldap_server(struct settings *s, const void *section,
    const struct ldap_server *l, struct err *err)
{
	bool has_tls, is_local;
	struct err why;

	if (!l->url[0])
		return settings_fault(s, section, NULL, err, "ldap without a "
		    "server; expected url");
	if (!ldap_text_check_urls(l->url, &has_tls, &is_local, &why))
		return settings_fault(s, section, "url", err, "%s", why.text);
	if (has_tls && l->starttls)
		return settings_fault(s, section, "starttls", err, "ldaps "
		    "has TLS from the first byte; expected one of the two");
	if ((has_tls || l->starttls) && l->verifies && !l->ca[0])
		return settings_fault(s, section, NULL, err, "TLS without "
		    "authorities to check the server's certificate; expected "
		    "ca");
	if (!l->bind_dn[0] != !l->password_file[0])
		return settings_fault(s, section, NULL, err, "bind_dn and "
		    "bind_password_file belong together; expected both or "
		    "none");
	if (!has_tls && !l->starttls && !is_local)
		settings_warn(s, section, "url", "passwords and names go to "
		    "the server in plain text; ldaps:// or starttls = yes is "
		    "better");
	return true;
}

static bool check_ldap_text(struct settings *s, const void *section,
    const char *key, const char *text, const char *letters, struct err *err)
{
	struct err why;

	return ldap_text_check(text, letters, &why) ||
	    settings_fault(s, section, key, err, "%s", why.text);
}

static bool check_auth_ldap(struct settings *s, const struct conf_auth *a,
    struct err *err)
{
	const struct ldap_server l = { a->url, a->starttls, a->verify,
		a->ca.path, a->bind_dn, a->bind_password_file.path };

	if (!check_ldap_server(s, a, &l, err))
		return false;
	if (a->user_dn[0] && (a->base[0] || a->filter[0]))
		return settings_fault(s, a, "user_dn", err, "both user_dn, "
		    "and base or filter; expected user_dn, or the others");
	if (a->user_dn[0])
		return check_ldap_text(s, a, "user_dn", a->user_dn, "und",
		    err);
	if (!a->base[0] || !a->filter[0])
		return settings_fault(s, a, "driver", err, "ldap without a "
		    "way to the users; expected user_dn, or base and filter");
	return check_ldap_text(s, a, "filter", a->filter, "und", err);
}

static bool check_auth_driver(struct settings *s, const struct conf_auth *a,
    struct err *err)
{
	switch (a->driver) {
	case CONF_AUTH_NONE:
		return true;
	case CONF_AUTH_FILE:
		if (!a->path[0])
			return settings_fault(s, a, "driver", err, "file "
			    "without a file; expected path");
		return true;
	case CONF_AUTH_HTTP:
		return check_auth_http(s, a, err);
	case CONF_AUTH_LDAP:
		return check_auth_ldap(s, a, err);
	}
	return true;
}

static bool check_auth(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_auth *a = section;

	if (strpbrk(a->default_domain, "@ \t"))
		return settings_fault(s, a, "default_domain", err,
		    "\"%.80s\" is not a domain; expected one like example.org",
		    a->default_domain);
	if (!check_auth_driver(s, a, err))
		return false;
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
		else
			settings_need(s, b, "ca");
		return true;
	}
	for (size_t i = 0; i < sizeof of_tls / sizeof of_tls[0]; i++)
		if (settings_given(s, b, of_tls[i]))
			settings_warn(s, b, of_tls[i], "has no effect with "
			    "tls = none");
	return true;
}

static bool check_health(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_health *h = section;

	if (h->type == CONF_HEALTH_LOGIN && !h->user[0])
		return settings_fault(s, h, "type", err, "login without a "
		    "user; expected user");
	if (h->type == CONF_HEALTH_LOGIN && !h->password_file.path[0])
		return settings_fault(s, h, "type", err, "login without a "
		    "password; expected password_file");
	if (h->type != CONF_HEALTH_LOGIN && h->user[0])
		settings_warn(s, h, "user", "has no effect without "
		    "type = login");
	if (h->fast_interval_ms > h->interval_ms)
		settings_warn(s, h, "fast_interval", "longer than interval");
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

static bool check_patterns(struct settings *s, const struct conf_route *r,
    const char *key, const struct settings_strings *list, struct err *err)
{
	struct err why;

	for (size_t i = 0; i < list->n; i++) {
		struct pattern *p = pattern_new(list->v[i], true, &why);
		if (!p)
			return settings_fault(s, r, key, err, "%s; expected "
			    "a glob, or ~ and an expression", why.text);
		pattern_free(&p);
	}
	return true;
}

/* --- places --------------------------------------------------------------- */

struct code_kind {
	bool (*is_good)(const char *text);
	const char *expected;
};

static bool is_country(const char *text)
{
	char code[GEO_COUNTRY_MAX];

	return geo_country_parse(code, str_from(text));
}

static bool is_subdivision(const char *text)
{
	char code[GEO_SUBDIVISION_MAX];

	return geo_subdivision_parse(code, str_from(text));
}

static bool is_asn(const char *text)
{
	uint32_t asn;

	return geo_asn_parse(&asn, str_from(text));
}

static const struct code_kind country_code = { is_country,
	"a country; expected a code of two letters like CH" };
static const struct code_kind subdivision_code = { is_subdivision,
	"a subdivision; expected a code like DE-BY" };
static const struct code_kind asn_code = { is_asn,
	"an AS number; expected one like 64500" };

static bool check_codes(struct settings *s, const void *section,
    const char *key, const struct settings_strings *list,
    const struct code_kind *kind, bool may_be_unknown, struct err *err)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *text = list->v[i];
		if (!kind->is_good(text) && !(may_be_unknown &&
		    strcmp(text, GEO_UNKNOWN) == 0))
			return settings_fault(s, section, key, err,
			    "\"%.40s\" is not %s%s", text, kind->expected,
			    may_be_unknown ? ", or " GEO_UNKNOWN : "");
	}
	return true;
}

/* Not an error: the database may come later. */
static void warn_without(struct settings *s, const void *section,
    const char *key, bool is_used, const char *path, const char *database)
{
	if (is_used && !path[0])
		settings_warn(s, section, key, "never holds without a "
		    "database; expected geoip.%s", database);
}

static bool check_region(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_region *r = section;
	const struct conf_geoip *g = conf_geoip(s);
	const char *places = g->country[0] ? g->country : g->city;

	if (strcmp(r->name, GEO_UNKNOWN) == 0)
		return settings_fault(s, r, NULL, err, "the name stands for "
		    "no region; expected another");
	if (r->networks.n + r->asns.n + r->subdivisions.n + r->countries.n ==
	    0 && !r->continents)
		settings_warn(s, r, NULL, "it has nothing: no address is in "
		    "it");
	warn_without(s, r, "asns", r->asns.n, g->asn, "asn");
	warn_without(s, r, "subdivisions", r->subdivisions.n, g->city,
	    "city");
	warn_without(s, r, "countries", r->countries.n, places, "country");
	warn_without(s, r, "continents", r->continents, places, "country");
	return check_codes(s, r, "asns", &r->asns, &asn_code, false, err) &&
	    check_codes(s, r, "subdivisions", &r->subdivisions,
		&subdivision_code, false, err) &&
	    check_codes(s, r, "countries", &r->countries, &country_code,
		false, err);
}

/* --- routes --------------------------------------------------------------- */

static bool always_holds(const struct conf_route *r)
{
	return !r->table && r->user.n + r->domain.n + r->region.n +
	    r->country.n + r->asn.n + r->network.n + r->listener.n +
	    r->sni.n == 0 && r->percent == 100;
}

static bool check_conditions(struct settings *s, const struct conf_route *r,
    struct err *err)
{
	const struct conf_geoip *g = conf_geoip(s);

	warn_without(s, r, "country", r->country.n,
	    g->country[0] ? g->country : g->city, "country");
	warn_without(s, r, "asn", r->asn.n, g->asn, "asn");
	return check_patterns(s, r, "user", &r->user, err) &&
	    check_patterns(s, r, "domain", &r->domain, err) &&
	    check_patterns(s, r, "sni", &r->sni, err) &&
	    check_codes(s, r, "country", &r->country, &country_code, true,
		err) &&
	    check_codes(s, r, "asn", &r->asn, &asn_code, true, err);
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
	return check_conditions(s, r, err);
}

/*
 *	template = *(char / "%s" / "%%")
 */
static bool check_template(struct settings *s, const struct conf_table *t,
    const char *key, const char *text, unsigned *n_out, struct err *err)
{
	for (const char *p = text; (p = strchr(p, '%')); p += 2) {
		if (p[1] == 's')
			(*n_out)++;
		else if (p[1] != '%')
			return settings_fault(s, t, key, err, "\"%.80s\" has "
			    "a %% with nothing it could stand for; expected "
			    "%%s for what is looked up, or %%%%", text);
	}
	return true;
}

static bool check_redis(struct settings *s, const struct conf_table *t,
    struct err *err)
{
	static const struct sockaddr_un un;
	unsigned n = 0;

	if (!t->address.text[0] == !t->path[0])
		return settings_fault(s, t, NULL, err, "expected address, or "
		    "path for a Unix socket");
	if (strcmp(t->address.host, "*") == 0)
		return settings_fault(s, t, "address", err, "* is no "
		    "server's; expected a name or an address");
	if (strlen(t->path) >= sizeof un.sun_path)
		return settings_fault(s, t, "path", err, "too long for a "
		    "socket; expected %zu bytes at most",
		    sizeof un.sun_path - 1);
	if (!check_template(s, t, "key", t->key, &n, err) ||
	    !check_template(s, t, "field", t->field, &n, err))
		return false;
	return n > 0 || settings_fault(s, t, "key", err, "the same for all "
	    "users; expected %%s in it, or in field");
}

static bool check_table_http(struct settings *s, const struct conf_table *t,
    struct err *err)
{
	struct str before, after, text = str_from(t->url);
	struct url url;
	struct err why;
	bool in_path;

	if (!t->url[0])
		return settings_fault(s, t, NULL, err, "no server; expected "
		    "url");
	if (!url_parse(text, &url, &why) ||
	    !url_split(text, &before, &after, &in_path, &why))
		return settings_fault(s, t, "url", err, "%s", why.text);
	if (url.is_tls && !t->ca.path[0])
		return settings_fault(s, t, "url", err, NO_CA);
	/* a secret: a worker has it not */
	if (t->header.data.n && !is_header_line(t->header.data))
		return settings_fault(s, t, "header", err, "%s does not hold "
		    "one header line; expected \"Name: value\"",
		    t->header.path);
	return true;
}

static bool check_table_ldap(struct settings *s, const struct conf_table *t,
    struct err *err)
{
	const struct ldap_server l = { t->url, t->starttls, t->verify,
		t->ca.path, t->bind_dn, t->bind_password_file.path };

	if (!check_ldap_server(s, t, &l, err))
		return false;
	if (!t->base[0] || !t->filter[0] || !t->attribute[0])
		return settings_fault(s, t, NULL, err, "ldap without %s; "
		    "expected base, filter and attribute", !t->base[0] ?
		    "base" : !t->filter[0] ? "filter" : "attribute");
	return check_ldap_text(s, t, "filter", t->filter, "s", err);
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
	case CONF_TABLE_REDIS:
		if (!check_redis(s, t, err))
			return false;
		break;
	case CONF_TABLE_HTTP:
		if (!check_table_http(s, t, err))
			return false;
		break;
	case CONF_TABLE_LDAP:
		if (!check_table_ldap(s, t, err))
			return false;
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
