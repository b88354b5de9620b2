/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of retries: which failures are tried again and after which pause, the budget that
 * all ops share, and the heap of those that wait. Nothing here knows the time or takes a lock: the
 * scheduler calls it under its own lock (retry_decide: by the thread that ends the try) and hands
 * in now and the dice. What a failure *is* was decided by s3/'s table.
 */
#include "retry.h"

#include <assert.h>
#include <errno.h>

#include <pailfs/cleanup.h>

#define BASE_NS (50 * NS_PER_MS)
#define CEILING_NS (10 * NS_PER_S)
#define THROTTLED_BASE_NS (200 * NS_PER_MS)
#define THROTTLED_CEILING_NS (20 * NS_PER_S)
#define CLOCK_TRIES 2

#define BUDGET_FULL_MILLI 500000
#define BUDGET_COST_MILLI 5000
#define BUDGET_REWARD_MILLI 1000
#define BUDGET_NS_PER_MILLI 100000 /* 10 a second */

uint64_t retry_ceiling_ns(unsigned failures, bool throttled)
{
	uint64_t ceiling = throttled ? THROTTLED_CEILING_NS : CEILING_NS;
	uint64_t pause = throttled ? THROTTLED_BASE_NS : BASE_NS;

	assert(failures >= 1);
	for (unsigned i = 1; i < failures && pause < ceiling; i++)
		pause *= 2;
	return MIN(pause, ceiling);
}

/* Half of op_timeout at most for Retry-After, so that the try it asked for still takes place. */
static enum retry_when retry_after_pause(struct retry_state *s, const struct s3_result *result,
					 unsigned retries, uint64_t op_timeout_ns, uint64_t random,
					 uint64_t *ret_delay_ns)
{
	if (s->failures >= retries)
		return RETRY_END;
	s->failures++;
	uint64_t ceiling = retry_ceiling_ns(s->failures, result->retry == S3_RETRY_THROTTLE);
	uint64_t asked = MIN(result->retry_after_ns, op_timeout_ns / 2);
	*ret_delay_ns = MAX(random % (ceiling + 1), asked);
	return RETRY_LATER;
}

/* At once if that way out was not taken before. */
static enum retry_when retry_once(bool *used)
{
	if (*used)
		return RETRY_END;
	*used = true;
	return RETRY_AT_ONCE;
}

enum retry_when retry_decide(struct retry_state *s, const struct s3_result *result,
			     unsigned retries, uint64_t op_timeout_ns, uint64_t random,
			     uint64_t *ret_delay_ns)
{
	*ret_delay_ns = 0;
	if (result->err == 0)
		return RETRY_END;
	switch (result->retry) {
	case S3_RETRY_FRESH:
		if (retry_once(&s->fresh) == RETRY_AT_ONCE)
			return RETRY_AT_ONCE;
		/* fallthrough */
	case S3_RETRY_BACKOFF:
	case S3_RETRY_THROTTLE:
		return retry_after_pause(s, result, retries, op_timeout_ns, random, ret_delay_ns);
	case S3_RETRY_CLOCK:
		return s->clocks++ < CLOCK_TRIES ? RETRY_AT_ONCE : RETRY_END;
	case S3_RETRY_REGION:
		return retry_once(&s->region);
	case S3_RETRY_KEYS:
		return retry_once(&s->keys);
	case S3_RETRY_WITHOUT: /* s3/ gives it once for each feature */
		return RETRY_AT_ONCE;
	case S3_RETRY_NO:
		break;
	}
	return RETRY_END;
}

void retry_progress(struct retry_state *s)
{
	s->failures = 0;
	s->fresh = false;
}

void retry_budget_init(struct retry_budget *b, uint64_t now_ns)
{
	*b = (struct retry_budget){.level_milli = BUDGET_FULL_MILLI, .updated_ns = now_ns};
}

static void budget_add(struct retry_budget *b, uint64_t milli)
{
	b->level_milli = MIN(b->level_milli + milli, BUDGET_FULL_MILLI);
}

/* Adds what came by itself; the remainder of a milli stays in updated_ns. */
static void budget_update(struct retry_budget *b, uint64_t now_ns)
{
	if (now_ns <= b->updated_ns)
		return;
	uint64_t milli = (now_ns - b->updated_ns) / BUDGET_NS_PER_MILLI;
	b->updated_ns += milli * BUDGET_NS_PER_MILLI;
	budget_add(b, milli);
}

bool retry_budget_take_try(struct retry_budget *b, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	budget_update(b, now_ns);
	if (b->level_milli < BUDGET_COST_MILLI) {
		*ret_wait_ns = (BUDGET_COST_MILLI - b->level_milli) * BUDGET_NS_PER_MILLI;
		return false;
	}
	b->level_milli -= BUDGET_COST_MILLI;
	return true;
}

void retry_budget_give(struct retry_budget *b, uint64_t now_ns)
{
	budget_update(b, now_ns);
	budget_add(b, BUDGET_REWARD_MILLI);
}

void retry_heap_init(struct retry_heap *h)
{
	*h = (struct retry_heap){0};
}

void retry_heap_finish(struct retry_heap *h)
{
	free(h->items);
	retry_heap_init(h);
}

int retry_heap_reserve(struct retry_heap *h, size_t count)
{
	if (count <= h->room)
		return 0;
	size_t room = MAX(count, 2 * h->room + 64);
	struct retry_item **items = reallocarray(h->items, room, sizeof(struct retry_item *));
	if (items == NULL)
		return -ENOMEM;
	h->items = items;
	h->room = room;
	return 0;
}

static bool item_before(const struct retry_item *a, const struct retry_item *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->sequence < b->sequence);
}

static void heap_set(struct retry_heap *h, size_t index, struct retry_item *item)
{
	h->items[index] = item;
	item->index = index;
}

/* Puts item where it belongs on the way from index to the root. */
static void heap_rise(struct retry_heap *h, size_t index, struct retry_item *item)
{
	while (index > 0 && item_before(item, h->items[(index - 1) / 2])) {
		heap_set(h, index, h->items[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_set(h, index, item);
}

/* Puts item where it belongs on the way from index to the leaves. */
static void heap_sink(struct retry_heap *h, size_t index, struct retry_item *item)
{
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && item_before(h->items[child + 1], h->items[child]))
			child++;
		if (!item_before(h->items[child], item))
			break;
		heap_set(h, index, h->items[child]);
		index = child;
	}
	heap_set(h, index, item);
}

void retry_heap_push(struct retry_heap *h, struct retry_item *item)
{
	assert(h->count < h->room);
	item->sequence = h->sequence++;
	heap_rise(h, h->count++, item);
}

void retry_heap_remove(struct retry_heap *h, struct retry_item *item)
{
	assert(item->index < h->count && h->items[item->index] == item);
	struct retry_item *last = h->items[--h->count];
	if (last == item)
		return;
	size_t hole = item->index;
	if (hole > 0 && item_before(last, h->items[(hole - 1) / 2]))
		heap_rise(h, hole, last);
	else
		heap_sink(h, hole, last);
}

struct retry_item *retry_heap_first(const struct retry_heap *h)
{
	return h->count == 0 ? NULL : h->items[0];
}
