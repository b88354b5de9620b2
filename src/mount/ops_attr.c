/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE's operations on symbolic links and extended attributes, as those of ops.c: each decodes its
 * request, calls fs/ and replies once.
 */
#include "mount_private.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/buf.h>
#include <pailfs/cleanup.h>

static struct fs *fs_of(fuse_req_t req)
{
	return request_mount(req)->fs;
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs_new ask = {.parent_id = parent, .name = name};
	struct fs_entry entry;
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_symlink(fs_of(req), &ask, target, &r.caller, &entry);
	request_end(&r);
	reply_new_entry(req, rc, &entry);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP(free) char *target = NULL;
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_readlink(fs_of(req), ino, &r.caller, &target);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_readlink(req, target);
}

/* Bytes, or with size 0 how many there are. */
static void reply_sized(fuse_req_t req, int rc, const struct buf *bytes, size_t size)
{
	if (rc < 0)
		reply_error(req, rc);
	else if (size == 0)
		fuse_reply_xattr(req, bytes->length);
	else if (size < bytes->length)
		reply_error(req, -ERANGE);
	else
		fuse_reply_buf(req, bytes->data, bytes->length);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	CLEANUP(buf_finish) struct buf value = BUF_INIT;
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_getxattr(fs_of(req), ino, name, &r.caller, &value);
	request_end(&r);
	reply_sized(req, rc, &value, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	CLEANUP(buf_finish) struct buf names = BUF_INIT;
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_listxattr(fs_of(req), ino, &r.caller, &names);
	request_end(&r);
	reply_sized(req, rc, &names, size);
}

static void set(fuse_req_t req, fuse_ino_t ino, const struct fs_setxattr *ask)
{
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_setxattr(fs_of(req), ino, ask, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct fs_setxattr ask = {.name = name, .value = value, .length = size, .flags = flags};

	set(req, ino, &ask);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs_setxattr ask = {.name = name};

	set(req, ino, &ask);
}
