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

#define COPY_OBJECT_MAX UINT64_C(5000000000) /* S3: 5 GB */
#define COPY_PART_BYTES (512 * MIB)
#define COPY_TRIES 5 /* of a source that changes */
#define COPY_META_MAX 64
#define COPY_BATCH_MAX 16
#define COPY_SHORT_BYTES (64 * MIB) /* larger ones would keep names waiting */

/* One copy on its way. */
struct copy {
	struct fs *fs;
	const struct copy_ask *ask;
	struct cancel *cancel;
	struct xfer_op *head; /* its answer: what the source is */
	struct s3_meta meta[COPY_META_MAX];
	unsigned meta_count;
	char etag[S3_ETAG_MAX]; /* of what was made */
};

static bool same_key(const struct copy_ask *ask)
{
	return ask->from->length == ask->to->length &&
	       memcmp(ask->from->data, ask->to->data, ask->to->length) == 0;
}

/* The source's metadata with that which is asked for on top. */
static int merge_meta(struct copy *c)
{
	const struct s3_attributes *found = &c->head->s3.found;
	unsigned k, n;

	c->meta_count = 0;
	for (k = 0; k < found->meta_count; k++) {
		for (n = 0; n < c->ask->meta_count; n++)
			if (strcmp(found->meta[k].name, c->ask->meta[n].name) == 0)
				break;
		if (n < c->ask->meta_count)
			continue;
		if (c->meta_count == COPY_META_MAX)
			return -E2BIG;
		c->meta[c->meta_count++] = found->meta[k];
	}
	for (n = 0; n < c->ask->meta_count; n++) {
		if (c->meta_count == COPY_META_MAX)
			return -E2BIG;
		c->meta[c->meta_count++] = c->ask->meta[n];
	}
	return 0;
}

static void op_for(struct copy *c, struct xfer_op *op, enum s3_verb verb)
{
	bool is_copy = verb == S3_COPY_OBJECT || verb == S3_UPLOAD_PART_COPY;
	bool is_long = is_copy && c->head->s3.object.size > COPY_SHORT_BYTES;

	xfer_op_init(op, verb, is_long ? XFER_WRITE : XFER_META);
	op->s3.key = c->ask->to->data;
	op->s3.key_length = c->ask->to->length;
}

static void op_source(struct copy *c, struct xfer_op *op)
{
	op->s3.copy.key = c->ask->from->data;
	op->s3.copy.key_length = c->ask->from->length;
	snprintf(op->s3.copy.if_match, sizeof(op->s3.copy.if_match), "%s", c->head->s3.object.etag);
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

static int ask_source(struct copy *c)
{
	int rc;

	xfer_op_init(c->head, S3_HEAD_OBJECT, XFER_META);
	c->head->s3.key = c->ask->from->data;
	c->head->s3.key_length = c->ask->from->length;
	c->head->s3.want_attributes = true;
	rc = xfer_run(c->fs->xfer, c->head, c->cancel);
	if (rc == 0 && c->ask->if_match != NULL &&
	    strcmp(c->ask->if_match, c->head->s3.object.etag) != 0)
		rc = -ESTALE;
	return rc == 0 ? merge_meta(c) : rc;
}

static int copy_at_once(struct copy *c, bool without_tags)
{
	struct xfer_op op;
	int rc;

	op_for(c, &op, S3_COPY_OBJECT);
	op_source(c, &op);
	op.s3.if_none_match_any = c->ask->only_new;
	op.s3.copy.replace_tags = without_tags;
	if (c->ask->meta_count > 0) {
		op.s3.copy.replace = true;
		op.s3.attributes = c->head->s3.found;
		op.s3.attributes.meta = c->meta;
		op.s3.attributes.meta_count = c->meta_count;
	}
	keep_class(c, &op.s3.attributes);
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	if (rc == 0)
		snprintf(c->etag, sizeof(c->etag), "%s", op.s3.object.etag);
	xfer_op_finish(&op);
	return rc;
}

/* The parts of a large copy. */
struct copy_parts {
	char *upload_id;
	char *tagging; /* NULL: none */
	uint64_t part_bytes;
	unsigned count;
	struct s3_part *parts;
	char (*etags)[S3_ETAG_MAX];
};

static void parts_finish(struct copy_parts *p)
{
	free(p->upload_id);
	free(p->tagging);
	free(p->parts);
	free(p->etags);
}

static int parts_plan(struct copy_parts *p, uint64_t size)
{
	p->part_bytes = COPY_PART_BYTES;
	while (size / p->part_bytes >= S3_PARTS_MAX)
		p->part_bytes *= 2;
	p->count = (unsigned)((size + p->part_bytes - 1) / p->part_bytes);
	p->parts = calloc(p->count, sizeof(*p->parts));
	p->etags = calloc(p->count, sizeof(*p->etags));
	return p->parts == NULL || p->etags == NULL ? -ENOMEM : 0;
}

static int ask_tags(struct copy *c, struct copy_parts *p)
{
	struct xfer_op op;
	int rc;

	xfer_op_init(&op, S3_GET_TAGGING, XFER_META);
	op.s3.key = c->ask->from->data;
	op.s3.key_length = c->ask->from->length;
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	if (rc == 0 && op.s3.tagging != NULL && op.s3.tagging[0] != '\0') {
		p->tagging = strdup(op.s3.tagging);
		rc = p->tagging == NULL ? -ENOMEM : 0;
	}
	xfer_op_finish(&op);
	return rc;
}

static int parts_begin(struct copy *c, struct copy_parts *p)
{
	struct xfer_op op;
	int rc;

	op_for(c, &op, S3_CREATE_MULTIPART);
	op.s3.attributes = c->head->s3.found;
	op.s3.attributes.meta = c->meta;
	op.s3.attributes.meta_count = c->meta_count;
	op.s3.attributes.tagging = p->tagging;
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	if (rc == 0) {
		p->upload_id = strdup(op.s3.created_id);
		rc = p->upload_id == NULL ? -ENOMEM : 0;
	}
	xfer_op_finish(&op);
	return rc;
}

/* Copies parts [first, first + n), all at the same time. */
static int parts_copy(struct copy *c, struct copy_parts *p, unsigned first, unsigned n)
{
	struct xfer_op ops[COPY_BATCH_MAX], *all[COPY_BATCH_MAX];
	uint64_t size = c->head->s3.object.size;
	unsigned k;
	int rc;

	for (k = 0; k < n; k++) {
		all[k] = &ops[k];
		op_for(c, &ops[k], S3_UPLOAD_PART_COPY);
		op_source(c, &ops[k]);
		ops[k].s3.upload_id = p->upload_id;
		ops[k].s3.part_number = first + k + 1;
		ops[k].s3.copy.offset = (first + k) * p->part_bytes;
		ops[k].s3.copy.length = MIN(p->part_bytes, size - ops[k].s3.copy.offset);
	}
	rc = xfer_run_all(c->fs->xfer, all, n, c->cancel);
	for (k = 0; k < n; k++) {
		struct s3_part *part = &p->parts[first + k];

		if (rc == 0)
			rc = ops[k].s3.result.err;
		snprintf(p->etags[first + k], S3_ETAG_MAX, "%s", ops[k].s3.object.etag);
		*part = (struct s3_part){.number = first + k + 1,
					 .etag = p->etags[first + k],
					 .size = ops[k].s3.copy.length};
		xfer_op_finish(&ops[k]);
	}
	return rc;
}

static int parts_end(struct copy *c, struct copy_parts *p)
{
	struct xfer_op op;
	int rc;

	op_for(c, &op, S3_COMPLETE_MULTIPART);
	op.s3.upload_id = p->upload_id;
	op.s3.parts = p->parts;
	op.s3.part_count = p->count;
	op.s3.if_none_match_any = c->ask->only_new;
	op.s3.object_size = c->head->s3.object.size;
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	if (rc == 0)
		snprintf(c->etag, sizeof(c->etag), "%s", op.s3.object.etag);
	xfer_op_finish(&op);
	return rc;
}

/* A request that nobody waits for. */
struct errand {
	struct xfer_op op;
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

	xfer_op_finish(op);
	errand_free(e);
}

void clean_up_later(struct fs *fs, const struct buf *key, const char *upload_id)
{
	struct errand *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return;
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
	xfer_submit(fs->xfer, &e->op);
}

static int copy_in_parts(struct copy *c, bool without_tags)
{
	__attribute__((cleanup(parts_finish))) struct copy_parts p = {0};
	unsigned batch = MIN(c->fs->config.parallel, (unsigned)COPY_BATCH_MAX), first;
	int rc = parts_plan(&p, c->head->s3.object.size);

	if (rc == 0 && c->head->s3.tag_count > 0 && !without_tags)
		rc = ask_tags(c, &p);
	if (rc == 0)
		rc = parts_begin(c, &p);
	if (rc < 0)
		return rc;
	for (first = 0; first < p.count && rc == 0; first += batch)
		rc = parts_copy(c, &p, first, MIN(batch, p.count - first));
	if (rc == 0)
		rc = parts_end(c, &p);
	if (rc < 0)
		clean_up_later(c->fs, c->ask->to, p.upload_id);
	return rc;
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
	op_for(c, &op, S3_HEAD_OBJECT);
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	xfer_op_finish(&op);
	if (rc == 0)
		return -EEXIST;
	return rc == -ENOENT ? 0 : rc;
}

static int copy_once(struct copy *c)
{
	bool large;
	int rc = ask_source(c);

	if (rc == 0)
		rc = check_new(c);
	if (rc < 0)
		return rc;
	large = c->head->s3.object.size > COPY_OBJECT_MAX;
	rc = large ? copy_in_parts(c, false) : copy_at_once(c, false);
	if (rc != -EACCES)
		return rc;
	rc = large ? copy_in_parts(c, true) : copy_at_once(c, true);
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
