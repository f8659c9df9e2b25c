/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/verbs.h"

#include "admin/call.h"

#define LOOKS   false
#define CHANGES true
const struct verb verbs[] = {
#define VERB(word, takes, changes, help) \
	{ #word, takes, help, verb_##word, changes },
#include "admin/verbs.def"
	{ 0 },
};

const struct verb *verb_find(struct str word)
{
	for (const struct verb *v = verbs; v->word; v++)
		if (str_eq(str_from(v->word), word))
			return v;
	return NULL;
}

struct str verb_nearest(struct str word)
{
	struct str best = STR_NONE;

	for (const struct verb *v = verbs; v->word; v++)
		best = request_nearer(word, best, str_from(v->word));
	return best;
}

void verb_help(struct call *c)
{
	struct str only = call_value(c, "VERB");

	if (only.n && !verb_find(only)) {
		call_misuse(c, "help: there is no verb \"%.*s\"",
		    (int)(only.n > 80 ? 80 : only.n), only.p);
		return;
	}
	call_list(c, "verb takes changes help");
	for (const struct verb *v = verbs; v->word; v++)
		if (!only.n || str_eq(only, str_from(v->word)))
			call_row(c, json_pack("{s:s, s:s, s:b, s:s}",
			    "verb", v->word, "takes", v->takes,
			    "changes", v->changes, "help", v->help));
	call_done(c);
}
