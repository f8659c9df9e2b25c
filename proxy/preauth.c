/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/preauth.h"

#include "proxy/base/base64.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/imap/command.h"
#include "proxy/imap/id.h"
#include "proxy/imap/lex.h"

#define CRLF "\r\n"
#define AUTH_FAILED "NO [AUTHENTICATIONFAILED] Authentication failed."

/* What the next line of the client is. */
enum step {
	STEP_COMMAND,
	STEP_SASL,		/* a message of a SASL exchange, for us */
	STEP_RELAY,		/* the same, for the backend */
	STEP_OPEN,		/* nothing: the login is being decided */
	STEP_TLS,		/* nothing: TLS comes first */
	STEP_OVER,		/* nothing any more */
};

struct preauth {
	const struct preauth_config *config;
	struct arena *arena;
	struct str external;
	struct command command;
	struct buf client_id;
	unsigned n_bad, n_failed, n_commands;
	bool asked_capability;
	const char *why;
	enum step step;

	/* One attempt; forget() wipes it. */
	struct buf secret;	/* what ident's views point to */
	size_t n_login_user;	/* LOGIN: the name is in secret, so long */
	bool is_cancelled;
	struct ident ident;
	size_t n_tag;
	char tag[PREAUTH_TAG_MAX];
	char canonical[USER_CANONICAL_MAX];
};

enum when { ALWAYS, IN_CLEAR, PRIVATE };

typedef enum preauth_verdict handler_fn(struct preauth *p, struct lex *l,
    struct buf *out);

#define COMMAND(name, run, literals, when) static handler_fn run_##run;
#include "proxy/commands.def"
#undef COMMAND

static const struct row {
	const char *name;
	handler_fn *run;
	unsigned literals;
	enum when when;
} rows[] = {
#define COMMAND(name, run, literals, when) { name, run_##run, literals, when },
#include "proxy/commands.def"
#undef COMMAND
};

/* ---- an attempt, and answers ---- */

/* Nothing of one attempt may be seen in the next: not the name, not the
 * password, not the mechanism, not the tag. */
static void forget(struct preauth *p)
{
	command_reset(&p->command);
	buf_fini(&p->secret);
	p->n_login_user = 0;
	p->is_cancelled = false;
	p->ident = (struct ident){ 0 };
	p->n_tag = 0;
	mem_wipe(p->tag, sizeof p->tag);
	mem_wipe(p->canonical, sizeof p->canonical);
}

/* Ends an attempt or a command: the next line is a command again. */
static void start_over(struct preauth *p)
{
	forget(p);
	p->step = STEP_COMMAND;
}

static enum preauth_verdict silence(struct preauth *p, const char *why)
{
	forget(p);
	p->why = why;
	p->step = STEP_OVER;
	return PREAUTH_ABUSE;
}

static enum preauth_verdict bye(struct preauth *p, struct buf *out,
    const char *text, const char *why)
{
	buf_puts(out, "* BYE ");
	buf_puts(out, text);
	buf_puts(out, CRLF);
	return silence(p, why);
}

/* The text may come from a backend: it ends where a line would. */
static void put_line(struct buf *out, struct str text)
{
	size_t n = 0;

	while (n < text.n && text.p[n] != '\r' && text.p[n] != '\n' &&
	    text.p[n] != '\0')
		n++;
	buf_append(out, text.p, n);
	buf_puts(out, CRLF);
}

static void put_tagged(const struct preauth *p, struct buf *out,
    struct str text)
{
	buf_append(out, p->tag, p->n_tag);
	buf_puts(out, " ");
	put_line(out, text);
}

/* Good commands cost something too: there are only so many of them. */
static enum preauth_verdict answer(struct preauth *p, struct buf *out,
    const char *text)
{
	put_tagged(p, out, str_from(text));
	start_over(p);
	if (++p->n_commands >= p->config->commands_max)
		return bye(p, out, "Too many commands before login.",
		    "too many commands");
	return PREAUTH_MORE;
}

/* Without a valid tag the answer is untagged, and nothing is echoed. */
static enum preauth_verdict bad(struct preauth *p, struct buf *out,
    const char *text)
{
	if (p->n_tag)
		buf_append(out, p->tag, p->n_tag);
	else
		buf_puts(out, "*");
	buf_puts(out, " BAD ");
	buf_puts(out, text);
	buf_puts(out, CRLF);
	start_over(p);
	if (++p->n_bad >= p->config->bad_commands)
		return bye(p, out, "Too many bad commands.",
		    "too many bad commands");
	return PREAUTH_MORE;
}

static bool is_spent_by_failure(struct preauth *p)
{
	return ++p->n_failed >= p->config->failed_logins;
}

static enum preauth_verdict bye_failed(struct preauth *p, struct buf *out)
{
	return bye(p, out, "Too many failed logins.", "too many failed logins");
}

/* A login that needs no backend to fail. The client is not told why. */
static enum preauth_verdict fail(struct preauth *p, struct buf *out,
    const char *why)
{
	enum preauth_verdict verdict = answer(p, out, AUTH_FAILED);

	if (verdict != PREAUTH_MORE)
		return verdict;
	if (is_spent_by_failure(p))
		return bye_failed(p, out);
	p->why = why;
	return PREAUTH_REFUSED;
}

/* ---- what is offered ---- */

static bool is_offered(const struct preauth *p, enum sasl_mech mech)
{
	return p->config->plaintext_ok &&
	    (p->config->mechanisms & SASL_BIT(mech)) &&
	    (mech != SASL_EXTERNAL || p->external.n);
}

/* The LOGIN command hands over a password as PLAIN does: where neither of
 * the two is wanted, it is not wanted either. */
static bool is_login_offered(const struct preauth *p)
{
	return is_offered(p, SASL_PLAIN) || is_offered(p, SASL_LOGIN);
}

void preauth_capabilities(const struct preauth *p, struct buf *out)
{
	buf_puts(out, "IMAP4rev1");
	if (p->config->capabilities.n) {
		buf_puts(out, " ");
		buf_str(out, p->config->capabilities);
	}
	if (p->config->starttls)
		buf_puts(out, " STARTTLS");
	if (!is_login_offered(p))
		buf_puts(out, " LOGINDISABLED");
	for (enum sasl_mech m = 0; m < SASL_end; m++) {
		if (!is_offered(p, m))
			continue;
		buf_puts(out, " AUTH=");
		buf_puts(out, sasl_mech_name(m));
	}
}

void preauth_greet(const struct preauth *p, struct buf *out)
{
	buf_puts(out, "* OK [CAPABILITY ");
	preauth_capabilities(p, out);
	buf_puts(out, "] Mailweir ready." CRLF);
}

/* ---- the login itself ---- */

/* ident is filled in but for what follows from its user. */
static enum preauth_verdict open_login(struct preauth *p, struct buf *out)
{
	struct ident *ident = &p->ident;
	size_t n;

	if (!user_canonical(ident->user, p->config->default_domain,
	    p->config->canonical_case, p->canonical, &n))
		return fail(p, out, "not a user name");
	ident->canonical = (struct str){ p->canonical, n };
	ident->tag = (struct str){ p->tag, p->n_tag };
	ident->client_asked_capability = p->asked_capability;
	p->step = STEP_OPEN;
	return PREAUTH_LOGIN;
}

/* A name and a password, from the LOGIN command or the LOGIN mechanism;
 * both are in secret, one behind the other. */
static enum preauth_verdict open_password(struct preauth *p, size_t n_user,
    struct buf *out)
{
	struct str both = buf_view(&p->secret);
	struct str user = { both.p, n_user };
	struct str password = str_skip(both, n_user);

	if (!user_is_valid(user))
		return fail(p, out, "not a user name");
	if (!sasl_password_is_valid(password))
		return fail(p, out, "empty or odd password");
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
		return bad(p, out, "Invalid base64 data.");
	if (!sasl_names_parse(ident->mech, message, n, &names))
		return fail(p, out, "malformed SASL message, or a bad name");
	ident->authcid = names.authcid;
	ident->authzid = names.authzid;
	ident->password = names.password;
	ident->user = sasl_names_user(&names);
	if (sasl_mech_class(ident->mech) == SASL_RELAYED)
		ident->initial = (struct str){ room, base64.n };
	if (ident->mech == SASL_EXTERNAL) {
		if (!is_external_user(p, names.authzid))
			return fail(p, out, "not the certificate's user");
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
		return bad(p, out, "Invalid base64 data.");
	buf_commit(&p->secret, n);
	if (p->n_login_user)
		return open_password(p, p->n_login_user, out);
	if (n == 0)
		return fail(p, out, "not a user name");
	p->n_login_user = n;
	buf_puts(out, "+ UGFzc3dvcmQ6" CRLF);	/* Password: */
	return PREAUTH_MORE;
}

static enum preauth_verdict take_sasl_line(struct preauth *p, struct buf *out)
{
	struct str line = command_text(&p->command);

	if (str_eq(line, STR("*")))
		return bad(p, out, "Authentication cancelled.");
	if (p->ident.mech == SASL_LOGIN)
		return take_login_part(p, line, out);
	return take_message(p, line, out);
}

/* What is not base64 must not reach the backend; it gets a "*" for it. */
static enum preauth_verdict take_relay_line(struct preauth *p)
{
	p->is_cancelled = !base64_is_valid(command_text(&p->command));
	p->step = STEP_OPEN;
	return PREAUTH_RESPONSE;
}

/* ---- commands ---- */

static enum preauth_verdict bad_arguments(struct preauth *p, struct buf *out)
{
	return bad(p, out, "Invalid arguments.");
}

static enum preauth_verdict run_capability(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return bad_arguments(p, out);
	p->asked_capability = true;
	buf_puts(out, "* CAPABILITY ");
	preauth_capabilities(p, out);
	buf_puts(out, CRLF);
	return answer(p, out, "OK CAPABILITY completed.");
}

static enum preauth_verdict run_noop(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return bad_arguments(p, out);
	return answer(p, out, "OK NOOP completed.");
}

static enum preauth_verdict run_id(struct preauth *p, struct lex *l,
    struct buf *out)
{
	buf_clear(&p->client_id);
	if (!id_parse(l, &p->client_id)) {
		buf_clear(&p->client_id);
		return bad_arguments(p, out);
	}
	buf_puts(out, "* ID (\"name\" \"Mailweir\")" CRLF);
	return answer(p, out, "OK ID completed.");
}

static enum preauth_verdict run_logout(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return bad_arguments(p, out);
	buf_puts(out, "* BYE Logging out." CRLF);
	put_tagged(p, out, STR("OK LOGOUT completed."));
	forget(p);
	p->step = STEP_OVER;
	return PREAUTH_LOGOUT;
}

static enum preauth_verdict run_starttls(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return bad_arguments(p, out);
	put_tagged(p, out, STR("OK Begin TLS negotiation now."));
	forget(p);
	p->step = STEP_TLS;
	return PREAUTH_STARTTLS;
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
static enum preauth_verdict run_login(struct preauth *p, struct lex *l,
    struct buf *out)
{
	struct str user, password;

	if (!lex_space(l) || !lex_astring(l, &user) || !lex_space(l) ||
	    !lex_astring(l, &password) || !lex_end(l))
		return bad_arguments(p, out);
	if (!is_ascii(user))
		return bad(p, out, "Use AUTHENTICATE for this user name.");
	buf_str(&p->secret, user);
	buf_str(&p->secret, password);
	return open_password(p, user.n, out);
}

/*
 * authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]
 * initial-resp = (base64 / "=") ; "=" is the empty one (RFC 4959)
 */
static enum preauth_verdict run_authenticate(struct preauth *p, struct lex *l,
    struct buf *out)
{
	struct str name, initial = STR_NONE;
	enum sasl_mech mech;

	if (!lex_space(l) || !lex_atom(l, &name))
		return bad_arguments(p, out);
	bool has_initial = lex_space(l);
	if ((has_initial && !lex_atom(l, &initial)) || !lex_end(l))
		return bad_arguments(p, out);
	if (!sasl_mech_find(name, &mech) || !is_offered(p, mech))
		return answer(p, out, "NO Unsupported mechanism.");
	if (has_initial && !sasl_mech_is_client_first(mech))
		return bad(p, out, "This mechanism has no initial response.");
	p->ident.mech = mech;
	p->step = STEP_SASL;
	if (has_initial)
		return take_message(p, str_eq(initial, STR("=")) ? STR_NONE :
		    initial, out);
	buf_puts(out, mech == SASL_LOGIN ?
	    "+ VXNlcm5hbWU6" CRLF : "+ " CRLF);	/* Username: */
	return PREAUTH_MORE;
}

/* ---- lines ---- */

/* METHOD SP target SP "HTTP/1.1": a browser was made to send this here. */
static bool looks_like_http(struct str line)
{
	static const char *const methods[] = {
		"GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH",
	};
	struct str rest, version;
	struct str method = str_split(line, ' ', &rest);
	struct str target = str_split(rest, ' ', &version);

	if (version.n == 8 && str_starts(version, STR("HTTP/")))
		return true;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (str_eq(method, str_from(methods[i])))
			return str_starts(target, STR("/"));
	return false;
}

/*
 * Reads "tag SP name" and says what command that is. NULL: it was refused
 * and answered, and *verdict_out holds.
 */
static const struct row *find_command(struct preauth *p, struct lex *l,
    struct buf *out, enum preauth_verdict *verdict_out)
{
	const struct row *row = NULL;
	struct str tag, name;

	if (!lex_tag(l, &tag) || tag.n > PREAUTH_TAG_MAX ||
	    (!lex_end(l) && *l->at != ' ')) {
		*verdict_out = bad(p, out, "Invalid tag.");
		return NULL;
	}
	memcpy(p->tag, tag.p, tag.n);
	p->n_tag = tag.n;
	if (!lex_space(l) || !lex_atom(l, &name)) {
		*verdict_out = bad(p, out, "Command expected.");
		return NULL;
	}
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_ieq(name, str_from(rows[i].name)))
			row = &rows[i];
	if (!row)
		*verdict_out = bad(p, out, "Unknown, or not before login.");
	else if (row->when == IN_CLEAR && !p->config->starttls)
		*verdict_out = bad(p, out, "STARTTLS is not offered here.");
	else if (row->when == PRIVATE && !p->config->plaintext_ok)
		*verdict_out = answer(p, out,
		    "NO [PRIVACYREQUIRED] Log in over TLS only.");
	else if (row->run == run_login && !is_login_offered(p))
		*verdict_out = answer(p, out,
		    "NO [CANNOT] LOGIN is disabled, use AUTHENTICATE.");
	else
		return row;
	return NULL;
}

static enum preauth_verdict take_command(struct preauth *p, struct buf *out)
{
	enum preauth_verdict verdict;
	struct lex l = command_lex(&p->command);

	if (looks_like_http(command_text(&p->command)))
		return silence(p, "HTTP where IMAP is spoken");
	const struct row *row = find_command(p, &l, out, &verdict);
	return row ? row->run(p, &l, out) : verdict;
}

/* The client waits for a "+" before it sends a literal. Who may not log in
 * here is told so now, before the password is on the wire. */
static enum preauth_verdict take_literal(struct preauth *p, bool is_too_big,
    struct buf *out)
{
	enum preauth_verdict verdict;
	struct lex l = command_lex(&p->command);
	const struct row *row = find_command(p, &l, out, &verdict);

	if (!row)
		return verdict;
	if (p->command.n_literals > row->literals)
		return bad_arguments(p, out);
	if (is_too_big)
		return answer(p, out, "NO [TOOBIG] Literal too big.");
	buf_puts(out, "+ OK" CRLF);
	command_proceed(&p->command);
	return PREAUTH_MORE;
}

static enum preauth_verdict take_line(struct preauth *p, struct buf *out)
{
	enum preauth_verdict verdict = PREAUTH_MORE;

	switch (p->step) {
	case STEP_COMMAND:
		verdict = take_command(p, out);
		break;
	case STEP_SASL:
		verdict = take_sasl_line(p, out);
		break;
	case STEP_RELAY:
		return take_relay_line(p);	/* the line stays for it */
	case STEP_OPEN:
	case STEP_TLS:
	case STEP_OVER:
		must(!"a line in a step that reads none");
	}
	command_reset(&p->command);
	return verdict;
}

static enum preauth_verdict feed_once(struct preauth *p, struct buf *in,
    struct buf *out)
{
	/* The first byte of a TLS record is the first of no tag. */
	if (p->step == STEP_COMMAND && p->command.text.len == 0 && in->len &&
	    buf_view(in).p[0] == 0x16)
		return silence(p, "TLS where plain IMAP is spoken");
	switch (command_feed(&p->command, p->step == STEP_COMMAND ?
	    COMMAND_WHOLE : COMMAND_LINE, in)) {
	case COMMAND_MORE:
		break;
	case COMMAND_DONE:
		return take_line(p, out);
	case COMMAND_LITERAL:
		return take_literal(p, false, out);
	case COMMAND_LITERAL_TOO_BIG:
		return take_literal(p, true, out);
	case COMMAND_TOO_LONG:
		return bye(p, out, "[TOOBIG] Line too long.", "line too long");
	case COMMAND_TOO_BIG:
		return bye(p, out, "[TOOBIG] Literal too big.",
		    "literal too big");
	}
	return PREAUTH_MORE;
}

enum preauth_verdict preauth_feed(struct preauth *p, struct buf *in,
    struct buf *out)
{
	enum preauth_verdict verdict = PREAUTH_MORE;

	while (in->len && p->step < STEP_OPEN && verdict == PREAUTH_MORE)
		verdict = feed_once(p, in, out);
	/* Whoever sent these bytes was not protected by TLS: they are not
	 * read after it (RFC 9051 6.2.1). */
	if (verdict == PREAUTH_STARTTLS)
		buf_clear(in);
	if (out->overflowed && verdict != PREAUTH_ABUSE)
		return silence(p, "output not read");
	return verdict;
}

/* ---- the rest of the interface ---- */

static void set_config(struct preauth *p, const struct preauth_config *config,
    struct str external)
{
	p->config = config;
	p->external = external.n ? arena_str(p->arena, external) : STR_NONE;
	command_fini(&p->command);
	command_init(&p->command, config->line_max, config->literal_max);
}

struct preauth *preauth_new(struct arena *arena,
    const struct preauth_config *config, struct str external)
{
	struct preauth *p = arena_alloc(arena, sizeof *p);

	if (!p)
		return NULL;
	p->arena = arena;
	buf_init(&p->secret, 0);
	buf_init(&p->client_id, PREAUTH_ID_MAX);
	set_config(p, config, external);
	return p;
}

void preauth_free(struct preauth **pp)
{
	struct preauth *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	forget(p);
	command_fini(&p->command);
	buf_fini(&p->client_id);
}

void preauth_after_tls(struct preauth *p, const struct preauth_config *config,
    struct str external)
{
	must(p->step == STEP_TLS);
	start_over(p);
	buf_fini(&p->client_id);
	p->asked_capability = false;
	set_config(p, config, external);
}

const struct ident *preauth_ident(const struct preauth *p)
{
	must(p->step == STEP_OPEN || p->step == STEP_RELAY);
	return &p->ident;
}

bool preauth_challenge(struct preauth *p, struct str base64, struct buf *out)
{
	must(p->step == STEP_OPEN);
	if (!base64_is_valid(base64))
		return false;
	command_reset(&p->command);
	buf_puts(out, "+ ");
	buf_str(out, base64);
	buf_puts(out, CRLF);
	p->step = STEP_RELAY;
	return true;
}

struct str preauth_response(const struct preauth *p)
{
	must(p->step == STEP_OPEN);
	return p->is_cancelled ? STR("*") : command_text(&p->command);
}

enum preauth_verdict preauth_refuse(struct preauth *p, const char *reply,
    bool counts, struct buf *out)
{
	must(p->step == STEP_OPEN || p->step == STEP_RELAY);
	enum preauth_verdict verdict = p->is_cancelled ?
	    bad(p, out, "Authentication cancelled.") : answer(p, out, reply);
	if (verdict == PREAUTH_MORE && counts && is_spent_by_failure(p))
		return bye_failed(p, out);
	return verdict;
}

void preauth_accept(struct preauth *p, struct str untagged, struct str reply,
    struct buf *out)
{
	must(p->step == STEP_OPEN || p->step == STEP_RELAY);
	buf_str(out, untagged);
	put_tagged(p, out, reply);
	forget(p);
	p->step = STEP_OVER;
}

struct str preauth_client_id(const struct preauth *p)
{
	return buf_view(&p->client_id);
}

const char *preauth_why(const struct preauth *p)
{
	return p->why ? p->why : "";
}
