/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by size, four buckets to a doubling. At 2,048 samples all counts are halved. */
#include "latency.h"

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#define FIRST_NS NS_PER_MS /* upper edge of the first bucket */
#define QUARTERS 4
#define SAMPLES_MAX 2048
#define PER_MILLE 1000
#define FORGET_SHARE 16 /* of what another one took longer than the least */

/* Upper edge of a bucket. */
static uint64_t edge_ns(unsigned bucket)
{
	uint64_t octave_ns = FIRST_NS << (bucket / QUARTERS);

	return octave_ns + octave_ns / QUARTERS * (bucket % QUARTERS);
}

void latency_add(struct latency *l, uint64_t ns)
{
	unsigned bucket = 0, i;

	while (bucket < LATENCY_BUCKETS - 1 && edge_ns(bucket) < ns)
		bucket++;
	l->count[bucket]++;
	if (++l->total < SAMPLES_MAX)
		return;
	l->total = 0;
	for (i = 0; i < LATENCY_BUCKETS; i++) {
		l->count[i] /= 2;
		l->total += l->count[i];
	}
}

uint64_t latency_of_ns(const struct latency *l, unsigned per_mille)
{
	uint64_t below = (uint64_t)l->total * per_mille / PER_MILLE, sum = 0;
	unsigned bucket;

	if (l->total < LATENCY_SAMPLES_MIN)
		return 0;
	for (bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
		sum += l->count[bucket];
		if (sum >= MAX(below, (uint64_t)1))
			break;
	}
	return edge_ns(bucket);
}

uint64_t latency_least_ns(uint64_t least_ns, uint64_t ns)
{
	if (least_ns == 0 || ns < least_ns)
		return MAX(ns, UINT64_C(1));
	return least_ns + (ns - least_ns) / FORGET_SHARE;
}
