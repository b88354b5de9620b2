/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of an object that is changed in place, as long as uploads and handles need them. */
#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

static int copy_text(const char *from, const char **to)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from != NULL && *to == NULL ? -ENOMEM : 0;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

/* The members of s3_attributes that are texts, but for acl. */
static void text_members(struct s3_attributes *a, const char **ret[12])
{
	const char **all[12] = {&a->content_type,     &a->cache_control,    &a->content_disposition,
				&a->content_encoding, &a->content_language, &a->expires,
				&a->website_redirect, &a->storage_class,    &a->sse,
				&a->sse_kms_key_id,   &a->sse_bucket_key,   &a->tagging};

	memcpy(ret, all, sizeof(all));
}

static int copy_all(struct kept *k, const struct s3_attributes *from)
{
	struct s3_attributes source = *from;
	const char **in[12], **out[12];
	struct s3_meta *meta = calloc(from->meta_count + 1, sizeof(*meta));
	int rc = meta != NULL ? 0 : -ENOMEM;

	k->attributes.meta = meta;
	text_members(&source, in);
	text_members(&k->attributes, out);
	for (size_t n = 0; n < ARRAY_SIZE(in) && rc == 0; n++)
		rc = copy_text(*in[n], out[n]);
	for (unsigned n = 0; n < from->meta_count && rc == 0; n++) {
		k->attributes.meta_count++;
		rc = copy_text(from->meta[n].name, &meta[n].name);
		if (rc == 0)
			rc = copy_text(from->meta[n].value, &meta[n].value);
	}
	return rc;
}

int kept_create(const struct s3_attributes *found, const char *tagging, struct kept **ret)
{
	struct s3_attributes from = *found;
	struct kept *k = calloc(1, sizeof(*k));
	int rc;

	if (k == NULL)
		return -ENOMEM;
	k->refs = 1;
	from.tagging = tagging;
	rc = copy_all(k, &from);
	if (rc < 0)
		kept_unref(k);
	else
		*ret = k;
	return rc;
}

struct kept *kept_ref(struct kept *k)
{
	if (k != NULL)
		__atomic_fetch_add(&k->refs, 1, __ATOMIC_RELAXED);
	return k;
}

void kept_unref(struct kept *k)
{
	const char **texts[12];

	if (k == NULL || __atomic_fetch_sub(&k->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	text_members(&k->attributes, texts);
	for (size_t n = 0; n < ARRAY_SIZE(texts); n++)
		free_text(*texts[n]);
	for (unsigned n = 0; n < k->attributes.meta_count; n++) {
		free_text(k->attributes.meta[n].name);
		free_text(k->attributes.meta[n].value);
	}
	free((void *)(uintptr_t)k->attributes.meta);
	free(k);
}
