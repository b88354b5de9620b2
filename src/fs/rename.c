/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename. Each runs on a thread of its own while the FUSE thread waits, so that a process that is
 * killed is gone at once: what it has begun is then finished, or (a directory, before the first
 * source is deleted) taken back, in the background. Files: rename_file.c; directories:
 * rename_dir.c.
 *
 * While the FUSE thread waits the kernel holds both directories and the file, so that it is told of
 * nothing. When it was answered with a failure that did something, or with EINTR, it is told of
 * both names afterwards: that waits for the directories' locks, whose holders may have waited for
 * its gate.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "rename_private.h"

#define NOREPLACE 1u /* linux/fs.h: RENAME_NOREPLACE */
#define STACK_BYTES (256 << 10)

static int place_init(struct fs *fs, struct place *p, uint64_t parent_id, const char *name)
{
	lock_acquire(&fs->lock);
	p->parent = inode_ref_locked(inode_from_id(fs, parent_id));
	lock_release(&fs->lock);
	p->length = strlen(name);
	p->name = strdup(name);
	if (p->name == NULL)
		return -ENOMEM;
	return p->length > NAME_MAX ? -ENAMETOOLONG : 0;
}

static void place_finish(struct fs *fs, struct place *p)
{
	buf_finish(&p->key);
	inode_unref(fs, p->inode);
	inode_unref(fs, p->parent);
	free(p->name);
}

/* Looks at the tables again: what is there, and under which key. */
static int place_find(struct fs *fs, struct place *p)
{
	struct inode *i, *old;

	lock_acquire(&fs->lock);
	i = inode_find_locked(fs, p->parent, p->name, p->length);
	old = p->inode;
	p->inode = i != NULL ? inode_ref_locked(i) : NULL;
	inode_unref_locked(fs, old);
	lock_release(&fs->lock);
	return inode_key(fs, p->parent, p->name, p->length, &p->key);
}

static void renaming_unref(struct renaming *r)
{
	unsigned left;

	lock_acquire(&r->lock);
	left = --r->refs;
	lock_release(&r->lock);
	if (left > 0)
		return;
	rename_edit_finish(&r->edit);
	place_finish(r->fs, &r->from);
	place_finish(r->fs, &r->to);
	cond_finish(&r->cond);
	lock_finish(&r->lock);
	free(r);
}

/* Asked every 250 ms by whatever the rename waits for: only what can be taken back ends early. */
static int poll_renaming(struct cancel *c)
{
	struct renaming *r = CONTAINER_OF(c, struct renaming, caller.cancel);
	bool stopping;

	lock_acquire(&r->fs->lock);
	stopping = r->fs->stopping;
	lock_release(&r->fs->lock);
	SCOPED_LOCK(&r->lock);
	if (!stopping && !r->given_up)
		return 0;
	if (r->gate.dir == NULL)
		return r->begun ? 0 : -EINTR;
	return !r->committed && !r->taking_back ? -EINTR : 0;
}

int rename_check_target(struct renaming *r)
{
	struct fs *fs = r->fs;
	struct fs_entry entry;
	bool absent;
	int rc;

	lock_acquire(&fs->lock);
	absent = local_was_absent_locked(fs, r->to.parent, r->to.name, r->to.length) != 0;
	lock_release(&fs->lock);
	if (absent)
		return 0;
	rc = fs_lookup(fs, inode_id(fs, r->to.parent), r->to.name, &r->caller, &entry);
	if (rc == -ENOENT || (rc == 0 && entry.id == 0))
		return 0;
	if (rc == 0)
		fs_forget(fs, entry.id, 1);
	if (rc == 0)
		rc = r->only_new ? -EEXIST : -EPERM;
	return rc;
}

/* The kernel knew the source, and this mount does not any more. */
static int find_source(struct renaming *r)
{
	struct fs_entry entry;
	int rc = place_find(r->fs, &r->from);

	if (rc < 0 || r->from.inode != NULL)
		return rc;
	rc = fs_lookup(r->fs, inode_id(r->fs, r->from.parent), r->from.name, &r->caller, &entry);
	if (rc == 0 && entry.id == 0)
		rc = -ENOENT;
	if (rc < 0)
		return rc;
	lock_acquire(&r->fs->lock);
	r->from.inode = inode_ref_locked(inode_from_id(r->fs, entry.id));
	lock_release(&r->fs->lock);
	fs_forget(r->fs, entry.id, 1);
	return 0;
}

static int find_places(struct renaming *r)
{
	int rc = find_source(r);

	return rc < 0 ? rc : place_find(r->fs, &r->to);
}

/* A directory: waits for renames above and below, which may have moved it meanwhile. */
static int run_dir(struct renaming *r)
{
	CLEANUP(buf_finish) struct buf from = BUF_INIT, to = BUF_INIT;
	bool moved;
	int rc;

	do {
		buf_clear(&from);
		buf_clear(&to);
		rc = buf_append(&from, r->from.key.data, r->from.key.length);
		if (rc == 0)
			rc = buf_append(&to, r->to.key.data, r->to.key.length);
		if (rc == 0)
			rc = gate_enter(r->fs, &r->gate, &r->caller.cancel);
		if (rc == 0)
			rc = find_places(r);
		if (rc < 0)
			break;
		moved = strcmp(from.data, r->from.key.data) != 0 ||
			strcmp(to.data, r->to.key.data) != 0;
		if (moved)
			gate_leave(r->fs, &r->gate);
	} while (moved);
	if (rc == 0 && !r->from.inode->is_dir)
		rc = -ENOTDIR;
	if (rc < 0)
		return rc;
	lock_acquire(&r->fs->lock);
	r->gate.dir = r->from.inode; /* may be another one than before the wait */
	lock_release(&r->fs->lock);
	return rename_dir(r);
}

/* From here on it is finished. -EINTR: who asked is gone before anything was done. */
static int begin_file(struct renaming *r)
{
	if (r->from.inode->is_dir)
		return -EISDIR;
	SCOPED_LOCK(&r->lock);
	r->begun = !r->given_up;
	return r->begun ? 0 : -EINTR;
}

/* A file: changes both names, unless a directory above is about to be moved. */
static int run_file(struct renaming *r)
{
	struct cancel *cancel = &r->caller.cancel;
	struct key_change from = {.dir = r->from.parent, .name = r->from.name};
	struct key_change to = {.dir = r->to.parent, .name = r->to.name};
	int rc = change_begin_both(r->fs, &from, &to, cancel);

	if (rc < 0)
		return rc;
	rc = find_places(r);
	if (rc == 0)
		rc = begin_file(r);
	if (rc == 0)
		rc = rename_file(r);
	change_end(r->fs, &to);
	change_end(r->fs, &from);
	return rc;
}

static void tell_kernel(struct renaming *r)
{
	const struct fs_notify *n = &r->fs->notify;

	if (n->entry_gone == NULL)
		return;
	n->entry_gone(n->ctx, inode_id(r->fs, r->from.parent), r->from.name, r->from.length);
	n->entry_gone(n->ctx, inode_id(r->fs, r->to.parent), r->to.name, r->to.length);
}

static void *rename_main(void *ctx)
{
	struct renaming *r = ctx;
	struct fs *fs = r->fs;
	bool given_up;
	int rc = r->from.inode->is_dir ? run_dir(r) : run_file(r);

	lock_acquire(&r->lock);
	r->over = true;
	r->rc = rc;
	given_up = r->given_up;
	cond_broadcast(&r->cond);
	lock_release(&r->lock);
	gate_leave(fs, &r->gate);
	if (given_up || r->kernel_errs)
		tell_kernel(r);
	renaming_unref(r);
	lock_acquire(&fs->lock);
	fs->running--;
	cond_broadcast(&fs->gates_moved);
	lock_release(&fs->lock);
	return NULL;
}

static int start(struct renaming *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	lock_acquire(&r->fs->lock);
	r->fs->running++;
	lock_release(&r->fs->lock);
	r->refs++;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = -pthread_create(&thread, &attr, rename_main, r);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	r->refs--;
	SCOPED_LOCK(&r->fs->lock);
	r->fs->running--;
	return rc;
}

/* Waits for the thread: what it came to, or -EINTR, and it goes on alone. */
static int wait_for(struct renaming *r, struct caller *caller)
{
	int rc = 0;

	lock_acquire(&r->lock);
	while (!r->over && rc == 0)
		rc = cond_wait_cancel(&r->cond, &r->lock, UINT64_MAX, &caller->cancel);
	if (r->over)
		rc = r->rc;
	else
		r->given_up = true;
	lock_release(&r->lock);
	return rc;
}

/* The kernel lets go of both names: they stay closed until the thread is done with them. */
static void close_names(struct renaming *r)
{
	SCOPED_LOCK(&r->fs->lock);
	SCOPED_LOCK(&r->lock);
	if (!r->over)
		gate_close_names_locked(r->fs, &r->gate);
}

static int renaming_create(struct fs *fs, const struct fs_rename *ask, struct renaming **ret)
{
	struct renaming *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return -ENOMEM;
	r->fs = fs;
	r->refs = 1;
	r->only_new = (ask->flags & NOREPLACE) != 0;
	r->caller.cancel.poll = poll_renaming;
	lock_init(&r->lock, LOCK_LEAF);
	cond_init(&r->cond);
	*ret = r;
	rc = place_init(fs, &r->from, ask->parent_id, ask->name);
	if (rc == 0)
		rc = place_init(fs, &r->to, ask->new_parent_id, ask->new_name);
	if (rc == 0)
		rc = find_places(r);
	if (rc < 0)
		return rc;
	r->gate = (struct gate){.from = &r->from.key,
				.to = &r->to.key,
				.dir = r->from.inode->is_dir ? r->from.inode : NULL,
				.parents = {r->from.parent, r->to.parent},
				.names = {r->from.name, r->to.name}};
	return 0;
}

int fs_rename(struct fs *fs, const struct fs_rename *ask, struct caller *caller)
{
	struct renaming *r = NULL;
	int rc;

	if ((ask->flags & ~NOREPLACE) != 0)
		return -EINVAL;
	if (fs->config.read_only)
		return -EROFS;
	rc = renaming_create(fs, ask, &r);
	if (rc == 0)
		rc = start(r);
	if (rc == 0) {
		rc = wait_for(r, caller);
		if (rc == -EINTR)
			close_names(r);
	}
	if (r != NULL)
		renaming_unref(r);
	return rc;
}
