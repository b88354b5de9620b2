/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rename has done so far, in a file of its own beside the journal of uploads, so that the
 * next mount finishes what a daemon that was killed has begun, or takes it back. Private to fs/.
 *
 *	pailfs-rename 1 PLACE
 *	R FROM TO SECONDS FLAGS		keys without a slash at the end, URL-encoded as all below
 *	C SUFFIX SOURCE-ETAG ETAG	FROM + SUFFIX was copied to TO + SUFFIX; a + before the
 *suffix D				all are; sources are deleted from here on
 *
 * Lines are appended whole. Without a journal directory the file is an unlinked one in the spool,
 * and the next mount knows nothing.
 */
#ifndef PAILFS_FS_RENAME_LOG_H
#define PAILFS_FS_RENAME_LOG_H

#include <pailfs/buf.h>

#include "inode.h"

struct rename_log;

/* The R line. */
struct rename_intent {
	struct buf from, to;
	uint64_t wall_s; /* the server's clock */
	bool is_dir;
	bool replaces; /* to was an empty directory */
};

/* One C line; valid during the call. */
struct rename_copied {
	const char *suffix;
	size_t length;
	const char *source_etag, *etag;
};

/* Begins the file of a rename. -ENOSPC, -EACCES...: no rename without one. */
int rename_log_create(struct fs *fs, const struct rename_intent *intent, struct rename_log **ret);
/* Adds a C line; any thread. */
int rename_log_copied(struct rename_log *l, const struct rename_copied *c);
/* Adds the D line, and waits until the disk has all. */
int rename_log_deleting(struct rename_log *l);
/* True if the next mount will find it. */
bool rename_log_lasts(const struct rename_log *l);
/* The rename is over: the file goes. NULL is fine. */
void rename_log_end(struct rename_log *l);
/* It is not: the file stays for the next mount. NULL is fine. */
void rename_log_keep(struct rename_log *l);

/* Calls fn for each C line, in order, until it answers other than 0: that, or -errno. */
int rename_log_each(struct rename_log *l, int (*fn)(void *ctx, const struct rename_copied *c),
		    void *ctx);

/* False if the file is of another place, or no log: not to be locked, since a mount of that place
 * must not find it locked by us and take its daemon for alive. */
bool rename_log_is_of(int fd, const char *place);

/*
 * Takes a file that a dead daemon has left (fd: locked, of this place; closed with it). -EINVAL:
 * of another place, or not one; -ENOMEM... *ret_intent's buffers are the caller's to finish.
 * *ret_deleting: a D line.
 */
int rename_log_take(int dir_fd, const char *name, int fd, const char *place,
		    struct rename_intent *ret_intent, bool *ret_deleting, struct rename_log **ret);

#endif
