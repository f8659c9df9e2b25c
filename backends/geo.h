/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_GEO_H
#define BACKENDS_GEO_H
/*
 * geo - where an address is, by MaxMind's databases
 *
 *	192.0.2.1  ->  country CH, continent EU, subdivision CH-ZH, asn 64500
 *
 * The files that section geoip names are read by a thread each, again when
 * they change, also when they are replaced by rename. A file that is no good
 * (cut, not a database, one of another kind) is refused with a line in the
 * log, and what was read before stays in force.
 *
 * libmaxminddb maps its file, and whoever cuts a mapped file kills those who
 * read it; so what is mapped is a copy in memory, of the file's size.
 *
 * Shapes   an address without a place in the database has empty codes, and
 *          asn 0: it is unknown. That no database tells is another case:
 *          has_places, has_asns. city is asked before country where both are
 *          given.
 * Units    a file has at most GEO_MAX_BYTES.
 * Errors   geo_check(): err says which file and why. A record that cannot be
 *          read counts as unknown, and is logged once a file.
 * Owns     copies of what geo_configure() is given.
 * Thread   the loop's; geo_check() blocks.
 * Source   the file format "MaxMind DB 2.0"; <maxminddb.h> is included by
 *          geo.c alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/geo_code.h"

#define GEO_MAX_BYTES (UINT32_C(1) << 31)
#define GEO_SUBDIVISIONS_MAX 3

struct addr;
struct conf_geoip;
struct err;
struct ev_loop;
struct geo;

struct geo_place {
	bool has_places;	/* a database of countries or cities says so */
	bool has_asns;		/* one of AS numbers does */
	char country[GEO_COUNTRY_MAX];
	char continent[GEO_COUNTRY_MAX];	/* AF AN AS EU NA OC SA */
	/* the smallest first */
	char subdivisions[GEO_SUBDIVISIONS_MAX][GEO_SUBDIVISION_MAX];
	size_t n_subdivisions;
	uint32_t asn;
};

/* Every file was read, or was no good: geo_is_ready() has become true. */
typedef void geo_ready_fn(void *owner);

struct geo *geo_new(struct ev_loop *loop, geo_ready_fn *ready, void *owner);
void geo_free(struct geo **g);

/* A file that was named before stays as it is; one that is named instead of
 * another replaces it as soon as it is read. */
void geo_configure(struct geo *g, const struct conf_geoip *conf);

/* False while a file was not read yet: its answers are still to come. */
bool geo_is_ready(const struct geo *g);

struct geo_place geo_find(struct geo *g, const struct addr *a);

/* For the parent and the command line: whether the files are any good. */
bool geo_check(const struct conf_geoip *conf, struct err *err)
    __attribute__((warn_unused_result));
#endif
