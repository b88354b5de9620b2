/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_FAULT_H
#define S3D_FAULT_H

#include "util.h"

struct buf;
struct json_object;
struct request;

#define FAULT_OFF INT64_MIN

/* A response header that a fault sets (value) or drops (NULL). */
struct fault_header {
	char *name, *value;
};

/* What a listing does wrong. */
struct list_fault {
	bool same_token, no_token, empty_page, duplicate, unsorted, no_encoding, encoding_last;
	char *raw_entries;
};

/* What a fault does; see the README for each. Immutable. */
struct fault {
	char *name;
	int status; /* 0: the true answer */
	char *code, *message;
	int64_t retry_after_s; /* FAULT_OFF: no header */
	struct fault_header *headers;
	size_t header_count;
	char *body;
	size_t body_len;
	uint64_t body_repeat;
	uint64_t delay_ms, blanks_ms;
	/* positions in the body's bytes, or FAULT_OFF */
	int64_t cut_after, reset_after, stall_after, reset_request, flip_at;
	uint64_t shorten;      /* bytes */
	uint64_t header_bytes; /* of padding headers before the answer's own */
	bool stall_request, close, apply, ignore_range;
	char *content_range;
	struct list_fault list;
};

/* The scripted faults; any thread. */
struct faults;

/* An empty list. Never NULL. */
struct faults *faults_create(void);
/* Takes NULL. */
void faults_destroy(struct faults *faults);
/* Adds the faults of a JSON array; 0 or -EINVAL with nothing added and a reason in *ret_why. */
int faults_add(struct faults *faults, struct json_object *list, const char **ret_why);
/* Removes all; those that play go on. */
void faults_clear(struct faults *faults);
/* Appends the list with hits as JSON. */
void faults_write(struct faults *faults, struct buf *to);
/* The first live fault that matches the request, with a reference, or NULL. Counts the hit. */
struct fault *faults_match(struct faults *faults, const struct request *request);
/* Takes NULL. */
void fault_unref(struct fault *fault);

#endif
