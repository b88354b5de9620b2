/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What failures end in: the table itself, and what s3_op_end takes from an answer for the next try
 * (region, clock, Retry-After).
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"

#define XML_ERROR(inside) "<?xml version=\"1.0\"?>\n<Error>" inside "</Error>"
#define CODE(code) XML_ERROR("<Code>" code "</Code>")

struct table_case {
	struct error_input in;
	int err;
	enum s3_retry retry;
};

#define TRANSFER(error)                                                                            \
	{                                                                                          \
		.verb = S3_GET_OBJECT, .http = (error), .code = ""                                 \
	}
#define STATUS(of, with, s3_code)                                                                  \
	{                                                                                          \
		.verb = (of), .status = (with), .code = (s3_code)                                  \
	}

static const struct table_case table_cases[] = {
    {TRANSFER(HTTP_RESOLVE_FAILED), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_CONNECT_FAILED), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_CONNECT_TIMEOUT), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_TLS_FAILED), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_CERTIFICATE), -EIO, S3_RETRY_NO},
    {TRANSFER(HTTP_FIRST_BYTE_TIMEOUT), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_STALLED), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_RESET), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_CUT), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_TOO_LARGE), -EIO, S3_RETRY_NO},
    {TRANSFER(HTTP_PROTOCOL), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER(HTTP_CANCELLED), -ECANCELED, S3_RETRY_NO},
    {TRANSFER(HTTP_NO_RESOURCES), -EIO, S3_RETRY_BACKOFF},
    {TRANSFER((enum http_error)99), -EIO, S3_RETRY_BACKOFF},
    {{.verb = S3_LIST, .http = HTTP_RESET, .connection_reused = true, .code = ""},
     -EIO,
     S3_RETRY_FRESH},
    {{.verb = S3_LIST, .http = HTTP_RESET, .connection_reused = true, .status = 200, .code = ""},
     -EIO,
     S3_RETRY_BACKOFF},
    {{.verb = S3_LIST, .http = HTTP_CANCELLED, .status = 503, .code = "SlowDown"},
     -ECANCELED,
     S3_RETRY_NO},
    {{.verb = S3_LIST, .http = HTTP_CUT, .status = 403, .code = ""}, -EACCES, S3_RETRY_NO},

    {STATUS(S3_GET_OBJECT, 500, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 502, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 503, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_HEAD_OBJECT, 503, ""), -EIO, S3_RETRY_THROTTLE},
    {STATUS(S3_GET_OBJECT, 503, "SlowDown"), -EIO, S3_RETRY_THROTTLE},
    {STATUS(S3_GET_OBJECT, 503, "ServiceUnavailable"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 504, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 599, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 429, ""), -EIO, S3_RETRY_THROTTLE},
    {STATUS(S3_GET_OBJECT, 408, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 400, "RequestTimeout"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 400, ""), -EIO, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 418, ""), -EIO, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 200, ""), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_LIST, 200, "SlowDown"), -EIO, S3_RETRY_THROTTLE},
    {STATUS(S3_LIST, 200, "AccessDenied"), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 400, "ExpiredToken"), -EACCES, S3_RETRY_KEYS},
    {STATUS(S3_LIST, 400, "InvalidToken"), -EACCES, S3_RETRY_KEYS},
    {STATUS(S3_LIST, 400, "TokenRefreshRequired"), -EACCES, S3_RETRY_KEYS},
    {STATUS(S3_LIST, 403, "AccessDenied"), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 403, "InvalidAccessKeyId"), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 403, "SignatureDoesNotMatch"), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 403, "SomethingNew"), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 401, ""), -EACCES, S3_RETRY_NO},
    {STATUS(S3_LIST, 403, "RequestTimeTooSkewed"), -EACCES, S3_RETRY_CLOCK},
    {STATUS(S3_LIST, 301, "PermanentRedirect"), -EIO, S3_RETRY_REGION},
    {STATUS(S3_LIST, 307, "TemporaryRedirect"), -EIO, S3_RETRY_REGION},
    {STATUS(S3_LIST, 302, ""), -EIO, S3_RETRY_REGION},
    {STATUS(S3_LIST, 308, ""), -EIO, S3_RETRY_REGION},
    {STATUS(S3_LIST, 304, ""), -EIO, S3_RETRY_NO},
    {STATUS(S3_LIST, 400, "AuthorizationHeaderMalformed"), -EACCES, S3_RETRY_REGION},
    {STATUS(S3_GET_OBJECT, 404, "NoSuchKey"), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_LIST, 404, "NoSuchBucket"), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 410, ""), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 412, ""), -ESTALE, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 409, "OperationAborted"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_GET_OBJECT, 405, ""), -EOPNOTSUPP, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 501, "NotImplemented"), -EOPNOTSUPP, S3_RETRY_NO},
    {STATUS(S3_GET_OBJECT, 400, "KeyTooLongError"), -ENAMETOOLONG, S3_RETRY_NO},

    {STATUS(S3_PUT_OBJECT, 409, "ConditionalRequestConflict"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_COPY_OBJECT, 409, "ConditionalRequestConflict"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_COMPLETE_MULTIPART, 409, "ConditionalRequestConflict"), -EAGAIN, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 200, "ConditionalRequestConflict"), -EAGAIN, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 409, "OperationAborted"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_COMPLETE_MULTIPART, 404, "NoSuchUpload"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART, 404, "NoSuchUpload"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART, 404, "NoSuchBucket"), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART, 404, ""), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_ABORT_MULTIPART, 404, ""), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_LIST_PARTS, 404, "NoSuchUpload"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_LIST_PARTS, 404, "NoSuchKey"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_ABORT_MULTIPART, 404, "NoSuchKey"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART_COPY, 404, "NoSuchKey"), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART_COPY, 404, "NoSuchUpload"), -ENXIO, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART_COPY, 404, "NoSuchKey"), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_UPLOAD_PART_COPY, 404, ""), -ENOENT, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 400, "InvalidPart"), -EIO, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 200, "InvalidPart"), -EIO, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 200, "EntityTooSmall"), -EIO, S3_RETRY_NO},
    {STATUS(S3_COMPLETE_MULTIPART, 200, "InternalError"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_COMPLETE_MULTIPART, 200, "SomethingNew"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_PUT_OBJECT, 400, "EntityTooLarge"), -EFBIG, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 413, ""), -EFBIG, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 403, "QuotaExceeded"), -EDQUOT, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 507, ""), -ENOSPC, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 507, "XMinioStorageFull"), -ENOSPC, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 400, "BadDigest"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_UPLOAD_PART, 400, "XAmzContentSHA256Mismatch"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_UPLOAD_PART, 400, "IncompleteBody"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_UPLOAD_PART, 400, "RequestTimeout"), -EIO, S3_RETRY_BACKOFF},
    {STATUS(S3_PUT_OBJECT, 400, "MetadataTooLarge"), -E2BIG, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 400, "InvalidStorageClass"), -EINVAL, S3_RETRY_NO},
    {STATUS(S3_GET_TAGGING, 404, "NoSuchTagSet"), -ENODATA, S3_RETRY_NO},
    {STATUS(S3_PUT_OBJECT, 412, ""), -ESTALE, S3_RETRY_NO},
    {{.verb = S3_PUT_OBJECT, .status = 412, .code = "", .exclusive = true}, -EEXIST, S3_RETRY_NO},
    {{.verb = S3_PUT_OBJECT, .status = 412, .code = "PreconditionFailed", .exclusive = true},
     -EEXIST,
     S3_RETRY_NO},
    {{.verb = S3_COMPLETE_MULTIPART,
      .status = 200,
      .code = "PreconditionFailed",
      .exclusive = true},
     -EEXIST,
     S3_RETRY_NO},
    {{.verb = S3_PUT_OBJECT, .status = 403, .code = "AccessDenied", .exclusive = true},
     -EACCES,
     S3_RETRY_NO},
    {{.verb = S3_PUT_OBJECT, .http = HTTP_CANCELLED, .status = 0, .code = "", .exclusive = true},
     -ECANCELED,
     S3_RETRY_NO},
};

static void test_table(void **state)
{
	for (size_t i = 0; i < sizeof(table_cases) / sizeof(table_cases[0]); i++) {
		const struct table_case *c = &table_cases[i];
		struct error_class class = error_classify(&c->in);

		if (class.err != c->err || class.retry != c->retry)
			fail_msg("%s, transfer %d, status %d, code \"%s\": %d, retry %d",
				 s3_verb_name(c->in.verb), c->in.http, c->in.status, c->in.code,
				 class.err, class.retry);
	}
}

static void test_nothing_is_ever_a_success(void **state)
{
	for (int verb = S3_HEAD_BUCKET; verb <= S3_GET_TAGGING; verb++)
		for (int status = 0; status < 700; status++)
			for (int http = HTTP_OK; http <= HTTP_NO_RESOURCES; http++) {
				struct error_input in = {.verb = (enum s3_verb)verb,
							 .http = (enum http_error)http,
							 .status = status,
							 .code = ""};

				assert_true(error_classify(&in).err < 0);
			}
}

struct learn_case {
	const char *name;
	enum s3_verb verb;
	struct answer answer;
	int err;
	enum s3_retry retry;
	const char *region;
	int64_t clock_offset_s;
	uint64_t retry_after_s;
	const char *message; /* NULL: not looked at */
};

#define LOCATION                                                                                   \
	{                                                                                          \
		"location", "http://evil.example/bucket/k"                                         \
	}
#define REGION(text)                                                                               \
	{                                                                                          \
		"x-amz-bucket-region", text                                                        \
	}
#define DATE(text)                                                                                 \
	{                                                                                          \
		"date", text                                                                       \
	}

static const struct learn_case learn_cases[] = {
    {"301 with a header",
     S3_LIST,
     {301, {REGION("eu-west-1"), LOCATION}},
     -EIO,
     S3_RETRY_REGION,
     "eu-west-1"},
    {"307 with a body",
     S3_LIST,
     {307, {LOCATION}, XML_ERROR("<Code>TemporaryRedirect</Code><Region>eu-west-1</Region>")},
     -EIO,
     S3_RETRY_REGION,
     "eu-west-1"},
    {"wrong region, told by the signature's check",
     S3_LIST,
     {400,
      {{NULL}},
      XML_ERROR("<Code>AuthorizationHeaderMalformed</Code><Message>wrong; expecting "
		"'eu-west-1'</Message><Region>eu-west-1</Region>")},
     -EACCES,
     S3_RETRY_REGION,
     "eu-west-1",
     .message = "wrong; expecting 'eu-west-1'"},
    {"HEAD of a bucket elsewhere",
     S3_HEAD_BUCKET,
     {400, {REGION("eu-west-1")}},
     -EIO,
     S3_RETRY_REGION,
     "eu-west-1"},
    {"HEAD 400 of the same region",
     S3_HEAD_BUCKET,
     {400, {REGION("us-east-1")}},
     -EIO,
     S3_RETRY_NO,
     "us-east-1"},
    {"307 to another host without a region",
     S3_LIST,
     {307, {LOCATION}},
     -EIO,
     S3_RETRY_NO,
     "",
     .message = "a redirect that names no region is not followed"},
    {"301 to the same region",
     S3_LIST,
     {301, {REGION("us-east-1"), LOCATION}},
     -EIO,
     S3_RETRY_NO,
     "us-east-1",
     .message = "a redirect to the same region is not followed"},
    {"a region that is a host", S3_LIST, {301, {REGION("evil.example/")}}, -EIO, S3_RETRY_NO, ""},
    {"a region that is too long",
     S3_LIST,
     {301, {REGION("a12345678901234567890123456789012")}},
     -EIO,
     S3_RETRY_NO,
     ""},
    {"a region in a body that is none",
     S3_LIST,
     {301, {{NULL}}, XML_ERROR("<Code>PermanentRedirect</Code><Region>A\nB</Region>")},
     -EIO,
     S3_RETRY_NO,
     ""},
    {"403 elsewhere is still 403",
     S3_HEAD_BUCKET,
     {403, {REGION("eu-west-1")}},
     -EACCES,
     S3_RETRY_NO,
     "eu-west-1"},

    {"an hour ahead",
     S3_LIST,
     {403, {DATE("Sun, 30 Aug 2026 13:36:00 GMT")}, CODE("RequestTimeTooSkewed")},
     -EACCES,
     S3_RETRY_CLOCK,
     "",
     3600},
    {"a day behind, told in the body only",
     S3_LIST,
     {403,
      {{NULL}},
      XML_ERROR("<Code>RequestTimeTooSkewed</Code><ServerTime>2026-08-29T12:36:00Z"
		"</ServerTime>")},
     -EACCES,
     S3_RETRY_CLOCK,
     "",
     -86400},
    {"skewed, but nobody knows by how much",
     S3_LIST,
     {403, {DATE("noon")}, CODE("RequestTimeTooSkewed")},
     -EACCES,
     S3_RETRY_NO,
     ""},
    {"skewed by nothing",
     S3_LIST,
     {403, {DATE(FIXTURE_DATE)}, CODE("RequestTimeTooSkewed")},
     -EACCES,
     S3_RETRY_NO,
     ""},
    {"HEAD an hour ahead",
     S3_HEAD_OBJECT,
     {403, {DATE("Sun, 30 Aug 2026 13:36:00 GMT")}},
     -EACCES,
     S3_RETRY_CLOCK,
     "",
     3600},
    {"HEAD ten minutes ahead is forbidden",
     S3_HEAD_OBJECT,
     {403, {DATE("Sun, 30 Aug 2026 12:46:00 GMT")}},
     -EACCES,
     S3_RETRY_NO,
     ""},
    {"forbidden an hour ahead",
     S3_LIST,
     {403, {DATE("Sun, 30 Aug 2026 13:36:00 GMT")}, CODE("AccessDenied")},
     -EACCES,
     S3_RETRY_NO,
     ""},

    {"Retry-After in seconds",
     S3_LIST,
     {503, {{"retry-after", "7"}}, CODE("SlowDown")},
     -EIO,
     S3_RETRY_THROTTLE,
     "",
     0,
     7},
    {"Retry-After as a date",
     S3_LIST,
     {503,
      {{"retry-after", "Sun, 30 Aug 2026 13:36:09 GMT"}, DATE("Sun, 30 Aug 2026 13:36:00 GMT")}},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     0,
     9},
    {"Retry-After as a date, by our clock",
     S3_LIST,
     {503, {{"retry-after", "Sun, 30 Aug 2026 12:36:05 GMT"}}},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     0,
     5},
    {"Retry-After in the past",
     S3_LIST,
     {503, {{"retry-after", "Sun, 30 Aug 2026 11:36:09 GMT"}}},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     0,
     0},
    {"Retry-After in a year",
     S3_LIST,
     {503, {{"retry-after", "31536000"}}},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     0,
     3600},
    {"Retry-After never",
     S3_LIST,
     {503, {{"retry-after", "-1"}}},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     0,
     0},

    {"message of the network",
     S3_LIST,
     {.error = HTTP_CONNECT_FAILED, .detail = "refused\x1b["},
     -EIO,
     S3_RETRY_BACKOFF,
     "",
     .message = "refused\\x1b["},
    {"message with an escape sequence",
     S3_LIST,
     {403,
      {{NULL}},
      XML_ERROR("<Code>Access&#10;Denied</Code><Message>a\n\xc2\x9b"
		"b</Message>")},
     -EACCES,
     S3_RETRY_NO,
     ""},
};

static void test_what_is_learnt(void **state)
{
	for (size_t i = 0; i < sizeof(learn_cases) / sizeof(learn_cases[0]); i++) {
		const struct learn_case *c = &learn_cases[i];
		struct s3_op op;

		s3_op_init(&op, c->verb);
		op.key = "k";
		op.key_length = 1;
		run(&op, &c->answer, 5);
		if (op.result.err != c->err || op.result.retry != c->retry ||
		    op.result.clock_offset_s != c->clock_offset_s ||
		    op.result.retry_after_ns != c->retry_after_s * UINT64_C(1000000000))
			fail_msg("%s: %d, retry %d, offset %lld, after %llu", c->name,
				 op.result.err, op.result.retry,
				 (long long)op.result.clock_offset_s,
				 (unsigned long long)op.result.retry_after_ns);
		assert_string_equal(op.result.region, c->region);
		if (c->message)
			assert_string_equal(op.result.message, c->message);
		for (const char *at = op.result.message; *at; at++)
			assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
		assert_null(strpbrk(op.result.code, "\n\x1b"));
		assert_null(strstr(op.result.message, "evil"));
		s3_op_finish(&op);
	}
}

static void test_clock_is_held_against_what_was_signed(void **state)
{
	struct s3_target t = local_target();
	const struct s3_keys keys = {"AK", "SK", NULL};
	struct http_header headers[] = {{"date", "Sun, 30 Aug 2026 13:36:00 GMT"}};
	struct http_answer answer = {.status = 403, .headers = headers, .header_count = 1};
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_BUCKET);
	t.clock_offset_s = 3600; /* learnt before: the 403 means what it says */
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	http_message_finish(&m);
	assert_int_equal(s3_op_headers(&op, &answer), 0);
	assert_int_equal(s3_op_end(&op, &answer), -EACCES);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
}

static void test_large_error_bodies_are_cut(void **state)
{
	static const char head[] = "<Error><Code>AccessDenied</Code><Message>";
	size_t n = S3_ERROR_BYTES_MAX + 4096;
	char *body = malloc(n);
	struct answer answer = {403, {{NULL}}, body, n};
	struct s3_op op;

	assert_non_null(body);
	memset(body, 'x', n);
	memcpy(body, head, strlen(head));
	s3_op_init(&op, S3_LIST);
	assert_int_equal(run(&op, &answer, 1000), -EACCES);
	assert_string_equal(op.result.code, "AccessDenied");
	s3_op_finish(&op);
	free(body);
}

static void test_the_result_is_of_the_last_try(void **state)
{
	static const struct answer first = {503, {{"retry-after", "7"}}, CODE("SlowDown")};
	static const struct answer second = {.error = HTTP_CONNECT_FAILED, .detail = "refused"};
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	run(&op, &first, 5);
	assert_string_equal(op.result.code, "SlowDown");
	run(&op, &second, 5);
	assert_string_equal(op.result.code, "");
	assert_int_equal(op.result.status, 0);
	assert_int_equal(op.result.retry_after_ns, 0);
	assert_string_equal(op.result.message, "refused");
	s3_op_finish(&op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_nothing_is_ever_a_success),
	    cmocka_unit_test(test_what_is_learnt),
	    cmocka_unit_test(test_clock_is_held_against_what_was_signed),
	    cmocka_unit_test(test_large_error_bodies_are_cut),
	    cmocka_unit_test(test_the_result_is_of_the_last_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
