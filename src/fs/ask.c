/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to S3 about one name. They block the FUSE thread that asks; no lock is held.
 *
 * HEAD may say too little: no Content-Length, or 403 and 400 without a body to say why (S3 answers
 * 403 for a missing key when ListBucket is not allowed). Then a one-key listing decides, so that a
 * size is never guessed.
 */
#include "inode.h"
#include "marker.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define EMPTY_PAGES_MAX 100 /* truncated pages without a key, one after the other */

/* Gives the first key at or behind `prefix` that begins with it: 1, 0 if there is none, or -errno.
 */
static int first_below(struct fs *fs, const struct buf *prefix, struct caller *caller,
		       struct xfer_op *op)
{
	CLEANUP(free) char *token = NULL;
	int rc, pages;

	for (pages = 0; pages < EMPTY_PAGES_MAX; pages++) {
		xfer_op_init(op, S3_LIST, XFER_META);
		op->s3.prefix = prefix->data;
		op->s3.prefix_length = prefix->length;
		op->s3.max_keys = 1;
		op->s3.token = token;
		rc = xfer_run(fs->xfer, op, &caller->cancel);
		if (rc < 0)
			return rc;
		if (op->s3.page.entry_count > 0 || !op->s3.page.truncated)
			return op->s3.page.entry_count > 0;
		free(token);
		token = strdup(op->s3.page.next_token);
		if (token == NULL)
			return -ENOMEM;
		xfer_op_finish(op);
	}
	return -EIO;
}

/* The object of exactly that key, out of a one-key listing: it sorts first among those below it. */
static int object_by_listing(struct fs *fs, const struct buf *key, struct caller *caller,
			     struct object *ret_object)
{
	struct xfer_op op;
	int rc = first_below(fs, key, caller, &op);
	const struct s3_entry *e;

	if (rc == 1) {
		e = &op.s3.page.entries[0];
		if (e->is_prefix || e->key_length != key->length ||
		    memcmp(e->key, key->data, key->length) != 0)
			rc = -ENOENT;
		else
			rc = object_init(ret_object, e->size, e->modified, e->etag, e->archived);
	} else if (rc == 0) {
		rc = -ENOENT;
	}
	xfer_op_finish(&op);
	return rc;
}

/* True if a listing may know what this HEAD did not say. */
static bool head_says_too_little(const struct s3_result *r)
{
	return r->status == 200 || r->status == 400 || r->status == 403 || r->status == 405 ||
	       r->status == 501;
}

static void head_init(const struct fs *fs, struct xfer_op *op, const struct buf *key)
{
	xfer_op_init(op, S3_HEAD_OBJECT, XFER_META);
	op->s3.key = key->data;
	op->s3.key_length = key->length;
	op->s3.want_attributes = fs->attrs != NULL;
}

/* The answer to a HEAD that has ended. */
static int head_result(struct fs *fs, const struct xfer_op *op, const struct buf *key,
		       struct caller *caller, struct object *ret_object)
{
	const struct s3_object *o = &op->s3.object;

	if (op->s3.result.err == 0)
		return object_init(ret_object, o->size, o->modified, o->etag, o->archived);
	if (op->s3.result.err != -ENOENT && head_says_too_little(&op->s3.result))
		return object_by_listing(fs, key, caller, ret_object);
	return op->s3.result.err;
}

int ask_object(struct fs *fs, const struct buf *key, struct caller *caller,
	       struct object *ret_object)
{
	uint64_t now_ns = fs->clock->now_ns(fs->clock);
	struct xfer_op op;
	int rc;

	head_init(fs, &op, key);
	rc = xfer_run(fs->xfer, &op, &caller->cancel);
	if (rc == 0 && fs->attrs != NULL)
		attrs_note(fs->attrs, key, &op.s3, now_ns);
	if (rc != -EINTR)
		rc = head_result(fs, &op, key, caller, ret_object);
	xfer_op_finish(&op);
	return rc;
}

int ask_attributes(struct fs *fs, const struct buf *key, struct cancel *cancel, struct xfer_op *op)
{
	xfer_op_init(op, S3_HEAD_OBJECT, XFER_META);
	op->s3.key = key->data;
	op->s3.key_length = key->length;
	op->s3.want_attributes = true;
	return xfer_run(fs->xfer, op, cancel);
}

int ask_tags(struct fs *fs, const struct buf *key, struct cancel *cancel, char **ret)
{
	struct xfer_op op;
	int rc;

	*ret = NULL;
	xfer_op_init(&op, S3_GET_TAGGING, XFER_META);
	op.s3.key = key->data;
	op.s3.key_length = key->length;
	rc = xfer_run(fs->xfer, &op, cancel);
	if (rc == 0 && op.s3.tagging != NULL && op.s3.tagging[0] != '\0') {
		*ret = strdup(op.s3.tagging);
		rc = *ret == NULL ? -ENOMEM : 0;
	}
	xfer_op_finish(&op);
	return rc;
}

/* True if anything lies below `key/`, out of a one-key listing that has ended. */
static int dir_result(struct fs *fs, const struct xfer_op *op, const struct buf *key_slash,
		      struct caller *caller)
{
	struct xfer_op more;
	int rc;

	if (op->s3.result.err < 0)
		return op->s3.result.err;
	if (op->s3.page.entry_count > 0 || !op->s3.page.truncated)
		return op->s3.page.entry_count > 0;
	rc = first_below(fs, key_slash, caller, &more);
	xfer_op_finish(&more);
	return rc;
}

/* A directory that exists only as NAME_$folder$. */
static int ask_folder_marker(struct fs *fs, const struct buf *key, struct caller *caller)
{
	CLEANUP(buf_finish) struct buf marker = BUF_INIT;
	struct object unused;
	int rc = buf_append(&marker, key->data, key->length);

	if (rc == 0)
		rc = buf_append_str(&marker, FOLDER_SUFFIX);
	if (rc == 0 && marker.length > S3_KEY_MAX)
		return FOUND_NOTHING;
	if (rc == 0)
		rc = ask_object(fs, &marker, caller, &unused);
	if (rc == 0)
		etag_finish(&unused.etag);
	if (rc == -ENOENT)
		return FOUND_NOTHING;
	return rc < 0 ? rc : FOUND_DIR;
}

/* Puts the two answers together: a directory hides an object of its name. */
static int decide(int dir, int file, struct object *object)
{
	if (dir == 1) {
		if (file == 0)
			etag_finish(&object->etag);
		return FOUND_DIR;
	}
	if (dir < 0 && dir != -EACCES) { /* it may be a directory: do not guess */
		if (file == 0)
			etag_finish(&object->etag);
		return dir;
	}
	if (file == 0)
		return FOUND_FILE;
	if (file == -ENOENT)
		return dir < 0 ? dir : FOUND_NOTHING;
	return file;
}

/* The questions about a name: the third in posix mode only. */
struct name_ops {
	struct xfer_op head, list, marker;
	uint64_t asked_ns;
};

/* A directory in posix mode: an object may be one by its type; and its marker's metadata is kept.
 */
static void note_answers(struct fs *fs, const struct buf *key, const struct buf *key_slash,
			 const struct name_ops *ops)
{
	attrs_note(fs->attrs, key, &ops->head.s3, ops->asked_ns);
	attrs_note(fs->attrs, key_slash, &ops->marker.s3, ops->asked_ns);
}

/* True for an empty object that is a directory by its type: in posix mode only. */
static bool is_old_marker(const struct fs *fs, const struct xfer_op *head)
{
	const struct s3_object *o = &head->s3.object;

	return fs->attrs != NULL && head->s3.result.err == 0 && o->size == 0 &&
	       text_starts_with(o->content_type, MARKER_CONTENT_TYPE);
}

static int ask_both(struct fs *fs, const struct buf *key, const struct buf *key_slash,
		    struct caller *caller, struct object *ret_object)
{
	struct name_ops ops = {.asked_ns = fs->clock->now_ns(fs->clock)};
	struct xfer_op *all[] = {&ops.head, &ops.list, &ops.marker};
	size_t n = fs->attrs != NULL ? 3 : 2;
	int rc, file, dir;

	head_init(fs, &ops.head, key);
	head_init(fs, &ops.marker, key_slash);
	xfer_op_init(&ops.list, S3_LIST, XFER_META);
	ops.list.s3.prefix = key_slash->data;
	ops.list.s3.prefix_length = key_slash->length;
	ops.list.s3.max_keys = 1;
	rc = xfer_run_all(fs->xfer, all, n, &caller->cancel);
	if (rc == 0) {
		if (fs->attrs != NULL)
			note_answers(fs, key, key_slash, &ops);
		dir = dir_result(fs, &ops.list, key_slash, caller);
		if (dir == 0 && is_old_marker(fs, &ops.head))
			dir = 1;
		file = head_result(fs, &ops.head, key, caller, ret_object);
		rc = decide(dir, file, ret_object);
	}
	for (size_t k = 0; k < n; k++)
		xfer_op_finish(all[k]);
	return rc;
}

int ask_name(struct fs *fs, const struct buf *key, struct caller *caller, struct object *ret_object)
{
	CLEANUP(buf_finish) struct buf key_slash = BUF_INIT;
	int rc = buf_append(&key_slash, key->data, key->length);

	if (rc == 0)
		rc = buf_append(&key_slash, "/", 1);
	if (rc == 0)
		rc = ask_both(fs, key, &key_slash, caller, ret_object);
	if (rc == FOUND_NOTHING && __atomic_load_n(&fs->folder_markers, __ATOMIC_RELAXED))
		rc = ask_folder_marker(fs, key, caller);
	return rc;
}
