/* SPDX-License-Identifier: Apache-2.0 */
/* The strict server's CRCs, by the processor's instruction where it has one and by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../s3d/checksum.c"

static const char check_text[] = "123456789";

/* The check values of the catalogue of parametrised CRC algorithms. */
static const uint64_t check_value[CRC_COUNT] = {
    [CHECKSUM_CRC32] = 0xcbf43926u,
    [CHECKSUM_CRC32C] = 0xe3069283u,
    [CHECKSUM_CRC64NVME] = 0xae8b14860a799888ull,
};

static uint64_t by_bits(int c, const unsigned char *p, size_t len)
{
	uint64_t crc = crc_ones[c];

	for (; len > 0; p++, len--) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ crc_polynomial[c] : crc >> 1;
	}
	return crc;
}

static void test_check_values(void **state)
{
	const unsigned char *text = (const unsigned char *)check_text;

	for (int c = 0; c < CRC_COUNT; c++) {
		uint64_t by_tables = crc_by_tables(c, crc_ones[c], text, strlen(check_text));

		assert_true((by_tables ^ crc_ones[c]) == check_value[c]);
		assert_true((by_bits(c, text, strlen(check_text)) ^ crc_ones[c]) == check_value[c]);
	}
}

/* All lengths around a step, from all places in a word, in one piece and in two. */
static void test_tables_and_instruction_agree(void **state)
{
	unsigned char bytes[48];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 167 + 13);
	for (int c = 0; c < CRC_COUNT; c++)
		for (size_t from = 0; from < 8; from++)
			for (size_t len = 0; from + len <= sizeof(bytes); len++) {
				const unsigned char *p = bytes + from;
				uint64_t expected = by_bits(c, p, len), half;

				assert_true(crc_by_tables(c, crc_ones[c], p, len) == expected);
				half = crc_by_tables(c, crc_ones[c], p, len / 2);
				assert_true(crc_by_tables(c, half, p + len / 2, len - len / 2) ==
					    expected);
				assert_true(crc_update(c, crc_ones[c], p, len) == expected);
				half = crc_update(c, crc_ones[c], p, len / 2);
				assert_true(crc_update(c, half, p + len / 2, len - len / 2) ==
					    expected);
			}
}

static int fill_tables(void **state)
{
	return pthread_once(&crc_once, crc_fill);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_check_values),
	    cmocka_unit_test(test_tables_and_instruction_agree),
	};

	return cmocka_run_group_tests(tests, fill_tables, NULL);
}
