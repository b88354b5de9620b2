/* SPDX-License-Identifier: Apache-2.0 */
/* An open file. Private to fs/; shared by file.c, create.c, write.c and publish.c. */
#ifndef PAILFS_FS_FILE_H
#define PAILFS_FS_FILE_H

#include "dirty.h"
#include "process.h"

struct fs_file {
	/* set at creation */
	struct fs *fs;
	struct inode *inode; /* referenced */
	struct reader *reader;
	int flags;	     /* of open(2) */
	struct dirty *dirty; /* referenced: may write; NULL: for reading only */
	struct process opener;
	bool mute; /* ended by a call for which the kernel holds the directory: no notices */
	struct lock lock;
	/* under the lock */
	struct cache_version *version; /* referenced; NULL: not pinned yet */
	uint32_t moves;		       /* the inode's, when version was pinned */
	/* under dirty->lock */
	uint64_t wrote_epoch; /* of dirty: the last one in which it wrote */
	bool told;	      /* of what failed for good, by close(2) or fsync(2) */
};

/* What an inode's object was at one moment. */
struct file_base {
	struct object object; /* etag owned */
	uint32_t moves;	      /* the inode's then */
	struct cache_version *version;
	char etag[S3_ETAG_MAX];
};

/* Fills *ret, which file_base_finish gives back. -ENOMEM. */
int file_base_init(struct fs *fs, struct inode *i, struct file_base *ret);
/* Frees it; zeroed is fine. */
void file_base_finish(struct file_base *b);
/* 0 if the object can be read: a listing does not tell whether an archived one was restored, but
 * HEAD does. -EACCES (logged), -ESTALE. */
int file_check_archived(struct fs *fs, struct inode *i, struct caller *caller);
/* A handle of the inode, pinned to nothing. -ENOMEM. */
int file_create(struct fs *fs, struct inode *i, int flags, struct fs_file **ret);
/* Closes its descriptor's side of the dirty state: publishes what is left, or gives it up. */
void file_close_dirty(struct fs_file *f, bool publish);
/* Opens for writing, or with O_TRUNC. As fs_open. */
int file_open_write(struct fs *fs, struct inode *i, int flags, struct caller *caller,
		    struct fs_file **ret);
/* Pins the handle anew if this mount has published since. -ESTALE, -ENOMEM. */
int file_repin(struct fs_file *f);
/* A change of d ended in rc, which is not 0: nothing of it is published any more, unless rc is
 * -EINTR. Returns rc. */
int file_write_failed(struct dirty *d, int rc);
/* Notes that the handle has bytes that are not published. Under dirty->lock. */
void file_note_write(struct fs_file *f);
/* Sets the size; f may be NULL. Of a file that is not under write: opened, set and published. */
int file_resize(struct fs *fs, struct inode *i, struct fs_file *f, uint64_t size,
		struct caller *caller);

#endif
