/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/request.h"

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/user.h"

/* --- words ----------------------------------------------------------------- */

struct reader {
	struct str rest;
	char *out;
	struct request *request;
};

/* From behind the opening quote to behind the closing one. */
static bool read_quoted(struct reader *in, struct err *err)
{
	while (in->rest.n) {
		char c = *in->rest.p;

		in->rest = str_skip(in->rest, 1);
		if (c == '"')
			return true;
		if (c == '\\') {
			if (!in->rest.n ||
			    (*in->rest.p != '"' && *in->rest.p != '\\'))
				return err_set(err, "a \\ in quotes; expected "
				    "\\\" or \\\\");
			c = *in->rest.p;
			in->rest = str_skip(in->rest, 1);
		}
		*in->out++ = c;
	}
	return err_set(err, "a quote is not closed; expected \" at the word's "
	    "end");
}

static bool read_bare(struct reader *in, struct err *err)
{
	while (in->rest.n && *in->rest.p != ' ') {
		if (*in->rest.p == '"' || *in->rest.p == '\\')
			return err_set(err, "a %c in a word without quotes; "
			    "expected \"...\" around the word, with \\ before "
			    "it", *in->rest.p);
		*in->out++ = *in->rest.p;
		in->rest = str_skip(in->rest, 1);
	}
	return true;
}

static bool add_word(struct request *r, struct str word, bool is_quoted,
    struct err *err)
{
	if (!is_quoted && str_eq(word, STR("--json"))) {
		r->wants_json = true;
	} else if (!r->verb.p) {
		r->verb = word;
	} else if (r->n_words == REQUEST_WORDS_MAX) {
		return err_set(err, "more than %d arguments",
		    REQUEST_WORDS_MAX);
	} else {
		r->words[r->n_words].text = word;
		r->words[r->n_words++].is_quoted = is_quoted;
	}
	return true;
}

static bool read_word(struct reader *in, struct err *err)
{
	struct str word = { in->out, 0 };
	bool is_quoted = *in->rest.p == '"';

	if (is_quoted) {
		in->rest = str_skip(in->rest, 1);
		if (!read_quoted(in, err))
			return false;
		if (in->rest.n && *in->rest.p != ' ')
			return err_set(err, "a closing quote inside a word; "
			    "expected a space behind it");
	} else if (!read_bare(in, err)) {
		return false;
	}
	word.n = (size_t)(in->out - word.p);
	return add_word(in->request, word, is_quoted, err);
}

bool request_parse(struct request *r, struct str line, struct err *err)
{
	struct reader in = { .rest = line, .out = r->text, .request = r };

	r->verb = STR_NONE;
	r->wants_json = false;
	r->n_words = r->n_values = 0;
	if (line.n > REQUEST_LINE_MAX)
		return err_set(err, "a line of more than %d bytes",
		    REQUEST_LINE_MAX);
	if (!user_is_text(line))
		return err_set(err, "expected a line of UTF-8 without control "
		    "characters");
	while (in.rest.n) {
		if (*in.rest.p == ' ')
			in.rest = str_skip(in.rest, 1);
		else if (!read_word(&in, err))
			return false;
	}
	return true;
}

/* --- what a verb takes ------------------------------------------------------- */

/* "[USER | --backend NAME]" and the like, one after the other. */
struct group {
	struct str alternatives;	/* "USER | --backend NAME" */
	bool is_optional;
};

static struct str trim(struct str s)
{
	while (s.n && *s.p == ' ')
		s = str_skip(s, 1);
	while (s.n && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

/* Words up to the next group: outside of brackets a group is one alternative
 * unless "|" goes on with it; an option takes its value along. */
static size_t plain_group(struct str s)
{
	size_t at = 0;
	bool goes_on = true, is_option = false;

	while (at < s.n && s.p[at] != '[') {
		struct str ignored, rest = str_skip(s, at);
		struct str word = str_split(rest, ' ', &ignored);
		bool is_bar = str_eq(word, STR("|"));
		if (word.n && !is_bar && !goes_on && !is_option)
			break;
		if (word.n) {
			is_option = !is_bar && str_starts(word, STR("--"));
			goes_on = is_bar;
		}
		at += word.n + (word.n < rest.n);
	}
	return at;
}

static bool next_group(struct str *takes, struct group *out)
{
	*takes = trim(*takes);
	if (!takes->n)
		return false;
	out->is_optional = *takes->p == '[';
	if (out->is_optional) {
		out->alternatives = trim(str_split(str_skip(*takes, 1), ']',
		    takes));
	} else {
		size_t n = plain_group(*takes);
		out->alternatives = trim((struct str){ takes->p, n });
		*takes = str_skip(*takes, n);
	}
	return true;
}

/* "--backend NAME" is "--backend", and takes a value. */
static struct str next_alternative(struct str *rest, bool *has_value_out)
{
	struct str value;
	struct str name = str_split(trim(str_split(*rest, '|', rest)), ' ',
	    &value);

	*has_value_out = value.n > 0 || !str_starts(name, STR("--"));
	return name;
}

static bool has(const struct request *r, struct str name)
{
	for (unsigned i = 0; i < r->n_values; i++)
		if (str_eq(r->values[i].name, name))
			return true;
	return false;
}

static unsigned count_given(const struct request *r, const struct group *g)
{
	struct str rest = g->alternatives;
	bool has_value;
	unsigned n = 0;

	while (rest.n)
		n += has(r, next_alternative(&rest, &has_value));
	return n;
}

/* The option of that name; else false. */
static bool find_option(struct str takes, struct str word, bool *has_value_out)
{
	struct group g;

	while (next_group(&takes, &g)) {
		struct str rest = g.alternatives;
		while (rest.n)
			if (str_eq(next_alternative(&rest, has_value_out),
			    word))
				return true;
	}
	return false;
}

/* The first argument by position that nothing was given for yet. */
static struct str next_position(const struct request *r, struct str takes)
{
	struct group g;
	bool has_value;

	while (next_group(&takes, &g)) {
		struct str rest = g.alternatives;
		while (rest.n) {
			struct str name = next_alternative(&rest, &has_value);
			if (!str_starts(name, STR("--")) && !has(r, name))
				return name;
		}
	}
	return STR_NONE;
}

static bool refuse(const struct request *r, const char *takes,
    struct err *err, const char *what, struct str word)
{
	return err_set(err, "%.*s: %s%.*s; expected: %.*s %s",
	    STR_ARG(r->verb), what, (int)(word.n > 80 ? 80 : word.n),
	    word.n ? word.p : "", STR_ARG(r->verb),
	    takes[0] ? takes : "(no argument)");
}

static bool give(struct request *r, struct str name, struct str value,
    const char *takes, struct err *err)
{
	if (has(r, name))
		return refuse(r, takes, err, "given twice: ", name);
	if (r->n_values == REQUEST_VALUES_MAX)
		return refuse(r, takes, err, "too many arguments", STR_NONE);
	r->values[r->n_values].name = name;
	r->values[r->n_values++].value = value;
	return true;
}

static bool match_words(struct request *r, const char *takes, struct err *err)
{
	for (unsigned i = 0; i < r->n_words; i++) {
		struct str word = r->words[i].text, value = STR_NONE;
		struct str name = word;
		bool is_option = !r->words[i].is_quoted &&
		    str_starts(word, STR("--")), has_value;

		if (is_option && !find_option(str_from(takes), word,
		    &has_value))
			return refuse(r, takes, err, "unknown option ", word);
		if (is_option && has_value) {
			if (++i == r->n_words)
				return refuse(r, takes, err,
				    "no value behind ", word);
			value = r->words[i].text;
		} else if (!is_option) {
			name = next_position(r, str_from(takes));
			value = word;
			if (!name.n)
				return refuse(r, takes, err,
				    "one argument too many: ", word);
		}
		if (!give(r, name, value, takes, err))
			return false;
	}
	return true;
}

bool request_match(struct request *r, const char *takes, struct err *err)
{
	struct str rest = str_from(takes);
	struct group g;

	r->n_values = 0;
	if (!match_words(r, takes, err))
		return false;
	while (next_group(&rest, &g)) {
		unsigned n = count_given(r, &g);
		if (n > 1)
			return refuse(r, takes, err, "only one can be given "
			    "of: ", g.alternatives);
		if (n == 0 && !g.is_optional)
			return refuse(r, takes, err, "missing: ",
			    g.alternatives);
	}
	return true;
}

/* --- values -------------------------------------------------------------------- */

bool request_has(const struct request *r, const char *name)
{
	return has(r, str_from(name));
}

struct str request_value(const struct request *r, const char *name)
{
	for (unsigned i = 0; i < r->n_values; i++)
		if (str_eq(r->values[i].name, str_from(name)))
			return r->values[i].value;
	return STR_NONE;
}

/* The digits at the front; false: none, or too many. */
static bool read_number(struct str *s, uint64_t *out)
{
	size_t n = 0;

	*out = 0;
	for (; s->n && *s->p >= '0' && *s->p <= '9'; n++) {
		*out = *out * 10 + (uint64_t)(*s->p - '0');
		*s = str_skip(*s, 1);
	}
	return n > 0 && n < 19;
}

bool request_number(const struct request *r, const char *name, uint64_t min,
    uint64_t max, uint64_t *out, struct err *err)
{
	struct str value = request_value(r, name), rest = value;

	if (read_number(&rest, out) && !rest.n && *out >= min && *out <= max)
		return true;
	return err_set(err, "%s: \"%.*s\"; expected a number from %ju to %ju",
	    name, (int)(value.n > 40 ? 40 : value.n), value.n ? value.p : "",
	    (uintmax_t)min, (uintmax_t)max);
}

bool request_duration(const struct request *r, const char *name,
    uint64_t *ms_out, struct err *err)
{
	static const struct {
		const char *word;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 },
	};
	struct str value = request_value(r, name), rest = value;

	if (read_number(&rest, ms_out)) {
		if (*ms_out == 0 && !rest.n)
			return true;
		for (size_t i = 0; i < sizeof units / sizeof *units; i++)
			if (str_eq(rest, str_from(units[i].word)) &&
			    *ms_out <= 86400000 / units[i].ms) {
				*ms_out *= units[i].ms;
				return true;
			}
	}
	return err_set(err, "%s: \"%.*s\"; expected a duration with ms, s, m, "
	    "h or d, of one day at most", name,
	    (int)(value.n > 40 ? 40 : value.n), value.n ? value.p : "");
}

/* --- writing -------------------------------------------------------------------- */

void request_quote(struct buf *out, struct str word)
{
	bool is_bare = word.n > 0 && !str_starts(word, STR("--"));

	for (size_t i = 0; i < word.n; i++)
		if (strchr(" \"\\", word.p[i]))
			is_bare = false;
	if (is_bare) {
		buf_str(out, word);
		return;
	}
	buf_puts(out, "\"");
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] == '"' || word.p[i] == '\\')
			buf_puts(out, "\\");
		buf_append(out, &word.p[i], 1);
	}
	buf_puts(out, "\"");
}

/* --- what may have been meant ------------------------------------------------------ */

#define NEAR_LENGTH_MAX 32
#define NEAR_EDITS_MAX 2

/* How many letters must be added, dropped or changed to make b of a. */
static unsigned edits(struct str a, struct str b)
{
	unsigned row[NEAR_LENGTH_MAX + 1];

	if (a.n > NEAR_LENGTH_MAX || b.n > NEAR_LENGTH_MAX)
		return NEAR_LENGTH_MAX;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned best = diagonal +
			    (a.p[i - 1] != b.p[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b.n];
}

struct str request_nearer(struct str word, struct str a, struct str b)
{
	unsigned to_a = a.n ? edits(word, a) : NEAR_LENGTH_MAX;
	unsigned to_b = b.n ? edits(word, b) : NEAR_LENGTH_MAX;

	if (to_b < to_a) {
		a = b;
		to_a = to_b;
	}
	return to_a <= NEAR_EDITS_MAX && to_a < word.n ? a : STR_NONE;
}
