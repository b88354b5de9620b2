/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: an answer to a GET, a HEAD or a list with any status, headers and error body. Input:
 * a byte for the verb, two for the status, lines "name:value", an empty line, the body. Whatever
 * comes, a GET takes no more than it asked for, and its words are printable.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/s3.h>

#define HEADERS_MAX 16
#define RANGE_BYTES 10

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	s3_library_init();
	return 0;
}

static int count_bytes(void *ctx, const void *bytes, size_t n)
{
	*(size_t *)ctx += n;
	return 0;
}

/* Cuts the lines at text into headers; returns where the body begins. */
static char *read_headers(char *text, struct http_answer *answer)
{
	char *end;

	for (; (end = strchr(text, '\n')); text = end + 1) {
		char *colon = strchr(text, ':');

		*end = '\0';
		if (end == text || !colon || colon > end || answer->header_count == HEADERS_MAX)
			return end + 1;
		*colon = '\0';
		answer->headers[answer->header_count++] = (struct http_header){text, colon + 1};
		if (!strcmp(text, "content-length"))
			answer->content_length = strtoll(colon + 1, NULL, 10);
	}
	return text;
}

static void check_printable(const char *text)
{
	for (; *text; text++)
		assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum s3_verb verbs[] = {S3_GET_OBJECT, S3_HEAD_OBJECT, S3_LIST,
					     S3_HEAD_BUCKET};
	struct http_header headers[HEADERS_MAX];
	struct http_answer answer = {.headers = headers, .content_length = -1};
	struct s3_op op;
	size_t taken = 0;
	char *text, *body;

	if (size < 3)
		return 0;
	text = malloc(size - 2);
	memcpy(text, data + 3, size - 3);
	text[size - 3] = '\0';
	body = read_headers(text, &answer);
	answer.status = (data[1] << 8 | data[2]) % 600;
	s3_op_init(&op, verbs[data[0] % 4]);
	op.key = "k";
	op.key_length = 1;
	op.length = RANGE_BYTES;
	op.object_size = data[0] & 64 ? RANGE_BYTES : data[0] & 128 ? 100 : UINT64_MAX;
	op.sink = count_bytes;
	op.sink_ctx = &taken;
	if (s3_op_headers(&op, &answer) < 0 || s3_op_data(&op, body, strlen(body)) < 0)
		answer.error = HTTP_REFUSED;
	s3_op_end(&op, &answer);
	assert(op.result.err <= 0 && op.received == taken && taken <= RANGE_BYTES);
	assert(op.result.err < 0 || op.result.retry == S3_RETRY_NO);
	check_printable(op.result.code);
	check_printable(op.result.message);
	check_printable(op.result.region);
	s3_op_finish(&op);
	free(text);
	return 0;
}
