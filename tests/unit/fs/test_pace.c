/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows and connections over links that are played: answers begin after a time, a connection
 * carries so much, all of them no more than the link does. Time is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#include "window.h"

#define TICK_NS (100 * NS_PER_MS / 1000)
#define SLOTS 24
#define PARTS 4096

/* A link, and what a stream over it must come to. */
struct link {
	uint64_t first_byte_ns, connection_bytes_per_s, bytes_per_s;
};

struct part {
	uint64_t start, end;
	double received;
	uint64_t began_ns; /* 0: waits for a connection */
};

struct play {
	const struct link *link;
	struct window_limits limits;
	struct window window;
	uint64_t now_ns, size, position;
	bool waits; /* the read at position was planned, and its bytes have not come */
	struct part parts[PARTS];
	size_t done, count; /* parts before `done` have been received */
	unsigned running, running_most;
	uint64_t window_most;
};

static struct play play; /* too large for a stack */

static void play_init(const struct link *link, uint64_t memory_bytes, unsigned streams)
{
	play = (struct play){.link = link, .now_ns = NS_PER_S, .size = UINT64_C(1) << 40};
	play.limits = (struct window_limits){
	    .part_bytes_max = MIN(64 * MIB, memory_bytes / 4 * 3 / SLOTS),
	    .window_bytes_max = memory_bytes / 4 * 3 / streams,
	    .parallel = SLOTS / streams,
	    .link = {.streams = streams},
	};
}

static void play_add(const struct window_range *range)
{
	assert_true(play.count < PARTS);
	play.parts[play.count++] = (struct part){.start = range->start, .end = range->end};
}

/* Up to where all bytes have come. */
static uint64_t play_covered(void)
{
	size_t i = play.done;

	while (i < play.count &&
	       play.parts[i].received >= (double)(play.parts[i].end - play.parts[i].start))
		i++;
	play.done = i;
	if (i == play.count)
		return i == 0 ? 0 : play.parts[i - 1].end;
	return play.parts[i].start + (uint64_t)play.parts[i].received;
}

/* The reader asks for its next MiB. */
static void play_plan(void)
{
	const struct window_request request = {
	    .offset = play.position,
	    .length = MIB,
	    .covered = UINT64_MAX,
	    .there = play_covered() >= play.position + MIB,
	    .now_ns = play.now_ns,
	};
	struct window_plan plan;
	struct window_range range;

	window_read(&play.window, &play.limits, play.size, &request, &plan);
	assert_int_equal(plan.stream, 0);
	if (plan.verdict == WINDOW_BEGIN)
		play_add(&plan.first);
	while (window_next(&play.window, 0, &play.limits, play.size, &range)) {
		play_add(&range);
		window_asked(&play.window, 0, range.end);
	}
	play.window_most = MAX(play.window_most, play.window.streams[0].window_bytes);
	play.waits = true;
}

static void play_read(void)
{
	for (;;) {
		if (!play.waits)
			play_plan();
		if (play_covered() < play.position + MIB)
			return;
		play.position += MIB;
		play.waits = false;
	}
}

/* Connections go to the parts in order, and share what the link carries. */
static void play_tick(void)
{
	const struct link *l = play.link;
	unsigned receiving = 0;
	double bytes;
	size_t i;

	play.running = 0;
	for (i = play.done; i < play.count && play.running < play.limits.parallel; i++) {
		struct part *p = &play.parts[i];

		if (p->received >= (double)(p->end - p->start))
			continue;
		play.running++;
		if (p->began_ns == 0)
			p->began_ns = play.now_ns;
		receiving += play.now_ns >= p->began_ns + l->first_byte_ns;
	}
	play.running_most = MAX(play.running_most, play.running);
	bytes = (double)MIN(l->connection_bytes_per_s, l->bytes_per_s / MAX(receiving, 1U)) *
		TICK_NS / NS_PER_S;
	for (i = play.done; i < play.count; i++) {
		struct part *p = &play.parts[i];

		if (p->began_ns != 0 && play.now_ns >= p->began_ns + l->first_byte_ns)
			p->received = MIN(p->received + bytes, (double)(p->end - p->start));
		if (play.parts[i].received > 0)
			play.limits.link.first_byte_ns = l->first_byte_ns;
	}
	play.now_ns += TICK_NS;
}

/* Reads up to there; bytes a second. */
static uint64_t play_until(uint64_t position)
{
	uint64_t begin_ns = play.now_ns, begin = play.position;

	play.running_most = 0;
	play.window_most = 0;
	while (play.position < position) {
		play_read();
		play_tick();
	}
	return (play.position - begin) * NS_PER_MS / ((play.now_ns - begin_ns) / 1000);
}

/* A trial ends with what it reads: two settle and measure it. */
static void play_until_rest(void)
{
	uint64_t end = play.position + 2 * GIB;

	while (play.window.streams[0].pace.phase != PACE_REST) {
		assert_true(play.position < end);
		play_until(play.position + MIB);
	}
}

static unsigned play_parts(void)
{
	const struct window_stream *s = &play.window.streams[0];

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

/* Eight streams of a far link: what each gets is an eighth. */
static void streams_share_a_far_link(void **state)
{
	static const struct link eighth = {30 * NS_PER_MS, 80000000, 125000000};

	(void)state;
	play_init(&eighth, 2 * GIB, 8);
	play_until(32 * MIB);
	assert_true(play_until(128 * MIB) >= UINT64_C(100000000)); /* of 125 */
	assert_true(play.window_most <= 128 * MIB);
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
