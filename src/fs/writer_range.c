/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges that change without bytes from the caller: made zeros, and taken from another object (a
 * graft), whose bytes S3 copies at publication. A graft is a base of another key: one object and
 * one distance between its offsets and the file's, since the map of extents keeps kinds alone. What
 * does not fit that is copied by the caller.
 *
 * When this mount is about to change or remove an object from which something was taken and not
 * published yet, the bytes are fetched first.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define DETACH_STEP_BYTES MIB

/* No byte of the spool that the map does not know of is left there: a hole is sent from it. */
static int punch_spool_locked(struct writer *w, uint64_t start, uint64_t end)
{
	int rc;

	if (w->spool.fd < 0)
		return 0;
	w->spilling = true;
	writer_unlock(w);
	rc = spool_zero(&w->spool, start, end - start);
	writer_lock(w);
	w->spilling = false;
	cond_broadcast(&w->owner.changed);
	return rc < 0 ? writer_fail_locked(w, rc) : 0;
}

int writer_zero(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel)
{
	int rc;

	SCOPED_LOCK(&w->owner.lock);
	rc = writer_enter_alone_locked(w, cancel);
	end = MIN(end, w->map.size);
	if (rc < 0 || start >= end)
		return rc;
	rc = writer_touch_locked(w, start, end);
	if (rc == 0)
		rc = extents_set(&w->map, start, end, EXTENT_HOLE);
	if (rc < 0)
		return rc;
	chunk_trim_locked(w, start, end);
	w->dirty = true;
	return punch_spool_locked(w, start, end);
}

int writer_seek(struct writer *w, uint64_t offset, bool hole, bool no_holes, uint64_t *ret)
{
	struct extent x;

	SCOPED_LOCK(&w->owner.lock);
	if (offset >= w->map.size)
		return -ENXIO;
	while (extents_at(&w->map, offset, &x)) {
		if ((x.kind == EXTENT_HOLE && !no_holes) == hole) {
			*ret = offset;
			return 0;
		}
		offset = x.end;
	}
	*ret = offset;
	return hole ? 0 : -ENXIO; /* the end of the file is a hole */
}

void writer_drop_base_locked(struct writer *w)
{
	if (w->base != NULL)
		cache_flow_end(w->base, w->flow, 0);
	cache_version_unref(w->base);
	w->base = NULL;
	w->base_shift = 0;
	w->base_etag[0] = '\0';
	if (w->base_key == NULL)
		return;
	atomic_fetch_sub(&w->shared->grafts, 1);
	free(w->base_key);
	w->base_key = NULL;
}

static bool is_base_locked(const struct writer *w, const struct graft *g)
{
	return w->base == g->version && w->base_shift == g->source_offset - g->offset;
}

/* Something outside of the range is still of the base that there is. */
static bool needs_base_locked(const struct writer *w, const struct graft *g)
{
	uint64_t end = g->offset + g->length;

	return ((extents_kinds(&w->map, 0, g->offset) |
		 extents_kinds(&w->map, end, MAX(end, w->map.size))) &
		UNCHANGED_KINDS) != 0;
}

static int set_graft_locked(struct writer *w, const struct graft *g)
{
	char *key = malloc(g->key_length + 1);

	if (key == NULL)
		return -ENOMEM;
	memcpy(key, g->key, g->key_length);
	key[g->key_length] = '\0';
	writer_drop_base_locked(w);
	atomic_fetch_add(&w->shared->grafts, 1);
	w->base_key = key;
	w->base_key_length = g->key_length;
	w->base_shift = g->source_offset - g->offset;
	strcpy(w->base_etag, g->etag);
	cache_version_ref(g->version);
	w->base = g->version;
	return 0;
}

int writer_graft(struct writer *w, const struct graft *g, struct cancel *cancel)
{
	uint64_t end = g->offset + g->length;
	int rc = writer_check_end(w, g->offset, g->length);

	if (rc < 0)
		return rc;
	SCOPED_LOCK(&w->owner.lock);
	rc = writer_enter_alone_locked(w, cancel);
	if (rc < 0)
		return rc;
	if (w->detached || strlen(g->etag) >= sizeof(w->base_etag) ||
	    (!is_base_locked(w, g) && needs_base_locked(w, g)))
		return -EXDEV;
	rc = writer_touch_locked(w, g->offset, end);
	if (rc == 0 && !is_base_locked(w, g)) {
		/* until it is a graft, none of it may be taken for the old base's */
		if (g->offset < w->map.size)
			rc = extents_set(&w->map, g->offset, MIN(end, w->map.size), EXTENT_HOLE);
		if (rc == 0)
			rc = set_graft_locked(w, g);
	}
	if (rc == 0)
		rc = extents_set(&w->map, g->offset, end, EXTENT_BASE);
	if (rc < 0)
		return writer_fail_locked(w, rc);
	chunk_trim_locked(w, g->offset, end);
	w->dirty = true;
	return 0;
}

/* A writer that has something of that object and has not published it, referenced. */
static struct writer *find_graft(struct writers *s, const void *key, size_t key_length)
{
	struct writer *w;
	bool found = false;

	SCOPED_LOCK(&s->lock);
	TAILQ_FOREACH (w, &s->list, link) {
		writer_lock(w);
		found = w->err == 0 && w->base_key != NULL && w->base_key_length == key_length &&
			memcmp(w->base_key, key, key_length) == 0;
		if (found)
			w->owner.refs++;
		writer_unlock(w);
		if (found)
			return w;
	}
	return NULL;
}

/* All that is of the graft becomes the file's own. */
static int fetch_graft_locked(struct writer *w, struct cancel *cancel)
{
	uint64_t at, end;
	int rc = 0;

	for (at = 0; at < w->map.size && rc == 0 && w->err == 0;) {
		end = at + DETACH_STEP_BYTES;
		rc = fetch_locked(w, at, end, cancel);
		if (rc == 0) /* as written: it cannot be fetched again */
			rc = extents_turn(&w->map, at, end, EXTENT_CACHED, EXTENT_MEMORY);
		if ((extents_kinds(&w->map, at, end) & EXTENT_BIT(EXTENT_BASE)) == 0)
			at = end; /* else some was given up for memory meanwhile */
	}
	return rc < 0 ? rc : w->err;
}

static int detach(struct writer *w, struct cancel *cancel)
{
	int rc;

	SCOPED_LOCK(&w->owner.lock);
	rc = writer_enter_locked(w, cancel);
	if (rc < 0 || w->base_key == NULL)
		return rc == -EINTR ? rc : 0;
	w->publishing = true; /* nobody else changes it */
	rc = fetch_graft_locked(w, cancel);
	if (rc == 0)
		writer_drop_base_locked(w);
	else if (rc != -EINTR)
		writer_fail_locked(w, rc);
	writer_published_locked(w);
	return rc == -EINTR ? rc : 0;
}

int writers_detach_source(struct writers *s, const void *key, size_t key_length,
			  struct cancel *cancel)
{
	struct writer *w;
	int rc = 0;

	while (rc == 0 && atomic_load(&s->grafts) > 0) {
		w = find_graft(s, key, key_length);
		if (w == NULL)
			return 0;
		rc = detach(w, cancel);
		upload_owner_unref(&w->owner);
	}
	return rc;
}
