/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/frame.h"

#include <string.h>

#include "proxy/base/err.h"
#include "proxy/base/str.h"

/* Each session has one: it may not grow unseen. */
_Static_assert(sizeof(struct frame) <= 160, "struct frame");

enum part {
	PART_START,	/* nothing of the line was seen */
	PART_FIRST,	/* in its first word */
	PART_CR,	/* the first word was ended by CR: LF must follow */
	PART_NAME,	/* in its second word */
	PART_REST,	/* behind it; also what follows a literal */
	PART_END,	/* LF was eaten */
};

/* What the first word says about the line. */
enum form {
	FORM_EMPTY,
	FORM_TAG,	/* a tag, and something behind it */
	FORM_STAR,	/* "*" SP */
	FORM_PLUS,	/* "+" */
	FORM_LONE,	/* one word and nothing behind it */
	FORM_ODD,	/* none of these */
};

enum client {
	CLIENT_COMMAND,		/* the line is, or will be, a command's first */
	CLIENT_OPEN,		/* in a command, behind a literal */
	CLIENT_ANSWERED,	/* in a command that has its tagged response */
};

enum idle {
	IDLE_NONE,
	IDLE_SENT,	/* neither "+" nor a refusal has come */
	IDLE_ON,
};

enum word {
	WORD_OTHER,
	WORD_OK,
	WORD_NO,
	WORD_BAD,
	WORD_BYE,
	WORD_PREAUTH,
	WORD_COMMAND,	/* and from here on: + enum frame_command */
};

static const struct {
	struct str name;
	uint8_t word;
} words[] = {
	{ { "OK", 2 }, WORD_OK },
	{ { "NO", 2 }, WORD_NO },
	{ { "BAD", 3 }, WORD_BAD },
	{ { "BYE", 3 }, WORD_BYE },
	{ { "PREAUTH", 7 }, WORD_PREAUTH },
	{ { "IDLE", 4 }, WORD_COMMAND + FRAME_IDLE },
	{ { "COMPRESS", 8 }, WORD_COMMAND + FRAME_COMPRESS },
	{ { "STARTTLS", 8 }, WORD_COMMAND + FRAME_STARTTLS },
	{ { "LOGOUT", 6 }, WORD_COMMAND + FRAME_LOGOUT },
	{ { "NOTIFY", 6 }, WORD_COMMAND + FRAME_NOTIFY },
	{ { "UNAUTHENTICATE", 14 }, WORD_COMMAND + FRAME_UNAUTHENTICATE },
};

#define NAME_MAX_N 15	/* longer than all of them, with a CR behind */

/*
 * One line of either side
 */

#define HASH_START 2166136261u

/* FNV-1a. Whoever makes two tags collide confuses nobody's session but his
 * own, and gains nothing there. */
static uint32_t hash_add(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

/*
 * tag             = 1*<any ASTRING-CHAR except "+">
 * ASTRING-CHAR    = ATOM-CHAR / resp-specials
 * ATOM-CHAR       = <any CHAR except atom-specials>
 * atom-specials   = "(" / ")" / "{" / SP / CTL / list-wildcards /
 *                   quoted-specials / resp-specials
 */
static bool is_tag_char(char c)
{
	switch (c) {
	case '(': case ')': case '{': case '%': case '*': case '"':
	case '\\': case '+':
		return false;
	}
	return c > ' ' && c < 0x7f;
}

static void line_start(struct frame_line *l)
{
	l->part = PART_START;
	l->form = FORM_EMPTY;
	l->word = WORD_OTHER;
	l->name_n = 0;
	l->tail_n = 0;
	l->literal = 0;
}

/* The line goes on behind a literal. Form and first word stay: they say what
 * the whole of it is. */
static void line_go_on(struct frame_line *l, uint64_t literal)
{
	l->part = PART_REST;
	l->tail_n = 0;
	l->literal = literal;
}

static void tail_add(struct frame_line *l, const char *p, size_t n)
{
	if (n >= FRAME_TAIL) {
		memcpy(l->tail, p + n - FRAME_TAIL, FRAME_TAIL);
		l->tail_n = FRAME_TAIL;
		return;
	}
	size_t keep = FRAME_TAIL - n;
	if (keep > l->tail_n)
		keep = l->tail_n;
	else
		memmove(l->tail, l->tail + l->tail_n - keep, keep);
	memcpy(l->tail + keep, p, n);
	l->tail_n = (uint8_t)(keep + n);
}

/* The second word is complete and stands at the end of the tail. */
static void name_end(struct frame_line *l)
{
	if (l->name_n > NAME_MAX_N)
		return;
	struct str name = { l->tail + l->tail_n - l->name_n, l->name_n };
	if (name.n && name.p[name.n - 1] == '\r')
		name.n--;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (str_ieq(name, words[i].name)) {
			l->word = words[i].word;
			return;
		}
	}
}

static void first_char(struct frame_line *l, char c)
{
	l->part = PART_FIRST;
	l->tag = hash_add(HASH_START, c);
	switch (c) {
	case '\r':
		l->part = PART_CR;
		return;
	case '*':
		l->form = FORM_STAR;
		return;
	case '+':
		l->form = FORM_PLUS;
		return;
	}
	l->form = is_tag_char(c) ? FORM_TAG : FORM_ODD;
}

static void next_char(struct frame_line *l, char c)
{
	if (c == ' ') {
		l->part = PART_NAME;
	} else if (c == '\r') {
		l->part = PART_CR;
	} else {
		l->tag = hash_add(l->tag, c);
		if (l->form == FORM_STAR || !is_tag_char(c))
			l->form = l->form == FORM_PLUS ? FORM_PLUS : FORM_ODD;
	}
}

/* The first two words, byte by byte. Returns what was eaten: n, or up to the
 * end of the second word, or the line. */
static size_t take_words(struct frame_line *l, const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && l->part != PART_REST; i++) {
		char c = p[i];
		if (c == '\n')
			break;
		switch ((enum part)l->part) {
		case PART_START:
			first_char(l, c);
			break;
		case PART_FIRST:
			next_char(l, c);
			break;
		case PART_CR:
			l->form = FORM_ODD;
			l->part = PART_REST;
			break;
		case PART_NAME:
			if (c == ' ')
				goto name;
			l->name_n += l->name_n <= NAME_MAX_N;
			break;
		case PART_REST:
		case PART_END:
			break;
		}
	}
name:
	tail_add(l, p, i);
	if (i == n || l->part == PART_REST)
		return i;
	if (l->part == PART_NAME)
		name_end(l);
	else if (l->form == FORM_TAG)
		l->form = FORM_LONE;
	else if (l->form == FORM_STAR)
		l->form = FORM_ODD;
	l->part = p[i] == '\n' ? PART_END : PART_REST;
	return p[i] == '\n' ? i + 1 : i;
}

/* Eats up to the end of the line, and says so by PART_END. */
static size_t take_line(struct frame_line *l, const char *p, size_t n)
{
	size_t used = 0;

	if (l->part != PART_REST)
		used = take_words(l, p, n);
	if (l->part != PART_REST || used == n)
		return used;
	p += used;
	n -= used;
	const char *lf = memchr(p, '\n', n);
	if (!lf) {
		tail_add(l, p, n);
		return used + n;
	}
	tail_add(l, p, (size_t)(lf - p));
	l->part = PART_END;
	return used + (size_t)(lf - p) + 1;
}

enum announced {
	ANNOUNCED_NONE,
	ANNOUNCED_SYNC,		/* {n}: the client waits for "+" */
	ANNOUNCED_NONSYNC,	/* {n+} */
	ANNOUNCED_BAD,		/* a length beyond all sense */
};

/*
 * literal         = "{" number64 ["+"] "}" CRLF *CHAR8
 * literal8        = "~{" number64 ["+"] "}" CRLF *OCTET
 * number64        = 1*DIGIT	; 0 <= n <= 9,223,372,036,854,775,807
 *
 * A quoted string holds no CR and no LF, so "}" at the end of a line is
 * never in one.
 */
static enum announced announced(const struct frame_line *l, uint64_t *n_out)
{
	const char *p = l->tail;
	size_t i = l->tail_n;

	i -= i && p[i - 1] == '\r';
	if (i == 0 || p[i - 1] != '}')
		return ANNOUNCED_NONE;
	i--;
	bool has_plus = i && p[i - 1] == '+';
	i -= has_plus;
	size_t end = i;
	while (i && p[i - 1] >= '0' && p[i - 1] <= '9')
		i--;
	if (i == 0)
		return l->tail_n == FRAME_TAIL ? ANNOUNCED_BAD : ANNOUNCED_NONE;
	if (p[i - 1] != '{' || i == end)
		return ANNOUNCED_NONE;
	if (end - i > 19)
		return ANNOUNCED_BAD;
	*n_out = 0;
	for (; i < end; i++)
		*n_out = *n_out * 10 + (uint64_t)(p[i] - '0');
	if (*n_out > INT64_MAX)
		return ANNOUNCED_BAD;
	return has_plus ? ANNOUNCED_NONSYNC : ANNOUNCED_SYNC;
}

/*
 * Commands in flight
 */

static struct frame_entry *entry_find(struct frame *f, uint32_t tag)
{
	for (size_t i = 0; i < f->n_entries; i++) {
		if (f->entry[i].tag == tag)
			return &f->entry[i];
	}
	return NULL;
}

/* The entry of the command that the client is sending: always the youngest.
 * NULL when there was no room for it. */
static struct frame_entry *entry_open(struct frame *f)
{
	struct frame_entry *e = f->entry + f->n_entries;

	return f->n_entries && e[-1].is_open ? e - 1 : NULL;
}

static void entry_remove(struct frame *f, struct frame_entry *e)
{
	struct frame_entry *end = f->entry + f->n_entries;

	memmove(e, e + 1, (size_t)((char *)end - (char *)(e + 1)));
	f->n_entries--;
}

static void entry_owe(struct frame *f, struct frame_entry *e)
{
	if (!e)
		return;
	if (e->owed == UINT8_MAX)
		f->is_opaque = true;
	else
		e->owed++;
}

/*
 * The client's lines
 */

static void command_start(struct frame *f, const struct frame_line *l)
{
	enum frame_command command = FRAME_OTHER;

	if (l->word > WORD_COMMAND)
		command = (enum frame_command)(l->word - WORD_COMMAND);
	f->seen |= (uint16_t)(1u << command);
	f->client = CLIENT_OPEN;
	if (f->n_entries < FRAME_COMMANDS) {
		f->entry[f->n_entries++] = (struct frame_entry){
			.tag = l->tag, .command = (uint8_t)command,
			.is_open = true,
		};
		return;
	}
	/* these change what comes next, and cannot be only counted */
	if (command == FRAME_IDLE || command == FRAME_COMPRESS ||
	    command == FRAME_STARTTLS || f->n_more == UINT32_MAX)
		f->is_opaque = true;
	f->n_more++;
}

static void command_end(struct frame *f)
{
	struct frame_entry *e = entry_open(f);

	f->client = CLIENT_COMMAND;
	line_start(&f->line[FRAME_CLIENT]);
	if (!e)
		return;
	e->is_open = false;
	if (e->command == FRAME_IDLE) {
		entry_owe(f, e);
		f->idle = IDLE_SENT;
	}
}

static bool is_done(const struct frame_line *l)
{
	static const char done[] = "DONE\r";

	return l->form == FORM_LONE && (l->tail_n == 4 || l->tail_n == 5) &&
	    strncasecmp(l->tail, done, l->tail_n) == 0;
}

/* The line behind an IDLE. After "+" it ends the IDLE whatever it says. A
 * DONE may come sooner, and if the IDLE is then refused it is a bad command
 * by itself: "DONE BAD ...". Anything else sooner is a command or the end of
 * the IDLE, and only the backend knows which. */
static void idle_line(struct frame *f, struct frame_line *l)
{
	if (f->idle == IDLE_SENT) {
		if (!is_done(l)) {
			f->is_opaque = true;
			return;
		}
		f->stray = l->tag;
	}
	f->idle = IDLE_NONE;
	for (size_t i = 0; i < f->n_entries; i++) {
		if (f->entry[i].command == FRAME_IDLE)
			f->entry[i].command = FRAME_IDLE_DONE;
	}
	line_start(l);
}

/* A first line without tag and command: a DONE that crossed the end of its
 * IDLE, the base64 of a refused AUTHENTICATE, or noise. The backend may
 * answer with the word as tag, or untagged, or not. */
static void stray_line(struct frame *f, struct frame_line *l)
{
	uint64_t n;

	if (l->form != FORM_EMPTY)
		f->stray = l->tag;
	if (announced(l, &n) != ANNOUNCED_NONE)
		f->is_opaque = true;
	line_start(l);
}

static void client_line(struct frame *f)
{
	struct frame_line *l = &f->line[FRAME_CLIENT];
	uint64_t n = 0;

	if (f->client == CLIENT_COMMAND) {
		if (f->idle != IDLE_NONE) {
			idle_line(f, l);
			return;
		}
		if (l->form != FORM_TAG) {
			stray_line(f, l);
			return;
		}
		command_start(f, l);
	}
	switch (announced(l, &n)) {
	case ANNOUNCED_NONE:
		command_end(f);
		break;
	case ANNOUNCED_SYNC:
		/* refused before it was announced: it will not be sent */
		if (f->client == CLIENT_ANSWERED) {
			command_end(f);
			break;
		}
		entry_owe(f, entry_open(f));
		f->is_pending = true;
		line_go_on(l, n);
		break;
	case ANNOUNCED_NONSYNC:
		line_go_on(l, n);
		break;
	case ANNOUNCED_BAD:
		f->is_opaque = true;
		break;
	}
}

/* The client sends on without "+". That is well if the backend then says
 * "+"; if it refuses instead, nobody knows what it takes the bytes for. */
static void client_hurries(struct frame *f)
{
	f->is_pending = false;
	if (!entry_open(f))
		f->is_opaque = true;
}

/*
 * The backend's lines
 */

/* continue-req    = "+" SP (resp-text / base64) CRLF
 *
 * Commands are answered in order where "+" is concerned: the oldest that
 * waits gets it. */
static void continue_line(struct frame *f)
{
	for (size_t i = 0; i < f->n_entries; i++) {
		struct frame_entry *e = &f->entry[i];
		if (e->owed == 0)
			continue;
		e->owed--;
		if (e->is_open && e->owed == 0)
			f->is_pending = false;
		if (!e->is_open && e->command == FRAME_IDLE)
			f->idle = IDLE_ON;
		return;
	}
	f->is_pending = false;
}

/* The command that the client is still sending was answered. */
static void client_answered(struct frame *f)
{
	f->client = CLIENT_ANSWERED;
	if (f->is_pending) {
		f->is_pending = false;
		f->client = CLIENT_COMMAND;
		line_start(&f->line[FRAME_CLIENT]);
	}
}

static void entry_answered(struct frame *f, struct frame_entry *e, bool is_ok)
{
	switch ((enum frame_command)e->command) {
	case FRAME_IDLE:
		f->idle = IDLE_NONE;
		break;
	case FRAME_IDLE_DONE:
		break;
	case FRAME_COMPRESS:
	case FRAME_STARTTLS:
		if (is_ok)
			f->is_opaque = true;
		/* fallthrough */
	case FRAME_OTHER:
	case FRAME_LOGOUT:
	case FRAME_NOTIFY:
	case FRAME_UNAUTHENTICATE:
		/* a literal was sent that nobody had asked for */
		if (e->owed > (e->is_open && f->is_pending))
			f->is_opaque = true;
		break;
	}
	if (e->is_open)
		client_answered(f);
	entry_remove(f, e);
}

/* response-tagged = tag SP ("OK" / "NO" / "BAD") SP resp-text CRLF */
static void tagged_line(struct frame *f, const struct frame_line *l)
{
	const struct frame_line *client = &f->line[FRAME_CLIENT];
	struct frame_entry *e = entry_find(f, l->tag);

	if (l->word != WORD_OK && l->word != WORD_NO && l->word != WORD_BAD) {
		f->is_opaque = true;
	} else if (e) {
		entry_answered(f, e, l->word == WORD_OK);
	} else if (f->n_more) {
		f->n_more--;
		if (f->client == CLIENT_OPEN && !entry_open(f) &&
		    client->tag == l->tag)
			client_answered(f);
	} else if (f->client == CLIENT_COMMAND && client->tag == l->tag &&
	    (client->part == PART_NAME || client->part == PART_REST)) {
		/* too long for the backend, which did not wait for its end */
		f->client = CLIENT_ANSWERED;
	} else if (f->stray != l->tag) {
		f->is_opaque = true;
	}
}

static void backend_line(struct frame *f)
{
	struct frame_line *l = &f->line[FRAME_BACKEND];
	uint64_t n = 0;

	switch ((enum form)l->form) {
	case FORM_STAR:
		/* resp-cond-state, -bye and -auth end with text for people,
		 * which may look like anything */
		if (l->word == WORD_BYE)
			f->bye_seen = true;
		if (l->word != WORD_OTHER && l->word < WORD_COMMAND)
			break;
		switch (announced(l, &n)) {
		case ANNOUNCED_NONE:
			break;
		case ANNOUNCED_SYNC:
		case ANNOUNCED_NONSYNC:
			line_go_on(l, n);
			return;
		case ANNOUNCED_BAD:
			f->is_opaque = true;
			return;
		}
		break;
	case FORM_PLUS:
		continue_line(f);
		break;
	case FORM_TAG:
		tagged_line(f, l);
		break;
	case FORM_EMPTY:
	case FORM_LONE:
	case FORM_ODD:
		f->is_opaque = true;
		break;
	}
	line_start(l);
}

/*
 * The interface
 */

void frame_init(struct frame *f)
{
	*f = (struct frame){ 0 };
}

void frame_feed(struct frame *f, enum frame_side side, const char *p,
    size_t n)
{
	struct frame_line *l = &f->line[side];

	while (n && !f->is_opaque) {
		size_t used;
		if (side == FRAME_CLIENT && f->is_pending)
			client_hurries(f);
		if (l->literal) {
			used = l->literal < n ? (size_t)l->literal : n;
			l->literal -= used;
		} else {
			used = take_line(l, p, n);
			if (l->part != PART_END)
				return;
			if (side == FRAME_CLIENT)
				client_line(f);
			else
				backend_line(f);
		}
		p += used;
		n -= used;
	}
}

uint64_t frame_literal_left(const struct frame *f, enum frame_side side)
{
	/* what it is, the backend's answer may change */
	if (f->is_opaque || (side == FRAME_CLIENT && f->is_pending))
		return 0;
	return f->line[side].literal;
}

void frame_pass(struct frame *f, enum frame_side side, uint64_t n)
{
	must(n <= f->line[side].literal);
	f->line[side].literal -= n;
}

bool frame_at_line_start(const struct frame *f, enum frame_side side)
{
	if (f->is_opaque || f->line[side].part != PART_START)
		return false;
	return side == FRAME_BACKEND || f->client == CLIENT_COMMAND;
}

bool frame_is_safe(const struct frame *f)
{
	size_t idle = f->idle == IDLE_ON;

	return frame_at_line_start(f, FRAME_CLIENT) &&
	    frame_at_line_start(f, FRAME_BACKEND) &&
	    frame_in_flight(f) == idle;
}

bool frame_can_bye(const struct frame *f)
{
	return frame_at_line_start(f, FRAME_BACKEND);
}

bool frame_is_opaque(const struct frame *f)
{
	return f->is_opaque;
}

bool frame_in_idle(const struct frame *f)
{
	return !f->is_opaque && f->idle == IDLE_ON;
}

bool frame_has_seen(const struct frame *f, enum frame_command command)
{
	return f->seen & (1u << command);
}

bool frame_logout_seen(const struct frame *f)
{
	return frame_has_seen(f, FRAME_LOGOUT);
}

bool frame_bye_seen(const struct frame *f)
{
	return f->bye_seen;
}

size_t frame_in_flight(const struct frame *f)
{
	return f->n_entries + (size_t)f->n_more;
}
