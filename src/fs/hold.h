/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files whose name is about to be taken away (unlink, a rename onto it): they are read on and
 * written on, and nothing of them is published. Private to fs/.
 */
#ifndef PAILFS_FS_HOLD_H
#define PAILFS_FS_HOLD_H

#include "dirty.h"

/* Zeroed: nothing. */
struct held {
	struct dirty *dirty; /* referenced and entered; NULL: nobody has the file open */
	bool made;	     /* only for readers: it was not under write */
	bool on_server;	     /* the key has, or may have, an object */
};

/*
 * Before the object goes: fetches what its handles may still read of it, up to unlink_keep, and
 * keeps it from being published until hold_end. -EINTR; nothing is held then.
 */
int hold_begin(struct fs *fs, struct inode *i, struct cancel *cancel, struct held *ret);
/* gone: the name and the object are. Else all is as before. Not under fs->lock. */
void hold_end(struct held *h, bool gone);
/* A handle of the inode was closed: drops what was held for readers with the last one. */
void hold_closed(struct fs *fs, struct inode *i);

#endif
