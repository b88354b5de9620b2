/* SPDX-License-Identifier: Apache-2.0 */
/* CopyObject and UploadPartCopy. */
#ifndef PAILFS_S3_COPY_H
#define PAILFS_S3_COPY_H

#include <pailfs/s3.h>

#include "document.h"
#include "request.h"

int copy_object_build(struct s3_op *op, struct request *r);
int copy_part_build(struct s3_op *op, struct request *r);
extern const struct document_kind copy_object_document;
extern const struct document_kind copy_part_document;

/* Takes ETag and checksum out of a result; the same element in the root of Complete's. */
int copy_result_element(struct s3_op *op, const struct document_element *e);
/* A result without ETag is none: 0, or the err of op_fail. */
int copy_result_end(struct s3_op *op);

#endif
