/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, the read side. A handle is pinned to one version of its object (a cache_version) and
 * has a reader, which decides what is asked ahead. While the file is under write, reads are of what
 * was written; each publication of ours moves the pin.
 *
 * When the version turns out to be replaced (ESTALE), a handle whose inode has delivered no byte
 * yet moves to the new version: the kernel holds no page of the node then. Otherwise the inode is
 * retired and the handle keeps its error; also when the new version is shorter: the kernel cuts its
 * pages at the size that it knows, and would fill up with zeros what a reply is short of that.
 *
 * The pin changes under the handle's lock; a read takes its own reference first, so no lock is held
 * while it waits.
 */
#include "file.h"
#include "hold.h"
#include "neighbours.h"
#include "node.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define MOVES_MAX 4 /* of one read: the object may be replaced again and again */

/* The version that an object's description names. */
static int version_of(struct fs *fs, const struct inode *i, const struct object *o,
		      struct cache_version **ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char etag[S3_ETAG_MAX];
	int rc = inode_own_key(fs, i, &key);

	if (rc < 0)
		return rc;
	return cache_version_get(fs->cache, key.data, key.length, etag_text(&o->etag, etag),
				 o->size, ret);
}

/* A copy of what is known of the inode's object; the caller finishes its etag. */
static int object_snapshot(struct fs *fs, struct inode *i, struct object *ret, uint32_t *ret_moves)
{
	SCOPED_LOCK(&fs->lock);
	*ret = i->object;
	*ret_moves = inode_moves(i);
	return etag_copy(&ret->etag, &i->object.etag);
}

int file_base_init(struct fs *fs, struct inode *i, struct file_base *ret)
{
	int rc;

	*ret = (struct file_base){0};
	rc = object_snapshot(fs, i, &ret->object, &ret->moves);
	if (rc < 0) {
		ret->object.etag = (struct etag){0};
		return rc;
	}
	etag_text(&ret->object.etag, ret->etag);
	return version_of(fs, i, &ret->object, &ret->version);
}

void file_base_finish(struct file_base *b)
{
	etag_finish(&b->object.etag);
	cache_version_unref(b->version);
}

static bool is_archived(struct fs *fs, const struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	return i->object.archived;
}

int file_check_archived(struct fs *fs, struct inode *i, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	char shown[256];
	int rc;

	if (!is_archived(fs, i))
		return 0;
	rc = inode_revalidate(fs, i, caller);
	if (rc < 0 || !is_archived(fs, i))
		return rc;
	if (inode_own_key(fs, i, &key) == 0)
		log_warn(
		    "%s is archived (storage class GLACIER or DEEP_ARCHIVE): restore it before it "
		    "can be read",
		    text_printable(key.data, key.length, shown, sizeof(shown)));
	return -EACCES;
}

/* One handle more, with a reference. -ENOMEM. */
static int count_open(struct fs *fs, struct inode *i)
{
	struct inode_extra *extra;

	SCOPED_LOCK(&fs->lock);
	extra = inode_extra_locked(i);
	if (extra == NULL)
		return -ENOMEM;
	inode_ref_locked(i);
	extra->opens++;
	return 0;
}

int file_create(struct fs *fs, struct inode *i, int flags, struct fs_file **ret)
{
	struct reader_config config = {.part_bytes = fs->config.part_bytes,
				       .parallel = fs->config.parallel,
				       .memory_bytes = fs->config.memory_bytes,
				       .shared = fs->streams};
	struct fs_file *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL || count_open(fs, i) < 0) {
		free(f);
		return -ENOMEM;
	}
	f->fs = fs;
	f->flags = flags;
	f->inode = i;
	lock_init(&f->lock, LOCK_HANDLE);
	rc = reader_create(&config, fs->xfer, &f->reader);
	if (rc < 0) {
		fs_release(f);
		return rc;
	}
	*ret = f;
	return 0;
}

/* Pins the handle to what the inode's object is now. */
static int file_pin(struct fs_file *f)
{
	struct file_base base;
	int rc = file_base_init(f->fs, f->inode, &base);

	if (rc == 0) {
		lock_acquire(&f->lock);
		SWAP(f->version, base.version);
		f->moves = base.moves;
		lock_release(&f->lock);
		if (base.version != NULL)
			reader_reset(f->reader);
	}
	file_base_finish(&base);
	return rc;
}

static bool is_retired(struct fs_file *f)
{
	SCOPED_LOCK(&f->fs->lock);
	return f->inode->retired;
}

int file_repin(struct fs_file *f)
{
	bool pinned, retired;

	lock_acquire(&f->fs->lock);
	lock_acquire(&f->lock);
	pinned = f->version != NULL && f->moves == inode_moves(f->inode);
	retired = f->inode->retired && !f->inode->unlinked;
	lock_release(&f->lock);
	lock_release(&f->fs->lock);
	if (pinned)
		return 0;
	return retired ? -ESTALE : file_pin(f);
}

/*
 * Who opens a file reads it: a small one's only GET begins here. Not if the inode has delivered
 * bytes: the kernel has them, most likely, and will not ask again.
 */
static void file_expect(struct fs_file *f)
{
	bool delivered;

	lock_acquire(&f->fs->lock);
	delivered = f->inode->delivered;
	lock_release(&f->fs->lock);
	if (!delivered)
		reader_expect(f->reader, f->version);
}

int fs_open(struct fs *fs, uint64_t id, int flags, struct caller *caller, struct fs_file **ret,
	    bool *ret_keep_cache)
{
	struct inode *i = inode_from_id(fs, id);
	struct dirty *d;
	struct fs_file *f;
	int rc;

	if (i->is_dir)
		return -EISDIR;
	*ret_keep_cache = true; /* a node has one version, for ever */
	rc = inode_validate(fs, i, caller);
	if (rc == 0)
		rc = inode_know(fs, i, fs->clock->now_ns(fs->clock), caller);
	if (rc < 0)
		return rc;
	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0)
		return file_open_write(fs, i, flags, caller, ret);
	rc = file_check_archived(fs, i, caller);
	if (rc == 0)
		rc = file_create(fs, i, flags, &f);
	if (rc < 0)
		return rc;
	d = dirty_of(fs, i);
	if (d == NULL)
		rc = file_pin(f);
	if (d == NULL && rc == 0) {
		file_expect(f);
		neighbours_opened(fs, i);
	}
	dirty_unref(d);
	if (rc < 0) {
		fs_release(f);
		return rc;
	}
	*ret = f;
	return 0;
}

static void inode_contradict(struct fs *fs, struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	inode_contradict_locked(fs, i);
}

/*
 * Puts what S3 has now into the inode, if the kernel was given no byte of it yet and knows no
 * larger size; the object's ETag goes along. Otherwise the inode is retired: -ESTALE. *moves: the
 * inode's count of moves when the handle was pinned, and now. -EAGAIN: this mount has moved it on.
 */
static int inode_move(struct fs *fs, struct inode *i, struct object *object, uint32_t *moves)
{
	SCOPED_LOCK(&fs->lock);
	if (!object_same(&i->object, object)) { /* else another handle has done it */
		if (inode_moves(i) != *moves && !i->retired)
			return -EAGAIN;
		if (i->delivered || i->retired || object->size < i->object.size) {
			inode_contradict_locked(fs, i);
			return -ESTALE;
		}
		etag_finish(&i->object.etag);
		inode_set_attr_locked(i, NULL); /* it was of the other version */
		i->object = *object;
		object->etag = (struct etag){0};
		inode_moved_on_locked(i);
	}
	*moves = inode_moves(i);
	return 0;
}

/* This mount has published, copied or moved the object since the handle was pinned. *ret_moves: the
 * inode's count of moves then. */
static bool is_moved_on(struct fs_file *f, uint32_t *ret_moves)
{
	SCOPED_LOCK(&f->fs->lock);
	SCOPED_LOCK(&f->lock);
	*ret_moves = f->moves;
	return f->moves != inode_moves(f->inode) && !f->inode->retired;
}

/*
 * The pinned version is gone. Moves the handle to what the key holds now, if no byte was delivered:
 * 0 when there is another version to try, else -ESTALE (the inode is retired then) or -EINTR.
 */
static int file_move(struct fs_file *f, const struct cache_version *gone, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct cache_version *version = NULL;
	struct object object = {0};
	uint32_t moves = 0;
	int rc;

	if (is_moved_on(f, &moves))
		return file_pin(f);
	rc = inode_own_key(f->fs, f->inode, &key);
	if (rc == 0)
		rc = ask_object(f->fs, &key, caller, &object);
	if (rc == 0)
		rc = version_of(f->fs, f->inode, &object, &version);
	if (rc == 0 && version == gone)
		rc = -ESTALE;
	if (rc == 0)
		rc = inode_move(f->fs, f->inode, &object, &moves);
	etag_finish(&object.etag);
	if (rc == 0) {
		lock_acquire(&f->lock);
		SWAP(f->version, version);
		f->moves = moves;
		lock_release(&f->lock);
		reader_reset(f->reader);
		if (f->fs->notify.attr_gone != NULL)
			f->fs->notify.attr_gone(f->fs->notify.ctx, inode_id(f->fs, f->inode));
	} else if (rc != -EINTR && is_moved_on(f, &moves)) {
		rc = file_pin(f);
	} else if (rc != -EINTR) {
		inode_contradict(f->fs, f->inode);
		rc = -ESTALE;
	}
	cache_version_unref(version);
	return rc;
}

/*
 * Bytes of the handle's version are about to reach the kernel: from now on the inode keeps that
 * version. -ESTALE when another handle has moved it on meanwhile.
 */
static int note_delivered(struct fs_file *f, uint32_t moves)
{
	struct inode *i = f->inode;

	SCOPED_LOCK(&f->fs->lock);
	if (inode_moves(i) != moves)
		return -ESTALE;
	i->delivered = true;
	return 0;
}

/* One try of a read, from the version that is pinned now (*ret_version: borrowed, for comparing).
 */
static int read_pinned(struct fs_file *f, uint64_t offset, size_t length, struct caller *caller,
		       struct view *ret, const struct cache_version **ret_version)
{
	struct cache_version *version;
	uint32_t moves;
	int rc = 0;

	lock_acquire(&f->lock);
	version = f->version;
	cache_version_ref(version);
	moves = f->moves;
	lock_release(&f->lock);
	*ret_version = version;
	if (offset < cache_version_size(version) && length > 0)
		rc = reader_read(f->reader, version, offset, length, &caller->cancel, ret);
	if (rc == 0)
		rc = note_delivered(f, moves);
	if (rc < 0)
		view_release(ret);
	cache_version_unref(version);
	return rc;
}

/*
 * The base that a read was of is gone from the server. 1: because this mount has published, copied
 * or moved it, and is done with that: to be read again. Else -ESTALE (a node with nothing
 * unpublished is retired), or -EINTR.
 */
static int base_gone(struct fs_file *f, struct dirty *d, const struct cache_version *base,
		     uint64_t offset, uint64_t length, struct caller *caller)
{
	int rc = dirty_enter(d, &caller->cancel);

	if (rc < 0)
		return rc;
	rc = writer_needs_base(dirty_writer(d), offset, length, base) ? -ESTALE : 1;
	if (rc < 0 && !writer_is_dirty(dirty_writer(d)))
		inode_contradict(f->fs, f->inode);
	dirty_leave(d);
	return rc;
}

/* One try of a read; *ret_base: what it needs of the object, referenced, or NULL. */
static int read_writer(struct fs_file *f, struct writer *w, uint64_t offset, size_t length,
		       struct caller *caller, struct view *ret, struct cache_version **ret_base)
{
	uint64_t n = length, from = offset;

	if (writer_in_base(w, &from, &n, ret_base))
		return reader_read(f->reader, *ret_base, from, (size_t)n, &caller->cancel, ret);
	*ret_base = writer_base(w);
	return writer_read(w, offset, length, &caller->cancel, ret);
}

/* The file is open for writing: what was written, and the object where nothing was. */
static int read_written(struct fs_file *f, struct dirty *d, uint64_t offset, size_t length,
			struct caller *caller, struct view *ret)
{
	struct cache_version *base;
	int rc = 1, moves;

	for (moves = 0; rc > 0 && moves < MOVES_MAX; moves++) {
		rc = read_writer(f, dirty_writer(d), offset, length, caller, ret, &base);
		if (rc == -ESTALE)
			rc = base_gone(f, d, base, offset, length, caller);
		cache_version_unref(base);
	}
	return rc > 0 ? -ESTALE : rc;
}

int fs_read(struct fs_file *f, uint64_t offset, size_t length, struct caller *caller,
	    struct view *ret)
{
	const struct cache_version *version;
	struct dirty *d = dirty_of(f->fs, f->inode);
	int rc, moves;

	*ret = (struct view){0};
	if (d != NULL) {
		rc = read_written(f, d, offset, length, caller, ret);
		dirty_unref(d);
		return rc;
	}
	rc = file_repin(f);
	if (rc == 0)
		rc = read_pinned(f, offset, length, caller, ret, &version);
	for (moves = 0; rc == -ESTALE && moves < MOVES_MAX && !is_retired(f); moves++) {
		rc = file_move(f, version, caller);
		if (rc < 0)
			return rc;
		rc = read_pinned(f, offset, length, caller, ret, &version);
	}
	return rc;
}

static void file_close(struct fs_file *f, bool publish)
{
	if (f == NULL)
		return;
	if (f->dirty != NULL)
		file_close_dirty(f, publish);
	reader_destroy(f->reader);
	cache_version_unref(f->version);
	hold_closed(f->fs, f->inode);
	inode_unref(f->fs, f->inode);
	lock_finish(&f->lock);
	free(f);
}

void fs_release(struct fs_file *f)
{
	file_close(f, true);
}

void fs_discard(struct fs_file *f)
{
	file_close(f, false);
}
