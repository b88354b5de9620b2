/* SPDX-License-Identifier: Apache-2.0 */
#include "object.h"

int object_init(struct object *o, uint64_t size, struct timespec modified, const char *etag,
		bool archived)
{
	*o = (struct object){.size = size, .archived = archived};
	object_set_modified(o, modified);
	return etag_init(&o->etag, etag);
}

bool object_same(const struct object *a, const struct object *b)
{
	if (a->size != b->size || !etag_equal(&a->etag, &b->etag))
		return false;
	return a->etag.form != ETAG_NONE || a->modified_s == b->modified_s;
}

struct timespec object_modified(const struct object *o)
{
	return (struct timespec){.tv_sec = o->modified_s, .tv_nsec = o->modified_ns};
}

void object_set_modified(struct object *o, struct timespec modified)
{
	o->modified_s = modified.tv_sec;
	o->modified_ns = (uint32_t)modified.tv_nsec & ((1U << 30) - 1); /* all of it: below 10^9 */
}
