/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is next. Four lines, one a class, asked in order of precedence; a class that its own bound
 * stops does not stop those after it. Data classes share `parallel` slots; a demand read finds two
 * more beyond them, so that it starts at once whatever read-ahead and uploads are at. META has
 * slots of its own: names never wait behind data.
 *
 * Within a class the flow with the fewest running ops is next; equal ones take turns, and ops of
 * one flow keep their order. A line holds the first op of each flow; the others hang behind it, and
 * when it leaves, the next stands at the end of the line. That needs no memory, and a search of at
 * most as many flows as are waiting.
 *
 * Everything is called under the scheduler's lock. It knows neither retries nor time.
 */
#include "queue.h"

#include <assert.h>

#include <pailfs/cleanup.h>

#define META_SLOTS_MIN 64
#define BYTES_PER_S_PER_CONNECTION 1000000 /* of a limited direction */
#define SOCKET_BYTES_MIN (4 * KIB)	   /* smallest SO_RCVBUF */
/* The kernel takes twice what is asked for, and curl a buffer of a quarter of it. */
#define CONNECTION_QUARTERS 9
#define SOCKET_QUARTERS 4
#define CONNECTION_BYTES_MIN (SOCKET_BYTES_MIN / SOCKET_QUARTERS * CONNECTION_QUARTERS)
#define PART_BYTES_MIN (256 * KIB) /* of a limited direction */
#define READ_SPARES 2		   /* connections beyond all others', for demand reads */
#define PARALLEL_WITH_SPARES 2	   /* -s is strictly one */

unsigned queue_limit_connections(const struct xfer_limit *limit, unsigned parallel)
{
	if (limit->rate_bytes_per_s == 0)
		return parallel;
	uint64_t worth = limit->rate_bytes_per_s / BYTES_PER_S_PER_CONNECTION;
	uint64_t buffered = XFER_BURST_SHARE(limit->burst_bytes) / CONNECTION_BYTES_MIN;
	return (unsigned)MIN(MAX(MIN(worth, buffered), 1), parallel);
}

static unsigned read_spares(unsigned parallel)
{
	return parallel >= PARALLEL_WITH_SPARES ? READ_SPARES : 0;
}

static unsigned read_connections(const struct xfer_limit *limit, unsigned parallel)
{
	return queue_limit_connections(limit, parallel) + read_spares(parallel);
}

uint32_t xfer_socket_buffer_bytes(const struct xfer_limit *limit, unsigned parallel)
{
	if (limit->rate_bytes_per_s == 0)
		return 0;
	/* Where demand's connections are most of them, they count, too. */
	unsigned connections =
	    MAX(queue_limit_connections(limit, parallel), 1 + read_spares(parallel));
	uint64_t share = XFER_BURST_SHARE(limit->burst_bytes) / connections;
	uint64_t socket = share * SOCKET_QUARTERS / CONNECTION_QUARTERS;
	return (uint32_t)MIN(MAX(socket, SOCKET_BYTES_MIN), MIB);
}

uint64_t queue_connection_bytes(const struct xfer_limit *limit, unsigned parallel)
{
	uint64_t socket = xfer_socket_buffer_bytes(limit, parallel);

	return socket * CONNECTION_QUARTERS / SOCKET_QUARTERS;
}

uint64_t xfer_part_bytes(const struct xfer_limit *limit, unsigned parallel)
{
	if (limit->rate_bytes_per_s == 0)
		return UINT64_MAX;
	uint64_t share = limit->rate_bytes_per_s / queue_limit_connections(limit, parallel);
	return MAX(share, PART_BYTES_MIN);
}

void queue_init(struct queue *q, unsigned parallel, const struct xfer_limit *download,
		const struct xfer_limit *upload)
{
	assert(parallel >= 1);
	*q = (struct queue){
	    .meta_slots = MAX(parallel, META_SLOTS_MIN),
	    .data_slots = parallel,
	    .read_slots = parallel + read_spares(parallel),
	    .down_max = queue_limit_connections(download, parallel),
	    .read_max = read_connections(download, parallel),
	    .write_max = queue_limit_connections(upload, parallel),
	};
	for (int i = 0; i < XFER_CLASSES; i++)
		TAILQ_INIT(&q->line[i]);
	TAILQ_INIT(&q->active);
}

static struct queue_item *queue_first_of_flow(struct queue *q, const struct queue_item *item)
{
	struct queue_item *first;

	TAILQ_FOREACH (first, &q->line[item->class], link) {
		if (first->flow == item->flow)
			return first;
	}
	return NULL;
}

/* Takes the next of first's flow out from behind it, with the others behind itself; NULL: none. */
static struct queue_item *queue_successor(struct queue_item *first)
{
	struct queue_item *next = TAILQ_FIRST(&first->behind);

	if (next != NULL) {
		TAILQ_REMOVE(&first->behind, next, link);
		TAILQ_CONCAT(&next->behind, &first->behind, link);
	}
	return next;
}

void queue_push(struct queue *q, struct queue_item *item)
{
	struct queue_item *first = queue_first_of_flow(q, item);

	TAILQ_INIT(&item->behind);
	TAILQ_INSERT_TAIL(first != NULL ? &first->behind : &q->line[item->class], item, link);
	q->queued[item->class]++;
}

void queue_push_front(struct queue *q, struct queue_item *item)
{
	struct queue_item *first = queue_first_of_flow(q, item);

	TAILQ_INIT(&item->behind);
	if (first != NULL) {
		TAILQ_REMOVE(&q->line[item->class], first, link);
		TAILQ_CONCAT(&item->behind, &first->behind, link);
		TAILQ_INSERT_HEAD(&item->behind, first, link);
	}
	TAILQ_INSERT_HEAD(&q->line[item->class], item, link);
	q->queued[item->class]++;
}

void queue_remove(struct queue *q, struct queue_item *item)
{
	struct queue_item *first = queue_first_of_flow(q, item);

	if (first == item) {
		struct queue_item *next = queue_successor(item);
		if (next != NULL)
			TAILQ_INSERT_BEFORE(item, next, link);
		TAILQ_REMOVE(&q->line[item->class], item, link);
	} else {
		assert(first != NULL);
		TAILQ_REMOVE(&first->behind, item, link);
	}
	q->queued[item->class]--;
}

static bool queue_class_may_start(const struct queue *q, enum xfer_class class)
{
	const unsigned *running = q->running;
	unsigned down = running[XFER_READ] + running[XFER_AHEAD];
	unsigned data = down + running[XFER_WRITE];

	switch (class) {
	case XFER_META:
		return running[XFER_META] < q->meta_slots;
	case XFER_READ:
		return data < q->read_slots && down < q->read_max;
	case XFER_WRITE:
		return data < q->data_slots && running[XFER_WRITE] < q->write_max;
	case XFER_AHEAD:
		return data < q->data_slots && down < q->down_max;
	case XFER_CLASSES:
		break;
	}
	return false;
}

static unsigned queue_flow_running(const struct queue *q, const struct queue_item *item)
{
	const struct queue_item *other;
	unsigned count = 0;

	TAILQ_FOREACH (other, &q->active, link)
		count += other->flow == item->flow;
	return count;
}

/* The first in line of those whose flow has the fewest running. The line is not empty. */
static struct queue_item *queue_next(struct queue *q, enum xfer_class class)
{
	struct queue_item *best = TAILQ_FIRST(&q->line[class]);
	struct queue_item *item;

	if (TAILQ_NEXT(best, link) == NULL)
		return best;
	unsigned fewest = queue_flow_running(q, best);
	TAILQ_FOREACH (item, &q->line[class], link) {
		if (fewest == 0)
			break;
		unsigned running = queue_flow_running(q, item);
		if (running < fewest) {
			fewest = running;
			best = item;
		}
	}
	return best;
}

struct queue_item *queue_pop(struct queue *q)
{
	for (int i = 0; i < XFER_CLASSES; i++) {
		if (q->queued[i] == 0 || !queue_class_may_start(q, (enum xfer_class)i))
			continue;
		struct queue_item *item = queue_next(q, (enum xfer_class)i);
		struct queue_item *next = queue_successor(item);
		TAILQ_REMOVE(&q->line[i], item, link);
		if (next != NULL)
			TAILQ_INSERT_TAIL(&q->line[i], next, link);
		q->queued[i]--;
		q->running[i]++;
		TAILQ_INSERT_TAIL(&q->active, item, link);
		return item;
	}
	return NULL;
}

void queue_stopped(struct queue *q, struct queue_item *item)
{
	assert(q->running[item->class] > 0);
	q->running[item->class]--;
	TAILQ_REMOVE(&q->active, item, link);
}

void queue_promote_running(struct queue *q, struct queue_item *item)
{
	q->running[item->class]--;
	item->class = XFER_READ;
	q->running[XFER_READ]++;
}
