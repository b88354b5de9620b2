/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test server's judge of signatures, against three peers that it shares nothing with: requests
 * of boto3 signed by botocore (auth_cases.inc), the worked examples of AWS's documentation, and
 * every way to damage a good request that S3 notices.
 */
#include "auth_fixture.h"
#include "../../s3d/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DOC_SCHEME "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"

static const char credentials[] =
    "[{\"access_key\":\"AKIDEXAMPLE\",\"secret_key\":\"" BOTO_SECRET "\"},"
    "{\"access_key\":\"AKIAIOSFODNN7EXAMPLE\",\"secret_key\":\"" DOC_SECRET "\","
    " \"policy\":{\"Statement\":[]}},"
    "{\"access_key\":\"AKIDTOKEN\",\"secret_key\":\"" BOTO_SECRET "\","
    " \"session_token\":\"tok/en+with==\",\"expires\":1788093400}]";

static const struct wire_case boto_cases[] = {
#include "auth_cases.inc"
};

/* AWS, "Authenticating Requests: Using the Authorization Header", the four examples. */
static const struct wire_case doc_cases[] = {
    {
	.name = "GET object",
	.method = "GET",
	.path = "/test.txt",
	.query = "",
	.headers =
	    {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"Range", "bytes=0-9"},
		{"x-amz-content-sha256", EMPTY_HASH},
		{"x-amz-date", "20130524T000000Z"},
		{"Authorization",
		 DOC_SCHEME "aws4_request,"
			    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
			    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c"
			    "6036bdb41"},
	    },
    },
    {
	.name = "PUT object",
	.method = "PUT",
	.path = "/test$file.text",
	.query = "",
	.headers =
	    {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
		{"x-amz-date", "20130524T000000Z"},
		{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
		{"x-amz-content-sha256",
		 "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b07"
		 "2"},
		{"Authorization",
		 DOC_SCHEME "aws4_request,"
			    "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;"
			    "x-amz-storage-class,"
			    "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af"
			    "0ece108bd"},
	    },
    },
    {
	.name = "GET bucket lifecycle",
	.method = "GET",
	.path = "/",
	.query = "lifecycle",
	.headers =
	    {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"x-amz-date", "20130524T000000Z"},
		{"x-amz-content-sha256", EMPTY_HASH},
		{"Authorization",
		 DOC_SCHEME "aws4_request,"
			    "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
			    "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0"
			    "136783543"},
	    },
    },
    {
	.name = "list objects",
	.method = "GET",
	.path = "/",
	.query = "prefix=J&max-keys=2",
	.headers =
	    {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"x-amz-date", "20130524T000000Z"},
		{"x-amz-content-sha256", EMPTY_HASH},
		{"Authorization",
		 DOC_SCHEME "aws4_request,"
			    "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
			    "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711"
			    "ef69dc6f7"},
	    },
    },
};

static int set_up(void **state)
{
	struct auth_db *db = auth_db_create("us-east-1");

	assert_non_null(db);
	assert_int_equal(auth_db_load_json(db, credentials, strlen(credentials)), 0);
	*state = db;
	return 0;
}

static int tear_down(void **state)
{
	auth_db_destroy(*state);
	return 0;
}

static void expect_code(struct auth_db *db, const struct wire_case *wire, time_t now,
			const char *code)
{
	struct auth_request request = request_of(wire);
	struct auth_result result;

	auth_verify(db, &request, now, &result);
	if (!code != !result.code || (code && strcmp(code, result.code)))
		fail_msg("%s: expected %s, got %s (%s)", wire->name, code ? code : "accepted",
			 result.code ? result.code : "accepted",
			 result.message ? result.message : "");
}

static void accepts_what_botocore_signs(void **state)
{
	for (size_t i = 0; i < sizeof(boto_cases) / sizeof(boto_cases[0]); i++)
		expect_code(*state, &boto_cases[i], BOTO_NOW, boto_cases[i].code);
}

static void accepts_the_documented_examples(void **state)
{
	for (size_t i = 0; i < sizeof(doc_cases) / sizeof(doc_cases[0]); i++)
		expect_code(*state, &doc_cases[i], DOC_NOW, NULL);
}

/* Finds a header's place in a copy of a case. */
static struct auth_header *header_of(struct wire_case *wire, const char *name)
{
	for (size_t i = 0; i < MAX_HEADERS && wire->headers[i].name; i++) {
		if (!strcasecmp(wire->headers[i].name, name))
			return &wire->headers[i];
	}
	fail_msg("%s has no header %s", wire->name, name);
	abort();
}

static const struct wire_case *boto_case(const char *name)
{
	for (size_t i = 0; i < sizeof(boto_cases) / sizeof(boto_cases[0]); i++) {
		if (!strcmp(boto_cases[i].name, name))
			return &boto_cases[i];
	}
	fail_msg("no case %s", name);
	abort();
}

static void notices_a_change_of_anything_that_is_signed(void **state)
{
	for (size_t i = 0; i < sizeof(boto_cases) / sizeof(boto_cases[0]); i++) {
		const struct wire_case *good = &boto_cases[i];
		char text[4096];

		if (good->code)
			continue;
		struct wire_case bad = *good;

		bad.method = "DELETE";
		expect_code(*state, &bad, BOTO_NOW, "SignatureDoesNotMatch");
		bad = *good;
		snprintf(text, sizeof(text), "%s/", good->path);
		bad.path = text;
		expect_code(*state, &bad, BOTO_NOW, "SignatureDoesNotMatch");
		bad = *good;
		snprintf(text, sizeof(text), "%s&x", good->query);
		bad.query = text;
		expect_code(*state, &bad, BOTO_NOW, "SignatureDoesNotMatch");
		bad = *good;
		header_of(&bad, "host")->value = "other.localhost:9000";
		expect_code(*state, &bad, BOTO_NOW, "SignatureDoesNotMatch");
		bad = *good;
		header_of(&bad, "x-amz-date")->value = "20260830T123601Z";
		expect_code(*state, &bad, BOTO_NOW, "SignatureDoesNotMatch");
	}
}

/* One header of a good request changed: what S3 answers. */
static void names_each_fault(void **state)
{
	static const char scheme[] = "AWS4-HMAC-SHA256 Credential=";
	static const char tail[] =
	    ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" EMPTY_HASH;
	static const struct {
		const char *header, *value; /* a value NULL renames the header: it is absent */
		const char *credential;	    /* for Authorization */
		time_t offset;
		const char *code;
	} faults[] = {
	    {"x-amz-date", NULL, NULL, 0, "AccessDenied"},
	    {"x-amz-date", "2026-08-30T12:36:00Z", NULL, 0, "AccessDenied"},
	    {"x-amz-date", "20260832T123600Z", NULL, 0, "AccessDenied"},
	    {"x-amz-date", "20260831T123600Z", NULL, 86400, "AuthorizationHeaderMalformed"},
	    {"x-amz-content-sha256", NULL, NULL, 0, "InvalidRequest"},
	    {"x-amz-content-sha256", "E3B0", NULL, 0, "InvalidArgument"},
	    {"x-amz-content-sha256", "UNSIGNED-PAYLOAD", NULL, 0, "SignatureDoesNotMatch"},
	    {"host", NULL, NULL, 0, "AccessDenied"},
	    {NULL, NULL, NULL, 15 * 60, NULL},
	    {NULL, NULL, NULL, -15 * 60, NULL},
	    {NULL, NULL, NULL, 15 * 60 + 1, "RequestTimeTooSkewed"},
	    {NULL, NULL, NULL, -15 * 60 - 1, "RequestTimeTooSkewed"},
	    {"authorization", "AWS AKIDEXAMPLE:c2ln", NULL, 0, "InvalidRequest"},
	    {"authorization", "AWS4-HMAC-SHA256 nonsense", NULL, 0, "AuthorizationHeaderMalformed"},
	    {"authorization", "", "NOBODY/20260830/us-east-1/s3/aws4_request", 0,
	     "InvalidAccessKeyId"},
	    {"authorization", "", "AKIDEXAMPLE/20260830/us-east-1/s3/aws4_request", 0,
	     "SignatureDoesNotMatch"},
	    {"authorization", "", "AKIDEXAMPLE/20260829/us-east-1/s3/aws4_request", 0,
	     "AuthorizationHeaderMalformed"},
	    {"authorization", "", "AKIDEXAMPLE/20260830/us-east-1/ec2/aws4_request", 0,
	     "AuthorizationHeaderMalformed"},
	    {"authorization", "", "AKIDEXAMPLE/20260830/us-east-1/s3/aws5_request", 0,
	     "AuthorizationHeaderMalformed"},
	    {"authorization", "", "AKIDEXAMPLE//us-east-1/s3/aws4_request", 0,
	     "AuthorizationHeaderMalformed"},
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct wire_case bad = *boto_case("GET plain.txt");
		char text[512], name[64];
		struct auth_header *header =
		    faults[i].header ? header_of(&bad, faults[i].header) : NULL;

		snprintf(name, sizeof(name), "fault %zu", i);
		bad.name = name;
		if (header && !faults[i].value)
			header->name = "absent";
		else if (header)
			header->value = faults[i].value;
		if (faults[i].credential) {
			snprintf(text, sizeof(text), "%s%s%s", scheme, faults[i].credential, tail);
			header->value = text;
		}
		expect_code(*state, &bad, BOTO_NOW + faults[i].offset, faults[i].code);
	}
}

static void refuses_what_is_not_signed(void **state)
{
	struct wire_case bad = *boto_case("GET plain.txt");
	struct auth_request request = request_of(&bad);

	bad.headers[request.header_count] = (struct auth_header){"X-Amz-Acl", "public-read"};
	expect_code(*state, &bad, BOTO_NOW, "AccessDenied");
	bad.headers[request.header_count].name = "X-Other";
	expect_code(*state, &bad, BOTO_NOW, NULL);
}

static void refuses_headers_that_are_there_twice(void **state)
{
	struct wire_case bad = *boto_case("GET plain.txt");
	struct auth_request request = request_of(&bad);

	bad.headers[request.header_count] = *header_of(&bad, "authorization");
	expect_code(*state, &bad, BOTO_NOW, "InvalidArgument");
	bad.headers[request.header_count] = *header_of(&bad, "x-amz-date");
	expect_code(*state, &bad, BOTO_NOW, "AccessDenied");
}

static void signed_header_names_must_be_sorted_and_lower_case(void **state)
{
	static const char *const names[] = {"x-amz-date;host", "host;host", "Host;x-amz-date",
					    "host;;x-amz-date", "host;"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct wire_case bad = *boto_case("GET plain.txt");
		char text[512];

		snprintf(text, sizeof(text),
			 "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260830/us-east-1/s3/"
			 "aws4_request, SignedHeaders=%s, Signature=%s",
			 names[i], EMPTY_HASH);
		header_of(&bad, "authorization")->value = text;
		bad.name = names[i];
		expect_code(*state, &bad, BOTO_NOW, "AuthorizationHeaderMalformed");
	}
}

static void another_spelling_on_the_wire_is_the_same_path(void **state)
{
	struct wire_case other = *boto_case("GET plain.txt");

	other.path = "/bucket/%70lain%2etxt";
	expect_code(*state, &other, BOTO_NOW, NULL);
	other.path = "/bucket/plain.txt%";
	expect_code(*state, &other, BOTO_NOW, "InvalidURI");
	other.path = "/bucket/plain.txt%4";
	expect_code(*state, &other, BOTO_NOW, "InvalidURI");
}

static void session_tokens_are_compared_and_expire(void **state)
{
	struct wire_case wire = *boto_case("session token");
	struct auth_request request = request_of(&wire);
	struct auth_db *others = auth_db_create("us-east-1");
	static const char other_token[] =
	    "[{\"access_key\":\"AKIDTOKEN\",\"secret_key\":\"" BOTO_SECRET
	    "\",\"session_token\":\"another\"}]";
	struct auth_result result;

	expect_code(*state, &wire, 1788093399, NULL);
	expect_code(*state, &wire, 1788093400, "ExpiredToken");
	assert_int_equal(auth_db_load_json(others, other_token, strlen(other_token)), 0);
	auth_verify(others, &request, BOTO_NOW, &result);
	assert_string_equal(result.code, "InvalidToken");
	assert_true(result.wrong_token);
	auth_db_destroy(others);
	header_of(&wire, "x-amz-security-token")->value = "another";
	expect_code(*state, &wire, BOTO_NOW, "SignatureDoesNotMatch");
	header_of(&wire, "x-amz-security-token")->name = "absent";
	expect_code(*state, &wire, BOTO_NOW, "InvalidAccessKeyId");
}

static void a_wrong_region_is_told_from_other_faults(void **state)
{
	struct auth_db *elsewhere = auth_db_create("eu-west-1");
	struct wire_case wire = *boto_case("GET plain.txt");
	struct auth_request request = request_of(&wire);
	struct auth_result result;

	assert_int_equal(auth_db_load_json(elsewhere, credentials, strlen(credentials)), 0);
	auth_verify(elsewhere, &request, BOTO_NOW, &result);
	assert_string_equal(result.code, "AuthorizationHeaderMalformed");
	assert_int_equal(result.status, 400);
	assert_true(result.wrong_region);
	assert_string_equal(result.region, "us-east-1");
	request.method = "PUT";
	auth_verify(elsewhere, &request, BOTO_NOW, &result);
	assert_string_equal(result.code, "SignatureDoesNotMatch");
	assert_false(result.wrong_region);
	auth_db_destroy(elsewhere);
}

static void unsigned_and_presigned_are_told_apart(void **state)
{
	struct auth_header host = {"Host", "localhost"};
	struct auth_request request = {"GET", "/b/k", "", &host, 1, false};
	struct auth_result result;

	auth_verify(*state, &request, BOTO_NOW, &result);
	assert_null(result.code);
	assert_true(result.anonymous);
	request.raw_query = "a=b&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
	auth_verify(*state, &request, BOTO_NOW, &result);
	assert_string_equal(result.code, "AccessDenied");
	assert_false(result.anonymous);
}

static void a_borrowed_policy_survives_new_credentials(void **state)
{
	struct auth_request request = request_of(&doc_cases[0]);
	struct auth_result result;

	auth_verify(*state, &request, DOC_NOW, &result);
	assert_null(result.code);
	struct json_object *policy = result.policy;

	assert_non_null(policy);
	assert_int_equal(auth_db_load_json(*state, "[]", 2), 0);
	expect_code(*state, &doc_cases[0], DOC_NOW, "InvalidAccessKeyId");
	assert_false(
	    policy_allows(policy, "s3:GetObject", "arn:aws:s3:::b/k", NULL)); /* still lives */
}

static void bad_credential_documents_change_nothing(void **state)
{
	static const char *const bad[] = {
	    "",
	    "{}",
	    "[",
	    "[] x",
	    "[1]",
	    "[{}]",
	    "[{\"access_key\":\"a\"}]",
	    "[{\"access_key\":\"\",\"secret_key\":\"s\"}]",
	    "[{\"access_key\":1,\"secret_key\":\"s\"}]",
	    "[{\"access_key\":\"a\",\"secret_key\":\"s\",\"expires\":\"soon\"}]",
	    "[{\"access_key\":\"a\",\"secret_key\":\"s\",\"policy\":[]}]",
	    "[{\"access_key\":\"a\",\"secret_key\":\"s\",\"typo\":1}]",
	    "[{\"access_key\":\"a\",\"secret_key\":\"s\"},"
	    "{\"access_key\":\"a\",\"secret_key\":\"t\"}]",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (auth_db_load_json(*state, bad[i], strlen(bad[i])) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	}
	expect_code(*state, &doc_cases[0], DOC_NOW, NULL);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(accepts_what_botocore_signs),
	    TEST(accepts_the_documented_examples),
	    TEST(notices_a_change_of_anything_that_is_signed),
	    TEST(names_each_fault),
	    TEST(refuses_what_is_not_signed),
	    TEST(refuses_headers_that_are_there_twice),
	    TEST(signed_header_names_must_be_sorted_and_lower_case),
	    TEST(another_spelling_on_the_wire_is_the_same_path),
	    TEST(session_tokens_are_compared_and_expire),
	    TEST(a_wrong_region_is_told_from_other_faults),
	    TEST(unsigned_and_presigned_are_told_apart),
	    TEST(a_borrowed_policy_survives_new_credentials),
	    TEST(bad_credential_documents_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
