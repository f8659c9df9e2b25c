/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Writing is msgpack-c's work. Reading is done here, in place: all we need is
 * a flat map, and the library's reader builds a tree for which it allocates
 * what a header claims, so that five hostile bytes could ask for gigabytes.
 */
#include "proxy/ipc.h"

#include <msgpack.h>

#include "proxy/base/buf.h"

#define LENGTH_BYTES 4

const char *msg_name(enum msg_type type)
{
	switch (type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		return #NAME;
#include "proxy/messages.def"
	}
	return "?";
}

/* --- writing ------------------------------------------------------------- */

static int append(void *data, const char *p, size_t n)
{
	return buf_append(data, p, n) ? 0 : -1;
}

static void pack_key(msgpack_packer *pk, struct str key)
{
	msgpack_pack_str(pk, key.n);
	msgpack_pack_str_body(pk, key.p, key.n);
}

static void pack_bytes(msgpack_packer *pk, struct str key, struct str s)
{
	pack_key(pk, key);
	msgpack_pack_bin(pk, s.n);
	msgpack_pack_bin_body(pk, s.p, s.n);
}

/* How many fields of a message are there to write, its "t" among them. */
#define U64(field, key)   + (m->field != 0)
#define BOOL(field, key)  + m->field
#define BYTES(field, key) + (m->field.n != 0)
#define FD(field)         + (m->field >= 0)
#define MESSAGE(NAME, name, number, ...) \
	static size_t count_##name(const struct msg_##name *m) \
	{ \
		return (size_t)(1 __VA_ARGS__); \
	}
#include "proxy/messages.def"

/* Returns the descriptor to go along, or -1. */
#define U64(field, key) \
	if (m->field) { \
		pack_key(pk, STR(key)); \
		msgpack_pack_uint64(pk, m->field); \
	}
#define BOOL(field, key) \
	if (m->field) { \
		pack_key(pk, STR(key)); \
		msgpack_pack_true(pk); \
	}
#define BYTES(field, key) \
	if (m->field.n) \
		pack_bytes(pk, STR(key), m->field);
#define FD(field) \
	if (m->field >= 0) { \
		pack_key(pk, STR("fd")); \
		msgpack_pack_true(pk); \
		fd = m->field; \
	}
#define MESSAGE(NAME, name, number, ...) \
	static int pack_##name(msgpack_packer *pk, const struct msg_##name *m) \
	{ \
		int fd = -1; \
		msgpack_pack_map(pk, count_##name(m)); \
		pack_key(pk, STR("t")); \
		msgpack_pack_uint64(pk, number); \
		__VA_ARGS__ \
		return fd; \
	}
#include "proxy/messages.def"

bool msg_encode(struct buf *out, const struct msg *m, int *fd_out)
{
	size_t before = out->len;
	msgpack_packer pk;

	*fd_out = -1;
	msgpack_packer_init(&pk, out, append);
	buf_append(out, "\0\0\0\0", LENGTH_BYTES);
	switch (m->type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		*fd_out = pack_##name(&pk, &m->name); \
		break;
#include "proxy/messages.def"
	}
	size_t n = out->len - before - LENGTH_BYTES;
	if (out->overflowed || n > IPC_FRAME_MAX) {
		out->len = (uint32_t)before;
		out->overflowed = false;
		*fd_out = -1;
		return false;
	}
	char *at = out->data + out->off + before;
	for (int i = 0; i < LENGTH_BYTES; i++)
		at[i] = (char)(n >> (8 * (LENGTH_BYTES - 1 - i)));
	return true;
}

/* --- reading ------------------------------------------------------------- */

struct value {
	enum { VALUE_UINT, VALUE_BYTES, VALUE_BOOL, VALUE_OTHER } kind;
	uint64_t u;			/* also the bool */
	struct str s;
};

/* Takes n bytes off the front of in, as a big-endian number. */
static bool take_number(struct str *in, size_t n, uint64_t *out)
{
	if (in->n < n)
		return false;
	*out = 0;
	for (size_t i = 0; i < n; i++)
		*out = *out << 8 | (unsigned char)in->p[i];
	*in = str_skip(*in, n);
	return true;
}

static bool take_bytes(struct str *in, uint64_t n, struct str *out)
{
	if (in->n < n)
		return false;
	*out = (struct str){ in->p, (size_t)n };
	*in = str_skip(*in, (size_t)n);
	return true;
}

/* The head of one value: its kind, the size of the number that follows the
 * first byte, and what that number counts. */
struct head {
	enum { HEAD_UINT, HEAD_BYTES, HEAD_BOOL, HEAD_SKIP, HEAD_ITEMS,
	       HEAD_PAIRS, HEAD_BAD } kind;
	unsigned n_number;	/* bytes of the number; 0: it is in value */
	unsigned value;		/* or, for HEAD_SKIP, added to the number */
};

/* https://github.com/msgpack/msgpack/blob/master/spec.md, "Formats" */
static struct head head_of(unsigned b)
{
	if (b <= 0x7f)
		return (struct head){ HEAD_UINT, 0, b };
	if (b <= 0x8f)
		return (struct head){ HEAD_PAIRS, 0, b & 0x0f };
	if (b <= 0x9f)
		return (struct head){ HEAD_ITEMS, 0, b & 0x0f };
	if (b <= 0xbf)
		return (struct head){ HEAD_BYTES, 0, b & 0x1f };
	if (b == 0xc0 || b >= 0xe0)	/* nil, small negative */
		return (struct head){ HEAD_SKIP, 0, 0 };
	if (b == 0xc1)
		return (struct head){ HEAD_BAD, 0, 0 };
	if (b <= 0xc3)
		return (struct head){ HEAD_BOOL, 0, b & 1 };
	if (b <= 0xc6)			/* bin 8, 16, 32 */
		return (struct head){ HEAD_BYTES, 1u << (b - 0xc4), 0 };
	if (b <= 0xc9)			/* ext 8, 16, 32, and its type */
		return (struct head){ HEAD_SKIP, 1u << (b - 0xc7), 1 };
	if (b <= 0xcb)			/* float 32, 64 */
		return (struct head){ HEAD_SKIP, 0, 4u << (b - 0xca) };
	if (b <= 0xcf)			/* uint 8, 16, 32, 64 */
		return (struct head){ HEAD_UINT, 1u << (b - 0xcc), 0 };
	if (b <= 0xd3)			/* int 8, 16, 32, 64 */
		return (struct head){ HEAD_SKIP, 0, 1u << (b - 0xd0) };
	if (b <= 0xd8)			/* fixext 1, 2, 4, 8, 16 */
		return (struct head){ HEAD_SKIP, 0, 1 + (1u << (b - 0xd4)) };
	if (b <= 0xdb)			/* str 8, 16, 32 */
		return (struct head){ HEAD_BYTES, 1u << (b - 0xd9), 0 };
	if (b <= 0xdd)			/* array 16, 32 */
		return (struct head){ HEAD_ITEMS, 2u << (b - 0xdc), 0 };
	return (struct head){ HEAD_PAIRS, 2u << (b - 0xde), 0 };
}

/* Takes the head of one value; arrays and maps say in n_inside_out how many
 * values follow that belong to them. */
static bool take_head(struct str *in, struct value *out,
    uint64_t *n_inside_out)
{
	uint64_t number;

	*n_inside_out = 0;
	if (!take_number(in, 1, &number))
		return false;
	struct head h = head_of((unsigned)number);
	number = 0;
	if (!take_number(in, h.n_number, &number))
		return false;
	number += h.value;
	*out = (struct value){ .kind = VALUE_OTHER };
	switch (h.kind) {
	case HEAD_UINT:
		*out = (struct value){ .kind = VALUE_UINT, .u = number };
		return true;
	case HEAD_BOOL:
		*out = (struct value){ .kind = VALUE_BOOL, .u = number };
		return true;
	case HEAD_BYTES:
		out->kind = VALUE_BYTES;
		return take_bytes(in, number, &out->s);
	case HEAD_SKIP:
		return take_bytes(in, number, &out->s);
	case HEAD_ITEMS:
		*n_inside_out = number;
		return true;
	case HEAD_PAIRS:
		*n_inside_out = 2 * number;
		return true;
	case HEAD_BAD:
		return false;
	}
	return false;
}

/* Takes one whole value. What is inside of an array or a map is skipped, by
 * counting and not by recursion: its depth is the sender's choice. */
static bool take_value(struct str *in, struct value *out)
{
	struct value inner;
	uint64_t n_left, n;

	if (!take_head(in, out, &n_left))
		return false;
	while (n_left) {
		if (n_left > in->n)	/* each takes a byte at the least */
			return false;
		if (!take_head(in, &inner, &n))
			return false;
		n_left += n - 1;
	}
	return true;
}

static bool is_u64(const struct value *v, uint64_t *out)
{
	*out = v->u;
	return v->kind == VALUE_UINT;
}

static bool is_bool(const struct value *v, bool *out)
{
	*out = v->u != 0;
	return v->kind == VALUE_BOOL;
}

static bool is_bytes(const struct value *v, struct str *out)
{
	*out = v->s;
	return v->kind == VALUE_BYTES;
}

/* False: the field is ours and the value is not of its type. */
#define U64(field, key) \
	if (str_eq(k, STR(key))) \
		return is_u64(v, &m->field);
#define BOOL(field, key) \
	if (str_eq(k, STR(key))) \
		return is_bool(v, &m->field);
#define BYTES(field, key) \
	if (str_eq(k, STR(key))) \
		return is_bytes(v, &m->field);
#define FD(field)
#define MESSAGE(NAME, name, number, ...) \
	static bool set_##name(struct msg_##name *m, struct str k, \
	    const struct value *v) \
	{ \
		__VA_ARGS__ \
		return true; \
	}
#include "proxy/messages.def"

static bool set_field(struct msg *m, struct str k, const struct value *v)
{
	switch (m->type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		return set_##name(&m->name, k, v);
#include "proxy/messages.def"
	}
	return true;			/* unknown: it has no fields */
}

#define U64(field, key)
#define BOOL(field, key)
#define BYTES(field, key)
#define FD(field) \
	m->field = fd; \
	return true;
#define MESSAGE(NAME, name, number, ...) \
	static bool set_fd_##name(struct msg_##name *m, int fd) \
	{ \
		(void)m; \
		(void)fd; \
		__VA_ARGS__ \
		return false; \
	}
#include "proxy/messages.def"

bool msg_set_fd(struct msg *m, int fd)
{
	switch (m->type) {
#define MESSAGE(NAME, name, number, ...) \
	case MSG_##NAME: \
		return set_fd_##name(&m->name, fd);
#include "proxy/messages.def"
	}
	return false;
}

static bool number_is_known(uint64_t t)
{
	switch (t) {
#define MESSAGE(NAME, name, number, ...) case number:
#include "proxy/messages.def"
		return true;
	}
	return false;
}

/* map = {"t": number, key: value, ...} and nothing behind it. */
enum msg_verdict msg_decode(struct str in, struct msg *m, bool *has_fd_out)
{
	struct value key, v;
	uint64_t n;

	*has_fd_out = false;
	*m = (struct msg){ 0 };
	if (in.n == 0)
		return MSG_BAD;
	bool is_map = head_of((unsigned char)in.p[0]).kind == HEAD_PAIRS;
	if (!is_map || !take_head(&in, &v, &n) || n == 0)
		return MSG_BAD;
	if (!take_value(&in, &key) || !str_eq(key.s, STR("t")) ||
	    !take_value(&in, &v) || v.kind != VALUE_UINT)
		return MSG_BAD;
	bool is_known = number_is_known(v.u);
	if (is_known)
		m->type = (enum msg_type)v.u;
	msg_set_fd(m, -1);
	for (n -= 2; n; n -= 2) {
		if (!take_value(&in, &key) || !take_value(&in, &v))
			return MSG_BAD;
		if (key.kind != VALUE_BYTES)
			continue;	/* a newer release's */
		if (str_eq(key.s, STR("fd"))) {
			if (!is_bool(&v, has_fd_out))
				return MSG_BAD;
		} else if (!set_field(m, key.s, &v)) {
			return MSG_BAD;
		}
	}
	if (in.n)
		return MSG_BAD;
	return is_known ? MSG_OK : MSG_UNKNOWN;
}
