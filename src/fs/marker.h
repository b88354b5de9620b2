/* SPDX-License-Identifier: Apache-2.0 */
/* Directory markers: `dir/`, empty. Private to fs/. */
#ifndef PAILFS_FS_MARKER_H
#define PAILFS_FS_MARKER_H

#include "inode.h"

#define MARKER_CONTENT_TYPE "application/x-directory"

struct marker {
	const struct s3_meta *meta;
	unsigned meta_count;
	bool only_new; /* -EEXIST if there is one */
};

/* Puts a marker; waits. Errors of PutObject. */
int marker_put(struct fs *fs, const struct buf *key_slash, const struct marker *marker,
	       struct cancel *cancel);

#endif
