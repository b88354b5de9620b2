/* SPDX-License-Identifier: Apache-2.0 */
/* Answers for s3/ without a network: a status, headers, a body in pieces, an end. */
#ifndef TEST_S3_FIXTURE_H
#define TEST_S3_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/buf.h>
#include <pailfs/http.h>
#include <pailfs/s3.h>

#define FIXTURE_HEADERS_MAX 12
#define FIXTURE_NOW_S 1788093360 /* 2026-08-30T12:36:00Z */
#define FIXTURE_DATE "Sun, 30 Aug 2026 12:36:00 GMT"

/* One answer. Content-Length is among the headers if there is one; -1 else. */
struct answer {
	int status;
	struct http_header headers[FIXTURE_HEADERS_MAX]; /* ends with a NULL name */
	const char *body;				 /* NULL: none */
	size_t body_length;				 /* 0: strlen */
	enum http_error error;
	bool reused, repeated;
	const char *detail;
};

struct sink {
	struct buf bytes;
	int refuse_with; /* 0: takes everything */
};

/* Takes bytes for a struct sink. */
int sink_take(void *ctx, const void *bytes, size_t n);
/* A GET of length bytes from offset of key "k", which must have size bytes, into sink. */
void get_init(struct s3_op *op, struct sink *sink, uint64_t offset, uint64_t length, uint64_t size);
/*
 * One try: builds the request (http, unsigned region "us-east-1"), lets the answer come in pieces
 * of step bytes, ends it. Returns s3_op_end's result.
 */
int run(struct s3_op *op, const struct answer *a, size_t step);
/* The same on another target. */
int run_on(struct s3_op *op, const struct s3_target *t, const struct answer *a, size_t step);
/* The value of a line of a message ("Range"), NULL if it has none. */
const char *message_header(const struct http_message *m, const char *name);
/* A target of path style at http://s3.localhost:9000 for the bucket "bucket". */
struct s3_target local_target(void);

#endif
