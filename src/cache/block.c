/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block's life: made FETCHING, filled by the sink, READY until it is evicted; or EMPTY at once
 * when its fetch fails. internal.h has the table of states.
 *
 * The sink writes data and moves `fill` without the lock. A waiter stores the mark that he needs in
 * `wake_at` and then looks at `fill`; the sink moves `fill` and then looks at `wake_at`. Both are
 * sequentially consistent, so one of them sees the other, and the sink takes the lock only when
 * somebody has something to be woken for.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

struct block *block_create_locked(struct cache_version *v, uint64_t index, enum budget_class class)
{
	struct block *b = calloc(1, sizeof(*b));

	lock_assert_held(&v->cache->lock);
	if (b == NULL)
		return NULL;
	b->version = v;
	b->index = index;
	b->length = (uint32_t)MIN((uint64_t)BLOCK_BYTES, v->size - index * BLOCK_BYTES);
	b->budget_class = class;
	b->state = BLOCK_FETCHING;
	b->refs = 1;
	LIST_INIT(&b->waiters);
	atomic_init(&b->wake_at, NOT_WANTED);
	if (version_insert_locked(v, b) < 0) {
		free(b);
		return NULL;
	}
	v->blocks++;
	v->cache->stats.blocks++;
	return b;
}

/* The one place where a block dies. */
static void block_free_locked(struct block *b)
{
	struct cache_version *v = b->version;
	struct cache *c = v->cache;

	assert(b->refs == 0 && b->state == BLOCK_EMPTY && LIST_EMPTY(&b->waiters));
	slab_put(c->slab, b->data);
	budget_release(c->budget, b->budget_class, BLOCK_BYTES);
	free(b);
	c->stats.blocks--;
	v->blocks--;
	version_check_locked(v);
}

void block_unref_locked(struct block *b)
{
	lock_assert_held(&b->version->cache->lock);
	assert(b->refs > 0);
	if (--b->refs == 0 && b->state == BLOCK_EMPTY)
		block_free_locked(b);
}

void block_detach_locked(struct block *b, int err)
{
	lock_assert_held(&b->version->cache->lock);
	assert(b->state == BLOCK_FETCHING && err < 0);
	version_remove_locked(b);
	b->state = BLOCK_EMPTY;
	b->err = err;
	b->fetch = NULL;
	block_wake_locked(b);
}

/*
 * A stream has read it and hardly comes back: the kernel's page cache has it. Few such blocks are
 * kept, so that what arrives next finds memory that was touched before, which is a good deal
 * faster than fresh memory.
 */
static void block_streamed_locked(struct block *b)
{
	struct cache *c = b->version->cache;

	b->streamed = true;
	TAILQ_INSERT_TAIL(&c->streamed, b, link);
	c->streamed_count++;
}

void block_trim_locked(struct cache *c)
{
	struct block *b = TAILQ_FIRST(&c->streamed);

	lock_assert_held(&c->lock);
	while (c->streamed_count > c->streamed_max && b->refs == 0) {
		block_evict_locked(b);
		b = TAILQ_FIRST(&c->streamed);
	}
}

void block_ready_locked(struct block *b, struct flow *flow)
{
	struct cache *c = b->version->cache;

	lock_assert_held(&c->lock);
	assert(b->state == BLOCK_FETCHING && atomic_load(&b->fill) == b->length);
	b->state = BLOCK_READY;
	b->fetch = NULL;
	b->flow = b->read_to_end ? NULL : flow;
	if (b->flow != NULL) {
		TAILQ_INSERT_TAIL(&flow->unread, b, link);
		c->stats.ahead_blocks++;
	} else if (flow != NULL) {
		block_streamed_locked(b);
	} else {
		TAILQ_INSERT_TAIL(&c->used, b, link);
	}
	block_wake_locked(b);
	b->refs--; /* in the index: nothing to free */
}

/* Off the list that a READY block is on. */
static void block_unlist_locked(struct block *b)
{
	struct cache *c = b->version->cache;
	struct flow *flow = b->flow;

	assert(b->state == BLOCK_READY);
	if (b->streamed) {
		TAILQ_REMOVE(&c->streamed, b, link);
		c->streamed_count--;
		b->streamed = false;
		return;
	}
	if (flow == NULL) {
		TAILQ_REMOVE(&c->used, b, link);
		return;
	}
	TAILQ_REMOVE(&flow->unread, b, link);
	c->stats.ahead_blocks--;
	b->flow = NULL;
	flow_check_locked(c, flow);
}

void block_read_locked(struct block *b, bool to_end)
{
	struct cache *c = b->version->cache;
	bool first = b->flow != NULL;

	lock_assert_held(&c->lock);
	b->read_to_end = b->read_to_end || to_end;
	if (b->state != BLOCK_READY || (first && !to_end))
		return; /* the rest of it is still to come, or to be read */
	block_unlist_locked(b);
	if (first)
		block_streamed_locked(b);
	else
		TAILQ_INSERT_TAIL(&c->used, b, link);
}

void block_evict_locked(struct block *b)
{
	lock_assert_held(&b->version->cache->lock);
	assert(b->refs == 0);
	block_unlist_locked(b);
	version_remove_locked(b);
	b->state = BLOCK_EMPTY;
	block_free_locked(b);
}

void block_wake_locked(struct block *b)
{
	uint32_t fill = atomic_load(&b->fill), next = NOT_WANTED;
	struct block_waiter *w;

	lock_assert_held(&b->version->cache->lock);
	LIST_FOREACH (w, &b->waiters, link) {
		if (w->mark <= fill || b->state == BLOCK_EMPTY)
			cond_signal(&w->cond);
		else
			next = MIN(next, w->mark);
	}
	atomic_store(&b->wake_at, next);
}

int block_wait_locked(struct block *b, uint32_t mark, struct cancel *cancel)
{
	struct cache *c = b->version->cache;
	struct block_waiter w = {.mark = mark};
	int err = 0;

	lock_assert_held(&c->lock);
	if (atomic_load(&b->fill) >= mark)
		return 0;
	cond_init(&w.cond);
	LIST_INSERT_HEAD(&b->waiters, &w, link);
	for (;;) {
		if (mark < atomic_load(&b->wake_at))
			atomic_store(&b->wake_at, mark);
		if (atomic_load(&b->fill) >= mark)
			break;
		if (b->state == BLOCK_EMPTY)
			err = b->err;
		if (err < 0)
			break;
		err = cond_wait_cancel(&w.cond, &c->lock, UINT64_MAX, cancel);
	}
	LIST_REMOVE(&w, link);
	block_wake_locked(b); /* wake_at without this waiter */
	cond_finish(&w.cond);
	return atomic_load(&b->fill) >= mark ? 0 : err;
}
