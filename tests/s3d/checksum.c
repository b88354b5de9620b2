/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over a body while it arrives: MD5 for the ETag, SHA-256 for the signed payload hash, and
 * S3's additional checksums. The CRCs are reflected ones, eight bytes a step from tables that are
 * filled once (pthread_once), or by the processor's instruction for CRC32C: with tables that one
 * costs more than TLS, and a server on the client's own machine is measured with the client. A set
 * of sums belongs to one request.
 */
#include "checksum.h"
#include "util.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CRC_COUNT 3

const struct checksum_row checksum_table[CHECKSUM_COUNT] = {
    [CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4},
    [CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4},
    [CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8},
    [CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20},
    [CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32},
    [CHECKSUM_MD5] = {"MD5", NULL, NULL, 16},
};

static const uint64_t crc_polynomial[CRC_COUNT] = {
    [CHECKSUM_CRC32] = 0xedb88320u,
    [CHECKSUM_CRC32C] = 0x82f63b78u,
    [CHECKSUM_CRC64NVME] = 0x9a6c9329ac4bc9b5ull,
};

static const uint64_t crc_ones[CRC_COUNT] = {
    [CHECKSUM_CRC32] = 0xffffffffu,
    [CHECKSUM_CRC32C] = 0xffffffffu,
    [CHECKSUM_CRC64NVME] = 0xffffffffffffffffull,
};

static uint64_t crc_step[CRC_COUNT][8][256]; /* constant once filled */
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

struct checksums {
	unsigned wanted;
	uint64_t crc[CRC_COUNT];
	EVP_MD_CTX *digest[CHECKSUM_COUNT];
	unsigned done;
	unsigned char value[CHECKSUM_COUNT][CHECKSUM_MAX_BYTES];
};

static void crc_fill(void)
{
	for (int c = 0; c < CRC_COUNT; c++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			uint64_t crc = byte;

			for (int bit = 0; bit < 8; bit++)
				crc = (crc & 1) != 0 ? crc >> 1 ^ crc_polynomial[c] : crc >> 1;
			crc_step[c][0][byte] = crc;
		}
		for (int k = 1; k < 8; k++)
			for (unsigned byte = 0; byte < 256; byte++) {
				uint64_t crc = crc_step[c][k - 1][byte];

				crc_step[c][k][byte] = crc >> 8 ^ crc_step[c][0][crc & 255];
			}
	}
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint64_t crc32c_update(uint64_t crc,
								const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi((unsigned)crc, *p);
	return crc;
}

static bool has_crc32c(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
static uint64_t crc32c_update(uint64_t crc, const unsigned char *p, size_t len)
{
	abort();
}

static bool has_crc32c(void)
{
	return false;
}
#endif

static uint64_t crc_by_tables(int c, uint64_t crc, const unsigned char *p, size_t len)
{
	const uint64_t(*t)[256] = (const uint64_t(*)[256])crc_step[c];

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p,
		       sizeof(word)); /* little-endian machines only, as all of Debian's */
		crc ^= word;
		crc = t[7][crc & 255] ^ t[6][crc >> 8 & 255] ^ t[5][crc >> 16 & 255] ^
		      t[4][crc >> 24 & 255] ^ t[3][crc >> 32 & 255] ^ t[2][crc >> 40 & 255] ^
		      t[1][crc >> 48 & 255] ^ t[0][crc >> 56];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ t[0][(crc ^ *p) & 255];
	return crc;
}

static uint64_t crc_update(int c, uint64_t crc, const unsigned char *p, size_t len)
{
	if (c == CHECKSUM_CRC32C && has_crc32c())
		return crc32c_update(crc, p, len);
	return crc_by_tables(c, crc, p, len);
}

static const EVP_MD *digest_of(int algorithm)
{
	if (algorithm == CHECKSUM_SHA1)
		return EVP_sha1();
	if (algorithm == CHECKSUM_SHA256)
		return EVP_sha256();
	return EVP_md5();
}

int checksum_by_name(const char *name)
{
	for (int i = 0; i < CHECKSUM_COUNT; i++)
		if (checksum_table[i].header != NULL &&
		    strcasecmp(checksum_table[i].name, name) == 0)
			return i;
	return -EINVAL;
}

int checksum_by_header(const char *header)
{
	for (int i = 0; i < CHECKSUM_COUNT; i++)
		if (checksum_table[i].header != NULL &&
		    strcasecmp(checksum_table[i].header, header) == 0)
			return i;
	return -EINVAL;
}

struct checksums *checksums_create(unsigned wanted)
{
	struct checksums *sums = xcalloc(1, sizeof(*sums));

	pthread_once(&crc_once, crc_fill);
	sums->wanted = wanted;
	for (int i = 0; i < CHECKSUM_COUNT; i++) {
		if ((wanted & CHECKSUM_BIT(i)) == 0)
			continue;
		if (i < CRC_COUNT) {
			sums->crc[i] = crc_ones[i];
		} else {
			sums->digest[i] = EVP_MD_CTX_new();
			EVP_DigestInit_ex(sums->digest[i], digest_of(i), NULL);
		}
	}
	return sums;
}

void checksums_update(struct checksums *sums, const void *bytes, size_t len)
{
	for (int i = 0; i < CHECKSUM_COUNT; i++) {
		if ((sums->wanted & CHECKSUM_BIT(i)) == 0)
			continue;
		if (i < CRC_COUNT)
			sums->crc[i] = crc_update(i, sums->crc[i], bytes, len);
		else
			EVP_DigestUpdate(sums->digest[i], bytes, len);
	}
}

void checksums_get(struct checksums *sums, enum checksum algorithm,
		   unsigned char out[CHECKSUM_MAX_BYTES])
{
	size_t bytes = checksum_table[algorithm].bytes;

	assert((unsigned)algorithm < CHECKSUM_COUNT);
	if ((sums->done & CHECKSUM_BIT(algorithm)) == 0) {
		unsigned char *value = sums->value[algorithm];

		if (algorithm < CRC_COUNT) {
			uint64_t crc = sums->crc[algorithm] ^ crc_ones[algorithm];

			crc = htobe64(crc << (64 - 8 * bytes));
			memcpy(value, &crc, bytes);
		} else {
			EVP_DigestFinal_ex(sums->digest[algorithm], value, NULL);
		}
		sums->done |= CHECKSUM_BIT(algorithm);
	}
	memcpy(out, sums->value[algorithm], bytes);
}

void checksums_destroy(struct checksums *sums)
{
	if (sums == NULL)
		return;
	for (int i = 0; i < CHECKSUM_COUNT; i++)
		EVP_MD_CTX_free(sums->digest[i]);
	free(sums);
}
