/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/geo.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/conf.h"
#include "backends/fileload.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define COPY_BYTES ((size_t)1 << 20)	/* between looks at stop */
#define NODES 65536			/* the same */

enum base_kind { BASE_COUNTRY, BASE_CITY, BASE_ASN, BASE_KINDS };

/* words: a database of this kind has one of them in its type's name. */
static const struct {
	const char *setting, *words[4], *expected;
} kinds[BASE_KINDS] = {
	[BASE_COUNTRY] = { "country", { "country", "city", "enterprise" },
	    "one of countries, as GeoLite2-Country" },
	[BASE_CITY] = { "city", { "city", "enterprise" },
	    "one of cities, as GeoLite2-City" },
	[BASE_ASN] = { "asn", { "asn", "isp", "enterprise" },
	    "one of AS numbers, as GeoLite2-ASN" },
};

/* One database, and the file that it comes from. */
struct base {
	struct geo *geo;
	enum base_kind kind;
	char *path;			/* NULL: not wanted */
	struct fileload *load;
	MMDB_s *db;			/* in force; NULL: none */
	bool is_settled;		/* the file was read, or in vain */
	bool has_complained;		/* about records of db */
	/* What the thread made: its own until load_end(). */
	MMDB_s *fresh;
	struct err why;
	double seconds;
};

struct geo {
	struct ev_loop *loop;
	geo_ready_fn *ready;
	void *owner;
	struct base bases[BASE_KINDS];
};

/* --- reading a file ------------------------------------------------------- */

static bool was_changed(const struct stat *a, const struct stat *b)
{
	return a->st_size != b->st_size ||
	    a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	    a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static bool copy_file(int from, int to, const char *path,
    const atomic_bool *stop, struct err *err)
{
	struct stat before, after;
	size_t left;

	if (fstat(from, &before) < 0)
		return err_set(err, "%s: %s", path, strerror(errno));
	if (!S_ISREG(before.st_mode) || before.st_size == 0 ||
	    before.st_size > GEO_MAX_BYTES)
		return err_set(err, "%s: %s; expected a GeoIP database "
		    "(.mmdb) of %u bytes at most", path,
		    S_ISREG(before.st_mode) ? before.st_size ? "too big" :
		    "empty" : "not a file", GEO_MAX_BYTES);
	for (left = (size_t)before.st_size; left > 0; ) {
		if (stop && atomic_load(stop))
			return err_set(err, "%s: stopped", path);
		ssize_t n = sendfile(to, from, NULL,
		    left < COPY_BYTES ? left : COPY_BYTES);
		if (n < 0 && errno != EINTR)
			return err_set(err, "%s: %s", path, strerror(errno));
		if (n == 0)
			break;
		left -= n > 0 ? (size_t)n : 0;
	}
	if (fstat(from, &after) < 0 || left > 0 ||
	    was_changed(&before, &after))
		return err_set(err, "%s: changed while it was read", path);
	return true;
}

/* A nameless file in memory that holds the same; -1 with err. */
static int open_copy(const char *path, const atomic_bool *stop,
    struct err *err)
{
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int to;

	if (from < 0) {
		err_set(err, "%s: %s", path, strerror(errno));
		return -1;
	}
	to = memfd_create("geoip", MFD_CLOEXEC);
	if (to < 0)
		err_set(err, "%s: no memory file: %s", path, strerror(errno));
	else if (!copy_file(from, to, path, stop, err)) {
		close(to);
		to = -1;
	}
	close(from);
	return to;
}

static bool is_kind(const MMDB_s *db, enum base_kind kind)
{
	for (const char *const *w = kinds[kind].words; *w; w++)
		if (strcasestr(db->metadata.database_type, *w))
			return true;
	return false;
}

/* Every way through the tree ends at a record, or at none. */
static bool is_whole(const MMDB_s *db, const atomic_bool *stop)
{
	MMDB_search_node_s node;

	for (uint32_t i = 0; i < db->metadata.node_count; i++) {
		if (i % NODES == 0 && stop && atomic_load(stop))
			return false;
		if (MMDB_read_node(db, i, &node) != MMDB_SUCCESS ||
		    node.left_record_type == MMDB_RECORD_TYPE_INVALID ||
		    node.right_record_type == MMDB_RECORD_TYPE_INVALID)
			return false;
	}
	return true;
}

static void db_free(MMDB_s **dbp)
{
	MMDB_s *db = *dbp;

	if (!db)
		return;
	*dbp = NULL;
	MMDB_close(db);
	free(db);
}

static MMDB_s *db_open(const char *path, enum base_kind kind,
    const atomic_bool *stop, struct err *err)
{
	char copy[40];
	int fd = open_copy(path, stop, err);

	if (fd < 0)
		return NULL;
	MMDB_s *db = mem_alloc(sizeof *db);
	snprintf(copy, sizeof copy, "/proc/self/fd/%d", fd);
	int status = MMDB_open(copy, MMDB_MODE_MMAP, db);
	int error = errno;
	close(fd);	/* the mapping stays */
	if (status != MMDB_SUCCESS) {
		free(db);
		err_set(err, "%s: %s; expected a GeoIP database (.mmdb)",
		    path, status == MMDB_IO_ERROR ||
		    status == MMDB_FILE_OPEN_ERROR ? strerror(error) :
		    MMDB_strerror(status));
		return NULL;
	}
	if (!is_kind(db, kind))
		err_set(err, "%s: a database of type \"%.60s\"; expected %s",
		    path, db->metadata.database_type, kinds[kind].expected);
	else if (!is_whole(db, stop))
		err_set(err, "%s: its search tree is damaged; expected a "
		    "whole GeoIP database", path);
	else
		return db;
	db_free(&db);
	return NULL;
}

bool geo_check(const struct conf_geoip *conf, struct err *err)
{
	const char *const paths[BASE_KINDS] = { conf->country, conf->city,
		conf->asn };

	for (unsigned i = 0; i < BASE_KINDS; i++) {
		if (!paths[i][0])
			continue;
		MMDB_s *db = db_open(paths[i], i, NULL, err);
		if (!db)
			return err_prefix(err, "%s: geoip.%s", conf->where,
			    kinds[i].setting);
		db_free(&db);
	}
	return true;
}

/* --- databases in force --------------------------------------------------- */

static void log_loaded(const struct base *b)
{
	char built[16] = "";
	struct log_line l;

	if (b->fresh ? !log_begin(&l, LOG_LINE_INFO, "geoip_loaded") :
	    !log_begin(&l, LOG_LINE_ERROR, "geoip_refused"))
		return;
	log_text(&l, "database", kinds[b->kind].setting);
	if (b->fresh) {
		time_t t = (time_t)b->fresh->metadata.build_epoch;
		struct tm tm;
		if (gmtime_r(&t, &tm))
			strftime(built, sizeof built, "%Y-%m-%d", &tm);
		log_text(&l, "type", b->fresh->metadata.database_type);
		log_text(&l, "built", built);
		log_seconds(&l, "after", b->seconds);
	} else {
		log_text(&l, "why", b->why.text);
		log_text(&l, "kept", b->db ? "old" : "none");
	}
	log_end(&l);
}

/* In the thread. */
static void load(void *owner, const atomic_bool *stop)
{
	struct base *b = owner;
	double began = clock_now();

	b->fresh = db_open(b->path, b->kind, stop, &b->why);
	b->seconds = clock_now() - began;
}

static void load_end(void *owner, bool was_run)
{
	struct base *b = owner;
	bool was_ready = geo_is_ready(b->geo);

	if (!was_run)
		err_set(&b->why, "%s: no thread to read it", b->path);
	log_loaded(b);
	if (b->fresh) {
		db_free(&b->db);
		b->db = b->fresh;
		b->fresh = NULL;
		b->has_complained = false;
	}
	b->is_settled = true;
	if (!was_ready && geo_is_ready(b->geo))
		b->geo->ready(b->geo->owner);
}

static const struct fileload_owner loader = { load, load_end };

static void base_stop(struct base *b)
{
	fileload_free(&b->load);
	db_free(&b->fresh);
	free(b->path);
	b->path = NULL;
}

static void base_configure(struct base *b, const char *path)
{
	if (strcmp(b->path ? b->path : "", path) == 0)
		return;
	base_stop(b);
	if (!path[0]) {
		db_free(&b->db);
		return;
	}
	b->is_settled = b->db != NULL;
	b->path = mem_strdup(path);
	b->load = fileload_new(b->geo->loop, path, &loader, b);
}

void geo_configure(struct geo *g, const struct conf_geoip *conf)
{
	base_configure(&g->bases[BASE_COUNTRY], conf->country);
	base_configure(&g->bases[BASE_CITY], conf->city);
	base_configure(&g->bases[BASE_ASN], conf->asn);
}

bool geo_is_ready(const struct geo *g)
{
	for (unsigned i = 0; i < BASE_KINDS; i++)
		if (g->bases[i].path && !g->bases[i].is_settled)
			return false;
	return true;
}

struct geo *geo_new(struct ev_loop *loop, geo_ready_fn *ready, void *owner)
{
	struct geo *g = mem_alloc(sizeof *g);

	g->loop = loop;
	g->ready = ready;
	g->owner = owner;
	for (unsigned i = 0; i < BASE_KINDS; i++) {
		g->bases[i].geo = g;
		g->bases[i].kind = i;
	}
	return g;
}

void geo_free(struct geo **gp)
{
	struct geo *g = *gp;

	if (!g)
		return;
	*gp = NULL;
	for (unsigned i = 0; i < BASE_KINDS; i++) {
		base_stop(&g->bases[i]);
		db_free(&g->bases[i].db);
	}
	free(g);
}

/* --- look-ups ------------------------------------------------------------- */

/* It reads as unknown; the operator should fetch the file again. */
static void complain(struct base *b, int status)
{
	if (!b->has_complained)
		log_note(LOG_LINE_WARN, "geoip_damaged", "why", "%s: %s",
		    b->path, MMDB_strerror(status));
	b->has_complained = true;
}

static bool find_entry(struct base *b, const struct addr *a,
    MMDB_entry_s *entry_out)
{
	int status;

	if (!b->db || a->sa.sa_family == AF_UNSPEC)
		return false;
	MMDB_lookup_result_s r = MMDB_lookup_sockaddr(b->db, &a->sa, &status);
	if (status == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR)
		return false;
	if (status != MMDB_SUCCESS)
		complain(b, status);
	*entry_out = r.entry;
	return status == MMDB_SUCCESS && r.found_entry;
}

static bool find_value(struct base *b, MMDB_entry_s *entry,
    const char *const *way, MMDB_entry_data_s *out)
{
	int status = MMDB_aget_value(entry, out, way);

	if (status == MMDB_SUCCESS)
		return out->has_data;
	if (status != MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
		complain(b, status);
	return false;
}

static struct str find_text(struct base *b, MMDB_entry_s *entry,
    const char *const *way)
{
	MMDB_entry_data_s data;

	if (!find_value(b, entry, way, &data) ||
	    data.type != MMDB_DATA_TYPE_UTF8_STRING)
		return STR_NONE;
	return (struct str){ data.utf8_string, data.data_size };
}

/* The database lists the largest first, by codes that are good within their
 * country only. */
static void find_subdivisions(struct base *b, MMDB_entry_s *entry,
    struct geo_place *p)
{
	char code[GEO_SUBDIVISION_MAX + 8];
	size_t n = 0;

	for (; n < GEO_SUBDIVISIONS_MAX; n++) {
		const char at[2] = { (char)('0' + n), '\0' };
		struct str part = find_text(b, entry, (const char *const[]){
		    "subdivisions", at, "iso_code", NULL });
		if (part.n == 0 || part.n > 3)
			break;
		memmove(p->subdivisions[1], p->subdivisions[0],
		    n * sizeof p->subdivisions[0]);
		snprintf(code, sizeof code, "%s-%.*s", p->country,
		    STR_ARG(part));
		if (!geo_subdivision_parse(p->subdivisions[0],
		    str_from(code)))
			p->subdivisions[0][0] = '\0';
	}
	p->n_subdivisions = n;
}

static bool find_place(struct base *b, const struct addr *a,
    struct geo_place *p)
{
	MMDB_entry_s entry;

	if (!find_entry(b, a, &entry))
		return false;
	(void)geo_country_parse(p->continent, find_text(b, &entry,
	    (const char *const[]){ "continent", "code", NULL }));
	if (geo_country_parse(p->country, find_text(b, &entry,
	    (const char *const[]){ "country", "iso_code", NULL })))
		find_subdivisions(b, &entry, p);
	return p->country[0] || p->continent[0];
}

static void find_asn(struct base *b, const struct addr *a,
    struct geo_place *p)
{
	MMDB_entry_s entry;
	MMDB_entry_data_s data;

	if (find_entry(b, a, &entry) && find_value(b, &entry,
	    (const char *const[]){ "autonomous_system_number", NULL },
	    &data) && data.type == MMDB_DATA_TYPE_UINT32)
		p->asn = data.uint32;
}

struct geo_place geo_find(struct geo *g, const struct addr *a)
{
	struct base *country = &g->bases[BASE_COUNTRY];
	struct base *city = &g->bases[BASE_CITY], *asn = &g->bases[BASE_ASN];
	struct geo_place p = { .has_places = country->db || city->db,
		.has_asns = asn->db };

	if (!find_place(city, a, &p))
		(void)find_place(country, a, &p);
	find_asn(asn, a, &p);
	return p;
}
