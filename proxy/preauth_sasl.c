/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/preauth_impl.h"

#include "proxy/base/base64.h"
#include "proxy/base/err.h"
#include "proxy/imap/lex.h"

#define CRLF "\r\n"

/* ident is filled in but for what follows from its user. */
static enum preauth_verdict open_login(struct preauth *p, struct buf *out)
{
	struct ident *ident = &p->ident;
	size_t n;

	if (!user_canonical(ident->user, p->config->default_domain,
	    p->config->canonical_case, p->canonical, &n))
		return preauth_fail(p, out, "not a user name");
	ident->canonical = (struct str){ p->canonical, n };
	ident->tag = (struct str){ p->tag, p->n_tag };
	ident->client_asked_capability = p->asked_capability;
	p->expect = EXPECT_DECISION;
	return PREAUTH_LOGIN;
}

/* A name and a password, from the LOGIN command or the LOGIN mechanism;
 * both are in secret, one behind the other. */
static enum preauth_verdict open_password(struct preauth *p, size_t n_user,
    struct buf *out)
{
	struct str both = buf_view(&p->secret);
	struct str user = { both.p, n_user };

	if (!user_is_valid(user))
		return preauth_fail(p, out, "not a user name");
	struct str password = str_skip(both, n_user);
	if (!sasl_password_is_valid(password))
		return preauth_fail(p, out, "empty or odd password");
	p->ident.mech = SASL_LOGIN;
	p->ident.user = p->ident.authcid = user;
	p->ident.password = password;
	return open_login(p, out);
}

/*
 * A client may ask to be the one whom its certificate names, in whatever
 * spelling, and nobody else. The certificate's is the one that is used.
 */
static bool is_external_user(const struct preauth *p, struct str authzid)
{
	const struct preauth_config *c = p->config;
	char a[USER_CANONICAL_MAX], b[USER_CANONICAL_MAX];
	size_t n_a, n_b;

	return authzid.n == 0 ||
	    (user_canonical(authzid, c->default_domain, c->canonical_case,
	    a, &n_a) &&
	    user_canonical(p->external, c->default_domain, c->canonical_case,
	    b, &n_b) &&
	    str_eq((struct str){ a, n_a }, (struct str){ b, n_b }));
}

/* The first message of a mechanism in which the client is first. */
static enum preauth_verdict take_message(struct preauth *p, struct str base64,
    struct buf *out)
{
	struct ident *ident = &p->ident;
	struct sasl_names names;
	size_t n;

	/* Room for both forms at once, so that nothing moves any more. */
	char *room = buf_reserve(&p->secret, 2 * base64.n + 1);
	must(room);
	if (base64.n)
		memcpy(room, base64.p, base64.n);
	buf_commit(&p->secret, 2 * base64.n + 1);
	char *message = room + base64.n;
	if (!base64_decode(base64, message, base64.n, &n))
		return preauth_bad(p, out, "Invalid base64 data.");
	if (!sasl_names_parse(ident->mech, message, n, &names))
		return preauth_fail(p, out, "malformed SASL message");
	ident->authcid = names.authcid;
	ident->authzid = names.authzid;
	ident->password = names.password;
	ident->user = sasl_names_user(&names);
	if (sasl_mech_class(ident->mech) == SASL_RELAYED)
		ident->initial = (struct str){ room, base64.n };
	if (ident->mech == SASL_EXTERNAL) {
		if (!is_external_user(p, names.authzid))
			return preauth_fail(p, out, "not the certified user");
		ident->user = ident->authcid = p->external;
	}
	return open_login(p, out);
}

/* The LOGIN mechanism: two prompts, two answers. */
static enum preauth_verdict take_login_part(struct preauth *p,
    struct str base64, struct buf *out)
{
	size_t n;
	char *room = buf_reserve(&p->secret, base64.n + 1);

	must(room);
	if (!base64_decode(base64, room, base64.n, &n))
		return preauth_bad(p, out, "Invalid base64 data.");
	buf_commit(&p->secret, n);
	if (p->n_login_user)
		return open_password(p, p->n_login_user, out);
	if (n == 0)
		return preauth_fail(p, out, "not a user name");
	p->n_login_user = n;
	buf_puts(out, "+ UGFzc3dvcmQ6" CRLF);	/* Password: */
	return PREAUTH_MORE;
}

enum preauth_verdict preauth_take_sasl(struct preauth *p, struct buf *out)
{
	struct str line = command_text(&p->command);

	if (str_eq(line, STR("*")))
		return preauth_bad(p, out, "Authentication cancelled.");
	if (p->ident.mech == SASL_LOGIN)
		return take_login_part(p, line, out);
	return take_message(p, line, out);
}

/* LOGIN has no way to say UTF-8 (RFC 6855 section 5). Passwords are let be:
 * clients send what was typed. */
static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* login = "LOGIN" SP userid SP password ; both are astrings */
enum preauth_verdict preauth_run_login(struct preauth *p, struct lex *l,
    struct buf *out)
{
	struct str user, password;

	if (!lex_space(l) || !lex_astring(l, &user) || !lex_space(l) ||
	    !lex_astring(l, &password) || !lex_end(l))
		return preauth_bad_arguments(p, out);
	if (!is_ascii(user))
		return preauth_bad(p, out, "Use AUTHENTICATE for UTF-8.");
	buf_str(&p->secret, user);
	buf_str(&p->secret, password);
	return open_password(p, user.n, out);
}

/*
 * authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]
 * initial-resp = (base64 / "=") ; "=" is the empty one (RFC 4959)
 */
enum preauth_verdict preauth_run_authenticate(struct preauth *p, struct lex *l,
    struct buf *out)
{
	struct str name, initial = STR_NONE;
	enum sasl_mech mech;

	if (!lex_space(l) || !lex_atom(l, &name))
		return preauth_bad_arguments(p, out);
	bool has_initial = lex_space(l);
	if ((has_initial && !lex_atom(l, &initial)) || !lex_end(l))
		return preauth_bad_arguments(p, out);
	if (!sasl_mech_find(name, &mech) || !preauth_offers(p, mech))
		return preauth_answer(p, out, "NO Unsupported mechanism.");
	if (has_initial && !sasl_mech_is_client_first(mech))
		return preauth_bad(p, out, "No initial response here.");
	p->ident.mech = mech;
	p->expect = EXPECT_SASL;
	if (has_initial)
		return take_message(p, str_eq(initial, STR("=")) ? STR_NONE :
		    initial, out);
	buf_puts(out, mech == SASL_LOGIN ?
	    "+ VXNlcm5hbWU6" CRLF : "+ " CRLF);	/* Username: */
	return PREAUTH_MORE;
}
