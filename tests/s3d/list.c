/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of a listing: a cursor merges the sorted objects of a bucket with its synthetic ranges,
 * and keys that share a common prefix are jumped over by a new seek, so that a page costs its own
 * length and not the size of what it leaves out. Runs under the lock of the store: one page is one
 * instant.
 */
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>

/* What the cursor stands on: a real object, or number i of a range. */
struct entry {
	const char *key;
	size_t len;
	const struct object *object;
	const struct synth *synth;
	uint64_t i;
};

struct cursor {
	const struct bucket *bucket;
	size_t at; /* in bucket->objects */
	struct synth_cursor {
		uint64_t i;
		size_t len;
		char key[KEY_MAX_BYTES + 1];
	} * synth; /* one a range */
};

static void synth_cursor_set(const struct synth *synth, struct synth_cursor *at, uint64_t i)
{
	at->i = i;
	if (i < synth->count)
		at->len = synth_key(synth, i, at->key);
}

/* Moves to the first key that is not below. */
static void cursor_seek(struct cursor *cursor, const char *key, size_t len)
{
	const struct bucket *bucket = cursor->bucket;

	cursor->at = bucket_lower_bound_locked(bucket, key, len);
	for (size_t i = 0; i < bucket->synth_count; i++)
		synth_cursor_set(&bucket->synths[i], &cursor->synth[i],
				 synth_lower_bound(&bucket->synths[i], key, len));
}

static bool cursor_smallest(const struct cursor *cursor, struct entry *ret)
{
	const struct bucket *bucket = cursor->bucket;

	*ret = (struct entry){0};
	if (cursor->at < bucket->count) {
		ret->object = bucket->objects[cursor->at];
		ret->key = ret->object->key;
		ret->len = ret->object->key_len;
	}
	for (size_t i = 0; i < bucket->synth_count; i++) {
		const struct synth_cursor *at = &cursor->synth[i];

		if (at->i >= bucket->synths[i].count ||
		    (ret->key != NULL && bytes_compare(at->key, at->len, ret->key, ret->len) >= 0))
			continue; /* a real object of the same key wins */
		*ret = (struct entry){at->key, at->len, NULL, &bucket->synths[i], at->i};
	}
	return ret->key != NULL;
}

/* Passes over the key of this entry in every source. */
static void cursor_pass(struct cursor *cursor, const struct entry *entry)
{
	const struct bucket *bucket = cursor->bucket;
	char key[KEY_MAX_BYTES + 1];
	size_t len = entry->len < sizeof(key) ? entry->len : sizeof(key);

	memcpy(key, entry->key, len); /* the entry may point into what moves */
	if (entry->object != NULL)
		cursor->at++;
	for (size_t i = 0; i < bucket->synth_count; i++) {
		struct synth_cursor *at = &cursor->synth[i];

		if (at->i < bucket->synths[i].count &&
		    bytes_compare(at->key, at->len, key, len) == 0)
			synth_cursor_set(&bucket->synths[i], at, at->i + 1);
	}
}

/* The entry under the cursor; tombstones are passed over. */
static bool cursor_peek(struct cursor *cursor, struct entry *ret)
{
	while (cursor_smallest(cursor, ret)) {
		if (ret->object == NULL || !ret->object->tombstone)
			return true;
		cursor_pass(cursor, ret);
	}
	return false;
}

static bool has_prefix(const char *bytes, size_t len, const char *prefix, size_t prefix_len)
{
	return len >= prefix_len && (prefix_len == 0 || memcmp(bytes, prefix, prefix_len) == 0);
}

/* The length of the common prefix that this key is rolled up into, or 0. */
static size_t common_prefix(const struct list_query *query, const struct entry *entry)
{
	const char *found;

	if (query->delimiter_len == 0)
		return 0;
	found = memmem(entry->key + query->prefix_len, entry->len - query->prefix_len,
		       query->delimiter, query->delimiter_len);
	return found != NULL ? (size_t)(found - entry->key) + query->delimiter_len : 0;
}

/* Moves behind every key that begins with these bytes. */
static void cursor_seek_behind(struct cursor *cursor, const char *prefix, size_t len)
{
	char *next = xmemdup(prefix, len);

	while (len > 0 && (unsigned char)next[len - 1] == 0xff)
		len--;
	if (len == 0) {
		cursor->at = cursor->bucket->count;
		for (size_t i = 0; i < cursor->bucket->synth_count; i++)
			cursor->synth[i].i = cursor->bucket->synths[i].count;
	} else {
		next[len - 1] = (char)((unsigned char)next[len - 1] + 1);
		cursor_seek(cursor, next, len);
	}
	free(next);
}

static void page_add(struct list_page *page, const struct entry *entry, size_t prefix_len)
{
	struct list_item *item;
	const char *class;

	if (page->count % 64 == 0)
		page->items = xrealloc(page->items, (page->count + 64) * sizeof(*page->items));
	item = &page->items[page->count++];
	*item = (struct list_item){.len = prefix_len > 0 ? prefix_len : entry->len,
				   .is_prefix = prefix_len > 0};
	item->name = xmemdup(entry->key, item->len);
	strcpy(item->storage_class, "STANDARD");
	if (prefix_len > 0)
		return;
	if (entry->object == NULL) {
		item->size = entry->synth->size;
		item->mtime_ms = entry->synth->mtime_ms;
		synth_etag(entry->synth->seed + entry->i, item->size, entry->synth->sparse,
			   item->etag);
		return;
	}
	item->size = entry->object->size;
	item->mtime_ms = entry->object->mtime_ms;
	strcpy(item->etag, entry->object->etag);
	class = fields_get(&entry->object->headers, "x-amz-storage-class");
	if (class != NULL) {
		item->storage_class[0] = '\0';
		strncat(item->storage_class, class, sizeof(item->storage_class) - 1);
	}
}

static void start(struct cursor *cursor, const struct list_query *query)
{
	bool behind =
	    bytes_compare(query->after, query->after_len, query->prefix, query->prefix_len) >= 0;
	struct entry entry;

	cursor_seek(cursor, behind ? query->after : query->prefix,
		    behind ? query->after_len : query->prefix_len);
	if (behind && query->after_len > 0 && cursor_peek(cursor, &entry) &&
	    bytes_compare(entry.key, entry.len, query->after, query->after_len) == 0)
		cursor_pass(cursor, &entry);
}

static void list_locked(struct bucket *bucket, const struct list_query *query,
			struct list_page *ret)
{
	struct cursor cursor = {.bucket = bucket};
	struct entry entry;

	cursor.synth = xcalloc(bucket->synth_count, sizeof(*cursor.synth));
	start(&cursor, query);
	while (cursor_peek(&cursor, &entry) &&
	       has_prefix(entry.key, entry.len, query->prefix, query->prefix_len)) {
		size_t rolled = common_prefix(query, &entry);

		if (rolled > 0 &&
		    bytes_compare(entry.key, rolled, query->after, query->after_len) <= 0) {
			cursor_seek_behind(&cursor, entry.key, rolled); /* listed before */
			continue;
		}
		if (ret->count == query->max) {
			ret->truncated = true;
			break;
		}
		page_add(ret, &entry, rolled);
		if (rolled > 0)
			cursor_seek_behind(&cursor, entry.key, rolled);
		else
			cursor_pass(&cursor, &entry);
	}
	free(cursor.synth);
}

void store_list(struct store *store, struct bucket *bucket, const struct list_query *query,
		struct list_page *ret)
{
	SCOPED_LOCK(store);
	*ret = (struct list_page){0};
	if (query->max > 0)
		list_locked(bucket, query, ret);
}

void list_page_finish(struct list_page *page)
{
	for (size_t i = 0; i < page->count; i++)
		free(page->items[i].name);
	free(page->items);
	*page = (struct list_page){0};
}
