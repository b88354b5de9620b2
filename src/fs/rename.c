/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename of files. A new file that is not published yet only changes the key that it will be
 * published under. Everything else is a server-side copy and a delete: the source is deleted only
 * while it is what was copied; one that changed meanwhile is copied again. Directories: EXDEV, so
 * that mv copies.
 *
 * FUSE threads; the kernel holds both directories and both files, so that it is told of nothing
 * here and nobody writes meanwhile.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "conditions.h"
#include "copy.h"
#include "dirty.h"

#define RENAME_TRIES 5 /* of a source that changes */
#define NOREPLACE 1u   /* linux/fs.h: RENAME_NOREPLACE */

/* One end of a rename. */
struct place {
	struct inode *parent; /* referenced */
	const char *name;
	size_t length;
	struct buf key;
	struct inode *inode; /* referenced; NULL: nothing known of it */
};

struct renaming {
	struct fs *fs;
	struct place from, to;
	bool only_new;
	struct caller *caller;
	struct dirty *dirty; /* of the source, referenced and entered; NULL: not under write */
};

static int place_init(struct fs *fs, struct place *p, uint64_t parent_id, const char *name)
{
	struct inode *i;

	*p = (struct place){.name = name, .length = strlen(name)};
	lock_acquire(&fs->lock);
	p->parent = inode_ref_locked(inode_from_id(fs, parent_id));
	i = inode_find_locked(fs, p->parent, name, p->length);
	p->inode = i != NULL ? inode_ref_locked(i) : NULL;
	lock_release(&fs->lock);
	if (p->length > NAME_MAX)
		return -ENAMETOOLONG;
	return inode_key(fs, p->parent, name, p->length, &p->key);
}

static void place_finish(struct fs *fs, struct place *p)
{
	buf_finish(&p->key);
	inode_unref(fs, p->inode);
	inode_unref(fs, p->parent);
}

/* -EEXIST if there is a target and there may be none, -EISDIR if it is a directory. */
static int check_target(struct renaming *r)
{
	struct fs *fs = r->fs;
	struct fs_entry entry;
	bool absent;
	int rc;

	if (!r->only_new && !fs->config.safe_overwrite)
		return r->to.inode != NULL && r->to.inode->is_dir ? -EISDIR : 0;
	lock_acquire(&fs->lock);
	absent = local_was_absent_locked(fs, r->to.parent, r->to.name, r->to.length);
	lock_release(&fs->lock);
	if (absent)
		return 0;
	rc = fs_lookup(fs, inode_id(fs, r->to.parent), r->to.name, r->caller, &entry);
	if (rc == -ENOENT || (rc == 0 && entry.id == 0))
		return 0;
	if (rc == 0)
		fs_forget(fs, entry.id, 1);
	if (rc == 0)
		rc = r->only_new ? -EEXIST : -EPERM;
	return rc;
}

/* What was written to the target and is not published, is not: its handles work on. */
static void drop_target(struct renaming *r)
{
	struct dirty *d = r->to.inode != NULL ? dirty_of(r->fs, r->to.inode) : NULL;

	if (d == NULL)
		return;
	dirty_unlink_begin(d, &r->caller->cancel);
	dirty_leave(d);
	dirty_unref(d);
}

/* The table and the names after the rename. object: what the target is now; NULL: not published. */
static int move_locked(struct renaming *r, struct object *object)
{
	struct fs *fs = r->fs;
	struct inode *i = r->from.inode;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	int rc = 0;

	lock_assert_held(&fs->lock);
	name_gone_locked(fs, r->to.parent, r->to.name, r->to.length);
	if (i != NULL && !i->retired) {
		if (i->dirty != NULL)
			inode_count_dirty_locked(fs, i->parent, -1);
		rc = inode_move_locked(fs, i, r->to.parent, r->to.name, r->to.length);
		if (i->dirty != NULL)
			inode_count_dirty_locked(fs, i->parent, 1);
		if (rc == 0 && object != NULL) {
			SWAP(i->object.etag, object->etag);
			i->moves++;
			i->fresh_until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
		}
	}
	if (rc < 0)
		inode_retire_locked(fs, i);
	local_set_locked(fs, r->from.parent, r->from.name, r->from.length, LOCAL_GONE);
	local_set_locked(fs, r->to.parent, r->to.name, r->to.length, LOCAL_FILE);
	inode_keep_locked(fs, r->from.parent);
	return rc;
}

/* A new file: its bytes go to the other key when they go. 1 if that is not possible. */
static int rename_unpublished(struct renaming *r)
{
	struct dirty *d = r->dirty;
	bool shadows;
	int rc;

	lock_acquire(&d->lock);
	rc = d->failed < 0 ? d->failed : d->on_server ? 1 : 0;
	shadows = d->shadows;
	lock_release(&d->lock);
	if (rc != 0)
		return rc;
	rc = writer_rename(dirty_writer(d), r->to.key.data, r->to.key.length);
	if (rc == -EOPNOTSUPP || rc == -EBUSY)
		return 1;
	if (rc == 0 && shadows)
		rc = object_delete(r->fs, &r->from.key, NULL, &r->caller->cancel);
	if (rc < 0)
		return rc;
	drop_target(r);
	lock_acquire(&d->lock);
	d->condition = r->only_new ? PUBLISH_NEW : PUBLISH_ALWAYS;
	d->exclusive = r->only_new;
	d->shadows = !r->only_new;
	lock_release(&d->lock);
	SCOPED_LOCK(&r->fs->lock);
	return move_locked(r, NULL);
}

/* Deletes the source while it is what was copied. -ESTALE: it is not. */
static int delete_source(struct renaming *r, const char *etag)
{
	struct honoured h;
	struct object now;
	char text[S3_ETAG_MAX];
	int rc = conditions_learn(r->fs, &r->caller->cancel, &h);

	if (rc == 0 && !h.delete) {
		rc = ask_object(r->fs, &r->from.key, r->caller, &now);
		if (rc == -ENOENT)
			return 0;
		if (rc == 0 && strcmp(etag_text(&now.etag, text), etag) != 0)
			rc = -ESTALE;
		if (rc == 0 || rc == -ESTALE)
			etag_finish(&now.etag);
	}
	if (rc < 0)
		return rc;
	return object_delete(r->fs, &r->from.key, h.delete ? etag : NULL, &r->caller->cancel);
}

/* Copies and deletes. *ret_object: the target; the caller finishes its etag. */
static int copy_and_delete(struct renaming *r, struct object *ret_object)
{
	char etag[S3_ETAG_MAX];
	struct copy_ask ask = {.from = &r->from.key,
			       .to = &r->to.key,
			       .only_new = r->only_new,
			       .ret_source_etag = etag};
	unsigned tries = 0;
	int rc;

	do {
		rc = copy_object(r->fs, &ask, &r->caller->cancel, ret_object);
		if (rc < 0)
			return rc;
		rc = delete_source(r, etag);
		if (rc < 0)
			etag_finish(&ret_object->etag);
		ask.only_new = false; /* the target is ours now */
	} while (rc == -ESTALE && ++tries < RENAME_TRIES);
	return rc;
}

/* The handles of a published file that moved go on, over its object under the new key. */
static int swap_writer(struct renaming *r, const struct object *object)
{
	struct cache_version *version = NULL;
	struct dirty *d = r->dirty;
	struct writer *w = NULL, **old;
	char etag[S3_ETAG_MAX];
	int rc = cache_version_get(r->fs->cache, r->to.key.data, r->to.key.length,
				   etag_text(&object->etag, etag), object->size, &version);

	if (rc == 0)
		rc = writer_create(r->fs->writers, r->to.key.data, r->to.key.length, version, etag,
				   d->readable, &w);
	cache_version_unref(version);
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&d->lock);
	old = reallocarray(d->old_writers, d->old_count + 1, sizeof(struct writer *));
	if (old == NULL) {
		writer_destroy(w);
		return -ENOMEM;
	}
	d->old_writers = old;
	d->old_writers[d->old_count++] = d->writer;
	d->writer = w;
	d->condition = PUBLISH_UNCHANGED;
	d->shadows = false;
	return 0;
}

static int rename_published(struct renaming *r)
{
	struct object object = {0};
	int rc = 0;

	if (r->dirty != NULL)
		rc = dirty_publish_entered(r->dirty, r->caller);
	if (rc < 0)
		return rc;
	drop_target(r);
	rc = copy_and_delete(r, &object);
	if (rc < 0)
		return rc;
	if (r->dirty != NULL)
		rc = swap_writer(r, &object);
	if (rc < 0)
		dirty_abort(r->dirty, rc);
	lock_acquire(&r->fs->lock);
	rc = move_locked(r, &object);
	lock_release(&r->fs->lock);
	etag_finish(&object.etag);
	return rc;
}

static int rename_run(struct renaming *r)
{
	int rc;

	if (r->from.inode != NULL && r->from.inode->is_dir)
		return -EXDEV;
	if (r->from.inode != NULL && r->from.inode == r->to.inode)
		return 0;
	rc = check_target(r);
	if (rc < 0)
		return rc;
	if (r->from.inode != NULL)
		r->dirty = dirty_of(r->fs, r->from.inode);
	if (r->dirty == NULL)
		return rename_published(r);
	rc = dirty_enter(r->dirty, &r->caller->cancel);
	if (rc == 0) {
		rc = rename_unpublished(r);
		if (rc == 1)
			rc = rename_published(r);
		dirty_leave(r->dirty);
	}
	dirty_unref(r->dirty);
	return rc;
}

int fs_rename(struct fs *fs, const struct fs_rename *ask, struct caller *caller)
{
	struct renaming r = {.fs = fs, .caller = caller};
	int rc;

	if ((ask->flags & ~NOREPLACE) != 0)
		return -EINVAL;
	if (fs->config.read_only)
		return -EROFS;
	r.only_new = (ask->flags & NOREPLACE) != 0;
	rc = place_init(fs, &r.from, ask->parent_id, ask->name);
	if (rc == 0)
		rc = place_init(fs, &r.to, ask->new_parent_id, ask->new_name);
	else
		r.to.parent = NULL;
	if (rc == 0)
		rc = rename_run(&r);
	place_finish(fs, &r.from);
	place_finish(fs, &r.to);
	return rc;
}
