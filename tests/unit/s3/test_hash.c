/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of bodies, checksums as headers have them, metadata values that are no plain text. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pailfs/cleanup.h>

#include "checksum.h"

#define HASH_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_crc32c(void **state)
{
	static unsigned char bytes[70000];
	unsigned seed = 7;
	uint32_t whole;

	assert_int_equal(s3_crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720, CRC catalogue */
	assert_int_equal(s3_crc32c(0, "", 0), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)rand_r(&seed);
	whole = s3_crc32c(0, bytes, sizeof(bytes));
	for (size_t cut = 0; cut < sizeof(bytes); cut += 997)
		assert_int_equal(
		    s3_crc32c(s3_crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut), whole);
}

static void test_checksum_text(void **state)
{
	static const char *const bad[] = {NULL,	      "",	  "Nks/tw=",  "Nks/tw==x",
					  "Nks/twAA", "Nks/t===", "Nks_tw==", "Nks/tw==-2"};
	static const uint32_t values[] = {0, 1, 0x364b3fb7, 0x80000000, UINT32_MAX};
	char text[CHECKSUM_TEXT_BYTES];
	uint32_t crc;

	assert_string_equal(checksum_text(0x364b3fb7, text), "Nks/tw==");
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(checksum_parse(checksum_text(values[i], text), &crc), 0);
		assert_int_equal(crc, values[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(checksum_parse(bad[i], &crc), -EINVAL);
}

static void test_hash_in_pieces(void **state)
{
	char hex[S3_SHA256_HEX_BYTES];
	struct s3_hash h;

	assert_int_equal(s3_hash_init(&h), 0);
	assert_int_equal(s3_hash_update(&h, "a", 1), 0);
	assert_int_equal(s3_hash_update(&h, "", 0), 0);
	assert_int_equal(s3_hash_update(&h, "bc", 2), 0);
	assert_int_equal(s3_hash_hex(&h, hex), 0);
	assert_string_equal(hex, HASH_OF_ABC);
	assert_int_equal(s3_hash_hex(&h, hex), 0); /* begun anew */
	assert_string_equal(hex, HASH_OF_NOTHING);
	s3_hash_finish(&h);
	s3_hash_finish(NULL);
}

static void test_seal_memory(void **state)
{
	const struct iovec v[] = {
	    {(char *)(uintptr_t) "a", 1}, {NULL, 0}, {(char *)(uintptr_t) "bc", 2}};
	struct s3_body body = {.iov = v, .iov_count = 3, .length = 3};

	assert_int_equal(s3_body_seal(&body, true, false), 0);
	assert_string_equal(body.sha256, HASH_OF_ABC);
	assert_false(body.has_crc32c);
	assert_int_equal(s3_body_seal(&body, false, true), 0);
	assert_true(body.has_crc32c);
	assert_int_equal(body.crc32c, 0x364b3fb7);
	body = (struct s3_body){0};
	assert_int_equal(s3_body_seal(&body, true, true), 0);
	assert_string_equal(body.sha256, HASH_OF_NOTHING);
	assert_int_equal(body.crc32c, 0);
}

static void test_seal_file(void **state)
{
	enum { BYTES = 600000, AT = 1000 };
	static char bytes[BYTES];
	char path[] = "/tmp/pailfs-hash-XXXXXX";
	CLEANUP(close) int fd = mkstemp(path);
	struct s3_body memory, file = {.fd = fd, .offset = AT, .length = BYTES};
	const struct iovec v = {bytes, BYTES};

	assert_true(fd >= 0);
	unlink(path);
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (char)(i * 31 + (i >> 9));
	assert_int_equal(pwrite(fd, bytes, BYTES, AT), BYTES);
	memory = (struct s3_body){.iov = &v, .iov_count = 1, .length = BYTES};
	assert_int_equal(s3_body_seal(&memory, true, true), 0);
	assert_int_equal(s3_body_seal(&file, true, true), 0);
	assert_string_equal(file.sha256, memory.sha256);
	assert_int_equal(file.crc32c, memory.crc32c);
	file.length++;
	assert_int_equal(s3_body_seal(&file, true, false), -EIO);
	file.fd = -1;
	assert_int_equal(s3_body_seal(&file, true, false), -EBADF);
}

/* The same bytes cut into pieces of at most `most` bytes, of another length each. */
static int cut(struct iovec *iov, char *bytes, size_t length, size_t most, unsigned seed)
{
	int count = 0;

	for (size_t at = 0, n; at < length || count == 0; at += n) {
		seed = seed * 1103515245 + 12345;
		n = MIN(length - at, (seed >> 8) % (most + 1));
		iov[count++] = (struct iovec){bytes + at, n};
	}
	return count;
}

static void check_pair(char *bytes[2], size_t lengths[2], size_t most, unsigned seed)
{
	static struct iovec iov[2][8192];
	struct s3_body bodies[2], alone[2];

	for (int i = 0; i < 2; i++) {
		struct iovec whole = {bytes[i], lengths[i]};

		bodies[i] = alone[i] = (struct s3_body){.length = lengths[i]};
		alone[i].iov = &whole;
		alone[i].iov_count = 1;
		assert_int_equal(s3_body_seal(&alone[i], true, true), 0);
		bodies[i].iov = iov[i];
		bodies[i].iov_count = cut(iov[i], bytes[i], lengths[i], most, seed + (unsigned)i);
	}
	assert_int_equal(s3_body_seal_pair(&bodies[0], &bodies[1], true, true), 0);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(bodies[i].sha256, alone[i].sha256);
		assert_int_equal(bodies[i].crc32c, alone[i].crc32c);
	}
}

static void test_seal_pair(void **state)
{
	enum { LONGEST = 300000 };
	static char memory[2][LONGEST];
	char *bytes[2] = {memory[0], memory[1]};

	for (size_t i = 0; i < 2 * (size_t)LONGEST; i++)
		memory[i / LONGEST][i % LONGEST] = (char)(i * 37 + (i >> 7));
	for (size_t n = 0; n <= 300; n++) {
		check_pair(bytes, (size_t[]){n, n}, 1 + n % 70, (unsigned)n);
		check_pair(bytes, (size_t[]){n, n + 1 + n % 3}, 64, (unsigned)n);
	}
	check_pair(bytes, (size_t[]){LONGEST, LONGEST}, LONGEST, 1);
	check_pair(bytes, (size_t[]){LONGEST - 1, LONGEST - 1}, 1000, 2);
	check_pair(bytes, (size_t[]){LONGEST - 32, LONGEST - 32}, 200, 3);
	check_pair(bytes, (size_t[]){LONGEST, 64}, 4096, 4);
}

static void test_seal_pair_without_sums(void **state)
{
	const struct iovec v = {(char *)(uintptr_t) "abc", 3};
	struct s3_body memory = {.iov = &v, .iov_count = 1, .length = 3}, other = memory;
	struct s3_body file = {.fd = -1, .length = 3};

	assert_int_equal(s3_body_seal_pair(&memory, &other, false, true), 0);
	assert_string_equal(memory.sha256, "");
	assert_int_equal(other.crc32c, 0x364b3fb7);
	assert_int_equal(s3_body_seal_pair(&memory, &file, true, false), -EBADF);
	assert_int_equal(s3_body_seal_pair(&memory, &other, true, false), 0);
	assert_string_equal(memory.sha256, HASH_OF_ABC);
	assert_string_equal(other.sha256, HASH_OF_ABC);
}

static void test_keys_in_xml(void **state)
{
	static const struct {
		const char *key;
		bool can;
	} keys[] = {{"a<b>&\"'", true},	     {"\xc3\xa9", true},     {"\t\n\r", true},
		    {"\x7f", true},	     {"\x01", false},	     {"\x1f", false},
		    {"\xff", false},	     {"\xc3", false},	     {"\xed\xa0\x80", false},
		    {"\xef\xbf\xbf", false}, {"\xef\xbf\xbd", true}, {"", true}};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(s3_key_in_xml(keys[i].key, strlen(keys[i].key)), keys[i].can);
	assert_false(s3_key_in_xml("a\0b", 3));
}

static void check_meta(const char *bytes, size_t n, const char *value)
{
	char *encoded, *decoded;
	size_t length;

	assert_int_equal(s3_meta_encode(bytes, n, &encoded), 0);
	if (value)
		assert_string_equal(encoded, value);
	assert_int_equal(s3_meta_decode(encoded, &decoded, &length), 0);
	assert_int_equal(length, n);
	assert_memory_equal(decoded, bytes, n);
	for (const char *c = encoded; *c; c++)
		assert_true(*c >= ' ' && *c < 0x7f);
	free(encoded);
	free(decoded);
}

static void test_meta(void **state)
{
	static const char *const lines[] = {"a\nb", "a\rb"};
	char *encoded;

	check_meta("", 0, "");
	check_meta("plain text, = and ?", 19, "plain text, = and ?");
	check_meta("\xc3\xa9", 2, "=?UTF-8?B?w6k=?=");
	check_meta(" led by a blank", 15, NULL);
	check_meta("two  blanks", 11, NULL);
	check_meta("=?UTF-8?B?w6k=?=", 16, NULL); /* only looks like one */
	for (unsigned c = 1; c < 256; c++) {
		const char bytes[] = {'x', (char)c, 'y', (char)c};

		if (c != '\n' && c != '\r')
			check_meta(bytes, 4, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(s3_meta_encode(lines[i], 3, &encoded), -EINVAL);
	assert_int_equal(s3_meta_encode("a\0b", 3, &encoded), -EINVAL);
}

/* Words of other writers; the values are from RFC 2047 and Python's email.header. */
static void test_meta_of_others(void **state)
{
	static const struct {
		const char *value, *bytes;
	} cases[] = {
	    {"=?utf-8?q?h=C3=A9llo_w=5Frld?=", "h\xc3\xa9llo w_rld"},
	    {"=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "\xc3\xa9\xc3\xa9"},
	    {"a =?UTF-8?B?w6k=?= b", "a \xc3\xa9 b"},
	    {"=?UTF-8?B?w6k", "=?UTF-8?B?w6k"},
	    {"=?UTF-8?B?w6?=", "=?UTF-8?B?w6?="},
	    {"=?UTF-8?Q?=G1?=", "=?UTF-8?Q?=G1?="},
	    {"=?UTF-8?X?w6k=?=", "=?UTF-8?X?w6k=?="},
	    {"=?latin1?B?w6k=?=", "=?latin1?B?w6k=?="},
	    {"\xc3\xa9", "\xc3\xa9"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *decoded;
		size_t n;

		assert_int_equal(s3_meta_decode(cases[i].value, &decoded, &n), 0);
		assert_string_equal(decoded, cases[i].bytes);
		assert_int_equal(n, strlen(cases[i].bytes));
		free(decoded);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_crc32c),
	    cmocka_unit_test(test_checksum_text),
	    cmocka_unit_test(test_hash_in_pieces),
	    cmocka_unit_test(test_seal_memory),
	    cmocka_unit_test(test_seal_file),
	    cmocka_unit_test(test_seal_pair),
	    cmocka_unit_test(test_seal_pair_without_sums),
	    cmocka_unit_test(test_keys_in_xml),
	    cmocka_unit_test(test_meta),
	    cmocka_unit_test(test_meta_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
