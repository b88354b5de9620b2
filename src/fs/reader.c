/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out what window.c plans: asks the cache ahead of a handle's reads, then reads.
 *
 * FUSE threads call reader_read, many at once for one handle. The handle's lock is held while a
 * read is planned and asked for (cache_want never waits), not while it waits for bytes.
 *
 * Each stream is a flow of its own in the cache and the scheduler; reads that belong to no stream
 * share one number of the handle, for fairness only: nothing is fetched ahead for it.
 */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#include "window.h"

#define EPOCH_NS (2 * NS_PER_S)
#define FAILURE_NS (250 * NS_PER_MS)

struct fs_streams {
	/* set at creation */
	const struct clock *clock;
	struct lock lock;
	/* under the lock */
	uint64_t epoch;
	unsigned now, before;
};

/*
 * A read that failed lately. What the kernel reads ahead and does not get, it asks for once more,
 * for the program that waits: that must not take another op_timeout.
 */
struct reader_failure {
	uint64_t start, end, until_ns;
	int err;
};

struct reader {
	/* set at creation */
	struct reader_config config;
	struct xfer *xfer;
	uint64_t random_flow;
	uint64_t part_bytes_max;
	struct lock lock;
	/* under the lock */
	struct window window;
	uint64_t epochs[WINDOW_STREAMS]; /* when each stream last counted as active */
	struct cache_version *version;	 /* referenced; NULL: has not read */
	struct reader_failure failure;
};

int fs_streams_create(struct fs_streams **ret)
{
	return fs_streams_create_on(clock_system(), ret);
}

int fs_streams_create_on(const struct clock *clock, struct fs_streams **ret)
{
	struct fs_streams *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->clock = clock;
	lock_init(&s->lock, LOCK_LEAF);
	*ret = s;
	return 0;
}

void fs_streams_destroy(struct fs_streams *s)
{
	if (s == NULL)
		return;
	lock_finish(&s->lock);
	free(s);
}

static void streams_advance_locked(struct fs_streams *s)
{
	uint64_t epoch = s->clock->now_ns(s->clock) / EPOCH_NS + 1;

	lock_assert_held(&s->lock);
	if (epoch == s->epoch)
		return;
	s->before = epoch == s->epoch + 1 ? s->now : 0;
	s->now = 0;
	s->epoch = epoch;
}

unsigned fs_streams_active(struct fs_streams *s)
{
	SCOPED_LOCK(&s->lock);
	streams_advance_locked(s);
	return MAX(s->now, s->before);
}

void fs_streams_note(struct fs_streams *s, uint64_t *epoch)
{
	SCOPED_LOCK(&s->lock);
	streams_advance_locked(s);
	if (*epoch == s->epoch)
		return;
	*epoch = s->epoch;
	s->now++;
}

void fs_streams_leave(struct fs_streams *s, uint64_t *epoch)
{
	SCOPED_LOCK(&s->lock);
	streams_advance_locked(s);
	if (*epoch == s->epoch)
		s->now--;
	else if (*epoch != 0 && *epoch + 1 == s->epoch)
		s->before--;
	*epoch = 0;
}

/* The most that a handle may have ahead. */
static uint64_t window_ceiling(uint64_t memory_bytes)
{
	return memory_bytes / 4 * 3;
}

uint64_t reader_part_share(uint64_t memory_bytes, unsigned parallel)
{
	return window_ceiling(memory_bytes) / parallel;
}

static uint64_t part_ceiling(const struct reader_config *config)
{
	uint64_t bytes =
	    MIN(config->part_bytes, reader_part_share(config->memory_bytes, config->parallel));

	return MAX(bytes - bytes % CACHE_BLOCK_BYTES, (uint64_t)CACHE_BLOCK_BYTES);
}

int reader_create(const struct reader_config *config, struct xfer *xfer, struct reader **ret)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->config = *config;
	r->xfer = xfer;
	r->random_flow = xfer_flow_new(xfer);
	r->part_bytes_max = part_ceiling(config);
	lock_init(&r->lock, LOCK_HANDLE);
	*ret = r;
	return 0;
}

static void reader_reset_locked(struct reader *r)
{
	int i;

	lock_assert_held(&r->lock);
	for (i = 0; i < WINDOW_STREAMS; i++) {
		if (r->window.streams[i].window_bytes > 0)
			cache_flow_end(r->version, r->window.streams[i].flow, 0);
		fs_streams_leave(r->config.shared, &r->epochs[i]);
	}
	r->window = (struct window){0};
	r->failure = (struct reader_failure){0};
	cache_version_unref(r->version);
	r->version = NULL;
}

/* Reads are of v from now on. */
static void reader_use_locked(struct reader *r, struct cache_version *v)
{
	if (r->version == v)
		return;
	reader_reset_locked(r);
	cache_version_ref(v);
	r->version = v;
}

void reader_reset(struct reader *r)
{
	SCOPED_LOCK(&r->lock);
	reader_reset_locked(r);
}

void reader_destroy(struct reader *r)
{
	if (r == NULL)
		return;
	reader_reset(r);
	lock_finish(&r->lock);
	free(r);
}

static struct window_limits reader_limits(const struct reader *r)
{
	unsigned active = MAX(fs_streams_active(r->config.shared), 1U);
	uint64_t share = window_ceiling(r->config.memory_bytes) / active;
	uint64_t all_parts = 2 * r->part_bytes_max * r->config.parallel; /* half of them arriving */

	return (struct window_limits){
	    .part_bytes_max = r->part_bytes_max,
	    .window_bytes_max = MAX(MIN(share, all_parts), WINDOW_FIRST_BYTES),
	    .parallel = MAX(r->config.parallel / active, 1U),
	    .link = {.first_byte_ns = xfer_first_byte_ns(r->xfer), .streams = active},
	};
}

/*
 * Asks for a range of the plan's stream, in one GET if none of it is there. False: memory was
 * short.
 */
static bool reader_want_locked(struct reader *r, struct window_plan *plan,
			       const struct window_range *range, enum xfer_class class)
{
	const struct cache_want want = {
	    .offset = range->start,
	    .length = range->end - range->start,
	    .class = class,
	    .flow = r->window.streams[plan->stream].flow,
	    .passed = plan->passed,
	};
	uint64_t upto;

	lock_assert_held(&r->lock);
	upto = cache_want(r->version, &want);
	plan->passed = 0; /* said once */
	window_asked(&r->window, plan->stream, upto);
	return upto >= range->end;
}

/* Asks for what is to come, as far as window and memory allow. */
static void reader_ask_locked(struct reader *r, struct window_plan *plan,
			      const struct window_limits *limits)
{
	uint64_t size = cache_version_size(r->version);
	struct window_range range;
	bool more = true;

	if (plan->verdict == WINDOW_BEGIN)
		more = reader_want_locked(r, plan, &plan->first, XFER_READ);
	while (more && window_next(&r->window, plan->stream, limits, size, &range))
		more = reader_want_locked(r, plan, &range, XFER_AHEAD);
}

static uint64_t reader_now_ns(const struct reader *r)
{
	const struct clock *clock = r->config.shared->clock;

	return clock->now_ns(clock);
}

/* Plans a read and asks for what is to come. Returns the flow that the read belongs to. */
static uint64_t reader_plan(struct reader *r, struct cache_version *v, uint64_t offset,
			    uint64_t length)
{
	struct window_limits limits = reader_limits(r);
	const struct window_request request = {.offset = offset,
					       .length = length,
					       .covered = cache_covered(v, offset, length),
					       .there = cache_has(v, offset, length),
					       .now_ns = reader_now_ns(r)};
	struct window_stream *s;
	struct window_plan plan;

	SCOPED_LOCK(&r->lock);
	reader_use_locked(r, v);
	window_read(&r->window, &limits, cache_version_size(v), &request, &plan);
	if (plan.ended_flow != 0)
		cache_flow_end(v, plan.ended_flow, 0);
	if (plan.stream < 0)
		return r->random_flow;
	s = &r->window.streams[plan.stream];
	if (plan.verdict == WINDOW_BEGIN) {
		s->flow = xfer_flow_new(r->xfer);
		fs_streams_leave(r->config.shared, &r->epochs[plan.stream]);
	}
	if (s->confirmed)
		fs_streams_note(r->config.shared, &r->epochs[plan.stream]);
	reader_ask_locked(r, &plan, &limits);
	return plan.verdict == WINDOW_JUMP ? r->random_flow : s->flow;
}

void reader_expect(struct reader *r, struct cache_version *v)
{
	uint64_t size = cache_version_size(v);

	if (size > 0 && size <= CACHE_BLOCK_BYTES && !xfer_is_waiting(r->xfer, XFER_READ))
		reader_plan(r, v, 0, size);
}

/* The errno of a read that held this offset of v and failed just now, or 0. */
static int reader_failed(struct reader *r, const struct cache_version *v, uint64_t offset)
{
	SCOPED_LOCK(&r->lock);
	const struct reader_failure *f = &r->failure;

	if (r->version != v || offset < f->start || offset >= f->end)
		return 0;
	return reader_now_ns(r) < f->until_ns ? f->err : 0;
}

static void reader_note_failure(struct reader *r, const struct cache_version *v, uint64_t offset,
				uint64_t length, int err)
{
	uint64_t now_ns = reader_now_ns(r);
	struct reader_failure *f = &r->failure;

	SCOPED_LOCK(&r->lock);
	if (r->version != v)
		return; /* the handle reads another one by now */
	if (now_ns >= f->until_ns)
		f->start = f->end = offset;
	f->start = MIN(f->start, offset); /* those that wait together fail together */
	f->end = MAX(f->end, offset + length);
	f->until_ns = now_ns + FAILURE_NS;
	f->err = err;
}

int reader_read(struct reader *r, struct cache_version *v, uint64_t offset, size_t length,
		struct cancel *cancel, struct view *ret)
{
	uint64_t size = cache_version_size(v);
	int rc;

	if (offset >= size || length == 0) {
		*ret = (struct view){0};
		return 0;
	}
	length = MIN(length, size - offset);
	rc = reader_failed(r, v, offset);
	if (rc < 0)
		return rc;
	rc = cache_read(v, offset, length, reader_plan(r, v, offset, length), cancel, ret);
	if (rc == -EIO)
		reader_note_failure(r, v, offset, length, rc);
	return rc;
}
