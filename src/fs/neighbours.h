/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead across small files: when programs open the files of a directory one after the other,
 * in the order of its listing or of st_ino, the next ones are fetched before they are opened; then
 * those of the directory beside it, as soon as its names are known. Private to fs/.
 *
 * Only whole small files, whose size and ETag a listing that still holds has told, into the cache,
 * where they are found if the open finds the same version; as reading ahead of class XFER_AHEAD,
 * which neither takes memory nor goes on the wire before what somebody waits for. How many is
 * decided by series.h, which bounds what may be fetched for nothing. What is left unread when a
 * series ends is the first to be evicted.
 */
#ifndef PAILFS_FS_NEIGHBOURS_H
#define PAILFS_FS_NEIGHBOURS_H

#include "inode.h"

struct neighbours;

/* None yet. -ENOMEM. */
int neighbours_create(struct fs *fs, struct neighbours **ret);
/* Ends them, with what is on its way. Before the inodes end. NULL is fine. */
void neighbours_destroy(struct fs *fs);
/* The file is opened for reading: asks for what comes next. Never waits. */
void neighbours_opened(struct fs *fs, const struct inode *i);
/* All names of the directory are known now, because somebody reads it: the same. */
void neighbours_listed(struct fs *fs, struct inode *dir);

#endif
