/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/table_cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/table_input.h"
#include "backends/conf.h"
#include "backends/table_popmap.h"
#include "backends/table_store.h"
#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"

#define WAIT_S 10.		/* for who still holds a file that was replaced */

enum status { GOOD, NOT_THERE, BAD };

static const char usage_text[] =
    "usage: mailweir table build [-k] [-f plain|popmap] FILE <TEXT\n"
    "       mailweir table get [-k] FILE KEY\n"
    "       mailweir table set [-k] FILE KEY VALUE\n"
    "       mailweir table del [-k] FILE KEY\n"
    "       mailweir table dump FILE\n"
    "\n"
    "Tables of type lmdb, which the proxy may be using meanwhile.\n"
    "\n"
    "  build  makes FILE anew of lines \"KEY VALUE\" and puts it in the place\n"
    "         of the old one when it is complete\n"
    "  dump   prints such lines\n"
    "\n"
    "  -f, --format popmap  lines are \"KEY: [USER@]HOST[:PORT]\"\n"
    "  -k, --keep-case      do not turn keys to lower case\n"
    "\n"
    "VALUE is pool NAME, backend NAME, NAME or [USER@]HOST[:PORT].\n"
    "Exit status: 0 good, 1 there is no such key, 2 an error.\n";

struct command {
	const char *path;
	enum conf_table_format format;
	bool keeps_case;
	int argc;		/* behind path */
	char **argv;
};

static enum status complain(const struct err *err)
{
	fprintf(stderr, "mailweir table: %s\n", err->text);
	return BAD;
}

static enum status usage(void)
{
	fputs(usage_text, stderr);
	return BAD;
}

static void fold(char *key)
{
	for (; *key; key++)
		if (*key >= 'A' && *key <= 'Z')
			*key |= 0x20;
}

/* The first argument behind the file. */
static struct str take_key(const struct command *c)
{
	if (!c->keeps_case)
		fold(c->argv[0]);
	return str_from(c->argv[0]);
}

/* --- build ---------------------------------------------------------------- */

static void show_progress(void *arg, const char *what, size_t n, size_t all)
{
	double *next = arg, now = clock_now();

	if (now < *next && n != all)
		return;
	*next = now + 1;
	fprintf(stderr, "%s %zu\n", what, n);
}

static bool write_all(const struct command *c, struct table_input *in,
    double *next, struct err *err)
{
	struct table_build *b = table_build_new(c->path, err);
	size_t n = table_input_n(in);
	struct str key, value;
	bool is_good = b != NULL;

	for (size_t i = 0; i < n && is_good; i++) {
		table_input_at(in, i, &key, &value);
		is_good = table_build_add(b, key, value, err);
		if (i % 4096 == 0)
			show_progress(next, "keys written:", i, n);
	}
	if (is_good)
		is_good = table_build_finish(b, err);
	table_build_free(&b);
	return is_good;
}

static enum status build(const struct command *c)
{
	double began = clock_now(), next = began + 1;
	struct err err;

	if (c->argc != 0)
		return usage();
	struct table_input *in = table_input_read(stdin, c->format,
	    !c->keeps_case, show_progress, &next, &err);
	if (!in)
		return complain(&err);
	bool is_good = write_all(c, in, &next, &err);
	if (is_good)
		fprintf(stderr, "%s: %zu keys in %.1f s\n", c->path,
		    table_input_n(in), clock_now() - began);
	table_input_free(&in);
	return is_good ? GOOD : complain(&err);
}

/* --- one key ---------------------------------------------------------------- */

static enum status tell_missing(const struct command *c, struct str key)
{
	fprintf(stderr, "mailweir table: %s: there is no %.*s\n", c->path,
	    STR_ARG(key));
	return NOT_THERE;
}

static enum status get(const struct command *c)
{
	char to[TABLE_VALUE_MAX];
	struct str value;
	struct err err;
	enum status status = BAD;

	if (c->argc != 1)
		return usage();
	struct str key = take_key(c);
	struct table_store *s = table_store_open(c->path, TABLE_STORE_READ,
	    WAIT_S, &err);
	if (!s)
		return complain(&err);
	switch (table_store_get(s, key, to, &value, &err)) {
	case TABLE_FOUND:
		printf("%.*s\n", STR_ARG(value));
		status = GOOD;
		break;
	case TABLE_MISSING:
		status = tell_missing(c, key);
		break;
	case TABLE_FAILED:
		status = complain(&err);
		break;
	}
	table_store_close(&s);
	return status;
}

static enum status set(const struct command *c)
{
	struct buf value;
	struct err err;
	enum status status = BAD;

	if (c->argc < 2)
		return usage();
	struct str key = take_key(c);
	buf_init(&value, TABLE_VALUE_MAX);
	for (int i = 1; i < c->argc; i++)
		buf_printf(&value, "%s%s", i > 1 ? " " : "", c->argv[i]);
	if (!popmap_is_key(key) || value.overflowed ||
	    !popmap_is_value(buf_view(&value))) {
		err_set(&err, "expected a key without control characters, "
		    "and a pool, a backend, or [user@]host[:port]");
		complain(&err);
	} else {
		struct table_store *s = table_store_open(c->path,
		    TABLE_STORE_WRITE, WAIT_S, &err);
		status = s && table_store_set(s, key, buf_view(&value),
		    &err) ? GOOD : complain(&err);
		table_store_close(&s);
	}
	buf_fini(&value);
	return status;
}

static enum status del(const struct command *c)
{
	struct err err;
	enum status status = BAD;

	if (c->argc != 1)
		return usage();
	struct str key = take_key(c);
	/* a table that is not there is not made for it */
	struct table_store *s = table_store_open(c->path, TABLE_STORE_LOOK, 0,
	    &err);
	if (s) {
		table_store_close(&s);
		s = table_store_open(c->path, TABLE_STORE_WRITE, WAIT_S,
		    &err);
	}
	if (!s)
		return complain(&err);
	switch (table_store_del(s, key, &err)) {
	case TABLE_FOUND:
		status = GOOD;
		break;
	case TABLE_MISSING:
		status = tell_missing(c, key);
		break;
	case TABLE_FAILED:
		status = complain(&err);
		break;
	}
	table_store_close(&s);
	return status;
}

/* --- dump -------------------------------------------------------------------- */

/* In quotes where popmap_parse() would otherwise see something else. */
static void print_key(struct str key)
{
	bool is_plain = key.n && !memchr("#\"'", key.p[0], 3) &&
	    !memchr(key.p, ' ', key.n) && !memchr(key.p, '\t', key.n);

	if (is_plain) {
		printf("%.*s", STR_ARG(key));
		return;
	}
	putchar('"');
	for (size_t i = 0; i < key.n; i++) {
		if (key.p[i] == '"' || key.p[i] == '\\')
			putchar('\\');
		putchar(key.p[i]);
	}
	putchar('"');
}

static bool print_entry(void *arg, struct str key, struct str value)
{
	(void)arg;
	print_key(key);
	printf("\t%.*s\n", STR_ARG(value));
	return !ferror(stdout);
}

static enum status dump(const struct command *c)
{
	struct err err;

	if (c->argc != 0)
		return usage();
	struct table_store *s = table_store_open(c->path, TABLE_STORE_READ,
	    WAIT_S, &err);
	if (!s)
		return complain(&err);
	bool is_good = table_store_each(s, print_entry, NULL, &err);
	table_store_close(&s);
	return is_good ? GOOD : complain(&err);
}

/* --- the command line -------------------------------------------------------- */

static const struct {
	const char *word;
	enum status (*run)(const struct command *c);
} verbs[] = {
	{ "build", build },
	{ "get", get },
	{ "set", set },
	{ "del", del },
	{ "dump", dump },
};

static bool take_format(struct command *c, const char *word)
{
	if (strcmp(word, "plain") == 0)
		c->format = CONF_TABLE_PLAIN;
	else if (strcmp(word, "popmap") == 0)
		c->format = CONF_TABLE_POPMAP;
	else
		return false;
	return true;
}

static bool take_options(struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "keep-case", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "+f:k", options, NULL)) !=
	    -1) {
		if (option == 'k')
			c->keeps_case = true;
		else if (option != 'f' || !take_format(c, optarg))
			return false;
	}
	if (optind >= argc)
		return false;
	c->path = argv[optind];
	c->argc = argc - optind - 1;
	c->argv = argv + optind + 1;
	return true;
}

int table_cli(int argc, char **argv)
{
	struct command c = { .format = CONF_TABLE_PLAIN };

	if (argc > 1 && (strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "--help") == 0)) {
		fputs(usage_text, stdout);
		return GOOD;
	}
	for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0];
	    i++) {
		if (strcmp(argv[1], verbs[i].word) != 0)
			continue;
		if (!take_options(&c, argc - 1, argv + 1))
			break;
		enum status status = verbs[i].run(&c);
		return fflush(stdout) == 0 ? (int)status : BAD;
	}
	return usage();
}
