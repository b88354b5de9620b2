/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by size, four buckets to a doubling. At 2,048 samples all counts are halved. */
#include "latency.h"

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>

#define FIRST_NS NS_PER_MS /* upper edge of the first bucket */
#define QUARTERS 4
#define SAMPLES_MAX 2048
#define PER_MILLE 1000
#define LEAST_PERIOD_NS (5 * NS_PER_S)

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

void latency_least_add(struct latency_least *l, uint64_t ns, uint64_t at_ns)
{
	ns = MAX(ns, UINT64_C(1));
	if (l->now_ns == 0 || at_ns >= l->turned_ns + LEAST_PERIOD_NS) {
		l->before_ns = l->now_ns;
		l->now_ns = ns;
		l->turned_ns = at_ns;
	}
	l->now_ns = MIN(l->now_ns, ns);
}

uint64_t latency_least_ns(const struct latency_least *l)
{
	return l->before_ns != 0 ? MIN(l->now_ns, l->before_ns) : l->now_ns;
}
