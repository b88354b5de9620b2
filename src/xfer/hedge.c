/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A demand GET whose answer does not begin for half as long again as those of 99 of 100 is raced by
 * the same request on a new connection: what is slow is mostly one server or one path of many. At
 * most one request in a hundred is doubled, and an op once in its life.
 *
 * Whoever's headers come first wins, and only the winner ever touches the op: the sink gets bytes
 * from one of the two. The other one is cancelled. The try has ended when both requests have; the
 * last one's thread concludes it, with the winner's answer. The second request is signed as the
 * first one was: it is the same message, which belongs to the try.
 *
 * The dispatcher starts them (hedge_pass_locked, hedge_start_all), loops call the events. Both
 * requests are counted in run->out under x->lock; a hedge's memory goes with the run's.
 */
#include <assert.h>
#include <errno.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "internal.h"

#define SLOW_PER_MILLE 990
#define MEDIAN_PER_MILLE 500
#define SLOWER_PERCENT                                                                             \
	150	      /* beyond that much of it: else the one in a hundred that is always there    \
			 uses up what may be spent */
#define MEDIANS_MIN 2 /* a little more than usual is not slow */
#define SLOW_MIN_NS (20 * NS_PER_MS)
#define PROMOTED_SLOW_MIN_NS (500 * NS_PER_MS) /* of what was asked for ahead: it is large */
#define COST_MILLI 1000 /* of a hedge; a GET that went well pays COST_MILLI / 100 in */
#define PAID_MILLI 10
#define CREDIT_MAX_MILLI (4 * COST_MILLI)

static struct xfer_run *run_of_hedge(struct http_request *r)
{
	return CONTAINER_OF(r, struct run_hedge, http)->run;
}

/* Asks the loser to end, as soon as it can be: one that is being started is asked by its starter.
 */
static void cancel_other(struct xfer_run *run, enum run_winner winner)
{
	struct http_request *loser = NULL;

	{
		SCOPED_LOCK(&run->x->lock);
		struct run_hedge *h = run->hedge;
		if (h == NULL || run->out < 2)
			return;
		if (winner == RUN_WON_BY_HEDGE)
			loser = &run->request.http;
		else if (h->started)
			loser = &h->http;
		h->stop = true;
	}
	if (loser != NULL) /* its memory outlives the winner's done() */
		run->x->engine->cancel(run->x->engine, loser);
}

bool hedge_wins(struct xfer_run *run, enum run_winner who)
{
	int none = RUN_WON_BY_NONE;

	if (!__atomic_compare_exchange_n(&run->winner, &none, (int)who, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return none == (int)who;
	cancel_other(run, who);
	return true;
}

static int hedge_on_headers(struct http_request *r)
{
	struct xfer_run *run = run_of_hedge(r);

	if (r->answer.status >= 300 || !hedge_wins(run, RUN_WON_BY_HEDGE))
		return -ECANCELED; /* an error is for the first one to say */
	return s3_op_headers(&run->op->s3, &r->answer);
}

static int hedge_on_data(struct http_request *r, const void *bytes, size_t n)
{
	return run_data(run_of_hedge(r), bytes, n);
}

static void hedge_on_done(struct http_request *r)
{
	dispatch_request_done(run_of_hedge(r));
}

static const struct http_events hedge_events = {
    .headers = hedge_on_headers,
    .data = hedge_on_data,
    .done = hedge_on_done,
};

bool hedge_is_last(struct xfer_run *run)
{
	SCOPED_LOCK(&run->x->lock);

	assert(run->out > 0);
	return --run->out == 0;
}

void hedge_take_answer(struct xfer_run *run)
{
	struct http_request *first = &run->request.http;
	struct run_hedge *h = run->hedge;

	if (h == NULL)
		return;
	if (__atomic_load_n(&run->winner, __ATOMIC_SEQ_CST) == RUN_WON_BY_HEDGE) {
		SWAP(first->answer, h->http.answer);
		__atomic_store_n(&first->last_byte_ns,
				 __atomic_load_n(&h->http.last_byte_ns, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
		log_debug("GET %llu-%llu: the second request was faster",
			  (unsigned long long)run->op->s3.offset,
			  (unsigned long long)(run->op->s3.offset + run->op->s3.length - 1));
	}
	http_answer_finish(&h->http.answer);
	h->http.message = (struct http_message){0}; /* the try's */
}

/* When a try becomes slow; UINT64_MAX: that is not known yet. */
static uint64_t slow_at_ns_locked(const struct xfer_run *run)
{
	const struct latency *l = &run->x->latency;
	uint64_t least_ns = run->op->class == XFER_READ ? SLOW_MIN_NS : PROMOTED_SLOW_MIN_NS;
	uint64_t slow_ns = latency_of_ns(l, SLOW_PER_MILLE) / 100 * SLOWER_PERCENT;

	lock_assert_held(&run->x->lock);
	if (slow_ns == 0)
		return UINT64_MAX;
	slow_ns = MAX(slow_ns, MEDIANS_MIN * latency_of_ns(l, MEDIAN_PER_MILLE));
	return run->try_ns + MAX(slow_ns, least_ns);
}

static bool is_candidate_locked(struct xfer_run *run)
{
	return run->x->config.parallel > 1 && /* -s is strictly one */
	       run->state == RUN_RUNNING && run->queue.class == XFER_READ &&
	       run->op->s3.verb == S3_GET_OBJECT && run->pacer == NULL && run->hedge == NULL &&
	       run->out == 1 && !run->stop_asked &&
	       __atomic_load_n(&run->winner, __ATOMIC_SEQ_CST) == RUN_WON_BY_NONE;
}

void hedge_watch_locked(struct xfer_run *run)
{
	struct xfer *x = run->x;
	uint64_t slow_at_ns;

	lock_assert_held(&x->lock);
	if (!is_candidate_locked(run) || x->hedge_credit_milli < COST_MILLI)
		return;
	slow_at_ns = slow_at_ns_locked(run);
	if (slow_at_ns >= x->hedge_ns)
		return;
	x->hedge_ns = slow_at_ns;
	dispatch_wake_locked(x);
}

void hedge_learn_locked(struct xfer_run *run, uint64_t first_byte_ns)
{
	struct xfer *x = run->x;

	lock_assert_held(&x->lock);
	if (run->op->s3.verb != S3_GET_OBJECT || first_byte_ns <= run->try_ns)
		return;
	latency_add(&x->latency, first_byte_ns - run->try_ns);
	x->hedge_credit_milli = MIN(x->hedge_credit_milli + PAID_MILLI, CREDIT_MAX_MILLI);
}

/* Makes the second request of a run and counts it as out. NULL: out of memory. */
static struct run_hedge *hedge_create_locked(struct xfer_run *run)
{
	const struct http_request *first = &run->request.http;
	struct run_hedge *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->run = run;
	h->http.message = first->message;
	h->http.events = &hedge_events;
	h->http.body_fd = -1;
	h->http.body_cap = first->body_cap;
	h->http.first_byte_ns = first->first_byte_ns;
	h->http.stall_ns = first->stall_ns;
	h->http.fresh_connection = true;
	run->hedge = h;
	run->out++;
	return h;
}

uint64_t hedge_pass_locked(struct xfer *x, uint64_t now_ns, struct run_work *hedges)
{
	struct xfer_run *run;

	lock_assert_held(&x->lock);
	if (now_ns < x->hedge_ns)
		return x->hedge_ns;
	x->hedge_ns = UINT64_MAX;
	TAILQ_FOREACH (run, &x->runs, link) {
		uint64_t slow_at_ns;

		if (x->hedge_credit_milli < COST_MILLI)
			break;
		if (!is_candidate_locked(run))
			continue;
		slow_at_ns = slow_at_ns_locked(run);
		if (slow_at_ns > now_ns) {
			x->hedge_ns = MIN(x->hedge_ns, slow_at_ns);
			continue;
		}
		if (hedge_create_locked(run) == NULL)
			break;
		x->hedge_credit_milli -= COST_MILLI;
		x->requests++;
		run->refs++;
		STAILQ_INSERT_TAIL(hedges, run, hedge_work);
	}
	return x->hedge_ns;
}

void hedge_start(struct xfer_run *run)
{
	struct xfer *x = run->x;
	struct run_hedge *h = run->hedge;
	bool stop;

	x->engine->submit(x->engine, &h->http);
	{
		SCOPED_LOCK(&x->lock);
		h->started = true;
		stop = h->stop || run->stop_asked;
	}
	if (stop)
		x->engine->cancel(x->engine, &h->http);
}

void hedge_stop(struct xfer_run *run)
{
	bool started;

	{
		SCOPED_LOCK(&run->x->lock);
		started = run->hedge != NULL && run->hedge->started;
	}
	if (started)
		run->x->engine->cancel(run->x->engine, &run->hedge->http);
}

void hedge_destroy(struct run_hedge *h)
{
	free(h);
}
