/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/target.h"

#include <ctype.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/resolve.h"
#include "proxy/base/mem.h"

#define MARK '/'		/* no section's name has it */
#define TITLE_MAX 256
#define WEIGHT_MAX 1000
#define SRV_WEIGHT_STEP 66	/* 65535 in 0..WEIGHT_MAX */

bool target_is_srv(const struct conf_backend *section)
{
	return str_starts(str_from(section->address.host), STR(SETTINGS_SRV_MARK));
}

const struct conf_backend *target_section(const struct settings *settings,
    struct str name)
{
	char title[TITLE_MAX];
	struct str rest, first = str_split(name, MARK, &rest);

	if (first.n == 0 || first.n >= sizeof title || rest.n == 0 ||
	    memchr(name.p, 0, name.n))
		return NULL;
	memcpy(title, first.p, first.n);
	title[first.n] = 0;
	const struct conf_backend *section = conf_backend_find(settings,
	    title);
	return section && target_is_srv(section) ? section : NULL;
}

struct conf_backend *target_conf(const struct conf_backend *section,
    struct str name, unsigned weight)
{
	struct str place, host;
	unsigned port;

	(void)str_split(name, MARK, &place);
	if (!target_split(place, &host, &port) || port == 0)
		return NULL;
	struct conf_backend *c = mem_alloc(sizeof *c + name.n + 1 +
	    host.n + 1);
	char *text = (char *)(c + 1);
	*c = *section;
	c->name = memcpy(text, name.p, name.n);
	c->address.text = text + (place.p - name.p);
	c->address.host = memcpy(text + name.n + 1, host.p, host.n);
	c->address.port = (uint16_t)port;
	c->weight = weight;
	return c;
}

char *target_name(const struct conf_backend *section,
    const struct resolve_target *t)
{
	return mem_printf("%s%c%s:%u", section->name, MARK, t->host,
	    (unsigned)t->port);
}

unsigned target_weight(const struct conf_backend *section,
    const struct resolve_target *t, unsigned most, unsigned sum)
{
	unsigned step = most > WEIGHT_MAX ? SRV_WEIGHT_STEP : 1;

	if (section->weight == 0 || sum == 0)
		return section->weight;
	unsigned weight = (t->weight + step - 1) / step;
	return weight ? weight : 1;
}

static bool parse_port(struct str text, unsigned *port_out)
{
	unsigned port = 0;

	if (str_ieq(text, STR("imap")) || str_ieq(text, STR("imap2")))
		port = 143;
	else if (str_ieq(text, STR("imaps")))
		port = 993;
	else
		for (size_t i = 0; i < text.n; i++) {
			if (!isdigit((unsigned char)text.p[i]) || i > 4)
				return false;
			port = port * 10 + (unsigned)(text.p[i] - '0');
		}
	*port_out = port;
	return port > 0 && port <= 65535;
}

bool target_split(struct str text, struct str *host_out, unsigned *port_out)
{
	struct str rest;

	*port_out = 0;
	if (text.n && text.p[0] == '[') {
		*host_out = str_split(str_skip(text, 1), ']', &rest);
		if (host_out->n + 2 + rest.n != text.n)
			return false;
		if (rest.n == 0)
			return host_out->n > 0;
		return rest.p[0] == ':' &&
		    parse_port(str_skip(rest, 1), port_out);
	}
	*host_out = str_split(text, ':', &rest);
	if (host_out->n == text.n)
		return text.n > 0;
	if (rest.n && memchr(rest.p, ':', rest.n)) {	/* IPv6 */
		*host_out = text;
		return true;
	}
	return host_out->n > 0 && parse_port(rest, port_out);
}
