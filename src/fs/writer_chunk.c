/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a file under write: chunks of 128 KiB, found by their index. Which of a chunk's
 * bytes count is what the map of extents says. All under the writer's lock, but for pieces, of
 * which a chunk can be made that holds what is in them already.
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

/*
 * A new chunk in the map, in the place of old, if that is not NULL. Takes memory of one reserved
 * chunk over, and data, unless it fails. NULL: nothing has changed.
 */
static struct writer_chunk *chunk_make_locked(struct writer *w, uint64_t index, void *data,
					      struct writer_chunk *old)
{
	struct writer_chunk *b = data != NULL ? calloc(1, sizeof(*b)) : NULL;

	if (b == NULL)
		return NULL;
	b->index = index;
	b->refs = 1;
	b->data = data;
	if (old != NULL)
		HASH_DEL(w->chunks, old);
	HASH_ADD(hh, w->chunks, index, sizeof(b->index), b);
	if (b->hh.tbl == NULL) {
		if (old != NULL)
			HASH_ADD(hh, w->chunks, index, sizeof(old->index), old);
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
	void *data;

	if (old != NULL && old->refs == 1)
		return old;
	assert(*reserved > 0);
	data = slab_get(w->shared->slab);
	b = chunk_make_locked(w, index, data, old);
	if (b == NULL) {
		slab_put(w->shared->slab, data);
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

int chunk_adopt_locked(struct writer *w, uint64_t index, void **piece, unsigned *reserved)
{
	struct writer_chunk *old = chunk_find_locked(w, index);
	unsigned char *data = *piece;

	if (old != NULL && old->refs == 1) {
		*piece = old->data;
		old->data = data;
		return 0;
	}
	assert(*reserved > 0);
	if (chunk_make_locked(w, index, data, old) == NULL)
		return -ENOMEM;
	--*reserved;
	*piece = NULL;
	if (old != NULL)
		chunk_unref_locked(w, old);
	return 0;
}

void *writers_piece_get(struct writers *s)
{
	return s != NULL ? slab_get(s->slab) : NULL;
}

void writers_piece_put(struct writers *s, void *piece)
{
	if (piece != NULL)
		slab_put(s->slab, piece);
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
