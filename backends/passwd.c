/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/passwd.h"

#include <stdint.h>
#include <stdlib.h>

#include "backends/textfile.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"

#define LINES_PER_LOOK 4096	/* at stop */
#define N_MIDDLE 5	/* uid gid gecos home shell */

/* Offsets are those of the text. */
struct entry {
	uint32_t name, hash, extra, line;
	uint16_t n_name, n_hash, n_extra;
};

struct passwd {
	char *text;
	size_t n_text;
	struct entry *entries;
	size_t n, room;
	uint32_t *slots;	/* entry + 1; 0: empty */
	size_t n_slots;		/* a power of two */
	bool folds;
};

struct loading {
	struct passwd *passwd;
	const char *path;
	const atomic_bool *stop;
	size_t n_bad;
	struct err first;	/* of the bad lines */
};

/* n_digest: what stands behind the last "$" */
static const struct method {
	const char *prefix, *scheme;
	size_t n_digest;
} methods[] = {
	{ "$y$", "YESCRYPT", 43 },
	{ "$6$", "SHA512-CRYPT", 86 },
	{ "$5$", "SHA256-CRYPT", 43 },
	{ "$2a$", "BLF-CRYPT", 53 },
	{ "$2b$", "BLF-CRYPT", 53 },
	{ "$2y$", "BLF-CRYPT", 53 },
};

#define N_METHODS (sizeof methods / sizeof methods[0])
#define EXPECTED "expected yescrypt ($y$), sha512-crypt ($6$), " \
	"sha256-crypt ($5$) or bcrypt ($2b$)"

static struct str view(const struct passwd *p, uint32_t at, size_t n)
{
	return (struct str){ p->text + at, n };
}

static struct str name_of(const struct passwd *p, const struct entry *e)
{
	return view(p, e->name, e->n_name);
}

/* --- by name -------------------------------------------------------------- */

/* FNV-1a. The names are the operator's, so nobody can choose them badly. */
static uint64_t hash_name(struct str s)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

/* The slot that has the name, or the empty one where it belongs. */
static uint32_t *slot_of(const struct passwd *p, struct str name)
{
	size_t at = hash_name(name) & (p->n_slots - 1);

	while (p->slots[at] &&
	    !str_eq(name_of(p, &p->entries[p->slots[at] - 1]), name))
		at = (at + 1) & (p->n_slots - 1);
	return &p->slots[at];
}

/* At most half of the slots are in use. */
static void grow(struct passwd *p)
{
	p->room = p->room ? p->room * 2 : 64;
	p->entries = mem_realloc(p->entries, p->room * sizeof *p->entries);
	free(p->slots);
	p->n_slots = p->room * 2;
	p->slots = mem_alloc(p->n_slots * sizeof *p->slots);
	for (size_t i = 0; i < p->n; i++)
		*slot_of(p, name_of(p, &p->entries[i])) = (uint32_t)i + 1;
}

/* --- a hash --------------------------------------------------------------- */

static bool is_crypt_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("!*\\;", s.p[i]))
			return false;
	return true;
}

static size_t n_behind_last_dollar(struct str s)
{
	const char *at = memrchr(s.p, '$', s.n);

	return s.n - (size_t)(at + 1 - s.p);
}

static const struct method *method_of(struct str hash)
{
	for (size_t i = 0; i < N_METHODS; i++)
		if (str_starts(hash, str_from(methods[i].prefix)))
			return &methods[i];
	return NULL;
}

/* Takes the braces away. *hash becomes empty where it is locked. */
static bool take_hash(struct str *hash, struct err *err)
{
	struct str scheme = STR_NONE, rest;

	if (hash->n == 0)
		return err_set(err, "no hash; " EXPECTED);
	if (hash->p[0] == '!' || hash->p[0] == '*') {
		hash->n = 0;
		return true;
	}
	if (hash->p[0] == '{') {
		scheme = str_split(str_skip(*hash, 1), '}', &rest);
		if (scheme.n > 20 || !rest.p)
			return err_set(err, "a { without its }; expected "
			    "{SCHEME} and a hash");
		*hash = rest;
	}
	const struct method *m = method_of(*hash);
	if (scheme.n && !str_ieq(scheme, STR("CRYPT")) &&
	    (!m || !str_ieq(scheme, str_from(m->scheme)))) {
		for (size_t i = 0; i < N_METHODS; i++)
			if (str_ieq(scheme, str_from(methods[i].scheme)))
				return err_set(err, "not a hash of "
				    "{%.*s}; expected it to begin with %s",
				    STR_ARG(scheme), methods[i].prefix);
		return err_set(err, "a hash of {%.*s}, which is not checked "
		    "here; " EXPECTED, STR_ARG(scheme));
	}
	if (!m)
		return err_set(err, "a hash of an unknown kind; " EXPECTED);
	if (!is_crypt_text(*hash) ||
	    n_behind_last_dollar(*hash) != m->n_digest)
		return err_set(err, "not a whole hash of %s; expected %zu "
		    "characters after its last $", m->scheme, m->n_digest);
	return true;
}

/* --- extra fields --------------------------------------------------------- */

static bool take_extra(struct str extra, struct passwd_user *u,
    struct err *err)
{
	static const char *const keeping_out[] = { "nologin", "allow_nets",
		"allow_real_nets", "nopassword", "deny", "delay_until" };
	struct str key, value;

	while (extra.n) {
		struct str field = str_split(extra, ' ', &extra);
		key = str_split(field, '=', &value);
		struct str *to = str_eq(key, STR("pool")) ? &u->pool :
		    str_eq(key, STR("backend")) ? &u->backend :
		    str_eq(key, STR("as")) ? &u->as : NULL;
		if (to && value.n == 0)
			return err_set(err, "%.*s without a value; expected "
			    "%.*s=NAME", STR_ARG(key), STR_ARG(key));
		if (to)
			*to = value;
		for (size_t i = 0; i < sizeof keeping_out /
		    sizeof keeping_out[0]; i++)
			if (str_eq(key, str_from(keeping_out[i])))
				return err_set(err, "the field %.*s is not "
				    "obeyed here; expected pool=, backend= or "
				    "as=", STR_ARG(key));
	}
	if (u->pool.n && u->backend.n)
		return err_set(err, "both pool= and backend=; expected one "
		    "of them");
	if (u->as.n && !user_is_valid(u->as))
		return err_set(err, "as= is not a user name; expected UTF-8 "
		    "of up to %d bytes", USER_MAX);
	return true;
}

/* --- lines ---------------------------------------------------------------- */

static void fold_name(struct passwd *p, struct str name)
{
	char *c = p->text + (name.p - p->text);

	for (size_t i = 0; i < name.n; i++)
		if (c[i] >= 'A' && c[i] <= 'Z')
			c[i] |= 0x20;
}

static bool take_name(struct str name, struct err *err)
{
	if (name.n == 0)
		return err_set(err, "no user; expected user:hash");
	if (!user_is_valid(name))
		return err_set(err, "not a user name; expected UTF-8 of up "
		    "to %d bytes", USER_MAX);
	if (memchr(name.p, USER_DETAIL_SEPARATOR, name.n) ||
	    memchr(name.p, USER_MASTER_SEPARATOR, name.n))
		return err_set(err, "\"%.*s\" has a %c or %c, which is no part "
		    "of a user; expected a name without", (int)name.n,
		    name.p, USER_DETAIL_SEPARATOR, USER_MASTER_SEPARATOR);
	return true;
}

static bool add(struct passwd *p, const struct entry *e, struct err *err)
{
	if (p->n == p->room)
		grow(p);
	uint32_t *slot = slot_of(p, name_of(p, e));
	if (*slot)
		return err_set(err, "\"%.*s\" stands in line %u too; expected "
		    "one line per user", STR_ARG(name_of(p, e)),
		    (unsigned)p->entries[*slot - 1].line);
	p->entries[p->n++] = *e;
	*slot = (uint32_t)p->n;
	return true;
}

static bool take_line(struct loading *l, struct str text, unsigned line,
    struct err *err)
{
	struct passwd *p = l->passwd;
	struct passwd_user u = { .hash = STR_NONE };

	if (text.n && text.p[text.n - 1] == '\r')
		text.n--;
	if (text.n == 0 || text.p[0] == '#')
		return true;
	if (text.n > UINT16_MAX)
		return err_set(err, "a line of over 65535 bytes");
	struct str name = str_split(text, ':', &text);
	if (!text.p)
		return err_set(err, "no colon; expected user:hash");
	struct str hash = str_split(text, ':', &text);
	for (int i = 0; i < N_MIDDLE; i++)
		str_split(text, ':', &text);
	if (!take_name(name, err) || !take_hash(&hash, err) ||
	    !take_extra(text, &u, err))
		return false;
	if (p->folds)
		fold_name(p, name);
	struct entry e = { .name = (uint32_t)(name.p - p->text),
		.hash = (uint32_t)(hash.p - p->text), .line = line,
		.n_name = (uint16_t)name.n, .n_hash = (uint16_t)hash.n,
		.n_extra = (uint16_t)text.n };
	if (text.n)
		e.extra = (uint32_t)(text.p - p->text);
	return add(p, &e, err);
}

static bool take_lines(struct loading *l, struct err *err)
{
	struct passwd *p = l->passwd;
	struct str rest = { p->text, p->n_text };
	unsigned line = 0;

	while (rest.n) {
		struct str text = str_split(rest, '\n', &rest);
		if (++line % LINES_PER_LOOK == 0 && l->stop &&
		    atomic_load(l->stop))
			return err_set(err, "stopped");
		if (!take_line(l, text, line, err) && l->n_bad++ == 0)
			err_set(&l->first, "%s:%u: %s", l->path, line,
			    err->text);
	}
	if (l->n_bad > 1)
		return err_set(err, "%.200s (and %zu more)", l->first.text,
		    l->n_bad - 1);
	if (l->n_bad)
		*err = l->first;
	return l->n_bad == 0;
}

void passwd_free(struct passwd **pp)
{
	struct passwd *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	if (p->text)
		mem_wipe(p->text, p->n_text);
	free(p->text);
	free(p->entries);
	free(p->slots);
	free(p);
}

struct passwd *passwd_load(const char *path, bool fold,
    const atomic_bool *stop, struct err *err)
{
	struct passwd *p = mem_alloc(sizeof *p);
	struct loading l = { .passwd = p, .path = path, .stop = stop };

	p->folds = fold;
	if (!textfile_read(path, "another driver", stop, &p->text, &p->n_text,
	    err) || !take_lines(&l, err))
		passwd_free(&p);
	return p;
}

/* --- searching ------------------------------------------------------------ */

static void show(const struct passwd *p, const struct entry *e,
    struct passwd_user *out)
{
	struct err err;

	*out = (struct passwd_user){ .hash = view(p, e->hash, e->n_hash) };
	must(take_extra(view(p, e->extra, e->n_extra), out, &err));
}

static const struct entry *find(const struct passwd *p, struct str name)
{
	uint32_t slot = p->n ? *slot_of(p, name) : 0;

	return slot ? &p->entries[slot - 1] : NULL;
}

bool passwd_find(const struct passwd *p, struct str canonical,
    struct str default_domain, struct passwd_user *out)
{
	const struct entry *e = find(p, canonical);
	const char *at = canonical.n ?
	    memrchr(canonical.p, '@', canonical.n) : NULL;

	if (!e && at && default_domain.n) {
		struct str local = { canonical.p, (size_t)(at - canonical.p) };
		struct str domain = str_skip(canonical, local.n + 1);
		if (p->folds ? str_ieq(domain, default_domain) :
		    str_eq(domain, default_domain))
			e = find(p, local);
	}
	if (e)
		show(p, e, out);
	return e != NULL;
}

struct str passwd_any_hash(const struct passwd *p, struct str name)
{
	size_t at = p->n ? hash_name(name) % p->n : 0;

	for (size_t i = 0; i < p->n && i < 100; i++) {
		const struct entry *e = &p->entries[(at + i) % p->n];
		if (e->n_hash)
			return view(p, e->hash, e->n_hash);
	}
	return STR_NONE;
}

size_t passwd_n(const struct passwd *p)
{
	return p->n;
}

bool passwd_users(const struct passwd *p, passwd_visit_fn *visit, void *arg)
{
	struct passwd_user u;

	for (size_t i = 0; i < p->n; i++) {
		show(p, &p->entries[i], &u);
		if (!visit(arg, &u, p->entries[i].line))
			return false;
	}
	return true;
}
