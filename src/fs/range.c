/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, ranges of them: fallocate, lseek, copy_file_range. FUSE threads; the kernel lets one
 * at a time change a file.
 *
 * Holes are told of only while nobody has the file open for reading and writing: he may have mapped
 * it, and the kernel does not write pages of a mapping back before it asks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "file.h"

#define GRAFT_BYTES_MIN (5 * MIB) /* S3 copies no smaller range */
#define GRAFT_BYTES_MAX GIB	  /* a call: the answer has 32 bits */
#define COPY_BYTES_MAX (16 * MIB) /* a call: by reading and writing */
#define COPY_STEP_BYTES MIB

/* The handle has changed the file up to end. */
static void note_change(struct fs_file *f, uint64_t end)
{
	struct dirty *d = f->dirty;

	SCOPED_LOCK(&d->lock);
	d->size = MAX(d->size, end);
	d->times_given = false;
	file_note_write(f);
}

static int zero(struct fs_file *f, uint64_t start, uint64_t end, struct caller *caller)
{
	struct dirty *d = f->dirty;
	int rc = dirty_learn(d, &caller->cancel);

	if (rc == 0)
		rc = writer_zero(dirty_writer(d), start, end, &caller->cancel);
	if (rc < 0)
		return file_write_failed(d, rc);
	note_change(f, 0);
	return 0;
}

int fs_fallocate(struct fs_file *f, int mode, uint64_t offset, uint64_t length,
		 struct caller *caller)
{
	bool keep = (mode & FALLOC_FL_KEEP_SIZE) != 0;
	int kind = mode & ~FALLOC_FL_KEEP_SIZE, rc;
	uint64_t end = offset + length, size;

	if (f->dirty == NULL)
		return -EBADF;
	if (kind != 0 && kind != FALLOC_FL_ZERO_RANGE && (kind != FALLOC_FL_PUNCH_HOLE || !keep))
		return -EOPNOTSUPP;
	if (end < offset)
		return -EFBIG;
	rc = dirty_failed(f->dirty);
	size = writer_size(dirty_writer(f->dirty));
	if (rc == 0 && kind != 0 && offset < size)
		rc = zero(f, offset, MIN(end, size), caller);
	if (rc < 0)
		return rc;
	if (!keep && end > size)
		return file_resize(f->fs, f->inode, f, end, caller);
	if (kind == 0)
		writer_expect(dirty_writer(f->dirty), end);
	return 0;
}

int fs_seek(struct fs_file *f, uint64_t offset, bool hole, uint64_t *ret)
{
	struct dirty *d = dirty_of(f->fs, f->inode);
	struct stat st;
	bool mapped;
	int rc;

	if (d != NULL) {
		lock_acquire(&d->lock);
		mapped = d->readable;
		lock_release(&d->lock);
		rc = writer_seek(dirty_writer(d), offset, hole, mapped, ret);
		dirty_unref(d);
		return rc;
	}
	lock_acquire(&f->fs->lock);
	attr_of_inode_locked(f->fs, f->inode, &st);
	lock_release(&f->fs->lock);
	if (offset >= (uint64_t)st.st_size)
		return -ENXIO;
	*ret = hole ? (uint64_t)st.st_size : offset;
	return 0;
}

/* How much there is to copy. */
static uint64_t bytes_left(const struct fs_copy *ask)
{
	struct fs_file *from = ask->from;
	struct stat st;

	SCOPED_LOCK(&from->fs->lock);
	attr_of_inode_locked(from->fs, from->inode, &st);
	if ((uint64_t)st.st_size <= ask->from_offset)
		return 0;
	return MIN(ask->length, (uint64_t)st.st_size - ask->from_offset);
}

static bool is_retired(struct fs_file *f)
{
	SCOPED_LOCK(&f->fs->lock);
	return f->inode->retired;
}

/* True if the source's bytes are those of its object there, which the handle reads, too. */
static bool is_as_stored(const struct fs_copy *ask, uint64_t length, const struct file_base *base)
{
	struct fs_file *from = ask->from;
	struct dirty *d = dirty_of(from->fs, from->inode);
	struct cache_version *version = NULL;
	uint64_t offset = ask->from_offset, n = length;
	bool same;

	if (is_retired(from)) {
		same = false; /* its key has another object, or none */
	} else if (d != NULL) {
		same = writer_in_base(dirty_writer(d), &offset, &n, &version) &&
		       offset == ask->from_offset && n == length;
	} else {
		same = file_repin(from) == 0;
		lock_acquire(&from->lock);
		version = from->version;
		cache_version_ref(version);
		lock_release(&from->lock);
	}
	same = same && version == base->version && base->etag[0] != '\0' &&
	       ask->from_offset + length <= cache_version_size(version);
	cache_version_unref(version);
	dirty_unref(d);
	return same;
}

/* Lets S3 copy it at publication. -EXDEV: that is not possible. */
static int graft(const struct fs_copy *ask, uint64_t length, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct fs_file *from = ask->from;
	struct dirty *d = ask->to->dirty;
	struct file_base base = {0};
	int rc;

	if (length < GRAFT_BYTES_MIN || from->inode == ask->to->inode)
		return -EXDEV;
	rc = inode_own_key(from->fs, from->inode, &key);
	if (rc == 0)
		rc = file_base_init(from->fs, from->inode, &base);
	if (rc == 0 && !is_as_stored(ask, length, &base))
		rc = -EXDEV;
	if (rc == 0) {
		struct graft g = {.offset = ask->to_offset,
				  .source_offset = ask->from_offset,
				  .length = length,
				  .version = base.version,
				  .key = key.data,
				  .key_length = key.length,
				  .etag = base.etag};

		rc = writer_graft(dirty_writer(d), &g, &caller->cancel);
	}
	file_base_finish(&base);
	return rc;
}

static int write_view(struct fs_file *to, uint64_t offset, const struct view *view,
		      struct caller *caller)
{
	int rc = 0;

	for (int k = 0; k < view->iov_count && rc == 0; k++) {
		struct fs_bytes bytes = {.data = view->iov[k].iov_base,
					 .length = view->iov[k].iov_len};

		rc = fs_write(to, offset, &bytes, caller, NULL);
		offset += view->iov[k].iov_len;
	}
	return rc;
}

/* Reads and writes. An error after the first bytes is left to the next call. */
static int copy_bytes(const struct fs_copy *ask, uint64_t length, struct caller *caller,
		      uint64_t *ret_bytes)
{
	uint64_t done = 0;
	int rc = 0;

	while (done < length && rc == 0) {
		size_t n = MIN(length - done, (uint64_t)COPY_STEP_BYTES);
		struct view view;

		rc = fs_read(ask->from, ask->from_offset + done, n, caller, &view);
		if (rc < 0)
			break;
		n = view.length;
		if (n > 0)
			rc = write_view(ask->to, ask->to_offset + done, &view, caller);
		view_release(&view);
		if (n == 0)
			break;
		done += rc == 0 ? n : 0;
	}
	*ret_bytes = done;
	return done > 0 ? 0 : rc;
}

int fs_copy_range(const struct fs_copy *ask, struct caller *caller, uint64_t *ret_bytes)
{
	struct dirty *d = ask->to->dirty;
	uint64_t length;
	int rc;

	*ret_bytes = 0;
	if (d == NULL)
		return -EBADF;
	rc = dirty_failed(d);
	length = rc == 0 ? MIN(bytes_left(ask), (uint64_t)GRAFT_BYTES_MAX) : 0;
	if (length == 0)
		return rc;
	rc = dirty_learn(d, &caller->cancel);
	if (rc == 0)
		rc = graft(ask, length, caller);
	if (rc == -EXDEV)
		return copy_bytes(ask, MIN(length, (uint64_t)COPY_BYTES_MAX), caller, ret_bytes);
	if (rc < 0)
		return file_write_failed(d, rc);
	note_change(ask->to, ask->to_offset + length);
	*ret_bytes = length;
	return 0;
}
