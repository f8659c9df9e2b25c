/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LOGIN_FAILURE_H
#define BACKENDS_LOGIN_FAILURE_H
/*
 * login_failure - what a backend's refusal means
 *
 * The part of login that reads a tagged NO or BAD to LOGIN or AUTHENTICATE.
 * The columns of login_failures.def are declared in login.h.
 *
 * Owns     nothing.
 * Source   RFC 5530 (codes); RFC 2221, 4.1 and RFC 5092 (the REFERRAL's URL).
 */
#include <stdbool.h>

#include "backends/login.h"

struct buf;
struct reply;

/* What a tagged NO or BAD says. */
enum login_failure login_failure_of(const struct reply *r)
    __attribute__((nonnull));

/* Appends "NO [CODE] text" as the client may see it: no control bytes, cut. */
void login_failure_forward(struct buf *out, const struct reply *r)
    __attribute__((nonnull));

/* imap://[user[;AUTH=type]@]host[:port]/..., all of it one word. The views of
 * *out show parts of text, which holds user and host. */
bool login_referral_parse(struct str url, struct buf *text,
    struct login_referral *out) __attribute__((nonnull));
#endif
