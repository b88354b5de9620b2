/* SPDX-License-Identifier: Apache-2.0 */
/* Whether, when and how often a failed try is made again. Values without lock or clock. */
#ifndef PAILFS_XFER_RETRY_H
#define PAILFS_XFER_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pailfs/s3.h>

/* A failed GET has made progress if it brought that much: its tries are counted anew. */
#define RETRY_PROGRESS_BYTES (64 * 1024)
/* The pause while keys are being refreshed. */
#define RETRY_KEYS_WAIT_NS (100 * NS_PER_MS)

/* What an op's failures so far have used up. Zeroed at the op's start. */
struct retry_state {
	unsigned failures; /* in a row, of those that are paid for with a pause */
	unsigned clocks;   /* times that the clock's offset was learnt */
	bool fresh, region, keys;
};

enum retry_when { RETRY_END, RETRY_AT_ONCE, RETRY_LATER };

/*
 * What follows after a try that ended with *result: the end, another try at once, or one after
 * *ret_delay_ns (full jitter: random decides). Notes in *s what was used up.
 */
enum retry_when retry_decide(struct retry_state *s, const struct s3_result *result,
			     unsigned retries, uint64_t op_timeout_ns, uint64_t random,
			     uint64_t *ret_delay_ns);
/* A try brought data: failures are counted anew (keys, region and clock are not). */
void retry_progress(struct retry_state *s);
/* The longest pause after that many failures (>= 1) in a row. */
uint64_t retry_ceiling_ns(unsigned failures, bool throttled);

/*
 * All ops share a budget, so that an outage is not met with `retries` times the usual load: a retry
 * costs 5, a success gives 1 back, 10 a second come by themselves, 500 fit in.
 */
struct retry_budget {
	uint64_t level_milli;
	uint64_t updated_ns;
};

/* A full budget. */
void retry_budget_init(struct retry_budget *b, uint64_t now_ns);
/* Pays for one retry: true. Or takes nothing and tells in how many ns there will be enough. */
bool retry_budget_take_try(struct retry_budget *b, uint64_t now_ns, uint64_t *ret_wait_ns);
/* Pays a success in. */
void retry_budget_give(struct retry_budget *b, uint64_t now_ns);

/* One that waits in the heap. */
struct retry_item {
	uint64_t due_ns;
	bool costs; /* the budget is asked when it is due */
	/* heap only */
	uint64_t sequence;
	size_t index;
};

/* Items by due time, those of the same time in order of arrival. The array is the heap's, the
 * items are the caller's. */
struct retry_heap {
	struct retry_item **items;
	size_t count, room;
	uint64_t sequence;
};

/* An empty heap; finish frees the array (not the items). */
void retry_heap_init(struct retry_heap *h);
/* Frees the array. */
void retry_heap_finish(struct retry_heap *h);
/* Makes room for count items in all, so that retry_heap_push cannot fail. 0 or -ENOMEM. */
int retry_heap_reserve(struct retry_heap *h, size_t count);
/* Puts an item in by its due_ns; room was reserved (asserted). */
void retry_heap_push(struct retry_heap *h, struct retry_item *item);
/* Takes an item out that is in. */
void retry_heap_remove(struct retry_heap *h, struct retry_item *item);
/* The one that is due first, left in; NULL if empty. */
struct retry_item *retry_heap_first(const struct retry_heap *h);

#endif
