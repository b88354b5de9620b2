/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints, hosts, styles, regions and names of buckets. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>

/* host: what s3_target_host answers; NULL: refused, and the text says `error`. */
struct target_case {
	const char *endpoint, *bucket, *region;
	int path_style;
	const char *host;
	bool https, path, amazon;
	const char *error;
};

static const struct target_case cases[] = {
    /* Amazon by default */
    {NULL, "bucket", "eu-west-1", -1, "bucket.s3.eu-west-1.amazonaws.com", true, false, true},
    {NULL, "bucket", NULL, -1, "bucket.s3.us-east-1.amazonaws.com", true, false, true},
    {NULL, "bucket", "cn-north-1", -1, "bucket.s3.cn-north-1.amazonaws.com.cn", true, false, true},
    {NULL, "bucket", "us-gov-west-1", 1, "s3.us-gov-west-1.amazonaws.com", true, true, true},
    {NULL, "my.bucket", "eu-west-1", -1, "s3.eu-west-1.amazonaws.com", true, true, true},
    {NULL, "Bucket_1", "us-east-1", -1, "s3.us-east-1.amazonaws.com", true, true, true},
    /* Amazon's regional endpoints follow the region */
    {"https://s3.eu-west-1.amazonaws.com", "bucket", NULL, -1, "bucket.s3.eu-west-1.amazonaws.com",
     true, false, true},
    {"https://s3.amazonaws.com/", "bucket", "eu-west-1", -1, "bucket.s3.eu-west-1.amazonaws.com",
     true, false, true},
    {"http://s3.us-west-2.amazonaws.com", "bucket", NULL, -1, "bucket.s3.us-west-2.amazonaws.com",
     false, false, true},
    {"https://s3.dualstack.eu-west-1.amazonaws.com", "bucket", NULL, -1,
     "bucket.s3.dualstack.eu-west-1.amazonaws.com", true, false, true},
    {"https://s3-fips.us-east-2.amazonaws.com", "bucket", NULL, -1,
     "bucket.s3-fips.us-east-2.amazonaws.com", true, false, true},
    {"https://s3.cn-north-1.amazonaws.com.cn", "bucket", NULL, -1,
     "bucket.s3.cn-north-1.amazonaws.com.cn", true, false, true},
    /* Amazon's others stay as given */
    {"https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com", "bucket", "us-east-1", -1,
     "bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com", true, true, false},
    {"https://s3-accelerate.amazonaws.com", "bucket", "us-east-1", 0,
     "bucket.s3-accelerate.amazonaws.com", true, false, false},
    {"https://s3.us-east-1.amazonaws.com.evil.example", "bucket", NULL, -1,
     "s3.us-east-1.amazonaws.com.evil.example", true, true, false},
    /* anybody's */
    {"http://localhost:9000", "bucket", NULL, -1, "localhost:9000", false, true, false},
    {"HTTP://LocalHost:80", "bucket", NULL, -1, "localhost", false, true, false},
    {"https://example.com:443/", "bucket", NULL, 0, "bucket.example.com", true, false, false},
    {"https://example.com:80", "bucket", NULL, -1, "example.com:80", true, true, false},
    {"http://127.0.0.1:9000", "bucket", NULL, -1, "127.0.0.1:9000", false, true, false},
    {"http://[::1]:9000", "bucket", NULL, -1, "[::1]:9000", false, true, false},
    {"http://[::1]", "bucket", NULL, -1, "[::1]", false, true, false},
    /* refused */
    {.endpoint = "localhost:9000", .bucket = "bucket", .path_style = -1, .error = "https://"},
    {.endpoint = "ftp://h", .bucket = "bucket", .path_style = -1, .error = "https://"},
    {.endpoint = "http://", .bucket = "bucket", .path_style = -1, .error = "host"},
    {.endpoint = "http://h/path", .bucket = "bucket", .path_style = -1, .error = "path"},
    {.endpoint = "http://h?x", .bucket = "bucket", .path_style = -1, .error = "query"},
    {.endpoint = "http://u:p@h", .bucket = "bucket", .path_style = -1, .error = "user"},
    {.endpoint = "http://h:0", .bucket = "bucket", .path_style = -1, .error = "port"},
    {.endpoint = "http://h:65536", .bucket = "bucket", .path_style = -1, .error = "port"},
    {.endpoint = "http://h:", .bucket = "bucket", .path_style = -1, .error = "port"},
    {.endpoint = "http://h:9x", .bucket = "bucket", .path_style = -1, .error = "port"},
    {.endpoint = "http://a b", .bucket = "bucket", .path_style = -1, .error = "host"},
    {.endpoint = "http://a\r\nb", .bucket = "bucket", .path_style = -1, .error = "host"},
    {.endpoint = "http://[::1", .bucket = "bucket", .path_style = -1, .error = "host"},
    {.endpoint = "http://[::1]x", .bucket = "bucket", .path_style = -1, .error = "host"},
    {.endpoint = "http://127.0.0.1", .bucket = "bucket", .path_style = 0, .error = "path_style"},
    {.endpoint = "http://h", .bucket = "my.bucket", .path_style = 0, .error = "path_style"},
    {.bucket = "bucket", .region = "EU", .path_style = -1, .error = "region"},
    {.bucket = "bucket", .region = "a.b", .path_style = -1, .error = "region"},
    {.bucket = "b\n", .path_style = -1, .error = "bucket"},
};

static void check_case(const struct target_case *c)
{
	struct s3_target t = {.port = 7};
	char error[160] = "", host[S3_HOST_BYTES];
	int r = s3_target_init(&t, c->endpoint, c->bucket, c->region, c->path_style, error,
			       sizeof(error));

	if (!c->host) {
		assert_int_equal(r, -EINVAL);
		assert_non_null(strstr(error, c->error));
		assert_int_equal(t.port, 7); /* untouched */
		return;
	}
	if (r != 0)
		fail_msg("%s: %s", c->endpoint, error);
	assert_string_equal(s3_target_host(&t, host), c->host);
	assert_int_equal(t.https, c->https);
	assert_int_equal(t.path_style, c->path);
	assert_int_equal(t.amazon, c->amazon);
}

static void test_endpoints(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_case(&cases[i]);
}

static void test_overlong_hosts_are_refused(void **state)
{
	struct s3_target t;
	char url[2048] = "http://", error[160];

	memset(url + 7, 'a', 256);
	assert_int_equal(s3_target_init(&t, url, "bucket", NULL, -1, error, sizeof(error)),
			 -EINVAL);
	memset(url + 7, 'a', 2000);
	assert_int_equal(s3_target_init(&t, url, "bucket", NULL, -1, error, sizeof(error)),
			 -EINVAL);
}

static void test_amazons_host_follows_what_is_learnt(void **state)
{
	struct s3_target t;
	char error[160], host[S3_HOST_BYTES];

	assert_int_equal(s3_target_init(&t, NULL, "bucket", NULL, -1, error, sizeof(error)), 0);
	assert_int_equal(s3_target_set_region(&t, "ap-south-1"), 0);
	assert_string_equal(s3_target_host(&t, host), "bucket.s3.ap-south-1.amazonaws.com");
	t.dualstack = t.fips = true;
	assert_string_equal(s3_target_host(&t, host),
			    "bucket.s3-fips.dualstack.ap-south-1.amazonaws.com");
	assert_int_equal(s3_target_set_region(&t, "x.evil.example"), -EINVAL);
	assert_int_equal(s3_target_set_region(&t, ""), -EINVAL);
	assert_int_equal(s3_target_set_region(&t, "a12345678901234567890123456789012"), -EINVAL);
	assert_string_equal(t.region, "ap-south-1");
	assert_int_equal(s3_target_set_region(&t, "a1234567890123456789012345678901"), 0);
}

static void test_bucket_names(void **state)
{
	static const char *const good[] = {
	    "abc",
	    "a-b.c",
	    "0bucket9",
	    "Old_Bucket",
	    "my-ap-abc-s3alias",
	    "a23456789012345678901234567890123456789012345678901234567890123"};
	static const char *const bad[] = {
	    "",
	    "ab",
	    "-abc",
	    "abc-",
	    ".abc",
	    "abc.",
	    "a..b",
	    "a/b",
	    "a b",
	    "192.168.0.1",
	    "a\n",
	    "b\303\274cket",
	    "a234567890123456789012345678901234567890123456789012345678901234"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(s3_bucket_name_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(s3_bucket_name_valid(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_endpoints),
	    cmocka_unit_test(test_overlong_hosts_are_refused),
	    cmocka_unit_test(test_amazons_host_follows_what_is_learnt),
	    cmocka_unit_test(test_bucket_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
