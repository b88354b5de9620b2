/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored with an object: as headers of requests, from the headers of answers; its tags. */
#ifndef PAILFS_S3_ATTRIBUTES_H
#define PAILFS_S3_ATTRIBUTES_H

#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "document.h"
#include "request.h"

/* Adds all of op->attributes: PUT and CreateMultipart. */
void attributes_build(const struct s3_op *op, struct request *r);
/* Adds what a CopyObject does not keep, and all if op->copy.replace. */
void attributes_build_copy(const struct s3_op *op, struct request *r);
/* Fills op->found and tag_count; strings in the op's arena. 0, or the err of op_fail. */
int attributes_answer(struct s3_op *op, const struct http_answer *answer);

/* GetObjectTagging. */
int tagging_build(struct s3_op *op, struct request *r);
extern const struct document_kind tagging_document;

#endif
