/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One op's tries: each is built and signed when it is sent, fed to s3/ as bytes arrive, and judged
 * when it ends. What it teaches about clock, region and keys is taken over here.
 *
 * run_prepare is called by whoever starts the try (a submitter, a loop's thread, the dispatcher),
 * the events and run_conclude on the loop's thread; never two of them at once for one run. No lock
 * is held over the bytes of an answer: data goes from curl through s3/ to the sink.
 *
 * Slots, the heap, cancelling: dispatch.c.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/mix.h>

#include "internal.h"

#define TRY_TIMER_SHARE 3 /* of op_timeout, so that a stalled try leaves time for others */
#define TRY_TIMER_MIN_NS NS_PER_S
#define TRY_TIMER_MAX_NS (20 * NS_PER_S)

static bool verb_uploads(enum s3_verb verb)
{
	return verb == S3_PUT_OBJECT || verb == S3_UPLOAD_PART;
}

struct xfer_run *run_create(struct xfer *x, struct xfer_op *op)
{
	struct xfer_run *run = calloc(1, sizeof(*run));
	if (run == NULL)
		return NULL;
	run->x = x;
	run->op = op;
	run->submitted_ns = run->progress_ns = x->clock->now_ns(x->clock);
	run->refs = 1;
	run->queue.class = op->class;
	run->queue.flow = op->flow;
	run->is_slow = s3_verb_is_slow(op->s3.verb);
	run->request.http.events = &xfer_events;
	run->pacer = x->pacer[verb_uploads(op->s3.verb) ? HTTP_UP : HTTP_DOWN];
	return run;
}

void run_destroy(struct xfer_run *run)
{
	if (run == NULL)
		return;
	http_message_finish(&run->request.http.message);
	http_answer_finish(&run->request.http.answer);
	cred_keys_unref(run->keys);
	hedge_destroy(run->hedge);
	free(run);
}

static uint64_t try_timer_ns(const struct xfer *x)
{
	uint64_t share_ns = x->config.op_timeout_ns / TRY_TIMER_SHARE;
	return MIN(MAX(share_ns, TRY_TIMER_MIN_NS), TRY_TIMER_MAX_NS);
}

uint64_t run_timeout_ns(const struct xfer_run *run)
{
	const struct xfer_config *c = &run->x->config;
	return run->is_slow && c->server_timeout_ns > 0 ? c->server_timeout_ns : c->op_timeout_ns;
}

static void run_join_pacer(struct xfer_run *run)
{
	const struct s3_op *s3 = &run->op->s3;
	uint64_t expected = s3->verb == S3_GET_OBJECT ? s3->length - s3->received : 0;

	if (run->pacer == NULL)
		return;
	SCOPED_LOCK(&run->x->lock); /* a promotion comes before it, or finds it joined */
	pacer_join(run->pacer, &run->request, run->queue.class, run->queue.flow, expected);
}

int run_prepare(struct xfer_run *run)
{
	struct xfer *x = run->x;
	struct http_request *r = &run->request.http;
	struct s3_target target;

	int err = cred_get(x->cred, &run->keys);
	if (err < 0)
		return err;
	xfer_target(x, &target);
	err = s3_build(&run->op->s3, &target, &run->keys->s3, x->clock->wall_s(x->clock),
		       &r->message);
	if (err < 0) {
		cred_keys_unref(TAKE(run->keys));
		return err;
	}
	s3_op_body(&run->op->s3, r);
	r->body_cap = s3_body_cap(&run->op->s3);
	r->first_byte_ns = r->stall_ns = run->is_slow ? run_timeout_ns(run) : try_timer_ns(x);
	r->fresh_connection = run->fresh_connection;
	__atomic_store_n(&r->last_byte_ns, 0, __ATOMIC_RELAXED);
	run->fresh_connection = false;
	run->received_before = run->op->s3.received;
	run->try_ns = x->clock->now_ns(x->clock);
	if (run->tries++ == 0 && run->is_slow) {
		SCOPED_LOCK(&x->lock);
		run->progress_ns = run->try_ns;
	}
	run_join_pacer(run);
	return 0;
}

int run_data(struct xfer_run *run, const void *bytes, size_t n)
{
	__atomic_fetch_add(&run->moved_bytes, n, __ATOMIC_RELAXED);
	return s3_op_data(&run->op->s3, bytes, n);
}

/* The server's clock: true if the try may be made again with what was learnt. */
static bool run_learn_clock(struct xfer_run *run)
{
	struct xfer *x = run->x;
	int64_t offset_s = run->op->s3.result.clock_offset_s;
	bool changed;

	{
		SCOPED_LOCK(&x->lock);
		changed = x->target.clock_offset_s != offset_s;
		x->target.clock_offset_s = offset_s;
	}
	if (changed)
		log_info("the server's clock differs from ours by %lld s: requests are signed "
			 "with its time",
			 (long long)offset_s);
	return true;
}

static bool run_learn_region(struct xfer_run *run)
{
	struct xfer *x = run->x;
	const char *region = run->op->s3.result.region;
	bool changed;
	int err;

	{
		SCOPED_LOCK(&x->lock);
		changed = strcmp(x->target.region, region) != 0;
		err = s3_target_set_region(&x->target, region);
	}
	if (err < 0)
		return false;
	if (changed)
		log_info("the bucket is in region %s", region);
	return true;
}

static bool run_learn(struct xfer_run *run)
{
	switch (run->op->s3.result.retry) {
	case S3_RETRY_CLOCK:
		return run_learn_clock(run);
	case S3_RETRY_REGION:
		return run_learn_region(run);
	case S3_RETRY_KEYS:
		return cred_refresh(run->x->cred, run->keys) == 0;
	default:
		return true;
	}
}

/* The op went well without what the server had refused: nobody needs to ask for it again. */
static void run_learn_features(struct xfer_run *run)
{
	struct xfer *x = run->x;
	unsigned left_out = run->op->s3.left_out;
	bool checksum, size;

	{
		SCOPED_LOCK(&x->lock);
		checksum = (left_out & S3_FEATURE_CHECKSUM) != 0 && x->target.checksum_crc32c;
		size = (left_out & S3_FEATURE_OBJECT_SIZE) != 0 && x->target.mp_object_size;
		x->target.checksum_crc32c = x->target.checksum_crc32c && !checksum;
		x->target.mp_object_size = x->target.mp_object_size && !size;
	}
	if (checksum)
		log_warn("the server refuses checksum headers: uploads go without a CRC32C");
	if (size)
		log_info("the server refuses x-amz-mp-object-size: it is not sent any more");
}

static uint64_t last_byte_ns(const struct http_request *r)
{
	return __atomic_load_n(&r->last_byte_ns, __ATOMIC_RELAXED);
}

/*
 * The op's last progress, now that its try has ended. An error answer is none. A GET that has
 * brought enough and goes on behind it has made progress; an upload begins anew, so that its tries
 * go on counting, but the time in which its body moved is not held against it.
 */
static uint64_t run_progress(struct xfer_run *run, const struct http_answer *answer,
			     uint64_t now_ns)
{
	const struct http_request *r = &run->request.http;
	uint64_t brought = run->op->s3.received - run->received_before;

	if (run->op->s3.result.err == 0)
		return now_ns;
	if (brought >= RETRY_PROGRESS_BYTES) {
		retry_progress(&run->retry);
		return MAX(run->progress_ns, last_byte_ns(r));
	}
	uint64_t moved_until = answer->first_byte_ns != 0 ? answer->first_byte_ns : last_byte_ns(r);
	if (r->body_length > 0 && moved_until > run->try_ns)
		return run->progress_ns + (moved_until - run->try_ns);
	return run->progress_ns;
}

static void run_release_try(struct xfer_run *run)
{
	struct http_request *r = &run->request.http;

	if (run->pacer != NULL)
		pacer_leave(run->pacer, &run->request);
	http_message_finish(&r->message);
	http_answer_finish(&r->answer);
	cred_keys_unref(TAKE(run->keys));
}

struct run_verdict run_conclude(struct xfer_run *run)
{
	struct xfer *x = run->x;
	struct xfer_op *op = run->op;
	struct http_answer *answer = &run->request.http.answer;
	uint64_t now_ns = x->clock->now_ns(x->clock);
	uint64_t dice =
	    __atomic_fetch_add(&x->dice, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);

	s3_op_end(&op->s3, answer);
	if (op->s3.result.err != 0 && answer->error != HTTP_CANCELLED)
		run->last = op->s3.result;
	if (op->s3.result.err == 0) {
		report_part(run, answer, now_ns);
		if (op->s3.left_out != 0)
			run_learn_features(run);
	}

	struct run_verdict v = {.progress_ns = run_progress(run, answer, now_ns)};
	v.when = retry_decide(&run->retry, &op->s3.result, x->config.retries,
			      x->config.op_timeout_ns, mix64(dice), &v.delay_ns);
	if (v.when != RETRY_END && !run_learn(run))
		v.when = RETRY_END;
	v.costs = v.when == RETRY_LATER;
	run->fresh_connection = op->s3.result.retry == S3_RETRY_FRESH ||
				answer->error == HTTP_STALLED ||
				answer->error == HTTP_FIRST_BYTE_TIMEOUT;
	run_release_try(run);
	return v;
}

uint64_t run_try_progress_ns(struct xfer_run *run)
{
	uint64_t progress_ns = MAX(run->progress_ns, last_byte_ns(&run->request.http));

	lock_assert_held(&run->x->lock);
	if (run->hedge != NULL)
		progress_ns = MAX(progress_ns, last_byte_ns(&run->hedge->http));
	if (run->is_slow) /* the blanks that S3 sends meanwhile are none */
		return run->progress_ns;
	if (run->pacer == NULL)
		return progress_ns;
	return MAX(progress_ns, pacer_waits_since_ns(run->pacer, &run->request));
}
