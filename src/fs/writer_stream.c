/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream: a part of the grid that is full, with bytes behind it, is hashed and sent while the
 * next is written, by the thread that filled it, as a rest that it owes: after its reply.
 *
 * Where two bodies are hashed for little more than the price of one, the rest of a part first waits
 * for the part behind it, which is then nobody else's rest. It waits only while the stream is fast
 * enough for that to be soon (twice what the part itself took, and never beyond pair_wait_ns), and
 * while writers hold little memory when it begins. Whoever publishes, unlinks or ends the file, or
 * finds no memory, ends the wait; a publication sends the part itself.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

/* A base up to this size is worth a copy of each part of the grid; a larger one is copied in large
 * pieces, and what is written is sent at publication. */
#define STREAM_BASE_BYTES_MAX GIB
#define PATIENCE 2 /* times what the part took */
#define PAIR_MEMORY_SHARE                                                                          \
	4 /* of all memory: no wait if writers would hold more with the next part */

static bool may_stream_locked(const struct writer *w)
{
	return !w->detached && w->err == 0 && !w->publishing && !w->upload_copies &&
	       (w->base == NULL || cache_version_size(w->base) <= STREAM_BASE_BYTES_MAX);
}

/* The grid may have changed since the part was looked up (writer_expect). */
static bool is_of_grid(const struct writer *w, const struct plan_part *part)
{
	struct plan_part now = plan_part_at(&w->plan, part->offset);

	return now.number == part->number && now.offset == part->offset &&
	       now.length == part->length;
}

/* True if somebody sends that part, or has. */
static bool is_sent_locked(const struct writer *w, unsigned number)
{
	return w->upload != NULL &&
	       (upload_part_busy_locked(w->upload, number) ||
		upload_part_state_locked(w->upload, number) != UPLOAD_PART_NONE);
}

static bool is_ready_locked(const struct writer *w, const struct plan_part *part)
{
	uint64_t end = part->offset + part->length;
	unsigned kinds;

	if (end >= w->map.size || !is_of_grid(w, part) ||
	    writer_is_patched_locked(w, part->number) || is_sent_locked(w, part->number))
		return false;
	kinds = extents_kinds(&w->map, part->offset, end);
	return (kinds & ~LOCAL_KINDS) == 0 && (kinds & ~EXTENT_BIT(EXTENT_CACHED)) != 0;
}

/* Those of the parts that nobody has sent meanwhile. */
static int send_parts_locked(struct writer *w, const struct plan_part *parts, unsigned count)
{
	struct plan_part ready[BODIES_MAX];
	unsigned i, n = 0;
	int rc = writer_start_upload_locked(w, NULL);

	if (rc < 0 || !may_stream_locked(w))
		return rc;
	for (i = 0; i < count; i++)
		if (is_ready_locked(w, &parts[i]))
			ready[n++] = parts[i];
	return n > 0 ? body_send_parts_locked(w, ready, n) : 0;
}

/* The next part at *at, moved beyond it, or later that is full and begins before end. */
static bool next_ready_locked(const struct writer *w, uint64_t *at, uint64_t end,
			      struct plan_part *ret)
{
	while (*at < MIN(end, w->map.size) && may_stream_locked(w)) {
		*ret = plan_part_at(&w->plan, *at);
		*at = ret->offset + ret->length;
		if (is_ready_locked(w, ret))
			return true;
	}
	return false;
}

/* The first byte of which a write at start may have filled the part. */
static uint64_t ready_from(uint64_t start)
{
	return start > 0 ? start - 1 : 0;
}

int stream_send_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t at = ready_from(start);
	struct plan_part parts[BODIES_MAX];
	unsigned count;
	int rc;

	for (;;) {
		for (count = 0; count < BODIES_MAX; count++)
			if (!next_ready_locked(w, &at, end, &parts[count]))
				break;
		if (count == 0)
			return 0;
		rc = send_parts_locked(w, parts, count);
		if (rc < 0 && rc != -ENOMEM && rc != -EAGAIN && !w->publishing)
			return writer_fail_locked(w, rc); /* else at publication */
	}
}

bool stream_owe_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t at = ready_from(start), now_ns;
	struct plan_part part;

	if (!next_ready_locked(w, &at, end, &part))
		return false;
	now_ns = clock_now_ns();
	w->filling_ns = now_ns - w->filled_ns;
	w->filled_ns = now_ns;
	if (part.number == w->partner && !next_ready_locked(w, &at, end, &part)) {
		cond_broadcast(&w->owner.changed);
		return false; /* it is waited for */
	}
	w->rests++;
	return true;
}

/* How long it is worth to wait for the part behind a full one: 0 not at all. */
static uint64_t patience_ns_locked(const struct writer *w, const struct plan_part *part)
{
	const struct writers *s = w->shared;
	struct s3_target target;

	if (w->partner != 0 || PATIENCE * w->filling_ns > s->config.pair_wait_ns ||
	    atomic_load(&s->held_bytes) + part->length > s->config.memory_bytes / PAIR_MEMORY_SHARE)
		return 0;
	s->uploads.source.target(s->uploads.source.ctx, &target);
	return target.unsigned_payload ? 0 : PATIENCE * w->filling_ns;
}

/* The end of what is full, once it is clear whether the part behind comes in time. */
static uint64_t wait_for_partner_locked(struct writer *w, uint64_t start, uint64_t end)
{
	uint64_t at = ready_from(start), patience_ns;
	struct plan_part part, next;

	if (!next_ready_locked(w, &at, end, &part) || part.number == PLAN_PARTS_MAX)
		return end;
	patience_ns = patience_ns_locked(w, &part);
	if (patience_ns == 0)
		return end;
	next = plan_part_at(&w->plan, at);
	w->partner = next.number;
	w->patient_until_ns = w->filled_ns + patience_ns;
	atomic_fetch_add(&w->shared->waiting_parts, 1);
	while (may_stream_locked(w) && is_ready_locked(w, &part) && !is_ready_locked(w, &next) &&
	       !is_sent_locked(w, next.number) && clock_now_ns() < w->patient_until_ns)
		cond_wait_until(&w->owner.changed, &w->owner.lock, w->patient_until_ns);
	atomic_fetch_sub(&w->shared->waiting_parts, 1);
	w->partner = 0;
	return MAX(end, plan_part_number(&w->plan, next.number).offset + 1);
}

bool stream_hurry(struct writers *s)
{
	struct writer *w;

	if (atomic_load(&s->waiting_parts) == 0)
		return false;
	SCOPED_LOCK(&s->lock);
	TAILQ_FOREACH (w, &s->list, link) {
		writer_lock(w);
		w->patient_until_ns = 0;
		cond_broadcast(&w->owner.changed);
		writer_unlock(w);
	}
	return true;
}

void writer_send_rest(struct writer *w, uint64_t start, uint64_t end)
{
	SCOPED_LOCK(&w->owner.lock);
	assert(w->rests > 0);
	end = wait_for_partner_locked(w, start, end);
	stream_send_locked(w, start, end); /* an error has failed the writer */
	w->rests--;
	cond_broadcast(&w->owner.changed);
}
