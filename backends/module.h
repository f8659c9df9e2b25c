/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_MODULE_H
#define BACKENDS_MODULE_H
/*
 * module - kinds of sources that bring big libraries, loaded when in use
 *
 *	"http"  ->  DIR/http.so  ->  its table and its driver of auth
 *
 * A library that is linked costs every process memory, also the workers that
 * never call it: libcurl and libldap with what they need take some 1.6 MiB
 * each time. So what calls them is a shared object, which control loads when
 * the configuration asks for it.
 *
 * Shapes   DIR is "modules" beside the program, as in a build, or
 *          "../lib/mailweir", seen from there, as installed under any PREFIX,
 *          or MAILWEIR_MODULES.
 * Errors   NULL with err: it is not there, or of another release.
 * Owns     a module stays for the life of the process.
 * Thread   the main one. Loading reads files: at start and at reload only.
 */
struct auth_kind;
struct err;
struct table_kind;

/* What a module's file exports, named mailweir_module. */
struct module {
	const char *release;		/* MAILWEIR_VERSION */
	const char *library;		/* "libcurl 7.88.1", for -V */
	const struct table_kind *table;	/* or NULL */
	const struct auth_kind *auth;	/* or NULL */
};

extern const struct module mailweir_module;

const struct module *module_load(const char *name, struct err *err);
#endif
