/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a file under write: blocks of 128 KiB, found by their index. Which of a block's
 * bytes count is what the map of extents says. All under the writer's lock.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

struct writer_block *block_find_locked(struct writer *w, uint64_t index)
{
	struct writer_block *b;

	lock_assert_held(&w->owner.lock);
	HASH_FIND(hh, w->blocks, &index, sizeof(index), b);
	return b;
}

unsigned block_need_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t index;
	unsigned need = 0;

	for (index = start / BLOCK_BYTES; index * BLOCK_BYTES < end; index++) {
		const struct writer_block *b = block_find_locked(w, index);

		need += b == NULL || b->refs > 1;
	}
	return need;
}

/* A new block in the map. Takes memory of one reserved block over. */
static struct writer_block *block_make_locked(struct writer *w, uint64_t index)
{
	struct writer_block *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->index = index;
	b->refs = 1;
	b->data = slab_get(w->shared->slab);
	if (b->data == NULL) {
		free(b);
		return NULL;
	}
	HASH_ADD(hh, w->blocks, index, sizeof(b->index), b);
	if (b->hh.tbl == NULL) {
		slab_put(w->shared->slab, b->data);
		free(b);
		return NULL;
	}
	return b;
}

/* Zeros over the holes of [from, to), all of which lies in b. */
static int fill_holes_locked(struct writer *w, struct writer_block *b, uint64_t from, uint64_t to)
{
	struct extent x;

	for (; from < to && extents_at(&w->map, from, &x); from = x.end) {
		x.end = MIN(x.end, to);
		if (x.kind != EXTENT_HOLE)
			continue;
		memset(b->data + from % BLOCK_BYTES, 0, x.end - from);
		if (extents_set(&w->map, from, x.end, EXTENT_MEMORY) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void block_remove_locked(struct writer *w, struct writer_block *b)
{
	HASH_DEL(w->blocks, b);
	block_unref_locked(w, b);
}

struct writer_block *block_writable_locked(struct writer *w, uint64_t index, uint64_t start,
					   uint64_t end, unsigned *reserved)
{
	uint64_t first = index * BLOCK_BYTES, last = first + BLOCK_BYTES;
	struct writer_block *old = block_find_locked(w, index), *b;

	if (old != NULL && old->refs == 1)
		return old;
	assert(*reserved > 0);
	if (old != NULL)
		HASH_DEL(w->blocks, old);
	b = block_make_locked(w, index);
	if (b == NULL) {
		if (old != NULL)
			HASH_ADD(hh, w->blocks, index, sizeof(old->index), old);
		return NULL;
	}
	--*reserved;
	if (old != NULL) {
		memcpy(b->data, old->data, BLOCK_BYTES);
		block_unref_locked(w, old);
		return b;
	}
	if (fill_holes_locked(w, b, first, MAX(start, first)) < 0 ||
	    fill_holes_locked(w, b, MIN(end, last), last) < 0)
		return NULL; /* the block stays: the map may refer to it */
	return b;
}

void block_unref_locked(struct writer *w, struct writer_block *b)
{
	lock_assert_held(&w->owner.lock);
	assert(b->refs > 0);
	if (--b->refs > 0)
		return;
	slab_put(w->shared->slab, b->data);
	budget_release(w->shared->budget, BUDGET_WRITE, BLOCK_BYTES);
	free(b);
}

void block_trim_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t index;

	if (HASH_COUNT(w->blocks) == 0)
		return;
	for (index = start / BLOCK_BYTES; index * BLOCK_BYTES < end; index++) {
		uint64_t first = index * BLOCK_BYTES;
		struct writer_block *b = block_find_locked(w, index);

		if (b != NULL &&
		    !(extents_kinds(&w->map, first, first + BLOCK_BYTES) & MEMORY_KINDS))
			block_remove_locked(w, b);
	}
}

void block_free_all_locked(struct writer *w)
{
	struct writer_block *b, *next;

	HASH_ITER (hh, w->blocks, b, next)
		block_remove_locked(w, b);
}
