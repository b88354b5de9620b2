/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a file under write: chunks of 128 KiB, found by their index. Which of a chunk's
 * bytes count is what the map of extents says. All under the writer's lock.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

struct writer_chunk *chunk_find_locked(struct writer *w, uint64_t index)
{
	struct writer_chunk *b;

	lock_assert_held(&w->owner.lock);
	HASH_FIND(hh, w->chunks, &index, sizeof(index), b);
	return b;
}

unsigned chunk_need_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t index;
	unsigned need = 0;

	for (index = start / CHUNK_BYTES; index * CHUNK_BYTES < end; index++) {
		const struct writer_chunk *b = chunk_find_locked(w, index);

		need += b == NULL || b->refs > 1;
	}
	return need;
}

/* A new chunk in the map. Takes memory of one reserved chunk over. */
static struct writer_chunk *chunk_make_locked(struct writer *w, uint64_t index)
{
	struct writer_chunk *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->index = index;
	b->refs = 1;
	b->data = slab_get(w->shared->slab);
	if (b->data == NULL) {
		free(b);
		return NULL;
	}
	HASH_ADD(hh, w->chunks, index, sizeof(b->index), b);
	if (b->hh.tbl == NULL) {
		slab_put(w->shared->slab, b->data);
		free(b);
		return NULL;
	}
	atomic_fetch_add(&w->shared->held_bytes, CHUNK_BYTES);
	return b;
}

/* Zeros over the holes of [from, to), all of which lies in b. */
static int fill_holes_locked(struct writer *w, struct writer_chunk *b, uint64_t from, uint64_t to)
{
	struct extent x;

	for (; from < to && extents_at(&w->map, from, &x); from = x.end) {
		x.end = MIN(x.end, to);
		if (x.kind != EXTENT_HOLE)
			continue;
		memset(b->data + from % CHUNK_BYTES, 0, x.end - from);
		if (extents_set(&w->map, from, x.end, EXTENT_MEMORY) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void chunk_remove_locked(struct writer *w, struct writer_chunk *b)
{
	HASH_DEL(w->chunks, b);
	chunk_unref_locked(w, b);
}

struct writer_chunk *chunk_writable_locked(struct writer *w, uint64_t index, uint64_t start,
					   uint64_t end, unsigned *reserved)
{
	uint64_t first = index * CHUNK_BYTES, last = first + CHUNK_BYTES;
	struct writer_chunk *old = chunk_find_locked(w, index), *b;

	if (old != NULL && old->refs == 1)
		return old;
	assert(*reserved > 0);
	if (old != NULL)
		HASH_DEL(w->chunks, old);
	b = chunk_make_locked(w, index);
	if (b == NULL) {
		if (old != NULL)
			HASH_ADD(hh, w->chunks, index, sizeof(old->index), old);
		return NULL;
	}
	--*reserved;
	if (old != NULL) {
		memcpy(b->data, old->data, CHUNK_BYTES);
		chunk_unref_locked(w, old);
		return b;
	}
	if (fill_holes_locked(w, b, first, MAX(start, first)) < 0 ||
	    fill_holes_locked(w, b, MIN(end, last), last) < 0)
		return NULL; /* the chunk stays: the map may refer to it */
	return b;
}

void chunk_unref_locked(struct writer *w, struct writer_chunk *b)
{
	lock_assert_held(&w->owner.lock);
	assert(b->refs > 0);
	if (--b->refs > 0)
		return;
	slab_put(w->shared->slab, b->data);
	atomic_fetch_sub(&w->shared->held_bytes, CHUNK_BYTES);
	budget_release(w->shared->budget, BUDGET_WRITE, CHUNK_BYTES);
	free(b);
}

void chunk_trim_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t index;

	if (HASH_COUNT(w->chunks) == 0)
		return;
	for (index = start / CHUNK_BYTES; index * CHUNK_BYTES < end; index++) {
		uint64_t first = index * CHUNK_BYTES;
		struct writer_chunk *b = chunk_find_locked(w, index);

		if (b != NULL &&
		    !(extents_kinds(&w->map, first, first + CHUNK_BYTES) & MEMORY_KINDS))
			chunk_remove_locked(w, b);
	}
}

void chunk_free_all_locked(struct writer *w)
{
	struct writer_chunk *b, *next;

	HASH_ITER (hh, w->chunks, b, next)
		chunk_remove_locked(w, b);
}
