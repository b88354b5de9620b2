/* SPDX-License-Identifier: Apache-2.0 */
/*
 * st_ino is a hash of the path, the same at every mount. A rename takes it along, so that a file
 * stays the same file; what is then made at the old path needs another number. Private to fs/;
 * under fs->lock.
 */
#ifndef PAILFS_FS_NUMBERS_H
#define PAILFS_FS_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

struct fs;
struct inode;

/* The hash of the path of a name below the directory with that st_ino. */
uint64_t inode_hash_below(uint64_t parent_ino, const char *name, size_t length);
/* The hash of a child's path. */
uint64_t inode_child_hash(const struct inode *parent, const char *name, size_t length);
/* The st_ino that a child has, or will have when it is looked up. */
uint64_t inode_child_ino_locked(struct fs *fs, const struct inode *parent, const char *name,
				size_t length);
/* An inode's st_ino. Of a directory it never changes, and needs no lock. */
uint64_t inode_ino(const struct inode *i);

/* The number for that hash: itself, unless it was taken along elsewhere. */
uint64_t number_free_locked(const struct fs *fs, uint64_t hash);
/* The number belongs to an inode whose path tells another one. */
void number_take_locked(struct fs *fs, uint64_t number);
/* That inode is no more. */
void number_give_locked(struct fs *fs, uint64_t number);

#endif
