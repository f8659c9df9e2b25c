/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/login.h"

#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/imap/caps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the request, the rest is what the backend says. */
static struct login_request request_of(uint8_t choice)
{
	struct login_request q = {
		.purpose = (choice & 7) == 7 ? LOGIN_PROBE : LOGIN_SESSION,
		.tls = choice & 1 ? LOGIN_TLS_START : LOGIN_TLS_NONE,
		.kind = choice & 2 ? LOGIN_BY_RELAY : LOGIN_BY_PASSWORD,
		.pipeline = choice & 4,
		.user = choice & 8 ? STR("j\xc3\xa4n") : STR("jan"),
		.password = choice & 8 ? STR("a\r\nb") : STR("secret"),
		.authzid = choice & 16 ? STR("other") : STR_NONE,
		.hint = choice & 32 ? STR("IMAP4rev1 SASL-IR ID LITERAL+ "
		    "AUTH=PLAIN AUTH=SCRAM-SHA-1") : STR_NONE,
		.mechanism = STR("SCRAM-SHA-1"),
		.initial = choice & 64 ? STR("biws") : STR_NONE,
		.id = { .send = choice & 128, .client_ip = STR("192.0.2.1") },
	};

	return q;
}

static void check_end(struct login *l, enum login_verdict v)
{
	if (v == LOGIN_MORE)
		login_abort(l, LOGIN_FAIL_CLOSED, "closed");
	if (v == LOGIN_OK && l->request.purpose == LOGIN_SESSION) {
		must(login_capability(l).n > 0);
		must(login_text(l).n > 0);
	} else if (v != LOGIN_OK) {
		must(login_failure(l) != LOGIN_FAIL_NONE);
		must(login_reply(l).n > 3);
		must(login_detail(l).n > 0);
		must(!memchr(login_reply(l).p, '\n', login_reply(l).n));
		must(!memchr(login_detail(l).p, '\n', login_detail(l).n));
	}
	must(login_untagged(l).n <= LOGIN_UNTAGGED_MAX);
	must(strlen(login_state(l)) > 3);
}

/* Feeds step bytes a call; returns how many the dialogue took. */
static size_t play(const struct login_request *q, struct str s, size_t step,
    struct buf *said)
{
	enum login_verdict v = LOGIN_MORE;
	struct buf in, out;
	struct login l;
	size_t fed = 0;

	buf_init(&in, 0);
	buf_init(&out, LOGIN_OUT_MAX);
	login_init(&l, q);
	while (v != LOGIN_OK && v != LOGIN_FAILED) {
		if (v == LOGIN_STARTTLS)
			v = login_tls_done(&l, &out);
		else if (v == LOGIN_CHALLENGE)
			login_respond(&l, STR("Yz1i"), &out);
		if (v == LOGIN_CHALLENGE)
			v = LOGIN_MORE;
		else if (fed == s.n)
			break;
		size_t n = s.n - fed < step ? s.n - fed : step;
		buf_append(&in, s.p + fed, n);
		fed += n;
		if (v == LOGIN_MORE)
			v = login_feed(&l, &in, &out);
	}
	check_end(&l, v);
	if (v != LOGIN_FAILED)
		buf_str(said, buf_view(&out));
	fed -= in.len;
	login_fini(&l);
	buf_fini(&in);
	buf_fini(&out);
	return fed;
}

/* However the bytes are split, the same is said. (Not so before TLS, where
 * more bytes behind S OK are an error.) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, single;

	if (size < 2)
		return 0;
	struct login_request q = request_of(data[0]);
	struct str s = { (const char *)data + 1, size - 1 };
	buf_init(&whole, 0);
	buf_init(&single, 0);
	size_t n_whole = play(&q, s, s.n, &whole);
	size_t n_single = play(&q, s, 1, &single);
	if (q.tls != LOGIN_TLS_START) {
		must(n_whole == n_single);
		must(str_eq(buf_view(&whole), buf_view(&single)));
	}
	buf_fini(&whole);
	buf_fini(&single);
	return 0;
}
