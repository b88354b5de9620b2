/* SPDX-License-Identifier: Apache-2.0 */
/* Many requests, their cancellation, and their end with the loops. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "exchange.h"
#include "server.h"

static void answer_ok(struct connection *c)
{
	while (server_read(c))
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* Sends half of an answer and waits for the client to go. */
static void hang_in_body(struct connection *c)
{
	if (server_read(c))
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
	server_wait_close(c);
}

static void test_200_requests_over_two_loops(void **state)
{
	enum { REQUESTS = 200 };
	struct http *h = loops_start(2);
	struct server s;
	struct exchange *all = calloc(REQUESTS, sizeof(*all));

	server_start(&s, answer_ok, NULL);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < REQUESTS; i++) {
			exchange_init(&all[i], "GET", s.port, "/");
			http_submit(h, &all[i].request);
		}
		for (int i = 0; i < REQUESTS; i++) {
			exchange_wait(&all[i]);
			assert_int_equal(all[i].request.answer.error, HTTP_OK);
			assert_int_equal(all[i].body.length, 2);
			exchange_finish(&all[i]);
		}
	}
	assert_int_equal(server_requests(&s), 2 * REQUESTS);
	free(all);
	http_destroy(h);
	server_stop(&s);
}

/* Requests that hang keep their loop busy: the next goes to the other one. */
static void test_least_busy_loop(void **state)
{
	struct http *h = loops_start(2);
	struct server s;
	struct exchange x[4];

	server_start(&s, hang_in_body, NULL);
	for (int i = 0; i < 4; i++) {
		exchange_init(&x[i], "GET", s.port, "/");
		http_submit(h, &x[i].request);
		wait_for(&x[i].got_data);
	}
	assert_ptr_not_equal(x[0].request.loop, x[1].request.loop);
	assert_ptr_equal(x[0].request.loop, x[2].request.loop);
	assert_ptr_equal(x[1].request.loop, x[3].request.loop);
	http_destroy(h); /* ends what runs */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(x[i].done_calls, 1);
		assert_int_equal(x[i].request.answer.error, HTTP_CANCELLED);
		assert_int_equal(x[i].body.length, 3);
		exchange_finish(&x[i]);
	}
	server_stop(&s);
}

static void exchange_init_put(struct exchange *x, uint16_t port)
{
	static char bytes[3] = "abc";
	static const struct iovec body = {bytes, sizeof(bytes)};

	exchange_init(x, "PUT", port, "/");
	x->request.body = &body;
	x->request.body_count = 1;
	x->request.body_length = sizeof(bytes);
}

/* What sends a body keeps to its loops, whoever is busier; what does not goes to all. */
static void test_uploads_keep_to_their_loops(void **state)
{
	struct http_config config = {.loops = 2, .upload_loops = 1, .connections = 16, .proxy = ""};
	struct http *h = NULL;
	struct server s;
	struct exchange x[4];

	assert_int_equal(http_create(&config, &h), 0);
	server_start(&s, hang_in_body, NULL);
	for (int i = 0; i < 4; i++) {
		if (i < 3)
			exchange_init_put(&x[i], s.port);
		else
			exchange_init(&x[i], "GET", s.port, "/");
		http_submit(h, &x[i].request);
		wait_for(&x[i].got_data);
	}
	assert_ptr_equal(x[1].request.loop, x[0].request.loop);
	assert_ptr_equal(x[2].request.loop, x[0].request.loop);
	assert_ptr_not_equal(x[3].request.loop, x[0].request.loop);
	http_destroy(h);
	for (int i = 0; i < 4; i++)
		exchange_finish(&x[i]);
	server_stop(&s);
}

enum { TOGETHER = 4 };

/* Answers when as many requests as TOGETHER are there, a round of them after the other. */
static void answer_together(struct connection *c)
{
	for (unsigned round = 1; server_read(c); round++) {
		while (server_requests(c->server) < round * TOGETHER)
			usleep(1000);
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
}

/* All connections may be in use by the few loops that send bodies: none is closed for another. */
static void test_uploads_keep_their_connections(void **state)
{
	struct http_config config = {
	    .loops = 4, .upload_loops = 1, .connections = TOGETHER, .proxy = ""};
	struct http *h = NULL;
	struct server s;
	struct exchange x[TOGETHER];

	assert_int_equal(http_create(&config, &h), 0);
	server_start(&s, answer_together, NULL);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < TOGETHER; i++) {
			exchange_init_put(&x[i], s.port);
			http_submit(h, &x[i].request);
		}
		for (int i = 0; i < TOGETHER; i++) {
			exchange_wait(&x[i]);
			assert_int_equal(x[i].request.answer.error, HTTP_OK);
			exchange_finish(&x[i]);
		}
	}
	assert_int_equal(__atomic_load_n(&s.accepted, __ATOMIC_ACQUIRE), TOGETHER);
	http_destroy(h);
	server_stop(&s);
}

static void test_cancel_running(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, hang_in_body, NULL);
	exchange_init(&x, "GET", s.port, "/");
	http_cancel(h, &x.request); /* not submitted: nothing happens */
	http_submit(h, &x.request);
	wait_for(&x.got_data);
	http_cancel(h, &x.request);
	http_cancel(h, &x.request);
	exchange_wait(&x);
	assert_int_equal(x.request.answer.error, HTTP_CANCELLED);
	assert_int_equal(x.request.answer.status, 200);
	http_cancel(h, &x.request); /* ended: nothing happens, not to the next one either */
	server_stop(&s);
	server_start(&s, answer_ok, NULL);
	exchange_finish(&x);
	exchange_init(&x, "GET", s.port, "/");
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

struct pair {
	struct http *h;
	struct exchange *other;
};

/* On the loop's thread: other can only be in the inbox. */
static void submit_and_cancel_other(struct exchange *x)
{
	struct pair *pair = x->ctx;

	http_submit(pair->h, &pair->other->request);
	http_cancel(pair->h, &pair->other->request);
}

static void test_cancel_queued(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x, other;
	struct pair pair = {h, &other};

	server_start(&s, answer_ok, NULL);
	exchange_init(&x, "GET", s.port, "/");
	exchange_init(&other, "GET", s.port, "/other");
	x.on_headers = submit_and_cancel_other;
	x.ctx = &pair;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_wait(&other);
	assert_int_equal(other.request.answer.error, HTTP_CANCELLED);
	assert_int_equal(other.headers_calls, 0);
	assert_int_equal(server_requests(&s), 1);
	exchange_finish(&x);
	exchange_finish(&other);
	http_destroy(h);
	server_stop(&s);
}

static void cancel_itself(struct exchange *x)
{
	http_cancel(x->ctx, &x->request);
}

static void test_cancel_from_callback(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, hang_in_body, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.on_headers = cancel_itself;
	x.ctx = h;
	assert_int_equal(exchange_run(h, &x), HTTP_CANCELLED);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_callbacks_refuse(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_ok, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.headers_answer = -ESTALE;
	assert_int_equal(exchange_run(h, &x), HTTP_REFUSED);
	assert_int_equal(x.request.answer.refused, ESTALE);
	assert_int_equal(x.request.answer.status, 200);
	assert_int_equal(x.body.length, 0);
	x.headers_answer = 0;
	x.data_answer = -ENOSPC;
	assert_int_equal(exchange_run(h, &x), HTTP_REFUSED);
	assert_int_equal(x.request.answer.refused, ENOSPC);
	x.data_answer = 0;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_int_equal(x.request.answer.refused, 0);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Sends an answer of 32 KiB in one piece for each request. */
static void answer_32k(struct connection *c)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 32768\r\n\r\n";
	char answer[sizeof(head) - 1 + 32768];

	memset(answer, 'x', sizeof(answer));
	memcpy(answer, head, sizeof(head) - 1);
	while (server_read(c))
		server_send_bytes(c, answer, sizeof(answer));
}

/* Who does not want the rest of a short answer leaves the connection to the next. */
static void test_rest_is_drained(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_32k, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.data_answer = -ECANCELED;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(exchange_run(h, &x), HTTP_REFUSED);
		assert_int_equal(x.request.answer.refused, ECANCELED);
		assert_true(x.body.length <= 16384);
		assert_int_equal(x.done_calls, i + 1);
	}
	x.data_answer = 0;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_true(x.request.answer.connection_reused);
	assert_int_equal(x.body.length, 32768);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* A request that lives on the heap, submits itself again and at last frees itself. */
struct relay {
	struct http_request request;
	struct http *h;
	unsigned left, cancelled;
	sem_t *end;
};

static int relay_headers(struct http_request *r)
{
	return 0;
}

static int relay_data(struct http_request *r, const void *bytes, size_t n)
{
	return 0;
}

static void relay_done(struct http_request *r)
{
	struct relay *relay = CONTAINER_OF(r, struct relay, request);

	if (relay->left > 0) {
		relay->left--;
		http_submit(relay->h, r);
		return;
	}
	sem_post(relay->end);
	http_message_finish(&r->message);
	http_answer_finish(&r->answer);
	free(relay);
}

static void relay_start(struct http *h, uint16_t port, unsigned times, sem_t *end)
{
	static const struct http_events events = {relay_headers, relay_data, relay_done};
	struct relay *relay = calloc(1, sizeof(*relay));
	struct exchange x;

	assert_non_null(relay);
	exchange_init(&x, "GET", port, "/");
	relay->request.message = x.request.message;
	x.request.message = (struct http_message){0};
	exchange_finish(&x);
	relay->request.events = &events;
	relay->h = h;
	relay->left = times - 1;
	relay->end = end;
	http_submit(h, &relay->request);
}

static void test_done_submits_and_frees(void **state)
{
	struct http *h = loops_start(2);
	struct server s;
	sem_t end;

	sem_init(&end, 0, 0);
	server_start(&s, answer_ok, NULL);
	for (int i = 0; i < 4; i++)
		relay_start(h, s.port, 25, &end);
	for (int i = 0; i < 4; i++)
		wait_for(&end);
	assert_int_equal(server_requests(&s), 100);
	http_destroy(h);
	server_stop(&s);
}

/* At the end each submission still gets its done(), on whatever loop and however late. */
static void test_destroy_while_done_submits(void **state)
{
	struct http *h = loops_start(3);
	struct server s;
	sem_t end;
	int ended = 0;

	sem_init(&end, 0, 0);
	server_start(&s, hang_in_body, NULL);
	for (int i = 0; i < 9; i++)
		relay_start(h, s.port, 5, &end);
	http_destroy(h);
	sem_getvalue(&end, &ended);
	assert_int_equal(ended, 9);
	server_stop(&s);
}

static uint64_t turn_ns(void)
{
	struct { /* sched_setattr(2) */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime_ns, deadline_ns, period_ns;
	} attr;

	assert_int_equal(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0), 0);
	return attr.runtime_ns;
}

static void note_turn(struct exchange *x)
{
	*(uint64_t *)x->ctx = turn_ns();
}

static void test_turns_of_a_loop_are_short(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	uint64_t loop_ns = 0, ours_ns = turn_ns();

	server_start(&s, answer_ok, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.ctx = &loop_ns;
	x.on_done = note_turn;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	if (ours_ns == 0) /* before Linux 6.12 there are none to choose */
		skip();
	assert_true(loop_ns < ours_ns);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_200_requests_over_two_loops),
	    cmocka_unit_test(test_least_busy_loop),
	    cmocka_unit_test(test_uploads_keep_to_their_loops),
	    cmocka_unit_test(test_uploads_keep_their_connections),
	    cmocka_unit_test(test_cancel_running),
	    cmocka_unit_test(test_cancel_queued),
	    cmocka_unit_test(test_cancel_from_callback),
	    cmocka_unit_test(test_callbacks_refuse),
	    cmocka_unit_test(test_rest_is_drained),
	    cmocka_unit_test(test_done_submits_and_frees),
	    cmocka_unit_test(test_destroy_while_done_submits),
	    cmocka_unit_test(test_turns_of_a_loop_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
