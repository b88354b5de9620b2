/* SPDX-License-Identifier: Apache-2.0 */
/* Objects copied by the server, whatever their size. Private to fs/. */
#ifndef PAILFS_FS_COPY_H
#define PAILFS_FS_COPY_H

#include "inode.h"

struct copy_ask {
	const struct buf *from, *to; /* keys; the same: metadata is replaced in place */
	const char *if_match;	     /* the source must have this ETag; NULL: any */
	bool only_new;		     /* refused with -EEXIST if there is an object `to` */
	const struct s3_meta *meta;  /* set on top of the source's; strings borrowed */
	unsigned meta_count;	     /* 0: its metadata stays as it is */
	char *ret_source_etag;	     /* S3_ETAG_MAX bytes: what was copied; NULL: not asked */
};

/*
 * Copies, with content headers, metadata, tags, storage class and encryption; waits. 0 with what
 * was made (the caller finishes its etag; modified is our clock's), -ENOENT (no source), -ESTALE
 * (the source changed, all the time), -EEXIST, -EACCES, -EIO, -EINTR.
 */
int copy_object(struct fs *fs, const struct copy_ask *ask, struct cancel *cancel,
		struct object *ret_object);

/*
 * Sends a DELETE (upload_id NULL) or the abort of an upload of that key and waits for nothing: for
 * who was killed and must not keep waiting. Failures are logged at debug level only.
 */
void clean_up_later(struct fs *fs, const struct buf *key, const char *upload_id);

#endif
