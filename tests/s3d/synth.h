/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_SYNTH_H
#define S3D_SYNTH_H

#include "object.h"

/* A million keys for a few bytes: prefix, a zero-padded number in [0, count), a tail. */
struct synth {
	char *head, *tail; /* around the number */
	unsigned width;	   /* digits */
	uint64_t count, size, seed;
	bool sparse; /* content all zero */
	int64_t mtime_ms;
};

/*
 * Fills range from prefix and a format with one "%0Nd" (or "%d", which takes as many digits as
 * count - 1 has). 0, or -EINVAL: no such conversion, too few digits, key too long, no count. The
 * caller finishes it.
 */
int synth_init(struct synth *range, const char *prefix, const char *format, uint64_t count);
/* Frees what it holds. Takes NULL. */
void synth_finish(struct synth *range);

/* Writes key number i (i < count) with a NUL; its length. */
size_t synth_key(const struct synth *range, uint64_t i, char out[KEY_MAX_BYTES + 1]);
/* The first i whose key is not below `key`; count when there is none. */
uint64_t synth_lower_bound(const struct synth *range, const char *key, size_t len);
/* Whether the key is in the range, and its number. */
bool synth_find(const struct synth *range, const char *key, size_t len, uint64_t *ret_i);

/* ETag fixed by (seed, size), or by the size of a sparse one. */
void synth_etag(uint64_t seed, uint64_t size, bool sparse, char out[ETAG_SIZE]);
/* One synthetic object of any size. Never NULL, one reference. */
struct object *synth_object(const char *key, size_t key_len, uint64_t seed, uint64_t size,
			    bool sparse);

#endif
