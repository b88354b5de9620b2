/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: two answers in a row to a verb that changes objects or lists uploads. Input: a byte
 * for the verb, two for the status, lines "name:value", an empty line, the body. Whatever comes, a
 * success has what the verb promises, and what was not promised has an errno. The body is a value
 * of metadata, too, which must survive its header form.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/s3.h>

#define HEADERS_MAX 16
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum s3_verb verbs[] = {S3_PUT_OBJECT,	  S3_COPY_OBJECT,	 S3_DELETE_OBJECT,
				     S3_DELETE_OBJECTS,	  S3_CREATE_MULTIPART,	 S3_UPLOAD_PART,
				     S3_UPLOAD_PART_COPY, S3_COMPLETE_MULTIPART, S3_ABORT_MULTIPART,
				     S3_LIST_PARTS,	  S3_LIST_UPLOADS,	 S3_GET_TAGGING,
				     S3_HEAD_OBJECT};
static const struct s3_part part = {.number = 1, .etag = "\"p\"", .size = 3};
static const struct s3_target target = {.host = "h",
					.bucket = "bucket",
					.region = "us-east-1",
					.path_style = true,
					.unsigned_payload = true,
					.checksum_crc32c = true,
					.mp_object_size = true};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	s3_library_init();
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

static void check_page(const struct s3_upload_page *page)
{
	for (size_t i = 0; i < page->part_count; i++)
		assert(page->parts[i].number > 0 && page->parts[i].etag[0]);
	for (size_t i = 0; i < page->upload_count; i++)
		assert(page->uploads[i].key_length > 0 && page->uploads[i].id[0]);
	assert(page->part_count + page->refused <= S3_LIST_ENTRIES_MAX);
}

static void check_success(const struct s3_op *op)
{
	switch (op->verb) {
	case S3_PUT_OBJECT:
	case S3_UPLOAD_PART:
	case S3_COPY_OBJECT:
	case S3_UPLOAD_PART_COPY:
	case S3_COMPLETE_MULTIPART:
		assert(op->object.etag[0] && strlen(op->object.etag) < S3_ETAG_MAX);
		break;
	case S3_CREATE_MULTIPART:
		assert(op->created_id[0] && strlen(op->created_id) <= S3_UPLOAD_ID_MAX);
		break;
	case S3_GET_TAGGING:
		assert(op->tagging);
		break;
	default:
		check_page(&op->upload_page);
	}
}

static void check_deletes(const struct s3_op *op)
{
	for (unsigned i = 0; i < op->delete_count; i++) {
		assert(op->deletes[i].err <= 0);
		assert(op->result.err < 0 || op->deletes[i].state >= S3_DELETE_FAILED);
	}
}

static void answer_once(struct s3_op *op, struct http_answer *answer, const char *body)
{
	static const struct s3_keys keys = {"AK", "SK", NULL};
	struct http_message m;

	assert(s3_build(op, &target, &keys, 1788093360, &m) == 0);
	http_message_finish(&m);
	answer->error = HTTP_OK;
	if (s3_op_headers(op, answer) < 0 || s3_op_data(op, body, strlen(body)) < 0)
		answer->error = HTTP_REFUSED;
	s3_op_end(op, answer);
	assert(op->result.err <= 0);
	if (op->result.err == 0)
		check_success(op);
	check_deletes(op);
}

static void check_meta(const char *text)
{
	char *decoded, *encoded, *again;
	size_t n, m;

	assert(s3_meta_decode(text, &decoded, &n) == 0);
	if (s3_meta_encode(decoded, n, &encoded) == 0) {
		assert(s3_meta_decode(encoded, &again, &m) == 0);
		assert(n == m && !memcmp(decoded, again, n));
		free(again);
		free(encoded);
	}
	free(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_delete deletes[] = {{.key = "a", .key_length = 1},
				      {.key = "b", .key_length = 1, .etag = "\"e\""}};
	struct http_header headers[HEADERS_MAX];
	struct http_answer answer = {.headers = headers, .content_length = -1};
	struct s3_op op;
	char *text, *body;

	if (size < 3)
		return 0;
	text = malloc(size - 2);
	memcpy(text, data + 3, size - 3);
	text[size - 3] = '\0';
	body = read_headers(text, &answer);
	answer.status = (data[1] << 8 | data[2]) % 600;
	s3_op_init(&op, verbs[data[0] % ARRAY_SIZE(verbs)]);
	op.key = op.copy.key = "k";
	op.key_length = op.copy.key_length = 1;
	op.upload_id = "u";
	op.part_number = op.part_count = 1;
	op.parts = &part;
	op.deletes = deletes;
	op.delete_count = op.verb == S3_DELETE_OBJECTS ? ARRAY_SIZE(deletes) : 0;
	op.want_attributes = true;
	op.if_none_match_any = data[0] & 128;
	answer_once(&op, &answer, body);
	if (op.result.err < 0)
		answer_once(&op, &answer, body);
	s3_op_finish(&op);
	check_meta(body);
	free(text);
	return 0;
}
