/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * main - what was asked for: a role, a check, or help
 *
 * A person starts the parent; it starts this program again, with --role, for
 * control and the workers. Nobody else should: they want a link at CHILD_FD.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ares.h>
#include <confuse.h>
#include <ev.h>
#include <getopt.h>
#include <hiredis/hiredis.h>
#include <lmdb.h>
#include <msgpack.h>
#include <openssl/crypto.h>
#include <pcre2.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "admin/child.h"
#include "admin/conf.h"
#include "admin/control.h"
#include "admin/load.h"
#include "admin/parent.h"
#include "admin/privileges.h"
#include "admin/route_cli.h"
#include "admin/table_cli.h"
#include "backends/module.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/worker.h"

#ifndef MAILWEIR_VERSION
#define MAILWEIR_VERSION "unknown"
#endif
#ifndef MAILWEIR_CONF
#define MAILWEIR_CONF "/etc/mailweir/proxy.conf"
#endif

static const char usage_text[] =
    "usage: mailweir [-c FILE] [-t | -T]\n"
    "       mailweir route [-c FILE] USER ADDRESS [LISTENER]\n"
    "       mailweir table build|get|set|del|dump ...\n"
    "       mailweir -V | -h\n"
    "\n"
    "IMAP proxy and load balancer; runs in the foreground.\n"
    "\n"
    "  -c, --config FILE  the configuration (" MAILWEIR_CONF ")\n"
    "  -t, --test         check it, with the files it names, and exit:\n"
    "                     0 good, 1 not\n"
    "  -T, --show         the same, and print every setting in force with\n"
    "                     its source\n"
    "  -V, --version      versions of mailweir and its libraries\n"
    "  -h, --help         this text\n"
    "\n"
    "Signals: HUP reloads the configuration, USR1 opens the log again, TERM\n"
    "ends sessions within shutdown_grace, a second TERM at once.\n";

/* What they are linked to is known when they are there. */
static void print_modules(void)
{
	static const char *const names[] = { "http", "ldap" };
	struct err err;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct module *m = module_load(names[i], &err);
		printf("module %s: %s\n", names[i], m ? m->library :
		    err.text);
	}
}

static int print_versions(void)
{
	char pcre2[64];

	pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
	const struct scmp_version *seccomp = seccomp_version();
	printf("mailweir %s\n", MAILWEIR_VERSION);
	printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
	printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
	printf("c-ares %s\n", ares_version(NULL));
	printf("libConfuse %s\n", confuse_version);
	printf("msgpack-c %s\n", msgpack_version());
	printf("PCRE2 %s\n", pcre2);
	printf("%s\n", mdb_version(NULL, NULL, NULL));
	printf("hiredis %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR,
	    HIREDIS_PATCH);
	printf("libseccomp %u.%u.%u\n", seccomp->major, seccomp->minor,
	    seccomp->micro);
	print_modules();
	return EXIT_SUCCESS;
}

static void print_warning(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "warning: %s\n", text);
}

/* Errors begin with "file:line:", so that editors can jump there. */
static int check(const char *path, bool shows)
{
	struct err err;
	struct settings *s = load_settings(path, &err);
	struct buf text;

	if (!s) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_FAILURE;
	}
	settings_warnings(s, print_warning, NULL);
	if (shows) {
		buf_init(&text, 0);
		settings_print(s, &text, true);
		fwrite(text.data, 1, text.len, stdout);
		buf_fini(&text);
	} else {
		printf("%s: good\n", path);
	}
	settings_unref(&s);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_role(const char *role, unsigned index, unsigned n_workers)
{
	const struct worker_start start = {
		.schema = &conf_schema,
		.n_workers = n_workers,
	};

	privileges_harden();
	prctl(PR_SET_NAME, "mailweir");	/* execveat() took it */
	if (strcmp(role, "control") == 0) {
		log_set_role("control");
		return control_main(CHILD_FD);
	}
	if (strcmp(role, "worker") == 0) {
		log_set_role("worker");
		return worker_main(CHILD_FD, index, &start);
	}
	die("--role %s: expected control or worker", role);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "show", no_argument, NULL, 'T' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ "role", required_argument, NULL, 'R' },
		{ "index", required_argument, NULL, 'I' },
		{ "of", required_argument, NULL, 'O' },
		{ NULL, 0, NULL, 0 },
	};
	const char *path = MAILWEIR_CONF, *role = NULL;
	unsigned index = 0, n_workers = 1;
	int mode = 0, c;

	if (argc > 1 && strcmp(argv[1], "route") == 0)
		return route_cli(argc - 1, argv + 1, path);
	if (argc > 1 && strcmp(argv[1], "table") == 0)
		return table_cli(argc - 1, argv + 1);
	while ((c = getopt_long(argc, argv, "c:tTVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 't':
		case 'T':
			mode = c;
			break;
		case 'V':
			return print_versions();
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_SUCCESS;
		case 'R':
			role = optarg;
			break;
		case 'I':
			index = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'O':
			n_workers = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			fputs(usage_text, stderr);
			return EXIT_FAILURE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "mailweir: \"%s\" is not expected here\n%s",
		    argv[optind], usage_text);
		return EXIT_FAILURE;
	}
	if (role)
		return run_role(role, index, n_workers);
	return mode ? check(path, mode == 'T') : parent_main(path);
}
