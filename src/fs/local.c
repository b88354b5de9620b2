/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local changes of names, by directory: a hash of names with the time of each one's last change.
 * Time is the monotonic clock's: a request that was sent at the same nanosecond counts as sent
 * before. All under fs->lock; nothing blocks.
 */
#include "local.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

#include <pailfs/cleanup.h>

#include "inode.h"
#include "walk.h"

#define TRIM_AT_FIRST 32
#define ABSENT_NS NS_PER_S /* between the kernel's lookup and its create */

struct local_name {
	UT_hash_handle hh;
	uint64_t at_ns;
	enum local_kind kind;
	char text[];
};

static uint64_t now_of(const struct fs *fs)
{
	return fs->clock->now_ns(fs->clock);
}

static struct local_name *find(const struct inode *dir, const char *name, size_t length)
{
	struct local_name *found = NULL;

	if (dir->dir != NULL)
		HASH_FIND(hh, dir->dir->locals.table, name, length, found);
	return found;
}

static void drop(struct local_names *l, struct local_name *n)
{
	HASH_DEL(l->table, n);
	free(n);
	l->count--;
}

void local_names_finish(struct local_names *l)
{
	struct local_name *n, *next;

	HASH_ITER (hh, l->table, n, next)
		drop(l, n);
}

void local_set_locked(struct fs *fs, struct inode *dir, const char *name, size_t length,
		      enum local_kind kind)
{
	struct local_name *n = find(dir, name, length);
	struct dir_state *d = inode_dir_locked(fs, dir);

	walk_note_change_locked(fs, dir, name, length);
	if (d == NULL)
		return; /* nothing was ever asked about this directory, so nothing is stale */
	if (n == NULL) {
		n = calloc(1, sizeof(*n) + length + 1);
		if (n == NULL) {
			d->locals.all_until_ns = now_of(fs);
			return;
		}
		memcpy(n->text, name, length);
		HASH_ADD_KEYPTR(hh, d->locals.table, n->text, length, n);
		d->locals.count++;
	}
	n->kind = kind;
	n->at_ns = now_of(fs);
	local_trim_locked(fs, dir);
}

void local_unset_locked(struct inode *dir, const char *name, size_t length)
{
	struct local_name *n = find(dir, name, length);

	if (n != NULL)
		drop(&dir->dir->locals, n);
}

enum local_kind local_find_locked(const struct inode *dir, const char *name, size_t length,
				  uint64_t since_ns)
{
	const struct local_name *n = find(dir, name, length);

	if (n != NULL && n->at_ns >= since_ns)
		return n->kind;
	/* to be asked again */
	return dir->dir != NULL && dir->dir->locals.all_until_ns >= since_ns &&
		       dir->dir->locals.all_until_ns > 0
		   ? LOCAL_GONE
		   : LOCAL_NONE;
}

int local_ask_locked(struct fs *fs, struct inode *dir)
{
	struct dir_state *d = inode_dir_locked(fs, dir);

	if (d == NULL)
		return -ENOMEM;
	d->locals.asking++;
	return 0;
}

void local_answered_locked(struct fs *fs, struct inode *dir)
{
	dir->dir->locals.asking--;
	local_trim_locked(fs, dir);
}

/* True for a name that S3 cannot know of. */
static bool is_ours_alone(struct fs *fs, struct inode *dir, const struct local_name *n)
{
	const struct inode *i;

	if (n->kind == LOCAL_GONE)
		return false;
	i = inode_find_locked(fs, dir, n->text, n->hh.keylen);
	if (i == NULL)
		return false;
	return i->is_dir ? inode_is_kept_locked(i) : i->dirty != NULL;
}

void local_trim_locked(struct fs *fs, struct inode *dir)
{
	struct local_names *l = &dir->dir->locals;
	struct local_name *n, *next;

	lock_assert_held(&fs->lock);
	if (l->asking > 0 || dir->dir->names.count > 0 || l->count < l->trim_at)
		return;
	HASH_ITER (hh, l->table, n, next) {
		if (!is_ours_alone(fs, dir, n))
			drop(l, n);
	}
	l->trim_at = MAX(2 * l->count, (size_t)TRIM_AT_FIRST);
}

void local_note_absent_locked(struct fs *fs, struct inode *dir, const char *name, size_t length,
			      uint64_t asked_ns)
{
	struct local_names *l = &dir->dir->locals;

	l->absent[l->absent_next].ino = inode_child_hash(dir, name, length);
	l->absent[l->absent_next].at_ns = now_of(fs);
	l->absent[l->absent_next].asked_ns = asked_ns;
	l->absent_next = (l->absent_next + 1) % ABSENT_NAMES;
}

uint64_t local_was_absent_locked(struct fs *fs, struct inode *dir, const char *name, size_t length)
{
	uint64_t ino = inode_child_hash(dir, name, length);

	for (size_t k = 0; dir->dir != NULL && k < ABSENT_NAMES; k++) {
		struct local_names *l = &dir->dir->locals;

		if (l->absent[k].ino != ino)
			continue;
		l->absent[k].ino = 0;
		return now_of(fs) < l->absent[k].at_ns + ABSENT_NS ? l->absent[k].asked_ns : 0;
	}
	return 0;
}

static int compare_copied(const void *a, const void *b)
{
	const struct local_copied *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int local_copy_locked(const struct fs *fs, struct inode *dir, struct local_copy *ret)
{
	struct local_copy c = {0};
	struct local_name *n, *next;

	lock_assert_held(&fs->lock);
	*ret = c;
	if (dir->dir == NULL || dir->dir->locals.count == 0)
		return 0;
	c.names = calloc(dir->dir->locals.count, sizeof(*c.names));
	if (c.names == NULL)
		return -ENOMEM;
	HASH_ITER (hh, dir->dir->locals.table, n, next) {
		if (n->kind == LOCAL_GONE)
			continue;
		c.names[c.count].name = strdup(n->text);
		if (c.names[c.count].name == NULL) {
			local_copy_finish(&c);
			return -ENOMEM;
		}
		c.count++;
	}
	qsort(c.names, c.count, sizeof(*c.names), compare_copied);
	*ret = c;
	return 0;
}

void local_copy_finish(struct local_copy *c)
{
	for (size_t k = 0; k < c->count; k++)
		free(c->names[k].name);
	free(c->names);
	*c = (struct local_copy){0};
}

void local_copy_take(struct local_copy *c, const char *name)
{
	struct local_copied key = {.name = (char *)name}, *found;

	if (c->count == 0)
		return;
	found = bsearch(&key, c->names, c->count, sizeof(*c->names), compare_copied);
	if (found != NULL)
		found->taken = true;
}
