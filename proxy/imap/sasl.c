/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/sasl.h"

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"

static const struct {
	struct str name;
	enum sasl_class class;
} mechs[] = {
#define MECH(id, name, class) [SASL_##id] =                              \
	{ { name, sizeof(name) - 1 }, SASL_##class },
	SASL_MECHS(MECH)
#undef MECH
};

bool sasl_mech_find(struct str name, enum sasl_mech *mech_out)
{
	for (enum sasl_mech m = 0; m < SASL_end; m++) {
		if (str_ieq(name, mechs[m].name)) {
			*mech_out = m;
			return true;
		}
	}
	return false;
}

const char *sasl_mech_name(enum sasl_mech mech)
{
	must(mech < SASL_end);
	return mechs[mech].name.p;
}

enum sasl_class sasl_mech_class(enum sasl_mech mech)
{
	must(mech < SASL_end);
	return mechs[mech].class;
}

bool sasl_mech_is_client_first(enum sasl_mech mech)
{
	/* Its draft lets the server begin, with a prompt for the name. */
	return mech != SASL_LOGIN;
}

struct str sasl_names_user(const struct sasl_names *names)
{
	return names->authzid.n ? names->authzid : names->authcid;
}

bool sasl_password_is_valid(struct str password)
{
	/* CR and LF are legal in a literal and in PLAIN, but nobody types
	 * them, and they are what an injection is made of. */
	for (size_t i = 0; i < password.n; i++) {
		char c = password.p[i];

		if (c == '\0' || c == '\r' || c == '\n')
			return false;
	}
	return password.n > 0;
}

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd	; RFC 4616 section 2 */
static bool parse_plain(struct str message, struct sasl_names *names)
{
	struct str rest, password;

	names->authzid = str_split(message, '\0', &rest);
	if (names->authzid.n == message.n)
		return false;
	names->authcid = str_split(rest, '\0', &password);
	names->password = password;
	/* Without a second NUL, or with a third, the password is not one. */
	return user_is_valid(names->authcid) &&
	    (names->authzid.n == 0 || user_is_valid(names->authzid)) &&
	    sasl_password_is_valid(password);
}

/* Takes head from the front of s. */
static bool take(struct str *s, struct str head)
{
	if (!str_starts(*s, head))
		return false;
	*s = str_skip(*s, head.n);
	return true;
}

/*
 * Takes a name up to the next "," and unescapes it in place.
 *
 *	saslname = 1*(value-safe-char / "=2C" / "=3D")	; RFC 5802 section 7
 */
static bool take_saslname(struct str *s, char *base, struct str *name_out)
{
	const char *comma = s->n ? memchr(s->p, ',', s->n) : NULL;

	if (!comma)
		return false;
	char *from = base + (s->p - base), *to = from;
	const char *end = comma;
	*name_out = (struct str){ to, 0 };
	while (from < end) {
		char c = *from++;

		if (c == '=') {
			if (end - from < 2)
				return false;
			if (memcmp(from, "2C", 2) == 0)
				c = ',';
			else if (memcmp(from, "3D", 2) == 0)
				c = '=';
			else
				return false;
			from += 2;
		}
		*to++ = c;
	}
	name_out->n = (size_t)(to - name_out->p);
	*s = (struct str){ comma, (size_t)(s->p + s->n - comma) };
	return user_is_valid(*name_out);
}

/*
 * gs2-header     = gs2-cbind-flag "," [ authzid ] ","
 * gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
 * authzid        = "a=" saslname
 *
 * "p" is refused: it binds to a channel, and the client's ends at the proxy.
 */
static bool take_gs2_header(struct str *s, char *base, struct str *authzid)
{
	if (!take(s, STR("n,")) && !take(s, STR("y,")))
		return false;
	if (take(s, STR("a=")) && !take_saslname(s, base, authzid))
		return false;
	return take(s, STR(","));
}

/*
 * client-first-message      = gs2-header client-first-message-bare
 * client-first-message-bare = [reserved-mext ","] username "," nonce
 *                             ["," extensions]
 * username                  = "n=" saslname
 * nonce                     = "r=" c-nonce
 *
 * reserved-mext is a mandatory extension, to be refused when not known.
 */
static bool parse_scram(char *message, size_t n, struct sasl_names *names)
{
	struct str s = { message, n };

	return take_gs2_header(&s, message, &names->authzid) &&
	    take(&s, STR("n=")) &&
	    take_saslname(&s, message, &names->authcid) &&
	    take(&s, STR(",r=")) && s.n > 0 && s.p[0] != ',';
}

/* "user=" name ^A "auth=Bearer " token ^A ^A */
static bool parse_xoauth2(struct str s, struct sasl_names *names)
{
	const struct str bearer = STR("auth=Bearer "), end = STR("\1\1");

	if (!take(&s, STR("user=")))
		return false;
	names->authcid = str_split(s, '\1', &s);
	return user_is_valid(names->authcid) && str_istarts(s, bearer) &&
	    s.n > bearer.n + end.n && str_eq(str_skip(s, s.n - end.n), end);
}

/*
 * client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep ; RFC 7628 3.1
 * kvpair      = key "=" value kvsep
 *
 * The name is the authzid of the header. The RFC lets a client leave it out
 * and lets a server insist on it; a proxy has to, since the token, which
 * may name the user too, is for the backend only to read.
 */
static bool parse_oauthbearer(char *message, size_t n,
    struct sasl_names *names)
{
	struct str s = { message, n };
	bool has_auth = false;

	if (!take_gs2_header(&s, message, &names->authzid) ||
	    names->authzid.n == 0 || !take(&s, STR("\1")))
		return false;
	while (s.n && s.p[0] != '\1') {
		struct str rest, pair = str_split(s, '\1', &rest);

		if (str_istarts(pair, STR("auth=")) && pair.n > 5)
			has_auth = true;
		s = rest;
	}
	return has_auth && str_eq(s, STR("\1"));
}

bool sasl_names_parse(enum sasl_mech mech, char *message, size_t n,
    struct sasl_names *names_out)
{
	struct str s = { message, n };
	bool good = false;

	*names_out = (struct sasl_names){ 0 };
	switch (mech) {
	case SASL_PLAIN:
		good = parse_plain(s, names_out);
		break;
	case SASL_EXTERNAL:
		names_out->authzid = s;
		good = n == 0 || user_is_valid(s);
		break;
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_256:
		good = parse_scram(message, n, names_out);
		break;
	case SASL_XOAUTH2:
		good = parse_xoauth2(s, names_out);
		break;
	case SASL_OAUTHBEARER:
		good = parse_oauthbearer(message, n, names_out);
		break;
	case SASL_LOGIN:
	case SASL_end:
		break;
	}
	if (!good)
		*names_out = (struct sasl_names){ 0 };
	return good;
}

bool sasl_plain(struct buf *out, struct str authzid, struct str authcid,
    struct str password)
{
	return buf_str(out, authzid) && buf_append(out, "", 1) &&
	    buf_str(out, authcid) && buf_append(out, "", 1) &&
	    buf_str(out, password);
}
