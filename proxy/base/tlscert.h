/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_TLSCERT_H
#define BASE_TLSCERT_H
/*
 * tlscert - what a certificate says, as text
 *
 *	DER  ->  subject, issuer, serial, fingerprint, PEM
 *
 * Shapes   subject, issuer: RFC 2253, the last part first, what is not ASCII
 *          escaped, so that no name can end a line; serial: hexadecimal
 *          digits in upper case; fingerprint: of SHA-1, in lower case.
 * Errors   false: not a certificate.
 * Owns     the texts, until tlscert_fini().
 * Thread   any.
 * Source   the forms are those of nginx's ssl variables.
 * Not here whether it is to be trusted: tlsctx.
 */
#include <stdbool.h>

#include "proxy/base/str.h"

struct tlscert {
	char *subject, *issuer, *serial, *fingerprint, *pem;
};

bool tlscert_init(struct tlscert *c, struct str der)
    __attribute__((warn_unused_result));
void tlscert_fini(struct tlscert *c);
#endif
