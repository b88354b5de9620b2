/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_STORE_H
#define S3D_STORE_H

#include "object.h"
#include "synth.h"

/* All buckets, their objects and their unfinished uploads, kept in one directory. */
struct store;
/* One bucket; borrowed pointers stay valid until the store closes, deleted or not. */
struct bucket;

/* What a bucket is, besides its objects. */
struct bucket_info {
	char region[33];
	bool is_public;
	bool has_policy;
	int64_t created_ms;
};

/* What must hold at the instant of a write; zero asks nothing. */
struct precondition {
	bool if_none_match;   /* If-None-Match: * */
	const char *if_match; /* ETag with or without quotes, or NULL */
	bool quotes_refused;  /* a quoted if_match never matches (RGW 16.2) */
	bool existed;	      /* the key existed when the request began: see store_put */
};

/* Opens (makes) the directory and reads its index. NULL with a message on stderr. */
struct store *store_create(const char *dir);
/* Every request must have ended. Takes NULL. The directory stays as it is. */
void store_destroy(struct store *store);
/* Where the bytes of new objects go; lives as long as the store. */
struct blobs *store_blobs(struct store *store);

/* Whether S3 would take the name of a bucket. */
bool bucket_name_valid(const char *name);
/* The bucket or NULL. */
struct bucket *store_bucket(struct store *store, const char *name);
/* Makes a bucket: 0, -EEXIST, -EINVAL (name), or another -errno. ret may be NULL. */
int store_bucket_make(struct store *store, const char *name, const char *region,
		      struct bucket **ret);
/* Removes an empty bucket: 0, -ENOTEMPTY, or another -errno. */
int store_bucket_remove(struct store *store, struct bucket *bucket);
/* Lives as long as the bucket. */
const char *bucket_name(const struct bucket *bucket);
/* A copy of what it is now. */
struct bucket_info bucket_info(struct store *store, const struct bucket *bucket);
/* Changes and saves; -1 for is_public and NULL leave things as they are. 0 or -errno. */
int bucket_configure(struct store *store, struct bucket *bucket, const char *region, int is_public,
		     const char *policy_json);
/* What the bucket's policy says (see policy.h); false without one. */
bool bucket_policy_allows(struct store *store, const struct bucket *bucket, const char *action,
			  const char *resource, const char *list_prefix);
/* Calls visit for each bucket, under the store's lock: visit calls nothing of
 * the store. */
void store_each_bucket(struct store *store,
		       void (*visit)(void *ctx, const char *name, const struct bucket_info *info),
		       void *ctx);

/* The current version of a key, with a reference for the caller, or NULL. */
struct object *store_get(struct store *store, struct bucket *bucket, const char *key, size_t len);
/*
 * Makes the object the current version of its key, at one instant and saved; its reference is
 * taken over in any case. pre may be NULL. 0; -EEXIST or -ESTALE: a condition does not hold (412);
 * -ENOENT: If-Match without an object; -EAGAIN: the conditions hold, but the key was deleted while
 * the request ran (409); another -errno.
 */
int store_put(struct store *store, struct bucket *bucket, struct object *object,
	      const struct precondition *pre);
/* Removes the key; 0 also when it was not there. -ESTALE, -ENOENT: if_match (may be NULL). */
int store_delete(struct store *store, struct bucket *bucket, const char *key, size_t len,
		 const char *if_match);
/* Adds a range of synthetic keys (taken over on success). 0 or -errno. */
int store_add_synth(struct store *store, struct bucket *bucket, struct synth *range);
/* Whether an ETag (quoted or not, or *) names this one. */
bool etag_matches(const char *condition, const char *etag);

/* One name of a listing page. */
struct list_item {
	char *name; /* a key or a common prefix */
	size_t len;
	bool is_prefix;
	uint64_t size;
	int64_t mtime_ms;
	char etag[ETAG_SIZE];
	char storage_class[32];
};

struct list_query {
	const char *prefix, *delimiter, *after; /* never NULL; `after` is not listed */
	size_t prefix_len, delimiter_len, after_len;
	size_t max;
};

struct list_page {
	struct list_item *items; /* in order, keys and prefixes mixed */
	size_t count;
	bool truncated; /* there is more behind the last item */
};

/* Lists one page, sorted by bytes; every item is greater than `after` and not below it as a
 * prefix. The caller finishes the page. */
void store_list(struct store *store, struct bucket *bucket, const struct list_query *query,
		struct list_page *ret);
/* Frees what the page holds and makes it empty. */
void list_page_finish(struct list_page *page);

#endif
