/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is under write has its bytes in a writer, but for those that are still the object's:
 * they are read and written again, so that the writer has them, in memory or in the spool. One that
 * is only open for reading gets a writer for that. What cannot be fetched is not held: the name
 * goes all the same, and who reads that gets ESTALE.
 *
 * FUSE threads, and those of renames; the kernel holds the file, so that nobody opens or writes it.
 */
#include "hold.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "file.h"

#define STEP_BYTES ((size_t)1 << 20)

/* Makes bytes that the object alone has the writer's own, by writing them again. */
static int hold_range(struct writer *w, uint64_t offset, char *bounce, struct cancel *cancel)
{
	struct view view;
	size_t n = 0;
	int rc = writer_read(w, offset, STEP_BYTES, cancel, &view);

	if (rc < 0)
		return rc;
	for (int k = 0; k < view.iov_count; k++) {
		memcpy(bounce + n, view.iov[k].iov_base, view.iov[k].iov_len);
		n += view.iov[k].iov_len;
	}
	view_release(&view);
	return n > 0 ? writer_write(w, offset, &(struct fs_bytes){.data = bounce, .length = n},
				    cancel, NULL)
		     : 0;
}

static int hold_bytes(struct dirty *d, struct cancel *cancel)
{
	CLEANUP(free) char *bounce = malloc(STEP_BYTES);
	struct writer *w = dirty_writer(d);
	uint64_t size = writer_size(w), offset;
	int rc = bounce != NULL ? 0 : -ENOMEM;

	for (offset = 0; offset < size && rc == 0; offset += STEP_BYTES)
		rc = hold_range(w, offset, bounce, cancel);
	if (rc < 0 && rc != -EINTR)
		log_warn("an open file loses its object, which could not be kept for it: %s",
			 strerror(-rc));
	return rc == -EINTR ? rc : 0;
}

/* Somebody may read what the object alone has, and it is not too much. */
static bool is_wanted(struct dirty *d, const struct inode *i)
{
	uint64_t size = writer_size(dirty_writer(d));
	bool readers;

	lock_acquire(&d->fs->lock);
	readers = inode_opens(i) > d->handles;
	lock_release(&d->fs->lock);
	SCOPED_LOCK(&d->lock);
	return d->published && (d->readable || readers) && size > 0 &&
	       size <= d->fs->config.unlink_keep_bytes;
}

/* A writer for a file that is only open for reading. 0 with NULL: it is too large, or gone. */
static int make_dirty(struct fs *fs, struct inode *i, struct dirty **ret)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct file_base base;
	struct dirty_config config = {.key = &key,
				      .name = "",
				      .condition = PUBLISH_UNCHANGED,
				      .on_server = true,
				      .readable = true,
				      .base = &base};
	int rc = file_base_init(fs, i, &base);

	*ret = NULL;
	if (rc == 0 && base.object.size <= fs->config.unlink_keep_bytes)
		rc = inode_own_key(fs, i, &key);
	if (rc == 0 && key.length > 0)
		rc = dirty_create(fs, &config, ret);
	file_base_finish(&base);
	return rc;
}

/* Readers go on from it. False: they are gone, or somebody writes by now. */
static bool attach(struct dirty *d, struct inode *i)
{
	SCOPED_LOCK(&d->fs->lock);
	if (inode_opens(i) == 0 || i->dirty != NULL || i->retired)
		return false;
	dirty_attach_locked(d, i);
	return true;
}

static bool is_only_read(struct fs *fs, const struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	return inode_opens(i) > 0 && i->dirty == NULL && !i->retired;
}

static int hold_for_readers(struct fs *fs, struct inode *i, struct cancel *cancel, struct held *ret)
{
	struct dirty *d;
	int rc;

	if (!is_only_read(fs, i))
		return 0;
	rc = make_dirty(fs, i, &d);
	if (rc < 0 || d == NULL)
		return rc == -EINTR ? rc : 0;
	rc = hold_bytes(d, cancel);
	if (rc == 0)
		rc = dirty_enter(d, cancel);
	if (rc == 0 && attach(d, i)) {
		ret->dirty = d;
		ret->made = true;
		return 0;
	}
	if (rc == 0)
		dirty_leave(d);
	dirty_unref(d);
	return rc;
}

int hold_begin(struct fs *fs, struct inode *i, struct cancel *cancel, struct held *ret)
{
	struct dirty *d = dirty_of(fs, i);
	int rc;

	*ret = (struct held){.on_server = true};
	if (d == NULL)
		return hold_for_readers(fs, i, cancel, ret);
	rc = dirty_enter(d, cancel);
	if (rc == 0 && is_wanted(d, i)) {
		rc = hold_bytes(d, cancel);
		if (rc < 0)
			dirty_leave(d);
	}
	if (rc < 0) {
		dirty_unref(d);
		return rc;
	}
	lock_acquire(&d->lock);
	ret->on_server = d->on_server || d->shadows;
	lock_release(&d->lock);
	ret->dirty = d;
	return 0;
}

static void detach_readers(struct dirty *d)
{
	lock_acquire(&d->fs->lock);
	if (d->inode != NULL)
		dirty_detach_locked(d);
	lock_release(&d->fs->lock);
}

void hold_end(struct held *h, bool gone)
{
	struct dirty *d = h->dirty;

	if (d == NULL)
		return;
	if (gone) {
		lock_acquire(&d->lock);
		d->unlinked = true;
		lock_release(&d->lock);
		writer_detach(dirty_writer(d));
	} else if (h->made) {
		detach_readers(d);
	}
	dirty_leave(d);
	dirty_unref(d);
	h->dirty = NULL;
}

void hold_closed(struct fs *fs, struct inode *i)
{
	struct dirty *d = NULL;

	lock_acquire(&fs->lock);
	if (--i->extra->opens == 0 && i->dirty != NULL && i->dirty->handles == 0) {
		d = i->dirty;
		d->refs++;
		dirty_detach_locked(d);
	}
	lock_release(&fs->lock);
	dirty_unref(d);
}
