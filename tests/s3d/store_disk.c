/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on disk: DIR/blob holds bytes, DIR/b/BUCKET holds bucket.json (region, policy, ranges
 * of synthetic keys), o/ (one file an object) and u/ (unfinished uploads). Everything is read at
 * start, by one thread, and the index in memory is rebuilt; files that no metadata refers to are
 * removed then. The functions called _locked are called under the lock of the store later on.
 */
#include "store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bucket *bucket_create(struct store *store, const char *name)
{
	struct bucket *bucket = xcalloc(1, sizeof(*bucket));
	struct buf dir = {0};

	buf_printf(&dir, "%s/b/%s", store->dir, name);
	bucket->name = xstrdup(name);
	bucket->dir = dir.data;
	bucket->info.created_ms = wall_ms();
	return bucket;
}

void bucket_destroy(struct bucket *bucket)
{
	for (size_t i = 0; i < bucket->count; i++)
		object_unref(bucket->objects[i]);
	for (size_t i = 0; i < bucket->synth_count; i++)
		synth_finish(&bucket->synths[i]);
	uploads_free(bucket);
	json_object_put(bucket->policy);
	free(bucket->objects);
	free(bucket->synths);
	free(bucket->name);
	free(bucket->dir);
	free(bucket);
}

void store_add_bucket(struct store *store, struct bucket *bucket)
{
	store->buckets =
	    xrealloc(store->buckets, (store->bucket_count + 1) * sizeof(struct bucket *));
	store->buckets[store->bucket_count++] = bucket;
}

int bucket_make_dirs(const struct bucket *bucket)
{
	static const char *const below[] = {"", "/o", "/u"};

	for (size_t i = 0; i < COUNT_OF(below); i++) {
		struct buf path = {0};
		int failed;

		buf_printf(&path, "%s%s", bucket->dir, below[i]);
		failed = mkdir(path.data, 0700) != 0 && errno != EEXIST;
		buf_finish(&path);
		if (failed)
			return -errno;
	}
	return 0;
}

void bucket_remove_dirs(const struct bucket *bucket)
{
	static const char *const below[] = {"/o", "/u", "/bucket.json", ""};

	for (size_t i = 0; i < COUNT_OF(below); i++) {
		struct buf path = {0};

		buf_printf(&path, "%s%s", bucket->dir, below[i]);
		(void)remove(path.data); /* what stays behind is reported by the next start */
		buf_finish(&path);
	}
}

static struct json_object *synth_to_json(const struct synth *synth)
{
	struct json_object *json = json_object_new_object();

	json_object_object_add(json, "head", json_object_new_string(synth->head));
	json_object_object_add(json, "tail", json_object_new_string(synth->tail));
	json_object_object_add(json, "width", json_object_new_int((int)synth->width));
	json_object_object_add(json, "count", json_object_new_uint64(synth->count));
	json_object_object_add(json, "size", json_object_new_uint64(synth->size));
	json_object_object_add(json, "seed", json_object_new_uint64(synth->seed));
	json_object_object_add(json, "sparse", json_object_new_boolean(synth->sparse));
	json_object_object_add(json, "mtime_ms", json_object_new_int64(synth->mtime_ms));
	return json;
}

int bucket_save_locked(const struct bucket *bucket)
{
	struct json_object *json = json_object_new_object();
	struct json_object *synths = json_object_new_array();
	struct buf path = {0};
	const char *text;
	int err;

	json_object_object_add(json, "region", json_object_new_string(bucket->info.region));
	json_object_object_add(json, "public", json_object_new_boolean(bucket->info.is_public));
	json_object_object_add(json, "created_ms", json_object_new_int64(bucket->info.created_ms));
	json_object_object_add(json, "policy", json_object_get(bucket->policy));
	for (size_t i = 0; i < bucket->synth_count; i++)
		json_object_array_add(synths, synth_to_json(&bucket->synths[i]));
	json_object_object_add(json, "synth", synths);
	text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	buf_printf(&path, "%s/bucket.json", bucket->dir);
	err = file_replace(path.data, text, strlen(text));
	buf_finish(&path);
	json_object_put(json);
	return err;
}

static void synths_from_json(struct bucket *bucket, struct json_object *list)
{
	size_t count =
	    json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	bucket->synths = xcalloc(count, sizeof(*bucket->synths));
	for (size_t i = 0; i < count; i++) {
		struct json_object *row = json_object_array_get_idx(list, i);
		const char *head = json_object_get_string(json_object_object_get(row, "head"));
		const char *tail = json_object_get_string(json_object_object_get(row, "tail"));

		if (head == NULL || tail == NULL)
			continue;
		bucket->synths[bucket->synth_count++] = (struct synth){
		    .head = xstrdup(head),
		    .tail = xstrdup(tail),
		    .width = (unsigned)json_object_get_int(json_object_object_get(row, "width")),
		    .count = json_object_get_uint64(json_object_object_get(row, "count")),
		    .size = json_object_get_uint64(json_object_object_get(row, "size")),
		    .seed = json_object_get_uint64(json_object_object_get(row, "seed")),
		    .sparse = json_object_get_boolean(json_object_object_get(row, "sparse")),
		    .mtime_ms = json_object_get_int64(json_object_object_get(row, "mtime_ms")),
		};
	}
}

static int bucket_load_settings(struct bucket *bucket)
{
	struct buf path = {0}, text = {0};
	struct json_object *json = NULL;
	const char *region;

	buf_printf(&path, "%s/bucket.json", bucket->dir);
	if (file_read(path.data, &text) == 0 && text.data != NULL)
		json = json_tokener_parse(text.data);
	buf_finish(&path);
	buf_finish(&text);
	region = json_object_get_string(json_object_object_get(json, "region"));
	if (region == NULL) {
		json_object_put(json);
		return -EINVAL;
	}
	snprintf(bucket->info.region, sizeof(bucket->info.region), "%s", region);
	bucket->info.is_public = json_object_get_boolean(json_object_object_get(json, "public"));
	bucket->info.created_ms = json_object_get_int64(json_object_object_get(json, "created_ms"));
	bucket->policy = json_object_get(json_object_object_get(json, "policy"));
	bucket->info.has_policy = bucket->policy != NULL;
	synths_from_json(bucket, json_object_object_get(json, "synth"));
	json_object_put(json);
	return 0;
}

static int object_order(const void *a, const void *b)
{
	const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;

	return bytes_compare(x->key, x->key_len, y->key, y->key_len);
}

static void bucket_load_objects(struct store *store, struct bucket *bucket)
{
	struct buf path = {0};
	struct dirent *file;
	DIR *dir;

	buf_printf(&path, "%s/o", bucket->dir);
	dir = opendir(path.data);
	while (dir != NULL && (file = readdir(dir)) != NULL) {
		size_t len = strlen(file->d_name);
		struct object *object;

		if (len != 64 + strlen(".json"))
			continue;
		path.len = 0;
		buf_printf(&path, "%s/o/%s", bucket->dir, file->d_name);
		object = object_load(store->blobs, path.data);
		if (object == NULL) {
			fprintf(stderr, "s3d: %s is not readable, skipped\n", path.data);
			continue;
		}
		if (bucket->count == bucket->cap) {
			bucket->cap = bucket->cap > 0 ? bucket->cap * 2 : 64;
			bucket->objects =
			    xrealloc(bucket->objects, bucket->cap * sizeof(struct object *));
		}
		bucket->objects[bucket->count++] = object;
	}
	if (dir != NULL)
		closedir(dir);
	buf_finish(&path);
	if (bucket->count > 0)
		qsort(bucket->objects, bucket->count, sizeof(struct object *), object_order);
}

static void store_load(struct store *store, DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL) {
		struct bucket *bucket;

		if (!bucket_name_valid(entry->d_name))
			continue;
		bucket = bucket_create(store, entry->d_name);
		if (bucket_load_settings(bucket) != 0) {
			fprintf(stderr, "s3d: %s holds no bucket, skipped\n", bucket->dir);
			bucket_destroy(bucket);
			continue;
		}
		bucket_load_objects(store, bucket);
		uploads_load(store, bucket);
		store_add_bucket(store, bucket);
	}
	blobs_sweep(store->blobs);
}

struct store *store_create(const char *path)
{
	struct store *store = xcalloc(1, sizeof(*store));
	struct buf blob = {0}, buckets = {0};
	DIR *dir = NULL;

	buf_printf(&blob, "%s/blob", path);
	buf_printf(&buckets, "%s/b", path);
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		store->blobs = blobs_create(blob.data);
	if (store->blobs != NULL && (mkdir(buckets.data, 0700) == 0 || errno == EEXIST))
		dir = opendir(buckets.data);
	if (dir == NULL) {
		fprintf(stderr, "s3d: cannot use directory %s: %s\n", path, strerror(errno));
		blobs_destroy(store->blobs);
		free(store);
		store = NULL;
	} else {
		store->dir = xstrdup(path);
		pthread_mutex_init(&store->lock, NULL);
		store_load(store, dir);
		closedir(dir);
	}
	buf_finish(&blob);
	buf_finish(&buckets);
	return store;
}

void store_destroy(struct store *store)
{
	if (store == NULL)
		return;
	blobs_keep(store->blobs);
	for (size_t i = 0; i < store->bucket_count; i++)
		bucket_destroy(store->buckets[i]);
	blobs_destroy(store->blobs);
	pthread_mutex_destroy(&store->lock);
	free(store->buckets);
	free(store->dir);
	free(store);
}

struct blobs *store_blobs(struct store *store)
{
	return store->blobs;
}
