/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* What a table's value stands for in this configuration. */
#include "backends/conf.h"
#include "backends/table.h"
#include "backends/target.h"
#include "proxy/base/addr.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"

#define NAME_MAX_BYTES 256

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str trim(struct str s)
{
	while (s.n && is_space(s.p[0]))
		s = str_skip(s, 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* True when value begins with the word and white space; *rest_out is what
 * comes behind. */
static bool starts_with_word(struct str value, struct str word,
    struct str *rest_out)
{
	if (!str_istarts(value, word) || value.n == word.n ||
	    !is_space(value.p[word.n]))
		return false;
	*rest_out = trim(str_skip(value, word.n));
	return true;
}

static bool find_name(const struct settings *settings, struct str name,
    bool wants_pool, bool wants_backend, struct table_answer *out)
{
	char text[NAME_MAX_BYTES];

	if (name.n == 0 || name.n >= sizeof text || memchr(name.p, 0, name.n))
		return false;
	memcpy(text, name.p, name.n);
	text[name.n] = 0;
	if (wants_pool)
		out->pool = conf_pool_find(settings, text);
	if (wants_backend && !out->pool)
		out->backend = conf_backend_find(settings, text);
	/* users go to a target, not to the record of all */
	if (out->backend && target_is_srv(out->backend))
		out->backend = NULL;
	if (wants_backend && target_section(settings, name))
		out->target = name;
	return out->pool || out->backend || out->target.n;
}

static bool is_at(const struct conf_backend *b, struct str host,
    const struct addr *ip)
{
	struct addr its;

	if (!ip)
		return str_ieq(str_from(b->address.host), host);
	return addr_parse_ip(&its, str_from(b->address.host)) &&
	    addr_same_ip(&its, ip);
}

static const struct conf_backend *find_host(const struct settings *settings,
    struct str host, unsigned port)
{
	struct addr ip;
	bool is_ip = addr_parse_ip(&ip, host);
	size_t n;
	const struct conf_backend *const *all = conf_backend_all(settings,
	    &n);

	for (size_t i = 0; i < n; i++)
		if (!target_is_srv(all[i]) &&
		    (port == 0 || all[i]->address.port == port) &&
		    is_at(all[i], host, is_ip ? &ip : NULL))
			return all[i];
	return NULL;
}

/* Whether some backend's address is an SRV name: what its targets are shows
 * only at run time. */
static bool has_srv(const struct settings *settings)
{
	size_t n;
	const struct conf_backend *const *all = conf_backend_all(settings,
	    &n);

	for (size_t i = 0; i < n; i++)
		if (target_is_srv(all[i]))
			return true;
	return false;
}

/* Splits at the last delimiter, if there is one. */
static struct str split_user(struct str value, struct str delimiter,
    struct str *user_out)
{
	for (size_t at = value.n; at-- > 0;) {
		if (!str_starts(str_skip(value, at), delimiter))
			continue;
		*user_out = (struct str){ value.p, at };
		return str_skip(value, at + delimiter.n);
	}
	return value;
}

/* True when target begins with pool or backend; *ok_out: there is one. */
static bool find_word(const struct settings *settings, struct str target,
    struct table_answer *out, bool *ok_out, struct err *err)
{
	struct str name;
	bool is_pool = starts_with_word(target, STR("pool"), &name);

	if (!is_pool && !starts_with_word(target, STR("backend"), &name))
		return false;
	*ok_out = find_name(settings, name, is_pool, !is_pool, out) ||
	    err_set(err, "\"%.*s\": there is no such %s", STR_ARG(target),
	    is_pool ? "pool" : "backend");
	return true;
}

bool table_resolve(const struct settings *settings, const char *delimiter,
    struct str value, struct table_answer *out, struct err *err)
{
	struct str text = trim(value), host;
	unsigned port;
	bool ok;

	out->pool = NULL;
	out->backend = NULL;
	out->user = out->target = STR_NONE;
	if (find_word(settings, text, out, &ok, err))
		return ok;
	struct str target = split_user(text, str_from(delimiter), &out->user);
	if (target.p != text.p && !user_is_valid(out->user))
		return err_set(err, "\"%.*s\": no user name before %s",
		    STR_ARG(text), delimiter);
	if (find_word(settings, target, out, &ok, err))
		return ok;
	if (find_name(settings, target, true, true, out))
		return true;
	if (target_split(target, &host, &port)) {
		out->backend = find_host(settings, host, port);
		if (!out->backend && has_srv(settings))
			out->target = target;
	}
	return out->backend || out->target.n || err_set(err,
	    "\"%.*s\": no pool, no backend and no backend's address",
	    STR_ARG(text));
}
