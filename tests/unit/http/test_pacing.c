/* SPDX-License-Identifier: Apache-2.0 */
/* The pacing hook: what is asked for, what a refusal does, and that a wait is no stall. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/clock.h>

#include "exchange.h"
#include "server.h"

#define TAKE_MAX (16 * 1024)
#define GRANTS_MAX 4096

/*
 * Refuses each request's asking until `pause_ns` after it first asked for that step, and records
 * who was granted. Used by one loop: its thread is the only one here until the requests are done.
 */
struct slow_pacer {
	struct http_pacer pacer;
	uint64_t pause_ns;
	size_t granted[2]; /* bytes by direction */
	unsigned refusals, gone;
	size_t largest;
	const struct http_request *grants[GRANTS_MAX]; /* who, in order */
	unsigned grant_count;
	const struct http_request *waiting[2];
	uint64_t since_ns[2];
};

static unsigned place_of(struct slow_pacer *p, const struct http_request *r)
{
	unsigned free_place = 0;

	for (unsigned i = 0; i < 2; i++) {
		if (p->waiting[i] == r)
			return i;
		if (p->waiting[i] == NULL)
			free_place = i;
	}
	p->waiting[free_place] = r;
	p->since_ns[free_place] = clock_now_ns();
	return free_place;
}

static bool take(struct http_pacer *pacer, struct http_request *r, enum http_direction d, size_t n,
		 uint64_t *ret_wait_ns)
{
	struct slow_pacer *p = CONTAINER_OF(pacer, struct slow_pacer, pacer);
	unsigned place = place_of(p, r);
	uint64_t until_ns = p->since_ns[place] + p->pause_ns;
	uint64_t now_ns = clock_now_ns();

	p->largest = MAX(p->largest, n);
	if (now_ns < until_ns) {
		p->refusals++;
		*ret_wait_ns = until_ns - now_ns;
		return false;
	}
	p->waiting[place] = NULL;
	p->granted[d] += n;
	if (p->grant_count < GRANTS_MAX)
		p->grants[p->grant_count++] = r;
	return true;
}

static void gone(struct http_pacer *pacer, struct http_request *r)
{
	struct slow_pacer *p = CONTAINER_OF(pacer, struct slow_pacer, pacer);
	struct exchange *x = CONTAINER_OF(r, struct exchange, request);

	p->gone++;
	for (unsigned i = 0; i < 2; i++)
		if (p->waiting[i] == r)
			p->waiting[i] = NULL;
	if (x->done_calls > 0)
		p->gone += 100; /* must come first */
}

#define ANSWER_BYTES 200000

static void answer_large(struct connection *c)
{
	char *bytes = calloc(1, ANSWER_BYTES);

	for (size_t i = 0; i < ANSWER_BYTES; i++)
		bytes[i] = (char)(i * 7 + (i >> 9));
	while (server_read(c)) {
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
		server_send_bytes(c, bytes, ANSWER_BYTES);
	}
	free(bytes);
}

static void assert_large(const struct exchange *x)
{
	assert_int_equal(x->body.length, ANSWER_BYTES);
	for (size_t i = 0; i < ANSWER_BYTES; i++)
		if (x->body.data[i] != (char)(i * 7 + (i >> 9)))
			fail_msg("byte %zu differs", i);
}

static void test_download(void **state)
{
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = 2 * NS_PER_MS};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_large, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.request.pacer = &p.pacer;
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(exchange_run(h, &x), HTTP_OK);
		assert_large(&x);
		assert_int_equal(p.granted[HTTP_DOWN], i * ANSWER_BYTES);
		assert_int_equal(p.gone, i);
		x.done_calls = 0;
	}
	assert_int_equal(p.granted[HTTP_UP], 0);
	assert_true(p.largest <= TAKE_MAX);
	assert_true(p.refusals >= ANSWER_BYTES / TAKE_MAX);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void answer_length(struct connection *c)
{
	while (server_read(c)) {
		char text[128];
		unsigned sum = 0;

		for (size_t i = 0; i < c->body_length; i++)
			sum = sum * 31 + (unsigned char)c->body[i];
		snprintf(text, sizeof(text), "%zu %u", c->body_length, sum);
		server_send(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
		server_send(c, text);
		return;
	}
}

static void test_upload(void **state)
{
	enum { BYTES = 300 * 1000 };
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = 2 * NS_PER_MS};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = malloc(BYTES);
	struct iovec body[] = {{bytes, 1000}, {bytes + 1000, BYTES - 1000}};
	char expected[64];
	unsigned sum = 0;

	for (size_t i = 0; i < BYTES; i++) {
		bytes[i] = (char)(i * 13 + (i >> 10));
		sum = sum * 31 + (unsigned char)bytes[i];
	}
	snprintf(expected, sizeof(expected), "%d %u", BYTES, sum);
	server_start(&s, answer_length, NULL);
	exchange_init(&x, "PUT", s.port, "/");
	x.request.pacer = &p.pacer;
	x.request.body = body;
	x.request.body_count = 2;
	x.request.body_length = BYTES;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_string_equal(x.body.data, expected);
	assert_int_equal(p.granted[HTTP_UP], BYTES);
	assert_int_equal(p.granted[HTTP_DOWN], x.body.length);
	assert_true(p.largest <= TAKE_MAX);
	assert_true(p.refusals >= BYTES / TAKE_MAX);
	assert_int_equal(p.gone, 1);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_waiting_is_no_stall(void **state)
{
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = 300 * NS_PER_MS};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	struct iovec body = {(void *)(uintptr_t) "hello", 5};

	server_start(&s, answer_length, NULL);
	exchange_init(&x, "PUT", s.port, "/");
	x.request.pacer = &p.pacer;
	x.request.body = &body;
	x.request.body_count = 1;
	x.request.body_length = 5;
	x.request.stall_ns = 100 * NS_PER_MS;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_true(p.refusals >= 2); /* the body, and the answer's */
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Two transfers that wait equally long take turns. */
static void test_turns(void **state)
{
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = 5 * NS_PER_MS};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x[2];
	unsigned longest_run = 0, run = 0, both_until = 0;

	server_start(&s, answer_large, NULL);
	for (int i = 0; i < 2; i++) {
		exchange_init(&x[i], "GET", s.port, "/");
		x[i].request.pacer = &p.pacer;
		http_submit(h, &x[i].request);
	}
	for (int i = 0; i < 2; i++) {
		exchange_wait(&x[i]);
		assert_int_equal(x[i].request.answer.error, HTTP_OK);
		assert_large(&x[i]);
	}
	/* the grants in the middle half, where both run for certain unless one was starved */
	both_until = p.grant_count * 3 / 4;
	for (unsigned i = p.grant_count / 4 + 1; i < both_until; i++) {
		run = p.grants[i] == p.grants[i - 1] ? run + 1 : 0;
		longest_run = MAX(longest_run, run);
	}
	assert_true(p.grant_count >= 2 * (ANSWER_BYTES / TAKE_MAX));
	assert_true(longest_run < p.grant_count / 4);
	for (int i = 0; i < 2; i++)
		exchange_finish(&x[i]);
	http_destroy(h);
	server_stop(&s);
}

static void test_cancel_while_paused(void **state)
{
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = 3600 * NS_PER_S};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_large, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.request.pacer = &p.pacer;
	http_submit(h, &x.request);
	wait_for(&x.got_headers);
	http_cancel(h, &x.request);
	exchange_wait(&x);
	assert_int_equal(x.request.answer.error, HTTP_CANCELLED);
	assert_int_equal(x.body.length, 0);
	assert_int_equal(p.gone, 1);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* data() may refuse in the middle of a resume, where curl calls it from curl_easy_pause. */
static void test_refusal_in_resume(void **state)
{
	struct slow_pacer p = {.pacer = {take, gone}, .pause_ns = NS_PER_MS};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_large, NULL);
	exchange_init(&x, "GET", s.port, "/");
	x.request.pacer = &p.pacer;
	x.data_answer = -5;
	assert_int_equal(exchange_run(h, &x), HTTP_REFUSED);
	assert_int_equal(x.request.answer.refused, 5);
	assert_int_equal(p.gone, 1);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_download),
	    cmocka_unit_test(test_upload),
	    cmocka_unit_test(test_waiting_is_no_stall),
	    cmocka_unit_test(test_turns),
	    cmocka_unit_test(test_cancel_while_paused),
	    cmocka_unit_test(test_refusal_in_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
