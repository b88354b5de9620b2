/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one answer: pieces that stay where they are and are freed together. */
#ifndef PAILFS_S3_ARENA_H
#define PAILFS_S3_ARENA_H

#include <stddef.h>

struct arena_piece;

/* Zeroed: empty. Not thread-safe. */
struct arena {
	struct arena_piece *pieces;
};

/* n zeroed bytes; NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t n);
/* A NUL-terminated copy; NULL when out of memory. */
char *arena_copy(struct arena *a, const char *text, size_t len);
/* Frees all and makes it empty. */
void arena_finish(struct arena *a);

#endif
