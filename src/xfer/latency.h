/* SPDX-License-Identifier: Apache-2.0 */
/* How long answers take to begin: a histogram that forgets. No lock, no clock. */
#ifndef PAILFS_XFER_LATENCY_H
#define PAILFS_XFER_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS 64 /* four to each doubling, from 1 ms on: up to a minute */
#define LATENCY_SAMPLES_MIN 100

/* Zeroed at first. */
struct latency {
	uint32_t count[LATENCY_BUCKETS];
	uint32_t total;
};

/* One more. Old ones lose weight. */
void latency_add(struct latency *l, uint64_t ns);
/* What so many of 1,000 do not exceed, to within a fifth; 0: too few are known. */
uint64_t latency_of_ns(const struct latency *l, unsigned per_mille);
/* The least of what answers took lately, from what it was (0: nothing) and one more. */
uint64_t latency_least_ns(uint64_t least_ns, uint64_t ns);

#endif
