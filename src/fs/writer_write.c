/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and cutting. Bytes go from the caller's buffer into chunks, or the buffer is made one.
 * What becomes of a part that is full is writer_stream.c.
 *
 * A part that changes after it was sent waits for the publication: a header that is patched a
 * thousand times is sent twice, not a thousand times.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define STEP_BYTES MIB

bool writer_is_patched_locked(const struct writer *w, unsigned number)
{
	return (w->patched[number / 64] >> number % 64) & 1;
}

static void set_patched(struct writer *w, unsigned number)
{
	w->patched[number / 64] |= UINT64_C(1) << number % 64;
}

/* Dropped bytes cannot be had again. */
static int refuse_dropped_locked(struct writer *w)
{
	char shown[256];

	log_warn("%s: bytes that were sent are needed again, but were not kept: a larger "
		 "spool_limit keeps more",
		 text_printable(w->key, w->key_length, shown, sizeof(shown)));
	return writer_fail_locked(w, -EOPNOTSUPP);
}

int writer_touch_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t at = MIN(start, w->map.size); /* a part that ends there gets a hole */

	w->nonce[0] = '\0'; /* it vouches for one content: an interrupted try's was another */
	if (w->upload != NULL && w->upload_copies)
		writer_drop_upload_locked(w); /* an interrupted publication's */
	while (at < end) {
		struct plan_part part = plan_part_at(&w->plan, at);

		at = part.offset + part.length;
		if (w->upload == NULL)
			continue;
		if (extents_kinds(&w->map, part.offset, at) & EXTENT_BIT(EXTENT_PART))
			return refuse_dropped_locked(w);
		if (upload_part_busy_locked(w->upload, part.number) ||
		    upload_part_state_locked(w->upload, part.number) != UPLOAD_PART_NONE)
			set_patched(w, part.number);
		upload_forget_locked(w->upload, part.number);
	}
	return 0;
}

/* A step of a write. */
struct step {
	uint64_t start, end; /* of the file */
	const struct fs_bytes *bytes;
	size_t used;	   /* of them, in this step and those before */
	unsigned reserved; /* chunks of memory */
};

static void copy_out(struct step *s, unsigned char *dst, size_t n)
{
	while (n > 0) {
		const unsigned char *data = s->bytes->data;
		size_t from = s->used, run = n;

		if (s->bytes->pieces != NULL) {
			data = s->bytes->pieces[from / FS_PIECE_BYTES];
			from %= FS_PIECE_BYTES;
			run = MIN(n, FS_PIECE_BYTES - from);
		}
		memcpy(dst, data + from, run);
		dst += run;
		n -= run;
		s->used += run;
	}
}

/* Fills [at, to) of a chunk: takes a piece over, or copies. */
static int fill_chunk_locked(struct writer *w, struct step *s, uint64_t at, uint64_t to)
{
	bool at_piece = s->bytes->pieces != NULL && s->used % FS_PIECE_BYTES == 0;
	uint64_t index = at / CHUNK_BYTES;
	struct writer_chunk *b;

	_Static_assert(FS_PIECE_BYTES == CHUNK_BYTES, "a piece becomes a chunk");
	if (at_piece && to - at == CHUNK_BYTES) {
		void **piece = &s->bytes->pieces[s->used / FS_PIECE_BYTES];

		s->used += FS_PIECE_BYTES;
		return chunk_adopt_locked(w, index, piece, &s->reserved);
	}
	b = chunk_writable_locked(w, index, s->start, s->end, &s->reserved);
	if (b == NULL)
		return -ENOMEM;
	copy_out(s, b->data + at % CHUNK_BYTES, to - at);
	return 0;
}

/* The bytes of a step into chunks, for which there is memory. */
static int take_in_locked(struct writer *w, struct step *s)
{
	uint64_t at = s->start;
	int rc = 0;

	while (at < s->end && rc == 0) {
		uint64_t to = MIN(s->end, (at / CHUNK_BYTES + 1) * CHUNK_BYTES);

		rc = fill_chunk_locked(w, s, at, to);
		at = to;
	}
	if (rc == 0)
		rc = extents_set(&w->map, s->start, s->end, EXTENT_MEMORY);
	if (rc < 0)
		chunk_trim_locked(w, s->start, s->end);
	return rc;
}

/* Enters with memory for all chunks that the step needs: waits for it without the lock. */
static int enter_with_memory(struct writer *w, struct step *s, struct cancel *cancel)
{
	unsigned need;
	int rc;

	for (;;) {
		writer_lock(w);
		rc = writer_enter_locked(w, cancel);
		need = chunk_need_locked(w, s->start, s->end);
		if (rc < 0 || need <= s->reserved)
			return rc;
		writer_unlock(w);
		memory_release(w->shared, s->reserved); /* nobody waits while he holds some */
		s->reserved = 0;
		rc = memory_reserve(w->shared, need, cancel);
		if (rc < 0) {
			writer_lock(w);
			return rc;
		}
		s->reserved = need;
	}
}

/* ret_rest as writer_write. */
static int write_step(struct writer *w, struct step *s, struct cancel *cancel, bool *ret_rest)
{
	int rc = enter_with_memory(w, s, cancel);

	if (rc < 0 && rc != -EINTR && rc != -ENOMEM)
		writer_fail_locked(w, rc); /* the spool is full: no half of a file is published */
	if (rc == 0)
		rc = writer_touch_locked(w, s->start, s->end);
	if (rc == 0)
		rc = take_in_locked(w, s);
	memory_release(w->shared, s->reserved);
	s->reserved = 0;
	if (rc == 0)
		w->dirty = true;
	if (rc == 0 && ret_rest != NULL)
		*ret_rest = stream_owe_locked(w, s->start, s->end);
	else if (rc == 0)
		rc = stream_send_locked(w, s->start, s->end);
	writer_unlock(w);
	return rc;
}

int writer_check_end(struct writer *w, uint64_t offset, uint64_t length)
{
	uint64_t limit;

	SCOPED_LOCK(&w->owner.lock);
	limit = plan_limit_bytes(&w->plan);
	return offset > limit || length > limit - offset ? -EFBIG : 0;
}

int writer_write(struct writer *w, uint64_t offset, const struct fs_bytes *bytes,
		 struct cancel *cancel, bool *ret_rest)
{
	struct step s = {.start = offset, .bytes = bytes};
	uint64_t end = offset + bytes->length;
	int rc = writer_check_end(w, offset, bytes->length);

	if (ret_rest != NULL)
		*ret_rest = false;
	for (; rc == 0 && s.start < end; s.start = s.end) {
		s.end = MIN(end, s.start + STEP_BYTES);
		rc = write_step(w, &s, cancel, s.end == end ? ret_rest : NULL);
	}
	return rc;
}

int writer_enter_alone_locked(struct writer *w, struct cancel *cancel)
{
	int rc;

	for (;;) {
		rc = writer_enter_locked(w, cancel);
		if (rc < 0 || (!w->spilling && w->sealing == 0 && LIST_EMPTY(&w->spool_bodies)))
			return rc;
		rc = writer_wait_locked(w, cancel);
		if (rc < 0)
			return rc;
	}
}

static void forget_beyond_locked(struct writer *w, uint64_t size)
{
	uint64_t at = size;

	while (w->upload != NULL && at < w->map.size) {
		struct plan_part part = plan_part_at(&w->plan, at);

		at = part.offset + part.length;
		upload_forget_locked(w->upload, part.number);
		if (part.offset < size)
			set_patched(w, part.number);
	}
}

/* The spool ends at size, too: what the file grows by later reads as zeros. */
static int cut_spool_locked(struct writer *w, uint64_t size)
{
	int rc;

	w->spilling = true;
	writer_unlock(w);
	rc = spool_truncate(&w->spool, size);
	writer_lock(w);
	w->spilling = false;
	cond_broadcast(&w->owner.changed);
	return rc < 0 ? writer_fail_locked(w, rc) : 0;
}

static int shrink_locked(struct writer *w, uint64_t size)
{
	struct plan_part part = plan_part_at(&w->plan, size);
	uint64_t old = w->map.size;
	int rc;

	if (w->upload != NULL && w->upload_copies)
		writer_drop_upload_locked(w);
	if (extents_kinds(&w->map, part.offset, size) & EXTENT_BIT(EXTENT_PART))
		return refuse_dropped_locked(w);
	forget_beyond_locked(w, size);
	rc = extents_resize(&w->map, size);
	if (rc < 0)
		return rc;
	chunk_trim_locked(w, size, old);
	return cut_spool_locked(w, size);
}

int writer_truncate(struct writer *w, uint64_t size, struct cancel *cancel)
{
	int rc;

	writer_expect(w, size);
	rc = writer_check_end(w, 0, size);
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&w->owner.lock);
	rc = writer_enter_alone_locked(w, cancel);
	if (rc < 0 || size == w->map.size)
		return rc;
	if (size < w->map.size)
		rc = shrink_locked(w, size);
	else if ((rc = writer_touch_locked(w, w->map.size, size)) == 0)
		rc = extents_resize(&w->map, size);
	if (rc == 0) {
		w->nonce[0] = '\0';
		w->dirty = true;
	}
	return rc;
}
