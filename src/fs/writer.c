/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file under write: creating, cutting, renaming and ending it, and what all writers share. The
 * writing itself is writer_write.c, publication writer_publish.c.
 *
 * A writer lives until nothing of it is on the wire: its upload, once abandoned, holds it by its
 * owner's references. So destroying never waits for S3.
 */
#include "writer_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

int writers_create(const struct writers_config *config, struct budget *budget, struct xfer *xfer,
		   struct cache *cache, struct journal *journal, struct writers **ret)
{
	struct upload_source source = upload_source_of(xfer);

	return writers_create_over(config, budget, &source, cache, journal, ret);
}

int writers_create_over(const struct writers_config *config, struct budget *budget,
			const struct upload_source *source, struct cache *cache,
			struct journal *journal, struct writers **ret)
{
	struct writers *s;
	int rc = spool_check_dir(config->spool_dir);

	if (rc < 0)
		return rc;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->config = *config;
	s->config.spool_dir = strdup(config->spool_dir);
	rc = s->config.spool_dir != NULL ? slab_create(CHUNK_BYTES, &s->slab) : -ENOMEM;
	if (rc < 0) {
		free((void *)(uintptr_t)s->config.spool_dir);
		free(s);
		return rc;
	}
	if (s->config.clock == NULL)
		s->config.clock = clock_system();
	s->budget = budget;
	s->cache = cache;
	s->put_conditions = s->complete_conditions = true;
	uploads_init(&s->uploads, source, journal);
	s->uploads.stored = config->stored;
	lock_init(&s->lock, LOCK_INODE);
	cond_init(&s->idle);
	TAILQ_INIT(&s->list);
	rc = mover_start(s);
	if (rc < 0) {
		writers_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void writers_destroy(struct writers *s)
{
	if (s == NULL)
		return;
	mover_stop(s);
	lock_acquire(&s->lock);
	assert(TAILQ_EMPTY(&s->list));
	while (s->live > 0)
		cond_wait(&s->idle, &s->lock);
	lock_release(&s->lock);
	uploads_finish(&s->uploads);
	slab_destroy(s->slab);
	cond_finish(&s->idle);
	lock_finish(&s->lock);
	free((void *)(uintptr_t)s->config.spool_dir);
	free(s);
}

void writers_set_conditions(struct writers *s, bool put, bool complete)
{
	SCOPED_LOCK(&s->lock);
	s->put_conditions = put;
	s->complete_conditions = complete;
}

struct writer *writer_of(struct upload_owner *o)
{
	return CONTAINER_OF(o, struct writer, owner);
}

void writer_lock(struct writer *w)
{
	lock_acquire(&w->owner.lock);
}

void writer_unlock(struct writer *w)
{
	lock_release(&w->owner.lock);
}

int writer_wait_locked(struct writer *w, struct cancel *cancel)
{
	return cond_wait_cancel(&w->owner.changed, &w->owner.lock, UINT64_MAX, cancel);
}

int writer_enter_locked(struct writer *w, struct cancel *cancel)
{
	int rc = 0;

	while (w->publishing && rc == 0)
		rc = writer_wait_locked(w, cancel);
	return rc < 0 ? rc : writer_check_upload_locked(w);
}

int writer_fail_locked(struct writer *w, int err)
{
	char shown[256];

	lock_assert_held(&w->owner.lock);
	if (w->err < 0)
		return w->err;
	w->err = err;
	if (!w->publishing)
		writer_drop_upload_locked(w);
	log_warn("%s is not published: %s", text_printable(w->key, w->key_length, shown, 256),
		 strerror(-err));
	return err;
}

void writer_published_locked(struct writer *w)
{
	w->publishing = false;
	if (w->err < 0)
		writer_drop_upload_locked(w);
	cond_broadcast(&w->owner.changed);
}

bool writer_holds_all_locked(const struct writer *w)
{
	return !(extents_kinds(&w->map, 0, w->map.size) & EXTENT_BIT(EXTENT_PART));
}

void writer_drop_upload_locked(struct writer *w)
{
	upload_abandon_locked(TAKE(w->upload));
	w->upload_copies = false;
	memset(w->patched, 0, sizeof(w->patched));
	cond_broadcast(&w->owner.changed);
}

int writer_check_upload_locked(struct writer *w)
{
	int err = w->upload != NULL ? upload_error_locked(w->upload) : 0;

	if (w->err < 0 || err == 0)
		return w->err;
	if (err == -ENXIO && writer_holds_all_locked(w)) {
		writer_drop_upload_locked(w);
		return 0;
	}
	return writer_fail_locked(w, err == -ENXIO ? -EIO : err);
}

struct plan_part writer_part_at(const struct writer *w, uint64_t offset)
{
	struct plan_part part = plan_part_at(&w->plan, offset);

	part.length = MIN(part.length, w->map.size - part.offset);
	return part;
}

void writer_plan_again(struct writer *w)
{
	const struct writers_config *config = &w->shared->config;

	/* room to grow: the parts of a base must not use all numbers up */
	plan_init(&w->plan, config->upload_part_bytes, 2 * w->map.size, config->memory_bytes);
}

static void writer_free(struct upload_owner *o)
{
	struct writer *w = writer_of(o);
	struct writers *s = w->shared;

	assert(LIST_EMPTY(&w->spool_bodies) && w->upload == NULL);
	extents_finish(&w->map);
	spool_finish(&w->spool);
	upload_attr_finish(&w->attr);
	writer_drop_base_locked(w);
	cond_finish(&w->owner.changed);
	lock_finish(&w->owner.lock);
	free(w->key);
	free(w);
	SCOPED_LOCK(&s->lock);
	if (--s->live == 0)
		cond_broadcast(&s->idle);
}

int writer_set_key(struct writer *w, const void *key, size_t key_length)
{
	char *copy = malloc(key_length + 1);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, key, key_length);
	copy[key_length] = '\0';
	free(w->key);
	w->key = copy;
	w->key_length = key_length;
	return 0;
}

static int set_base(struct writer *w, struct cache_version *base, const char *etag)
{
	uint64_t size = cache_version_size(base);

	if (strlen(etag) >= sizeof(w->base_etag))
		return -EINVAL;
	strcpy(w->base_etag, etag);
	strcpy(w->own_etag, etag);
	cache_version_ref(base);
	w->base = base;
	return size > 0 ? extents_set(&w->map, 0, size, EXTENT_BASE) : 0;
}

int writer_create(struct writers *shared, const void *key, size_t key_length,
		  struct cache_version *base, const char *base_etag, bool readable,
		  struct writer **ret)
{
	struct writer *w = calloc(1, sizeof(*w));
	int rc;

	if (w == NULL)
		return -ENOMEM;
	rc = writer_set_key(w, key, key_length);
	if (rc == 0 && base != NULL)
		rc = set_base(w, base, base_etag);
	if (rc < 0) {
		cache_version_unref(w->base);
		extents_finish(&w->map);
		free(w->key);
		free(w);
		return rc;
	}
	lock_init(&w->owner.lock, LOCK_HANDLE);
	cond_init(&w->owner.changed);
	w->owner.refs = 1;
	w->owner.free = writer_free;
	w->shared = shared;
	w->flow = shared->uploads.source.flow_new(shared->uploads.source.ctx);
	spool_init(&w->spool);
	LIST_INIT(&w->spool_bodies);
	w->keep_all = readable;
	w->dirty = base == NULL;
	writer_plan_again(w);
	lock_acquire(&shared->lock);
	TAILQ_INSERT_TAIL(&shared->list, w, link);
	shared->live++;
	lock_release(&shared->lock);
	*ret = w;
	return 0;
}

void writer_destroy(struct writer *w)
{
	if (w == NULL)
		return;
	lock_acquire(&w->shared->lock);
	TAILQ_REMOVE(&w->shared->list, w, link);
	lock_release(&w->shared->lock);
	writer_lock(w);
	w->err = -ECANCELED;
	cond_broadcast(&w->owner.changed); /* a part that waits for the next */
	/* publishing: bytes of a source are fetched (writer_range.c), until its next step */
	while (w->publishing || w->rests > 0)
		writer_wait_locked(w, NULL);
	writer_drop_upload_locked(w);
	chunk_free_all_locked(w);
	writer_unlock(w);
	upload_owner_unref(&w->owner);
}

int writer_set_attr(struct writer *w, const struct publish_attr *attr)
{
	struct upload_attr copy;
	int rc = upload_attr_init(&copy, attr, NULL);

	if (rc < 0)
		return rc;
	writer_lock(w);
	SWAP(w->attr, copy);
	writer_unlock(w);
	upload_attr_finish(&copy);
	return 0;
}

uint64_t writer_size(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	return w->map.size;
}

bool writer_is_dirty(struct writer *w)
{
	return atomic_load(&w->dirty);
}

int writer_rebase(struct writer *w, struct cache_version *base, const char *etag)
{
	SCOPED_LOCK(&w->owner.lock);
	assert(!w->publishing);
	if (strlen(etag) >= sizeof(w->base_etag))
		return -EINVAL;
	strcpy(w->own_etag, etag);
	if (w->base_key != NULL || w->base == NULL)
		return 0; /* nothing is of the file's own object */
	if (cache_version_size(w->base) != cache_version_size(base))
		return -EINVAL;
	cache_flow_end(w->base, w->flow, 0);
	cache_version_ref(base);
	cache_version_unref(w->base);
	w->base = base;
	strcpy(w->base_etag, etag);
	return 0;
}

int writer_error(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	return w->publishing ? w->err : writer_check_upload_locked(w);
}

int writer_keep_all(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	if (!writer_holds_all_locked(w))
		return -EOPNOTSUPP;
	w->keep_all = true;
	return 0;
}

int writer_rename(struct writer *w, const void *key, size_t key_length)
{
	int rc = 0;

	SCOPED_LOCK(&w->owner.lock);
	while (w->publishing || w->starting) /* an upload of the old key would come to be */
		writer_wait_locked(w, NULL);
	if (w->base != NULL && w->base_key == NULL)
		return -EBUSY;
	if (!writer_holds_all_locked(w))
		return -EOPNOTSUPP;
	rc = writer_set_key(w, key, key_length);
	if (rc == 0)
		writer_drop_upload_locked(w);
	return rc;
}

void writer_detach(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	while (w->publishing)
		writer_wait_locked(w, NULL);
	w->detached = w->keep_all = true;
	writer_drop_upload_locked(w);
}

void writer_expect(struct writer *w, uint64_t size)
{
	SCOPED_LOCK(&w->owner.lock);
	if (w->upload == NULL && !w->starting && !w->publishing && w->base == NULL)
		plan_init(&w->plan, w->shared->config.upload_part_bytes, MAX(size, w->map.size),
			  w->shared->config.memory_bytes);
}

void writer_progress(struct writer *w, uint64_t *ret_sent, uint64_t *ret_total)
{
	SCOPED_LOCK(&w->owner.lock);
	*ret_sent = w->upload != NULL ? upload_sent_bytes_locked(w->upload) : 0;
	*ret_total = w->map.size;
}
