/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * Whatever a server answers, what is taken of it is well formed; whatever a
 * client's name, password or certificate is, the question has its lines and
 * no other.
 */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "backends/auth.h"
#include "backends/auth_http_wire.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(struct str head)
{
	struct auth_http_answer a;

	auth_http_read(head, &a);
	switch (a.verdict) {
	case AUTH_HTTP_OK:
		must(a.address.sa.sa_family != AF_UNSPEC);
		must(addr_port(&a.address) > 0);
		must(a.user.n == 0 || user_is_valid(a.user));
		must(!a.password.n || !memchr(a.password.p, '\n',
		    a.password.n));
		break;
	case AUTH_HTTP_WAIT:
		break;
	case AUTH_HTTP_REFUSED:
		for (const char *p = a.text; *p; p++)
			must(isprint((unsigned char)*p));
		break;
	case AUTH_HTTP_BROKEN:
		must(a.why);
		break;
	}
}

/* With a certificate there are five lines more. */
static void check_question(const struct auth_login *l)
{
	static const struct auth_http_server to = { .host = { "h", 1 } };
	struct buf head;
	size_t n = 0;

	buf_init(&head, 0);
	auth_http_write(&head, &to, l);
	struct str rest = buf_view(&head);
	while (rest.n) {
		struct str line = str_split(rest, '\n', &rest);
		must(line.n > 1 && line.p[line.n - 1] == '\r');
		must(!memchr(line.p, '\r', line.n - 1));
		must(!memchr(line.p, 0, line.n));
		n++;
	}
	must(n == 10 || n == 15);
	buf_fini(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = { (const char *)data, size };
	size_t half = size / 2;

	check_answer(all);
	check_question(&(struct auth_login){ .has_tls = true,
	    .user = { all.p, half }, .password = str_skip(all, half),
	    .certificate = all });
	return 0;
}
