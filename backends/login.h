/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LOGIN_H
#define BACKENDS_LOGIN_H
/*
 * login - the dialogue with a backend from its greeting to its tagged OK
 *
 *	backend bytes  ->  commands to the backend + a verdict
 *
 * For sessions, and for health checks that only ask for the capabilities
 * (LOGIN_PROBE). No sockets, no clock: the caller moves bytes and watches
 * the time.
 *
 *	login_init()			TCP (or implicit TLS) is open
 *	login_feed() = LOGIN_MORE	write out; feed again when bytes come
 *	             = LOGIN_STARTTLS	handshake, then login_tls_done()
 *	             = LOGIN_CHALLENGE	ask the client, then login_respond()
 *	             = LOGIN_OK, LOGIN_FAILED
 *	login_abort()			time is up, connection ended, no TLS
 *	login_fini()
 *
 * With `pipeline` all commands whose form is known go out at once, so that a
 * login is one round trip after the greeting (and after the TLS handshake,
 * if `hint` tells what the backend can do behind STARTTLS). Without it each
 * command waits for the answer to the former. Nothing but STARTTLS is said
 * before TLS: the client's address (ID) is for the verified backend only.
 *
 * Shapes   in: any split of the backend's byte stream, also one byte a call.
 *          After LOGIN_OK what is left in `in` belongs to the session. After
 *          LOGIN_STARTTLS `in` is empty: bytes behind the OK are an error.
 *          Whatever the request holds, each command written is one command:
 *          bytes that would end a line travel in base64 or in a literal, or
 *          the login fails.
 * Units    sizes in bytes. `out` should take LOGIN_OUT_MAX.
 * Errors   LOGIN_FAILED, and login_failure() and its companions tell what the
 *          client gets and what the log says. What is in `out` then must not
 *          be sent any more: close the connection.
 * Owns     what it has heard from the backend. The request's views and
 *          the array of client pairs are borrowed until login_fini(), which
 *          wipes everything.
 * Thread   whoever owns the connection.
 * Source   RFC 3501 and RFC 9051, 6.1.1, 6.2, 7.1; RFC 4959 (SASL-IR);
 *          RFC 7888 (LITERAL+, LITERAL-); RFC 2971 (ID); RFC 2221 (REFERRAL);
 *          RFC 5530 (response codes). The ID fields are those that Dovecot
 *          takes from trusted proxies.
 * Not here TLS, deadlines, the choice of another backend, following a
 *          REFERRAL (parsed and exposed; until followed it is a failure).
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/str.h"

#define LOGIN_OUT_MAX       (64 * 1024)
#define LOGIN_LINE_MAX      8192	/* longest line taken from a backend */
#define LOGIN_UNTAGGED_MAX  8192	/* kept for the client; no more */
#define LOGIN_ROUNDS_MAX    8		/* challenges of a relayed mechanism */
#define LOGIN_ID_PAIRS_MAX  30		/* RFC 2971, 3.3 */

enum login_purpose {
	LOGIN_SESSION = 0,
	LOGIN_PROBE,		/* [STARTTLS,] CAPABILITY, LOGOUT; no login */
};

enum login_tls {
	LOGIN_TLS_NONE = 0,
	LOGIN_TLS_START,	/* STARTTLS, or no login */
	LOGIN_TLS_IMPLICIT,	/* the caller has already done the handshake */
};

enum login_kind {
	/* user, password, authzid. With an authzid that differs from user
	 * (a master user's login) the backend has to offer AUTH=PLAIN. */
	LOGIN_BY_PASSWORD = 0,
	/* mechanism, initial: the client's own exchange, passed through */
	LOGIN_BY_RELAY,
	/* authzid; our client certificate tells who we are */
	LOGIN_BY_EXTERNAL,
};

struct login_pair {
	struct str key;
	struct str value;		/* p NULL: NIL */
};

/* What Dovecot honours from login_trusted_networks. Left out of the command:
 * empty values, port and ttl 0, values that are not valid, pairs of the
 * client whose key begins with "x-", pairs over the limits of RFC 2971. */
struct login_id {
	bool send;			/* if the backend lists ID, too */
	struct str session_id;
	struct str client_ip;
	uint16_t client_port;
	struct str connected_ip;	/* where the client came in */
	uint16_t connected_port;
	struct str connected_name;	/* SNI */
	bool client_has_tls;
	unsigned ttl;			/* hops that are still allowed */
	const struct login_pair *pairs;	/* the client's own ID */
	unsigned n_pairs;
};

struct login_request {
	enum login_purpose purpose;
	enum login_tls tls;
	enum login_kind kind;
	bool pipeline;
	/* What the backend showed before login (behind TLS, where TLS is
	 * used), login_capability_before() of an earlier dialogue. Empty:
	 * not known, the dialogue asks first. It is checked all the same:
	 * login_hint_was_wrong(), and a refusal without a code is then not
	 * taken for a wrong password. */
	struct str hint;
	struct str user;		/* whose password it is */
	struct str password;
	struct str authzid;		/* empty: none */
	struct str mechanism;		/* "SCRAM-SHA-256" */
	struct str initial;		/* base64; "=": an empty one */
	struct login_id id;
};

enum login_verdict {
	LOGIN_MORE = 0,
	LOGIN_STARTTLS,		/* S OK has come, nothing behind it */
	LOGIN_CHALLENGE,	/* login_challenge() is for the client */
	LOGIN_OK,		/* probe: capabilities known, LOGOUT in out */
	LOGIN_FAILED,
};

enum login_failure {
#define FAILURE(name, word, retry, reply) LOGIN_FAIL_##name,
#include "backends/login_failures.def"
#undef FAILURE
	LOGIN_FAIL_end
};

struct login_referral {
	struct str user;	/* percent-decoded; empty: none named */
	struct str host;	/* name, IPv4, or IPv6 without brackets */
	uint16_t port;
};

/* The members are the module's own. */
struct login {
	struct login_request request;
	enum {
		LOGIN_AT_GREETING = 0,
		LOGIN_AT_PLAIN,		/* before STARTTLS */
		LOGIN_AT_HANDSHAKE,
		LOGIN_AT_LOGIN,		/* before the backend's OK to us */
		LOGIN_AT_SESSION,	/* behind it */
		LOGIN_AT_END,
	} stage;
	enum {
		LOGIN_PLUS_IGNORED = 0,
		LOGIN_PLUS_PASSWORD,	/* + asks for LOGIN's next literal */
		LOGIN_PLUS_USER,
		LOGIN_PLUS_INITIAL,	/* + asks for the initial response */
		LOGIN_PLUS_CHALLENGE,	/* + is for the client */
		LOGIN_PLUS_CLIENT,	/* the client has the challenge */
		LOGIN_PLUS_WRONG,
	} plus;
	enum login_failure failure;
	unsigned sent;		/* commands, as bits; never cleared */
	unsigned pending;	/* sent and not yet answered */
	unsigned received;	/* the last thing received, for the state */
	unsigned rounds;
	size_t nonsync_max;	/* literals that need no "+" */
	bool guessed;		/* the login's form came from the hint */
	bool cancelled;		/* the client sent "*" */
	bool hint_was_wrong;
	bool got_bye;
	struct buf before;	/* capabilities before login, as heard */
	struct buf after;	/* and behind it */
	struct buf untagged;
	struct buf text;	/* OK text, challenge, BYE text or reply */
	struct buf detail;
	struct buf initial;	/* built by us: secret */
	struct buf referral_text;
	struct login_referral referral;
	char state[128];
};

/* request is copied, what its views show is not. */
void login_init(struct login *l, const struct login_request *request)
    __attribute__((nonnull));

/* Consumes from in, appends to out. An empty `in` is harmless. Not to be
 * called after LOGIN_STARTTLS (before login_tls_done()), LOGIN_OK and
 * LOGIN_FAILED. */
enum login_verdict login_feed(struct login *l, struct buf *in,
    struct buf *out) __attribute__((warn_unused_result, nonnull));

/* After LOGIN_STARTTLS: the handshake is done and the certificate is good. */
enum login_verdict login_tls_done(struct login *l, struct buf *out)
    __attribute__((warn_unused_result, nonnull));

/* After LOGIN_CHALLENGE: the client's line, "*" when it cancels. What is not
 * base64 is sent as "*". Write out, then feed. */
void login_respond(struct login *l, struct str base64, struct buf *out)
    __attribute__((nonnull));

/* The caller's own failure: CONNECT, TLS, TIMEOUT or CLOSED, and why. After
 * it login_failure() and its companions answer as after LOGIN_FAILED; a BYE
 * heard before explains a close better and takes its place. */
void login_abort(struct login *l, enum login_failure kind, const char *why)
    __attribute__((nonnull));

/* Wipes and frees. */
void login_fini(struct login *l) __attribute__((nonnull));

/* After LOGIN_CHALLENGE: base64 text, may be empty. */
struct str login_challenge(const struct login *l);

/* What the backend can do before login (empty: never heard): words between
 * single spaces, valid ones only. From it come hints, and after a probe the
 * mechanisms and capabilities to offer. */
struct str login_capability_before(const struct login *l);

/* After LOGIN_OK of a session: what it can do now. caps_after_login() makes
 * of it what the client is shown. Never empty. */
struct str login_capability(const struct login *l);

/* After LOGIN_OK: the text of the backend's OK without its response code. */
struct str login_text(const struct login *l);

/* Untagged responses for the client (alerts), whole lines with CRLF. */
struct str login_untagged(const struct login *l);

/* After LOGIN_FAILED or login_abort(). */
enum login_failure login_failure(const struct login *l);

/* The backend has greeted: what follows may be the client's doing, too. */
bool login_is_greeted(const struct login *l);

/* At any end: capabilities were asked for and are not those of the hint. */
bool login_hint_was_wrong(const struct login *l);

/* What the client gets, without tag and CRLF: "NO [UNAVAILABLE] ...". */
struct str login_reply(const struct login *l);

/* What happened, for the log: no control bytes, no credentials. */
struct str login_detail(const struct login *l);

/* After LOGIN_FAIL_REFERRAL; host is empty when the URL was no good. */
const struct login_referral *login_referral(const struct login *l);

/* How far it came: "id+capability+authenticate/banner" is what was sent and
 * what was received last. */
const char *login_state(struct login *l);

/* The columns of login_failures.def; the reply of a kind that passes on the
 * backend's words is UNAVAILABLE. */
const char *login_failure_word(enum login_failure kind);
enum login_failure login_failure_find(struct str word);	/* or _end */
bool login_failure_retry(enum login_failure kind);
const char *login_failure_reply(enum login_failure kind);
#endif
