/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's door: create and destroy, submit, cancel, wait. How ops move is in dispatch.c,
 * who is next in queue.c, when to try again in retry.c, one try in run.c, tokens in pacer.c.
 *
 * Any thread may call; nothing here blocks but xfer_run, xfer_run_all and xfer_destroy. Lock order:
 * x->lock (LOCK_XFER), then a pacer's, the keys', a loop's inbox.
 */
#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#include <pailfs/cleanup.h>

#include "internal.h"

static void http_engine_submit(struct xfer_engine *e, struct http_request *r)
{
	http_submit(CONTAINER_OF(e, struct xfer_http_engine, engine)->http, r);
}

static void http_engine_cancel(struct xfer_engine *e, struct http_request *r)
{
	http_cancel(CONTAINER_OF(e, struct xfer_http_engine, engine)->http, r);
}

static void xfer_free(struct xfer *x)
{
	pacer_destroy(x->pacer[HTTP_DOWN]);
	pacer_destroy(x->pacer[HTTP_UP]);
	retry_heap_finish(&x->heap);
	cond_finish(&x->wake);
	lock_finish(&x->lock);
	free(x);
}

static uint64_t random_seed(uint64_t configured)
{
	uint64_t seed = configured;

	if (seed == 0 && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = clock_now_ns();
	return seed;
}

static int xfer_create_pacers(struct xfer *x)
{
	const struct xfer_limit *limit[2] = {
	    [HTTP_DOWN] = &x->config.download, [HTTP_UP] = &x->config.upload};

	for (int d = 0; d < 2; d++) {
		if (limit[d]->rate_bytes_per_s == 0)
			continue;
		/* What an upload's buffers hold has its tokens and is still to pass. */
		uint64_t buffered =
		    d == HTTP_DOWN ? queue_connection_bytes(limit[d], x->config.parallel) : 0;
		int err = pacer_create(limit[d], (enum http_direction)d, buffered, x->clock,
				       &x->pacer[d]);
		if (err < 0)
			return err;
	}
	return 0;
}

int xfer_create_on(const struct xfer_config *config, struct xfer_engine *engine, struct cred *cred,
		   const struct s3_target *target, struct xfer **ret)
{
	assert(config->parallel >= 1 && config->op_timeout_ns > 0);
	struct xfer *x = calloc(1, sizeof(*x));
	if (x == NULL)
		return -ENOMEM;
	x->config = *config;
	x->clock = config->clock != NULL ? config->clock : clock_system();
	x->engine = engine;
	x->cred = cred;
	x->target = *target;
	x->dice = random_seed(config->random_seed);
	lock_init(&x->lock, LOCK_XFER);
	cond_init(&x->wake);
	TAILQ_INIT(&x->runs);
	TAILQ_INIT(&x->ended);
	queue_init(&x->queue, config->parallel, &config->download, &config->upload);
	retry_heap_init(&x->heap);
	x->progress_ns = x->clock->now_ns(x->clock);
	x->check_ns = x->progress_ns + config->op_timeout_ns;
	x->hedge_ns = UINT64_MAX;
	retry_budget_init(&x->budget, x->progress_ns);
	int err = xfer_create_pacers(x);
	if (err < 0) {
		xfer_free(x);
		return err;
	}
	*ret = x;
	return 0;
}

static bool xfer_is_over_locked(const struct xfer *x)
{
	lock_assert_held(&x->lock);
	return x->stopping && x->run_count == 0 && x->busy == 0;
}

static void *dispatcher_main(void *arg)
{
	struct xfer *x = arg;

	for (;;) {
		uint64_t next_ns = dispatch_pass(x);
		SCOPED_LOCK(&x->lock);
		if (xfer_is_over_locked(x))
			return NULL;
		if (!x->woken)
			cond_wait_until(&x->wake, &x->lock, next_ns);
	}
}

int xfer_create(const struct xfer_config *config, struct http *http, struct cred *cred,
		const struct s3_target *target, struct xfer **ret)
{
	struct xfer *x;
	int err = xfer_create_on(config, NULL, cred, target, &x);
	if (err < 0)
		return err;
	x->http_engine = (struct xfer_http_engine){
	    .engine = {.submit = http_engine_submit, .cancel = http_engine_cancel},
	    .http = http,
	};
	x->engine = &x->http_engine.engine;
	err = pthread_create(&x->dispatcher, NULL, dispatcher_main, x);
	if (err != 0) {
		xfer_free(x);
		return -err;
	}
	x->has_dispatcher = true;
	*ret = x;
	return 0;
}

/* Cancels all that has not ended. */
static void xfer_cancel_all(struct xfer *x)
{
	struct run_work stops = STAILQ_HEAD_INITIALIZER(stops);
	struct xfer_run *run;

	{
		SCOPED_LOCK(&x->lock);
		x->stopping = true;
		TAILQ_FOREACH (run, &x->runs, link) {
			run->cancelled = true;
			if (dispatch_end_locked(run))
				STAILQ_INSERT_TAIL(&stops, run, work);
		}
		dispatch_wake_locked(x);
	}
	while ((run = STAILQ_FIRST(&stops)) != NULL) {
		STAILQ_REMOVE_HEAD(&stops, work);
		dispatch_stop(run);
	}
}

void xfer_destroy(struct xfer *x)
{
	if (x == NULL)
		return;
	xfer_cancel_all(x);
	if (x->has_dispatcher)
		pthread_join(x->dispatcher, NULL);
	else
		dispatch_pass(x);
	xfer_free(x);
}

void xfer_op_init(struct xfer_op *op, enum s3_verb verb, enum xfer_class class)
{
	*op = (struct xfer_op){.class = class};
	s3_op_init(&op->s3, verb);
}

void xfer_op_finish(struct xfer_op *op)
{
	if (op != NULL)
		s3_op_finish(&op->s3);
}

void xfer_submit(struct xfer *x, struct xfer_op *op)
{
	dispatch_submit(x, &op, 1);
}

void xfer_cancel(struct xfer *x, struct xfer_op *op)
{
	struct xfer_run *run;
	bool stop = false;

	{
		SCOPED_LOCK(&x->lock);
		run = op->run;
		if (run != NULL) {
			run->cancelled = true;
			stop = dispatch_end_locked(run);
		}
	}
	if (stop)
		dispatch_stop(run);
}

void xfer_promote(struct xfer *x, struct xfer_op *op)
{
	dispatch_promote(x, op);
}

/* Counts ops that have not ended; lives on the stack of who waits. */
struct waiter {
	struct lock lock;
	struct cond zero;
	size_t left;
};

static void waiter_op_done(struct xfer_op *op)
{
	struct waiter *w = op->ctx;

	SCOPED_LOCK(&w->lock);
	if (--w->left == 0)
		cond_signal(&w->zero);
}

/* Until all have ended, or cancel says otherwise: its answer. */
static int waiter_wait(struct waiter *w, struct cancel *cancel)
{
	SCOPED_LOCK(&w->lock);
	while (w->left > 0) {
		int err = cond_wait_cancel(&w->zero, &w->lock, UINT64_MAX, cancel);
		if (err < 0)
			return err;
	}
	return 0;
}

int xfer_run_all(struct xfer *x, struct xfer_op **ops, size_t n, struct cancel *cancel)
{
	struct waiter w = {.left = n};

	lock_init(&w.lock, LOCK_LEAF);
	cond_init(&w.zero);
	for (size_t i = 0; i < n; i++) {
		ops[i]->done = waiter_op_done;
		ops[i]->ctx = &w;
	}
	dispatch_submit(x, ops, n);
	int err = waiter_wait(&w, cancel);
	if (err < 0) {
		for (size_t i = 0; i < n; i++)
			xfer_cancel(x, ops[i]);
		waiter_wait(&w, NULL);
	}
	cond_finish(&w.zero);
	lock_finish(&w.lock);
	return err;
}

int xfer_run(struct xfer *x, struct xfer_op *op, struct cancel *cancel)
{
	int err = xfer_run_all(x, &op, 1, cancel);
	return err < 0 ? err : op->s3.result.err;
}

uint64_t xfer_flow_new(struct xfer *x)
{
	return __atomic_add_fetch(&x->flows, 1, __ATOMIC_RELAXED);
}

bool xfer_is_waiting(struct xfer *x, enum xfer_class class)
{
	SCOPED_LOCK(&x->lock);
	return x->queue.queued[class] > 0;
}

uint64_t xfer_first_byte_ns(struct xfer *x)
{
	SCOPED_LOCK(&x->lock);
	return latency_least_ns(&x->first_byte);
}

void xfer_target(struct xfer *x, struct s3_target *ret)
{
	SCOPED_LOCK(&x->lock);
	*ret = x->target;
}

void xfer_set_bare_etags(struct xfer *x, bool bare)
{
	SCOPED_LOCK(&x->lock);
	x->target.bare_etags = bare;
}

void xfer_stats(struct xfer *x, struct xfer_stats *ret)
{
	SCOPED_LOCK(&x->lock);
	const struct queue *q = &x->queue;
	const struct xfer_run *run;

	*ret = (struct xfer_stats){
	    .requests = x->requests,
	    .retries = x->retries,
	    .failures = x->failures,
	    .bytes_down = x->bytes_down,
	    .bytes_up = x->bytes_up,
	    .waiting_retry = (unsigned)x->heap.count,
	    .running = q->running[XFER_READ] + q->running[XFER_WRITE] + q->running[XFER_AHEAD],
	    .running_meta = q->running[XFER_META],
	};
	for (int i = 0; i < XFER_CLASSES; i++)
		ret->queued += q->queued[i];
	TAILQ_FOREACH (run, &x->runs, link)
		ret->bytes_down += __atomic_load_n(&run->moved_bytes, __ATOMIC_RELAXED);
}

void xfer_each_running(struct xfer *x,
		       void (*fn)(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
				  uint64_t started_ns),
		       void *ctx)
{
	SCOPED_LOCK(&x->lock);
	const struct xfer_run *run;

	TAILQ_FOREACH (run, &x->runs, link) {
		if (run->state != RUN_RUNNING || run->queue.class == XFER_META)
			continue;
		uint64_t down = __atomic_load_n(&run->moved_bytes, __ATOMIC_RELAXED);
		uint64_t up = __atomic_load_n(&run->request.http.sent_bytes, __ATOMIC_RELAXED);
		fn(ctx, run->op, down + up, run->submitted_ns);
	}
}
