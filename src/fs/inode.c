/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes, found by parent and name (table.c).
 *
 * Lifetime: an inode lives while the kernel knows it (lookups), or a handle or a child refers to it
 * (refs). A node id is the inode's address; the generation tells reuse apart. The root has id 1 and
 * lives as long as fs. Everything here runs under fs->lock, never blocks and calls nobody.
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stddef.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/log.h>

#include "node.h"
#include "walk.h"

#define NAMES_BYTES_MAX (128 * MIB) /* listings kept for lookups, over all directories */
#define GIVE_BACK_BYTES (16 * MIB)  /* freed: malloc keeps it below what is still in use */
#define GRACE_NS (10 * NS_PER_S)    /* an expired listing still tells that a page beats HEADs */

/* Zeroed but for the name. */
static struct inode *inode_alloc(const char *name, size_t length)
{
	/* sizeof is rounded up behind the begin of text */
	size_t bytes = MAX(sizeof(struct inode), offsetof(struct inode, text) + length + 1);
	struct inode *i = calloc(1, bytes);

	_Static_assert(NAME_MAX <= UINT8_MAX, "name_length");
	assert(length <= NAME_MAX);
	if (i == NULL)
		return NULL;
	i->name_length = (uint8_t)length;
	memcpy(i->text, name, length);
	return i;
}

int inodes_init(struct fs *fs)
{
	struct inode *root = inode_alloc("", 0);

	if (root == NULL || table_init(&fs->table) < 0) {
		free(root);
		return -ENOMEM;
	}
	root->is_dir = true;
	root->dir_ino = FS_ROOT_ID;
	root->refs = 1;
	root->fresh_until_ns = UINT64_MAX;
	fs->root = root;
	TAILQ_INIT(&fs->listed);
	TAILQ_INIT(&fs->dirties);
	TAILQ_INIT(&fs->gates);
	TAILQ_INIT(&fs->changes);
	return 0;
}

static void note_freed(struct fs *fs, size_t bytes)
{
	__atomic_fetch_add(&fs->freed_bytes, bytes, __ATOMIC_RELAXED);
}

void inodes_give_back(struct fs *fs)
{
	if (__atomic_load_n(&fs->freed_bytes, __ATOMIC_RELAXED) < GIVE_BACK_BYTES)
		return;
	__atomic_store_n(&fs->freed_bytes, 0, __ATOMIC_RELAXED);
	malloc_trim(0);
}

/* Frees the pages of names. */
static void free_names(struct fs *fs, struct dir_state *d)
{
	fs->names_bytes -= d->names.bytes;
	note_freed(fs, d->names.bytes);
	names_set_drop(&d->names, UINT64_MAX);
}

static void dir_state_free(struct fs *fs, struct dir_state *d)
{
	if (d == NULL)
		return;
	free_names(fs, d);
	if (d->listed)
		TAILQ_REMOVE(&fs->listed, d, link);
	local_names_finish(&d->locals);
	free(d);
}

struct inode_extra *inode_extra_locked(struct inode *i)
{
	if (i->extra == NULL)
		i->extra = calloc(1, sizeof(*i->extra));
	return i->extra;
}

int inode_set_attr_locked(struct inode *i, struct node_attr *a)
{
	struct inode_extra *extra = a != NULL ? inode_extra_locked(i) : i->extra;
	int rc = a != NULL && extra == NULL ? -ENOMEM : 0;

	if (extra != NULL)
		SWAP(extra->attr, a);
	node_attr_unref(a);
	return rc;
}

static void extra_free(struct inode_extra *e)
{
	if (e == NULL)
		return;
	node_attr_unref(e->attr);
	free(e->name);
	free(e);
}

static void inode_free(struct fs *fs, struct inode *i)
{
	if (i->is_dir)
		dir_state_free(fs, i->dir);
	else
		etag_finish(&i->object.etag);
	if (i->numbered)
		number_give_locked(fs, i->extra->number);
	extra_free(i->extra);
	note_freed(fs, sizeof(*i));
	free(i);
}

void inodes_finish(struct fs *fs)
{
	for (size_t b = 0; b < fs->table.bucket_count; b++) {
		for (struct inode *i = fs->table.buckets[b], *next; i != NULL; i = next) {
			next = i->hash_next;
			inode_free(fs, i);
		}
	}
	if (fs->root != NULL)
		inode_free(fs, fs->root);
	table_finish(&fs->table);
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
	lock_assert_held(&fs->lock);
	return table_find(&fs->table, parent, name, length);
}

/* From now on st_ino is that number whatever the path. -ENOMEM. */
static int keep_number_locked(struct fs *fs, struct inode *i, uint64_t number)
{
	struct inode_extra *extra = inode_extra_locked(i);

	if (extra == NULL)
		return -ENOMEM;
	if (!i->numbered)
		number_take_locked(fs, number);
	i->numbered = true;
	extra->number = number;
	return 0;
}

struct inode *inode_create_locked(struct fs *fs, struct inode *parent, const char *name,
				  size_t length, bool is_dir)
{
	struct inode *i = inode_alloc(name, length);
	uint64_t hash = inode_child_hash(parent, name, length);
	uint64_t ino = number_free_locked(fs, hash);

	lock_assert_held(&fs->lock);
	if (i == NULL)
		return NULL;
	if (ino != hash && keep_number_locked(fs, i, ino) < 0) {
		free(i);
		return NULL;
	}
	i->parent = inode_ref_locked(parent);
	i->generation = ++fs->next_generation;
	i->refs = 1;
	i->is_dir = is_dir;
	if (is_dir)
		i->dir_ino = ino;
	table_insert(&fs->table, i);
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
	names_set_forget(&d->names, inode_name(i), i->name_length);
	fs->names_bytes += d->names.bytes;
}

int inode_move_locked(struct fs *fs, struct inode *i, struct inode *parent, const char *name,
		      size_t length)
{
	CLEANUP(free) char *text = malloc(length + 1);
	struct inode *old_parent = i->parent;

	lock_assert_held(&fs->lock);
	assert(length <= NAME_MAX);
	if (text == NULL || keep_number_locked(fs, i, inode_ino(i)) < 0)
		return -ENOMEM;
	memcpy(text, name, length);
	text[length] = '\0';
	table_remove(&fs->table, i);
	SWAP(i->extra->name, text);
	i->name_length = (uint8_t)length;
	i->parent = inode_ref_locked(parent);
	table_insert(&fs->table, i);
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
		table_remove(&fs->table, i);
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

	if (i == fs->root || n == 0)
		return;
	lock_acquire(&fs->lock);
	assert(i->lookups >= n);
	i->lookups -= n;
	if (i->lookups == 0)
		inode_unref_locked(fs, i);
	lock_release(&fs->lock);
	inodes_give_back(fs);
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
		local_set_locked(fs, dir->parent, inode_name(dir), dir->name_length, LOCAL_DIR);
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
	free_names(fs, d);
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
	for (size_t b = 0; b < fs->table.bucket_count; b++) {
		for (struct inode *i = fs->table.buckets[b]; i != NULL; i = i->hash_next) {
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
		memcpy(key + at, inode_name(i), i->name_length);
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
	return inode_key_locked(fs, i->parent, inode_name(i), i->name_length, ret_key);
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
	inode_moved_on_locked(i);
	i->fresh_until_ns = time_after(fs->clock->now_ns(fs->clock), fs->config.metadata_ttl_ns);
	local_set_locked(fs, i->parent, inode_name(i), i->name_length, LOCAL_FILE);
	return true;
}
