/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A multipart upload and its parts on the wire. Threads of the mount claim, send and forget parts;
 * done callbacks (the dispatcher, a loop) end them; all under the owner's lock, under which ops are
 * submitted and cancelled, which does not wait.
 *
 * A part is claimed before its bytes are sealed, so that a change that comes meanwhile makes the
 * claim stale. One request at a time runs for a number: the answer that comes last is the one that
 * counts on the server, too. Should a lost request of an older try arrive there after all, the
 * ETags differ and Complete is refused (InvalidPart).
 *
 * What it leaves out: how it ends (upload_end.c), how it is aborted (upload_abort.c).
 */
#include "upload_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#define BIT(state) (1u << (state))
#define PARTS_FIRST 16u

/* Which states may follow. */
static const unsigned char followers[UPLOAD_STATES] = {
    [UPLOAD_IDLE] = BIT(UPLOAD_CREATING) | BIT(UPLOAD_FAILED),
    [UPLOAD_CREATING] = BIT(UPLOAD_SENDING) | BIT(UPLOAD_FAILED),
    [UPLOAD_SENDING] = BIT(UPLOAD_DRAINING) | BIT(UPLOAD_FAILED),
    /* back when the caller was killed: he, or RELEASE, may try again */
    [UPLOAD_DRAINING] = BIT(UPLOAD_COMPLETING) | BIT(UPLOAD_SENDING) | BIT(UPLOAD_FAILED),
    [UPLOAD_COMPLETING] = BIT(UPLOAD_DONE) | BIT(UPLOAD_SENDING) | BIT(UPLOAD_FAILED),
    [UPLOAD_DONE] = 0,
    [UPLOAD_FAILED] = 0,
};

void upload_move_locked(struct upload *u, enum upload_state to)
{
	lock_assert_held(&u->owner->lock);
	assert(followers[u->state] & BIT(to));
	u->state = to;
	cond_broadcast(&u->owner->changed);
}

void upload_owner_unref(struct upload_owner *o)
{
	bool last;

	lock_acquire(&o->lock);
	assert(o->refs > 0);
	last = --o->refs == 0;
	lock_release(&o->lock);
	if (last)
		o->free(o);
}

int upload_create(struct uploads *shared, struct upload_owner *owner, const char *key,
		  size_t key_length, struct upload_attr *attr, const char *nonce, uint64_t flow,
		  struct upload **ret)
{
	struct upload *u = calloc(1, sizeof(*u));

	if (u != NULL)
		u->key = malloc(key_length + 1);
	if (u == NULL || u->key == NULL) {
		free(u);
		return -ENOMEM;
	}
	memcpy(u->key, key, key_length);
	u->key[key_length] = '\0';
	u->key_length = key_length;
	u->shared = shared;
	u->owner = owner;
	u->attr = *attr;
	*attr = (struct upload_attr){0};
	memcpy(u->nonce, nonce, NONCE_BYTES);
	u->flow = flow;
	TAILQ_INIT(&u->running);
	*ret = u;
	return 0;
}

static void upload_free(struct upload *u)
{
	unsigned i;

	assert(TAILQ_EMPTY(&u->running) && u->requests == 0);
	for (i = 0; i < u->part_capacity; i++)
		etag_finish(&u->parts[i].etag);
	free(u->parts);
	free(u->id);
	free(u->key);
	upload_attr_finish(&u->attr);
	free(u);
}

/* The last thing that anybody does with u under the lock: frees it if its owner has let go of it
 * and nothing of it runs; what the server holds is aborted then. */
static void check_over_locked(struct upload *u)
{
	lock_assert_held(&u->owner->lock);
	if (!u->abandoned || u->requests > 0)
		return;
	if (u->id != NULL && u->state != UPLOAD_DONE)
		upload_abort_start(u->shared, u->key, u->key_length, u->id, u->entry);
	upload_free(u);
}

/* The end of an op: gives the lock back, and the reference that kept the owner alive meanwhile. */
static void op_over_unlock(struct upload *u)
{
	struct upload_owner *owner = u->owner;

	check_over_locked(u);
	cond_broadcast(&owner->changed);
	lock_release(&owner->lock);
	upload_owner_unref(owner);
}

static void submit_locked(struct upload *u, struct xfer_op *op)
{
	u->owner->refs++;
	u->shared->source.submit(u->shared->source.ctx, op);
}

void upload_intend(struct upload *u, uint64_t wall_s)
{
	u->created_wall_s = wall_s;
	u->entry = journal_intend(u->shared->journal, u->key, u->key_length, wall_s);
}

/* NULL: that number was never claimed. */
static struct part_record *record_find(const struct upload *u, unsigned number)
{
	assert(number >= 1 && number <= S3_PARTS_MAX);
	return number <= u->part_capacity ? &u->parts[number - 1] : NULL;
}

/* Of a number that was claimed. */
static struct part_record *record_of(const struct upload *u, unsigned number)
{
	assert(number >= 1 && number <= u->part_capacity);
	return &u->parts[number - 1];
}

static int make_record(struct upload *u, unsigned number)
{
	unsigned capacity = MAX(MAX(PARTS_FIRST, u->part_capacity * 2), number);
	struct part_record *parts;

	if (number <= u->part_capacity)
		return 0;
	capacity = MIN(capacity, (unsigned)S3_PARTS_MAX);
	parts = reallocarray(u->parts, capacity, sizeof(*parts));
	if (parts == NULL)
		return -ENOMEM;
	memset(&parts[u->part_capacity], 0, (capacity - u->part_capacity) * sizeof(*parts));
	u->parts = parts;
	u->part_capacity = capacity;
	return 0;
}

static void drop_sent(struct upload *u, struct part_record *r)
{
	if (r->sent)
		u->sent_bytes -= r->size;
	r->sent = false;
	etag_finish(&r->etag);
}

int upload_claim_locked(struct upload *u, unsigned number)
{
	struct part_record *r;

	lock_assert_held(&u->owner->lock);
	if (make_record(u, number) < 0)
		return -ENOMEM;
	r = record_of(u, number);
	assert(!r->busy);
	drop_sent(u, r);
	r->busy = true;
	r->stale = false;
	u->busy++;
	u->requests++;
	return 0;
}

static void unclaim_locked(struct upload *u, unsigned number)
{
	struct part_record *r = record_of(u, number);

	lock_assert_held(&u->owner->lock);
	assert(r->busy);
	r->busy = false;
	u->busy--;
	u->requests--;
	cond_broadcast(&u->owner->changed);
}

void upload_unclaim_locked(struct upload *u, unsigned number)
{
	unclaim_locked(u, number);
	check_over_locked(u);
}

/* Takes a part off the wire and gives it back. */
static void part_over_locked(struct upload_part *p)
{
	TAILQ_REMOVE(&p->upload->running, p, link);
	unclaim_locked(p->upload, p->number);
	p->ended(p);
}

void upload_fail_locked(struct upload *u, int err)
{
	struct upload_part *p, *next;

	assert(err < 0);
	if (u->err == 0)
		u->err = err;
	if (u->state != UPLOAD_FAILED)
		upload_move_locked(u, UPLOAD_FAILED);
	for (p = TAILQ_FIRST(&u->running); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->submitted)
			u->shared->source.cancel(u->shared->source.ctx, &p->op);
		else
			part_over_locked(p);
	}
}

/* The answer to a part. */
static void take_answer_locked(struct upload *u, struct upload_part *p)
{
	struct part_record *r = record_of(u, p->number);
	const struct s3_op *s3 = &p->op.s3;
	int err = s3->result.err;

	if (r->stale || u->state == UPLOAD_FAILED || u->abandoned)
		return;
	if (err == 0 && s3->object.etag[0] == '\0')
		err = -EIO; /* never completed without it */
	if (err == 0)
		err = etag_init(&r->etag, s3->object.etag);
	if (err < 0) {
		upload_fail_locked(u, err);
		return;
	}
	r->sent = true;
	r->size = p->length;
	r->crc32c = s3->crc32c;
	r->has_crc32c = s3->has_crc32c;
	u->sent_bytes += r->size;
}

static void part_done(struct xfer_op *op)
{
	struct upload_part *p = op->ctx;
	struct upload *u = p->upload;

	lock_acquire(&u->owner->lock);
	take_answer_locked(u, p);
	xfer_op_finish(op);
	part_over_locked(p);
	op_over_unlock(u);
}

static void submit_part_locked(struct upload *u, struct upload_part *p)
{
	struct s3_op *s3 = &p->op.s3;

	s3->key = u->key;
	s3->key_length = u->key_length;
	s3->upload_id = u->id;
	s3->part_number = p->number;
	p->op.flow = u->flow;
	p->op.done = part_done;
	p->op.ctx = p;
	p->submitted = true;
	submit_locked(u, &p->op);
}

/* The answer to CreateMultipartUpload. Its id is in the journal before anything follows. */
static void create_done(struct xfer_op *op)
{
	struct upload *u = op->ctx;
	struct upload_part *p;
	int err = op->s3.result.err;
	char *id = NULL;

	if (err == 0)
		id = strdup(op->s3.created_id);
	if (err == 0 && id == NULL)
		err = -ENOMEM;
	if (err == 0)
		journal_created(u->shared->journal, u->entry, id);
	else if (!op->s3.ambiguous)
		journal_end(u->shared->journal, u->entry);
	if (err == 0 && op->s3.ambiguous) /* perhaps there is a second one: for the next mount */
		journal_intend(u->shared->journal, u->key, u->key_length, u->created_wall_s);
	lock_acquire(&u->owner->lock);
	xfer_op_finish(op);
	u->id = id;
	if (err < 0)
		upload_fail_locked(u, err);
	else if (u->state == UPLOAD_CREATING)
		upload_move_locked(u, UPLOAD_SENDING);
	if (u->state == UPLOAD_SENDING) {
		TAILQ_FOREACH (p, &u->running, link)
			submit_part_locked(u, p);
	}
	u->requests--;
	op_over_unlock(u);
}

static void create_locked(struct upload *u)
{
	struct xfer_op *op = &u->create;

	xfer_op_init(op, S3_CREATE_MULTIPART, XFER_META);
	op->s3.key = u->key;
	op->s3.key_length = u->key_length;
	upload_attr_fill(&u->attr, &u->shared->stored, &op->s3.attributes);
	op->done = create_done;
	op->ctx = u;
	upload_move_locked(u, UPLOAD_CREATING);
	u->requests++;
	submit_locked(u, op);
}

void upload_send_locked(struct upload *u, struct upload_part *p)
{
	lock_assert_held(&u->owner->lock);
	assert(record_of(u, p->number)->busy);
	p->upload = u;
	p->submitted = false;
	TAILQ_INSERT_TAIL(&u->running, p, link);
	if (u->state == UPLOAD_FAILED || record_of(u, p->number)->stale) {
		part_over_locked(p);
		check_over_locked(u);
		return;
	}
	if (u->state == UPLOAD_IDLE)
		create_locked(u);
	else if (u->id != NULL)
		submit_part_locked(u, p);
}

void upload_forget_locked(struct upload *u, unsigned number)
{
	struct part_record *r = record_find(u, number);

	lock_assert_held(&u->owner->lock);
	if (r == NULL)
		return;
	drop_sent(u, r);
	r->stale = true;
}

enum upload_part_state upload_part_state_locked(const struct upload *u, unsigned number)
{
	const struct part_record *r = record_find(u, number);

	if (r == NULL)
		return UPLOAD_PART_NONE;
	if (r->busy && !r->stale)
		return UPLOAD_PART_SENDING;
	return r->sent ? UPLOAD_PART_SENT : UPLOAD_PART_NONE;
}

bool upload_part_busy_locked(const struct upload *u, unsigned number)
{
	const struct part_record *r = record_find(u, number);

	return r != NULL && r->busy;
}

int upload_error_locked(const struct upload *u)
{
	return u->err;
}

const struct upload_attr *upload_attributes(const struct upload *u)
{
	return &u->attr;
}

uint64_t upload_sent_bytes_locked(const struct upload *u)
{
	return u->sent_bytes;
}

void upload_abandon_locked(struct upload *u)
{
	if (u == NULL)
		return;
	lock_assert_held(&u->owner->lock);
	if (u->state ==
	    UPLOAD_IDLE) /* nothing was asked of the server: an upload there is not ours */
		journal_end(u->shared->journal, u->entry);
	u->abandoned = true;
	if (u->state != UPLOAD_DONE)
		upload_fail_locked(u, -ECANCELED);
	check_over_locked(u);
}
