/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of objects and the index of their blocks.
 *
 * A version is shared by identity (size, ETag, key) while the server is believed to have it, and
 * lives while somebody references it, or it has a block or a fetch: unreferenced ones die with
 * their last block. One that nobody can find again (stale, or without ETag) gives its blocks up
 * with its last reference.
 *
 * The index is one hash of leaves of 64 neighbours for all versions: nothing in it grows with the
 * size of an object, only with what is cached of it.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

static struct cache_version *version_create(struct cache *c, const char *key, size_t key_length,
					    const char *etag, uint64_t size)
{
	size_t etag_length = strlen(etag);
	size_t identity_length = sizeof(size) + etag_length + 1 + key_length;
	struct cache_version *v = calloc(1, sizeof(*v) + identity_length + 1);
	unsigned char *p;

	if (v == NULL)
		return NULL;
	v->cache = c;
	v->size = size;
	v->key_length = key_length;
	v->identity_length = identity_length;
	v->refs = 1;
	LIST_INIT(&v->leaves);
	p = v->identity;
	memcpy(p, &size, sizeof(size));
	p += sizeof(size);
	v->etag = (const char *)p;
	memcpy(p, etag, etag_length + 1);
	p += etag_length + 1;
	v->key = (const char *)p;
	memcpy(p, key, key_length);
	return v;
}

int cache_version_get(struct cache *c, const char *key, size_t key_length, const char *etag,
		      uint64_t size, struct cache_version **ret)
{
	CLEANUP(free) struct cache_version *fresh = version_create(c, key, key_length, etag, size);
	struct cache_version *v = NULL;

	if (fresh == NULL)
		return -ENOMEM;
	SCOPED_LOCK(&c->lock);
	if (etag[0] != '\0') {
		HASH_FIND(hh, c->versions, fresh->identity, fresh->identity_length, v);
		if (v != NULL) {
			v->refs++;
			*ret = v;
			return 0;
		}
		HASH_ADD_KEYPTR(hh, c->versions, fresh->identity, fresh->identity_length, fresh);
		if (fresh->hh.tbl == NULL)
			return -ENOMEM;
		fresh->shared = true;
	}
	*ret = TAKE(fresh);
	return 0;
}

void cache_version_ref(struct cache_version *v)
{
	SCOPED_LOCK(&v->cache->lock);
	assert(v->refs > 0);
	v->refs++;
}

/* Frees the blocks of a version that nobody will find again. It is referenced meanwhile. */
static void version_drop_blocks_locked(struct cache_version *v)
{
	struct leaf *leaf, *next_leaf;
	struct fetch *f, *next;
	unsigned i;

	for (f = TAILQ_FIRST(&v->cache->fetches); f != NULL; f = next) {
		next = TAILQ_NEXT(f, link);
		if (f->version == v)
			fetch_cut_locked(f, fetch_held_locked(f));
	}
	for (leaf = LIST_FIRST(&v->leaves); leaf != NULL; leaf = next_leaf) {
		unsigned left = leaf->count;

		next_leaf = LIST_NEXT(leaf, link);
		for (i = 0; i < LEAF_BLOCKS && left > 0; i++) {
			struct block *b = leaf->blocks[i];

			if (b == NULL)
				continue;
			left--; /* the leaf dies with its last block */
			if (b->state == BLOCK_READY && b->refs == 0)
				block_evict_locked(b);
		}
	}
}

void cache_version_unref(struct cache_version *v)
{
	if (v == NULL)
		return;
	SCOPED_LOCK(&v->cache->lock);
	assert(v->refs > 0);
	if (v->refs == 1 && !v->shared)
		version_drop_blocks_locked(v);
	v->refs--;
	version_check_locked(v);
}

void version_check_locked(struct cache_version *v)
{
	lock_assert_held(&v->cache->lock);
	if (v->refs > 0 || v->blocks > 0 || v->fetches > 0)
		return;
	assert(LIST_EMPTY(&v->leaves));
	if (v->shared)
		HASH_DEL(v->cache->versions, v);
	free(v);
}

void version_stale_locked(struct cache_version *v)
{
	lock_assert_held(&v->cache->lock);
	v->err = -ESTALE;
	if (v->shared)
		HASH_DEL(v->cache->versions, v);
	v->shared = false;
}

uint64_t cache_version_size(const struct cache_version *v)
{
	return v->size;
}

int cache_version_error(struct cache_version *v)
{
	SCOPED_LOCK(&v->cache->lock);
	return v->err;
}

uint64_t version_block_count(const struct cache_version *v)
{
	return (v->size + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

static struct leaf *leaf_find_locked(struct cache_version *v, uint64_t number)
{
	struct leaf_key key = {.version = v, .number = number};
	struct leaf *leaf = v->recent_leaf;

	lock_assert_held(&v->cache->lock);
	if (leaf != NULL && leaf->key.number == number)
		return leaf;
	HASH_FIND(hh, v->cache->leaves, &key, sizeof(key), leaf);
	if (leaf != NULL)
		v->recent_leaf = leaf;
	return leaf;
}

static struct leaf *leaf_create_locked(struct cache_version *v, uint64_t number)
{
	struct leaf *leaf = calloc(1, sizeof(*leaf));

	if (leaf == NULL)
		return NULL;
	leaf->key = (struct leaf_key){.version = v, .number = number};
	HASH_ADD(hh, v->cache->leaves, key, sizeof(leaf->key), leaf);
	if (leaf->hh.tbl == NULL) {
		free(leaf);
		return NULL;
	}
	LIST_INSERT_HEAD(&v->leaves, leaf, link);
	v->recent_leaf = leaf;
	return leaf;
}

static void leaf_destroy_locked(struct leaf *leaf)
{
	struct cache_version *v = leaf->key.version;

	if (v->recent_leaf == leaf)
		v->recent_leaf = NULL;
	LIST_REMOVE(leaf, link);
	HASH_DEL(v->cache->leaves, leaf);
	free(leaf);
}

struct block *version_find_locked(struct cache_version *v, uint64_t index)
{
	struct leaf *leaf = leaf_find_locked(v, index / LEAF_BLOCKS);

	return leaf == NULL ? NULL : leaf->blocks[index % LEAF_BLOCKS];
}

int version_insert_locked(struct cache_version *v, struct block *b)
{
	struct leaf *leaf = leaf_find_locked(v, b->index / LEAF_BLOCKS);

	if (leaf == NULL)
		leaf = leaf_create_locked(v, b->index / LEAF_BLOCKS);
	if (leaf == NULL)
		return -ENOMEM;
	assert(leaf->blocks[b->index % LEAF_BLOCKS] == NULL);
	leaf->blocks[b->index % LEAF_BLOCKS] = b;
	leaf->count++;
	return 0;
}

void version_remove_locked(struct block *b)
{
	struct leaf *leaf = leaf_find_locked(b->version, b->index / LEAF_BLOCKS);

	assert(leaf != NULL && leaf->blocks[b->index % LEAF_BLOCKS] == b);
	leaf->blocks[b->index % LEAF_BLOCKS] = NULL;
	if (--leaf->count == 0)
		leaf_destroy_locked(leaf);
}
