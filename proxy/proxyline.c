/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/proxyline.h"

#include "proxy/base/buf.h"
#include "proxy/base/crc32c.h"
#include "proxy/base/err.h"

/*
 * Version 1: a line of text
 */

#define V1_MAX 107	/* with CRLF */
#define V1_IP_MAX 45	/* eight groups, the last two as an IPv4 address */

enum v1_field {
	V1_PROXY,
	V1_PROTOCOL,
	V1_SOURCE,
	V1_DESTINATION,
	V1_SOURCE_PORT,
	V1_DESTINATION_PORT,
	V1_FIELDS,
};

struct v1 {
	bool is_v6, is_unknown;
	struct addr addr[2];
	unsigned port[2];
};

/* Is text, or (when more may come) its beginning, this word? */
static bool is_word(struct str text, bool is_whole, struct str word)
{
	return is_whole ? str_eq(text, word) : str_starts(word, text);
}

static bool v1_protocol(struct v1 *v, struct str text, bool is_whole)
{
	v->is_v6 = is_word(text, is_whole, STR("TCP6"));
	v->is_unknown = is_word(text, is_whole, STR("UNKNOWN"));
	return v->is_v6 || v->is_unknown ||
	    is_word(text, is_whole, STR("TCP4"));
}

static bool v1_ip(struct v1 *v, struct addr *out, struct str text,
    bool is_whole)
{
	if (text.n > V1_IP_MAX)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		bool is_hex = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		if (!(c >= '0' && c <= '9') && c != '.' &&
		    !(v->is_v6 && (is_hex || c == ':')))
			return false;
	}
	if (!is_whole)
		return true;
	/* the text decides about the family: what it says may be an
	 * IPv4-mapped address, which comes out as IPv4 */
	bool has_colon = memchr(text.p, ':', text.n);
	return has_colon == v->is_v6 && addr_parse_ip(out, text);
}

/* No sign, no leading zero, 0 to 65535. */
static bool v1_port(unsigned *out, struct str text, bool is_whole)
{
	unsigned port = 0;

	if (text.n > 5 || (is_whole && text.n == 0) ||
	    (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	*out = port;
	return port <= 65535;
}

static bool v1_field(struct v1 *v, enum v1_field field, struct str text,
    bool is_whole)
{
	switch (field) {
	case V1_PROXY:
		return is_word(text, is_whole, STR("PROXY"));
	case V1_PROTOCOL:
		return v1_protocol(v, text, is_whole);
	case V1_SOURCE:
	case V1_DESTINATION:
		return v1_ip(v, &v->addr[field - V1_SOURCE], text, is_whole);
	case V1_SOURCE_PORT:
	case V1_DESTINATION_PORT:
		return v1_port(&v->port[field - V1_SOURCE_PORT], text,
		    is_whole);
	case V1_FIELDS:
		break;
	}
	return false;
}

/*
 * "PROXY" SP ("TCP4" / "TCP6") SP source SP destination SP
 *	source-port SP destination-port CRLF
 * "PROXY" SP "UNKNOWN" [SP *(anything but CR and LF)] CRLF
 *
 * has_end says that line is all of it; without, its last field may be cut.
 * Returns false when this is not, and cannot become, such a line.
 */
static bool v1_line(struct v1 *v, struct str line, bool has_end)
{
	for (int field = V1_PROXY; field < V1_FIELDS; field++) {
		const char *sp = line.n ? memchr(line.p, ' ', line.n) : NULL;
		struct str text = { line.p, sp ? (size_t)(sp - line.p) : line.n };
		bool is_last = field == V1_DESTINATION_PORT;

		if (!v1_field(v, (enum v1_field)field, text, sp || has_end) ||
		    (sp && is_last))
			return false;
		if (field == V1_PROTOCOL && v->is_unknown && (sp || has_end))
			return true;
		if (!sp)
			return is_last || !has_end;
		line = str_skip(line, text.n + 1);
	}
	return true;
}

static enum proxyline_verdict v1_parse(struct str in, struct proxyline *out,
    size_t *used_out, struct err *err)
{
	struct v1 v = { 0 };
	size_t end = 0;

	while (end < in.n && end < V1_MAX && in.p[end] != '\r' &&
	    in.p[end] != '\n')
		end++;
	bool has_cr = end < in.n && in.p[end] == '\r';
	bool has_lf = has_cr && end + 1 < in.n && in.p[end + 1] == '\n';
	bool is_cut = has_cr ? end + 1 == in.n : end == in.n;

	if (end + 2 > V1_MAX) {
		err_set(err, "PROXY line is longer than %d bytes", V1_MAX);
		return PROXYLINE_BAD;
	}
	if (!has_lf && !is_cut) {
		err_set(err, "PROXY line ends without CRLF");
		return PROXYLINE_BAD;
	}
	if (!v1_line(&v, (struct str){ in.p, end }, has_cr)) {
		err_set(err, "PROXY line is malformed");
		return PROXYLINE_BAD;
	}
	if (!has_lf)
		return PROXYLINE_MORE;
	*used_out = end + 2;
	*out = (struct proxyline){ .kind = PROXYLINE_LOCAL };
	if (!v.is_unknown) {
		out->kind = PROXYLINE_TCP;
		out->source = v.addr[0];
		out->destination = v.addr[1];
		addr_set_port(&out->source, v.port[0]);
		addr_set_port(&out->destination, v.port[1]);
	}
	return PROXYLINE_DONE;
}

/*
 * Version 2: binary
 */

#define V2_HEAD 16	/* signature, version and command, family, length */
#define V2_SIGNATURE STR("\r\n\r\n\0\r\nQUIT\n")

enum v2_command { V2_LOCAL = 0x20, V2_PROXY = 0x21 };

/* High half the address family, low half the transport. */
enum v2_family {
	V2_UNSPEC = 0x00,
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21,
	V2_UNIX = 0x31,
};

enum tlv {
	TLV_ALPN = 0x01,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_VERSION = 0x21,		/* these three inside of TLV_SSL */
	TLV_SSL_CN = 0x22,
	TLV_SSL_CIPHER = 0x23,
};

enum tlv_client {
	TLV_CLIENT_SSL = 0x01,
	TLV_CLIENT_CERT_CONN = 0x02,
	TLV_CLIENT_CERT_SESS = 0x04,
};

static unsigned get_u16(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (unsigned)u[0] << 8 | u[1];
}

static uint32_t get_u32(const char *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

/* Walks a row of TLVs. True with the next one; false at the end, and then
 * rest->n tells a good end (0) from a cut TLV. A type below 0x40 may come
 * once (*seen has a bit of each): two different server names in one header
 * would be read differently by different readers; padding may repeat. */
static bool tlv_next(struct str *rest, uint64_t *seen, unsigned *type_out,
    struct str *value_out)
{
	if (rest->n < 3)
		return false;
	unsigned type = (unsigned char)rest->p[0];
	size_t n = get_u16(rest->p + 1);
	if (rest->n - 3 < n)
		return false;
	if (type < 0x40 && type != 0x04) {
		uint64_t bit = UINT64_C(1) << type;
		if (*seen & bit)
			return false;
		*seen |= bit;
	}
	*type_out = type;
	*value_out = (struct str){ rest->p + 3, n };
	*rest = str_skip(*rest, 3 + n);
	return true;
}

/* client (1 byte, bits), verify (4 bytes, 0: certificate verified), TLVs */
static bool ssl_parse(struct str in, struct proxyline_tls *out)
{
	struct str value, cn = STR_NONE;
	uint64_t seen = 0;
	unsigned type;

	if (in.n < 5)
		return false;
	unsigned client = (unsigned char)in.p[0];
	out->is_on = client & TLV_CLIENT_SSL;
	out->has_cert = client & TLV_CLIENT_CERT_CONN;
	out->had_cert = client & TLV_CLIENT_CERT_SESS;
	out->is_verified = out->is_on && (out->has_cert || out->had_cert) &&
	    get_u32(in.p + 1) == 0;
	in = str_skip(in, 5);
	while (tlv_next(&in, &seen, &type, &value)) {
		if (type == TLV_SSL_VERSION)
			out->version = value;
		else if (type == TLV_SSL_CIPHER)
			out->cipher = value;
		else if (type == TLV_SSL_CN)
			cn = value;
	}
	/* the name in a certificate that nobody vouches for is worth nothing */
	if (out->is_verified)
		out->cn = cn;
	return in.n == 0;
}

/* The checksum is that of the whole header with zeros in its own place. */
static bool crc_holds(struct str header, struct str value)
{
	static const char zeros[4];

	if (value.n != sizeof zeros)
		return false;
	size_t before = (size_t)(value.p - header.p);
	uint32_t crc = crc32c(0, header.p, before);
	crc = crc32c(crc, zeros, sizeof zeros);
	crc = crc32c(crc, value.p + 4, header.n - before - 4);
	return crc == get_u32(value.p);
}

static bool tlvs_parse(struct str header, struct str rest,
    struct proxyline *out, struct err *err)
{
	struct str value;
	uint64_t seen = 0;
	unsigned type;

	while (tlv_next(&rest, &seen, &type, &value)) {
		switch (type) {
		case TLV_ALPN:
			out->alpn = value;
			break;
		case TLV_AUTHORITY:
			out->authority = value;
			break;
		case TLV_UNIQUE_ID:
			if (value.n > PROXYLINE_UNIQUE_ID_MAX)
				return err_set(err,
				    "PROXY header: unique id is too long");
			out->unique_id = value;
			break;
		case TLV_CRC32C:
			if (!crc_holds(header, value))
				return err_set(err,
				    "PROXY header: wrong checksum");
			out->has_crc = true;
			break;
		case TLV_SSL:
			if (!ssl_parse(value, &out->tls))
				return err_set(err,
				    "PROXY header: malformed SSL TLV");
			break;
		}
	}
	return rest.n == 0 || err_set(err, "PROXY header: malformed TLV");
}

/* How many bytes of addresses a family has. */
static size_t v2_addresses(unsigned family)
{
	switch (family >> 4) {
	case 1:
		return 2 * 4 + 2 * 2;
	case 2:
		return 2 * 16 + 2 * 2;
	case 3:
		return 2 * 108;
	}
	return 0;
}

/* What the first bytes say already; only those that are there are read. */
static bool v2_head(struct str in, struct err *err)
{
	struct str start = { in.p, in.n < 12 ? in.n : 12 };

	if (!str_starts(V2_SIGNATURE, start))
		return err_set(err, "no PROXY header");
	unsigned command = in.n > 12 ? (unsigned char)in.p[12] : V2_LOCAL;
	if (command != V2_LOCAL && command != V2_PROXY)
		return err_set(err,
		    "PROXY header: unknown version or command 0x%02x", command);
	if (in.n < 14 || command == V2_LOCAL)
		return true;
	unsigned family = (unsigned char)in.p[13];
	if (family >> 4 > 3 || (family & 15) > 2)
		return err_set(err,
		    "PROXY header: unknown family 0x%02x", family);
	if (in.n >= V2_HEAD && get_u16(in.p + 14) < v2_addresses(family))
		return err_set(err, "PROXY header: addresses are cut");
	return true;
}

static bool v2_body(struct str header, struct proxyline *out, struct err *err)
{
	unsigned family = (unsigned char)header.p[13];
	const char *a = header.p + V2_HEAD;

	*out = (struct proxyline){ .kind = PROXYLINE_LOCAL };
	/* a family or transport that is not specified leaves the layout of
	 * what follows open, too */
	if ((unsigned char)header.p[12] == V2_LOCAL || family >> 4 == 0 ||
	    (family & 15) == 0)
		return true;
	if (family == V2_TCP4 || family == V2_TCP6) {
		int af = family == V2_TCP4 ? AF_INET : AF_INET6;
		size_t ip = family == V2_TCP4 ? 4 : 16;
		const char *port = a + 2 * ip;
		out->kind = PROXYLINE_TCP;
		addr_from_bytes(&out->source, af, a, get_u16(port));
		addr_from_bytes(&out->destination, af, a + ip,
		    get_u16(port + 2));
	}
	return tlvs_parse(header,
	    str_skip(header, V2_HEAD + v2_addresses(family)), out, err);
}

static enum proxyline_verdict v2_parse(struct str in, struct proxyline *out,
    size_t *used_out, struct err *err)
{
	struct proxyline line;

	if (!v2_head(in, err))
		return PROXYLINE_BAD;
	if (in.n < V2_HEAD)
		return PROXYLINE_MORE;
	struct str header = { in.p, V2_HEAD + get_u16(in.p + 14) };
	if (header.n > PROXYLINE_MAX) {
		err_set(err, "PROXY header is longer than %d bytes",
		    PROXYLINE_MAX);
		return PROXYLINE_BAD;
	}
	if (in.n < header.n)
		return PROXYLINE_MORE;
	if (!v2_body(header, &line, err))
		return PROXYLINE_BAD;
	*out = line;
	*used_out = header.n;
	return PROXYLINE_DONE;
}

enum proxyline_verdict proxyline_parse(const char *p, size_t n,
    struct proxyline *out, size_t *used_out, struct err *err)
{
	struct str in = { p, n };

	if (n == 0)
		return PROXYLINE_MORE;
	return p[0] == 'P' ? v1_parse(in, out, used_out, err)
			   : v2_parse(in, out, used_out, err);
}

/*
 * Building
 */

struct writer {
	char data[PROXYLINE_MAX];
	size_t n;
	bool overflowed;
};

static void put(struct writer *w, const void *p, size_t n)
{
	if (n > sizeof w->data - w->n) {
		w->overflowed = true;
		return;
	}
	if (n)
		memcpy(w->data + w->n, p, n);
	w->n += n;
}

static void set_u16(char *to, size_t v)
{
	to[0] = (char)(v >> 8);
	to[1] = (char)v;
}

static void set_u32(char *to, uint32_t v)
{
	set_u16(to, v >> 16);
	set_u16(to + 2, v & 0xffff);
}

static void put_u16(struct writer *w, size_t v)
{
	char bytes[2];

	set_u16(bytes, v);
	put(w, bytes, sizeof bytes);
}

static void put_u8(struct writer *w, unsigned v)
{
	put(w, &(unsigned char){ (unsigned char)v }, 1);
}

static void put_tlv(struct writer *w, enum tlv type, struct str value)
{
	if (value.n == 0)
		return;
	put_u8(w, type);
	put_u16(w, value.n);
	put(w, value.p, value.n);
}

/* An address of the other family goes IPv4-mapped. */
static void put_ip(struct writer *w, const struct addr *a, bool is_v6)
{
	static const char mapped[12] = { [10] = (char)0xff, [11] = (char)0xff };

	if (a->sa.sa_family == AF_INET6) {
		put(w, &a->v6.sin6_addr, 16);
		return;
	}
	if (is_v6)
		put(w, mapped, sizeof mapped);
	put(w, &a->v4.sin_addr, 4);
}

static void put_ssl(struct writer *w, const struct proxyline_tls *tls)
{
	char head[8] = { 0 };
	size_t start = w->n;

	if (!tls->is_on)
		return;
	head[0] = TLV_SSL;
	head[3] = TLV_CLIENT_SSL;
	if (tls->has_cert)
		head[3] |= TLV_CLIENT_CERT_CONN;
	if (tls->had_cert)
		head[3] |= TLV_CLIENT_CERT_SESS;
	set_u32(head + 4, !tls->is_verified);
	put(w, head, sizeof head);
	put_tlv(w, TLV_SSL_VERSION, tls->version);
	put_tlv(w, TLV_SSL_CIPHER, tls->cipher);
	if (tls->is_verified)
		put_tlv(w, TLV_SSL_CN, tls->cn);
	if (!w->overflowed)
		set_u16(w->data + start + 1, w->n - start - 3);
}

static void put_proxied(struct writer *w, const struct proxyline *line)
{
	const struct addr *from = &line->source, *to = &line->destination;
	bool is_v6 = from->sa.sa_family == AF_INET6 ||
	    to->sa.sa_family == AF_INET6;

	put_u8(w, V2_PROXY);
	put_u8(w, is_v6 ? V2_TCP6 : V2_TCP4);
	put_u16(w, 0);
	put_ip(w, from, is_v6);
	put_ip(w, to, is_v6);
	put_u16(w, addr_port(from));
	put_u16(w, addr_port(to));
	put_tlv(w, TLV_ALPN, line->alpn);
	put_tlv(w, TLV_AUTHORITY, line->authority);
	put_tlv(w, TLV_UNIQUE_ID, line->unique_id);
	put_ssl(w, &line->tls);
	put_tlv(w, TLV_CRC32C, STR("\0\0\0\0"));
	if (w->overflowed)
		return;
	set_u16(w->data + 14, w->n - V2_HEAD);
	set_u32(w->data + w->n - 4, crc32c(0, w->data, w->n));
}

bool proxyline_build_v2(struct buf *out, const struct proxyline *line)
{
	struct writer w;

	must(line->unique_id.n <= PROXYLINE_UNIQUE_ID_MAX);
	w.n = 0;
	w.overflowed = false;
	put(&w, V2_SIGNATURE.p, V2_SIGNATURE.n);
	switch (line->kind) {
	case PROXYLINE_LOCAL:
		put_u8(&w, V2_LOCAL);
		put_u8(&w, V2_UNSPEC);
		put_u16(&w, 0);
		break;
	case PROXYLINE_TCP:
		must(line->source.sa.sa_family != AF_UNSPEC &&
		    line->destination.sa.sa_family != AF_UNSPEC);
		put_proxied(&w, line);
		break;
	}
	return !w.overflowed && buf_append(out, w.data, w.n);
}
