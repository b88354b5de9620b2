/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GETs: which answers may become data, what a retry asks for, and what each fault ends in. Every
 * case runs with pieces of 1, 3 and 4096 bytes.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>

#define DATA "0123456789"

/* A GET of bytes 10..19 of an object of 100 bytes with the ETag "e", unless said otherwise. */
struct get_case {
	const char *name;
	struct answer answer;
	uint64_t offset, length, size; /* length 0: as said above */
	const char *if_match;	       /* NULL: "e"; "" none */
	int err;
	enum s3_retry retry;
	const char *code;
	const char *got; /* what reached the sink; NULL: nothing */
};

#define RANGE(text)                                                                                \
	{                                                                                          \
		"content-range", text                                                              \
	}
#define LENGTH(text)                                                                               \
	{                                                                                          \
		"content-length", text                                                             \
	}
#define ETAG                                                                                       \
	{                                                                                          \
		"etag", "\"e\""                                                                    \
	}
#define XML_ERROR(code) "<?xml version=\"1.0\"?><Error><Code>" code "</Code></Error>"

static const struct get_case cases[] = {
    {"exactly the range", {206, {RANGE("bytes 10-19/100"), LENGTH("10"), ETAG}, DATA}, .got = DATA},
    {"ETag without quotes", {206, {RANGE("bytes 10-19/100"), {"etag", "e"}}, DATA}, .got = DATA},
    {"no Content-Length", {206, {RANGE("bytes 10-19/100"), ETAG}, DATA}, .got = DATA},
    {"gzip is stored bytes",
     {206, {RANGE("bytes 10-19/100"), LENGTH("10"), ETAG, {"content-encoding", "gzip"}}, DATA},
     .got = DATA},
    {"data that looks like an error",
     {206, {RANGE("bytes 10-19/100"), ETAG}, "<Error><x/"},
     .got = "<Error><x/"},
    {"shorter, but consistent",
     {206, {RANGE("bytes 10-13/100"), LENGTH("4"), ETAG}, "0123"},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .got = "0123"},
    {"cut",
     {206, {RANGE("bytes 10-19/100"), LENGTH("10"), ETAG}, "0123", .error = HTTP_CUT},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .got = "0123"},
    {"cut, and nobody noticed",
     {206, {RANGE("bytes 10-19/100"), ETAG}, "0123"},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .got = "0123"},
    {"all bytes, then a broken end",
     {206, {RANGE("bytes 10-19/100"), ETAG}, DATA, .error = HTTP_CUT},
     .got = DATA},

    {"no Content-Range", {206, {LENGTH("10"), ETAG}, DATA}, .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"garbled Content-Range",
     {206, {RANGE("bytes 10-/100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Range without unit",
     {206, {RANGE("10-19/100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Range without total",
     {206, {RANGE("bytes 10-19/*"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Range backwards",
     {206, {RANGE("bytes 19-10/100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Range past its total",
     {206, {RANGE("bytes 10-19/15"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Range overflows",
     {206, {RANGE("bytes 10-19/99999999999999999999"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"another beginning",
     {206, {RANGE("bytes 0-9/100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"longer than asked",
     {206, {RANGE("bytes 10-20/100"), ETAG}, DATA "x"},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"Content-Length disagrees",
     {206, {RANGE("bytes 10-19/100"), LENGTH("9"), ETAG}, "012345678"},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"the range is ignored",
     {200, {LENGTH("100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"204", {204, {ETAG}, NULL}, .err = -EIO, .retry = S3_RETRY_BACKOFF},

    {"another version", {206, {RANGE("bytes 10-19/100"), {"etag", "\"f\""}}, DATA}, .err = -ESTALE},
    {"a weak ETag is another",
     {206, {RANGE("bytes 10-19/100"), {"etag", "W/\"e\""}}, DATA},
     .err = -ESTALE},
    {"no ETag", {206, {RANGE("bytes 10-19/100")}, DATA}, .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"no ETag was known", {206, {RANGE("bytes 10-19/100")}, DATA}, .if_match = "", .got = DATA},
    {"ETag with a line break",
     {206, {RANGE("bytes 10-19/100"), {"etag", "\"e\r\nx: y\""}}, DATA},
     .err = -EIO},
    {"another size", {206, {RANGE("bytes 10-19/101"), LENGTH("10"), ETAG}, DATA}, .err = -ESTALE},

    {"412",
     {412, {{NULL}}, XML_ERROR("PreconditionFailed")},
     .err = -ESTALE,
     .code = "PreconditionFailed"},
    {"404", {404, {{NULL}}, XML_ERROR("NoSuchKey")}, .err = -ENOENT, .code = "NoSuchKey"},
    {"404 of the bucket",
     {404, {{NULL}}, XML_ERROR("NoSuchBucket")},
     .err = -ENOENT,
     .code = "NoSuchBucket"},
    {"404 of a proxy", {404, {{NULL}}, "<html><body>Not found<br></html>"}, .err = -ENOENT},
    {"403", {403, {{NULL}}, XML_ERROR("AccessDenied")}, .err = -EACCES, .code = "AccessDenied"},
    {"archived",
     {403, {{NULL}}, XML_ERROR("InvalidObjectState")},
     .err = -EACCES,
     .code = "InvalidObjectState"},
    {"416 inside the known size",
     {416, {RANGE("bytes */5"), ETAG}, XML_ERROR("InvalidRange")},
     .err = -ESTALE},
    {"500",
     {500, {{NULL}}, XML_ERROR("InternalError")},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .code = "InternalError"},
    {"error in the length of the range",
     {500, {LENGTH("10"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},

    {"whole object", {200, {LENGTH("10"), ETAG}, DATA}, .length = 10, .size = 10, .got = DATA},
    {"whole object, no length", {200, {ETAG}, DATA}, .length = 10, .size = 10, .got = DATA},
    {"whole object, larger",
     {200, {LENGTH("11"), ETAG}, DATA "x"},
     .length = 10,
     .size = 10,
     .err = -ESTALE},
    {"whole object, no length, larger",
     {200, {ETAG}, DATA "x"},
     .length = 10,
     .size = 10,
     .err = -EIO,
     .got = DATA},
    {"whole object, no length, shorter",
     {200, {ETAG}, "012"},
     .length = 10,
     .size = 10,
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .got = "012"},
    {"CRC32C",
     {200, {LENGTH("9"), ETAG, {"x-amz-checksum-crc32c", "4waSgw=="}}, "123456789"},
     .length = 9,
     .size = 9,
     .got = "123456789"},
    {"CRC32",
     {200,
      {LENGTH("9"),
       ETAG,
       {"x-amz-checksum-crc32", "y/Q5Jg=="},
       {"x-amz-checksum-type", "FULL_OBJECT"}},
      "123456789"},
     .length = 9,
     .size = 9,
     .got = "123456789"},
    {"a bit flipped, CRC32C",
     {200, {LENGTH("9"), ETAG, {"x-amz-checksum-crc32c", "4waSgw=="}}, "123456788"},
     .length = 9,
     .size = 9,
     .err = -EIO,
     .got = "123456788"},
    {"a bit flipped, CRC32",
     {200, {LENGTH("9"), ETAG, {"x-amz-checksum-crc32", "y/Q5Jg=="}}, "123456788"},
     .length = 9,
     .size = 9,
     .err = -EIO,
     .got = "123456788"},
    {"composite checksums are of something else",
     {200, {LENGTH("9"), ETAG, {"x-amz-checksum-crc32c", "AAAAAA==-2"}}, "123456789"},
     .length = 9,
     .size = 9,
     .got = "123456789"},
    {"composite by type",
     {200,
      {LENGTH("9"),
       ETAG,
       {"x-amz-checksum-crc32c", "AAAAAA=="},
       {"x-amz-checksum-type", "COMPOSITE"}},
      "123456789"},
     .length = 9,
     .size = 9,
     .got = "123456789"},

    {"one byte, size unknown",
     {206, {RANGE("bytes 0-0/100"), ETAG}, "0"},
     .length = 1,
     .size = UINT64_MAX,
     .got = "0"},
    {"past the end, size unknown",
     {206, {RANGE("bytes 90-99/100"), ETAG}, DATA},
     .offset = 90,
     .length = 50,
     .size = UINT64_MAX,
     .got = DATA},
    {"200 of a small object, size unknown",
     {200, {LENGTH("10"), ETAG}, DATA},
     .length = 50,
     .size = UINT64_MAX,
     .got = DATA},
    {"200 of a large object, size unknown",
     {200, {LENGTH("100"), ETAG}, DATA},
     .length = 50,
     .size = UINT64_MAX,
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"200 to a later range, size unknown",
     {200, {LENGTH("10"), ETAG}, DATA},
     .offset = 90,
     .length = 50,
     .size = UINT64_MAX,
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF},
    {"200 of an empty object, size unknown",
     {200, {LENGTH("0"), ETAG}, NULL},
     .length = 50,
     .size = UINT64_MAX},
    {"416 of an empty object, size unknown",
     {416, {{NULL}}, XML_ERROR("InvalidRange")},
     .length = 1,
     .size = UINT64_MAX},
    {"416 at the end, size unknown",
     {416, {RANGE("bytes */90")}, XML_ERROR("InvalidRange")},
     .offset = 90,
     .length = 1,
     .size = UINT64_MAX},
    {"416 somewhere, size unknown",
     {416, {{NULL}}, XML_ERROR("InvalidRange")},
     .offset = 90,
     .length = 1,
     .size = UINT64_MAX,
     .err = -EIO},
    {"416 and a total behind the range",
     {416, {RANGE("bytes */91")}, NULL},
     .offset = 90,
     .length = 1,
     .size = UINT64_MAX,
     .err = -EIO},

    {"longer than its own Content-Range",
     {206, {RANGE("bytes 10-12/100"), ETAG}, DATA},
     .err = -EIO,
     .retry = S3_RETRY_BACKOFF,
     .got = "012"},
    {"stalled", {.error = HTTP_STALLED}, .err = -EIO, .retry = S3_RETRY_BACKOFF},
    {"cancelled in the middle",
     {206, {RANGE("bytes 10-19/100"), ETAG}, "01", .error = HTTP_CANCELLED},
     .err = -ECANCELED,
     .got = "01"},
    {"flood",
     {206, {RANGE("bytes 10-19/100"), ETAG}, DATA, .error = HTTP_TOO_LARGE},
     .err = -EIO,
     .got = DATA},
};

static void start(const struct get_case *c, struct s3_op *op, struct sink *sink)
{
	if (c->length)
		get_init(op, sink, c->offset, c->length, c->size);
	else
		get_init(op, sink, 10, 10, 100);
	snprintf(op->if_match, sizeof(op->if_match), "%s", c->if_match ? c->if_match : "\"e\"");
}

static void check_case(const struct get_case *c, size_t step)
{
	const char *got = c->got ? c->got : "";
	struct sink sink = {0};
	struct s3_op op;

	start(c, &op, &sink);
	run(&op, &c->answer, step);
	if (op.result.err != c->err || op.result.retry != c->retry)
		fail_msg("%s (step %zu): %d, retry %d: %s", c->name, step, op.result.err,
			 op.result.retry, op.result.message);
	assert_int_equal(op.result.status, c->answer.status);
	assert_string_equal(op.result.code, c->code ? c->code : "");
	assert_int_equal(sink.bytes.length, strlen(got));
	assert_memory_equal(sink.bytes.data ? sink.bytes.data : "", got, strlen(got));
	assert_int_equal(op.received, sink.bytes.length);
	assert_true(op.received <= op.length);
	buf_finish(&sink.bytes);
	s3_op_finish(&op);
}

static void test_answers(void **state)
{
	static const size_t steps[] = {1, 3, 4096};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++)
			check_case(&cases[i], steps[s]);
}

/* Tries of one op, one after the other, until one is final. */
static void run_all(struct s3_op *op, const struct answer *answers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		run(op, &answers[i], 4);
		if (i + 1 < count)
			assert_int_equal(op->result.retry, S3_RETRY_BACKOFF);
	}
}

static void test_retries_deliver_each_byte_once(void **state)
{
	static const struct answer answers[] = {
	    {206, {RANGE("bytes 10-19/100"), ETAG}, "012", .error = HTTP_RESET},
	    {.error = HTTP_CONNECT_FAILED},
	    {503, {{NULL}}, XML_ERROR("InternalError")},
	    {206, {RANGE("bytes 13-15/100"), LENGTH("3"), ETAG}, "345"},
	    {206, {RANGE("bytes 16-19/100"), LENGTH("4"), ETAG}, "6789"},
	};
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 10, 10, 100);
	run_all(&op, answers, 5);
	assert_int_equal(op.result.err, 0);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	assert_string_equal(op.result.code, "");
	assert_string_equal(sink.bytes.data, DATA);
	assert_string_equal(op.object.etag, "\"e\"");
	assert_int_equal(op.object.size, 100);
	buf_finish(&sink.bytes);
	s3_op_finish(&op);
}

static void test_a_rest_is_never_a_whole_object(void **state)
{
	static const struct answer answers[] = {
	    {200, {LENGTH("10"), ETAG}, "012", .error = HTTP_RESET},
	    {200, {LENGTH("10"), ETAG}, DATA},
	    {206, {RANGE("bytes 3-9/10"), ETAG}, "3456789"},
	};
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 0, 10, 10);
	run_all(&op, answers, 3);
	assert_int_equal(op.result.err, 0);
	assert_string_equal(sink.bytes.data, DATA);
	buf_finish(&sink.bytes);
	s3_op_finish(&op);
}

static void test_versions_are_never_mixed(void **state)
{
	static const struct answer answers[] = {
	    {206, {RANGE("bytes 10-19/100"), ETAG}, "012", .error = HTTP_RESET},
	    {206, {RANGE("bytes 13-19/100"), {"etag", "\"f\""}}, "xxxxxxx"},
	};
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 10, 10, 100); /* nobody said which version */
	run_all(&op, answers, 2);
	assert_int_equal(op.result.err, -ESTALE);
	assert_string_equal(sink.bytes.data, "012");
	buf_finish(&sink.bytes);
	s3_op_finish(&op);
}

static void test_size_changes_between_tries(void **state)
{
	static const struct answer answers[] = {
	    {206, {RANGE("bytes 10-19/100")}, "012", .error = HTTP_RESET},
	    {206, {RANGE("bytes 13-19/99")}, "xxxxxxx"},
	};
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 10, 10, UINT64_MAX);
	run_all(&op, answers, 2);
	assert_int_equal(op.result.err, -ESTALE);
	buf_finish(&sink.bytes);
	s3_op_finish(&op);
}

static void test_checksum_spans_tries(void **state)
{
	static const struct answer answers[] = {
	    {200,
	     {LENGTH("9"), ETAG, {"x-amz-checksum-crc32c", "4waSgw=="}},
	     "1234",
	     .error = HTTP_CUT},
	    {206, {RANGE("bytes 4-8/9"), ETAG}, "56789"},
	};
	static const struct answer flipped[] = {
	    {200,
	     {LENGTH("9"), ETAG, {"x-amz-checksum-crc32c", "4waSgw=="}},
	     "1234",
	     .error = HTTP_CUT},
	    {206, {RANGE("bytes 4-8/9"), ETAG}, "56799"},
	};
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 0, 9, 9);
	run_all(&op, answers, 2);
	assert_int_equal(op.result.err, 0);
	s3_op_finish(&op);
	buf_finish(&sink.bytes);
	get_init(&op, &sink, 0, 9, 9);
	run_all(&op, flipped, 2);
	assert_int_equal(op.result.err, -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
	buf_finish(&sink.bytes);
}

static void test_sink_stops_for_good(void **state)
{
	static const struct answer answer = {206, {RANGE("bytes 10-19/100"), ETAG}, DATA};
	struct sink sink = {.refuse_with = -ENOSPC};
	struct s3_op op;

	get_init(&op, &sink, 10, 10, 100);
	assert_int_equal(run(&op, &answer, 4), -ENOSPC);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	assert_int_equal(op.received, 0);
	s3_op_finish(&op);
}

static void test_body_caps(void **state)
{
	struct sink sink = {0};
	struct s3_op op;

	get_init(&op, &sink, 0, 100 << 20, UINT64_MAX);
	assert_int_equal(s3_body_cap(&op), 100 << 20);
	op.length = 1;
	assert_int_equal(s3_body_cap(&op), S3_ERROR_BYTES_MAX);
	s3_op_init(&op, S3_LIST);
	assert_int_equal(s3_body_cap(&op), S3_XML_BYTES_MAX);
	s3_op_init(&op, S3_HEAD_OBJECT);
	assert_int_equal(s3_body_cap(&op), S3_ERROR_BYTES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_retries_deliver_each_byte_once),
	    cmocka_unit_test(test_a_rest_is_never_a_whole_object),
	    cmocka_unit_test(test_versions_are_never_mixed),
	    cmocka_unit_test(test_size_changes_between_tries),
	    cmocka_unit_test(test_checksum_spans_tries),
	    cmocka_unit_test(test_sink_stops_for_good),
	    cmocka_unit_test(test_body_caps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
