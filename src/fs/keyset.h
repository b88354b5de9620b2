/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of (key, ETag) pairs in 8 to 16 bytes a pair: fingerprints of 64 bits under a random seed.
 * It may hold back (has() is true for a pair that was never added) once in about 10^13 questions
 * to a million pairs; who asks must be safe then. Private to fs/. Not thread-safe.
 */
#ifndef PAILFS_FS_KEYSET_H
#define PAILFS_FS_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keyset {
	uint64_t *slots; /* 0: free */
	size_t count, capacity;
	uint64_t seed;
};

/* An empty set. */
void keyset_init(struct keyset *s);
/* Frees its memory and makes it empty. */
void keyset_finish(struct keyset *s);
/* Adds a pair; an ETag counts without its quotes ("" for keys alone). -ENOMEM. */
int keyset_add(struct keyset *s, const char *key, size_t length, const char *etag);
/* True if the pair was added. */
bool keyset_has(const struct keyset *s, const char *key, size_t length, const char *etag);

#endif
