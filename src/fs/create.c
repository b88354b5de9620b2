/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files made, and opened for writing. A file is only known to this mount until it is published
 * (publish.c); O_EXCL is checked here against S3 and enforced there.
 *
 * The kernel looks a name up right before it creates it; where that lookup has just asked S3, S3 is
 * not asked again. FUSE threads; no lock is held while they wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "file.h"
#include "gate.h"
#include "node.h"

/* A name that is to be made. */
struct creation {
	struct fs *fs;
	struct inode *parent; /* referenced */
	const char *name;
	size_t length;
	int flags;
	struct caller *caller;
	struct buf key;
	mode_t mode;
	dev_t rdev;
};

static int creation_begin(struct creation *c, struct fs *fs, const struct fs_new *ask, int flags,
			  struct caller *caller)
{
	*c = (struct creation){.fs = fs,
			       .name = ask->name,
			       .length = strlen(ask->name),
			       .flags = flags,
			       .caller = caller,
			       .mode = ask->mode,
			       .rdev = ask->rdev};
	lock_acquire(&fs->lock);
	c->parent = inode_ref_locked(inode_from_id(fs, ask->parent_id));
	lock_release(&fs->lock);
	if (fs->config.read_only || fs_is_draining(fs))
		return -EROFS;
	if (!c->parent->is_dir)
		return -ENOTDIR;
	if (c->length > NAME_MAX)
		return -ENAMETOOLONG;
	return inode_key(fs, c->parent, c->name, c->length, &c->key);
}

static void creation_end(struct creation *c)
{
	buf_finish(&c->key);
	inode_unref(c->fs, c->parent);
}

/*
 * What is there under that name: an enum found, with *ret_inode for a file (one reference of ours),
 * or -errno.
 */
static int existing(struct creation *c, struct inode **ret_inode)
{
	struct fs_entry entry;
	bool absent;
	int rc;

	lock_acquire(&c->fs->lock);
	absent = local_was_absent_locked(c->fs, c->parent, c->name, c->length) != 0;
	lock_release(&c->fs->lock);
	if (absent)
		return FOUND_NOTHING;
	rc = fs_lookup(c->fs, inode_id(c->fs, c->parent), c->name, c->caller, &entry);
	if (rc == -ENOENT || (rc == 0 && entry.id == 0))
		return FOUND_NOTHING;
	if (rc < 0)
		return rc;
	lock_acquire(&c->fs->lock);
	*ret_inode = inode_ref_locked(inode_from_id(c->fs, entry.id));
	lock_release(&c->fs->lock);
	fs_forget(c->fs, entry.id, 1);
	if ((*ret_inode)->is_dir) {
		inode_unref(c->fs, *ret_inode);
		return FOUND_DIR;
	}
	return FOUND_FILE;
}

static void join(struct fs_file *f, struct dirty *d)
{
	d->handles++;
	d->refs++;
	f->dirty = d;
	SCOPED_LOCK(&d->lock);
	d->appended = d->appended || (f->flags & O_APPEND) != 0;
}

/* Puts a new file into the table. -EAGAIN: somebody made one of that name meanwhile. */
static int enter_new(struct creation *c, struct dirty *d, struct inode **ret)
{
	struct fs *fs = c->fs;
	struct inode *i;

	SCOPED_LOCK(&fs->lock);
	i = inode_find_locked(fs, c->parent, c->name, c->length);
	if (i != NULL && (i->is_dir || i->dirty != NULL))
		return -EAGAIN;
	if (i != NULL)
		inode_retire_locked(fs, i); /* S3 says that it is gone */
	i = inode_create_locked(fs, c->parent, c->name, c->length, false);
	if (i == NULL)
		return -ENOMEM;
	dirty_attach_locked(d, i);
	local_set_locked(fs, c->parent, c->name, c->length, LOCAL_FILE);
	inode_names_changed_locked(fs, c->parent);
	*ret = i;
	return 0;
}

static int new_dirty(struct creation *c, struct dirty **ret)
{
	struct file_meta meta;
	struct dirty_config config = {
	    .meta = &meta,
	    .key = &c->key,
	    .name = c->name,
	    .name_length = c->length,
	    .condition = (c->flags & O_TRUNC) != 0 ? PUBLISH_ALWAYS : PUBLISH_NEW,
	    .exclusive = (c->flags & O_EXCL) != 0,
	    .readable = (c->flags & O_ACCMODE) == O_RDWR,
	};

	lock_acquire(&c->fs->lock);
	new_meta_locked(c->fs, c->parent, c->mode, c->caller, &meta);
	lock_release(&c->fs->lock);
	if (c->rdev != 0) {
		meta.has |= META_HAS_RDEV;
		meta.rdev = c->rdev;
	}
	return dirty_create(c->fs, &config, ret);
}

/* Ends a handle within a call that creates: the kernel holds the directory, and a notice about a
 * name in it would wait for this very call. */
static void release_mute(struct fs_file *f)
{
	f->mute = true;
	fs_release(f);
}

/* excl=claim: the name is taken at open, by an empty object. */
static int claim(struct creation *c, struct dirty *d)
{
	int rc;

	if (!c->fs->config.excl_claim || (c->flags & O_EXCL) == 0)
		return 0;
	rc = dirty_publish(d, c->caller);
	SCOPED_LOCK(&d->lock);
	d->published = false; /* the file is new still, if its writer is killed */
	return rc;
}

/* A new file that could not be opened is aborted: its handle ends, if it came that far. */
static void end_new(struct creation *c, struct dirty *d, struct fs_file *f)
{
	if (f != NULL) {
		release_mute(f);
		return;
	}
	SCOPED_LOCK(&c->fs->lock);
	dirty_detach_locked(d);
}

static int open_new(struct creation *c, struct inode **ret_inode, struct fs_file **ret)
{
	struct dirty *d;
	struct fs_file *f = NULL;
	struct inode *i = NULL;
	int rc = new_dirty(c, &d);

	if (rc < 0)
		return rc;
	rc = enter_new(c, d, &i);
	if (rc < 0) {
		dirty_unref(d);
		return rc;
	}
	rc = dirty_follow(d); /* its directory may have been renamed since */
	if (rc == 0)
		rc = file_create(c->fs, i, c->flags, &f);
	if (rc == 0) {
		lock_acquire(&c->fs->lock);
		join(f, d);
		lock_release(&c->fs->lock);
		f->opener = process_of_thread(c->caller->tid);
		rc = claim(c, d);
	}
	if (rc < 0) {
		dirty_abort(d, rc); /* while it has its node, whose name goes with it */
		end_new(c, d, f);
		inode_unref(c->fs, i);
	} else {
		*ret_inode = i;
		*ret = f;
	}
	dirty_unref(d);
	return rc;
}

/* Once: -EAGAIN when the name was changed meanwhile. *ret_inode has a reference of ours. */
static int create_once(struct creation *c, struct inode **ret_inode, struct fs_file **ret)
{
	int rc = existing(c, ret_inode);

	if (rc < 0)
		return rc;
	if (rc == FOUND_NOTHING)
		return open_new(c, ret_inode, ret);
	if ((c->flags & O_EXCL) != 0) {
		if (rc == FOUND_FILE)
			inode_unref(c->fs, *ret_inode);
		return -EEXIST;
	}
	if (rc == FOUND_DIR)
		return -EISDIR;
	rc = file_open_write(c->fs, *ret_inode, c->flags, c->caller, ret);
	if (rc < 0)
		inode_unref(c->fs, *ret_inode);
	return rc;
}

int fs_create_file(struct fs *fs, const struct fs_new *ask, int flags, struct caller *caller,
		   struct fs_entry *ret_entry, struct fs_file **ret)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct creation c;
	struct inode *i = NULL;
	int rc = creation_begin(&c, fs, ask, flags, caller);

	if (rc == 0) {
		do
			rc = create_once(&c, &i, ret);
		while (rc == -EAGAIN || rc == -ESTALE);
	}
	if (rc == 0) {
		lock_acquire(&fs->lock);
		inode_fill_entry_locked(fs, i, now_ns,
					time_after(now_ns, fs->config.metadata_ttl_ns), ret_entry);
		inode_unref_locked(fs, i);
		lock_release(&fs->lock);
	}
	creation_end(&c);
	return rc;
}

/* The file becomes empty, by O_TRUNC of a file that is under write. */
static int truncate_dirty(struct dirty *d, struct cancel *cancel)
{
	int rc = writer_truncate(dirty_writer(d), 0, cancel);

	if (rc < 0)
		return rc;
	SCOPED_LOCK(&d->lock);
	d->size = 0;
	d->written = true;
	d->unlearnt = false; /* what it had goes with its bytes */
	if (d->on_server)
		d->condition = PUBLISH_ALWAYS; /* else whoever made it stays bound by O_EXCL */
	return 0;
}

/* Opens a file that is under write already. */
static int open_dirty(struct fs_file *f, struct dirty *d, struct caller *caller)
{
	int rc;

	lock_acquire(&d->lock);
	rc = d->failed;
	lock_release(&d->lock);
	if (rc == 0 && (f->flags & O_TRUNC) != 0)
		rc = truncate_dirty(d, &caller->cancel);
	if (rc < 0 || (f->flags & O_ACCMODE) != O_RDWR)
		return rc;
	rc = writer_keep_all(dirty_writer(d));
	SCOPED_LOCK(&d->lock);
	d->readable = d->readable || rc == 0;
	return rc;
}

/* A dirty state for an object that is overwritten, or (base not NULL) changed in place. */
static int dirty_for(struct fs *fs, struct inode *i, int flags, const struct file_base *base,
		     struct dirty **ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct dirty_config config = {
	    .key = &key,
	    .condition = base != NULL && base->etag[0] != '\0' ? PUBLISH_UNCHANGED : PUBLISH_ALWAYS,
	    .on_server = true,
	    .readable = (flags & O_ACCMODE) == O_RDWR,
	    .base = base,
	};
	struct node_attr *held;
	struct file_meta meta;
	const char *slash;
	int rc;

	if (fs->config.safe_overwrite)
		return -EPERM;
	rc = inode_own_key(fs, i, &key);
	if (rc < 0)
		return rc;
	slash = memrchr(key.data, '/', key.length);
	config.name = slash != NULL ? slash + 1 : key.data;
	config.name_length = key.length - (size_t)(config.name - key.data);
	lock_acquire(&fs->lock);
	inode_meta_locked(fs, i, &meta);
	held = node_attr_ref(inode_attr(i));
	lock_release(&fs->lock);
	config.meta = &meta;
	rc = dirty_create(fs, &config, ret);
	node_attr_unref(held);
	return rc;
}

/*
 * Gives the handle the inode's dirty state, or made if it has none; *ret_joined: it had one.
 * -EAGAIN: it has none, or the object (with its attributes, which made has, too) has moved on.
 * Waits for a chmod that is on its way.
 */
static int take_part(struct fs_file *f, struct dirty *made, uint32_t moves, struct caller *caller,
		     bool *ret_joined)
{
	struct inode *i = f->inode;
	int rc;

	SCOPED_LOCK(&f->fs->lock);
	rc = change_wait_edits_locked(f->fs, i, &caller->cancel);
	if (rc < 0)
		return rc;
	if (i->retired && i->dirty == NULL)
		return -ESTALE;
	*ret_joined = i->dirty != NULL;
	if (i->dirty == NULL && (made == NULL || moves != inode_moves(i)))
		return -EAGAIN;
	if (i->dirty == NULL) {
		dirty_attach_locked(made, i);
		if ((f->flags & O_TRUNC) != 0)
			local_set_locked(f->fs, i->parent, inode_name(i), i->name_length,
					 LOCAL_FILE);
	}
	join(f, i->dirty);
	return 0;
}

static uint32_t moves_of(struct fs *fs, const struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	return inode_moves(i);
}

/* As take_part, with what the object is now. */
static int make_and_take_part(struct fs_file *f, struct caller *caller, bool *ret_joined)
{
	struct file_base base = {.moves = moves_of(f->fs, f->inode)};
	bool in_place = (f->flags & O_TRUNC) == 0;
	struct dirty *made = NULL;
	int rc = in_place ? file_base_init(f->fs, f->inode, &base) : 0;

	if (rc == 0)
		rc = dirty_for(f->fs, f->inode, f->flags, in_place ? &base : NULL, &made);
	if (rc == 0)
		rc = take_part(f, made, base.moves, caller, ret_joined);
	if (rc == 0 && !*ret_joined)
		rc = dirty_follow(made);
	dirty_unref(made);
	file_base_finish(&base);
	return rc;
}

int file_open_write(struct fs *fs, struct inode *i, int flags, struct caller *caller,
		    struct fs_file **ret)
{
	struct fs_file *f;
	bool joined = false;
	int rc;

	if (fs->config.read_only || fs_is_draining(fs))
		return -EROFS;
	rc = (flags & O_TRUNC) == 0 ? file_check_archived(fs, i, caller) : 0;
	if (rc == 0)
		rc = file_create(fs, i, flags, &f);
	if (rc < 0)
		return rc;
	f->opener = process_of_thread(caller->tid);
	rc = take_part(f, NULL, 0, caller, &joined);
	while (rc == -EAGAIN)
		rc = make_and_take_part(f, caller, &joined);
	if (rc == 0 && joined)
		rc = open_dirty(f, f->dirty, caller);
	if (rc < 0)
		release_mute(f);
	else
		*ret = f;
	return rc;
}
