/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: which unread blocks and running fetches belong to which stream, so that they can be given
 * up with it. A flow is made by the first fetch for it and goes with its last block or fetch; all
 * under the cache's lock.
 *
 * When several streams want the same blocks, they belong to the last that asked.
 */
#include "internal.h"

#include <stdlib.h>

struct flow *flow_find_locked(struct cache *c, uint64_t id)
{
	struct flow *flow = NULL;

	lock_assert_held(&c->lock);
	if (id != 0)
		HASH_FIND(hh, c->flows, &id, sizeof(id), flow);
	return flow;
}

struct flow *flow_get_locked(struct cache *c, uint64_t id)
{
	struct flow *flow = flow_find_locked(c, id);

	if (flow != NULL || id == 0)
		return flow;
	flow = calloc(1, sizeof(*flow));
	if (flow == NULL)
		return NULL;
	flow->id = id;
	flow->read_ns = c->clock->now_ns(c->clock);
	TAILQ_INIT(&flow->unread);
	LIST_INIT(&flow->fetches);
	HASH_ADD(hh, c->flows, id, sizeof(flow->id), flow);
	if (flow->hh.tbl == NULL) {
		free(flow);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&c->flow_lru, flow, link);
	return flow;
}

void flow_touch_locked(struct cache *c, struct flow *flow)
{
	lock_assert_held(&c->lock);
	flow->read_ns = c->clock->now_ns(c->clock);
	TAILQ_REMOVE(&c->flow_lru, flow, link);
	TAILQ_INSERT_TAIL(&c->flow_lru, flow, link);
}

void flow_check_locked(struct cache *c, struct flow *flow)
{
	lock_assert_held(&c->lock);
	if (flow == NULL || !TAILQ_EMPTY(&flow->unread) || !LIST_EMPTY(&flow->fetches))
		return;
	TAILQ_REMOVE(&c->flow_lru, flow, link);
	HASH_DEL(c->flows, flow);
	free(flow);
}

void flow_orphan_locked(struct cache *c, struct flow *flow, uint64_t from_index, uint64_t end_index)
{
	struct block *b, *next;

	lock_assert_held(&c->lock);
	for (b = TAILQ_FIRST(&flow->unread); b != NULL; b = next) {
		next = TAILQ_NEXT(b, link);
		if (b->index < from_index || b->index >= end_index)
			continue;
		TAILQ_REMOVE(&flow->unread, b, link);
		b->flow = NULL;
		TAILQ_INSERT_HEAD(&c->used, b, link);
		c->stats.ahead_blocks--;
	}
	flow_check_locked(c, flow);
}

void flow_pass_locked(struct cache *c, struct flow *flow, uint64_t index)
{
	struct fetch *f;

	lock_assert_held(&c->lock);
	LIST_FOREACH (f, &flow->fetches, flow_link)
		if (f->first_index + f->cut <= index)
			fetch_cut_locked(f, fetch_held_locked(f));
	flow_orphan_locked(c, flow, 0, index);
}

void flow_adopt_locked(struct cache *c, struct flow *flow, struct block *b)
{
	struct fetch *f = b->fetch;
	struct flow *old;

	lock_assert_held(&c->lock);
	if (b->state == BLOCK_FETCHING && f->flow != NULL && f->flow != flow) {
		old = f->flow;
		LIST_REMOVE(f, flow_link);
		f->flow = flow;
		LIST_INSERT_HEAD(&flow->fetches, f, flow_link);
		flow_check_locked(c, old);
	} else if (b->state == BLOCK_READY && b->flow != NULL && b->flow != flow) {
		old = b->flow;
		TAILQ_REMOVE(&old->unread, b, link);
		b->flow = flow;
		TAILQ_INSERT_TAIL(&flow->unread, b, link);
		flow_check_locked(c, old);
	}
}
