/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * weirctl - one request to a running proxy, for people and scripts
 *
 *	weirctl kick --backend mail1   ->   kick --backend mail1
 *
 * Sends the words of its command line as a line of the console (console.h)
 * and prints the answer. A word is quoted where it must be, so that a user's
 * name may hold spaces and quotes; behind "--" no word is an option.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/conf.h"
#include "admin/request.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"

#define DEFAULT_SOCKET "/run/mailweir/admin.sock"
#define READ_BYTES 16384
#define HELP_COLUMN 24

enum { GOOD = 0, REFUSED = 1, MISUSED = 2, NO_ANSWER = 2 };

static const struct {
	const char *word, *takes, *help;
} verbs[] = {
#define VERB(word, takes, changes, help) { #word, takes, help },
#include "admin/verbs.def"
};

/* --- help ------------------------------------------------------------------ */

/* In lines that begin at HELP_COLUMN and end before 80. */
static void print_folded(FILE *to, struct str text)
{
	int column = HELP_COLUMN;

	while (text.n) {
		struct str word = str_split(text, ' ', &text);
		bool is_first = column == HELP_COLUMN;
		if (!is_first && column + 1 + (int)word.n >= 80) {
			fprintf(to, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
			is_first = true;
		}
		column += fprintf(to, "%s%.*s", is_first ? "" : " ",
		    STR_ARG(word));
	}
	putc('\n', to);
}

static void print_usage(FILE *to)
{
	fputs("usage: weirctl [-s SOCKET | -c FILE] [--json] VERB "
	    "[ARGUMENT...]\n\n"
	    "  -s, --socket SOCKET   of the proxy; otherwise " DEFAULT_SOCKET
	    "\n"
	    "  -c, --config FILE     take the socket from this proxy.conf\n"
	    "  -j, --json            answer in JSON\n"
	    "  -h, --help            print this\n\n", to);
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		int n = fprintf(to, "  %s%s%s", verbs[i].word,
		    verbs[i].takes[0] ? " " : "", verbs[i].takes);
		if (n >= HELP_COLUMN)
			n = fprintf(to, "\n") - 1;
		fprintf(to, "%*s", HELP_COLUMN - n, "");
		print_folded(to, str_from(verbs[i].help));
	}
	fputs("\nThe exit status is 0; 1 when the proxy refuses; 2 when the "
	    "request is no\ngood, or the proxy could not be asked.\n", to);
}

/* --- the request -------------------------------------------------------------- */

/* "--backend=mail 1" is an option and its value; behind "--" all is quoted,
 * for what is quoted is no option. */
static void put_word(struct buf *line, struct str word, bool may_be_option)
{
	struct str value, name = str_split(word, '=', &value);

	buf_puts(line, " ");
	if (!may_be_option || !str_starts(word, STR("--"))) {
		request_quote(line, word);
		return;
	}
	buf_str(line, name);
	if (name.n < word.n) {
		buf_puts(line, " ");
		request_quote(line, value);
	}
}

static bool make_line(int argc, char **argv, bool wants_json,
    struct buf *line, struct err *err)
{
	static struct request check;
	bool may_be_option = true;

	request_quote(line, str_from(argv[0]));
	if (wants_json)
		buf_puts(line, " --json");
	for (int i = 1; i < argc; i++) {
		if (may_be_option && strcmp(argv[i], "--") == 0)
			may_be_option = false;
		else
			put_word(line, str_from(argv[i]), may_be_option);
	}
	if (!request_parse(&check, buf_view(line), err))
		return false;
	buf_puts(line, "\n");
	return true;
}

/* --- the connection --------------------------------------------------------------- */

static int open_socket(const char *path, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof address.sun_path) {
		err_set(err, "%.120s...: too long for a socket", path);
	} else {
		strcpy(address.sun_path, path);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
		    sizeof address) == 0)
			return fd;
		err_set(err, "%s: %s%s", path, strerror(errno),
		    errno == ENOENT || errno == ECONNREFUSED ?
		    "; is the proxy running, with admin.socket set to this?" :
		    "");
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, struct str s, struct err *err)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, "cannot send: %s",
			    strerror(errno));
		s = str_skip(s, (size_t)n);
	}
	return true;
}

/* "= ok", "= error: why" or "= usage: why" */
static int finish(struct str line)
{
	struct str why, word = str_split(line, ':', &why);

	if (str_eq(word, STR("= ok")))
		return GOOD;
	fprintf(stderr, "weirctl:%.*s\n", STR_ARG(why));
	return str_eq(word, STR("= usage")) ? MISUSED : REFUSED;
}

/* Prints the whole lines of in; the status when the last one is there, else
 * -1. */
static int print_lines(struct buf *in)
{
	for (;;) {
		struct str s = buf_view(in), line;
		const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;

		if (!end)
			return -1;
		line = (struct str){ s.p, (size_t)(end - s.p) };
		if (line.n && *line.p == '=')
			return finish(line);
		fwrite(line.p, 1, line.n + 1, stdout);
		buf_consume(in, line.n + 1);
	}
}

static int read_answer(int fd, struct err *err)
{
	struct buf in;
	int status = -1;

	buf_init(&in, 0);
	while (status < 0) {
		ssize_t n = recv(fd, buf_reserve(&in, READ_BYTES), READ_BYTES,
		    0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_set(err, "the proxy has closed the connection "
			    "before the end of its answer");
			status = NO_ANSWER;
			break;
		}
		buf_commit(&in, (size_t)n);
		status = print_lines(&in);
		if (fflush(stdout) != 0) {
			err_set(err, "cannot write: %s", strerror(errno));
			status = NO_ANSWER;
		}
	}
	buf_fini(&in);
	return status;
}

/* --- the program ---------------------------------------------------------------------- */

static int complain(const char *what)
{
	fprintf(stderr, "weirctl: %s\n", what);
	return NO_ANSWER;
}

static int ask(const char *path, struct str line)
{
	struct err err = { "" };
	int fd = open_socket(path, &err), status = NO_ANSWER;

	if (fd >= 0) {
		if (send_all(fd, line, &err))
			status = read_answer(fd, &err);
		close(fd);
	}
	return err.text[0] ? complain(err.text) : status;
}

static int run(const char *socket, const char *config, bool wants_json,
    int argc, char **argv)
{
	struct settings *settings = NULL;
	struct err err = { "" };
	struct buf line;
	int status;

	if (config) {
		settings = settings_peek(config, &conf_schema, &err);
		if (!settings)
			return complain(err.text);
		socket = conf_admin(settings)->socket;
	}
	buf_init(&line, 0);
	if (!socket[0])
		status = complain("admin.socket is not set in that file");
	else if (!make_line(argc, argv, wants_json, &line, &err))
		status = complain(err.text);
	else
		status = ask(socket, buf_view(&line));
	buf_fini(&line);
	settings_unref(&settings);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *socket = NULL, *config = NULL;
	bool wants_json = false;
	int c;

	/* "+": what stands behind the verb is the proxy's to understand */
	while ((c = getopt_long(argc, argv, "+s:c:jh", options, NULL)) != -1) {
		switch (c) {
		case 's':
			socket = optarg;
			break;
		case 'c':
			config = optarg;
			break;
		case 'j':
			wants_json = true;
			break;
		case 'h':
			print_usage(stdout);
			return fflush(stdout) == 0 ? GOOD : NO_ANSWER;
		default:
			print_usage(stderr);
			return NO_ANSWER;
		}
	}
	if (socket && config)
		return complain("-s and -c: expected one of them");
	if (optind == argc) {
		print_usage(stderr);
		return NO_ANSWER;
	}
	return run(socket ? socket : DEFAULT_SOCKET, config, wants_json,
	    argc - optind, argv + optind);
}
