/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_ERR_H
#define BASE_ERR_H
/*
 * err - the three kinds of error
 *
 *	our bug       must(cond)          prints where, aborts; never compiled out
 *	cannot run    die("what: why")    prints, exits 1
 *	the world     struct err          text that travels beside a verdict
 *
 * Thread   any.
 */
#include <stdarg.h>
#include <stdbool.h>

struct err {
	char text[256];
};

#define must(cond) \
	((cond) ? (void)0 : err_must(#cond, __FILE__, __LINE__))

_Noreturn void err_must(const char *cond, const char *file, int line);

/* Start-up and out-of-memory only. */
_Noreturn void die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Writes the text (cut to fit) and returns false, so that a caller can
 * "return err_set(err, ...)". err may be NULL. */
bool err_set(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the text that is there; returns false. */
bool err_prefix(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#endif
