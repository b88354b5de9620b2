/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pacer against simulated connections: each asks for its next 16 KiB as soon as it has the
 * last (or when its own network delivers them), and comes back when told, late by a random part of
 * a millisecond, as the loops' timers do. Time is simulated; seconds cost milliseconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#include "pacer.h"
#include "queue.h"

#define CHUNK_BYTES 16384
#define CONNECTIONS_MAX 64
#define LATE_MAX_NS NS_PER_MS

struct test_clock {
	struct clock clock;
	uint64_t now_ns;
};

static uint64_t test_now_ns(const struct clock *c)
{
	return CONTAINER_OF(c, struct test_clock, clock)->now_ns;
}

struct connection {
	struct pacer_request request;
	enum xfer_class class;
	uint64_t flow;
	uint64_t wake_ns;	/* when it asks next; UINT64_MAX: never */
	uint64_t own_ns;	/* its network's time for a chunk; 0: none */
	uint64_t request_bytes; /* size of a request, after which it leaves and comes again; 0:
				   endless */
	uint64_t left_bytes;	/* of the current request */
	uint64_t unsent_bytes;	/* of it, by the server */
	uint64_t granted_bytes;
};

struct simulation {
	struct test_clock clock;
	struct pacer *pacer;
	struct xfer_limit limit;
	struct connection connections[CONNECTIONS_MAX];
	unsigned count;
	uint64_t random;
	uint64_t late_max_ns;  /* of the loops' timers */
	uint64_t buffer_bytes; /* of a connection */
	uint64_t total_bytes;  /* on the wire */
	/* the worst interval so far: bytes beyond rate * t, in bytes * NS_PER_S */
	__int128 excess, excess_max;
	uint64_t last_grant_ns;
};

static uint64_t simulation_random(struct simulation *s)
{
	s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return s->random >> 33;
}

static void simulation_init_buffered(struct simulation *s, uint64_t rate, uint64_t burst,
				     uint64_t buffer)
{
	memset(s, 0, sizeof(*s));
	s->buffer_bytes = buffer;
	s->clock.clock.now_ns = test_now_ns;
	s->clock.now_ns = NS_PER_S;
	s->last_grant_ns = s->clock.now_ns;
	s->limit = (struct xfer_limit){.rate_bytes_per_s = rate, .burst_bytes = burst};
	s->late_max_ns = LATE_MAX_NS;
	s->random = rate ^ burst;
	assert_int_equal(pacer_create(&s->limit, HTTP_DOWN, buffer, &s->clock.clock, &s->pacer), 0);
}

static void simulation_init(struct simulation *s, uint64_t rate, uint64_t burst)
{
	simulation_init_buffered(s, rate, burst, 0);
}

/* What the promise is about: the most that any interval that ends here has beyond rate * t. */
static void simulation_count(struct simulation *s, size_t n)
{
	uint64_t now_ns = s->clock.now_ns;

	s->excess -= (__int128)(now_ns - s->last_grant_ns) * s->limit.rate_bytes_per_s;
	s->excess = MAX(s->excess, 0) + (__int128)n * NS_PER_S;
	s->excess_max = MAX(s->excess_max, s->excess);
	s->last_grant_ns = now_ns;
	s->total_bytes += n;
}

/* The connection begins a request: its buffers fill. */
static void connection_join(struct simulation *s, struct connection *c)
{
	uint64_t filled = MIN(s->buffer_bytes, c->request_bytes);
	struct http_answer *answer = &c->request.http.answer;

	*answer = (struct http_answer){.content_length =
					   c->request_bytes > 0 ? (int64_t)c->request_bytes : -1};
	c->left_bytes = c->request_bytes;
	c->unsent_bytes = c->request_bytes > 0 ? c->request_bytes - filled : UINT64_MAX;
	pacer_join(s->pacer, &c->request, c->class, c->flow, c->request_bytes);
	simulation_count(s, filled);
}

static struct connection *simulation_connect_for(struct simulation *s, enum xfer_class class,
						 uint64_t flow, uint64_t request_bytes)
{
	assert_true(s->count < CONNECTIONS_MAX);
	struct connection *c = &s->connections[s->count++];
	c->request_bytes = request_bytes;
	c->class = class;
	c->flow = flow;
	c->wake_ns = s->clock.now_ns;
	connection_join(s, c);
	return c;
}

static struct connection *simulation_connect(struct simulation *s, enum xfer_class class,
					     uint64_t flow)
{
	return simulation_connect_for(s, class, flow, 0);
}

static void simulation_finish(struct simulation *s)
{
	for (unsigned i = 0; i < s->count; i++)
		pacer_leave(s->pacer, &s->connections[i].request);
	pacer_destroy(s->pacer);
}

static bool ask(struct connection *c, size_t n, uint64_t *ret_wait_ns)
{
	struct http_pacer *hooks = c->request.http.pacer;

	return hooks->take(hooks, &c->request.http, HTTP_DOWN, n, ret_wait_ns);
}

/* A request is over: the connection takes the next of its flow. */
static void connection_next_request(struct simulation *s, struct connection *c)
{
	c->left_bytes -= MIN(c->left_bytes, CHUNK_BYTES);
	c->request.http.answer.body_bytes += CHUNK_BYTES;
	if (c->request_bytes == 0 || c->left_bytes > 0)
		return;
	pacer_leave(s->pacer, &c->request);
	connection_join(s, c);
}

static void connection_wake(struct simulation *s, struct connection *c)
{
	uint64_t wait_ns = 0;

	if (!ask(c, CHUNK_BYTES, &wait_ns)) {
		assert_true(wait_ns > 0);
		c->wake_ns = s->clock.now_ns + wait_ns + simulation_random(s) % s->late_max_ns;
		return;
	}
	uint64_t sent = MIN(c->unsent_bytes, CHUNK_BYTES); /* as far as its buffers got room */
	c->unsent_bytes -= sent;
	c->granted_bytes += CHUNK_BYTES;
	simulation_count(s, sent);
	connection_next_request(s, c);
	c->wake_ns = s->clock.now_ns + MAX(c->own_ns, 5000);
}

static void simulation_run(struct simulation *s, uint64_t duration_ns)
{
	uint64_t end_ns = s->clock.now_ns + duration_ns;

	for (;;) {
		struct connection *next = &s->connections[0];
		for (unsigned i = 1; i < s->count; i++) {
			if (s->connections[i].wake_ns < next->wake_ns)
				next = &s->connections[i];
		}
		if (next->wake_ns > end_ns)
			break;
		s->clock.now_ns = next->wake_ns;
		connection_wake(s, next);
	}
	s->clock.now_ns = end_ns;
}

static uint64_t flow_bytes(const struct simulation *s, uint64_t flow)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < s->count; i++)
		bytes += s->connections[i].flow == flow ? s->connections[i].granted_bytes : 0;
	return bytes;
}

static void assert_within_percent(uint64_t value, uint64_t expected, unsigned percent)
{
	assert_in_range(value, expected - expected * percent / 100,
			expected + expected * percent / 100);
}

/* Over any interval t at most RATE * t + BURST; the mean with a usual burst is the rate. */
static void test_bound_holds_over_every_interval(void **state)
{
	static const struct {
		uint64_t rate, burst;
	} limits[] = {{5000000, 500000},   {5000000, 16384},	   {5000000, 40000},
		      {50000000, 5000000}, {50000000, 16384},	   {50000000, 1000000},
		      {1000, 16384},	   {1000000000, 100000000}};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		for (unsigned n = 1; n <= 16; n += n == 1 ? 1 : 7) {
			static struct simulation s;
			simulation_init(&s, limits[i].rate, limits[i].burst);
			for (unsigned k = 0; k < n; k++)
				simulation_connect(&s, k % 3 == 0 ? XFER_READ : XFER_AHEAD, k % 4);
			simulation_run(&s, 5 * NS_PER_S);
			assert_true(s.excess_max <= (__int128)limits[i].burst * NS_PER_S);
			if (limits[i].burst >= limits[i].rate / 50 && limits[i].rate > 1000)
				assert_in_range(s.total_bytes, limits[i].rate * 5 * 95 / 100,
						limits[i].rate * 5 + limits[i].burst);
			simulation_finish(&s);
		}
	}
}

/* With what lies in buffers unasked for: all begin at once, and again and again. */
static void test_buffers_are_within_the_burst(void **state)
{
	static const struct xfer_limit limits[] = {
	    {5000000, 500000}, {50000000, 5000000}, {50000000, 1048576}, {5000000, 131072}};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct xfer_limit *limit = &limits[i];
		uint64_t buffer = queue_connection_bytes(limit, 16);
		uint64_t sizes[] = {xfer_part_bytes(limit, 16), 1048576, 131072, CHUNK_BYTES};
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			static struct simulation s;
			simulation_init_buffered(&s, limit->rate_bytes_per_s, limit->burst_bytes,
						 buffer);
			for (unsigned k = 0; k < queue_limit_connections(limit, 16); k++)
				simulation_connect_for(&s, XFER_AHEAD, k % 2,
						       sizes[j] - sizes[j] % CHUNK_BYTES);
			simulation_run(&s, 5 * NS_PER_S);
			assert_true(s.excess_max <= (__int128)limit->burst_bytes * NS_PER_S);
			assert_true(s.total_bytes >= limit->rate_bytes_per_s * 5 * 95 / 100);
			assert_within_percent(flow_bytes(&s, 1), s.total_bytes / 2,
					      queue_limit_connections(limit, 16) > 1 ? 10 : 100);
			simulation_finish(&s);
		}
	}
}

/* An answer that was shorter than expected gives back what it did not need. */
static void test_a_short_answer_is_refunded(void **state)
{
	static struct simulation s;

	simulation_init_buffered(&s, 1000000, 400000, 100000);
	for (unsigned i = 0; i < 50; i++) {
		struct pacer_request r = {.http.answer.content_length = 300};
		uint64_t wait_ns;
		pacer_join(s.pacer, &r, XFER_READ, 1, 131072);
		struct http_pacer *hooks = r.http.pacer;
		assert_true(hooks->take(hooks, &r.http, HTTP_DOWN, 300, &wait_ns));
		pacer_leave(s.pacer, &r);
	}
	simulation_finish(&s);
}

/* A flow's share does not depend on its number of connections, nor on the size of its requests. */
static void test_flows_share_evenly(void **state)
{
	static const uint64_t rates[] = {5000000, 50000000};
	static const uint64_t request_bytes[] = {0, 1048576, 65536};

	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(request_bytes); j++) {
			static struct simulation s;
			simulation_init(&s, rates[i], rates[i] / 10);
			for (unsigned k = 0; k < 9; k++)
				simulation_connect(&s, XFER_AHEAD, k == 0)->request_bytes =
				    request_bytes[j];
			simulation_run(&s, 20 * NS_PER_S);
			assert_within_percent(flow_bytes(&s, 1), s.total_bytes / 2, 1);
			assert_within_percent(s.total_bytes, rates[i] * 20, 1);
			simulation_finish(&s);
		}
	}
}

/* A bucket of one chunk leaves no room for differences; timers as precise as epoll's are enough. */
static void test_flows_share_the_smallest_burst(void **state)
{
	static struct simulation s;

	simulation_init(&s, 5000000, 16384);
	s.late_max_ns = 200000;
	for (unsigned k = 0; k < 9; k++)
		simulation_connect(&s, XFER_READ, k == 0);
	simulation_run(&s, 20 * NS_PER_S);
	assert_within_percent(flow_bytes(&s, 1), s.total_bytes / 2, 2);
	assert_true(s.total_bytes >= 5000000 * 20 / 100 * 90);
	simulation_finish(&s);
}

static void test_32_flows_share_evenly(void **state)
{
	static struct simulation s;

	simulation_init(&s, 50000000, 5000000);
	for (unsigned k = 0; k < 32; k++)
		simulation_connect(&s, XFER_READ, k)->request_bytes = (k % 5 + 1) << 20;
	simulation_run(&s, 20 * NS_PER_S);
	for (unsigned k = 0; k < 32; k++)
		assert_within_percent(flow_bytes(&s, k), s.total_bytes / 32, 2);
	simulation_finish(&s);
}

/* One that its own network holds to less than its share gets all it can take; none is lost. */
static void test_slow_flow_leaves_the_rest_to_others(void **state)
{
	static struct simulation s;

	simulation_init(&s, 50000000, 5000000);
	simulation_connect(&s, XFER_READ, 1)->own_ns = 16 * NS_PER_MS; /* about 1 MB/s */
	for (unsigned k = 0; k < 4; k++)
		simulation_connect(&s, XFER_READ, 2);
	simulation_run(&s, 10 * NS_PER_S);
	assert_within_percent(flow_bytes(&s, 1), 10 * NS_PER_S / (16 * NS_PER_MS) * CHUNK_BYTES,
			      12);
	assert_within_percent(s.total_bytes, 500000000, 2);

	/* Now it is fast: it may catch up on what it missed, but not on seconds. */
	uint64_t before[2] = {flow_bytes(&s, 1), flow_bytes(&s, 2)};
	s.connections[0].own_ns = 0;
	simulation_run(&s, 10 * NS_PER_S);
	assert_within_percent(flow_bytes(&s, 1) - before[0], 250000000, 4);
	assert_within_percent(flow_bytes(&s, 2) - before[1], 250000000, 4);
	simulation_finish(&s);
}

/* A flow that was silent for seconds starts level: it does not take what it did not ask for. */
static void test_idle_flow_starts_level(void **state)
{
	static struct simulation s;

	simulation_init(&s, 5000000, 500000);
	struct connection *late = simulation_connect(&s, XFER_READ, 1);
	simulation_connect(&s, XFER_READ, 2);
	pacer_leave(s.pacer, &late->request);
	late->wake_ns = UINT64_MAX;
	simulation_run(&s, 10 * NS_PER_S);

	pacer_join(s.pacer, &late->request, XFER_READ, 1, 0);
	late->wake_ns = s.clock.now_ns;
	uint64_t before = flow_bytes(&s, 2);
	simulation_run(&s, 2 * NS_PER_S);
	assert_within_percent(flow_bytes(&s, 1), 5000000, 3);
	assert_within_percent(flow_bytes(&s, 2) - before, 5000000, 3);
	simulation_finish(&s);
}

/* Demand gets all but moments' worth; a single chunk of it is through within milliseconds. */
static void test_demand_comes_first(void **state)
{
	static const uint64_t rates[] = {5000000, 50000000};

	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		static struct simulation s;
		simulation_init(&s, rates[i], rates[i] / 10);
		for (unsigned k = 0; k < 12; k++)
			simulation_connect(&s, XFER_AHEAD, 1);
		simulation_run(&s, NS_PER_S);
		uint64_t ahead_before = flow_bytes(&s, 1);
		struct connection *demand = simulation_connect(&s, XFER_READ, 2);
		simulation_run(&s, 10 * NS_PER_MS);
		assert_true(demand->granted_bytes >= CHUNK_BYTES);
		simulation_run(&s, NS_PER_S);
		assert_within_percent(demand->granted_bytes, rates[i], 5);
		assert_true(flow_bytes(&s, 1) - ahead_before <= rates[i] / 100);
		simulation_finish(&s);
	}
}

/* Writes come before read-ahead, and a promoted request stands with demand. */
static void test_promoted_counts_as_demand(void **state)
{
	static struct simulation s;

	simulation_init(&s, 5000000, 500000);
	for (unsigned k = 0; k < 4; k++)
		simulation_connect(&s, XFER_AHEAD, k);
	simulation_run(&s, NS_PER_S);
	pacer_promote(s.pacer, &s.connections[2].request);
	uint64_t before = s.connections[2].granted_bytes;
	simulation_run(&s, NS_PER_S);
	assert_within_percent(s.connections[2].granted_bytes - before, 5000000, 3);
	simulation_finish(&s);
}

/* META passes at once however empty the bucket is; the others pay for it later, within bounds. */
static void test_meta_is_charged_and_never_refused(void **state)
{
	static struct simulation s;
	uint64_t wait_ns;

	simulation_init(&s, 5000000, 500000);
	struct connection *data = simulation_connect(&s, XFER_READ, 1);
	struct connection *meta = simulation_connect(&s, XFER_META, 0);
	meta->wake_ns = UINT64_MAX;
	simulation_run(&s, NS_PER_S);

	for (unsigned i = 0; i < 12; i++)
		assert_true(ask(meta, CHUNK_BYTES, &wait_ns));
	uint64_t before = data->granted_bytes;
	simulation_run(&s, NS_PER_S);
	assert_within_percent(data->granted_bytes - before, 5000000 - 12 * CHUNK_BYTES, 3);

	for (unsigned i = 0; i < 10000; i++) /* 160 MB: half a minute's worth */
		assert_true(ask(meta, CHUNK_BYTES, &wait_ns));
	before = data->granted_bytes;
	simulation_run(&s, NS_PER_S);
	assert_within_percent(data->granted_bytes - before, 5000000 - 500000, 5);
	simulation_finish(&s);
}

/* One that never comes back for its tokens holds nobody up for long. */
static void test_lost_waiter_is_not_waited_for(void **state)
{
	static struct simulation s;

	simulation_init(&s, 5000000, 500000);
	struct connection *lost = simulation_connect(&s, XFER_READ, 1);
	simulation_connect(&s, XFER_AHEAD, 2);
	simulation_run(&s, NS_PER_S);
	assert_true(lost->request.waiting);
	lost->wake_ns = UINT64_MAX;
	uint64_t before = flow_bytes(&s, 2);
	simulation_run(&s, NS_PER_S);
	assert_in_range(flow_bytes(&s, 2) - before, 5000000 * 9 / 10, 5500000);
	simulation_finish(&s);
}

/* A waiting request's turn may be far; that somebody gets tokens is its progress. */
static void test_waiting_is_known(void **state)
{
	static struct simulation s;

	simulation_init(&s, 5000000, 500000);
	simulation_connect(&s, XFER_READ, 1);
	struct connection *ahead = simulation_connect(&s, XFER_AHEAD, 2);
	simulation_run(&s, 5 * NS_PER_S);
	assert_true(ahead->request.waiting);
	uint64_t since_ns = pacer_waits_since_ns(s.pacer, &ahead->request);
	assert_in_range(since_ns, s.clock.now_ns - 10 * NS_PER_MS, s.clock.now_ns);
	simulation_finish(&s);
	assert_false(ahead->request.waiting);
}

static void test_other_direction_is_not_counted(void **state)
{
	static struct simulation s;
	uint64_t wait_ns;

	simulation_init(&s, 1000, 16384);
	struct connection *c = simulation_connect(&s, XFER_READ, 1);
	struct http_pacer *hooks = c->request.http.pacer;
	for (unsigned i = 0; i < 100; i++)
		assert_true(hooks->take(hooks, &c->request.http, HTTP_UP, CHUNK_BYTES, &wait_ns));
	assert_true(ask(c, CHUNK_BYTES, &wait_ns));
	assert_false(ask(c, CHUNK_BYTES, &wait_ns));
	assert_in_range(wait_ns, 16 * NS_PER_S, 17 * NS_PER_S);
	simulation_finish(&s);
}

/* More flows than there are records, one after the other and at once. */
static void test_many_flows(void **state)
{
	static struct simulation s;

	simulation_init(&s, 50000000, 5000000);
	static struct pacer_request requests[400];
	for (unsigned i = 0; i < 400; i++)
		pacer_join(s.pacer, &requests[i], XFER_READ, i, 0);
	for (unsigned i = 0; i < 400; i++)
		pacer_leave(s.pacer, &requests[i]);
	for (unsigned i = 0; i < 400; i++) {
		pacer_join(s.pacer, &requests[0], XFER_READ, 1000 + i, 0);
		pacer_leave(s.pacer, &requests[0]);
		pacer_leave(s.pacer, &requests[0]); /* as http's gone and the try's end do */
	}
	simulation_finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bound_holds_over_every_interval),
	    cmocka_unit_test(test_buffers_are_within_the_burst),
	    cmocka_unit_test(test_a_short_answer_is_refunded),
	    cmocka_unit_test(test_flows_share_evenly),
	    cmocka_unit_test(test_flows_share_the_smallest_burst),
	    cmocka_unit_test(test_32_flows_share_evenly),
	    cmocka_unit_test(test_slow_flow_leaves_the_rest_to_others),
	    cmocka_unit_test(test_idle_flow_starts_level),
	    cmocka_unit_test(test_demand_comes_first),
	    cmocka_unit_test(test_promoted_counts_as_demand),
	    cmocka_unit_test(test_meta_is_charged_and_never_refused),
	    cmocka_unit_test(test_lost_waiter_is_not_waited_for),
	    cmocka_unit_test(test_waiting_is_known),
	    cmocka_unit_test(test_other_direction_is_not_counted),
	    cmocka_unit_test(test_many_flows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
