/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory budget: counters, a queue of waiters a class, and a reclaimer.
 *
 * Invariants, under the lock: the sum of all classes never exceeds the total; AHEAD and WRITE leave
 * the demand reserve alone; WRITE stays within its share. Waiters are granted in order, demand
 * first; a grant is made by whoever gives memory back, so that nobody overtakes.
 *
 * The reclaimer runs in the thread that wants memory, without the lock. A waiter asks it again
 * every REASK_NS, because memory may become reclaimable without being given back (a reader lets go
 * of a cached block).
 */
#include <pailfs/budget.h>

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#define RESERVE_BYTES_MAX (16 * MIB)
#define REASK_NS (20 * NS_PER_MS)

struct waiter {
	enum budget_class class;
	uint64_t bytes;
	bool granted;
	struct cond cond;
	TAILQ_ENTRY(waiter) link;
};

TAILQ_HEAD(waiter_queue, waiter);

struct budget {
	/* set at creation */
	uint64_t total_bytes, reserve_bytes, write_bytes_max;
	budget_reclaim *reclaim;
	void *reclaim_ctx;
	struct lock lock;
	/* under the lock */
	uint64_t used_bytes[BUDGET_CLASSES];
	struct waiter_queue waiting[BUDGET_CLASSES];
	/* atomic */
	_Atomic unsigned demand_waiters;
};

int budget_create(uint64_t total_bytes, struct budget **ret)
{
	struct budget *b;
	int c;

	if (total_bytes < 8 * MIB)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	b->total_bytes = total_bytes;
	b->reserve_bytes = MIN(RESERVE_BYTES_MAX, total_bytes / 4);
	b->write_bytes_max = total_bytes / 4 * 3;
	lock_init(&b->lock, LOCK_BUDGET);
	for (c = 0; c < BUDGET_CLASSES; c++)
		TAILQ_INIT(&b->waiting[c]);
	*ret = b;
	return 0;
}

void budget_destroy(struct budget *b)
{
	int c;

	if (b == NULL)
		return;
	for (c = 0; c < BUDGET_CLASSES; c++)
		assert(b->used_bytes[c] == 0 && TAILQ_EMPTY(&b->waiting[c]));
	lock_finish(&b->lock);
	free(b);
}

void budget_set_reclaimer(struct budget *b, budget_reclaim *fn, void *ctx)
{
	b->reclaim = fn;
	b->reclaim_ctx = ctx;
}

static uint64_t sum_locked(const struct budget *b)
{
	uint64_t sum = 0;
	int c;

	lock_assert_held(&b->lock);
	for (c = 0; c < BUDGET_CLASSES; c++)
		sum += b->used_bytes[c];
	return sum;
}

/* How many bytes must be given back before a reservation fits; UINT64_MAX: it is not its turn. */
static uint64_t shortfall_locked(const struct budget *b, enum budget_class c, uint64_t bytes)
{
	uint64_t limit = b->total_bytes, sum = sum_locked(b);

	if (c != BUDGET_DEMAND)
		limit -= b->reserve_bytes;
	if (c == BUDGET_WRITE && b->used_bytes[c] + bytes > b->write_bytes_max)
		return UINT64_MAX;
	if (c == BUDGET_AHEAD && !TAILQ_EMPTY(&b->waiting[BUDGET_DEMAND]))
		return UINT64_MAX;
	return sum + bytes > limit ? sum + bytes - limit : 0;
}

static bool take_locked(struct budget *b, enum budget_class c, uint64_t bytes,
			uint64_t *ret_shortfall)
{
	*ret_shortfall = shortfall_locked(b, c, bytes);
	if (*ret_shortfall != 0)
		return false;
	b->used_bytes[c] += bytes;
	return true;
}

/* Grants to waiters in order what fits now. */
static void grant_locked(struct budget *b)
{
	static const enum budget_class order[] = {BUDGET_DEMAND, BUDGET_WRITE, BUDGET_AHEAD};
	uint64_t shortfall;
	struct waiter *w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		while ((w = TAILQ_FIRST(&b->waiting[order[i]])) != NULL) {
			if (!take_locked(b, w->class, w->bytes, &shortfall))
				break;
			TAILQ_REMOVE(&b->waiting[w->class], w, link);
			if (w->class == BUDGET_DEMAND)
				atomic_fetch_sub(&b->demand_waiters, 1);
			w->granted = true;
			cond_signal(&w->cond);
		}
		if (order[i] == BUDGET_DEMAND && w != NULL)
			return; /* the rest must not take what demand waits for */
	}
}

bool budget_reserve_try(struct budget *b, enum budget_class c, uint64_t bytes)
{
	uint64_t shortfall;
	bool taken;

	for (;;) {
		lock_acquire(&b->lock);
		taken = TAILQ_EMPTY(&b->waiting[c]) && take_locked(b, c, bytes, &shortfall);
		if (!taken && !TAILQ_EMPTY(&b->waiting[c]))
			shortfall = UINT64_MAX;
		lock_release(&b->lock);
		if (taken)
			return true;
		if (shortfall == UINT64_MAX || b->reclaim == NULL)
			return false;
		if (b->reclaim(b->reclaim_ctx, shortfall, c) == 0)
			return false;
	}
}

/* Asks the reclaimer for what a queued waiter lacks. Drops the lock meanwhile. */
static void reclaim_for_locked(struct budget *b, struct waiter *w)
{
	uint64_t shortfall = shortfall_locked(b, w->class, w->bytes);

	if (shortfall == 0 || shortfall == UINT64_MAX || b->reclaim == NULL)
		return;
	lock_release(&b->lock);
	b->reclaim(b->reclaim_ctx, shortfall, w->class);
	lock_acquire(&b->lock);
}

static void enqueue_locked(struct budget *b, struct waiter *w)
{
	TAILQ_INSERT_TAIL(&b->waiting[w->class], w, link);
	if (w->class == BUDGET_DEMAND)
		atomic_fetch_add(&b->demand_waiters, 1);
}

static void dequeue_locked(struct budget *b, struct waiter *w)
{
	TAILQ_REMOVE(&b->waiting[w->class], w, link);
	if (w->class == BUDGET_DEMAND)
		atomic_fetch_sub(&b->demand_waiters, 1);
	grant_locked(b); /* the one behind may fit */
}

int budget_reserve_wait(struct budget *b, enum budget_class c, uint64_t bytes, uint64_t deadline_ns,
			struct cancel *cancel)
{
	struct waiter w = {.class = c, .bytes = bytes};
	int rc = 0;

	if (budget_reserve_try(b, c, bytes))
		return 0;
	cond_init(&w.cond);
	lock_acquire(&b->lock);
	enqueue_locked(b, &w);
	grant_locked(b);
	while (!w.granted) {
		uint64_t now_ns = clock_now_ns();

		if (now_ns >= deadline_ns)
			rc = -ETIMEDOUT;
		if (rc < 0) {
			dequeue_locked(b, &w);
			break;
		}
		reclaim_for_locked(b, &w);
		grant_locked(b);
		if (w.granted)
			break;
		cond_wait_until(&w.cond, &b->lock, MIN(deadline_ns, now_ns + REASK_NS));
		if (!w.granted && cancel != NULL) {
			lock_release(&b->lock);
			rc = cancel->poll(cancel);
			lock_acquire(&b->lock);
			if (w.granted && rc < 0) { /* granted meanwhile: not wanted any more */
				b->used_bytes[c] -= bytes;
				grant_locked(b);
				break;
			}
		}
	}
	lock_release(&b->lock);
	cond_finish(&w.cond);
	return rc;
}

void budget_release(struct budget *b, enum budget_class c, uint64_t bytes)
{
	SCOPED_LOCK(&b->lock);
	assert(b->used_bytes[c] >= bytes);
	b->used_bytes[c] -= bytes;
	grant_locked(b);
}

void budget_move(struct budget *b, enum budget_class from, enum budget_class to, uint64_t bytes)
{
	SCOPED_LOCK(&b->lock);
	assert(b->used_bytes[from] >= bytes);
	b->used_bytes[from] -= bytes;
	b->used_bytes[to] += bytes;
}

uint64_t budget_total_bytes(const struct budget *b)
{
	return b->total_bytes;
}

uint64_t budget_used_bytes(struct budget *b)
{
	SCOPED_LOCK(&b->lock);
	return sum_locked(b);
}

bool budget_is_short(struct budget *b)
{
	return atomic_load_explicit(&b->demand_waiters, memory_order_relaxed) > 0;
}
