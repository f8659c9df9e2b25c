/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/bundle.h"

#include <stdlib.h>
#include <utlist.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/settings.h"
#include "proxy/ipc.h"

struct file {
	struct file *next;
	char *path, *data;
	size_t n;
};

struct bundle {
	struct file *files;
};

/* --- out --------------------------------------------------------------------- */

struct receiver {
	struct link *link;
	enum bundle_for whom;
};

static void send_file(void *arg, const struct settings_file *f, bool is_secret)
{
	const struct receiver *to = arg;

	if (!is_secret || to->whom == BUNDLE_FOR_CONTROL)
		link_send_file(to->link, &(struct msg_file){
		    .path = str_from(f->path), .data = f->data });
}

void bundle_send(const struct settings *settings, uint64_t generation,
    enum bundle_for whom, struct link *to)
{
	struct receiver receiver = { to, whom };
	struct buf text;

	buf_init(&text, 0);
	settings_print(settings, &text, false);
	settings_files(settings, send_file, &receiver);
	link_send_settings(to, &(struct msg_settings){
	    .generation = generation, .text = buf_view(&text) });
	buf_fini(&text);
}

/* --- in ---------------------------------------------------------------------- */

struct bundle *bundle_new(void)
{
	return mem_alloc(sizeof(struct bundle));
}

void bundle_empty(struct bundle *b)
{
	struct file *f, *next;

	LL_FOREACH_SAFE(b->files, f, next) {
		mem_wipe(f->data, f->n);
		free(f->data);
		free(f->path);
		free(f);
	}
	b->files = NULL;
}

void bundle_free(struct bundle **b)
{
	if (!*b)
		return;
	bundle_empty(*b);
	free(*b);
	*b = NULL;
}

void bundle_take_file(struct bundle *b, const struct msg_file *m)
{
	struct file *f = mem_alloc(sizeof *f);

	f->path = mem_str(m->path);
	f->data = mem_str(m->data);
	f->n = m->data.n;
	LL_PREPEND(b->files, f);
}

static bool find_file(void *arg, const char *path, struct str *data_out)
{
	const struct bundle *b = arg;
	const struct file *f;

	LL_FOREACH(b->files, f) {
		if (strcmp(f->path, path) != 0)
			continue;
		*data_out = (struct str){ f->data, f->n };
		return true;
	}
	return false;
}

struct settings *bundle_take_settings(struct bundle *b,
    const struct msg_settings *m, const struct settings_schema *schema,
    struct err *err)
{
	struct settings *s = settings_from_text(m->text, "proxy.conf", schema,
	    find_file, b, err);

	bundle_empty(b);
	return s;
}
