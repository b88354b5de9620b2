/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_read: the one function of the cache that waits.
 *
 * It first reserves memory for all that it lacks, holding nothing, and only then takes references:
 * nobody waits for memory while he keeps others from getting some. Then it waits for its last block
 * first: the blocks of one fetch come in order, so that one wakeup serves a READ.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>

#include <pailfs/cleanup.h>

/* A READ does not wait behind more blocks than this of a fetch that is another stream's. */
#define FAR_BLOCKS 32

/* A cache_read on its way. */
struct read {
	struct cache_version *version;
	uint64_t offset, end; /* bytes */
	uint64_t first;	      /* block */
	unsigned count;	      /* blocks */
	uint64_t flow_id;
	struct block *blocks[READ_BLOCKS_MAX]; /* referenced once all are there or on their way */
};

/* True if b comes so late in another stream's fetch that a GET of its own is sooner. */
static bool is_far_locked(const struct read *r, const struct block *b)
{
	const struct fetch *f = b->fetch;
	uint64_t at;

	if (b->state != BLOCK_FETCHING || f->flow == NULL || f->flow->id == r->flow_id)
		return false;
	at = b->index - f->first_index;
	return at >= f->begun + FAR_BLOCKS && fetch_held_locked(f) <= at;
}

/* Looks the blocks up; returns how many are missing. A fetch that is too far off ends before. */
static unsigned read_look_locked(struct read *r)
{
	unsigned i, missing = 0;

	for (i = 0; i < r->count; i++) {
		struct block *b = version_find_locked(r->version, r->first + i);

		if (b != NULL && is_far_locked(r, b)) {
			fetch_cut_locked(b->fetch, (unsigned)(b->index - b->fetch->first_index));
			b = version_find_locked(r->version, r->first + i);
		}
		r->blocks[i] = b;
		missing += b == NULL;
	}
	return missing;
}

/* References all blocks, none of which is missing, and says that somebody waits for them. */
static void read_hold_locked(struct read *r)
{
	unsigned i;

	for (i = 0; i < r->count; i++) {
		struct block *b = r->blocks[i];

		b->refs++;
		if (b->state == BLOCK_FETCHING)
			fetch_promote_locked(b->fetch);
	}
}

/*
 * A read that failed lets go. What was asked for it and nobody else waits for is not asked for any
 * longer: the GETs of killed readers must not hold the slots for as long as the server is silent.
 */
static void read_abandon(struct read *r)
{
	unsigned i;

	SCOPED_LOCK(&r->version->cache->lock);
	for (i = 0; i < r->count; i++) {
		struct block *b = r->blocks[i];
		struct fetch *f = b->state == BLOCK_FETCHING ? b->fetch : NULL;

		block_unref_locked(b);
		if (f != NULL && f->class == XFER_READ && fetch_held_locked(f) == 0)
			fetch_cut_locked(f, 0);
	}
}

/*
 * Fetches missing blocks while *reserved blocks of memory last, which it takes over. -ENOMEM, or
 * what is wrong with the version.
 */
static int read_fetch_locked(struct read *r, unsigned *reserved)
{
	struct fetch_plan plan = {.version = r->version, .class = XFER_READ, .flow_id = r->flow_id};
	unsigned i = 0, started;

	while (i<r->count && * reserved> 0) {
		plan.first = r->first + i;
		for (plan.count = 0; i < r->count && r->blocks[i] == NULL; i++)
			if (plan.count < *reserved)
				plan.count++;
		if (plan.count == 0) {
			i++;
			continue;
		}
		if (r->version->err < 0)
			return r->version->err;
		started = fetch_start_locked(&plan);
		if (started == 0)
			return -ENOMEM;
		*reserved -= started;
	}
	return 0;
}

/* One look at the blocks: 0 and all are held; how many are missing; or -errno. */
static int read_try(struct read *r, unsigned *reserved)
{
	struct cache *c = r->version->cache;
	unsigned missing;
	int err;

	SCOPED_LOCK(&c->lock);
	missing = read_look_locked(r);
	if (missing > 0) {
		err = read_fetch_locked(r, reserved);
		if (err < 0)
			return err;
		missing = read_look_locked(r);
	}
	if (missing == 0)
		read_hold_locked(r);
	else if (r->version->err < 0)
		return r->version->err;
	return (int)missing;
}

static void read_count(struct read *r, int missing)
{
	struct cache *c = r->version->cache;
	struct flow *flow;

	SCOPED_LOCK(&c->lock);
	flow = flow_find_locked(c, r->flow_id);
	if (flow != NULL)
		flow_touch_locked(c, flow);
	c->stats.misses += (unsigned)missing;
	c->stats.hits += r->count - (unsigned)missing;
}

/*
 * All blocks held, READY or on their way. Memory is reserved for what is missing; when that took so
 * long that others were evicted meanwhile, for all.
 */
static int read_collect(struct read *r, struct cancel *cancel)
{
	struct cache *c = r->version->cache;
	unsigned reserved = 0, want;
	int rc = read_try(r, &reserved);

	if (rc >= 0)
		read_count(r, rc);
	for (want = (unsigned)rc; rc > 0; want = r->count) {
		rc = budget_reserve_wait(c->budget, BUDGET_DEMAND, want * (uint64_t)BLOCK_BYTES,
					 UINT64_MAX, cancel);
		if (rc < 0)
			return rc;
		reserved = want;
		rc = read_try(r, &reserved);
		if (reserved > 0)
			budget_release(c->budget, BUDGET_DEMAND, reserved * (uint64_t)BLOCK_BYTES);
	}
	return rc;
}

/* How many bytes of its i-th block a read needs, from the block's beginning. */
static uint32_t read_mark(const struct read *r, unsigned i)
{
	uint64_t start = (r->first + i) * BLOCK_BYTES;

	return (uint32_t)MIN(r->end - start, (uint64_t)BLOCK_BYTES);
}

static int read_wait(struct read *r, struct cancel *cancel)
{
	unsigned i;
	int err = 0;

	SCOPED_LOCK(&r->version->cache->lock);
	for (i = r->count; i > 0 && err == 0; i--)
		err = block_wait_locked(r->blocks[i - 1], read_mark(r, i - 1), cancel);
	for (i = 0; i < r->count && err == 0; i++)
		block_read_locked(r->blocks[i], read_mark(r, i) == r->blocks[i]->length);
	return err;
}

static void view_unref(struct view *view)
{
	struct block *first = view->owner[0];
	struct cache *c = first->version->cache;
	int i;

	SCOPED_LOCK(&c->lock);
	for (i = 0; i < view->iov_count; i++)
		block_unref_locked(view->owner[i]);
	block_trim_locked(c);
}

static void read_view(struct read *r, struct view *ret)
{
	unsigned i;

	for (i = 0; i < r->count; i++) {
		uint32_t skip = i == 0 ? (uint32_t)(r->offset % BLOCK_BYTES) : 0;

		ret->iov[i].iov_base = r->blocks[i]->data + skip;
		ret->iov[i].iov_len = read_mark(r, i) - skip;
		ret->owner[i] = r->blocks[i];
	}
	ret->iov_count = (int)r->count;
	ret->length = (size_t)(r->end - r->offset);
	ret->release = view_unref;
}

int cache_read(struct cache_version *v, uint64_t offset, size_t length, uint64_t flow,
	       struct cancel *cancel, struct view *ret_view)
{
	struct read r = {.version = v, .offset = offset, .flow_id = flow};
	int err;

	assert(length > 0 && length <= 2 * MIB);
	if (offset >= v->size) {
		*ret_view = (struct view){0};
		return 0;
	}
	r.end = offset + MIN((uint64_t)length, v->size - offset);
	r.first = offset / BLOCK_BYTES;
	r.count = (unsigned)((r.end - 1) / BLOCK_BYTES - r.first + 1);
	err = read_collect(&r, cancel);
	if (err < 0)
		return err;
	err = read_wait(&r, cancel);
	if (err < 0) {
		read_abandon(&r);
		return err;
	}
	read_view(&r, ret_view);
	return 0;
}
