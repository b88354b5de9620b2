/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a file under write holds, for an application (a copy of the bytes: the file may
 * change below them) and for its own parts (unchanged ranges of the base).
 *
 * Nothing is locked while the spool or the base is read; afterwards the map is looked at again, and
 * what has moved meanwhile is read again.
 */
#include "writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define FETCH_PART_BYTES (8 * MIB)

/* Reads a piece of the base, which lies in one READ. */
static int read_base(struct writer *w, struct cache_version *base, uint64_t offset, void *data,
		     size_t length, struct cancel *cancel)
{
	char *at = data;
	struct view view;
	int i, rc = cache_read(base, offset, length, w->flow, cancel, &view);

	if (rc < 0)
		return rc;
	if (view.length != length) {
		view_release(&view);
		return -EIO;
	}
	for (i = 0; i < view.iov_count; i++) {
		memcpy(at, view.iov[i].iov_base, view.iov[i].iov_len);
		at += view.iov[i].iov_len;
	}
	view_release(&view);
	return 0;
}

/* Still the same bytes in the same place? */
static bool unmoved_locked(const struct writer *w, const struct extent *x,
			   const struct cache_version *base)
{
	unsigned kinds = extents_kinds(&w->map, x->start, x->end);

	return kinds == EXTENT_BIT(x->kind) && w->map.size >= x->end && w->base == base;
}

/* What is in the spool or the base: read without the lock. 1 if it has moved meanwhile. */
static int read_far_locked(struct writer *w, const struct extent *x, void *data,
			   struct cancel *cancel)
{
	struct cache_version *base = w->base;
	uint64_t shift = w->base_shift;
	int rc;

	if (base != NULL)
		cache_version_ref(base);
	w->sealing++; /* the spool stays open */
	writer_unlock(w);
	if (x->kind == EXTENT_SPOOL)
		rc = spool_read(&w->spool, x->start, data, x->end - x->start);
	else
		rc = read_base(w, base, x->start + shift, data, x->end - x->start, cancel);
	writer_lock(w);
	w->sealing--;
	cond_broadcast(&w->owner.changed);
	if ((rc == 0 && !unmoved_locked(w, x, base)) || (rc < 0 && rc != -EINTR && w->base != base))
		rc = 1;
	cache_version_unref(base);
	return rc;
}

/* One extent of a read. */
static int read_extent_locked(struct writer *w, const struct extent *x, unsigned char *data,
			      struct cancel *cancel)
{
	uint64_t at = x->start;

	if (x->kind == EXTENT_PART)
		return -EOPNOTSUPP;
	if (x->kind == EXTENT_HOLE)
		memset(data, 0, x->end - x->start);
	if (x->kind == EXTENT_SPOOL || x->kind == EXTENT_BASE)
		return read_far_locked(w, x, data, cancel);
	while ((EXTENT_BIT(x->kind) & MEMORY_KINDS) && at < x->end) {
		uint64_t end = MIN(x->end, (at / CHUNK_BYTES + 1) * CHUNK_BYTES);
		const struct writer_chunk *b = chunk_find_locked(w, at / CHUNK_BYTES);

		memcpy(data + (at - x->start), b->data + at % CHUNK_BYTES, end - at);
		at = end;
	}
	return 0;
}

static void free_bytes(struct view *v)
{
	free(v->owner[0]);
}

int writer_read(struct writer *w, uint64_t offset, size_t length, struct cancel *cancel,
		struct view *ret)
{
	CLEANUP(free) unsigned char *bytes = NULL;
	uint64_t at = offset, end;
	struct extent x;
	int rc = 0;

	*ret = (struct view){0};
	writer_lock(w);
	end = MIN(w->map.size, offset + length);
	if (end > offset)
		bytes = malloc(end - offset);
	if (end > offset && bytes == NULL)
		rc = -ENOMEM;
	while (rc == 0 && at < end && extents_at(&w->map, at, &x)) {
		x.end = MIN(x.end, end);
		rc = read_extent_locked(w, &x, bytes + (at - offset), cancel);
		if (rc == 0)
			at = x.end;
		else if (rc > 0)
			rc = 0; /* it moved: once more */
	}
	writer_unlock(w);
	if (rc < 0 || at == offset || bytes == NULL)
		return rc;
	ret->iov[0] = (struct iovec){bytes, at - offset};
	ret->iov_count = 1;
	ret->length = at - offset;
	ret->owner[0] = TAKE(bytes);
	ret->release = free_bytes;
	return 0;
}

bool writer_in_base(struct writer *w, uint64_t *offset, uint64_t *length,
		    struct cache_version **ret_base)
{
	uint64_t end;

	SCOPED_LOCK(&w->owner.lock);
	end = MIN(w->map.size, *offset + *length);
	if (end <= *offset || extents_kinds(&w->map, *offset, end) != EXTENT_BIT(EXTENT_BASE))
		return false;
	*length = end - *offset;
	*offset += w->base_shift;
	cache_version_ref(w->base);
	*ret_base = w->base;
	return true;
}

struct cache_version *writer_base(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	if (w->base != NULL)
		cache_version_ref(w->base);
	return w->base;
}

bool writer_needs_base(struct writer *w, uint64_t offset, uint64_t length,
		       const struct cache_version *base)
{
	uint64_t end;

	SCOPED_LOCK(&w->owner.lock);
	end = MIN(w->map.size, offset + length);
	return w->base == base && end > offset &&
	       (extents_kinds(&w->map, offset, end) & EXTENT_BIT(EXTENT_BASE)) != 0;
}

/* A fetched piece goes into memory, or into the spool. 0 with *ret_done if it went. */
static int place_locked(struct writer *w, const struct extent *x, const unsigned char *bytes,
			unsigned *reserved, bool *ret_done)
{
	struct writer_chunk *b = chunk_find_locked(w, x->start / CHUNK_BYTES);
	int rc;

	if (b == NULL || b->refs > 1) {
		if (*reserved == 0)
			return 0;
		b = chunk_writable_locked(w, x->start / CHUNK_BYTES, x->start, x->end, reserved);
		if (b == NULL)
			return -ENOMEM;
	}
	memcpy(b->data + x->start % CHUNK_BYTES, bytes, x->end - x->start);
	rc = extents_set(&w->map, x->start, x->end, EXTENT_CACHED);
	if (rc < 0)
		chunk_trim_locked(w, x->start, x->end);
	*ret_done = rc == 0;
	return rc;
}

/* Without memory: nobody spills meanwhile, so that nobody else writes into the spool. */
static int place_in_spool_locked(struct writer *w, const struct extent *x, const void *bytes,
				 struct cancel *cancel)
{
	int rc = 0;

	while (rc == 0 && !spill_allowed_locked(w, x->start, x->end))
		rc = writer_wait_locked(w, cancel);
	if (rc < 0)
		return rc;
	w->spilling = true;
	writer_unlock(w);
	rc = spool_open(&w->spool, w->shared->config.spool_dir);
	if (rc == 0)
		rc = spool_write(&w->spool, x->start, bytes, x->end - x->start);
	writer_lock(w);
	w->spilling = false;
	cond_broadcast(&w->owner.changed);
	if (rc < 0 || extents_kinds(&w->map, x->start, x->end) != EXTENT_BIT(EXTENT_BASE))
		return rc;
	return extents_set(&w->map, x->start, x->end, EXTENT_SPOOL);
}

/* One piece of at most a chunk. */
static int fetch_piece_locked(struct writer *w, const struct extent *x, unsigned char *bytes,
			      struct cancel *cancel)
{
	unsigned reserved;
	bool done = false;
	int rc = read_far_locked(w, x, bytes, cancel);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	writer_unlock(w);
	reserved = budget_reserve_try(w->shared->budget, BUDGET_WRITE, CHUNK_BYTES) ? 1 : 0;
	writer_lock(w);
	if (unmoved_locked(w, x, w->base)) {
		rc = place_locked(w, x, bytes, &reserved, &done);
		if (rc == 0 && !done)
			rc = place_in_spool_locked(w, x, bytes, cancel);
	}
	memory_release(w->shared, reserved);
	return rc;
}

int fetch_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel)
{
	CLEANUP(free) unsigned char *bytes = malloc(CHUNK_BYTES);
	struct cache_want want = {.part_bytes = FETCH_PART_BYTES, .class = XFER_READ};
	struct extent x;
	int rc = 0;

	if (bytes == NULL)
		return -ENOMEM;
	want.flow = w->flow;
	while (rc == 0 && start < end && extents_at(&w->map, start, &x)) {
		if (x.kind != EXTENT_BASE) {
			start = x.end;
			continue;
		}
		want.offset = start + w->base_shift;
		want.length = MIN(x.end, end) - start;
		want.passed = want.offset;
		cache_want(w->base, &want);
		x.end = MIN(MIN(x.end, end), (start / CHUNK_BYTES + 1) * CHUNK_BYTES);
		rc = fetch_piece_locked(w, &x, bytes, cancel);
	}
	return rc;
}
