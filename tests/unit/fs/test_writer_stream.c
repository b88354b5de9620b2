/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a stream that are hashed two at a time: who waits for whom, and what ends the wait. */
#include <errno.h>

#include <pailfs/clock.h>

#include "waiting.h"

static void test_a_full_part_waits_for_the_next(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 0);
	assert_int_equal(bench_write(&b, 2 * PART, 1, 0), 0);
	assert_false(b.rest); /* who waits sends it, too */
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	bench_publish(&b, PUBLISH_NEW); /* the server checks the hashes */
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

/* The write that fills the part ends with it: bytes behind were there before. */
static void test_a_part_is_filled_last(void **state)
{
	struct waiting r;
	struct bench b;
	uint64_t at;

	bench_init(&b, &waiting_patient);
	assert_int_equal(bench_write(&b, PART, 1, 0), 0);
	for (at = 0; at < PART - MIB; at += MIB)
		assert_int_equal(bench_write(&b, at, MIB, 0), 0);
	b.owes = true;
	b.w->filled_ns = clock_now_ns() - WAITING_LONG_NS / 3;
	assert_int_equal(bench_write(&b, at, MIB, 0), 0);
	assert_true(b.rest);
	waiting_start(&b, &r, PART - 1);
	waiting_fill_second(&b);
	waiting_join(&r);
	writer_lock(b.w);
	assert_int_not_equal(upload_part_state_locked(b.w->upload, 1), UPLOAD_PART_NONE);
	assert_int_not_equal(upload_part_state_locked(b.w->upload, 2), UPLOAD_PART_NONE);
	writer_unlock(b.w);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

static void test_other_rests_are_owed_meanwhile(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(bench_write(&b, 2 * PART, PART + 1, 0), 0);
	assert_true(b.rest); /* the third; the second has a hole */
	writer_send_rest(b.w, 3 * PART, 3 * PART + 1);
	assert_int_equal(bench_write(&b, PART + 1, PART - 1, 0), 0);
	assert_false(b.rest);
	waiting_join(&r);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 4);
	bench_finish(&b);
}

static void test_a_publication_does_not_wait(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	waiting_join(&r);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_finish(&b);
}

static void test_the_end_of_a_writer_ends_the_wait(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	writer_destroy(TAKE(b.w));
	waiting_join(&r);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 0);
	bench_finish(&b);
}

/* The part goes out although nobody writes any more. */
static void check_goes_alone(const struct bench_config *config, uint64_t filling_ns)
{
	uint64_t began_ns = clock_now_ns();
	struct bench b;

	waiting_prepare(&b, config, PART, filling_ns);
	writer_send_rest(b.w, PART, PART + 1);
	assert_true(clock_now_ns() - began_ns < WAITING_LONG_NS / 3);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_what_is_not_signed_goes_alone(void **state)
{
	struct bench b;

	waiting_prepare(&b, &waiting_patient, PART, WAITING_LONG_NS / 3);
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
	check_goes_alone(&waiting_patient, NS_PER_MS);
	/* it is slow */
	check_goes_alone(&waiting_patient, WAITING_LONG_NS / 3 * 2);
	/* there is little memory */
	check_goes_alone(
	    &(struct bench_config){.pair_wait_ns = WAITING_LONG_NS, .memory_bytes = 32 * MIB},
	    WAITING_LONG_NS / 3);
	check_goes_alone(&(struct bench_config){0}, WAITING_LONG_NS / 3);
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

/* Nobody fills the next part in time: it is its own writer's rest then. */
static void test_the_time_runs_out(void **state)
{
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	waiting_time_is_up(b.w);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	assert_true(b.rest);
	writer_send_rest(b.w, PART + 1, 2 * PART + 1);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 3);
	bench_finish(&b);
}

/* The how many-th part fails. */
struct failing {
	unsigned n;
	int err;
};

static struct played_fault fail_part(struct played *p, const struct xfer_op *op, unsigned n)
{
	const struct failing *f = p->fault_ctx;
	bool hit = op->s3.verb == S3_UPLOAD_PART && n == f->n;

	return (struct played_fault){.err = hit ? f->err : 0};
}

static void begin_failing(struct bench *b, struct failing *f)
{
	bench_init(b, &waiting_patient);
	b->server.fault_ctx = f;
	b->server.fault = fail_part;
	played_hold(&b->server, true);
}

static void wait_for_error(struct bench *b)
{
	int err = 0;

	while (err == 0) {
		writer_lock(b->w);
		err = upload_error_locked(b->w->upload);
		writer_unlock(b->w);
		sched_yield();
	}
}

/* The first part fails while the second one waits. */
static void fail_before(struct bench *b, struct failing *f, struct waiting *r)
{
	begin_failing(b, f);
	waiting_fill(b, 2 * PART, WAITING_LONG_NS / 3);
	waiting_start(b, r, 2 * PART);
	played_hold(&b->server, false);
	wait_for_error(b);
}

static void test_the_part_before_fails(void **state)
{
	struct failing f = {1, -EIO};
	bool final = false;
	struct bench b;
	struct waiting r;

	fail_before(&b, &f, &r);
	assert_int_equal(bench_write(&b, 2 * PART + 1, PART, 0), -EIO);
	waiting_join(&r);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EIO);
	assert_true(final);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 1);
	bench_finish(&b);
}

/* The same, but the upload is gone, and another one will do. */
static void test_the_upload_before_is_gone(void **state)
{
	struct failing f = {1, -ENXIO};
	struct bench b;
	struct waiting r;

	fail_before(&b, &f, &r);
	assert_int_equal(bench_write(&b, 2 * PART + 1, PART, 0), 0);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 3); /* both, of a new upload */
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 5);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 2);
	bench_finish(&b);
}

/* One of two that were hashed at once. */
static void test_one_of_two_fails(void **state)
{
	static const struct failing rows[] = {{1, -EIO}, {2, -EIO}, {1, -ENXIO}, {2, -ENXIO}};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failing f = rows[i];
		bool final = false;
		struct bench b;
		struct waiting r;

		begin_failing(&b, &f);
		waiting_fill(&b, PART, WAITING_LONG_NS / 3);
		waiting_start(&b, &r, PART);
		waiting_fill_second(&b);
		waiting_join(&r);
		played_hold(&b.server, false);
		if (f.err == -ENXIO) {
			bench_publish(&b, PUBLISH_NEW);
		} else {
			assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), f.err);
			assert_true(final);
			assert_null(played_find(&b.server, "key"));
		}
		bench_finish(&b);
	}
}

/* Pieces of parts of another file take all memory: what waits goes, and nothing is spilled. */
static void test_memory_runs_short(void **state)
{
	static const unsigned char data[128 * KIB];
	struct fs_bytes bytes = {.data = data, .length = sizeof(data)};
	struct writer *other;
	uint64_t at = 0;
	struct bench b;
	struct waiting r;

	waiting_begin(&b, &r);
	assert_int_equal(writer_create(b.writers, "other", 5, NULL, NULL, false, &other), 0);
	for (; waiting_partner(b.w) != 0; at += PART)
		assert_int_equal(writer_write(other, at, &bytes, NULL, NULL), 0);
	waiting_join(&r);
	played_wait(&b.server, S3_UPLOAD_PART, 1);
	writer_lock(other);
	assert_int_equal(other->spool.fd, -1);
	writer_unlock(other);
	writer_destroy(other);
	b.owes = false;
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void *send_first(void *ctx)
{
	writer_send_rest(ctx, 0, PART + 1);
	return NULL;
}

/* Who sends a part waits for an upload that is let go of, and finds another grid and attributes. */
static void test_all_changes_before_a_part_is_sent(void **state)
{
	struct publish_attr before = {.content_type = "text/before"},
			    after = {.content_type = "text/after"};
	struct bench b;
	uint32_t waiters = 0;
	pthread_t thread;

	waiting_prepare(&b, &(struct bench_config){0}, PART, 0);
	assert_int_equal(writer_set_attr(b.w, &before), 0);
	b.w->starting = true;
	assert_int_equal(pthread_create(&thread, NULL, send_first, b.w), 0);
	while (waiters == 0) {
		writer_lock(b.w);
		waiters = __atomic_load_n(&b.w->owner.changed.waiters, __ATOMIC_SEQ_CST);
		writer_unlock(b.w);
		sched_yield();
	}
	assert_int_equal(writer_set_attr(b.w, &after), 0);
	writer_lock(b.w);
	plan_init(&b.w->plan, PART, 60 * GIB, 64 * MIB);
	b.w->starting = false;
	cond_broadcast(&b.w->owner.changed);
	writer_unlock(b.w);
	pthread_join(thread, NULL);
	assert_string_equal(upload_attributes(b.w->upload)->content_type, "text/after");
	assert_int_equal(bench_write(&b, PART + 1, 2 * PART, 0), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 2);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_full_part_waits_for_the_next),
	    cmocka_unit_test(test_a_part_is_filled_last),
	    cmocka_unit_test(test_other_rests_are_owed_meanwhile),
	    cmocka_unit_test(test_a_publication_does_not_wait),
	    cmocka_unit_test(test_the_end_of_a_writer_ends_the_wait),
	    cmocka_unit_test(test_what_is_not_signed_goes_alone),
	    cmocka_unit_test(test_a_part_goes_alone),
	    cmocka_unit_test(test_a_part_that_was_cut_is_not_sent),
	    cmocka_unit_test(test_the_time_runs_out),
	    cmocka_unit_test(test_the_part_before_fails),
	    cmocka_unit_test(test_the_upload_before_is_gone),
	    cmocka_unit_test(test_one_of_two_fails),
	    cmocka_unit_test(test_memory_runs_short),
	    cmocka_unit_test(test_all_changes_before_a_part_is_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
