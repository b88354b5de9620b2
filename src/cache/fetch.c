/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts: one ranged GET over a run of missing blocks, whose bytes land in the blocks as they come.
 *
 * fetch_sink runs on a loop's thread, fetch_done there or on the dispatcher's; both only take the
 * cache's lock for a moment, the sink when a block begins, when it is full, and when a waiter's
 * mark has been passed. A block's memory is taken when its first byte is there, so that what is
 * queued costs a reservation only.
 *
 * Bytes are shown as they arrive, with one exception: where the answer carries a checksum of the
 * whole object (which is small then: it came in one GET), nothing is shown before the checksum was
 * right.
 *
 * A fetch may be cut from behind while it runs (its stream has ended, or memory is wanted for a
 * READ): what was not begun is given up at once, and the op ends where it was cut.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

enum budget_class fetch_budget_class(enum xfer_class class)
{
	return class == XFER_AHEAD ? BUDGET_AHEAD : BUDGET_DEMAND;
}

/* Takes memory for the next block. -ECANCELED: it is not wanted any more. */
static int sink_begin(struct fetch *f)
{
	struct cache *c = f->cache;
	void *piece = slab_get(c->slab);

	if (piece == NULL)
		return -ENOMEM;
	lock_acquire(&c->lock);
	if (f->at < f->cut) {
		f->begun = f->at + 1;
		f->filling = f->blocks[f->at];
		f->filling->data = TAKE(piece);
	}
	lock_release(&c->lock);
	slab_put(c->slab, piece);
	return f->filling != NULL ? 0 : -ECANCELED;
}

/* False while a checksum has not proved the bytes. */
static bool sink_shows(const struct fetch *f)
{
	return !f->op.s3.checked_at_end;
}

/* The block that is being filled has all its bytes. -ECANCELED: the fetch was cut here. */
static int sink_end(struct fetch *f)
{
	struct block *b = TAKE(f->filling);
	bool cut;

	f->filled = 0;
	SCOPED_LOCK(&f->cache->lock);
	if (b->state == BLOCK_FETCHING && sink_shows(f)) {
		block_ready_locked(b, f->flow);
		f->blocks[f->at] = NULL;
	}
	f->at++;
	cut = f->at >= f->cut && f->cut < f->count;
	return cut ? -ECANCELED : 0;
}

static int fetch_sink(void *ctx, const void *bytes, size_t n)
{
	struct fetch *f = ctx;
	const unsigned char *from = bytes;
	int err = 0;

	while (n > 0 && err == 0) {
		struct block *b;
		uint32_t chunk;

		if (f->at == f->count)
			return -EIO; /* more than was asked for */
		if (f->filling == NULL && (err = sink_begin(f)) < 0)
			return err;
		b = f->filling;
		chunk = (uint32_t)MIN(n, (size_t)(b->length - f->filled));
		memcpy(b->data + f->filled, from, chunk);
		f->filled += chunk;
		from += chunk;
		n -= chunk;
		if (sink_shows(f))
			atomic_store(&b->fill, f->filled);
		if (f->filled == b->length) {
			err = sink_end(f);
		} else if (atomic_load(&b->wake_at) <= atomic_load(&b->fill)) {
			SCOPED_LOCK(&f->cache->lock);
			block_wake_locked(b);
		}
	}
	return err;
}

/* What a reader gets for the end of an op. */
static int reader_errno(int err)
{
	if (err == -ENOENT) /* the version is gone, the handle is not */
		return -ESTALE;
	if (err == 0 || err == -ECANCELED) /* too few bytes; the scheduler is shutting down */
		return -EIO;
	return err;
}

/* Says why, if somebody waited for it and it is not a matter of course. Read-ahead fails silently:
 * the reader asks again. Before the fetch is taken apart. */
static void fetch_report(struct fetch *f)
{
	const struct s3_op *s3 = &f->op.s3;
	const struct s3_result *r = &s3->result;
	char key[256];
	bool waited;

	lock_acquire(&f->cache->lock);
	waited = f->class != XFER_AHEAD;
	lock_release(&f->cache->lock);
	if (!waited || r->err == 0 || r->err == -ECANCELED || reader_errno(r->err) == -ESTALE)
		return;
	log_warn("\"%s\" bytes %llu-%llu cannot be read: %s (status %d %s: %s)",
		 text_printable(s3->key, s3->key_length, key, sizeof(key)),
		 (unsigned long long)s3->offset, (unsigned long long)(s3->offset + s3->length - 1),
		 strerrordesc_np(-r->err), r->status, r->code, r->message);
}

/* The checksum was right: shows what the sink has filled. */
static void fetch_show_locked(struct fetch *f)
{
	unsigned i;

	for (i = 0; i < f->at; i++) {
		struct block *b = f->blocks[i];

		if (b == NULL || b->state != BLOCK_FETCHING)
			continue;
		atomic_store(&b->fill, b->length);
		block_ready_locked(b, f->flow);
		f->blocks[i] = NULL;
	}
}

/* Takes an ended fetch apart: what is not READY fails. */
static void fetch_end_locked(struct fetch *f, int err, uint64_t received)
{
	struct cache *c = f->cache;
	struct cache_version *v = f->version;
	unsigned i;

	if (err == 0 && !sink_shows(f))
		fetch_show_locked(f);
	for (i = 0; i < f->count; i++) {
		struct block *b = f->blocks[i];

		if (b == NULL)
			continue;
		if (b->state == BLOCK_FETCHING)
			block_detach_locked(b, reader_errno(err));
		block_unref_locked(b);
	}
	if (reader_errno(err) == -ESTALE)
		version_stale_locked(v);
	TAILQ_REMOVE(&c->fetches, f, link);
	if (f->flow != NULL) {
		LIST_REMOVE(f, flow_link);
		flow_check_locked(c, f->flow);
	}
	v->fetches--;
	version_check_locked(v);
	c->stats.fetched_bytes += received;
	if (--c->fetch_count == 0)
		cond_broadcast(&c->idle);
}

static void fetch_done(struct xfer_op *op)
{
	struct fetch *f = op->ctx;
	struct cache *c = f->cache;
	int err = op->s3.result.err;
	uint64_t received = op->s3.received;

	fetch_report(f);
	xfer_op_finish(op);
	lock_acquire(&c->lock);
	fetch_end_locked(f, err, received);
	lock_release(&c->lock);
	free(f);
}

static struct fetch *fetch_create_locked(const struct fetch_plan *plan)
{
	struct fetch *f = calloc(1, sizeof(*f) + plan->count * sizeof(f->blocks[0]));

	if (f == NULL)
		return NULL;
	f->cache = plan->version->cache;
	f->version = plan->version;
	f->first_index = plan->first;
	f->class = plan->class;
	f->flow = plan->flow;
	for (; f->count < plan->count; f->count++) {
		struct block *b = block_create_locked(f->version, plan->first + f->count,
						      fetch_budget_class(plan->class));

		if (b == NULL)
			break;
		b->fetch = f;
		f->blocks[f->count] = b;
	}
	if (f->count == 0) {
		free(f);
		return NULL;
	}
	f->cut = f->count;
	return f;
}

unsigned fetch_start_locked(const struct fetch_plan *plan)
{
	struct cache_version *v = plan->version;
	struct cache *c = v->cache;
	struct fetch *f;
	struct s3_op *s3;

	lock_assert_held(&c->lock);
	f = fetch_create_locked(plan);
	if (f == NULL)
		return 0;
	xfer_op_init(&f->op, S3_GET_OBJECT, plan->class);
	f->op.flow = plan->flow_id;
	f->op.quiet = true; /* fetch_report knows whether somebody waited */
	f->op.done = fetch_done;
	f->op.ctx = f;
	s3 = &f->op.s3;
	s3->key = v->key;
	s3->key_length = v->key_length;
	strncpy(s3->if_match, v->etag, sizeof(s3->if_match) - 1);
	s3->offset = f->first_index * BLOCK_BYTES;
	s3->length = MIN(f->count * (uint64_t)BLOCK_BYTES, v->size - s3->offset);
	s3->object_size = v->size;
	s3->sink = fetch_sink;
	s3->sink_ctx = f;
	TAILQ_INSERT_TAIL(&c->fetches, f, link);
	if (f->flow != NULL)
		LIST_INSERT_HEAD(&f->flow->fetches, f, flow_link);
	v->fetches++;
	c->fetch_count++;
	c->source.submit(c->source.ctx, &f->op);
	return f->count;
}

unsigned fetch_held_locked(const struct fetch *f)
{
	unsigned i;

	lock_assert_held(&f->cache->lock);
	for (i = f->cut; i > 0; i--)
		if (f->blocks[i - 1] != NULL && f->blocks[i - 1]->refs > 1)
			return i;
	return 0;
}

unsigned fetch_cut_locked(struct fetch *f, unsigned keep)
{
	unsigned i, freed = 0, old_cut = f->cut;

	lock_assert_held(&f->cache->lock);
	assert(keep >= fetch_held_locked(f));
	if (keep > 0 && f->op.s3.length == f->version->size)
		return 0; /* its checksum may need all of it */
	for (i = keep; i < old_cut; i++) {
		struct block *b = f->blocks[i];

		if (b == NULL)
			continue; /* READY */
		block_detach_locked(b, -ECANCELED);
		if (i < f->begun)
			continue; /* the sink writes to it: fetch_done frees it */
		f->blocks[i] = NULL;
		block_unref_locked(b);
		freed++;
	}
	f->cut = MIN(keep, old_cut);
	if (f->cut < old_cut && !f->cancelled && (f->cut == 0 || f->blocks[f->cut - 1] == NULL)) {
		f->cancelled = true;
		f->cache->source.cancel(f->cache->source.ctx, &f->op);
	}
	return freed;
}

void fetch_promote_locked(struct fetch *f)
{
	lock_assert_held(&f->cache->lock);
	if (f->class != XFER_AHEAD)
		return;
	f->class = XFER_READ;
	f->cache->source.promote(f->cache->source.ctx, &f->op);
}
