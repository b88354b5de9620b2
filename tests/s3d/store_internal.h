/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_STORE_INTERNAL_H
#define S3D_STORE_INTERNAL_H

/* What store.c, list.c and upload.c share; nobody else includes this. */
#include "store.h"

#include <pthread.h>

struct upload;

#define SCOPED_LOCK(store)                                                                         \
	CLEANUP(store_unlock) struct store *locked_store_ = store;                                 \
	pthread_mutex_lock(&locked_store_->lock)

struct bucket {
	char *name; /* set at creation */
	char *dir;
	/* under the lock of the store */
	bool removed;
	struct bucket_info info;
	struct json_object *policy;
	struct object **objects; /* sorted by key, one reference each, tombstones among them */
	size_t count, cap;
	struct synth *synths;
	size_t synth_count;
	struct upload **uploads; /* sorted by key, then id */
	size_t upload_count;
};

struct store {
	/* set at creation */
	char *dir;
	struct blobs *blobs;
	/* one lock for everything; held while small metadata files are written, never over data */
	pthread_mutex_t lock;
	struct bucket **buckets;
	size_t bucket_count;
	/* completed uploads, so that a repeated Complete can be answered: a ring */
	struct completed_upload {
		char id[65];
		char etag[ETAG_SIZE];
	} completed[4096];
	size_t completed_count;
};

static inline void store_unlock(struct store **store)
{
	pthread_mutex_unlock(&(*store)->lock);
}

/* The index of the first object whose key is not below. The caller holds the lock. */
size_t bucket_lower_bound_locked(const struct bucket *bucket, const char *key, size_t len);
/* An empty bucket in memory only, and its end. */
struct bucket *bucket_create(struct store *store, const char *name);
/* Frees it; what is on disk stays. */
void bucket_destroy(struct bucket *bucket);
/* Appends to the list of buckets, which takes it over. */
void store_add_bucket(struct store *store, struct bucket *bucket);
/* The directories of a bucket; 0 or -errno. */
int bucket_make_dirs(const struct bucket *bucket);
/* Removes what make_dirs and save made, as far as it is empty. */
void bucket_remove_dirs(const struct bucket *bucket);
/* Writes bucket.json; 0 or -errno. */
int bucket_save_locked(const struct bucket *bucket);
/* store_put() for one who holds the lock. */
int store_put_locked(struct store *store, struct bucket *bucket, struct object *object,
		     const struct precondition *pre);
/* Reads the unfinished uploads of a bucket at start. */
void uploads_load(struct store *store, struct bucket *bucket);
/* Frees the uploads in memory. */
void uploads_free(struct bucket *bucket);

#endif
