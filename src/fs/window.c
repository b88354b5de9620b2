/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream detection, window growth and part plan of an open handle. The caller serialises calls on
 * one struct window (reader.c holds the handle's lock).
 *
 * The window begins at 1 MiB, is 4 MiB from the second read on, and doubles whenever half of it was
 * read, so that it is at full size after about four round trips. A part is what lets all
 * connections work on the window at once, within [1 MiB, ceiling]. More is asked for when there is
 * room for a whole part, and up to a multiple of the part: requests stay large and aligned.
 */
#include "window.h"

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>

#define SECOND_BYTES (4 * MIB)	   /* window at the second read of a stream */
#define PART_BYTES_MIN (1 * MIB)   /* unless the ceiling is lower */
#define NEAR_BYTES (4 * MIB)	   /* how far out of order the kernel's read-ahead comes */
#define NEAR_BYTES_FIRST (1 * MIB) /* the same before a stream is confirmed */

static uint64_t round_down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}

uint64_t window_part_bytes(const struct window_limits *limits, uint64_t window_bytes)
{
	uint64_t part = PART_BYTES_MIN;

	while (part * 2 * limits->parallel <= window_bytes && part * 2 * 4 <= window_bytes)
		part *= 2;
	return MIN(part, limits->part_bytes_max);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* A random read must not be taken for a stream's often: a stream earns its tolerance. */
static uint64_t stream_slack(const struct window_stream *s)
{
	if (s->confirmed)
		return NEAR_BYTES;
	return s->from_start ? NEAR_BYTES_FIRST : NEAR_BYTES_FIRST / 4;
}

static bool stream_is_near(const struct window_stream *s, uint64_t offset)
{
	uint64_t slack = stream_slack(s);

	if (s->window_bytes == 0)
		return false;
	if (offset > s->position)
		return offset - s->position <= (s->confirmed ? MAX(slack, s->window_bytes) : slack);
	return s->position - offset <= slack;
}

/* The stream that a read at offset belongs to, or -1. */
static int stream_find(const struct window *w, uint64_t offset)
{
	int i, best = -1;

	for (i = 0; i < WINDOW_STREAMS; i++)
		if (stream_is_near(&w->streams[i], offset) &&
		    (best < 0 || distance(offset, w->streams[i].position) <
				     distance(offset, w->streams[best].position)))
			best = i;
	return best;
}

/* The slot for a new stream: a free one, or the one that was used least recently. */
static int stream_slot(const struct window *w)
{
	int i, slot = 0;

	for (i = 0; i < WINDOW_STREAMS; i++) {
		if (w->streams[i].window_bytes == 0)
			return i;
		if (w->streams[i].used_at < w->streams[slot].used_at)
			slot = i;
	}
	return slot;
}

/* True if the range touches one that was read lately. Else it is remembered. */
static bool recent_touches(struct window *w, uint64_t start, uint64_t end)
{
	struct window_range *r;
	unsigned i;

	for (i = 0; i < WINDOW_RECENT; i++) {
		r = &w->recent[i];
		if (r->end > 0 && (r->end == start || r->start == end)) {
			*r = (struct window_range){0};
			return true;
		}
	}
	w->recent[w->recent_next] = (struct window_range){.start = start, .end = end};
	w->recent_next = (w->recent_next + 1) % WINDOW_RECENT;
	return false;
}

static void stream_grow(struct window_stream *s, const struct window_limits *limits)
{
	if (!s->confirmed && (s->from_start || s->consumed_bytes >= s->window_bytes / 2)) {
		s->confirmed = true;
		s->window_bytes = SECOND_BYTES;
		s->consumed_bytes = 0;
	}
	while (s->consumed_bytes >= s->window_bytes / 2 &&
	       s->window_bytes < limits->window_bytes_max) {
		s->consumed_bytes -= s->window_bytes / 2;
		s->window_bytes *= 2;
	}
	if (s->window_bytes >= limits->window_bytes_max) {
		s->window_bytes = limits->window_bytes_max;
		s->consumed_bytes = 0;
	}
}

/* What to ask for so that the window is full. */
static void stream_plan(const struct window_stream *s, const struct window_limits *limits,
			uint64_t size, struct window_plan *ret)
{
	uint64_t part = window_part_bytes(limits, s->window_bytes);
	uint64_t end = s->position + MIN(s->window_bytes, size - s->position);

	ret->part_bytes = part;
	if (end < size)
		end = round_down(end, part);
	if (end <= s->asked || (end < size && end - s->asked < part))
		return;
	ret->want_offset = s->asked;
	ret->want_length = end - s->asked;
}

static void stream_begin(struct window *w, const struct window_limits *limits, uint64_t size,
			 uint64_t offset, uint64_t end, struct window_plan *ret)
{
	int slot = stream_slot(w);
	struct window_stream *s = &w->streams[slot];

	ret->verdict = WINDOW_BEGIN;
	ret->stream = slot;
	if (s->window_bytes > 0)
		ret->ended_flow = s->flow;
	*s = (struct window_stream){
	    .position = end,
	    .window_bytes = MIN(WINDOW_FIRST_BYTES, limits->window_bytes_max),
	    .used_at = w->tick,
	    .from_start = offset == 0,
	};
	ret->part_bytes = limits->part_bytes_max;
	ret->want_offset = round_down(offset, CACHE_BLOCK_BYTES);
	ret->want_length = MIN(MAX(s->window_bytes, end - offset), size - ret->want_offset);
	s->asked = ret->want_offset + ret->want_length;
}

static void stream_go_on(struct window_stream *s, const struct window_limits *limits, uint64_t size,
			 struct window_range read, uint64_t covered, struct window_plan *ret)
{
	uint64_t start_block = round_down(read.start, CACHE_BLOCK_BYTES);

	s->jumped = read.start > s->position && read.start - s->position > stream_slack(s);
	ret->verdict = s->jumped ? WINDOW_JUMP : WINDOW_STREAM;
	if (covered < read.end && covered < s->asked) /* a fetch failed, or blocks were evicted */
		s->asked = round_down(covered, CACHE_BLOCK_BYTES);
	if (read.end > s->position) {
		/* what was skipped was not read */
		s->consumed_bytes += read.end - MAX(s->position, read.start);
		s->position = read.end;
		if (s->asked < s->position)
			s->asked = MAX(s->asked, start_block);
		if (!s->jumped)
			stream_grow(s, limits);
	}
	if (s->position > NEAR_BYTES)
		ret->passed = s->position - NEAR_BYTES;
	if (!s->jumped)
		stream_plan(s, limits, size, ret);
}

void window_read(struct window *w, const struct window_limits *limits, uint64_t size,
		 uint64_t offset, uint64_t length, uint64_t covered, struct window_plan *ret)
{
	uint64_t end = offset + length;
	int i = stream_find(w, offset);

	*ret = (struct window_plan){.verdict = WINDOW_RANDOM, .stream = -1};
	w->tick++;
	if (i >= 0 && w->streams[i].jumped &&
	    offset > w->streams[i].position + stream_slack(&w->streams[i])) {
		/* the second jump running: this is no stream any more */
		ret->ended_flow = w->streams[i].flow;
		w->streams[i] = (struct window_stream){0};
		i = -1;
	}
	if (i >= 0) {
		ret->stream = i;
		w->streams[i].used_at = w->tick;
		stream_go_on(&w->streams[i], limits, size,
			     (struct window_range){.start = offset, .end = end}, covered, ret);
	} else if (recent_touches(w, offset, end) || offset == 0) {
		stream_begin(w, limits, size, offset, end, ret);
	}
}

void window_asked(struct window *w, int stream, uint64_t upto)
{
	w->streams[stream].asked = upto;
}
