/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer whose base object was copied to another key (rename) goes on over the copy. Its map
 * stays: the bytes are the same. Reads of the old base that are on their way are read again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "writer_private.h"

/* The base is the file's object, not one of which it has taken ranges (writer_graft). */
static bool has_own_base_locked(const struct writer *w)
{
	return w->base != NULL && w->base_key == NULL;
}

const char *writer_base_etag(struct writer *w, char *dst)
{
	SCOPED_LOCK(&w->owner.lock);
	strcpy(dst, w->own_etag);
	return dst;
}

bool writer_has_key(struct writer *w, const void *key, size_t key_length)
{
	SCOPED_LOCK(&w->owner.lock);
	return w->key_length == key_length && memcmp(w->key, key, key_length) == 0;
}

uint64_t writer_base_size(struct writer *w)
{
	SCOPED_LOCK(&w->owner.lock);
	return has_own_base_locked(w) ? cache_version_size(w->base) : UINT64_MAX;
}

int writer_move(struct writer *w, const void *key, size_t key_length, struct cache_version *base,
		const char *base_etag)
{
	bool own;

	SCOPED_LOCK(&w->owner.lock);
	while (w->publishing || w->starting)
		writer_wait_locked(w, NULL);
	own = has_own_base_locked(w);
	if (w->own_etag[0] == '\0' || strlen(base_etag) >= sizeof(w->own_etag) ||
	    (own && (base == NULL || cache_version_size(base) != cache_version_size(w->base))))
		return -EINVAL;
	if (!writer_holds_all_locked(w))
		return -EOPNOTSUPP;
	if (writer_set_key(w, key, key_length) < 0)
		return -ENOMEM;
	writer_drop_upload_locked(w);
	strcpy(w->own_etag, base_etag);
	if (!own)
		return 0; /* nothing is of the file's own object; the next condition is */
	cache_flow_end(w->base, w->flow, 0);
	cache_version_ref(base);
	cache_version_unref(w->base);
	w->base = base;
	strcpy(w->base_etag, base_etag);
	return 0;
}
