/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * settings_values - from a value's text to its C field
 *
 *	number   = 1*DIGIT
 *	duration = "0" / number ( "ms" / "s" / "m" / "h" / "d" )
 *	size     = number [ "k" / "m" / "g" ]
 *	address  = ( name / IPv4 / "[" IPv6 "]" / "*" ) ":" port
 *	srv      = "srv+_" service "._" protocol "." domain
 *	network  = ( IPv4 / IPv6 ) [ "/" number ]
 *
 * One function per kind of value, all of one shape: false with the reason,
 * which quotes the value and says what was expected.
 */
#include <ctype.h>

#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/settings_parts.h"

#define FILE_MAX (8 << 20)
#define SECRET_MAX 1024

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* From the largest to the smallest: printing takes the first that divides. */
static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
	{ "ms", 1 }, { NULL, 0 },
};
static const struct unit size_units[] = {
	{ "g", 1 << 30 }, { "m", 1 << 20 }, { "k", 1 << 10 }, { "", 1 },
	{ NULL, 0 },
};
static const struct unit plain_units[] = { { "", 1 }, { NULL, 0 } };

static bool wrong(struct err *err, const char *text, const char *what)
{
	return err_set(err, "\"%.80s\" is not %s", text, what);
}

static const struct unit *units_of(enum settings_type type)
{
	if (type == SETTINGS_DURATION)
		return duration_units;
	return type == SETTINGS_SIZE ? size_units : plain_units;
}

static const char *number_form(enum settings_type type)
{
	if (type == SETTINGS_DURATION)
		return "a duration; expected a number with ms, s, m, h or d";
	if (type == SETTINGS_SIZE)
		return "a size; expected a number, with k, m or g if need be";
	return "a number; expected decimal digits";
}

void settings_print_number(enum settings_type type, uint64_t n,
    struct buf *out)
{
	const struct unit *u = units_of(type);

	while (n % u->factor || (n == 0 && u[1].suffix))
		u++;
	buf_printf(out, "%llu%s", (unsigned long long)(n / u->factor),
	    n ? u->suffix : "");
}

/* A number with one of the units; false also when it passes 64 bits. */
static bool number(const char *text, const struct unit *units, uint64_t *out)
{
	const char *p = text;
	uint64_t n = 0;

	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	if (p == text)
		return false;
	if (n == 0 && !*p) {
		*out = 0;
		return true;
	}
	for (; units->suffix; units++)
		if (strcasecmp(p, units->suffix) == 0)
			return !__builtin_mul_overflow(n, units->factor, out);
	return false;
}

static bool set_number(const struct settings_row *row, const char *text,
    void *field, struct err *err)
{
	uint64_t n;

	if (!number(text, units_of(row->type), &n))
		return wrong(err, text, number_form(row->type));
	if (n < row->min || n > row->max) {
		struct buf range;
		buf_init(&range, 0);
		settings_print_number(row->type, row->min, &range);
		buf_puts(&range, " to ");
		settings_print_number(row->type, row->max, &range);
		err_set(err, "\"%.40s\" is out of range; expected %.*s", text,
		    STR_ARG(buf_view(&range)));
		buf_fini(&range);
		return false;
	}
	if (row->type == SETTINGS_UINT)
		*(uint32_t *)field = (uint32_t)n;
	else
		*(uint64_t *)field = n;
	return true;
}

static bool set_bool(const char *text, bool *field, struct err *err)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "yes", true }, { "no", false }, { "true", true },
		{ "false", false }, { "on", true }, { "off", false },
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasecmp(text, words[i].word) == 0) {
			*field = words[i].value;
			return true;
		}
	return wrong(err, text, "a switch; expected yes or no");
}

static const struct settings_choice *find_word(
    const struct settings_choice *c, const char *text)
{
	for (; c->word; c++)
		if (strcasecmp(c->word, text) == 0)
			return c;
	return NULL;
}

static bool wrong_word(const struct settings_choice *choices,
    const char *text, struct err *err)
{
	struct buf list;

	buf_init(&list, 0);
	for (const struct settings_choice *c = choices; c->word; c++)
		buf_printf(&list, "%s%s", c == choices ? "" :
		    c[1].word ? ", " : " or ", c->word);
	err_set(err, "\"%.40s\" is not known; expected %.*s", text,
	    STR_ARG(buf_view(&list)));
	buf_fini(&list);
	return false;
}

static bool set_choice(const struct settings_row *row, const char *text,
    unsigned *field, struct err *err)
{
	const struct settings_choice *c = find_word(row->choices, text);

	if (!c)
		return wrong_word(row->choices, text, err);
	*field = c->value;
	return true;
}

/* The text has the shape of a name or an address; an IPv4 address is one,
 * and nothing else of digits and dots is a name. */
static bool is_host(struct str host)
{
	struct addr a;
	bool is_name = false;

	if (host.n == 0 || host.n > 253 || host.p[0] == '.' ||
	    host.p[0] == '-')
		return false;
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		if (!isalnum((unsigned char)c) && !strchr(".-_", c))
			return false;
		is_name |= !isdigit((unsigned char)c) && c != '.';
	}
	return is_name || addr_parse_ip(&a, host);
}

static bool split_address(const char *text, struct str *host_out,
    uint64_t *port_out)
{
	struct str all = str_from(text), host;
	const char *colon = strrchr(text, ':');
	struct addr a;

	if (!colon || !number(colon + 1, plain_units, port_out) ||
	    *port_out == 0 || *port_out > UINT16_MAX)
		return false;
	host = (struct str){ all.p, (size_t)(colon - text) };
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		host = (struct str){ host.p + 1, host.n - 2 };
		if (!memchr(host.p, ':', host.n) || !addr_parse_ip(&a, host))
			return false;
	} else if (!str_eq(host, STR("*")) && !is_host(host)) {
		return false;
	}
	*host_out = host;
	return true;
}

/* "srv+_service._protocol.domain". */
static bool set_srv(struct settings *s, const char *text,
    struct settings_address *field, struct err *err)
{
	struct str name = str_skip(str_from(text), strlen(SETTINGS_SRV_MARK)), rest;
	struct str service = str_split(name, '.', &rest);
	struct str protocol = str_split(rest, '.', &rest);

	if (memchr(name.p, ':', name.n))
		return wrong(err, text, "an SRV name; expected it without a "
		    "port, since its targets have their own");
	if (!is_host(name) || service.n < 2 || service.p[0] != '_' ||
	    protocol.n < 2 || protocol.p[0] != '_' || rest.n == 0)
		return wrong(err, text, "an SRV name; expected one like "
		    SETTINGS_SRV_MARK "_imap._tcp.example.org");
	field->text = field->host = settings_text(s, str_from(text));
	field->port = 0;
	return true;
}

static bool set_address(struct settings *s, const char *text,
    struct settings_address *field, struct err *err)
{
	struct str host;
	uint64_t port;

	if (!split_address(text, &host, &port))
		return wrong(err, text, "an address; expected host:port, with "
		    "an IPv6 address in brackets");
	*field = (struct settings_address){
		settings_text(s, str_from(text)), settings_text(s, host),
		(uint16_t)port,
	};
	return true;
}

static bool set_network(const char *text, struct net *field, struct err *err)
{
	if (net_parse(field, str_from(text)))
		return true;
	return wrong(err, text, "a network; expected one like 10.0.0.0/8 or "
	    "2001:db8::/32, all bits behind the prefix being zero");
}

static bool is_system_file(const struct settings_row *row, const char *path)
{
	return row->flags & SETTINGS_SYSTEM && strcmp(path, row->preset) == 0;
}

/* A file of the system's, or a secret that is not for this process. */
static bool may_be_missing(const struct settings *s,
    const struct settings_row *row, const char *path)
{
	return is_system_file(row, path) ||
	    (row->type == SETTINGS_SECRET && !s->dir);
}

/* Files are read once, however many settings name them. */
bool settings_fill_file(struct settings *s, const struct settings_row *row,
    struct settings_file *field, struct err *err)
{
	const char *path = field->path;
	bool may_miss = may_be_missing(s, row, path);
	struct held_file *f;
	struct str data = STR_NONE;

	for (f = s->files; f; f = f->next)
		if (strcmp(f->file.path, path) == 0) {
			f->is_secret &= row->type == SETTINGS_SECRET;
			*field = f->file;
			return true;
		}
	f = settings_alloc(s, sizeof *f);
	f->is_secret = row->type == SETTINGS_SECRET;
	if (s->is_peek) {
		data.p = "";
	} else if (s->dir) {
		if (!settings_read_file(s, path, FILE_MAX, &data, err) &&
		    !may_miss)
			return false;
	} else if (s->file && s->file(s->file_arg, path, &data)) {
		data.p = settings_text(s, data);
	} else if (!may_miss) {
		return err_set(err, "the file \"%.120s\" was not sent", path);
	}
	f->file.path = path;
	f->file.data = data;
	*s->files_end = f;
	s->files_end = &f->next;
	*field = f->file;
	return true;
}

static bool set_secret(struct settings *s, struct settings_file *f,
    struct err *err)
{
	struct str d = f->data;

	if (d.n && d.p[d.n - 1] == '\n')
		d.n--;
	if (d.n && d.p[d.n - 1] == '\r')
		d.n--;
	if (d.n == 0 || d.n > SECRET_MAX)
		return err_set(err, "the file \"%.100s\" is %s; expected one "
		    "line", f->path, d.n ? "too long" : "empty");
	if (memchr(d.p, '\n', d.n) || memchr(d.p, '\0', d.n))
		return err_set(err, "the file \"%.100s\" has several lines; "
		    "expected one", f->path);
	f->data = (struct str){ settings_text(s, d), d.n };
	return true;
}

static bool set_file(struct settings *s, const struct settings_row *row,
    const char *text, struct settings_file *field, struct err *err)
{
	field->path = settings_path(s, text);
	if (is_system_file(row, text))
		return true;	/* see settings_need() */
	if (!settings_fill_file(s, row, field, err))
		return false;
	return row->type != SETTINGS_SECRET || s->is_peek ||
	    !field->data.p || set_secret(s, field, err);
}

bool settings_is_list(enum settings_type type)
{
	return type == SETTINGS_STRINGS || type == SETTINGS_ADDRESSES ||
	    type == SETTINGS_NETWORKS || type == SETTINGS_SET ||
	    type == SETTINGS_REFS;
}

bool settings_negate(struct settings *s, const struct settings_row *row,
    struct raws *raws, struct err *err)
{
	size_t n_not = 0, n = 0;

	if (!(row->flags & SETTINGS_NEGATABLE))
		return true;
	struct raw *nots = settings_alloc(s, raws->n * sizeof *nots);
	for (size_t i = 0; i < raws->n; i++) {
		struct raw raw = raws->v[i];
		if (raw.text[0] != '!') {
			raws->v[n++] = raw;
			continue;
		}
		if (!*++raw.text)
			return err_set(err, "\"!\" stands alone; expected what "
			    "must not be behind it");
		nots[n_not++] = raw;
	}
	if (n_not)
		memcpy(&raws->v[n], nots, n_not * sizeof *nots);
	raws->n_not = n_not;
	return true;
}

/* "" alone is how a list that is not set may be written. */
static void set_strings(struct settings *s, const struct raws *raws,
    struct settings_strings *field)
{
	size_t n = raws->n == 1 && !raws->v[0].text[0] ? 0 : raws->n;
	const char **v = settings_alloc(s, n * sizeof *v);

	for (size_t i = 0; i < n; i++)
		v[i] = raws->v[i].text;
	*field = (struct settings_strings){ v, n, raws->n_not };
}

static bool set_list(struct settings *s, const struct settings_row *row,
    const struct raws *raws, void *field, struct err *err)
{
	size_t n = raws->n;

	if (row->type == SETTINGS_STRINGS) {
		set_strings(s, raws, field);
	} else if (row->type == SETTINGS_ADDRESSES) {
		struct settings_address *v = settings_alloc(s, n * sizeof *v);
		for (size_t i = 0; i < n; i++)
			if (!set_address(s, raws->v[i].text, &v[i], err))
				return false;
		*(struct settings_addresses *)field =
		    (struct settings_addresses){ v, n };
	} else {
		struct net *v = settings_alloc(s, n * sizeof *v);
		for (size_t i = 0; i < n; i++)
			if (!set_network(raws->v[i].text, &v[i], err))
				return false;
		*(struct settings_networks *)field =
		    (struct settings_networks){ v, n, raws->n_not };
	}
	return true;
}

static bool set_set(const struct settings_row *row, const struct raws *raws,
    unsigned *field, struct err *err)
{
	*field = 0;
	for (size_t i = 0; i < raws->n; i++) {
		unsigned value = 0;
		if (!set_choice(row, raws->v[i].text, &value, err))
			return false;
		*field |= 1u << value;
	}
	return true;
}

/* "{ A, B }" of a row's preset, as the text would give it. */
static struct raws preset_raws(struct settings *s, const char *preset)
{
	struct raws raws = { 0 };
	size_t cap = strlen(preset) / 2 + 1;

	raws.v = settings_alloc(s, cap * sizeof *raws.v);
	for (const char *p = preset; *p; ) {
		size_t n = strcspn(p, " ,{}");
		if (n)
			raws.v[raws.n++].text =
			    settings_text(s, (struct str){ p, n });
		p += n ? n : 1;
	}
	return raws;
}

static bool set_one(struct settings *s, const struct settings_row *row,
    const char *text, void *field, struct err *err)
{
	const struct settings_choice *word;

	switch (row->type) {
	case SETTINGS_BOOL:
		return set_bool(text, field, err);
	case SETTINGS_UINT:
	case SETTINGS_DURATION:
	case SETTINGS_SIZE:
		return set_number(row, text, field, err);
	case SETTINGS_STRING:
		*(const char **)field = text;
		return true;
	case SETTINGS_PATH:
		word = find_word(row->choices, text);
		*(const char **)field = word ? word->word :
		    settings_path(s, text);
		return true;
	case SETTINGS_FILE:
	case SETTINGS_SECRET:
		return set_file(s, row, text, field, err);
	case SETTINGS_ADDRESS:
		if (row->flags & SETTINGS_SRV &&
		    str_starts(str_from(text), STR(SETTINGS_SRV_MARK)))
			return set_srv(s, text, field, err);
		return set_address(s, text, field, err);
	case SETTINGS_CHOICE:
		return set_choice(row, text, field, err);
	case SETTINGS_STRINGS:
	case SETTINGS_ADDRESSES:
	case SETTINGS_NETWORKS:
	case SETTINGS_SET:
	case SETTINGS_REF:
	case SETTINGS_REFS:
	case SETTINGS_INNER:
		break;
	}
	must(!"a list, a reference or a section");
	return false;
}

/* What "" leaves: no NULL strings. */
static void set_nothing(const struct settings_row *row, void *field)
{
	if (row->type == SETTINGS_STRING || row->type == SETTINGS_PATH)
		*(const char **)field = "";
	else if (row->type == SETTINGS_FILE || row->type == SETTINGS_SECRET)
		((struct settings_file *)field)->path = "";
	else if (row->type == SETTINGS_ADDRESS)
		*(struct settings_address *)field =
		    (struct settings_address){ "", "", 0 };
}

static bool may_be_empty(enum settings_type type)
{
	return type == SETTINGS_STRING || type == SETTINGS_PATH ||
	    type == SETTINGS_FILE || type == SETTINGS_SECRET ||
	    type == SETTINGS_ADDRESS || settings_is_list(type);
}

bool settings_set_field(struct settings *s, const struct settings_row *row,
    const struct raws *raws, void *data, struct err *err)
{
	void *field = (char *)data + row->offset;

	if (settings_is_list(row->type)) {
		struct raws preset = preset_raws(s, row->preset);
		if (raws->n == 0)
			raws = &preset;
		if (row->type == SETTINGS_SET)
			return set_set(row, raws, field, err);
		return set_list(s, row, raws, field, err);
	}
	const char *text = raws->n ? raws->v[0].text : row->preset;
	if (row->flags & SETTINGS_SYSTEM && !text[0])
		text = row->preset;
	if (!text[0] && may_be_empty(row->type)) {
		set_nothing(row, field);
		return true;
	}
	return set_one(s, row, text, field, err);
}
