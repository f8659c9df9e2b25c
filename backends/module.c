/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/str.h"

#ifndef MAILWEIR_MODULES
#define MAILWEIR_MODULES "/usr/local/lib/mailweir"
#endif

/* Where it is, seen from the program's folder; false: not there. */
static bool find_beside(const char *folder, const char *name,
    char path[PATH_MAX])
{
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

	if (n <= 0)
		return false;
	program[n] = 0;
	char *slash = strrchr(program, '/');
	if (!slash)
		return false;
	*slash = 0;
	int len = snprintf(path, PATH_MAX, "%s/%s/%s.so", program, folder,
	    name);
	return len < PATH_MAX && access(path, F_OK) == 0;
}

const struct module *module_load(const char *name, struct err *err)
{
	char path[PATH_MAX];

	if (!find_beside("modules", name, path) &&
	    !find_beside("../lib/mailweir", name, path))
		snprintf(path, sizeof path, "%s/%s.so", MAILWEIR_MODULES,
		    name);
	/* a second dlopen() gives the same one, and it is never closed */
	void *file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!file) {
		err_set(err, "the module %s cannot be loaded: %s", name,
		    dlerror());
		return NULL;
	}
	const struct module *m = dlsym(file, "mailweir_module");
	if (m && strcmp(m->release, MAILWEIR_VERSION) == 0)
		return m;
	err_set(err, "%s is not a module of release %s", path,
	    MAILWEIR_VERSION);
	return NULL;
}
