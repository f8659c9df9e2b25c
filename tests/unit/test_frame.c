/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * A test is a dialogue: each step is what one side sent, and the places the
 * frame must know behind it, as letters (places() below). Every dialogue runs
 * whole, byte by byte, and cut at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/base/str.h"
#include "proxy/frame.h"

struct step {
	enum frame_side side;
	struct str bytes;
	const char *places;
};

#define C(text, places) { FRAME_CLIENT, { text, sizeof(text) - 1 }, places }
#define S(text, places) { FRAME_BACKEND, { text, sizeof(text) - 1 }, places }

/* c, b: at a line start; s: safe; i: in IDLE; o: opaque; l: LOGOUT, y: BYE
 * was seen; and the number of commands in flight. */
static const char *places(const struct frame *f)
{
	static char text[32];
	int n = 0;

	if (frame_at_line_start(f, FRAME_CLIENT))
		text[n++] = 'c';
	if (frame_at_line_start(f, FRAME_BACKEND))
		text[n++] = 'b';
	if (frame_is_safe(f))
		text[n++] = 's';
	if (frame_in_idle(f))
		text[n++] = 'i';
	if (frame_is_opaque(f))
		text[n++] = 'o';
	if (frame_logout_seen(f))
		text[n++] = 'l';
	if (frame_bye_seen(f))
		text[n++] = 'y';
	sprintf(text + n, "%zu", frame_in_flight(f));
	assert_true(frame_can_bye(f) ==
	    frame_at_line_start(f, FRAME_BACKEND));
	return text;
}

/* Shows the frame up to k bytes, or passes it by with those of a literal;
 * returns how many. */
static size_t feed(struct frame *f, const struct step *step, struct str left,
    size_t k, bool passes_literals)
{
	uint64_t literal = frame_literal_left(f, step->side);

	if (!passes_literals || literal == 0) {
		frame_feed(f, step->side, left.p, k);
		return k;
	}
	if (literal < k)
		k = (size_t)literal;
	frame_pass(f, step->side, k);
	return k;
}

/* most: 0 for whole steps; 1 for single bytes; else chunks of 1 to most. */
static void run_split(const char *name, const struct step *steps, size_t n,
    size_t most, bool passes_literals)
{
	struct frame f;

	frame_init(&f);
	for (size_t i = 0; i < n; i++) {
		struct str left = steps[i].bytes;
		while (left.n) {
			size_t k = most == 0 ? left.n :
			    1 + (size_t)rand() % most;
			k = k < left.n ? k : left.n;
			left = str_skip(left, feed(&f, &steps[i], left, k,
			    passes_literals));
		}
		const char *got = places(&f);
		/* the number in flight is beside the point once opaque */
		bool same = frame_is_opaque(&f)
		    ? strchr(steps[i].places, 'o') != NULL
		    : strcmp(got, steps[i].places) == 0;
		if (!same)
			fail_msg("%s, step %zu, chunks to %zu: %s, not %s",
			    name, i, most, got, steps[i].places);
	}
}

static void run(const char *name, const struct step *steps, size_t n)
{
	for (int passes = 0; passes < 2; passes++) {
		run_split(name, steps, n, 0, passes);
		run_split(name, steps, n, 1, passes);
		for (int i = 0; i < 300; i++)
			run_split(name, steps, n, 2 + (size_t)i, passes);
	}
}

#define RUN(...) do { \
	static const struct step steps[] = { __VA_ARGS__ }; \
	run(__func__, steps, sizeof steps / sizeof *steps); \
} while (0)

static void test_frame_commands(void **state)
{
	(void)state;
	RUN(
	C("a1 SELECT INBOX\r\n", "cb1"),
	S("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
	  "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen "
	  "\\Draft \\*)] Flags permitted.\r\n"
	  "* 3 EXISTS\r\n* 0 RECENT\r\n"
	  "* OK [UIDVALIDITY 1700000000] UIDs valid\r\n", "cb1"),
	S("* OK [UIDNEXT 4] Predicted next UID\r\na1 OK [READ-WRITE] Sel",
	  "c1"),
	S("ect completed (0.001 + 0.000 secs).\r\n", "cbs0"),
	C("a2 NOO", "b0"),
	C("P\r", "b0"),
	C("\n", "cb1"),
	S("a2 OK NOOP completed (0.001 + 0.000 secs).\r\n", "cbs0"),
	C("a3 LOGOUT\r\n", "cbl1"),
	S("* BYE Logging out\r\n", "cbly1"),
	S("a3 OK Logout completed (0.001 + 0.000 secs).\r\n", "cbsly0"));
}

static void test_frame_pipelined(void **state)
{
	(void)state;
	RUN(
	C("1 NOOP\r\n2 STATUS Sent (MESSAGES)\r\n3 UID SEARCH ALL\r\n4 uid",
	  "b3"),
	C(" store 1 +flags (\\Seen)\n", "cb4"),
	S("1 OK NOOP completed (0.001 + 0.000 secs).\r\n", "cb3"),
	S("* SEARCH 1 2 3\r\n3 OK Search completed.\r\n", "cb2"),
	S("* STATUS Sent (MESSAGES 4)\r\n2 OK Status completed.\r\n", "cb1"),
	S("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n4 NO Store failed.\r\n",
	  "cbs0"),
	/* more than there are entries for */
	C("1 NOOP\r\n2 NOOP\r\n3 NOOP\r\n4 NOOP\r\n5 NOOP\r\n6 NOOP\r\n"
	  "7 NOOP\r\n8 NOOP\r\n9 NOOP\r\n10 NOOP\r\n", "cb10"),
	S("1 OK d\r\n2 OK d\r\n3 OK d\r\n4 OK d\r\n5 OK d\r\n6 OK d\r\n",
	  "cb4"),
	S("7 OK d\r\n8 OK d\r\n9 OK d\r\n", "cb1"),
	C("11 NOOP\r\n", "cb2"),
	S("11 OK d\r\n10 OK d\r\n", "cbs0"),
	/* the same tag twice */
	C("x NOOP\r\nx NOOP\r\n", "cb2"),
	S("x OK d\r\n", "cb1"),
	S("x OK d\r\n", "cbs0"));
}

static void test_frame_idle(void **state)
{
	(void)state;
	RUN(
	C("a2 IDLE\r\n", "cb1"),
	S("* 2 EXPUNGE\r\n", "cb1"),
	S("+ idling\r\n", "cbsi1"),
	S("* 4 EXISTS\r\n* 1 REC", "ci1"),
	S("ENT\r\n", "cbsi1"),
	S("* OK Still here\r\n", "cbsi1"),
	C("DO", "bi1"),
	C("NE\r\n", "cb1"),
	S("* 5 EXISTS\r\n", "cb1"),
	S("a2 OK Idle completed (120.001 + 120.000 + 119.999 secs).\r\n",
	  "cbs0"),
	/* again, in lower case, with a bare LF and no text behind "+" */
	C("a3 idle\n", "cb1"),
	S("+\r\n", "cbsi1"),
	C("done\n", "cb1"),
	S("a3 OK Idle completed (0.001 + 0.000 secs).\r\n", "cbs0"));
}

static void test_frame_idle_refused(void **state)
{
	(void)state;
	RUN(
	C("a1 IDLE\r\n", "cb1"),
	S("a1 NO [LIMIT] Too many.\r\n", "cbs0"),
	C("a2 NOOP\r\n", "cb1"),
	S("a2 OK NOOP completed.\r\n", "cbs0"),
	/* the DONE was sent before the refusal came */
	C("a3 IDLE\r\nDONE\r\n", "cb1"),
	S("a3 BAD Error in IMAP command IDLE: Unknown command.\r\n", "cbs0"),
	S("DONE BAD Error in IMAP command received by server.\r\n", "cbs0"),
	C("a4 NOOP\r\n", "cb1"),
	S("a4 OK NOOP completed.\r\n", "cbs0"));
}

static void test_frame_idle_pipelined(void **state)
{
	(void)state;
	RUN(
	C("a1 IDLE\r\nDONE\r\na2 NOOP\r\na3 IDLE\r\n", "cb3"),
	S("+ idling\r\n", "cb3"),
	S("a1 OK Idle completed.\r\na2 OK NOOP completed.\r\n", "cb1"),
	S("+ idling\r\n", "cbsi1"),
	C("DONE\r\na4 APPEND Sent {3}\r\n", "b2"),
	S("a3 OK Idle completed.\r\n+ OK\r\n", "b1"),
	C("abc\r\n", "cb1"),
	S("a4 OK [APPENDUID 1700000000 9] Append completed.\r\n", "cbs0"));
}

static void test_frame_idle_ends_itself(void **state)
{
	(void)state;
	RUN(
	C("a1 IDLE\r\n", "cb1"),
	S("+ idling\r\n", "cbsi1"),
	S("a1 OK Idle ended.\r\n", "cbs0"),
	/* this DONE crossed the response above */
	C("DONE\r\n", "cbs0"),
	S("DONE BAD Error in IMAP command received by server.\r\n", "cbs0"),
	/* anything but DONE ends an IDLE, too */
	C("a2 IDLE\r\n", "cb1"),
	S("+ idling\r\n", "cbsi1"),
	C("a3 NOOP {7+}\r\n", "cb1"),
	S("a2 BAD Expected DONE.\r\n", "cbs0"));
}

static void test_frame_idle_unclear(void **state)
{
	(void)state;
	RUN(
	C("a1 IDLE\r\n", "cb1"),
	C("a2 NOOP\r\n", "o"));
}

#define MAIL "From: jan@example.org\r\nSubject: {19}\r\n\r\na1 OK\r\n{5}\r\n"

static void test_frame_append(void **state)
{
	(void)state;
	assert_int_equal(sizeof MAIL - 1, 52);
	RUN(
	C("a1 APPEND Sent (\\Seen) \" 1-Jan-2026 00:00:00 +0000\" {52}\r\n",
	  "b1"),
	S("+ OK\r\n", "b1"),
	C(MAIL, "b1"),
	C("\r\n", "cb1"),
	S("* 1 EXISTS\r\na1 OK [APPENDUID 1700000000 1] Append completed "
	  "(0.002 + 0.001 + 0.001 secs).\r\n", "cbs0"),
	C("a2 APPEND Sent {52+}\r\n" MAIL "\r\n", "cb1"),
	S("a2 OK [APPENDUID 1700000000 2] Append completed.\r\n", "cbs0"),
	C("a3 APPEND Sent (\\Seen) ~{52}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C(MAIL "\r\n", "cb1"),
	S("a3 OK [APPENDUID 1700000000 3] Append completed.\r\n", "cbs0"),
	C("a4 APPEND Sent ~{52+}\r\n" MAIL "\r\na5 NOOP\r\n", "cb2"),
	S("a4 OK [APPENDUID 1700000000 4] Append completed.\r\n", "cb1"),
	S("a5 OK NOOP completed.\r\n", "cbs0"));
}

static void test_frame_append_many(void **state)
{
	(void)state;
	RUN(
	C("a1 APPEND {4}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C("Sent (\\Seen) {52}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C(MAIL " {52+}\r\n" MAIL " ~{0}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C("\r\n", "cb1"),
	S("a1 OK [APPENDUID 1700000000 5:7] Append completed.\r\n", "cbs0"),
	C("a2 APPEND Drafts CATENATE (URL \"/INBOX;UIDVALIDITY=1/;UID=20/;"
	  "section=HEADER\" TEXT {42}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C("\r\n--------------030308070208000400050907\r\n"
	  " URL \"/INBOX;UIDVALIDITY=1/;UID=30\" TEXT {2+}\r\n{}"
	  " TEXT {0+}\r\n)\r\n", "cb1"),
	S("a2 OK [APPENDUID 1700000000 8] Append completed.\r\n", "cbs0"));
}

static void test_frame_append_refused(void **state)
{
	(void)state;
	RUN(
	C("a1 APPEND Nowhere {52}\r\n", "b1"),
	S("a1 NO [TRYCREATE] Mailbox doesn't exist: Nowhere (0.001 + 0.000 "
	  "secs).\r\n", "cbs0"),
	C("a2 CREATE Nowhere\r\n", "cb1"),
	S("a2 OK Create completed.\r\n", "cbs0"),
	/* the second literal is refused */
	C("a3 APPEND Sent {3}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C("abc {3}\r\n", "b1"),
	S("a3 NO [OVERQUOTA] Quota exceeded.\r\n", "cbs0"),
	/* refused while the literal is on its way, with or without leave */
	C("a4 APPEND Sent {6}\r\n", "b1"),
	S("+ OK\r\n", "b1"),
	C("abc", "b1"),
	S("a4 NO [OVERQUOTA] Quota exceeded.\r\n", "b0"),
	C("def {3}\r\na5 NOOP\r\n", "cb1"),
	S("a5 OK NOOP completed.\r\n", "cbs0"),
	C("a6 APPEND Sent {6+}\r\na6 O", "b1"),
	S("a6 NO [OVERQUOTA] Quota exceeded.\r\n", "b0"),
	C("K\n {5+}\r\na6 NO {8", "b0"),
	C("}\r\na7 NOOP\r\n", "cb1"),
	S("a7 OK NOOP completed.\r\n", "cbs0"));
}

/* Literal bytes come before "+": legal they are not, but they are literal
 * bytes, unless the backend refuses. */
static void test_frame_append_hurried(void **state)
{
	(void)state;
	RUN(
	C("a1 APPEND Sent {5}\r\na1 {3 {0}\r\n\r\n", "cb1"),
	S("+ OK\r\n+ OK\r\n", "cb1"),
	S("a1 OK [APPENDUID 1700000000 9] Append completed.\r\n", "cbs0"),
	C("a2 APPEND Sent {5}\r\n", "b1"),
	C("ab", "b1"),
	S("+ OK\r\n", "b1"),
	C("\r\n\n\r\n", "cb1"),
	S("a2 OK [APPENDUID 1700000000 9] Append completed.\r\n", "cbs0"),
	C("a3 APPEND Nowhere {5}\r\nabcde\r\n", "cb1"),
	S("a3 NO [TRYCREATE] Mailbox doesn't exist: Nowhere.\r\n", "o"));
}

static void test_frame_append_beyond_entries(void **state)
{
	(void)state;
	RUN(
	C("1 NOOP\r\n2 NOOP\r\n3 NOOP\r\n4 NOOP\r\n5 NOOP\r\n6 NOOP\r\n"
	  "7 NOOP\r\n8 NOOP\r\n9 APPEND Sent {3}\r\n", "b9"),
	S("1 OK d\r\n2 OK d\r\n3 OK d\r\n4 OK d\r\n5 OK d\r\n6 OK d\r\n"
	  "7 OK d\r\n8 OK d\r\n", "b1"),
	S("9 NO [TRYCREATE] No.\r\n", "cbs0"),
	C("1 NOOP\r\n2 NOOP\r\n3 NOOP\r\n4 NOOP\r\n5 NOOP\r\n6 NOOP\r\n"
	  "7 NOOP\r\n8 NOOP\r\n9 APPEND Sent {3}\r\n", "b9"),
	S("+ OK\r\n", "b9"),
	C("abc\r\n", "cb9"),
	S("9 OK d\r\n8 OK d\r\n7 OK d\r\n6 OK d\r\n5 OK d\r\n4 OK d\r\n"
	  "3 OK d\r\n2 OK d\r\n", "cb1"),
	S("1 OK d\r\n", "cbs0"));
}

static void test_frame_fetch(void **state)
{
	(void)state;
	RUN(
	C("a1 UID FETCH 1:* (BODY.PEEK[])\r\n", "cb1"),
	S("* 1 FETCH (UID 1 BODY[] {52}\r\n", "c1"),
	S(MAIL, "c1"),
	S(" FLAGS (\\Seen))", "c1"),
	S("\r\n", "cb1"),
	S("* 2 FETCH (UID 2 BODY[] {0}\r\n", "c1"),
	S(")\r\n", "cb1"),
	S("* 3 FETCH (UID 3 BODY[HEADER] {2}\r\n\r\n BODY[TEXT] {5}\r\n",
	  "c1"),
	S("* 9 \n)\r\n", "cb1"),
	S("* 4 FETCH (UID 4 BINARY[1] ~{8}\r\n\0\r\n\377}\r\n\n)\r\n", "cb1"),
	S("* 5 FETCH (UID 5 ENVELOPE (NIL \"{5}\" ((\"a {9\" NIL \"b\" "
	  "\"c}\")) NIL NIL NIL NIL NIL NIL \"<x{1}>\"))\r\n", "cb1"),
	S("a1 OK Fetch completed (0.003 + 0.000 + 0.002 secs).\r\n", "cbs0"),
	C("a2 LIST \"\" *\r\n", "cb1"),
	S("* LIST (\\HasNoChildren) \".\" {4}\r\na{2}\r\n", "cb1"),
	S("a2 OK List completed.\r\n", "cbs0"));
}

static void test_frame_text_is_no_literal(void **state)
{
	(void)state;
	RUN(
	S("* OK [ALERT] Text with {5}\r\n", "cbs0"),
	S("* NO Disk is nearly full ~{5}\r\n* BAD So {5+}\r\n", "cbs0"),
	C("a1 IDLE\r\n", "cb1"),
	S("+ idling {5}\r\n", "cbsi1"),
	C("DONE\r\n", "cb1"),
	S("a1 OK Idle completed {5}\r\n", "cbs0"),
	C("a2 SEARCH SUBJECT \"{5}\"\r\n", "cb1"),
	S("* SEARCH\r\na2 NO Not now {5}\r\n", "cbs0"),
	/* braces that announce nothing */
	C("a3 X {}\r\na4 X {a}\r\na5 X {5-}\r\na6 X 5}\r\na7 5}\r\n", "cb5"),
	S("a3 BAD d\r\na4 BAD d\r\na5 BAD d\r\na6 BAD d\r\na7 BAD d\r\n",
	  "cbs0"),
	S("* bye So long {5}\r\n", "cbsy0"));
}

static void test_frame_literal_length(void **state)
{
	(void)state;
	RUN(
	S("* 1 FETCH (BODY[] {0000000000000000003}\r\nabc)\r\n", "cbs0"),
	S("* {3}\r\nabc\r\n", "cbs0"),
	C("a1 {3+}\r\nabc\r\n", "cb1"),
	S("a1 BAD d\r\n", "cbs0"),
	S("* 1 FETCH (BODY[] {9223372036854775807}\r\na\r\n", "c0"));
	RUN(S("* 1 FETCH (BODY[] {9223372036854775808}\r\n", "o"));
	RUN(S("* 1 FETCH (BODY[] {18446744073709551617}\r\n", "o"));
	RUN(C("a1 X {00000000000000000000000000000005+}\r\n", "o"));
}

static void test_frame_tells_of_literals(void **state)
{
	static const char fetch[] = "* 1 FETCH (BODY[] {90000}\r\nabc";
	static const char append[] = "a APPEND x {5}\r\n";
	struct frame f;

	(void)state;
	frame_init(&f);
	assert_int_equal(frame_literal_left(&f, FRAME_BACKEND), 0);
	frame_feed(&f, FRAME_BACKEND, fetch, sizeof fetch - 1);
	assert_int_equal(frame_literal_left(&f, FRAME_BACKEND), 89997);
	frame_pass(&f, FRAME_BACKEND, 89000);
	assert_int_equal(frame_literal_left(&f, FRAME_BACKEND), 997);
	assert_int_equal(frame_literal_left(&f, FRAME_CLIENT), 0);
	/* until the backend has said "+", it may become a command */
	frame_feed(&f, FRAME_CLIENT, append, sizeof append - 1);
	assert_int_equal(frame_literal_left(&f, FRAME_CLIENT), 0);
	frame_pass(&f, FRAME_BACKEND, 997);
	frame_feed(&f, FRAME_BACKEND, ")\r\n+ go on\r\n", 12);
	assert_int_equal(frame_literal_left(&f, FRAME_CLIENT), 5);
}

static void test_frame_compress(void **state)
{
	(void)state;
	RUN(
	C("a1 COMPRESS DEFLATE\r\n", "cb1"),
	S("a1 NO [COMPRESSIONACTIVE] COMPRESSION is already enabled.\r\n",
	  "cbs0"),
	C("a2 compress deflate\r\n", "cb1"),
	S("* 1 EXISTS\r\n", "cb1"),
	S("a2 OK Begin compression.\r\n", "o"),
	S("\x4a\x34\x54\xf0\xf7\x56\x28\n", "o"),
	C("\x4a\x34\x52\xf0\n", "o"));
}

static void test_frame_authenticate_refused(void **state)
{
	(void)state;
	RUN(
	C("a1 AUTHENTICATE PLAIN\r\n", "cb1"),
	S("a1 BAD Error in IMAP command AUTHENTICATE: Unknown command.\r\n",
	  "cbs0"),
	C("a2 AUTHENTICATE PLAIN AGEAYg==\r\na3 NOOP\r\n", "cb2"),
	S("a2 BAD Already authenticated.\r\na3 OK d\r\n", "cbs0"),
	/* a backend that asks before it refuses */
	C("a4 AUTHENTICATE LOGIN\r\n", "cb1"),
	S("+ VXNlcm5hbWU6\r\n", "cb1"),
	C("amFu\r\n", "cb1"),
	S("+ UGFzc3dvcmQ6\r\n", "cb1"),
	C("*\r\n", "cb1"),
	S("a4 BAD Authentication aborted.\r\n", "cbs0"),
	C("a5 UNAUTHENTICATE\r\n", "cb1"),
	S("a5 OK done\r\n", "cbs0"),
	C("a6 STARTTLS\r\n", "cb1"),
	S("a6 OK Begin TLS negotiation now.\r\n", "o"));
}

static void test_frame_bad_client(void **state)
{
	(void)state;
	RUN(
	C("\r\n", "cbs0"),
	S("* BAD Error in IMAP command received by server.\r\n", "cbs0"),
	C("foo\r\n", "cbs0"),
	S("foo BAD Error in IMAP command received by server.\r\n", "cbs0"),
	C("a+b NOOP\r\n", "cbs0"),
	S("* BAD Invalid tag.\r\n", "cbs0"),
	C("* NOOP\r\n+ OK\r\n\rx NOOP\r\n\r", "b0"),
	C("\n", "cbs0"),
	/* answered before its line has ended */
	C("a1 SEARCH 1,2,3,4,5", "b0"),
	S("a1 BAD Error in IMAP command: Too long argument.\r\n", "b0"),
	C(",6 {5}\r\n", "cbs0"),
	C("a2 NOOP\r\n", "cb1"),
	S("a2 OK NOOP completed.\r\n", "cbs0"));
	RUN(C("a+b NOOP {5+}\r\n", "o"));
	RUN(C("{5}\r\n", "o"));
}

static void test_frame_bad_backend(void **state)
{
	(void)state;
	RUN(S("\r\n", "o"));
	RUN(S("hello\r\n", "o"));
	RUN(S("*\r\n", "o"));
	RUN(S("*foo bar\r\n", "o"));
	RUN(S("a9 OK done\r\n", "o"));
	RUN(S("a(9 OK done\r\n", "o"));
	RUN(C("a1 NOOP\r\n", "cb1"), S("a1 FINE\r\n", "o"));
	RUN(S("\x16\x03\x03\n", "o"));
}

static void test_frame_notes_commands(void **state)
{
	static const char text[] = "a1 NOTIFY NONE\r\na2 unauthenticate\r\n";
	struct frame f;

	(void)state;
	frame_init(&f);
	frame_feed(&f, FRAME_CLIENT, text, sizeof text - 1);
	assert_true(frame_has_seen(&f, FRAME_NOTIFY));
	assert_true(frame_has_seen(&f, FRAME_UNAUTHENTICATE));
	assert_false(frame_has_seen(&f, FRAME_IDLE));
	assert_false(frame_logout_seen(&f));
}

/* 1 MiB of what would be lines, and a line without end. */
static void test_frame_large(void **state)
{
	static const char noise[] = "\r\n* 1 FETCH {9}\r\na1 OK\r\n+ x\r\n";
	static char text[1 << 20];
	struct frame f;

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = noise[i % (sizeof noise - 1)];
	frame_init(&f);
	frame_feed(&f, FRAME_CLIENT, "a1 FETCH 1 BODY[]\r\n", 19);
	frame_feed(&f, FRAME_BACKEND, "* 1 FETCH (BODY[] {1048576}\r\n", 29);
	for (size_t i = 0; i < sizeof text; i += 4096)
		frame_feed(&f, FRAME_BACKEND, text + i, 4096);
	assert_string_equal(places(&f), "c1");
	frame_feed(&f, FRAME_BACKEND, ")\r\na1 OK done\r\n", 15);
	assert_string_equal(places(&f), "cbs0");

	memset(text, 'x', sizeof text);
	frame_feed(&f, FRAME_CLIENT, "a2 SEARCH ", 10);
	frame_feed(&f, FRAME_CLIENT, text, sizeof text);
	assert_string_equal(places(&f), "b0");
	frame_feed(&f, FRAME_CLIENT, "\r\n", 2);
	frame_feed(&f, FRAME_BACKEND, "a2 OK done\r\n", 12);
	/* a tag without end */
	frame_feed(&f, FRAME_CLIENT, text, sizeof text);
	frame_feed(&f, FRAME_CLIENT, " NOOP\r\n", 7);
	frame_feed(&f, FRAME_BACKEND, text, sizeof text);
	frame_feed(&f, FRAME_BACKEND, " OK done\r\n", 10);
	assert_string_equal(places(&f), "cbs0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_commands),
		cmocka_unit_test(test_frame_pipelined),
		cmocka_unit_test(test_frame_idle),
		cmocka_unit_test(test_frame_idle_refused),
		cmocka_unit_test(test_frame_idle_pipelined),
		cmocka_unit_test(test_frame_idle_ends_itself),
		cmocka_unit_test(test_frame_idle_unclear),
		cmocka_unit_test(test_frame_append),
		cmocka_unit_test(test_frame_append_many),
		cmocka_unit_test(test_frame_append_refused),
		cmocka_unit_test(test_frame_append_hurried),
		cmocka_unit_test(test_frame_append_beyond_entries),
		cmocka_unit_test(test_frame_fetch),
		cmocka_unit_test(test_frame_text_is_no_literal),
		cmocka_unit_test(test_frame_literal_length),
		cmocka_unit_test(test_frame_tells_of_literals),
		cmocka_unit_test(test_frame_compress),
		cmocka_unit_test(test_frame_authenticate_refused),
		cmocka_unit_test(test_frame_bad_client),
		cmocka_unit_test(test_frame_bad_backend),
		cmocka_unit_test(test_frame_notes_commands),
		cmocka_unit_test(test_frame_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
