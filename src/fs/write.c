/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, the write side: bytes and sizes go to the writer of the file's dirty state, and what
 * stat(2) shows of it is kept beside. An error other than EINTR leaves a file that is not what the
 * program meant, so nothing of it is published any more: its close(2) says the same error.
 *
 * FUSE threads; the kernel lets one at a time change a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "file.h"

#define SHOWN_BYTES 256

static int failed_before(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->failed;
}

void file_note_write(struct fs_file *f)
{
	struct dirty *d = f->dirty;

	lock_assert_held(&d->lock);
	d->written = true;
	d->killed = false;
	clock_gettime(CLOCK_REALTIME, &d->modified);
	if (f->wrote_epoch != d->epoch) {
		f->wrote_epoch = d->epoch;
		d->wrote_handles++;
	}
}

static int write_failed(struct dirty *d, int rc)
{
	char shown[SHOWN_BYTES];

	if (rc == -EINTR)
		return rc;
	log_warn("%s: a write failed, nothing of it will be published: %s",
		 dirty_shown(d, shown, sizeof(shown)), strerror(-rc));
	dirty_abort(d, rc);
	return rc;
}

int fs_write(struct fs_file *f, uint64_t offset, const void *data, size_t length,
	     struct caller *caller)
{
	struct dirty *d = f->dirty;
	int rc;

	if (d == NULL)
		return -EBADF;
	rc = failed_before(d);
	if (rc < 0)
		return rc;
	rc = writer_write(dirty_writer(d), offset, data, length, &caller->cancel);
	if (rc < 0)
		return write_failed(d, rc);
	SCOPED_LOCK(&d->lock);
	d->size = MAX(d->size, offset + length);
	d->times_given = false;
	file_note_write(f);
	return 0;
}

/* Sets the size of a file under write. f may be NULL (truncate(2) by name). */
static int resize(struct dirty *d, struct fs_file *f, uint64_t size, struct caller *caller)
{
	struct writer *w = dirty_writer(d);
	int rc = failed_before(d);

	if (rc < 0)
		return rc;
	if (size > writer_size(w))
		writer_expect(w, size);
	rc = writer_truncate(w, size, &caller->cancel);
	if (rc < 0)
		return write_failed(d, rc);
	SCOPED_LOCK(&d->lock);
	d->size = size;
	d->times_given = false;
	if (f != NULL && f->dirty == d) {
		file_note_write(f);
	} else {
		d->written = true;
		clock_gettime(CLOCK_REALTIME, &d->modified);
	}
	return 0;
}

/* truncate(2) of a file that nobody has open: an open, a resize and a close. */
static int resize_closed(struct fs *fs, struct inode *i, uint64_t size, struct caller *caller)
{
	struct fs_file *f;
	int rc = file_open_write(fs, i, O_WRONLY | (size == 0 ? O_TRUNC : 0), caller, &f);

	if (rc < 0)
		return rc;
	rc = resize(f->dirty, f, size, caller);
	if (rc == 0)
		rc = dirty_publish(f->dirty, caller);
	fs_release(f);
	return rc;
}

int file_resize(struct fs *fs, struct inode *i, struct fs_file *f, uint64_t size,
		struct caller *caller)
{
	struct dirty *d = dirty_of(fs, i);
	int rc;

	if (fs->config.read_only)
		rc = -EROFS;
	else if (d != NULL)
		rc = resize(d, f, size, caller);
	else
		rc = resize_closed(fs, i, size, caller);
	dirty_unref(d);
	return rc;
}

int fs_fallocate(struct fs_file *f, int mode, uint64_t offset, uint64_t length,
		 struct caller *caller)
{
	uint64_t end = offset + length;

	if (f->dirty == NULL)
		return -EBADF;
	if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
		return -EOPNOTSUPP;
	if (end < offset)
		return -EFBIG;
	writer_expect(dirty_writer(f->dirty), end);
	if ((mode & FALLOC_FL_KEEP_SIZE) != 0 || end <= writer_size(dirty_writer(f->dirty)))
		return 0;
	return resize(f->dirty, f, end, caller);
}
