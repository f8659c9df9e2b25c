/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * The input is a dialogue: each turn begins with a byte, the side in its
 * highest bit and the length of what the side says in the other seven. What
 * the frame knows behind a turn may not depend on how the turn was cut.
 */
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct frame *a, const struct frame *b)
{
	must(frame_is_opaque(a) == frame_is_opaque(b));
	must(frame_at_line_start(a, FRAME_CLIENT) ==
	    frame_at_line_start(b, FRAME_CLIENT));
	must(frame_at_line_start(a, FRAME_BACKEND) ==
	    frame_at_line_start(b, FRAME_BACKEND));
	must(frame_is_safe(a) == frame_is_safe(b));
	must(frame_in_idle(a) == frame_in_idle(b));
	must(frame_logout_seen(a) == frame_logout_seen(b));
	must(frame_bye_seen(a) == frame_bye_seen(b));
	if (!frame_is_opaque(a))
		must(frame_in_flight(a) == frame_in_flight(b));
}

static void check_sane(const struct frame *f)
{
	if (frame_is_opaque(f))
		must(!frame_can_bye(f) && !frame_in_idle(f));
	if (frame_is_safe(f))
		must(frame_can_bye(f) && frame_in_flight(f) <= 1);
	must(f->n_entries <= FRAME_COMMANDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame whole, bytes;

	frame_init(&whole);
	frame_init(&bytes);
	while (size) {
		enum frame_side side =
		    *data & 0x80 ? FRAME_BACKEND : FRAME_CLIENT;
		size_t n = *data & 0x7f;
		const char *p = (const char *)data + 1;
		size--;
		n = n < size ? n : size;
		frame_feed(&whole, side, p, n);
		for (size_t i = 0; i < n; i++) {
			frame_feed(&bytes, side, p + i, 1);
			check_sane(&bytes);
		}
		check_same(&whole, &bytes);
		data += 1 + n;
		size -= n;
	}
	return 0;
}
