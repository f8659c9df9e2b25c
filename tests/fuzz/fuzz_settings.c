/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Any text as proxy.conf: an error or a snapshot, and what is printed of a
 * snapshot gives the same print again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "admin/conf.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool give(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	*data_out = STR("text\n");
	return path[0] != '-';
}

static struct settings *parse(struct str text, struct err *err)
{
	return settings_from_text(text, "fuzz", &conf_schema, give, NULL, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct err err = { "" };
	struct settings *s = parse(text, &err);
	struct buf once, twice;

	if (!s) {
		must(err.text[0]);
		return 0;
	}
	buf_init(&once, 0);
	buf_init(&twice, 0);
	settings_print(s, &once, true);
	settings_unref(&s);
	s = parse(buf_view(&once), &err);
	if (!s)
		die("%s", err.text);
	buf_clear(&once);
	settings_print(s, &once, false);
	settings_unref(&s);
	s = parse(buf_view(&once), &err);
	if (!s)
		die("%s", err.text);
	settings_print(s, &twice, false);
	must(str_eq(buf_view(&once), buf_view(&twice)));
	settings_unref(&s);
	buf_fini(&once);
	buf_fini(&twice);
	return 0;
}
