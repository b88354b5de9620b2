/* SPDX-License-Identifier: Apache-2.0 */
/* Which queued op starts next: classes, slots, fairness between flows. No lock, no clock. */
#ifndef PAILFS_XFER_QUEUE_H
#define PAILFS_XFER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/xfer.h>

struct queue_item;
TAILQ_HEAD(queue_items, queue_item);

struct queue_item {
	enum xfer_class class; /* changed by queue_promote only while it is in or running */
	uint64_t flow;
	/* queue only: a flow's first item stands in its class's line, with the others behind it */
	TAILQ_ENTRY(queue_item) link; /* in a line, behind one, or among the active */
	struct queue_items behind;
};

struct queue {
	/* set at creation */
	unsigned meta_slots, data_slots;
	unsigned read_slots; /* data transfers of all classes, when the next is a READ */
	unsigned down_max;   /* AHEAD: downloads */
	unsigned read_max;   /* READ: downloads */
	unsigned write_max;  /* WRITE: uploads */
	/* the caller's lock */
	struct queue_items line[XFER_CLASSES];
	unsigned queued[XFER_CLASSES];
	unsigned running[XFER_CLASSES];
	struct queue_items active; /* what runs */
};

/* An empty queue with the slots that parallel (>= 1) and the limits allow. */
void queue_init(struct queue *q, unsigned parallel, const struct xfer_limit *download,
		const struct xfer_limit *upload);
/* Appends an item (class and flow are set) to its flow's. */
void queue_push(struct queue *q, struct queue_item *item);
/* Puts an item before all others of its class: it is tried again at once. */
void queue_push_front(struct queue *q, struct queue_item *item);
/* Takes an item out that is queued. */
void queue_remove(struct queue *q, struct queue_item *item);
/* Takes the item out that is to start now and counts it as running; NULL: none may start. */
struct queue_item *queue_pop(struct queue *q);
/* A running item runs no more: its slot is free. */
void queue_stopped(struct queue *q, struct queue_item *item);
/* Makes a running item count as READ. */
void queue_promote_running(struct queue *q, struct queue_item *item);
/* What of a burst all buffers together may hold. */
#define XFER_BURST_SHARE(burst_bytes) ((burst_bytes) / 4 * 3)
/*
 * Connections that a limit allows to transfers in bulk: one for each MB/s, as far as
 * XFER_BURST_SHARE holds what is in their buffers; 1 at least, parallel at most.
 */
unsigned queue_limit_connections(const struct xfer_limit *limit, unsigned parallel);
/* What the buffers of such a connection hold; 0 without a limit. */
uint64_t queue_connection_bytes(const struct xfer_limit *limit, unsigned parallel);

#endif
