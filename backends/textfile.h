/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TEXTFILE_H
#define BACKENDS_TEXTFILE_H
/*
 * textfile - a file of the operator's, read whole
 *
 * Units    bytes; TEXTFILE_MAX_BYTES at most.
 * Errors   false with err, "file: why": it cannot be read, is no plain file,
 *          is too large, or changes while it is read.
 * Owns     the caller gets the text, free().
 * Thread   any: it blocks.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXTFILE_MAX_BYTES (UINT32_C(1) << 31)

struct err;

/* too_large: what to do instead, for the error. stop: gives up soon after it
 * becomes true; may be NULL. */
bool textfile_read(const char *path, const char *too_large,
    const atomic_bool *stop, char **text_out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
