/* SPDX-License-Identifier: Apache-2.0 */
/* What S3 said of one object, in 40 bytes: a listing of a million names keeps it twice. Values
 * without locks. Private to fs/. */
#ifndef PAILFS_FS_OBJECT_H
#define PAILFS_FS_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "etag.h"

struct object {
	uint64_t size;
	int64_t modified_s; /* see object_modified */
	uint32_t modified_ns : 30;
	bool archived : 1;
	struct etag etag;
};
_Static_assert(sizeof(struct object) <= 40, "there is a million of it");

/* Takes over what a HEAD or a listing told. -ENOMEM. */
int object_init(struct object *o, uint64_t size, struct timespec modified, const char *etag,
		bool archived);
/* True if both describe the same version (size and time decide where a server has no ETags). */
bool object_same(const struct object *a, const struct object *b);
/* Last-Modified, or the time that was given to the file here. */
struct timespec object_modified(const struct object *o);
void object_set_modified(struct object *o, struct timespec modified);

#endif
