/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/base64.h"

#include <stdint.h>

#include "proxy/base/buf.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_encode(struct buf *out, const void *p, size_t n)
{
	const unsigned char *in = p;

	if (n == 0)
		return true;
	char *to = buf_reserve(out, BASE64_ENCODED(n));
	if (!to)
		return false;
	for (size_t i = 0; i < n; i += 3, to += 4) {
		size_t left = n - i;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (left > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			bits |= in[i + 2];
		to[0] = alphabet[bits >> 18];
		to[1] = alphabet[bits >> 12 & 63];
		to[2] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		to[3] = left > 2 ? alphabet[bits & 63] : '=';
	}
	buf_commit(out, BASE64_ENCODED(n));
	return true;
}

/* The six bits of c, or 64 and more. */
static uint32_t bits_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/*
 * One quantum (RFC 4648 section 4): the bytes it holds, 0 when it is bad.
 * Padding is legal in the last one only, and the bits that it leaves over
 * must be zero (section 3.5), so that each value has one spelling.
 */
static unsigned quantum(const char *in, bool is_last, unsigned char bytes[3])
{
	unsigned n = 3;

	if (is_last && in[3] == '=')
		n = in[2] == '=' ? 1 : 2;
	uint32_t a = bits_of(in[0]), b = bits_of(in[1]);
	uint32_t c = n > 1 ? bits_of(in[2]) : 0;
	uint32_t d = n > 2 ? bits_of(in[3]) : 0;
	if ((a | b | c | d) > 63)
		return 0;
	uint32_t bits = a << 18 | b << 12 | c << 6 | d;
	if ((n == 1 && (b & 15)) || (n == 2 && (c & 3)))
		return 0;
	bytes[0] = (unsigned char)(bits >> 16);
	bytes[1] = (unsigned char)(bits >> 8);
	bytes[2] = (unsigned char)bits;
	return n;
}

bool base64_decode(struct str in, void *out, size_t cap, size_t *n_out)
{
	unsigned char *to = out;
	size_t n = 0;

	*n_out = 0;
	if (in.n % 4)
		return false;
	for (size_t i = 0; i < in.n; i += 4) {
		unsigned char bytes[3];
		unsigned got = quantum(in.p + i, i + 4 == in.n, bytes);

		if (got == 0 || got > cap - n)
			return false;
		memcpy(to + n, bytes, got);
		n += got;
	}
	*n_out = n;
	return true;
}

bool base64_is_valid(struct str in)
{
	unsigned char bytes[3];

	if (in.n % 4)
		return false;
	for (size_t i = 0; i < in.n; i += 4)
		if (!quantum(in.p + i, i + 4 == in.n, bytes))
			return false;
	return true;
}
