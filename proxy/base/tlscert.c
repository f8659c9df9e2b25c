/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/tlscert.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

/* What a memory BIO holds; the BIO goes. */
static char *bio_text(BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	char *text = mem_str((struct str){ p, (size_t)n });

	BIO_free(b);
	return text;
}

static BIO *bio_new(void)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (!b)
		die("out of memory");
	return b;
}

static char *name_text(const X509_NAME *name)
{
	BIO *b = bio_new();

	X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253);
	return bio_text(b);
}

static char *serial_text(const X509 *x)
{
	BIO *b = bio_new();

	i2a_ASN1_INTEGER(b, X509_get0_serialNumber(x));
	return bio_text(b);
}

static char *fingerprint_text(const X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	must(X509_digest(x, EVP_sha1(), digest, &n) == 1);
	char *text = mem_alloc(2 * n + 1);
	for (unsigned i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

static char *pem_text(X509 *x)
{
	BIO *b = bio_new();

	PEM_write_bio_X509(b, x);
	return bio_text(b);
}

bool tlscert_init(struct tlscert *c, struct str der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *x = der.n ? d2i_X509(NULL, &p, (long)der.n) : NULL;

	*c = (struct tlscert){ 0 };
	if (!x || p != (const unsigned char *)der.p + der.n) {
		X509_free(x);
		ERR_clear_error();
		return false;
	}
	c->subject = name_text(X509_get_subject_name(x));
	c->issuer = name_text(X509_get_issuer_name(x));
	c->serial = serial_text(x);
	c->fingerprint = fingerprint_text(x);
	c->pem = pem_text(x);
	X509_free(x);
	ERR_clear_error();
	return true;
}

void tlscert_fini(struct tlscert *c)
{
	free(c->subject);
	free(c->issuer);
	free(c->serial);
	free(c->fingerprint);
	free(c->pem);
	*c = (struct tlscert){ 0 };
}
