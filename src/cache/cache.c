/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache as a whole, and want: asking ahead of need, which never waits. read.c has the verb that
 * waits. Called by threads of fs/, many at once.
 */
#include <pailfs/cache.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#include "internal.h"

/* A fetch ahead is shortened to what memory allows, but not below this: requests stay large. */
#define RUN_BLOCKS_MIN 8

/* What streams have read and is kept: this fraction of the memory, within bounds: a step back, not
 * another reading; less of it stays in the processor's caches. */
#define STREAMED_SHARE 32
#define STREAMED_BYTES_MIN (8 * MIB)
#define STREAMED_BYTES_MAX (16 * MIB)

static void source_submit(void *ctx, struct xfer_op *op)
{
	xfer_submit(ctx, op);
}

static void source_cancel(void *ctx, struct xfer_op *op)
{
	xfer_cancel(ctx, op);
}

static void source_promote(void *ctx, struct xfer_op *op)
{
	xfer_promote(ctx, op);
}

int cache_create(struct budget *budget, struct xfer *xfer, struct cache **ret)
{
	const struct cache_source source = {.ctx = xfer,
					    .submit = source_submit,
					    .cancel = source_cancel,
					    .promote = source_promote};

	return cache_create_over(budget, &source, clock_system(), ret);
}

static unsigned streamed_max(uint64_t memory_bytes)
{
	uint64_t share = MAX(memory_bytes / STREAMED_SHARE, STREAMED_BYTES_MIN);

	return (unsigned)(MIN(share, STREAMED_BYTES_MAX) / BLOCK_BYTES);
}

int cache_create_over(struct budget *budget, const struct cache_source *source,
		      const struct clock *clock, struct cache **ret)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	if (slab_create(BLOCK_BYTES, &c->slab) < 0) {
		free(c);
		return -ENOMEM;
	}
	c->budget = budget;
	c->source = *source;
	c->clock = clock;
	c->streamed_max = streamed_max(budget_total_bytes(budget));
	lock_init(&c->lock, LOCK_CACHE);
	cond_init(&c->idle);
	TAILQ_INIT(&c->flow_lru);
	TAILQ_INIT(&c->streamed);
	TAILQ_INIT(&c->used);
	TAILQ_INIT(&c->fetches);
	budget_set_reclaimer(budget, cache_reclaim, c);
	*ret = c;
	return 0;
}

static void cache_empty_locked(struct cache *c)
{
	struct fetch *f;
	struct block *b;

	TAILQ_FOREACH (f, &c->fetches, link)
		fetch_cut_locked(f, fetch_held_locked(f));
	while (c->fetch_count > 0)
		cond_wait(&c->idle, &c->lock);
	while (c->flows != NULL)
		flow_orphan_locked(c, c->flows, 0, UINT64_MAX);
	while ((b = TAILQ_FIRST(&c->streamed)) != NULL || (b = TAILQ_FIRST(&c->used)) != NULL)
		block_evict_locked(b);
	assert(c->stats.blocks == 0 && c->versions == NULL && c->leaves == NULL);
}

void cache_destroy(struct cache *c)
{
	if (c == NULL)
		return;
	budget_set_reclaimer(c->budget, NULL, NULL);
	lock_acquire(&c->lock);
	cache_empty_locked(c);
	lock_release(&c->lock);
	slab_destroy(c->slab);
	cond_finish(&c->idle);
	lock_finish(&c->lock);
	free(c);
}

/* First block of a range, and the one behind its last, within the object. */
static void blocks_of(const struct cache_version *v, uint64_t offset, uint64_t length,
		      uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t end = offset + MIN(length, UINT64_MAX - offset);

	end = MIN(end, v->size);
	*ret_end = (end + BLOCK_BYTES - 1) / BLOCK_BYTES;
	*ret_first = MIN(offset / BLOCK_BYTES, *ret_end);
}

/* How many blocks from `first` on, up to `end`, are missing. */
static unsigned missing_run_locked(struct cache_version *v, uint64_t first, uint64_t end)
{
	unsigned count = 0;

	while (first + count < end && version_find_locked(v, first + count) == NULL)
		count++;
	return count;
}

/* Goes on from `at` to the first missing block, and adopts those that are not. */
static uint64_t want_skip_locked(struct cache_version *v, uint64_t flow_id, uint64_t at,
				 uint64_t end)
{
	struct flow *flow = flow_get_locked(v->cache, flow_id);
	struct block *b;

	for (; at < end && (b = version_find_locked(v, at)) != NULL; at++)
		if (flow != NULL)
			flow_adopt_locked(v->cache, flow, b);
	flow_check_locked(v->cache, flow);
	return at;
}

/* Reserves for up to `count` blocks and returns for how many. */
static unsigned want_reserve(struct cache *c, enum xfer_class class, unsigned count)
{
	enum budget_class budget_class = fetch_budget_class(class);
	unsigned least = class == XFER_AHEAD ? MIN(count, RUN_BLOCKS_MIN) : 1;

	for (; !budget_reserve_try(c->budget, budget_class, count * (uint64_t)BLOCK_BYTES);
	     count = MAX(count / 2, least))
		if (count == least)
			return 0;
	return count;
}

static void want_pass(struct cache_version *v, const struct cache_want *want)
{
	struct cache *c = v->cache;
	struct flow *flow;

	SCOPED_LOCK(&c->lock);
	flow = flow_find_locked(c, want->flow);
	if (flow != NULL)
		flow_pass_locked(c, flow, want->passed / BLOCK_BYTES);
}

/*
 * Fetches what is still missing of a run for which memory is reserved. Returns how many blocks (0:
 * another thread was first), or -ENOMEM.
 */
static int want_start(struct cache_version *v, const struct cache_want *want, uint64_t first,
		      unsigned reserved)
{
	struct cache *c = v->cache;
	struct fetch_plan plan = {
	    .version = v, .first = first, .class = want->class, .flow_id = want->flow};
	unsigned started = 0;

	lock_acquire(&c->lock);
	plan.count = missing_run_locked(v, first, first + reserved);
	if (plan.count > 0) {
		plan.flow = flow_get_locked(c, want->flow);
		started = fetch_start_locked(&plan);
		flow_check_locked(c, plan.flow);
	}
	lock_release(&c->lock);
	if (started < reserved)
		budget_release(c->budget, fetch_budget_class(want->class),
			       (reserved - started) * (uint64_t)BLOCK_BYTES);
	return plan.count > 0 && started == 0 ? -ENOMEM : (int)started;
}

uint64_t cache_want(struct cache_version *v, const struct cache_want *want)
{
	struct cache *c = v->cache;
	uint64_t part = want->part_bytes / BLOCK_BYTES, at, end;
	unsigned run, reserved;
	int started;

	assert(want->part_bytes % BLOCK_BYTES == 0);
	if (want->passed > 0)
		want_pass(v, want);
	blocks_of(v, want->offset, want->length, &at, &end);
	for (;;) {
		lock_acquire(&c->lock);
		at = want_skip_locked(v, want->flow, at, end);
		run = missing_run_locked(v, at, part == 0 ? end : MIN(end, (at / part + 1) * part));
		if (v->err < 0)
			run = 0;
		lock_release(&c->lock);
		if (run == 0)
			break;
		reserved = want_reserve(c, want->class, run);
		if (reserved == 0)
			break;
		started = want_start(v, want, at, reserved);
		if (started < 0)
			break;
		at += (unsigned)started;
		if (reserved < run)
			break;
	}
	return MIN(at * BLOCK_BYTES, v->size);
}

uint64_t cache_covered(struct cache_version *v, uint64_t offset, uint64_t length)
{
	uint64_t at, end;

	blocks_of(v, offset, length, &at, &end);
	SCOPED_LOCK(&v->cache->lock);
	while (at < end && version_find_locked(v, at) != NULL)
		at++;
	return MIN(at * BLOCK_BYTES, v->size);
}

bool cache_has(struct cache_version *v, uint64_t offset, uint64_t length)
{
	uint64_t at, end;
	struct block *b;

	blocks_of(v, offset, length, &at, &end);
	SCOPED_LOCK(&v->cache->lock);
	for (; at < end; at++) {
		b = version_find_locked(v, at);
		if (b == NULL || b->state != BLOCK_READY)
			return false;
	}
	return true;
}

void cache_flow_end(struct cache_version *v, uint64_t flow_id, uint64_t from)
{
	struct cache *c = v->cache;
	uint64_t from_index = (from + BLOCK_BYTES - 1) / BLOCK_BYTES;
	struct flow *flow;
	struct fetch *f;

	SCOPED_LOCK(&c->lock);
	flow = flow_find_locked(c, flow_id);
	if (flow == NULL)
		return;
	LIST_FOREACH (f, &flow->fetches, flow_link) {
		uint64_t before = from_index > f->first_index ? from_index - f->first_index : 0;

		fetch_cut_locked(f, MAX(fetch_held_locked(f), (unsigned)MIN(before, f->cut)));
	}
	flow_orphan_locked(c, flow, from_index, UINT64_MAX);
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	SCOPED_LOCK(&c->lock);
	*ret = c->stats;
}
