/* SPDX-License-Identifier: Apache-2.0 */
/* Wants become ranged GETs; bytes land in blocks as they come; what happens when they do not. */
#include "script.h"

#include <errno.h>

#include <pailfs/cleanup.h>

#define BLOCK ((uint64_t)CACHE_BLOCK_BYTES)

static struct cache_version *version;

static int setup(void **state)
{
	static struct script s;

	script_init(&s, 256 * MIB);
	assert_int_equal(cache_version_get(s.cache, "k", 1, "\"e\"", 100 * MIB + 1000, &version),
			 0);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	cache_version_unref(version);
	script_finish(*state);
	return 0;
}

static void check_op(struct script *s, size_t i, uint64_t offset, uint64_t length)
{
	assert_true(i < script_count(s));
	assert_int_equal(s->ops[i].offset, offset);
	assert_int_equal(s->ops[i].length, length);
}

static void check_read(uint64_t offset, size_t length)
{
	struct view view;

	assert_int_equal(cache_read(version, offset, length, 0, NULL, &view), 0);
	script_check_view(&view, offset, length);
}

/* A GET for each run of missing blocks and aligned part. */
static void wants_become_parts(void **state)
{
	static const struct {
		uint64_t offset, length, part, upto;
		struct {
			uint64_t offset, length;
		} ops[4];
	} cases[] = {
	    {0, MIB, 8 * MIB, MIB, {{0, MIB}}},
	    {100, 1, MIB, BLOCK, {{0, BLOCK}}},
	    {3 * BLOCK - 1, 2, MIB, 4 * BLOCK, {{2 * BLOCK, 2 * BLOCK}}},
	    {0, 3 * MIB, MIB, 3 * MIB, {{0, MIB}, {MIB, MIB}, {2 * MIB, MIB}}},
	    {MIB / 2,
	     2 * MIB,
	     MIB,
	     5 * MIB / 2,
	     {{MIB / 2, MIB / 2}, {MIB, MIB}, {2 * MIB, MIB / 2}}},
	    {99 * MIB, GIB, 4 * MIB, 100 * MIB + 1000, {{99 * MIB, MIB}, {100 * MIB, 1000}}},
	    {200 * MIB, GIB, MIB, 100 * MIB + 1000, {{0, 0}}},
	};
	struct script *s = *state;
	size_t i, j, first;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		first = script_count(s);
		assert_int_equal(script_want(version, cases[i].offset, cases[i].length,
					     cases[i].part, XFER_AHEAD, 7),
				 cases[i].upto);
		for (j = 0; j < 4 && cases[i].ops[j].length > 0; j++)
			check_op(s, first + j, cases[i].ops[j].offset, cases[i].ops[j].length);
		assert_int_equal(script_count(s), first + j);
		while (j-- > 0)
			script_end(s, first + j, -EIO); /* nothing of it stays */
	}
	assert_int_equal(budget_used_bytes(s->budget), 0);
}

static void ops_carry_the_version(void **state)
{
	struct script *s = *state;
	struct s3_op *s3;

	script_want(version, 0, MIB, MIB, XFER_AHEAD, 7);
	s3 = &s->ops[0].op->s3;
	assert_string_equal(s3->if_match, "\"e\"");
	assert_int_equal(s3->object_size, 100 * MIB + 1000);
	assert_memory_equal(s3->key, "k", s3->key_length);
	assert_int_equal(s->ops[0].class, XFER_AHEAD);
	assert_int_equal(s->ops[0].flow, 7);
}

/* What is there or on its way is not asked for again. */
static void only_holes_are_fetched(void **state)
{
	struct script *s = *state;

	script_want(version, 2 * BLOCK, BLOCK, MIB, XFER_AHEAD, 1);
	script_want(version, 5 * BLOCK, BLOCK, MIB, XFER_READ, 2);
	script_end(s, 1, 0);
	assert_int_equal(script_want(version, 0, MIB, MIB, XFER_AHEAD, 1), MIB);
	assert_int_equal(script_count(s), 5);
	check_op(s, 2, 0, 2 * BLOCK);
	check_op(s, 3, 3 * BLOCK, 2 * BLOCK);
	check_op(s, 4, 6 * BLOCK, 2 * BLOCK);
	assert_int_equal(script_want(version, 0, MIB, MIB, XFER_AHEAD, 1), MIB);
	assert_int_equal(script_count(s), 5);
	assert_int_equal(cache_covered(version, 0, 2 * MIB), MIB);
}

static void parts_end_in_any_order(void **state)
{
	struct script *s = *state;

	script_want(version, 0, 3 * MIB, MIB, XFER_AHEAD, 1);
	script_bytes(s, 0, 1000);
	script_end(s, 2, 0);
	script_bytes(s, 0, MIB - 2000);
	script_end(s, 1, 0);
	assert_false(cache_has(version, 0, 3 * MIB));
	assert_true(cache_has(version, 0, 7 * BLOCK));
	script_end(s, 0, 0);
	assert_true(cache_has(version, 0, 3 * MIB));
	check_read(MIB - 5, MIB + 10);
	check_read(0, 2 * MIB);
}

/* Whole blocks stay, the broken one is asked for again. */
static void failed_part_keeps_whole_blocks(void **state)
{
	struct script *s = *state;
	struct script_reader r = {.version = version, .offset = 3 * BLOCK, .length = 10};

	script_want(version, 0, MIB, MIB, XFER_AHEAD, 1);
	script_bytes(s, 0, 3 * BLOCK + 77);
	script_end(s, 0, -EIO);
	assert_true(cache_has(version, 0, 3 * BLOCK));
	assert_int_equal(cache_covered(version, 0, MIB), 3 * BLOCK);
	assert_int_equal(budget_used_bytes(s->budget), 3 * BLOCK);
	script_read_start(&r);
	script_wait_ops(s, 2);
	check_op(s, 1, 3 * BLOCK, BLOCK);
	assert_int_equal(s->ops[1].class, XFER_READ);
	script_end(s, 1, 0);
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, 3 * BLOCK, 10);
}

static void waiters_get_the_errno(void **state)
{
	struct script *s = *state;
	struct script_reader a = {.version = version, .offset = BLOCK - 5, .length = 10};
	struct script_reader b = {.version = version, .offset = 2 * BLOCK, .length = 10};

	script_want(version, 0, MIB, MIB, XFER_READ, 1);
	script_bytes(s, 0, BLOCK + 2);
	script_read_wait(&a, BLOCK);
	script_read_wait(&b, 2 * BLOCK);
	script_end(s, 0, -EACCES);
	/* the bytes before BLOCK + 2 are there, those of this READ are not all */
	assert_int_equal(script_read_join(&a), -EACCES);
	assert_int_equal(script_read_join(&b), -EACCES);
	assert_int_equal(cache_version_error(version), 0);
}

/* A flood beyond the range asked for is an error, not an overflow. */
static void too_many_bytes_are_refused(void **state)
{
	struct script *s = *state;
	char more = 0;

	script_want(version, 0, BLOCK, MIB, XFER_READ, 1);
	assert_int_equal(script_bytes(s, 0, SIZE_MAX), 0);
	assert_int_equal(s->ops[0].op->s3.sink(s->ops[0].op->s3.sink_ctx, &more, 1), -EIO);
	script_end(s, 0, -EIO);
}

static void waiting_promotes(void **state)
{
	struct script *s = *state;
	struct script_reader r = {.version = version, .offset = MIB, .length = 10, .flow = 1};

	script_want(version, 0, 3 * MIB, MIB, XFER_AHEAD, 1);
	script_bytes(s, 1, 10);
	script_read_start(&r);
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, MIB, 10);
	assert_int_equal(s->ops[0].class, XFER_AHEAD);
	assert_int_equal(s->ops[1].class, XFER_READ);
	assert_int_equal(script_count(s), 3);
}

/* The end of a stream takes what is queued along, memory at once. */
static void flow_end_cancels(void **state)
{
	struct script *s = *state;

	script_want(version, 0, 2 * MIB, MIB, XFER_AHEAD, 1);
	script_want(version, 2 * MIB, MIB, MIB, XFER_AHEAD, 2);
	script_bytes(s, 0, BLOCK + 10);
	cache_flow_end(version, 1, 0);
	assert_true(s->ops[0].cancelled && s->ops[1].cancelled);
	assert_false(s->ops[2].cancelled);
	/* the READY block, the one being written to, and the other stream's */
	assert_int_equal(budget_used_bytes(s->budget), 2 * BLOCK + MIB);
	assert_true(cache_has(version, 0, BLOCK));
	assert_int_equal(cache_covered(version, 0, MIB), BLOCK);
	assert_int_equal(script_bytes(s, 0, BLOCK), -ECANCELED);
	assert_int_equal(script_bytes(s, 1, 10), -ECANCELED);
	script_end(s, 0, -ECANCELED);
	script_end(s, 1, -ECANCELED);
	assert_int_equal(budget_used_bytes(s->budget), BLOCK + MIB);
	cache_flow_end(version, 1, 0);
	cache_flow_end(version, 99, 0);
}

static void flow_end_keeps_what_lies_before(void **state)
{
	struct script *s = *state;

	script_want(version, 0, 2 * MIB, MIB, XFER_AHEAD, 1);
	cache_flow_end(version, 1, 3 * BLOCK - 1);
	assert_int_equal(cache_covered(version, 0, 2 * MIB), 3 * BLOCK);
	assert_false(s->ops[0].cancelled);
	assert_true(s->ops[1].cancelled);
	assert_int_equal(script_bytes(s, 0, SIZE_MAX), -ECANCELED);
	assert_true(cache_has(version, 0, 3 * BLOCK));
	script_end(s, 0, -ECANCELED);
	assert_true(cache_has(version, 0, 3 * BLOCK));
}

/* The part goes on for who waits, and ends behind what he needs. */
static void flow_end_spares_waiters(void **state)
{
	struct script *s = *state;
	struct script_reader r = {
	    .version = version, .offset = 2 * BLOCK, .length = BLOCK, .flow = 1};

	script_want(version, 0, MIB, MIB, XFER_AHEAD, 1);
	script_read_wait(&r, 2 * BLOCK);
	cache_flow_end(version, 1, 0);
	assert_false(s->ops[0].cancelled);
	assert_int_equal(cache_covered(version, 0, MIB), 3 * BLOCK);
	assert_int_equal(script_bytes(s, 0, SIZE_MAX), -ECANCELED);
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, 2 * BLOCK, BLOCK);
	script_end(s, 0, -ECANCELED);
}

/*
 * An object that came whole with a checksum: no byte is shown before the op has ended well, none at
 * all when it has not, and it is not cut, since the checksum is of all of it.
 */
static void checked_bytes_wait_for_the_end(void **state)
{
	const int ends[] = {0, -EIO};
	struct script *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		struct cache_version *small = NULL;
		struct script_reader r = {.offset = 10, .length = BLOCK, .flow = 1};

		assert_int_equal(cache_version_get(s->cache, "s", 1, "", 3 * BLOCK, &small), 0);
		r.version = small;
		script_want(small, 0, 3 * BLOCK, MIB, XFER_READ, 1);
		s->ops[i].op->s3.checked_at_end = true;
		script_read_wait(&r, BLOCK);
		cache_flow_end(small, 1, 0);
		assert_int_equal(script_bytes(s, i, SIZE_MAX), 0);
		assert_false(atomic_load(&r.ended) || cache_has(small, 0, 1));
		script_end(s, i, ends[i]);
		assert_int_equal(script_read_join(&r), ends[i]);
		if (ends[i] == 0)
			script_check_view(&r.view, 10, BLOCK);
		assert_int_equal(cache_has(small, 0, 3 * BLOCK), ends[i] == 0);
		cache_version_unref(small);
	}
}

/* Two readers of a file: the end of one does not take what the other wanted since. */
static void last_who_wants_owns(void **state)
{
	struct script *s = *state;
	struct cache_stats stats;

	script_want(version, 0, 2 * MIB, MIB, XFER_AHEAD, 1);
	script_end(s, 0, 0);
	script_want(version, 0, 3 * MIB, MIB, XFER_AHEAD, 2);
	assert_int_equal(script_count(s), 3);
	cache_flow_end(version, 1, 0);
	assert_false(s->ops[1].cancelled);
	cache_stats(s->cache, &stats);
	assert_int_equal(stats.ahead_blocks, 8);
	cache_flow_end(version, 2, 0);
	assert_true(s->ops[1].cancelled && s->ops[2].cancelled);
	cache_stats(s->cache, &stats);
	assert_int_equal(stats.ahead_blocks, 0);
}

/* A reader who comes late in another stream's part asks himself; nearer, or in his own, he waits.
 */
static void far_blocks_are_fetched_apart(void **state)
{
	struct script *s = *state;
	struct script_reader far = {
	    .version = version, .offset = 40 * MIB, .length = 10, .flow = 9};
	struct script_reader near = {
	    .version = version, .offset = 2 * MIB, .length = 10, .flow = 9};
	struct script_reader own = {
	    .version = version, .offset = 30 * MIB, .length = 10, .flow = 1};

	script_want(version, 0, 64 * MIB, 64 * MIB, XFER_AHEAD, 1);
	script_read_start(&far);
	script_wait_ops(s, 2);
	check_op(s, 1, 40 * MIB, BLOCK);
	script_end(s, 1, 0);
	assert_int_equal(script_read_join(&far), 0);
	script_check_view(&far.view, 40 * MIB, 10);
	assert_int_equal(cache_covered(version, 0, 64 * MIB), 40 * MIB + BLOCK);
	script_read_wait(&near, near.offset);
	script_read_wait(&own, own.offset);
	assert_int_equal(script_bytes(s, 0, SIZE_MAX), -ECANCELED); /* cut at 40 MiB */
	assert_int_equal(script_read_join(&near), 0);
	assert_int_equal(script_read_join(&own), 0);
	script_check_view(&near.view, 2 * MIB, 10);
	script_check_view(&own.view, 30 * MIB, 10);
	assert_int_equal(script_count(s), 2);
	script_end(s, 0, -ECANCELED);
}

/* What a stream has skipped does not stay as if it were still to be read. */
static void passed_blocks_are_let_go(void **state)
{
	struct script *s = *state;
	struct cache_want want = {.offset = 8 * MIB,
				  .length = MIB,
				  .part_bytes = MIB,
				  .class = XFER_AHEAD,
				  .flow = 1,
				  .passed = 4 * MIB};
	struct cache_stats stats;

	script_want(version, 0, 8 * MIB, 2 * MIB, XFER_AHEAD, 1);
	script_end(s, 0, 0);
	script_end(s, 2, 0);
	cache_want(version, &want);
	assert_true(s->ops[1].cancelled);  /* 2..4 MiB */
	assert_false(s->ops[3].cancelled); /* 6..8 MiB */
	cache_stats(s->cache, &stats);
	assert_int_equal(stats.ahead_blocks, 2 * MIB / BLOCK);
	assert_int_equal(stats.blocks, 7 * MIB / BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(wants_become_parts, setup, teardown),
	    cmocka_unit_test_setup_teardown(ops_carry_the_version, setup, teardown),
	    cmocka_unit_test_setup_teardown(only_holes_are_fetched, setup, teardown),
	    cmocka_unit_test_setup_teardown(parts_end_in_any_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(failed_part_keeps_whole_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(waiters_get_the_errno, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_many_bytes_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(waiting_promotes, setup, teardown),
	    cmocka_unit_test_setup_teardown(flow_end_cancels, setup, teardown),
	    cmocka_unit_test_setup_teardown(flow_end_keeps_what_lies_before, setup, teardown),
	    cmocka_unit_test_setup_teardown(flow_end_spares_waiters, setup, teardown),
	    cmocka_unit_test_setup_teardown(checked_bytes_wait_for_the_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(last_who_wants_owns, setup, teardown),
	    cmocka_unit_test_setup_teardown(far_blocks_are_fetched_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(passed_blocks_are_let_go, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
