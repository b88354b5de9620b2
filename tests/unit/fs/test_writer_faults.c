/* SPDX-License-Identifier: Apache-2.0 */
/* Every step of a publication fails, once or for good, with and without having been carried out. */
#include "write_bench.h"

#include <limits.h>

struct script {
	enum s3_verb verb;
	unsigned from, to; /* the how many-th of them */
	struct played_fault fault;
};

static struct played_fault play(struct played *p, const struct xfer_op *op, unsigned n)
{
	const struct script *s = p->fault_ctx;

	if (op->s3.verb == s->verb && n >= s->from && n <= s->to)
		return s->fault;
	return (struct played_fault){0};
}

static void setup(struct bench *b, struct script *s)
{
	bench_init(b, &(struct bench_config){0});
	b->server.fault_ctx = s;
	b->server.fault = play;
}

static int stream(struct bench *b, uint64_t size)
{
	uint64_t at;
	int rc = 0;

	for (at = 0; at < size && rc == 0; at += MIN(MIB, size - at))
		rc = bench_write(b, at, MIN(MIB, size - at), 0);
	return rc;
}

/* An error that stays: the old object does, too, and nothing of ours. */
static void test_a_step_that_fails_for_good(void **state)
{
	static const enum s3_verb verbs[] = {S3_CREATE_MULTIPART, S3_UPLOAD_PART,
					     S3_COMPLETE_MULTIPART, S3_PUT_OBJECT};
	static const int errors[] = {-EIO, -EACCES};
	size_t v, e;

	for (v = 0; v < ARRAY_SIZE(verbs); v++) {
		for (e = 0; e < ARRAY_SIZE(errors); e++) {
			struct script s = {verbs[v], 1, UINT_MAX, {.err = errors[e]}};
			bool final = false;
			struct bench b;
			int rc;

			setup(&b, &s);
			played_put(&b.server, "key", "old", 3);
			rc = stream(&b, verbs[v] == S3_PUT_OBJECT ? 100 : 4 * PART);
			if (rc == 0)
				rc = bench_try_publish(&b, PUBLISH_ALWAYS, &final);
			else
				final = true; /* it came early */
			assert_int_equal(rc, errors[e]);
			assert_true(final);
			assert_int_equal(writer_error(b.w), errors[e]);
			assert_int_equal(writer_write(b.w, 0,
						      &(struct fs_bytes){.data = "x", .length = 1},
						      NULL, NULL),
					 errors[e]);
			assert_int_equal(played_find(&b.server, "key")->size, 3);
			bench_finish(&b);
		}
	}
}

static void test_a_part_in_the_middle_fails(void **state)
{
	unsigned n;

	for (n = 1; n <= 5; n++) {
		struct script s = {S3_UPLOAD_PART, n, n, {.err = -EIO}};
		bool final = false;
		struct bench b;

		setup(&b, &s);
		if (stream(&b, 4 * PART + 5) == 0)
			assert_int_equal(bench_try_publish(&b, PUBLISH_ALWAYS, &final), -EIO);
		assert_null(played_find(&b.server, "key"));
		bench_finish(&b);
	}
}

static void test_a_lost_answer_to_complete_is_settled(void **state)
{
	static const struct {
		int err;
		bool ambiguous;
	} rows[] = {
	    {-EIO, true},		      /* lost, all tries */
	    {-ENXIO, true},		      /* lost, and the repeat finds no upload */
	    {-EEXIST, true},		      /* lost, and the repeat finds the object */
	    {-ESTALE, true}, {-ENXIO, false}, /* the server says no more than that */
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct script s = {
		    S3_COMPLETE_MULTIPART,
		    1,
		    1,
		    {.err = rows[i].err, .done = true, .ambiguous = rows[i].ambiguous}};
		struct bench b;

		setup(&b, &s);
		assert_int_equal(stream(&b, 3 * PART), 0);
		bench_publish(&b, PUBLISH_NEW);
		assert_int_equal(b.server.submitted[S3_HEAD_OBJECT], 1);
		bench_finish(&b);
	}
}

static void test_a_lost_answer_to_a_conditional_put_is_settled(void **state)
{
	static const int errors[] = {-EIO, -EEXIST};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		struct script s = {
		    S3_PUT_OBJECT, 1, 1, {.err = errors[i], .done = true, .ambiguous = true}};
		struct bench b;

		setup(&b, &s);
		assert_int_equal(stream(&b, 1000), 0);
		bench_publish(&b, PUBLISH_NEW);
		bench_finish(&b);
	}
}

/* Lost, and somebody else's object is there: never success. */
static void test_a_lost_complete_under_another_object(void **state)
{
	struct script s = {S3_COMPLETE_MULTIPART, 1, 1, {.err = -ENXIO, .ambiguous = true}};
	bool final = false;
	struct bench b;

	setup(&b, &s);
	assert_int_equal(stream(&b, 3 * PART), 0);
	played_put(&b.server, "key", "theirs", 6);
	assert_int_equal(bench_try_publish(&b, PUBLISH_ALWAYS, &final), -EIO);
	assert_true(final);
	assert_int_equal(played_find(&b.server, "key")->size, 6);
	bench_finish(&b);
}

static void test_conditions_are_kept(void **state)
{
	static const uint64_t sizes[] = {100, 3 * PART};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct script s = {S3_HEAD_BUCKET, 1, 0, {0}};
		bool final = false;
		struct bench b;

		setup(&b, &s);
		assert_int_equal(stream(&b, sizes[i]), 0);
		played_put(&b.server, "key", "theirs", 6);
		assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EEXIST);
		assert_true(final);
		assert_int_equal(played_find(&b.server, "key")->size, 6);
		bench_finish(&b);

		setup(&b, &s);
		assert_int_equal(stream(&b, sizes[i]), 0);
		bench_publish(&b, PUBLISH_NEW);
		assert_int_equal(bench_write(&b, sizes[i], 10, 3), 0);
		played_put(&b.server, "key", "theirs", 6);
		assert_int_equal(bench_try_publish(&b, PUBLISH_UNCHANGED, &final), -ESTALE);
		assert_true(final);
		bench_finish(&b);
	}
}

/* A server that ignores conditions: one look right before. */
static void test_conditions_by_looking(void **state)
{
	static const uint64_t sizes[] = {100, 3 * PART};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct script s = {S3_HEAD_BUCKET, 1, 0, {0}};
		bool final = false;
		struct bench b;

		setup(&b, &s);
		writers_set_conditions(b.writers, false, false);
		assert_int_equal(stream(&b, sizes[i]), 0);
		bench_publish(&b, PUBLISH_NEW);
		assert_int_equal(b.server.submitted[S3_HEAD_OBJECT], 1);
		assert_int_equal(bench_write(&b, 0, 10, 3), 0);
		played_put(&b.server, "key", "theirs", 6);
		assert_int_equal(bench_try_publish(&b, PUBLISH_UNCHANGED, &final), -ESTALE);
		assert_int_equal(played_find(&b.server, "key")->size, 6);
		bench_finish(&b);
	}
}

static void test_409_sends_all_parts_again(void **state)
{
	struct script s = {S3_COMPLETE_MULTIPART, 1, 2, {.err = -EAGAIN}};
	bool final = false;
	struct bench b;

	setup(&b, &s);
	assert_int_equal(stream(&b, 3 * PART + 5), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 3);
	assert_int_equal(b.server.submitted[S3_UPLOAD_PART], 12);
	bench_finish(&b);

	s.to = UINT_MAX; /* for ever */
	setup(&b, &s);
	assert_int_equal(stream(&b, 3 * PART), 0);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EIO);
	assert_true(final);
	bench_finish(&b);
}

/* 409, and bytes were dropped: a HEAD tells what stands in the way. */
static void test_409_without_all_bytes(void **state)
{
	struct script s = {S3_COMPLETE_MULTIPART, 1, UINT_MAX, {.err = -EAGAIN}};
	struct bench_config config = {
	    .memory_bytes = 16 * MIB, .stream_keep_bytes = 1, .spool_limit_bytes = 1};
	bool final = false;
	struct bench b;

	bench_init(&b, &config);
	b.server.fault_ctx = &s;
	b.server.fault = play;
	assert_int_equal(stream(&b, 20 * PART), 0);
	played_put(&b.server, "key", "theirs", 6);
	assert_int_equal(bench_try_publish(&b, PUBLISH_NEW, &final), -EEXIST);
	bench_finish(&b);
}

static void test_an_upload_that_vanished_is_begun_again(void **state)
{
	struct script s = {S3_UPLOAD_PART, 3, 3, {.err = -ENXIO}};
	struct bench b;

	setup(&b, &s);
	assert_int_equal(stream(&b, 5 * PART), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(b.server.submitted[S3_CREATE_MULTIPART], 2);
	bench_finish(&b);
}

struct killed {
	struct cancel cancel;
	struct played *server;
	enum s3_verb verb; /* killed once one of these waits for an answer */
};

static int poll_killed(struct cancel *c)
{
	struct killed *k = CONTAINER_OF(c, struct killed, cancel);

	SCOPED_LOCK(&k->server->lock);
	return k->server->submitted[k->verb] > 0 ? -EINTR : 0;
}

static void test_a_killed_closer(void **state)
{
	static const struct {
		enum s3_verb verb;
		uint64_t size;
	} rows[] = {
	    {S3_PUT_OBJECT, 100},
	    {S3_UPLOAD_PART, 4 * PART},
	    {S3_CREATE_MULTIPART, 4 * PART},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct script s = {S3_HEAD_BUCKET, 1, 0, {0}};
		struct published published;
		struct bench b;
		struct killed k = {{poll_killed}, &b.server, rows[i].verb};
		bool final = true;

		setup(&b, &s);
		if (rows[i].verb == S3_UPLOAD_PART)
			assert_int_equal(bench_write(&b, 0, PART + 1, 0), 0);
		played_wait(&b.server, S3_UPLOAD_PART, rows[i].verb == S3_UPLOAD_PART);
		played_hold(&b.server, true);
		assert_int_equal(stream(&b, rows[i].size), 0);
		assert_int_equal(
		    writer_publish(b.w, PUBLISH_NEW, NULL, &k.cancel, &published, &final), -EINTR);
		assert_false(final);
		assert_null(played_find(&b.server, "key"));
		played_hold(&b.server, false);
		if (i % 2 == 0)
			bench_publish(&b, PUBLISH_NEW); /* another handle's close */
		bench_finish(&b);
	}
}

/* Killed while Complete is on the wire, which the server carries out: the next try finds out. */
static struct played_fault play_killed(struct played *p, const struct xfer_op *op, unsigned n)
{
	struct killed *k = p->fault_ctx;

	if (op->s3.verb != S3_COMPLETE_MULTIPART || n > 1)
		return (struct played_fault){0};
	k->verb = S3_COMPLETE_MULTIPART;
	return (struct played_fault){-EINTR, true, true};
}

static void test_a_killed_complete(void **state)
{
	struct script s = {S3_HEAD_BUCKET, 1, 0, {0}};
	struct published published;
	struct bench b;
	struct killed k = {{poll_killed}, &b.server, S3_HEAD_BUCKET};
	bool final = true;

	setup(&b, &s);
	b.server.fault_ctx = &k;
	b.server.fault = play_killed;
	assert_int_equal(stream(&b, 3 * PART), 0);
	assert_int_equal(writer_publish(b.w, PUBLISH_NEW, NULL, &k.cancel, &published, &final),
			 -EINTR);
	assert_false(final);
	bench_publish(&b, PUBLISH_NEW);
	bench_finish(&b);
}

static void test_a_part_copy_of_a_replaced_base(void **state)
{
	struct script s = {S3_UPLOAD_PART_COPY, 1, UINT_MAX, {.err = -ESTALE}};
	bool final = false;
	struct bench b;

	setup(&b, &s);
	assert_int_equal(stream(&b, 4 * PART), 0);
	bench_publish(&b, PUBLISH_NEW);
	assert_int_equal(bench_write(&b, 4 * PART, 10, 3), 0);
	assert_int_equal(bench_try_publish(&b, PUBLISH_UNCHANGED, &final), -ESTALE);
	assert_true(final);
	bench_finish(&b);
}

static void test_random_faults(void **state)
{
	unsigned seed;

	for (seed = 1; seed <= 60; seed++) {
		static const enum s3_verb verbs[] = {S3_CREATE_MULTIPART, S3_UPLOAD_PART,
						     S3_COMPLETE_MULTIPART, S3_PUT_OBJECT,
						     S3_HEAD_OBJECT};
		static const int errors[] = {-EIO, -ENXIO, -EAGAIN, -EEXIST, -ESTALE};
		struct bench_config config = {.seed = seed};
		bool final = false, old;
		struct script s;
		struct bench b;
		int rc;

		srand(seed);
		s.verb = verbs[rand() % 5];
		s.from = 1 + (unsigned)rand() % 3;
		s.to = s.from + (unsigned)rand() % 2;
		s.fault = (struct played_fault){errors[rand() % 5], rand() % 2, true};
		if (s.verb == S3_CREATE_MULTIPART) /* its id would be known to nobody */
			s.fault.done = false;
		bench_init(&b, &config);
		b.server.fault_ctx = &s;
		b.server.fault = play;
		old = rand() % 2;
		if (old)
			played_put(&b.server, "key", "old", 3);
		rc = stream(&b, rand() % 3 ? 3 * PART + 7 : 500);
		if (rc == 0)
			rc = bench_try_publish(&b, old ? PUBLISH_ALWAYS : PUBLISH_NEW, &final);
		if (rc == 0)
			bench_check_object(&b);
		bench_finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_step_that_fails_for_good),
	    cmocka_unit_test(test_a_part_in_the_middle_fails),
	    cmocka_unit_test(test_a_lost_answer_to_complete_is_settled),
	    cmocka_unit_test(test_a_lost_answer_to_a_conditional_put_is_settled),
	    cmocka_unit_test(test_a_lost_complete_under_another_object),
	    cmocka_unit_test(test_conditions_are_kept),
	    cmocka_unit_test(test_conditions_by_looking),
	    cmocka_unit_test(test_409_sends_all_parts_again),
	    cmocka_unit_test(test_409_without_all_bytes),
	    cmocka_unit_test(test_an_upload_that_vanished_is_begun_again),
	    cmocka_unit_test(test_a_killed_closer),
	    cmocka_unit_test(test_a_killed_complete),
	    cmocka_unit_test(test_a_part_copy_of_a_replaced_base),
	    cmocka_unit_test(test_random_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
