/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums of what is downloaded; thread of the loop. ISA-L takes and gives a CRC32C without its
 * two inversions, but a CRC32 (crc32_gzip_refl) with them; value is kept in ISA-L's form.
 *
 * Only checksums of the full object are compared: a composite one ("...-3") is of its parts'
 * checksums, and nobody here knows the parts.
 */
#include "checksum.h"

#include <limits.h>
#include <string.h>

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <pailfs/cleanup.h>

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

void checksum_update(struct checksum *c, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	while (c->kind != CHECKSUM_NONE && n > 0) {
		size_t piece = MIN(n, (size_t)INT_MAX);

		if (c->kind ==
		    CHECKSUM_CRC32C) /* its pointer is not const, but nothing is written */
			c->value =
			    crc32_iscsi((unsigned char *)(uintptr_t)at, (int)piece, c->value);
		else
			c->value = crc32_gzip_refl(c->value, at, piece);
		at += piece;
		n -= piece;
	}
}

bool checksum_matches(const struct checksum *c)
{
	uint32_t v = c->kind == CHECKSUM_CRC32C ? ~c->value : c->value;
	const unsigned char bytes[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
					(unsigned char)(v >> 8), (unsigned char)v};
	char text[CHECKSUM_TEXT_BYTES];

	if (c->kind == CHECKSUM_NONE)
		return true;
	EVP_EncodeBlock((unsigned char *)text, bytes, sizeof(bytes));
	return !memcmp(text, c->expected, sizeof(text));
}

const char *checksum_name(enum checksum_kind kind)
{
	return kinds[kind].name;
}
