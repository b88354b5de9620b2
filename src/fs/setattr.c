/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chmod, chown, utimens and truncate. In posix mode: see edit.c. In the default mode owner and mode
 * are the mount's, so that changing them has no effect (EPERM with nosilent), but for a file that
 * is under write they go into its metadata. Times are stored: of an object by a copy in place, of a
 * directory in its marker. FUSE threads.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "copy.h"
#include "edit.h"
#include "file.h"
#include "gate.h"
#include "marker.h"
#include "node.h"

/* One call of setattr. */
struct change {
	struct fs *fs;
	struct inode *inode;
	const struct fs_change *ask;
	struct caller *caller;
	struct timespec modified; /* to be set */
	struct dirty *open; /* entered: it is open for writing and nothing of it unpublished */
};

/* What would change without being able to: logged once, or refused. */
static int without_effect(struct fs *fs, bool changes, enum once what, const char *call)
{
	if (!changes)
		return 0;
	if (fs->config.nosilent)
		return -EPERM;
	if (fs_first_time(fs, what))
		log_info("%s has no effect: owner and modes of all files are set by uid, gid, "
			 "file_mode and dir_mode",
			 call);
	return 0;
}

static int change_mode(struct change *c, struct dirty *d)
{
	const struct inode *i = c->inode;
	uint32_t shown = i->is_dir ? c->fs->config.dir_mode : c->fs->config.file_mode;

	if (d == NULL)
		return without_effect(c->fs, (c->ask->mode & 07777) != shown, ONCE_CHMOD, "chmod");
	lock_acquire(&d->lock);
	d->mode = S_IFREG | (c->ask->mode & 0777);
	d->mode_given = true;
	lock_release(&d->lock);
	return dirty_meta_changed(d);
}

static int change_owner(struct change *c, struct dirty *d)
{
	uint32_t uid = (c->ask->set & FS_SET_UID) != 0 ? c->ask->uid : c->fs->config.uid;
	uint32_t gid = (c->ask->set & FS_SET_GID) != 0 ? c->ask->gid : c->fs->config.gid;
	bool changes = uid != c->fs->config.uid || gid != c->fs->config.gid;

	if (d == NULL)
		return without_effect(c->fs, changes, ONCE_CHOWN, "chown");
	lock_acquire(&d->lock);
	d->uid = uid;
	d->gid = gid;
	d->owner_given = true;
	lock_release(&d->lock);
	return dirty_meta_changed(d);
}

/* The metadata that stores a time; lives as long as text. */
static struct s3_meta time_meta(const struct timespec *t, char text[ATTR_TIME_BYTES])
{
	return (struct s3_meta){META_MTIME, meta_format_time(t, text, ATTR_TIME_BYTES)};
}

static int time_of_dirty(struct change *c, struct dirty *d)
{
	lock_acquire(&d->lock);
	d->modified = c->modified;
	d->times_given = true;
	lock_release(&d->lock);
	return dirty_meta_changed(d);
}

/* The object was copied in place: the node goes on with it. */
static int take_over_copy(struct change *c, struct object *object)
{
	struct fs *fs = c->fs;
	struct inode *i = c->inode;
	int rc = c->open != NULL ? dirty_rebase(c->open, object) : 0;

	object_set_modified(object, c->modified);
	lock_acquire(&fs->lock);
	if (rc == 0)
		inode_take_copy_locked(fs, i, c->open, object);
	lock_release(&fs->lock);
	if (rc == 0 && c->open != NULL) {
		SCOPED_LOCK(&c->open->lock);
		c->open->modified = c->modified;
	}
	etag_finish(&object->etag);
	return rc;
}

static int time_of_object(struct change *c)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char text[ATTR_TIME_BYTES], etag[S3_ETAG_MAX];
	struct s3_meta meta = time_meta(&c->modified, text);
	struct copy_ask ask = {.from = &key, .to = &key, .meta = &meta, .meta_count = 1};
	struct object object;
	bool same;
	int rc;

	lock_acquire(&c->fs->lock);
	same = c->inode->unlinked || (c->inode->object.modified_s == c->modified.tv_sec &&
				      c->inode->object.modified_ns == c->modified.tv_nsec);
	etag_text(&c->inode->object.etag, etag);
	lock_release(&c->fs->lock);
	if (same)
		return 0;
	if (etag[0] != '\0')
		ask.if_match = etag;
	rc = inode_own_key(c->fs, c->inode, &key);
	if (rc == 0)
		rc = copy_object(c->fs, &ask, &c->caller->cancel, &object);
	return rc == 0 ? take_over_copy(c, &object) : rc;
}

static int time_of_dir(struct change *c)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char text[ATTR_TIME_BYTES];
	struct s3_meta meta = time_meta(&c->modified, text);
	struct marker marker = {.meta = &meta, .meta_count = 1};
	struct copy_ask ask = {.from = &key, .to = &key, .meta = &meta, .meta_count = 1};
	struct object object = {0};
	bool own;
	int rc = inode_own_key(c->fs, c->inode, &key);

	lock_acquire(&c->fs->lock);
	own = c->inode->dir != NULL && c->inode->dir->own_marker;
	lock_release(&c->fs->lock);
	if (rc == 0 && key.length > 0 && !own) {
		rc = copy_object(c->fs, &ask, &c->caller->cancel, &object);
		etag_finish(&object.etag);
		own = rc == -ENOENT;
	}
	if ((rc == 0 || rc == -ENOENT) && key.length > 0 && own)
		rc = marker_put(c->fs, &key, &marker, &c->caller->cancel);
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&c->fs->lock);
	if (inode_dir_locked(c->fs, c->inode) != NULL)
		c->inode->dir->modified = c->modified;
	return 0;
}

static int change_time(struct change *c, struct dirty *d)
{
	if ((c->ask->set & FS_SET_MTIME) == 0)
		return 0; /* the time of access is not kept */
	if ((c->ask->set & FS_SET_MTIME_NOW) != 0)
		clock_gettime(CLOCK_REALTIME, &c->modified);
	else
		c->modified = c->ask->modified;
	if (d != NULL)
		return time_of_dirty(c, d);
	return c->inode->is_dir ? time_of_dir(c) : time_of_object(c);
}

/* d: the file is under write; NULL: it is not. */
static int change_attributes(struct change *c, struct dirty *d)
{
	int rc = 0;

	if ((c->ask->set & FS_SET_MODE) != 0)
		rc = change_mode(c, d);
	if (rc == 0 && (c->ask->set & (FS_SET_UID | FS_SET_GID)) != 0)
		rc = change_owner(c, d);
	/* a truncation has set the time already */
	if (rc == 0 &&
	    (c->ask->set & (FS_SET_SIZE | FS_SET_MTIME_NOW)) != (FS_SET_SIZE | FS_SET_MTIME_NOW))
		rc = change_time(c, d);
	return rc;
}

/* Of a file that is open for writing: with its next publication, or, where nothing is unpublished,
 * at once. It is entered, so that no publication comes in between. */
static int change_open(struct change *c, struct dirty *d)
{
	int rc = dirty_enter(d, &c->caller->cancel);
	bool written;

	if (rc < 0)
		return rc;
	written = dirty_keeps_changes(d);
	if (!written)
		c->open = d;
	rc = change_attributes(c, written ? d : NULL);
	dirty_leave(d);
	return rc;
}

static int change_all(struct change *c, struct fs_file *file)
{
	struct key_change change;
	struct dirty *d;
	int rc = 0;

	if ((c->ask->set & FS_SET_SIZE) != 0)
		rc = c->inode->is_dir ? -EISDIR
				      : file_resize(c->fs, c->inode, file, c->ask->size, c->caller);
	if (rc < 0)
		return rc;
	if (c->fs->attrs != NULL)
		return change_posix(c->fs, c->inode, c->ask, c->caller);
	rc = change_begin_at(c->fs, &change, c->inode, &c->caller->cancel);
	if (rc < 0)
		return rc;
	change_edits(c->fs, &change, c->inode);
	d = dirty_of(c->fs, c->inode);
	rc = d != NULL ? change_open(c, d) : change_attributes(c, NULL);
	dirty_unref(d);
	change_end(c->fs, &change);
	return rc;
}

int fs_setattr(struct fs *fs, uint64_t id, struct fs_file *file, const struct fs_change *ask,
	       struct caller *caller, struct fs_attr *ret)
{
	struct change c = {.fs = fs, .inode = inode_from_id(fs, id), .ask = ask, .caller = caller};
	int rc = inode_validate(fs, c.inode, caller);

	if (rc == 0 && fs->config.read_only)
		rc = -EROFS;
	if (rc == 0)
		rc = inode_know(fs, c.inode, fs->clock->now_ns(fs->clock), caller);
	if (rc == 0)
		rc = change_all(&c, file);
	return rc == 0 ? fs_getattr(fs, id, file, caller, ret) : rc;
}
