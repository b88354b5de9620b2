/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_CHECKSUM_H
#define S3D_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum checksum {
	CHECKSUM_CRC32,
	CHECKSUM_CRC32C,
	CHECKSUM_CRC64NVME,
	CHECKSUM_SHA1,
	CHECKSUM_SHA256,
	CHECKSUM_MD5,
	CHECKSUM_COUNT,
};

#define CHECKSUM_MAX_BYTES 32
#define CHECKSUM_BIT(algorithm) (1u << (algorithm))

/* What there is to know of an algorithm; MD5 has no x-amz-checksum header. */
struct checksum_row {
	const char *name;    /* "CRC32C", as in x-amz-checksum-algorithm */
	const char *header;  /* "x-amz-checksum-crc32c" or NULL */
	const char *element; /* "ChecksumCRC32C" or NULL */
	size_t bytes;
};

extern const struct checksum_row checksum_table[CHECKSUM_COUNT];

/* The algorithm of a name or of a header (any case), or -EINVAL. */
int checksum_by_name(const char *name);
/* The same for a header name. */
int checksum_by_header(const char *header);

/* Sums of one stream of bytes by several algorithms; used by one thread at a time. */
struct checksums;

/* Sums of the algorithms whose bits are set in wanted. The caller destroys it. */
struct checksums *checksums_create(unsigned wanted);
/* Adds the next bytes of the stream. */
void checksums_update(struct checksums *sums, const void *bytes, size_t len);
/* Ends the stream: fills what was wanted; asked again it answers the same. Big-endian for CRCs. */
void checksums_get(struct checksums *sums, enum checksum algorithm,
		   unsigned char out[CHECKSUM_MAX_BYTES]);
/* Takes NULL. */
void checksums_destroy(struct checksums *sums);

#endif
