/* SPDX-License-Identifier: Apache-2.0 */
/* Multipart uploads: create, complete, abort, list. UploadPart is in put.h, its copying in copy.h.
 */
#ifndef PAILFS_S3_MULTIPART_H
#define PAILFS_S3_MULTIPART_H

#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "document.h"
#include "request.h"

/* The requests: 0 or what is wrong with op. */
int create_build(struct s3_op *op, struct request *r);
int complete_build(struct s3_op *op, struct request *r);
int abort_build(struct s3_op *op, struct request *r);
int list_parts_build(struct s3_op *op, struct request *r);
int list_uploads_build(struct s3_op *op, struct request *r);

/* Notes whether the server keeps CRC32Cs of the new upload. */
void create_answer(struct s3_op *op, const struct http_answer *answer);

/* True if an element's text may be the id of an upload. */
bool upload_id_is_valid(const struct document_element *e);

extern const struct document_kind create_document;
extern const struct document_kind complete_document;
extern const struct document_kind list_parts_document;
extern const struct document_kind list_uploads_document;

#endif
