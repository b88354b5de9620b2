/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that change objects through the scheduler: bodies, slow verbs, refused features, doubts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "fake.h"

#define OPS_MAX 8
#define RETRY_MAX_NS (21 * NS_PER_S) /* no pause is longer */

#define REFUSED                                                                                    \
	{                                                                                          \
		.status = 501, .body = "<Error><Code>NotImplemented</Code></Error>"                \
	}
#define DONE                                                                                       \
	{                                                                                          \
		.status = 200, .headers = { "etag", "\"new\"" }                                    \
	}

static struct fake fake;
static struct fake_op ops[OPS_MAX];
static const struct iovec abc[] = {{(char *)(uintptr_t) "a", 1}, {(char *)(uintptr_t) "bc", 2}};
static const struct s3_part part = {.number = 1, .etag = "\"p\"", .size = 3};
static const struct fake_reply done = DONE;
static const struct fake_reply completed = {
    .status = 200,
    .body = "<CompleteMultipartUploadResult><ETag>\"new\"</ETag></CompleteMultipartUploadResult>"};

static int setup(void **state)
{
	fake_init_at(
	    &fake,
	    (struct xfer_config){.parallel = 4, .retries = 3, .server_timeout_ns = 600 * NS_PER_S},
	    "https://127.0.0.1:9000");
	return 0;
}

static int setup_plain_and_limited(void **state)
{
	fake_init(&fake, (struct xfer_config){
			     .parallel = 4,
			     .retries = 3,
			     .upload = {.rate_bytes_per_s = 10000000, .burst_bytes = 1000000}});
	return 0;
}

static int teardown(void **state)
{
	fake_finish(&fake);
	for (unsigned i = 0; i < OPS_MAX; i++)
		xfer_op_finish(&ops[i].op);
	memset(ops, 0, sizeof(ops));
	return 0;
}

static void assert_ended(const struct fake_op *o, int err)
{
	assert_int_equal(o->dones, 1);
	assert_int_equal(o->op.s3.result.err, err);
}

static struct s3_op *begin(unsigned i, enum s3_verb verb, enum xfer_class class)
{
	struct s3_op *op = &ops[i].op.s3;

	fake_op_init(&ops[i], i, verb, class);
	op->upload_id = "u";
	op->part_number = 1;
	op->parts = &part;
	op->part_count = 1;
	op->copy.key = "s";
	op->copy.key_length = 1;
	op->body = (struct s3_body){.iov = abc, .iov_count = 2, .length = 3};
	assert_int_equal(s3_body_seal(&op->body, true, true), 0);
	return op;
}

static void submit(unsigned i, enum s3_verb verb, enum xfer_class class)
{
	begin(i, verb, class);
	xfer_submit(fake.x, &ops[i].op);
}

static void answer(unsigned i, const struct fake_reply *reply)
{
	fake_answer(&fake, fake_request(&ops[i]), reply);
}

/* ---- bodies ---- */

static void test_each_try_sends_the_body(void **state)
{
	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	for (int try = 0; try < 3; try++) {
		const struct http_request *r = fake_request(&ops[0]);

		assert_ptr_equal(r->body, abc);
		assert_int_equal(r->body_count, 2);
		assert_int_equal(r->body_length, 3);
		assert_string_equal(fake_line(&ops[0], "x-amz-checksum-crc32c"), "Nks/tw==");
		assert_string_equal(fake_line(&ops[0], "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
		answer(0, &(struct fake_reply){.error = HTTP_RESET}); /* fault 8 */
		fake_advance(&fake, RETRY_MAX_NS);
	}
	answer(0, &done);
	assert_ended(&ops[0], 0);
	assert_string_equal(ops[0].op.s3.object.etag, "\"new\"");
	struct xfer_stats stats;
	xfer_stats(fake.x, &stats);
	assert_int_equal(stats.bytes_up, 3);
}

static void test_a_body_from_a_file(void **state)
{
	struct s3_op *op = begin(0, S3_PUT_OBJECT, XFER_WRITE);

	op->body = (struct s3_body){.fd = 77, .offset = 5, .length = 9};
	xfer_submit(fake.x, &ops[0].op);
	const struct http_request *r = fake_request(&ops[0]);
	assert_int_equal(r->body_count, 0);
	assert_int_equal(r->body_fd, 77);
	assert_int_equal(r->body_offset, 5);
	assert_int_equal(r->body_length, 9);
	answer(0, &done);
	assert_ended(&ops[0], 0);
}

static void add_moved(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
		      uint64_t started_ns)
{
	*(uint64_t *)ctx += bytes_moved;
}

static void test_progress_of_an_upload(void **state)
{
	uint64_t moved = 0;

	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	submit(1, S3_UPLOAD_PART, XFER_WRITE);
	fake_request(&ops[0])->sent_bytes = 2;
	fake_request(&ops[1])->sent_bytes = 1;
	xfer_each_running(fake.x, add_moved, &moved);
	assert_int_equal(moved, 3);
	answer(0, &done);
	answer(1, &done);
}

/* Over http the payload is signed; only what carries the caller's bytes takes tokens for them. */
static void test_plain_http_with_a_limit(void **state)
{
	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	submit(1, S3_COMPLETE_MULTIPART, XFER_META);
	submit(2, S3_UPLOAD_PART_COPY, XFER_WRITE);
	assert_string_equal(fake_line(&ops[0], "x-amz-content-sha256"), ops[0].op.s3.body.sha256);
	assert_string_equal(fake_line(&ops[0], "x-amz-checksum-crc32c"), "");
	assert_non_null(fake_request(&ops[0])->pacer);
	assert_null(fake_request(&ops[1])->pacer);
	assert_null(fake_request(&ops[2])->pacer);
	for (unsigned i = 0; i < 3; i++)
		xfer_cancel(fake.x, &ops[i].op);
}

/* ---- slow verbs, fault 3 ---- */

static void test_slow_verbs_have_server_timeout(void **state)
{
	static const enum s3_verb slow[] = {S3_COMPLETE_MULTIPART, S3_COPY_OBJECT,
					    S3_UPLOAD_PART_COPY};

	for (unsigned i = 0; i < ARRAY_SIZE(slow); i++) {
		submit(i, slow[i], XFER_META);
		assert_int_equal(fake_request(&ops[i])->stall_ns, 600 * NS_PER_S);
		assert_int_equal(fake_request(&ops[i])->first_byte_ns, 600 * NS_PER_S);
	}
	submit(3, S3_CREATE_MULTIPART, XFER_META);
	assert_int_equal(fake_request(&ops[3])->stall_ns, 20 * NS_PER_S);
	fake.obey = true;
	fake_advance(&fake, 61 * NS_PER_S);
	assert_ended(&ops[3], -EIO); /* op_timeout is for it */
	fake_advance(&fake, 530 * NS_PER_S);
	assert_true(fake_is_sent(&fake, &ops[0]));
	answer(0, &completed);
	assert_ended(&ops[0], 0);
	fake_advance(&fake, 10 * NS_PER_S);
	assert_ended(&ops[1], -EIO);
	assert_true(ops[1].op.s3.ambiguous);
	assert_ended(&ops[2], -EIO);
}

/* Blanks show that the server lives, not that it will ever end. */
static void test_blanks_are_no_progress(void **state)
{
	submit(0, S3_COMPLETE_MULTIPART, XFER_META);
	fake.obey = true;
	for (int s = 0; s < 599; s++) {
		__atomic_store_n(&fake_request(&ops[0])->last_byte_ns, fake.now_ns,
				 __ATOMIC_RELAXED);
		fake_advance(&fake, NS_PER_S);
	}
	assert_true(fake_is_sent(&fake, &ops[0]));
	fake_advance(&fake, 2 * NS_PER_S);
	assert_ended(&ops[0], -EIO);
	assert_true(ops[0].op.s3.ambiguous);
}

/* The time in the queue is not the server's. */
static void test_queued_slow_verbs_wait(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		submit(i, S3_UPLOAD_PART_COPY, XFER_WRITE);
	assert_int_equal(fake.sent_count, 4);
	fake_advance(&fake, 500 * NS_PER_S);
	assert_int_equal(ops[4].dones, 0);
	answer(0, &(struct fake_reply){.status = 200,
				       .body = "<CopyPartResult><ETag>e</ETag></CopyPartResult>"});
	assert_true(fake_is_sent(&fake, &ops[4]));
	for (unsigned i = 1; i < 4; i++)
		xfer_cancel(fake.x, &ops[i].op);
	fake.obey = true;
	fake_advance(&fake, 599 * NS_PER_S);
	assert_int_equal(ops[4].dones, 0);
	fake_advance(&fake, 2 * NS_PER_S);
	assert_ended(&ops[4], -EIO);
}

/* ---- features that the server refuses ---- */

static void test_a_refused_feature_is_learnt(void **state)
{
	static const struct fake_reply refused = REFUSED;
	struct s3_target t;

	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	answer(0, &refused);
	assert_true(fake_is_sent(&fake, &ops[0])); /* at once */
	assert_string_equal(fake_line(&ops[0], "x-amz-checksum-crc32c"), "");
	xfer_target(fake.x, &t);
	assert_true(t.checksum_crc32c); /* not known before it went well */
	answer(0, &done);
	assert_ended(&ops[0], 0);
	xfer_target(fake.x, &t);
	assert_false(t.checksum_crc32c);
	assert_true(t.mp_object_size);
	submit(1, S3_UPLOAD_PART, XFER_WRITE);
	assert_string_equal(fake_line(&ops[1], "x-amz-checksum-crc32c"), "");
	submit(2, S3_COMPLETE_MULTIPART, XFER_META);
	assert_string_equal(fake_line(&ops[2], "x-amz-mp-object-size"), "3");
	answer(2, &refused);
	assert_string_equal(fake_line(&ops[2], "x-amz-mp-object-size"), "");
	answer(2, &completed);
	xfer_target(fake.x, &t);
	assert_false(t.mp_object_size);
	answer(1, &done);
}

/* Something else was not implemented: nothing is learnt, and there is an end. */
static void test_a_refusal_that_stays(void **state)
{
	static const struct fake_reply refused = REFUSED;
	struct s3_target t;

	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	answer(0, &refused);
	answer(0, &refused);
	assert_ended(&ops[0], -EOPNOTSUPP);
	xfer_target(fake.x, &t);
	assert_true(t.checksum_crc32c);
}

static void test_bare_etags(void **state)
{
	strcpy(begin(0, S3_PUT_OBJECT, XFER_WRITE)->if_match, "\"e\"");
	strcpy(begin(1, S3_PUT_OBJECT, XFER_WRITE)->if_match, "\"e\"");
	xfer_submit(fake.x, &ops[0].op);
	assert_string_equal(fake_line(&ops[0], "If-Match"), "\"e\"");
	xfer_set_bare_etags(fake.x, true);
	xfer_submit(fake.x, &ops[1].op);
	assert_string_equal(fake_line(&ops[1], "If-Match"), "e");
	answer(0, &done);
	answer(1, &done);
}

/* ---- doubts, fault 19 and 20 ---- */

static void test_a_lost_answer_and_a_412(void **state)
{
	begin(0, S3_PUT_OBJECT, XFER_WRITE)->if_none_match_any = true;
	xfer_submit(fake.x, &ops[0].op);
	answer(0, &(struct fake_reply){.error = HTTP_FIRST_BYTE_TIMEOUT});
	fake_advance(&fake, RETRY_MAX_NS);
	fake_answer_error(&fake, &ops[0], 412, "PreconditionFailed");
	assert_ended(&ops[0], -EEXIST);
	assert_true(ops[0].op.s3.ambiguous);
}

/* The error that is reported may be another one: the doubt stays. */
static void test_a_doubt_survives_the_end_from_outside(void **state)
{
	submit(0, S3_PUT_OBJECT, XFER_WRITE);
	answer(0, &(struct fake_reply){.error = HTTP_RESET});
	xfer_cancel(fake.x, &ops[0].op); /* while it waits */
	fake_advance(&fake, 0);
	assert_ended(&ops[0], -ECANCELED);
	assert_true(ops[0].op.s3.ambiguous);
	submit(1, S3_PUT_OBJECT, XFER_WRITE);
	fake.obey = true;
	xfer_cancel(fake.x, &ops[1].op); /* while it runs */
	assert_ended(&ops[1], -ECANCELED);
	assert_true(ops[1].op.s3.ambiguous);
}

static void test_cancelled_in_the_queue_is_certain(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		submit(i, S3_PUT_OBJECT, XFER_WRITE);
	xfer_cancel(fake.x, &ops[4].op);
	fake_advance(&fake, 0);
	assert_ended(&ops[4], -ECANCELED);
	assert_false(ops[4].op.s3.ambiguous);
	for (unsigned i = 0; i < 4; i++)
		answer(i, &done);
}

static void test_conflicts(void **state)
{
	submit(0, S3_PUT_OBJECT, XFER_WRITE);
	fake_answer_error(&fake, &ops[0], 409, "ConditionalRequestConflict");
	fake_advance(&fake, RETRY_MAX_NS);
	answer(0, &done);
	assert_ended(&ops[0], 0);
	submit(1, S3_COMPLETE_MULTIPART, XFER_META);
	fake_answer_error(&fake, &ops[1], 409, "ConditionalRequestConflict");
	assert_ended(&ops[1], -EAGAIN);
	assert_false(ops[1].op.s3.ambiguous);
}

/* Fault 22: it is sent again, and then given up. */
static void test_a_part_without_etag(void **state)
{
	submit(0, S3_UPLOAD_PART, XFER_WRITE);
	for (int try = 0; try < 4; try++) {
		assert_true(fake_is_sent(&fake, &ops[0]));
		answer(0, &(struct fake_reply){.status = 200});
		fake_advance(&fake, RETRY_MAX_NS);
	}
	assert_ended(&ops[0], -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_each_try_sends_the_body, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_body_from_a_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_progress_of_an_upload, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_plain_http_with_a_limit, setup_plain_and_limited,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_slow_verbs_have_server_timeout, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_blanks_are_no_progress, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_queued_slow_verbs_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_refused_feature_is_learnt, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_refusal_that_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bare_etags, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_lost_answer_and_a_412, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_doubt_survives_the_end_from_outside, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_cancelled_in_the_queue_is_certain, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_part_without_etag, setup, teardown),
	};

	s3_library_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
