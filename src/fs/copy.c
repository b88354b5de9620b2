/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side copies. HeadObject tells what the source is; then CopyObject, which keeps headers,
 * metadata and tags by itself but neither storage class nor encryption, or, over 5 GB, a multipart
 * upload whose parts are copied, `parallel` at a time, and which keeps nothing by itself. Each
 * copy names the ETag of the source: one that changes meanwhile is copied again.
 *
 * FUSE threads; they wait. No locks.
 */
#include "copy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "conditions.h"
#include "copy_private.h"
#include "journal.h"

#define COPY_OBJECT_MAX UINT64_C(5000000000) /* S3: 5 GB */
#define COPY_TRIES 5			     /* of a source that changes */
#define COPY_SHORT_BYTES (64 * MIB)	     /* larger ones would keep names waiting */

static bool same_key(const struct copy_ask *ask)
{
	return ask->from->length == ask->to->length &&
	       memcmp(ask->from->data, ask->to->data, ask->to->length) == 0;
}

static bool meta_fits(const struct copy *c)
{
	return meta_bytes(c->meta, c->meta_count) <= META_USER_BYTES_MAX;
}

/* Last. In place it goes without where there is no room for it. */
static int add_nonce(struct copy *c)
{
	bool has_place = c->meta_count < COPY_META_MAX;

	if (c->nonce[0] == '\0')
		return 0;
	if (has_place)
		c->meta[c->meta_count++] = (struct s3_meta){NONCE_META, c->nonce};
	if (!same_key(c->ask))
		return has_place ? 0 : -E2BIG;
	if (has_place && meta_fits(c))
		return 0;
	c->nonce[0] = '\0';
	c->meta_count -= has_place;
	return 0;
}

/* The source's metadata with that which is asked for on top. */
static int merge_meta(struct copy *c)
{
	const struct s3_attributes *found = &c->head->s3.found;
	struct copy_edit *edit = c->ask->edit;
	unsigned k, n;
	int rc = 0;

	c->set = c->ask->meta;
	c->set_count = c->ask->meta_count;
	if (edit != NULL)
		rc = edit->make(edit, &c->head->s3, &c->set, &c->set_count);
	if (rc < 0)
		return rc;
	c->meta_count = 0;
	for (k = 0; k < found->meta_count; k++) {
		if (strcmp(found->meta[k].name, NONCE_META) == 0)
			continue; /* another object's */
		for (n = 0; n < c->set_count; n++)
			if (strcmp(found->meta[k].name, c->set[n].name) == 0)
				break;
		if (n < c->set_count || (edit != NULL && !edit->keep(found->meta[k].name)))
			continue;
		if (c->meta_count == COPY_META_MAX)
			return -E2BIG;
		c->meta[c->meta_count++] = found->meta[k];
	}
	for (n = 0; n < c->set_count; n++) {
		if (c->meta_count == COPY_META_MAX)
			return -E2BIG;
		c->meta[c->meta_count++] = c->set[n];
	}
	rc = add_nonce(c);
	if (rc < 0)
		return rc;
	return edit == NULL || meta_fits(c) ? 0 : -E2BIG;
}

void copy_op(struct copy *c, struct xfer_op *op, enum s3_verb verb)
{
	bool is_copy = verb == S3_COPY_OBJECT || verb == S3_UPLOAD_PART_COPY;
	bool is_long = is_copy && c->head->s3.object.size > COPY_SHORT_BYTES;

	xfer_op_init(op, verb, is_long ? XFER_WRITE : XFER_META);
	op->s3.key = c->ask->to->data;
	op->s3.key_length = c->ask->to->length;
}

void copy_op_source(struct copy *c, struct xfer_op *op)
{
	op->s3.copy.key = c->ask->from->data;
	op->s3.copy.key_length = c->ask->from->length;
	snprintf(op->s3.copy.if_match, sizeof(op->s3.copy.if_match), "%s", c->head->s3.object.etag);
}

int copy_run(struct copy *c, struct xfer_op *op)
{
	int rc = xfer_run(c->fs->xfer, op, c->cancel);

	if (rc == 0)
		snprintf(c->etag, sizeof(c->etag), "%s", op->s3.object.etag);
	c->doubted = op->s3.ambiguous;
	xfer_op_finish(op);
	return rc;
}

/* What a copy does not keep by itself. */
static void keep_class(struct copy *c, struct s3_attributes *a)
{
	const struct s3_attributes *found = &c->head->s3.found;

	a->storage_class = found->storage_class;
	a->sse = found->sse;
	a->sse_kms_key_id = found->sse_kms_key_id;
	a->sse_bucket_key = found->sse_bucket_key;
}

/* True if a copy of it has another ETag: that of a multipart upload is not of its bytes alone. */
static bool moves_etag(const struct s3_op *source)
{
	return strchr(source->object.etag, '-') != NULL || source->found.sse_kms_key_id != NULL;
}

/* It is copied in parts, which make a multipart ETag. */
static bool is_large(const struct copy *c)
{
	return c->head->s3.object.size > COPY_OBJECT_MAX;
}

static int ask_source(struct copy *c)
{
	int rc = ask_attributes(c->fs, c->ask->from, c->cancel, c->head);

	if (rc == 0 && c->ask->if_match != NULL &&
	    strcmp(c->ask->if_match, c->head->s3.object.etag) != 0)
		rc = -ESTALE;
	if (rc < 0)
		return rc;
	/* Made again after a lost answer, a copy in place would find its own ETag: refused. */
	if (same_key(c->ask) && (moves_etag(&c->head->s3) || is_large(c)) &&
	    upload_nonce(c->nonce) < 0)
		return -EIO;
	return merge_meta(c);
}

static int copy_at_once(struct copy *c, bool without_tags)
{
	struct xfer_op op;

	copy_op(c, &op, S3_COPY_OBJECT);
	copy_op_source(c, &op);
	op.s3.if_none_match_any = c->ask->only_new;
	op.s3.copy.replace_tags = without_tags;
	if (c->set_count > 0 || c->ask->edit != NULL || c->nonce[0] != '\0') {
		op.s3.copy.replace = true;
		op.s3.attributes = c->head->s3.found;
		op.s3.attributes.meta = c->meta;
		op.s3.attributes.meta_count = c->meta_count;
	}
	keep_class(c, &op.s3.attributes);
	return copy_run(c, &op);
}

/* A request that nobody waits for. */
struct errand {
	struct xfer_op op;
	struct fs *fs;
	uint64_t entry;
	struct buf key;
	char *upload_id;
};

static void errand_free(struct errand *e)
{
	buf_finish(&e->key);
	free(e->upload_id);
	free(e);
}

/* xfer's done: on a loop's thread or the dispatcher. */
static void errand_done(struct xfer_op *op)
{
	struct errand *e = op->ctx;
	struct fs *fs = e->fs;
	int err = op->s3.result.err;

	if (err == 0 || err == -ENXIO)
		journal_end(fs->journal, e->entry);
	xfer_op_finish(op);
	errand_free(e);
	SCOPED_LOCK(&fs->lock);
	fs->running--;
	cond_broadcast(&fs->gates_moved);
}

void clean_up_later(struct fs *fs, const struct buf *key, const char *upload_id, uint64_t entry)
{
	struct errand *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return;
	e->fs = fs;
	e->entry = entry;
	e->upload_id = upload_id != NULL ? strdup(upload_id) : NULL;
	if (buf_append(&e->key, key->data, key->length) < 0 ||
	    (upload_id != NULL && e->upload_id == NULL)) {
		errand_free(e);
		return;
	}
	xfer_op_init(&e->op, upload_id != NULL ? S3_ABORT_MULTIPART : S3_DELETE_OBJECT, XFER_META);
	e->op.s3.key = e->key.data;
	e->op.s3.key_length = e->key.length;
	e->op.s3.upload_id = e->upload_id;
	e->op.quiet = true;
	e->op.done = errand_done;
	e->op.ctx = e;
	lock_acquire(&fs->lock);
	fs->running++;
	lock_release(&fs->lock);
	xfer_submit(fs->xfer, &e->op);
}

/* A server that ignores conditions on copies is asked first. */
static int check_new(struct copy *c)
{
	struct honoured h;
	struct xfer_op op;
	int rc;

	if (!c->ask->only_new)
		return 0;
	rc = conditions_learn(c->fs, c->cancel, &h);
	if (rc < 0 || (h.copy && h.complete))
		return rc;
	copy_op(c, &op, S3_HEAD_OBJECT);
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	xfer_op_finish(&op);
	if (rc == 0)
		return -EEXIST;
	return rc == -ENOENT ? 0 : rc;
}

/* The same content type and metadata, whatever the nonces. */
static bool same_attributes(const struct s3_op *a, const struct s3_op *b)
{
	const struct s3_attributes *x = &a->found, *y = &b->found;
	unsigned i, k, count[2] = {0};

	for (i = 0; i < y->meta_count; i++)
		count[1] += strcmp(y->meta[i].name, NONCE_META) != 0;
	for (i = 0; i < x->meta_count; i++) {
		if (strcmp(x->meta[i].name, NONCE_META) == 0)
			continue;
		count[0]++;
		for (k = 0; k < y->meta_count; k++)
			if (strcmp(x->meta[i].name, y->meta[k].name) == 0 &&
			    strcmp(x->meta[i].value, y->meta[k].value) == 0)
				break;
		if (k == y->meta_count)
			return false;
	}
	return count[0] == count[1] && strcmp(a->object.content_type, b->object.content_type) == 0;
}

/* True if `made` looks like a copy of `source`: a multipart object's copy has another ETag. */
static bool is_alike(const struct s3_op *source, const struct s3_op *made)
{
	const char *etag = source->object.etag;

	if (source->object.size != made->object.size || !same_attributes(source, made))
		return false;
	return s3_etags_equal(etag, made->object.etag) || moves_etag(source);
}

static bool carries_nonce(const struct s3_op *head, const char *nonce)
{
	for (unsigned k = 0; k < head->found.meta_count; k++)
		if (strcmp(head->found.meta[k].name, NONCE_META) == 0)
			return strcmp(head->found.meta[k].value, nonce) == 0;
	return false;
}

static int head_of(struct fs *fs, const struct buf *key, struct cancel *cancel, struct xfer_op *op)
{
	xfer_op_init(op, S3_HEAD_OBJECT, XFER_META);
	op->s3.key = key->data;
	op->s3.key_length = key->length;
	op->s3.want_attributes = true;
	op->quiet = true;
	return xfer_run(fs->xfer, op, cancel);
}

/* A copy that had to be new, or was in place, failed, and an answer was lost: perhaps it was made
 * all the same. */
static int settle(struct copy *c, int err)
{
	struct xfer_op op;
	int rc = head_of(c->fs, c->ask->to, c->cancel, &op);
	bool ours = false;

	if (rc == 0 && c->nonce[0] != '\0') /* who rewrites it may keep its metadata */
		ours =
		    op.s3.object.size == c->head->s3.object.size && carries_nonce(&op.s3, c->nonce);
	else if (rc == 0)
		ours = is_alike(&c->head->s3, &op.s3);

	if (ours)
		memcpy(c->etag, op.s3.object.etag, sizeof(c->etag));
	xfer_op_finish(&op);
	return ours ? 0 : err;
}

int copy_is_there(struct fs *fs, const struct buf *from, const struct buf *to, uint64_t since_s,
		  struct cancel *cancel, char *ret_source, char *ret_copy)
{
	struct xfer_op source, made;
	int rc = head_of(fs, from, cancel, &source), found;

	if (rc == 0) {
		found = head_of(fs, to, cancel, &made);
		rc = found == -ENOENT ? 0 : found;
		if (found == 0) {
			rc = is_alike(&source.s3, &made.s3) &&
			     (uint64_t)made.s3.object.modified.tv_sec >= since_s;
			memcpy(ret_source, source.s3.object.etag, S3_ETAG_MAX);
			memcpy(ret_copy, made.s3.object.etag, S3_ETAG_MAX);
		}
		xfer_op_finish(&made);
	}
	xfer_op_finish(&source);
	return rc;
}

static int make_copy(struct copy *c, bool without_tags)
{
	int rc = is_large(c) ? copy_in_parts(c, without_tags) : copy_at_once(c, without_tags);

	if (rc < 0 && rc != -EINTR && c->doubted && (c->ask->only_new || c->nonce[0] != '\0'))
		rc = settle(c, rc);
	return rc;
}

static int copy_once(struct copy *c)
{
	int rc = ask_source(c);

	if (rc == 0)
		rc = check_new(c);
	if (rc < 0)
		return rc;
	rc = make_copy(c, false);
	if (rc != -EACCES)
		return rc;
	rc = make_copy(c, true);
	if (rc == 0 && fs_first_time(c->fs, ONCE_RENAME_TAGS))
		log_warn("copies are made without tags: the keys lack s3:GetObjectTagging or "
			 "s3:PutObjectTagging");
	return rc;
}

int copy_object(struct fs *fs, const struct copy_ask *ask, struct cancel *cancel,
		struct object *ret_object)
{
	struct copy c = {.fs = fs, .ask = ask, .cancel = cancel};
	char source_etag[S3_ETAG_MAX];
	struct timespec now;
	struct xfer_op head;
	unsigned tries = 0;
	uint64_t size;
	int rc;

	c.head = &head;
	if (ask->only_new && !ask->alike_will_do && upload_nonce(c.nonce) < 0)
		return -EIO;
	rc = writers_detach_source(fs->writers, ask->to->data, ask->to->length, cancel);
	if (rc < 0)
		return rc;
	do {
		rc = copy_once(&c);
		size = head.s3.object.size;
		memcpy(source_etag, head.s3.object.etag, S3_ETAG_MAX);
		xfer_op_finish(&head);
	} while (rc == -ESTALE && ask->if_match == NULL && !same_key(ask) && ++tries < COPY_TRIES);
	if (rc < 0)
		return rc;
	clock_gettime(CLOCK_REALTIME, &now);
	if (ask->ret_source_etag != NULL)
		memcpy(ask->ret_source_etag, source_etag, S3_ETAG_MAX);
	return object_init(ret_object, size, now, c.etag, false);
}
