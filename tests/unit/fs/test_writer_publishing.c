/* SPDX-License-Identifier: Apache-2.0 */
/* What others do to a file while it is published, and after that was interrupted. */
#include <errno.h>

#include "write_bench.h"

static void stream(struct bench *b, uint64_t size)
{
	uint64_t at;

	for (at = 0; at < size; at += MIN(MIB, size - at))
		assert_int_equal(bench_write(b, at, MIN(MIB, size - at), 0), 0);
}

static struct played_fault play_interrupted(struct played *p, const struct xfer_op *op, unsigned n)
{
	bool hit = op->s3.verb == S3_COMPLETE_MULTIPART && n == 1;

	return (struct played_fault){.err = hit ? -EINTR : 0};
}

/* Its last part, which was sent short, has a hole behind it then. */
static void test_a_file_grows_after_a_killed_publication(void **state)
{
	uint64_t size = 2 * PART + MIB;
	unsigned how;

	for (how = 0; how < 3; how++) {
		bool final = true;
		struct bench b;

		bench_init(&b, &(struct bench_config){0});
		b.server.fault = play_interrupted;
		stream(&b, size);
		assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EINTR);
		assert_false(final);
		if (how == 0)
			assert_int_equal(bench_truncate(&b, size + 100), 0);
		else if (how == 1)
			assert_int_equal(bench_truncate(&b, 4 * PART + 100), 0);
		else
			assert_int_equal(bench_write(&b, 4 * PART, 100, 0), 0);
		bench_publish(&b, PUBLISH_NEW);
		bench_finish(&b);
	}
}

struct publisher {
	struct bench *bench;
	pthread_t thread;
	bool final;
	int rc;
};

static void *publish(void *ctx)
{
	struct publisher *p = ctx;

	p->rc = bench_try_publish(p->bench, PUBLISH_NEW, &p->final);
	return NULL;
}

/* Waits until it waits for the server. */
static void start_publication(struct publisher *p, struct bench *b)
{
	bool publishing = false;

	p->bench = b;
	assert_int_equal(pthread_create(&p->thread, NULL, publish, p), 0);
	while (!publishing) {
		writer_lock(b->w);
		publishing = b->w->publishing && b->w->sealing == 0;
		writer_unlock(b->w);
		sched_yield();
	}
}

/* A write of somebody else (the disk is full) fails the file, whose parts are all on the wire. */
static void test_a_write_fails_while_parts_are_published(void **state)
{
	struct publisher p = {0};
	struct bench b;

	bench_init(&b, &(struct bench_config){0});
	stream(&b, 2 * PART + 1);
	played_wait(&b.server, S3_UPLOAD_PART, 2);
	played_hold(&b.server, true);
	start_publication(&p, &b);
	played_wait(&b.server, S3_UPLOAD_PART, 3);
	writer_lock(b.w);
	assert_int_equal(writer_fail_locked(b.w, -ENOSPC), -ENOSPC);
	writer_unlock(b.w);
	assert_int_equal(writer_error(b.w), -ENOSPC);
	played_hold(&b.server, false);
	pthread_join(p.thread, NULL);
	assert_int_equal(p.rc, 0); /* it came first */
	bench_check_object(&b);
	assert_int_equal(writer_error(b.w), -ENOSPC);
	assert_int_equal(bench_write(&b, 0, 1, 0), -ENOSPC);
	bench_finish(&b);
}

/* The same while a part is still to be sent. */
static void test_a_write_fails_before_all_is_published(void **state)
{
	struct publisher p = {0};
	struct bench b;

	bench_init(&b, &(struct bench_config){0});
	stream(&b, PART + 1);
	played_wait(&b.server, S3_CREATE_MULTIPART, 1);
	played_hold(&b.server, true);
	assert_int_equal(bench_write(&b, PART + 1, PART, 0), 0);
	assert_int_equal(bench_write(&b, PART, 1, 7), 0); /* waits for the end of what was sent */
	start_publication(&p, &b);
	writer_lock(b.w);
	assert_int_equal(writer_fail_locked(b.w, -ENOSPC), -ENOSPC);
	writer_unlock(b.w);
	played_hold(&b.server, false);
	pthread_join(p.thread, NULL);
	assert_int_equal(p.rc, -ENOSPC);
	assert_true(p.final);
	assert_null(played_find(&b.server, "key"));
	bench_finish(&b);
}

/* The upload that a stream begins when the file is small again, to be one PUT, is let go of: it
 * carries the nonce of that. */
static void test_an_upload_that_comes_too_late(void **state)
{
	struct upload_attr attr = {0};
	struct publisher p = {0};
	bool waits = false;
	struct bench b;

	bench_init(&b, &(struct bench_config){0});
	stream(&b, 1000);
	b.w->starting = true; /* as writer_start_upload_locked */
	start_publication(&p, &b);
	while (!waits && writer_is_dirty(b.w)) {
		writer_lock(b.w);
		waits = __atomic_load_n(&b.w->owner.changed.waiters, __ATOMIC_SEQ_CST) > 0;
		writer_unlock(b.w);
		sched_yield();
	}
	writer_lock(b.w);
	assert_int_equal(upload_create(&b.writers->uploads, &b.w->owner, "key", 3, &attr,
				       b.w->nonce, 1, &b.w->upload),
			 0);
	b.w->starting = false;
	cond_broadcast(&b.w->owner.changed);
	writer_unlock(b.w);
	pthread_join(p.thread, NULL);
	assert_int_equal(p.rc, 0);
	assert_null(b.w->upload);
	bench_finish(&b);
}

/* A hole that is still being made in the spool is not read there. */
static void test_a_publication_waits_for_a_hole(void **state)
{
	struct publisher p = {0};
	struct bench b;

	bench_init(&b, &(struct bench_config){0});
	assert_int_equal(bench_write(&b, 0, PART, 0), 0);
	writer_lock(b.w);
	assert_int_equal(spill_locked(b.w, 0, PART), 0);
	assert_int_equal(extents_set(&b.w->map, 0, MIB, EXTENT_HOLE), 0); /* as writer_zero */
	b.w->spilling = true;
	writer_unlock(b.w);
	memset(b.bytes, 0, MIB);
	start_publication(&p, &b);
	assert_int_equal(spool_zero(&b.w->spool, 0, MIB), 0);
	writer_lock(b.w);
	b.w->spilling = false;
	cond_broadcast(&b.w->owner.changed);
	writer_unlock(b.w);
	pthread_join(p.thread, NULL);
	assert_int_equal(p.rc, 0);
	bench_check_object(&b);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_file_grows_after_a_killed_publication),
	    cmocka_unit_test(test_a_write_fails_while_parts_are_published),
	    cmocka_unit_test(test_a_write_fails_before_all_is_published),
	    cmocka_unit_test(test_an_upload_that_comes_too_late),
	    cmocka_unit_test(test_a_publication_waits_for_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
