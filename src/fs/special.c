/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are made and published at once: mknod's, and symbolic links, whose bytes are their
 * target (s3fs, AWS); read are geesefs' links, too, whose target is metadata. FUSE threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "file.h"
#include "node.h"

/* Makes it, with those bytes. */
static int make_whole(struct fs *fs, const struct fs_new *ask, const char *bytes,
		      struct caller *caller, struct fs_entry *ret)
{
	struct fs_file *f;
	size_t length = strlen(bytes);
	int rc = fs_create_file(fs, ask, O_WRONLY | O_CREAT | O_EXCL, caller, ret, &f);

	if (rc < 0)
		return rc;
	if (length > 0)
		rc = fs_write(f, 0, &(struct fs_bytes){.data = bytes, .length = length}, caller,
			      NULL);
	if (rc == 0)
		rc = dirty_publish(f->dirty, caller);
	lock_acquire(&fs->lock);
	attr_of_inode_locked(fs, f->inode, &ret->attr.st);
	lock_release(&fs->lock);
	f->mute = true; /* the kernel holds the directory */
	fs_release(f);
	if (rc < 0)
		fs_forget(fs, ret->id, 1);
	return rc;
}

int fs_mknod(struct fs *fs, const struct fs_new *ask, struct caller *caller, struct fs_entry *ret)
{
	if (!S_ISREG(ask->mode) && (ask->mode & S_IFMT) != 0 && fs->attrs == NULL)
		return -EPERM;
	return make_whole(fs, ask, "", caller, ret);
}

int fs_symlink(struct fs *fs, const struct fs_new *ask, const char *target, struct caller *caller,
	       struct fs_entry *ret)
{
	struct fs_new link = {
	    .parent_id = ask->parent_id, .name = ask->name, .mode = S_IFLNK | 0777};

	if (fs->attrs == NULL)
		return -EPERM;
	return make_whole(fs, &link, target, caller, ret);
}

/* A target that is metadata: *ret, or NULL if it is the bytes. -EINVAL: no link. */
static int target_of_meta(struct fs *fs, struct inode *i, char **ret)
{
	const struct node_attr *a;
	const char *target;
	struct stat st;
	long n;

	*ret = NULL;
	SCOPED_LOCK(&fs->lock);
	attr_of_inode_locked(fs, i, &st);
	if (!S_ISLNK(st.st_mode))
		return -EINVAL;
	a = inode_attr(i);
	target = a != NULL ? a->meta.target : NULL;
	if (target == NULL || i->object.size > 0)
		return 0;
	*ret = malloc(strlen(target) + 1);
	if (*ret == NULL)
		return -ENOMEM;
	n = text_url_decode(target, strlen(target), false, *ret);
	if (n < 0)
		strcpy(*ret, target);
	else
		(*ret)[n] = '\0';
	return 0;
}

static int target_of_bytes(struct fs *fs, uint64_t id, struct caller *caller, char **ret)
{
	CLEANUP(buf_finish) struct buf text = BUF_INIT;
	struct fs_file *f;
	struct view view;
	bool keep_cache;
	int rc = fs_open(fs, id, O_RDONLY, caller, &f, &keep_cache);

	if (rc < 0)
		return rc;
	rc = fs_read(f, 0, PATH_MAX, caller, &view);
	for (int k = 0; rc == 0 && k < view.iov_count; k++)
		rc = buf_append(&text, view.iov[k].iov_base, view.iov[k].iov_len);
	view_release(&view);
	fs_release(f);
	if (rc < 0)
		return rc;
	*ret = buf_take(&text);
	return *ret != NULL ? 0 : -ENOMEM;
}

int fs_readlink(struct fs *fs, uint64_t id, struct caller *caller, char **ret)
{
	struct inode *i = inode_from_id(fs, id);
	int rc = inode_validate(fs, i, caller);

	if (rc == 0)
		rc = inode_know(fs, i, fs->clock->now_ns(fs->clock), caller);
	if (rc == 0)
		rc = target_of_meta(fs, i, ret);
	if (rc < 0 || *ret != NULL)
		return rc;
	return target_of_bytes(fs, id, caller, ret);
}
