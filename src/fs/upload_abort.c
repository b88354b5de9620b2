/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aborts in the background. S3 may keep a part that was on the wire when its upload was aborted, so
 * that AbortMultipartUpload is repeated until ListParts does not know the upload any more. The
 * steps follow each other in done callbacks; no thread waits but the one that ends the mount. What
 * cannot be aborted stays in the journal for the next mount.
 */
#include "upload.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define ROUNDS_MAX 10 /* an abort and a look each */

struct abort_job {
	struct xfer_op op; /* what runs now */
	struct uploads *shared;
	unsigned rounds;
	uint64_t entry;
	size_t key_length;
	char *id;    /* in text */
	char text[]; /* key, NUL, id, NUL */
};

static void source_submit(void *ctx, struct xfer_op *op)
{
	xfer_submit(ctx, op);
}

static void source_cancel(void *ctx, struct xfer_op *op)
{
	xfer_cancel(ctx, op);
}

static void source_target(void *ctx, struct s3_target *ret)
{
	xfer_target(ctx, ret);
}

static uint64_t source_flow_new(void *ctx)
{
	return xfer_flow_new(ctx);
}

struct upload_source upload_source_of(struct xfer *xfer)
{
	return (struct upload_source){.ctx = xfer,
				      .submit = source_submit,
				      .cancel = source_cancel,
				      .target = source_target,
				      .flow_new = source_flow_new};
}

void uploads_init(struct uploads *u, const struct upload_source *source, struct journal *journal)
{
	*u = (struct uploads){.source = *source, .journal = journal};
	lock_init(&u->lock, LOCK_LEAF);
	cond_init(&u->idle);
}

void uploads_finish(struct uploads *u)
{
	lock_acquire(&u->lock);
	while (u->jobs > 0)
		cond_wait(&u->idle, &u->lock);
	lock_release(&u->lock);
	cond_finish(&u->idle);
	lock_finish(&u->lock);
}

/* What to do after one step: 1 and the next verb, 0 when nothing is left, -errno. */
static int next_step(enum s3_verb done, int err, unsigned *rounds, enum s3_verb *ret_next)
{
	bool looked = done == S3_LIST_PARTS;

	if (looked && (err == -ENXIO || err == -EACCES))
		return 0; /* gone; or we may not look, and the abort itself went well */
	if (err < 0 && err != -ENXIO)
		return err;
	if (looked && ++*rounds == ROUNDS_MAX)
		return -EBUSY;
	*ret_next = looked ? S3_ABORT_MULTIPART : S3_LIST_PARTS;
	return 1;
}

static void fill_step(struct xfer_op *op, enum s3_verb verb, const char *key, size_t key_length,
		      const char *id)
{
	xfer_op_init(op, verb, XFER_META);
	op->s3.key = key;
	op->s3.key_length = key_length;
	op->s3.upload_id = id;
	op->s3.max_keys = 1;
	op->quiet = true;
}

int upload_abort_run(struct uploads *shared, const char *key, size_t key_length, const char *id)
{
	enum s3_verb verb = S3_ABORT_MULTIPART;
	unsigned rounds = 0;
	int rc;

	do {
		struct xfer_op op;

		fill_step(&op, verb, key, key_length, id);
		rc = next_step(verb, upload_run_op(shared, &op, NULL), &rounds, &verb);
		xfer_op_finish(&op);
	} while (rc > 0);
	return rc;
}

static void job_over(struct abort_job *j, int err)
{
	struct uploads *shared = j->shared;
	char shown[256];

	if (err == 0)
		journal_end(shared->journal, j->entry);
	else
		log_warn("an unfinished upload of %s could not be aborted (%s): the next mount "
			 "tries again; until then its parts may be billed",
			 text_printable(j->text, j->key_length, shown, sizeof(shown)),
			 strerror(-err));
	free(j);
	SCOPED_LOCK(&shared->lock);
	if (--shared->jobs == 0)
		cond_broadcast(&shared->idle);
}

static void job_done(struct xfer_op *op);

static void job_step(struct abort_job *j, enum s3_verb verb)
{
	fill_step(&j->op, verb, j->text, j->key_length, j->id);
	j->op.done = job_done;
	j->op.ctx = j;
	j->shared->source.submit(j->shared->source.ctx, &j->op);
}

static void job_done(struct xfer_op *op)
{
	struct abort_job *j = op->ctx;
	enum s3_verb verb;
	int rc = next_step(op->s3.verb, op->s3.result.err, &j->rounds, &verb);

	xfer_op_finish(op);
	if (rc > 0)
		job_step(j, verb);
	else
		job_over(j, rc);
}

void upload_abort_start(struct uploads *shared, const char *key, size_t key_length, const char *id,
			uint64_t entry)
{
	struct abort_job *j = calloc(1, sizeof(*j) + key_length + 1 + strlen(id) + 1);

	if (j == NULL) {
		log_warn("out of memory: an unfinished upload is left to the next mount");
		return;
	}
	j->shared = shared;
	j->entry = entry;
	j->key_length = key_length;
	memcpy(j->text, key, key_length);
	j->id = j->text + key_length + 1;
	strcpy(j->id, id);
	lock_acquire(&shared->lock);
	shared->jobs++;
	lock_release(&shared->lock);
	job_step(j, S3_ABORT_MULTIPART);
}
