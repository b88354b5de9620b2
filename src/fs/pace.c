/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link is near if FLOOR_BYTES hide the first byte time of a fast stream MARGIN times over, so
 * that a connection waits for its next answer for an eighth of its time at most; else, or as long
 * as nothing is known of it, it is far.
 *
 * The size: FAR_BYTES on a far link (some 24 parts of 8 MiB: at 80 MB/s a connection and 30 ms to
 * the first byte they carry more than 1 GB/s, so that the link stays full while some wait for their
 * first byte; measured: 16 of them do not), FLOOR_BYTES on a near one; streams share both. Beyond
 * that a window is a quarter of what the stream has read, and less where answers begin sooner: it
 * brings larger parts, which saves requests, but it touches memory for the first time, which costs
 * as much as the whole rest of the path (measured without delay: 1 GiB 1.7 CPU s/GB, 128 MiB 0.36).
 *
 * The number of parts: PACE_PARTS_MAX on a far link (of which window.c makes what suits short
 * parts), LONG_PARTS beyond FAR_BYTES. On a near one it is searched, up to NEAR_PARTS_MAX: after a
 * rest, twice as many are tried, or half, and kept if the rate says so. A trial begins when what
 * was asked for before it was read. All but those that brought more make the next rest longer.
 */
#include "pace.h"

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#define MARGIN 8
#define FLOOR_BYTES (16 * MIB)
#define FLOOR_BYTES_MIN (8 * MIB) /* where many streams share it */
#define FAR_BYTES (192 * MIB)
#define FAR_BYTES_MIN (32 * MIB) /* where many streams share it */
#define LONG_PARTS 16		 /* of larger windows, whose parts are large enough */
#define NEAR_PARTS_MAX 16
#define LARGE_SHARE 4		  /* of what a stream has read */
#define LARGE_NS (20 * NS_PER_MS) /* first byte time from which on it may have all of that */
#define NS_PER_STEP 1000

#define RATE_BYTES_MIN (2 * MIB) /* no rate is told of less */
#define RATE_FAST UINT64_C(1000000000)
#define RATE_MAX (10 * RATE_FAST) /* more is not believed */

#define MEASURE_BYTES_MIN (32 * MIB)
#define MEASURE_WINDOWS 2
#define TRIAL_BYTES (128 * MIB) /* several windows: what a reader takes of one comes in jumps */
#define REST_MAX 64
#define PERCENT 100
#define MORE_PERCENT 115 /* of the rate before: more parts are kept from there on */
#define FEWER_PERCENT 95 /* ... and fewer */

static uint64_t rate_of(uint64_t bytes, uint64_t took_ns)
{
	return (uint64_t)((double)bytes * (double)NS_PER_S / (double)took_ns);
}

/* What is always worth its memory: parts as large as with the fewest of them. */
static uint64_t floor_bytes(const struct pace_link *link, unsigned parts)
{
	return MAX(FLOOR_BYTES / MAX(link->streams, 1U), FLOOR_BYTES_MIN) * parts / PACE_PARTS_MIN;
}

/* The window that hides the first byte time at that rate. */
static uint64_t distance_bytes(const struct pace_link *link, uint64_t rate_bytes_per_s)
{
	return MIN(rate_bytes_per_s, RATE_MAX) * MIN(link->first_byte_ns, NS_PER_S) / NS_PER_S *
	       MARGIN;
}

/* A stream that is slow now may become fast: its own rate does not count, unless it is more. */
bool pace_is_near(const struct pace *p, const struct pace_link *link)
{
	uint64_t rate = p->measured ? MAX(p->rate_bytes_per_s, RATE_FAST) : RATE_FAST;

	return link->first_byte_ns != 0 && distance_bytes(link, rate) < FLOOR_BYTES;
}

/* Of a stream that goes on and on; a power of two, so that its parts end at multiples of theirs. */
static uint64_t large_bytes(const struct pace_link *link, uint64_t read_bytes)
{
	uint64_t far_ns = link->first_byte_ns != 0 ? MIN(link->first_byte_ns, LARGE_NS) : LARGE_NS;
	uint64_t share = read_bytes / LARGE_SHARE / KIB * (far_ns / NS_PER_STEP) /
			 (LARGE_NS / NS_PER_STEP) * KIB;
	uint64_t bytes = MIB;

	while (bytes <= share / 2)
		bytes *= 2;
	return bytes;
}

uint64_t pace_far_bytes(const struct pace_link *link)
{
	return MAX(FAR_BYTES / MAX(link->streams, 1U), FAR_BYTES_MIN);
}

uint64_t pace_window_bytes_max(const struct pace *p, const struct pace_link *link,
			       uint64_t read_bytes)
{
	uint64_t enough =
	    pace_is_near(p, link) ? floor_bytes(link, p->parts) : pace_far_bytes(link);

	return MAX(large_bytes(link, read_bytes), enough);
}

bool pace_parts_are_short(const struct pace *p, const struct pace_link *link, uint64_t window_bytes)
{
	return !pace_is_near(p, link) && window_bytes <= FAR_BYTES;
}

unsigned pace_parts(const struct pace *p, const struct pace_link *link, uint64_t window_bytes)
{
	if (pace_is_near(p, link))
		return p->parts;
	return pace_parts_are_short(p, link, window_bytes) ? PACE_PARTS_MAX : LONG_PARTS;
}

void pace_begin(struct pace *p, uint64_t now_ns)
{
	*p = (struct pace){.begun_ns = now_ns, .parts = PACE_PARTS_MIN, .left = 1, .rest = 1};
}

static void trial_begin(struct pace *p, uint64_t rate)
{
	if (p->parts == PACE_PARTS_MIN || p->parts == NEAR_PARTS_MAX)
		p->fewer = p->parts == NEAR_PARTS_MAX;
	p->before = p->parts;
	p->parts = p->fewer ? p->parts / 2 : p->parts * 2;
	p->base_bytes_per_s = rate;
	p->phase = PACE_SETTLE;
}

static void trial_end(struct pace *p, uint64_t rate)
{
	unsigned percent = p->fewer ? FEWER_PERCENT : MORE_PERCENT;
	bool keep = rate >= p->base_bytes_per_s / PERCENT * percent;

	if (!keep)
		p->parts = p->before;
	p->rest = keep && !p->fewer ? 1 : MIN(2 * p->rest, REST_MAX);
	p->fewer = keep ? p->fewer : !p->fewer; /* on in the same direction, or the other one */
	p->left = p->rest;
	p->phase = PACE_REST;
}

/* What a measure of a near link has found. */
static void pace_judge(struct pace *p, uint64_t took_ns)
{
	uint64_t rate;

	if (p->phase == PACE_SETTLE) {
		p->phase = PACE_TRIAL;
		return;
	}
	p->sum_bytes += p->bytes;
	p->sum_ns += took_ns;
	if (p->sum_bytes < TRIAL_BYTES)
		return;
	rate = rate_of(p->sum_bytes, p->sum_ns);
	p->sum_bytes = p->sum_ns = 0;
	if (p->phase == PACE_TRIAL)
		trial_end(p, rate);
	else if (--p->left == 0)
		trial_begin(p, rate);
}

static uint64_t measure_bytes(const struct pace *p, uint64_t window_bytes)
{
	if (p->phase == PACE_SETTLE)
		return window_bytes;
	return MAX(MEASURE_WINDOWS * window_bytes, MEASURE_BYTES_MIN);
}

void pace_read(struct pace *p, const struct pace_link *link, uint64_t bytes, uint64_t window_bytes,
	       uint64_t now_ns)
{
	/* Threads come out of order; and what is asked for at once takes a first byte time. */
	uint64_t since_ns = now_ns > p->begun_ns ? now_ns - p->begun_ns : 0;
	uint64_t took_ns = MAX(MAX(since_ns, link->first_byte_ns), UINT64_C(1));

	p->bytes += bytes;
	if (p->bytes < RATE_BYTES_MIN)
		return;
	if (!p->measured)
		p->rate_bytes_per_s = rate_of(p->bytes, took_ns);
	if (p->bytes < measure_bytes(p, window_bytes))
		return;
	/* On a near link that settles it reads what a larger window has left. */
	if (p->phase != PACE_SETTLE || !pace_is_near(p, link)) {
		p->rate_bytes_per_s = rate_of(p->bytes, took_ns);
		p->measured = true;
	}
	if (pace_is_near(p, link))
		pace_judge(p, took_ns);
	p->bytes = 0;
	p->begun_ns = MAX(now_ns, p->begun_ns);
}
