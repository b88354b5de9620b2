/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for writers, and who gives some up when there is none. In this order: unchanged bytes of a
 * base; bytes that the server has as a part (into the spool while the file's spool_limit lasts or
 * they must be kept, else dropped; only the latter once the disk is full); then, while anything is
 * on the wire, or a full part about to be, its end is waited for; at last the largest unsent part
 * of all is spilled. So nobody waits for memory that only he himself, or somebody who waits like
 * him, could free: 64 open files with a piece of a part each.
 *
 * Called by threads that write, and by the mover, holding no lock and no memory.
 */
#include "writer_private.h"

#include <errno.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/log.h>

/* How long to wait before looking again for something to give up. */
#define WAIT_NS (50 * NS_PER_MS)
/* A wait that long is worth a line in the log. */
#define LONG_WAIT_NS (60 * NS_PER_S)

/* What can be given up in a part of the grid. */
struct victim {
	struct writer *writer; /* referenced once chosen */
	struct plan_part part;
	uint64_t bytes; /* of memory */
};

static bool is_sent_locked(const struct writer *w, const struct plan_part *part)
{
	return w->upload != NULL && !w->upload_copies &&
	       upload_part_state_locked(w->upload, part->number) == UPLOAD_PART_SENT &&
	       !upload_part_busy_locked(w->upload, part->number);
}

static bool is_idle_locked(const struct writer *w, const struct plan_part *part)
{
	return w->upload == NULL || w->upload_copies ||
	       !upload_part_busy_locked(w->upload, part->number);
}

/* Bytes of memory of a part that can go without being spilled first, or that were sent. */
static uint64_t clean_bytes_locked(const struct writer *w, const struct plan_part *part)
{
	uint64_t end = part->offset + part->length;

	if (w->err < 0 || is_sent_locked(w, part))
		return extents_bytes(&w->map, part->offset, end, MEMORY_KINDS);
	return extents_bytes(&w->map, part->offset, end, EXTENT_BIT(EXTENT_CACHED));
}

static bool must_keep_locked(const struct writer *w, const struct plan_part *part)
{
	return w->keep_all || part->offset < w->shared->config.stream_keep_bytes;
}

/* Bytes of memory of a part that was sent and need not be kept. */
static uint64_t droppable_bytes_locked(const struct writer *w, const struct plan_part *part)
{
	return must_keep_locked(w, part) ? 0 : clean_bytes_locked(w, part);
}

/* Bytes that the mover takes: of a stream, and not of its beginning, which programs change. */
static uint64_t moved_bytes_locked(const struct writer *w, const struct plan_part *part)
{
	/* what is published will be free at once */
	if (w->publishing || w->err < 0 || must_keep_locked(w, part) || !is_sent_locked(w, part))
		return 0;
	return extents_bytes(&w->map, part->offset, part->offset + part->length,
			     EXTENT_BIT(EXTENT_MEMORY));
}

static uint64_t unsent_bytes_locked(const struct writer *w, const struct plan_part *part)
{
	if (!is_idle_locked(w, part))
		return 0;
	return extents_bytes(&w->map, part->offset, part->offset + part->length, MEMORY_KINDS);
}

/* A way to free memory. */
struct way {
	uint64_t (*bytes)(const struct writer *w, const struct plan_part *part);
	bool largest; /* of all; else the first one */
	int (*free)(struct writer *w, const struct plan_part *part);
};

/* Looks for a part with such bytes: the first one, or the largest. */
static void search_locked(struct writer *w, const struct way *way, struct victim *best)
{
	uint64_t at = 0;

	if (HASH_COUNT(w->chunks) == 0)
		return;
	while (at < w->map.size && (way->largest || best->writer == NULL)) {
		struct plan_part part;
		struct extent x;
		uint64_t bytes;

		if (extents_at(&w->map, at, &x) && !(EXTENT_BIT(x.kind) & MEMORY_KINDS)) {
			at = x.end;
			continue;
		}
		part = writer_part_at(w, at);
		bytes = way->bytes(w, &part);
		at = part.offset + part.length;
		if (bytes > best->bytes && spill_allowed_locked(w, part.offset, at))
			*best = (struct victim){w, part, bytes};
	}
}

/* The best of all writers; false: there is none. He is referenced. */
static bool choose(struct writers *shared, const struct way *way, struct victim *ret)
{
	struct writer *w;

	*ret = (struct victim){0};
	SCOPED_LOCK(&shared->lock);
	TAILQ_FOREACH (w, &shared->list, link) {
		writer_lock(w);
		search_locked(w, way, ret);
		writer_unlock(w);
		if (ret->writer != NULL && !way->largest)
			break;
	}
	if (ret->writer == NULL)
		return false;
	writer_lock(ret->writer);
	ret->writer->owner.refs++;
	writer_unlock(ret->writer);
	return true;
}

static void drop_locked(struct writer *w, const struct plan_part *part)
{
	uint64_t end = part->offset + part->length;

	/* -ENOMEM: what was not turned keeps its memory */
	extents_turn(&w->map, part->offset, end, EXTENT_MEMORY, EXTENT_PART);
	chunk_trim_locked(w, part->offset, end);
}

/* A part that was sent, or unchanged bytes. 0 if memory came free. */
static int give_up_locked(struct writer *w, const struct plan_part *part)
{
	uint64_t end = part->offset + part->length;
	uint64_t in_spool;
	int rc;

	if (clean_bytes_locked(w, part) == 0 || !spill_allowed_locked(w, part->offset, end))
		return 0; /* somebody else was here */
	extents_turn(&w->map, part->offset, end, EXTENT_CACHED, EXTENT_BASE);
	chunk_trim_locked(w, part->offset, end);
	if (w->err < 0)
		drop_locked(w, part);
	if (!(extents_kinds(&w->map, part->offset, end) & EXTENT_BIT(EXTENT_MEMORY)) ||
	    !is_sent_locked(w, part))
		return 0;
	in_spool = extents_bytes(&w->map, 0, w->map.size, EXTENT_BIT(EXTENT_SPOOL));
	if (!must_keep_locked(w, part) &&
	    in_spool + part->length > w->shared->config.spool_limit_bytes) {
		drop_locked(w, part);
		return 0;
	}
	rc = spill_locked(w, part->offset, end);
	if (rc < 0 && !must_keep_locked(w, part) && is_sent_locked(w, part)) {
		drop_locked(w, part);
		rc = 0;
	}
	return rc;
}

static int spill_unsent_locked(struct writer *w, const struct plan_part *part)
{
	struct plan_part whole = plan_part_at(&w->plan, part->offset);
	uint64_t end = whole.offset + whole.length; /* what is still to be written of it, too */

	if (unsent_bytes_locked(w, part) == 0 || !spill_allowed_locked(w, part->offset, end))
		return 0;
	return spill_locked(w, part->offset, end);
}

static int drop_sent_locked(struct writer *w, const struct plan_part *part)
{
	if (droppable_bytes_locked(w, part) > 0 && (w->err < 0 || is_sent_locked(w, part)))
		drop_locked(w, part);
	return 0;
}

static int move_sent_locked(struct writer *w, const struct plan_part *part)
{
	return moved_bytes_locked(w, part) > 0 ? give_up_locked(w, part) : 0;
}

static const struct way give_up = {clean_bytes_locked, false, give_up_locked};
static const struct way drop_sent = {droppable_bytes_locked, false, drop_sent_locked};
static const struct way spill_unsent = {unsent_bytes_locked, true, spill_unsent_locked};
static const struct way move_sent = {moved_bytes_locked, false, move_sent_locked};

/* One victim: 1 if there was one, 0 if there is none, -errno of its spool. */
static int free_some(struct writers *shared, const struct way *way)
{
	struct victim v;
	int rc;

	if (!choose(shared, way, &v))
		return 0;
	writer_lock(v.writer);
	rc = way->free(v.writer, &v.part);
	writer_unlock(v.writer);
	upload_owner_unref(&v.writer->owner);
	return rc < 0 ? rc : 1;
}

int memory_move_sent(struct writers *shared)
{
	return free_some(shared, &move_sent);
}

/* 1 if memory came free, 0 if it may by waiting, -errno if it cannot. */
static int free_any(struct writers *shared)
{
	int rc = free_some(shared, &give_up), spool_err = MIN(rc, 0);

	if (rc < 0) /* the disk is full: what need not be kept goes */
		rc = free_some(shared, &drop_sent);
	if (rc != 0 || stream_hurry(shared) || atomic_load(&shared->flying_bytes) > 0)
		return rc;
	rc = free_some(shared, &spill_unsent);
	return rc == 0 ? spool_err : rc;
}

int memory_reserve(struct writers *shared, unsigned chunks, struct cancel *cancel)
{
	uint64_t bytes = chunks * CHUNK_BYTES, began_ns = clock_now_ns();
	int rc;

	if (chunks == 0)
		return 0;
	while (!budget_reserve_try(shared->budget, BUDGET_WRITE, bytes)) {
		rc = free_any(shared);
		if (rc < 0)
			return rc;
		if (rc > 0)
			continue;
		rc = budget_reserve_wait(shared->budget, BUDGET_WRITE, bytes,
					 clock_now_ns() + WAIT_NS, cancel);
		if (rc != -ETIMEDOUT)
			return rc;
		if (clock_now_ns() - began_ns > LONG_WAIT_NS)
			log_warn("a write has waited for memory for more than a minute: the "
				 "server takes nothing, or readers hold all of it");
	}
	return 0;
}

void memory_release(struct writers *shared, unsigned chunks)
{
	if (chunks > 0)
		budget_release(shared->budget, BUDGET_WRITE, chunks * CHUNK_BYTES);
}
