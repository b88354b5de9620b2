/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: over any interval t at most rate * t + burst bytes pass. A value without lock or
 * clock: time is passed in. Exact in integers (no drift over months, no overflow).
 */
#ifndef PAILFS_BUCKET_H
#define PAILFS_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_BURST_MIN_BYTES                                                                     \
	(16 * 1024) /* libcurl's write callback delivers up to that at once */

struct bucket {
	uint64_t rate_bytes_per_s;
	uint64_t burst_bytes;
	uint64_t level_bytes; /* tokens there at updated_ns */
	uint64_t fraction;    /* of a token, in 1/NS_PER_S */
	uint64_t updated_ns;
};

/* A full bucket. rate > 0, burst >= BUCKET_BURST_MIN_BYTES (asserted; options check users). */
void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t burst_bytes,
		 uint64_t now_ns);
/* Changes rate and burst from now on; tokens beyond the new burst are lost. */
void bucket_set_rate(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t burst_bytes,
		     uint64_t now_ns);
/*
 * Takes n tokens (n <= burst) if they are there: true. Otherwise takes none and tells in
 * *ret_wait_ns how long until they are.
 */
bool bucket_take_try(struct bucket *b, uint64_t n, uint64_t now_ns, uint64_t *ret_wait_ns);
/* Nanoseconds until n tokens are there (0: now). n may exceed the burst (a queue's total). */
uint64_t bucket_wait_ns(const struct bucket *b, uint64_t n, uint64_t now_ns);
/* Gives n tokens back that were taken and not used. */
void bucket_give_back(struct bucket *b, uint64_t n);

#endif
