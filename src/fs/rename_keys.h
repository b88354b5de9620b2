/* SPDX-License-Identifier: Apache-2.0 */
/* Many keys at once: listed without a delimiter, and deleted in batches. Private to fs/. */
#ifndef PAILFS_FS_RENAME_KEYS_H
#define PAILFS_FS_RENAME_KEYS_H

#include "conditions.h"
#include "inode.h"

/*
 * Calls fn for each page of the keys that begin with prefix, until it answers other than 0: that,
 * or -errno. A key that could not be read (its bytes) is -EIO.
 */
int keys_each_page(struct fs *fs, const struct buf *prefix, struct cancel *cancel,
		   int (*fn)(void *ctx, const struct s3_page *page), void *ctx);

/* One key of a batch. */
struct doomed {
	struct buf key;
	char etag[S3_ETAG_MAX]; /* it must have this one; "": any */
	int err;		/* answer: 0 (it is gone), -ESTALE (it has another), -errno */
};

/* At most S3_DELETES_MAX of them. Zeroed: empty. */
struct batch {
	struct doomed *keys;
	unsigned count;
};

/* Adds base followed by suffix. -ENOMEM. */
int batch_add(struct batch *b, const struct buf *base, const char *suffix, size_t length,
	      const char *etag);
/* Frees it. */
void batch_finish(struct batch *b);
/* Empties it. */
void batch_clear(struct batch *b);
/*
 * Deletes the keys whose err is 0 and fills it: one DeleteObjects, or a DELETE each where the
 * server, or a key's bytes, know no better. Where the server ignores conditions of DELETE, look
 * says that a HEAD of each comes first (else who calls has just listed them). 0, or what cancel
 * answered: some keys have -EIO then.
 */
int batch_delete(struct fs *fs, struct batch *b, bool look, struct cancel *cancel);
/*
 * HEADs of other + what follows base in each key: *ret_etags[k] is the ETag there, "" if there is
 * none, or the key's err is set. As batch_delete.
 */
int batch_look(struct fs *fs, struct batch *b, const struct buf *base, const struct buf *other,
	       char (*ret_etags)[S3_ETAG_MAX], struct cancel *cancel);

#endif
