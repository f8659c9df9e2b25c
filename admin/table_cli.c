/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/table_cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/table_input.h"
#include "backends/conf.h"
#include "backends/table_popmap.h"
#include "backends/table_store.h"
#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"

#define WAIT_S 10.		/* for who still holds a file that was replaced */
#define TERMINAL_S 0.2		/* between two looks at the progress */
#define FILE_S 5.
#define BAD_LINES_MAX 20	/* told one by one */

enum status { GOOD, NOT_THERE, BAD };

static const char usage_text[] =
    "usage: mailweir table build [-k] [-f plain|popmap] FILE [TEXT]\n"
    "       mailweir table get [-k] FILE KEY\n"
    "       mailweir table set [-k] FILE KEY VALUE\n"
    "       mailweir table del [-k] FILE KEY\n"
    "       mailweir table dump FILE\n"
    "\n"
    "Tables of type lmdb, which the proxy may be using meanwhile.\n"
    "\n"
    "  build  makes FILE anew of the lines \"KEY VALUE\" in the file TEXT, or on\n"
    "         standard input, and puts it in the place of the old one when it\n"
    "         is complete\n"
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

struct progress {
	const char *from;	/* the text's name */
	double next;		/* when to show it again */
	bool is_terminal, is_shown;
	size_t n_bad;
};

/* What follows begins a line. */
static void progress_clear(struct progress *p)
{
	if (p->is_shown)
		fputs("\r\033[K", stderr);
	p->is_shown = false;
}

static void on_progress(void *arg, const char *what, size_t n, size_t all)
{
	struct progress *p = arg;
	double now = clock_now();

	if (now < p->next)
		return;
	p->next = now + (p->is_terminal ? TERMINAL_S : FILE_S);
	progress_clear(p);
	fprintf(stderr, "%s %zu", what, n);
	if (all)
		fprintf(stderr, " of %zu (%zu %%)", all, n * 100 / all);
	if (!p->is_terminal)
		fputc('\n', stderr);
	p->is_shown = p->is_terminal;
}

static void on_bad(void *arg, size_t line, const char *why)
{
	struct progress *p = arg;

	if (p->n_bad++ >= BAD_LINES_MAX)
		return;
	progress_clear(p);
	if (line)
		fprintf(stderr, "%s:%zu: %s\n", p->from, line, why);
	else
		fprintf(stderr, "%s: %s\n", p->from, why);
}

static struct table_input *read_text(const struct command *c,
    struct progress *p)
{
	struct table_input_news news = { on_progress, on_bad, p };
	FILE *from = c->argc ? fopen(p->from, "re") : stdin;
	struct table_input *in = NULL;

	if (from)
		in = table_input_read(from, c->format, !c->keeps_case, &news);
	else
		on_bad(p, 0, strerror(errno));
	if (from && from != stdin)
		fclose(from);
	if (p->n_bad > BAD_LINES_MAX)
		fprintf(stderr, "%s: %zu more\n", p->from,
		    p->n_bad - BAD_LINES_MAX);
	return in;
}

/* What is unfinished must not stay behind. */
static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

static void catch_signals(void)
{
	static const int numbers[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sigaction(numbers[i], &action, NULL);
}

static bool write_all(const struct command *c, const struct table_input *in,
    struct progress *p, struct err *err)
{
	size_t n = table_input_n(in);
	struct str key, value;

	catch_signals();
	struct table_build *b = table_build_new(c->path, err);
	bool is_good = b != NULL;
	for (size_t i = 0; i < n && is_good; i++) {
		table_input_at(in, i, &key, &value);
		is_good = table_build_add(b, key, value, err);
		if (is_interrupted)
			is_good = err_set(err, "interrupted; %s is as it was",
			    c->path);
		if (i % 4096 == 0)
			on_progress(p, "keys written:", i, n);
	}
	if (is_good)
		is_good = table_build_finish(b, err);
	table_build_free(&b);
	progress_clear(p);
	return is_good;
}

static enum status build(const struct command *c)
{
	double began = clock_now();
	bool is_terminal = isatty(STDERR_FILENO);
	struct progress p = { .from = c->argc ? c->argv[0] : "stdin",
		.is_terminal = is_terminal,
		.next = began + (is_terminal ? TERMINAL_S : FILE_S) };
	struct err err;

	if (c->argc > 1)
		return usage();
	struct table_input *in = read_text(c, &p);
	if (!in)
		return BAD;
	bool is_good = write_all(c, in, &p, &err);
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
		err_set(&err, "expected a key of 1 to %d bytes without "
		    "control characters, and a pool, a backend, or "
		    "[user@]host[:port]", TABLE_STORE_KEY_MAX);
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
		if (fflush(stdout) == 0 && !ferror(stdout))
			return status;
		fprintf(stderr, "mailweir table: standard output: %s\n",
		    strerror(errno));
		return BAD;
	}
	return usage();
}
