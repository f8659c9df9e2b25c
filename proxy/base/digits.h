/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H
/*
 * digits - numbers as text, where printf() would be too dear: in what is
 *          written for each login
 *
 * Shapes   no NUL is written.
 */
#include <stddef.h>
#include <stdint.h>

#define DIGITS_MAX 20		/* of a uint64_t */
#define DIGITS_HEX 16

/* Decimal digits, at the least so many, backwards in front of end; returns
 * where they begin. */
static inline char *digits_put(char *end, uint64_t value, size_t least)
{
	char *p = end;

	while (value || (size_t)(end - p) < least) {
		*--p = (char)('0' + value % 10);
		value /= 10;
	}
	return p;
}

/* All 64 bits in hexadecimal digits. */
static inline void digits_hex(char to[DIGITS_HEX], uint64_t value)
{
	for (size_t i = DIGITS_HEX; i-- > 0; value >>= 4)
		to[i] = "0123456789abcdef"[value & 15];
}
#endif
