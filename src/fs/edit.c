/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chmod, chown, utimens and setxattr in posix mode. What is stored is what HEAD said right before
 * the copy, changed: so that of two clients who change different things neither loses. What an
 * object does not have yet (mode, owner, times) is stored as it was shown, because the copy moves
 * Last-Modified.
 *
 * FUSE threads; the kernel lets one at a time change an inode. A file that is open for writing is
 * entered, so that no publication comes in between; one that is not is opened only afterwards.
 */
#include "edit.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"
#include "dirty.h"
#include "gate.h"
#include "marker.h"
#include "upload.h"

/* One edit of what the server has. */
struct editing {
	struct copy_edit copy; /* first */
	struct fs *fs;
	struct inode *inode;
	struct meta_edit *edit;
	struct caller *caller;
	struct dirty *open;   /* entered, nothing of it unpublished; NULL: not open */
	struct file_meta now; /* what shows; strings of held */
	struct node_attr *held;
	struct meta_text text;
	struct node_attr *made; /* what is stored */
};

bool edit_keeps(const char *name)
{
	return !file_meta_knows(name) && strcmp(name, NONCE_META) != 0;
}

/* What shows where nothing is stored. */
static void complete(struct file_meta *m, const struct file_meta *shown)
{
	if ((m->has & META_HAS_MODE) == 0 || (m->mode & S_IFMT) == 0)
		m->mode = (shown->mode & S_IFMT) |
			  ((m->has & META_HAS_MODE) != 0 ? m->mode : shown->mode);
	if ((m->has & META_HAS_UID) == 0)
		m->uid = shown->uid;
	if ((m->has & META_HAS_GID) == 0)
		m->gid = shown->gid;
	if ((m->has & META_HAS_MTIME) == 0)
		m->mtime = shown->mtime;
	m->has |= META_HAS_MODE | META_HAS_UID | META_HAS_GID | META_HAS_MTIME;
}

static int too_large(struct editing *e, int rc)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char shown[256];

	if (rc != -E2BIG)
		return rc;
	if (inode_own_key(e->fs, e->inode, &key) == 0)
		log_info("%s: S3 takes %d bytes of metadata for an object, all attributes together",
			 text_printable(key.data, key.length, shown, sizeof(shown)),
			 META_USER_BYTES_MAX);
	return -ENOSPC;
}

/* Applies the edit and writes it down, in text and made. */
static int make_text(struct editing *e, struct file_meta *m)
{
	int rc;

	complete(m, &e->now);
	rc = e->edit->apply(e->edit, m);
	if (rc < 0)
		return rc;
	node_attr_unref(TAKE(e->made));
	e->made = node_attr_create(m);
	if (e->made == NULL)
		return -ENOMEM;
	file_meta_format(&e->made->meta, fs_dialect(e->fs), &e->text);
	return meta_bytes(e->text.meta, e->text.count) > META_USER_BYTES_MAX ? -E2BIG : 0;
}

/* copy_edit.make */
static int make_meta(struct copy_edit *copy, const struct s3_op *head,
		     const struct s3_meta **ret_meta, unsigned *ret_count)
{
	struct editing *e = CONTAINER_OF(copy, struct editing, copy);
	struct file_meta m;
	int rc;

	file_meta_parse(head->found.meta, head->found.meta_count, &m);
	if (e->inode->is_dir)
		m.mtime = e->now.mtime; /* it may have moved, in memory */
	rc = make_text(e, &m);
	*ret_meta = e->text.meta;
	*ret_count = e->text.count;
	return rc;
}

static void begin_locked(struct editing *e)
{
	inode_meta_locked(e->fs, e->inode, &e->now);
	e->held = node_attr_ref(inode_attr(e->inode));
	e->copy = (struct copy_edit){.make = make_meta, .keep = edit_keeps};
}

static void end(struct editing *e)
{
	node_attr_unref(e->held);
	node_attr_unref(e->made);
}

/* What was stored is the inode's from now on. */
static void take_made_locked(struct editing *e, const struct buf *key)
{
	inode_own_attr_locked(e->fs, e->inode, &e->made->meta);
	attrs_forget(e->fs->attrs, key);
}

/* The object was copied in place: the node goes on with it. */
static int take_over(struct editing *e, const struct buf *key, struct object *object)
{
	struct fs *fs = e->fs;
	struct inode *i = e->inode;
	int rc = e->open != NULL ? dirty_rebase(e->open, object) : 0;

	lock_acquire(&fs->lock);
	if (rc == 0 && inode_take_copy_locked(fs, i, e->open, object))
		take_made_locked(e, key);
	lock_release(&fs->lock);
	if (rc == 0 && e->open != NULL) {
		SCOPED_LOCK(&e->open->lock);
		e->open->modified = e->made->meta.mtime;
		rc = dirty_posix_set_locked(e->open, &e->made->meta);
	}
	etag_finish(&object->etag);
	return rc;
}

static int edit_object(struct editing *e)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char etag[S3_ETAG_MAX];
	struct copy_ask ask = {.from = &key, .to = &key, .edit = &e->copy};
	struct object object;
	int rc;

	lock_acquire(&e->fs->lock);
	begin_locked(e);
	etag_text(&e->inode->object.etag, etag);
	lock_release(&e->fs->lock);
	if (etag[0] != '\0')
		ask.if_match = etag;
	rc = inode_own_key(e->fs, e->inode, &key);
	if (rc == 0)
		rc = copy_object(e->fs, &ask, &e->caller->cancel, &object);
	if (rc == 0)
		return take_over(e, &key, &object);
	if (rc == -ENOENT || rc == -ESTALE) {
		SCOPED_LOCK(&e->fs->lock);
		inode_contradict_locked(e->fs, e->inode);
		return -ESTALE;
	}
	return too_large(e, rc);
}

static int put_marker(struct editing *e, const struct buf *key)
{
	struct marker marker = {.only_new = false};
	struct file_meta m = e->now;
	int rc = make_text(e, &m);

	if (rc < 0)
		return rc;
	marker.meta = e->text.meta;
	marker.meta_count = e->text.count;
	return marker_put(e->fs, key, &marker, &e->caller->cancel);
}

/* The marker's metadata; a prefix of keys without a marker gets one. The bucket itself has none: it
 * is remembered while it is mounted. */
static int edit_dir(struct editing *e)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct copy_ask ask = {.from = &key, .to = &key, .edit = &e->copy};
	struct object object = {0};
	struct file_meta m;
	int rc = inode_own_key(e->fs, e->inode, &key);

	lock_acquire(&e->fs->lock);
	begin_locked(e);
	lock_release(&e->fs->lock);
	if (rc == 0 && key.length == 0) {
		m = e->now;
		rc = make_text(e, &m);
		if (fs_first_time(e->fs, ONCE_ROOT_ATTR))
			log_info("attributes of the bucket's top are kept until it is unmounted");
	} else if (rc == 0) {
		rc = copy_object(e->fs, &ask, &e->caller->cancel, &object);
		etag_finish(&object.etag);
		if (rc == -ENOENT)
			rc = put_marker(e, &key);
	}
	if (rc < 0)
		return too_large(e, rc);
	SCOPED_LOCK(&e->fs->lock);
	take_made_locked(e, &key);
	if (inode_dir_locked(e->fs, e->inode) != NULL)
		e->inode->dir->modified = (struct timespec){0};
	return 0;
}

/* Nobody finds it any more, but its descriptors see it. */
static int edit_unlinked(struct editing *e)
{
	struct file_meta m;
	int rc;

	SCOPED_LOCK(&e->fs->lock);
	begin_locked(e);
	m = e->now;
	rc = make_text(e, &m);
	return rc < 0 ? rc : inode_own_attr_locked(e->fs, e->inode, &e->made->meta);
}

/* With its next publication. */
static int edit_written(struct editing *e, struct dirty *d)
{
	struct file_meta m;
	int rc;

	lock_acquire(&d->lock);
	dirty_posix_meta_locked(d, &e->now);
	m = e->now;
	rc = make_text(e, &m);
	if (rc == 0)
		rc = dirty_posix_set_locked(d, &e->made->meta);
	if (rc == 0) {
		/* set by utimens, or as it was: to be stored exactly */
		d->times_given = d->times_given ||
				 e->made->meta.mtime.tv_sec != d->modified.tv_sec ||
				 e->made->meta.mtime.tv_nsec != d->modified.tv_nsec;
		d->mode_given = true;
		d->modified = e->made->meta.mtime;
	}
	lock_release(&d->lock);
	return rc < 0 ? too_large(e, rc) : dirty_meta_changed(d);
}

static int edit_open(struct editing *e, struct dirty *d)
{
	int rc = dirty_enter(d, &e->caller->cancel);
	bool written;

	if (rc < 0)
		return rc;
	written = dirty_keeps_changes(d);
	e->open = d;
	rc = written ? edit_written(e, d) : edit_object(e);
	dirty_leave(d);
	return rc;
}

int inode_edit(struct fs *fs, struct inode *i, struct meta_edit *edit, struct caller *caller)
{
	struct editing e = {.fs = fs, .inode = i, .edit = edit, .caller = caller};
	struct key_change change;
	struct dirty *d;
	bool unlinked;
	int rc = change_begin_at(fs, &change, i, &caller->cancel);

	if (rc < 0)
		return rc;
	change_edits(fs, &change, i);
	d = dirty_of(fs, i);
	lock_acquire(&fs->lock);
	unlinked = i->unlinked;
	lock_release(&fs->lock);
	if (d != NULL)
		rc = edit_open(&e, d);
	else if (unlinked)
		rc = edit_unlinked(&e);
	else
		rc = i->is_dir ? edit_dir(&e) : edit_object(&e);
	end(&e);
	dirty_unref(d);
	change_end(fs, &change);
	return rc;
}

/* setattr as an edit. */
struct attr_edit {
	struct meta_edit edit; /* first */
	const struct fs *fs;
	const struct fs_change *ask;
	struct timespec now;
};

static int apply_change(struct meta_edit *edit, struct file_meta *m)
{
	struct attr_edit *e = CONTAINER_OF(edit, struct attr_edit, edit);
	const struct fs_change *ask = e->ask;

	if ((ask->set & FS_SET_MODE) != 0)
		m->mode = (m->mode & S_IFMT) | mode_bits(e->fs, ask->mode);
	if ((ask->set & FS_SET_UID) != 0)
		m->uid = ask->uid;
	if ((ask->set & FS_SET_GID) != 0)
		m->gid = ask->gid;
	if ((ask->set & FS_SET_MTIME) != 0)
		m->mtime = (ask->set & FS_SET_MTIME_NOW) != 0 ? e->now : ask->modified;
	if ((ask->set & FS_SET_ATIME) != 0) {
		m->atime = (ask->set & FS_SET_ATIME_NOW) != 0 ? e->now : ask->accessed;
		m->has |= META_HAS_ATIME;
	}
	m->ctime = e->now;
	m->has |= META_HAS_CTIME;
	return 0;
}

int change_posix(struct fs *fs, struct inode *i, const struct fs_change *ask, struct caller *caller)
{
	struct attr_edit e = {.edit.apply = apply_change, .fs = fs, .ask = ask};
	unsigned set = ask->set & ~(unsigned)FS_SET_SIZE;

	/* a truncation has set the times already */
	if ((ask->set & FS_SET_SIZE) != 0 && (set & FS_SET_MTIME_NOW) != 0)
		set &= ~(unsigned)(FS_SET_MTIME | FS_SET_MTIME_NOW);
	if (set == 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &e.now);
	return inode_edit(fs, i, &e.edit, caller);
}

static int make_renamed(struct copy_edit *copy, const struct s3_op *head,
			const struct s3_meta **ret_meta, unsigned *ret_count)
{
	struct rename_edit *e = CONTAINER_OF(copy, struct rename_edit, copy);
	struct file_meta m;

	file_meta_parse(head->found.meta, head->found.meta_count, &m);
	if ((m.has & META_HAS_MTIME) == 0)
		m.mtime = head->object.modified;
	m.has |= META_HAS_MTIME | META_HAS_CTIME;
	clock_gettime(CLOCK_REALTIME, &m.ctime);
	node_attr_unref(TAKE(e->made));
	e->made = node_attr_create(&m);
	if (e->made == NULL)
		return -ENOMEM;
	file_meta_format(&e->made->meta, fs_dialect(e->fs), &e->text);
	*ret_meta = e->text.meta;
	*ret_count = e->text.count;
	return 0;
}

struct copy_edit *rename_edit_init(struct rename_edit *e, struct fs *fs)
{
	*e = (struct rename_edit){.copy = {.make = make_renamed, .keep = edit_keeps}, .fs = fs};
	return fs->attrs != NULL ? &e->copy : NULL;
}

void rename_edit_take_locked(struct rename_edit *e, struct inode *i, const struct buf *from,
			     const struct buf *to)
{
	struct fs *fs = e->fs;

	if (fs->attrs == NULL)
		return;
	attrs_forget(fs->attrs, from);
	attrs_forget(fs->attrs, to);
	if (i != NULL && e->made != NULL)
		inode_own_attr_locked(fs, i, &e->made->meta);
}

void rename_edit_finish(struct rename_edit *e)
{
	node_attr_unref(e->made);
}
