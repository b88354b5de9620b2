/* SPDX-License-Identifier: Apache-2.0 */
/*
 * st_ino is a hash of the path, the same at every mount. A rename takes it along, so that a file
 * stays the same file; what is then made at the old path needs another number. Private to fs/;
 * under fs->lock.
 */
#ifndef PAILFS_FS_NUMBERS_H
#define PAILFS_FS_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

struct fs;

/* The number for that hash: itself, unless it was taken along elsewhere. */
uint64_t number_free_locked(const struct fs *fs, uint64_t hash);
/* The number belongs to an inode whose path tells another one. False: out of memory. */
bool number_take_locked(struct fs *fs, uint64_t number);
/* That inode is no more. */
void number_give_locked(struct fs *fs, uint64_t number);

#endif
