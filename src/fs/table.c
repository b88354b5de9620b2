/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of inodes, by the hash of (parent's st_ino, name). Intrusive, because a uthash handle (56
 * bytes) would be a quarter of what a name may cost; and with one or two inodes a bucket, and the
 * hash made from the name when it is needed, for the same reason. Buckets come and go with the
 * inodes.
 */
#include "table.h"

#include <errno.h>
#include <string.h>

#include "inode.h"

#define BUCKETS_MIN 1024
#define CHAIN_MAX 2 /* inodes a bucket, on average: more buckets then */
#define CHAIN_MIN 4 /* buckets an inode: fewer then */

int table_init(struct inode_table *t)
{
	*t = (struct inode_table){.buckets = calloc(BUCKETS_MIN, sizeof(t->buckets[0]))};
	if (t->buckets == NULL)
		return -ENOMEM;
	t->bucket_count = BUCKETS_MIN;
	return 0;
}

void table_finish(struct inode_table *t)
{
	free(t->buckets);
	*t = (struct inode_table){0};
}

static struct inode **bucket_of(const struct inode_table *t, uint64_t hash)
{
	return &t->buckets[hash & (t->bucket_count - 1)];
}

static struct inode **bucket_of_inode(const struct inode_table *t, const struct inode *i)
{
	return bucket_of(t, inode_child_hash(i->parent, inode_name(i), i->name_length));
}

struct inode *table_find(const struct inode_table *t, const struct inode *parent, const char *name,
			 size_t length)
{
	struct inode *i = *bucket_of(t, inode_child_hash(parent, name, length));

	for (; i != NULL; i = i->hash_next)
		if (!i->retired && i->parent == parent && i->name_length == length &&
		    memcmp(inode_name(i), name, length) == 0)
			return i;
	return NULL;
}

static void chain(struct inode_table *t, struct inode *i)
{
	struct inode **bucket = bucket_of_inode(t, i);

	i->hash_next = *bucket;
	*bucket = i;
}

/* Makes it that many buckets. A table for which there is no memory stays as it is. */
static void resize(struct inode_table *t, size_t bucket_count)
{
	struct inode_table old = *t;
	struct inode **buckets = calloc(bucket_count, sizeof(*buckets));

	if (buckets == NULL)
		return;
	t->buckets = buckets;
	t->bucket_count = bucket_count;
	for (size_t b = 0; b < old.bucket_count; b++) {
		for (struct inode *i = old.buckets[b], *next; i != NULL; i = next) {
			next = i->hash_next;
			chain(t, i);
		}
	}
	free(old.buckets);
}

void table_insert(struct inode_table *t, struct inode *i)
{
	if (t->count >= t->bucket_count * CHAIN_MAX)
		resize(t, t->bucket_count * 2);
	chain(t, i);
	t->count++;
}

void table_remove(struct inode_table *t, struct inode *i)
{
	struct inode **p = bucket_of_inode(t, i);

	while (*p != i)
		p = &(*p)->hash_next;
	*p = i->hash_next;
	t->count--;
	if (t->bucket_count > BUCKETS_MIN && t->count * CHAIN_MIN < t->bucket_count)
		resize(t, t->bucket_count / 2);
}
