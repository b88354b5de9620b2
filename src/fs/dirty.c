/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes under write: made, counted, described, ended. FUSE threads. Publication is in publish.c.
 */
#include "dirty.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "file.h"
#include "mime.h"
#include "node.h"
#include "upload.h"

/* In posix mode a file that is overwritten or changed goes on with its owner, mode and xattrs. */
static int dirty_init_posix(struct dirty *d, const struct dirty_config *config)
{
	if (d->fs->attrs == NULL || config->meta == NULL)
		return 0;
	if (config->base != NULL)
		d->modified = config->meta->mtime;
	SCOPED_LOCK(&d->lock);
	return dirty_posix_set_locked(d, config->meta);
}

int dirty_create(struct fs *fs, const struct dirty_config *config, struct dirty **ret)
{
	const char *type = mime_type(fs->mime, config->name, config->name_length);
	const struct file_base *base = config->base;
	struct dirty *d = calloc(1, sizeof(*d));
	int rc;

	if (d == NULL)
		return -ENOMEM;
	d->fs = fs;
	d->refs = 1;
	d->exclusive = config->exclusive;
	d->condition = config->condition;
	d->on_server = config->on_server;
	d->readable = config->readable;
	d->epoch = 1;
	if (base != NULL) {
		d->size = base->object.size;
		d->modified = object_modified(&base->object);
		d->published = d->unlearnt = true;
	} else {
		clock_gettime(CLOCK_REALTIME, &d->modified);
	}
	lock_init(&d->lock, LOCK_INODE);
	cond_init(&d->cond);
	rc = dirty_init_posix(d, config);
	if (type == NULL)
		type = fs->config.content_type;
	if (type != NULL)
		d->content_type = strdup(type);
	if (type != NULL && d->content_type == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = writer_create(fs->writers, config->key->data, config->key->length,
				   base != NULL ? base->version : NULL,
				   base != NULL ? base->etag : NULL, config->readable, &d->writer);
	if (rc == 0)
		rc = dirty_meta_changed(d);
	if (rc < 0) {
		dirty_unref(d);
		return rc;
	}
	*ret = d;
	return 0;
}

void dirty_attach_locked(struct dirty *d, struct inode *i)
{
	struct fs *fs = d->fs;

	d->inode = i;
	d->refs++;
	i->dirty = d;
	i->delivered = true; /* what is written goes through the kernel's pages */
	inode_count_dirty_locked(fs, i->parent, 1);
	TAILQ_INSERT_TAIL(&fs->dirties, d, link);
}

void dirty_detach_locked(struct dirty *d)
{
	struct fs *fs = d->fs;

	if (!d->inode->retired)
		inode_count_dirty_locked(fs, d->inode->parent, -1);
	TAILQ_REMOVE(&fs->dirties, d, link);
	d->inode->dirty = NULL;
	d->inode = NULL;
	d->refs--;
}

struct dirty *dirty_of(struct fs *fs, struct inode *i)
{
	SCOPED_LOCK(&fs->lock);
	if (i->is_dir || i->dirty == NULL)
		return NULL;
	i->dirty->refs++;
	return i->dirty;
}

void dirty_unref(struct dirty *d)
{
	bool last;

	if (d == NULL)
		return;
	lock_acquire(&d->fs->lock);
	last = --d->refs == 0;
	lock_release(&d->fs->lock);
	if (!last)
		return;
	writer_destroy(d->writer);
	cond_finish(&d->cond);
	lock_finish(&d->lock);
	free(d->content_type);
	free((char *)(uintptr_t)d->meta.xattr);
	kept_unref(d->kept);
	free(d);
}

int dirty_failed(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->failed;
}

struct writer *dirty_writer(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->writer;
}

int dirty_enter(struct dirty *d, struct cancel *cancel)
{
	int rc = 0;

	SCOPED_LOCK(&d->lock);
	while (d->entered && rc == 0)
		rc = cond_wait_cancel(&d->cond, &d->lock, UINT64_MAX, cancel);
	if (rc == 0)
		d->entered = true;
	return rc;
}

void dirty_leave(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	d->entered = false;
	cond_broadcast(&d->cond);
}

int dirty_follow(struct dirty *d)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct inode *i;
	int rc;

	lock_acquire(&d->fs->lock);
	i = d->inode != NULL && !d->inode->retired ? inode_ref_locked(d->inode) : NULL;
	lock_release(&d->fs->lock);
	if (i == NULL)
		return 0;
	rc = inode_own_key(d->fs, i, &key);
	inode_unref(d->fs, i);
	if (rc == 0 && !writer_has_key(dirty_writer(d), key.data, key.length))
		rc = writer_rename(dirty_writer(d), key.data, key.length);
	return rc == -EBUSY ? -ESTALE : rc; /* its object has moved, too: it is opened again */
}

/* Room for metadata of our own: names and values that replace what the object had. */
static char *own_meta(struct dirty_meta *m, const char *name)
{
	unsigned n = m->own++;

	m->meta[n] = (struct s3_meta){.name = name, .value = m->texts[n]};
	return m->texts[n];
}

static void fill_own_locked(const struct dirty *d, struct dirty_meta *m)
{
	size_t size = sizeof(m->texts[0]);

	meta_format_time(&d->modified, own_meta(m, META_MTIME), size);
	if (d->mode_given)
		snprintf(own_meta(m, META_MODE), size, "%u", d->mode);
	if (d->owner_given) {
		snprintf(own_meta(m, META_UID), size, "%u", d->uid);
		snprintf(own_meta(m, META_GID), size, "%u", d->gid);
	}
}

/* What the object had: all but what is replaced, and the mark of its last publication. */
static void fill_kept(struct dirty_meta *m, bool posix)
{
	const struct s3_attributes *had = &m->kept->attributes;
	unsigned count = m->own;

	for (unsigned k = 0; k < had->meta_count; k++) {
		bool replaced = strcmp(had->meta[k].name, NONCE_META) == 0 ||
				(posix && file_meta_knows(had->meta[k].name));

		for (unsigned n = 0; n < m->own; n++)
			replaced = replaced || strcmp(had->meta[k].name, m->meta[n].name) == 0;
		if (!replaced)
			m->meta[count++] = had->meta[k];
	}
	m->attr.meta_count = count;
	m->attr.content_type = had->content_type;
	m->attr.kept = m->kept;
}

int dirty_meta_fill(struct dirty *d, struct dirty_meta *ret)
{
	SCOPED_LOCK(&d->lock);
	*ret = (struct dirty_meta){.kept = kept_ref(d->kept)};
	ret->meta = calloc(DIRTY_META_OWN + (d->kept != NULL ? d->kept->attributes.meta_count : 0),
			   sizeof(*ret->meta));
	if (ret->meta == NULL)
		return -ENOMEM;
	if (d->fs->attrs == NULL)
		fill_own_locked(d, ret);
	else if (dirty_posix_fill_locked(d, ret) < 0)
		return -ENOMEM;
	ret->attr = (struct publish_attr){
	    .content_type = d->content_type, .meta = ret->meta, .meta_count = ret->own};
	if (ret->kept != NULL)
		fill_kept(ret, d->fs->attrs != NULL);
	return 0;
}

void dirty_meta_finish(struct dirty_meta *m)
{
	free(m->meta);
	free(m->xattr);
	kept_unref(m->kept);
}

int dirty_meta_changed(struct dirty *d)
{
	struct dirty_meta meta;
	int rc = dirty_meta_fill(d, &meta);

	if (rc == 0)
		rc = writer_set_attr(dirty_writer(d), &meta.attr);
	dirty_meta_finish(&meta);
	return rc;
}

bool dirty_keeps_changes(struct dirty *d)
{
	SCOPED_LOCK(&d->lock);
	return d->failed < 0 || d->unlinked || writer_is_dirty(d->writer);
}

int dirty_key(struct dirty *d, struct buf *ret)
{
	struct inode *i;
	int rc;

	lock_acquire(&d->fs->lock);
	i = d->inode;
	lock_release(&d->fs->lock);
	if (i == NULL)
		return 0;
	rc = inode_own_key(d->fs, i, ret);
	return rc < 0 ? rc : 1;
}

int dirty_rebase(struct dirty *d, const struct object *object)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct cache_version *version = NULL;
	struct kept *old = NULL;
	char etag[S3_ETAG_MAX];
	int rc = dirty_key(d, &key);

	if (rc == 0)
		return 0;
	if (rc > 0)
		rc = cache_version_get(d->fs->cache, key.data, key.length,
				       etag_text(&object->etag, etag), object->size, &version);
	if (rc == 0)
		rc = writer_rebase(dirty_writer(d), version, etag);
	cache_version_unref(version);
	lock_acquire(&d->lock);
	SWAP(d->kept, old);
	d->unlearnt = true; /* the copy may have changed it */
	lock_release(&d->lock);
	kept_unref(old);
	return rc;
}

bool inode_is_written_locked(const struct inode *i)
{
	struct dirty *d = i->is_dir ? NULL : i->dirty;

	if (d == NULL)
		return false;
	SCOPED_LOCK(&d->lock);
	return d->failed < 0 || d->settling || writer_is_dirty(d->writer);
}

void attr_of_dirty_locked(struct dirty *d, struct stat *ret)
{
	struct file_meta meta;

	SCOPED_LOCK(&d->lock);
	ret->st_size = (off_t)d->size;
	ret->st_blocks = (blkcnt_t)(d->size / 512 + (d->size % 512 != 0));
	ret->st_mtim = ret->st_ctim = ret->st_atim = d->modified;
	if (d->fs->attrs == NULL)
		return;
	dirty_posix_meta_locked(d, &meta);
	attr_of_meta(d->fs, &meta, ret);
}

const char *dirty_shown(struct dirty *d, char *dst, size_t size)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;

	if (dirty_key(d, &key) <= 0)
		return "a file";
	return text_printable(key.data, key.length, dst, size);
}
