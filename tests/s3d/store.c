/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buckets and their objects: a sorted array of versions a bucket in memory, one metadata file
 * an object on disk (DIR/b/BUCKET/o/SHA256-OF-KEY.json), bytes in shared blobs (DIR/blob). Any
 * thread calls; one lock makes each change and each page of a listing one instant. A metadata
 * file is replaced by rename, so a killed server comes back with the old version or the new one.
 * Left out: fsync (a test server may lose its last second with the machine), versioning.
 */
#include "policy.h"
#include "store_internal.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool bucket_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len < 3 || len > 63 || !isalnum((unsigned char)name[0]) ||
	    !isalnum((unsigned char)name[len - 1]) || strstr(name, "..") != NULL)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
		    name[i] != '-' && name[i] != '.')
			return false;
	return true;
}

static char *object_path(const struct bucket *bucket, const char *key, size_t len)
{
	struct buf path = {0};
	char name[65];

	sha256_hex(key, len, name);
	buf_printf(&path, "%s/o/%s.json", bucket->dir, name);
	return path.data;
}

size_t bucket_lower_bound_locked(const struct bucket *bucket, const char *key, size_t len)
{
	size_t low = 0, high = bucket->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct object *object = bucket->objects[middle];

		if (bytes_compare(object->key, object->key_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The entry of a key, tombstone or not, or NULL; its place or where it belongs in *ret_at. */
static struct object *bucket_entry_locked(const struct bucket *bucket, const char *key, size_t len,
					  size_t *ret_at)
{
	size_t at = bucket_lower_bound_locked(bucket, key, len);
	struct object *object = at < bucket->count ? bucket->objects[at] : NULL;

	*ret_at = at;
	if (object == NULL || object->key_len != len || memcmp(object->key, key, len) != 0)
		return NULL;
	return object;
}

static const struct synth *synth_of_locked(const struct bucket *bucket, const char *key, size_t len,
					   uint64_t *ret_i)
{
	for (size_t i = 0; i < bucket->synth_count; i++)
		if (synth_find(&bucket->synths[i], key, len, ret_i))
			return &bucket->synths[i];
	return NULL;
}

/* The current version with a reference, or NULL. */
static struct object *get_locked(const struct bucket *bucket, const char *key, size_t len)
{
	size_t at;
	uint64_t i = 0;
	struct object *object = bucket_entry_locked(bucket, key, len, &at);
	const struct synth *synth;

	if (object != NULL)
		return object->tombstone ? NULL : object_ref(object);
	synth = synth_of_locked(bucket, key, len, &i);
	if (synth == NULL)
		return NULL;
	object = synth_object(key, len, synth->seed + i, synth->size, synth->sparse);
	object->mtime_ms = synth->mtime_ms;
	return object;
}

struct object *store_get(struct store *store, struct bucket *bucket, const char *key, size_t len)
{
	SCOPED_LOCK(store);
	return get_locked(bucket, key, len);
}

bool etag_matches(const char *condition, const char *etag)
{
	size_t len = strlen(etag);

	if (strcmp(condition, "*") == 0 || strcmp(condition, etag) == 0)
		return true;
	return strlen(condition) == len + 2 && condition[0] == '"' && condition[len + 1] == '"' &&
	       memcmp(condition + 1, etag, len) == 0;
}

static int precondition_check(const struct precondition *pre, const struct object *current)
{
	if (pre == NULL)
		return 0;
	if (pre->if_none_match) {
		if (current != NULL)
			return -EEXIST;
		return pre->existed ? -EAGAIN : 0;
	}
	if (pre->if_match != NULL) {
		if (current == NULL)
			return -ENOENT;
		if (pre->quotes_refused && pre->if_match[0] == '"')
			return -ESTALE;
		return etag_matches(pre->if_match, current->etag) ? 0 : -ESTALE;
	}
	return 0;
}

static void insert_locked(struct bucket *bucket, size_t at, struct object *object)
{
	if (bucket->count == bucket->cap) {
		bucket->cap = bucket->cap > 0 ? bucket->cap * 2 : 64;
		bucket->objects = xrealloc(bucket->objects, bucket->cap * sizeof(*bucket->objects));
	}
	memmove(&bucket->objects[at + 1], &bucket->objects[at],
		(bucket->count - at) * sizeof(*bucket->objects));
	bucket->objects[at] = object;
	bucket->count++;
}

/* Saves the object and makes it the entry of its key; takes its reference over. */
static int set_locked(struct bucket *bucket, struct object *object)
{
	CLEANUP(cleanup_free) char *path = object_path(bucket, object->key, object->key_len);
	size_t at;
	struct object *old = bucket_entry_locked(bucket, object->key, object->key_len, &at);
	int err = object_save(object, path);

	if (err != 0) {
		object_unref(object);
		return err;
	}
	if (old != NULL) {
		bucket->objects[at] = object;
		object_unref(old);
	} else {
		insert_locked(bucket, at, object);
	}
	return 0;
}

int store_put_locked(struct store *store, struct bucket *bucket, struct object *object,
		     const struct precondition *pre)
{
	struct object *current = get_locked(bucket, object->key, object->key_len);
	int err = bucket->removed ? -ENODEV : precondition_check(pre, current);

	object_unref(current);
	if (err != 0) {
		object_unref(object);
		return err;
	}
	return set_locked(bucket, object);
}

int store_put(struct store *store, struct bucket *bucket, struct object *object,
	      const struct precondition *pre)
{
	SCOPED_LOCK(store);
	return store_put_locked(store, bucket, object, pre);
}

int store_delete(struct store *store, struct bucket *bucket, const char *key, size_t len,
		 const char *if_match)
{
	SCOPED_LOCK(store);
	CLEANUP(cleanup_free) char *path = object_path(bucket, key, len);
	struct object *current = get_locked(bucket, key, len);
	struct precondition pre = {.if_match = if_match};
	int err = precondition_check(&pre, current);
	uint64_t i;
	size_t at;

	object_unref(current);
	if (err != 0 || current == NULL)
		return err;
	if (synth_of_locked(bucket, key, len, &i) != NULL) {
		struct object *tombstone = object_create(key, len);

		tombstone->tombstone = true;
		return set_locked(bucket, tombstone);
	}
	if (unlink(path) != 0 && errno != ENOENT)
		return -errno;
	current = bucket_entry_locked(bucket, key, len, &at);
	memmove(&bucket->objects[at], &bucket->objects[at + 1],
		(bucket->count - at - 1) * sizeof(*bucket->objects));
	bucket->count--;
	object_unref(current);
	return 0;
}

int store_add_synth(struct store *store, struct bucket *bucket, struct synth *range)
{
	SCOPED_LOCK(store);
	bucket->synths =
	    xrealloc(bucket->synths, (bucket->synth_count + 1) * sizeof(*bucket->synths));
	bucket->synths[bucket->synth_count++] = *range;
	*range = (struct synth){0};
	return bucket_save_locked(bucket);
}

static struct bucket *find_bucket_locked(const struct store *store, const char *name)
{
	for (size_t i = 0; i < store->bucket_count; i++)
		if (!store->buckets[i]->removed && strcmp(store->buckets[i]->name, name) == 0)
			return store->buckets[i];
	return NULL;
}

struct bucket *store_bucket(struct store *store, const char *name)
{
	SCOPED_LOCK(store);
	return find_bucket_locked(store, name);
}

int store_bucket_make(struct store *store, const char *name, const char *region,
		      struct bucket **ret)
{
	struct bucket *bucket;
	int err;

	if (!bucket_name_valid(name))
		return -EINVAL;
	SCOPED_LOCK(store);
	bucket = find_bucket_locked(store, name);
	if (ret != NULL)
		*ret = bucket;
	if (bucket != NULL)
		return -EEXIST;
	bucket = bucket_create(store, name);
	snprintf(bucket->info.region, sizeof(bucket->info.region), "%s", region);
	err = bucket_make_dirs(bucket);
	if (err == 0)
		err = bucket_save_locked(bucket);
	if (err != 0) {
		bucket_destroy(bucket);
		return err;
	}
	store_add_bucket(store, bucket);
	if (ret != NULL)
		*ret = bucket;
	return 0;
}

int store_bucket_remove(struct store *store, struct bucket *bucket)
{
	SCOPED_LOCK(store);
	if (bucket->count > 0 || bucket->synth_count > 0 || bucket->upload_count > 0)
		return -ENOTEMPTY;
	bucket->removed = true;
	bucket_remove_dirs(bucket);
	return 0;
}

const char *bucket_name(const struct bucket *bucket)
{
	return bucket->name;
}

struct bucket_info bucket_info(struct store *store, const struct bucket *bucket)
{
	SCOPED_LOCK(store);
	return bucket->info;
}

int bucket_configure(struct store *store, struct bucket *bucket, const char *region, int is_public,
		     const char *policy_json)
{
	SCOPED_LOCK(store);
	if (region != NULL)
		snprintf(bucket->info.region, sizeof(bucket->info.region), "%s", region);
	if (is_public >= 0)
		bucket->info.is_public = is_public != 0;
	if (policy_json != NULL) {
		struct json_object *policy = json_tokener_parse(policy_json);

		if (policy == NULL && strcmp(policy_json, "null") != 0)
			return -EINVAL;
		json_object_put(bucket->policy);
		bucket->policy = policy;
		bucket->info.has_policy = policy != NULL;
	}
	return bucket_save_locked(bucket);
}

bool bucket_policy_allows(struct store *store, const struct bucket *bucket, const char *action,
			  const char *resource, const char *list_prefix)
{
	SCOPED_LOCK(store);
	return policy_allows(bucket->policy, action, resource, list_prefix);
}

void store_each_bucket(struct store *store,
		       void (*visit)(void *ctx, const char *name, const struct bucket_info *info),
		       void *ctx)
{
	SCOPED_LOCK(store);
	for (size_t i = 0; i < store->bucket_count; i++)
		if (!store->buckets[i]->removed)
			visit(ctx, store->buckets[i]->name, &store->buckets[i]->info);
}
