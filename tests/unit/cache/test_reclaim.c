/* SPDX-License-Identifier: Apache-2.0 */
/* What is given up when memory is short, and in which order. Memory: 64 blocks. */
#include "script.h"

#include <errno.h>

#include <pailfs/cleanup.h>

#define BLOCK ((uint64_t)CACHE_BLOCK_BYTES)
#define BLOCKS 64
#define AHEAD_BLOCKS 48 /* without the reserve of a quarter for READs */

static struct cache_version *version;

static int setup(void **state)
{
	static struct script s;

	script_init(&s, BLOCKS * BLOCK);
	assert_int_equal(cache_version_get(s.cache, "k", 1, "\"e\"", GIB, &version), 0);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	cache_version_unref(version);
	script_finish(*state);
	return 0;
}

static void read_block(struct script *s, uint64_t block, uint64_t flow)
{
	struct script_reader r = {
	    .version = version, .offset = block * BLOCK, .length = BLOCK, .flow = flow};
	size_t op = script_count(s);

	if (cache_has(version, block * BLOCK, BLOCK)) {
		script_read_start(&r);
	} else {
		script_read_start(&r);
		script_wait_ops(s, op + 1);
		script_end(s, op, 0);
	}
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, block * BLOCK, BLOCK);
}

/* Asks ahead for a range of blocks; they arrive if `arrive`. Returns up to which block. */
static uint64_t ahead(struct script *s, uint64_t first, uint64_t count, uint64_t flow, bool arrive)
{
	size_t op = script_count(s);
	uint64_t upto =
	    script_want(version, first * BLOCK, count * BLOCK, 8 * BLOCK, XFER_AHEAD, flow);

	for (; arrive && op < script_count(s); op++)
		script_end(s, op, 0);
	return upto / BLOCK;
}

static bool has(uint64_t first, uint64_t count)
{
	return cache_has(version, first * BLOCK, count * BLOCK);
}

static void least_recently_read_goes_first(void **state)
{
	struct script *s = *state;
	uint64_t i;

	for (i = 0; i < BLOCKS; i++)
		read_block(s, i, 0);
	read_block(s, 0, 0); /* again */
	read_block(s, 100, 0);
	assert_true(has(0, 1) && has(100, 1) && has(2, BLOCKS - 2));
	assert_false(has(1, 1));
}

/* What a stream has read leaves a few blocks behind, whatever memory there is: others follow. */
static void few_blocks_of_a_stream_stay(void **state)
{
	struct script *s = *state;
	struct cache_stats stats;
	uint64_t i;

	s->cache->streamed_max = 4;
	ahead(s, 0, 24, 1, true);
	for (i = 0; i < 20; i++)
		read_block(s, i, 1);
	assert_true(has(16, 8) && !has(15, 1));
	read_block(s, 16, 1);  /* again: it is worth keeping */
	read_block(s, 100, 0); /* at random, too */
	for (i = 20; i < 24; i++)
		read_block(s, i, 1);
	assert_true(has(16, 1) && has(20, 4) && has(100, 1) && !has(17, 3));
	cache_stats(s->cache, &stats);
	assert_int_equal(stats.blocks, 6);
}

/* A view keeps its block; it goes when the view is released. */
static void held_blocks_of_a_stream_stay(void **state)
{
	struct script *s = *state;
	struct script_reader r = {.version = version, .offset = 0, .length = BLOCK, .flow = 1};
	uint64_t i;

	s->cache->streamed_max = 2;
	ahead(s, 0, 8, 1, true);
	script_read_start(&r);
	assert_int_equal(script_read_join(&r), 0);
	for (i = 1; i < 8; i++)
		read_block(s, i, 1);
	assert_true(has(0, 8));
	script_check_view(&r.view, 0, BLOCK);
	assert_true(has(6, 2) && !has(0, 1) && !has(5, 1));
}

static void read_blocks_go_before_unread_ones(void **state)
{
	struct script *s = *state;
	uint64_t i;

	assert_int_equal(ahead(s, 200, 24, 1, true), 224);
	for (i = 0; i < 40; i++)
		read_block(s, i, 0);
	for (i = 40; i < 80; i++) /* each in the place of one that was read */
		read_block(s, i, 0);
	assert_true(has(200, 24));
	assert_true(has(40, 40));
	assert_false(has(39, 1));
}

/* Reading ahead recycles what was read, but neither unread blocks nor the reserve of READs. */
static void ahead_takes_what_was_read(void **state)
{
	struct script *s = *state;
	uint64_t i;

	assert_int_equal(ahead(s, 0, 64, 1, true), AHEAD_BLOCKS);
	assert_int_equal(ahead(s, AHEAD_BLOCKS, 8, 1, true), AHEAD_BLOCKS);
	for (i = 0; i < 16; i++)
		read_block(s, i, 1);
	assert_int_equal(ahead(s, AHEAD_BLOCKS, 64, 1, true), AHEAD_BLOCKS + 16);
	assert_true(has(16, AHEAD_BLOCKS));
	assert_false(has(15, 1));
}

/* A run is shortened to what memory allows, not to crumbs. */
static void runs_stay_large(void **state)
{
	struct script *s = *state;
	size_t op;

	ahead(s, 0, AHEAD_BLOCKS - 12, 1, false);
	op = script_count(s);
	assert_int_equal(script_want(version, 100 * BLOCK, 32 * BLOCK, 32 * BLOCK, XFER_AHEAD, 1),
			 108 * BLOCK);
	assert_int_equal(s->ops[op].length, 8 * BLOCK);
	assert_int_equal(script_want(version, 108 * BLOCK, 32 * BLOCK, 32 * BLOCK, XFER_AHEAD, 1),
			 108 * BLOCK);
}

static void ended_streams_go_first(void **state)
{
	struct script *s = *state;
	uint64_t i;

	for (i = 0; i < 16; i++)
		read_block(s, i, 0);
	ahead(s, 100, 16, 1, true);
	ahead(s, 200, 16, 2, true);
	cache_flow_end(version, 1, 108 * BLOCK);
	ahead(s, 300, 8, 3, true);
	assert_true(has(0, 16) && has(100, 8) && has(200, 16) && has(300, 8));
	assert_false(has(108, 1) || has(115, 1));
}

static void idle_streams_are_over(void **state)
{
	struct script *s = *state;

	ahead(s, 100, 24, 1, true);
	ahead(s, 200, 24, 2, true);
	atomic_store(&s->now_ns, 29 * NS_PER_S);
	read_block(s, 200, 2); /* stream 2 goes on */
	assert_int_equal(ahead(s, 224, 8, 2, true), 224);
	atomic_store(&s->now_ns, 32 * NS_PER_S);
	assert_int_equal(ahead(s, 224, 8, 2, true), 232);
	assert_true(has(201, 31));
	assert_false(has(100, 24));
}

/*
 * Memory full of what is unread or on its way. Reading ahead gets none; a READ takes what is queued
 * first, the last asked for first, then what other streams have not read.
 */
static void reads_revoke_then_take_the_unread(void **state)
{
	struct script *s = *state;
	struct script_reader held[40];
	size_t i, op;

	ahead(s, 100, 24, 1, true);
	ahead(s, 200, 24, 2, false); /* three parts of 8 */
	op = script_count(s);
	script_bytes(s, op - 3, 10);
	assert_int_equal(ahead(s, 300, 8, 3, false), 300);
	for (i = 0; i < ARRAY_SIZE(held); i++) {
		held[i] = (struct script_reader){
		    .version = version, .offset = (400 + i) * BLOCK, .length = BLOCK};
		script_read_start(&held[i]);
		script_wait_ops(s, op + i + 1);
		script_end(s, op + i, 0);
		assert_int_equal(script_read_join(&held[i]), 0);
		if (i + 1 <= 16) /* the reserve */
			assert_false(s->ops[op - 1].cancelled);
		else if (i + 1 <= 24) /* the last part that was asked for */
			assert_true(s->ops[op - 1].cancelled && !s->ops[op - 2].cancelled);
		else if (i + 1 <= 32)
			assert_true(s->ops[op - 2].cancelled && has(100, 24));
		else /* the last that came, one by one */
			assert_true(has(100, 24 - (i + 1 - 32)) && !has(124 - (i + 1 - 32), 1));
	}
	assert_false(s->ops[op - 3].cancelled); /* it has brought bytes */
	for (i = 0; i < ARRAY_SIZE(held); i++)
		script_check_view(&held[i].view, (400 + i) * BLOCK, BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(least_recently_read_goes_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(few_blocks_of_a_stream_stay, setup, teardown),
	    cmocka_unit_test_setup_teardown(held_blocks_of_a_stream_stay, setup, teardown),
	    cmocka_unit_test_setup_teardown(read_blocks_go_before_unread_ones, setup, teardown),
	    cmocka_unit_test_setup_teardown(ahead_takes_what_was_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(runs_stay_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(ended_streams_go_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(idle_streams_are_over, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_revoke_then_take_the_unread, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
