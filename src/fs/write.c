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
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "conditions.h"
#include "file.h"

#define SHOWN_BYTES 256
#define PROBE_AT_BYTES (16 * MIB) /* a close that will need the server's conditions may come */

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

static bool is_conditional(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->condition != PUBLISH_ALWAYS;
}

int file_write_failed(struct dirty *d, int rc)
{
	char shown[SHOWN_BYTES];

	if (rc == -EINTR)
		return rc;
	log_warn("%s: a write failed, nothing of it will be published: %s",
		 dirty_shown(d, shown, sizeof(shown)), strerror(-rc));
	dirty_abort(d, rc);
	return rc;
}

void fs_write_rest(struct fs_rest *rest)
{
	if (rest->writer != NULL)
		writer_send_rest(rest->writer, rest->start, rest->end);
}

void *fs_piece_get(struct fs *fs)
{
	return writers_piece_get(fs->writers);
}

void fs_piece_put(struct fs *fs, void *piece)
{
	writers_piece_put(fs->writers, piece);
}

int fs_write(struct fs_file *f, uint64_t offset, const struct fs_bytes *bytes,
	     struct caller *caller, struct fs_rest *ret_rest)
{
	struct dirty *d = f->dirty;
	bool rest = false;
	int rc;

	if (ret_rest != NULL)
		ret_rest->writer = NULL;
	if (d == NULL)
		return -EBADF;
	rc = dirty_failed(d);
	if (rc < 0)
		return rc;
	rc = dirty_learn(d, &caller->cancel);
	if (rc == 0)
		rc = writer_write(dirty_writer(d), offset, bytes, &caller->cancel,
				  ret_rest != NULL ? &rest : NULL);
	if (rest)
		*ret_rest = (struct fs_rest){dirty_writer(d), offset, offset + bytes->length};
	if (rc < 0)
		return file_write_failed(d, rc);
	if (offset + bytes->length >= PROBE_AT_BYTES && is_conditional(d))
		conditions_begin(f->fs);
	SCOPED_LOCK(&d->lock);
	d->size = MAX(d->size, offset + bytes->length);
	d->times_given = false;
	file_note_write(f);
	return 0;
}

/* Sets the size of a file under write. */
static int resize(struct dirty *d, struct fs_file *f, uint64_t size, struct caller *caller)
{
	struct writer *w = dirty_writer(d);
	int rc = dirty_failed(d);

	if (rc < 0)
		return rc;
	rc = dirty_learn(d, &caller->cancel);
	if (rc == 0 && size > writer_size(w))
		writer_expect(w, size);
	if (rc == 0)
		rc = writer_truncate(w, size, &caller->cancel);
	if (rc == -EFBIG)
		return rc; /* nothing has changed, and nothing of what is meant to be there lacks */
	if (rc < 0)
		return file_write_failed(d, rc);
	SCOPED_LOCK(&d->lock);
	d->size = size;
	d->times_given = false;
	file_note_write(f);
	return 0;
}

/* True if nobody else's close is to publish what this handle changes. */
static bool is_alone(struct fs_file *f, bool was_clean)
{
	SCOPED_LOCK(&f->fs->lock);
	return was_clean || f->dirty->handles == 1;
}

/*
 * truncate(2): an open, a resize and a close. It has a handle of its own, so that the last one of
 * somebody else, who is closing it, does not take the change along. What others have written and
 * not published, they publish.
 */
static int resize_by_name(struct fs *fs, struct inode *i, uint64_t size, struct caller *caller)
{
	struct fs_file *f;
	bool was_clean;
	int rc = file_open_write(fs, i, O_WRONLY, caller, &f);

	if (rc < 0)
		return rc;
	was_clean = !writer_is_dirty(dirty_writer(f->dirty));
	rc = resize(f->dirty, f, size, caller);
	if (rc == 0 && is_alone(f, was_clean))
		rc = dirty_publish(f->dirty, caller);
	fs_release(f);
	return rc;
}

int file_resize(struct fs *fs, struct inode *i, struct fs_file *f, uint64_t size,
		struct caller *caller)
{
	if (fs->config.read_only)
		return -EROFS;
	if (f != NULL && f->dirty != NULL)
		return resize(f->dirty, f, size, caller);
	return resize_by_name(fs, i, size, caller);
}
