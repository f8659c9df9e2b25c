/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/preauth_impl.h"

#include "proxy/base/base64.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/imap/id.h"
#include "proxy/imap/lex.h"

#define CRLF "\r\n"
#define AUTH_FAILED "NO [AUTHENTICATIONFAILED] Authentication failed."

enum when { ALWAYS, IN_CLEAR, PRIVATE };

static const struct row {
	const char *name;
	preauth_run_fn *run;
	unsigned literals;
	enum when when;
} rows[] = {
#define COMMAND(name, run, literals, when) \
	{ name, preauth_run_##run, literals, when },
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
	p->expect = EXPECT_COMMAND;
}

static enum preauth_verdict silence(struct preauth *p, const char *why)
{
	forget(p);
	p->why = why;
	p->expect = EXPECT_OVER;
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
enum preauth_verdict preauth_answer(struct preauth *p, struct buf *out,
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
enum preauth_verdict preauth_bad(struct preauth *p, struct buf *out,
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

enum preauth_verdict preauth_fail(struct preauth *p, struct buf *out,
    const char *why)
{
	enum preauth_verdict verdict = preauth_answer(p, out, AUTH_FAILED);

	if (verdict != PREAUTH_MORE)
		return verdict;
	if (is_spent_by_failure(p))
		return bye_failed(p, out);
	p->why = why;
	return PREAUTH_REFUSED;
}

/* ---- what is offered ---- */

bool preauth_offers(const struct preauth *p, enum sasl_mech mech)
{
	return p->config->plaintext_ok &&
	    (p->config->mechanisms & SASL_BIT(mech)) &&
	    (mech != SASL_EXTERNAL || p->external.n);
}

bool preauth_offers_login(const struct preauth *p)
{
	return preauth_offers(p, SASL_PLAIN) || preauth_offers(p, SASL_LOGIN);
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
	if (!preauth_offers_login(p))
		buf_puts(out, " LOGINDISABLED");
	for (enum sasl_mech m = 0; m < SASL_end; m++) {
		if (!preauth_offers(p, m))
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

/* What is not base64 must not reach the backend; it gets a "*" for it. */
static enum preauth_verdict take_relay_line(struct preauth *p)
{
	p->is_cancelled = !base64_is_valid(command_text(&p->command));
	p->expect = EXPECT_DECISION;
	return PREAUTH_RESPONSE;
}

/* ---- commands ---- */

enum preauth_verdict preauth_bad_arguments(struct preauth *p, struct buf *out)
{
	return preauth_bad(p, out, "Invalid arguments.");
}

enum preauth_verdict preauth_run_capability(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return preauth_bad_arguments(p, out);
	p->asked_capability = true;
	buf_puts(out, "* CAPABILITY ");
	preauth_capabilities(p, out);
	buf_puts(out, CRLF);
	return preauth_answer(p, out, "OK CAPABILITY completed.");
}

enum preauth_verdict preauth_run_noop(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return preauth_bad_arguments(p, out);
	return preauth_answer(p, out, "OK NOOP completed.");
}

enum preauth_verdict preauth_run_id(struct preauth *p, struct lex *l,
    struct buf *out)
{
	buf_clear(&p->client_id);
	if (!id_parse(l, &p->client_id)) {
		buf_clear(&p->client_id);
		return preauth_bad_arguments(p, out);
	}
	buf_puts(out, "* ID (\"name\" \"Mailweir\")" CRLF);
	return preauth_answer(p, out, "OK ID completed.");
}

enum preauth_verdict preauth_run_logout(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return preauth_bad_arguments(p, out);
	buf_puts(out, "* BYE Logging out." CRLF);
	put_tagged(p, out, STR("OK LOGOUT completed."));
	forget(p);
	p->expect = EXPECT_OVER;
	return PREAUTH_LOGOUT;
}

enum preauth_verdict preauth_run_starttls(struct preauth *p, struct lex *l,
    struct buf *out)
{
	if (!lex_end(l))
		return preauth_bad_arguments(p, out);
	put_tagged(p, out, STR("OK Begin TLS negotiation now."));
	forget(p);
	p->expect = EXPECT_TLS;
	return PREAUTH_STARTTLS;
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

/* "<" would be legal, but no client uses it, and a browser that was sent here
 * must not find markup in what we echo. */
static bool is_fit_tag(struct str tag)
{
	return tag.n <= PREAUTH_TAG_MAX && !memchr(tag.p, '<', tag.n);
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

	if (!lex_tag(l, &tag) || !is_fit_tag(tag) ||
	    (!lex_end(l) && *l->at != ' ')) {
		*verdict_out = preauth_bad(p, out, "Invalid tag.");
		return NULL;
	}
	memcpy(p->tag, tag.p, tag.n);
	p->n_tag = tag.n;
	if (!lex_space(l) || !lex_atom(l, &name)) {
		*verdict_out = preauth_bad(p, out, "Command expected.");
		return NULL;
	}
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_ieq(name, str_from(rows[i].name)))
			row = &rows[i];
	if (!row)
		*verdict_out = preauth_bad(p, out,
		    "Unknown, or not before login.");
	else if (row->when == IN_CLEAR && !p->config->starttls)
		*verdict_out = preauth_bad(p, out,
		    "STARTTLS is not offered here.");
	else if (row->when == PRIVATE && !p->config->plaintext_ok)
		*verdict_out = preauth_answer(p, out,
		    "NO [PRIVACYREQUIRED] Log in over TLS only.");
	else if (row->run == preauth_run_login && !preauth_offers_login(p))
		*verdict_out = preauth_answer(p, out,
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
		return preauth_bad_arguments(p, out);
	if (is_too_big)
		return preauth_answer(p, out, "NO [TOOBIG] Literal too big.");
	buf_puts(out, "+ OK" CRLF);
	command_proceed(&p->command);
	return PREAUTH_MORE;
}

static enum preauth_verdict take_line(struct preauth *p, struct buf *out)
{
	enum preauth_verdict verdict = PREAUTH_MORE;

	switch (p->expect) {
	case EXPECT_COMMAND:
		verdict = take_command(p, out);
		break;
	case EXPECT_SASL:
		verdict = preauth_take_sasl(p, out);
		break;
	case EXPECT_RELAY:
		return take_relay_line(p);	/* the line stays for it */
	case EXPECT_DECISION:
	case EXPECT_TLS:
	case EXPECT_OVER:
		must(!"a line where none is expected");
	}
	command_reset(&p->command);
	return verdict;
}

static enum preauth_verdict feed_once(struct preauth *p, struct buf *in,
    struct buf *out)
{
	/* The first byte of a TLS record is the first of no tag. */
	if (p->expect == EXPECT_COMMAND && p->command.text.len == 0 &&
	    buf_view(in).p[0] == 0x16)
		return silence(p, "TLS where plain IMAP is spoken");
	switch (command_feed(&p->command, p->expect == EXPECT_COMMAND ?
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

	while (verdict == PREAUTH_MORE && in->len &&
	    p->expect < EXPECT_DECISION)
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
	must(p->expect == EXPECT_TLS);
	start_over(p);
	buf_fini(&p->client_id);
	p->asked_capability = false;
	set_config(p, config, external);
}

static bool is_login_open(const struct preauth *p)
{
	return p->expect == EXPECT_DECISION || p->expect == EXPECT_RELAY;
}

const struct ident *preauth_ident(const struct preauth *p)
{
	return is_login_open(p) ? &p->ident : NULL;
}

bool preauth_challenge(struct preauth *p, struct str base64, struct buf *out)
{
	must(p->expect == EXPECT_DECISION);
	if (!base64_is_valid(base64))
		return false;
	command_reset(&p->command);
	buf_puts(out, "+ ");
	buf_str(out, base64);
	buf_puts(out, CRLF);
	p->expect = EXPECT_RELAY;
	return true;
}

struct str preauth_response(const struct preauth *p)
{
	must(p->expect == EXPECT_DECISION);
	return p->is_cancelled ? STR("*") : command_text(&p->command);
}

enum preauth_verdict preauth_refuse(struct preauth *p, const char *reply,
    bool counts, struct buf *out)
{
	must(is_login_open(p));
	enum preauth_verdict verdict = p->is_cancelled ?
	    preauth_bad(p, out, "Authentication cancelled.") :
	    preauth_answer(p, out, reply);
	if (verdict == PREAUTH_MORE && counts && is_spent_by_failure(p))
		return bye_failed(p, out);
	return verdict;
}

void preauth_accept(struct preauth *p, struct str untagged, struct str reply,
    struct buf *out)
{
	must(is_login_open(p));
	buf_str(out, untagged);
	put_tagged(p, out, reply);
	forget(p);
	p->expect = EXPECT_OVER;
}

struct str preauth_client_id(const struct preauth *p)
{
	return buf_view(&p->client_id);
}

const char *preauth_why(const struct preauth *p)
{
	return p->why ? p->why : "";
}
