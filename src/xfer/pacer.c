/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/ asks, on any of its loops' threads, before bytes pass; who is refused is told when to ask
 * again. So tokens must be kept for those who were refused earlier, until they come for them:
 *
 *   - While one of a higher class waits, nobody of a lower class gets any.
 *   - Within a class the flow with the fewest bytes (its `bytes`, a virtual time) goes first. Who
 *     is ahead must leave so many tokens in the bucket as those who wait behind need to draw level:
 *     they take them at once when they come.
 *   - Within a flow: in order of arrival, a request's tokens each.
 *   - A full bucket serves whoever comes (not against the first rule), unless one who goes before
 *     is about to come: what is kept for others longer would be lost.
 *   - Who does not come when expected (plus EXPECTED_GRACE_NS) is not waited for.
 *
 * What lies in the buffers of a connection has passed on the wire before anybody asks for tokens.
 * So a download pays for its buffers when it begins (a debt), and the last bytes of its answer, by
 * as many, are free; what was not needed of an answer that is complete is given back. The buffers
 * of all connections (xfer_socket_buffer_bytes) are as large as the bucket, three quarters of the
 * burst: when all begin at once on a full bucket, that pays for them. The last quarter is for
 * those that begin while others go on. What lies in an upload's buffers has its tokens and passes
 * later, so there the bucket has the last quarter, and the buffers the rest.
 *
 * META is never refused. What it takes beyond the bucket is a debt that is paid before anybody
 * gets tokens; it is bounded by the burst, so that a listing of a million names does not
 * silence the data for minutes.
 *
 * A flow that comes new or after a pause starts level with the one that got the fewest; one that
 * was slow for other reasons may catch up on LAG_MAX buckets, no more.
 *
 * One lock; a scan of those who wait (at most as many as there are connections) at each question.
 */
#include "pacer.h"

#include <assert.h>
#include <errno.h>

#include <pailfs/bucket.h>
#include <pailfs/cleanup.h>
#include <pailfs/lock.h>

#include "queue.h"

#define FLOWS_MAX 128
#define FLOW_IDLE_NS (100 * NS_PER_MS)
#define LAG_MAX 2
#define EXPECTED_GRACE_NS (50 * NS_PER_MS)
#define DUE_NS 500000 /* around the expected time: the tokens of a full bucket are kept, too */
#define WAIT_MAX_FLOOR_NS NS_PER_MS /* who is refused waits that long at least ... */
#define WAIT_MIN_FLOOR_NS 50000	    /* ... or a quarter of the time that fills the bucket */

struct pacer_flow {
	uint64_t id;
	uint64_t bytes;	  /* granted, or forgiven at a start */
	unsigned members; /* requests that have joined */
	uint64_t left_ns; /* when the last one left */
	uint64_t scan;	  /* the last pacer_claims_locked that has counted it */
};

struct pacer {
	/* set at creation */
	struct http_pacer hooks;
	enum http_direction direction;
	const struct clock *clock;
	uint64_t capacity_bytes;
	uint64_t connection_bytes;
	uint64_t debt_max_bytes; /* of META */
	uint64_t wait_floor_ns;
	struct lock lock;
	/* under the lock */
	struct bucket bucket;
	uint64_t debt_bytes;
	uint64_t granted_ns;   /* the last time that anybody got tokens */
	uint64_t leader_bytes; /* the most that a flow has */
	uint64_t sequence, scan;
	TAILQ_HEAD(, pacer_request) waiting; /* in order of arrival */
	struct pacer_flow flows[FLOWS_MAX];
	unsigned flow_count;
};

/* Precedence: lower is served first. */
static int class_rank(enum xfer_class class)
{
	switch (class) {
	case XFER_META:
	case XFER_READ:
		return 0;
	case XFER_WRITE:
		return 1;
	default:
		return 2;
	}
}

/* True if r is still believed to come for its tokens. */
static bool request_is_awaited(const struct pacer_request *r, uint64_t now_ns)
{
	return now_ns <= r->expected_ns + EXPECTED_GRACE_NS;
}

/* What others who wait have a right to, as far as it concerns one who asks. */
struct claims {
	bool outranked;	     /* one of a higher class waits */
	bool due;	     /* one who goes before, of another flow, is about to come */
	uint64_t kept_bytes; /* tokens of those who go before */
};

/* Adds the claim of w, of asker's class. A flow's is counted once. */
static void claims_add_locked(struct pacer *p, struct claims *c, const struct pacer_request *asker,
			      size_t n, const struct pacer_request *w, uint64_t now_ns)
{
	const struct pacer_flow *own = asker->flow;
	bool earlier = !asker->waiting || w->sequence < asker->sequence;

	if (w->flow == own) {
		c->kept_bytes += earlier ? w->wanted_bytes : 0;
		return;
	}
	bool level = w->flow->bytes == own->bytes;
	if (level ? !earlier : w->flow->bytes > own->bytes)
		return;
	c->due |= now_ns + DUE_NS >= w->expected_ns && now_ns <= w->expected_ns + DUE_NS;
	if (w->flow->scan != p->scan)
		c->kept_bytes += own->bytes + n - w->flow->bytes;
	w->flow->scan = p->scan;
}

static struct claims pacer_claims_locked(struct pacer *p, const struct pacer_request *asker,
					 size_t n, uint64_t now_ns)
{
	struct claims c = {0};
	const struct pacer_request *w;

	p->scan++;
	TAILQ_FOREACH (w, &p->waiting, link) {
		if (w == asker || !request_is_awaited(w, now_ns))
			continue;
		if (class_rank(w->class) < class_rank(asker->class))
			c.outranked = true;
		else if (class_rank(w->class) == class_rank(asker->class))
			claims_add_locked(p, &c, asker, n, w, now_ns);
	}
	return c;
}

/* Pays the debt as far as there are tokens. */
static void pacer_pay_locked(struct pacer *p, uint64_t now_ns)
{
	uint64_t wait_ns;

	while (p->debt_bytes > 0) {
		uint64_t piece = MIN(p->debt_bytes, BUCKET_BURST_MIN_BYTES);
		if (!bucket_take_try(&p->bucket, piece, now_ns, &wait_ns))
			break;
		p->debt_bytes -= piece;
	}
}

static void pacer_wait_begin_locked(struct pacer *p, struct pacer_request *r, size_t n)
{
	r->wanted_bytes = n;
	if (r->waiting)
		return;
	r->waiting = true;
	r->sequence = p->sequence++;
	TAILQ_INSERT_TAIL(&p->waiting, r, link);
}

static void pacer_wait_end_locked(struct pacer *p, struct pacer_request *r)
{
	if (!r->waiting)
		return;
	r->waiting = false;
	TAILQ_REMOVE(&p->waiting, r, link);
}

static void pacer_charge_locked(struct pacer *p, size_t n, uint64_t now_ns)
{
	p->debt_bytes = MAX(MIN(p->debt_bytes + n, p->debt_max_bytes), p->debt_bytes);
	pacer_pay_locked(p, now_ns);
	p->granted_ns = now_ns;
}

static void pacer_count_locked(struct pacer *p, struct pacer_flow *flow, uint64_t n)
{
	flow->bytes += n;
	p->leader_bytes = MAX(p->leader_bytes, flow->bytes);
}

static void pacer_grant_locked(struct pacer *p, struct pacer_request *r, size_t n, uint64_t now_ns)
{
	uint64_t unused_ns, taken = MIN(n, p->capacity_bytes);

	bool there = bucket_take_try(&p->bucket, taken, now_ns, &unused_ns);
	assert(there);
	p->debt_bytes += n - taken;
	pacer_count_locked(p, r->flow, n);
	p->granted_ns = now_ns;
	pacer_wait_end_locked(p, r);
}

/* Old claims lapse: nobody is further behind than LAG_MAX buckets. */
static void pacer_clamp_locked(struct pacer *p, struct pacer_flow *flow)
{
	uint64_t lag_max = LAG_MAX * p->capacity_bytes;

	if (p->leader_bytes > lag_max)
		flow->bytes = MAX(flow->bytes, p->leader_bytes - lag_max);
}

/* How many of the next n bytes of the answer are still to be paid for. */
static size_t request_unpaid(const struct pacer_request *r, size_t n)
{
	const struct http_answer *a = &r->http.answer;

	if (r->prepaid_bytes == 0 || a->content_length < 0)
		return n;
	uint64_t length = (uint64_t)a->content_length;
	uint64_t left = length - MIN(length, a->body_bytes);
	return (size_t)MIN(n, left - MIN(left, r->prepaid_bytes));
}

static bool pacer_take_locked(struct pacer *p, struct pacer_request *r, size_t n,
			      uint64_t *ret_wait_ns)
{
	uint64_t now_ns = p->clock->now_ns(p->clock);
	size_t unpaid = request_unpaid(r, n);

	lock_assert_held(&p->lock);
	if (r->class == XFER_META) {
		pacer_charge_locked(p, n, now_ns);
		return true;
	}
	pacer_clamp_locked(p, r->flow);
	pacer_pay_locked(p, now_ns);
	struct claims c = pacer_claims_locked(p, r, unpaid, now_ns);
	uint64_t level = p->debt_bytes + c.kept_bytes + unpaid;
	bool refused = c.outranked || p->debt_bytes > 0 || (c.due && level > p->capacity_bytes);
	uint64_t wait_ns = bucket_wait_ns(&p->bucket, MIN(level, p->capacity_bytes), now_ns);
	if (wait_ns == 0 && !refused) {
		pacer_grant_locked(p, r, unpaid, now_ns);
		r->prepaid_bytes -= n - unpaid;
		return true;
	}
	/* At most until the bucket is full: with a debt left to pay, what flows over is lost. */
	*ret_wait_ns = MAX(wait_ns, p->wait_floor_ns);
	pacer_wait_begin_locked(p, r, unpaid);
	r->expected_ns = now_ns + *ret_wait_ns;
	return false;
}

/* The other direction (an upload's answer) passes uncounted. */
static bool pacer_hook_take(struct http_pacer *hooks, struct http_request *request,
			    enum http_direction direction, size_t n, uint64_t *ret_wait_ns)
{
	struct pacer *p = CONTAINER_OF(hooks, struct pacer, hooks);
	struct pacer_request *r = CONTAINER_OF(request, struct pacer_request, http);

	if (direction != p->direction)
		return true;
	SCOPED_LOCK(&p->lock);
	return r->flow == NULL || pacer_take_locked(p, r, n, ret_wait_ns);
}

static void pacer_hook_gone(struct http_pacer *hooks, struct http_request *request)
{
	pacer_leave(CONTAINER_OF(hooks, struct pacer, hooks),
		    CONTAINER_OF(request, struct pacer_request, http));
}

int pacer_create(const struct xfer_limit *limit, enum http_direction direction,
		 uint64_t connection_bytes, const struct clock *clock, struct pacer **ret)
{
	struct pacer *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	uint64_t now_ns = clock->now_ns(clock);
	uint64_t share = XFER_BURST_SHARE(limit->burst_bytes);
	uint64_t bucket_share = direction == HTTP_DOWN ? share : limit->burst_bytes - share;
	uint64_t capacity = MAX(bucket_share, BUCKET_BURST_MIN_BYTES);
	uint64_t quarter_ns = capacity * NS_PER_S / limit->rate_bytes_per_s / 4;

	p->hooks = (struct http_pacer){.take = pacer_hook_take, .gone = pacer_hook_gone};
	p->direction = direction;
	p->clock = clock;
	p->capacity_bytes = capacity;
	p->connection_bytes = connection_bytes;
	p->debt_max_bytes = MAX(limit->burst_bytes, capacity);
	p->wait_floor_ns = MIN(MAX(quarter_ns, WAIT_MIN_FLOOR_NS), WAIT_MAX_FLOOR_NS);
	p->granted_ns = now_ns;
	lock_init(&p->lock, LOCK_PACER);
	bucket_init(&p->bucket, limit->rate_bytes_per_s, capacity, now_ns);
	TAILQ_INIT(&p->waiting);
	*ret = p;
	return 0;
}

void pacer_destroy(struct pacer *p)
{
	if (p == NULL)
		return;
	assert(TAILQ_EMPTY(&p->waiting));
	lock_finish(&p->lock);
	free(p);
}

/* The fewest bytes of a flow that has members, or what the leader has. */
static uint64_t pacer_hindmost_locked(const struct pacer *p)
{
	uint64_t hindmost = p->leader_bytes;

	for (unsigned i = 0; i < p->flow_count; i++) {
		if (p->flows[i].members > 0)
			hindmost = MIN(hindmost, p->flows[i].bytes);
	}
	return hindmost;
}

/* A record for a new flow: a free one, that of the flow that is gone longest, or a shared one. */
static struct pacer_flow *pacer_flow_new_locked(struct pacer *p, uint64_t id)
{
	struct pacer_flow *oldest = NULL;

	if (p->flow_count < FLOWS_MAX) {
		oldest = &p->flows[p->flow_count++];
	} else {
		for (unsigned i = 0; i < FLOWS_MAX; i++) {
			struct pacer_flow *f = &p->flows[i];
			if (f->members == 0 && (oldest == NULL || f->left_ns < oldest->left_ns))
				oldest = f;
		}
		if (oldest == NULL)
			return &p->flows[id % FLOWS_MAX];
	}
	*oldest = (struct pacer_flow){.id = id, .bytes = pacer_hindmost_locked(p)};
	return oldest;
}

static struct pacer_flow *pacer_flow_locked(struct pacer *p, uint64_t id, uint64_t now_ns)
{
	for (unsigned i = 0; i < p->flow_count; i++) {
		struct pacer_flow *f = &p->flows[i];
		if (f->id != id)
			continue;
		if (f->members == 0 && now_ns > f->left_ns + FLOW_IDLE_NS)
			f->bytes = MAX(f->bytes, pacer_hindmost_locked(p));
		return f;
	}
	return pacer_flow_new_locked(p, id);
}

void pacer_join(struct pacer *p, struct pacer_request *r, enum xfer_class class, uint64_t flow,
		uint64_t expected_bytes)
{
	SCOPED_LOCK(&p->lock);
	uint64_t now_ns = p->clock->now_ns(p->clock);

	assert(r->flow == NULL);
	r->class = class;
	r->waiting = false;
	r->flow = pacer_flow_locked(p, flow, now_ns);
	r->flow->members++;
	r->http.pacer = &p->hooks;
	r->prepaid_bytes = class == XFER_META ? 0 : MIN(p->connection_bytes, expected_bytes);
	p->debt_bytes += r->prepaid_bytes;
	pacer_pay_locked(p, now_ns);
	pacer_count_locked(p, r->flow, r->prepaid_bytes);
}

/* A complete answer was shorter than expected: the rest has not passed on the wire. */
static void pacer_refund_locked(struct pacer *p, struct pacer_request *r)
{
	uint64_t refund = r->prepaid_bytes, of_debt = MIN(refund, p->debt_bytes);

	r->prepaid_bytes = 0;
	if (r->http.answer.error != HTTP_OK)
		return;
	p->debt_bytes -= of_debt;
	bucket_give_back(&p->bucket, refund - of_debt);
	r->flow->bytes -= MIN(refund, r->flow->bytes);
}

void pacer_leave(struct pacer *p, struct pacer_request *r)
{
	SCOPED_LOCK(&p->lock);
	if (r->flow == NULL)
		return;
	pacer_wait_end_locked(p, r);
	pacer_refund_locked(p, r);
	if (--r->flow->members == 0)
		r->flow->left_ns = p->clock->now_ns(p->clock);
	r->flow = NULL;
}

void pacer_promote(struct pacer *p, struct pacer_request *r)
{
	SCOPED_LOCK(&p->lock);
	if (r->flow != NULL && r->class == XFER_AHEAD)
		r->class = XFER_READ;
}

uint64_t pacer_waits_since_ns(struct pacer *p, const struct pacer_request *r)
{
	SCOPED_LOCK(&p->lock);
	return r->flow != NULL && r->waiting ? p->granted_ns : 0;
}
