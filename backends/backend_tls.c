/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/backend_tls.h"

#include <stdlib.h>
#include <utlist.h>

#include "backends/conf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/tlsctx.h"

struct known {
	const char *data;	/* settings hold the content of a file once */
	struct tls_trust *trust;
	struct known *next;
};

struct backend_trusts {
	struct known *known;
};

struct backend_trusts *backend_trusts_new(void)
{
	return mem_alloc(sizeof(struct backend_trusts));
}

void backend_trusts_free(struct backend_trusts **tp)
{
	struct backend_trusts *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	while (t->known) {
		struct known *k = t->known;
		LL_DELETE(t->known, k);
		tls_trust_free(&k->trust);
		free(k);
	}
	free(t);
}

static struct tls_trust *find_trust(struct backend_trusts *t, struct str pem,
    struct err *err)
{
	struct known *k;

	LL_FOREACH(t->known, k)
		if (k->data == pem.p)
			return k->trust;
	struct tls_trust *trust = tls_trust_new(pem, err);
	if (!trust)
		return NULL;
	k = mem_alloc(sizeof *k);
	k->data = pem.p;
	k->trust = trust;
	LL_PREPEND(t->known, k);
	return trust;
}

struct tls_client *backend_tls_client(struct backend_trusts *t,
    const struct conf_backend *b, struct err *err)
{
	struct tls_peer peer = {
		.name = b->name,
		.certificate = b->certificate.data,
		.key = b->key.data,
		.host = *b->tls_name ? b->tls_name : b->address.host,
		.min_version = 10 + (int)b->tls_min_version,
	};

	if (b->verify) {
		peer.trust = find_trust(t, b->ca.data, err);
		if (!peer.trust) {
			err_prefix(err, "backend %s: %s", b->name, b->ca.path);
			return NULL;
		}
	}
	return tls_client_new(&peer, err);
}
