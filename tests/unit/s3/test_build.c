/* SPDX-License-Identifier: Apache-2.0 */
/* What s3_build sends: literal requests, botocore's signatures, and properties of odd keys. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <pailfs/text.h>

#define ACCESS_KEY "AKIDEXAMPLE"
#define SECRET_KEY "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static const struct s3_keys keys = {ACCESS_KEY, SECRET_KEY, NULL};
static const struct s3_keys no_keys;

struct botocore_case {
	enum s3_verb verb;
	const char *key;
	size_t key_length;
	const char *if_match;
	const char *prefix;
	size_t prefix_length;
	const char *token;
	bool amazon;
	const char *session_token;
	const char *url, *authorization;
};

static const struct botocore_case botocore_cases[] = {
#include "botocore_cases.inc"
};

static struct s3_target amazon_target(void)
{
	struct s3_target t;
	char error[160];

	assert_int_equal(s3_target_init(&t, NULL, "bucket", "eu-west-1", -1, error, sizeof(error)),
			 0);
	return t;
}

static void check_botocore_case(const struct botocore_case *c)
{
	struct s3_target t = c->amazon ? amazon_target() : local_target();
	struct s3_keys with_token = {ACCESS_KEY, SECRET_KEY, c->session_token};
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, c->verb);
	op.key = c->key;
	op.key_length = c->key_length;
	op.offset = 5;
	op.length = 10;
	if (c->if_match)
		snprintf(op.if_match, sizeof(op.if_match), "%s", c->if_match);
	if (c->verb == S3_LIST) {
		op.prefix = c->prefix;
		op.prefix_length = c->prefix_length;
		op.token = c->token;
		op.delimiter = true;
	}
	assert_int_equal(s3_build(&op, &t, &with_token, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(m.url, c->url);
	assert_string_equal(message_header(&m, "Authorization"), c->authorization);
	http_message_finish(&m);
	s3_op_finish(&op);
}

static void test_signatures_are_botocores(void **state)
{
	for (size_t i = 0; i < sizeof(botocore_cases) / sizeof(botocore_cases[0]); i++)
		check_botocore_case(&botocore_cases[i]);
}

/* One request, literally. NULL in a header's value: it must not be sent. */
struct build_case {
	const char *name;
	struct s3_op op;
	bool https, anonymous, requester_pays;
	const char *owner, *token;
	uint16_t port;
	bool virtual_host;
	const char *method, *url;
	struct http_header headers[8];
};

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct build_case build_cases[] = {
    {
	.name = "head bucket",
	.op = {.verb = S3_HEAD_BUCKET},
	.method = "HEAD",
	.url = "http://h/bucket",
	.headers = {{"Host", "h"},
		    {"x-amz-date", "20260830T123600Z"},
		    {"x-amz-content-sha256", EMPTY_HASH},
		    {"x-amz-security-token", NULL},
		    {"x-amz-request-payer", NULL},
		    {"x-amz-expected-bucket-owner", NULL}},
    },
    {
	.name = "head bucket, virtual host, TLS, port",
	.op = {.verb = S3_HEAD_BUCKET},
	.https = true,
	.port = 8443,
	.virtual_host = true,
	.method = "HEAD",
	.url = "https://bucket.h:8443/",
	.headers = {{"Host", "bucket.h:8443"}, {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}},
    },
    {
	.name = "anonymous",
	.op = {.verb = S3_HEAD_OBJECT, .key = "a b", .key_length = 3},
	.anonymous = true,
	.method = "HEAD",
	.url = "http://h/bucket/a%20b",
	.headers = {{"Authorization", NULL},
		    {"x-amz-date", NULL},
		    {"x-amz-content-sha256", NULL},
		    {"Range", NULL},
		    {"If-Match", NULL}},
    },
    {
	.name = "token, payer, owner",
	.op = {.verb = S3_HEAD_OBJECT, .key = "k", .key_length = 1, .if_match = "\"e\""},
	.requester_pays = true,
	.owner = "123456789012",
	.token = "tok",
	.method = "HEAD",
	.url = "http://h/bucket/k",
	.headers = {{"x-amz-security-token", "tok"},
		    {"x-amz-request-payer", "requester"},
		    {"x-amz-expected-bucket-owner", "123456789012"},
		    {"If-Match", "\"e\""}},
    },
    {
	.name = "range",
	.op = {.verb = S3_GET_OBJECT,
	       .key = "k",
	       .key_length = 1,
	       .offset = 100,
	       .length = 50,
	       .object_size = 1000,
	       .if_match = "\"e\""},
	.method = "GET",
	.url = "http://h/bucket/k",
	.headers = {{"Range", "bytes=100-149"},
		    {"If-Match", "\"e\""},
		    {"x-amz-checksum-mode", NULL}},
    },
    {
	.name = "rest of a range",
	.op = {.verb = S3_GET_OBJECT,
	       .key = "k",
	       .key_length = 1,
	       .offset = 100,
	       .length = 50,
	       .object_size = 1000,
	       .received = 20},
	.method = "GET",
	.url = "http://h/bucket/k",
	.headers = {{"Range", "bytes=120-149"}},
    },
    {
	.name = "whole object",
	.op = {.verb = S3_GET_OBJECT, .key = "k", .key_length = 1, .length = 50, .object_size = 50},
	.method = "GET",
	.url = "http://h/bucket/k",
	.headers = {{"Range", NULL}, {"x-amz-checksum-mode", "ENABLED"}},
    },
    {
	.name = "rest of a whole object",
	.op = {.verb = S3_GET_OBJECT,
	       .key = "k",
	       .key_length = 1,
	       .length = 50,
	       .object_size = 50,
	       .received = 49},
	.method = "GET",
	.url = "http://h/bucket/k",
	.headers = {{"Range", "bytes=49-49"}, {"x-amz-checksum-mode", NULL}},
    },
    {
	.name = "list, first page",
	.op = {.verb = S3_LIST, .prefix = "", .max_keys = 1000},
	.method = "GET",
	.url = "http://h/bucket?encoding-type=url&list-type=2&max-keys=1000",
    },
    {
	.name = "list, all of it",
	.op = {.verb = S3_LIST,
	       .prefix = "a/&b",
	       .prefix_length = 4,
	       .delimiter = true,
	       .start_after = "a/&b+c",
	       .start_after_length = 6,
	       .max_keys = 1},
	.method = "GET",
	.url = "http://h/bucket?delimiter=%2F&encoding-type=url&list-type=2&max-keys=1"
	       "&prefix=a%2F%26b&start-after=a%2F%26b%2Bc",
    },
    {
	.name = "list, a later page: the token says where",
	.op = {.verb = S3_LIST,
	       .prefix = "",
	       .start_after = "x",
	       .start_after_length = 1,
	       .token = "1/=+",
	       .max_keys = 7},
	.virtual_host = true,
	.method = "GET",
	.url = "http://bucket.h/?continuation-token=1%2F%3D%2B&encoding-type=url&list-type=2"
	       "&max-keys=7",
    },
};

static void check_build_case(const struct build_case *c)
{
	struct s3_target t = {.https = c->https,
			      .unsigned_payload = c->https,
			      .host = "h",
			      .port = c->port,
			      .bucket = "bucket",
			      .region = "us-east-1",
			      .path_style = !c->virtual_host,
			      .requester_pays = c->requester_pays};
	struct s3_keys signing = {ACCESS_KEY, SECRET_KEY, c->token};
	struct s3_op op = c->op;
	struct http_message m;

	if (c->owner)
		snprintf(t.expected_bucket_owner, sizeof(t.expected_bucket_owner), "%s", c->owner);
	assert_int_equal(s3_build(&op, &t, c->anonymous ? &no_keys : &signing, FIXTURE_NOW_S, &m),
			 0);
	assert_string_equal(m.method, c->method);
	assert_string_equal(m.url, c->url);
	for (size_t i = 0; c->headers[i].name; i++) {
		const char *value = message_header(&m, c->headers[i].name);

		if (!c->headers[i].value != !value)
			fail_msg("%s: %s is %s", c->name, c->headers[i].name, value ?: "missing");
		if (value)
			assert_string_equal(value, c->headers[i].value);
	}
	http_message_finish(&m);
	s3_op_finish(&op);
}

static void test_requests(void **state)
{
	for (size_t i = 0; i < sizeof(build_cases) / sizeof(build_cases[0]); i++)
		check_build_case(&build_cases[i]);
}

static void test_every_added_header_is_signed(void **state)
{
	struct s3_target t = local_target();
	struct s3_keys with_token = {ACCESS_KEY, SECRET_KEY, "tok"};
	struct sink sink = {0};
	struct http_message m;
	struct s3_op op;

	get_init(&op, &sink, 0, 5, 5);
	strcpy(op.if_match, "\"e\"");
	t.requester_pays = true;
	strcpy(t.expected_bucket_owner, "1");
	assert_int_equal(s3_build(&op, &t, &with_token, FIXTURE_NOW_S, &m), 0);
	assert_non_null(strstr(message_header(&m, "Authorization"),
			       "SignedHeaders=host;if-match;x-amz-checksum-mode;"
			       "x-amz-content-sha256;x-amz-date;x-amz-expected-bucket-owner;"
			       "x-amz-request-payer;x-amz-security-token,"));
	http_message_finish(&m);
	s3_op_finish(&op);
}

static void test_clock_offset_moves_the_date(void **state)
{
	struct s3_target t = local_target();
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_BUCKET);
	t.clock_offset_s = -3600;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_string_equal(message_header(&m, "x-amz-date"), "20260830T113600Z");
	http_message_finish(&m);
}

static void test_unknown_region_is_signed_as_the_first(void **state)
{
	struct s3_target t = local_target();
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_BUCKET);
	t.region[0] = '\0';
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_non_null(strstr(message_header(&m, "Authorization"), "/us-east-1/s3/"));
	http_message_finish(&m);
}

struct refusal {
	const char *name;
	struct s3_op op;
	int err;
};

static const struct refusal refusals[] = {
    {"no key", {.verb = S3_HEAD_OBJECT}, -EINVAL},
    {"empty key", {.verb = S3_GET_OBJECT, .key = "", .length = 1}, -EINVAL},
    {"no length", {.verb = S3_GET_OBJECT, .key = "k", .key_length = 1}, -EINVAL},
    {"nothing left",
     {.verb = S3_GET_OBJECT, .key = "k", .key_length = 1, .length = 5, .received = 5},
     -EINVAL},
    {"range past the last number",
     {.verb = S3_GET_OBJECT, .key = "k", .key_length = 1, .offset = UINT64_MAX, .length = 2},
     -EINVAL},
    {"long key", {.verb = S3_HEAD_OBJECT, .key = "k", .key_length = 1025}, -ENAMETOOLONG},
    {"no page", {.verb = S3_LIST, .prefix = "", .max_keys = 0}, -EINVAL},
    {"large page", {.verb = S3_LIST, .prefix = "", .max_keys = 1001}, -EINVAL},
    {"line break in a header",
     {.verb = S3_HEAD_OBJECT, .key = "k", .key_length = 1, .if_match = "\"e\"\r\nX: y"},
     -EINVAL},
    {"no such verb", {.verb = (enum s3_verb)99}, -EOPNOTSUPP},
};

static void test_refusals(void **state)
{
	struct s3_target t = local_target();
	struct http_message m;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct s3_op op = refusals[i].op;
		int r = s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m);

		if (r != refusals[i].err)
			fail_msg("%s: %d", refusals[i].name, r);
	}
}

static void test_line_break_in_token_is_refused(void **state)
{
	struct s3_target t = local_target();
	struct s3_keys bad = {ACCESS_KEY, SECRET_KEY, "tok\n"};
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_BUCKET);
	assert_int_equal(s3_build(&op, &t, &bad, FIXTURE_NOW_S, &m), -EINVAL);
}

/* The path of the URL is what was signed (botocore's cases prove that) and decodes to the key. */
static void check_round_trip(const char *key, size_t len)
{
	struct s3_target t = local_target();
	static const char start[] = "http://s3.localhost:9000/bucket/";
	char decoded[3 * S3_KEY_MAX + 1];
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_HEAD_OBJECT);
	op.key = key;
	op.key_length = len;
	assert_int_equal(s3_build(&op, &t, &keys, FIXTURE_NOW_S, &m), 0);
	assert_true(text_starts_with(m.url, start));
	assert_null(strpbrk(m.url + strlen(start), "?#+ \\\n"));
	assert_int_equal(
	    text_url_decode(m.url + strlen(start), strlen(m.url + strlen(start)), false, decoded),
	    len);
	assert_memory_equal(decoded, key, len);
	http_message_finish(&m);
}

static void test_odd_keys_round_trip(void **state)
{
	static const char *const odd[] = {"%", "%%41", "+",    "a+b",	"..",	".",
					  "/", "//",   "a//b", "/../x", "\xff", "\xc3\xa9",
					  "?", "#",    "&=;",  "\n"};
	unsigned seed = 20150830;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		check_round_trip(odd[i], strlen(odd[i]));
	for (unsigned c = 0; c < 256; c++) {
		const char key[] = {'a', (char)c, 'b', (char)c};

		check_round_trip(key, sizeof(key));
	}
	for (int i = 0; i < 2000; i++) {
		char key[S3_KEY_MAX];
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(key);

		for (size_t at = 0; at < n; at++)
			key[at] = (char)rand_r(&seed);
		check_round_trip(key, n);
	}
}

static void test_verbs_have_names(void **state)
{
	assert_string_equal(s3_verb_name(S3_GET_OBJECT), "GetObject");
	assert_string_equal(s3_verb_name(S3_LIST), "ListObjectsV2");
	assert_string_equal(s3_verb_action(S3_LIST), "s3:ListBucket");
	assert_string_equal(s3_verb_action(S3_HEAD_OBJECT), "s3:GetObject");
	for (int v = S3_HEAD_BUCKET; v <= S3_GET_TAGGING; v++) {
		assert_string_not_equal(s3_verb_name((enum s3_verb)v), "unknown");
		assert_true(text_starts_with(s3_verb_action((enum s3_verb)v), "s3:"));
	}
	assert_string_equal(s3_verb_name((enum s3_verb)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_signatures_are_botocores),
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_every_added_header_is_signed),
	    cmocka_unit_test(test_clock_offset_moves_the_date),
	    cmocka_unit_test(test_unknown_region_is_signed_as_the_first),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_line_break_in_token_is_refused),
	    cmocka_unit_test(test_odd_keys_round_trip),
	    cmocka_unit_test(test_verbs_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
