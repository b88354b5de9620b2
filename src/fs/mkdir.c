/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkdir: a marker `dir/` of 0 bytes, put with If-None-Match: *, so that of two clients one makes
 * it. What else may be there (a file of that name, keys below it) is asked first, unless the
 * kernel's lookup has just done so. FUSE threads; the kernel holds the directory.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "conditions.h"
#include "gate.h"
#include "inode.h"
#include "marker.h"
#include "node.h"
#include "upload.h"

#define META_MAX 16 /* of a marker, the nonce with it */

/* A lost answer, then "it exists": true if the one that is there carries our nonce. */
static bool is_ours(struct fs *fs, const struct buf *key_slash, const char *nonce,
		    struct cancel *cancel)
{
	struct xfer_op op;
	bool ours = false;

	xfer_op_init(&op, S3_HEAD_OBJECT, XFER_META);
	op.s3.key = key_slash->data;
	op.s3.key_length = key_slash->length;
	op.s3.want_attributes = true;
	op.quiet = true;
	if (xfer_run(fs->xfer, &op, cancel) == 0)
		for (unsigned i = 0; i < op.s3.found.meta_count; i++)
			ours |= strcmp(op.s3.found.meta[i].name, NONCE_META) == 0 &&
				strcmp(op.s3.found.meta[i].value, nonce) == 0;
	xfer_op_finish(&op);
	return ours;
}

int marker_put(struct fs *fs, const struct buf *key_slash, const struct marker *marker,
	       struct cancel *cancel)
{
	struct s3_meta meta[META_MAX];
	char nonce[NONCE_BYTES] = "";
	unsigned count = marker->meta_count;
	struct xfer_op op;
	bool with_nonce = marker->only_new && count < META_MAX;
	int rc = with_nonce ? upload_nonce(nonce) : 0;

	if (rc < 0)
		return rc;
	if (with_nonce) {
		if (count > 0)
			memcpy(meta, marker->meta, count * sizeof(meta[0]));
		meta[count++] = (struct s3_meta){.name = NONCE_META, .value = nonce};
	}
	xfer_op_init(&op, S3_PUT_OBJECT, XFER_META);
	op.s3.key = key_slash->data;
	op.s3.key_length = key_slash->length;
	op.s3.attributes.content_type = MARKER_CONTENT_TYPE;
	op.s3.attributes.meta = with_nonce ? meta : marker->meta;
	op.s3.attributes.meta_count = count;
	op.s3.attributes.sse = fs->config.sse;
	op.s3.attributes.sse_kms_key_id = fs->config.sse_kms_key_id;
	op.s3.attributes.acl = fs->config.acl;
	op.s3.if_none_match_any = marker->only_new;
	rc = xfer_run(fs->xfer, &op, cancel);
	if (rc == -EEXIST && with_nonce && op.s3.ambiguous && is_ours(fs, key_slash, nonce, cancel))
		rc = 0;
	xfer_op_finish(&op);
	return rc;
}

/* A directory on its way. */
struct making {
	struct fs *fs;
	struct inode *parent; /* referenced */
	const struct fs_new *ask;
	struct caller *caller;
	struct file_meta meta; /* posix mode */
	uint64_t absent_ns;    /* S3 had nothing of it, as of then; 0: not known when */
};

static uint64_t take_absent(const struct making *m)
{
	SCOPED_LOCK(&m->fs->lock);
	return local_was_absent_locked(m->fs, m->parent, m->ask->name, strlen(m->ask->name));
}

/* -EEXIST if there is anything of that name. */
static int check_absent(struct making *m)
{
	struct fs_entry entry;
	int rc;

	m->absent_ns = take_absent(m);
	if (m->absent_ns > 0)
		return 0;
	rc = fs_lookup(m->fs, inode_id(m->fs, m->parent), m->ask->name, m->caller, &entry);
	if (rc == -ENOENT || (rc == 0 && entry.id == 0)) {
		m->absent_ns = take_absent(m);
		return 0;
	}
	if (rc == 0)
		fs_forget(m->fs, entry.id, 1);
	return rc == 0 ? -EEXIST : rc;
}

static int make(struct making *m)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct marker marker = {.only_new = true};
	const char *name = m->ask->name;
	struct inode *parent = m->parent;
	struct caller *caller = m->caller;
	struct fs *fs = m->fs;
	struct meta_text text;
	struct honoured unused;
	int rc = inode_key(fs, parent, name, strlen(name), &key);

	if (rc == 0)
		rc = buf_append(&key, "/", 1);
	if (rc == 0 && key.length > S3_KEY_MAX)
		rc = -ENAMETOOLONG;
	if (rc == 0)
		rc = check_absent(m);
	if (rc == 0)
		rc = conditions_learn(fs, &caller->cancel, &unused);
	if (fs->attrs != NULL) {
		file_meta_format(&m->meta, fs_dialect(fs), &text);
		marker.meta = text.meta;
		marker.meta_count = text.count;
	}
	if (rc == 0)
		rc = marker_put(fs, &key, &marker, &caller->cancel);
	if (rc == 0 && fs->attrs != NULL)
		attrs_forget(fs->attrs, &key);
	return rc;
}

/* What is new is empty: as if it had been listed when S3 was asked for its name. Names may only be
 * found missing from memory with negative_ttl, so else it is of no use. */
static void know_empty_locked(const struct making *m, struct inode *i)
{
	struct s3_page nothing = {0};
	struct names_page *page;

	if (m->fs->config.negative_ttl_ns == 0 || m->absent_ns == 0 ||
	    names_page_create(&nothing, 0, "", 0, m->absent_ns, &page) < 0)
		return;
	inode_add_names_locked(m->fs, i, page, false);
	names_page_unref(page);
}

static int enter(const struct making *m, struct fs_entry *ret)
{
	struct fs *fs = m->fs;
	struct inode *parent = m->parent;
	const char *name = m->ask->name;
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	uint64_t until_ns = time_after(now_ns, fs->config.metadata_ttl_ns);
	size_t length = strlen(name);
	struct inode *i;

	SCOPED_LOCK(&fs->lock);
	i = inode_refresh_locked(fs, parent, name, length, NULL, until_ns);
	if (i == NULL)
		return -ENOMEM;
	if (inode_dir_locked(fs, i) == NULL) {
		inode_unref_locked(fs, i);
		return -ENOMEM;
	}
	i->dir->own_marker = true;
	know_empty_locked(m, i);
	clock_gettime(CLOCK_REALTIME, &i->dir->modified);
	if (fs->attrs != NULL) {
		i->dir->modified = (struct timespec){0};
		inode_own_attr_locked(fs, i, &m->meta);
		inode_names_changed_locked(fs, parent);
	}
	local_set_locked(fs, parent, name, length, LOCAL_DIR);
	inode_proven_locked(fs, parent, now_ns);
	inode_fill_entry_locked(fs, i, now_ns, until_ns, ret);
	inode_unref_locked(fs, i);
	return 0;
}

int fs_mkdir(struct fs *fs, const struct fs_new *ask, struct caller *caller, struct fs_entry *ret)
{
	struct making m = {.fs = fs, .ask = ask, .caller = caller};
	struct key_change change;
	int rc;

	if (fs->config.read_only)
		return -EROFS;
	if (strlen(ask->name) > NAME_MAX)
		return -ENAMETOOLONG;
	lock_acquire(&fs->lock);
	m.parent = inode_ref_locked(inode_from_id(fs, ask->parent_id));
	new_meta_locked(fs, m.parent, S_IFDIR | (ask->mode & 07777), caller, &m.meta);
	lock_release(&fs->lock);
	rc = change_begin(fs, &change, m.parent, ask->name, &caller->cancel);
	if (rc == 0) {
		rc = make(&m);
		if (rc == 0)
			rc = enter(&m, ret);
		change_end(fs, &change);
	}
	inode_unref(fs, m.parent);
	return rc;
}
