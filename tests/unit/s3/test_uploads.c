/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of parts and uploads, ends of many deletes, tags, attributes of an object. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#define ANSWER(text)                                                                               \
	{                                                                                          \
		.status = 200, .body = (text)                                                      \
	}

/* ---- ListParts ---- */

static void init_parts(struct s3_op *op)
{
	s3_op_init(op, S3_LIST_PARTS);
	op->key = "k";
	op->key_length = 1;
	op->upload_id = "u";
}

#define PART(number, rest) "<Part><PartNumber>" number "</PartNumber>" rest "</Part>"

static void test_parts(void **state)
{
	static const struct answer page = ANSWER(
	    "<ListPartsResult><Bucket>b</Bucket><PartNumberMarker>0</PartNumberMarker>"
	    "<NextPartNumberMarker>9</NextPartNumberMarker><IsTruncated>true</IsTruncated>"
	    "<Initiator><ID>i</ID></Initiator>" PART("1",
						     "<ETag>\"a\"</ETag><Size>5242880</Size>"
						     "<ChecksumCRC32C>Nks/tw==</ChecksumCRC32C>")
		PART("2", "<ETag>\"b\"</ETag>") PART("10001", "<ETag>\"b\"</ETag><Size>1</Size>")
		    PART("3", "<ETag></ETag><Size>1</Size>")
			PART("9", "<ETag>\"c\"</ETag><Size>0</Size>") "</ListPartsResult>");
	static const size_t steps[] = {1, 7, 4096};

	for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
		struct s3_op op;

		init_parts(&op);
		assert_int_equal(run(&op, &page, steps[s]), 0);
		assert_int_equal(op.upload_page.part_count, 2);
		assert_int_equal(op.upload_page.refused, 3);
		assert_int_equal(op.upload_page.parts[0].number, 1);
		assert_string_equal(op.upload_page.parts[0].etag, "\"a\"");
		assert_int_equal(op.upload_page.parts[0].size, 5242880);
		assert_true(op.upload_page.parts[0].has_crc32c);
		assert_int_equal(op.upload_page.parts[0].crc32c, 0x364b3fb7);
		assert_int_equal(op.upload_page.parts[1].number, 9);
		assert_false(op.upload_page.parts[1].has_crc32c);
		assert_true(op.upload_page.truncated);
		assert_int_equal(op.upload_page.next_part, 9);
		s3_op_finish(&op);
	}
}

/* Fault 25: a page that leads to itself, or nowhere. */
static void test_parts_that_do_not_go_on(void **state)
{
	static const struct answer same =
	    ANSWER("<ListPartsResult><IsTruncated>true</IsTruncated>"
		   "<NextPartNumberMarker>9</NextPartNumberMarker></ListPartsResult>");
	static const struct answer none =
	    ANSWER("<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>");
	struct s3_op op;

	init_parts(&op);
	op.part_marker = 9;
	assert_int_equal(run(&op, &same, 64), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
	init_parts(&op);
	assert_int_equal(run(&op, &none, 64), -EIO);
	s3_op_finish(&op);
}

static void test_too_many_parts(void **state)
{
	CLEANUP(buf_finish) struct buf body = BUF_INIT;
	struct answer a = {200};
	struct s3_op op;

	buf_append_str(&body, "<ListPartsResult>");
	for (int i = 1; i <= S3_LIST_ENTRIES_MAX; i++)
		buf_printf(&body, PART("%d", "<ETag>e</ETag><Size>1</Size>"), i);
	a.body = body.data;
	init_parts(&op);
	assert_int_equal(run(&op, &a, 4096), -EIO); /* cut so far */
	buf_append_str(&body, "</ListPartsResult>");
	a.body = body.data;
	assert_int_equal(run(&op, &a, 4096), 0);
	assert_int_equal(op.upload_page.part_count, S3_LIST_ENTRIES_MAX);
	body.length -= strlen("</ListPartsResult>");
	buf_append_str(&body, PART("1001", "") "</ListPartsResult>");
	a.body = body.data;
	assert_int_equal(run(&op, &a, 4096), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
}

/* ---- ListMultipartUploads ---- */

#define UPLOAD(key, id, rest)                                                                      \
	"<Upload><Key>" key "</Key><UploadId>" id "</UploadId>" rest "</Upload>"

static void test_uploads(void **state)
{
	static const struct answer page = ANSWER(
	    "<ListMultipartUploadsResult><NextKeyMarker>b%2F%FF</NextKeyMarker>"
	    "<NextUploadIdMarker>2~z</NextUploadIdMarker><IsTruncated>true</IsTruncated>" UPLOAD(
		"a+b%2B", "2~x", "<Initiated>2026-08-30T12:36:00.500Z</Initiated>")
		UPLOAD("", "i", "") UPLOAD("k", "", "") UPLOAD("k", "a b", "")
		    UPLOAD("%zz", "i", "") UPLOAD("k\x01", "i", "")
			UPLOAD("b%2F%FF", "2~z",
			       "<Initiated>yesterday</Initiated>"
			       "<Owner><ID>o</ID></Owner>") "<EncodingType>url</EncodingType></"
							    "ListMultipartUploadsResult>");
	struct s3_op op;

	s3_op_init(&op, S3_LIST_UPLOADS);
	assert_int_equal(run(&op, &page, 5), 0);
	assert_int_equal(op.upload_page.upload_count, 2);
	assert_int_equal(op.upload_page.refused, 5);
	assert_string_equal(op.upload_page.uploads[0].key, "a b+");
	assert_int_equal(op.upload_page.uploads[0].key_length, 4);
	assert_string_equal(op.upload_page.uploads[0].id, "2~x");
	assert_int_equal(op.upload_page.uploads[0].initiated.tv_sec, FIXTURE_NOW_S);
	assert_string_equal(op.upload_page.uploads[1].key, "b/\xff");
	assert_int_equal(op.upload_page.uploads[1].initiated.tv_sec, 0);
	assert_string_equal(op.upload_page.next_key, "b/\xff");
	assert_string_equal(op.upload_page.next_upload, "2~z");
	/* the next page with the same markers leads nowhere */
	op.key_marker = "b/\xff";
	op.key_marker_length = 3;
	op.upload_marker = "2~z";
	assert_int_equal(run(&op, &page, 4096), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	s3_op_finish(&op);
}

static void test_uploads_of_a_server_without_encoding(void **state)
{
	static const struct answer page = ANSWER("<ListMultipartUploadsResult>" UPLOAD(
	    "a+b%2B &amp; c", "x", "") "</ListMultipartUploadsResult>");
	static const struct answer endless =
	    ANSWER("<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
		   "</ListMultipartUploadsResult>");
	static const struct answer other = ANSWER("<ListBucketResult></ListBucketResult>");
	struct s3_op op;

	s3_op_init(&op, S3_LIST_UPLOADS);
	assert_int_equal(run(&op, &page, 1), 0);
	assert_string_equal(op.upload_page.uploads[0].key, "a+b%2B & c");
	assert_false(op.upload_page.truncated);
	assert_int_equal(run(&op, &endless, 1), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	assert_int_equal(run(&op, &other, 1), -EIO); /* one that ignores ?uploads */
	s3_op_finish(&op);
}

/* ---- DeleteObjects ---- */

#define NOT(key, code) "<Error><Key>" key "</Key><Code>" code "</Code><Message>m</Message></Error>"

static struct s3_delete deletes[4];

static void init_deletes(struct s3_op *op)
{
	static const char *const keys[] = {"a", "b&", "c", "d"};

	for (size_t i = 0; i < ARRAY_SIZE(deletes); i++)
		deletes[i] = (struct s3_delete){.key = keys[i], .key_length = strlen(keys[i])};
	deletes[3].etag = "\"e\"";
	s3_op_init(op, S3_DELETE_OBJECTS);
	op->deletes = deletes;
	op->delete_count = ARRAY_SIZE(deletes);
}

static void assert_errs(int a, int b, int c, int d)
{
	assert_int_equal(deletes[0].err, a);
	assert_int_equal(deletes[1].err, b);
	assert_int_equal(deletes[2].err, c);
	assert_int_equal(deletes[3].err, d);
}

static bool asks_for(const struct s3_op *op, const char *element)
{
	struct http_request r = {0};

	s3_op_body(op, &r);
	return memmem(r.body[0].iov_base, r.body[0].iov_len, element, strlen(element)) != NULL;
}

static void test_every_key_has_its_end(void **state)
{
	static const struct answer a =
	    ANSWER("<DeleteResult><Deleted><Key>a</Key></Deleted>" NOT("d", "PreconditionFailed")
		       NOT("b&amp;", "AccessDenied") NOT("c", "NoSuchKey") "</DeleteResult>");
	static const struct answer all = ANSWER("<DeleteResult/>");
	struct s3_op op;

	init_deletes(&op);
	assert_int_equal(run(&op, &a, 3), 0);
	assert_errs(0, -EACCES, 0, -ESTALE);
	s3_op_finish(&op);
	init_deletes(&op);
	assert_int_equal(run(&op, &all, 3), 0);
	assert_errs(0, 0, 0, 0);
	s3_op_finish(&op);
}

static void test_only_what_may_pass_is_asked_again(void **state)
{
	static const struct answer some = ANSWER("<DeleteResult>" NOT("c", "InternalError") NOT(
	    "a", "AccessDenied") NOT("d", "SlowDown") "</DeleteResult>");
	static const struct answer one =
	    ANSWER("<DeleteResult>" NOT("d", "NoSuchKey") "</DeleteResult>");
	struct s3_op op;

	init_deletes(&op);
	assert_int_equal(run(&op, &some, 3), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_THROTTLE);
	assert_errs(-EACCES, 0, -EIO, -EIO);
	assert_int_equal(run(&op, &one, 3), 0);
	assert_false(asks_for(&op, "<Key>a<"));
	assert_false(asks_for(&op, "<Key>b&amp;<"));
	assert_true(asks_for(&op, "<Key>c<"));
	assert_true(asks_for(&op, "<Key>d<"));
	assert_errs(-EACCES, 0, 0, -ENOENT);
	s3_op_finish(&op);
}

/* What an answer that broke off said about single keys counts; the others are asked for again. */
static void test_an_answer_that_breaks_off(void **state)
{
	static const struct answer cut = ANSWER("<DeleteResult>" NOT("a", "AccessDenied"));
	static const struct answer gone =
	    ANSWER("<DeleteResult>" NOT("d", "NoSuchKey") "</DeleteResult>");
	struct s3_op op;

	init_deletes(&op);
	assert_int_equal(run(&op, &cut, 3), -EIO);
	assert_int_equal(op.result.retry, S3_RETRY_BACKOFF);
	assert_true(op.ambiguous);
	assert_errs(-EACCES, -EIO, -EIO, -EIO);
	assert_int_equal(run(&op, &gone, 3), 0);
	assert_false(asks_for(&op, "<Key>a<"));
	assert_errs(-EACCES, 0, 0,
		    0); /* d was there and its ETag asked for: the first try did it */
	s3_op_finish(&op);
}

static void test_errors_of_the_whole_request(void **state)
{
	static const struct answer foreign =
	    ANSWER("<DeleteResult>" NOT("z", "AccessDenied") "</DeleteResult>");
	static const struct answer wrong = ANSWER("<ListBucketResult/>");
	static const struct answer denied = {
	    403, {{0}}, "<Error><Code>AccessDenied</Code></Error>"};
	struct s3_op op;

	init_deletes(&op);
	assert_int_equal(run(&op, &foreign, 3), -EACCES);
	assert_int_equal(op.result.retry, S3_RETRY_NO);
	assert_errs(-EIO, -EIO, -EIO, -EIO);
	s3_op_finish(&op);
	init_deletes(&op);
	assert_int_equal(run(&op, &wrong, 3), -EIO);
	assert_errs(-EIO, -EIO, -EIO, -EIO);
	s3_op_finish(&op);
	init_deletes(&op);
	assert_int_equal(run(&op, &denied, 3), -EACCES);
	assert_errs(-EIO, -EIO, -EIO, -EIO);
	s3_op_finish(&op);
}

/* ---- tags ---- */

#define TAG(key, value) "<Tag><Key>" key "</Key><Value>" value "</Value></Tag>"

static void test_tags(void **state)
{
	static const struct answer two = ANSWER("<Tagging><TagSet>" TAG("a b", "&amp;=")
						    TAG("\xc3\xa9", "") "</TagSet></Tagging>");
	static const struct answer cut = ANSWER("<Tagging><TagSet>" TAG("x", "y"));
	static const struct answer none = ANSWER("<Tagging><TagSet/></Tagging>");
	struct s3_op op;

	s3_op_init(&op, S3_GET_TAGGING);
	op.key = "k";
	op.key_length = 1;
	assert_int_equal(run(&op, &cut, 1), -EIO);
	assert_null(op.tagging);
	assert_int_equal(run(&op, &two, 1), 0);
	assert_string_equal(op.tagging, "a%20b=%26%3D&%C3%A9=");
	assert_int_equal(run(&op, &none, 1), 0);
	assert_string_equal(op.tagging, "");
	s3_op_finish(&op);
}

/* ---- attributes ---- */

static const struct answer head = {
    200,
    {{"etag", "\"e\""},
     {"content-length", "3"},
     {"content-type", "text/plain; charset=utf-8; and more that a short field would cut off"},
     {"cache-control", "max-age=3"},
     {"x-amz-storage-class", "STANDARD_IA"},
     {"x-amz-server-side-encryption", "AES256"},
     {"x-amz-meta-mtime", "1.5"},
     {"x-amz-meta-bad", "a\x01"},
     {"x-amz-meta-uni", "=?UTF-8?B?w6k=?= \xc3\xa9"},
     {"x-amz-tagging-count", "2"},
     {"x-amz-version-id", "v"}},
};

static void init_head(struct s3_op *op)
{
	s3_op_init(op, S3_HEAD_OBJECT);
	op->key = "k";
	op->key_length = 1;
	op->want_attributes = true;
}

static void test_attributes(void **state)
{
	struct s3_op op;

	init_head(&op);
	assert_int_equal(run(&op, &head, 1), 0);
	assert_string_equal(op.found.content_type, head.headers[2].value);
	assert_string_equal(op.found.cache_control, "max-age=3");
	assert_string_equal(op.found.storage_class, "STANDARD_IA");
	assert_string_equal(op.found.sse, "AES256");
	assert_null(op.found.content_encoding);
	assert_null(op.found.tagging);
	assert_int_equal(op.found.meta_count, 2);
	assert_string_equal(op.found.meta[0].name, "mtime");
	assert_string_equal(op.found.meta[0].value, "1.5");
	assert_string_equal(op.found.meta[1].name, "uni");
	assert_int_equal(op.tag_count, 2);
	assert_string_equal(op.version_id, "v");
	s3_op_finish(&op);
	init_head(&op);
	op.want_attributes = false;
	assert_int_equal(run(&op, &head, 1), 0);
	assert_null(op.found.content_type);
	s3_op_finish(&op);
}

/* What HEAD answered goes into a copy byte by byte. */
static void test_attributes_go_round(void **state)
{
	static const struct s3_keys none;
	struct s3_target t = local_target();
	struct http_message m;
	struct s3_op from, to;

	init_head(&from);
	assert_int_equal(run(&from, &head, 1), 0);
	s3_op_init(&to, S3_CREATE_MULTIPART);
	to.key = "k";
	to.key_length = 1;
	to.attributes = from.found;
	assert_int_equal(s3_build(&to, &t, &none, FIXTURE_NOW_S, &m), 0);
	for (size_t i = 2; i < 9; i++)
		if (i != 7)
			assert_string_equal(message_header(&m, head.headers[i].name),
					    head.headers[i].value);
	http_message_finish(&m);
	s3_op_finish(&to);
	s3_op_finish(&from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parts),
	    cmocka_unit_test(test_parts_that_do_not_go_on),
	    cmocka_unit_test(test_too_many_parts),
	    cmocka_unit_test(test_uploads),
	    cmocka_unit_test(test_uploads_of_a_server_without_encoding),
	    cmocka_unit_test(test_every_key_has_its_end),
	    cmocka_unit_test(test_only_what_may_pass_is_asked_again),
	    cmocka_unit_test(test_an_answer_that_breaks_off),
	    cmocka_unit_test(test_errors_of_the_whole_request),
	    cmocka_unit_test(test_tags),
	    cmocka_unit_test(test_attributes),
	    cmocka_unit_test(test_attributes_go_round),
	};

	s3_library_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
