/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ETag in 24 bytes: the usual forms ("32 hex digits", with -N for a multipart upload) are
 * packed, any other is a copy of its text. A million names are kept, so it matters.
 */
#ifndef PAILFS_FS_ETAG_H
#define PAILFS_FS_ETAG_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/s3.h>

enum etag_form { ETAG_NONE, ETAG_TEXT, ETAG_HEX, ETAG_HEX_QUOTED };

/* Packed, so that what there is a million of has no padding behind it. */
struct etag {
	union {
		uint8_t hex[16];
		char *text; /* ETAG_TEXT: owned */
	};
	uint16_t parts; /* N of -N, 0 without */
	uint8_t form;	/* enum etag_form */
} __attribute__((packed, aligned(4)));

/* Packs an ETag as the server sent it ("" is ETAG_NONE). -ENOMEM. */
int etag_init(struct etag *e, const char *text);
/* Copies. -ENOMEM. */
int etag_copy(struct etag *e, const struct etag *from);
/* Frees what it owns; it becomes ETAG_NONE. */
void etag_finish(struct etag *e);
/* Writes the text as the server sent it into dst and returns dst. */
const char *etag_text(const struct etag *e, char dst[S3_ETAG_MAX]);
/* True if both are the same, with quotes or without; two ETAG_NONE are. */
bool etag_equal(const struct etag *a, const struct etag *b);

#endif
