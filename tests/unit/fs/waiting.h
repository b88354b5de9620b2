/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of which a full part waits for the next, to be hashed with it. */
#ifndef PAILFS_TESTS_FS_WAITING_H
#define PAILFS_TESTS_FS_WAITING_H

#include "write_bench.h"

/* How long a part may wait: no test is to last that long. */
#define WAITING_LONG_NS (60 * NS_PER_S)

/* A bench where it may. */
extern const struct bench_config waiting_patient;

/* The rest of a part, on a thread of its own. */
struct waiting {
	struct writer *w;
	uint64_t end; /* of the part */
	pthread_t thread;
};

/* Fills the part up to end as if that had taken so long, and owes its rest from now on; those
 * before are sent. */
void waiting_fill(struct bench *b, uint64_t end, uint64_t filling_ns);
/* The same of a new bench. */
void waiting_prepare(struct bench *b, const struct bench_config *config, uint64_t end,
		     uint64_t filling_ns);
/* A thread sends the rest of the part up to end, and waits for the next. */
void waiting_start(struct bench *b, struct waiting *r, uint64_t end);
/* A new bench, whose part of that number waits. */
void waiting_begin_at(struct bench *b, struct waiting *r, unsigned number);
/* The first one. */
void waiting_begin(struct bench *b, struct waiting *r);
/* Which part is waited for: 0: none. */
unsigned waiting_partner(struct writer *w);
/* Writes the second part to its end; nothing more is owed. */
void waiting_fill_second(struct bench *b);
/* The thread ends, well before the time is up. */
void waiting_join(struct waiting *r);
/* The time is up. */
void waiting_time_is_up(struct writer *w);

#endif
