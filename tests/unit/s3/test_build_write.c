/* SPDX-License-Identifier: Apache-2.0 */
/* What s3_build sends for the verbs that change objects: literal requests, bodies and refusals. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/cleanup.h>

#define HASH_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define NS "http://s3.amazonaws.com/doc/2006-03-01/"

static const struct s3_keys keys = {"AKIDEXAMPLE", "secret", NULL};
static const struct iovec abc = {(char *)(uintptr_t) "abc", 3};
static const struct s3_meta meta[] = {{"mtime", "1700000000.5"}, {"x-y.z", "h\xc3\xa9 +%/=\""}};
static const struct s3_meta empty_meta[] = {{"none", ""}};
static const struct s3_part parts[] = {
    {.number = 1, .etag = "\"aa\"", .size = 5, .crc32c = 0x364b3fb7, .has_crc32c = true},
    {.number = 10000, .etag = "b&b<", .size = 7},
};

#define KEY .key = "d/k", .key_length = 3
#define BODY .body = {.iov = &abc, .iov_count = 1, .length = 3, .sha256 = HASH_OF_ABC}

/* One request, literally. NULL in a header's value: it must not be sent. */
struct build_case {
	const char *name;
	struct s3_op op;
	bool unsigned_payload, checksum, object_size, bare_etags;
	const char *method, *url;
	struct http_header headers[12];
	const char *body; /* NULL: what op.body has, or none */
};

static const struct build_case cases[] = {
    {
	.name = "put, signed",
	.op = {.verb = S3_PUT_OBJECT, KEY, BODY},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-content-sha256", HASH_OF_ABC},
		    {"If-Match", NULL},
		    {"If-None-Match", NULL},
		    {"Content-Type", NULL},
		    {"x-amz-checksum-crc32c", NULL}},
    },
    {
	.name = "put of nothing",
	.op = {.verb = S3_PUT_OBJECT, KEY, .if_none_match_any = true},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-content-sha256", EMPTY_HASH}, {"If-None-Match", "*"}},
    },
    {
	.name = "put, unsigned with a checksum",
	.op = {.verb = S3_PUT_OBJECT,
	       KEY,
	       .body = {.iov = &abc,
			.iov_count = 1,
			.length = 3,
			.crc32c = 0x364b3fb7,
			.has_crc32c = true}},
	.unsigned_payload = true,
	.checksum = true,
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
		    {"x-amz-checksum-crc32c", "Nks/tw=="}},
    },
    {
	.name = "a checksum that the server has refused",
	.op = {.verb = S3_PUT_OBJECT,
	       KEY,
	       .body = {.iov = &abc, .iov_count = 1, .length = 3, .has_crc32c = true},
	       .left_out = S3_FEATURE_CHECKSUM},
	.unsigned_payload = true,
	.checksum = true,
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-checksum-crc32c", NULL}},
    },
    {
	.name = "put with all attributes",
	.op = {.verb = S3_PUT_OBJECT,
	       KEY,
	       .if_match = "\"e\"",
	       .attributes = {.content_type = "text/html; charset=\"utf-8\"",
			      .cache_control = "no-cache",
			      .content_encoding = "gzip",
			      .storage_class = "STANDARD_IA",
			      .sse = "aws:kms",
			      .sse_kms_key_id = "arn:aws:kms:eu-west-1:1:key/x",
			      .acl = "bucket-owner-full-control",
			      .tagging = "a=b%20c",
			      .meta = meta,
			      .meta_count = 2}},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"If-Match", "\"e\""},
		    {"content-type", "text/html; charset=\"utf-8\""},
		    {"cache-control", "no-cache"},
		    {"content-encoding", "gzip"},
		    {"x-amz-storage-class", "STANDARD_IA"},
		    {"x-amz-server-side-encryption", "aws:kms"},
		    {"x-amz-server-side-encryption-aws-kms-key-id",
		     "arn:aws:kms:eu-west-1:1:key/x"},
		    {"x-amz-acl", "bucket-owner-full-control"},
		    {"x-amz-tagging", "a=b%20c"},
		    {"x-amz-meta-mtime", "1700000000.5"},
		    {"x-amz-meta-x-y.z", "h\xc3\xa9 +%/=\""}},
    },
    {
	.name = "put with an attribute that has no value",
	.op = {.verb = S3_PUT_OBJECT,
	       KEY,
	       .attributes = {.meta = empty_meta, .meta_count = ARRAY_SIZE(empty_meta)}},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-meta-none", ""}},
    },
    {
	.name = "put for a server that wants bare ETags",
	.op = {.verb = S3_PUT_OBJECT, KEY, .if_match = "\"e-2\""},
	.bare_etags = true,
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"If-Match", "e-2"}},
    },
    {
	.name = "delete",
	.op = {.verb = S3_DELETE_OBJECT, KEY, .if_match = "\"e\""},
	.method = "DELETE",
	.url = "http://h/bucket/d/k",
	.headers = {{"If-Match", "\"e\""}, {"x-amz-content-sha256", EMPTY_HASH}},
    },
    {
	.name = "create",
	.op = {.verb = S3_CREATE_MULTIPART,
	       KEY,
	       .attributes = {.content_type = "a/b", .meta = meta, .meta_count = 1}},
	.checksum = true,
	.method = "POST",
	.url = "http://h/bucket/d/k?uploads=",
	.headers = {{"x-amz-checksum-algorithm", "CRC32C"},
		    {"content-type", "a/b"},
		    {"x-amz-meta-mtime", "1700000000.5"}},
    },
    {
	.name = "part",
	.op = {.verb = S3_UPLOAD_PART, KEY, BODY, .upload_id = "2~a/b+c", .part_number = 10000},
	.method = "PUT",
	.url = "http://h/bucket/d/k?partNumber=10000&uploadId=2~a%2Fb%2Bc",
	.headers = {{"x-amz-content-sha256", HASH_OF_ABC}, {"If-None-Match", NULL}},
    },
    {
	.name = "part copy with a range",
	.op = {.verb = S3_UPLOAD_PART_COPY,
	       KEY,
	       .upload_id = "u",
	       .part_number = 3,
	       .copy = {.key = "a b/\xff",
			.key_length = 5,
			.if_match = "\"e\"",
			.offset = 10,
			.length = 5}},
	.bare_etags = true, /* is about conditions on the target */
	.method = "PUT",
	.url = "http://h/bucket/d/k?partNumber=3&uploadId=u",
	.headers = {{"x-amz-copy-source", "/bucket/a%20b/%FF"},
		    {"x-amz-copy-source-range", "bytes=10-14"},
		    {"x-amz-copy-source-if-match", "\"e\""},
		    {"x-amz-metadata-directive", NULL}},
    },
    {
	.name = "part copy of a whole object",
	.op = {.verb = S3_UPLOAD_PART_COPY,
	       KEY,
	       .upload_id = "u",
	       .part_number = 1,
	       .copy = {.key = "s", .key_length = 1}},
	.method = "PUT",
	.url = "http://h/bucket/d/k?partNumber=1&uploadId=u",
	.headers = {{"x-amz-copy-source-range", NULL}, {"x-amz-copy-source-if-match", NULL}},
    },
    {
	.name = "copy that keeps",
	.op = {.verb = S3_COPY_OBJECT,
	       KEY,
	       .if_none_match_any = true,
	       .copy = {.key = "s+?", .key_length = 3},
	       .attributes = {.content_type = "not/sent",
			      .storage_class = "STANDARD_IA",
			      .website_redirect = "/x",
			      .tagging = "not=sent",
			      .meta = meta,
			      .meta_count = 2}},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-copy-source", "/bucket/s%2B%3F"},
		    {"x-amz-metadata-directive", "COPY"},
		    {"x-amz-tagging-directive", NULL},
		    {"x-amz-tagging", NULL},
		    {"If-None-Match", "*"},
		    {"content-type", NULL},
		    {"x-amz-meta-mtime", NULL},
		    {"x-amz-website-redirect-location", "/x"},
		    {"x-amz-storage-class", "STANDARD_IA"}},
    },
    {
	.name = "copy that replaces",
	.op = {.verb = S3_COPY_OBJECT,
	       KEY,
	       .copy = {.key = "s", .key_length = 1, .replace = true, .replace_tags = true},
	       .attributes =
		   {.content_type = "a/b", .tagging = "c=d", .meta = meta, .meta_count = 1}},
	.method = "PUT",
	.url = "http://h/bucket/d/k",
	.headers = {{"x-amz-metadata-directive", "REPLACE"},
		    {"x-amz-tagging-directive", "REPLACE"},
		    {"x-amz-tagging", "c=d"},
		    {"content-type", "a/b"},
		    {"x-amz-meta-mtime", "1700000000.5"}},
    },
    {
	.name = "complete",
	.op = {.verb = S3_COMPLETE_MULTIPART,
	       KEY,
	       .upload_id = "u",
	       .parts = parts,
	       .part_count = 2,
	       .if_none_match_any = true},
	.object_size = true,
	.method = "POST",
	.url = "http://h/bucket/d/k?uploadId=u",
	.headers = {{"x-amz-mp-object-size", "12"},
		    {"If-None-Match", "*"},
		    {"x-amz-content-sha256",
		     "d17e030232c9a28955437c440231929d1c224318948b6de78cb16cdc1c4e0f6d"}},
	.body = "<CompleteMultipartUpload xmlns=\"" NS "\"><Part><PartNumber>1</PartNumber>"
		"<ETag>&quot;aa&quot;</ETag><ChecksumCRC32C>Nks/tw==</ChecksumCRC32C></Part>"
		"<Part><PartNumber>10000</PartNumber><ETag>b&amp;b&lt;</ETag></Part>"
		"</CompleteMultipartUpload>",
    },
    {
	.name = "complete without the size",
	.op = {.verb = S3_COMPLETE_MULTIPART,
	       KEY,
	       .upload_id = "u",
	       .parts = parts,
	       .part_count = 1,
	       .if_match = "\"e\""},
	.unsigned_payload = true,
	.method = "POST",
	.url = "http://h/bucket/d/k?uploadId=u",
	.headers = {{"x-amz-mp-object-size", NULL},
		    {"If-Match", "\"e\""},
		    {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}},
	.body = "<CompleteMultipartUpload xmlns=\"" NS "\"><Part><PartNumber>1</PartNumber>"
		"<ETag>&quot;aa&quot;</ETag><ChecksumCRC32C>Nks/tw==</ChecksumCRC32C></Part>"
		"</CompleteMultipartUpload>",
    },
    {
	.name = "abort",
	.op = {.verb = S3_ABORT_MULTIPART, KEY, .upload_id = "u"},
	.method = "DELETE",
	.url = "http://h/bucket/d/k?uploadId=u",
    },
    {
	.name = "list parts",
	.op = {.verb = S3_LIST_PARTS, KEY, .upload_id = "u", .max_keys = 7, .part_marker = 9},
	.method = "GET",
	.url = "http://h/bucket/d/k?max-parts=7&part-number-marker=9&uploadId=u",
    },
    {
	.name = "list uploads, first page",
	.op = {.verb = S3_LIST_UPLOADS, .prefix = "", .max_keys = 1000},
	.method = "GET",
	.url = "http://h/bucket?encoding-type=url&max-uploads=1000&uploads=",
    },
    {
	.name = "list uploads, a later page",
	.op = {.verb = S3_LIST_UPLOADS,
	       .prefix = "p/",
	       .prefix_length = 2,
	       .max_keys = 2,
	       .key_marker = "p/\xff",
	       .key_marker_length = 3,
	       .upload_marker = "i d"},
	.method = "GET",
	.url = "http://h/bucket?encoding-type=url&key-marker=p%2F%FF&max-uploads=2&prefix=p%2F"
	       "&upload-id-marker=i%20d&uploads=",
    },
    {
	.name = "tags",
	.op = {.verb = S3_GET_TAGGING, KEY},
	.method = "GET",
	.url = "http://h/bucket/d/k?tagging=",
    },
};

static struct s3_target target_of(const struct build_case *c)
{
	return (struct s3_target){
	    .host = "h",
	    .bucket = "bucket",
	    .region = "us-east-1",
	    .path_style = true,
	    .unsigned_payload = c->unsigned_payload,
	    .checksum_crc32c = c->checksum,
	    .mp_object_size = c->object_size,
	    .bare_etags = c->bare_etags,
	};
}

static void check_body(const struct build_case *c, const struct s3_op *op)
{
	struct http_request r = {0};

	s3_op_body(op, &r);
	if (!c->body) {
		assert_int_equal(r.body_length, c->op.body.length);
		assert_ptr_equal(r.body, c->op.body.iov);
		return;
	}
	assert_int_equal(r.body_count, 1);
	assert_int_equal(r.body_length, strlen(c->body));
	assert_int_equal(r.body[0].iov_len, strlen(c->body));
	if (memcmp(r.body[0].iov_base, c->body, strlen(c->body)) != 0)
		fail_msg("%s: %.*s", c->name, (int)r.body_length, (char *)r.body[0].iov_base);
}

static void check_header(const struct build_case *c, const struct http_message *m,
			 const struct http_header *h)
{
	const char *value = message_header(m, h->name);

	if (!h->value != !value || (value && strcmp(value, h->value) != 0))
		fail_msg("%s: %s is %s", c->name, h->name, value ?: "missing");
}

static void test_requests(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct s3_target t = target_of(&cases[i]);
		struct s3_op op = cases[i].op;
		struct http_message m;
		int r = s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m);

		if (r != 0)
			fail_msg("%s: %d", cases[i].name, r);
		assert_string_equal(m.method, cases[i].method);
		assert_string_equal(m.url, cases[i].url);
		for (size_t h = 0; cases[i].headers[h].name; h++)
			check_header(&cases[i], &m, &cases[i].headers[h]);
		check_body(&cases[i], &op);
		http_message_finish(&m);
		s3_op_finish(&op);
	}
}

/* Sending consumes nothing: the second try sends the same. */
static void test_a_repeat_is_the_same(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct s3_target t = target_of(&cases[i]);
		struct s3_op op = cases[i].op;
		struct http_message first, again;

		assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &first), 0);
		assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &again), 0);
		assert_string_equal(first.url, again.url);
		assert_string_equal(message_header(&first, "Authorization"),
				    message_header(&again, "Authorization"));
		check_body(&cases[i], &op);
		http_message_finish(&first);
		http_message_finish(&again);
		s3_op_finish(&op);
	}
}

static void test_a_body_from_a_file(void **state)
{
	struct http_request r = {0};
	struct s3_op op;

	s3_op_init(&op, S3_UPLOAD_PART);
	op.body = (struct s3_body){.fd = 7, .offset = 4096, .length = 99};
	s3_op_body(&op, &r);
	assert_int_equal(r.body_count, 0);
	assert_int_equal(r.body_fd, 7);
	assert_int_equal(r.body_offset, 4096);
	assert_int_equal(r.body_length, 99);
	op.verb = S3_CREATE_MULTIPART; /* sends no body, whatever stands there */
	s3_op_body(&op, &r);
	assert_int_equal(r.body_length, 0);
}

/* ---- DeleteObjects ---- */

static void test_deletes(void **state)
{
	struct s3_delete deletes[] = {
	    {.key = "a", .key_length = 1},
	    {.key = "\t\n\r<&>\"' \xc3\xa9", .key_length = 11, .etag = "\"e\""},
	};
	static const char body[] =
	    "<Delete xmlns=\"" NS "\"><Object><Key>a</Key></Object><Object>"
	    "<Key>&#9;&#10;&#13;&lt;&amp;&gt;&quot;' \xc3\xa9</Key><ETag>&quot;e&quot;</ETag>"
	    "</Object><Quiet>true</Quiet></Delete>";
	struct build_case c = {.name = "deletes", .checksum = true, .body = body};
	struct s3_target t = target_of(&c);
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_DELETE_OBJECTS);
	op.deletes = deletes;
	op.delete_count = 2;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(m.method, "POST");
	assert_string_equal(m.url, "http://h/bucket?delete=");
	assert_string_equal(message_header(&m, "Content-MD5"), "0vErODOAH0uszNx6CxdVpQ==");
	assert_string_equal(message_header(&m, "x-amz-checksum-crc32c"), "RyLp/g==");
	check_body(&c, &op);
	http_message_finish(&m);
	s3_op_finish(&op);
}

/* ---- refusals ---- */

static const struct s3_part unordered[] = {{.number = 2, .etag = "a"}, {.number = 2, .etag = "b"}};
static const struct s3_part nameless[] = {{.number = 1, .etag = ""}};
static const struct s3_part beyond[] = {{.number = 10001, .etag = "a"}};
static const struct s3_part huge[] = {{.number = 1, .etag = "a", .size = UINT64_MAX},
				      {.number = 2, .etag = "b", .size = 1}};
static const struct s3_meta upper[] = {{"Upper", "v"}};
static const struct s3_meta colon[] = {{"a: b", "v"}};
static const struct s3_meta broken[] = {{"a", "v\r\nX-Evil: 1"}};
static struct s3_delete bad_key[] = {{.key = "a\x01", .key_length = 2}};
static struct s3_delete bad_utf8[] = {{.key = "a\xff", .key_length = 2}};
static struct s3_delete no_key[] = {{.key = "", .key_length = 0}};

#define PUT .verb = S3_PUT_OBJECT, KEY
#define COMPLETE(p)                                                                                \
	.verb = S3_COMPLETE_MULTIPART, KEY, .upload_id = "u", .parts = (p),                        \
	.part_count = ARRAY_SIZE(p)

static const struct {
	const char *name;
	struct s3_op op;
	int err;
} refusals[] = {
    {"no key", {.verb = S3_PUT_OBJECT}, -EINVAL},
    {"a body without its hash", {PUT, .body = {.iov = &abc, .iov_count = 1, .length = 3}}, -EINVAL},
    {"both conditions", {PUT, .if_match = "e", .if_none_match_any = true}, -EINVAL},
    {"metadata with a capital", {PUT, .attributes = {.meta = upper, .meta_count = 1}}, -EINVAL},
    {"metadata with a colon", {PUT, .attributes = {.meta = colon, .meta_count = 1}}, -EINVAL},
    {"metadata that begins a header",
     {PUT, .attributes = {.meta = broken, .meta_count = 1}},
     -EINVAL},
    {"a type that begins a header", {PUT, .attributes = {.content_type = "a\nb: c"}}, -EINVAL},
    {"no upload", {.verb = S3_UPLOAD_PART, KEY, .part_number = 1}, -EINVAL},
    {"part 0", {.verb = S3_UPLOAD_PART, KEY, .upload_id = "u"}, -EINVAL},
    {"part 10001", {.verb = S3_UPLOAD_PART, KEY, .upload_id = "u", .part_number = 10001}, -EINVAL},
    {"copy of nothing", {.verb = S3_COPY_OBJECT, KEY}, -EINVAL},
    {"copy of a long key",
     {.verb = S3_COPY_OBJECT, KEY, .copy = {.key = "k", .key_length = 1025}},
     -ENAMETOOLONG},
    {"range past the last number",
     {.verb = S3_UPLOAD_PART_COPY,
      KEY,
      .upload_id = "u",
      .part_number = 1,
      .copy = {.key = "s", .key_length = 1, .offset = UINT64_MAX, .length = 2}},
     -EINVAL},
    {"no parts", {.verb = S3_COMPLETE_MULTIPART, KEY, .upload_id = "u"}, -EINVAL},
    {"the same part twice", {COMPLETE(unordered)}, -EINVAL},
    {"a part without ETag", {COMPLETE(nameless)}, -EINVAL},
    {"a part too many", {COMPLETE(beyond)}, -EINVAL},
    {"sizes that overflow", {COMPLETE(huge)}, -EINVAL},
    {"no deletes", {.verb = S3_DELETE_OBJECTS}, -EINVAL},
    {"too many deletes",
     {.verb = S3_DELETE_OBJECTS, .deletes = bad_key, .delete_count = 1001},
     -EINVAL},
    {"a control character in XML",
     {.verb = S3_DELETE_OBJECTS, .deletes = bad_key, .delete_count = 1},
     -EILSEQ},
    {"no UTF-8 in XML",
     {.verb = S3_DELETE_OBJECTS, .deletes = bad_utf8, .delete_count = 1},
     -EILSEQ},
    {"an empty key", {.verb = S3_DELETE_OBJECTS, .deletes = no_key, .delete_count = 1}, -EINVAL},
    {"no page", {.verb = S3_LIST_PARTS, KEY, .upload_id = "u", .max_keys = 0}, -EINVAL},
    {"a large page", {.verb = S3_LIST_UPLOADS, .prefix = "", .max_keys = 1001}, -EINVAL},
};

static void test_refusals(void **state)
{
	struct s3_target t = local_target();

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct s3_op op = refusals[i].op;
		struct http_message m;
		int r = s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m);

		if (r != refusals[i].err)
			fail_msg("%s: %d", refusals[i].name, r);
		s3_op_finish(&op);
	}
}

static void test_too_much_metadata(void **state)
{
	struct s3_target t = local_target();
	struct s3_meta many[300];
	char names[300][8];
	struct http_message m;
	struct s3_op op;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		many[i] = (struct s3_meta){names[i], "v"};
	}
	s3_op_init(&op, S3_PUT_OBJECT);
	op.key = "k";
	op.key_length = 1;
	op.attributes.meta = many;
	op.attributes.meta_count = 200;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(message_header(&m, "x-amz-meta-n199"), "v");
	http_message_finish(&m);
	op.attributes.meta_count = 300;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), -E2BIG);
}

static void test_10000_parts(void **state)
{
	struct s3_part *many = calloc(10000, sizeof(*many));
	struct s3_target t = local_target();
	struct http_message m;
	struct s3_op op;

	for (unsigned i = 0; i < 10000; i++)
		many[i] =
		    (struct s3_part){.number = i + 1, .etag = "\"e\"", .size = UINT64_C(5) << 30};
	s3_op_init(&op, S3_COMPLETE_MULTIPART);
	op.key = "k";
	op.key_length = 1;
	op.upload_id = "u";
	op.parts = many;
	op.part_count = 10000;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(message_header(&m, "x-amz-mp-object-size"), "53687091200000");
	http_message_finish(&m);
	s3_op_finish(&op);
	free(many);
}

static void test_targets_know_what_to_send(void **state)
{
	struct s3_target t = local_target();
	char error[160];

	assert_false(t.unsigned_payload);
	assert_false(t.checksum_crc32c);
	assert_true(t.mp_object_size);
	assert_int_equal(s3_target_init(&t, "https://h", "bucket", "", -1, error, sizeof(error)),
			 0);
	assert_true(t.unsigned_payload);
	assert_true(t.checksum_crc32c);
	assert_true(t.mp_object_size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_a_repeat_is_the_same),
	    cmocka_unit_test(test_a_body_from_a_file),
	    cmocka_unit_test(test_deletes),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_too_much_metadata),
	    cmocka_unit_test(test_10000_parts),
	    cmocka_unit_test(test_targets_know_what_to_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
