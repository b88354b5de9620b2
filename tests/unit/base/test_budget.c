/* SPDX-License-Identifier: Apache-2.0 */
/* The memory budget: shares, order, reclaiming, waiting; and the slab that it stands for. */
#include "../test.h"

#include <pthread.h>
#include <stdatomic.h>

#include <pailfs/budget.h>
#include <pailfs/clock.h>
#include <pailfs/slab.h>

#define TOTAL (128 * MIB)
#define RESERVE (16 * MIB)

static void each_class_has_its_share(void **state)
{
	struct budget *b;

	assert_int_equal(budget_create(TOTAL, &b), 0);
	assert_false(budget_reserve_try(b, BUDGET_AHEAD, TOTAL - RESERVE + 1));
	assert_true(budget_reserve_try(b, BUDGET_AHEAD, TOTAL - RESERVE));
	assert_false(budget_reserve_try(b, BUDGET_WRITE, 1));
	assert_true(budget_reserve_try(b, BUDGET_DEMAND, RESERVE));
	assert_false(budget_reserve_try(b, BUDGET_DEMAND, 1));
	budget_release(b, BUDGET_AHEAD, TOTAL - RESERVE);
	assert_false(budget_reserve_try(b, BUDGET_WRITE, TOTAL / 4 * 3 + 1));
	assert_true(budget_reserve_try(b, BUDGET_WRITE, TOTAL / 4 * 3));
	assert_int_equal(budget_used_bytes(b), TOTAL / 4 * 3 + RESERVE);
	budget_release(b, BUDGET_WRITE, TOTAL / 4 * 3);
	budget_move(b, BUDGET_DEMAND, BUDGET_AHEAD, RESERVE);
	budget_release(b, BUDGET_AHEAD, RESERVE);
	budget_destroy(b);
	assert_int_equal(budget_create(1 * MIB, &b), -EINVAL);
}

struct store {
	struct budget *budget;
	uint64_t reclaimable;
	unsigned asked;
};

static uint64_t reclaim(void *ctx, uint64_t bytes, enum budget_class for_class)
{
	struct store *s = ctx;
	uint64_t n = MIN(bytes, s->reclaimable);

	s->asked++;
	s->reclaimable -= n;
	if (n > 0)
		budget_release(s->budget, BUDGET_AHEAD, n);
	return n;
}

static void a_full_budget_asks_for_memory_back(void **state)
{
	struct store s = {.reclaimable = 3 * MIB};

	assert_int_equal(budget_create(TOTAL, &s.budget), 0);
	budget_set_reclaimer(s.budget, reclaim, &s);
	assert_true(budget_reserve_try(s.budget, BUDGET_AHEAD, TOTAL - RESERVE));
	assert_true(budget_reserve_try(s.budget, BUDGET_AHEAD, 2 * MIB));
	assert_int_equal(s.reclaimable, 1 * MIB);
	assert_false(budget_reserve_try(s.budget, BUDGET_AHEAD, 2 * MIB));
	budget_release(s.budget, BUDGET_AHEAD, TOTAL - RESERVE - 1 * MIB);
	budget_destroy(s.budget);
}

struct waiter {
	struct budget *budget;
	enum budget_class class;
	uint64_t bytes;
	atomic_int done; /* 0 waits, else 1 - rc */
	struct cancel cancel;
	atomic_bool killed;
};

static int killed_poll(struct cancel *c)
{
	return atomic_load(&CONTAINER_OF(c, struct waiter, cancel)->killed) ? -EINTR : 0;
}

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->done, 1 - budget_reserve_wait(w->budget, w->class, w->bytes, UINT64_MAX,
						       &w->cancel));
	return NULL;
}

static pthread_t waiter_start(struct waiter *w, struct budget *b, enum budget_class c,
			      uint64_t bytes)
{
	pthread_t thread;

	*w = (struct waiter){.budget = b, .class = c, .bytes = bytes, .cancel.poll = killed_poll};
	assert_int_equal(pthread_create(&thread, NULL, waiter_main, w), 0);
	return thread;
}

static void wait_until_short(struct budget *b)
{
	while (!budget_is_short(b))
		usleep(1000);
}

static void demand_is_served_before_anybody_else(void **state)
{
	struct waiter demand, killed;
	struct budget *b;
	pthread_t t1, t2;

	assert_int_equal(budget_create(TOTAL, &b), 0);
	assert_true(budget_reserve_try(b, BUDGET_DEMAND, TOTAL));
	t1 = waiter_start(&demand, b, BUDGET_DEMAND, 64 * MIB);
	wait_until_short(b);
	budget_release(b, BUDGET_DEMAND, 32 * MIB);
	assert_false(budget_reserve_try(b, BUDGET_AHEAD, 1)); /* 32 MiB are free, but waited for */
	assert_false(budget_reserve_try(b, BUDGET_DEMAND, 1));
	t2 = waiter_start(&killed, b, BUDGET_DEMAND, 128 * MIB);
	atomic_store(&killed.killed, true);
	pthread_join(t2, NULL);
	assert_int_equal(atomic_load(&killed.done), 1 + EINTR);
	assert_int_equal(atomic_load(&demand.done), 0);
	budget_release(b, BUDGET_DEMAND, 32 * MIB);
	pthread_join(t1, NULL);
	assert_int_equal(atomic_load(&demand.done), 1);
	assert_false(budget_is_short(b));
	budget_release(b, BUDGET_DEMAND, TOTAL);
	budget_destroy(b);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct budget *b;

	assert_int_equal(budget_create(TOTAL, &b), 0);
	assert_true(budget_reserve_try(b, BUDGET_DEMAND, TOTAL));
	assert_int_equal(
	    budget_reserve_wait(b, BUDGET_DEMAND, 1, clock_now_ns() + 30 * NS_PER_MS, NULL),
	    -ETIMEDOUT);
	budget_release(b, BUDGET_DEMAND, TOTAL);
	budget_destroy(b);
}

static void the_slab_reuses_and_returns_memory(void **state)
{
	enum { N = 200 };
	size_t used, mapped, peak;
	struct slab *s;
	char *piece[N];
	int i;

	assert_int_equal(slab_create(128 * KIB, &s), 0);
	for (i = 0; i < N; i++) {
		piece[i] = slab_get(s);
		assert_non_null(piece[i]);
		assert_int_equal((uintptr_t)piece[i] % 4096, 0);
		memset(piece[i], i, 128 * KIB);
	}
	slab_usage(s, &used, &peak);
	assert_int_equal(used, N * 128 * KIB);
	assert_true(peak - used < 4 * MIB + 1);
	for (i = 0; i < N; i++)
		assert_int_equal((unsigned char)piece[i][128 * KIB - 1], (unsigned char)i);
	slab_put(s, piece[N / 2]);
	assert_ptr_equal(slab_get(s), piece[N / 2]); /* the warm one first */
	for (i = 0; i < N; i++)
		slab_put(s, piece[i]);
	slab_usage(s, &used, &mapped);
	assert_int_equal(used, 0);
	assert_true(mapped <= 16 * MIB);
	slab_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_class_has_its_share),
	    cmocka_unit_test(a_full_budget_asks_for_memory_back),
	    cmocka_unit_test(demand_is_served_before_anybody_else),
	    cmocka_unit_test(a_wait_ends_at_its_deadline),
	    cmocka_unit_test(the_slab_reuses_and_returns_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
