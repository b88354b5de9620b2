/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object has besides its bytes, and keeps when they are changed in place: content headers,
 * user metadata, tags, storage class, encryption. Counted, never changed. Private to fs/.
 */
#ifndef PAILFS_FS_KEPT_H
#define PAILFS_FS_KEPT_H

#include <pailfs/s3.h>

struct kept {
	struct s3_attributes attributes; /* strings owned; no acl */
	/* counted, atomic */
	unsigned refs;
};

/* A copy of what HEAD found, with tags as attributes.tagging wants them (NULL: none); one
 * reference. -ENOMEM. */
int kept_create(const struct s3_attributes *found, const char *tagging, struct kept **ret);
/* One more reference. NULL is fine. */
struct kept *kept_ref(struct kept *k);
/* One less. NULL is fine. */
void kept_unref(struct kept *k);

#endif
