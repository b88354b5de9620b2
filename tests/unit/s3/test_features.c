/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums that the server confirms or not, features that it refuses to know, slow verbs. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#define SAYS(code, message) "<Error><Code>" code "</Code><Message>" message "</Message></Error>"
#define ETAG                                                                                       \
	{                                                                                          \
		"etag", "\"new\""                                                                  \
	}

static const struct s3_part part = {.number = 1, .etag = "\"p\"", .size = 3};

static struct s3_target checked_target(void)
{
	struct s3_target t = local_target();

	t.checksum_crc32c = t.unsigned_payload = true;
	return t;
}

static void init_part(struct s3_op *op)
{
	static const struct iovec abc = {(char *)(uintptr_t) "abc", 3};

	s3_op_init(op, S3_UPLOAD_PART);
	op->key = "k";
	op->key_length = 1;
	op->upload_id = "u";
	op->part_number = 1;
	op->parts = &part;
	op->part_count = 1;
	op->body = (struct s3_body){.iov = &abc, .iov_count = 1, .length = 3};
	assert_int_equal(s3_body_seal(&op->body, false, true), 0);
}

static void test_the_server_confirms_a_checksum(void **state)
{
	static const struct answer same = {200, {ETAG, {"x-amz-checksum-crc32c", "Nks/tw=="}}};
	static const struct answer other = {200, {ETAG, {"x-amz-checksum-crc32c", "AAAAAA=="}}};
	static const struct answer none = {200, {ETAG}};
	struct s3_target t = checked_target();
	struct s3_op op;

	init_part(&op);
	assert_int_equal(run_on(&op, &t, &same, 1), 0);
	assert_true(op.has_crc32c);
	assert_int_equal(op.crc32c, 0x364b3fb7);
	s3_op_finish(&op);
	init_part(&op);
	assert_int_equal(run_on(&op, &t, &none, 1), 0);
	assert_false(op.has_crc32c);
	s3_op_finish(&op);
	init_part(&op);
	assert_int_equal(run_on(&op, &t, &other, 1), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_BACKOFF);
	s3_op_finish(&op);
}

static const struct {
	const char *name;
	enum s3_verb verb;
	struct answer answer;
	unsigned left_out;
	int err;
} refusals[] = {
    {"R2's words",
     S3_CREATE_MULTIPART,
     {501, {{0}}, SAYS("NotImplemented", "Header 'x-amz-checksum-algorithm' not implemented")},
     S3_FEATURE_CHECKSUM,
     -EOPNOTSUPP},
    {"InvalidRequest that names it",
     S3_UPLOAD_PART,
     {400, {{0}}, SAYS("InvalidRequest", "unknown Checksum header")},
     S3_FEATURE_CHECKSUM,
     -EIO},
    {"a 501 without words", S3_UPLOAD_PART, {501, {{0}}, ""}, S3_FEATURE_CHECKSUM, -EOPNOTSUPP},
    {"the only candidate",
     S3_COMPLETE_MULTIPART,
     {501, {{0}}, SAYS("NotImplemented", "A header you provided")},
     S3_FEATURE_OBJECT_SIZE,
     -EOPNOTSUPP},
    {"the size, inside a 200",
     S3_COMPLETE_MULTIPART,
     {200, {{0}}, SAYS("NotImplemented", "x-amz-mp-object-size")},
     S3_FEATURE_OBJECT_SIZE,
     -EOPNOTSUPP},
    /* the sizes differ: without the header it would be stored so */
    {"a wrong size",
     S3_COMPLETE_MULTIPART,
     {400,
      {{0}},
      SAYS("InvalidRequest",
	   "The provided 'x-amz-mp-object-size' header value 3 does not match 4")},
     0,
     -EIO},
    {"another header",
     S3_UPLOAD_PART,
     {501, {{0}}, "<Error><Code>NotImplemented</Code><Header>If-None-Match</Header></Error>"},
     0,
     -EOPNOTSUPP},
    {"a damaged body",
     S3_UPLOAD_PART,
     {400, {{0}}, SAYS("BadDigest", "The CRC32C checksum you specified did not match")},
     0,
     -EIO},
    {"denied", S3_UPLOAD_PART, {403, {{0}}, SAYS("AccessDenied", "checksum")}, 0, -EACCES},
    {"nothing to leave out",
     S3_ABORT_MULTIPART,
     {501, {{0}}, SAYS("NotImplemented", "checksum")},
     0,
     -EOPNOTSUPP},
};

static void test_refused_features(void **state)
{
	struct s3_target t = checked_target();

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		enum s3_retry retry;
		struct s3_op op;
		int r;

		init_part(&op);
		op.verb = refusals[i].verb;
		r = run_on(&op, &t, &refusals[i].answer, 9);
		retry = op.result.retry;
		if (r != refusals[i].err || op.left_out != refusals[i].left_out || op.ambiguous ||
		    (retry == S3_RETRY_WITHOUT) != (refusals[i].left_out != 0))
			fail_msg("%s: %d, retry %d, left out %u, ambiguous %d", refusals[i].name, r,
				 retry, op.left_out, op.ambiguous);
		/* not refused twice: the next one is final */
		if (retry == S3_RETRY_WITHOUT) {
			run_on(&op, &t, &refusals[i].answer, 9);
			assert_int_not_equal(op.result.retry, S3_RETRY_WITHOUT);
		}
		s3_op_finish(&op);
	}
}

static void test_slow_verbs(void **state)
{
	assert_true(s3_verb_is_slow(S3_COMPLETE_MULTIPART));
	assert_true(s3_verb_is_slow(S3_COPY_OBJECT));
	assert_true(s3_verb_is_slow(S3_UPLOAD_PART_COPY));
	assert_false(s3_verb_is_slow(S3_UPLOAD_PART));
	assert_false(s3_verb_is_slow(S3_PUT_OBJECT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_server_confirms_a_checksum),
	    cmocka_unit_test(test_refused_features),
	    cmocka_unit_test(test_slow_verbs),
	};

	s3_library_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
