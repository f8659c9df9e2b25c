/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * settings_parse - libConfuse at work: text becomes parts with raw values
 *
 * libConfuse gives the syntax only. Each setting is declared to it as a
 * string, or a list of them, that is handed to on_value() with its place, so
 * that types, ranges and errors are ours. Its callbacks have no argument for
 * us: what is being parsed stands in a thread's variable meanwhile.
 */
#include <confuse.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/settings_parts.h"

#define INCLUDE_DEPTH_MAX 8

/* Every section has this setting with a default, which libConfuse sets when
 * the section begins: only so can one learn the line. Nobody can write a name
 * with a space. */
#define BEGIN " begin"

struct parse {
	struct settings *s;
	struct err *err;
	bool failed;
	const char *file;	/* being read */
	int depth;		/* of includes */
	const char *begin_file;	/* where the latest section begins */
	int begin_line;
};

static _Thread_local struct parse *current;

static int fault(cfg_t *cfg, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Keeps the first error; returns what makes libConfuse stop. */
static int fault(cfg_t *cfg, const char *fmt, ...)
{
	va_list ap;

	if (current->failed)
		return -1;
	current->failed = true;
	if (!current->err)
		return -1;
	va_start(ap, fmt);
	vsnprintf(current->err->text, sizeof current->err->text, fmt, ap);
	va_end(ap);
	err_prefix(current->err, "%s:%d", current->file, cfg->line);
	return -1;
}

/* Levenshtein's distance, for names. */
static size_t distance(const char *a, const char *b)
{
	enum { LONGEST = 64 };
	size_t row[LONGEST + 1], n = strlen(b);

	if (n > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; *a; a++, i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = corner + (*a != b[j - 1]);
			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

struct nearest {
	const char *wanted, *name;
	size_t distance;
};

static void consider(struct nearest *n, const char *name)
{
	size_t d = distance(n->wanted, name);

	if (n->name && d >= n->distance)
		return;
	n->name = name;
	n->distance = d;
}

static void consider_rows(struct nearest *n,
    const struct settings_section *def)
{
	for (size_t i = 0; i < def->n_rows; i++)
		consider(n, def->rows[i].name);
}

/* Names that are legal where cfg stands. */
static void consider_place(struct nearest *n, const cfg_t *cfg, bool is_top)
{
	const struct settings_schema *schema = current->s->schema;

	if (is_top && current->s->dir)
		consider(n, "include");
	for (size_t i = 0; i < schema->n_sections; i++) {
		const struct settings_section *def = schema->sections[i];
		if (is_top && def->kind == SETTINGS_TOP)
			consider_rows(n, def);
		else if (is_top && def->kind != SETTINGS_WITHIN)
			consider(n, def->name);
		else if (!is_top && strcmp(def->name, cfg->name) == 0)
			consider_rows(n, def);
	}
}

/* The section that has a setting of that name, for one written elsewhere. */
static const struct settings_section *home_of(const char *name)
{
	const struct settings_schema *schema = current->s->schema;

	for (size_t i = 0; i < schema->n_sections; i++) {
		const struct settings_section *def = schema->sections[i];
		struct nearest n = { .wanted = name };
		consider_rows(&n, def);
		if (n.distance == 0)
			return def;
	}
	return NULL;
}

static void unknown(cfg_t *cfg, const char *name)
{
	bool is_top = !cfg->name[0] || strcmp(cfg->name, "root") == 0;
	const char *place = is_top ? "here" : cfg->name;
	const char *in = is_top ? "" : "in ";
	struct nearest n = { .wanted = name };
	const struct settings_section *home = home_of(name);

	consider_place(&n, cfg, is_top);
	if (strcmp(name, "include") == 0)
		fault(cfg, "include cannot stand here; expected it in a file, "
		    "outside of sections");
	else if (n.distance > 2 && home && home->kind == SETTINGS_TOP)
		fault(cfg, "unknown setting \"%.60s\" %s%s; it belongs "
		    "outside of sections", name, in, place);
	else if (n.distance > 2 && home)
		fault(cfg, "unknown setting \"%.60s\" %s%s; it belongs into "
		    "%s", name, in, place, home->name);
	else
		fault(cfg, "unknown setting \"%.60s\" %s%s; did you mean "
		    "\"%s\"?", name, in, place, n.name);
}

/* libConfuse's errors as they begin, and ours: what is wrong, and what was
 * expected. */
static const struct {
	const char *begin, *wrong, *expected;
} errors[] = {
	{ "missing title for section", "no name behind \"", "\"; expected a "
	    "name, then \"{\"" },
	{ "missing opening brace for section", "no \"{\" behind \"",
	    "\"; expected \"{\"" },
	{ "missing equal sign after option", "no \"=\" behind \"",
	    "\"; expected \"=\" and a value" },
	{ "attempt to append to non-list option", "\"+=\" behind \"",
	    "\", which is no list; expected \"=\"" },
	{ "found duplicate title", "a section of this kind with the name \"",
	    "\" is there already; expected another name" },
	{ "missing parenthesis for function", "no \"(\" behind \"",
	    "\"; expected include(\"file\")" },
	{ "unexpected token", "\"", "\" stands in the wrong place; expected a "
	    "setting or a value" },
};

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[200];

	if (strncmp(fmt, "no such option", 14) == 0) {
		unknown(cfg, va_arg(ap, const char *));
		return;
	}
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		if (strncmp(fmt, errors[i].begin, strlen(errors[i].begin)))
			continue;
		fault(cfg, "%s%.60s%s", errors[i].wrong,
		    va_arg(ap, const char *), errors[i].expected);
		return;
	}
	if (strstr(fmt, "end of file")) {
		fault(cfg, "the text ends too early; expected \"}\" or a "
		    "value");
		return;
	}
	vsnprintf(text, sizeof text, fmt, ap);
	fault(cfg, "%s", text);
}

/* Our mark that a setting has had its value; far from libConfuse's flags. */
#define GIVEN (1 << 24)

/* Called for each value of the text. libConfuse keeps the raw value. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text,
    void *result)
{
	struct settings *s = current->s;
	struct raw *raw = settings_alloc(s, sizeof *raw);

	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return fault(cfg, "%s: a control character; expected "
			    "text", opt->name);
	if (!(opt->flags & CFGF_LIST) && (opt->flags & GIVEN))
		return fault(cfg, "%s is set a second time in one place; "
		    "expected it once", opt->name);
	opt->flags |= GIVEN;
	raw->text = settings_text(s, str_from(text));
	raw->file = current->file;
	raw->line = cfg->line;
	*(void **)result = raw;
	return 0;
}

static int on_begin(cfg_t *cfg, cfg_opt_t *opt, const char *text,
    void *result)
{
	if (!(opt->flags & CFGF_DEFINIT))
		return fault(cfg, "unknown setting \"%s\"", BEGIN);
	return on_value(cfg, opt, text, result);
}

static bool read_stream(cfg_t *cfg, struct str text, const char *name);

/* One file of an include; what was being read comes back afterwards. */
static int include_file(cfg_t *cfg, const char *path)
{
	char *outer_name = cfg->filename;
	const char *outer_file = current->file;
	int outer_line = cfg->line;
	struct err why;
	struct str text;

	if (!settings_read_file(current->s, path, SETTINGS_TEXT_MAX, &text,
	    &why))
		return fault(cfg, "include: %s", why.text);
	current->depth++;
	cfg->filename = NULL;
	bool ok = read_stream(cfg, text, path);
	free(cfg->filename);
	cfg->filename = outer_name;
	cfg->line = outer_line;
	current->file = outer_file;
	current->depth--;
	return ok ? 0 : -1;
}

/* include("name"): a pattern stands for its files in the order of their names,
 * or for none; a plain name must be there. */
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	glob_t found;
	int rc = 0;

	(void)opt;
	if (argc != 1)
		return fault(cfg, "include with %d names; expected one in "
		    "brackets and quotes", argc);
	if (current->depth >= INCLUDE_DEPTH_MAX)
		return fault(cfg, "includes are nested too deeply; expected "
		    "%d levels at most", INCLUDE_DEPTH_MAX);
	const char *path = settings_path(current->s, argv[0]);
	if (!strpbrk(argv[0], "*?["))
		return include_file(cfg, path);
	if (glob(path, 0, NULL, &found) == 0) {
		for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
			rc = include_file(cfg, settings_text(current->s,
			    str_from(found.gl_pathv[i])));
		globfree(&found);
	}
	return rc;
}

static bool read_stream(cfg_t *cfg, struct str text, const char *name)
{
	char *copy = mem_str(text);
	bool ok = false;

	current->file = name;
	if (!settings_lex(copy, text.n, name, current->err)) {
		current->failed = true;
	} else if (text.n == 0) {	/* fmemopen() has no empty streams */
		ok = true;
	} else {
		FILE *f = fmemopen(copy, text.n, "r");
		must(f);
		cfg->filename = strdup(name);
		ok = cfg_parse_fp(cfg, f) == CFG_SUCCESS && !current->failed;
		fclose(f);
	}
	mem_wipe(copy, text.n);
	free(copy);
	return ok;
}

struct options {
	cfg_opt_t *top, **of_sections;
	size_t n;
};

/* The options of one section, as libConfuse wants them. */
static cfg_opt_t *section_options(const struct options *all,
    const struct settings *s, const struct settings_section *def)
{
	cfg_opt_t *opts = mem_alloc((def->n_rows + 2) * sizeof *opts);
	cfg_opt_t *o = opts;

	if (def->kind != SETTINGS_TOP)
		*o++ = (cfg_opt_t)CFG_PTR_CB(BEGIN, "0", CFGF_NONE, on_begin,
		    NULL);
	for (size_t i = 0; i < def->n_rows; i++) {
		const struct settings_row *row = &def->rows[i];
		cfg_flag_t list = settings_is_list(row->type) ?
		    CFGF_LIST : CFGF_NONE;
		if (row->type == SETTINGS_INNER)
			*o++ = (cfg_opt_t)CFG_SEC(row->name,
			    all->of_sections[settings_inner_section(s, row)],
			    CFGF_MULTI);
		else
			*o++ = (cfg_opt_t)CFG_PTR_CB(row->name, NULL,
			    CFGF_NODEFAULT | list, on_value, NULL);
	}
	*o = (cfg_opt_t)CFG_END();
	return opts;
}

static void options_init(struct options *o, const struct settings *s)
{
	const struct settings_schema *schema = s->schema;
	size_t n = 0, room = schema->n_sections + 2;

	for (size_t i = 0; i < schema->n_sections; i++)
		room += schema->sections[i]->n_rows;
	o->top = mem_alloc(room * sizeof *o->top);
	o->of_sections = mem_alloc(schema->n_sections *
	    sizeof *o->of_sections);
	o->n = schema->n_sections;
	for (size_t i = 0; i < o->n; i++) {
		const struct settings_section *def = schema->sections[i];
		cfg_opt_t *opts = section_options(o, s, def);
		cfg_flag_t title = def->kind == SETTINGS_TITLED ?
		    CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE;
		o->of_sections[i] = opts;
		if (def->kind == SETTINGS_WITHIN)
			continue;
		if (def->kind != SETTINGS_TOP)
			o->top[n++] = (cfg_opt_t)CFG_SEC(def->name, opts,
			    CFGF_MULTI | title);
		else
			for (; opts->name; opts++)
				o->top[n++] = *opts;
	}
	if (s->dir)
		o->top[n++] = (cfg_opt_t)CFG_FUNC("include", on_include);
	o->top[n] = (cfg_opt_t)CFG_END();
}

static void options_fini(struct options *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->of_sections[i]);
	free(o->of_sections);
	free(o->top);
}

static void take_values(struct settings *s, struct part *part, cfg_t *cfg);

static void take_inner(struct settings *s, struct part *outer,
    const struct settings_row *row, cfg_t *cfg)
{
	for (unsigned j = 0; j < cfg_size(cfg, row->name); j++) {
		cfg_t *inner = cfg_getnsec(cfg, row->name, j);
		const struct raw *begin = cfg_getptr(inner, BEGIN);
		take_values(s, settings_add_inner(s, outer, row, begin->file,
		    begin->line), inner);
	}
}

/* Moves the raw values of one section from libConfuse to a part. */
static void take_part(struct settings *s, size_t section, cfg_t *cfg)
{
	const struct settings_section *def = s->schema->sections[section];
	const char *title = def->kind == SETTINGS_TITLED ? cfg_title(cfg) : "";
	const struct raw *begin = def->kind == SETTINGS_TOP ? NULL :
	    cfg_getptr(cfg, BEGIN);

	take_values(s, settings_add_part(s, section, title,
	    begin ? begin->file : current->file, begin ? begin->line : 1),
	    cfg);
}

static void take_values(struct settings *s, struct part *part, cfg_t *cfg)
{
	const struct settings_section *def = part->def;

	for (size_t i = 0; i < def->n_rows; i++) {
		if (def->rows[i].type == SETTINGS_INNER) {
			take_inner(s, part, &def->rows[i], cfg);
			continue;
		}
		cfg_opt_t *opt = cfg_getopt(cfg, def->rows[i].name);
		unsigned n = cfg_opt_size(opt);
		part->raws[i].v = settings_alloc(s, n * sizeof(struct raw));
		for (unsigned j = 0; j < n; j++) {
			const struct raw *raw = cfg_opt_getnptr(opt, j);
			if (raw)
				part->raws[i].v[part->raws[i].n++] = *raw;
		}
	}
}

static void take_parts(struct settings *s, cfg_t *cfg)
{
	for (size_t i = 0; i < s->schema->n_sections; i++) {
		const struct settings_section *def = s->schema->sections[i];
		if (def->kind == SETTINGS_TOP) {
			take_part(s, i, cfg);
			continue;
		}
		if (def->kind == SETTINGS_WITHIN)
			continue;
		for (unsigned j = 0; j < cfg_size(cfg, def->name); j++)
			take_part(s, i, cfg_getnsec(cfg, def->name, j));
	}
}

bool settings_parse(struct settings *s, struct str text, const char *name,
    struct err *err)
{
	struct parse parse = { .s = s, .err = err };
	struct options options;

	must(!current);
	if (text.n > SETTINGS_TEXT_MAX)
		return err_set(err, "%s: %zu bytes; expected %d at most",
		    name, text.n, SETTINGS_TEXT_MAX);
	current = &parse;
	options_init(&options, s);
	cfg_t *cfg = cfg_init(options.top, CFGF_NONE);
	must(cfg);
	cfg_set_error_function(cfg, on_error);
	bool ok = read_stream(cfg, text, name);
	if (ok)
		take_parts(s, cfg);
	cfg_free(cfg);
	options_fini(&options);
	current = NULL;
	if (!ok && !parse.failed)
		err_set(err, "%s: not understood", name);
	return ok;
}
