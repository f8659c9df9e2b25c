/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H
/*
 * crc32c - the checksum of the PROXY protocol
 *
 * Shapes   begin with 0; the result of one piece begins the next one.
 * Thread   any.
 * Source   RFC 4960 appendix B (Castagnoli polynomial, reflected).
 * Not here speed: a few hundred bytes per connection are meant.
 */
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);
#endif
