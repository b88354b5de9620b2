/* SPDX-License-Identifier: Apache-2.0 */
/* When a failed try is made again: the schedule, what is done once, the budget, the heap. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#include "retry.h"

#define RETRIES 10
#define OP_TIMEOUT_NS (60 * NS_PER_S)

static enum retry_when decide(struct retry_state *s, enum s3_retry retry, uint64_t random,
			      uint64_t *ret_delay_ns)
{
	struct s3_result result = {.err = -EIO, .retry = retry};

	return retry_decide(s, &result, RETRIES, OP_TIMEOUT_NS, random, ret_delay_ns);
}

static void test_ceilings_double_up_to_a_cap(void **state)
{
	static const unsigned ms[] = {50, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
	static const unsigned throttled_ms[] = {200,  400,   800,   1600,  3200,
						6400, 12800, 20000, 20000, 20000};

	for (unsigned i = 0; i < ARRAY_SIZE(ms); i++) {
		assert_int_equal(retry_ceiling_ns(i + 1, false), ms[i] * NS_PER_MS);
		assert_int_equal(retry_ceiling_ns(i + 1, true), throttled_ms[i] * NS_PER_MS);
	}
	assert_int_equal(retry_ceiling_ns(UINT32_MAX, false), 10 * NS_PER_S);
}

/* Full jitter: from nothing to the ceiling, both ends included. */
static void test_pauses_are_jittered(void **state)
{
	uint64_t delay_ns;

	for (unsigned failures = 0; failures < RETRIES; failures++) {
		uint64_t ceiling_ns = retry_ceiling_ns(failures + 1, false);
		struct retry_state s = {.failures = failures};
		assert_int_equal(decide(&s, S3_RETRY_BACKOFF, ceiling_ns, &delay_ns), RETRY_LATER);
		assert_int_equal(delay_ns, ceiling_ns);
		s.failures = failures;
		assert_int_equal(decide(&s, S3_RETRY_BACKOFF, ceiling_ns + 1, &delay_ns),
				 RETRY_LATER);
		assert_int_equal(delay_ns, 0);
	}
}

static void test_retries_run_out(void **state)
{
	static const enum s3_retry classes[] = {S3_RETRY_BACKOFF, S3_RETRY_THROTTLE};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		struct retry_state s = {0};
		uint64_t delay_ns;
		for (unsigned n = 0; n < RETRIES; n++)
			assert_int_equal(decide(&s, classes[i], n, &delay_ns), RETRY_LATER);
		assert_int_equal(decide(&s, classes[i], 0, &delay_ns), RETRY_END);
		retry_progress(&s);
		assert_int_equal(decide(&s, classes[i], 0, &delay_ns), RETRY_LATER);
	}
}

static void test_retry_after_is_honoured(void **state)
{
	struct s3_result result = {
	    .err = -EIO, .retry = S3_RETRY_THROTTLE, .retry_after_ns = 7 * NS_PER_S};
	struct retry_state s = {0};
	uint64_t delay_ns;

	retry_decide(&s, &result, RETRIES, OP_TIMEOUT_NS, 0, &delay_ns);
	assert_int_equal(delay_ns, 7 * NS_PER_S);
	result.retry_after_ns = UINT64_MAX; /* a try must still be possible within op_timeout */
	retry_decide(&s, &result, RETRIES, OP_TIMEOUT_NS, 0, &delay_ns);
	assert_int_equal(delay_ns, OP_TIMEOUT_NS / 2);
}

static void test_what_is_learnt_is_tried_at_once_and_not_for_ever(void **state)
{
	static const struct {
		enum s3_retry retry;
		unsigned times;
	} cases[] = {{S3_RETRY_CLOCK, 2}, {S3_RETRY_REGION, 1}, {S3_RETRY_KEYS, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct retry_state s = {0};
		uint64_t delay_ns;
		for (unsigned n = 0; n < cases[i].times; n++) {
			assert_int_equal(decide(&s, cases[i].retry, 99, &delay_ns), RETRY_AT_ONCE);
			assert_int_equal(delay_ns, 0);
			retry_progress(&s); /* data in between makes no difference */
		}
		assert_int_equal(decide(&s, cases[i].retry, 99, &delay_ns), RETRY_END);
		assert_int_equal(s.failures, 0);
	}
}

/* A kept connection that had been closed costs nothing, once; then it is a failure like others. */
static void test_fresh_connection_once(void **state)
{
	struct retry_state s = {0};
	uint64_t delay_ns;

	assert_int_equal(decide(&s, S3_RETRY_FRESH, 5, &delay_ns), RETRY_AT_ONCE);
	assert_int_equal(s.failures, 0);
	assert_int_equal(decide(&s, S3_RETRY_FRESH, 5, &delay_ns), RETRY_LATER);
	assert_int_equal(s.failures, 1);
}

static void test_final_results_end(void **state)
{
	struct s3_result good = {.err = 0, .retry = S3_RETRY_BACKOFF};
	struct retry_state s = {0};
	uint64_t delay_ns;

	assert_int_equal(decide(&s, S3_RETRY_NO, 0, &delay_ns), RETRY_END);
	assert_int_equal(retry_decide(&s, &good, RETRIES, OP_TIMEOUT_NS, 0, &delay_ns), RETRY_END);
	struct s3_result bad = {.err = -EIO, .retry = S3_RETRY_BACKOFF};
	assert_int_equal(retry_decide(&s, &bad, 0, OP_TIMEOUT_NS, 0, &delay_ns), RETRY_END);
}

static void test_budget(void **state)
{
	struct retry_budget b;
	uint64_t now_ns = 5 * NS_PER_S, wait_ns;

	retry_budget_init(&b, now_ns);
	for (unsigned i = 0; i < 100; i++)
		assert_true(retry_budget_take_try(&b, now_ns, &wait_ns));
	assert_false(retry_budget_take_try(&b, now_ns, &wait_ns));
	assert_int_equal(wait_ns, NS_PER_S / 2);
	assert_false(retry_budget_take_try(&b, now_ns + wait_ns - 1, &wait_ns));
	assert_true(retry_budget_take_try(&b, now_ns + NS_PER_S / 2, &wait_ns));

	now_ns += NS_PER_S / 2;
	for (unsigned i = 0; i < 5; i++)
		retry_budget_give(&b, now_ns);
	assert_true(retry_budget_take_try(&b, now_ns, &wait_ns));
	assert_false(retry_budget_take_try(&b, now_ns, &wait_ns));

	/* Asking often loses nothing to rounding; a long rest fills it, and no more. */
	for (unsigned i = 0; i < 1000; i++)
		retry_budget_take_try(&b, now_ns += 333333, &wait_ns);
	assert_in_range(b.level_milli, 3332, 3334);
	now_ns += 1000 * NS_PER_S;
	for (unsigned i = 0; i < 100; i++)
		assert_true(retry_budget_take_try(&b, now_ns, &wait_ns));
	assert_false(retry_budget_take_try(&b, now_ns, &wait_ns));
}

#define ITEMS 500

/* Against a plain search: pushes, removals in the middle, equal times in order of arrival. */
static void test_heap(void **state)
{
	static struct retry_item items[ITEMS];
	static bool in[ITEMS];
	struct retry_heap h;
	uint64_t random = 1;

	retry_heap_init(&h);
	assert_null(retry_heap_first(&h));
	assert_int_equal(retry_heap_reserve(&h, ITEMS), 0);
	for (unsigned step = 0; step < 20000; step++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		unsigned i = (unsigned)(random >> 40) % ITEMS;
		if (in[i]) {
			retry_heap_remove(&h, &items[i]);
		} else {
			items[i].due_ns = (random >> 33) % 50;
			retry_heap_push(&h, &items[i]);
		}
		in[i] = !in[i];

		const struct retry_item *best = NULL;
		for (unsigned k = 0; k < ITEMS; k++) {
			if (in[k] && (best == NULL || items[k].due_ns < best->due_ns ||
				      (items[k].due_ns == best->due_ns &&
				       items[k].sequence < best->sequence)))
				best = &items[k];
		}
		assert_ptr_equal(retry_heap_first(&h), best);
	}
	retry_heap_finish(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ceilings_double_up_to_a_cap),
	    cmocka_unit_test(test_pauses_are_jittered),
	    cmocka_unit_test(test_retries_run_out),
	    cmocka_unit_test(test_retry_after_is_honoured),
	    cmocka_unit_test(test_what_is_learnt_is_tried_at_once_and_not_for_ever),
	    cmocka_unit_test(test_fresh_connection_once),
	    cmocka_unit_test(test_final_results_end),
	    cmocka_unit_test(test_budget),
	    cmocka_unit_test(test_heap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
