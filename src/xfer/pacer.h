/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token bucket of one direction and who may take from it: demand before writes before
 * read-ahead, and within a class the flow that got the fewest bytes so far.
 */
#ifndef PAILFS_XFER_PACER_H
#define PAILFS_XFER_PACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/clock.h>
#include <pailfs/http.h>
#include <pailfs/xfer.h>

struct pacer;
struct pacer_flow;

/* A request that is paced. Its owner fills http as always; the rest is the pacer's. */
struct pacer_request {
	struct http_request http;
	/* under the pacer's lock */
	struct pacer_flow *flow; /* NULL: has not joined */
	enum xfer_class class;
	uint64_t prepaid_bytes; /* the last so many bytes of the answer are paid for */
	bool waiting;
	size_t wanted_bytes;
	uint64_t sequence;    /* order of arrival of those that wait */
	uint64_t expected_ns; /* when it will ask again */
	TAILQ_ENTRY(pacer_request) link;
};

/*
 * A pacer of that limit (rate > 0) with a full bucket. connection_bytes: what the buffers of one
 * connection may hold, of what has passed on the wire and not been asked for. -ENOMEM.
 */
int pacer_create(const struct xfer_limit *limit, enum http_direction direction,
		 uint64_t connection_bytes, const struct clock *clock, struct pacer **ret);
/* Ends it; nothing has joined any more. NULL is fine. */
void pacer_destroy(struct pacer *p);
/*
 * Before a request is submitted: lets it take part, and sets http.pacer. META is charged and never
 * made to wait. expected_bytes: of the answer's body; 0: not known.
 */
void pacer_join(struct pacer *p, struct pacer_request *r, enum xfer_class class, uint64_t flow,
		uint64_t expected_bytes);
/* The request has ended. One that has left, or never joined, is fine. */
void pacer_leave(struct pacer *p, struct pacer_request *r);
/* Somebody waits for it now: it is READ from here on. As pacer_leave. */
void pacer_promote(struct pacer *p, struct pacer_request *r);
/* When anybody got tokens last, if r waits for some: its turn may be far, it is no stall. Else 0.
 */
uint64_t pacer_waits_since_ns(struct pacer *p, const struct pacer_request *r);

#endif
