/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "backends/resolve_srv.h"
#include "proxy/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a name server sends: targets in their order, each once, whose
 * names may stand in a log and in a list. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resolve_srv srv;

	if (!resolve_srv_parse(data, size, &srv))
		return 0;
	must(srv.n <= RESOLVE_TARGETS_MAX);
	must(srv.ttl_s <= RESOLVE_TTL_MAX_S);
	for (size_t i = 0; i < srv.n; i++) {
		const struct resolve_target *t = &srv.v[i];
		must(t->host[0] && t->port);
		for (const char *p = t->host; *p; p++)
			must(isalnum((unsigned char)*p) || strchr(".-_", *p));
		must(i == 0 || srv.v[i - 1].priority <= t->priority);
		for (size_t k = 0; k < i; k++)
			must(strcmp(srv.v[k].host, t->host) != 0 ||
			    srv.v[k].port != t->port);
	}
	return 0;
}
