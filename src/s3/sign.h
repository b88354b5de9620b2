/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4, header form: a pure function of a request in canonical terms.
 *
 * Source: "Signature Version 4 signing process" (IAM user guide) and "Authenticating Requests:
 * Using the Authorization Header" (S3 API reference).
 */
#ifndef PAILFS_S3_SIGN_H
#define PAILFS_S3_SIGN_H

#include <stddef.h>
#include <time.h>

#include <pailfs/buf.h>

#define SIGN_HEADERS_MAX 256 /* user metadata is at most 2 KB, mostly a few */
#define SIGN_DATE_BYTES 17   /* 20150830T123600Z */
#define SIGN_HASH_BYTES 65   /* hex of a SHA-256 */

/* SHA-256 of no bytes: the payload hash of requests without a body. */
#define SIGN_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* What stands for a payload hash when TLS guards the payload. */
#define SIGN_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct sign_header {
	const char *name;  /* any case */
	const char *value; /* as sent: blanks are trimmed and folded here */
};

/* All strings are borrowed. */
struct sign_request {
	const char *method;
	const char *path;		   /* encoded as it is sent; S3 does not normalise it */
	const char *query;		   /* encoded and sorted, without '?'; "" none */
	const struct sign_header *headers; /* all are signed; any order, names may repeat */
	size_t header_count;
	const char *payload_hash;
};

struct sign_keys {
	const char *access_key;
	const char *secret_key;
	const char *region;
	const char *service;
	time_t time_s; /* the same as in the x-amz-date header */
};

/*
 * Appends the value of the Authorization header to *ret_value. 0, -ENOMEM, -E2BIG beyond
 * SIGN_HEADERS_MAX headers, -EINVAL for a time that has no date.
 */
int sign_v4(const struct sign_request *request, const struct sign_keys *keys,
	    struct buf *ret_value);

/* Writes t in the form of x-amz-date. -EINVAL for a time that has no such date. */
int sign_format_date(time_t t, char ret_date[SIGN_DATE_BYTES]);

/* Hex of the SHA-256 of len bytes: the payload hash of a body. -ENOMEM. */
int sign_payload_hash(const void *bytes, size_t len, char ret_hash[SIGN_HASH_BYTES]);

#endif
