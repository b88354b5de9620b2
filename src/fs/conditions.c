/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe of conditions: a server that does not know If-None-Match or If-Match ignores it, and
 * would let one client overwrite another. So one key is put, put again under conditions that must
 * be refused, and deleted; what was not refused is not honoured, and a HEAD stands in for it, which
 * is only best effort: the log says so. The key is random: two mounts that probed the same one
 * would mislead each other.
 *
 * A thread of its own probes, so that a stream that will need the answer at its close can begin it
 * early, and a killed process that waits for it goes without leaving half of a probe behind. The
 * FUSE threads that need to know wait. The lock is never held over a request.
 */
#include "conditions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"
#include "journal.h"

#define WRONG_ETAG "\"00000000000000000000000000000000\""
#define KEY_RANDOM_BYTES 8

static const struct honoured all_honoured = {true, true, true, true};

struct conditions {
	struct lock lock;
	struct cond cond;
	/* under the lock */
	bool known, asking;
	bool ending; /* the mount ends: the probe breaks off */
	struct honoured honoured;
	/* of the thread that has set `asking` */
	struct fs *fs;
	pthread_t thread;
	bool started; /* the thread is to be joined */
};

/* One probe. */
struct probe {
	struct fs *fs;
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
	c->honoured = all_honoured;
	*ret = c;
	return 0;
}

void conditions_destroy(struct conditions *c)
{
	if (c == NULL)
		return;
	lock_acquire(&c->lock);
	c->ending = true;
	lock_release(&c->lock);
	if (c->started)
		pthread_join(c->thread, NULL);
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
	int rc = xfer_run(p->fs->xfer, op, NULL), status = op->s3.result.status;

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
	rc = xfer_run(p->fs->xfer, &op, NULL);
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
	rc = xfer_run(p->fs->xfer, &op, NULL);
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
	struct fs *fs = p->fs;
	struct xfer_op op;
	uint64_t entry;
	int rc;

	entry =
	    journal_intend(fs->journal, p->key.data, p->key.length, fs->clock->wall_s(fs->clock));
	op_for(p, &op, S3_CREATE_MULTIPART);
	rc = xfer_run(fs->xfer, &op, NULL);
	if (rc == 0)
		upload_id = strdup(op.s3.created_id);
	else if (!op.s3.ambiguous)
		journal_end(fs->journal, entry);
	xfer_op_finish(&op);
	if (rc < 0 || upload_id == NULL)
		return rc < 0 ? rc : -ENOMEM;
	journal_created(fs->journal, entry, upload_id);
	rc = complete_if_new(p, upload_id);
	if (rc == 0)
		journal_end(fs->journal, entry);
	else
		clean_up_later(fs, &p->key, upload_id, entry);
	return rc;
}

/* After a failure nobody waits for it: the server may answer nothing at all. */
static void remove_probe(struct probe *p, bool failed)
{
	struct xfer_op op;

	if (failed) {
		clean_up_later(p->fs, &p->key, NULL, 0);
		return;
	}
	op_for(p, &op, S3_DELETE_OBJECT);
	xfer_run(p->fs->xfer, &op, NULL);
	xfer_op_finish(&op);
}

static bool is_ending(struct conditions *c)
{
	SCOPED_LOCK(&c->lock);
	return c->ending;
}

/* Puts the object before each step: the one before may have removed it. */
static int probe_all(struct probe *p, struct honoured *ret)
{
	int (*const steps[])(struct probe *) = {probe_put, probe_complete, probe_copy,
						probe_delete};
	bool *const answers[] = {&ret->put, &ret->complete, &ret->copy, &ret->delete};
	bool ending = false;
	int rc = 0;

	for (size_t k = 0; k < ARRAY_SIZE(steps) && rc >= 0 && !ending; k++) {
		rc = put(p);
		if (rc == 0) {
			rc = steps[k](p);
			if (rc == -EACCES || rc == -EOPNOTSUPP)
				rc = 0; /* that verb is not to be had, so neither are its conditions
					 */
		}
		*answers[k] = rc != 0;
		ending = is_ending(p->fs->conditions);
	}
	remove_probe(p, rc < 0);
	return ending ? -ECANCELED : MIN(rc, 0);
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

static int make_key(struct probe *p)
{
	unsigned char random[KEY_RANDOM_BYTES];
	char text[2 * KEY_RANDOM_BYTES + 1];
	int rc;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	text_hex(random, sizeof(random), text);
	rc = buf_append(&p->key, p->fs->prefix, p->fs->prefix_length);
	if (rc == 0)
		rc = buf_append_str(&p->key, CONDITIONS_PROBE_KEY);
	return rc < 0 ? rc : buf_append_str(&p->key, text);
}

static int ask(struct fs *fs, struct honoured *ret)
{
	struct probe p = {.fs = fs};
	int rc;

	*ret = all_honoured;
	if (is_amazon(fs))
		return 0;
	rc = make_key(&p);
	if (rc == 0)
		rc = probe_all(&p, ret);
	buf_finish(&p.key);
	if (rc == 0) {
		log_found(ret);
		writers_set_conditions(fs->writers, ret->put, ret->complete);
	}
	return rc;
}

/* The thread. */
static void *probe_main(void *ctx)
{
	struct conditions *c = ctx;
	struct honoured found;
	int rc = ask(c->fs, &found);

	if (rc < 0 && rc != -ECANCELED)
		log_warn("what conditions the server honours could not be found out: %s",
			 strerror(-rc));
	SCOPED_LOCK(&c->lock);
	c->asking = false;
	c->known = rc == 0;
	c->honoured = rc == 0 ? found : all_honoured;
	cond_broadcast(&c->cond);
	return NULL;
}

void conditions_begin(struct fs *fs)
{
	struct conditions *c = fs->conditions;
	bool begin;

	lock_acquire(&c->lock);
	begin = !c->known && !c->asking;
	c->asking = c->asking || begin;
	lock_release(&c->lock);
	if (!begin)
		return;
	if (c->started)
		pthread_join(c->thread, NULL); /* one that failed, and has ended */
	c->fs = fs;
	c->started = pthread_create(&c->thread, NULL, probe_main, c) == 0;
	if (!c->started)
		probe_main(c);
}

int conditions_learn(struct fs *fs, struct cancel *cancel, struct honoured *ret)
{
	struct conditions *c = fs->conditions;
	int rc = 0;

	conditions_begin(fs);
	SCOPED_LOCK(&c->lock);
	while (c->asking && rc == 0)
		rc = cond_wait_cancel(&c->cond, &c->lock, UINT64_MAX, cancel);
	*ret = c->honoured;
	return rc;
}
