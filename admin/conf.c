/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/conf.h"

#include <stdlib.h>
#include <string.h>

#include "backends/conf.h"
#include "proxy/base/err.h"
#include "proxy/conf.h"

/* EXTERNAL is good only where a listener asks for client certificates. */
static bool asks_for_certificates(const struct settings *s)
{
	size_t n;
	const struct conf_listener *const *all = conf_listener_all(s, &n);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < all[i]->certificates.n; j++)
			if (all[i]->certificates.v[j]->client_ca.path[0])
				return true;
	return false;
}

static bool check_main(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_main *m = section;
	const struct conf_auth *auth = conf_auth(s);
	size_t n;

	if (!m->user[0] || strpbrk(m->user, " \t:/"))
		return settings_fault(s, m, "user", err, "\"%.80s\" is not an "
		    "account; expected its name", m->user);
	conf_listener_all(s, &n);
	if (n == 0)
		settings_warn(s, m, NULL, "no listener: nobody can connect");
	conf_route_all(s, &n);
	if (n == 0)
		settings_warn(s, m, NULL, "no route: every login is refused");
	if (auth->mechanisms & 1u << CONF_MECHANISM_EXTERNAL &&
	    !asks_for_certificates(s))
		settings_warn(s, auth, "mechanisms", "EXTERNAL, but no "
		    "listener asks for certificates: no client_ca");
	return true;
}

static bool check_admin(struct settings *s, const void *section,
    struct err *err)
{
	const struct conf_admin *a = section;
	char *end;
	unsigned long mode = strtoul(a->mode, &end, 8);

	if (strlen(a->socket) > CONF_SOCKET_MAX)
		return settings_fault(s, a, "socket", err, "\"%.120s\" is too "
		    "long; expected %d bytes at most", a->socket,
		    CONF_SOCKET_MAX);
	if (a->mode[0] < '0' || a->mode[0] > '7' || *end || mode > 0777)
		return settings_fault(s, a, "mode", err, "\"%.20s\" is no mode;"
		    " expected octal digits, 0777 at most", a->mode);
	return true;
}

#define SETTINGS_MAKE_TABLES
#include "proxy/base/settings_rows.h"
#include "admin/settings.def"

static const struct settings_section *const sections[] = {
	&conf_main_section,
	&conf_log_section,
	&conf_admin_section,
	&conf_tls_section,
	&conf_tickets_section,
	&conf_listener_section,
	&conf_limits_section,
	&conf_relay_section,
	&conf_auth_section,
	&conf_backend_section,
	&conf_health_section,
	&conf_pool_section,
	&conf_table_section,
	&conf_geoip_section,
	&conf_region_section,
	&conf_route_section,
	&conf_moves_section,
	&conf_dns_section,
};

const struct settings_schema conf_schema = {
	sections, sizeof sections / sizeof sections[0],
};
