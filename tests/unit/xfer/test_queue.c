/* SPDX-License-Identifier: Apache-2.0 */
/* Who starts next: precedence, slots, turns, and the spares that a demand read finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#include "queue.h"

static const struct xfer_limit unlimited;

static struct queue_item items[1000];

static void queue_new(struct queue *q, unsigned parallel)
{
	queue_init(q, parallel, &unlimited, &unlimited);
}

static struct queue_item *push(struct queue *q, unsigned i, enum xfer_class class, uint64_t flow)
{
	items[i] = (struct queue_item){.class = class, .flow = flow};
	queue_push(q, &items[i]);
	return &items[i];
}

static void push_many(struct queue *q, unsigned first, unsigned n, enum xfer_class class)
{
	for (unsigned i = first; i < first + n; i++)
		push(q, i, class, 0);
}

/* How many of a class start when many are queued. */
static unsigned pop_all(struct queue *q, enum xfer_class class)
{
	unsigned before = q->running[class];

	while (queue_pop(q) != NULL)
		;
	return q->running[class] - before;
}

static void assert_pops(struct queue *q, const unsigned *order, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_ptr_equal(queue_pop(q), &items[order[i]]);
}

static void test_classes_go_in_order(void **state)
{
	struct queue q;

	queue_new(&q, 16);
	push(&q, 0, XFER_AHEAD, 1);
	push(&q, 1, XFER_WRITE, 1);
	push(&q, 2, XFER_READ, 1);
	push(&q, 3, XFER_META, 1);
	assert_pops(&q, (unsigned[]){3, 2, 1, 0}, 4);
	assert_null(queue_pop(&q));
}

static void test_slots_of_each_class(void **state)
{
	static const struct {
		unsigned parallel, meta, read, bulk;
	} cases[] = {{1, 64, 1, 1},  {2, 64, 4, 2},    {3, 64, 5, 3},	{4, 64, 6, 4},
		     {8, 64, 10, 8}, {16, 64, 18, 16}, {80, 80, 82, 80}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static const enum xfer_class classes[] = {XFER_META, XFER_READ, XFER_WRITE,
							  XFER_AHEAD};
		const unsigned expected[] = {cases[i].meta, cases[i].read, cases[i].bulk,
					     cases[i].bulk};
		for (size_t k = 0; k < ARRAY_SIZE(classes); k++) {
			struct queue q;
			queue_new(&q, cases[i].parallel);
			push_many(&q, 0, 100, classes[k]);
			assert_int_equal(pop_all(&q, classes[k]), expected[k]);
		}
	}
}

/* Names go on while every data slot is taken, and with parallel=1 two data never run at once. */
static void test_meta_has_slots_of_its_own(void **state)
{
	struct queue q;

	queue_new(&q, 1);
	push_many(&q, 0, 500, XFER_READ);
	push_many(&q, 500, 2, XFER_WRITE);
	assert_int_equal(pop_all(&q, XFER_READ), 1);
	assert_int_equal(q.running[XFER_WRITE], 0);
	push(&q, 600, XFER_META, 0);
	assert_ptr_equal(queue_pop(&q), &items[600]);
	assert_null(queue_pop(&q));
	queue_stopped(&q, &items[0]);
	assert_ptr_equal(queue_pop(&q), &items[1]);
}

/* Beyond what read-ahead fills, demand finds two more: promoted reads count as well. */
static void test_demand_finds_a_slot_beside_read_ahead(void **state)
{
	struct queue q;
	struct queue_item *running[16];

	queue_new(&q, 16);
	push_many(&q, 0, 100, XFER_AHEAD);
	for (unsigned i = 0; i < 16; i++)
		running[i] = queue_pop(&q);
	assert_null(queue_pop(&q));
	queue_promote_running(&q, running[0]);
	assert_int_equal(q.running[XFER_READ], 1);
	assert_int_equal(q.running[XFER_AHEAD], 15);
	assert_null(queue_pop(&q));
	push_many(&q, 200, 3, XFER_READ);
	assert_ptr_equal(queue_pop(&q), &items[200]);
	assert_ptr_equal(queue_pop(&q), &items[201]);
	assert_null(queue_pop(&q));
}

/* One connection for each MB/s of a limit, two more for demand; the other direction is free. */
static void test_limits_bound_connections(void **state)
{
	static const struct {
		uint64_t rate;
		unsigned ahead, read;
	} cases[] = {{100000, 1, 3}, {1000000, 1, 3}, {5000000, 5, 7}, {50000000, 16, 18}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct xfer_limit limit = {cases[i].rate, cases[i].rate / 10};
		struct queue q;
		queue_init(&q, 16, &limit, &unlimited);
		push_many(&q, 0, 100, XFER_AHEAD);
		assert_int_equal(pop_all(&q, XFER_AHEAD), cases[i].ahead);
		push_many(&q, 100, 100, XFER_READ);
		assert_int_equal(pop_all(&q, XFER_READ), cases[i].read - cases[i].ahead);
		push_many(&q, 200, 100, XFER_WRITE);
		assert_int_equal(pop_all(&q, XFER_WRITE), 16 - MIN(cases[i].read, 16u));
	}
	struct xfer_limit up = {3000000, 300000};
	struct queue q;
	queue_init(&q, 16, &unlimited, &up);
	push_many(&q, 0, 100, XFER_WRITE);
	assert_int_equal(pop_all(&q, XFER_WRITE), 3);
}

static void test_flows_take_turns(void **state)
{
	struct queue q;

	queue_new(&q, 16);
	for (unsigned i = 0; i < 6; i++)
		push(&q, i, XFER_READ, 1);
	push(&q, 6, XFER_READ, 2);
	push(&q, 7, XFER_READ, 2);
	push(&q, 8, XFER_READ, 3);
	assert_pops(&q, (unsigned[]){0, 6, 8, 1, 7, 2, 3, 4, 5}, 9);
	assert_int_equal(q.queued[XFER_READ], 0);
}

/* A slot that is free goes to the flow that has the fewest, whoever stands before it. */
static void test_flow_with_fewest_running_is_next(void **state)
{
	struct queue q;

	queue_new(&q, 2);
	for (unsigned i = 0; i < 10; i++)
		push(&q, i, XFER_READ, 1);
	assert_pops(&q, (unsigned[]){0, 1, 2, 3}, 4);
	push(&q, 20, XFER_READ, 2);
	push(&q, 21, XFER_READ, 2);
	queue_stopped(&q, &items[0]);
	assert_pops(&q, (unsigned[]){20}, 1);
	queue_stopped(&q, &items[1]);
	assert_pops(&q, (unsigned[]){21}, 1);
	push(&q, 22, XFER_READ, 2);
	queue_stopped(&q, &items[20]);
	assert_pops(&q, (unsigned[]){22}, 1); /* one of flow 2, two of flow 1 */
	push(&q, 23, XFER_READ, 2);
	queue_stopped(&q, &items[2]);
	assert_pops(&q, (unsigned[]){4}, 1);
	assert_null(queue_pop(&q));
}

static void test_front_and_removal(void **state)
{
	struct queue q;

	queue_new(&q, 16);
	for (unsigned i = 0; i < 4; i++)
		push(&q, i, XFER_READ, 1);
	for (unsigned i = 4; i < 7; i++)
		push(&q, i, XFER_READ, 2);
	queue_remove(&q, &items[0]); /* the first of a flow: the next has its place */
	queue_remove(&q, &items[5]); /* one behind */
	items[10] = (struct queue_item){.class = XFER_READ, .flow = 2};
	queue_push_front(&q, &items[10]);
	items[11] = (struct queue_item){.class = XFER_READ, .flow = 9};
	queue_push_front(&q, &items[11]);
	assert_int_equal(q.queued[XFER_READ], 7);
	assert_pops(&q, (unsigned[]){11, 10, 1, 4, 2, 6, 3}, 7);
	assert_null(queue_pop(&q));

	struct queue_item *only = push(&q, 20, XFER_AHEAD, 3);
	queue_remove(&q, only);
	assert_int_equal(q.queued[XFER_AHEAD], 0);
	assert_null(queue_pop(&q));
}

static void test_socket_buffers_are_a_share_of_the_burst(void **state)
{
	static const struct {
		struct xfer_limit limit;
		unsigned parallel;
		uint32_t expected;
	} cases[] = {
	    {{0, 0}, 16, 0},
	    {{50000000, 5000000}, 16, 104166},
	    {{5000000, 500000}, 16, 33333},
	    {{5000000, 16384}, 16, 4096},
	    {{1000000000, 100000000}, 16, 1048576},
	    {{5000000, 500000}, 1, 166666},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(xfer_socket_buffer_bytes(&cases[i].limit, cases[i].parallel),
				 cases[i].expected);
}

static void test_parts_under_a_limit_take_a_second(void **state)
{
	static const struct {
		struct xfer_limit limit;
		uint64_t expected;
	} cases[] = {
	    {{0, 0}, UINT64_MAX},
	    {{50000000, 5000000}, 3125000},
	    {{5000000, 500000}, 1000000},
	    {{5000000, 16384}, 5000000}, /* so small a burst allows one connection */
	    {{100000, 16384}, 262144},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(xfer_part_bytes(&cases[i].limit, 16), cases[i].expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_classes_go_in_order),
	    cmocka_unit_test(test_slots_of_each_class),
	    cmocka_unit_test(test_meta_has_slots_of_its_own),
	    cmocka_unit_test(test_demand_finds_a_slot_beside_read_ahead),
	    cmocka_unit_test(test_limits_bound_connections),
	    cmocka_unit_test(test_flows_take_turns),
	    cmocka_unit_test(test_flow_with_fewest_running_is_next),
	    cmocka_unit_test(test_front_and_removal),
	    cmocka_unit_test(test_socket_buffers_are_a_share_of_the_burst),
	    cmocka_unit_test(test_parts_under_a_limit_take_a_second),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
