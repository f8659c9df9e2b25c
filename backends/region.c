/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/region.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/geo.h"
#include "proxy/base/mem.h"

#define NO_NET SIZE_MAX
#define KEY_BYTES 17

/*
 * Networks lie in order of their first address, a wide one before those in it.
 * The last one that does not begin behind an address either has it, or lies
 * within the longest that has it: so one search, and from there outwards.
 */
struct owned_net {
	uint8_t key[KEY_BYTES];		/* family, then its first address */
	unsigned bits;			/* of key that count */
	size_t outer;			/* the next wider around it; NO_NET */
	size_t rank;			/* in the file */
	const struct conf_region *region;
	const struct net *net;
};

/* A code of a database, by how it is found and by itself. */
struct term {
	enum region_how how;
	char code[12];			/* "DE-BY", "64500" */
	size_t rank;
	const struct conf_region *region;
};

struct regions {
	struct owned_net *nets;
	size_t n_nets;
	struct term *terms;
	size_t n_terms;
	bool needs_places, needs_asns;
};

/* --- networks ------------------------------------------------------------- */

static void key_of(const struct addr *a, uint8_t key[KEY_BYTES])
{
	memset(key, 0, KEY_BYTES);
	key[0] = (uint8_t)a->sa.sa_family;
	if (a->sa.sa_family == AF_INET)
		memcpy(key + 1, &a->v4.sin_addr, 4);
	else if (a->sa.sa_family == AF_INET6)
		memcpy(key + 1, &a->v6.sin6_addr, 16);
}

static bool net_has_key(const struct owned_net *n, const uint8_t *key)
{
	unsigned rest = n->bits % 8, bytes = n->bits / 8;

	return memcmp(n->key, key, bytes) == 0 && (rest == 0 ||
	    (n->key[bytes] ^ key[bytes]) >> (8 - rest) == 0);
}

static int compare_nets(const void *a, const void *b)
{
	const struct owned_net *x = a, *y = b;
	int by_key = memcmp(x->key, y->key, KEY_BYTES);

	if (by_key != 0)
		return by_key;
	if (x->bits != y->bits)
		return x->bits < y->bits ? -1 : 1;
	/* the last of equals is found first */
	return x->rank > y->rank ? -1 : x->rank < y->rank;
}

static void add_nets(struct regions *r, const struct conf_region *region)
{
	for (size_t i = 0; i < region->networks.n; i++) {
		struct owned_net *n = &r->nets[r->n_nets];
		n->net = &region->networks.v[i];
		n->region = region;
		n->rank = r->n_nets++;
		n->bits = n->net->bits + 8;
		key_of(&n->net->addr, n->key);
	}
}

static void nest_nets(struct regions *r)
{
	qsort(r->nets, r->n_nets, sizeof *r->nets, compare_nets);
	for (size_t i = 0; i < r->n_nets; i++) {
		size_t outer = i ? i - 1 : NO_NET;
		while (outer != NO_NET &&
		    !net_has_key(&r->nets[outer], r->nets[i].key))
			outer = r->nets[outer].outer;
		r->nets[i].outer = outer;
	}
}

static const struct owned_net *find_net(const struct regions *r,
    const struct addr *client)
{
	uint8_t key[KEY_BYTES];
	size_t low = 0, high = r->n_nets;

	key_of(client, key);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(r->nets[middle].key, key, KEY_BYTES) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	size_t at = low ? low - 1 : NO_NET;
	while (at != NO_NET && !net_has_key(&r->nets[at], key))
		at = r->nets[at].outer;
	return at == NO_NET ? NULL : &r->nets[at];
}

/* --- codes of databases --------------------------------------------------- */

static int compare_codes(const struct term *x, const struct term *y)
{
	if (x->how != y->how)
		return x->how < y->how ? -1 : 1;
	return strcmp(x->code, y->code);
}

static int compare_terms(const void *a, const void *b)
{
	const struct term *x = a, *y = b;
	int by_code = compare_codes(x, y);

	return by_code != 0 ? by_code :
	    x->rank < y->rank ? -1 : x->rank > y->rank;
}

static struct term *add_term(struct regions *r,
    const struct conf_region *region, enum region_how how)
{
	struct term *t = &r->terms[r->n_terms];

	*t = (struct term){ .how = how, .rank = r->n_terms++,
		.region = region };
	r->needs_asns |= how == REGION_BY_ASN;
	r->needs_places |= how != REGION_BY_ASN;
	return t;
}

static void asn_code(char code[12], uint32_t asn)
{
	snprintf(code, 12, "%" PRIu32, asn);
}

static size_t count_terms(const struct conf_region *c)
{
	return c->asns.n + c->subdivisions.n + c->countries.n +
	    (size_t)__builtin_popcount(c->continents);
}

static void add_terms(struct regions *r, const struct conf_region *c)
{
	uint32_t asn = 0;

	for (size_t i = 0; i < c->asns.n; i++) {
		(void)geo_asn_parse(&asn, str_from(c->asns.v[i]));
		asn_code(add_term(r, c, REGION_BY_ASN)->code, asn);
	}
	for (size_t i = 0; i < c->subdivisions.n; i++)
		(void)geo_subdivision_parse(
		    add_term(r, c, REGION_BY_SUBDIVISION)->code,
		    str_from(c->subdivisions.v[i]));
	for (size_t i = 0; i < c->countries.n; i++)
		(void)geo_country_parse(
		    add_term(r, c, REGION_BY_COUNTRY)->code,
		    str_from(c->countries.v[i]));
	for (const struct settings_choice *w = conf_continent_words; w->word;
	    w++)
		if (c->continents & 1u << w->value)
			snprintf(add_term(r, c, REGION_BY_CONTINENT)->code,
			    sizeof r->terms->code, "%s", w->word);
}

/* The first of equals: of the region that comes first. */
static const struct term *find_term(const struct regions *r,
    enum region_how how, const char *code)
{
	struct term wanted = { .how = how };
	size_t low = 0, high = r->n_terms;

	if (!*code || r->n_terms == 0)
		return NULL;	/* as in each login where no region is set */
	snprintf(wanted.code, sizeof wanted.code, "%s", code);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare_codes(&r->terms[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->n_terms && compare_codes(&r->terms[low], &wanted) == 0
	    ? &r->terms[low] : NULL;
}

static const struct term *find_place(const struct regions *r,
    const struct geo_place *p)
{
	const struct term *t = NULL;
	char asn[12];

	if (p->asn) {
		asn_code(asn, p->asn);
		t = find_term(r, REGION_BY_ASN, asn);
	}
	for (size_t i = 0; i < p->n_subdivisions && !t; i++)
		t = find_term(r, REGION_BY_SUBDIVISION, p->subdivisions[i]);
	if (!t)
		t = find_term(r, REGION_BY_COUNTRY, p->country);
	return t ? t : find_term(r, REGION_BY_CONTINENT, p->continent);
}

/* --- both ----------------------------------------------------------------- */

struct regions *regions_compile(const struct conf_region *const *all,
    size_t n)
{
	struct regions *r = mem_alloc(sizeof *r);
	size_t n_nets = 0, n_terms = 0;

	for (size_t i = 0; i < n; i++) {
		n_nets += all[i]->networks.n;
		n_terms += count_terms(all[i]);
	}
	r->nets = mem_alloc(n_nets * sizeof *r->nets);
	r->terms = mem_alloc(n_terms * sizeof *r->terms);
	for (size_t i = 0; i < n; i++) {
		add_nets(r, all[i]);
		add_terms(r, all[i]);
	}
	nest_nets(r);
	qsort(r->terms, r->n_terms, sizeof *r->terms, compare_terms);
	return r;
}

void regions_free(struct regions **rp)
{
	struct regions *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	free(r->nets);
	free(r->terms);
	free(r);
}

struct region_found regions_find(const struct regions *r,
    const struct addr *client, const struct geo_place *place)
{
	struct region_found f = { .how = REGION_NONE };
	const struct owned_net *n = find_net(r, client);
	const struct term *t;
	char ip[ADDR_IP_MAX];

	if (n) {
		f.how = REGION_BY_NETWORK;
		f.region = n->region;
		snprintf(f.what, sizeof f.what, "%s/%u",
		    addr_ip(&n->net->addr, ip), n->net->bits);
	} else if ((t = find_place(r, place))) {
		f.how = t->how;
		f.region = t->region;
		snprintf(f.what, sizeof f.what, "%s", t->code);
	} else if ((r->needs_places && !place->has_places) ||
	    (r->needs_asns && !place->has_asns)) {
		f.how = REGION_UNTOLD;
	}
	return f;
}

static const char *how_text(enum region_how how)
{
	switch (how) {
	case REGION_NONE:
		return "in no region: " GEO_UNKNOWN;
	case REGION_UNTOLD:
		return "in no region: a GeoIP database is missing";
	case REGION_BY_NETWORK:
		return "network";
	case REGION_BY_ASN:
		return "asn";
	case REGION_BY_SUBDIVISION:
		return "subdivision";
	case REGION_BY_COUNTRY:
		return "country";
	case REGION_BY_CONTINENT:
		return "continent";
	}
	return "";
}

const char *region_text(const struct region_found *f,
    char to[REGION_TEXT_MAX])
{
	if (!f->region)
		snprintf(to, REGION_TEXT_MAX, "%s", how_text(f->how));
	else
		snprintf(to, REGION_TEXT_MAX, "%s %s of region %s",
		    how_text(f->how), f->what, f->region->name);
	return to;
}
