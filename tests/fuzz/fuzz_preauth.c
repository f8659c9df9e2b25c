/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/preauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bits of the first byte. */
#define IN_CLEAR 1
#define ACCEPTS 2
#define CERTIFIED 4
#define STEP_SHIFT 3

static void check_ident(const struct ident *i)
{
	must(user_is_valid(i->user) && i->canonical.n > 0);
	must(i->tag.n > 0 && i->tag.n <= PREAUTH_TAG_MAX);
	for (size_t n = 0; n < i->tag.n; n++)
		must(i->tag.p[n] > ' ' && i->tag.p[n] < 0x7f &&
		    i->tag.p[n] != '+');
	if (i->mech == SASL_PLAIN || i->mech == SASL_LOGIN)
		must(sasl_password_is_valid(i->password));
	else
		must(i->password.n == 0);
	must((sasl_mech_class(i->mech) == SASL_RELAYED) ==
	    (i->initial.n > 0));
}

/* The client sees whole lines of ASCII, and no markup. */
static void check_output(struct str s)
{
	must(s.n == 0 || s.p[s.n - 1] == '\n');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			must(i > 0 && s.p[i - 1] == '\r');
		else if (s.p[i] == '\r')
			must(i + 1 < s.n && s.p[i + 1] == '\n');
		else
			must(s.p[i] >= ' ' && s.p[i] < 0x7f && s.p[i] != '<');
	}
}

/* What the session does with a verdict. False: the dialogue is over. */
static bool act(struct preauth *p, enum preauth_verdict verdict, bool accepts,
    const struct preauth_config *after, struct buf *out)
{
	switch (verdict) {
	case PREAUTH_MORE:
	case PREAUTH_REFUSED:
		return true;
	case PREAUTH_STARTTLS:
		preauth_after_tls(p, after, STR_NONE);
		return false;
	case PREAUTH_LOGIN:
		check_ident(preauth_ident(p));
		if (preauth_ident(p)->initial.n)
			return preauth_challenge(p, STR("eA=="), out);
		break;
	case PREAUTH_RESPONSE:
		check_ident(preauth_ident(p));
		break;
	case PREAUTH_LOGOUT:
	case PREAUTH_ABUSE:
		return false;
	}
	if (accepts) {
		preauth_accept(p, STR_NONE, STR("OK in."), out);
		return false;
	}
	return preauth_refuse(p, "NO no", true, out) == PREAUTH_MORE;
}

static void run(const uint8_t *data, size_t size, size_t step,
    struct buf *out)
{
	struct arena *arena = arena_new(8192);
	struct preauth_config open = {
		.line_max = 1000, .literal_max = 300,
		.bad_commands = 6, .failed_logins = 5, .commands_max = 50,
		.mechanisms = (1u << SASL_end) - 1,
		.default_domain = STR("example.org"), .plaintext_ok = true,
	}, clear = open;
	struct str left = { (const char *)data + 1, size - 1 };
	struct buf in;

	clear.starttls = true;
	clear.plaintext_ok = false;
	struct preauth *p = preauth_new(arena, data[0] & IN_CLEAR ? &clear :
	    &open, data[0] & CERTIFIED ? STR("jan") : STR_NONE);
	must(p);
	buf_init(&in, 0);
	for (bool goes_on = true; goes_on && (left.n || in.len);) {
		size_t n = step < left.n ? step : left.n;

		buf_append(&in, left.p, n);
		left = str_skip(left, n);
		enum preauth_verdict verdict = preauth_feed(p, &in, out);
		must(verdict != PREAUTH_STARTTLS || in.len == 0);
		must(verdict != PREAUTH_MORE || in.len == 0);
		goes_on = act(p, verdict, data[0] & ACCEPTS, &open, out);
		check_output(buf_view(out));
	}
	preauth_free(&p);
	arena_free(&arena);
	buf_fini(&in);
}

/* However the client's bytes are cut, it gets the same answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, cut;

	if (size < 2)
		return 0;
	buf_init(&whole, 1 << 20);
	buf_init(&cut, 1 << 20);
	run(data, size, size, &whole);
	run(data, size, 1 + (data[0] >> STEP_SHIFT) % 4, &cut);
	must(str_eq(buf_view(&whole), buf_view(&cut)));
	buf_fini(&whole);
	buf_fini(&cut);
	return 0;
}
