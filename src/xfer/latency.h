/* SPDX-License-Identifier: Apache-2.0 */
/* How long answers take to begin: a histogram and a least, which forget. No lock, no clock. */
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

/*
 * The least of the last 5 to 10 s in which there were answers, or longer while there are none. Most
 * answers of a link that is full begin late, since they wait behind others, in the network and
 * here: how far away the server is, only the least of many tells. Zeroed at first.
 */
struct latency_least {
	uint64_t now_ns, before_ns; /* of this period and of the one before it; 0: none */
	uint64_t turned_ns;	    /* when this one began */
};

/* One more, which took ns and came at at_ns; in any order. */
void latency_least_add(struct latency_least *l, uint64_t ns, uint64_t at_ns);
/* 0: there is none yet. */
uint64_t latency_least_ns(const struct latency_least *l);

#endif
