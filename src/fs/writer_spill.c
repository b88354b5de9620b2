/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From memory into the spool. The chunks that are written are referenced meanwhile, so that a
 * thread that writes to the file copies them first; such a chunk is found changed afterwards and
 * stays in memory. One thread at a time spills of a writer.
 *
 * Room on the disk for the whole range is taken before the first byte: later chunks of the same
 * part can follow into the spool when it is sent, at a close(2) that must not find the disk full.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

/* A piece of a chunk that is written. */
struct piece {
	struct writer_chunk *chunk; /* referenced */
	uint64_t start, end;
};

struct pieces {
	struct piece *items;
	size_t count, capacity;
};

bool spill_allowed_locked(const struct writer *w, uint64_t start, uint64_t end)
{
	const struct body *b;

	lock_assert_held(&w->owner.lock);
	if (w->spilling)
		return false;
	LIST_FOREACH (b, &w->spool_bodies, link)
		if (b->start < end && start < b->end)
			return false;
	return true;
}

static int add_piece(struct pieces *p, struct writer_chunk *b, uint64_t start, uint64_t end)
{
	size_t capacity = MAX((size_t)64, p->capacity * 2);
	struct piece *items;

	if (p->count == p->capacity) {
		items = reallocarray(p->items, capacity, sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		p->items = items;
		p->capacity = capacity;
	}
	b->refs++;
	p->items[p->count++] = (struct piece){b, start, end};
	return 0;
}

/* What of [start, end) is in memory, cut at chunks. */
static int collect_locked(struct writer *w, uint64_t start, uint64_t end, struct pieces *ret)
{
	struct extent x;
	int rc = 0;

	end = MIN(end, w->map.size);
	while (start < end && rc == 0 && extents_at(&w->map, start, &x)) {
		uint64_t index = start / CHUNK_BYTES;

		if (!(EXTENT_BIT(x.kind) & MEMORY_KINDS)) {
			start = x.end;
			continue;
		}
		x.end = MIN(MIN(x.end, end), (index + 1) * CHUNK_BYTES);
		rc = add_piece(ret, chunk_find_locked(w, index), start, x.end);
		start = x.end;
	}
	return rc;
}

/* Writes the pieces from *at on that follow each other without a gap, and moves *at beyond. */
static int write_run(struct writer *w, const struct pieces *p, size_t *at)
{
	struct iovec iov[SPOOL_PIECES_MAX];
	uint64_t start = p->items[*at].start, end = start;
	int count = 0;

	while (*at < p->count && count < SPOOL_PIECES_MAX && p->items[*at].start == end) {
		const struct piece *piece = &p->items[(*at)++];

		iov[count++] = (struct iovec){piece->chunk->data + piece->start % CHUNK_BYTES,
					      piece->end - piece->start};
		end = piece->end;
	}
	return spool_write_pieces(&w->spool, start, iov, count);
}

static int write_pieces(struct writer *w, uint64_t start, uint64_t end, const struct pieces *p)
{
	size_t i = 0;
	int rc = spool_open(&w->spool, w->shared->config.spool_dir);

	if (rc == 0)
		rc = spool_reserve(&w->spool, start, end - start);
	while (i < p->count && rc == 0)
		rc = write_run(w, p, &i);
	if (rc < 0)
		log_warn("the spool directory %s: %s", w->shared->config.spool_dir, strerror(-rc));
	return rc;
}

/* A piece that nobody has changed meanwhile is in the spool now. */
static int take_piece_locked(struct writer *w, const struct piece *p)
{
	int rc;

	if (chunk_find_locked(w, p->chunk->index) != p->chunk)
		return 0;
	rc = extents_turn(&w->map, p->start, p->end, EXTENT_CACHED, EXTENT_SPOOL);
	return rc < 0 ? rc : extents_turn(&w->map, p->start, p->end, EXTENT_MEMORY, EXTENT_SPOOL);
}

int spill_locked(struct writer *w, uint64_t start, uint64_t end)
{
	struct pieces pieces = {0};
	size_t i;
	int rc;

	assert(spill_allowed_locked(w, start, end));
	rc = collect_locked(w, start, end, &pieces);
	w->spilling = true;
	if (rc == 0) {
		writer_unlock(w);
		rc = write_pieces(w, start, end, &pieces);
		writer_lock(w);
	}
	for (i = 0; i < pieces.count; i++) {
		if (rc == 0)
			rc = take_piece_locked(w, &pieces.items[i]);
		chunk_unref_locked(w, pieces.items[i].chunk);
	}
	chunk_trim_locked(w, start, end);
	w->spilling = false;
	cond_broadcast(&w->owner.changed);
	free(pieces.items);
	return rc;
}
