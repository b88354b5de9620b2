/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of what is stored with an object, in posix mode. Private to fs/. */
#ifndef PAILFS_FS_EDIT_H
#define PAILFS_FS_EDIT_H

#include "copy.h"
#include "node.h"

struct meta_edit {
	/* Changes *m, whose strings are borrowed; what it points m to must last until the edit has
	 * ended. May be called more than once. 0, or an error that ends it. */
	int (*apply)(struct meta_edit *e, struct file_meta *m);
};

/*
 * Stores a change: of a file that holds unpublished bytes with its publication, of an object by a
 * copy in place that keeps everything else, of a directory in its marker, which is made if need be;
 * of what has no name any more in memory. Waits. What apply says; -ENOSPC (S3 has 2 KB for all
 * metadata; logged), -ESTALE (another version is there by now), -EACCES, -EIO, -EINTR.
 */
int inode_edit(struct fs *fs, struct inode *i, struct meta_edit *edit, struct caller *caller);
/* fs_setattr in posix mode, but for the size. */
int change_posix(struct fs *fs, struct inode *i, const struct fs_change *ask,
		 struct caller *caller);
/* What a rename stores with the copy in posix mode: another time of change, and the time of
 * modification that showed, although the copy moves Last-Modified. */
struct rename_edit {
	struct copy_edit copy; /* first */
	struct fs *fs;
	struct meta_text text;
	struct node_attr *made; /* what is stored; NULL: nothing was copied yet */
};
/* Makes it ready; outside posix mode nothing changes: NULL, else &e->copy. */
struct copy_edit *rename_edit_init(struct rename_edit *e, struct fs *fs);
/* The inode has moved along with its object. */
void rename_edit_take_locked(struct rename_edit *e, struct inode *i, const struct buf *from,
			     const struct buf *to);
/* Frees what it holds. */
void rename_edit_finish(struct rename_edit *e);
/* True for metadata that an edit leaves as it is. */
bool edit_keeps(const char *name);

#endif
