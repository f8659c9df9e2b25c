/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/imap/command.h"
#include "proxy/imap/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX_BYTES 200
#define LITERAL_MAX_BYTES 100

/* Reads a whole command in every way there is: it may not run off. */
static void read_words(struct command *c, struct buf *out)
{
	struct lex l = command_lex(c);
	struct str word;
	struct buf kept;

	buf_init(&kept, 100);
	if (lex_tag(&l, &word) && lex_space(&l) && lex_atom(&l, &word)) {
		struct lex id = l;

		/* It unescapes in place, so what follows may read otherwise;
		 * but both readings stay within the text. */
		if (id_parse(&id, &kept))
			must(id.at == id.end);
		while (lex_space(&l) && lex_astring(&l, &word))
			must(word.p + word.n <= l.end);
	}
	must(l.at <= l.end);
	buf_str(out, buf_view(&kept));
	buf_fini(&kept);
}

static void run(struct str left, size_t step, enum command_mode mode,
    struct buf *out)
{
	struct command c;
	struct buf in;

	command_init(&c, LINE_MAX_BYTES, LITERAL_MAX_BYTES);
	buf_init(&in, 0);
	while (left.n || in.len) {
		size_t n = step < left.n ? step : left.n;

		if (n)
			buf_append(&in, left.p, n);
		left = str_skip(left, n);
		enum command_verdict verdict = command_feed(&c, mode, &in);
		must(c.text.len <= LINE_MAX_BYTES + LITERAL_MAX_BYTES);
		if (verdict == COMMAND_MORE) {
			must(in.len == 0);
			continue;
		}
		buf_printf(out, "%d:", verdict);
		/* How much of a line that is too long was taken depends on
		 * how it came. */
		if (verdict == COMMAND_TOO_LONG || verdict == COMMAND_TOO_BIG)
			break;
		buf_str(out, command_text(&c));
		if (verdict == COMMAND_LITERAL) {
			command_proceed(&c);
			continue;
		}
		read_words(&c, out);
		command_reset(&c);
	}
	command_fini(&c);
	buf_fini(&in);
}

/* However the stream is cut, the same commands come out of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, cut;

	if (size < 2)
		return 0;
	struct str s = { (const char *)data + 1, size - 1 };
	enum command_mode mode = data[0] & 1 ? COMMAND_LINE : COMMAND_WHOLE;
	buf_init(&whole, 0);
	buf_init(&cut, 0);
	run(s, s.n, mode, &whole);
	run(s, 1 + (data[0] >> 1) % 4, mode, &cut);
	must(str_eq(buf_view(&whole), buf_view(&cut)));
	buf_fini(&whole);
	buf_fini(&cut);
	return 0;
}
