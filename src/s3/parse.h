/* SPDX-License-Identifier: Apache-2.0 */
/* What s3/ keeps of an op between its calls; and how its files say that a try failed. */
#ifndef PAILFS_S3_PARSE_H
#define PAILFS_S3_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/buf.h>
#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "arena.h"
#include "checksum.h"
#include "error.h"

/* What the body of the answer is. */
enum body_kind {
	BODY_IGNORED, /* of a HEAD, or of a success that says all in its headers */
	BODY_OBJECT,
	BODY_LIST,
	BODY_DOCUMENT,
	BODY_ERROR,
};

struct s3_parse {
	/* of one try: from s3_op_headers to s3_op_end */
	bool begun;
	bool decided; /* op->result has err and retry of this try */
	enum body_kind body;
	struct list *list;
	struct document *document;
	struct key_error *key_error; /* DeleteObjects; in the arena */
	bool url_encoded;	     /* ListMultipartUploads: keys are */
	struct arena arena;	     /* what the op's answer points to */
	struct error_reader *error_reader;
	struct error_body error;
	uint64_t try_left; /* GET: bytes that this answer may still have */
	/* of all tries */
	char etag[S3_ETAG_MAX]; /* if_match, else of the first answer */
	uint64_t wanted; /* GET: bytes until the range is complete; less than op->length only if
			    the object ended earlier than somebody knew */
	uint64_t total_bytes;	  /* GET: the object's size, UINT64_MAX unknown */
	struct checksum checksum; /* GET: of all bytes that the sink took */
	struct buf text;	  /* the document that is sent; GET_TAGGING: the tags read so far */
	char text_hash[S3_SHA256_HEX_BYTES];
	struct iovec text_iov;
};

/*
 * Decides the try: result.err, .retry, .code ("" none) and .message. Returns err. The first
 * decision of a try stands.
 */
int op_fail(struct s3_op *op, int err, enum s3_retry retry, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Fills result from an answer without a decision: error table, code, message. */
void result_classify(struct s3_op *op, const struct http_answer *answer);
/* Adds what an answer tells besides: region, Retry-After, clock; turns what cannot be tried again
 * that way into a final failure. */
void result_learn(struct s3_op *op, const struct http_answer *answer);
/* Last, for verbs that change something: op->ambiguous, op->left_out, what a repeat makes good. */
void result_settle(struct s3_op *op, const struct http_answer *answer);

#endif
