/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request under construction. Errors stick: the first one is kept, later calls do nothing, and
 * request_finish returns it, so that a verb's builder reads as a list of what it sends.
 */
#ifndef PAILFS_S3_REQUEST_H
#define PAILFS_S3_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <pailfs/buf.h>
#include <pailfs/http.h>
#include <pailfs/s3.h>

#include "sign.h"

struct request {
	const struct s3_target *target;
	const char *method; /* static */
	struct buf path;
	struct buf query;
	const char *last_query;			      /* to hold their order */
	struct sign_header headers[SIGN_HEADERS_MAX]; /* values owned */
	char *names[SIGN_HEADERS_MAX];		      /* owned ones, else NULL */
	size_t header_count;
	unsigned left_out; /* enum s3_feature: not to be used */
	unsigned features; /* in use */
	int err;
};

/* Begins a request for key (NULL: the bucket). target and key are borrowed until the end. */
void request_init(struct request *r, const char *method, const struct s3_target *target,
		  const char *key, size_t key_length);
/* Adds a query parameter; names come in ascending order. value NULL: an empty one. */
void request_query(struct request *r, const char *name, const char *value, size_t len);
/* Adds a header. name: a static string. A control character in the value is -EINVAL, too many are
 * -E2BIG. */
void request_header(struct request *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a header whose name is copied. */
void request_header_named(struct request *r, const char *name, const char *value);
/* The request cannot be built. */
void request_fail(struct request *r, int err);
/* True if the feature is wanted and has not been refused; notes that it is in use then. */
bool request_uses(struct request *r, bool wanted, enum s3_feature feature);
/*
 * Adds Host, the target's own headers, date, payload hash and signature, and fills *ret_message.
 * payload_hash: hex of the body's, NULL: no body; not looked at if the target does not sign
 * payloads. keys without access_key: not signed. Frees r in any case.
 */
int request_finish(struct request *r, const struct s3_keys *keys, time_t now_s,
		   const char *payload_hash, struct http_message *ret_message);

#endif
