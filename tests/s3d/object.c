/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One version of an object: where its bytes are (slices of blobs, generated words, zeros) and its
 * metadata, and how that is kept in a file. Immutable after publication, so readers need no lock;
 * references are atomic. Who may see which version when is the store's business.
 */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct object *object_create(const char *key, size_t key_len)
{
	struct object *object = xcalloc(1, sizeof(*object));

	atomic_init(&object->refs, 1);
	object->key = xmemdup(key, key_len);
	object->key_len = key_len;
	object->mtime_ms = wall_ms();
	return object;
}

struct object *object_ref(struct object *object)
{
	atomic_fetch_add(&object->refs, 1);
	return object;
}

void object_unref(struct object *object)
{
	if (object == NULL || atomic_fetch_sub(&object->refs, 1) != 1)
		return;
	for (size_t i = 0; i < object->slice_count; i++)
		blob_unref(object->slices[i].blob);
	free(object->slices);
	free(object->part_bytes);
	fields_finish(&object->headers);
	fields_finish(&object->checksums);
	free(object->key);
	free(object);
}

void object_add_slice(struct object *object, struct slice slice)
{
	if (slice.length == 0) {
		blob_unref(slice.blob);
		return;
	}
	object->slices =
	    xrealloc(object->slices, (object->slice_count + 1) * sizeof(*object->slices));
	object->slices[object->slice_count++] = slice;
	object->size += slice.length;
}

void object_share(struct object *object, const struct object *from, uint64_t first, uint64_t length)
{
	uint64_t before = 0;

	for (size_t i = 0; i < from->slice_count && length > 0; i++) {
		struct slice slice = from->slices[i];
		uint64_t skip = first > before ? first - before : 0;

		before += slice.length;
		if (skip >= slice.length)
			continue;
		slice.offset += skip;
		slice.length -= skip;
		if (slice.length > length)
			slice.length = length;
		if (slice.blob != NULL)
			blob_ref(slice.blob);
		first += slice.length;
		length -= slice.length;
		object_add_slice(object, slice);
	}
}

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void words_fill(uint64_t seed, uint64_t offset, void *to, size_t len)
{
	unsigned char *p = to;

	while (len > 0) {
		uint64_t word = splitmix64(seed + offset / 8);
		size_t skip = offset % 8;
		size_t count = 8 - skip < len ? 8 - skip : len;

		if (count == 8)
			memcpy(p, &word, 8);
		else
			memcpy(p, (const unsigned char *)&word + skip, count);
		p += count;
		offset += count;
		len -= count;
	}
}

static int64_t slice_read(const struct slice *slice, struct object_reader *reader, uint64_t skip,
			  void *to, size_t len)
{
	ssize_t got;

	if (slice->kind == SLICE_ZERO) {
		memset(to, 0, len);
		return (int64_t)len;
	}
	if (slice->kind == SLICE_WORDS) {
		words_fill(slice->seed, slice->offset + skip, to, len);
		return (int64_t)len;
	}
	if (!reader->open) {
		int fd = blob_open(slice->blob);

		if (fd < 0)
			return fd;
		reader->fd = fd;
		reader->open = true;
	}
	got = pread(reader->fd, to, len, (off_t)(slice->offset + skip));
	if (got < 0)
		return -errno;
	return got > 0 ? got : -EIO;
}

int64_t object_read(const struct object *object, struct object_reader *reader, uint64_t offset,
		    void *to, size_t len)
{
	const struct slice *slice;
	uint64_t skip;

	if (offset >= object->size)
		return 0;
	if (offset < reader->before) {
		object_reader_finish(reader);
		*reader = (struct object_reader){0};
	}
	while (offset - reader->before >= object->slices[reader->at].length) {
		reader->before += object->slices[reader->at].length;
		reader->at++;
		object_reader_finish(reader);
	}
	slice = &object->slices[reader->at];
	skip = offset - reader->before;
	if (len > slice->length - skip)
		len = (size_t)(slice->length - skip);
	return slice_read(slice, reader, skip, to, len);
}

void object_reader_finish(struct object_reader *reader)
{
	if (reader->open)
		close(reader->fd);
	reader->open = false;
}

static struct json_object *fields_to_json(const struct fields *fields)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < fields->count; i++) {
		struct json_object *pair = json_object_new_array();

		json_object_array_add(pair, json_object_new_string(fields->v[i].name));
		json_object_array_add(pair, json_object_new_string(fields->v[i].value));
		json_object_array_add(list, pair);
	}
	return list;
}

static struct json_object *slices_to_json(const struct object *object)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < object->slice_count; i++) {
		const struct slice *slice = &object->slices[i];
		struct json_object *row = json_object_new_object();

		json_object_object_add(row, "kind", json_object_new_int((int)slice->kind));
		if (slice->kind == SLICE_BLOB)
			json_object_object_add(row, "blob",
					       json_object_new_string(slice->blob->id));
		if (slice->kind == SLICE_WORDS)
			json_object_object_add(row, "seed", json_object_new_uint64(slice->seed));
		json_object_object_add(row, "offset", json_object_new_uint64(slice->offset));
		json_object_object_add(row, "length", json_object_new_uint64(slice->length));
		json_object_array_add(list, row);
	}
	return list;
}

int object_save(const struct object *object, const char *path)
{
	struct json_object *json = json_object_new_object();
	struct json_object *parts = json_object_new_array();
	char *key = xcalloc(1, 2 * object->key_len + 1);
	const char *text;
	int err;

	hex_encode(object->key, object->key_len, key);
	json_object_object_add(json, "key", json_object_new_string(key));
	json_object_object_add(json, "tombstone", json_object_new_boolean(object->tombstone));
	json_object_object_add(json, "mtime_ms", json_object_new_int64(object->mtime_ms));
	json_object_object_add(json, "etag", json_object_new_string(object->etag));
	json_object_object_add(json, "headers", fields_to_json(&object->headers));
	json_object_object_add(json, "checksums", fields_to_json(&object->checksums));
	json_object_object_add(json, "slices", slices_to_json(object));
	for (size_t i = 0; i < object->part_count; i++)
		json_object_array_add(parts, json_object_new_uint64(object->part_bytes[i]));
	json_object_object_add(json, "parts", parts);
	text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	err = file_replace(path, text, strlen(text));
	json_object_put(json);
	free(key);
	return err;
}

static void fields_from_json(struct fields *fields, struct json_object *list)
{
	size_t count =
	    json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *pair = json_object_array_get_idx(list, i);

		fields_add(fields, json_object_get_string(json_object_array_get_idx(pair, 0)),
			   json_object_get_string(json_object_array_get_idx(pair, 1)));
	}
}

static int slices_from_json(struct object *object, struct blobs *blobs, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *row = json_object_array_get_idx(list, i);
		const char *id = json_object_get_string(json_object_object_get(row, "blob"));
		struct slice slice = {
		    .kind =
			(enum slice_kind)json_object_get_int(json_object_object_get(row, "kind")),
		    .seed = json_object_get_uint64(json_object_object_get(row, "seed")),
		    .offset = json_object_get_uint64(json_object_object_get(row, "offset")),
		    .length = json_object_get_uint64(json_object_object_get(row, "length")),
		};

		if (slice.kind == SLICE_BLOB) {
			slice.blob = id != NULL ? blob_find(blobs, id) : NULL;
			if (slice.blob == NULL)
				return -EINVAL;
		}
		object_add_slice(object, slice);
	}
	return 0;
}

static struct object *object_from_json(struct blobs *blobs, struct json_object *json)
{
	const char *hex = json_object_get_string(json_object_object_get(json, "key"));
	const char *etag = json_object_get_string(json_object_object_get(json, "etag"));
	struct json_object *slices = json_object_object_get(json, "slices");
	struct json_object *parts = json_object_object_get(json, "parts");
	unsigned char *key;
	struct object *object;
	int key_len;

	if (hex == NULL || etag == NULL || !json_object_is_type(slices, json_type_array) ||
	    !json_object_is_type(parts, json_type_array))
		return NULL;
	key = xcalloc(1, strlen(hex) / 2 + 1);
	key_len = hex_decode(hex, key, strlen(hex) / 2);
	object = object_create((char *)key, key_len > 0 ? (size_t)key_len : 0);
	free(key);
	object->tombstone = json_object_get_boolean(json_object_object_get(json, "tombstone"));
	object->mtime_ms = json_object_get_int64(json_object_object_get(json, "mtime_ms"));
	strncat(object->etag, etag, sizeof(object->etag) - 1);
	fields_from_json(&object->headers, json_object_object_get(json, "headers"));
	fields_from_json(&object->checksums, json_object_object_get(json, "checksums"));
	object->part_count = json_object_array_length(parts);
	object->part_bytes = xcalloc(object->part_count, sizeof(*object->part_bytes));
	for (size_t i = 0; i < object->part_count; i++)
		object->part_bytes[i] = json_object_get_uint64(json_object_array_get_idx(parts, i));
	if (key_len < 0 || slices_from_json(object, blobs, slices) != 0) {
		object_unref(object);
		return NULL;
	}
	return object;
}

struct object *object_load(struct blobs *blobs, const char *path)
{
	struct buf text = {0};
	struct json_object *json = NULL;
	struct object *object = NULL;

	if (file_read(path, &text) == 0 && text.data != NULL)
		json = json_tokener_parse(text.data);
	if (json != NULL)
		object = object_from_json(blobs, json);
	json_object_put(json);
	buf_finish(&text);
	return object;
}
