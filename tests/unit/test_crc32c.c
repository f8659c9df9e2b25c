/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/base/crc32c.h"

static void test_crc32c_known(void **state)
{
	(void)state;
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	/* RFC 3720 B.4: 32 bytes of zeros, 32 of ones, and 0 to 31 */
	uint8_t bytes[32] = { 0 };
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = 0xff;
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
}

static void test_crc32c_pieces(void **state)
{
	(void)state;
	for (size_t at = 0; at <= 9; at++) {
		uint32_t crc = crc32c(0, "123456789", at);
		assert_int_equal(crc32c(crc, &"123456789"[at], 9 - at),
		    0xe3069283);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_known),
		cmocka_unit_test(test_crc32c_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
