/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer against AWS's public test suite, all 38 cases.
 *
 * The suite is of a generic service: it wants paths and queries encoded by the signer, and paths
 * normalised in most cases. S3 never normalises, and s3/ signs what it sends; so the test brings
 * the request into canonical form first (encoding each, normalising where the case says so, with a
 * helper that exists only here) and the "unnormalized" cases are the ones that S3's rules are.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/text.h>

#include "sign.h"

#define CASE_TIME_S 1440938160 /* 2015-08-30T12:36:00Z */
#define SECRET_KEY "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

struct suite_case {
	const char *name;
	bool normalize, sign_body;
	const char *method, *path, *query;
	struct sign_header headers[8];
	const char *token;
	const char *body;
	const char *signature;
};

static const struct suite_case cases[] = {
#include "sigv4_cases.inc"
};

/*
 * Takes out "." and "..", and empty components: what services other than S3 do. A slash at the end
 * stays.
 */
static void normalize(const char *path, char *dst)
{
	bool slash_last = path[strlen(path) - 1] == '/';
	char copy[512], *save, *part, *out = dst;

	*out = '\0';
	snprintf(copy, sizeof(copy), "%s", path);
	for (part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (!strcmp(part, "..")) {
			out = strrchr(dst, '/') ?: dst;
			*out = '\0';
		} else if (strcmp(part, ".") != 0) {
			out += sprintf(out, "/%s", part);
		}
	}
	if (out == dst || slash_last)
		strcpy(out, "/");
}

static void encode(const char *src, char *dst, bool keep_slash)
{
	char plain[512];
	long n = text_url_decode(src, strlen(src), false, plain);

	assert_true(n >= 0);
	text_url_encode(plain, (size_t)n, keep_slash, dst);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Encodes names and values and sorts the pairs; no case has a character below '=' in a name twice.
 */
static void canonical_query(const char *query, char *dst)
{
	char pairs[8][512], copy[512], *save, *pair;
	size_t count = 0;

	snprintf(copy, sizeof(copy), "%s", query);
	for (pair = strtok_r(copy, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
		char *value = strchr(pair, '=');

		*value++ = '\0';
		encode(pair, pairs[count], false);
		/* \x01 sorts before all: a name before its longer ones */
		strcat(pairs[count], "\x01");
		encode(value, pairs[count] + strlen(pairs[count]), false);
		count++;
	}
	qsort(pairs, count, sizeof(pairs[0]), compare);
	*dst = '\0';
	for (size_t i = 0; i < count; i++) {
		*strchr(pairs[i], '\x01') = '=';
		dst += sprintf(dst, "%s%s", i ? "&" : "", pairs[i]);
	}
}

static void check_case(const struct suite_case *c)
{
	struct buf value = BUF_INIT;
	char plain[512], path[512], query[1024], hash[SIGN_HASH_BYTES], expected[80];
	struct sign_header headers[12];
	size_t count = 0;

	if (c->normalize)
		normalize(c->path, plain);
	else
		snprintf(plain, sizeof(plain), "%s", c->path);
	text_url_encode(plain, strlen(plain), true, path);
	canonical_query(c->query, query);
	assert_int_equal(
	    sign_payload_hash(c->body ? c->body : "", c->body ? strlen(c->body) : 0, hash), 0);
	headers[count++] = (struct sign_header){"X-Amz-Date", "20150830T123600Z"};
	if (c->token)
		headers[count++] = (struct sign_header){"X-Amz-Security-Token", c->token};
	if (c->sign_body)
		headers[count++] = (struct sign_header){"x-amz-content-sha256", hash};
	for (size_t i = 0; c->headers[i].name; i++)
		headers[count++] = c->headers[i];
	assert_int_equal(
	    sign_v4(
		&(struct sign_request){c->method, path, query, headers, count, hash},
		&(struct sign_keys){"AKIDEXAMPLE", SECRET_KEY, "us-east-1", "service", CASE_TIME_S},
		&value),
	    0);
	snprintf(expected, sizeof(expected), "Signature=%s", c->signature);
	if (!strstr(value.data, expected))
		fail_msg("%s: %s instead of %s", c->name, value.data, expected);
	buf_finish(&value);
}

static void test_public_suite(void **state)
{
	assert_int_equal(sizeof(cases) / sizeof(cases[0]), 38);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_case(&cases[i]);
}

static void test_authorization_names_scope_and_headers(void **state)
{
	struct buf value = BUF_INIT;
	const struct sign_header headers[] = {
	    {"x-amz-date", "20150830T123600Z"}, {"Host", "h"}, {"B", "2"}, {"a", "1"}, {"b", "3"}};

	assert_int_equal(
	    sign_v4(&(struct sign_request){"GET", "/", "", headers, 5, SIGN_UNSIGNED_PAYLOAD},
		    &(struct sign_keys){"AK", "SK", "eu-west-1", "s3", CASE_TIME_S}, &value),
	    0);
	assert_non_null(strstr(value.data, "AWS4-HMAC-SHA256 "
					   "Credential=AK/20150830/eu-west-1/s3/aws4_request, "
					   "SignedHeaders=a;b;host;x-amz-date, Signature="));
	buf_finish(&value);
}

static void test_dates(void **state)
{
	char date[SIGN_DATE_BYTES];

	assert_int_equal(sign_format_date(0, date), 0);
	assert_string_equal(date, "19700101T000000Z");
	assert_int_equal(sign_format_date(951782400, date), 0);
	assert_string_equal(date, "20000229T000000Z");
	assert_int_equal(sign_format_date(INT64_MAX, date), -EINVAL);
	assert_int_equal(sign_format_date(INT64_C(253402300800), date), -EINVAL);
	assert_int_equal(sign_format_date(-INT64_C(2208988801), date), -EINVAL);
}

static void test_too_many_headers_are_refused(void **state)
{
	struct sign_header headers[SIGN_HEADERS_MAX + 1];
	struct buf value = BUF_INIT;

	for (size_t i = 0; i <= SIGN_HEADERS_MAX; i++)
		headers[i] = (struct sign_header){"h", "v"};
	assert_int_equal(
	    sign_v4(&(struct sign_request){"GET", "/", "", headers, SIGN_HEADERS_MAX + 1, ""},
		    &(struct sign_keys){"AK", "SK", "r", "s3", 0}, &value),
	    -E2BIG);
	buf_finish(&value);
}

static void test_empty_hash_is_of_nothing(void **state)
{
	char hash[SIGN_HASH_BYTES];

	assert_int_equal(sign_payload_hash("", 0, hash), 0);
	assert_string_equal(hash, SIGN_EMPTY_HASH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_public_suite),
	    cmocka_unit_test(test_authorization_names_scope_and_headers),
	    cmocka_unit_test(test_dates),
	    cmocka_unit_test(test_too_many_headers_are_refused),
	    cmocka_unit_test(test_empty_hash_is_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
