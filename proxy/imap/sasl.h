/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_SASL_H
#define IMAP_SASL_H
/*
 * sasl - the mechanisms, and the names in a client's first message
 *
 * Read mechanisms end here: their message holds all that is needed. Relayed
 * ones are carried to the backend and back unchanged; only the user's name
 * is looked at, since the session is routed by it.
 *
 * Shapes   messages are decoded (no base64), whole, in one piece.
 * Owns     nothing; struct sasl_names points into the message.
 * Errors   false: the message is malformed, or holds no usable name.
 * Thread   any.
 * Source   RFC 4422; 4616 (PLAIN); 5802, 7677 (SCRAM); 7628 (OAUTHBEARER);
 *          draft-murchison-sasl-login (LOGIN); RFC 4422 appendix A
 *          (EXTERNAL). XOAUTH2 has no RFC: Google's description.
 * Not here Which mechanisms are offered, passwords being right, base64.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct buf;

enum sasl_class {
	SASL_READ,
	SASL_RELAYED,
};

/* MECH(name in enum, name on the wire, class) */
#define SASL_MECHS(MECH)                                                \
	MECH(PLAIN, "PLAIN", READ)                                      \
	MECH(LOGIN, "LOGIN", READ)                                      \
	MECH(EXTERNAL, "EXTERNAL", READ)                                \
	MECH(SCRAM_SHA_1, "SCRAM-SHA-1", RELAYED)                       \
	MECH(SCRAM_SHA_256, "SCRAM-SHA-256", RELAYED)                   \
	MECH(XOAUTH2, "XOAUTH2", RELAYED)                               \
	MECH(OAUTHBEARER, "OAUTHBEARER", RELAYED)

enum sasl_mech {
#define MECH(id, name, class) SASL_##id,
	SASL_MECHS(MECH)
#undef MECH
	SASL_end
};

/* The bit of a mechanism in a set of them. */
#define SASL_BIT(mech) (1u << (mech))

/* Matches without regard to case; false when there is no such mechanism. */
bool sasl_mech_find(struct str name, enum sasl_mech *mech_out);
const char *sasl_mech_name(enum sasl_mech mech);
enum sasl_class sasl_mech_class(enum sasl_mech mech);

/* May the client's first message come with the command (RFC 4959)? */
bool sasl_mech_is_client_first(enum sasl_mech mech);

struct sasl_names {
	struct str authcid;	/* who proves an identity; "" for EXTERNAL */
	struct str authzid;	/* who to act as; "" when it was left out */
	struct str password;	/* PLAIN only */
};

/* The name to route by: authzid when there is one, or else authcid. */
struct str sasl_names_user(const struct sasl_names *names);

/*
 * Takes the names out of a first client message. SCRAM and OAUTHBEARER names
 * are unescaped in place: message is written to. PLAIN and EXTERNAL too are
 * done here; LOGIN has no message of this kind and fails. Names are valid as
 * user.h has it; the password is neither empty nor holds NUL, CR or LF.
 */
bool sasl_names_parse(enum sasl_mech mech, char *message, size_t n,
    struct sasl_names *names_out) __attribute__((warn_unused_result));

/* May it be used as a password: not empty, no NUL, CR or LF? */
bool sasl_password_is_valid(struct str password);

/* Appends the PLAIN message (not yet base64). The arguments hold no NUL. */
bool sasl_plain(struct buf *out, struct str authzid, struct str authcid,
    struct str password);
#endif
