/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of rename share. */
#ifndef PAILFS_FS_RENAME_PRIVATE_H
#define PAILFS_FS_RENAME_PRIVATE_H

#include "dirty.h"
#include "edit.h"
#include "gate.h"
#include "keyset.h"
#include "rename_keys.h"
#include "rename_log.h"

/* One end of a rename. */
struct place {
	struct inode *parent; /* referenced */
	char *name;
	size_t length;
	struct buf key;	     /* a directory's without its slash */
	struct inode *inode; /* referenced; NULL: nothing known of it */
};

/* One rename: on a thread of its own, while a FUSE thread waits for it. */
struct renaming {
	/* set at creation */
	struct fs *fs;
	bool only_new;
	struct caller caller; /* never killed; ends when it should be given up */
	/* its thread's */
	struct place from, to;
	struct dirty *dirty;	 /* of the source, referenced and entered; NULL: not under write */
	struct rename_edit edit; /* posix mode */
	struct gate gate;
	struct rename_log *log;
	bool
	    kernel_errs; /* it must be told of names: it was told of a failure, and half was done */
	struct lock lock;
	struct cond cond;
	/* under the lock */
	unsigned refs; /* its thread, and who waits */
	bool over;
	bool begun;	/* a file's: does not only wait for others any more */
	bool given_up;	/* who waited was killed */
	bool committed; /* a directory's: goes forward only */
	bool taking_back;
	int rc;
};

/* The keys of a directory's rename, or of what a daemon before has left of one. */
struct tree {
	struct fs *fs;
	struct cancel *cancel;
	const struct buf *from, *to; /* without a slash at the end; keys are from + suffix */
	struct buf from_slash, to_slash;
	bool replaces;	  /* to was an empty directory, and must stay one if this is taken back */
	bool in_doubt;	  /* a copy may have been made that was not noted */
	bool look_back;	  /* others may have changed either side: look before each batch */
	uint64_t since_s; /* when it began, by the server's clock */
	struct rename_log *log;
	struct keyset copied; /* suffix and ETag of sources */
	struct keyset made;   /* suffix and ETag of copies */
	struct keyset seen;   /* suffixes of the round */
	uint64_t lines;	      /* of the log: copies */
	struct pool *pool;    /* of a round */
	/* progress */
	uint64_t bytes, begun_ns, told_ns;
	uint64_t deleted, left;
};

/* 0, or -ENOMEM. log is borrowed. */
int tree_init(struct tree *t, struct fs *fs, const struct buf *from, const struct buf *to);
/* Frees it. */
void tree_finish(struct tree *t);
/* Notes that a key was copied: in the sets, and in the log. */
int tree_note_copied(struct tree *t, const struct rename_copied *c);
/* The keys beside the directory's own that are part of it: its object, its folder marker. */
extern const char *const tree_extras[2];
/* A line of progress, from time to time. */
void tree_tell(struct tree *t, const char *what, uint64_t count);
/* Lists the sources and copies what was not copied: 1 if there was something, 0, -errno. Sets
 * *ret_keys: how many there are. */
int tree_copy_round(struct tree *t, uint64_t *ret_keys);
/* Removes copies whose source is gone since. 0, -errno. */
int tree_prune(struct tree *t);
/* Deletes the sources that were copied. 0, -EIO (some stayed), -EINTR. */
int tree_delete_sources(struct tree *t);
/* Removes the copies that still are what was copied. 0, -EIO (some stayed), -EINTR. */
int tree_take_back(struct tree *t);

/* rename_pool.c: copiers. */
struct pool;
/* Starts them. -ENOMEM, -EAGAIN. */
int pool_create(struct tree *t, struct pool **ret);
/* Queues a key; waits while there are too many. again: it was copied before, and changed since.
 * What a copier failed with. */
int pool_add(struct pool *p, const char *suffix, size_t length, bool again);
/* True if a source of that suffix and ETag was copied. Copiers add to the tree's sets under the
 * pool's lock: while there is a pool, nobody else looks at them without it. */
bool pool_has_copied(struct pool *p, const char *suffix, size_t length, const char *etag);
/* How many copies were made so far. */
uint64_t pool_copied(struct pool *p);
/* Waits for all, ends them and frees it: what one failed with, or 0. NULL is fine. */
int pool_destroy(struct pool *p);

/* rename_move.c: what this mount knows follows. */

/*
 * The directory is about to be at its new place: files under write below go on over their copies.
 * 0; 1: some must be published first, *ret_dirty (referenced) is one of them; -errno.
 */
int move_prepare(struct renaming *r, struct dirty **ret_dirty);
/* Moves the inode of the directory and all that is known below. The log has the copies, and says
 * that it goes forward: without memory the inode is retired, and never moved back. */
void move_commit(struct renaming *r);
/* The table and the names after the rename of a file. object: what the target is now; NULL: not
 * published. Under fs->lock. */
int move_file_locked(struct renaming *r, struct object *object);

/* rename_dir.c: the rename of a directory, on its thread. */
int rename_dir(struct renaming *r);
/* rename_file.c: of a file. */
int rename_file(struct renaming *r);
/* -EEXIST, -EPERM (safe) if there is a target and there may be none. */
int rename_check_target(struct renaming *r);

#endif
