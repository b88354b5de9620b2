/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of metadata and its requests. FUSE threads ask; HEADs that were asked ahead end on a
 * loop's thread or the dispatcher's. One lock; no request is waited for under it.
 *
 * An entry is asked for (op set), known (attr set) or both. When a change is made here while its
 * HEAD is under way, the answer is dropped (stale). The least recently used entries go when there
 * are too many, but none that is being asked for.
 */
#include "attrs.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <uthash.h>

#include <pailfs/cleanup.h>

#define ENTRIES_MAX 65536
#define RACY_S 2

struct entry {
	UT_hash_handle hh;
	TAILQ_ENTRY(entry) link;
	struct attrs *attrs;
	struct node_attr *attr; /* referenced; NULL: not known */
	bool asking, stale;
	unsigned waiters;
	uint64_t asked_ns;
	struct xfer_op op; /* while asking */
	size_t key_length;
	char key[];
};

TAILQ_HEAD(entry_list, entry);

struct attrs {
	/* set at creation */
	struct xfer *xfer;
	const struct clock *clock;
	struct lock lock;
	struct cond answered;
	/* under the lock */
	struct entry *table;
	struct entry_list used; /* the least recently used first */
	size_t count;
	unsigned in_flight;
};

struct node_attr *node_attr_create(const struct file_meta *meta)
{
	size_t xattr = meta->xattr != NULL ? strlen(meta->xattr) + 1 : 0;
	size_t target = meta->target != NULL ? strlen(meta->target) + 1 : 0;
	struct node_attr *a = calloc(1, sizeof(*a) + xattr + target);

	if (a == NULL)
		return NULL;
	a->refs = 1;
	a->meta = *meta;
	if (xattr > 0)
		a->meta.xattr = memcpy(a->text, meta->xattr, xattr);
	if (target > 0)
		a->meta.target = memcpy(a->text + xattr, meta->target, target);
	return a;
}

struct node_attr *node_attr_ref(struct node_attr *a)
{
	if (a != NULL)
		__atomic_fetch_add(&a->refs, 1, __ATOMIC_RELAXED);
	return a;
}

void node_attr_unref(struct node_attr *a)
{
	if (a == NULL || __atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	etag_finish(&a->etag);
	free(a);
}

int attrs_create(struct xfer *xfer, const struct clock *clock, struct attrs **ret)
{
	struct attrs *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->xfer = xfer;
	a->clock = clock;
	lock_init(&a->lock, LOCK_HANDLE);
	cond_init(&a->answered);
	TAILQ_INIT(&a->used);
	*ret = a;
	return 0;
}

static void entry_drop_locked(struct attrs *a, struct entry *e)
{
	HASH_DEL(a->table, e);
	TAILQ_REMOVE(&a->used, e, link);
	a->count--;
	node_attr_unref(e->attr);
	free(e);
}

void attrs_destroy(struct attrs *a)
{
	struct entry *e;

	if (a == NULL)
		return;
	lock_acquire(&a->lock);
	TAILQ_FOREACH (e, &a->used, link)
		if (e->asking)
			xfer_cancel(a->xfer, &e->op);
	while (a->in_flight > 0)
		cond_wait(&a->answered, &a->lock);
	while ((e = TAILQ_FIRST(&a->used)) != NULL)
		entry_drop_locked(a, e);
	lock_release(&a->lock);
	cond_finish(&a->answered);
	lock_finish(&a->lock);
	free(a);
}

/* Lets the least recently used go until there is room for one more. */
static void trim_locked(struct attrs *a)
{
	struct entry *e = TAILQ_FIRST(&a->used), *next;

	for (; e != NULL && a->count >= ENTRIES_MAX; e = next) {
		next = TAILQ_NEXT(e, link);
		if (!e->asking && e->waiters == 0)
			entry_drop_locked(a, e);
	}
}

static struct entry *find_locked(struct attrs *a, const struct buf *key)
{
	struct entry *e = NULL;

	lock_assert_held(&a->lock);
	HASH_FIND(hh, a->table, key->data, key->length, e);
	if (e != NULL) {
		TAILQ_REMOVE(&a->used, e, link);
		TAILQ_INSERT_TAIL(&a->used, e, link);
	}
	return e;
}

/* The key's entry, made if need be; NULL when out of memory. */
static struct entry *entry_locked(struct attrs *a, const struct buf *key)
{
	struct entry *e = find_locked(a, key);

	if (e != NULL)
		return e;
	trim_locked(a);
	e = calloc(1, sizeof(*e) + key->length + 1);
	if (e == NULL)
		return NULL;
	e->attrs = a;
	e->key_length = key->length;
	memcpy(e->key, key->data, key->length);
	HASH_ADD_KEYPTR(hh, a->table, e->key, e->key_length, e);
	TAILQ_INSERT_TAIL(&a->used, e, link);
	a->count++;
	return e;
}

/* What an ended HEAD says; NULL: nothing of use. */
static struct node_attr *attr_of_answer(const struct s3_op *head, uint64_t asked_ns)
{
	const struct s3_object *o = &head->object;
	struct file_meta meta = {0};
	struct node_attr *attr;
	int64_t age_s;

	if (head->result.err != 0 && head->result.err != -ENOENT)
		return NULL;
	if (head->result.err == 0)
		file_meta_parse(head->found.meta, head->found.meta_count, &meta);
	attr = node_attr_create(&meta);
	if (attr == NULL)
		return NULL;
	attr->asked_ns = asked_ns;
	attr->absent = head->result.err != 0;
	if (attr->absent)
		return attr;
	attr->stored_s = o->modified.tv_sec;
	age_s = time(NULL) - attr->stored_s;
	attr->racy = age_s < RACY_S && age_s > -RACY_S;
	attr->dir_marker = o->size == 0 && strncmp(o->content_type, "application/x-directory",
						   strlen("application/x-directory")) == 0;
	if (etag_init(&attr->etag, o->etag) < 0) {
		node_attr_unref(attr);
		return NULL;
	}
	return attr;
}

void attrs_note(struct attrs *a, const struct buf *key, const struct s3_op *head, uint64_t asked_ns)
{
	struct node_attr *attr = attr_of_answer(head, asked_ns);
	struct entry *e;

	if (attr == NULL)
		return;
	lock_acquire(&a->lock);
	e = entry_locked(a, key);
	if (e != NULL && (e->attr == NULL || e->attr->asked_ns <= asked_ns) &&
	    e->asked_ns <= asked_ns)
		SWAP(e->attr, attr);
	lock_release(&a->lock);
	node_attr_unref(attr);
}

struct node_attr *attrs_find(struct attrs *a, const struct buf *key)
{
	struct entry *e;

	SCOPED_LOCK(&a->lock);
	e = find_locked(a, key);
	return e != NULL ? node_attr_ref(e->attr) : NULL;
}

void attrs_forget(struct attrs *a, const struct buf *key)
{
	struct entry *e;

	SCOPED_LOCK(&a->lock);
	e = entry_locked(a, key);
	if (e == NULL)
		return;
	node_attr_unref(TAKE(e->attr));
	e->stale = e->asking;
	e->asked_ns = a->clock->now_ns(a->clock); /* stays, so that older answers are dropped */
}

/* xfer's done of a HEAD that was sent ahead: on a loop's thread or the dispatcher. */
static void ahead_done(struct xfer_op *op)
{
	struct entry *e = op->ctx;
	struct attrs *a = e->attrs;
	struct node_attr *attr = attr_of_answer(&op->s3, e->asked_ns);

	xfer_op_finish(op);
	SCOPED_LOCK(&a->lock);
	if (!e->stale && attr != NULL)
		SWAP(e->attr, attr);
	node_attr_unref(attr);
	e->asking = e->stale = false;
	a->in_flight--;
	cond_broadcast(&a->answered);
}

static void head_init(struct xfer_op *op, const char *key, size_t key_length)
{
	xfer_op_init(op, S3_HEAD_OBJECT, XFER_META);
	op->s3.key = key;
	op->s3.key_length = key_length;
	op->s3.want_attributes = true;
}

bool attrs_ahead(struct attrs *a, const struct buf *key, uint64_t since_ns)
{
	struct entry *e;

	SCOPED_LOCK(&a->lock);
	if (a->in_flight >= ATTRS_IN_FLIGHT_MAX)
		return false;
	e = entry_locked(a, key);
	if (e == NULL || e->asking || (e->attr != NULL && e->attr->asked_ns >= since_ns))
		return true;
	head_init(&e->op, e->key, e->key_length);
	e->op.quiet = true; /* whoever needs it asks again */
	e->op.done = ahead_done;
	e->op.ctx = e;
	e->asking = true;
	e->asked_ns = a->clock->now_ns(a->clock);
	a->in_flight++;
	xfer_submit(a->xfer, &e->op);
	return true;
}

/* Waits for a HEAD of the key that is under way: 0 with what it, or one that has just ended,
 * brought (NULL: nothing else than `seen`), or what cancel answered. */
static int join(struct attrs *a, const struct buf *key, const struct attrs_since *since,
		struct cancel *cancel, struct node_attr **ret)
{
	struct entry *e;
	int rc = 0;

	SCOPED_LOCK(&a->lock);
	e = find_locked(a, key);
	*ret = NULL;
	if (e == NULL)
		return 0;
	e->waiters++;
	while (e->asking && rc == 0)
		rc = cond_wait_cancel(&a->answered, &a->lock, UINT64_MAX, cancel);
	e->waiters--;
	if (rc == 0 && e->attr != NULL && e->attr != since->seen && e->attr->asked_ns >= since->ns)
		*ret = node_attr_ref(e->attr);
	return rc;
}

int attrs_ask(struct attrs *a, const struct buf *key, const struct attrs_since *since,
	      struct cancel *cancel, struct node_attr **ret)
{
	uint64_t now_ns = a->clock->now_ns(a->clock);
	struct xfer_op op;
	int rc = join(a, key, since, cancel, ret);

	if (rc < 0 || *ret != NULL)
		return rc;
	head_init(&op, key->data, key->length);
	rc = xfer_run(a->xfer, &op, cancel);
	if (rc == 0 || rc == -ENOENT) {
		attrs_note(a, key, &op.s3, now_ns);
		*ret = attr_of_answer(&op.s3, now_ns);
		rc = *ret != NULL ? 0 : -ENOMEM;
	}
	xfer_op_finish(&op);
	return rc;
}
