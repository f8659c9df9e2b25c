/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"

void err_must(const char *cond, const char *file, int line)
{
	log_flush();
	fprintf(stderr, "mailweir: %s:%d: must hold: %s\n", file, line, cond);
	abort();
}

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("mailweir: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

bool err_set(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return false;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return false;
}

bool err_prefix(struct err *err, const char *fmt, ...)
{
	struct err old;
	va_list ap;

	if (!err)
		return false;
	old = *err;
	va_start(ap, fmt);
	int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof err->text)
		snprintf(err->text + n, sizeof err->text - (size_t)n, ": %.*s",
		    (int)(sizeof err->text - 3), old.text);
	return false;
}
