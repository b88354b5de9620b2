/* SPDX-License-Identifier: Apache-2.0 */
/* What a failed try means: one table, no state. And the <Error> document that tells it. */
#ifndef PAILFS_S3_ERROR_H
#define PAILFS_S3_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <pailfs/http.h>
#include <pailfs/s3.h>

struct error_class {
	int err;
	enum s3_retry retry;
};

/* What became of a try, as far as it decides on its class. */
struct error_input {
	enum s3_verb verb;
	enum http_error http;
	bool connection_reused;
	int status;	  /* 0: no answer came */
	const char *code; /* S3's, "" none */
	bool exclusive;	  /* its condition was that there is no such object */
};

/*
 * The one table. Never answers err 0: an answer with a 2xx status that is asked about is one that
 * could not be used, which counts as a server's error.
 */
struct error_class error_classify(const struct error_input *in);

/* An <Error> document, as far as it came. */
struct error_body {
	bool found; /* the root was <Error> */
	char code[64];
	char message[256];
	char region[S3_REGION_MAX + 1]; /* <Region>, unchecked but for its length */
	char server_time[40];
	char condition[48]; /* of a PreconditionFailed */
	char header[64];    /* of a NotImplemented */
};

/* Takes an element below the root <Error>; text becomes printable. */
void error_body_element(struct error_body *e, const char *name, const char *text, size_t len);

/* The parser of an answer whose status is an error's: an <Error> document, or anything else. */
struct error_reader;
/* *e is filled as elements come. NULL when out of memory. */
struct error_reader *error_reader_create(struct error_body *e);
/* NULL is fine. */
void error_reader_destroy(struct error_reader *r);
/* The next bytes; what is no XML is ignored. 0, or -EMSGSIZE beyond S3_ERROR_BYTES_MAX. */
int error_reader_push(struct error_reader *r, const void *bytes, size_t n);

#endif
