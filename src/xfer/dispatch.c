/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From state to state:
 *
 *	submit -> QUEUED -> STARTING -> RUNNING -> ENDED -> done()
 *		    ^          |            |
 *		    +-------- WAITING <-----+	  (a retry; at once: straight to QUEUED)
 *
 * Whoever frees or fills a slot starts the next op himself: a submitter in its own thread, a loop
 * when a try has ended. Only what time decides (due retries, op_timeout) and done() calls that
 * must not come from a submitter's thread are left to the dispatcher.
 *
 * Everything that changes a run's place happens under x->lock. What is decided there (start these,
 * stop those, call done) is carried out after it was released; a reference keeps the run alive
 * meanwhile, since its try may end and its op be freed at any moment after it was handed to the
 * engine.
 */
#include <assert.h>
#include <errno.h>

#include <pailfs/cleanup.h>

#include "internal.h"

#define TOGETHER 4		       /* ops of one submitter that are sent at once */
#define CHECK_STEP_NS (10 * NS_PER_MS) /* between two looks at op_timeout */

static void run_unref_locked(struct xfer_run *run)
{
	lock_assert_held(&run->x->lock);
	assert(run->refs > 0);
	if (--run->refs == 0)
		run_destroy(run);
}

void dispatch_wake_locked(struct xfer *x)
{
	lock_assert_held(&x->lock);
	x->woken = true;
	cond_signal(&x->wake);
}

/* The op has its result; done() follows from the dispatcher. */
static void run_hand_over_locked(struct xfer_run *run)
{
	run->state = RUN_ENDED;
	TAILQ_INSERT_TAIL(&run->x->ended, run->op, link);
	dispatch_wake_locked(run->x);
}

static void run_fail(struct xfer_run *run, int err)
{
	run->op->s3.result = run->last;
	run->op->s3.result.err = err;
	run->op->s3.result.retry = S3_RETRY_NO;
}

static void run_wait_locked(struct xfer_run *run, uint64_t due_ns, bool costs)
{
	struct xfer *x = run->x;

	run->state = RUN_WAITING;
	run->wait.due_ns = due_ns;
	run->wait.costs = costs;
	retry_heap_push(&x->heap, &run->wait);
	if (retry_heap_first(&x->heap) == &run->wait)
		dispatch_wake_locked(x);
}

/* Gives slots to all that may start: appended to *starts, each with a reference. */
static void dispatch_pump_locked(struct xfer *x, struct run_work *starts)
{
	struct queue_item *item;

	lock_assert_held(&x->lock);
	while ((item = queue_pop(&x->queue)) != NULL) {
		struct xfer_run *run = CONTAINER_OF(item, struct xfer_run, queue);
		run->state = RUN_STARTING;
		run->stop_asked = false;
		run->starts++;
		run->refs++;
		run->out = 1;
		__atomic_store_n(&run->winner, RUN_WON_BY_NONE, __ATOMIC_SEQ_CST);
		STAILQ_INSERT_TAIL(starts, run, work);
	}
}

/* The try could not even be sent. Its slot goes to the next. */
static void run_not_started(struct xfer_run *run, int err, struct run_work *starts)
{
	struct xfer *x = run->x;

	SCOPED_LOCK(&x->lock);
	queue_stopped(&x->queue, &run->queue);
	if (run->cancelled || run->timed_out || err != -EAGAIN) {
		run_fail(run, run->cancelled ? -ECANCELED : run->timed_out ? -EIO : err);
		run_hand_over_locked(run);
	} else {
		uint64_t now_ns = x->clock->now_ns(x->clock);
		run_wait_locked(run, now_ns + RETRY_KEYS_WAIT_NS, false);
	}
	run_unref_locked(run);
	dispatch_pump_locked(x, starts);
}

/* The engine has it: whoever wanted to end it in the meantime could not. */
static void run_started(struct xfer_run *run, unsigned start)
{
	struct xfer *x = run->x;
	bool stop = false;

	{
		SCOPED_LOCK(&x->lock);
		x->requests++;
		if (run->state == RUN_STARTING && run->starts == start) {
			run->state = RUN_RUNNING;
			stop = run->cancelled || run->timed_out;
			run->stop_asked = stop;
			hedge_watch_locked(run);
		}
		if (!stop)
			run_unref_locked(run);
	}
	if (stop)
		dispatch_stop(run);
}

/*
 * Starts all of *starts and what gets the slots of those that fail. Each is prepared before the
 * first one is sent, so that they leave in one round of the loop: who asks two questions waits for
 * the later answer. No lock held.
 */
static void dispatch_start_all(struct run_work *starts)
{
	struct run_work ready = STAILQ_HEAD_INITIALIZER(ready);
	struct xfer_run *run;

	while ((run = STAILQ_FIRST(starts)) != NULL) {
		STAILQ_REMOVE_HEAD(starts, work);
		int err = run_prepare(run);
		if (err < 0)
			run_not_started(run, err, starts);
		else
			STAILQ_INSERT_TAIL(&ready, run, work);
	}
	while ((run = STAILQ_FIRST(&ready)) != NULL) {
		STAILQ_REMOVE_HEAD(&ready, work);
		struct xfer_engine *engine = run->x->engine;
		unsigned start = run->starts;
		engine->submit(engine, &run->request.http);
		run_started(run, start);
	}
}

static void dispatch_enter_locked(struct xfer *x, struct xfer_op *op, struct xfer_run *run)
{
	int err = run == NULL ? -ENOMEM : retry_heap_reserve(&x->heap, x->run_count + 1);

	lock_assert_held(&x->lock);
	if (x->stopping)
		err = -ECANCELED;
	op->run = run;
	x->run_count++;
	if (run != NULL)
		TAILQ_INSERT_TAIL(&x->runs, run, link);
	if (err < 0) {
		op->s3.result = (struct s3_result){.err = err};
		if (run != NULL)
			run->state = RUN_ENDED;
		TAILQ_INSERT_TAIL(&x->ended, op, link);
		dispatch_wake_locked(x);
		return;
	}
	run->state = RUN_QUEUED;
	queue_push(&x->queue, &run->queue);
}

void dispatch_submit(struct xfer *x, struct xfer_op **ops, size_t n)
{
	struct run_work starts = STAILQ_HEAD_INITIALIZER(starts);

	for (size_t i = 0; i < n; i++) {
		struct xfer_run *run = run_create(x, ops[i]);
		{
			SCOPED_LOCK(&x->lock);
			dispatch_enter_locked(x, ops[i], run);
			dispatch_pump_locked(x, &starts);
		}
		if ((i + 1) % TOGETHER == 0)
			dispatch_start_all(&starts);
	}
	dispatch_start_all(&starts);
}

/* Calls done(). The run goes first: from then on the op is its owner's. No lock held. */
static void dispatch_deliver(struct xfer *x, struct xfer_op *op)
{
	if (op->run != NULL)
		report_end(op->run, x->clock->now_ns(x->clock));
	{
		SCOPED_LOCK(&x->lock);
		struct xfer_run *run = TAKE(op->run);
		int err = op->s3.result.err;
		x->run_count--;
		x->failures += err != 0 && err != -ECANCELED;
		if (run != NULL) {
			x->bytes_down += __atomic_load_n(&run->moved_bytes, __ATOMIC_RELAXED);
			TAILQ_REMOVE(&x->runs, run, link);
			run_unref_locked(run);
		}
	}
	op->done(op);
}

/* A try has ended: true if the op has. */
static bool run_settle_locked(struct xfer_run *run, const struct run_verdict *v)
{
	struct xfer *x = run->x;
	uint64_t now_ns = x->clock->now_ns(x->clock);
	bool good = run->op->s3.result.err == 0;

	run->progress_ns = v->progress_ns;
	x->progress_ns = MAX(x->progress_ns, v->progress_ns);
	if (good)
		retry_budget_give(&x->budget, now_ns);
	if (!good && (run->cancelled || run->timed_out))
		run_fail(run, run->cancelled ? -ECANCELED : -EIO);
	else if (v->when == RETRY_LATER)
		run_wait_locked(run, now_ns + v->delay_ns, v->costs);
	else if (v->when == RETRY_AT_ONCE) {
		x->retries++;
		run->state = RUN_QUEUED;
		queue_push_front(&x->queue, &run->queue);
	}
	if (run->state == RUN_WAITING || run->state == RUN_QUEUED)
		return false;
	run->state = RUN_ENDED;
	return true;
}

static struct xfer_run *run_of_request(struct http_request *r)
{
	return CONTAINER_OF(r, struct xfer_run, request.http);
}

/* How long answers take to begin. */
static void dispatch_learn_locked(struct xfer_run *run, uint64_t sent_ns, uint64_t first_byte_ns)
{
	struct xfer *x = run->x;
	const struct s3_op *s3 = &run->op->s3;

	if (s3->result.err != 0)
		return;
	hedge_learn_locked(run, first_byte_ns);
	if (s3->verb == S3_GET_OBJECT && first_byte_ns > sent_ns)
		latency_least_add(&x->first_byte, first_byte_ns - sent_ns, first_byte_ns);
}

void dispatch_request_done(struct xfer_run *run)
{
	struct run_work starts = STAILQ_HEAD_INITIALIZER(starts);
	struct xfer_op *op = run->op;
	struct xfer *x = run->x;
	struct http_request *r = &run->request.http;

	if (!hedge_is_last(run))
		return;
	hedge_take_answer(run);
	uint64_t sent_bytes = r->answer.error == HTTP_OK ? r->body_length : 0;
	uint64_t first_byte_ns = r->answer.first_byte_ns;
	uint64_t try_ns = MAX(run->try_ns, r->answer.sent_ns);
	struct run_verdict v = run_conclude(run);
	bool ended;

	{
		SCOPED_LOCK(&x->lock);
		x->busy++;
		x->bytes_up += sent_bytes;
		dispatch_learn_locked(run, try_ns, first_byte_ns);
		queue_stopped(&x->queue, &run->queue);
		ended = run_settle_locked(run, &v);
	}
	if (ended) /* first: what done() submits competes for the slot */
		dispatch_deliver(x, op);
	{
		SCOPED_LOCK(&x->lock);
		dispatch_pump_locked(x, &starts);
	}
	dispatch_start_all(&starts);
	SCOPED_LOCK(&x->lock);
	if (--x->busy == 0 && x->stopping)
		dispatch_wake_locked(x);
}

static void xfer_on_done(struct http_request *r)
{
	dispatch_request_done(run_of_request(r));
}

static int xfer_on_headers(struct http_request *r)
{
	struct xfer_run *run = run_of_request(r);

	if (!hedge_wins(run, RUN_WON_BY_FIRST))
		return -ECANCELED;
	return s3_op_headers(&run->op->s3, &r->answer);
}

static int xfer_on_data(struct http_request *r, const void *bytes, size_t n)
{
	return run_data(run_of_request(r), bytes, n);
}

const struct http_events xfer_events = {
    .headers = xfer_on_headers,
    .data = xfer_on_data,
    .done = xfer_on_done,
};

bool dispatch_end_locked(struct xfer_run *run)
{
	struct xfer *x = run->x;

	lock_assert_held(&x->lock);
	switch (run->state) {
	case RUN_QUEUED:
		queue_remove(&x->queue, &run->queue);
		break;
	case RUN_WAITING:
		retry_heap_remove(&x->heap, &run->wait);
		break;
	case RUN_RUNNING:
		if (run->stop_asked)
			return false;
		run->stop_asked = true;
		run->refs++;
		return true;
	case RUN_STARTING: /* run_started looks */
	case RUN_ENDED:
		return false;
	}
	run_fail(run, run->cancelled ? -ECANCELED : -EIO);
	run_hand_over_locked(run);
	return false;
}

void dispatch_stop(struct xfer_run *run)
{
	struct xfer *x = run->x;

	x->engine->cancel(x->engine, &run->request.http);
	hedge_stop(run);
	SCOPED_LOCK(&x->lock);
	run_unref_locked(run);
}

void dispatch_promote(struct xfer *x, struct xfer_op *op)
{
	struct run_work starts = STAILQ_HEAD_INITIALIZER(starts);

	{
		SCOPED_LOCK(&x->lock);
		struct xfer_run *run = op->run;
		if (run == NULL || run->queue.class != XFER_AHEAD)
			return;
		switch (run->state) {
		case RUN_QUEUED:
			queue_remove(&x->queue, &run->queue);
			run->queue.class = XFER_READ;
			queue_push(&x->queue, &run->queue);
			break;
		case RUN_STARTING:
		case RUN_RUNNING:
			queue_promote_running(&x->queue, &run->queue);
			if (x->pacer[HTTP_DOWN] != NULL)
				pacer_promote(x->pacer[HTTP_DOWN], &run->request);
			hedge_watch_locked(run);
			break;
		case RUN_WAITING:
			run->queue.class = XFER_READ;
			break;
		case RUN_ENDED:
			return;
		}
		dispatch_pump_locked(x, &starts);
	}
	dispatch_start_all(&starts);
}

/* Queues the retries that are due, as far as the budget pays for them. */
static void dispatch_retries_locked(struct xfer *x, uint64_t now_ns)
{
	struct retry_item *item;

	while ((item = retry_heap_first(&x->heap)) != NULL && item->due_ns <= now_ns) {
		struct xfer_run *run = CONTAINER_OF(item, struct xfer_run, wait);
		uint64_t wait_ns;
		retry_heap_remove(&x->heap, item);
		if (item->costs && !retry_budget_take_try(&x->budget, now_ns, &wait_ns)) {
			item->due_ns = now_ns + wait_ns;
			retry_heap_push(&x->heap, item);
			continue;
		}
		x->retries += item->costs;
		run->state = RUN_QUEUED;
		queue_push(&x->queue, &run->queue);
	}
}

/* The time since which run has made no progress. One that is queued waits for all others. */
static uint64_t run_idle_since_ns(struct xfer_run *run)
{
	if (run->state == RUN_QUEUED)
		return MAX(run->progress_ns, run->x->progress_ns);
	if (run->state == RUN_RUNNING)
		return run_try_progress_ns(run);
	return run->progress_ns;
}

/* Ends what has made no progress for op_timeout; tries that must be stopped go to *stops. */
static void dispatch_timeouts_locked(struct xfer *x, uint64_t now_ns, struct run_work *stops)
{
	struct xfer_run *run;

	if (now_ns < x->check_ns)
		return;
	TAILQ_FOREACH (run, &x->runs, link) {
		if (run->state == RUN_RUNNING)
			x->progress_ns = MAX(x->progress_ns, run_try_progress_ns(run));
	}
	x->check_ns = now_ns + x->config.op_timeout_ns;
	TAILQ_FOREACH (run, &x->runs, link) {
		uint64_t end_ns = run_idle_since_ns(run) + run_timeout_ns(run);
		if (run->state == RUN_ENDED || run->timed_out)
			continue;
		if (end_ns > now_ns) {
			x->check_ns = MIN(x->check_ns, MAX(end_ns, now_ns + CHECK_STEP_NS));
			continue;
		}
		run->timed_out = true;
		if (dispatch_end_locked(run))
			STAILQ_INSERT_TAIL(stops, run, work);
	}
}

uint64_t dispatch_pass(struct xfer *x)
{
	struct run_work starts = STAILQ_HEAD_INITIALIZER(starts);
	struct run_work stops = STAILQ_HEAD_INITIALIZER(stops);
	struct run_work hedges = STAILQ_HEAD_INITIALIZER(hedges);
	struct op_list ended = TAILQ_HEAD_INITIALIZER(ended);
	uint64_t now_ns = x->clock->now_ns(x->clock);
	uint64_t next_ns;

	{
		SCOPED_LOCK(&x->lock);
		x->woken = false;
		dispatch_retries_locked(x, now_ns);
		dispatch_timeouts_locked(x, now_ns, &stops);
		dispatch_pump_locked(x, &starts);
		TAILQ_CONCAT(&ended, &x->ended, link);
		const struct retry_item *first = retry_heap_first(&x->heap);
		next_ns = first != NULL ? MIN(first->due_ns, x->check_ns) : x->check_ns;
		next_ns = MIN(next_ns, hedge_pass_locked(x, now_ns, &hedges));
	}
	struct xfer_run *run;
	while ((run = STAILQ_FIRST(&hedges)) != NULL) {
		STAILQ_REMOVE_HEAD(&hedges, hedge_work);
		hedge_start(run);
		SCOPED_LOCK(&x->lock);
		run_unref_locked(run);
	}
	while ((run = STAILQ_FIRST(&stops)) != NULL) {
		STAILQ_REMOVE_HEAD(&stops, work);
		dispatch_stop(run);
	}
	dispatch_start_all(&starts);
	struct xfer_op *op;
	while ((op = TAILQ_FIRST(&ended)) != NULL) {
		TAILQ_REMOVE(&ended, op, link);
		dispatch_deliver(x, op);
	}
	return next_ns;
}
