/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe of conditions: a server that does not know If-None-Match or If-Match ignores it, and
 * would let one client overwrite another. So one key is put, put again under conditions that must
 * be refused, and deleted; what was not refused is not honoured, and a HEAD stands in for it, which
 * is only best effort: the log says so.
 *
 * The first FUSE thread that needs to know asks; the others wait for it. Its lock is never held
 * over a request.
 */
#include "conditions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"

#define WRONG_ETAG "\"00000000000000000000000000000000\""

struct conditions {
	struct lock lock;
	struct cond cond;
	/* under the lock */
	bool known, asking;
	struct honoured honoured;
};

/* One probe. */
struct probe {
	struct fs *fs;
	struct cancel *cancel;
	struct buf key;
	char etag[S3_ETAG_MAX]; /* of the probe's object */
};

int conditions_create(struct conditions **ret)
{
	struct conditions *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	lock_init(&c->lock, LOCK_LEAF);
	cond_init(&c->cond);
	*ret = c;
	return 0;
}

void conditions_destroy(struct conditions *c)
{
	if (c == NULL)
		return;
	cond_finish(&c->cond);
	lock_finish(&c->lock);
	free(c);
}

static void op_for(struct probe *p, struct xfer_op *op, enum s3_verb verb)
{
	xfer_op_init(op, verb, XFER_META);
	op->s3.key = p->key.data;
	op->s3.key_length = p->key.length;
	op->quiet = true;
}

/* Runs an op that must be refused: 1 if it was, 0 if it was carried out, or -errno. */
static int is_refused(struct probe *p, struct xfer_op *op)
{
	int rc = xfer_run(p->fs->xfer, op, p->cancel), status = op->s3.result.status;

	if (rc == 0)
		snprintf(p->etag, sizeof(p->etag), "%s", op->s3.object.etag);
	xfer_op_finish(op);
	if (rc == 0)
		return 0;
	return status == 412 || status == 409 ? 1 : rc;
}

static int put(struct probe *p)
{
	struct xfer_op op;
	int rc;

	op_for(p, &op, S3_PUT_OBJECT);
	rc = xfer_run(p->fs->xfer, &op, p->cancel);
	if (rc == 0)
		snprintf(p->etag, sizeof(p->etag), "%s", op.s3.object.etag);
	xfer_op_finish(&op);
	return rc;
}

static int put_if(struct probe *p, const char *if_match)
{
	struct xfer_op op;

	op_for(p, &op, S3_PUT_OBJECT);
	op.s3.if_none_match_any = if_match == NULL;
	if (if_match != NULL)
		snprintf(op.s3.if_match, sizeof(op.s3.if_match), "%s", if_match);
	return is_refused(p, &op);
}

/* If-Match: a wrong ETag must be refused and the right one taken, with its quotes or without. */
static int probe_if_match(struct probe *p)
{
	char right[S3_ETAG_MAX];
	int rc = put_if(p, WRONG_ETAG);

	if (rc != 1)
		return rc;
	snprintf(right, sizeof(right), "%s", p->etag);
	rc = put_if(p, right);
	if (rc != 1)
		return rc < 0 ? rc : 1;
	xfer_set_bare_etags(p->fs->xfer, true);
	rc = put_if(p, right);
	if (rc == 0)
		return 1;
	xfer_set_bare_etags(p->fs->xfer, false);
	return rc < 0 ? rc : 0;
}

static int probe_put(struct probe *p)
{
	int rc = put_if(p, NULL);

	return rc == 1 ? probe_if_match(p) : rc;
}

static int probe_copy(struct probe *p)
{
	struct xfer_op op;

	op_for(p, &op, S3_COPY_OBJECT);
	op.s3.copy.key = p->key.data;
	op.s3.copy.key_length = p->key.length;
	op.s3.copy.replace = true; /* else S3 refuses a copy to itself */
	op.s3.if_none_match_any = true;
	return is_refused(p, &op);
}

static int probe_delete(struct probe *p)
{
	struct xfer_op op;
	int rc;

	op_for(p, &op, S3_DELETE_OBJECT);
	snprintf(op.s3.if_match, sizeof(op.s3.if_match), "%s", WRONG_ETAG);
	rc = is_refused(p, &op);
	return rc == -ENOENT ? 0 : rc;
}

/* An upload of one empty part, completed where there is an object already. */
static int complete_if_new(struct probe *p, const char *upload_id)
{
	struct s3_part part = {.number = 1};
	char etag[S3_ETAG_MAX];
	struct xfer_op op;
	int rc;

	op_for(p, &op, S3_UPLOAD_PART);
	op.s3.upload_id = upload_id;
	op.s3.part_number = 1;
	rc = xfer_run(p->fs->xfer, &op, p->cancel);
	snprintf(etag, sizeof(etag), "%s", op.s3.object.etag);
	xfer_op_finish(&op);
	if (rc < 0)
		return rc;
	part.etag = etag;
	op_for(p, &op, S3_COMPLETE_MULTIPART);
	op.s3.upload_id = upload_id;
	op.s3.parts = &part;
	op.s3.part_count = 1;
	op.s3.if_none_match_any = true;
	return is_refused(p, &op);
}

static int probe_complete(struct probe *p)
{
	CLEANUP(free) char *upload_id = NULL;
	struct xfer_op op;
	int rc;

	op_for(p, &op, S3_CREATE_MULTIPART);
	rc = xfer_run(p->fs->xfer, &op, p->cancel);
	if (rc == 0)
		upload_id = strdup(op.s3.created_id);
	xfer_op_finish(&op);
	if (rc < 0 || upload_id == NULL)
		return rc < 0 ? rc : -ENOMEM;
	rc = complete_if_new(p, upload_id);
	if (rc == 0)
		return 0;
	clean_up_later(p->fs, &p->key, upload_id);
	return rc;
}

/* Waits for it, unless whoever asks was killed. */
static void remove_probe(struct probe *p, bool killed)
{
	struct xfer_op op;

	if (killed) {
		clean_up_later(p->fs, &p->key, NULL);
		return;
	}
	op_for(p, &op, S3_DELETE_OBJECT);
	xfer_run(p->fs->xfer, &op, p->cancel);
	xfer_op_finish(&op);
}

/* Puts the object before each step: the one before may have removed it. */
static int probe_all(struct probe *p, struct honoured *ret)
{
	int (*const steps[])(struct probe *) = {probe_put, probe_complete, probe_copy,
						probe_delete};
	bool *const answers[] = {&ret->put, &ret->complete, &ret->copy, &ret->delete};
	int rc = 0;

	for (size_t k = 0; k < ARRAY_SIZE(steps) && rc >= 0; k++) {
		rc = put(p);
		if (rc == 0)
			rc = steps[k](p);
		*answers[k] = rc != 0;
	}
	remove_probe(p, rc == -EINTR);
	return MIN(rc, 0);
}

static void log_found(const struct honoured *h)
{
	if (h->put && h->complete)
		log_info("the server honours conditions of PutObject and CompleteMultipartUpload");
	else
		log_warn("the server ignores conditions of%s%s: that a file is new, or unchanged, "
			 "is asked right before (best effort)",
			 h->put ? "" : " PutObject", h->complete ? "" : " CompleteMultipartUpload");
}

/* Amazon's own hosts are known. */
static bool is_amazon(struct fs *fs)
{
	struct s3_target target;

	xfer_target(fs->xfer, &target);
	return target.amazon || text_ends_with(target.host, ".amazonaws.com");
}

static int ask(struct fs *fs, struct cancel *cancel, struct honoured *ret)
{
	struct probe p = {.fs = fs, .cancel = cancel};
	int rc;

	*ret = (struct honoured){true, true, true, true};
	if (is_amazon(fs))
		return 0;
	rc = buf_append(&p.key, fs->prefix, fs->prefix_length);
	if (rc == 0)
		rc = buf_append_str(&p.key, CONDITIONS_PROBE_KEY);
	if (rc == 0)
		rc = probe_all(&p, ret);
	buf_finish(&p.key);
	if (rc == 0) {
		log_found(ret);
		writers_set_conditions(fs->writers, ret->put, ret->complete);
	}
	return rc;
}

int conditions_learn(struct fs *fs, struct cancel *cancel, struct honoured *ret)
{
	struct conditions *c = fs->conditions;
	struct honoured found = {true, true, true, true};
	int rc = 0;

	lock_acquire(&c->lock);
	while (!c->known && c->asking && rc == 0)
		rc = cond_wait_cancel(&c->cond, &c->lock, UINT64_MAX, cancel);
	if (c->known || rc < 0) {
		*ret = c->honoured;
		lock_release(&c->lock);
		return rc;
	}
	c->asking = true;
	lock_release(&c->lock);
	rc = ask(fs, cancel, &found);
	if (rc < 0 && rc != -EINTR)
		log_warn("what conditions the server honours could not be found out: %s",
			 strerror(-rc));
	SCOPED_LOCK(&c->lock);
	c->asking = false;
	c->known = rc == 0;
	c->honoured = *ret = found;
	cond_broadcast(&c->cond);
	return rc == -EINTR ? rc : 0;
}
