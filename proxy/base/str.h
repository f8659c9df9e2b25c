/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_STR_H
#define BASE_STR_H
/*
 * str - a borrowed view of bytes
 *
 * Shapes   p may be NULL only when n is 0; bytes need no NUL at the end and
 *          may hold any value.
 * Owns     nothing: whoever owns the bytes must outlive the view.
 * Units    bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

/* The view of a NUL-terminated string; NULL gives the empty view. */
static inline struct str str_from(const char *text)
{
	return (struct str){ text, text ? strlen(text) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Equal but for the case of ASCII letters (the locale is always "C"). */
static inline bool str_ieq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str head)
{
	return s.n >= head.n && (head.n == 0 || memcmp(s.p, head.p, head.n) == 0);
}

static inline bool str_istarts(struct str s, struct str head)
{
	return s.n >= head.n &&
	    (head.n == 0 || strncasecmp(s.p, head.p, head.n) == 0);
}

/* What is left of s behind its first n bytes; n <= s.n. */
static inline struct str str_skip(struct str s, size_t n)
{
	return (struct str){ s.p + n, s.n - n };
}

/* Splits s at the first c: the part before it is returned and *rest_out is
 * the part behind; without c all of s is returned and *rest_out is empty. */
static inline struct str str_split(struct str s, char c, struct str *rest_out)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	if (!at) {
		*rest_out = STR_NONE;
		return s;
	}
	size_t n = (size_t)(at - s.p);
	*rest_out = str_skip(s, n + 1);
	return (struct str){ s.p, n };
}
#endif
