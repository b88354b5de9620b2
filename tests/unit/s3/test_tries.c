/* SPDX-License-Identifier: Apache-2.0 */
/* Several tries of one op that changes something: what the end says, and whether it is certain. */
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
#define PART_COPIED                                                                                \
	XML "<CopyPartResult><ETag>new</ETag><ChecksumCRC32C>Nks/tw==</ChecksumCRC32C>"            \
	    "</CopyPartResult>"
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

/* What one try said is not the next one's. */
static void test_tries_do_not_mix(void **state)
{
	static const struct answer cut = {200, {{0}}, PART_COPIED "</", .error = HTTP_CUT};
	static const struct answer plain = {
	    200, {{0}}, "<CopyPartResult><ETag>other</ETag></CopyPartResult>"};
	static const struct answer none = {200, {{0}}, "<CopyPartResult/>"};
	struct s3_op op;

	init(&op, S3_UPLOAD_PART_COPY);
	assert_int_equal(run(&op, &cut, 64), -EIO);
	assert_int_equal(run(&op, &plain, 64), 0);
	assert_string_equal(op.object.etag, "\"other\"");
	assert_false(op.has_crc32c);
	assert_int_equal(run(&op, &none, 64), -EIO);
	assert_string_equal(op.object.etag, "");
	s3_op_finish(&op);
}

/* ---- fault 19: several tries ---- */

#define TRIES_MAX 3

static const struct {
	const char *name;
	enum s3_verb verb;
	bool exclusive;
	struct answer tries[TRIES_MAX]; /* up to one with neither status nor error */
	int err;
	bool ambiguous;
} sequences[] = {
    {"lost, then done",
     S3_PUT_OBJECT,
     false,
     {{0, {{0}}, .error = HTTP_RESET}, {200, {ETAG}}},
     0,
     true},
    {"412 after a lost answer: ours, perhaps",
     S3_PUT_OBJECT,
     true,
     {{0, {{0}}, .error = HTTP_RESET}, {412, {{0}}, ERROR("PreconditionFailed")}},
     -EEXIST,
     true},
    {"412 after a refusal: not ours",
     S3_PUT_OBJECT,
     true,
     {{503, {{0}}, ERROR("SlowDown")}, {412, {{0}}, ERROR("PreconditionFailed")}},
     -EEXIST,
     false},
    {"412 after a 409: not ours",
     S3_PUT_OBJECT,
     true,
     {{409, {{0}}, ERROR("ConditionalRequestConflict")}, {412, {{0}}, ERROR("PreconditionFailed")}},
     -EEXIST,
     false},
    {"no upload after a lost answer",
     S3_COMPLETE_MULTIPART,
     false,
     {{0, {{0}}, .error = HTTP_FIRST_BYTE_TIMEOUT}, {404, {{0}}, ERROR("NoSuchUpload")}},
     -ENXIO,
     true},
    {"no upload at once",
     S3_COMPLETE_MULTIPART,
     false,
     {{404, {{0}}, ERROR("NoSuchUpload")}},
     -ENXIO,
     false},
    {"RGW's empty ETag, then the true one",
     S3_COMPLETE_MULTIPART,
     false,
     {{200, {{0}}, "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"},
      {200, {{0}}, COMPLETED}},
     0,
     true},
    {"deleted by an answer that was lost",
     S3_DELETE_OBJECT,
     false,
     {{0, {{0}}, .error = HTTP_RESET}, {404, {{0}}, ERROR("NoSuchKey")}},
     0,
     true},
    {"deleted by somebody else",
     S3_DELETE_OBJECT,
     false,
     {{404, {{0}}, ERROR("NoSuchKey")}},
     -ENOENT,
     false},
    {"the bucket went",
     S3_DELETE_OBJECT,
     false,
     {{0, {{0}}, .error = HTTP_RESET}, {404, {{0}}, ERROR("NoSuchBucket")}},
     -ENOENT,
     true},
    {"412, and curl had sent it twice",
     S3_PUT_OBJECT,
     true,
     {{412, {{0}}, ERROR("PreconditionFailed"), .repeated = true}},
     -EEXIST,
     true},
    {"deleted by what curl had sent before",
     S3_DELETE_OBJECT,
     false,
     {{404, {{0}}, ERROR("NoSuchKey"), .repeated = true}},
     0,
     true},
    {"a doubt is never taken back",
     S3_COPY_OBJECT,
     true,
     {{500, {{0}}, ERROR("InternalError")},
      {503, {{0}}, ERROR("SlowDown")},
      {403, {{0}}, ERROR("AccessDenied")}},
     -EACCES,
     true},
};

static void test_sequences(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sequences); i++) {
		struct s3_op op;
		int r = 0;

		init(&op, sequences[i].verb);
		op.if_none_match_any = sequences[i].exclusive;
		for (size_t t = 0; t < TRIES_MAX; t++) {
			const struct answer *a = &sequences[i].tries[t];

			if (a->status == 0 && a->error == HTTP_OK)
				break;
			r = run(&op, a, 7);
		}
		if (r != sequences[i].err || op.ambiguous != sequences[i].ambiguous)
			fail_msg("%s: %d, ambiguous %d", sequences[i].name, r, op.ambiguous);
		s3_op_finish(&op);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tries_do_not_mix),
	    cmocka_unit_test(test_sequences),
	};

	s3_library_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
