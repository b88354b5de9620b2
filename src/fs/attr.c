/* SPDX-License-Identifier: Apache-2.0 */
/* What stat(2) shows, statfs(2), and the arithmetic of freshness. */
#include "dirty.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "node.h"

#define BLOCK_BYTES (1 * MIB) /* st_blksize: what cp reads and writes at once */
/*
 * Of a directory: with a larger one the C library asks for so many names at a time that they are
 * out of date when ls(1) gets to them, from a server that is slow to list.
 */
#define DIR_BLOCK_BYTES 4096
#define STATFS_BYTES (UINT64_C(1) << 60) /* 1 EiB: a bucket has no end */
#define STATFS_FILES (UINT64_C(1000000000000))

uint64_t time_after(uint64_t now_ns, uint64_t ttl_ns)
{
	return ttl_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + ttl_ns;
}

uint64_t time_left(uint64_t until_ns, uint64_t now_ns)
{
	if (until_ns == UINT64_MAX)
		return UINT64_MAX;
	return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void attr_common(const struct fs *fs, uint64_t ino, const struct timespec *time,
			struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = ino;
	ret->st_nlink = 1;
	ret->st_uid = fs->config.uid;
	ret->st_gid = fs->config.gid;
	ret->st_blksize = BLOCK_BYTES;
	ret->st_mtim = ret->st_ctim = ret->st_atim = *time;
}

void attr_of_object(const struct fs *fs, uint64_t ino, const struct object *o, struct stat *ret)
{
	struct timespec modified = object_modified(o);

	attr_common(fs, ino, &modified, ret);
	ret->st_mode = S_IFREG | fs->config.file_mode;
	ret->st_size = (off_t)MIN(o->size, (uint64_t)INT64_MAX);
	ret->st_blocks = (blkcnt_t)(o->size / 512 + (o->size % 512 != 0));
}

void attr_of_dir(const struct fs *fs, uint64_t ino, const struct dir_state *d, struct stat *ret)
{
	bool has_time = d != NULL && d->modified.tv_sec != 0;

	attr_common(fs, ino, has_time ? &d->modified : &fs->started, ret);
	ret->st_blksize = DIR_BLOCK_BYTES;
	ret->st_mode = S_IFDIR | fs->config.dir_mode;
}

/* In posix mode names that come and go move a directory's times, in memory. */
static void attr_of_changed_dir(const struct timespec *changed, struct stat *ret)
{
	if (changed->tv_sec == 0)
		return;
	ret->st_mtim = *changed;
	if (changed->tv_sec > ret->st_ctim.tv_sec ||
	    (changed->tv_sec == ret->st_ctim.tv_sec && changed->tv_nsec > ret->st_ctim.tv_nsec))
		ret->st_ctim = *changed;
}

void attr_of_inode_locked(const struct fs *fs, const struct inode *i, struct stat *ret)
{
	const struct node_attr *a = inode_attr(i);

	if (i->is_dir)
		attr_of_dir(fs, inode_ino(i), i->dir, ret);
	else
		attr_of_object(fs, inode_ino(i), &i->object, ret);
	if (a != NULL && (i->is_dir || i->dirty == NULL))
		attr_of_meta(fs, &a->meta, ret);
	if (i->is_dir && fs->attrs != NULL && i->dir != NULL)
		attr_of_changed_dir(&i->dir->modified, ret);
	if (!i->is_dir && i->dirty != NULL)
		attr_of_dirty_locked(i->dirty, ret);
	if (i->unlinked)
		ret->st_nlink = 0;
}

int fs_statfs(struct fs *fs, struct statvfs *ret)
{
	uint64_t bytes = fs->config.quota_bytes > 0 ? fs->config.quota_bytes : STATFS_BYTES;

	*ret = (struct statvfs){.f_bsize = BLOCK_BYTES,
				.f_frsize = BLOCK_BYTES,
				.f_blocks = bytes / BLOCK_BYTES,
				.f_bfree = bytes / BLOCK_BYTES,
				.f_bavail = bytes / BLOCK_BYTES,
				.f_files = STATFS_FILES,
				.f_ffree = STATFS_FILES,
				.f_favail = STATFS_FILES,
				.f_namemax = NAME_MAX};
	return 0;
}
