/* SPDX-License-Identifier: Apache-2.0 */
/* cache_read: what it answers, when, and who else may read meanwhile. */
#include "script.h"

#include <errno.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#define BLOCK ((uint64_t)CACHE_BLOCK_BYTES)
#define SIZE (20 * MIB + 1000)

static struct cache_version *version;

static int setup_with(void **state, uint64_t memory_bytes)
{
	static struct script s;

	script_init(&s, memory_bytes);
	assert_int_equal(cache_version_get(s.cache, "k", 1, "\"e\"", SIZE, &version), 0);
	*state = &s;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 64 * MIB);
}

static int setup_small(void **state)
{
	return setup_with(state, 8 * MIB);
}

static int teardown(void **state)
{
	cache_version_unref(version);
	script_finish(*state);
	return 0;
}

/* Exactly the blocks that a READ touches, in one GET, rounded to blocks and cut at the end. */
static void missing_is_fetched_exactly(void **state)
{
	static const struct {
		uint64_t offset;
		size_t length;
		uint64_t op_offset, op_length, answer;
	} cases[] = {
	    {5 * MIB + 7, 4096, 5 * MIB, BLOCK, 4096},
	    {6 * MIB - 1, 2, 6 * MIB - BLOCK, 2 * BLOCK, 2},
	    {8 * MIB, 2 * MIB, 8 * MIB, 2 * MIB, 2 * MIB},
	    {11 * MIB + 1, 2 * MIB, 11 * MIB, 17 * BLOCK, 2 * MIB},
	    {SIZE - 1, 4096, 20 * MIB, 1000, 1},
	};
	struct script *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script_reader r = {
		    .version = version, .offset = cases[i].offset, .length = cases[i].length};

		script_read_start(&r);
		script_wait_ops(s, i + 1);
		assert_int_equal(s->ops[i].offset, cases[i].op_offset);
		assert_int_equal(s->ops[i].length, cases[i].op_length);
		assert_int_equal(s->ops[i].class, XFER_READ);
		script_end(s, i, 0);
		assert_int_equal(script_read_join(&r), 0);
		script_check_view(&r.view, cases[i].offset, cases[i].answer);
	}
}

static void beyond_the_end_is_empty(void **state)
{
	struct view view;

	assert_int_equal(cache_read(version, SIZE, 10, 0, NULL, &view), 0);
	assert_int_equal(view.length, 0);
	assert_int_equal(view.iov_count, 0);
	view_release(&view);
}

/* A READ is answered when its own bytes are there, not when its block is; and never before. */
static void answered_at_its_last_byte(void **state)
{
	struct script *s = *state;
	struct script_reader r = {.version = version, .offset = BLOCK + 100, .length = 4096};

	script_want(version, 0, MIB, MIB, XFER_READ, 1);
	script_read_wait(&r, BLOCK);
	script_bytes(s, 0, BLOCK + 100 + 4095);
	assert_false(atomic_load(&r.ended));
	script_bytes(s, 0, 1);
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, BLOCK + 100, 4096);
}

/* Two readers of a block: one GET, and the same bytes, not copies. */
static void blocks_are_shared(void **state)
{
	struct script *s = *state;
	struct script_reader a = {.version = version, .offset = 0, .length = 4096};
	struct script_reader b = {.version = version, .offset = 0, .length = 8192};

	script_read_start(&a);
	script_read_start(&b);
	script_wait_ops(s, 1);
	script_end(s, 0, 0);
	assert_int_equal(script_read_join(&a), 0);
	assert_int_equal(script_read_join(&b), 0);
	assert_int_equal(script_count(s), 1);
	assert_ptr_equal(a.view.iov[0].iov_base, b.view.iov[0].iov_base);
	script_check_view(&a.view, 0, 4096);
	script_check_view(&b.view, 0, 8192);
}

static int killed(struct cancel *c)
{
	(void)c;
	return -EINTR;
}

static void cancel_ends_the_wait(void **state)
{
	struct script *s = *state;
	struct cancel cancel = {.poll = killed};
	struct script_reader r = {
	    .version = version, .offset = 0, .length = 4096, .cancel = &cancel};

	script_read_start(&r);
	assert_int_equal(script_read_join(&r), -EINTR);
	assert_true(s->ops[0].cancelled);
	script_end(s, 0, -ECANCELED);

	/* the next reader asks anew */
	r.cancel = NULL;
	script_read_start(&r);
	script_wait_ops(s, 2);
	script_end(s, 1, 0);
	assert_int_equal(script_read_join(&r), 0);
	script_check_view(&r.view, 0, 4096);
}

/* A GET goes on for those who still wait for it. */
static void cancel_leaves_others_their_fetch(void **state)
{
	struct script *s = *state;
	struct cancel cancel = {.poll = killed};
	struct script_reader patient = {.version = version, .offset = 0, .length = 4096};
	struct script_reader r = {
	    .version = version, .offset = 4096, .length = 4096, .cancel = &cancel};

	script_read_start(&patient);
	script_wait_ops(s, 1);
	script_read_start(&r);
	assert_int_equal(script_read_join(&r), -EINTR);
	assert_int_equal(script_count(s), 1);
	assert_false(s->ops[0].cancelled);
	script_end(s, 0, 0);
	assert_int_equal(script_read_join(&patient), 0);
	script_check_view(&patient.view, 0, 4096);
}

/* A view keeps its bytes, whatever happens to block and version. */
static void view_outlives_everything(void **state)
{
	struct script *s = *state;
	struct script_reader r = {.version = version, .offset = 10, .length = 4096};
	struct cache_version *gone = NULL;

	assert_int_equal(cache_version_get(s->cache, "gone", 4, "", SIZE, &gone), 0);
	r.version = gone;
	script_want(gone, 0, MIB, MIB, XFER_READ, 1);
	script_bytes(s, 0, BLOCK / 2);
	script_read_start(&r);
	assert_int_equal(script_read_join(&r), 0);
	script_end(s, 0, -EIO); /* the block fails under the view */
	cache_version_unref(gone);
	assert_true(budget_used_bytes(s->budget) == BLOCK);
	script_check_view(&r.view, 10, 4096);
	assert_int_equal(budget_used_bytes(s->budget), 0);
}

/* All memory is referenced: a READ waits until a view is released, then goes on. */
static void waits_for_memory(void **state)
{
	struct script *s = *state;
	struct script_reader held[4], late = {.version = version, .offset = 16 * MIB, .length = 10};
	size_t i;

	for (i = 0; i < 4; i++) { /* all 8 MiB */
		held[i] = (struct script_reader){
		    .version = version, .offset = 2 * i * MIB, .length = 2 * MIB};
		script_read_start(&held[i]);
		script_wait_ops(s, i + 1);
		script_end(s, i, 0);
		assert_int_equal(script_read_join(&held[i]), 0);
	}
	script_read_start(&late);
	while (!budget_is_short(s->budget))
		;
	assert_int_equal(script_count(s), 4);
	script_check_view(&held[2].view, 4 * MIB, 2 * MIB);
	script_wait_ops(s, 5);
	script_end(s, 4, 0);
	assert_int_equal(script_read_join(&late), 0);
	script_check_view(&late.view, 16 * MIB, 10);
	for (i = 0; i < 4; i++)
		if (i != 2)
			script_check_view(&held[i].view, 2 * i * MIB, 2 * MIB);
}

#define STRESS_THREADS 8
#define STRESS_READS 150

struct stress {
	pthread_t thread;
	unsigned dice;
	unsigned failed;
};

/* Random and sequential reads, wants and flow ends, in memory for a third of the object. */
static void *stress_main(void *arg)
{
	struct stress *t = arg;
	uint64_t flow = t->dice + 1, offset = 0;
	struct view view;
	int i, rc;

	for (i = 0; i < STRESS_READS; i++) {
		size_t length = (size_t)rand_r(&t->dice) % (768 * KIB) + 1;

		if (rand_r(&t->dice) % 4 == 0)
			offset = (uint64_t)rand_r(&t->dice) % SIZE;
		if (offset >= SIZE)
			offset = 0;
		script_want(version, offset, 4 * MIB, MIB, XFER_AHEAD, flow);
		rc = cache_read(version, offset, length, flow, NULL, &view);
		if (rc < 0) {
			assert_int_equal(rc, -EIO);
			t->failed++;
			continue;
		}
		length = view.length;
		assert_true(length > 0);
		script_check_view(&view, offset, length);
		offset += length;
		if (rand_r(&t->dice) % 8 == 0)
			cache_flow_end(version, flow, offset + MIB);
	}
	cache_flow_end(version, flow, 0);
	return NULL;
}

static void many_readers_in_little_memory(void **state)
{
	struct script *s = *state;
	struct stress threads[STRESS_THREADS];
	unsigned i, failed = 0;

	s->failing = 400;
	script_serve_start(s);
	for (i = 0; i < STRESS_THREADS; i++) {
		threads[i] = (struct stress){.dice = i};
		assert_int_equal(pthread_create(&threads[i].thread, NULL, stress_main, &threads[i]),
				 0);
	}
	for (i = 0; i < STRESS_THREADS; i++) {
		pthread_join(threads[i].thread, NULL);
		failed += threads[i].failed;
	}
	assert_true(failed < STRESS_THREADS * STRESS_READS / 2);
	assert_true(budget_used_bytes(s->budget) <= 8 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(missing_is_fetched_exactly, setup, teardown),
	    cmocka_unit_test_setup_teardown(beyond_the_end_is_empty, setup, teardown),
	    cmocka_unit_test_setup_teardown(answered_at_its_last_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(blocks_are_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(cancel_ends_the_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(cancel_leaves_others_their_fetch, setup, teardown),
	    cmocka_unit_test_setup_teardown(view_outlives_everything, setup, teardown),
	    cmocka_unit_test_setup_teardown(waits_for_memory, setup_small, teardown),
	    cmocka_unit_test_setup_teardown(many_readers_in_little_memory, setup_small, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
