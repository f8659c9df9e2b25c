/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/pattern.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define HEAP_MAX_KIB 1024

struct pattern {
	char *glob;		/* NULL: an expression */
	bool fold;
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

static bool expression_new(struct pattern *p, const char *text,
    struct err *err)
{
	uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF |
	    PCRE2_NEVER_BACKSLASH_C | (p->fold ? PCRE2_CASELESS : 0);
	PCRE2_UCHAR why[128];
	PCRE2_SIZE at;
	int error;

	p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
	    options, &error, &at, NULL);
	if (!p->code) {
		pcre2_get_error_message(error, why, sizeof why);
		return err_set(err, "\"~%s\": %s at character %zu", text,
		    (const char *)why, (size_t)at + 1);
	}
	p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
	p->context = pcre2_match_context_create(NULL);
	if (!p->data || !p->context)
		die("out of memory");
	pcre2_set_match_limit(p->context, PATTERN_STEPS_MAX);
	pcre2_set_depth_limit(p->context, PATTERN_STEPS_MAX);
	pcre2_set_heap_limit(p->context, HEAP_MAX_KIB);
	return true;
}

struct pattern *pattern_new(const char *text, bool fold, struct err *err)
{
	struct pattern *p = mem_alloc(sizeof *p);

	p->fold = fold;
	if (text[0] != '~')
		p->glob = mem_strdup(text);
	else if (!expression_new(p, text + 1, err))
		pattern_free(&p);
	return p;
}

void pattern_free(struct pattern **pp)
{
	struct pattern *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	pcre2_match_context_free(p->context);
	pcre2_match_data_free(p->data);
	pcre2_code_free(p->code);
	free(p->glob);
	free(p);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* On a mismatch the last * takes one byte more. Earlier stars need no second
 * try: what they could take, the last one can take as well. */
static bool glob_match(const char *g, struct str s, bool fold)
{
	const char *star = NULL;
	size_t at = 0, star_at = 0;

	while (at < s.n) {
		if (*g == '*') {
			star = g++;
			star_at = at;
		} else if (*g && (*g == '?' || *g == s.p[at] ||
		    (fold && lower(*g) == lower(s.p[at])))) {
			g++;
			at++;
		} else if (star) {
			g = star + 1;
			at = ++star_at;
		} else {
			return false;
		}
	}
	while (*g == '*')
		g++;
	return *g == 0;
}

enum pattern_verdict pattern_match(const struct pattern *p, struct str text)
{
	if (p->glob)
		return glob_match(p->glob, text, p->fold) ? PATTERN_YES
							  : PATTERN_NO;
	int rc = pcre2_match(p->code, (PCRE2_SPTR)(text.n ? text.p : ""),
	    text.n, 0, 0, p->data, p->context);
	if (rc >= 0)
		return PATTERN_YES;
	switch (rc) {
	case PCRE2_ERROR_MATCHLIMIT:
	case PCRE2_ERROR_DEPTHLIMIT:
	case PCRE2_ERROR_HEAPLIMIT:
	case PCRE2_ERROR_NOMEMORY:
		return PATTERN_GAVE_UP;
	default:
		return PATTERN_NO;
	}
}
