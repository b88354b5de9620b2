/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums of what is downloaded (thread of the loop) and sent (whoever seals a body). ISA-L takes
 * and gives a CRC32C without its two inversions, but a CRC32 (crc32_gzip_refl) with them; value is
 * kept in ISA-L's form.
 *
 * Only checksums of the full object are compared: a composite one ("...-3") is of its parts'
 * checksums, and nobody here knows the parts.
 */
#include "checksum.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <pailfs/cleanup.h>
#include <pailfs/s3.h>

static const struct {
	const char *header;
	const char *name;
	uint32_t start;
} kinds[] = {
    [CHECKSUM_NONE] = {NULL, "", 0},
    [CHECKSUM_CRC32C] = {"x-amz-checksum-crc32c", "CRC32C", UINT32_MAX},
    [CHECKSUM_CRC32] = {"x-amz-checksum-crc32", "CRC32", 0},
};

void checksum_begin(struct checksum *c, const struct http_answer *answer)
{
	const char *type = http_answer_header(answer, "x-amz-checksum-type");

	*c = (struct checksum){.kind = CHECKSUM_NONE};
	if (type && strcmp(type, "FULL_OBJECT") != 0)
		return;
	for (size_t i = CHECKSUM_CRC32C; i < ARRAY_SIZE(kinds); i++) {
		const char *text = http_answer_header(answer, kinds[i].header);

		if (!text || strlen(text) != CHECKSUM_TEXT_BYTES - 1)
			continue;
		c->kind = (enum checksum_kind)i;
		c->value = kinds[i].start;
		memcpy(c->expected, text, CHECKSUM_TEXT_BYTES);
		return;
	}
}

/* ISA-L's pointer is not const, but nothing is written through it. */
static uint32_t crc32c_raw(uint32_t value, const unsigned char *bytes, size_t n)
{
	return crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)n, value);
}

void checksum_update(struct checksum *c, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	while (c->kind != CHECKSUM_NONE && n > 0) {
		size_t piece = MIN(n, (size_t)INT_MAX);

		if (c->kind == CHECKSUM_CRC32C)
			c->value = crc32c_raw(c->value, at, piece);
		else
			c->value = crc32_gzip_refl(c->value, at, piece);
		at += piece;
		n -= piece;
	}
}

bool checksum_matches(const struct checksum *c)
{
	uint32_t crc = c->kind == CHECKSUM_CRC32C ? ~c->value : c->value;
	char text[CHECKSUM_TEXT_BYTES];

	return c->kind == CHECKSUM_NONE || !strcmp(checksum_text(crc, text), c->expected);
}

const char *checksum_name(enum checksum_kind kind)
{
	return kinds[kind].name;
}

const char *checksum_text(uint32_t crc, char dst[CHECKSUM_TEXT_BYTES])
{
	const unsigned char bytes[4] = {(unsigned char)(crc >> 24), (unsigned char)(crc >> 16),
					(unsigned char)(crc >> 8), (unsigned char)crc};

	EVP_EncodeBlock((unsigned char *)dst, bytes, sizeof(bytes));
	return dst;
}

int checksum_parse(const char *text, uint32_t *ret_crc)
{
	char again[CHECKSUM_TEXT_BYTES];
	unsigned char b[6];
	uint32_t crc;

	if (!text || strlen(text) != CHECKSUM_TEXT_BYTES - 1 ||
	    EVP_DecodeBlock(b, (const unsigned char *)text, CHECKSUM_TEXT_BYTES - 1) != sizeof(b))
		return -EINVAL;
	crc = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	if (strcmp(checksum_text(crc, again), text) != 0) /* OpenSSL is generous */
		return -EINVAL;
	*ret_crc = crc;
	return 0;
}

uint32_t s3_crc32c(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	uint32_t value = ~crc;

	while (n > 0) {
		size_t piece = MIN(n, (size_t)INT_MAX);

		value = crc32c_raw(value, at, piece);
		at += piece;
		n -= piece;
	}
	return ~value;
}
