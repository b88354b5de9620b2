/* SPDX-License-Identifier: Apache-2.0 */
/* HEAD and GET of an object: their requests' headers and what their answers' headers promise. */
#ifndef PAILFS_S3_OBJECT_H
#define PAILFS_S3_OBJECT_H

#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "request.h"

/* Adds If-Match, Range, checksum mode to the request. -EINVAL: nothing (left) to ask for. */
int object_build(struct s3_op *op, struct request *r);

/* Checks the headers of a successful HEAD and fills op->object. 0, or the err of op_fail. */
int object_head_answer(struct s3_op *op, const struct http_answer *answer);
/* The same of a GET: 200, 206 or 416. The body may be taken when it returns 0. */
int object_get_answer(struct s3_op *op, const struct http_answer *answer);
/* The next bytes of a GET. 0, or the err of op_fail. */
int object_get_data(struct s3_op *op, const void *bytes, size_t n);
/* True for the storage classes whose objects must be restored before they can be read. */
bool object_is_archive_class(const char *storage_class);
/* True if the range is complete; op_fail when its checksum does not match. */
bool object_get_complete(struct s3_op *op);

#endif
