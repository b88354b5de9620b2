/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE's operations that change something, as those of ops.c: each decodes its request, calls fs/
 * and replies once. Without the kernel's writeback cache: a WRITE comes while write(2) waits, so
 * that it can answer ENOSPC.
 */
#include "mount_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <pailfs/cleanup.h>

static struct fs *fs_of(fuse_req_t req)
{
	return request_mount(req)->fs;
}

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	return h != NULL ? h->file : NULL;
}

void reply_new_entry(fuse_req_t req, int rc, const struct fs_entry *entry)
{
	struct fuse_entry_param param;

	if (rc < 0) {
		reply_error(req, rc);
		return;
	}
	param = reply_entry_param(entry);
	order_before_reply(request_mount(req), entry->id);
	if (fuse_reply_entry(req, &param) < 0)
		fs_forget(fs_of(req), entry->id, 1); /* the kernel did not take the reference */
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct mount *m = request_mount(req);
	struct fs_new ask = {.parent_id = parent, .name = name, .mode = mode};
	struct fuse_entry_param param;
	struct handle *h = NULL;
	struct fs_entry entry;
	struct fs_file *file;
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_create_file(m->fs, &ask, fi->flags | O_CREAT, &r.caller, &entry, &file);
	request_end(&r);
	if (rc == 0) {
		h = handle_open(m, file, NULL);
		if (h == NULL)
			fs_forget(m->fs, entry.id, 1);
	}
	if (h == NULL) {
		reply_error(req, rc < 0 ? rc : -ENOMEM);
		return;
	}
	param = reply_entry_param(&entry);
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1;
	order_before_reply(m, entry.id);
	if (fuse_reply_create(req, &param, fi) < 0) {
		handle_close(m, h, true); /* whoever made it is gone */
		fs_forget(m->fs, entry.id, 1);
	}
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fs_new ask = {.parent_id = parent, .name = name, .mode = mode, .rdev = rdev};
	struct fs_entry entry;
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_mknod(fs_of(req), &ask, &r.caller, &entry);
	request_end(&r);
	reply_new_entry(req, rc, &entry);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs_new ask = {.parent_id = parent, .name = name, .mode = mode};
	struct fs_entry entry;
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_mkdir(fs_of(req), &ask, &r.caller, &entry);
	request_end(&r);
	reply_new_entry(req, rc, &entry);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_unlink(fs_of(req), parent, name, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_rmdir(fs_of(req), parent, name, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned flags)
{
	struct fs_rename ask = {.parent_id = parent,
				.new_parent_id = new_parent,
				.name = name,
				.new_name = new_name,
				.flags = flags};
	struct request r;
	int rc;

	order_after_replies(request_mount(req), new_parent);
	request_begin(&r, req, parent);
	rc = fs_rename(fs_of(req), &ask, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	reply_error(req, -EPERM);
}

static struct fs_change change_of(const struct stat *attr, int to_set)
{
	static const struct {
		int fuse;
		unsigned ours;
	} bits[] = {
	    {FUSE_SET_ATTR_MODE, FS_SET_MODE},
	    {FUSE_SET_ATTR_UID, FS_SET_UID},
	    {FUSE_SET_ATTR_GID, FS_SET_GID},
	    {FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
	    {FUSE_SET_ATTR_MTIME, FS_SET_MTIME},
	    {FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME | FS_SET_MTIME_NOW},
	    {FUSE_SET_ATTR_ATIME, FS_SET_ATIME},
	    {FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME | FS_SET_ATIME_NOW},
	};
	struct fs_change change = {.mode = attr->st_mode,
				   .uid = attr->st_uid,
				   .gid = attr->st_gid,
				   .size = (uint64_t)attr->st_size,
				   .modified = attr->st_mtim,
				   .accessed = attr->st_atim};

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		change.set |= (to_set & bits[i].fuse) != 0 ? bits[i].ours : 0;
	return change;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct fs_change change = change_of(attr, to_set);
	struct fs_attr now;
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_setattr(fs_of(req), ino, file_of(fi), &change, &r.caller, &now);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_attr(req, &now.st, reply_seconds(now.ttl_ns));
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	      struct fuse_file_info *fi)
{
	struct fs_bytes bytes = {
	    .data = data, .pieces = channel_pieces(request_mount(req)), .length = size};
	struct fs_rest rest;
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_write(file_of(fi), (uint64_t)offset, &bytes, &r.caller, &rest);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_write(req, size);
	fs_write_rest(&rest);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_flush(file_of(fi), &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_fsync(file_of(fi), &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	reply_error(req, 0); /* names are at the server when the calls that made them return */
}
