/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE's operations on ranges of files, as those of ops.c. */
#include "mount_private.h"

#include <errno.h>
#include <unistd.h>

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	return h != NULL ? h->file : NULL;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi)
{
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_fallocate(file_of(fi), mode, (uint64_t)offset, (uint64_t)length, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

/* The kernel answers all but SEEK_DATA and SEEK_HOLE itself. */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct request r;
	uint64_t found;
	int rc = -EINVAL;

	request_begin(&r, req, ino);
	if (offset >= 0 && (whence == SEEK_DATA || whence == SEEK_HOLE))
		rc = fs_seek(file_of(fi), (uint64_t)offset, whence == SEEK_HOLE, &found);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_lseek(req, (off_t)found);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t offset, struct fuse_file_info *fi,
			fuse_ino_t to_ino, off_t to_offset, struct fuse_file_info *to_fi,
			size_t length, int flags)
{
	struct fs_copy ask = {.from = file_of(fi),
			      .to = file_of(to_fi),
			      .from_offset = (uint64_t)offset,
			      .to_offset = (uint64_t)to_offset,
			      .length = length};
	struct request r;
	uint64_t bytes;
	int rc;

	order_after_replies(request_mount(req), to_ino);
	request_begin(&r, req, ino);
	rc = flags == 0 ? fs_copy_range(&ask, &r.caller, &bytes) : -EINVAL;
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_write(req, (size_t)bytes);
}
