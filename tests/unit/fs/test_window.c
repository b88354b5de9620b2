/* SPDX-License-Identifier: Apache-2.0 */
/* Stream detection, window growth and part plan, as tables of reads and what they lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>

#include "window.h"

#define K KIB
#define M MIB
#define BLOCK ((uint64_t)CACHE_BLOCK_BYTES)

/* As reader.c makes them for one stream: memory 2 GiB (the default here), 256 MiB. */
static const struct window_limits limits_2g = {
    .part_bytes_max = 64 * M, .window_bytes_max = 1536 * M, .parallel = 24};
static const struct window_limits limits_256m = {
    .part_bytes_max = 8 * M, .window_bytes_max = 192 * M, .parallel = 24};

static void part_grows_with_the_window(void **state)
{
	static const struct {
		uint64_t part_max, window, left, part;
		unsigned parallel, parts;
	} cases[] = {
	    {64 * M, 1 * M, 8 * GIB, 1 * M, 16, 24},
	    {64 * M, 4 * M, 8 * GIB, 1 * M, 16, 24},
	    {64 * M, 72 * M, 8 * GIB, 3 * M, 24, 24},
	    {64 * M, 128 * M, 8 * GIB, 5 * M, 16, 24},
	    {64 * M, 128 * M, 8 * GIB, 11 * M, 16, 12},
	    {64 * M, 192 * M, 8 * GIB, 6 * M, 24, 30},
	    {64 * M, 1536 * M, 8 * GIB, 64 * M, 16, 24},
	    {8 * M, 192 * M, 8 * GIB, 8 * M, 16, 16},
	    {64 * M, 128 * M, 8 * GIB, 32 * M, 1, 4},
	    {2 * M, 48 * M, 8 * GIB, 2 * M, 24, 27},
	    {8 * M, 24 * M, 8 * GIB, 6 * M, 2, 4},
	    {256 * K, 6 * M, 8 * GIB, 256 * K, 16, 24},
	    {16 * M, 12 * M, 8 * GIB, 1 * M, 16, 24}, /* towards the end: */
	    {64 * M, 1536 * M, 512 * M, 32 * M, 16, 24},
	    {64 * M, 1536 * M, 200 * M, 12 * M, 16, 24},
	    {64 * M, 1536 * M, 3 * M, 4 * M, 16, 24},
	    {64 * M, 8 * M, 3 * M, 1 * M, 16, 24},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct window_limits limits = {.part_bytes_max = cases[i].part_max,
						     .parallel = cases[i].parallel};

		assert_int_equal(
		    window_part_bytes(&limits, cases[i].parts, cases[i].window, cases[i].left),
		    cases[i].part);
	}
}

/* A read, and what is planned for it. */
struct step {
	uint64_t offset, length;
	enum window_verdict verdict;
	int stream;
	uint64_t want_offset, want_length;
};

/* What a read leads to: the verdict, and one range that covers the parts asked for. */
struct outcome {
	struct window_plan plan;
	uint64_t want_offset, want_length;
	struct window_range parts[512];
	size_t count;
};

static void outcome_add(struct outcome *o, const struct window_range *part)
{
	if (o->count > 0)
		assert_int_equal(part->start, o->want_offset + o->want_length);
	else
		o->want_offset = part->start;
	o->want_length += part->end - part->start;
	assert_true(o->count < ARRAY_SIZE(o->parts));
	o->parts[o->count++] = *part;
}

/* Asks for what is planned. */
static void outcome_take(struct outcome *o, struct window *w, const struct window_limits *limits,
			 uint64_t size)
{
	struct window_range part;

	if (o->plan.verdict == WINDOW_BEGIN) {
		w->streams[o->plan.stream].flow = 1000 + w->tick;
		outcome_add(o, &o->plan.first);
	}
	while (o->plan.stream >= 0 && window_next(w, o->plan.stream, limits, size, &part)) {
		outcome_add(o, &part);
		window_asked(w, o->plan.stream, part.end);
	}
}

static struct outcome read_request(struct window *w, const struct window_limits *limits,
				   uint64_t size, const struct window_request *request)
{
	struct outcome o = {0};

	window_read(w, limits, size, request, &o.plan);
	outcome_take(&o, w, limits, size);
	return o;
}

/* A read of bytes that have all come or are on their way up to `covered`. */
static struct outcome read_covered(struct window *w, const struct window_limits *limits,
				   uint64_t size, uint64_t offset, uint64_t length,
				   uint64_t covered)
{
	const struct window_request request = {
	    .offset = offset, .length = length, .covered = covered};

	return read_request(w, limits, size, &request);
}

/* A read that waits for bytes that are on their way. */
static struct outcome read_plan(struct window *w, const struct window_limits *limits, uint64_t size,
				uint64_t offset, uint64_t length)
{
	return read_covered(w, limits, size, offset, length, UINT64_MAX);
}

/* A read whose bytes are there. */
static struct outcome read_there(struct window *w, const struct window_limits *limits,
				 uint64_t size, uint64_t offset, uint64_t length)
{
	const struct window_request request = {
	    .offset = offset, .length = length, .covered = offset + length, .there = true};

	return read_request(w, limits, size, &request);
}

static void check_steps(const struct window_limits *limits, uint64_t size, const struct step *steps,
			size_t count)
{
	struct window w = {0};
	size_t i;

	for (i = 0; i < count; i++) {
		struct outcome o = read_plan(&w, limits, size, steps[i].offset, steps[i].length);

		if (o.plan.verdict != steps[i].verdict || o.plan.stream != steps[i].stream ||
		    o.want_length != steps[i].want_length ||
		    (o.want_length > 0 && o.want_offset != steps[i].want_offset))
			fail_msg("step %zu: verdict %d stream %d want %llu+%llu", i, o.plan.verdict,
				 o.plan.stream, (unsigned long long)o.want_offset,
				 (unsigned long long)o.want_length);
	}
}

/* A small file is one GET, whatever the size of the first read. */
static void small_file_is_asked_whole(void **state)
{
	static const struct step steps[] = {
	    {0, 16 * K, WINDOW_BEGIN, 0, 0, 700 * K},
	    {16 * K, 128 * K, WINDOW_STREAM, 0, 0, 0},
	    {144 * K, 556 * K, WINDOW_STREAM, 0, 0, 0},
	};

	(void)state;
	check_steps(&limits_2g, 700 * K, steps, ARRAY_SIZE(steps));
}

/* 1 MiB at the first read, three more ranges at the second, doubling per eighth that was read. Of
 * parts beyond 1 MiB, which differ, what has room. */
static void window_doubles(void **state)
{
	static const struct step steps[] = {
	    {0, 64 * K, WINDOW_BEGIN, 0, 0, M},
	    {64 * K, 64 * K, WINDOW_STREAM, 0, M, 3 * M},
	    {128 * K, 128 * K, WINDOW_STREAM, 0, 0, 0},
	    {256 * K, 384 * K, WINDOW_STREAM, 0, 4 * M, 4 * M}, /* 512 KiB read: window 8 */
	    {640 * K, M, WINDOW_STREAM, 0, 8 * M, 9 * M},	/* 1 MiB more: window 16 */
	    {640 * K + M, M, WINDOW_STREAM, 0, 17 * M, M},
	    /* 2 MiB more: window 32 */
	    {640 * K + 2 * M, M, WINDOW_STREAM, 0, 18 * M, 17 * M},
	};

	(void)state;
	check_steps(&limits_2g, GIB, steps, ARRAY_SIZE(steps));
}

/* The largest window of a stream, from its n-th MiB on. */
static uint64_t window_after(uint64_t read_bytes, bool there)
{
	struct window w = {0};
	uint64_t at;

	read_plan(&w, &limits_2g, 100 * GIB, 0, M);
	for (at = M; at < read_bytes; at += M)
		there ? read_there(&w, &limits_2g, 100 * GIB, at, M)
		      : read_plan(&w, &limits_2g, 100 * GIB, at, M);
	return w.streams[0].window_bytes;
}

/* Memory is touched in proportion to what was read: fresh memory costs more than it brings. */
static void large_windows_are_for_long_streams(void **state)
{
	(void)state;
	assert_int_equal(window_after(40 * M, false), 192 * M);
	assert_int_equal(window_after(GIB / 2, false), 192 * M);
	assert_int_equal(window_after(GIB + 200 * M, false), 256 * M);
	assert_int_equal(window_after(4 * GIB + 200 * M, false), GIB);
	assert_int_equal(window_after(8 * GIB, false), GIB);
}

/* A reader that is slower than the network has what it needs. */
static void window_of_a_slow_reader_grows_late(void **state)
{
	(void)state;
	assert_int_equal(window_after(16 * M, true), 16 * M);
	assert_int_equal(window_after(60 * M, true), 32 * M);
	assert_int_equal(window_after(120 * M, true), 64 * M);
}

/* Who begins with a large read will go on. */
static void large_first_read_opens_the_window(void **state)
{
	static const struct step small[] = {{0, 128 * K, WINDOW_BEGIN, 0, 0, 2 * M}};
	static const struct step large[] = {{0, M, WINDOW_BEGIN, 0, 0, 17 * M}};

	(void)state;
	check_steps(&limits_2g, GIB, small, 1);
	check_steps(&limits_2g, GIB, large, 1);
}

/* tail -c, a zip's directory: exactly what is read; a window from the second adjacent read on. */
static void begins_elsewhere(void **state)
{
	static const struct step steps[] = {
	    {500 * M + 5, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {500 * M + 5 + 4 * K, 4 * K, WINDOW_BEGIN, 0, 500 * M, M},
	    {500 * M + 5 + 8 * K, 4 * K, WINDOW_STREAM, 0, 0, 0},
	    /* half of the first window was read: it is a stream */
	    {500 * M + 5 + 12 * K, 512 * K, WINDOW_STREAM, 0, 501 * M, 3 * M},
	    {500 * M + 5 + 524 * K, 512 * K, WINDOW_STREAM, 0, 504 * M, 5 * M},
	};

	(void)state;
	check_steps(&limits_2g, GIB, steps, ARRAY_SIZE(steps));
}

static void random_reads_ask_for_nothing_ahead(void **state)
{
	struct window w = {0};
	uint64_t asked = 0;
	unsigned dice = 7;
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		uint64_t offset = (uint64_t)rand_r(&dice) % (GIB / BLOCK) * BLOCK;
		struct outcome o = read_plan(&w, &limits_2g, GIB, offset, BLOCK);

		asked += o.want_length / BLOCK;
	}
	/* chance makes neighbours; that may cost little */
	assert_true(asked < 20000 / 50);
}

/* After two jumps, two neighbours are taken for chance, three are a stream. */
static void random_pattern_is_known_after_two_jumps(void **state)
{
	static const struct step steps[] = {
	    {500 * M, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {100 * M, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {500 * M + 4 * K, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {300 * M, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {500 * M - 4 * K, 4 * K, WINDOW_BEGIN, 0, 500 * M - BLOCK, M},
	    /* that was one: two neighbours are enough again */
	    {700 * M, 4 * K, WINDOW_RANDOM, -1, 0, 0},
	    {700 * M + 4 * K, 4 * K, WINDOW_BEGIN, 1, 700 * M, M},
	};

	(void)state;
	check_steps(&limits_2g, GIB, steps, ARRAY_SIZE(steps));
}

static void two_interleaved_streams(void **state)
{
	struct window w = {0};
	uint64_t at, asked[2] = {0, 600 * M};
	int i;

	(void)state;
	read_plan(&w, &limits_2g, GIB, 0, 128 * K);
	read_plan(&w, &limits_2g, GIB, 600 * M, 128 * K);
	for (at = 128 * K; at < 300 * M; at += 128 * K) {
		for (i = 0; i < 2; i++) {
			struct outcome o =
			    read_plan(&w, &limits_2g, GIB, at + (uint64_t)i * 600 * M, 128 * K);

			assert_int_equal(o.plan.verdict,
					 at == 128 * K && i == 1 ? WINDOW_BEGIN : WINDOW_STREAM);
			assert_int_equal(o.plan.stream, i);
			if (o.want_length > 0) {
				assert_true(o.want_offset == asked[i] || asked[i] % M == 0);
				asked[i] = o.want_offset + o.want_length;
			}
		}
	}
	assert_true(asked[0] >= 400 * M && asked[1] >= 900 * M);
}

/* A fifth stream takes the place of the one that was used least recently. */
static void four_streams_a_handle(void **state)
{
	struct window w = {0};
	struct outcome o = {0};
	uint64_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		read_plan(&w, &limits_2g, 100 * GIB, (10 + i) * GIB, 128 * K);
		o = read_plan(&w, &limits_2g, 100 * GIB, (10 + i) * GIB + 128 * K, 128 * K);
		assert_int_equal(o.plan.verdict, WINDOW_BEGIN);
		if (i < 4)
			assert_int_equal(o.plan.ended_flow, 0);
	}
	assert_int_equal(o.plan.stream, 0);
	assert_int_equal(o.plan.ended_flow, 1002); /* the first's */
}

/* Random reads beside a stream do not take its place. */
static void stream_survives_random_reads(void **state)
{
	struct window w = {0};
	unsigned dice = 3;
	uint64_t at;

	(void)state;
	read_plan(&w, &limits_256m, 4 * GIB, 0, M);
	for (at = M; at < 100 * M; at += M) {
		uint64_t far = 2 * GIB + (uint64_t)rand_r(&dice) % GIB;
		int i;

		assert_int_equal(read_plan(&w, &limits_256m, 4 * GIB, at, M).plan.stream, 0);
		for (i = 0; i < 5; i++)
			read_plan(&w, &limits_256m, 4 * GIB, far + (uint64_t)i * 10 * M, 4 * K);
	}
}

/* The kernel's read-ahead comes from several threads: shuffled by up to 2 MiB. */
static void out_of_order_is_sequential(void **state)
{
	struct window w = {0};
	uint64_t batch, asked, size = 256 * M;
	unsigned dice = 5;
	int i;

	(void)state;
	asked = read_plan(&w, &limits_2g, size, 0, 128 * K).want_length;
	for (batch = 128 * K; batch + 2 * M <= size; batch += 2 * M) {
		unsigned order[16];

		for (i = 0; i < 16; i++)
			order[i] = (unsigned)i;
		for (i = 15; i > 0; i--)
			SWAP(order[i], order[(unsigned)rand_r(&dice) % ((unsigned)i + 1)]);
		for (i = 0; i < 16; i++) {
			struct outcome o =
			    read_plan(&w, &limits_2g, size, batch + order[i] * 128 * K, 128 * K);

			if (batch == 128 * K && o.plan.verdict == WINDOW_RANDOM)
				continue; /* further off than a new stream tolerates */
			assert_int_equal(o.plan.verdict, WINDOW_STREAM);
			if (o.want_length == 0)
				continue;
			assert_int_equal(o.want_offset, asked);
			asked += o.want_length;
		}
	}
	assert_int_equal(asked, size);
}

static void seeks_within_the_window(void **state)
{
	struct window w = {0};
	struct outcome o;
	uint64_t at, asked;

	(void)state;
	for (at = 0; at < 200 * M; at += M)
		read_plan(&w, &limits_256m, GIB, at, M);
	asked = w.streams[0].asked;
	/* ahead: that read exactly, and nothing more until one follows on it */
	o = read_plan(&w, &limits_256m, GIB, 260 * M, M);
	assert_int_equal(o.plan.verdict, WINDOW_JUMP);
	assert_int_equal(o.want_length, 0);
	o = read_plan(&w, &limits_256m, GIB, 261 * M, M);
	assert_int_equal(o.plan.verdict, WINDOW_STREAM);
	assert_int_equal(o.want_offset, asked);
	assert_int_equal(o.plan.passed, 258 * M);
	/* back, far: its blocks may be in the cache */
	o = read_plan(&w, &limits_256m, GIB, 100 * M, M);
	assert_int_equal(o.plan.verdict, WINDOW_RANDOM);
	/* two jumps running: no stream any more */
	o = read_plan(&w, &limits_256m, GIB, 290 * M, M);
	assert_int_equal(o.plan.verdict, WINDOW_JUMP);
	o = read_plan(&w, &limits_256m, GIB, 340 * M, M);
	assert_int_equal(o.plan.verdict, WINDOW_RANDOM);
	assert_int_equal(o.plan.ended_flow, 1001);
}

/* Reading the head of a file again and again does not make its window grow. */
static void rereading_is_no_progress(void **state)
{
	struct window w = {0};
	int i;

	(void)state;
	read_plan(&w, &limits_2g, GIB, 0, 4 * K);
	for (i = 0; i < 100; i++)
		assert_int_equal(read_plan(&w, &limits_2g, GIB, 0, 4 * K).want_length, 0);
}

static void short_memory_is_asked_again(void **state)
{
	struct window w = {0};
	const struct window_request request = {
	    .offset = 64 * K, .length = 64 * K, .covered = UINT64_MAX};
	struct window_plan plan;
	struct outcome o;

	(void)state;
	read_plan(&w, &limits_2g, GIB, 0, 64 * K);
	window_read(&w, &limits_2g, GIB, &request, &plan);
	window_asked(&w, plan.stream, 2 * M + BLOCK); /* of 4 MiB */
	o = read_plan(&w, &limits_2g, GIB, 128 * K, 64 * K);
	assert_int_equal(o.want_offset, 2 * M + BLOCK);
	assert_int_equal(o.want_offset + o.want_length, 4 * M);
	assert_int_equal(o.count, 2);
}

/* A part ahead has failed: from the hole on it is asked for again. */
static void hole_is_asked_again(void **state)
{
	struct window w = {0};
	struct outcome o;
	uint64_t at, asked;

	(void)state;
	for (at = 0; at < 20 * M; at += M)
		read_plan(&w, &limits_2g, GIB, at, M);
	asked = w.streams[0].asked;
	assert_true(asked > 30 * M);
	o = read_covered(&w, &limits_2g, GIB, 20 * M, M, 20 * M + 3 * BLOCK + 1);
	assert_int_equal(o.want_offset, 20 * M + 3 * BLOCK);
	assert_true(o.want_offset + o.want_length >= asked);
}

/* A share of 12 MiB (32 streams in 512 MiB): parts of 1 MiB, never further ahead. */
static void share_bounds_the_window(void **state)
{
	const struct window_limits limits = {
	    .part_bytes_max = 16 * M, .window_bytes_max = 12 * M, .parallel = 16};
	struct window w = {0};
	uint64_t at, asked = 0;
	size_t i;

	(void)state;
	for (at = 0; at < GIB; at += M) {
		struct outcome o = read_plan(&w, &limits, GIB, at, M);

		if (o.want_length == 0)
			continue;
		assert_int_equal(o.want_offset, asked);
		asked += o.want_length;
		for (i = 0; i < o.count; i++)
			assert_true(o.parts[i].end - o.parts[i].start <= M);
		assert_true(asked <= at + M + 12 * M);
	}
	assert_int_equal(asked, GIB);
}

/* The size and number of the parts of a long sequential read. */
static void check_long_stream(const struct window_limits *limits, uint64_t part_bytes_min,
			      uint64_t part_bytes_max)
{
	static uint64_t ends[16384]; /* of parts, in order */
	struct window w = {0};
	uint64_t at, asked = 0, size = 8 * GIB + 12345, read_bytes = 128 * K;
	size_t parts = 0, consumed = 0, i;

	for (at = 0; at < size; at += read_bytes) {
		struct outcome o = read_plan(&w, limits, size, at, MIN(read_bytes, size - at));

		for (i = 0; i < o.count; i++) {
			assert_int_equal(o.parts[i].start, asked); /* each byte once */
			if (at > 5 * GIB && asked + 24 * part_bytes_max < size)
				assert_in_range(o.parts[i].end - asked, part_bytes_min,
						part_bytes_max);
			assert_true(o.parts[i].end - asked <= limits->part_bytes_max);
			ends[parts++] = asked = o.parts[i].end;
		}
		while (consumed < parts && ends[consumed] <= at)
			consumed++;
		if (at > 16 * M && asked < size)
			assert_true(parts - consumed >= 8); /* wanted at once */
	}
	assert_int_equal(asked, size);
}

/* Few are of one size. */
static void parts_of_a_far_link_differ(void **state)
{
	static uint64_t count[16 * 8]; /* of parts, by their length in blocks */
	struct window w = {0};
	uint64_t at, parts = 0, most = 0;
	size_t i;

	(void)state;
	for (at = 0; at < GIB; at += M) {
		struct outcome o = read_plan(&w, &limits_2g, 100 * GIB, at, M);

		for (i = 0; at > GIB / 4 && i < o.count; i++) {
			uint64_t bytes = o.parts[i].end - o.parts[i].start;

			assert_in_range(bytes, 5 * M, 9 * M);
			most = MAX(most, ++count[bytes / BLOCK]);
			parts++;
		}
	}
	assert_true(parts >= 100 && most <= parts / 8);
}

/* A reader that waits gets four times as much ahead, where that is known to be far. */
static void window_of_a_far_link_grows_faster(void **state)
{
	static const struct {
		uint64_t first_byte_ns, window_bytes;
	} cases[] = {{0, 32 * M}, {30000000, 64 * M}};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct window_limits limits = limits_2g;
		struct window w = {0};

		limits.link.first_byte_ns = cases[i].first_byte_ns;
		read_plan(&w, &limits, GIB, 0, M);
		read_plan(&w, &limits, GIB, M, M);
		read_plan(&w, &limits, GIB, 2 * M, M);
		assert_int_equal(w.streams[0].window_bytes, cases[i].window_bytes);
	}
}

static void long_stream_runs_on_large_parts(void **state)
{
	(void)state;
	check_long_stream(&limits_2g, 64 * M, 64 * M);
	check_long_stream(&limits_256m, 4 * M, 8 * M);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(part_grows_with_the_window),
	    cmocka_unit_test(small_file_is_asked_whole),
	    cmocka_unit_test(window_doubles),
	    cmocka_unit_test(large_windows_are_for_long_streams),
	    cmocka_unit_test(window_of_a_slow_reader_grows_late),
	    cmocka_unit_test(large_first_read_opens_the_window),
	    cmocka_unit_test(begins_elsewhere),
	    cmocka_unit_test(random_reads_ask_for_nothing_ahead),
	    cmocka_unit_test(random_pattern_is_known_after_two_jumps),
	    cmocka_unit_test(two_interleaved_streams),
	    cmocka_unit_test(four_streams_a_handle),
	    cmocka_unit_test(stream_survives_random_reads),
	    cmocka_unit_test(out_of_order_is_sequential),
	    cmocka_unit_test(seeks_within_the_window),
	    cmocka_unit_test(rereading_is_no_progress),
	    cmocka_unit_test(short_memory_is_asked_again),
	    cmocka_unit_test(hole_is_asked_again),
	    cmocka_unit_test(share_bounds_the_window),
	    cmocka_unit_test(long_stream_runs_on_large_parts),
	    cmocka_unit_test(parts_of_a_far_link_differ),
	    cmocka_unit_test(window_of_a_far_link_grows_faster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
