/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open directories: cookies over a stream of names.
 *
 * A cookie is the number of an entry; "." and ".." come first. The kernel goes back by what did not
 * fit into the buffer of getdents(2), so the last entries are remembered: more than one answer to
 * it can hold. Further back (seekdir) and at cookie 0 (rewinddir) the listing starts anew. Calls on
 * one directory follow each other (busy): the lock is not held while a page is waited for.
 *
 * A thread that has read only the begin of a directory and opens it again goes on with that
 * listing, if one page has it all and it still holds: rm(1) looks whether a directory is empty, and
 * then reads it. Who has read to the end, or goes back by rewinddir(3), gets a new one.
 *
 * The listing is merged with what this mount did: names removed since a page was asked for are left
 * out of it; names made here (copied when the listing begins) that it did not have come at its end.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "inode.h"
#include "node.h"
#include "stream.h"

#define COOKIES_BEFORE_NAMES 2 /* "." and ".." */
#define HISTORY_ENTRIES 2048   /* an answer of 64 KiB to READDIR, of the shortest names */

/* An entry that was given out: a name of the listing, or (without a page) one of our own. */
struct dir_entry {
	struct name_ref ref;
	size_t our_index; /* into ours.names */
};

struct fs_dir {
	/* set at creation */
	struct fs *fs;
	struct inode *inode; /* referenced */
	struct stream *stream;
	bool asking;	/* local_ask_locked was called */
	int32_t opener; /* its thread */
	struct lock lock;
	struct cond cond;
	/* under the lock */
	bool busy; /* a call is in it: the rest is its own */
	/* of the call that is in it */
	bool ended;	      /* the end was met: by who asks again, it was seen */
	uint64_t oldest, end; /* cookies [oldest, end) are in the history */
	const struct dir_entry *current;
	struct local_copy ours; /* names made here; those the listing has are taken out */
	size_t our_next;
	char name[NAME_MAX + 1]; /* what fs_readdir answered last */
	struct dir_entry history[HISTORY_ENTRIES];
};

static struct dir_entry *history_slot(struct fs_dir *dir, uint64_t cookie)
{
	return &dir->history[cookie % HISTORY_ENTRIES];
}

static void history_clear(struct fs_dir *dir)
{
	for (; dir->oldest < dir->end; dir->oldest++)
		name_ref_finish(&history_slot(dir, dir->oldest)->ref);
	dir->oldest = dir->end = COOKIES_BEFORE_NAMES;
	dir->current = NULL;
}

static int dir_rewind(struct fs_dir *dir)
{
	history_clear(dir);
	dir->ended = false;
	stream_rewind(dir->stream);
	local_copy_finish(&dir->ours);
	dir->our_next = 0;
	SCOPED_LOCK(&dir->fs->lock);
	return local_copy_locked(dir->fs, dir->inode, &dir->ours);
}

/* The next name of the listing that was not removed here since: as stream_next. */
static int next_listed(struct fs_dir *dir, struct caller *caller, struct name_ref *ret)
{
	int rc;

	while ((rc = stream_next(dir->stream, caller, ret)) == 1) {
		char name[NAME_MAX + 1];
		enum local_kind kind;

		memcpy(name, name_text(ret->page, ret->name), ret->length);
		name[ret->length] = '\0';
		lock_acquire(&dir->fs->lock);
		kind = local_find_locked(dir->inode, name, ret->length, ret->page->asked_ns);
		lock_release(&dir->fs->lock);
		local_copy_take(&dir->ours, name);
		if (kind != LOCAL_GONE)
			return 1;
		name_ref_finish(ret);
	}
	return rc;
}

/* The next of our own names that the listing did not have and that is still there: 1 or 0. */
static int next_ours(struct fs_dir *dir, struct dir_entry *ret)
{
	SCOPED_LOCK(&dir->fs->lock);
	while (dir->our_next < dir->ours.count) {
		const struct local_copied *c = &dir->ours.names[dir->our_next++];
		enum local_kind kind;

		if (c->taken)
			continue;
		kind = local_find_locked(dir->inode, c->name, strlen(c->name), 0);
		if (kind != LOCAL_FILE && kind != LOCAL_DIR)
			continue;
		*ret = (struct dir_entry){
		    .ref = {.as_dir = kind == LOCAL_DIR, .length = (uint16_t)strlen(c->name)},
		    .our_index = dir->our_next - 1};
		return 1;
	}
	return 0;
}

/* Makes the entry of that cookie the current one: 1, 0 if there is none, or -errno. */
static int seek_cookie(struct fs_dir *dir, uint64_t cookie, struct caller *caller)
{
	struct dir_entry next = {0};
	int rc = 0;

	if (cookie < dir->oldest)
		rc = dir_rewind(dir);
	if (rc < 0)
		return rc;
	while (dir->end <= cookie) {
		rc = next_listed(dir, caller, &next.ref);
		if (rc == 0)
			rc = next_ours(dir, &next);
		if (rc <= 0)
			return rc;
		if (dir->end - dir->oldest == HISTORY_ENTRIES)
			name_ref_finish(&history_slot(dir, dir->oldest++)->ref);
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
	SCOPED_LOCK(&dir->fs->lock);
	attr_of_inode_locked(dir->fs, i, &ret->st);
}

static uint64_t ino_of(struct fs_dir *dir, size_t length)
{
	SCOPED_LOCK(&dir->fs->lock);
	return inode_child_ino_locked(dir->fs, dir->inode, dir->name, length);
}

/* An inode that is known better than the listing knows it: true with its attributes. */
static bool fill_known(struct fs_dir *dir, size_t length, uint64_t asked_ns, struct fs_dirent *ret)
{
	const struct inode *i;

	SCOPED_LOCK(&dir->fs->lock);
	i = inode_find_locked(dir->fs, dir->inode, dir->name, length);
	if (i == NULL || (!inode_is_written_locked(i) &&
			  local_find_locked(dir->inode, dir->name, length, asked_ns) == LOCAL_NONE))
		return false;
	attr_of_inode_locked(dir->fs, i, &ret->st);
	return true;
}

/* A name of our own. */
static void fill_ours(struct fs_dir *dir, struct fs_dirent *ret)
{
	const struct name_ref *r = &dir->current->ref;

	memcpy(dir->name, dir->ours.names[dir->current->our_index].name, r->length + 1u);
	if (fill_known(dir, r->length, 0, ret))
		return;
	attr_of_dir(dir->fs, ino_of(dir, r->length), NULL, &ret->st);
	if (!r->as_dir)
		ret->st.st_mode = S_IFREG | dir->fs->config.file_mode;
}

static void fill_name(struct fs_dir *dir, struct fs_dirent *ret)
{
	const struct name_ref *r = &dir->current->ref;
	uint64_t ino;

	if (r->page == NULL) {
		fill_ours(dir, ret);
		return;
	}
	memcpy(dir->name, name_text(r->page, r->name), r->length);
	dir->name[r->length] = '\0';
	if (fill_known(dir, r->length, r->page->asked_ns, ret))
		return;
	ino = ino_of(dir, r->length);
	if (r->as_dir)
		attr_of_dir(dir->fs, ino, NULL, &ret->st);
	else
		attr_of_object(dir->fs, ino, &r->name->object, &ret->st);
}

/* In posix mode a listing does not tell the type of what is small: 0, not known, if nobody does. */
static void fill_type(struct fs_dir *dir, struct fs_dirent *ret)
{
	const struct name_ref *r = &dir->current->ref;
	const struct inode *i;
	bool known;

	lock_acquire(&dir->fs->lock);
	i = inode_find_locked(dir->fs, dir->inode, dir->name, r->length);
	known = i != NULL && (i->is_dir || i->dirty != NULL || inode_attr(i) != NULL);
	if (known)
		attr_of_inode_locked(dir->fs, i, &ret->st);
	else if (!r->as_dir)
		ret->st.st_mode = r->page != NULL ? node_type_locked(dir->fs, dir->inode, r->name,
								     dir->name, r->as_dir)
						  : 0;
	lock_release(&dir->fs->lock);
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

/* Notes that the listing is begun (rc 1: an entry) or that its end is met, or was seen. */
static void note_progress(struct fs_dir *dir, int rc)
{
	struct dir_state *d;

	if (rc < 0 || (rc == 1 && dir->end > COOKIES_BEFORE_NAMES + 1))
		return;
	SCOPED_LOCK(&dir->fs->lock);
	d = dir->inode->dir; /* there is one: local_ask_locked */
	if (rc == 1)
		d->peeker = dir->opener;
	else if (dir->ended && d->peeker == dir->opener)
		d->peeker = 0;
	dir->ended = rc == 0;
}

int fs_readdir(struct fs_dir *dir, uint64_t offset, struct caller *caller, struct fs_dirent *ret)
{
	int rc = 0;

	dir_enter(dir);
	*ret = (struct fs_dirent){.name = dir->name, .next_offset = offset + 1};
	if (offset == 0)
		rc = dir_rewind(dir);
	if (rc < 0) {
		dir_leave(dir);
		return rc;
	}
	rc = 1;
	if (offset < COOKIES_BEFORE_NAMES) {
		fill_dot(dir, offset, ret);
	} else {
		rc = seek_cookie(dir, offset, caller);
		note_progress(dir, rc);
		if (rc == 1)
			fill_name(dir, ret);
		if (rc == 1 && dir->fs->attrs != NULL)
			fill_type(dir, ret);
	}
	dir_leave(dir);
	return rc;
}

/* fs_readdir_entry but for the attributes of posix mode; *ret_had_ns is how long the kernel's name
 * held before. */
static int readdir_entry(struct fs_dir *dir, const struct fs_dirent *entry, uint64_t now_ns,
			 struct fs_entry *ret, uint64_t *ret_had_ns)
{
	struct fs *fs = dir->fs;
	const struct name_ref *r = &dir->current->ref;
	uint64_t asked_ns = r->page != NULL ? r->page->asked_ns : 0;
	uint64_t until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
	struct inode *i;
	bool is_dir;

	*ret = (struct fs_entry){0};
	SCOPED_LOCK(&fs->lock);
	if (local_find_locked(dir->inode, entry->name, r->length, asked_ns) != LOCAL_NONE) {
		i = inode_find_locked(fs, dir->inode, entry->name, r->length);
		if (i == NULL || (!inode_is_written_locked(i) && now_ns >= i->fresh_until_ns))
			return 0; /* the listing is too old to tell: to be looked up */
		inode_ref_locked(i);
	} else {
		until_ns = time_after(r->page->fetched_ns, fs->config.metadata_ttl_ns);
		if (until_ns <= now_ns)
			return 0;
		is_dir =
		    r->as_dir || node_is_old_marker_locked(fs, dir->inode, r->name, entry->name);
		i = inode_refresh_locked(fs, dir->inode, entry->name, r->length,
					 is_dir ? NULL : &r->name->object, until_ns);
	}
	if (i == NULL)
		return -ENOMEM;
	*ret_had_ns = i->entry_until_ns;
	inode_fill_entry_locked(fs, i, now_ns, until_ns, ret);
	inode_unref_locked(fs, i);
	return 0;
}

/* The kernel does not get the entry after all. */
static void take_entry_back(struct fs *fs, struct fs_entry *entry, uint64_t had_ns)
{
	lock_acquire(&fs->lock);
	inode_from_id(fs, entry->id)->entry_until_ns = had_ns; /* else its lookup seems forced */
	lock_release(&fs->lock);
	fs_forget(fs, entry->id, 1);
	*entry = (struct fs_entry){0};
}

int fs_readdir_entry(struct fs_dir *dir, const struct fs_dirent *entry, struct fs_entry *ret)
{
	uint64_t now_ns = dir->fs->clock->now_ns(dir->fs->clock);
	uint64_t had_ns = 0;
	int rc = readdir_entry(dir, entry, now_ns, ret, &had_ns);

	/* what a plain ls does not ask for is not asked of S3 for it */
	if (rc == 0 && ret->id != 0 && !inode_known_entry(dir->fs, ret))
		take_entry_back(dir->fs, ret, had_ns);
	return rc;
}

/* What the caller has begun to read and not read to its end. */
static struct names_page *begun_locked(const struct dir_state *d, const struct caller *caller)
{
	return d->peeker != 0 && d->peeker == caller->tid ? names_set_whole(&d->names) : NULL;
}

/* The stream of names. */
static int begin_stream(struct fs_dir *dir, const struct caller *caller)
{
	struct names_page *begun;
	int rc = stream_create(dir->fs, dir->inode, &dir->stream);

	if (rc < 0)
		return rc;
	SCOPED_LOCK(&dir->fs->lock);
	begun = begun_locked(dir->inode->dir, caller);
	if (begun != NULL)
		stream_begin_with(dir->stream, begun);
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
	dir->opener = caller->tid;
	dir->oldest = dir->end = COOKIES_BEFORE_NAMES;
	lock_init(&dir->lock, LOCK_HANDLE);
	cond_init(&dir->cond);
	lock_acquire(&fs->lock);
	dir->inode = inode_ref_locked(i);
	rc = local_ask_locked(fs, i);
	lock_release(&fs->lock);
	dir->asking = rc == 0;
	if (rc == 0)
		rc = begin_stream(dir, caller);
	if (rc == 0)
		rc = dir_rewind(dir);
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
	uint64_t now_ns;

	if (dir == NULL)
		return;
	fs = dir->fs;
	now_ns = fs->clock->now_ns(fs->clock);
	history_clear(dir);
	stream_destroy(dir->stream);
	local_copy_finish(&dir->ours);
	lock_acquire(&fs->lock);
	inode_trim_names_locked(fs, now_ns);
	if (dir->asking)
		local_answered_locked(fs, dir->inode);
	inode_unref_locked(fs, dir->inode);
	lock_release(&fs->lock);
	cond_finish(&dir->cond);
	lock_finish(&dir->lock);
	free(dir);
	inodes_give_back(fs);
}
