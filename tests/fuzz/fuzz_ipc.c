/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/ipc.h"

#include <stdlib.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever can be read can be written, and reads the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg m, again;
	struct buf a, b;
	bool has_fd;
	int fd;

	if (msg_decode((struct str){ (const char *)data, size }, &m,
	    &has_fd) != MSG_OK)
		return 0;
	buf_init(&a, 0);
	buf_init(&b, 0);
	must(msg_encode(&a, &m, &fd));
	must(fd == -1);
	must(msg_decode(str_skip(buf_view(&a), 4), &again, &has_fd) == MSG_OK);
	must(again.type == m.type);
	must(msg_encode(&b, &again, &fd));
	must(str_eq(buf_view(&a), buf_view(&b)));
	buf_fini(&a);
	buf_fini(&b);
	return 0;
}
