/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows and connections over links that are played: answers begin after a time, a connection
 * carries so much, all of them no more than the link does. Time is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#include "window.h"

#define TICK_NS (100 * NS_PER_MS / 1000)
#define SLOTS 24
#define READERS 8
#define PARTS 4096
#define LATE_EVERY_NS (150 * NS_PER_MS)

/* A link, and what a stream over it must come to. */
struct link {
	uint64_t first_byte_ns, connection_bytes_per_s, bytes_per_s;
};

struct part {
	uint64_t start, end;
	double received;
	uint64_t began_ns;
	bool ended; /* its connection is free again */
};

struct reader {
	struct window window;
	uint64_t position;
	bool waits; /* the read at position was planned, and its bytes have not come */
	struct part parts[PARTS];
	size_t done, begun, count; /* parts before `done` have been received */
};

struct play {
	const struct link *link;
	struct window_limits limits;
	struct reader readers[READERS];
	unsigned streams;
	uint64_t now_ns, size;
	uint64_t late_ns; /* so long of each LATE_EVERY_NS nobody looks at what has come */
	unsigned running, running_most;
	uint64_t window_most;
};

static struct play play; /* too large for a stack */

static void play_init(const struct link *link, uint64_t memory_bytes, unsigned streams)
{
	unsigned i;

	memset(&play, 0, sizeof(play));
	play.link = link;
	play.now_ns = NS_PER_S;
	play.size = UINT64_C(1) << 40;
	play.streams = streams;
	play.limits = (struct window_limits){
	    .part_bytes_max = MIN(64 * MIB, memory_bytes / 4 * 3 / SLOTS),
	    .window_bytes_max = memory_bytes / 4 * 3 / streams,
	    .parallel = SLOTS / streams,
	    .link = {.streams = streams},
	};
	for (i = 0; i < streams; i++) /* as reader.c numbers them */
		play.readers[i].window.streams[0].flow = i + 1;
}

static bool part_is_here(const struct part *p)
{
	return p->received >= (double)(p->end - p->start);
}

static void reader_add(struct reader *r, const struct window_range *range)
{
	assert_true(r->count < PARTS);
	r->parts[r->count++] = (struct part){.start = range->start, .end = range->end};
}

/* Up to where all bytes have come. */
static uint64_t reader_covered(struct reader *r)
{
	while (r->done < r->count && part_is_here(&r->parts[r->done]))
		r->done++;
	if (r->done == r->count)
		return r->count == 0 ? 0 : r->parts[r->count - 1].end;
	return r->parts[r->done].start + (uint64_t)r->parts[r->done].received;
}

/* The reader asks for its next MiB. */
static void reader_plan(struct reader *r)
{
	const struct window_request request = {
	    .offset = r->position,
	    .length = MIB,
	    .covered = UINT64_MAX,
	    .there = reader_covered(r) >= r->position + MIB,
	    .now_ns = play.now_ns,
	};
	uint64_t flow = r->window.streams[0].flow;
	struct window_plan plan;
	struct window_range range;

	window_read(&r->window, &play.limits, play.size, &request, &plan);
	assert_int_equal(plan.stream, 0);
	r->window.streams[0].flow = flow;
	if (plan.verdict == WINDOW_BEGIN)
		reader_add(r, &plan.first);
	while (window_next(&r->window, 0, &play.limits, play.size, &range)) {
		reader_add(r, &range);
		window_asked(&r->window, 0, range.end);
	}
	play.window_most = MAX(play.window_most, r->window.streams[0].window_bytes);
	r->waits = true;
}

static void reader_read(struct reader *r)
{
	for (;;) {
		if (!r->waits)
			reader_plan(r);
		if (reader_covered(r) < r->position + MIB)
			return;
		r->position += MIB;
		r->waits = false;
	}
}

static unsigned reader_running(struct reader *r)
{
	unsigned running = 0;
	size_t i;

	for (i = r->done; i < r->begun; i++) {
		r->parts[i].ended |= part_is_here(&r->parts[i]);
		running += !r->parts[i].ended;
	}
	return running;
}

/* Connections go to who has the fewest, and there to the parts in order. */
static bool play_start(void)
{
	struct reader *next = NULL;
	unsigned i, fewest = SLOTS;

	play.running = 0;
	for (i = 0; i < play.streams; i++) {
		struct reader *r = &play.readers[i];
		unsigned running = reader_running(r);

		play.running += running;
		if (r->begun < r->count && running < fewest) {
			fewest = running;
			next = r;
		}
	}
	if (next == NULL || play.running == SLOTS)
		return false;
	next->parts[next->begun++].began_ns = play.now_ns;
	play.running++;
	return true;
}

static bool play_is_receiving(const struct part *p)
{
	return !part_is_here(p) && play.now_ns >= p->began_ns + play.link->first_byte_ns;
}

/* What is received in a tick: all share what the link carries. */
static void play_receive(void)
{
	const struct link *l = play.link;
	unsigned receiving = 0;
	struct reader *r;
	double bytes;
	size_t i;

	for (r = play.readers; r < play.readers + play.streams; r++)
		for (i = r->done; i < r->begun; i++)
			receiving += play_is_receiving(&r->parts[i]);
	bytes = (double)MIN(l->connection_bytes_per_s, l->bytes_per_s / MAX(receiving, 1U)) *
		TICK_NS / NS_PER_S;
	for (r = play.readers; r < play.readers + play.streams; r++)
		for (i = r->done; i < r->begun; i++)
			if (play_is_receiving(&r->parts[i]))
				r->parts[i].received += bytes;
	if (receiving > 0)
		play.limits.link.first_byte_ns = l->first_byte_ns;
}

static void play_tick(void)
{
	unsigned i;

	if (play.now_ns % LATE_EVERY_NS >= play.late_ns) {
		for (i = 0; i < play.streams; i++)
			reader_read(&play.readers[i]);
		while (play_start())
			;
		play.running_most = MAX(play.running_most, play.running);
	}
	play_receive();
	play.now_ns += TICK_NS;
}

static uint64_t play_position(void)
{
	uint64_t least = play.readers[0].position;
	unsigned i;

	for (i = 1; i < play.streams; i++)
		least = MIN(least, play.readers[i].position);
	return least;
}

/* Reads up to there, all of the streams; bytes a second of each. */
static uint64_t play_until(uint64_t position)
{
	uint64_t begin_ns = play.now_ns, begin = play_position();

	play.running_most = 0;
	play.window_most = 0;
	while (play_position() < position)
		play_tick();
	return (play_position() - begin) * NS_PER_MS / ((play.now_ns - begin_ns) / 1000);
}

/* A trial ends with what it reads: two settle and measure it. */
static void play_until_rest(void)
{
	uint64_t end = play_position() + 2 * GIB;

	while (play.readers[0].window.streams[0].pace.phase != PACE_REST) {
		assert_true(play_position() < end);
		play_until(play_position() + MIB);
	}
}

static unsigned play_parts(void)
{
	const struct window_stream *s = &play.readers[0].window.streams[0];

	return pace_parts(&s->pace, &play.limits.link, s->window_bytes);
}

/* One connection carries all there is. */
static const struct link near = {300000, UINT64_C(1500000000), UINT64_C(1500000000)};
/* Answers begin at once, a connection carries little: as many as there may be. */
static const struct link narrow = {NS_PER_MS, 50000000, UINT64_C(2000000000)};
/* S3: the profile of shared/performance.md. */
static const struct link far = {30 * NS_PER_MS, 80000000, UINT64_C(1000000000)};
static const struct link very_far = {200 * NS_PER_MS, 30000000, UINT64_C(1000000000)};

static void near_link_has_a_small_window_and_few_connections(void **state)
{
	(void)state;
	play_init(&near, 2 * GIB, 1);
	play_until(64 * MIB);
	assert_true(play.window_most <= 16 * MIB);
	assert_true(play_until(2 * GIB) >= UINT64_C(1200000000));
	assert_true(play.window_most <= 32 * MIB);
	assert_true(play.running_most <= 12); /* tried now and then */
	assert_int_equal(play_parts(), 4);
}

static void narrow_connections_become_many(void **state)
{
	(void)state;
	play_init(&narrow, 2 * GIB, 1);
	play_until(GIB);
	assert_true(play_until(2 * GIB) >= UINT64_C(650000000)); /* of 800, with trials of fewer */
	assert_true(play.running_most >= 16);
	play_until_rest(); /* fewer are tried now and then */
	assert_int_equal(play_parts(), 16);
}

static void far_link_is_full_after_a_few_round_trips(void **state)
{
	(void)state;
	play_init(&far, 2 * GIB, 1);
	assert_true(play_until(256 * MIB) >= UINT64_C(550000000));
	assert_true(play_until(GIB) >= UINT64_C(850000000)); /* of 1,000 */
	assert_int_equal(play.running_most, 24);
	assert_true(play.window_most <= 256 * MIB);
}

static void far_link_is_full_in_little_memory(void **state)
{
	(void)state;
	play_init(&far, 256 * MIB, 1);
	play_until(256 * MIB);
	assert_true(play_until(GIB) >= UINT64_C(850000000));
	assert_true(play.window_most <= 192 * MIB);
}

/* Of a long stream: as much larger as answers begin later, up to 20 ms. */
static void the_farther_the_larger(void **state)
{
	static const struct {
		unsigned first_byte_ms;
		uint64_t window_bytes;
	} cases[] = {{1, 64 * MIB},    {5, 256 * MIB},	 {10, 512 * MIB},
		     {20, 1024 * MIB}, {40, 1024 * MIB}, {200, 1024 * MIB}};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct link link = {cases[i].first_byte_ms * NS_PER_MS, 80000000,
					  UINT64_C(1000000000)};

		play_init(&link, 2 * GIB, 1);
		play_until(4 * GIB);
		assert_true(play_until(5 * GIB) >= UINT64_C(800000000)); /* of 1,000 */
		assert_int_equal(play.window_most, cases[i].window_bytes);
	}
}

static void very_far_link_carries_more_than_half(void **state)
{
	(void)state;
	play_init(&very_far, 2 * GIB, 1);
	play_until(512 * MIB);
	assert_true(play_until(GIB) >= UINT64_C(390000000)); /* of 720 */
	assert_int_equal(play.running_most, 24);
}

static void streams_share_a_far_link(void **state)
{
	(void)state;
	play_init(&far, 2 * GIB, 8);
	assert_true(play_until(16 * MIB) >= UINT64_C(70000000)); /* of 125, with two round trips */
	play_until(32 * MIB);
	assert_true(play_until(128 * MIB) >= UINT64_C(110000000));
	assert_true(play.window_most <= 32 * MIB);
}

/* What has come together while nobody looked begins together, and must not end so. */
static void late_streams_do_not_wait_together(void **state)
{
	static const unsigned streams[] = {1, 4, 8};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(streams); i++) {
		play_init(&far, 2 * GIB, streams[i]);
		play.late_ns = 40 * NS_PER_MS;
		play_until(256 * MIB / streams[i]);
		assert_true(play_until(GIB / streams[i]) >= UINT64_C(880000000) / streams[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(near_link_has_a_small_window_and_few_connections),
	    cmocka_unit_test(narrow_connections_become_many),
	    cmocka_unit_test(far_link_is_full_after_a_few_round_trips),
	    cmocka_unit_test(far_link_is_full_in_little_memory),
	    cmocka_unit_test(the_farther_the_larger),
	    cmocka_unit_test(very_far_link_carries_more_than_half),
	    cmocka_unit_test(streams_share_a_far_link),
	    cmocka_unit_test(late_streams_do_not_wait_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
