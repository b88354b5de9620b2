/* SPDX-License-Identifier: Apache-2.0 */
/* Objects copied by the server, whatever their size. Private to fs/. */
#ifndef PAILFS_FS_COPY_H
#define PAILFS_FS_COPY_H

#include "inode.h"

/* Metadata for a copy, made of what HEAD said of its source. */
struct copy_edit {
	/*
	 * Gives what is to be stored on top of the source's metadata that keep says yes to; both
	 * until the copy has ended. 0, or an error that ends it.
	 */
	int (*make)(struct copy_edit *e, const struct s3_op *head, const struct s3_meta **ret_meta,
		    unsigned *ret_count);
	bool (*keep)(const char *name);
};

struct copy_ask {
	const struct buf *from, *to; /* keys; the same: metadata is replaced in place */
	const char *if_match;	     /* the source must have this ETag; NULL: any */
	bool only_new;		     /* refused with -EEXIST if there is an object `to` */
	/* of only_new, whose answer was lost: an object that cannot be told from the copy is taken
	 * for it. Else the copy carries a nonce, which tells */
	bool alike_will_do;
	const struct s3_meta *meta; /* set on top of the source's; strings borrowed */
	unsigned meta_count;	    /* 0: its metadata stays as it is */
	struct copy_edit *edit;	    /* instead of meta; NULL: none */
	char *ret_source_etag;	    /* S3_ETAG_MAX bytes: what was copied; NULL: not asked */
};

/*
 * Copies, with content headers, metadata, tags, storage class and encryption; waits. 0 with what
 * was made (the caller finishes its etag; modified is our clock's), -ENOENT (no source), -ESTALE
 * (the source changed, all the time), -EEXIST, -EACCES, -EIO, -EINTR.
 */
int copy_object(struct fs *fs, const struct copy_ask *ask, struct cancel *cancel,
		struct object *ret_object);

/*
 * True if `to` holds what a copy of `from` would be, made since that second of the server's clock;
 * the ETags go into *ret_source and *ret_copy (S3_ETAG_MAX bytes each). -ENOENT (no source),
 * -errno.
 */
int copy_is_there(struct fs *fs, const struct buf *from, const struct buf *to, uint64_t since_s,
		  struct cancel *cancel, char *ret_source, char *ret_copy);

/*
 * Sends a DELETE (upload_id NULL) or the abort of an upload of that key and waits for nothing: for
 * who was killed and must not keep waiting. Failures are logged at debug level only. entry: of the
 * journal, ended when it went well; 0: none. fs_destroy waits for it.
 */
void clean_up_later(struct fs *fs, const struct buf *key, const char *upload_id, uint64_t entry);

#endif
