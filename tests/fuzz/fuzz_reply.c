/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/reply.h"

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/imap/caps.h"
#include "proxy/imap/quote.h"

#define MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_inside(struct str part, struct str whole)
{
	must(part.n == 0 || (part.p >= whole.p &&
	    part.p + part.n <= whole.p + whole.n));
}

/* All views show parts of the line; a shorter input only wants more. What
 * caps makes of the text can be read again and is the same. */
static void check(struct str in, const struct reply *r, size_t n)
{
	struct reply less;
	struct buf a, b;
	size_t less_n;

	must(n <= in.n && n <= MAX && in.p[n - 1] == '\n');
	must_be_inside(r->line, (struct str){ in.p, n });
	must_be_inside(r->tag, r->line);
	must_be_inside(r->name, r->line);
	must_be_inside(r->code, r->line);
	must_be_inside(r->code_args, r->line);
	must_be_inside(r->text, r->line);
	must(reply_take((struct str){ in.p, n - 1 }, MAX, &less, &less_n) ==
	    REPLY_MORE);

	buf_init(&a, 0);
	buf_init(&b, 0);
	caps_add(&a, r->code.n ? r->code_args : r->text);
	caps_add(&b, buf_view(&a));
	must(str_eq(buf_view(&a), buf_view(&b)));
	buf_clear(&b);
	caps_before_login(&b, buf_view(&a));
	caps_after_login(&b, buf_view(&a));
	buf_clear(&b);
	if (quote_astring(&b, r->text, QUOTE_LITERAL_MINUS_MAX))
		must(b.len >= r->text.n);
	quote_printable(&b, r->line, MAX);
	buf_fini(&a);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct reply r;
	size_t n = 0;

	while (in.n && reply_take(in, MAX, &r, &n) == REPLY_LINE) {
		check(in, &r, n);
		in = str_skip(in, n);
	}
	return 0;
}
