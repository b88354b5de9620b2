/* SPDX-License-Identifier: Apache-2.0 */
/* PutObject, UploadPart, DeleteObject; conditions of all that changes objects. */
#ifndef PAILFS_S3_PUT_H
#define PAILFS_S3_PUT_H

#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "request.h"

/* Adds If-Match and If-None-Match. */
void put_conditions(const struct s3_op *op, struct request *r);
/* Adds the query that names an upload and, with number > 0, a part of it. */
void put_upload_query(const struct s3_op *op, unsigned part_number, struct request *r);

/* The requests: 0 or what is wrong with op. */
int put_object_build(struct s3_op *op, struct request *r);
int put_part_build(struct s3_op *op, struct request *r);
int delete_object_build(struct s3_op *op, struct request *r);

/* Takes ETag and checksum of a good answer to PutObject or UploadPart. 0, or the err of op_fail. */
int put_answer(struct s3_op *op, const struct http_answer *answer);
/* Keeps an ETag that an answer's header or document names, with quotes; "" if it is of no use. */
void put_take_etag(struct s3_op *op, const char *etag);

#endif
