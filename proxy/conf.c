/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/conf.h"

#include "proxy/base/addr.h"
#include "proxy/base/err.h"

#define IDLE_LEAST_MS 1800000	/* RFC 9051, section 5.4 */

static bool check_tls(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_tls *t = section;

	(void)err;
	if (t->min_version < CONF_TLS_1_2)
		settings_warn(s, t, "min_version", "TLS before 1.2 is broken "
		    "(RFC 8996)");
	return true;
}

static bool is_any(const char *host)
{
	return strcmp(host, "*") == 0 || strcmp(host, "::") == 0;
}

static bool same_address(const struct settings_address *a,
    const struct settings_address *b)
{
	struct addr x, y;

	if (a->port != b->port)
		return false;
	if (is_any(a->host) || is_any(b->host))
		return is_any(a->host) && is_any(b->host);
	return addr_parse_ip(&x, str_from(a->host)) &&
	    addr_parse_ip(&y, str_from(b->host)) && addr_same_ip(&x, &y);
}

static bool check_listener_address(struct settings *s,
    const struct conf_listener *l, struct err *err)
{
	struct addr a;
	size_t n;
	const struct conf_listener *const *all = conf_listener_all(s, &n);

	if (!is_any(l->address.host) &&
	    !addr_parse_ip(&a, str_from(l->address.host)))
		return settings_fault(s, l, "address", err, "\"%.80s\" has a "
		    "name; expected an IP address or *, and a port",
		    l->address.text);
	for (size_t i = 0; i < n && all[i] != l; i++)
		if (same_address(&all[i]->address, &l->address))
			return settings_fault(s, l, "address", err,
			    "\"%s\" is that of listener %s at %s; expected "
			    "another", l->address.text, all[i]->name,
			    all[i]->where);
	return true;
}

static bool check_listener(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_listener *l = section;

	if (!check_listener_address(s, l, err))
		return false;
	if (l->tls != CONF_TLS_NONE && l->certificates.n == 0)
		return settings_fault(s, l, NULL, err, "no certificate; "
		    "expected certificates = { ... }, or tls = none");
	if (l->tls == CONF_TLS_NONE && l->certificates.n > 0)
		settings_warn(s, l, "certificates", "has no effect with "
		    "tls = none");
	if (l->tls == CONF_TLS_NONE && !l->plaintext_login)
		settings_warn(s, l, NULL, "nobody can log in: there is no "
		    "TLS, and plaintext_login = no");
	if (l->tls == CONF_TLS_IMPLICIT && l->plaintext_login)
		settings_warn(s, l, "plaintext_login", "has no effect with "
		    "tls = implicit");
	return true;
}

static bool check_relay(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_relay *r = section;

	(void)err;
	if (r->idle_timeout_ms < IDLE_LEAST_MS)
		settings_warn(s, r, "idle_timeout", "under 30m: clients in "
		    "IDLE are cut off (RFC 9051, section 5.4)");
	return true;
}

#define SETTINGS_MAKE_TABLES
#include "proxy/base/settings_rows.h"
#include "proxy/settings.def"
