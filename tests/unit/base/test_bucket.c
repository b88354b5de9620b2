/* SPDX-License-Identifier: Apache-2.0 */
/* The token bucket: exact over months, never more than rate * t + burst. */
#include "../test.h"

#include <pailfs/bucket.h>

static void starts_full_and_refuses_when_empty(void **state)
{
	struct bucket b;
	uint64_t wait_ns = 0;

	bucket_init(&b, 1000000, 100000, 5);
	assert_true(bucket_take_try(&b, 100000, 5, &wait_ns));
	assert_false(bucket_take_try(&b, 1, 5, &wait_ns));
	assert_int_equal(wait_ns, 1000); /* a byte at 1 MB/s */
	assert_false(bucket_take_try(&b, 1, 5 + 999, &wait_ns));
	assert_int_equal(wait_ns, 1);
	assert_true(bucket_take_try(&b, 1, 5 + 1000, &wait_ns));
}

static void a_refused_take_takes_nothing(void **state)
{
	struct bucket b;
	uint64_t wait_ns;

	bucket_init(&b, 1000, 20000, 1);
	assert_true(bucket_take_try(&b, 15000, 1, &wait_ns));
	assert_false(bucket_take_try(&b, 5001, 1, &wait_ns));
	assert_true(bucket_take_try(&b, 5000, 1, &wait_ns));
}

static void fractions_add_up_exactly(void **state)
{
	struct bucket b;
	uint64_t wait_ns, now_ns = 1, taken = 0;
	int i;

	/* 3 bytes a second, asked every 100 ms for a day: nothing may be lost to rounding */
	bucket_init(&b, 3, BUCKET_BURST_MIN_BYTES, now_ns);
	assert_true(bucket_take_try(&b, BUCKET_BURST_MIN_BYTES, now_ns, &wait_ns));
	for (i = 0; i < 864000; i++) {
		now_ns += 100 * NS_PER_MS;
		while (bucket_take_try(&b, 1, now_ns, &wait_ns))
			taken++;
	}
	assert_int_equal(taken, 3 * 86400);
}

static void holds_the_bound_over_every_interval(void **state)
{
	enum { STEPS = 4000 };
	static uint64_t at_ns[STEPS], passed[STEPS];
	uint64_t wait_ns = 0, now_ns = 1, sum = 0, random = 42;
	struct bucket b;
	int i, j;

	bucket_init(&b, 5000000, 65536, now_ns);
	for (i = 0; i < STEPS; i++) {
		uint64_t n = 1 + (random = random * 6364136223846793005u + 1) % 16384;

		now_ns += (random >> 33) % 4000000;
		if (bucket_take_try(&b, n, now_ns, &wait_ns))
			sum += n;
		at_ns[i] = now_ns;
		passed[i] = sum;
	}
	for (i = 0; i < STEPS; i += 7)
		for (j = i + 1; j < STEPS; j += 13)
			assert_true(passed[j] - passed[i] <=
				    (at_ns[j] - at_ns[i]) * 5000000 / NS_PER_S + 65536 + 1);
}

static void waits_are_right_for_more_than_the_burst(void **state)
{
	struct bucket b;

	bucket_init(&b, 1000000, 20000, 7);
	assert_int_equal(bucket_wait_ns(&b, 20000, 7), 0);
	assert_int_equal(bucket_wait_ns(&b, 1020000, 7), NS_PER_S);
}

static void survives_absurd_times_and_rates(void **state)
{
	struct bucket b;
	uint64_t wait_ns;

	bucket_init(&b, UINT64_MAX / 2, UINT64_MAX / 2, 1);
	assert_true(bucket_take_try(&b, UINT64_MAX / 2, 1, &wait_ns));
	assert_true(bucket_take_try(&b, UINT64_MAX / 2, UINT64_MAX, &wait_ns));
	bucket_init(&b, 1, BUCKET_BURST_MIN_BYTES, 100);
	assert_true(
	    bucket_take_try(&b, 1000, 50, &wait_ns)); /* a clock that went back gives nothing */
	assert_int_equal(b.level_bytes, BUCKET_BURST_MIN_BYTES - 1000);
	bucket_give_back(&b, UINT64_MAX);
	assert_int_equal(b.level_bytes, BUCKET_BURST_MIN_BYTES);
}

static void a_new_rate_holds_from_now_on(void **state)
{
	struct bucket b;
	uint64_t wait_ns;

	bucket_init(&b, 1000000, 100000, 1);
	bucket_set_rate(&b, 2000000, 20000, 1);
	assert_int_equal(b.level_bytes, 20000);
	assert_true(bucket_take_try(&b, 20000, 1, &wait_ns));
	assert_int_equal(bucket_wait_ns(&b, 2000, 1), NS_PER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(starts_full_and_refuses_when_empty),
	    cmocka_unit_test(a_refused_take_takes_nothing),
	    cmocka_unit_test(fractions_add_up_exactly),
	    cmocka_unit_test(holds_the_bound_over_every_interval),
	    cmocka_unit_test(waits_are_right_for_more_than_the_burst),
	    cmocka_unit_test(survives_absurd_times_and_rates),
	    cmocka_unit_test(a_new_rate_holds_from_now_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
