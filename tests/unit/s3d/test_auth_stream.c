/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws-chunked bodies: the two worked examples of AWS's documentation (66,560 bytes of 'a', signed
 * chunk by chunk, without and with a trailer), one body as botocore's own wrapper writes it, and
 * what must be refused. Each good body is fed whole and byte by byte.
 */
#include "auth_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA_BYTES 66560
#define FIRST_BYTES 65536

static const char credentials[] =
    "[{\"access_key\":\"AKIAIOSFODNN7EXAMPLE\",\"secret_key\":\"" DOC_SECRET "\"}]";

#define DOC_HEADERS                                                                                \
	{"Host", "s3.amazonaws.com"}, {"x-amz-date", "20130524T000000Z"},                          \
	    {"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"Content-Encoding", "aws-chunked"},    \
	    {"x-amz-decoded-content-length", "66560"},                                             \
	{                                                                                          \
		"Content-Length", "66824"                                                          \
	}
#define DOC_CREDENTIAL                                                                             \
	"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"

static const struct wire_case doc_signed = {
    .name = "signed chunks",
    .method = "PUT",
    .path = "/examplebucket/chunkObject.txt",
    .query = "",
    .headers =
	{
	    DOC_HEADERS,
	    {"x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
	    {"Authorization", DOC_CREDENTIAL
	     "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;"
	     "x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,"
	     "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"},
	},
};

static const struct wire_case doc_trailer = {
    .name = "signed chunks and trailer",
    .method = "PUT",
    .path = "/examplebucket/chunkObject.txt",
    .query = "",
    .headers =
	{
	    DOC_HEADERS,
	    {"x-amz-trailer", "x-amz-checksum-crc32c"},
	    {"x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
	    {"Authorization", DOC_CREDENTIAL
	     "SignedHeaders=content-encoding;host;x-amz-content-sha256;"
	     "x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,"
	     "Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"},
	},
};

static const char *const signed_links[] = {
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
};
static const char *const trailer_links[] = {
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
};
static const char doc_trailer_text[] =
    "x-amz-checksum-crc32c:sOO8/Q==\r\n"
    "x-amz-trailer-signature:"
    "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n";

/* A body on the wire; its bytes are on the heap. */
struct body {
	char *bytes;
	size_t len;
};

/* What came out of the decoder. */
struct sink {
	size_t bytes;
	bool other_than_a;
};

static int count_bytes(void *ctx, const void *bytes, size_t len)
{
	struct sink *sink = ctx;

	for (size_t i = 0; i < len; i++)
		sink->other_than_a |= ((const char *)bytes)[i] != 'a';
	sink->bytes += len;
	return 0;
}

static struct body doc_body(const char *const links[3], const char *trailer)
{
	static const size_t sizes[] = {FIRST_BYTES, DATA_BYTES - FIRST_BYTES, 0};
	struct body body = {malloc(DATA_BYTES + 1024), 0};

	assert_non_null(body.bytes);
	for (int i = 0; i < 3; i++) {
		body.len += (size_t)sprintf(body.bytes + body.len, "%zx;chunk-signature=%s\r\n",
					    sizes[i], links[i]);
		memset(body.bytes + body.len, 'a', sizes[i]);
		body.len += sizes[i];
		if (sizes[i])
			body.len += (size_t)sprintf(body.bytes + body.len, "\r\n");
	}
	body.len += (size_t)sprintf(body.bytes + body.len, "%s\r\n", trailer);
	return body;
}

static struct auth_result verdict_on(const struct wire_case *wire)
{
	struct auth_db *db = auth_db_create("us-east-1");
	struct auth_request request = request_of(wire);
	struct auth_result result;

	assert_int_equal(auth_db_load_json(db, credentials, strlen(credentials)), 0);
	auth_verify(db, &request, DOC_NOW, &result);
	if (result.code)
		fail_msg("%s: %s", wire->name, result.code);
	auth_db_destroy(db);
	return result;
}

/* Decodes in pieces of `step` bytes. Gives the first error of feeding or ending. */
static int decode(const struct auth_result *result, const char *bytes, size_t len,
		  uint64_t decoded_length, size_t step, struct sink *sink, char trailer_name[64],
		  char trailer_value[128])
{
	struct auth_stream *stream = auth_stream_create(result, decoded_length);
	int err = 0;

	assert_non_null(stream);
	for (size_t at = 0; !err && at < len; at += step) {
		size_t take = len - at < step ? len - at : step;

		err = auth_stream_feed(stream, bytes + at, take, count_bytes, sink);
	}
	if (!err)
		err = auth_stream_end(stream, trailer_name, trailer_value);
	auth_stream_destroy(stream);
	return err;
}

static void expect_good(const struct wire_case *wire, struct body body, const char *name,
			const char *value)
{
	static const size_t steps[] = {1, 7, 8192, 1 << 20};
	struct auth_result result = verdict_on(wire);

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct sink sink = {0};
		char trailer_name[64], trailer_value[128];

		assert_int_equal(decode(&result, body.bytes, body.len, DATA_BYTES, steps[i], &sink,
					trailer_name, trailer_value),
				 0);
		assert_int_equal(sink.bytes, DATA_BYTES);
		assert_false(sink.other_than_a);
		assert_string_equal(trailer_name, name);
		assert_string_equal(trailer_value, value);
	}
	free(body.bytes);
}

static void decodes_the_documented_signed_chunks(void **state)
{
	expect_good(&doc_signed, doc_body(signed_links, ""), "", "");
}

static void decodes_the_documented_signed_trailer(void **state)
{
	expect_good(&doc_trailer, doc_body(trailer_links, doc_trailer_text),
		    "x-amz-checksum-crc32c", "sOO8/Q==");
}

static void any_changed_byte_is_noticed(void **state)
{
	struct auth_result result = verdict_on(&doc_trailer);
	struct body body = doc_body(trailer_links, doc_trailer_text);

	for (size_t at = 0; at < body.len; at++) {
		struct sink sink = {0};
		char trailer_name[64], trailer_value[128];

		if (at > 200 && at < FIRST_BYTES) /* the inside of one run of data is all alike */
			at = FIRST_BYTES;
		body.bytes[at] ^= 1;
		if (decode(&result, body.bytes, body.len, DATA_BYTES, body.len, &sink, trailer_name,
			   trailer_value) != -EBADMSG)
			fail_msg("byte %zu may be changed", at);
		body.bytes[at] ^= 1;
	}
	free(body.bytes);
}

static void a_body_cut_anywhere_is_noticed(void **state)
{
	struct auth_result result = verdict_on(&doc_signed);
	struct body body = doc_body(signed_links, "");

	for (size_t len = 0; len<body.len; len += len> 100 && len < FIRST_BYTES ? 997 : 1) {
		struct sink sink = {0};
		char trailer_name[64], trailer_value[128];

		assert_int_equal(decode(&result, body.bytes, len, DATA_BYTES, body.len, &sink,
					trailer_name, trailer_value),
				 -EBADMSG);
	}
	free(body.bytes);
}

static const struct auth_result unsigned_trailer = {
    .payload = AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER,
};

static void plain_chunks_are_taken_and_refused(void **state)
{
	static const struct {
		const char *text;
		uint64_t length;
		int err;
		const char *name, *value;
	} bodies[] = {
	    {"5\r\naaaaa\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", 5, 0,
	     "x-amz-checksum-crc32", "NhCmhg=="},
	    {"0\r\nX-Amz-Checksum-CRC32: AAAAAA== \r\n\r\n", 0, 0, "x-amz-checksum-crc32",
	     "AAAAAA=="},
	    {"5\r\naaaaa\r\n0\r\n\r\n", 5, 0, "", ""},
	    {"5\r\naaaaa\r\n0\r\n\r\n", 6, -EBADMSG, "", ""},
	    {"5\r\naaaaa\r\n0\r\n\r\n", 4, -EBADMSG, "", ""},
	    {"5\r\naaaaa\r\n0\r\n", 5, -EBADMSG, "", ""},
	    {"5\r\naaaaa0\r\n\r\n", 5, -EBADMSG, "", ""},
	    {"5\naaaaa\n0\n\n", 5, -EBADMSG, "", ""},
	    {"5 \r\naaaaa\r\n0\r\n\r\n", 5, -EBADMSG, "", ""},
	    {"-5\r\naaaaa\r\n0\r\n\r\n", 5, -EBADMSG, "", ""},
	    {"\r\n", 0, -EBADMSG, "", ""},
	    {"5\r\naaaaa\r\n0\r\n\r\nx", 5, -EBADMSG, "", ""},
	    {"2\r\naa\r\n3\r\naaa\r\n0\r\n\r\n", 5, -EBADMSG, "", ""}, /* small, not last */
	    {"10000000000000000\r\n", 5, -EBADMSG, "", ""},
	    {"0\r\nnocolon\r\n\r\n", 0, -EBADMSG, "", ""},
	    {"0\r\na:1\r\nb:2\r\n\r\n", 0, -EBADMSG, "", ""},
	    {"0\r\na:1\r\nx-amz-trailer-signature:00\r\n\r\n", 0, -EBADMSG, "", ""},
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct sink sink = {0};
		char name[64] = "", value[128] = "";
		int err = decode(&unsigned_trailer, bodies[i].text, strlen(bodies[i].text),
				 bodies[i].length, 3, &sink, name, value);

		if (err != bodies[i].err || strcmp(name, bodies[i].name) ||
		    strcmp(value, bodies[i].value))
			fail_msg("body %zu: %d, '%s' '%s'", i, err, name, value);
	}
}

static int refuse(void *ctx, const void *bytes, size_t len)
{
	return -ENOSPC;
}

static void an_error_of_the_sink_is_passed_on(void **state)
{
	struct auth_stream *stream = auth_stream_create(&unsigned_trailer, 5);

	assert_int_equal(auth_stream_feed(stream, "5\r\na", 4, refuse, NULL), -ENOSPC);
	auth_stream_destroy(stream);
}

static void only_streams_have_a_decoder(void **state)
{
	struct auth_result result = {.payload = AUTH_PAYLOAD_HASH};

	assert_null(auth_stream_create(&result, 0));
	auth_stream_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decodes_the_documented_signed_chunks),
	    cmocka_unit_test(decodes_the_documented_signed_trailer),
	    cmocka_unit_test(any_changed_byte_is_noticed),
	    cmocka_unit_test(a_body_cut_anywhere_is_noticed),
	    cmocka_unit_test(plain_chunks_are_taken_and_refused),
	    cmocka_unit_test(an_error_of_the_sink_is_passed_on),
	    cmocka_unit_test(only_streams_have_a_decoder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
