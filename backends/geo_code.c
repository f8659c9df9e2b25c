/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/geo_code.h"

#include <ctype.h>

static bool copy_upper(char *out, struct str text, int (*is)(int c))
{
	for (size_t i = 0; i < text.n; i++)
		if (!is((unsigned char)text.p[i]))
			return false;
	for (size_t i = 0; i < text.n; i++)
		out[i] = (char)toupper((unsigned char)text.p[i]);
	out[text.n] = '\0';
	return true;
}

bool geo_country_parse(char out[GEO_COUNTRY_MAX], struct str text)
{
	return text.n == 2 && copy_upper(out, text, isalpha);
}

bool geo_subdivision_parse(char out[GEO_SUBDIVISION_MAX], struct str text)
{
	char code[GEO_SUBDIVISION_MAX];
	struct str part, country = str_split(text, '-', &part);

	if (part.n < 1 || part.n > 3 || !geo_country_parse(code, country) ||
	    !copy_upper(code + 3, part, isalnum))
		return false;
	code[2] = '-';
	memcpy(out, code, sizeof code);
	return true;
}

bool geo_asn_parse(uint32_t *out, struct str text)
{
	uint64_t n = 0;

	if (str_istarts(text, STR("AS")))
		text = str_skip(text, 2);
	if (text.n == 0 || text.n > 10)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (!isdigit((unsigned char)text.p[i]))
			return false;
		n = n * 10 + (uint64_t)(text.p[i] - '0');
	}
	if (n == 0 || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}
