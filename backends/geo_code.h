/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_GEO_CODE_H
#define BACKENDS_GEO_CODE_H
/*
 * geo_code - how places are named
 *
 *	country      = 2ALPHA				; CH, ISO 3166-1
 *	subdivision  = country "-" 1*3( ALPHA / DIGIT )	; DE-BY, ISO 3166-2
 *	asn          = [ "AS" ] 1*DIGIT			; 64500
 *
 * Shapes   letters of the text in either case; codes are upper case and end
 *          with NUL. GEO_UNKNOWN is the word for what no database tells.
 * Errors   false, and nothing is written. That a code is well-formed does not
 *          mean that there is such a place.
 * Owns     nothing.
 * Thread   any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/str.h"

#define GEO_UNKNOWN "unknown"
#define GEO_COUNTRY_MAX 3
#define GEO_SUBDIVISION_MAX 7

bool geo_country_parse(char out[GEO_COUNTRY_MAX], struct str text);
bool geo_subdivision_parse(char out[GEO_SUBDIVISION_MAX], struct str text);

/* 1 to 4294967295. */
bool geo_asn_parse(uint32_t *out, struct str text);
#endif
