/* SPDX-License-Identifier: Apache-2.0 */
/* Pages and batches of keys. Threads of rename, and the one that settles: they wait. No locks. */
#include "rename_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define AT_ONCE 32 /* requests of a batch that are on their way together */

static int one_page(struct fs *fs, const struct buf *prefix, char **token, struct cancel *cancel,
		    struct xfer_op *op)
{
	int rc;

	xfer_op_init(op, S3_LIST, XFER_META);
	op->s3.prefix = prefix->data;
	op->s3.prefix_length = prefix->length;
	op->s3.max_keys = S3_LIST_ENTRIES_MAX;
	op->s3.token = *token;
	rc = xfer_run(fs->xfer, op, cancel);
	free(TAKE(*token));
	if (rc == 0 && op->s3.page.refused > 0) {
		log_warn("a key below %.200s cannot be read: its bytes are not text", prefix->data);
		return -EIO;
	}
	if (rc == 0 && op->s3.page.truncated) {
		*token = strdup(op->s3.page.next_token);
		rc = *token == NULL ? -ENOMEM : 0;
	}
	return rc;
}

int keys_each_page(struct fs *fs, const struct buf *prefix, struct cancel *cancel,
		   int (*fn)(void *ctx, const struct s3_page *page), void *ctx)
{
	CLEANUP(free) char *token = NULL;
	struct xfer_op op;
	int rc;

	do {
		rc = one_page(fs, prefix, &token, cancel, &op);
		if (rc == 0)
			rc = fn(ctx, &op.s3.page);
		xfer_op_finish(&op);
	} while (rc == 0 && token != NULL);
	return rc;
}

int batch_add(struct batch *b, const struct buf *base, const char *suffix, size_t length,
	      const char *etag)
{
	struct doomed *d;
	int rc;

	if (b->keys == NULL)
		b->keys = calloc(S3_DELETES_MAX, sizeof(*b->keys));
	if (b->keys == NULL)
		return -ENOMEM;
	d = &b->keys[b->count];
	buf_clear(&d->key);
	rc = buf_append(&d->key, base->data, base->length);
	if (rc == 0)
		rc = buf_append(&d->key, suffix, length);
	if (rc < 0)
		return rc;
	snprintf(d->etag, sizeof(d->etag), "%s", etag);
	d->err = 0;
	b->count++;
	return 0;
}

void batch_clear(struct batch *b)
{
	b->count = 0;
}

void batch_finish(struct batch *b)
{
	for (unsigned k = 0; b->keys != NULL && k < S3_DELETES_MAX; k++)
		buf_finish(&b->keys[k].key);
	free(b->keys);
	*b = (struct batch){0};
}

/* Requests about some keys of a batch, AT_ONCE together. */
struct volley {
	struct fs *fs;
	struct cancel *cancel;
	struct xfer_op ops[AT_ONCE];
	struct xfer_op *all[AT_ONCE];
	unsigned at[AT_ONCE]; /* which keys they are about */
	unsigned count;
};

static struct xfer_op *volley_add(struct volley *v, enum s3_verb verb, unsigned at)
{
	struct xfer_op *op = &v->ops[v->count];

	xfer_op_init(op, verb, XFER_META);
	op->quiet = true;
	v->at[v->count] = at;
	v->all[v->count++] = op;
	return op;
}

/* Sends what there is and hands each end to fn. */
static int volley_fire(struct volley *v, void (*fn)(void *ctx, unsigned at, struct xfer_op *op),
		       void *ctx)
{
	int rc = v->count > 0 ? xfer_run_all(v->fs->xfer, v->all, v->count, v->cancel) : 0;

	for (unsigned k = 0; k < v->count; k++) {
		fn(ctx, v->at[k], v->all[k]);
		xfer_op_finish(v->all[k]);
	}
	v->count = 0;
	return rc;
}

struct looking {
	struct batch *batch;
	char (*etags)[S3_ETAG_MAX];
};

static void take_look(void *ctx, unsigned at, struct xfer_op *op)
{
	struct looking *l = ctx;
	int err = op->s3.result.err;

	l->etags[at][0] = '\0';
	if (err == 0)
		memcpy(l->etags[at], op->s3.object.etag, S3_ETAG_MAX);
	else if (err != -ENOENT)
		l->batch->keys[at].err = err;
}

int batch_look(struct fs *fs, struct batch *b, const struct buf *base, const struct buf *other,
	       char (*ret_etags)[S3_ETAG_MAX], struct cancel *cancel)
{
	struct looking l = {b, ret_etags};
	CLEANUP(free) struct volley *v = calloc(1, sizeof(*v));
	struct buf keys[AT_ONCE] = {0};
	int rc = v != NULL ? 0 : -ENOMEM;

	for (unsigned k = 0; rc == 0 && k < b->count; k++) {
		struct buf *key = &keys[v->count], *mine = &b->keys[k].key;
		struct xfer_op *op;

		v->fs = fs;
		v->cancel = cancel;
		buf_clear(key);
		rc = buf_append(key, other->data, other->length);
		if (rc == 0)
			rc =
			    buf_append(key, mine->data + base->length, mine->length - base->length);
		if (rc < 0)
			break;
		op = volley_add(v, S3_HEAD_OBJECT, k);
		op->s3.key = key->data;
		op->s3.key_length = key->length;
		if (v->count == AT_ONCE || k + 1 == b->count)
			rc = volley_fire(v, take_look, &l);
	}
	for (unsigned k = 0; k < AT_ONCE; k++)
		buf_finish(&keys[k]);
	return rc;
}

static void take_delete(void *ctx, unsigned at, struct xfer_op *op)
{
	struct batch *b = ctx;
	int err = op->s3.result.err;

	b->keys[at].err = err == -ENOENT ? 0 : err;
}

/* One by one: those that are named, by their err being 1. */
static int delete_each(struct fs *fs, struct batch *b, bool conditions, struct cancel *cancel)
{
	CLEANUP(free) struct volley *v = calloc(1, sizeof(*v));
	int rc = v != NULL ? 0 : -ENOMEM;

	if (v != NULL)
		*v = (struct volley){.fs = fs, .cancel = cancel};
	for (unsigned k = 0; k < b->count; k++) {
		struct doomed *d = &b->keys[k];
		struct xfer_op *op;

		if (d->err != 1)
			continue;
		d->err = rc < 0 ? rc : -EIO;
		if (rc < 0)
			continue;
		op = volley_add(v, S3_DELETE_OBJECT, k);
		op->s3.key = d->key.data;
		op->s3.key_length = d->key.length;
		if (conditions)
			memcpy(op->s3.if_match, d->etag, sizeof(d->etag));
		if (v->count == AT_ONCE)
			rc = volley_fire(v, take_delete, b);
	}
	if (v != NULL && v->count > 0)
		rc = volley_fire(v, take_delete, b);
	return rc;
}

/* The server has no such request. */
static bool is_unknown(const struct s3_result *r)
{
	return r->status == 501 || r->status == 405 || r->status == 404 || r->status == 400;
}

/* One request for those with err 1. What it could not do is left with err 1. */
static int delete_at_once(struct fs *fs, struct batch *b, bool conditions, struct cancel *cancel)
{
	CLEANUP(free) struct s3_delete *deletes = calloc(b->count, sizeof(*deletes));
	CLEANUP(free) unsigned *at = calloc(b->count, sizeof(*at));
	struct xfer_op op;
	int rc;

	if (deletes == NULL || at == NULL)
		return -ENOMEM;
	xfer_op_init(&op, S3_DELETE_OBJECTS, XFER_META);
	op.s3.deletes = deletes;
	op.quiet = true;
	for (unsigned k = 0; k < b->count; k++) {
		const struct doomed *d = &b->keys[k];

		if (d->err != 1 || !s3_key_in_xml(d->key.data, d->key.length))
			continue;
		at[op.s3.delete_count] = k;
		deletes[op.s3.delete_count++] =
		    (struct s3_delete){.key = d->key.data,
				       .key_length = d->key.length,
				       .etag = conditions && d->etag[0] != '\0' ? d->etag : NULL,
				       .err = -EIO}; /* until it was asked for */
	}
	rc = op.s3.delete_count > 0 ? xfer_run(fs->xfer, &op, cancel) : 0;
	if (rc < 0 && rc != -EINTR && is_unknown(&op.s3.result)) {
		if (!__atomic_exchange_n(&fs->no_batches, true, __ATOMIC_RELAXED))
			log_info("the server does not know DeleteObjects: objects are deleted one "
				 "by one");
		rc = 0;
	} else {
		for (unsigned k = 0; k < op.s3.delete_count; k++) {
			int err = rc == -EINTR ? rc : deletes[k].err;

			b->keys[at[k]].err = err == -ENOENT ? 0 : err; /* it is gone */
		}
		rc = rc == -EINTR ? rc : 0;
	}
	xfer_op_finish(&op);
	return rc;
}

/* Those that are not what they should be are out of it: -ESTALE. */
static int look_first(struct fs *fs, struct batch *b, struct cancel *cancel)
{
	CLEANUP(free) char(*etags)[S3_ETAG_MAX] = calloc(b->count, sizeof(*etags));
	const struct buf nothing = {.data = (char *)(uintptr_t) ""};
	int rc = etags != NULL ? batch_look(fs, b, &nothing, &nothing, etags, cancel) : -ENOMEM;

	for (unsigned k = 0; rc == 0 && k < b->count; k++)
		if (b->keys[k].err == 0 && b->keys[k].etag[0] != '\0' && etags[k][0] != '\0' &&
		    !s3_etags_equal(etags[k], b->keys[k].etag))
			b->keys[k].err = -ESTALE;
	return rc;
}

int batch_delete(struct fs *fs, struct batch *b, bool look, struct cancel *cancel)
{
	struct honoured h;
	int rc = conditions_learn(fs, cancel, &h);

	if (rc == 0 && look && !h.delete)
		rc = look_first(fs, b, cancel);
	for (unsigned k = 0; rc == 0 && k < b->count; k++)
		rc = writers_detach_source(fs->writers, b->keys[k].key.data, b->keys[k].key.length,
					   cancel);
	for (unsigned k = 0; k < b->count; k++)
		if (b->keys[k].err == 0)
			b->keys[k].err = rc < 0 ? rc : 1;
	if (rc == 0 && b->count > 0 && !__atomic_load_n(&fs->no_batches, __ATOMIC_RELAXED))
		rc = delete_at_once(fs, b, h.delete, cancel);
	return rc < 0 ? rc : delete_each(fs, b, h.delete, cancel);
}
