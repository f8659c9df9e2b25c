/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/names.h"

#include <stdio.h>
#include <stdlib.h>

#include "backends/keep.h"
#include "backends/resolve.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/settings.h"

#define KEY_MAX 12
#define WORDS_MAX (KEEP_RECORDS_MAX / 2)	/* the operator needs room, too */

struct update {
	struct resolve *resolve;
	struct keep *keep;
	bool is_all_told;	/* no more names can come of SRV records */
	size_t n_words;
	char *unwatched;	/* one of those; NULL: there is none */
};

static const char *key_of(size_t i, char to[KEY_MAX])
{
	snprintf(to, KEY_MAX, "%u", (unsigned)i);
	return to;
}

static struct str find_word(const struct keep *k, struct str host, size_t i)
{
	char key[KEY_MAX];

	return keep_get(k, KEEP_NAME, host, key_of(i, key));
}

static void recall(const struct keep *k, struct resolve_name *n)
{
	struct str host = str_from(resolve_host(n));
	struct str words[RESOLVE_WORDS_MAX];
	size_t n_words = 0;

	while (n_words < RESOLVE_WORDS_MAX &&
	    (words[n_words] = find_word(k, host, n_words)).p)
		n_words++;
	resolve_recall(n, words, n_words);
}

/* All of it or nothing: who is left out of a record would seem to be gone. */
static void store(struct keep *k, const struct resolve_name *n)
{
	struct str host = str_from(resolve_host(n));
	char key[KEY_MAX], word[RESOLVE_WORD_MAX];
	size_t i, n_words = resolve_n_words(n);
	struct err err;

	for (i = 0; i < n_words; i++) {
		if (keep_set(k, KEEP_NAME, host, key_of(i, key),
		    str_from(resolve_word(n, i, word)), &err))
			continue;
		keep_drop(k, KEEP_NAME, host, NULL);
		return;
	}
	for (; find_word(k, host, i).p; i++)
		keep_drop(k, KEEP_NAME, host, key_of(i, key));
}

static void update(void *arg, struct resolve_name *n)
{
	struct update *u = arg;
	bool is_fresh = resolve_is_fresh(n);

	u->n_words += resolve_n_words(n);
	if (resolve_take_news(n)) {
		if (!is_fresh)
			recall(u->keep, n);
		else if (u->n_words <= WORDS_MAX)
			store(u->keep, n);
	}
	if (str_starts(str_from(resolve_host(n)), STR(SETTINGS_SRV_MARK)))
		u->is_all_told &= is_fresh;
}

static void find_unwatched(void *arg, struct str name, const char *key,
    struct str value)
{
	struct update *u = arg;

	(void)key;
	(void)value;
	if (!u->unwatched && !resolve_find(u->resolve, name))
		u->unwatched = mem_str(name);
}

void names_update(struct resolve *r, struct keep *k)
{
	struct update u = { .resolve = r, .keep = k, .is_all_told = true };

	resolve_visit(r, update, &u);
	while (u.is_all_told) {
		keep_visit(k, KEEP_NAME, find_unwatched, &u);
		if (!u.unwatched)
			break;
		keep_drop(k, KEEP_NAME, str_from(u.unwatched), NULL);
		free(u.unwatched);
		u.unwatched = NULL;
	}
}
