/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a stream that are hashed two at a time: who waits for whom, and what ends the wait. */
#include <errno.h>

#include <pailfs/clock.h>

#include "write_bench.h"

#define LONG_NS (60 * NS_PER_S)

/* The rest of the first part, on a thread of its own. */
struct rest {
	struct writer *w;
	pthread_t thread;
};

static void *send_rest(void *ctx)
{
	struct rest *r = ctx;

	writer_send_rest(r->w, PART, PART + 1);
	return NULL;
}

/* A stream whose first part is full, and took so long to fill. */
static void begin(struct bench *b, const struct bench_config *config, uint64_t filling_ns)
{
	uint64_t at;

	bench_init(b, config);
	b->owes = true;
	for (at = 0; at < PART; at += MIB)
		assert_int_equal(bench_write(b, at, MIB, 0), 0);
	b->w->filled_ns = clock_now_ns() - filling_ns;
	assert_int_equal(bench_write(b, PART, 1, 0), 0);
	assert_true(b->rest);
}

/* A stream whose first part waits for the second. */
static void begin_waiting(struct bench *b, struct rest *r)
{
	unsigned partner = 0;

	begin(b, &(struct bench_config){.pair_wait_ns = LONG_NS}, LONG_NS / 3);
	r->w = b->w;
	assert_int_equal(pthread_create(&r->thread, NULL, send_rest, r), 0);
	while (partner == 0) {
		writer_lock(b->w);
		partner = b->w->partner;
		writer_unlock(b->w);
		sched_yield();
	}
	assert_int_equal(partner, 2);
	assert_int_equal(b->server.submitted[S3_CREATE_MULTIPART], 0);
}

static void test_a_full_part_waits_for_the_next(void **state)
{
	struct bench b;
	struct rest r;

	begin_waiting(&b, &r);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	assert_int_equal(bench_write(&b, 2 * PART, 1, 0), 0);
	assert_false(b.rest); /* who waits sends it, too */
	pthread_join(r.thread, NULL);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	bench_publish(&b, PUBLISH_NEW); /* the server checks the hashes */
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

static void test_other_rests_are_owed_meanwhile(void **state)
{
	struct bench b;
	struct rest r;

	begin_waiting(&b, &r);
	assert_int_equal(bench_write(&b, 2 * PART, PART + 1, 0), 0);
	assert_true(b.rest); /* the third; the second has a hole */
	writer_send_rest(b.w, 3 * PART, 3 * PART + 1);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	pthread_join(r.thread, NULL);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 4);
	bench_finish(&b);
}

static void test_a_publication_does_not_wait(void **state)
{
	uint64_t began_ns = clock_now_ns();
	struct bench b;
	struct rest r;

	begin_waiting(&b, &r);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	pthread_join(r.thread, NULL);
	assert_true(clock_now_ns() - began_ns < LONG_NS / 3);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_finish(&b);
}

static void test_the_end_of_a_writer_ends_the_wait(void **state)
{
	uint64_t began_ns = clock_now_ns();
	struct bench b;
	struct rest r;

	begin_waiting(&b, &r);
	writer_destroy(TAKE(b.w));
	pthread_join(r.thread, NULL);
	assert_true(clock_now_ns() - began_ns < LONG_NS / 3);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 0);
	bench_finish(&b);
}

/* The part goes out although nobody writes any more. */
static void check_goes_alone(const struct bench_config *config, uint64_t filling_ns)
{
	uint64_t began_ns = clock_now_ns();
	struct bench b;

	begin(&b, config, filling_ns);
	writer_send_rest(b.w, PART, PART + 1);
	assert_true(clock_now_ns() - began_ns < LONG_NS / 3);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_what_is_not_signed_goes_alone(void **state)
{
	struct bench b;

	begin(&b, &(struct bench_config){.pair_wait_ns = LONG_NS}, LONG_NS / 3);
	b.server.https = true;
	writer_send_rest(b.w, PART, PART + 1);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_a_part_goes_alone(void **state)
{
	/* the writer pauses */
	check_goes_alone(&(struct bench_config){.pair_wait_ns = LONG_NS}, NS_PER_MS);
	/* it is slow */
	check_goes_alone(&(struct bench_config){.pair_wait_ns = LONG_NS}, LONG_NS / 3 * 2);
	/* there is little memory */
	check_goes_alone(&(struct bench_config){.pair_wait_ns = LONG_NS, .memory_bytes = 32 * MIB},
			 LONG_NS / 3);
	check_goes_alone(&(struct bench_config){0}, LONG_NS / 3);
}

/* The file is shorter than it was when the part was full: a rest has no lock of the file. */
static void test_a_part_that_was_cut_is_not_sent(void **state)
{
	const struct plan_part parts[] = {{.number = 1, .offset = 0, .length = PART},
					  {.number = 2, .offset = PART, .length = PART}};
	struct publish_attr attr = {0};
	struct bench b;

	bench_init(&b, &(struct bench_config){0});
	assert_int_equal(bench_write(&b, 0, MIB, 0), 0);
	assert_int_equal(bench_write(&b, PART, PART - 1, 0), 0);
	writer_lock(b.w);
	assert_int_equal(writer_start_upload_locked(b.w, &attr), 0);
	assert_int_equal(body_send_parts_locked(b.w, parts, BODIES_MAX), -EAGAIN);
	assert_int_equal(body_send_parts_locked(b.w, &parts[1], 1), -EAGAIN);
	writer_unlock(b.w);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_full_part_waits_for_the_next),
	    cmocka_unit_test(test_other_rests_are_owed_meanwhile),
	    cmocka_unit_test(test_a_publication_does_not_wait),
	    cmocka_unit_test(test_the_end_of_a_writer_ends_the_wait),
	    cmocka_unit_test(test_what_is_not_signed_goes_alone),
	    cmocka_unit_test(test_a_part_goes_alone),
	    cmocka_unit_test(test_a_part_that_was_cut_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
