/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checksum of a whole object, computed as its bytes pass, against the one S3 stored with it.
 * CRC32C and CRC32; CRC64NVME and the SHA family are not compared. And how a CRC32C is written.
 */
#ifndef PAILFS_S3_CHECKSUM_H
#define PAILFS_S3_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pailfs/http.h>

enum checksum_kind { CHECKSUM_NONE, CHECKSUM_CRC32C, CHECKSUM_CRC32 };

#define CHECKSUM_TEXT_BYTES 9 /* base64 of four bytes */

struct checksum {
	enum checksum_kind kind; /* NONE: nothing to compare */
	uint32_t value;		 /* of the bytes so far */
	char expected[CHECKSUM_TEXT_BYTES];
};

/* Begins with what the headers of an answer name; kind NONE if they name none of the full object.
 */
void checksum_begin(struct checksum *c, const struct http_answer *answer);
/* The next bytes. Nothing is done with kind NONE. */
void checksum_update(struct checksum *c, const void *bytes, size_t n);
/* True if all bytes together have the expected checksum, or none was expected. */
bool checksum_matches(const struct checksum *c);
/* "CRC32C", "CRC32"; "" for NONE. */
const char *checksum_name(enum checksum_kind kind);

/* Writes a CRC as headers have it: base64 of its four bytes, the highest first. Returns dst. */
const char *checksum_text(uint32_t crc, char dst[CHECKSUM_TEXT_BYTES]);
/* The reverse. -EINVAL (NULL, too). */
int checksum_parse(const char *text, uint32_t *ret_crc);

#endif
