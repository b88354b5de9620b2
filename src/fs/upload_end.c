/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a publication ends: CompleteMultipartUpload or PutObject, and what follows when the answer is
 * an error or got lost. Called by the thread that waits in close(2) or fsync(2); nothing is locked
 * while it waits.
 *
 * Whether a lost request was carried out is seen by a HEAD: the object carries the nonce or it does
 * not. Where it does not and a try of ours may have been carried out, the answer is EIO, never
 * success.
 */
#include "upload_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

/* An op that a thread waits for. */
struct waited {
	struct lock lock;
	struct cond over;
	bool ended;
};

static void waited_done(struct xfer_op *op)
{
	struct waited *w = op->ctx;

	SCOPED_LOCK(&w->lock);
	w->ended = true;
	cond_signal(&w->over);
}

int upload_run_op(struct uploads *shared, struct xfer_op *op, struct cancel *cancel)
{
	struct waited w = {.ended = false};
	int rc = 0;

	lock_init(&w.lock, LOCK_INODE);
	cond_init(&w.over);
	op->done = waited_done;
	op->ctx = &w;
	shared->source.submit(shared->source.ctx, op);
	lock_acquire(&w.lock);
	while (!w.ended && rc == 0) {
		rc = cond_wait_cancel(&w.over, &w.lock, UINT64_MAX, cancel);
		if (rc < 0 && !w.ended)
			shared->source.cancel(shared->source.ctx, op);
	}
	while (!w.ended)
		cond_wait(&w.over, &w.lock);
	lock_release(&w.lock);
	cond_finish(&w.over);
	lock_finish(&w.lock);
	if (rc < 0 && op->s3.result.err == 0)
		return 0; /* it had ended well before it could be cancelled */
	return rc < 0 ? rc : op->s3.result.err;
}

static bool carries_nonce(const struct s3_op *head, const char *nonce)
{
	unsigned i;

	for (i = 0; i < head->found.meta_count; i++)
		if (strcmp(head->found.meta[i].name, NONCE_META) == 0 &&
		    strcmp(head->found.meta[i].value, nonce) == 0)
			return true;
	return false;
}

/* What the key holds now. */
struct look {
	bool exists, ours;
	char etag[S3_ETAG_MAX];
};

static int look(struct uploads *shared, const char *key, size_t key_length, const char *nonce,
		const struct upload_end *end, struct look *ret)
{
	struct xfer_op op;
	int rc;

	*ret = (struct look){0};
	xfer_op_init(&op, S3_HEAD_OBJECT, XFER_META);
	op.s3.key = key;
	op.s3.key_length = key_length;
	op.s3.want_attributes = true;
	op.quiet = true;
	rc = upload_run_op(shared, &op, end->cancel);
	if (rc == 0) {
		ret->exists = true;
		ret->ours = nonce != NULL && carries_nonce(&op.s3, nonce) &&
			    op.s3.object.size == end->object_size;
		memcpy(ret->etag, op.s3.object.etag, sizeof(ret->etag));
	}
	xfer_op_finish(&op);
	return rc == -ENOENT ? 0 : rc;
}

/* What stands against a publication under that condition: 0, -EEXIST, -ESTALE. */
static int judge(const struct look *l, const struct upload_end *end)
{
	if (end->condition == PUBLISH_NEW && l->exists)
		return -EEXIST;
	if (end->condition == PUBLISH_UNCHANGED &&
	    (!l->exists || strcmp(l->etag, end->if_match) != 0))
		return -ESTALE;
	return 0;
}

/* Where the server does not keep conditions: one look right before. */
static int look_before(struct uploads *shared, const char *key, size_t key_length,
		       const struct upload_end *end)
{
	struct look l;
	int rc;

	if (end->honoured || end->condition == PUBLISH_ALWAYS)
		return 0;
	rc = look(shared, key, key_length, NULL, end, &l);
	return rc < 0 ? rc : judge(&l, end);
}

static void set_condition(struct s3_op *op, const struct upload_end *end)
{
	if (!end->honoured)
		return;
	if (end->condition == PUBLISH_NEW)
		op->if_none_match_any = true;
	if (end->condition == PUBLISH_UNCHANGED)
		snprintf(op->if_match, sizeof(op->if_match), "%s", end->if_match);
}

/*
 * A request that should have published ended with err; doubted: a try of it may have been carried
 * out. 0 if the object is ours after all, else what to answer.
 */
static int settle(struct uploads *shared, const char *key, size_t key_length, const char *nonce,
		  const struct upload_end *end, int err, bool doubted, char ret_etag[S3_ETAG_MAX])
{
	bool refused = err == -EEXIST || err == -ESTALE || err == -ENXIO;
	struct look l;
	int rc;

	if (err == -EINTR || (!refused && !doubted))
		return err;
	rc = look(shared, key, key_length, nonce, end, &l);
	if (rc == -EINTR)
		return rc;
	if (rc == 0 && l.ours) {
		memcpy(ret_etag, l.etag, S3_ETAG_MAX);
		return 0;
	}
	return doubted && err == -ENXIO ? -EIO : err;
}

/* The list of parts for Complete; all of them were sent and sum up. NULL out of memory or not. */
static struct s3_part *list_parts_locked(const struct upload *u, const struct upload_end *end,
					 char (**ret_etags)[S3_ETAG_MAX])
{
	struct s3_part *parts = calloc(end->part_count, sizeof(*parts));
	char(*etags)[S3_ETAG_MAX] = calloc(end->part_count, sizeof(*etags));
	uint64_t sum = 0;
	bool whole = parts != NULL && etags != NULL && end->part_count <= u->part_capacity;
	unsigned i;

	for (i = 0; whole && i < end->part_count; i++) {
		const struct part_record *r = &u->parts[i];

		whole = r->sent && !r->busy && r->etag.form != ETAG_NONE;
		parts[i] = (struct s3_part){.number = i + 1,
					    .etag = etag_text(&r->etag, etags[i]),
					    .size = r->size,
					    .crc32c = r->crc32c,
					    .has_crc32c = r->has_crc32c};
		sum += r->size;
	}
	if (!whole || sum != end->object_size) {
		free(parts);
		free(etags);
		return NULL;
	}
	*ret_etags = etags;
	return parts;
}

/* Waits until no part is busy: the upload is COMPLETING then. */
static int drain_locked(struct upload *u, struct cancel *cancel)
{
	int rc = 0;

	while (u->err == 0 && rc == 0 && (u->state == UPLOAD_CREATING || u->busy > 0)) {
		if (u->state == UPLOAD_SENDING)
			upload_move_locked(u, UPLOAD_DRAINING);
		rc = cond_wait_cancel(&u->owner->changed, &u->owner->lock, UINT64_MAX, cancel);
	}
	if (u->err < 0)
		return u->err;
	if (rc < 0) {
		if (u->state == UPLOAD_DRAINING)
			upload_move_locked(u, UPLOAD_SENDING);
		return rc;
	}
	if (u->state == UPLOAD_SENDING)
		upload_move_locked(u, UPLOAD_DRAINING);
	upload_move_locked(u, UPLOAD_COMPLETING);
	return 0;
}

/* CompleteMultipartUpload on the wire. *ret_doubted: it may have been carried out, whatever rc. */
static int run_complete(struct upload *u, const struct upload_end *end, const struct s3_part *parts,
			char ret_etag[S3_ETAG_MAX], bool *ret_doubted)
{
	struct xfer_op op;
	int rc;

	xfer_op_init(&op, S3_COMPLETE_MULTIPART, XFER_META);
	op.s3.key = u->key;
	op.s3.key_length = u->key_length;
	op.s3.upload_id = u->id;
	op.s3.parts = parts;
	op.s3.part_count = end->part_count;
	op.s3.object_size = end->object_size;
	op.quiet = true; /* the writer tells it */
	set_condition(&op.s3, end);
	rc = upload_run_op(u->shared, &op, end->cancel);
	if (rc == 0)
		memcpy(ret_etag, op.s3.object.etag, S3_ETAG_MAX);
	*ret_doubted = op.s3.ambiguous;
	if (rc < 0)
		log_info("CompleteMultipartUpload: %s %s", op.s3.result.code, op.s3.result.message);
	xfer_op_finish(&op);
	return rc;
}

/* The state that follows. */
static void ended_locked(struct upload *u, int rc)
{
	lock_assert_held(&u->owner->lock);
	if (rc == 0)
		upload_move_locked(u, UPLOAD_DONE);
	else if (rc == -EINTR)
		upload_move_locked(u, UPLOAD_SENDING);
	else
		upload_fail_locked(u, rc);
}

int upload_complete(struct upload *u, const struct upload_end *end, char ret_etag[S3_ETAG_MAX])
{
	CLEANUP(free) struct s3_part *parts = NULL;
	CLEANUP(free) char(*etags)[S3_ETAG_MAX] = NULL;
	bool doubted = false;
	int rc;

	lock_acquire(&u->owner->lock);
	rc = drain_locked(u, end->cancel);
	if (rc == 0) {
		parts = list_parts_locked(u, end, &etags);
		if (parts == NULL) {
			log_error("the parts of an upload do not make up its object of %llu bytes: "
				  "it is not completed",
				  (unsigned long long)end->object_size);
			rc = -EIO;
			upload_fail_locked(u, rc);
		}
	}
	doubted = u->doubted;
	lock_release(&u->owner->lock);
	if (rc < 0)
		return rc;
	rc = look_before(u->shared, u->key, u->key_length, end);
	if (rc == 0) {
		bool lost;

		rc = run_complete(u, end, parts, ret_etag, &lost);
		doubted |= lost;
		if (rc < 0)
			rc = settle(u->shared, u->key, u->key_length, u->nonce, end, rc, doubted,
				    ret_etag);
	}
	lock_acquire(&u->owner->lock);
	u->doubted = doubted;
	ended_locked(u, rc);
	lock_release(&u->owner->lock);
	if (rc == 0)
		journal_end(u->shared->journal, u->entry);
	return rc;
}

int upload_conflict(struct upload *u, const struct upload_end *end)
{
	struct look l;
	int rc = look(u->shared, u->key, u->key_length, NULL, end, &l);

	if (rc == 0)
		rc = judge(&l, end);
	return rc == 0 ? -EIO : rc;
}

int upload_put(struct uploads *shared, struct xfer_op *op, const struct upload_attr *attr,
	       const char *nonce, const struct upload_end *end, char ret_etag[S3_ETAG_MAX])
{
	bool conditional = end->condition != PUBLISH_ALWAYS;
	int rc = look_before(shared, op->s3.key, op->s3.key_length, end);

	if (rc < 0)
		return rc;
	upload_attr_fill(attr, &shared->stored, &op->s3.attributes);
	op->quiet = conditional;
	set_condition(&op->s3, end);
	rc = upload_run_op(shared, op, end->cancel);
	if (rc == 0)
		memcpy(ret_etag, op->s3.object.etag, S3_ETAG_MAX);
	if (rc == 0 || !conditional)
		return rc;
	return settle(shared, op->s3.key, op->s3.key_length, nonce, end, rc, op->s3.ambiguous,
		      ret_etag);
}
