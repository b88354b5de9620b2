/* SPDX-License-Identifier: Apache-2.0 */
/* How long a part took to fill is set by hand, so that no test depends on the machine's speed. */
#include "waiting.h"

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

const struct bench_config waiting_patient = {.pair_wait_ns = WAITING_LONG_NS};

static void *send_rest(void *ctx)
{
	struct waiting *r = ctx;

	writer_send_rest(r->w, r->end, r->end + 1);
	return NULL;
}

void waiting_fill(struct bench *b, uint64_t end, uint64_t filling_ns)
{
	uint64_t at;

	for (at = 0; at < end; at += MIB)
		assert_int_equal(bench_write(b, at, MIB, 0), 0);
	b->owes = true;
	b->w->filled_ns = clock_now_ns() - filling_ns;
	assert_int_equal(bench_write(b, end, 1, 0), 0);
	assert_true(b->rest);
}

void waiting_prepare(struct bench *b, const struct bench_config *config, uint64_t end,
		     uint64_t filling_ns)
{
	bench_init(b, config);
	waiting_fill(b, end, filling_ns);
}

unsigned waiting_partner(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	return w->partner;
}

void waiting_start(struct bench *b, struct waiting *r, uint64_t end)
{
	*r = (struct waiting){.w = b->w, .end = end};
	assert_int_equal(pthread_create(&r->thread, NULL, send_rest, r), 0);
	while (waiting_partner(b->w) == 0)
		sched_yield();
}

void waiting_begin_at(struct bench *b, struct waiting *r, unsigned number)
{
	waiting_prepare(b, &waiting_patient, number * PART, WAITING_LONG_NS / 3);
	waiting_start(b, r, number * PART);
	assert_int_equal(waiting_partner(b->w), number + 1);
}

void waiting_begin(struct bench *b, struct waiting *r)
{
	waiting_begin_at(b, r, 1);
	assert_int_equal(b->server.submitted[S3_CREATE_MULTIPART], 0);
}

void waiting_fill_second(struct bench *b)
{
	assert_int_equal(bench_write(b, PART + 1, PART - 1, 0), 0);
	assert_int_equal(bench_write(b, 2 * PART, 1, 0), 0);
	assert_false(b->rest);
}

void waiting_join(struct waiting *r)
{
	uint64_t began_ns = clock_now_ns();

	pthread_join(r->thread, NULL);
	assert_true(clock_now_ns() - began_ns < WAITING_LONG_NS / 3);
}

void waiting_time_is_up(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	assert_true(w->partner != 0);
	w->patient_until_ns = 1;
	cond_broadcast(&w->owner.changed);
}
