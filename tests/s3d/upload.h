/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_UPLOAD_H
#define S3D_UPLOAD_H

#include "store.h"

#define PART_MAX 10000
#define PART_MIN_BYTES (5ull << 20)
#define PART_MAX_BYTES (5ull << 30)
#define UPLOAD_ID_SIZE 65

/* What one part of an upload is, as listed. */
struct part_info {
	unsigned number;
	uint64_t size;
	int64_t mtime_ms;
	char etag[ETAG_SIZE];
};

/* What an unfinished upload is, as listed. */
struct upload_info {
	char *key; /* owned by the list */
	size_t key_len;
	char id[UPLOAD_ID_SIZE];
	int64_t initiated_ms;
};

/* One line of a CompleteMultipartUpload. */
struct part_claim {
	unsigned number;
	const char *etag;
	struct fields checksums;   /* claimed x-amz-checksum-*; may be empty */
	const struct object *part; /* upload_complete()'s own */
};

/* Rules that a server may not have. */
struct complete_rules {
	bool any_order;	  /* accepts parts out of order, sorts them */
	bool equal_parts; /* all but the last must have one size */
	bool has_size;	  /* x-amz-mp-object-size was given */
	uint64_t size;
};

/*
 * Begins an upload that will become an object like `model` (its reference is taken over). 0 with
 * the id, or -errno.
 */
int upload_create(struct store *store, struct bucket *bucket, struct object *model,
		  char ret_id[UPLOAD_ID_SIZE]);
/* The upload's model (key, headers) with a reference, or NULL: no such upload of this key. */
struct object *upload_model(struct store *store, struct bucket *bucket, const char *key,
			    size_t key_len, const char *id);
/* Makes `part` (reference taken over) part `number`. 0, -ENOENT (no such upload), or -errno. */
int upload_put_part(struct store *store, struct bucket *bucket, const char *id, unsigned number,
		    struct object *part);
/* Drops an upload and its parts. 0 or -ENOENT. */
int upload_abort(struct store *store, struct bucket *bucket, const char *id);
/*
 * Puts the claimed parts together and publishes the object under pre (may be NULL), at one
 * instant; the upload is gone then. The claims may be sorted. 0 with the object and a reference;
 * -ENOENT no such upload; -EINVAL a part is missing or differs; -ERANGE order; -EFBIG a part but
 * the last is too small; -EMSGSIZE size differs; -EPROTO parts not equal. When publishing failed:
 * that errno, in *ret_put too (0 otherwise).
 */
int upload_complete(struct store *store, struct bucket *bucket, const char *id,
		    struct part_claim *claims, size_t count, const struct complete_rules *rules,
		    const struct precondition *pre, int *ret_put, struct object **ret_object);
/* The ETag of an upload that was completed before (in this run); false when it is not known. */
bool upload_completed(struct store *store, const char *id, char ret_etag[ETAG_SIZE]);

/* The parts behind part `after`, at most max; the caller frees ret. Their number or -ENOENT. */
int upload_parts(struct store *store, struct bucket *bucket, const char *id, unsigned after,
		 size_t max, struct part_info **ret);
/* All unfinished uploads whose key begins so, by key and id; the caller frees keys and list. */
size_t upload_list(struct store *store, struct bucket *bucket, const char *prefix,
		   size_t prefix_len, struct upload_info **ret);

#endif
