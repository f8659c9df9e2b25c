/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/bundle.h"

#include <stdlib.h>
#include <utlist.h>

#include "proxy/base/mem.h"
#include "proxy/base/settings.h"
#include "proxy/ipc.h"

struct file {
	struct file *next;
	char *path;
	struct str data;
};

struct bundle {
	uint64_t generation;
	struct str text;
	struct file *files;
};

static struct str copy(struct str s)
{
	return (struct str){ mem_str(s), s.n };
}

static void wipe(struct str *s)
{
	char *p = (char *)(uintptr_t)s->p;

	if (p)
		mem_wipe(p, s->n);
	free(p);
	*s = STR_NONE;
}

struct bundle *bundle_new(void)
{
	return mem_alloc(sizeof(struct bundle));
}

void bundle_free(struct bundle **bp)
{
	struct bundle *b = *bp;
	struct file *f, *next;

	if (!b)
		return;
	*bp = NULL;
	LL_FOREACH_SAFE(b->files, f, next) {
		wipe(&f->data);
		free(f->path);
		free(f);
	}
	wipe(&b->text);
	free(b);
}

void bundle_add_file(struct bundle *b, struct str path, struct str data)
{
	struct file *f = mem_alloc(sizeof *f);

	f->path = mem_str(path);
	f->data = copy(data);
	LL_PREPEND(b->files, f);
}

void bundle_set_text(struct bundle *b, uint64_t generation, struct str text)
{
	wipe(&b->text);
	b->generation = generation;
	b->text = copy(text);
}

uint64_t bundle_generation(const struct bundle *b)
{
	return b->generation;
}

static bool find_file(void *arg, const char *path, struct str *data_out)
{
	const struct bundle *b = arg;
	const struct file *f;

	LL_FOREACH(b->files, f) {
		if (strcmp(f->path, path) != 0)
			continue;
		*data_out = f->data;
		return true;
	}
	return false;
}

struct settings *bundle_settings(const struct bundle *b,
    const struct settings_schema *schema, struct err *err)
{
	return settings_from_text(b->text, "proxy.conf", schema, find_file,
	    (void *)(uintptr_t)b, err);
}

void bundle_send(const struct bundle *b, struct link *to)
{
	const struct file *f;

	LL_FOREACH(b->files, f)
		link_send_file(to, &(struct msg_file){
		    .path = str_from(f->path), .data = f->data });
	link_send_settings(to, &(struct msg_settings){
	    .generation = b->generation, .text = b->text });
}
