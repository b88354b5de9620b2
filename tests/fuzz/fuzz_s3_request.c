/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: any bytes as a key, a prefix, and an endpoint. The path that is sent decodes to the
 * key; an endpoint that is accepted makes a host without blanks, slashes or users.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/s3.h>
#include <pailfs/text.h>

#define START "http://h/bucket/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct s3_target target = {
    .host = "h", .bucket = "bucket", .region = "us-east-1", .path_style = true};
static const struct s3_keys keys = {"AK", "SK", NULL};

static void check_key(const char *key, size_t length)
{
	struct http_message m;
	struct s3_op op;
	char *decoded;
	int r;

	s3_op_init(&op, S3_HEAD_OBJECT);
	op.key = key;
	op.key_length = length;
	r = s3_build(&op, &target, &keys, 1788093360, &m);
	if (length == 0 || length > S3_KEY_MAX) {
		assert(r < 0);
		return;
	}
	assert(r == 0 && text_starts_with(m.url, START));
	decoded = malloc(strlen(m.url) + 1);
	assert(text_url_decode(m.url + strlen(START), strlen(m.url) - strlen(START), false,
			       decoded) == (long)length);
	assert(!memcmp(decoded, key, length));
	free(decoded);
	http_message_finish(&m);
}

static void check_list(const char *prefix, size_t length)
{
	struct http_message m;
	struct s3_op op;

	s3_op_init(&op, S3_LIST);
	op.prefix = op.start_after = prefix;
	op.prefix_length = op.start_after_length = length;
	assert(s3_build(&op, &target, &keys, 1788093360, &m) == 0);
	assert(!strpbrk(m.url, " \r\n#\"<>"));
	http_message_finish(&m);
}

static void check_endpoint(const char *url)
{
	struct s3_target t;
	char error[160], host[S3_HOST_BYTES];

	if (s3_target_init(&t, url, "bucket", NULL, -1, error, sizeof(error)) == 0)
		assert(!strpbrk(s3_target_host(&t, host), " \t\r\n/@?#%"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_key(text, size);
	check_list(text, size);
	check_endpoint(text);
	free(text);
	return 0;
}
