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

#include "mime.h"

int dirty_create(struct fs *fs, const struct dirty_config *config, struct dirty **ret)
{
	const char *type = mime_type(fs->mime, config->name, config->name_length);
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
	clock_gettime(CLOCK_REALTIME, &d->modified);
	lock_init(&d->lock, LOCK_INODE);
	cond_init(&d->cond);
	if (type == NULL)
		type = fs->config.content_type;
	if (type != NULL)
		d->content_type = strdup(type);
	rc = type != NULL && d->content_type == NULL ? -ENOMEM : 0;
	if (rc == 0)
		rc = writer_create(fs->writers, config->key->data, config->key->length, NULL, NULL,
				   config->readable, &d->writer);
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
	for (unsigned k = 0; k < d->old_count; k++)
		writer_destroy(d->old_writers[k]);
	free(d->old_writers);
	writer_destroy(d->writer);
	cond_finish(&d->cond);
	lock_finish(&d->lock);
	free(d->content_type);
	free(d);
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

static void meta_add(struct dirty_meta *m, const char *name)
{
	unsigned n = m->attr.meta_count++;

	m->meta[n] = (struct s3_meta){.name = name, .value = m->texts[n]};
}

void dirty_meta_fill(struct dirty *d, struct dirty_meta *ret)
{
	size_t size = sizeof(ret->texts[0]);

	SCOPED_LOCK(&d->lock);
	*ret = (struct dirty_meta){.attr = {.content_type = d->content_type, .meta = ret->meta}};
	attr_format_time(&d->modified, ret->texts[ret->attr.meta_count], size);
	meta_add(ret, META_MTIME);
	if (d->mode_given) {
		snprintf(ret->texts[ret->attr.meta_count], size, "%u", d->mode);
		meta_add(ret, META_MODE);
	}
	if (d->owner_given) {
		snprintf(ret->texts[ret->attr.meta_count], size, "%u", d->uid);
		meta_add(ret, META_UID);
		snprintf(ret->texts[ret->attr.meta_count], size, "%u", d->gid);
		meta_add(ret, META_GID);
	}
}

int dirty_meta_changed(struct dirty *d)
{
	struct dirty_meta meta;

	dirty_meta_fill(d, &meta);
	return writer_set_attr(dirty_writer(d), &meta.attr);
}

void attr_of_dirty_locked(struct dirty *d, struct stat *ret)
{
	SCOPED_LOCK(&d->lock);
	ret->st_size = (off_t)d->size;
	ret->st_blocks = (blkcnt_t)(d->size / 512 + (d->size % 512 != 0));
	ret->st_mtim = ret->st_ctim = ret->st_atim = d->modified;
}

const char *dirty_shown(struct dirty *d, char *dst, size_t size)
{
	CLEANUP(buf_finish) struct buf key = BUF_INIT;
	struct inode *i;

	lock_acquire(&d->fs->lock);
	i = d->inode;
	lock_release(&d->fs->lock);
	if (i == NULL || inode_own_key(d->fs, i, &key) < 0)
		return "a file";
	return text_printable(key.data, key.length, dst, size);
}
