/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent and what is understood: answers of every shape, bodies both ways. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "exchange.h"
#include "server.h"

/* Answers each request with the text in ctx, keeping the connection. */
static void answer_text(struct connection *c)
{
	while (server_read(c))
		server_send(c, c->server->ctx);
}

/* Answers with the request itself: its head, a line of `--`, its body. */
static void echo(struct connection *c)
{
	while (server_read(c)) {
		char head[128];
		size_t n = strlen(c->head);

		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 n + 4 + c->body_length);
		server_send(c, head);
		server_send(c, c->head);
		server_send(c, "--\r\n");
		server_send_bytes(c, c->body, c->body_length);
	}
}

static const struct {
	const char *name, *method, *text;
	enum http_error error;
	int status;
	int64_t content_length;
	const char *body;
} answers[] = {
    {"plain", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", HTTP_OK, 200, 5, "hello"},
    {"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP_OK, 200, 0, ""},
    {"206", "GET", "HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nab", HTTP_OK, 206, 2, "ab"},
    {"no content", "DELETE", "HTTP/1.1 204 No Content\r\n\r\n", HTTP_OK, 204, -1, ""},
    {"error with body", "GET", "HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow", HTTP_OK,
     503, 4, "slow"},
    {"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 8589934592\r\n\r\n", HTTP_OK, 200,
     8589934592, ""},
    {"head 404", "HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 300\r\n\r\n", HTTP_OK, 404, 300,
     ""},
    {"chunked", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n",
     HTTP_OK, 200, -1, "abcde"},
    {"100 first", "GET",
     "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
     HTTP_OK, 200, 1, "x"},
    {"302 is not followed", "GET",
     "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", HTTP_OK, 302, 0,
     ""},
    {"gzip stays as it is", "GET",
     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw", HTTP_OK, 200, 3,
     "raw"},
    {"blanks around a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length:   2  \r\n\r\nok", HTTP_OK,
     200, 2, "ok"},
    {"header without colon", "GET", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", HTTP_PROTOCOL, 0, -1,
     ""},
    {"negative length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", HTTP_PROTOCOL, 0,
     -1, ""},
};

static void test_answers(void **state)
{
	struct http *h = loops_start(1);

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct server s;
		struct exchange x;

		server_start(&s, answer_text, answers[i].text);
		exchange_init(&x, answers[i].method, s.port, "/object");
		if (exchange_run(h, &x) != answers[i].error ||
		    x.request.answer.content_length != answers[i].content_length)
			fail_msg("%s: %s (%s), length %lld", answers[i].name,
				 http_error_name(x.request.answer.error), x.request.answer.detail,
				 (long long)x.request.answer.content_length);
		if (answers[i].error == HTTP_OK) {
			assert_int_equal(x.request.answer.status, answers[i].status);
			assert_int_equal(x.headers_calls, 1);
			assert_int_equal(x.body.length, strlen(answers[i].body));
			assert_int_equal(x.request.answer.body_bytes, x.body.length);
			assert_memory_equal(x.body.length ? x.body.data : "", answers[i].body,
					    x.body.length);
			assert_int_equal(server_requests(&s), 1);
			assert_true(x.request.answer.first_byte_ns >= x.request.answer.started_ns);
			assert_true(x.request.answer.ended_ns >= x.request.answer.first_byte_ns);
		}
		exchange_finish(&x);
		http_destroy(h);
		server_stop(&s);
		h = loops_start(1);
	}
	http_destroy(h);
}

static void test_headers(void **state)
{
	static const char text[] =
	    "HTTP/1.1 200 OK\r\nETag: \"abc\"\r\nX-Amz-Meta-Name:  two words \r\n"
	    "x-twice: first\r\nX-Twice: second\r\nX-Empty:\r\n"
	    "X-Folded: one\r\n two\r\n"
	    "Content-Length: 0\r\n\r\n";
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	const struct http_answer *a = &x.request.answer;
	char peer[64];

	server_start(&s, answer_text, text);
	exchange_init(&x, "GET", s.port, "/");
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_string_equal(http_answer_header(a, "etag"), "\"abc\"");
	assert_string_equal(http_answer_header(a, "x-amz-meta-name"), "two words");
	assert_string_equal(http_answer_header(a, "x-twice"), "first");
	assert_string_equal(http_answer_header(a, "x-empty"), "");
	assert_string_equal(http_answer_header(a, "x-folded"), "one two");
	assert_null(http_answer_header(a, "x-early"));
	assert_null(http_answer_header(a, "ETag"));
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", s.port);
	assert_string_equal(a->peer, peer);
	assert_string_equal(a->detail, "");
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_connection_is_reused(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_text, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	exchange_init(&x, "GET", s.port, "/");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(exchange_run(h, &x), HTTP_OK);
		assert_int_equal(x.request.answer.connection_reused, i > 0);
		assert_int_equal(x.body.length, 2);
	}
	assert_int_equal(s.accepted, 1);
	x.request.fresh_connection = true;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_false(x.request.answer.connection_reused);
	assert_int_equal(s.accepted, 2);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Answers the first request, takes the second and hangs up; later connections answer. */
static void forget_one(struct connection *c)
{
	while (server_read(c)) {
		if (c->number == 0 && __atomic_load_n(&c->server->requests, __ATOMIC_RELAXED) == 2)
			return;
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
}

/* The server has read the request before it hung up: whoever sent it must know. */
static void test_curl_repeats_by_itself(void **state)
{
	static const struct iovec body = {(char *)(uintptr_t) "body", 4};
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, forget_one, NULL);
	exchange_init(&x, "PUT", s.port, "/");
	x.request.body = &body;
	x.request.body_count = 1;
	x.request.body_length = 4;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(exchange_run(h, &x), HTTP_OK);
		assert_int_equal(x.request.answer.repeated, i == 1);
		assert_int_equal(x.request.sent_bytes, 4);
	}
	assert_int_equal(s.accepted, 2);
	assert_int_equal(s.requests, 4);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_request_as_sent(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	char expected[512];

	server_start(&s, echo, NULL);
	exchange_init(&x, "GET", s.port, "/a/../b//c%20d/.?list-type=2&prefix=");
	exchange_line(&x, "x-amz-date: 20150830T123600Z");
	exchange_line(&x, "x-empty;");
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	snprintf(expected, sizeof(expected),
		 "GET /a/../b//c%%20d/.?list-type=2&prefix= HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
		 "User-Agent: test/1\r\nx-amz-date: 20150830T123600Z\r\nx-empty:\r\n\r\n--\r\n",
		 s.port);
	assert_string_equal(x.body.data, expected);
	exchange_finish(&x);

	exchange_init(&x, "PUT", s.port, "/empty");
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	snprintf(expected, sizeof(expected),
		 "PUT /empty HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
		 "User-Agent: test/1\r\nContent-Length: 0\r\n\r\n--\r\n",
		 s.port);
	assert_string_equal(x.body.data, expected);
	exchange_finish(&x);

	exchange_init(&x, "GET", s.port, "/");
	exchange_line(&x, "x-evil: a\r\nx-other: b");
	assert_int_equal(exchange_run(h, &x), HTTP_PROTOCOL);
	assert_non_null(strstr(x.request.answer.detail, "line break"));
	assert_int_equal(x.headers_calls, 0);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static char *pattern(size_t n)
{
	char *bytes = malloc(n);

	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)(i * 31 + (i >> 11));
	return bytes;
}

static void assert_echoed(const struct exchange *x, const char *body, size_t n)
{
	const char *got;

	assert_int_equal(x->request.answer.error, HTTP_OK);
	got = strstr(x->body.data, "\r\n\r\n--\r\n");
	assert_non_null(got);
	got += 8;
	assert_int_equal(x->body.length - (size_t)(got - x->body.data), n);
	assert_memory_equal(got, body, n);
}

static void test_upload_iovecs(void **state)
{
	enum { BYTES = 3 * 1000 * 1000 };
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = pattern(BYTES);
	struct iovec body[] = {{bytes, 1},
			       {bytes + 1, 0},
			       {bytes + 1, 1000 * 1000},
			       {bytes + 1000 * 1000 + 1, BYTES - 1000 * 1000 - 1}};

	server_start(&s, echo, NULL);
	for (int i = 0; i < 2; i++) {
		exchange_init(&x, i == 0 ? "PUT" : "POST", s.port, "/up");
		x.request.body = body;
		x.request.body_count = ARRAY_SIZE(body);
		x.request.body_length = BYTES;
		exchange_run(h, &x);
		assert_echoed(&x, bytes, BYTES);
		assert_int_equal(exchange_run(h, &x), HTTP_OK); /* nothing was consumed */
		assert_echoed(&x, bytes, BYTES);
		assert_null(strstr(x.body.data, "Expect"));
		assert_null(strstr(x.body.data, "Content-Type"));
		exchange_finish(&x);
	}
	http_destroy(h);
	server_stop(&s);
}

static void test_upload_file(void **state)
{
	enum { BYTES = 1000 * 1000, OFFSET = 4097 };
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = pattern(BYTES);
	CLEANUP(close) int fd = memfd_create("body", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, BYTES), BYTES);
	server_start(&s, echo, NULL);
	exchange_init(&x, "PUT", s.port, "/up");
	x.request.body_fd = fd;
	x.request.body_offset = OFFSET;
	x.request.body_length = BYTES - OFFSET;
	exchange_run(h, &x);
	assert_echoed(&x, bytes + OFFSET, BYTES - OFFSET);

	x.request.body_length = BYTES; /* more than the file has */
	assert_int_equal(exchange_run(h, &x), HTTP_REFUSED);
	assert_int_equal(x.request.answer.refused, EIO);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Answers one request, then closes under the second one after a part of its body. */
static void close_under_second(struct connection *c)
{
	char part[1000];

	if (!server_read(c))
		return;
	server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	if (c->number > 0) {
		echo(c);
		return;
	}
	if (server_read_head(c) && recv(c->fd, part, sizeof(part), 0) >= 0)
		server_reset(c);
}

static void test_kept_connection_dies_under_upload(void **state)
{
	enum { BYTES = 2000 * 1000 };
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = pattern(BYTES);
	struct iovec body[] = {{bytes, 700 * 1000}, {bytes + 700 * 1000, BYTES - 700 * 1000}};

	server_start(&s, close_under_second, NULL);
	exchange_init(&x, "GET", s.port, "/");
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_finish(&x);
	exchange_init(&x, "PUT", s.port, "/up");
	x.request.body = body;
	x.request.body_count = ARRAY_SIZE(body);
	x.request.body_length = BYTES;
	/* A reset of a kept connection is curl's to repeat, or ours to report: never half a body.
	 */
	if (exchange_run(h, &x) != HTTP_RESET)
		assert_int_equal(x.request.answer.error, HTTP_OK);
	/* And again on a fresh connection, which begins with the first byte. */
	x.request.fresh_connection = true;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_message_and_answer_may_be_null(void **state)
{
	http_message_finish(NULL);
	http_answer_finish(NULL);
	http_destroy(NULL);
	for (int e = HTTP_OK; e <= HTTP_NO_RESOURCES; e++)
		assert_string_not_equal(http_error_name((enum http_error)e), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_headers),
	    cmocka_unit_test(test_connection_is_reused),
	    cmocka_unit_test(test_curl_repeats_by_itself),
	    cmocka_unit_test(test_request_as_sent),
	    cmocka_unit_test(test_upload_iovecs),
	    cmocka_unit_test(test_upload_file),
	    cmocka_unit_test(test_kept_connection_dies_under_upload),
	    cmocka_unit_test(test_message_and_answer_may_be_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
