/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publication: all parts that the server does not have yet are sent, then the object is completed;
 * a small one is a single PUT. The thread of close(2) or fsync(2) does it and waits.
 *
 * While `publishing` is set nobody else changes the file, its key or its upload; parts of a stream
 * that somebody was about to send are sent by him, or here. Others may still spill its memory; the
 * published object is the base afterwards, and what was in memory of a small file, or of the last
 * part of a larger one, stays there as CACHED, for an append.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define TRIES_MAX 3 /* uploads, when the server lost or refused one (409) */

/* One call of writer_publish. */
struct publication {
	struct writer *writer;
	enum publish_condition condition;
	const struct publish_attr *attr;
	struct cancel *cancel;
	char etag[S3_ETAG_MAX];
	bool attr_stale;
};

static struct upload_end end_of(const struct publication *p, bool multipart)
{
	struct writers *s = p->writer->shared;

	SCOPED_LOCK(&s->lock);
	return (struct upload_end){
	    .condition = p->condition,
	    .if_match = p->writer->own_etag,
	    .honoured = multipart ? s->complete_conditions : s->put_conditions,
	    .object_size = p->writer->map.size,
	    .cancel = p->cancel,
	};
}

static int put_locked(struct publication *p)
{
	struct writer *w = p->writer;
	const char *nonce = p->condition == PUBLISH_ALWAYS ? NULL : w->nonce;
	struct upload_attr attr;
	struct upload_end end;
	struct body *body;
	int rc;

	if (w->nonce[0] == '\0' && (rc = upload_nonce(w->nonce)) < 0)
		return rc;
	rc = body_create_locked(w, 0, w->map.size, p->cancel, &body);
	if (rc < 0)
		return rc;
	rc = upload_attr_init(&attr, p->attr, nonce);
	if (rc == 0) {
		struct xfer_op *op = &body->part.op;

		op->s3.verb = S3_PUT_OBJECT;
		op->s3.key = w->key;
		op->s3.key_length = w->key_length;
		op->flow = w->flow;
		writer_unlock(w);
		end = end_of(p, false);
		rc = upload_put(&w->shared->uploads, op, &attr, nonce, &end, p->etag);
		xfer_op_finish(op);
		upload_attr_finish(&attr);
		writer_lock(w);
	}
	body_destroy_locked(body);
	return rc;
}

/* A part of the grid: copied if all of it is in the base, and S3 allows it. */
static struct plan_segment grid_segment(const struct writer *w, const struct plan_part *part)
{
	struct plan_segment s = {part->offset, part->length, false};
	unsigned kinds = extents_kinds(&w->map, part->offset, part->offset + part->length);

	if (w->base != NULL && (kinds & ~UNCHANGED_KINDS) == 0)
		s.copied = !w->shared->no_copies && part->length >= PLAN_PART_BYTES_MIN &&
			   cache_version_size(w->base) > PLAN_COPY_SOURCE_MIN;
	return s;
}

/* Sends a part unless the server has it or gets it. */
static int send_locked(struct publication *p, unsigned number, const struct plan_segment *segment)
{
	struct writer *w = p->writer;
	int rc = 0;

	for (;;) {
		rc = upload_error_locked(w->upload);
		if (rc < 0 || upload_part_state_locked(w->upload, number) != UPLOAD_PART_NONE)
			return rc;
		if (!upload_part_busy_locked(w->upload, number))
			return body_send_locked(w, number, segment, p->cancel);
		rc = writer_wait_locked(w, p->cancel); /* its old bytes are on the wire */
		if (rc < 0)
			return rc;
	}
}

static int send_grid_locked(struct publication *p, unsigned *ret_count)
{
	struct writer *w = p->writer;
	uint64_t at = 0;
	int rc = 0;

	while (at < w->map.size && rc == 0) {
		struct plan_part part = writer_part_at(w, at);
		struct plan_segment segment = grid_segment(w, &part);

		rc = send_locked(p, part.number, &segment);
		*ret_count = part.number;
		at = part.offset + part.length;
	}
	return rc;
}

/* Once more if somebody was making parts when it began: he may have given them up. */
static int send_all_locked(struct publication *p, unsigned *ret_count)
{
	struct writer *w = p->writer;
	bool alone = w->claiming == 0;
	int rc = send_grid_locked(p, ret_count);

	while (rc == 0 && w->claiming > 0)
		rc = writer_wait_locked(w, p->cancel);
	return rc < 0 || alone ? rc : send_grid_locked(p, ret_count);
}

static int send_copies_locked(struct publication *p, unsigned *ret_count)
{
	CLEANUP(free) struct plan_segment *segments = NULL;
	struct writer *w = p->writer;
	size_t i, count = 0;
	int rc = plan_copies(&w->map, cache_version_size(w->base),
			     plan_part_number(&w->plan, 1).length, &segments, &count);

	w->upload_copies = true;
	for (i = 0; i < count && rc == 0; i++)
		rc = send_locked(p, (unsigned)i + 1, &segments[i]);
	*ret_count = (unsigned)count;
	return rc;
}

static bool wants_copies_locked(const struct writer *w)
{
	return w->base != NULL && w->upload == NULL && !w->shared->no_copies &&
	       (extents_kinds(&w->map, 0, w->map.size) & UNCHANGED_KINDS);
}

static int note_attr_locked(struct publication *p)
{
	struct upload_attr asked;
	int rc = upload_attr_init(&asked, p->attr, NULL);

	if (rc < 0)
		return rc;
	p->attr_stale = !upload_attr_equal(&asked, upload_attributes(p->writer->upload));
	upload_attr_finish(&asked);
	return 0;
}

static int multipart_locked(struct publication *p)
{
	static const struct publish_attr none;
	struct writer *w = p->writer;
	bool copies = wants_copies_locked(w);
	struct upload_end end;
	struct upload *u;
	unsigned count = 0;
	int rc = writer_start_upload_locked(w, p->attr != NULL ? p->attr : &none);

	if (rc == 0)
		rc = copies ? send_copies_locked(p, &count) : send_all_locked(p, &count);
	if (rc == 0)
		rc = note_attr_locked(p);
	u = w->upload;
	if (rc < 0) {
		if (u != NULL && upload_error_locked(u) < 0)
			rc = upload_error_locked(u);
		return rc;
	}
	writer_unlock(w);
	end = end_of(p, true);
	end.part_count = count;
	rc = upload_complete(u, &end, p->etag);
	writer_lock(w);
	return rc;
}

/* A single PUT will do. What was sent of a larger file before it was cut is let go of. */
static bool fits_put_locked(struct writer *w)
{
	if (w->map.size > plan_part_number(&w->plan, 1).length || !writer_holds_all_locked(w))
		return false;
	while (w->starting)
		writer_wait_locked(w, NULL);
	writer_drop_upload_locked(w);
	return true;
}

/* 409, and not all bytes are here to be sent again: what stands in the way? */
static int conflict_locked(struct publication *p)
{
	struct writer *w = p->writer;
	struct upload_end end;
	int rc;

	writer_unlock(w);
	end = end_of(p, true);
	rc = upload_conflict(w->upload, &end);
	writer_lock(w);
	return rc;
}

/* The server turns out to have no UploadPartCopy: true if there is another way, learnt once. */
static bool does_without_copies_locked(struct writer *w)
{
	if (w->base == NULL || w->upload == NULL || upload_error_locked(w->upload) != -EOPNOTSUPP)
		return false;
	if (!w->shared->no_copies)
		log_info("the server copies no parts: unchanged bytes are fetched and sent again");
	w->shared->no_copies = true;
	writer_drop_upload_locked(w);
	return true;
}

static int publish_locked(struct publication *p)
{
	struct writer *w = p->writer;
	int rc, tries;

	for (tries = 1;; tries++) {
		rc = fits_put_locked(w) ? put_locked(p) : multipart_locked(p);
		if ((rc == -EAGAIN || rc == -ENXIO) && w->upload != NULL &&
		    writer_holds_all_locked(w) && tries < TRIES_MAX) {
			log_info("an upload is gone (%s): all its parts are sent again",
				 rc == -EAGAIN ? "409 Conflict" : "NoSuchUpload");
			writer_drop_upload_locked(w);
			continue;
		}
		if (rc == -EOPNOTSUPP && tries < TRIES_MAX && does_without_copies_locked(w))
			continue;
		if (rc == -EAGAIN && w->upload != NULL)
			return conflict_locked(p);
		return rc == -EAGAIN || rc == -ENXIO ? -EIO : rc;
	}
}

/* Nobody reads the spool or chunks without the lock any more. */
static void quiesce_locked(struct writer *w)
{
	while (w->spilling || w->sealing > 0 || !LIST_EMPTY(&w->spool_bodies))
		writer_wait_locked(w, NULL);
}

/* What is in memory of all but the last part can be fetched again. */
static int release_memory_locked(struct writer *w)
{
	uint64_t size = w->map.size, keep_from = 0;
	int rc = 0;

	if (size > plan_part_number(&w->plan, 1).length)
		keep_from = writer_part_at(w, size - 1).offset;
	if (keep_from > 0)
		rc = extents_turn(&w->map, 0, keep_from, EXTENT_CACHED, EXTENT_BASE);
	chunk_trim_locked(w, 0, size);
	return rc;
}

/* The published object is the base now. -ENOMEM: the writer is of no more use. */
static int rebase_locked(struct writer *w, struct cache_version *base, const char *etag)
{
	uint64_t size = w->map.size;
	int rc = 0;

	quiesce_locked(w);
	if (size > 0) {
		rc = extents_turn(&w->map, 0, size, EXTENT_MEMORY, EXTENT_CACHED);
		if (rc == 0)
			rc = extents_turn(&w->map, 0, size, EXTENT_SPOOL, EXTENT_BASE);
		if (rc == 0)
			rc = extents_turn(&w->map, 0, size, EXTENT_PART, EXTENT_BASE);
		if (rc == 0)
			rc = extents_turn(&w->map, 0, size, EXTENT_HOLE, EXTENT_BASE);
	}
	mover_close_spool(w->shared, &w->spool);
	writer_drop_base_locked(w);
	w->base = base;
	memcpy(w->base_etag, etag, sizeof(w->base_etag));
	memcpy(w->own_etag, etag, sizeof(w->own_etag));
	writer_drop_upload_locked(w);
	w->nonce[0] = '\0';
	w->dirty = false;
	if (rc == 0)
		rc = release_memory_locked(w);
	writer_plan_again(w);
	return rc;
}

static int tell_published(const struct publication *p, uint64_t size, struct published *ret)
{
	const struct clock *clock = p->writer->shared->config.clock;
	int rc = etag_init(&ret->etag, p->etag);

	ret->size = size;
	ret->modified = (struct timespec){.tv_sec = clock->wall_s(clock)};
	ret->attr_stale = p->attr_stale;
	return rc;
}

static int published_locked(struct publication *p, struct published *ret)
{
	struct writer *w = p->writer;
	struct cache_version *base = NULL;
	int rc = tell_published(p, w->map.size, ret);

	if (rc == 0)
		rc = cache_version_get(w->shared->cache, w->key, w->key_length, p->etag,
				       w->map.size, &base);
	if (rc == 0)
		rc = rebase_locked(w, base, p->etag);
	if (rc < 0)
		writer_fail_locked(w, rc); /* published, but not to be written to any more */
	return 0;
}

int writer_publish(struct writer *w, enum publish_condition condition,
		   const struct publish_attr *attr, struct cancel *cancel, struct published *ret,
		   bool *ret_final)
{
	struct publication p = {
	    .writer = w, .condition = condition, .attr = attr, .cancel = cancel};
	int rc;

	*ret_final = true;
	SCOPED_LOCK(&w->owner.lock);
	rc = writer_enter_locked(w, cancel);
	if (rc == 0 && w->detached)
		rc = -ENOENT;
	if (rc < 0) {
		*ret_final = rc != -EINTR;
		return rc;
	}
	w->publishing = true;
	cond_broadcast(&w->owner.changed); /* a part that waits for the next */
	rc = publish_locked(&p);
	if (rc == 0)
		rc = published_locked(&p, ret);
	else if (rc != -EINTR && rc != -ENOMEM)
		writer_fail_locked(w, rc);
	else
		*ret_final = false;
	if (rc == -EINTR && w->upload_copies)
		writer_drop_upload_locked(w);
	writer_published_locked(w);
	return rc;
}
