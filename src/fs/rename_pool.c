/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that copy the keys of a directory's rename, from a short queue: memory does not grow with
 * the directory. The first error ends them; what is on its way is waited for, so that whoever takes
 * the rename back knows of every copy.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "copy.h"
#include "rename_private.h"

#define COPIERS_MAX 32
#define QUEUE_MAX 512
#define STACK_BYTES (256 << 10)

struct pool_item {
	TAILQ_ENTRY(pool_item) link;
	bool again;
	size_t length;
	char suffix[];
};

TAILQ_HEAD(pool_items, pool_item);

struct pool {
	/* set at creation */
	struct tree *tree;
	pthread_t threads[COPIERS_MAX];
	unsigned thread_count;
	struct lock lock; /* LOCK_HANDLE: over the sets and the log of the tree, too */
	struct cond cond;
	/* under the lock */
	struct pool_items items;
	unsigned queued;
	bool ending;
	int err;
};

static int note(struct pool *p, const struct pool_item *item, const char *source_etag,
		const struct object *made)
{
	char etag[S3_ETAG_MAX];
	const struct rename_copied c = {.suffix = item->suffix,
					.length = item->length,
					.source_etag = source_etag,
					.etag = etag_text(&made->etag, etag)};

	SCOPED_LOCK(&p->lock);
	p->tree->bytes += made->size;
	return tree_note_copied(p->tree, &c);
}

static int copy_item(struct pool *p, const struct pool_item *item)
{
	CLEANUP(buf_finish) struct buf from = BUF_INIT, to = BUF_INIT;
	struct tree *t = p->tree;
	char source_etag[S3_ETAG_MAX], shown[256];
	/* a copy of ours, and the marker of the empty directory that is replaced, may be there */
	bool may_replace = item->again || (t->replaces && strcmp(item->suffix, "/") == 0);
	struct copy_ask ask = {.from = &from,
			       .to = &to,
			       .only_new = !may_replace,
			       .alike_will_do = true,
			       .ret_source_etag = source_etag};
	struct object made;
	int rc = buf_append(&from, t->from->data, t->from->length);

	if (rc == 0)
		rc = buf_append(&from, item->suffix, item->length);
	if (rc == 0)
		rc = buf_append(&to, t->to->data, t->to->length);
	if (rc == 0)
		rc = buf_append(&to, item->suffix, item->length);
	if (rc == 0 && to.length > S3_KEY_MAX)
		rc = -ENAMETOOLONG;
	if (rc == 0)
		rc = copy_object(t->fs, &ask, t->cancel, &made);
	if (rc == 0) {
		rc = note(p, item, source_etag, &made);
		etag_finish(&made.etag);
	}
	if (rc < 0 && rc != -ENOENT && rc != -EINTR)
		log_warn("rename: %s cannot be copied: %s",
			 text_printable(from.data, from.length, shown, sizeof(shown)),
			 strerror(-rc));
	return rc == -ENOENT ? 0 : rc; /* it was removed meanwhile */
}

static struct pool_item *next_item(struct pool *p)
{
	struct pool_item *item;

	SCOPED_LOCK(&p->lock);
	while (TAILQ_EMPTY(&p->items) && !p->ending)
		cond_wait(&p->cond, &p->lock);
	item = TAILQ_FIRST(&p->items);
	if (item == NULL)
		return NULL;
	TAILQ_REMOVE(&p->items, item, link);
	p->queued--;
	cond_broadcast(&p->cond);
	return item;
}

static void *copier(void *ctx)
{
	struct pool *p = ctx;
	struct pool_item *item;

	while ((item = next_item(p)) != NULL) {
		bool failed;
		int rc;

		lock_acquire(&p->lock);
		failed = p->err < 0;
		lock_release(&p->lock);
		rc = failed ? 0 : copy_item(p, item);
		free(item);
		if (rc == 0)
			continue;
		SCOPED_LOCK(&p->lock);
		p->tree->in_doubt |= rc == -EINTR || rc == -EIO;
		if (p->err == 0)
			p->err = rc;
		cond_broadcast(&p->cond);
	}
	return NULL;
}

int pool_create(struct tree *t, struct pool **ret)
{
	unsigned wanted = MIN(t->fs->config.parallel, (unsigned)COPIERS_MAX);
	struct pool *p = calloc(1, sizeof(*p));
	pthread_attr_t attr;
	int rc = 0;

	if (p == NULL)
		return -ENOMEM;
	p->tree = t;
	lock_init(&p->lock, LOCK_HANDLE);
	cond_init(&p->cond);
	TAILQ_INIT(&p->items);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (rc == 0 && p->thread_count < wanted) {
		rc = -pthread_create(&p->threads[p->thread_count], &attr, copier, p);
		p->thread_count += rc == 0;
	}
	pthread_attr_destroy(&attr);
	if (p->thread_count == 0) {
		pool_destroy(p);
		return rc;
	}
	*ret = p;
	return 0;
}

int pool_add(struct pool *p, const char *suffix, size_t length, bool again)
{
	struct pool_item *item = calloc(1, sizeof(*item) + length + 1);

	if (item == NULL)
		return -ENOMEM;
	item->again = again;
	item->length = length;
	memcpy(item->suffix, suffix, length);
	SCOPED_LOCK(&p->lock);
	while (p->queued >= QUEUE_MAX && p->err == 0)
		cond_wait(&p->cond, &p->lock);
	if (p->err < 0) {
		free(item);
		return p->err;
	}
	TAILQ_INSERT_TAIL(&p->items, item, link);
	p->queued++;
	cond_broadcast(&p->cond);
	return 0;
}

bool pool_has_copied(struct pool *p, const char *suffix, size_t length, const char *etag)
{
	SCOPED_LOCK(&p->lock);
	return keyset_has(&p->tree->copied, suffix, length, etag);
}

uint64_t pool_copied(struct pool *p)
{
	SCOPED_LOCK(&p->lock);
	return p->tree->lines;
}

int pool_destroy(struct pool *p)
{
	int rc;

	if (p == NULL)
		return 0;
	lock_acquire(&p->lock);
	p->ending = true;
	cond_broadcast(&p->cond);
	lock_release(&p->lock);
	for (unsigned k = 0; k < p->thread_count; k++)
		pthread_join(p->threads[k], NULL);
	rc = p->err;
	cond_finish(&p->cond);
	lock_finish(&p->lock);
	free(p);
	return rc;
}
