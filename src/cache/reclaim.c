/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cache gives up when memory is short, in this order:
 *
 *   1. what streams have read; what was fetched ahead for streams that ended; what was read
 *      otherwise or again, least recently first
 *   2. what was fetched ahead for streams that have not read for FLOW_IDLE_NS
 *   3. for a READ only: fetches ahead that have brought nothing yet, the last asked for first
 *   4. for a READ only: what the stream that has not read for longest has not read yet, the last
 *      that came first
 *
 * Runs in the thread that wants memory (any; a writer's, too), which holds no lock at or above
 * LOCK_CACHE. Never waits. Blocks that somebody references stay.
 */
#include "internal.h"

#include <pailfs/cleanup.h>

#define FLOW_IDLE_NS (30 * NS_PER_S)

static uint64_t reclaim_list_locked(struct cache *c, struct block_list *list, uint64_t bytes)
{
	struct block *b, *next;
	uint64_t freed = 0;

	for (b = TAILQ_FIRST(list); b != NULL && freed < bytes; b = next) {
		next = TAILQ_NEXT(b, link);
		if (b->refs > 0)
			continue;
		block_evict_locked(b);
		c->stats.evicted++;
		freed += BLOCK_BYTES;
	}
	return freed;
}

static uint64_t reclaim_used_locked(struct cache *c, uint64_t bytes)
{
	uint64_t freed = reclaim_list_locked(c, &c->streamed, bytes);

	return freed + reclaim_list_locked(c, &c->used, bytes - MIN(freed, bytes));
}

static void reclaim_idle_locked(struct cache *c)
{
	uint64_t now_ns = c->clock->now_ns(c->clock);
	struct flow *flow, *next;

	for (flow = TAILQ_FIRST(&c->flow_lru); flow != NULL; flow = next) {
		next = TAILQ_NEXT(flow, link);
		if (now_ns - flow->read_ns < FLOW_IDLE_NS)
			return;
		flow_orphan_locked(c, flow, 0, UINT64_MAX);
	}
}

static uint64_t reclaim_asked_locked(struct cache *c, uint64_t bytes)
{
	struct fetch *f;
	uint64_t freed = 0;

	TAILQ_FOREACH_REVERSE(f, &c->fetches, fetch_list, link)
	{
		if (freed >= bytes)
			break;
		if (f->class == XFER_AHEAD && f->begun == 0 && fetch_held_locked(f) == 0)
			freed += fetch_cut_locked(f, 0) * (uint64_t)BLOCK_BYTES;
	}
	return freed;
}

static uint64_t reclaim_unread_locked(struct cache *c, uint64_t bytes)
{
	struct flow *flow, *next_flow;
	struct block *b, *next;
	uint64_t freed = 0;

	for (flow = TAILQ_FIRST(&c->flow_lru); flow != NULL && freed < bytes; flow = next_flow) {
		next_flow = TAILQ_NEXT(flow, link);
		for (b = TAILQ_LAST(&flow->unread, block_list); b != NULL && freed < bytes;
		     b = next) {
			next = TAILQ_PREV(b, block_list, link);
			if (b->refs > 0)
				continue;
			block_evict_locked(b); /* the last one takes the flow with it */
			c->stats.evicted++;
			freed += BLOCK_BYTES;
		}
	}
	return freed;
}

uint64_t cache_reclaim(void *ctx, uint64_t bytes, enum budget_class for_class)
{
	struct cache *c = ctx;
	uint64_t freed;

	SCOPED_LOCK(&c->lock);
	freed = reclaim_used_locked(c, bytes);
	if (freed < bytes) {
		reclaim_idle_locked(c);
		freed += reclaim_used_locked(c, bytes - freed);
	}
	if (for_class == BUDGET_DEMAND && freed < bytes)
		freed += reclaim_asked_locked(c, bytes - freed);
	if (for_class == BUDGET_DEMAND && freed < bytes)
		freed += reclaim_unread_locked(c, bytes - freed);
	return freed;
}
