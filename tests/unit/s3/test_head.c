/* SPDX-License-Identifier: Apache-2.0 */
/* HEADs: what their headers say of an object, and what is no answer. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>

#define LENGTH(text)                                                                               \
	{                                                                                          \
		"content-length", text                                                             \
	}

static void head_init(struct s3_op *op)
{
	s3_op_init(op, S3_HEAD_OBJECT);
	op->key = "k";
	op->key_length = 1;
}

static void test_attributes(void **state)
{
	static const struct answer answer = {200,
					     {LENGTH("5368709120"),
					      {"etag", "\"abc-3\""},
					      {"last-modified", "Sun, 30 Aug 2026 12:36:00 GMT"},
					      {"x-amz-storage-class", "STANDARD_IA"},
					      {"content-type", "application/x-directory"},
					      {"content-encoding", "gzip"},
					      {"x-amz-bucket-region", "eu-west-1"}}};
	struct s3_op op;

	head_init(&op);
	assert_int_equal(run(&op, &answer, 1), 0);
	assert_int_equal(op.result.status, 200);
	assert_string_equal(op.result.region, "eu-west-1");
	assert_int_equal(op.object.size, UINT64_C(5368709120));
	assert_string_equal(op.object.etag, "\"abc-3\"");
	assert_int_equal(op.object.modified.tv_sec, FIXTURE_NOW_S);
	assert_string_equal(op.object.storage_class, "STANDARD_IA");
	assert_string_equal(op.object.content_type, "application/x-directory");
	assert_false(op.object.archived);
	s3_op_finish(&op);
}

struct archive_case {
	struct http_header headers[3];
	bool archived;
};

static const struct archive_case archive_cases[] = {
    {{{"x-amz-storage-class", "GLACIER"}}, true},
    {{{"x-amz-storage-class", "DEEP_ARCHIVE"}}, true},
    {{{"x-amz-storage-class", "GLACIER_IR"}}, false},
    {{{"x-amz-storage-class", "INTELLIGENT_TIERING"}}, false},
    {{{"x-amz-storage-class", "INTELLIGENT_TIERING"}, {"x-amz-archive-status", "ARCHIVE_ACCESS"}},
     true},
    {{{"x-amz-storage-class", "GLACIER"}, {"x-amz-restore", "ongoing-request=\"true\""}}, true},
    {{{"x-amz-storage-class", "GLACIER"},
      {"x-amz-restore",
       "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\""}},
     false},
};

static void test_archived(void **state)
{
	for (size_t i = 0; i < sizeof(archive_cases) / sizeof(archive_cases[0]); i++) {
		const struct archive_case *c = &archive_cases[i];
		struct answer answer = {200, {LENGTH("1"), c->headers[0], c->headers[1]}};
		struct s3_op op;

		head_init(&op);
		assert_int_equal(run(&op, &answer, 1), 0);
		assert_int_equal(op.object.archived, c->archived);
		s3_op_finish(&op);
	}
}

struct head_case {
	const char *name;
	struct answer answer;
	int err;
	enum s3_retry retry;
	const char *code;
};

static const struct head_case head_cases[] = {
    {"no Content-Length", {200, {{"etag", "\"e\""}}}, -EIO, S3_RETRY_NO, "NoContentLength"},
    {"ETag too long",
     {200,
      {LENGTH("1"),
       {"etag", "\"123456789012345678901234567890123456789012345678901234567890123456789012345678"
		"901234567890123456789012345678901234567890123456789\""}}},
     -EIO},
    {"ETag with control characters", {200, {LENGTH("1"), {"etag", "\"a\x01\""}}}, -EIO},
    {"another version", {200, {LENGTH("1"), {"etag", "\"f\""}}}, -ESTALE},
    {"400", {400}, -EIO},
    {"403", {403}, -EACCES},
    {"404", {404}, -ENOENT},
    {"412", {412}, -ESTALE},
    {"500", {500}, -EIO, S3_RETRY_BACKOFF},
    {"503 is SlowDown", {503}, -EIO, S3_RETRY_THROTTLE},
    {"cut", {200, {{"etag", "\"e\""}}, .error = HTTP_CUT}, -EIO, S3_RETRY_NO, "NoContentLength"},
    {"reset", {.error = HTTP_RESET}, -EIO, S3_RETRY_BACKOFF},
    {"reset of a kept connection", {.error = HTTP_RESET, .reused = true}, -EIO, S3_RETRY_FRESH},
};

static void test_failures(void **state)
{
	for (size_t i = 0; i < sizeof(head_cases) / sizeof(head_cases[0]); i++) {
		const struct head_case *c = &head_cases[i];
		struct s3_op op;

		head_init(&op);
		strcpy(op.if_match, "\"e\"");
		run(&op, &c->answer, 1);
		if (op.result.err != c->err || op.result.retry != c->retry)
			fail_msg("%s: %d, retry %d", c->name, op.result.err, op.result.retry);
		assert_string_equal(op.result.code, c->code ? c->code : "");
		s3_op_finish(&op);
	}
}

static void test_nonsense_is_left_out(void **state)
{
	static const struct answer answer = {
	    200,
	    {LENGTH("0"),
	     {"last-modified", "yesterday"},
	     {"x-amz-storage-class", "a class of storage with a name much too long"},
	     {"content-type", "text/plain\x01"}}};
	struct s3_op op;

	head_init(&op);
	assert_int_equal(run(&op, &answer, 1), 0);
	assert_int_equal(op.object.size, 0);
	assert_int_equal(op.object.modified.tv_sec, 0);
	assert_string_equal(op.object.storage_class, "");
	assert_string_equal(op.object.content_type, "");
	assert_string_equal(op.object.etag, "");
	s3_op_finish(&op);
}

static void test_dates_before_time_began(void **state)
{
	static const struct answer answer = {
	    200, {LENGTH("0"), {"last-modified", "Mon, 01 Jan 1900 00:00:00 GMT"}}};
	struct s3_op op;

	head_init(&op);
	assert_int_equal(run(&op, &answer, 1), 0);
	assert_int_equal(op.object.modified.tv_sec, 0);
	s3_op_finish(&op);
}

static void test_head_bucket(void **state)
{
	static const struct answer good = {200, {{"x-amz-bucket-region", "eu-west-1"}}};
	static const struct answer none = {404};
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_BUCKET);
	assert_int_equal(run(&op, &good, 1), 0);
	assert_string_equal(op.result.region, "eu-west-1");
	assert_int_equal(run(&op, &none, 1), -ENOENT);
	assert_string_equal(op.result.region, "");
	s3_op_finish(&op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_attributes),
	    cmocka_unit_test(test_archived),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_nonsense_is_left_out),
	    cmocka_unit_test(test_dates_before_time_began),
	    cmocka_unit_test(test_head_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
