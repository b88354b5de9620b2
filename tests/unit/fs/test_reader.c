/* SPDX-License-Identifier: Apache-2.0 */
/* A reader over a real cache and a scripted server: what S3 would be asked, and the bytes. */
#include "../cache/script.h"

#include <errno.h>

#include <pailfs/cleanup.h>

#include "reader.h"
#include "../../../src/xfer/internal.h" /* a scheduler that sends nothing, for its flow numbers */

#define BLOCK ((uint64_t)CACHE_BLOCK_BYTES)

struct world {
	struct script script;
	struct xfer *xfer;
	struct fs_streams *streams;
	struct cache_version *version;
	struct reader *reader;
};

static void world_init(struct world *w, uint64_t memory_bytes, uint64_t size)
{
	const struct xfer_config config = {.parallel = 16, .op_timeout_ns = NS_PER_S};
	const struct s3_target target = {0};
	const struct reader_config reader = {
	    .part_bytes = 64 * MIB, .parallel = 16, .memory_bytes = memory_bytes};
	struct reader_config with_streams = reader;

	script_init(&w->script, memory_bytes);
	assert_int_equal(xfer_create_on(&config, NULL, NULL, &target, &w->xfer), 0);
	assert_int_equal(fs_streams_create_on(&w->script.clock, &w->streams), 0);
	assert_int_equal(cache_version_get(w->script.cache, "k", 1, "\"e\"", size, &w->version), 0);
	with_streams.shared = w->streams;
	assert_int_equal(reader_create(&with_streams, w->xfer, &w->reader), 0);
}

static void world_finish(struct world *w)
{
	reader_destroy(w->reader);
	cache_version_unref(w->version);
	fs_streams_destroy(w->streams);
	script_finish(&w->script);
	xfer_destroy(w->xfer);
}

static int setup(void **state)
{
	static struct world w;

	world_init(&w, 256 * MIB, 100 * MIB + 77);
	*state = &w;
	return 0;
}

static int setup_little_memory(void **state)
{
	static struct world w;

	world_init(&w, 16 * MIB, 60 * MIB + 77);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	world_finish(*state);
	return 0;
}

#define STRANDS 4
#define STRAND_BLOCKS 4

/* Threads that read neighbouring blocks, out of order by up to 2 MiB, as the kernel's read-ahead.
 */
struct strand {
	struct world *world;
	pthread_barrier_t *barrier; /* none is further ahead */
	uint64_t first;
	pthread_t thread;
};

static void *strand_main(void *arg)
{
	struct strand *t = arg;
	struct world *w = t->world;
	uint64_t at, size = cache_version_size(w->version), i;
	struct view view;

	for (at = t->first; at - t->first < size; at += STRANDS * STRAND_BLOCKS * BLOCK) {
		for (i = at; i < MIN(at + STRAND_BLOCKS * BLOCK, size); i += BLOCK) {
			assert_int_equal(reader_read(w->reader, w->version, i, BLOCK, NULL, &view),
					 0);
			script_check_view(&view, i, MIN(BLOCK, size - i));
		}
		pthread_barrier_wait(t->barrier);
	}
	return NULL;
}

static void read_all(struct world *w)
{
	struct strand strands[STRANDS];
	pthread_barrier_t barrier;
	size_t i;

	pthread_barrier_init(&barrier, NULL, STRANDS);
	for (i = 0; i < STRANDS; i++) {
		strands[i] = (struct strand){
		    .world = w, .barrier = &barrier, .first = i * STRAND_BLOCKS * BLOCK};
		assert_int_equal(pthread_create(&strands[i].thread, NULL, strand_main, &strands[i]),
				 0);
	}
	for (i = 0; i < STRANDS; i++)
		pthread_join(strands[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
}

static uint64_t asked_bytes(struct script *s)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < s->count; i++)
		sum += s->ops[i].length;
	return sum;
}

static void each_byte_is_asked_once(void **state)
{
	struct world *w = *state;

	script_serve_start(&w->script);
	read_all(w);
	assert_int_equal(asked_bytes(&w->script), cache_version_size(w->version));
}

/* Much more than memory holds; what is read makes room for what is to come. */
static void each_byte_is_asked_once_in_little_memory(void **state)
{
	struct world *w = *state;

	script_serve_start(&w->script);
	read_all(w);
	assert_int_equal(asked_bytes(&w->script), cache_version_size(w->version));
}

static void *read_first(void *arg)
{
	struct world *w = arg;
	struct view view;

	assert_int_equal(reader_read(w->reader, w->version, 0, 4096, NULL, &view), 0);
	script_check_view(&view, 0, 4096);
	return NULL;
}

/* One GET of 1 MiB, and the answer as soon as 4 KiB of it have come. */
static void first_bytes_wait_for_one_get(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, read_first, w), 0);
	script_wait_ops(&w->script, 1);
	assert_int_equal(w->script.ops[0].length, MIB);
	assert_int_equal(w->script.ops[0].class, XFER_READ);
	script_bytes(&w->script, 0, 4096);
	pthread_join(thread, NULL);
	assert_int_equal(script_count(&w->script), 1);
}

/* A file of one block is asked for before it is read, a larger one is not. */
static void small_file_is_expected(void **state)
{
	struct world *w = *state;
	struct cache_version *small = NULL;
	struct view view;

	assert_int_equal(cache_version_get(w->script.cache, "s", 1, "\"s\"", BLOCK, &small), 0);
	reader_expect(w->reader, w->version);
	assert_int_equal(script_count(&w->script), 0);
	reader_expect(w->reader, small);
	assert_int_equal(script_count(&w->script), 1);
	assert_int_equal(w->script.ops[0].length, BLOCK);
	assert_int_equal(w->script.ops[0].class, XFER_READ);
	script_end(&w->script, 0, 0);
	assert_int_equal(reader_read(w->reader, small, 0, 2 * BLOCK, NULL, &view), 0);
	script_check_view(&view, 0, BLOCK);
	assert_int_equal(script_count(&w->script), 1);
	/* one that is closed unread */
	reader_reset(w->reader);
	cache_version_unref(small);
	assert_int_equal(cache_version_get(w->script.cache, "t", 1, "\"t\"", 1, &small), 0);
	reader_expect(w->reader, small);
	reader_reset(w->reader);
	assert_true(w->script.ops[1].cancelled);
	cache_version_unref(small);
}

static void random_reads_fetch_their_blocks(void **state)
{
	struct world *w = *state;
	const uint64_t offsets[] = {50 * MIB + 5, 7 * MIB, 90 * MIB + 300000, 33 * MIB};
	struct view view;
	size_t i;

	script_serve_start(&w->script);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		assert_int_equal(reader_read(w->reader, w->version, offsets[i], 4096, NULL, &view),
				 0);
		script_check_view(&view, offsets[i], 4096);
	}
	assert_int_equal(script_count(&w->script), ARRAY_SIZE(offsets));
	assert_int_equal(asked_bytes(&w->script), ARRAY_SIZE(offsets) * BLOCK);
}

static void beyond_the_end_is_empty(void **state)
{
	struct world *w = *state;
	struct view view;

	assert_int_equal(reader_read(w->reader, w->version, GIB, 4096, NULL, &view), 0);
	assert_int_equal(view.length, 0);
	assert_int_equal(script_count(&w->script), 0);
}

/* Reads 128 KiB twice, so that more is asked for than was read. */
static void begin_stream(struct world *w, struct cache_version *v)
{
	size_t op = script_count(&w->script);
	struct view view;

	script_want(v, 0, 256 * KIB, MIB, XFER_READ, 0);
	script_end(&w->script, op, 0);
	assert_int_equal(reader_read(w->reader, v, 0, BLOCK, NULL, &view), 0);
	view_release(&view);
	assert_int_equal(reader_read(w->reader, v, BLOCK, BLOCK, NULL, &view), 0);
	view_release(&view);
	assert_int_equal(script_count(&w->script), op + 5); /* the rest of 1 MiB, and three more */
}

static void reset_ends_the_streams(void **state)
{
	struct world *w = *state;
	size_t i;

	begin_stream(w, w->version);
	assert_int_equal(fs_streams_active(w->streams), 1);
	reader_reset(w->reader);
	assert_int_equal(fs_streams_active(w->streams), 0);
	for (i = 1; i < 5; i++)
		assert_true(w->script.ops[i].cancelled);
}

static void another_version_ends_the_streams(void **state)
{
	struct world *w = *state;
	struct cache_version *next = NULL;
	size_t i;

	begin_stream(w, w->version);
	assert_int_equal(cache_version_get(w->script.cache, "k", 1, "\"f\"", 100 * MIB, &next), 0);
	begin_stream(w, next);
	for (i = 1; i < 5; i++)
		assert_true(w->script.ops[i].cancelled && !w->script.ops[5 + i].cancelled);
	cache_version_unref(next);
}

static void streams_are_counted_while_they_read(void **state)
{
	struct world *w = *state;
	uint64_t epochs[32] = {0};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(epochs); i++) {
		fs_streams_note(w->streams, &epochs[i]);
		fs_streams_note(w->streams, &epochs[i]);
	}
	assert_int_equal(fs_streams_active(w->streams), 32);
	fs_streams_leave(w->streams, &epochs[0]);
	fs_streams_leave(w->streams, &epochs[0]);
	assert_int_equal(fs_streams_active(w->streams), 31);
	atomic_fetch_add(&w->script.now_ns, 2 * NS_PER_S);
	fs_streams_note(w->streams, &epochs[1]);
	assert_int_equal(fs_streams_active(w->streams), 31); /* the others may read yet */
	fs_streams_leave(w->streams, &epochs[2]);
	assert_int_equal(fs_streams_active(w->streams), 30);
	atomic_fetch_add(&w->script.now_ns, 2 * NS_PER_S);
	assert_int_equal(fs_streams_active(w->streams), 1);
	atomic_fetch_add(&w->script.now_ns, 20 * NS_PER_S);
	assert_int_equal(fs_streams_active(w->streams), 0);
	fs_streams_leave(w->streams, &epochs[1]);
	assert_int_equal(fs_streams_active(w->streams), 0);
	fs_streams_note(w->streams, &epochs[3]);
	atomic_fetch_add(&w->script.now_ns, 20 * NS_PER_S);
	assert_int_equal(fs_streams_active(w->streams), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_byte_is_asked_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(each_byte_is_asked_once_in_little_memory,
					    setup_little_memory, teardown),
	    cmocka_unit_test_setup_teardown(first_bytes_wait_for_one_get, setup, teardown),
	    cmocka_unit_test_setup_teardown(small_file_is_expected, setup, teardown),
	    cmocka_unit_test_setup_teardown(random_reads_fetch_their_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(beyond_the_end_is_empty, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_ends_the_streams, setup, teardown),
	    cmocka_unit_test_setup_teardown(another_version_ends_the_streams, setup, teardown),
	    cmocka_unit_test_setup_teardown(streams_are_counted_while_they_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
