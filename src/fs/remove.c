/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unlink and rmdir. A file under write is no longer published: its upload is aborted, its handles
 * work on. A directory that empties stays known to this mount until rmdir.
 *
 * FUSE threads; the kernel holds the directory, so that it is told of nothing here.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "dirty.h"
#include "gate.h"
#include "hold.h"
#include "node.h"

#define EMPTY_PAGES_MAX 100

/* A name that goes. */
struct removal {
	struct fs *fs;
	struct inode *parent; /* referenced */
	const char *name;
	size_t length;
	struct caller *caller;
	struct key_change change;
	bool changing;
	struct buf key; /* of the object; a directory's without its slash */
};

static int removal_begin(struct removal *r, struct fs *fs, uint64_t parent_id, const char *name,
			 struct caller *caller)
{
	int rc;

	*r = (struct removal){.fs = fs, .name = name, .length = strlen(name), .caller = caller};
	lock_acquire(&fs->lock);
	r->parent = inode_ref_locked(inode_from_id(fs, parent_id));
	lock_release(&fs->lock);
	if (fs->config.read_only)
		return -EROFS;
	if (fs->config.safe_delete)
		return -EPERM;
	if (r->length > NAME_MAX)
		return -ENAMETOOLONG;
	rc = change_begin(fs, &r->change, r->parent, name, &caller->cancel);
	r->changing = rc == 0;
	return rc < 0 ? rc : inode_key(fs, r->parent, name, r->length, &r->key);
}

static void removal_end(struct removal *r)
{
	if (r->changing)
		change_end(r->fs, &r->change);
	buf_finish(&r->key);
	inode_unref(r->fs, r->parent);
}

/* The living inode of the name, referenced; NULL if there is none. */
static struct inode *find(struct removal *r)
{
	struct inode *i;

	SCOPED_LOCK(&r->fs->lock);
	i = inode_find_locked(r->fs, r->parent, r->name, r->length);
	return i != NULL ? inode_ref_locked(i) : NULL;
}

void name_gone_locked(struct fs *fs, struct inode *parent, const char *name, size_t length)
{
	struct inode *i = inode_find_locked(fs, parent, name, length);

	if (i != NULL) {
		i->unlinked = true;
		inode_retire_locked(fs, i);
	}
	local_set_locked(fs, parent, name, length, LOCAL_GONE);
	inode_names_changed_locked(fs, parent);
}

int object_delete(struct fs *fs, const struct buf *key, const char *if_match, struct cancel *cancel)
{
	struct xfer_op op;
	int rc = writers_detach_source(fs->writers, key->data, key->length, cancel);

	if (rc < 0)
		return rc;
	xfer_op_init(&op, S3_DELETE_OBJECT, XFER_META);
	op.s3.key = key->data;
	op.s3.key_length = key->length;
	if (if_match != NULL)
		snprintf(op.s3.if_match, sizeof(op.s3.if_match), "%s", if_match);
	rc = xfer_run(fs->xfer, &op, cancel);
	xfer_op_finish(&op);
	return rc == -ENOENT ? 0 : rc;
}

static int unlink_run(struct removal *r)
{
	struct inode *i = find(r);
	struct held held = {.on_server = true};
	int rc = i != NULL && i->is_dir ? -EISDIR : 0;

	if (rc == 0 && i != NULL)
		rc = hold_begin(r->fs, i, &r->caller->cancel, &held);
	if (rc == 0 && held.on_server)
		rc = object_delete(r->fs, &r->key, NULL, &r->caller->cancel);
	lock_acquire(&r->fs->lock);
	if (rc == 0) {
		name_gone_locked(r->fs, r->parent, r->name, r->length);
		inode_keep_locked(r->fs, r->parent);
	}
	lock_release(&r->fs->lock);
	hold_end(&held, rc == 0);
	inode_unref(r->fs, i);
	return rc;
}

int fs_unlink(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller)
{
	struct removal r;
	int rc = removal_begin(&r, fs, parent_id, name, caller);

	if (rc == 0)
		rc = unlink_run(&r);
	removal_end(&r);
	return rc;
}

static int not_empty(const struct s3_entry *e)
{
	char shown[256];

	log_info("a directory is not empty: it holds %s",
		 text_printable(e->key, e->key_length, shown, sizeof(shown)));
	return -ENOTEMPTY;
}

/* 0 if no key but the marker itself begins with `key/`, else -ENOTEMPTY or why it is not known. */
static int check_empty(struct removal *r, const struct buf *key_slash)
{
	CLEANUP(free) char *token = NULL;
	struct xfer_op op;
	int pages, rc;

	for (pages = 0; pages < EMPTY_PAGES_MAX; pages++) {
		bool more;

		xfer_op_init(&op, S3_LIST, XFER_META);
		op.s3.prefix = key_slash->data;
		op.s3.prefix_length = key_slash->length;
		op.s3.max_keys = 2;
		op.s3.token = token;
		rc = xfer_run(r->fs->xfer, &op, &r->caller->cancel);
		for (size_t k = 0; rc == 0 && k < op.s3.page.entry_count; k++)
			if (op.s3.page.entries[k].key_length > key_slash->length)
				rc = not_empty(&op.s3.page.entries[k]);
		if (rc == 0 && op.s3.page.refused > 0)
			rc = -ENOTEMPTY;
		more = rc == 0 && op.s3.page.truncated;
		free(token);
		token = more ? strdup(op.s3.page.next_token) : NULL;
		xfer_op_finish(&op);
		if (!more)
			return rc;
		if (token == NULL)
			return -ENOMEM;
	}
	return -EIO;
}

/* Deletes `key/` and `key_$folder$`. */
static int delete_markers(struct removal *r, const struct buf *key_slash)
{
	CLEANUP(buf_finish) struct buf folder = BUF_INIT;
	struct xfer_op ops[2], *both[2] = {&ops[0], &ops[1]};
	const struct buf *keys[2] = {key_slash, &folder};
	size_t n = 2;
	int rc = buf_append(&folder, r->key.data, r->key.length);

	if (rc == 0)
		rc = buf_append_str(&folder, FOLDER_SUFFIX);
	if (rc < 0)
		return rc;
	if (folder.length > S3_KEY_MAX)
		n = 1;
	for (size_t k = 0; k < n; k++) {
		xfer_op_init(both[k], S3_DELETE_OBJECT, XFER_META);
		both[k]->s3.key = keys[k]->data;
		both[k]->s3.key_length = keys[k]->length;
	}
	rc = xfer_run_all(r->fs->xfer, both, n, &r->caller->cancel);
	for (size_t k = 0; k < n; k++) {
		if (rc == 0 && both[k]->s3.result.err != -ENOENT)
			rc = both[k]->s3.result.err;
		xfer_op_finish(both[k]);
	}
	return rc;
}

/* Posix mode: an object that is a directory by its type goes, too. */
static int delete_old_marker(struct removal *r, const struct buf *key_slash, const struct inode *i)
{
	struct fs *fs = r->fs;
	struct attrs_since since = {0};
	struct node_attr *a = NULL;
	bool own;
	int rc;

	lock_acquire(&fs->lock);
	own = i != NULL && i->dir != NULL && i->dir->own_marker;
	lock_release(&fs->lock);
	attrs_forget(fs->attrs, key_slash);
	if (own) /* mkdir has found that there is none */
		return 0;
	since.ns = fs->clock->now_ns(fs->clock);
	rc = attrs_ask(fs->attrs, &r->key, &since, &r->caller->cancel, &a);
	if (rc == 0 && a->dir_marker) {
		rc = object_delete(fs, &r->key, NULL, &r->caller->cancel);
		attrs_forget(fs->attrs, &r->key);
	}
	node_attr_unref(a);
	return rc == -EACCES ? 0 : rc;
}

static int rmdir_run(struct removal *r)
{
	CLEANUP(buf_finish) struct buf key_slash = BUF_INIT;
	struct inode *i = find(r);
	int rc = buf_append(&key_slash, r->key.data, r->key.length);

	if (rc == 0)
		rc = buf_append(&key_slash, "/", 1);
	lock_acquire(&r->fs->lock);
	if (i != NULL && !i->is_dir)
		rc = -ENOTDIR;
	else if (i != NULL && i->dir != NULL && i->dir->dirty_below > 0)
		rc = -ENOTEMPTY;
	lock_release(&r->fs->lock);
	if (rc == 0)
		rc = check_empty(r, &key_slash);
	if (rc == 0)
		rc = delete_markers(r, &key_slash);
	if (rc == 0 && r->fs->attrs != NULL)
		rc = delete_old_marker(r, &key_slash, i);
	lock_acquire(&r->fs->lock);
	if (rc == 0) {
		name_gone_locked(r->fs, r->parent, r->name, r->length);
		inode_keep_locked(r->fs, r->parent);
	}
	inode_unref_locked(r->fs, i);
	lock_release(&r->fs->lock);
	return rc;
}

int fs_rmdir(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller)
{
	struct removal r;
	int rc = removal_begin(&r, fs, parent_id, name, caller);

	if (rc == 0)
		rc = rmdir_run(&r);
	removal_end(&r);
	return rc;
}
