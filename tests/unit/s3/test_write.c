/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What answers to PUT, UploadPart, Complete, copies and Create mean: success only with the right
 * document and an ETag; what may have been carried out.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define ERROR(code) XML "<Error><Code>" code "</Code><Message>m</Message></Error>"
#define ETAG                                                                                       \
	{                                                                                          \
		"etag", "\"new\""                                                                  \
	}
#define COMPLETED                                                                                  \
	XML "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"    \
	    "<Location>http://x/<!-- a comment --></Location><Bucket>b</Bucket><Key>k</Key>"       \
	    "<ETag>&quot;new&quot;</ETag></CompleteMultipartUploadResult>"
#define COPIED                                                                                     \
	XML "<CopyObjectResult><LastModified>2026-08-30T12:36:00.000Z</LastModified>"              \
	    "<ETag>\"new\"</ETag></CopyObjectResult>"
#define PART_COPIED                                                                                \
	XML "<CopyPartResult><ETag>new</ETag><ChecksumCRC32C>Nks/tw==</ChecksumCRC32C>"            \
	    "</CopyPartResult>"
#define CREATED(id)                                                                                \
	XML "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>" id           \
	    "</UploadId></InitiateMultipartUploadResult>"

static const struct s3_part part = {.number = 1, .etag = "\"p\"", .size = 3};

static void init(struct s3_op *op, enum s3_verb verb)
{
	s3_op_init(op, verb);
	op->key = "k";
	op->key_length = 1;
	op->upload_id = "u";
	op->part_number = 1;
	op->parts = &part;
	op->part_count = 1;
	op->copy.key = "s";
	op->copy.key_length = 1;
}

/* ---- one answer ---- */

struct case_ {
	const char *name;
	enum s3_verb verb;
	bool exclusive;
	struct answer answer;
	int err;
	enum s3_retry retry;
	bool ambiguous;
};

static const struct case_ cases[] = {
    /* success */
    {"put", S3_PUT_OBJECT, false, {200, {ETAG}}, 0, 0, false},
    {"part", S3_UPLOAD_PART, false, {200, {ETAG}}, 0, 0, false},
    {"put with some body", S3_PUT_OBJECT, false, {200, {ETAG}, ERROR("x")}, 0, 0, false},
    {"complete", S3_COMPLETE_MULTIPART, false, {200, {{0}}, COMPLETED}, 0, 0, false},
    {"complete after blanks",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, " \n  " COMPLETED},
     0,
     0,
     false},
    {"copy", S3_COPY_OBJECT, false, {200, {{0}}, COPIED}, 0, 0, false},
    {"part copy", S3_UPLOAD_PART_COPY, false, {200, {{0}}, PART_COPIED}, 0, 0, false},
    {"create", S3_CREATE_MULTIPART, false, {200, {{0}}, CREATED("2~id")}, 0, 0, false},
    {"abort", S3_ABORT_MULTIPART, false, {204, {{0}}}, 0, 0, false},
    {"delete", S3_DELETE_OBJECT, false, {204, {{0}}}, 0, 0, false},
    {"delete, a 200", S3_DELETE_OBJECT, false, {200, {{0}}}, 0, 0, false},

    /* fault 2, 22: a 200 that is none */
    {"put without ETag", S3_PUT_OBJECT, false, {200, {{0}}}, -EIO, S3_RETRY_BACKOFF, true},
    {"part without ETag", S3_UPLOAD_PART, false, {200, {{0}}}, -EIO, S3_RETRY_BACKOFF, true},
    {"part with an empty ETag",
     S3_UPLOAD_PART,
     false,
     {200, {{"etag", "\"\""}}},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"part with an ETag of two lines",
     S3_UPLOAD_PART,
     false,
     {200, {{"etag", "\"a\rb\""}}},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: error inside",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, ERROR("InternalError")},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: blanks, then an error",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, XML "    \n   \n<Error><Code>InvalidPart</Code></Error>"},
     -EIO,
     S3_RETRY_NO,
     false},
    {"complete: slow down inside",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, ERROR("SlowDown")},
     -EIO,
     S3_RETRY_THROTTLE,
     false},
    {"complete: nothing", S3_COMPLETE_MULTIPART, false, {200, {{0}}}, -EIO, S3_RETRY_BACKOFF, true},
    {"complete: blanks only",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "  \n "},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: no XML",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "OK"},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: cut",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "<CompleteMultipartUploadResult><ETag>\"new\"</ETag>"},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: cut by the transfer",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, COMPLETED, 0, HTTP_CUT},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: wrong root",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, COPIED},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: RGW's empty ETag",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: an ETag in the wrong place",
     S3_COMPLETE_MULTIPART,
     false,
     {200,
      {{0}},
      "<CompleteMultipartUploadResult><x><ETag>\"new\"</ETag></x></CompleteMultipartUploadResult>"},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"complete: a page of a proxy",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "<!DOCTYPE html><html></html>"},
     -EIO,
     S3_RETRY_NO,
     true},
    {"copy: error inside",
     S3_COPY_OBJECT,
     false,
     {200, {{0}}, ERROR("AccessDenied")},
     -EACCES,
     S3_RETRY_NO,
     false},
    {"copy: wrong root",
     S3_COPY_OBJECT,
     false,
     {200, {{0}}, PART_COPIED},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"part copy: error inside",
     S3_UPLOAD_PART_COPY,
     false,
     {200, {{0}}, ERROR("InternalError")},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"create: no id",
     S3_CREATE_MULTIPART,
     false,
     {200, {{0}}, CREATED("")},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"create: an id of two lines",
     S3_CREATE_MULTIPART,
     false,
     {200, {{0}}, CREATED("a&#10;b")},
     -EIO,
     S3_RETRY_BACKOFF,
     true},

    /* what is lost, and what cannot have arrived */
    {"reset", S3_PUT_OBJECT, false, {0, {{0}}, .error = HTTP_RESET}, -EIO, S3_RETRY_BACKOFF, true},
    {"reset of an idle connection",
     S3_PUT_OBJECT,
     false,
     {0, {{0}}, .error = HTTP_RESET, .reused = true},
     -EIO,
     S3_RETRY_FRESH,
     true},
    {"no first byte",
     S3_COMPLETE_MULTIPART,
     false,
     {0, {{0}}, .error = HTTP_FIRST_BYTE_TIMEOUT},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"stalled",
     S3_UPLOAD_PART,
     false,
     {0, {{0}}, .error = HTTP_STALLED},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"cancelled",
     S3_PUT_OBJECT,
     false,
     {0, {{0}}, .error = HTTP_CANCELLED},
     -ECANCELED,
     S3_RETRY_NO,
     true},
    {"cancelled in the answer",
     S3_COMPLETE_MULTIPART,
     false,
     {200, {{0}}, "  ", .error = HTTP_CANCELLED},
     -ECANCELED,
     S3_RETRY_NO,
     true},
    {"not resolved",
     S3_PUT_OBJECT,
     false,
     {0, {{0}}, .error = HTTP_RESOLVE_FAILED},
     -EIO,
     S3_RETRY_BACKOFF,
     false},
    {"not connected",
     S3_PUT_OBJECT,
     false,
     {0, {{0}}, .error = HTTP_CONNECT_FAILED},
     -EIO,
     S3_RETRY_BACKOFF,
     false},
    {"a foreign certificate",
     S3_PUT_OBJECT,
     false,
     {0, {{0}}, .error = HTTP_CERTIFICATE},
     -EIO,
     S3_RETRY_NO,
     false},
    {"500",
     S3_PUT_OBJECT,
     false,
     {500, {{0}}, ERROR("InternalError")},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"502 of a proxy",
     S3_COMPLETE_MULTIPART,
     false,
     {502, {{0}}, "<html>"},
     -EIO,
     S3_RETRY_BACKOFF,
     true},
    {"503 SlowDown",
     S3_PUT_OBJECT,
     false,
     {503, {{0}}, ERROR("SlowDown")},
     -EIO,
     S3_RETRY_THROTTLE,
     false},
    {"501",
     S3_COPY_OBJECT,
     false,
     {501, {{0}}, ERROR("NotImplemented")},
     -EOPNOTSUPP,
     S3_RETRY_NO,
     false},
    {"403", S3_PUT_OBJECT, false, {403, {{0}}, ERROR("AccessDenied")}, -EACCES, S3_RETRY_NO, false},
    {"400, the body was cut",
     S3_UPLOAD_PART,
     false,
     {400, {{0}}, ERROR("RequestTimeout")},
     -EIO,
     S3_RETRY_BACKOFF,
     false},
    {"a list is never ambiguous",
     S3_LIST_PARTS,
     false,
     {0, {{0}}, .error = HTTP_RESET},
     -EIO,
     S3_RETRY_BACKOFF,
     false},

    /* conditions, fault 20 and 21 */
    {"412 of an exclusive put",
     S3_PUT_OBJECT,
     true,
     {412, {{0}}, ERROR("PreconditionFailed")},
     -EEXIST,
     S3_RETRY_NO,
     false},
    {"412 of a put",
     S3_PUT_OBJECT,
     false,
     {412, {{0}}, ERROR("PreconditionFailed")},
     -ESTALE,
     S3_RETRY_NO,
     false},
    {"412 inside a 200",
     S3_COMPLETE_MULTIPART,
     true,
     {200, {{0}}, ERROR("PreconditionFailed")},
     -EEXIST,
     S3_RETRY_NO,
     false},
    {"412 of the target",
     S3_COPY_OBJECT,
     true,
     {412,
      {{0}},
      "<Error><Code>PreconditionFailed</Code><Condition>If-None-Match</Condition>"
      "</Error>"},
     -EEXIST,
     S3_RETRY_NO,
     false},
    {"412 of the source",
     S3_COPY_OBJECT,
     true,
     {412,
      {{0}},
      "<Error><Code>PreconditionFailed</Code>"
      "<Condition>x-amz-copy-source-If-Match</Condition></Error>"},
     -ESTALE,
     S3_RETRY_NO,
     false},
    {"409 of a put",
     S3_PUT_OBJECT,
     true,
     {409, {{0}}, ERROR("ConditionalRequestConflict")},
     -EIO,
     S3_RETRY_BACKOFF,
     false},
    {"409 of Complete",
     S3_COMPLETE_MULTIPART,
     true,
     {409, {{0}}, ERROR("ConditionalRequestConflict")},
     -EAGAIN,
     S3_RETRY_NO,
     false},
};

static void test_answers(void **state)
{
	static const size_t steps[] = {1, 3, 4096};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
			const struct case_ *c = &cases[i];
			struct s3_op op;
			int r;

			init(&op, c->verb);
			op.if_none_match_any = c->exclusive;
			r = run(&op, &c->answer, steps[s]);
			if (r != c->err || (r < 0 && op.result.retry != c->retry) ||
			    op.ambiguous != c->ambiguous)
				fail_msg("%s: %d, retry %d, ambiguous %d (%s)", c->name, r,
					 op.result.retry, op.ambiguous, op.result.message);
			s3_op_finish(&op);
		}
}

static void test_etags_have_quotes(void **state)
{
	static const struct {
		enum s3_verb verb;
		struct answer answer;
	} good[] = {
	    {S3_PUT_OBJECT, {200, {ETAG}}},
	    {S3_UPLOAD_PART, {200, {{"etag", "new"}}}},
	    {S3_COMPLETE_MULTIPART, {200, {{0}}, COMPLETED}},
	    {S3_COPY_OBJECT, {200, {{0}}, COPIED}},
	    {S3_UPLOAD_PART_COPY, {200, {{0}}, PART_COPIED}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct s3_op op;

		init(&op, good[i].verb);
		assert_int_equal(run(&op, &good[i].answer, 5), 0);
		assert_string_equal(op.object.etag, "\"new\"");
		assert_int_equal(op.has_crc32c, op.verb == S3_UPLOAD_PART_COPY);
		s3_op_finish(&op);
	}
}

static void test_what_a_publication_learns(void **state)
{
	static const struct answer versioned = {
	    200, {{"x-amz-version-id", "v+/="}, {"content-type", "application/xml"}}, COMPLETED};
	static const struct answer created = {
	    200, {{"x-amz-checksum-algorithm", "CRC32C"}}, CREATED("2~id")};
	struct s3_op op;

	init(&op, S3_COMPLETE_MULTIPART);
	assert_int_equal(run(&op, &versioned, 1), 0);
	assert_string_equal(op.version_id, "v+/=");
	s3_op_finish(&op);
	init(&op, S3_CREATE_MULTIPART);
	assert_int_equal(run(&op, &created, 1), 0);
	assert_string_equal(op.created_id, "2~id");
	assert_true(op.has_crc32c);
	s3_op_finish(&op);
}

/* ---- fault 3: Complete that keeps its client waiting ---- */

static void test_minutes_of_blanks(void **state)
{
	enum { BLANKS = 100000 };
	static char body[BLANKS + 2 * sizeof(COMPLETED)];
	static const char *const prologs[] = {"", XML};

	for (size_t i = 0; i < ARRAY_SIZE(prologs); i++) {
		struct answer a = {200, {{0}}, body};
		size_t start = strlen(prologs[i]);
		struct s3_op op;

		memcpy(body, prologs[i], start);
		memset(body + start, ' ', BLANKS);
		strcpy(body + start + BLANKS, strstr(COMPLETED, "<CompleteM"));
		init(&op, S3_COMPLETE_MULTIPART);
		assert_true(s3_body_cap(&op) > BLANKS);
		assert_int_equal(run(&op, &a, 4096), 0);
		assert_string_equal(op.object.etag, "\"new\"");
		s3_op_finish(&op);
	}
}

/* Blanks inside of a tag are no waiting: libxml2 would keep them. */
static void test_blanks_in_a_tag(void **state)
{
	static char body[20000];
	struct answer a = {200, {{0}}, body};
	struct s3_op op;

	memset(body, ' ', sizeof(body) - 1);
	memcpy(body, "<CompleteMultipartUploadResult a='", 34);
	init(&op, S3_COMPLETE_MULTIPART);
	assert_int_equal(run(&op, &a, 1000), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_etags_have_quotes),
	    cmocka_unit_test(test_what_a_publication_learns),
	    cmocka_unit_test(test_minutes_of_blanks),
	    cmocka_unit_test(test_blanks_in_a_tag),
	};

	s3_library_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
