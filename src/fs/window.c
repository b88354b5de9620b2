/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream detection, window growth and part plan of an open handle. The caller serialises calls on
 * one struct window (reader.c holds the handle's lock).
 *
 * A window begins at 1 MiB, or at 16 times the first read if that is more, and is 4 MiB at least
 * from the second read on. Then it doubles whenever an eighth of it was read, for as long as
 * pace.c says that more is of use; on a far link, four times as large if the reader waits: each
 * step there costs the time until answers begin. A read that had to wait makes itself and a quarter
 * of the window after it count (what comes behind one part that was late is there at once); other
 * bytes count a sixteenth: who is slower than the network needs no more ahead.
 *
 * A part is a fraction of the window within [1 MiB, ceiling], asked for when there is room for all
 * of it. On a far link there are some more parts than connections, so that the next one waits when
 * a connection becomes free; but half as many as connections while the window grows: what is asked
 * for then is small when its turn comes. Such parts differ by a sixth to both sides: those that
 * begin together would end together, and while all wait for a first byte the link is idle, again
 * and again. Elsewhere parts are as many as pace.c says, and end at a multiple of their size.
 * Towards the end of the object parts become smaller, so that the last ones end together and none
 * is waited for alone.
 */
#include "window.h"

#include <pailfs/cache.h>
#include <pailfs/cleanup.h>

#define FIRST_BYTES_MAX (16 * MIB) /* window at the first read of a stream, if that is large */
#define FIRST_READS 16		   /* ... so many times its length */
#define SECOND_BYTES (4 * MIB)	   /* window at the second read, at least */
#define GROW_SHARE 8		   /* the window grows when this fraction of it was read */
#define GROW_NEAR 2		   /* ... so many times */
#define GROW_FAR 4		   /* the same where answers are known to begin late */
#define THERE_SHARE 16		   /* what was there counts this fraction of it */
#define WAIT_SHARE 4		   /* ... but not this fraction of the window after a wait */
#define SPARE_SHARE 8	    /* parts of a far link beyond its connections: this fraction of them */
#define SHORT_PARTS_MIN 5   /* ... and so many in all at least */
#define GROWING_SHARE 2	    /* parts while the window grows: this fraction of the connections */
#define GROWING_PARTS_MIN 3 /* ... but so many at least */
#define VARY_SHARE 6	    /* they differ by this fraction of themselves */
#define PART_BYTES_MIN (1 * MIB)   /* unless the ceiling is lower */
#define TAIL_BYTES_MIN (4 * MIB)   /* parts at the end of the object, unless they were smaller */
#define NEAR_BYTES (4 * MIB)	   /* how far out of order the kernel's read-ahead comes */
#define NEAR_BYTES_FIRST (1 * MIB) /* the same before a stream is confirmed */

/* 2^64 over the golden mean: its multiples lie apart, however many of them there are. */
#define VARY_STEP UINT64_C(0x9E3779B97F4A7C15)

static uint64_t round_down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}

static uint64_t round_nearest(uint64_t value, uint64_t unit)
{
	return round_down(value + unit / 2, unit);
}

uint64_t window_part_bytes(const struct window_limits *limits, unsigned parts,
			   uint64_t window_bytes, uint64_t left_bytes)
{
	uint64_t part = MAX(round_nearest(window_bytes / parts, MIB), PART_BYTES_MIN);
	uint64_t ends = MAX(limits->parallel, PACE_PARTS_MIN); /* parts that end together */
	uint64_t tail = MAX(round_down(left_bytes / ends, MIB), TAIL_BYTES_MIN);

	return MIN(MIN(part, tail), limits->part_bytes_max);
}

/* Into how many parts the window is cut. */
static unsigned stream_parts(const struct window_stream *s, const struct window_limits *limits)
{
	unsigned parts = pace_parts(&s->pace, &limits->link, s->window_bytes);
	unsigned connections = MIN(limits->parallel, parts);
	uint64_t whole = MIN(pace_far_bytes(&limits->link), limits->window_bytes_max);

	if (!pace_parts_are_short(&s->pace, &limits->link, s->window_bytes))
		return MAX(MIN(2 * limits->parallel, parts), PACE_PARTS_MIN);
	if (s->window_bytes < whole)
		return MAX(connections / GROWING_SHARE, GROWING_PARTS_MIN);
	return MAX(connections + connections / SPARE_SHARE, SHORT_PARTS_MIN);
}

/* A part that does not end when its neighbours do, nor those of other streams. */
static uint64_t vary_bytes(const struct window_stream *s, uint64_t part_bytes)
{
	uint64_t spread = part_bytes / VARY_SHARE;
	uint64_t step = (s->parts + s->flow) * VARY_STEP >> 32;
	uint64_t bytes = part_bytes - spread + (2 * spread * step >> 32);

	return MAX(round_down(bytes, CACHE_BLOCK_BYTES), PART_BYTES_MIN);
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

/*
 * True if the range goes on where one ended that was read lately (or ends where one began), and
 * that is no chance: in a random pattern, three in a row are needed. Else it is remembered.
 */
static bool recent_touches(struct window *w, struct window_range read)
{
	struct window_recent *r;
	unsigned i;

	for (i = 0; i < WINDOW_RECENT; i++) {
		r = &w->recent[i];
		if (r->range.end == 0 || (r->range.end != read.start && r->range.start != read.end))
			continue;
		if (r->chance || w->jumps < WINDOW_JUMPS) {
			*r = (struct window_recent){0};
			return true;
		}
		r->range.start = MIN(r->range.start, read.start);
		r->range.end = MAX(r->range.end, read.end);
		r->chance = true;
		return false;
	}
	w->recent[w->recent_next] = (struct window_recent){.range = read};
	w->recent_next = (w->recent_next + 1) % WINDOW_RECENT;
	return false;
}

/* How many of the bytes that were read count for growth. */
static uint64_t stream_counted(struct window_stream *s, uint64_t progress, bool there)
{
	uint64_t counted = progress;

	if (!there) {
		s->credit_bytes = s->window_bytes / WAIT_SHARE;
		return progress;
	}
	if (progress > s->credit_bytes)
		counted = s->credit_bytes + (progress - s->credit_bytes) / THERE_SHARE;
	s->credit_bytes -= MIN(progress, s->credit_bytes);
	return counted;
}

static unsigned growth(const struct window_stream *s, const struct window_limits *limits)
{
	bool far = limits->link.first_byte_ns != 0 && !pace_is_near(&s->pace, &limits->link);
	bool waited = s->credit_bytes > 0;

	return far && waited && s->window_bytes < pace_far_bytes(&limits->link) ? GROW_FAR
										: GROW_NEAR;
}

static void stream_grow(struct window_stream *s, const struct window_limits *limits)
{
	uint64_t max = MIN(pace_window_bytes_max(&s->pace, &limits->link, s->read_bytes),
			   limits->window_bytes_max);

	if (!s->confirmed && (s->from_start || s->consumed_bytes >= s->window_bytes / 2)) {
		s->confirmed = true;
		s->window_bytes = MAX(s->window_bytes, SECOND_BYTES);
		s->consumed_bytes = 0;
	}
	while (s->confirmed && s->consumed_bytes >= s->window_bytes / GROW_SHARE) {
		if (s->window_bytes >= max) {
			s->consumed_bytes = 0;
			break;
		}
		s->consumed_bytes -= s->window_bytes / GROW_SHARE;
		s->window_bytes = MIN(growth(s, limits) * s->window_bytes, max);
	}
	/* A near link needs less than was asked for when nothing was known of it. */
	if (pace_is_near(&s->pace, &limits->link))
		s->window_bytes = MIN(s->window_bytes, max);
	s->window_bytes = MIN(s->window_bytes, limits->window_bytes_max);
}

/* Where the next part ends. */
static uint64_t stream_part_end(const struct window_stream *s, const struct window_limits *limits,
				uint64_t size)
{
	unsigned parts = stream_parts(s, limits);
	uint64_t part = window_part_bytes(limits, parts, s->window_bytes, size - s->asked);
	uint64_t end;

	if (part > PART_BYTES_MIN && pace_parts_are_short(&s->pace, &limits->link, s->window_bytes))
		return s->asked + MIN(vary_bytes(s, part), limits->part_bytes_max);
	end = round_down(s->asked, part) + part;
	if (end - s->asked < part / 2 && part < limits->part_bytes_max)
		end += part; /* rather longer than a crumb */
	return MIN(end, s->asked + limits->part_bytes_max);
}

bool window_next(const struct window *w, int stream, const struct window_limits *limits,
		 uint64_t size, struct window_range *ret)
{
	const struct window_stream *s = &w->streams[stream];
	uint64_t end;

	if (s->jumped || s->asked >= size)
		return false;
	end = MIN(stream_part_end(s, limits, size), size);
	if (end > s->position + s->window_bytes)
		return false;
	*ret = (struct window_range){.start = s->asked, .end = end};
	return true;
}

static struct window_range request_range(const struct window_request *request)
{
	return (struct window_range){.start = request->offset,
				     .end = request->offset + request->length};
}

/* A large first read is the beginning of more: one small part a connection, where there are many
 * streams, since what is asked for now has the size of the beginning. */
static uint64_t stream_first_bytes(const struct window_limits *limits, uint64_t read_bytes)
{
	uint64_t small_parts = MAX(limits->parallel * PART_BYTES_MIN, SECOND_BYTES);
	uint64_t bytes = MIN(MIN(read_bytes * FIRST_READS, FIRST_BYTES_MAX), small_parts);

	return MIN(MAX(bytes, WINDOW_FIRST_BYTES), limits->window_bytes_max);
}

static void stream_begin(struct window *w, const struct window_limits *limits, uint64_t size,
			 const struct window_request *request, struct window_plan *ret)
{
	const struct window_range read = request_range(request);
	int slot = stream_slot(w);
	struct window_stream *s = &w->streams[slot];
	uint64_t start = round_down(read.start, CACHE_BLOCK_BYTES);

	ret->verdict = WINDOW_BEGIN;
	ret->stream = slot;
	if (s->window_bytes > 0)
		ret->ended_flow = s->flow;
	*s = (struct window_stream){
	    .position = read.end,
	    .read_bytes = read.end - read.start,
	    .window_bytes = stream_first_bytes(limits, read.end - read.start),
	    .used_at = w->tick,
	    .from_start = read.start == 0,
	};
	ret->first = (struct window_range){
	    .start = start, .end = MIN(MAX(start + WINDOW_FIRST_BYTES, read.end), size)};
	s->asked = ret->first.end;
	pace_begin(&s->pace, request->now_ns);
	s->confirmed = s->from_start && s->window_bytes >= SECOND_BYTES;
}

static void stream_go_on(struct window_stream *s, const struct window_limits *limits,
			 const struct window_request *request, struct window_plan *ret)
{
	const struct window_range read = request_range(request);
	uint64_t start_block = round_down(read.start, CACHE_BLOCK_BYTES);
	uint64_t covered = request->covered, progress;

	s->jumped = read.start > s->position && read.start - s->position > stream_slack(s);
	ret->verdict = s->jumped ? WINDOW_JUMP : WINDOW_STREAM;
	if (covered < read.end && covered < s->asked) /* a fetch failed, or blocks were evicted */
		s->asked = round_down(covered, CACHE_BLOCK_BYTES);
	if (read.end > s->position) {
		/* what was skipped was not read */
		progress = read.end - MAX(s->position, read.start);
		s->read_bytes += progress;
		s->consumed_bytes += stream_counted(s, progress, request->there);
		s->position = read.end;
		pace_read(&s->pace, &limits->link, progress, s->window_bytes, request->now_ns);
		if (s->asked < s->position)
			s->asked = MAX(s->asked, start_block);
		if (!s->jumped)
			stream_grow(s, limits);
	}
	if (s->position > NEAR_BYTES)
		ret->passed = s->position - NEAR_BYTES;
}

void window_read(struct window *w, const struct window_limits *limits, uint64_t size,
		 const struct window_request *request, struct window_plan *ret)
{
	const struct window_range read = request_range(request);
	int i = stream_find(w, read.start);

	*ret = (struct window_plan){.verdict = WINDOW_RANDOM, .stream = -1};
	w->tick++;
	if (i >= 0 && w->streams[i].jumped &&
	    read.start > w->streams[i].position + stream_slack(&w->streams[i])) {
		/* the second jump running: this is no stream any more */
		ret->ended_flow = w->streams[i].flow;
		w->streams[i] = (struct window_stream){0};
		i = -1;
	}
	if (i >= 0) {
		ret->stream = i;
		w->streams[i].used_at = w->tick;
		stream_go_on(&w->streams[i], limits, request, ret);
		w->jumps = 0;
	} else if (recent_touches(w, read) || read.start == 0) {
		stream_begin(w, limits, size, request, ret);
		w->jumps = 0;
	} else {
		w->jumps = MIN(w->jumps + 1, WINDOW_JUMPS);
	}
}

void window_asked(struct window *w, int stream, uint64_t upto)
{
	w->streams[stream].asked = upto;
	w->streams[stream].parts++;
}
