/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/pattern_search.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define HEAP_MAX_KIB 1024

struct pattern_search {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

struct pattern_search *pattern_search_new(struct str expression, bool fold,
    struct err *err)
{
	uint32_t options = PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
	    PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C |
	    (fold ? PCRE2_CASELESS : 0);
	PCRE2_UCHAR why[128];
	PCRE2_SIZE at;
	int error;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)(expression.n ?
	    expression.p : ""), expression.n, options, &error, &at, NULL);

	if (!code) {
		pcre2_get_error_message(error, why, sizeof why);
		err_set(err, "\"%.*s\": %s at character %zu",
		    STR_ARG(expression), (const char *)why, (size_t)at + 1);
		return NULL;
	}
	struct pattern_search *p = mem_alloc(sizeof *p);
	p->code = code;
	p->data = pcre2_match_data_create_from_pattern(code, NULL);
	p->context = pcre2_match_context_create(NULL);
	if (!p->data || !p->context)
		die("out of memory");
	pcre2_set_match_limit(p->context, PATTERN_STEPS_MAX);
	pcre2_set_depth_limit(p->context, PATTERN_STEPS_MAX);
	pcre2_set_heap_limit(p->context, HEAP_MAX_KIB);
	return p;
}

void pattern_search_free(struct pattern_search **pp)
{
	struct pattern_search *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	pcre2_match_context_free(p->context);
	pcre2_match_data_free(p->data);
	pcre2_code_free(p->code);
	free(p);
}

enum pattern_verdict pattern_search(const struct pattern_search *p,
    struct str text, struct str groups[PATTERN_GROUPS])
{
	int rc = pcre2_match(p->code, (PCRE2_SPTR)(text.n ? text.p : ""),
	    text.n, 0, 0, p->data, p->context);

	if (rc == PCRE2_ERROR_NOMATCH)
		return PATTERN_NO;
	if (rc < 0)
		return PATTERN_GAVE_UP;
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
	for (int i = 0; i < PATTERN_GROUPS; i++)
		/* \K may put the beginning behind the end */
		if (i < rc && at[2 * i] != PCRE2_UNSET &&
		    at[2 * i] < at[2 * i + 1])
			groups[i] = (struct str){ text.p + at[2 * i],
				at[2 * i + 1] - at[2 * i] };
		else
			groups[i] = STR_NONE;
	return PATTERN_YES;
}
