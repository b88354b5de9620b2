/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handles that the kernel holds. It does not always give them back: of four files that were
 * closed just before an unmount, one RELEASE arrived (measured). When /dev/fuse ends, every handle
 * counts as released, and what it has written is published; when we end the loop of a busy mount,
 * what is left is open, and is given up. FUSE worker threads; fs/ is never called under the lock.
 */
#include "mount_private.h"

#include <stdlib.h>

#include <pailfs/cleanup.h>

struct handle *handle_of(const struct fuse_file_info *fi)
{
	return fi != NULL ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

static void close_both(struct fs_file *file, struct fs_dir *dir, bool publish)
{
	if (publish)
		fs_release(file);
	else
		fs_discard(file);
	fs_releasedir(dir);
}

struct handle *handle_open(struct mount *m, struct fs_file *file, struct fs_dir *dir)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		close_both(file, dir, true);
		return NULL;
	}
	h->file = file;
	h->dir = dir;
	SCOPED_LOCK(&m->handles_lock);
	TAILQ_INSERT_TAIL(&m->handles, h, link);
	return h;
}

void handle_close(struct mount *m, struct handle *h, bool publish)
{
	lock_acquire(&m->handles_lock);
	TAILQ_REMOVE(&m->handles, h, link);
	lock_release(&m->handles_lock);
	close_both(h->file, h->dir, publish);
	free(h);
}

void handles_close_all(struct mount *m)
{
	bool publish = mount_is_gone(m);

	while (!TAILQ_EMPTY(&m->handles)) /* no other thread is left */
		handle_close(m, TAILQ_FIRST(&m->handles), publish);
}
