/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <stdint.h>
#include <stdlib.h>

#include "admin/request.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const takes[] = {
#define VERB(word, takes, changes, help) takes,
#include "admin/verbs.def"
	"BACKEND [--rate N | --over D] [--watch]",
};

/* What was understood, written again, is understood as the same. */
static void check_again(const struct request *r)
{
	static struct request again;
	struct err err;
	struct buf line;

	buf_init(&line, 0);
	request_quote(&line, r->verb);
	for (unsigned i = 0; i < r->n_words; i++) {
		buf_puts(&line, " ");
		request_quote(&line, r->words[i].text);
	}
	if (r->verb.n && line.len <= REQUEST_LINE_MAX) {
		must(request_parse(&again, buf_view(&line), &err));
		must(str_eq(again.verb, r->verb));
		must(again.n_words == r->n_words);
		for (unsigned i = 0; i < r->n_words; i++)
			must(str_eq(again.words[i].text, r->words[i].text));
	}
	buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct request r;
	struct err err;

	if (size < 1)
		return 0;
	size_t n = size - 1;
	char *line = malloc(n ? n : 1);
	memcpy(line, data + 1, n);
	if (request_parse(&r, (struct str){ line, n }, &err)) {
		must(user_is_text(r.verb));
		check_again(&r);
		if (request_match(&r, takes[data[0] % (sizeof takes /
		    sizeof *takes)], &err)) {
			for (unsigned i = 0; i < r.n_values; i++)
				must(user_is_text(r.values[i].value));
		}
	}
	free(line);
	return 0;
}
