/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that are not where their hash says. A number that cannot be noted for want of memory
 * may be given twice, which harms who compares numbers, and no data. */
#include "numbers.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include "inode.h"

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

bool number_take_locked(struct fs *fs, uint64_t number)
{
	struct number *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return false;
	n->number = number;
	HASH_ADD(hh, fs->numbers, number, sizeof(n->number), n);
	if (n->hh.tbl == NULL) {
		free(n);
		return false;
	}
	return true;
}

void number_give_locked(struct fs *fs, uint64_t number)
{
	struct number *n = find(fs, number);

	if (n == NULL)
		return;
	HASH_DEL(fs->numbers, n);
	free(n);
}
