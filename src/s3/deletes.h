/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteObjects: up to S3_DELETES_MAX keys in one request, each with an end of its own. */
#ifndef PAILFS_S3_DELETES_H
#define PAILFS_S3_DELETES_H

#include <pailfs/s3.h>

#include "document.h"
#include "request.h"

/* 0 or what is wrong with op. */
int deletes_build(struct s3_op *op, struct request *r);
extern const struct document_kind deletes_document;

#endif
