/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * A header is judged alike whole and growing byte by byte; what was parsed
 * can be built again and then says the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/proxyline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_views(const struct proxyline *l, const char *p, size_t used)
{
	const struct str views[] = {
		l->alpn, l->authority, l->unique_id, l->tls.version,
		l->tls.cipher, l->tls.cn,
	};

	for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
		if (views[i].n)
			must(views[i].p >= p &&
			    views[i].p + views[i].n <= p + used);
	}
	must(l->tls.cn.n == 0 || l->tls.is_verified);
}

static void check_rebuilt(const struct proxyline *l)
{
	struct proxyline again;
	struct err err;
	struct buf out;
	size_t used;

	buf_init(&out, 0);
	/* it may grow: by its checksum, or from one family to two */
	if (proxyline_build_v2(&out, l)) {
		struct str built = buf_view(&out);
		must(proxyline_parse(built.p, built.n, &again, &used, &err) ==
		    PROXYLINE_DONE);
		must(used == built.n && again.kind == l->kind);
		if (l->kind == PROXYLINE_TCP) {
			must(addr_same_ip(&l->source, &again.source));
			must(addr_same_ip(&l->destination,
			    &again.destination));
			must(addr_port(&l->source) ==
			    addr_port(&again.source));
			must(str_eq(l->authority, again.authority));
			must(str_eq(l->unique_id, again.unique_id));
			must(again.has_crc);
		}
		if (l->kind == PROXYLINE_TCP && l->tls.is_on)
			must(str_eq(l->tls.cn, again.tls.cn));
	}
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxyline_verdict whole, part = PROXYLINE_MORE;
	struct proxyline l;
	struct err err;
	size_t used = 0, used_part = 0;

	whole = proxyline_parse((const char *)data, size, &l, &used, &err);
	if (whole == PROXYLINE_DONE) {
		must(used > 0 && used <= size && used <= PROXYLINE_MAX);
		check_views(&l, (const char *)data, used);
		check_rebuilt(&l);
	}
	for (size_t n = 0; n <= size && part == PROXYLINE_MORE; n++) {
		char *copy = malloc(n ? n : 1);	/* ends where it ends */
		memcpy(copy, data, n);
		part = proxyline_parse(copy, n, &l, &used_part, &err);
		free(copy);
	}
	must(part == whole && used_part == used);
	return 0;
}
