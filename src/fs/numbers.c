/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that are not where their hash says. A number that cannot be noted for want of memory
 * may be given twice, which harms who compares numbers, and no data. */
#include "numbers.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include <pailfs/mix.h>

#include "inode.h"

/* Hash of a path: the parent's and the name's, so that st_ino is the same at every mount. */
uint64_t inode_hash_below(uint64_t parent_ino, const char *name, size_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ mix64(parent_ino);
	size_t i;

	for (i = 0; i < length; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	h = mix64(h);
	return h > FS_ROOT_ID ? h : h + 2;
}

uint64_t inode_child_hash(const struct inode *parent, const char *name, size_t length)
{
	return inode_hash_below(inode_ino(parent), name, length);
}

uint64_t inode_ino(const struct inode *i)
{
	if (i->is_dir)
		return i->dir_ino;
	if (i->numbered)
		return i->extra->number;
	return inode_child_hash(i->parent, inode_name(i), i->name_length);
}

struct number {
	UT_hash_handle hh;
	uint64_t number;
};

static struct number *find(const struct fs *fs, uint64_t number)
{
	struct number *n;

	HASH_FIND(hh, fs->numbers, &number, sizeof(number), n);
	return n;
}

uint64_t number_free_locked(const struct fs *fs, uint64_t hash)
{
	uint64_t number = hash;

	while (number <= FS_ROOT_ID || find(fs, number) != NULL)
		number = number * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return number;
}

void number_take_locked(struct fs *fs, uint64_t number)
{
	struct number *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return;
	n->number = number;
	HASH_ADD(hh, fs->numbers, number, sizeof(n->number), n);
	if (n->hh.tbl == NULL)
		free(n);
}

void number_give_locked(struct fs *fs, uint64_t number)
{
	struct number *n = find(fs, number);

	if (n == NULL)
		return;
	HASH_DEL(fs->numbers, n);
	free(n);
}

uint64_t inode_child_ino_locked(struct fs *fs, const struct inode *parent, const char *name,
				size_t length)
{
	const struct inode *i = inode_find_locked(fs, parent, name, length);

	return i != NULL ? inode_ino(i)
			 : number_free_locked(fs, inode_child_hash(parent, name, length));
}
