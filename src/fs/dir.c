/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open directories: cookies over a stream of names.
 *
 * A cookie is the number of an entry; "." and ".." come first. The kernel goes back by what did not
 * fit into the buffer of getdents(2), so the last entries are remembered: more than one answer to
 * it can hold. Further back (seekdir) and at cookie 0 (rewinddir) the listing starts anew. Calls on
 * one directory follow each other (busy): the lock is not held while a page is waited for.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "inode.h"
#include "stream.h"

#define COOKIES_BEFORE_NAMES 2 /* "." and ".." */
#define HISTORY_ENTRIES 2048   /* an answer of 64 KiB to READDIR, of the shortest names */

struct fs_dir {
	/* set at creation */
	struct fs *fs;
	struct inode *inode; /* referenced */
	struct stream *stream;
	struct lock lock;
	struct cond cond;
	/* under the lock */
	bool busy; /* a call is in it: the rest is its own */
	/* of the call that is in it */
	uint64_t oldest, end; /* cookies [oldest, end) are in the history */
	const struct name_ref *current;
	char name[NAME_MAX + 1]; /* what fs_readdir answered last */
	struct name_ref history[HISTORY_ENTRIES];
};

static struct name_ref *history_slot(struct fs_dir *dir, uint64_t cookie)
{
	return &dir->history[cookie % HISTORY_ENTRIES];
}

static void dir_rewind(struct fs_dir *dir)
{
	for (; dir->oldest < dir->end; dir->oldest++)
		name_ref_finish(history_slot(dir, dir->oldest));
	dir->oldest = dir->end = COOKIES_BEFORE_NAMES;
	dir->current = NULL;
	if (dir->stream != NULL)
		stream_rewind(dir->stream);
}

/* Makes the entry of that cookie the current one: 1, 0 if there is none, or -errno. */
static int seek_cookie(struct fs_dir *dir, uint64_t cookie, struct caller *caller)
{
	struct name_ref next;
	int rc;

	if (cookie < dir->oldest)
		dir_rewind(dir);
	while (dir->end <= cookie) {
		rc = stream_next(dir->stream, caller, &next);
		if (rc <= 0)
			return rc;
		if (dir->end - dir->oldest == HISTORY_ENTRIES)
			name_ref_finish(history_slot(dir, dir->oldest++));
		*history_slot(dir, dir->end++) = next;
	}
	dir->current = history_slot(dir, cookie);
	return 1;
}

static void fill_dot(struct fs_dir *dir, uint64_t offset, struct fs_dirent *ret)
{
	const struct inode *i = dir->inode;

	if (offset == 1 && i->parent != NULL)
		i = i->parent;
	strcpy(dir->name, offset == 0 ? "." : "..");
	attr_of_dir(dir->fs, i->ino, &ret->st);
}

static void fill_name(struct fs_dir *dir, struct fs_dirent *ret)
{
	const struct name_ref *r = dir->current;
	struct object object;
	uint64_t ino;

	memcpy(dir->name, name_text(r->page, r->name), r->length);
	dir->name[r->length] = '\0';
	ino = inode_child_ino(dir->inode, dir->name, r->length);
	object_of_name(r->name, &object);
	if (r->as_dir)
		attr_of_dir(dir->fs, ino, &ret->st);
	else
		attr_of_object(dir->fs, ino, &object, &ret->st);
}

static void dir_enter(struct fs_dir *dir)
{
	SCOPED_LOCK(&dir->lock);
	while (dir->busy)
		cond_wait(&dir->cond, &dir->lock);
	dir->busy = true;
}

static void dir_leave(struct fs_dir *dir)
{
	SCOPED_LOCK(&dir->lock);
	dir->busy = false;
	cond_broadcast(&dir->cond);
}

int fs_readdir(struct fs_dir *dir, uint64_t offset, struct caller *caller, struct fs_dirent *ret)
{
	int rc = 1;

	dir_enter(dir);
	*ret = (struct fs_dirent){.name = dir->name, .next_offset = offset + 1};
	if (offset == 0)
		dir_rewind(dir);
	if (offset < COOKIES_BEFORE_NAMES) {
		fill_dot(dir, offset, ret);
	} else {
		rc = seek_cookie(dir, offset, caller);
		if (rc == 1)
			fill_name(dir, ret);
	}
	dir_leave(dir);
	return rc;
}

int fs_readdir_entry(struct fs_dir *dir, const struct fs_dirent *entry, struct fs_entry *ret)
{
	struct fs *fs = dir->fs;
	const struct name_ref *r = dir->current;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	uint64_t until_ns = time_after(r->page->fetched_ns, fs->config.metadata_ttl_ns);
	struct object object;
	struct inode *i;

	*ret = (struct fs_entry){0};
	if (until_ns <= now_ns)
		return 0;
	object_of_name(r->name, &object);
	SCOPED_LOCK(&fs->lock);
	i = inode_refresh_locked(fs, dir->inode, entry->name, strlen(entry->name),
				 r->as_dir ? NULL : &object, until_ns);
	if (i == NULL)
		return -ENOMEM;
	inode_fill_entry_locked(fs, i, now_ns, until_ns, ret);
	inode_unref_locked(fs, i);
	return 0;
}

int fs_opendir(struct fs *fs, uint64_t id, struct caller *caller, struct fs_dir **ret)
{
	struct inode *i = inode_from_id(fs, id);
	struct fs_dir *dir;
	int rc;

	if (!i->is_dir)
		return -ENOTDIR;
	rc = inode_validate(fs, i, caller);
	if (rc < 0)
		return rc;
	dir = calloc(1, sizeof(*dir));
	if (dir == NULL)
		return -ENOMEM;
	dir->fs = fs;
	dir->oldest = dir->end = COOKIES_BEFORE_NAMES;
	lock_init(&dir->lock, LOCK_HANDLE);
	cond_init(&dir->cond);
	lock_acquire(&fs->lock);
	dir->inode = inode_ref_locked(i);
	lock_release(&fs->lock);
	rc = stream_create(fs, i, &dir->stream);
	if (rc < 0) {
		fs_releasedir(dir);
		return rc;
	}
	*ret = dir;
	return 0;
}

void fs_releasedir(struct fs_dir *dir)
{
	struct fs *fs;

	if (dir == NULL)
		return;
	fs = dir->fs;
	dir_rewind(dir);
	stream_destroy(dir->stream);
	lock_acquire(&fs->lock);
	inode_trim_names_locked(fs, fs->clock->now_ns(fs->clock));
	inode_unref_locked(fs, dir->inode);
	lock_release(&fs->lock);
	cond_finish(&dir->cond);
	lock_finish(&dir->lock);
	free(dir);
}
