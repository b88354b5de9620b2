/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE's operations on open directories. fs/ gives one entry a call by its cookie and does not
 * consume it, so that an entry that does not fit here is simply asked for again by the kernel's
 * next request. FUSE worker threads; calls on one directory are serialised by fs/.
 */
#include "mount_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

/* An answer to readdir or readdirplus while it is filled. */
struct page {
	char *bytes;
	size_t used, size;
	uint64_t *ids; /* references that the kernel takes with the reply; NULL for readdir */
	size_t id_count;
};

static struct fs_dir *dir_of(const struct fuse_file_info *fi)
{
	return handle_of(fi)->dir;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = request_mount(req);
	struct handle *h = NULL;
	struct request r;
	struct fs_dir *dir;
	int rc;

	request_begin(&r, req, ino);
	rc = fs_opendir(m->fs, ino, &r.caller, &dir);
	request_end(&r);
	if (rc == 0)
		h = handle_open(m, NULL, dir);
	if (h == NULL) {
		reply_error(req, rc < 0 ? rc : -ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	order_before_reply(m, ino);
	if (fuse_reply_open(req, fi) < 0)
		handle_close(m, h, true); /* whoever opened it is gone */
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	order_after_replies(request_mount(req), ino);
	handle_close(request_mount(req), handle_of(fi), true);
	reply_error(req, 0);
}

static void page_finishp(struct page *p)
{
	free(p->bytes);
	free(p->ids);
}

static int page_init(struct page *p, size_t size, bool plus)
{
	size_t smallest = fuse_add_direntry_plus(NULL, NULL, 0, "", NULL, 0);

	memset(p, 0, sizeof(*p));
	p->size = size;
	p->bytes = malloc(MAX(size, (size_t)1));
	p->ids = plus ? malloc((size / smallest + 1) * sizeof(*p->ids)) : NULL;
	return p->bytes == NULL || (plus && p->ids == NULL) ? -ENOMEM : 0;
}

static bool page_add(struct page *p, fuse_req_t req, const struct fs_dirent *entry)
{
	size_t rest = p->size - p->used;
	size_t n = fuse_add_direntry(req, p->bytes + p->used, rest, entry->name, &entry->st,
				     (off_t)entry->next_offset);

	if (n > rest)
		return false;
	p->used += n;
	return true;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The same with attributes. An entry that cannot be looked up (id 0) is a plain name. */
static bool page_add_plus(struct page *p, fuse_req_t req, struct fs_dir *dir,
			  const struct fs_dirent *entry)
{
	size_t rest = p->size - p->used;
	struct fuse_entry_param param = {.attr = entry->st};
	struct fs_entry looked_up = {0};

	if (fuse_add_direntry_plus(req, NULL, 0, entry->name, NULL, 0) > rest)
		return false;
	if (!is_dot(entry->name) && fs_readdir_entry(dir, entry, &looked_up) == 0 &&
	    looked_up.id != 0) {
		param = reply_entry_param(&looked_up);
		p->ids[p->id_count++] = looked_up.id;
		order_before_reply(request_mount(req), looked_up.id);
	}
	p->used += fuse_add_direntry_plus(req, p->bytes + p->used, rest, entry->name, &param,
					  (off_t)entry->next_offset);
	return true;
}

/* 0 at the end of the page or the directory. What came before an error is worth a reply, too. */
static int page_fill(struct page *p, struct request *r, struct fs_dir *dir, uint64_t offset)
{
	struct fs_dirent entry;
	bool fits = true;
	int rc = 0;

	while (fits && (rc = fs_readdir(dir, offset, &r->caller, &entry)) > 0) {
		fits = p->ids != NULL ? page_add_plus(p, r->req, dir, &entry)
				      : page_add(p, r->req, &entry);
		offset = entry.next_offset;
	}
	return p->used > 0 ? 0 : MIN(rc, 0);
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *fi, bool plus)
{
	struct fs *fs = request_mount(req)->fs;
	__attribute__((cleanup(page_finishp))) struct page page;
	struct request r;
	int rc = page_init(&page, size, plus);

	request_begin(&r, req, ino);
	if (rc == 0)
		rc = page_fill(&page, &r, dir_of(fi), (uint64_t)offset);
	request_end(&r);
	if (rc < 0) {
		reply_error(req, rc);
		return;
	}
	if (fuse_reply_buf(req, page.bytes, page.used) < 0) {
		for (size_t i = 0; i < page.id_count; i++)
			fs_forget(fs, page.ids[i], 1); /* the kernel did not take them */
	}
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		struct fuse_file_info *fi)
{
	read_dir(req, ino, size, offset, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	read_dir(req, ino, size, offset, fi, true);
}
