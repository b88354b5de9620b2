/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive walks (find, du, rm -r, cp -r), found out and fed by undelimited listings of the
 * subtree. Private to fs/; used by stream.c.
 */
#ifndef PAILFS_FS_WALK_H
#define PAILFS_FS_WALK_H

#include "inode.h"

struct walks;

/* None yet. -ENOMEM. */
int walks_create(struct fs *fs, struct walks **ret);
/* Ends them, with the requests on their way. NULL is fine. */
void walks_destroy(struct walks *ws);
/*
 * The whole listing of a directory that is about to be read, if a walk knows it: 1 with *ret (one
 * reference), 0: it is to be listed by itself, -EINTR. prefix: the directory's. Not older than
 * metadata_ttl, nor than what the directory showed before, nor than the last change made here. May
 * wait for a page, as a listing of its own would.
 */
int walk_serve(struct fs *fs, struct inode *dir, const struct buf *prefix, struct caller *caller,
	       struct names_page **ret);
/*
 * What the pages that are there tell of a directory that is not read yet (a name below parent;
 * prefix: its own): 1 with *ret (one reference), 0: too little, or -ENOMEM. Asks nothing and does
 * not count as a visit.
 */
int walk_look_ahead_locked(struct fs *fs, const struct inode *parent, const char *name,
			   size_t length, const struct buf *prefix, struct names_page **ret);
/* A name of the directory was changed here: what was asked before says nothing about either. */
void walk_note_change_locked(struct fs *fs, const struct inode *dir, const char *name,
			     size_t length);
/* Frees what is too old to be used. */
void walks_trim_locked(struct fs *fs, uint64_t now_ns);

#endif
