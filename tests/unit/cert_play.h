/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef TESTS_CERT_PLAY_H
#define TESTS_CERT_PLAY_H
/*
 * cert_play - a client's certificate, and what nginx 1.22 sends of it
 *
 * It is of O "Ac, me" and CN "jan \u00e9". CERT_EVIL has a CN that would end a
 * header line and begin another.
 */
#include "proxy/base/base64.h"

#define CERT_SUBJECT "CN=jan \\C3\\A9,O=Ac\\, me"
#define CERT_SERIAL "42953F7D1206927DD4180DD8A25ECB8075DD4062"
#define CERT_FINGERPRINT "cdaaa3c6e9edf59c4fc654c5200d1d6336cbae12"

static const char cert_lines[] =
    "MIIBmTCCAT+gAwIBAgIUQpU/fRIGkn3UGA3Yol7LgHXdQGIwCgYIKoZIzj0EAwIw\n"
    "IjEPMA0GA1UECgwGQWMsIG1lMQ8wDQYDVQQDDAZqYW4gw6kwHhcNMjYxMTI1MTAx\n"
    "NDEwWhcNMjYxMTI3MTAxNDEwWjAiMQ8wDQYDVQQKDAZBYywgbWUxDzANBgNVBAMM\n"
    "BmphbiDDqTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAwNrXO/z80nzhMyyIIJ\n"
    "Bd8QGmhmlkhQnEfzpOr4OLPaP6aIDTZ4bHMir0SnH5NBZov+Zk/i2h6lVsjNZAXk\n"
    "UsSjUzBRMB0GA1UdDgQWBBQ43QRP3dCZ5/4PToFejCx7WD1BQDAfBgNVHSMEGDAW\n"
    "gBQ43QRP3dCZ5/4PToFejCx7WD1BQDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49\n"
    "BAMCA0gAMEUCIQDhzExZV8IXDtRekUzRq7iUIDgqg1+Q6noprWBfr/AhlwIgQabi\n"
    "Zyli4Db0c8ji4JSCO2y7WUHW00oEKC9NV6wFvf8=\n";

#define CERT_PEM_BEGIN "-----BEGIN CERTIFICATE-----\n"
#define CERT_PEM_END "-----END CERTIFICATE-----\n"

static const char cert_evil_lines[] =
    "MIIBeDCCAR+gAwIBAgIUPMSXtHkkUTY26e/2Ctd4hUdo1TIwCgYIKoZIzj0EAwIw\n"
    "EjEQMA4GA1UEAwwHYQ0KWDogeTAeFw0yNjExMjUxMDI0MjVaFw0yNjExMjcxMDI0\n"
    "MjVaMBIxEDAOBgNVBAMMB2ENClg6IHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
    "AATmluTFMfMWRFyXAJsdDb0vQYsqTMCP6R0Vu6Sw2bbm1yWE8hJ3hcggvuDabKb7\n"
    "OmV6iIKYeuUMvEcPgBGgMywpo1MwUTAdBgNVHQ4EFgQUcYOBjpLmPcmi2MwjlOx5\n"
    "K5bK4LEwHwYDVR0jBBgwFoAUcYOBjpLmPcmi2MwjlOx5K5bK4LEwDwYDVR0TAQH/\n"
    "BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAV+IVEkoPc3SagRoFRhdh5mfC9wwE2\n"
    "V4MNQDHMxvz6BAIgWUpxaQDGafqHnGzPFmeU9/3DTdyiG9eafTvyql80b6c=\n";

/* The DER of lines of base64. */
static inline struct str cert_der(const char *lines, char to[1024])
{
	char text[2048];
	size_t n = 0, n_der;

	for (; *lines; lines++)
		if (*lines != '\n')
			text[n++] = *lines;
	assert_true(base64_decode((struct str){ text, n }, to, 1024, &n_der));
	return (struct str){ to, n_der };
}
#endif
