/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_OP_H
#define S3D_OP_H

/* What the files of the operations share. */
#include "fault.h"
#include "intake.h"
#include "request.h"
#include "upload.h"

#include <errno.h>

#define S3_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"
#define COPY_MAX_BYTES (5ull << 30)

/* The error `code` (404), or AccessDenied for one who may not list the bucket. */
void answer_missing(struct request *request, const char *code);
/* If-Match and its three sisters, their names behind prefix: NULL or an error code. */
const char *check_conditions(const struct request *request, const char *prefix,
			     const struct object *object);
/* A Range value against a size: 1 with the range, 0 when it is to be ignored, -ERANGE (416). */
int parse_range(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_length);
/* Copies the headers that S3 keeps into an object; an error code or NULL. */
const char *keep_headers(const struct request *request, struct object *object);
/* Whether x-amz-tagging, if there, is allowed; false with the answer filled. */
bool may_tag(struct request *request);
/* If-Match and If-None-Match of a write, as far as the dialect honours them; false with the
 * answer filled. */
bool read_precondition(struct request *request, struct precondition *ret);
/* The answer for an error of store_put() or store_delete(). */
void answer_put_error(struct request *request, int err);

#endif
