/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table of inodes by parent and name. Private to fs/; under fs->lock. */
#ifndef PAILFS_FS_TABLE_H
#define PAILFS_FS_TABLE_H

#include <stddef.h>

struct inode;

struct inode_table {
	struct inode **buckets; /* chains by hash_next */
	size_t bucket_count, count;
};

/* -ENOMEM. */
int table_init(struct inode_table *t);
/* Frees the buckets, not the inodes. */
void table_finish(struct inode_table *t);
/* The living inode of that name; NULL if there is none. */
struct inode *table_find(const struct inode_table *t, const struct inode *parent, const char *name,
			 size_t length);
/* Takes an inode in; its parent and name must not change while it is there. */
void table_insert(struct inode_table *t, struct inode *i);
/* It is in the table. */
void table_remove(struct inode_table *t, struct inode *i);

#endif
