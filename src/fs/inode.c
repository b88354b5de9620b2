/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of inodes: a hash of (parent's st_ino, name) that grows, intrusive because a uthash
 * handle (56 bytes) would be a quarter of what a name may cost.
 *
 * Lifetime: an inode lives while the kernel knows it (lookups), or a handle or a child refers to it
 * (refs). A node id is the inode's address; the generation tells reuse apart. The root has id 1 and
 * lives as long as fs. Everything here runs under fs->lock, never blocks and calls nobody.
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/log.h>

#include "node.h"
#include "numbers.h"
#include "walk.h"

#define BUCKETS_MIN 1024
#define NAMES_BYTES_MAX (128 * MIB) /* listings kept for lookups, over all directories */
#define GRACE_NS (10 * NS_PER_S)    /* an expired listing still tells that a page beats HEADs */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Hash of a path: the parent's and the name's, so that st_ino is the same at every mount. */
uint64_t inode_hash_below(uint64_t parent_ino, const char *name, size_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ mix(parent_ino);
	size_t i;

	for (i = 0; i < length; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	h = mix(h);
	return h > FS_ROOT_ID ? h : h + 2;
}

uint64_t inode_child_hash(const struct inode *parent, const char *name, size_t length)
{
	return inode_hash_below(parent->ino, name, length);
}

uint64_t inode_child_ino_locked(struct fs *fs, const struct inode *parent, const char *name,
				size_t length)
{
	const struct inode *i = inode_find_locked(fs, parent, name, length);

	return i != NULL ? i->ino : number_free_locked(fs, inode_child_hash(parent, name, length));
}

static struct inode **bucket_of(const struct fs *fs, uint32_t hash)
{
	return &fs->buckets[hash & (fs->bucket_count - 1)];
}

int inodes_init(struct fs *fs)
{
	struct inode *root = calloc(1, sizeof(*root) + 1);

	fs->bucket_count = BUCKETS_MIN;
	fs->buckets = calloc(fs->bucket_count, sizeof(fs->buckets[0]));
	if (root == NULL || fs->buckets == NULL) {
		free(root);
		free(fs->buckets);
		fs->buckets = NULL;
		return -ENOMEM;
	}
	root->name = root->text;
	root->ino = FS_ROOT_ID;
	root->is_dir = true;
	root->refs = 1;
	root->fresh_until_ns = UINT64_MAX;
	fs->root = root;
	TAILQ_INIT(&fs->listed);
	TAILQ_INIT(&fs->dirties);
	TAILQ_INIT(&fs->gates);
	TAILQ_INIT(&fs->changes);
	return 0;
}

static void dir_state_free(struct fs *fs, struct dir_state *d)
{
	if (d == NULL)
		return;
	fs->names_bytes -= d->names.bytes;
	names_set_drop(&d->names, UINT64_MAX);
	if (d->listed)
		TAILQ_REMOVE(&fs->listed, d, link);
	local_names_finish(&d->locals);
	free(d);
}

static void inode_free(struct fs *fs, struct inode *i)
{
	if (i->is_dir)
		dir_state_free(fs, i->dir);
	else
		etag_finish(&i->object.etag);
	if (i->numbered)
		number_give_locked(fs, i->ino);
	node_attr_unref(i->attr);
	if (i->name != i->text)
		free(i->name);
	free(i);
}

void inodes_finish(struct fs *fs)
{
	size_t b;

	for (b = 0; fs->buckets != NULL && b < fs->bucket_count; b++) {
		while (fs->buckets[b] != NULL) {
			struct inode *i = fs->buckets[b];

			fs->buckets[b] = i->hash_next;
			inode_free(fs, i);
		}
	}
	if (fs->root != NULL)
		inode_free(fs, fs->root);
	free(fs->buckets);
}

struct inode *inode_from_id(struct fs *fs, uint64_t id)
{
	return id == FS_ROOT_ID ? fs->root : (struct inode *)(uintptr_t)id;
}

uint64_t inode_id(const struct fs *fs, const struct inode *i)
{
	return i == fs->root ? FS_ROOT_ID : (uint64_t)(uintptr_t)i;
}

struct inode *inode_find_locked(struct fs *fs, const struct inode *parent, const char *name,
				size_t length)
{
	uint32_t hash = (uint32_t)inode_child_hash(parent, name, length);
	struct inode *i;

	lock_assert_held(&fs->lock);
	for (i = *bucket_of(fs, hash); i != NULL; i = i->hash_next)
		if (i->hash == hash && !i->retired && i->parent == parent &&
		    i->name_length == length && memcmp(i->name, name, length) == 0)
			return i;
	return NULL;
}

/* Doubles the table when it is full; a table that cannot grow only gets slower. */
static void grow_locked(struct fs *fs)
{
	size_t old_count = fs->bucket_count, b;
	struct inode **old = fs->buckets, **grown;

	if (fs->inode_count < fs->bucket_count)
		return;
	grown = calloc(2 * old_count, sizeof(*grown));
	if (grown == NULL)
		return;
	fs->buckets = grown;
	fs->bucket_count = 2 * old_count;
	for (b = 0; b < old_count; b++) {
		while (old[b] != NULL) {
			struct inode *i = old[b], **to = bucket_of(fs, i->hash);

			old[b] = i->hash_next;
			i->hash_next = *to;
			*to = i;
		}
	}
	free(old);
}

static void table_insert_locked(struct fs *fs, struct inode *i)
{
	struct inode **bucket;

	grow_locked(fs);
	bucket = bucket_of(fs, i->hash);
	i->hash_next = *bucket;
	*bucket = i;
	fs->inode_count++;
}

struct inode *inode_create_locked(struct fs *fs, struct inode *parent, const char *name,
				  size_t length, bool is_dir)
{
	struct inode *i = calloc(1, sizeof(*i) + length + 1);
	uint64_t hash = inode_child_hash(parent, name, length);

	lock_assert_held(&fs->lock);
	if (i == NULL)
		return NULL;
	i->parent = inode_ref_locked(parent);
	i->hash = (uint32_t)hash;
	i->ino = number_free_locked(fs, hash);
	i->numbered = i->ino != hash && number_take_locked(fs, i->ino);
	i->generation = ++fs->next_generation;
	i->refs = 1;
	i->is_dir = is_dir;
	i->name = i->text;
	i->name_length = (uint16_t)length;
	memcpy(i->name, name, length);
	table_insert_locked(fs, i);
	return i;
}

void inode_count_dirty_locked(struct fs *fs, struct inode *parent, int by)
{
	for (struct inode *i = parent; i != NULL; i = i->parent) {
		struct dir_state *d = inode_dir_locked(fs, i);

		if (d != NULL)
			d->dirty_below += (unsigned)by;
	}
}

void inode_retire_locked(struct fs *fs, struct inode *i)
{
	lock_assert_held(&fs->lock);
	if (!i->is_dir && !i->retired && i->dirty != NULL)
		inode_count_dirty_locked(fs, i->parent, -1);
	i->retired = true; /* it stays in the table, unseen, until nobody refers to it */
	if (i->is_dir)
		inode_unkeep_locked(fs, i);
}

void inode_contradict_locked(struct fs *fs, struct inode *i)
{
	struct dir_state *d = i->parent->dir;

	inode_retire_locked(fs, i);
	if (d == NULL)
		return;
	fs->names_bytes -= d->names.bytes;
	names_set_forget(&d->names, i->name, i->name_length);
	fs->names_bytes += d->names.bytes;
}

static void table_remove_locked(struct fs *fs, struct inode *i)
{
	struct inode **p = bucket_of(fs, i->hash);

	while (*p != i)
		p = &(*p)->hash_next;
	*p = i->hash_next;
	fs->inode_count--;
}

int inode_move_locked(struct fs *fs, struct inode *i, struct inode *parent, const char *name,
		      size_t length)
{
	char *text = malloc(length + 1);
	struct inode *old_parent = i->parent;

	lock_assert_held(&fs->lock);
	if (text == NULL)
		return -ENOMEM;
	memcpy(text, name, length);
	text[length] = '\0';
	table_remove_locked(fs, i);
	i->numbered = i->numbered || number_take_locked(fs, i->ino);
	if (i->name != i->text)
		free(i->name);
	i->name = text;
	i->name_length = (uint16_t)length;
	i->parent = inode_ref_locked(parent);
	i->hash = (uint32_t)inode_child_hash(parent, name, length);
	table_insert_locked(fs, i);
	inode_unref_locked(fs, old_parent);
	return 0;
}

struct inode *inode_ref_locked(struct inode *i)
{
	i->refs++;
	return i;
}

void inode_unref_locked(struct fs *fs, struct inode *i)
{
	while (i != NULL) {
		struct inode *parent = i->parent;

		lock_assert_held(&fs->lock);
		assert(i->refs > 0);
		if (--i->refs > 0)
			return;
		table_remove_locked(fs, i);
		inode_free(fs, i);
		i = parent;
	}
}

void inode_unref(struct fs *fs, struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	inode_unref_locked(fs, i);
}

void inode_lookup_locked(struct inode *i)
{
	if (i->lookups++ == 0)
		i->refs++;
}

void fs_forget(struct fs *fs, uint64_t id, uint64_t n)
{
	struct inode *i = inode_from_id(fs, id);

	SCOPED_LOCK(&fs->lock);
	if (i == fs->root || n == 0)
		return;
	assert(i->lookups >= n);
	i->lookups -= n;
	if (i->lookups == 0)
		inode_unref_locked(fs, i);
}

struct dir_state *inode_dir_locked(struct fs *fs, struct inode *i)
{
	lock_assert_held(&fs->lock);
	if (i->dir == NULL)
		i->dir = calloc(1, sizeof(*i->dir));
	return i->dir;
}

void inode_keep_locked(struct fs *fs, struct inode *dir)
{
	struct dir_state *d;

	lock_assert_held(&fs->lock);
	for (; dir != fs->root && !dir->retired; dir = dir->parent) {
		d = inode_dir_locked(fs, dir);
		if (d == NULL)
			return;
		if (d->kept)
			continue;
		d->kept = true;
		inode_ref_locked(dir);
		local_set_locked(fs, dir->parent, dir->name, dir->name_length, LOCAL_DIR);
	}
}

void inode_unkeep_locked(struct fs *fs, struct inode *dir)
{
	if (dir->dir == NULL || !dir->dir->kept)
		return;
	dir->dir->kept = false;
	inode_unref_locked(fs, dir);
}

void inode_proven_locked(struct fs *fs, struct inode *dir, uint64_t now_ns)
{
	uint64_t until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);

	lock_assert_held(&fs->lock);
	for (; fs->attrs == NULL && dir != fs->root && !dir->retired; dir = dir->parent)
		dir->fresh_until_ns = MAX(dir->fresh_until_ns, until_ns);
}

bool inode_is_kept_locked(const struct inode *dir)
{
	return dir->dir != NULL && (dir->dir->kept || dir->dir->dirty_below > 0);
}

static void drop_names_locked(struct fs *fs, struct dir_state *d)
{
	fs->names_bytes -= d->names.bytes;
	names_set_drop(&d->names, UINT64_MAX);
	TAILQ_REMOVE(&fs->listed, d, link);
	d->listed = false;
}

void inode_drop_names_locked(struct fs *fs, struct inode *dir)
{
	if (dir->dir != NULL && dir->dir->listed)
		drop_names_locked(fs, dir->dir);
}

void inode_each_below_locked(struct fs *fs, const struct inode *top,
			     void (*fn)(struct fs *fs, struct inode *i))
{
	lock_assert_held(&fs->lock);
	for (size_t b = 0; b < fs->bucket_count; b++) {
		for (struct inode *i = fs->buckets[b]; i != NULL; i = i->hash_next) {
			const struct inode *above = i->retired ? NULL : i->parent;

			while (above != NULL && above != top)
				above = above->parent;
			if (above == top)
				fn(fs, i);
		}
	}
}

void inode_add_names_locked(struct fs *fs, struct inode *i, struct names_page *page, bool read)
{
	struct dir_state *d = inode_dir_locked(fs, i);

	if (page->has_folder_markers)
		__atomic_store_n(&fs->folder_markers, true, __ATOMIC_RELAXED);
	if (d == NULL)
		return; /* it is only a cache */
	fs->names_bytes -= d->names.bytes;
	names_set_add(&d->names, page);
	fs->names_bytes += d->names.bytes;
	d->touched_ns = page->fetched_ns;
	if (read)
		d->last_read_ns = page->fetched_ns;
	if (d->listed)
		TAILQ_REMOVE(&fs->listed, d, link);
	TAILQ_INSERT_TAIL(&fs->listed, d, link);
	d->listed = true;
}

void inode_trim_names_locked(struct fs *fs, uint64_t now_ns)
{
	struct dir_state *oldest;

	lock_assert_held(&fs->lock);
	walks_trim_locked(fs, now_ns);
	while ((oldest = TAILQ_FIRST(&fs->listed)) != NULL) {
		uint64_t until_ns = time_after(oldest->touched_ns, fs->config.metadata_ttl_ns);

		if (fs->names_bytes <= NAMES_BYTES_MAX && now_ns < time_after(until_ns, GRACE_NS))
			return;
		drop_names_locked(fs, oldest);
	}
}

int inode_key_locked(const struct fs *fs, const struct inode *dir, const char *name, size_t length,
		     struct buf *ret_key)
{
	size_t total = fs->prefix_length + length, at;
	char key[S3_KEY_MAX + 1];
	const struct inode *i;

	lock_assert_held(&fs->lock);
	for (i = dir; i != fs->root; i = i->parent)
		total += i->name_length + 1u;
	if (total > S3_KEY_MAX)
		return -ENAMETOOLONG;
	at = total - length;
	if (length > 0)
		memcpy(key + at, name, length);
	for (i = dir; i != fs->root; i = i->parent) {
		key[--at] = '/';
		at -= i->name_length;
		memcpy(key + at, i->name, i->name_length);
	}
	memcpy(key, fs->prefix, fs->prefix_length);
	buf_clear(ret_key);
	return buf_append(ret_key, key, total);
}

int inode_key(struct fs *fs, const struct inode *dir, const char *name, size_t length,
	      struct buf *ret_key)
{
	SCOPED_LOCK(&fs->lock);
	return inode_key_locked(fs, dir, name, length, ret_key);
}

int inode_own_key(struct fs *fs, const struct inode *i, struct buf *ret_key)
{
	SCOPED_LOCK(&fs->lock);
	if (i->is_dir)
		return inode_key_locked(fs, i, "", 0, ret_key);
	return inode_key_locked(fs, i->parent, i->name, i->name_length, ret_key);
}

bool inode_has_key_locked(const struct fs *fs, const struct inode *dir, const char *name,
			  size_t length, const struct buf *key)
{
	CLEANUP(buf_finish) struct buf now = BUF_INIT;

	return inode_key_locked(fs, dir, name, length, &now) == 0 && now.length == key->length &&
	       (key->length == 0 || memcmp(now.data, key->data, key->length) == 0);
}

bool inode_agrees_locked(const struct inode *i, const struct object *object)
{
	if (i->is_dir || object == NULL)
		return i->is_dir && object == NULL;
	return object_same(&i->object, object);
}

struct inode *inode_refresh_locked(struct fs *fs, struct inode *parent, const char *name,
				   size_t length, const struct object *object, uint64_t until_ns)
{
	struct inode *i = inode_find_locked(fs, parent, name, length);
	bool is_dir = object == NULL;

	if (i != NULL && inode_is_written_locked(i))
		return inode_ref_locked(i); /* it is what we write, whatever S3 has */
	if (i != NULL && inode_agrees_locked(i, object)) {
		i->fresh_until_ns = MAX(i->fresh_until_ns, until_ns);
		if (!is_dir) {
			i->object.archived = object->archived;
			inode_seen_locked(fs, i, object);
		}
		return inode_ref_locked(i);
	}
	if (i != NULL && i->fresh_until_ns > until_ns)
		return inode_ref_locked(i);
	if (i != NULL)
		inode_retire_locked(fs, i);
	i = inode_create_locked(fs, parent, name, length, is_dir);
	if (i == NULL)
		return NULL;
	i->fresh_until_ns = until_ns;
	if (!is_dir) {
		i->object = *object;
		if (etag_copy(&i->object.etag, &object->etag) < 0) {
			inode_unref_locked(fs, i);
			return NULL;
		}
	}
	return i;
}

void inode_fill_entry_locked(struct fs *fs, struct inode *i, uint64_t now_ns, uint64_t until_ns,
			     struct fs_entry *ret)
{
	uint64_t ttl_ns = time_left(until_ns, now_ns);

	inode_lookup_locked(i);
	i->entry_until_ns = until_ns;
	*ret = (struct fs_entry){
	    .id = inode_id(fs, i), .generation = i->generation, .entry_ttl_ns = ttl_ns};
	attr_of_inode_locked(fs, i, &ret->attr.st);
	ret->attr.ttl_ns = ttl_ns;
}

bool inode_take_copy_locked(struct fs *fs, struct inode *i, const struct dirty *open,
			    struct object *object)
{
	lock_assert_held(&fs->lock);
	if ((i->dirty != NULL && i->dirty != open) || i->retired)
		return false;
	SWAP(i->object.etag, object->etag);
	object_set_modified(&i->object, object_modified(object));
	i->moves++;
	i->fresh_until_ns = time_after(fs->clock->now_ns(fs->clock), fs->config.metadata_ttl_ns);
	local_set_locked(fs, i->parent, i->name, i->name_length, LOCAL_FILE);
	return true;
}
