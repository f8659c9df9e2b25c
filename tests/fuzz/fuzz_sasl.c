/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/base/base64.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"
#include "proxy/imap/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The canonical form of a canonical form is itself. */
static void check_user(struct str user)
{
	char one[USER_CANONICAL_MAX], two[USER_CANONICAL_MAX];
	size_t n, m;

	must(user_is_valid(user));
	if (!user_canonical(user, STR("Default.example"), USER_CASE_LOWER, one,
	    &n))
		return;
	must(n > 0 && n <= sizeof one);
	if (n > USER_MAX)
		return;
	must(user_canonical((struct str){ one, n }, STR_NONE, USER_CASE_LOWER,
	    two, &m));
	must(n == m && memcmp(one, two, n) == 0);
}

/* What decodes is what would be encoded. */
static void check_base64(struct str text)
{
	char *room = malloc(BASE64_DECODED_MAX(text.n) + 1);
	struct buf again;
	size_t n;

	buf_init(&again, 0);
	bool good = base64_decode(text, room, BASE64_DECODED_MAX(text.n), &n);
	must(good == base64_is_valid(text));
	if (good) {
		must(base64_encode(&again, room, n));
		must(str_eq(buf_view(&again), text));
	}
	buf_fini(&again);
	free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sasl_names names;

	if (size < 1)
		return 0;
	size_t n = size - 1;
	char *message = malloc(n ? n : 1);
	memcpy(message, data + 1, n);
	check_base64((struct str){ message, n });
	enum sasl_mech mech = (enum sasl_mech)(data[0] % SASL_end);
	if (sasl_names_parse(mech, message, n, &names)) {
		struct str user = sasl_names_user(&names);

		must(user.n || mech == SASL_EXTERNAL);
		if (user.n)
			check_user(user);
		if (names.authcid.n)
			check_user(names.authcid);
		must(mech == SASL_PLAIN || names.password.n == 0);
	}
	free(message);
	return 0;
}
