/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_REGION_H
#define BACKENDS_REGION_H
/*
 * region - the operator's own name for where a client is
 *
 * An address is in one region, or in none. What says so, the most telling
 * first:
 *
 *	network		the longest of all regions' networks that has it: an
 *			operator knows its customers' addresses best
 *	asn		who runs the network, by the database
 *	subdivision	the smallest first
 *	country
 *	continent
 *
 * Where two regions list the same, the first in the file has it.
 *
 * Shapes   IPv4-mapped IPv6 addresses are IPv4 (addr.h).
 * Errors   none: the settings were checked. Without a database that regions
 *          need, an address that is in none otherwise is UNTOLD, not NONE:
 *          nobody knows where it is.
 * Owns     regions_compile() borrows the snapshot; what is found shows it.
 * Units    a look-up is a binary search, also of 100,000 networks.
 * Thread   its owner's.
 */
#include <stddef.h>

#include "proxy/base/addr.h"

#define REGION_TEXT_MAX 160

struct conf_region;
struct geo_place;
struct regions;

enum region_how {
	REGION_NONE,		/* unknown */
	REGION_UNTOLD,		/* a database is missing */
	REGION_BY_NETWORK,
	REGION_BY_ASN,
	REGION_BY_SUBDIVISION,
	REGION_BY_COUNTRY,
	REGION_BY_CONTINENT,
};

struct region_found {
	enum region_how how;
	const struct conf_region *region;	/* NULL: none, or untold */
	char what[ADDR_TEXT_MAX];		/* "198.51.100.0/22", "CH" */
};

struct regions *regions_compile(const struct conf_region *const *all,
    size_t n);
void regions_free(struct regions **r);

struct region_found regions_find(const struct regions *r,
    const struct addr *client, const struct geo_place *place);

/* "network 198.51.100.0/22 of region home". Returns to. */
const char *region_text(const struct region_found *f,
    char to[REGION_TEXT_MAX]);
#endif
