/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of what goes along with an object: it must last until requests that carry it have ended.
 */
#include "upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

static int add_meta(struct upload_attr *a, const char *name, const char *value)
{
	struct s3_meta *m = &a->meta[a->meta_count];

	m->name = strdup(name);
	m->value = strdup(value);
	a->meta_count++; /* so that a half one is freed, too */
	return m->name == NULL || m->value == NULL ? -ENOMEM : 0;
}

int upload_attr_init(struct upload_attr *a, const struct publish_attr *attr, const char *nonce)
{
	unsigned i, count = attr != NULL ? attr->meta_count : 0;
	int rc = 0;

	*a = (struct upload_attr){0};
	a->meta = calloc(count + 1, sizeof(*a->meta));
	if (a->meta == NULL)
		return -ENOMEM;
	a->kept = kept_ref(attr != NULL ? attr->kept : NULL);
	if (attr != NULL && attr->content_type != NULL) {
		a->content_type = strdup(attr->content_type);
		rc = a->content_type == NULL ? -ENOMEM : 0;
	}
	for (i = 0; i < count && rc == 0; i++)
		rc = add_meta(a, attr->meta[i].name, attr->meta[i].value);
	if (rc == 0 && nonce != NULL)
		rc = add_meta(a, NONCE_META, nonce);
	if (rc < 0)
		upload_attr_finish(a);
	return rc;
}

void upload_attr_finish(struct upload_attr *a)
{
	unsigned i;

	for (i = 0; i < a->meta_count; i++) {
		free((void *)(uintptr_t)a->meta[i].name);
		free((void *)(uintptr_t)a->meta[i].value);
	}
	free(a->meta);
	free(a->content_type);
	kept_unref(a->kept);
	*a = (struct upload_attr){0};
}

void upload_attr_fill(const struct upload_attr *a, const struct s3_attributes *stored,
		      struct s3_attributes *ret)
{
	*ret = *stored;
	if (a->kept != NULL) {
		*ret = a->kept->attributes;
		ret->acl = stored->acl;
		if (ret->sse == NULL) {
			ret->sse = stored->sse;
			ret->sse_kms_key_id = stored->sse_kms_key_id;
		}
	}
	ret->content_type = a->content_type;
	ret->meta = a->meta;
	ret->meta_count = a->meta_count;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static unsigned count_without_nonce(const struct upload_attr *a)
{
	unsigned i, count = 0;

	for (i = 0; i < a->meta_count; i++)
		count += strcmp(a->meta[i].name, NONCE_META) != 0;
	return count;
}

static const char *value_of(const struct upload_attr *a, const char *name)
{
	unsigned i;

	for (i = 0; i < a->meta_count; i++)
		if (strcmp(a->meta[i].name, name) == 0)
			return a->meta[i].value;
	return NULL;
}

bool upload_attr_equal(const struct upload_attr *a, const struct upload_attr *b)
{
	unsigned i;

	if (!same_text(a->content_type, b->content_type) ||
	    count_without_nonce(a) != count_without_nonce(b))
		return false;
	for (i = 0; i < a->meta_count; i++) {
		const char *name = a->meta[i].name;

		if (strcmp(name, NONCE_META) != 0 &&
		    !same_text(a->meta[i].value, value_of(b, name)))
			return false;
	}
	return true;
}

int upload_nonce(char ret_nonce[NONCE_BYTES])
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	text_hex(random, sizeof(random), ret_nonce);
	return 0;
}
