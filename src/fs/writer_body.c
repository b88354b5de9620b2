/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a file as the body of a request: iovecs over chunks (and zeros over holes), or a range
 * of the spool when any of it lies there. Chunks of a body are copied before they are written, and
 * the spool is not written below a body: what is sent is what was hashed.
 *
 * Called by the thread that writes (a part of a stream that is full) or publishes. The hash of a
 * part is computed there, once, however often it is sent.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

static const unsigned char zeros[128 * 1024];

void body_destroy_locked(struct body *b)
{
	unsigned i;

	if (b == NULL)
		return;
	if (b->in_spool)
		LIST_REMOVE(b, link);
	for (i = 0; i < b->chunk_count; i++)
		chunk_unref_locked(b->writer, b->chunks[i]);
	atomic_fetch_sub(&b->writer->shared->flying_bytes, b->memory_bytes);
	cond_broadcast(&b->writer->owner.changed);
	free(b->iov);
	free(b->chunks);
	free(b);
}

/* Where [start, end) lies: fetched, and not on both sides. Gives the lock back meanwhile. */
static int gather_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel,
			 bool *ret_in_spool)
{
	uint64_t from = start / CHUNK_BYTES * CHUNK_BYTES;
	uint64_t to = (end + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES;
	int rc = 0;

	for (;;) {
		unsigned kinds = extents_kinds(&w->map, start, end);

		*ret_in_spool = (kinds & EXTENT_BIT(EXTENT_SPOOL)) != 0;
		if (w->err < 0)
			return w->err;
		if (kinds & EXTENT_BIT(EXTENT_PART))
			return -EOPNOTSUPP;
		if (kinds & EXTENT_BIT(EXTENT_BASE))
			rc = fetch_locked(w, start, end, cancel);
		else if (!*ret_in_spool)
			return 0;
		else if (!(kinds & MEMORY_KINDS) && !w->spilling) /* a hole may not be one yet */
			return 0;
		else if (spill_allowed_locked(w, from, to))
			rc = spill_locked(w, from, to);
		else
			rc = writer_wait_locked(w, cancel);
		if (rc < 0)
			return rc;
	}
}

static void add_iov(struct body *b, const unsigned char *data, size_t n)
{
	struct iovec *last = b->iov_count > 0 ? &b->iov[b->iov_count - 1] : NULL;

	if (last != NULL && data != zeros &&
	    (const unsigned char *)last->iov_base + last->iov_len == data) {
		last->iov_len += n;
		return;
	}
	b->iov[b->iov_count++] = (struct iovec){(void *)(uintptr_t)data, n};
}

/* Iovecs over what is in memory and holes. -EAGAIN: the file was cut while it was gathered. */
static int map_memory_locked(struct body *b)
{
	uint64_t chunks = b->end / CHUNK_BYTES - b->start / CHUNK_BYTES + 1;
	uint64_t at = b->start, pieces = 0, last_index = UINT64_MAX;
	struct writer *w = b->writer;
	struct extent x;

	for (; at < b->end && extents_at(&w->map, at, &x); at = x.end)
		pieces++;
	b->iov = calloc(pieces + chunks, sizeof(*b->iov));
	b->chunks = calloc(chunks, sizeof(struct writer_chunk *));
	if (b->iov == NULL || b->chunks == NULL)
		return -ENOMEM;
	for (at = b->start; at < b->end && extents_at(&w->map, at, &x); at = x.end) {
		uint64_t index = at / CHUNK_BYTES;
		const unsigned char *data = zeros;

		x.end = MIN(MIN(x.end, b->end), (index + 1) * CHUNK_BYTES);
		if (x.kind != EXTENT_HOLE) {
			struct writer_chunk *chunk = chunk_find_locked(w, index);

			data = chunk->data + at % CHUNK_BYTES;
			if (index != last_index) {
				chunk->refs++;
				b->chunks[b->chunk_count++] = chunk;
				b->memory_bytes += CHUNK_BYTES;
			}
			last_index = index;
		}
		add_iov(b, data, x.end - at);
	}
	b->part.op.s3.body.iov = b->iov;
	b->part.op.s3.body.iov_count = b->iov_count;
	atomic_fetch_add(&w->shared->flying_bytes, b->memory_bytes);
	return at < b->end ? -EAGAIN : 0;
}

/* Where a body lies in the spool. */
static int point_at_spool(struct writer *w, struct body *b)
{
	struct s3_body *body = &b->part.op.s3.body;
	int rc = spool_extend(&w->spool, b->end);

	body->fd = w->spool.fd;
	body->offset = b->start;
	return rc;
}

static int seal(struct body *const *bodies, unsigned count, const struct s3_target *target)
{
	bool sha256 = !target->unsigned_payload, crc32c = target->checksum_crc32c;
	struct s3_body *first = &bodies[0]->part.op.s3.body;

	if (count == BODIES_MAX)
		return s3_body_seal_pair(first, &bodies[1]->part.op.s3.body, sha256, crc32c);
	return first->length > 0 ? s3_body_seal(first, sha256, crc32c) : 0;
}

/* The hashes that the server wants, of one or two bodies. Gives the lock back meanwhile. */
static int seal_locked(struct body *const *bodies, unsigned count)
{
	struct writer *w = bodies[0]->writer;
	struct s3_target target;
	unsigned i;
	int rc = 0;

	w->sealing++;
	writer_unlock(w);
	w->shared->uploads.source.target(w->shared->uploads.source.ctx, &target);
	for (i = 0; i < count && rc == 0; i++)
		if (bodies[i]->in_spool)
			rc = point_at_spool(w, bodies[i]);
	if (rc == 0)
		rc = seal(bodies, count, &target);
	writer_lock(w);
	w->sealing--;
	cond_broadcast(&w->owner.changed);
	return rc;
}

/* As body_create_locked, but not hashed yet. */
static int body_make_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel,
			    struct body **ret)
{
	struct body *b = calloc(1, sizeof(*b));
	int rc;

	if (b == NULL)
		return -ENOMEM;
	xfer_op_init(&b->part.op, S3_UPLOAD_PART, XFER_WRITE);
	b->writer = w;
	b->start = start;
	b->end = end;
	b->part.op.s3.body.length = end - start;
	rc = gather_locked(w, start, end, cancel, &b->in_spool);
	if (rc < 0) {
		b->in_spool = false;
	} else if (b->in_spool) {
		LIST_INSERT_HEAD(&w->spool_bodies, b, link);
	} else {
		rc = map_memory_locked(b);
	}
	if (rc < 0) {
		body_destroy_locked(b);
		return rc;
	}
	*ret = b;
	return 0;
}

int body_create_locked(struct writer *w, uint64_t start, uint64_t end, struct cancel *cancel,
		       struct body **ret)
{
	struct body *b = NULL;
	int rc = body_make_locked(w, start, end, cancel, &b);

	if (rc == 0)
		rc = seal_locked(&b, 1);
	if (rc < 0) {
		body_destroy_locked(b);
		return rc;
	}
	*ret = b;
	return 0;
}

static void body_ended(struct upload_part *p)
{
	struct body *b = CONTAINER_OF(p, struct body, part);
	struct writers *shared = b->writer->shared;

	body_destroy_locked(b);
	mover_part_sent(shared);
}

/* A part that S3 copies from the base. */
static int copy_create_locked(struct writer *w, const struct plan_segment *segment,
			      struct body **ret)
{
	struct body *b = calloc(1, sizeof(*b));
	struct s3_copy *copy;

	if (b == NULL)
		return -ENOMEM;
	xfer_op_init(&b->part.op, S3_UPLOAD_PART_COPY, XFER_WRITE);
	b->writer = w;
	copy = &b->part.op.s3.copy;
	/* both stay while somebody publishes */
	copy->key = w->base_key != NULL ? w->base_key : w->key;
	copy->key_length = w->base_key != NULL ? w->base_key_length : w->key_length;
	memcpy(copy->if_match, w->base_etag, sizeof(copy->if_match));
	copy->offset = segment->offset + w->base_shift;
	copy->length = segment->length;
	*ret = b;
	return 0;
}

int writer_start_upload_locked(struct writer *w, const struct publish_attr *asked)
{
	struct publish_attr own;
	struct upload_attr attr;
	struct upload *u;
	int rc;

	while (w->starting)
		writer_wait_locked(w, NULL);
	if (w->upload != NULL)
		return 0;
	if (w->nonce[0] == '\0' && (rc = upload_nonce(w->nonce)) < 0)
		return rc;
	own = (struct publish_attr){w->attr.content_type, w->attr.meta, w->attr.meta_count,
				    w->attr.kept};
	rc = upload_attr_init(&attr, asked != NULL ? asked : &own, w->nonce);
	if (rc < 0)
		return rc;
	rc = upload_create(&w->shared->uploads, &w->owner, w->key, w->key_length, &attr, w->nonce,
			   w->flow, &u);
	upload_attr_finish(&attr); /* empty if it was taken over */
	if (rc < 0)
		return rc;
	w->starting = true;
	writer_unlock(w);
	upload_intend(u, (uint64_t)w->shared->config.clock->wall_s(w->shared->config.clock));
	writer_lock(w);
	w->starting = false;
	w->upload = u;
	w->upload_copies = false;
	memset(w->patched, 0, sizeof(w->patched));
	cond_broadcast(&w->owner.changed);
	return 0;
}

static void submit_locked(struct upload *u, struct body *b, unsigned number, uint64_t length)
{
	b->part.number = number;
	b->part.length = length;
	b->part.ended = body_ended;
	upload_send_locked(u, &b->part);
}

int body_send_locked(struct writer *w, unsigned number, const struct plan_segment *segment,
		     struct cancel *cancel)
{
	struct upload *u = w->upload;
	struct body *b = NULL;
	int rc = upload_claim_locked(u, number);

	if (rc < 0)
		return rc;
	if (segment->copied)
		rc = copy_create_locked(w, segment, &b);
	else
		rc = body_create_locked(w, segment->offset, segment->offset + segment->length,
					cancel, &b);
	if (rc < 0) {
		upload_unclaim_locked(u, number);
		return rc;
	}
	submit_locked(u, b, number, segment->length);
	return 0;
}

/* Makes and hashes the bodies of claimed parts, all or none. */
static int make_bodies_locked(struct writer *w, const struct plan_part *parts, unsigned count,
			      struct body **bodies)
{
	unsigned i, made;
	int rc = 0;

	for (made = 0; made < count && rc == 0; made += rc == 0)
		rc = body_make_locked(w, parts[made].offset,
				      parts[made].offset + parts[made].length, NULL, &bodies[made]);
	if (rc == 0)
		rc = seal_locked(bodies, count);
	for (i = 0; i < made && rc < 0; i++)
		body_destroy_locked(bodies[i]);
	return rc;
}

int body_send_parts_locked(struct writer *w, const struct plan_part *parts, unsigned count)
{
	struct upload *u = w->upload; /* stays while a part is claimed */
	struct body *bodies[BODIES_MAX];
	unsigned i, claimed;
	int rc = 0;

	assert(count >= 1 && count <= BODIES_MAX);
	w->claiming++;
	for (claimed = 0; claimed < count && rc == 0; claimed += rc == 0)
		rc = upload_claim_locked(u, parts[claimed].number);
	if (rc == 0)
		rc = make_bodies_locked(w, parts, count, bodies);
	for (i = 0; i < claimed; i++) {
		if (rc < 0)
			upload_unclaim_locked(u, parts[i].number);
		else
			submit_locked(u, bodies[i], parts[i].number, parts[i].length);
	}
	w->claiming--;
	cond_broadcast(&w->owner.changed);
	return rc;
}
