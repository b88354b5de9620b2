/* SPDX-License-Identifier: Apache-2.0 */
/* A second request beside a slow one: when, how often, and whose bytes count. */
#include "fake.h"

#include <errno.h>

#include <pailfs/cleanup.h>

#define LENGTH (256 * KIB)
#define USUAL_NS (30 * NS_PER_MS)
#define SLOW_NS (100 * NS_PER_MS)

static void op_finishp(struct fake_op *o)
{
	xfer_op_finish(&o->op);
}

/* A GET whose answer begins after the usual time. */
static void usual_get(struct fake *f)
{
	CLEANUP(op_finish) struct fake_op o;

	fake_get(f, &o, 1, XFER_READ, 1, LENGTH);
	fake_advance(f, USUAL_NS);
	fake_answer_bytes(f, &o, LENGTH);
	assert_int_equal(o.dones, 1);
}

static int setup_few(void **state)
{
	static struct fake f;

	fake_init(&f, (struct xfer_config){.parallel = 16, .retries = 3});
	*state = &f;
	return 0;
}

static int setup(void **state)
{
	int i;

	setup_few(state);
	for (i = 0; i < LATENCY_SAMPLES_MIN; i++)
		usual_get(*state);
	return 0;
}

static int teardown(void **state)
{
	fake_finish(*state);
	return 0;
}

/* A GET that has become slow and got company. */
static void slow_get(struct fake *f, struct fake_op *o)
{
	fake_get(f, o, 7, XFER_READ, 1, LENGTH);
	fake_advance(f, USUAL_NS);
	assert_int_equal(f->sent_count, 1);
	fake_advance(f, SLOW_NS);
	assert_int_equal(f->sent_count, 2);
	assert_ptr_equal(f->sent[0], fake_request(o));
}

static void end_cancelled(struct fake *f, struct http_request *r)
{
	assert_ptr_equal(f->cancelled, r);
	fake_answer(f, r, &(struct fake_reply){.error = HTTP_CANCELLED});
}

static void a_slow_request_is_sent_twice(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	assert_string_equal(f->sent[0]->message.url, f->sent[1]->message.url);
	assert_ptr_equal(f->sent[0]->message.lines, f->sent[1]->message.lines);
	assert_true(f->sent[1]->fresh_connection && !f->sent[0]->fresh_connection);
	fake_advance(f, 10 * SLOW_NS); /* once */
	assert_int_equal(f->sent_count, 2);
	fake_answer_bytes(f, &o, LENGTH);
	assert_int_equal(o.dones, 0); /* the other one is still to end */
	end_cancelled(f, f->sent[0]);
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.op.s3.result.err, 0);
	assert_int_equal(o.sunk_bytes, LENGTH);
}

static void the_second_one_may_win(void **state)
{
	struct fake *f = *state;
	struct http_request *first;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	first = f->sent[0];
	fake_answer_request_bytes(f, &o, f->sent[1], LENGTH);
	assert_ptr_equal(f->cancelled, first);
	assert_int_equal(o.dones, 0);
	/* its answer was under way when it was cancelled: nothing of it counts */
	fake_answer(f, first, &(struct fake_reply){.status = 206, .body = "wrong"});
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.op.s3.result.err, 0);
	assert_int_equal(o.op.s3.result.status, 206);
	assert_int_equal(o.sunk_bytes, LENGTH);
}

static void an_error_of_the_second_one_is_not_the_op_s(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	fake_answer(f, f->sent[1], &(struct fake_reply){.status = 503, .body = "<Error/>"});
	assert_int_equal(o.dones, 0);
	fake_answer_bytes(f, &o, LENGTH);
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.sunk_bytes, LENGTH);
}

static void the_second_one_survives_the_first_one_s_connection(void **state)
{
	struct fake *f = *state;
	struct http_request *second;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	second = f->sent[1];
	fake_answer(f, f->sent[0], &(struct fake_reply){.error = HTTP_RESET});
	assert_int_equal(o.dones, 0);
	fake_answer_request_bytes(f, &o, second, LENGTH);
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.op.s3.result.err, 0);
	assert_int_equal(o.sunk_bytes, LENGTH);
}

/* The winner breaks off: the next try begins where it stopped, and is not raced. */
static void a_try_after_a_race_is_an_ordinary_one(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	fake_answer_request_bytes(f, &o, f->sent[1], LENGTH / 2);
	end_cancelled(f, f->sent[0]);
	fake_advance(f, 10 * NS_PER_S);
	assert_int_equal(f->sent_count, 1);
	assert_string_equal(fake_line(&o, "range"), "bytes=135168-266239");
	fake_answer_bytes(f, &o, LENGTH / 2);
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.sunk_bytes, LENGTH);
}

static void cancelling_ends_both(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	slow_get(f, &o);
	f->obey = true;
	xfer_cancel(f->x, &o.op);
	fake_advance(f, 0);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(o.dones, 1);
	assert_int_equal(o.op.s3.result.err, -ECANCELED);
}

/* One in a hundred, four at once after a long time without. */
static void few_are_sent_twice(void **state)
{
	struct fake *f = *state;
	struct fake_op o[8];
	size_t i;

	for (i = 0; i < 1000; i++)
		usual_get(f);
	for (i = 0; i < ARRAY_SIZE(o); i++)
		fake_get(f, &o[i], (unsigned)i, XFER_READ, 1, LENGTH);
	fake_advance(f, SLOW_NS);
	assert_int_equal(f->sent_count, ARRAY_SIZE(o) + 4);
	f->obey = true;
	for (i = 0; i < ARRAY_SIZE(o); i++)
		fake_answer_bytes(f, &o[i], LENGTH);
	assert_int_equal(f->sent_count, 0);
	for (i = 0; i < ARRAY_SIZE(o); i++)
		op_finishp(&o[i]);
}

static void reading_ahead_is_not_raced_before_somebody_waits(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	fake_get(f, &o, 7, XFER_AHEAD, 1, LENGTH);
	fake_advance(f, 10 * SLOW_NS);
	assert_int_equal(f->sent_count, 1);
	xfer_promote(f->x, &o.op);
	fake_advance(f, NS_PER_MS);
	assert_int_equal(f->sent_count, 2);
	f->obey = true;
	fake_answer_bytes(f, &o, LENGTH);
	assert_int_equal(o.dones, 1);
}

/* Such a part is large, and others come meanwhile. */
static void what_was_asked_ahead_has_more_time(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	fake_get(f, &o, 7, XFER_AHEAD, 1, LENGTH);
	xfer_promote(f->x, &o.op);
	fake_advance(f, 4 * SLOW_NS);
	assert_int_equal(f->sent_count, 1);
	fake_advance(f, 2 * SLOW_NS);
	assert_int_equal(f->sent_count, 2);
	f->obey = true;
	fake_answer_bytes(f, &o, LENGTH);
	assert_int_equal(o.dones, 1);
}

/* What is slow is not known yet. */
static void nothing_is_raced_at_first(void **state)
{
	struct fake *f = *state;
	CLEANUP(op_finish) struct fake_op o;

	usual_get(f);
	fake_get(f, &o, 7, XFER_READ, 1, LENGTH);
	fake_advance(f, NS_PER_S);
	assert_int_equal(f->sent_count, 1);
	fake_answer_bytes(f, &o, LENGTH);
}

static void percentiles_are_near(void **state)
{
	struct latency l = {0};
	unsigned i;

	(void)state;
	assert_int_equal(latency_of_ns(&l, 990), 0);
	for (i = 1; i <= 1000; i++)
		latency_add(&l, i * NS_PER_MS);
	assert_in_range(latency_of_ns(&l, 500), 500 * NS_PER_MS, 600 * NS_PER_MS);
	assert_in_range(latency_of_ns(&l, 990), 990 * NS_PER_MS, 1200 * NS_PER_MS);
	for (i = 0; i < 20000; i++) /* it forgets */
		latency_add(&l, 2 * NS_PER_MS);
	assert_in_range(latency_of_ns(&l, 990), 2 * NS_PER_MS, 3 * NS_PER_MS);
	latency_add(&l, UINT64_MAX);
	assert_in_range(latency_of_ns(&l, 1000), 30 * NS_PER_S, 120 * NS_PER_S);
}

/* A fast answer counts at once, and for 5 s at least, however many slow ones there are. */
static void the_least_follows(void **state)
{
	struct latency_least l = {0};
	uint64_t at_ns = NS_PER_S;

	(void)state;
	assert_int_equal(latency_least_ns(&l), 0);
	latency_least_add(&l, 5 * NS_PER_MS, at_ns);
	assert_int_equal(latency_least_ns(&l), 5 * NS_PER_MS);
	latency_least_add(&l, 3 * NS_PER_MS, at_ns);
	assert_int_equal(latency_least_ns(&l), 3 * NS_PER_MS);
	/* the link is full, or the server is further away now: who knows */
	for (; at_ns < 6 * NS_PER_S; at_ns += NS_PER_MS) {
		latency_least_add(&l, 30 * NS_PER_MS, at_ns);
		assert_int_equal(latency_least_ns(&l), 3 * NS_PER_MS);
	}
	for (; at_ns < 11 * NS_PER_S; at_ns += NS_PER_MS)
		latency_least_add(&l, 30 * NS_PER_MS, at_ns);
	latency_least_add(&l, 40 * NS_PER_MS, at_ns); /* it is */
	assert_int_equal(latency_least_ns(&l), 30 * NS_PER_MS);
	latency_least_add(&l, NS_PER_MS, at_ns);
	assert_int_equal(latency_least_ns(&l), NS_PER_MS);
	/* a long answer is told of at its end, after shorter ones that began later */
	latency_least_add(&l, 30 * NS_PER_MS, at_ns += 5 * NS_PER_S);
	latency_least_add(&l, 30 * NS_PER_MS, at_ns - NS_PER_S);
	assert_int_equal(latency_least_ns(&l), NS_PER_MS);
	latency_least_add(&l, NS_PER_MS, at_ns);
	/* nothing is forgotten while nothing comes */
	latency_least_add(&l, 30 * NS_PER_MS, at_ns + 3600 * NS_PER_S);
	assert_int_equal(latency_least_ns(&l), NS_PER_MS);
	latency_least_add(&l, 0, at_ns + 3600 * NS_PER_S);
	assert_int_equal(latency_least_ns(&l), 1);
}

static void first_byte_time_is_that_of_gets(void **state)
{
	struct fake *f = *state;

	assert_int_equal(xfer_first_byte_ns(f->x), 0);
	usual_get(f);
	assert_int_equal(xfer_first_byte_ns(f->x), USUAL_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_least_follows),
	    cmocka_unit_test_setup_teardown(first_byte_time_is_that_of_gets, setup_few, teardown),
	    cmocka_unit_test_setup_teardown(a_slow_request_is_sent_twice, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_second_one_may_win, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_error_of_the_second_one_is_not_the_op_s, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_second_one_survives_the_first_one_s_connection,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_try_after_a_race_is_an_ordinary_one, setup, teardown),
	    cmocka_unit_test_setup_teardown(cancelling_ends_both, setup, teardown),
	    cmocka_unit_test_setup_teardown(few_are_sent_twice, setup, teardown),
	    cmocka_unit_test_setup_teardown(reading_ahead_is_not_raced_before_somebody_waits, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_was_asked_ahead_has_more_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_raced_at_first, setup_few, teardown),
	    cmocka_unit_test(percentiles_are_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
