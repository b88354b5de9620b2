/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_INTAKE_H
#define S3D_INTAKE_H

#include "checksum.h"
#include "request.h"

/* The body of one request on its way in. */
struct intake;

/*
 * Prepares for the body that the request announces. NULL with the answer filled when it breaks a
 * rule (no length, too large, malformed digest header). The caller destroys it.
 */
struct intake *intake_create(struct request *request);
/* Takes the next bytes of the body as they came off the wire. Errors are kept for the end. */
void intake_feed(struct intake *intake, const void *bytes, size_t len);
/* Verifies length, payload hash, Content-MD5 and checksums. False with the answer filled. */
bool intake_end(struct intake *intake);
/* Takes NULL. Drops a blob that nobody took. */
void intake_destroy(struct intake *intake);

/* After a good end: the body of BODY_TEXT, borrowed. */
const struct buf *intake_text(const struct intake *intake);
/* After a good end, BODY_BLOB: moves blob, size, ETag and checksums into a new object. */
void intake_take(struct intake *intake, struct object *object);
/* Whether a Content-MD5 or an x-amz-checksum header (or trailer) vouched for the body. */
bool intake_has_digest(const struct intake *intake);

#endif
