/* SPDX-License-Identifier: Apache-2.0 */
/* Ops through the scheduler: slots, retries, what is learnt, op_timeout, ends from outside. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "fake.h"

#define OPS_MAX 600
#define RETRY_MAX_NS (21 * NS_PER_S) /* no pause is longer */

static struct fake fake;
static struct fake_op ops[OPS_MAX];

static int setup(void **state)
{
	/* two for bulk, two more for demand */
	fake_init(&fake, (struct xfer_config){.parallel = 2, .retries = 3});
	return 0;
}

static int teardown(void **state)
{
	fake_finish(&fake);
	for (unsigned i = 0; i < OPS_MAX; i++)
		xfer_op_finish(&ops[i].op);
	memset(ops, 0, sizeof(ops));
	return 0;
}

static void assert_ended(const struct fake_op *o, int err)
{
	assert_int_equal(o->dones, 1);
	assert_int_equal(o->op.s3.result.err, err);
	assert_null(o->op.run);
}

static void get(unsigned i, enum xfer_class class)
{
	fake_get(&fake, &ops[i], i, class, 0, 1 << 20);
}

/* --- slots --- */

/* Neither to start an op nor to start the next one is the dispatcher needed. */
static void test_starts_without_the_dispatcher(void **state)
{
	for (unsigned i = 0; i < 6; i++)
		get(i, XFER_READ);
	assert_int_equal(fake.sent_count, 4);
	fake_answer_bytes(&fake, &ops[1], UINT64_MAX);
	assert_ended(&ops[1], 0);
	assert_int_equal(ops[1].sunk_bytes, 1 << 20);
	assert_true(fake_is_sent(&fake, &ops[4]));
	assert_false(fake_is_sent(&fake, &ops[5]));
}

static void test_names_pass_500_waiting_reads(void **state)
{
	for (unsigned i = 0; i < 500; i++)
		get(i, XFER_READ);
	fake_head(&fake, &ops[500], 500);
	assert_true(fake_is_sent(&fake, &ops[500]));
	fake_answer_head(&fake, &ops[500]);
	assert_ended(&ops[500], 0);
	assert_int_equal(ops[500].op.s3.object.size, 5);
}

/* What waits for a retry holds no slot. */
static void test_waiting_op_holds_no_slot(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		get(i, XFER_READ);
	fake_answer_error(&fake, &ops[0], 500, "InternalError");
	assert_true(fake_is_sent(&fake, &ops[4]));
	struct xfer_stats stats;
	xfer_stats(fake.x, &stats);
	assert_int_equal(stats.waiting_retry, 1);
	assert_int_equal(stats.running, 4);
	assert_int_equal(stats.requests, 5);
}

static void test_promotion(void **state)
{
	for (unsigned i = 0; i < 6; i++)
		get(i, XFER_AHEAD); /* two run */
	assert_int_equal(fake.sent_count, 2);
	xfer_promote(fake.x, &ops[4].op); /* queued: starts at once */
	assert_true(fake_is_sent(&fake, &ops[4]));
	xfer_promote(fake.x, &ops[0].op); /* running */
	assert_int_equal(fake.x->queue.running[XFER_READ], 2);
	assert_int_equal(fake.x->queue.running[XFER_AHEAD], 1);
	fake_answer_error(&fake, &ops[1], 500, "InternalError");
	xfer_promote(fake.x, &ops[1].op); /* waiting: comes back as demand, before read-ahead */
	fake_advance(&fake, NS_PER_S);
	assert_true(fake_is_sent(&fake, &ops[1]));
	assert_int_equal(fake.x->queue.running[XFER_READ], 3);
	assert_false(fake_is_sent(&fake, &ops[2]));
}

/* A request that cannot be built ends its op, from the dispatcher, and frees its slot. */
static void test_impossible_request(void **state)
{
	static char key[S3_KEY_MAX + 1];

	memset(key, 'x', sizeof(key));
	for (unsigned i = 0; i < 3; i++)
		get(i, XFER_READ);
	xfer_op_init(&ops[3].op, S3_GET_OBJECT, XFER_READ);
	struct xfer_op saved = ops[0].op;
	ops[3].op.s3.key = key;
	ops[3].op.s3.key_length = sizeof(key);
	ops[3].op.s3.length = 1;
	ops[3].op.quiet = true;
	ops[3].op.done = saved.done;
	xfer_submit(fake.x, &ops[3].op);
	assert_int_equal(ops[3].dones, 0);
	get(4, XFER_READ);
	assert_true(fake_is_sent(&fake, &ops[4]));
	fake_advance(&fake, 0);
	assert_ended(&ops[3], -ENAMETOOLONG);
}

/* --- retries --- */

static void test_retries_then_eio(void **state)
{
	get(0, XFER_READ);
	for (unsigned try = 1; try <= 3; try++) {
		assert_true(fake_is_sent(&fake, &ops[0]));
		fake_answer_error(&fake, &ops[0], 503, "ServiceUnavailable");
		assert_false(fake_is_sent(&fake, &ops[0]));
		fake_advance(&fake, retry_ceiling_ns(try, false));
	}
	assert_true(fake_is_sent(&fake, &ops[0]));
	fake_answer_error(&fake, &ops[0], 503, "ServiceUnavailable");
	assert_ended(&ops[0], -EIO);
	assert_string_equal(ops[0].op.s3.result.code, "ServiceUnavailable");
	struct xfer_stats stats;
	xfer_stats(fake.x, &stats);
	assert_int_equal(stats.requests, 4);
	assert_int_equal(stats.retries, 3);
	assert_int_equal(stats.failures, 1);
}

static void test_final_answers_are_not_retried(void **state)
{
	fake_head(&fake, &ops[0], 0);
	fake_answer(&fake, fake_request(&ops[0]), &(struct fake_reply){.status = 404});
	assert_ended(&ops[0], -ENOENT);
	get(1, XFER_READ);
	fake_answer_error(&fake, &ops[1], 403, "AccessDenied");
	assert_ended(&ops[1], -EACCES);
	assert_int_equal(fake.sent_total, 2);
}

static void test_retry_after(void **state)
{
	get(0, XFER_READ);
	fake_answer(&fake, fake_request(&ops[0]),
		    &(struct fake_reply){.status = 503, .headers = {"retry-after", "25"}});
	fake_advance(&fake, 25 * NS_PER_S - 1);
	assert_false(fake_is_sent(&fake, &ops[0]));
	fake_advance(&fake, 1 + NS_PER_S);
	assert_true(fake_is_sent(&fake, &ops[0]));
}

/* A transfer that is cut again and again goes on where it stood, and ends. */
static void test_cut_transfer_goes_on(void **state)
{
	fake_get(&fake, &ops[0], 0, XFER_READ, 0, 30 * 100000);
	for (unsigned i = 0; i < 29; i++) {
		char range[64];
		snprintf(range, sizeof(range), "bytes=%u-%u", 4096 + i * 100000,
			 4096 + 30 * 100000 - 1);
		assert_string_equal(fake_line(&ops[0], "Range"), range);
		fake_answer_bytes(&fake, &ops[0], 100000);
		fake_advance(&fake, RETRY_MAX_NS);
		assert_true(fake_is_sent(&fake, &ops[0]));
	}
	fake_answer_bytes(&fake, &ops[0], 100000);
	assert_ended(&ops[0], 0);
	assert_int_equal(ops[0].sunk_bytes, 30 * 100000);
}

/* Crumbs are no progress: cut after 1,000 bytes for ever ends with the retries. */
static void test_crumbs_do_not_count(void **state)
{
	get(0, XFER_READ);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(fake_is_sent(&fake, &ops[0]));
		fake_answer_bytes(&fake, &ops[0], 1000);
		fake_advance(&fake, NS_PER_S);
	}
	assert_ended(&ops[0], -EIO);
}

static void test_budget_is_shared(void **state)
{
	fake_finish(&fake);
	fake_init(&fake, (struct xfer_config){.parallel = 200, .retries = 3});
	for (unsigned i = 0; i < 120; i++)
		get(i, XFER_READ);
	for (unsigned i = 0; i < 120; i++)
		fake_answer_error(&fake, &ops[i], 500, "InternalError");
	assert_int_equal(fake.sent_count, 0);
	fake_advance(&fake, 50 * NS_PER_MS); /* all are due */
	assert_int_equal(fake.sent_count, 100);
	fake_advance(&fake, 2 * NS_PER_S); /* 10 a second, 5 a retry */
	assert_in_range(fake.sent_count, 103, 105);
	fake_advance(&fake, 8 * NS_PER_S);
	assert_int_equal(fake.sent_count, 120);
}

static void test_fresh_connection(void **state)
{
	static const struct fake_reply closed = {.error = HTTP_RESET, .reused = true};
	static const struct fake_reply stalled = {.error = HTTP_FIRST_BYTE_TIMEOUT};

	get(0, XFER_READ);
	assert_false(fake_request(&ops[0])->fresh_connection);
	fake_answer(&fake, fake_request(&ops[0]), &closed);
	assert_true(fake_is_sent(&fake, &ops[0])); /* at once */
	assert_true(fake_request(&ops[0])->fresh_connection);
	fake_answer(&fake, fake_request(&ops[0]), &closed);
	assert_false(fake_is_sent(&fake, &ops[0]));
	fake_advance(&fake, NS_PER_S);
	fake_answer(&fake, fake_request(&ops[0]), &stalled);
	fake_advance(&fake, NS_PER_S);
	assert_true(fake_request(&ops[0])->fresh_connection);
	fake_answer_bytes(&fake, &ops[0], UINT64_MAX);
	assert_ended(&ops[0], 0);
}

static void test_timers_of_a_try(void **state)
{
	static const struct {
		unsigned op_timeout_s, timer_s;
	} cases[] = {{60, 20}, {3, 1}, {1, 1}, {600, 20}, {30, 10}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_finish(&fake);
		fake_init(&fake,
			  (struct xfer_config){.parallel = 1,
					       .op_timeout_ns = cases[i].op_timeout_s * NS_PER_S});
		get(i, XFER_READ);
		assert_int_equal(fake_request(&ops[i])->stall_ns, cases[i].timer_s * NS_PER_S);
		assert_int_equal(fake_request(&ops[i])->first_byte_ns, cases[i].timer_s * NS_PER_S);
	}
}

/* --- what answers teach --- */

static void answer_region(struct fake_op *o, const char *region)
{
	fake_answer(&fake, fake_request(o),
		    &(struct fake_reply){.status = 301,
					 .headers = {"x-amz-bucket-region", region, "location",
						     "http://elsewhere.example/"}});
}

static void test_region_is_learnt_once(void **state)
{
	get(0, XFER_READ);
	get(1, XFER_READ);
	assert_non_null(strstr(fake_line(&ops[0], "Authorization"), "/here-1/s3/"));
	answer_region(&ops[0], "there-2");
	assert_true(fake_is_sent(&fake, &ops[0]));
	assert_non_null(strstr(fake_line(&ops[0], "Authorization"), "/there-2/s3/"));
	assert_non_null(strstr(fake_request(&ops[0])->message.url, "127.0.0.1:9000"));
	answer_region(&ops[1], "there-2"); /* was sent before: its own turn to be told */
	assert_true(fake_is_sent(&fake, &ops[1]));
	get(2, XFER_READ);
	assert_non_null(strstr(fake_line(&ops[2], "Authorization"), "/there-2/s3/"));
	answer_region(&ops[0], "nowhere-3");
	assert_ended(&ops[0], -EIO);
	struct s3_target target;
	xfer_target(fake.x, &target);
	assert_string_equal(target.region, "there-2");
}

static void test_clock_is_learnt(void **state)
{
	static const struct fake_reply skewed = {
	    .status = 403,
	    .headers = {"date", "Tue, 14 Nov 2023 23:13:21 GMT"}, /* an hour ahead */
	    .body = "<Error><Code>RequestTimeTooSkewed</Code></Error>",
	};
	struct s3_target target;

	get(0, XFER_READ);
	fake_answer(&fake, fake_request(&ops[0]), &skewed);
	assert_true(fake_is_sent(&fake, &ops[0]));
	assert_string_equal(fake_line(&ops[0], "x-amz-date"), "20231114T231321Z");
	xfer_target(fake.x, &target);
	assert_int_equal(target.clock_offset_s, 3600);
	fake_answer(&fake, fake_request(&ops[0]), &skewed); /* says no more: the same time */
	assert_ended(&ops[0], -EACCES);
}

static void test_keys_are_refreshed_once(void **state)
{
	get(0, XFER_READ);
	get(1, XFER_READ);
	assert_non_null(strstr(fake_line(&ops[0], "Authorization"), "Credential=AKID0/"));
	fake_write_keys(&fake, "AKID1");
	fake_answer_error(&fake, &ops[0], 400, "ExpiredToken");
	fake_advance(&fake, NS_PER_S);
	assert_true(fake_is_sent(&fake, &ops[0]));
	assert_non_null(strstr(fake_line(&ops[0], "Authorization"), "Credential=AKID1/"));
	fake_answer_error(&fake, &ops[1], 400, "ExpiredToken"); /* of the old keys, too */
	fake_advance(&fake, NS_PER_S);
	assert_non_null(strstr(fake_line(&ops[1], "Authorization"), "Credential=AKID1/"));
	fake_answer_error(&fake, &ops[0], 400, "ExpiredToken");
	assert_ended(&ops[0], -EACCES);
	fake_answer_bytes(&fake, &ops[1], UINT64_MAX);
	assert_ended(&ops[1], 0);
}

static void test_same_keys_again_are_final(void **state)
{
	get(0, XFER_READ);
	fake_answer_error(&fake, &ops[0], 400, "ExpiredToken");
	assert_ended(&ops[0], -EACCES);
	assert_int_equal(fake.sent_total, 1);
}

/* --- op_timeout: a minute --- */

static void test_timeout_while_running(void **state)
{
	get(0, XFER_READ);
	fake_advance(&fake, 60 * NS_PER_S - 1);
	assert_null(fake.cancelled);
	fake_advance(&fake, 20 * NS_PER_MS);
	assert_ptr_equal(fake.cancelled, fake_request(&ops[0]));
	assert_int_equal(ops[0].dones, 0);
	fake_answer(&fake, fake.cancelled, &(struct fake_reply){.error = HTTP_CANCELLED});
	assert_ended(&ops[0], -EIO);
}

static void test_bytes_are_progress(void **state)
{
	get(0, XFER_READ);
	for (unsigned i = 0; i < 10; i++) {
		fake_advance(&fake, 59 * NS_PER_S);
		fake_request(&ops[0])->last_byte_ns = fake.now_ns;
	}
	assert_null(fake.cancelled);
	fake_advance(&fake, 61 * NS_PER_S);
	assert_non_null(fake.cancelled);
}

/* A failed try's bytes were progress until then: the clock runs from the last of them. */
static void test_timeout_in_the_heap(void **state)
{
	static const struct fake_reply busy = {.status = 503, .headers = {"retry-after", "29"}};

	get(0, XFER_READ);
	fake_advance(&fake, 20 * NS_PER_S);
	fake_answer_bytes(&fake, &ops[0], 200000);
	fake_advance(&fake, NS_PER_S);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fake_is_sent(&fake, &ops[0]));
		fake_answer(&fake, fake_request(&ops[0]), &busy); /* an error is no progress */
		fake_advance(&fake, 29 * NS_PER_S + 800 * NS_PER_MS);
	}
	assert_int_equal(ops[0].dones, 0);
	assert_true(fake_is_sent(&fake, &ops[0])); /* at 80.6 s */
	fake_answer_error(&fake, &ops[0], 503, "SlowDown");
	fake_advance(&fake, NS_PER_S);
	assert_ended(&ops[0], -EIO);
}

/* All slots stuck: what waits behind them fails as they do. */
static void test_timeout_in_the_queue(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		get(i, XFER_READ);
	fake_advance(&fake, 61 * NS_PER_S);
	assert_int_equal(ops[0].dones, 0); /* the engine has not let go yet */
	assert_ended(&ops[4], -EIO);
}

/* As long as anything moves, a place in the queue is no reason to fail. */
static void test_queue_waits_while_others_progress(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		get(i, XFER_READ);
	for (unsigned i = 0; i < 10; i++) {
		fake_advance(&fake, 50 * NS_PER_S);
		for (unsigned k = 0; k < 4; k++)
			fake_request(&ops[k])->last_byte_ns = fake.now_ns;
	}
	fake_answer_bytes(&fake, &ops[0], UINT64_MAX);
	assert_true(fake_is_sent(&fake, &ops[4]));
	fake_answer_bytes(&fake, &ops[4], UINT64_MAX);
	assert_ended(&ops[4], 0);
}

/* Two readers of one limit: one may starve behind demand for minutes and yet not fail. */
static void test_waiting_for_tokens_is_no_stall(void **state)
{
	fake_finish(&fake);
	fake_init(&fake, (struct xfer_config){.parallel = 4, .download = {1000000, 100000}});
	fake_get(&fake, &ops[0], 0, XFER_AHEAD, 1, 1 << 20);
	fake_get(&fake, &ops[1], 1, XFER_READ, 2, 1 << 20);
	struct http_request *ahead = fake_request(&ops[0]), *demand = fake_request(&ops[1]);
	uint64_t wait_ns;
	for (unsigned i = 0; i < 200; i++) {
		while (demand->pacer->take(demand->pacer, demand, HTTP_DOWN, 16384, &wait_ns))
			demand->last_byte_ns = fake.now_ns;
		assert_false(ahead->pacer->take(ahead->pacer, ahead, HTTP_DOWN, 16384, &wait_ns));
		fake_advance(&fake, NS_PER_S);
	}
	assert_null(fake.cancelled);
	fake_advance(&fake, 61 * NS_PER_S); /* now nobody gets any */
	assert_non_null(fake.cancelled);
}

/* --- ends from outside --- */

static void test_cancel_queued_and_waiting(void **state)
{
	for (unsigned i = 0; i < 6; i++)
		get(i, XFER_READ);
	xfer_cancel(fake.x, &ops[4].op);
	fake_answer_error(&fake, &ops[0], 500, "InternalError");
	xfer_cancel(fake.x, &ops[0].op);
	assert_int_equal(ops[4].dones + ops[0].dones, 0); /* never from the caller's thread */
	fake_advance(&fake, 0);
	assert_ended(&ops[4], -ECANCELED);
	assert_ended(&ops[0], -ECANCELED);
	fake_advance(&fake, RETRY_MAX_NS);
	assert_int_equal(fake.sent_total, 5); /* 0..3 and 5, each once */
	xfer_cancel(fake.x, &ops[4].op);      /* has ended: nothing */
	assert_int_equal(ops[4].dones, 1);
}

static void test_cancel_running(void **state)
{
	get(0, XFER_READ);
	get(1, XFER_READ);
	xfer_cancel(fake.x, &ops[0].op);
	assert_ptr_equal(fake.cancelled, fake_request(&ops[0]));
	fake.cancelled = NULL;
	xfer_cancel(fake.x, &ops[0].op);
	assert_null(fake.cancelled); /* asked once */
	fake_answer(&fake, fake_request(&ops[0]), &(struct fake_reply){.error = HTTP_CANCELLED});
	assert_ended(&ops[0], -ECANCELED);

	/* It may have ended well meanwhile; a failure is not tried again. */
	xfer_cancel(fake.x, &ops[1].op);
	fake_answer_bytes(&fake, &ops[1], UINT64_MAX);
	assert_ended(&ops[1], 0);
	get(2, XFER_READ);
	xfer_cancel(fake.x, &ops[2].op);
	fake_answer_error(&fake, &ops[2], 500, "InternalError");
	assert_ended(&ops[2], -ECANCELED);
}

static void cancel_inside_submit(struct fake *f, struct http_request *r)
{
	xfer_cancel(f->x, &ops[0].op);
	assert_null(f->cancelled); /* the engine may not know the request yet */
}

static void test_cancel_while_starting(void **state)
{
	fake.on_submit = cancel_inside_submit;
	get(0, XFER_READ);
	assert_ptr_equal(fake.cancelled, fake_request(&ops[0]));
	fake_answer(&fake, fake.cancelled, &(struct fake_reply){.error = HTTP_CANCELLED});
	assert_ended(&ops[0], -ECANCELED);
}

static void answer_inside_submit(struct fake *f, struct http_request *r)
{
	static unsigned calls;

	if (calls++ % 2 == 0)
		fake_answer(f, r, &(struct fake_reply){.error = HTTP_RESET, .reused = true});
	else
		fake_answer(f, r, &(struct fake_reply){.status = 404});
}

/* The loop may be done with a try, and with the next one, before the starter is back. */
static void test_ends_while_starting(void **state)
{
	fake.on_submit = answer_inside_submit;
	for (unsigned i = 0; i < 20; i++) {
		fake_head(&fake, &ops[i], i);
		assert_ended(&ops[i], -ENOENT);
	}
	assert_int_equal(fake.sent_total, 40);
}

/* The other question of the two is ready to be sent, too. */
static void answer_when_both_are_ready(struct fake *f, struct http_request *r)
{
	assert_true(f->sent_total > 1 || fake_request(&ops[1])->message.url != NULL);
	fake_answer(f, r, &(struct fake_reply){.status = 404});
}

static void test_questions_leave_together(void **state)
{
	struct xfer_op *both[] = {&ops[0].op, &ops[1].op};

	fake.on_submit = answer_when_both_are_ready;
	fake_op_init(&ops[0], 0, S3_HEAD_OBJECT, XFER_META);
	fake_op_init(&ops[1], 1, S3_HEAD_OBJECT, XFER_META);
	assert_int_equal(xfer_run_all(fake.x, both, 2, NULL), 0);
	assert_int_equal(fake.sent_total, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ops[i].op.s3.result.err, -ENOENT);
		xfer_op_finish(&ops[i].op);
	}
}

static void test_destroy_ends_all(void **state)
{
	for (unsigned i = 0; i < 6; i++)
		get(i, XFER_READ);
	fake_answer_error(&fake, &ops[0], 500, "InternalError");
	fake_finish(&fake);
	for (unsigned i = 0; i < 6; i++)
		assert_ended(&ops[i], -ECANCELED);
	setup(NULL);
}

static void count_running(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
			  uint64_t started_ns)
{
	unsigned *count = ctx;

	(*count)++;
	assert_int_equal(started_ns, NS_PER_S);
}

static void test_figures(void **state)
{
	struct xfer_stats stats;
	unsigned running = 0;

	for (unsigned i = 0; i < 6; i++)
		get(i, XFER_READ);
	fake_head(&fake, &ops[6], 6);
	xfer_each_running(fake.x, count_running, &running);
	assert_int_equal(running, 4);
	fake_answer_bytes(&fake, &ops[0], 70000);
	fake_answer_bytes(&fake, &ops[1], UINT64_MAX);
	xfer_stats(fake.x, &stats);
	assert_int_equal(stats.bytes_down, 70000 + (1 << 20));
	assert_int_equal(stats.queued, 0);
	assert_int_equal(stats.running, 4);
	assert_int_equal(stats.running_meta, 1);
	assert_true(xfer_flow_new(fake.x) != xfer_flow_new(fake.x));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_starts_without_the_dispatcher),
	    TEST(test_names_pass_500_waiting_reads),
	    TEST(test_waiting_op_holds_no_slot),
	    TEST(test_promotion),
	    TEST(test_impossible_request),
	    TEST(test_retries_then_eio),
	    TEST(test_final_answers_are_not_retried),
	    TEST(test_retry_after),
	    TEST(test_cut_transfer_goes_on),
	    TEST(test_crumbs_do_not_count),
	    TEST(test_budget_is_shared),
	    TEST(test_fresh_connection),
	    TEST(test_timers_of_a_try),
	    TEST(test_region_is_learnt_once),
	    TEST(test_clock_is_learnt),
	    TEST(test_keys_are_refreshed_once),
	    TEST(test_same_keys_again_are_final),
	    TEST(test_timeout_while_running),
	    TEST(test_bytes_are_progress),
	    TEST(test_timeout_in_the_heap),
	    TEST(test_timeout_in_the_queue),
	    TEST(test_queue_waits_while_others_progress),
	    TEST(test_waiting_for_tokens_is_no_stall),
	    TEST(test_cancel_queued_and_waiting),
	    TEST(test_cancel_running),
	    TEST(test_cancel_while_starting),
	    TEST(test_ends_while_starting),
	    TEST(test_questions_leave_together),
	    TEST(test_destroy_ends_all),
	    TEST(test_figures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
