/* SPDX-License-Identifier: Apache-2.0 */
/* What copy.c and copy_parts.c share. */
#ifndef PAILFS_FS_COPY_PRIVATE_H
#define PAILFS_FS_COPY_PRIVATE_H

#include "copy.h"
#include "upload.h"

#define COPY_META_MAX 64

/* One copy on its way. */
struct copy {
	struct fs *fs;
	const struct copy_ask *ask;
	struct cancel *cancel;
	struct xfer_op *head; /* its answer: what the source is */
	struct s3_meta meta[COPY_META_MAX];
	unsigned meta_count;
	const struct s3_meta *set; /* on top of the source's */
	unsigned set_count;
	char nonce[NONCE_BYTES]; /* "": none */
	char etag[S3_ETAG_MAX];	 /* of what was made */
	bool doubted;		 /* an answer was lost: it may have been made */
};

/* Begins a request about the copy. */
void copy_op(struct copy *c, struct xfer_op *op, enum s3_verb verb);
/* Names the source in it. */
void copy_op_source(struct copy *c, struct xfer_op *op);
/* The whole of it, for sources over 5 GB. As copy_object. */
int copy_in_parts(struct copy *c, bool without_tags);

/* Runs the request that makes the copy, takes its ETag, and finishes it. */
int copy_run(struct copy *c, struct xfer_op *op);

#endif
