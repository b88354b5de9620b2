/* SPDX-License-Identifier: Apache-2.0 */
/* See fixture.h. It plays the part of http/: headers once, data in pieces, stopping when told. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const struct s3_keys no_keys;

int sink_take(void *ctx, const void *bytes, size_t n)
{
	struct sink *s = ctx;

	return s->refuse_with ?: buf_append(&s->bytes, bytes, n);
}

void get_init(struct s3_op *op, struct sink *sink, uint64_t offset, uint64_t length, uint64_t size)
{
	s3_op_init(op, S3_GET_OBJECT);
	op->key = "k";
	op->key_length = 1;
	op->offset = offset;
	op->length = length;
	op->object_size = size;
	op->sink = sink_take;
	op->sink_ctx = sink;
}

struct s3_target local_target(void)
{
	struct s3_target t;
	char error[160];

	assert_int_equal(s3_target_init(&t, "http://s3.localhost:9000", "bucket", "us-east-1", -1,
					error, sizeof(error)),
			 0);
	return t;
}

const char *message_header(const struct http_message *m, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < m->line_count; i++) {
		if (strncasecmp(m->lines[i], name, n) != 0)
			continue;
		if (!strcmp(m->lines[i] + n, ";"))
			return "";
		if (!strncmp(m->lines[i] + n, ": ", 2) && m->lines[i][n + 2] != '\0')
			return m->lines[i] + n + 2; /* without a value curl leaves it out */
	}
	return NULL;
}

static int deliver(struct s3_op *op, const struct answer *a, size_t step)
{
	size_t n = a->body_length ?: (a->body ? strlen(a->body) : 0);
	int r = 0;

	for (size_t at = 0; at < n && r == 0; at += step) {
		size_t piece = n - at < step ? n - at : step;
		char *copy = malloc(piece); /* so that a sanitizer sees a read beyond it */

		assert_non_null(copy);
		memcpy(copy, a->body + at, piece);
		r = s3_op_data(op, copy, piece);
		free(copy);
	}
	return r;
}

int run(struct s3_op *op, const struct answer *a, size_t step)
{
	struct s3_target t = local_target();

	return run_on(op, &t, a, step);
}

int run_on(struct s3_op *op, const struct s3_target *t, const struct answer *a, size_t step)
{
	struct http_message message;
	struct http_answer answer = {
	    .error = a->error,
	    .status = a->status,
	    .headers = (struct http_header *)(uintptr_t)a->headers,
	    .content_length = -1,
	    .connection_reused = a->reused,
	    .repeated = a->repeated,
	};
	int r;

	assert_int_equal(s3_build(op, t, &no_keys, FIXTURE_NOW_S, &message), 0);
	http_message_finish(&message);
	snprintf(answer.detail, sizeof(answer.detail), "%s", a->detail ? a->detail : "");
	while (a->headers[answer.header_count].name)
		answer.header_count++;
	if (http_answer_header(&answer, "content-length"))
		answer.content_length =
		    strtoll(http_answer_header(&answer, "content-length"), NULL, 10);
	if (a->status) {
		r = s3_op_headers(op, &answer);
		r = r ?: deliver(op, a, step);
		if (r < 0) {
			answer.error = HTTP_REFUSED;
			answer.refused = r;
		}
	}
	return s3_op_end(op, &answer);
}
