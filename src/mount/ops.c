/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE's operations on names and files: each decodes its request, calls fs/ and replies once. They
 * run on libfuse's worker threads, many at a time, and may block as long as fs/ does.
 *
 * An interrupt comes on another worker thread, while ours may be about to reply: request_end takes
 * the caller back under libfuse's lock of the request, so that it may live on our stack.
 *
 * What changes something is in ops_write.c, links and xattrs in ops_attr.c. Left out: locks (the
 * kernel's own) and ioctl.
 */
#include "mount_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define BACKGROUND_MAX 128	/* reads ahead and direct reads in flight in the kernel */
#define BACKGROUND_CONGESTED 96 /* beyond it the kernel reads no further ahead */
#define FOREVER_SECONDS 1e9

struct mount *request_mount(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct fs *fs_of(fuse_req_t req)
{
	return request_mount(req)->fs;
}

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	return h != NULL ? h->file : NULL;
}

static void interrupted(fuse_req_t req, void *caller)
{
	caller_interrupt(caller);
}

/* Asked every 250 ms by whoever waits for this request: the caller was killed, or all are gone. */
static int poll_request(struct cancel *c)
{
	struct request *r = CONTAINER_OF(c, struct request, caller.cancel);

	if (mount_is_gone(r->mount))
		return -EINTR;
	return r->caller_poll(c);
}

void request_begin(struct request *r, fuse_req_t req, fuse_ino_t ino)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	r->req = req;
	r->mount = request_mount(req);
	r->ino = ino;
	order_after_replies(r->mount, ino);
	caller_init(&r->caller, ctx->uid, ctx->gid, ctx->pid);
	r->caller_poll = r->caller.cancel.poll;
	r->caller.cancel.poll = poll_request;
	fuse_req_interrupt_func(req, interrupted, &r->caller);
}

void request_end(struct request *r)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
	order_before_reply(r->mount, r->ino);
}

void reply_error(fuse_req_t req, int err)
{
	fuse_reply_err(req, -err);
}

double reply_seconds(uint64_t ns)
{
	return ns == UINT64_MAX ? FOREVER_SECONDS : (double)ns / (double)NS_PER_S;
}

struct fuse_entry_param reply_entry_param(const struct fs_entry *entry)
{
	return (struct fuse_entry_param){
	    .ino = entry->id,
	    .generation = entry->generation,
	    .attr = entry->attr.st,
	    .attr_timeout = reply_seconds(entry->attr.ttl_ns),
	    .entry_timeout = reply_seconds(entry->entry_ttl_ns),
	};
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
				FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
				FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				FUSE_CAP_EXPLICIT_INVAL_DATA;

	/*
	 * Set, not added: libfuse asks for AUTO_INVAL_DATA, which would drop pages whenever a size
	 * or time moves, and for splicing, which is slower than writev from our blocks. Without
	 * CACHE_SYMLINKS: a target that is metadata changes, and the node does not.
	 */
	conn->want = conn->capable & wanted;
	conn->max_write = REQUEST_DATA_BYTES; /* sets the largest READ, too */
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_CONGESTED;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct request r;
	struct fs_entry entry;
	struct fuse_entry_param param;
	int rc;

	request_begin(&r, req, parent);
	rc = fs_lookup(fs, parent, name, &r.caller, &entry);
	request_end(&r);
	if (rc < 0) {
		reply_error(req, rc);
		return;
	}
	param = reply_entry_param(&entry);
	order_before_reply(request_mount(req), entry.id);
	if (fuse_reply_entry(req, &param) < 0 && entry.id != 0)
		fs_forget(fs, entry.id, 1); /* the kernel did not take the reference */
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	order_after_replies(request_mount(req), ino);
	fs_forget(fs_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++) {
		order_after_replies(request_mount(req), forgets[i].ino);
		fs_forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r;
	struct fs_attr attr;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_getattr(fs_of(req), ino, file_of(fi), &r.caller, &attr);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_attr(req, &attr.st, reply_seconds(attr.ttl_ns));
}

/* Not asked with default_permissions, which every mount has; right all the same. */
static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct request r;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_access(fs_of(req), ino, mask, &r.caller);
	request_end(&r);
	reply_error(req, rc);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int rc = fs_statfs(fs_of(req), &st);

	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_statfs(req, &st);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = request_mount(req);
	struct handle *h = NULL;
	struct request r;
	struct fs_file *file;
	bool keep_cache;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_open(m->fs, ino, fi->flags, &r.caller, &file, &keep_cache);
	request_end(&r);
	if (rc == 0)
		h = handle_open(m, file, NULL);
	if (h == NULL) {
		reply_error(req, rc < 0 ? rc : -ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	order_before_reply(m, ino);
	fi->keep_cache = keep_cache;
	fi->noflush = (fi->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
	if (fuse_reply_open(req, fi) < 0)
		handle_close(m, h, true); /* whoever opened it is gone */
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct request r;
	struct view view = {0};
	int rc;

	request_begin(&r, req, ino);
	rc = fs_read(file_of(fi), (uint64_t)offset, size, &r.caller, &view);
	request_end(&r);
	if (rc < 0)
		reply_error(req, rc);
	else
		fuse_reply_iov(req, view.iov, view.iov_count);
	view_release(&view);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	order_after_replies(request_mount(req), ino);
	handle_close(request_mount(req), handle_of(fi), true);
	reply_error(req, 0);
}

const struct fuse_lowlevel_ops *mount_ops(void)
{
	static const struct fuse_lowlevel_ops ops = {
	    .init = op_init,
	    .lookup = op_lookup,
	    .forget = op_forget,
	    .forget_multi = op_forget_multi,
	    .getattr = op_getattr,
	    .access = op_access,
	    .statfs = op_statfs,
	    .open = op_open,
	    .read = op_read,
	    .release = op_release,
	    .opendir = op_opendir,
	    .readdir = op_readdir,
	    .readdirplus = op_readdirplus,
	    .releasedir = op_releasedir,
	    .setattr = op_setattr,
	    .mknod = op_mknod,
	    .mkdir = op_mkdir,
	    .unlink = op_unlink,
	    .rmdir = op_rmdir,
	    .symlink = op_symlink,
	    .readlink = op_readlink,
	    .getxattr = op_getxattr,
	    .setxattr = op_setxattr,
	    .listxattr = op_listxattr,
	    .removexattr = op_removexattr,
	    .rename = op_rename,
	    .link = op_link,
	    .create = op_create,
	    .write = op_write,
	    .fallocate = op_fallocate,
	    .lseek = op_lseek,
	    .copy_file_range = op_copy_file_range,
	    .flush = op_flush,
	    .fsync = op_fsync,
	    .fsyncdir = op_fsyncdir,
	};

	return &ops;
}
