/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename of a file. A new file that is not published yet only changes the key that it will be
 * published under. Everything else is a server-side copy and a delete: the source is deleted only
 * while it is what was copied; one that changed meanwhile is copied again. A file under write goes
 * on over the copy of its base, with what is not published of it.
 *
 * The thread of the rename; the kernel holds both directories and both files, so that nobody opens
 * them meanwhile, but a shared mapping may write.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "conditions.h"
#include "copy.h"
#include "hold.h"
#include "rename_private.h"

#define RENAME_TRIES 5 /* of a source that changes */

/* A new file: its bytes go to the other key when they go. 1 if that is not possible. */
static int rename_unpublished(struct renaming *r)
{
	struct dirty *d = r->dirty;
	bool shadows;
	int rc;

	lock_acquire(&d->lock);
	rc = d->failed < 0 ? d->failed : d->on_server ? 1 : 0;
	shadows = d->shadows;
	lock_release(&d->lock);
	if (rc != 0)
		return rc;
	rc = writer_rename(dirty_writer(d), r->to.key.data, r->to.key.length);
	if (rc == -EOPNOTSUPP || rc == -EBUSY)
		return 1;
	if (rc == 0 && shadows)
		rc = object_delete(r->fs, &r->from.key, NULL, &r->caller.cancel);
	if (rc < 0)
		return rc;
	lock_acquire(&d->lock);
	d->condition = r->only_new ? PUBLISH_NEW : PUBLISH_ALWAYS;
	d->exclusive = r->only_new;
	d->shadows = !r->only_new;
	lock_release(&d->lock);
	SCOPED_LOCK(&r->fs->lock);
	return move_file_locked(r, NULL);
}

/* Deletes the source while it is what was copied. -ESTALE: it is not. */
static int delete_source(struct renaming *r, const char *etag)
{
	struct honoured h;
	struct object now;
	char text[S3_ETAG_MAX];
	int rc = conditions_learn(r->fs, &r->caller.cancel, &h);

	if (rc == 0 && !h.delete) {
		rc = ask_object(r->fs, &r->from.key, &r->caller, &now);
		if (rc == -ENOENT)
			return 0;
		if (rc == 0 && !s3_etags_equal(etag_text(&now.etag, text), etag))
			rc = -ESTALE;
		if (rc == 0 || rc == -ESTALE)
			etag_finish(&now.etag);
	}
	if (rc < 0)
		return rc;
	return object_delete(r->fs, &r->from.key, h.delete ? etag : NULL, &r->caller.cancel);
}

/* A file under write, of the one key or the other. */
static int move_writer(struct renaming *r, const struct buf *key, const char *etag, uint64_t size)
{
	struct writer *w = dirty_writer(r->dirty);
	struct cache_version *version = NULL;
	char base[S3_ETAG_MAX];
	int rc;

	if (writer_base_etag(w, base)[0] == '\0')
		return writer_rename(w, key->data, key->length);
	rc = cache_version_get(r->fs->cache, key->data, key->length, etag, size, &version);
	if (rc == 0)
		rc = writer_move(w, key->data, key->length, version, etag);
	cache_version_unref(version);
	return rc;
}

/* The writer goes on over the copy before the source goes, and back if that stays. */
static int delete_behind_writer(struct renaming *r, const char *source, const struct object *made)
{
	char base[S3_ETAG_MAX], etag[S3_ETAG_MAX];
	int rc, back;

	if (r->dirty == NULL)
		return delete_source(r, source);
	writer_base_etag(dirty_writer(r->dirty), base);
	if (base[0] != '\0' && !s3_etags_equal(base, source))
		return delete_source(r, source); /* another client's: see rename_published */
	rc = move_writer(r, &r->to.key, etag_text(&made->etag, etag), made->size);
	if (rc == 0)
		rc = delete_source(r, source);
	if (rc == 0)
		return 0;
	back = move_writer(r, &r->from.key, source, made->size);
	if (back < 0)
		dirty_abort(r->dirty, back);
	return rc;
}

static int note_copied(struct renaming *r, const char *source, const struct object *made)
{
	char etag[S3_ETAG_MAX];
	const struct rename_copied c = {
	    .suffix = "", .source_etag = source, .etag = etag_text(&made->etag, etag)};

	return rename_log_copied(r->log, &c);
}

/* Copies and deletes. *ret_object: the target, whose etag the caller finishes; ret_source: what
 * was copied. */
static int copy_and_delete(struct renaming *r, struct object *ret_object,
			   char ret_source[S3_ETAG_MAX])
{
	struct copy_ask ask = {.from = &r->from.key,
			       .to = &r->to.key,
			       .only_new = r->only_new,
			       .edit = rename_edit_init(&r->edit, r->fs),
			       .ret_source_etag = ret_source};
	unsigned tries = 0;
	int rc;

	do {
		rc = copy_object(r->fs, &ask, &r->caller.cancel, ret_object);
		if (rc < 0)
			return rc;
		r->kernel_errs = true; /* the target is another one by now */
		rc = note_copied(r, ret_source, ret_object);
		if (rc == 0)
			rc = delete_behind_writer(r, ret_source, ret_object);
		if (rc < 0)
			etag_finish(&ret_object->etag);
		ask.only_new = false; /* the target is ours now */
	} while (rc == -ESTALE && ++tries < RENAME_TRIES);
	return rc;
}

static int begin_log(struct renaming *r)
{
	const struct clock *clock = r->fs->clock;
	struct rename_intent intent = {.from = r->from.key, .to = r->to.key};
	struct s3_target target;

	xfer_target(r->fs->xfer, &target);
	intent.wall_s = (uint64_t)(clock->wall_s(clock) + target.clock_offset_s);
	return rename_log_create(r->fs, &intent, &r->log);
}

/* What was sent and let go of cannot be sent again: it is published under the old name first. */
static int hold_all(struct renaming *r)
{
	int rc = writer_keep_all(dirty_writer(r->dirty));

	if (rc != -EOPNOTSUPP)
		return rc;
	rc = dirty_publish_entered(r->dirty, &r->caller);
	return rc < 0 ? rc : writer_keep_all(dirty_writer(r->dirty));
}

static int rename_published(struct renaming *r)
{
	char source[S3_ETAG_MAX], base[S3_ETAG_MAX] = "";
	struct object object = {0};
	int rc = r->dirty != NULL ? hold_all(r) : 0;

	if (rc == 0)
		rc = begin_log(r);
	if (rc < 0)
		return rc;
	if (r->dirty != NULL)
		writer_base_etag(dirty_writer(r->dirty), base);
	rc = copy_and_delete(r, &object, source);
	if (rc == -EINTR)
		rename_log_keep(TAKE(r->log));
	else
		rename_log_end(TAKE(r->log));
	if (rc < 0)
		return rc;
	r->kernel_errs = false;
	lock_acquire(&r->fs->lock);
	rc = move_file_locked(r, &object);
	rename_edit_take_locked(&r->edit, r->from.inode, &r->from.key, &r->to.key);
	lock_release(&r->fs->lock);
	if (r->dirty != NULL) {
		lock_acquire(&r->dirty->lock);
		r->dirty->shadows = false;
		lock_release(&r->dirty->lock);
		if (base[0] != '\0' && !s3_etags_equal(base, source))
			dirty_abort(r->dirty, -ESTALE); /* changed by somebody else */
	}
	etag_finish(&object.etag);
	return rc;
}

static int rename_dirty(struct renaming *r)
{
	int rc = dirty_enter(r->dirty, &r->caller.cancel);

	if (rc < 0)
		return rc;
	rc = rename_unpublished(r);
	if (rc == 1)
		rc = rename_published(r);
	dirty_leave(r->dirty);
	return rc;
}

int rename_file(struct renaming *r)
{
	struct held target = {0};
	int rc;

	if (r->from.inode == r->to.inode)
		return 0;
	if (r->to.inode != NULL && r->to.inode->is_dir)
		return -EISDIR;
	if (r->only_new || r->fs->config.safe_overwrite) {
		rc = rename_check_target(r);
		if (rc < 0)
			return rc;
	}
	if (r->to.inode != NULL) {
		rc = hold_begin(r->fs, r->to.inode, &r->caller.cancel, &target);
		if (rc < 0)
			return rc;
	}
	r->dirty = dirty_of(r->fs, r->from.inode);
	rc = r->dirty != NULL ? rename_dirty(r) : rename_published(r);
	dirty_unref(r->dirty);
	r->dirty = NULL;
	hold_end(&target, rc == 0); /* what was written to the target is dropped: handles work on */
	return rc;
}
