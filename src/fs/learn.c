/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object that is changed in place is published with: asked when the first byte changes, so
 * that opening it for writing costs nothing. One HeadObject, and GetObjectTagging where there are
 * tags. FUSE threads; no lock is held while they wait.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "dirty.h"

/* Without the right to read its tags: none, told once. */
static int ask_kept_tags(struct fs *fs, const struct buf *key, struct cancel *cancel, char **ret)
{
	int rc = ask_tags(fs, key, cancel, ret);

	if (rc != -EACCES)
		return rc;
	if (fs_first_time(fs, ONCE_TAGS))
		log_warn("objects that are changed lose their tags: the keys lack "
			 "s3:GetObjectTagging");
	return 0;
}

/* -ENOENT: somebody has removed it. */
static int ask_kept(struct fs *fs, const struct buf *key, struct cancel *cancel, struct kept **ret)
{
	CLEANUP(free) char *tagging = NULL;
	struct xfer_op head;
	int rc = ask_attributes(fs, key, cancel, &head);

	if (rc == 0 && head.s3.tag_count > 0)
		rc = ask_kept_tags(fs, key, cancel, &tagging);
	if (rc == 0)
		rc = kept_create(&head.s3.found, tagging, ret);
	xfer_op_finish(&head);
	return rc;
}

int dirty_learn(struct dirty *d, struct cancel *cancel)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct kept *kept = NULL;
	struct inode *i;
	bool wanted;
	int rc;

	lock_acquire(&d->fs->lock);
	i = d->inode;
	lock_acquire(&d->lock);
	wanted = d->unlearnt && !d->unlinked && i != NULL;
	lock_release(&d->lock);
	lock_release(&d->fs->lock);
	if (!wanted)
		return 0;
	rc = inode_own_key(d->fs, i, &key);
	if (rc == 0)
		rc = ask_kept(d->fs, &key, cancel, &kept);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc; /* publication will find that out */
	lock_acquire(&d->lock);
	if (d->unlearnt) {
		d->unlearnt = false;
		SWAP(d->kept, kept);
	}
	lock_release(&d->lock);
	kept_unref(kept);
	return dirty_meta_changed(d);
}
