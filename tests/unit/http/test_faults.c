/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers, networks and names that misbehave. getaddrinfo is this file's own (the linker gives it
 * to libcurl, too), so that names can be slow, unknown, or have a dead address among good ones.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <pailfs/text.h>

#include "exchange.h"
#include "server.h"

#define SHORT_NS (200 * NS_PER_MS)
#define SOON_NS (20 * NS_PER_S) /* a test machine may be slow; a hang is longer */

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static sem_t slow_name_may_answer;
static unsigned moving_asked; /* atomic */

/*
 * dead-first.test: 127.0.0.2 (nobody listens), then 127.0.0.1; moving.test: the first when it is
 * asked for the first time, then the second; slow.test: waits.
 */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		struct addrinfo **ret)
{
	getaddrinfo_fn *real = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
	int err;

	if (strcmp(name, "nowhere.test") == 0)
		return EAI_NONAME;
	if (strcmp(name, "slow.test") == 0) {
		sem_wait(&slow_name_may_answer);
		return EAI_AGAIN;
	}
	if (strcmp(name, "moving.test") == 0)
		return real(__atomic_fetch_add(&moving_asked, 1, __ATOMIC_RELAXED) == 0
				? "127.0.0.2"
				: "127.0.0.1",
			    service, hints, ret);
	if (strcmp(name, "dead-first.test") != 0)
		return real(name, service, hints, ret);
	err = real("127.0.0.2", service, hints, ret);
	return err != 0 ? err : real("127.0.0.1", service, hints, &(*ret)->ai_next);
}

/* ---- answers that are cut, too long or nonsense ---- */

static void send_and_close(struct connection *c)
{
	if (server_read(c))
		server_send(c, c->server->ctx);
}

static void send_and_reset(struct connection *c)
{
	if (!server_read(c))
		return;
	server_send(c, c->server->ctx);
	usleep(50 * 1000); /* a reset overtakes what the client has not read yet */
	server_reset(c);
}

static void send_and_hang(struct connection *c)
{
	if (server_read(c))
		server_send(c, c->server->ctx);
	server_wait_close(c);
}

static void repeat(struct connection *c, const char *text, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		server_send(c, text);
}

static void send_many_headers(struct connection *c)
{
	if (!server_read(c))
		return;
	server_send(c, "HTTP/1.1 200 OK\r\n");
	repeat(c, "X-Long: 0123456789012345678901234567890123456789012345678901234567890\r\n",
	       2000);
	server_send(c, "Content-Length: 0\r\n\r\n");
	server_wait_close(c);
}

static void send_long_header(struct connection *c)
{
	if (!server_read(c))
		return;
	server_send(c, "HTTP/1.1 200 OK\r\nX-Long: ");
	repeat(c, "0123456789012345678901234567890123456789", 10 * 1000);
	server_send(c, "\r\nContent-Length: 0\r\n\r\n");
	server_wait_close(c);
}

static void send_100s(struct connection *c)
{
	if (server_read(c))
		repeat(c, "HTTP/1.1 100 Continue\r\nX-Again: yes\r\n\r\n", 10 * 1000);
	server_wait_close(c);
}

static const struct {
	const char *name;
	server_script *script;
	const char *text;
	enum http_error error;
	int status;
	uint64_t body_bytes;
	const char *detail; /* a part of it */
} faults[] = {
    {"cut", send_and_close, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", HTTP_CUT, 200, 3,
     ""},
    {"cut chunk", send_and_close, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
     HTTP_CUT, 200, 3, ""},
    {"no last chunk", send_and_close,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", HTTP_CUT, 200, 3, ""},
    {"reset in body", send_and_reset, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", HTTP_CUT,
     200, 3, ""},
    {"closed without answer", send_and_close, "", HTTP_RESET, 0, 0, "https"},
    {"reset without answer", send_and_reset, "", HTTP_RESET, 0, 0, ""},
    {"closed in headers", send_and_close, "HTTP/1.1 200 OK\r\nETag: x\r\n", HTTP_RESET, 0, 0, ""},
    {"ssh", send_and_close, "SSH-2.0-OpenSSH_9.2\r\n", HTTP_PROTOCOL, 0, 0, "not HTTP"},
    {"TLS alert", send_and_close, "\x15\x03\x01\x00\x02\x02\x46", HTTP_PROTOCOL, 0, 0, "https"},
    {"many headers", send_many_headers, "", HTTP_TOO_LARGE, 0, 0, "too large"},
    {"long header", send_long_header, "", HTTP_TOO_LARGE, 0, 0, ""},
    {"endless 100", send_100s, "", HTTP_TOO_LARGE, 0, 0, "too large"},
    {"body over cap, announced", send_and_hang,
     "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n0123456789", HTTP_TOO_LARGE, 200, 0,
     "too large"},
    {"body over cap, chunked", send_and_hang,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     "32\r\n01234567890123456789012345678901234567890123456789\r\n"
     "33\r\n012345678901234567890123456789012345678901234567890\r\n0\r\n\r\n",
     HTTP_TOO_LARGE, 200, 50, "too large"},
    {"no byte", send_and_hang, "", HTTP_FIRST_BYTE_TIMEOUT, 0, 0, "no answer"},
    {"only a 100", send_and_hang, "HTTP/1.1 100 Continue\r\n\r\n", HTTP_FIRST_BYTE_TIMEOUT, 0, 0,
     ""},
    {"stall in headers", send_and_hang, "HTTP/1.1 200 OK\r\nETag: x\r\n", HTTP_STALLED, 0, 0, ""},
    {"stall in body", send_and_hang, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
     HTTP_STALLED, 200, 3, "stalled"},
};

static void test_faults(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct http *h = loops_start(1);
		struct server s;
		struct exchange x;
		const struct http_answer *a = &x.request.answer;

		server_start(&s, faults[i].script, faults[i].text);
		exchange_init(&x, "GET", s.port, "/");
		x.request.body_cap = 100;
		x.request.first_byte_ns = SHORT_NS;
		x.request.stall_ns = SHORT_NS;
		if (exchange_run(h, &x) != faults[i].error || a->status != faults[i].status ||
		    a->body_bytes != faults[i].body_bytes ||
		    strstr(a->detail, faults[i].detail) == NULL || a->detail[0] == '\0')
			fail_msg("%s: %s (%s), status %d, %llu bytes", faults[i].name,
				 http_error_name(a->error), a->detail, a->status,
				 (unsigned long long)a->body_bytes);
		assert_int_equal(x.done_calls, 1);
		assert_true(a->ended_ns - a->started_ns < SOON_NS);
		if (a->error == HTTP_STALLED || a->error == HTTP_FIRST_BYTE_TIMEOUT)
			assert_true(a->ended_ns - a->started_ns >= SHORT_NS);
		exchange_finish(&x);
		http_destroy(h);
		server_stop(&s);
	}
}

/* ---- uploads ---- */

static void never_read(struct connection *c)
{
	if (server_read_head(c))
		sem_wait((sem_t *)(uintptr_t)c->server->ctx);
}

static void test_upload_stalls(void **state)
{
	enum { BYTES = 32 << 20 }; /* more than the kernel's buffers hold */
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	sem_t may_end;
	CLEANUP(free) char *bytes = calloc(1, BYTES);
	struct iovec body = {bytes, BYTES};

	sem_init(&may_end, 0, 0);
	server_start(&s, never_read, &may_end);
	exchange_init(&x, "PUT", s.port, "/up");
	x.request.body = &body;
	x.request.body_count = 1;
	x.request.body_length = BYTES;
	x.request.stall_ns = SHORT_NS;
	assert_int_equal(exchange_run(h, &x), HTTP_STALLED);
	sem_post(&may_end);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Reads a little every 50 ms, so that nothing stalls, though curl's buffer lasts for seconds. */
static void read_slowly(struct connection *c)
{
	char bytes[4096];
	size_t left = 300 * 1000;

	if (!server_read_head(c))
		return;
	for (int i = 0; i < 20; i++) {
		ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

		if (n <= 0)
			return;
		left -= (size_t)n;
		usleep(50 * 1000);
	}
	while (left > 0) {
		ssize_t n = recv(c->fd, bytes, MIN(sizeof(bytes), left), 0);

		if (n <= 0)
			return;
		left -= (size_t)n;
	}
	server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void test_slow_upload_is_no_stall(void **state)
{
	enum { BYTES = 300 * 1000 };
	struct http_config config = {
	    .loops = 1,
	    .connections = 1,
	    .proxy = "",
	    .send_buffer_bytes = 4096,
	    .receive_buffer_bytes = 4096,
	};
	struct http *h = NULL;
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = calloc(1, BYTES);
	struct iovec body = {bytes, BYTES};
	int small = 4096;

	assert_int_equal(http_create(&config, &h), 0);
	server_start(&s, read_slowly, NULL);
	setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	exchange_init(&x, "PUT", s.port, "/up");
	x.request.body = &body;
	x.request.body_count = 1;
	x.request.body_length = BYTES;
	x.request.stall_ns = 700 * NS_PER_MS; /* the slow part takes longer */
	x.request.first_byte_ns = 700 * NS_PER_MS;
	exchange_run(h, &x);
	assert_string_equal(http_error_name(x.request.answer.error), "ok");
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* Answers before it has read the body, as S3 does with AccessDenied. */
static void refuse_early(struct connection *c)
{
	if (!server_read_head(c))
		return;
	server_send(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied");
	server_wait_close(c);
}

static void test_early_answer_to_upload(void **state)
{
	enum { BYTES = 32 << 20 };
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *bytes = calloc(1, BYTES);
	struct iovec body = {bytes, BYTES};

	server_start(&s, refuse_early, NULL);
	exchange_init(&x, "PUT", s.port, "/up");
	x.request.body = &body;
	x.request.body_count = 1;
	x.request.body_length = BYTES;
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	assert_int_equal(x.request.answer.status, 403);
	assert_int_equal(x.body.length, 6);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* ---- connections and names ---- */

static void answer_ok(struct connection *c)
{
	while (server_read(c))
		server_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void test_refused_connection(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;

	server_start(&s, answer_ok, NULL);
	exchange_init(&x, "GET", s.port, "/");
	server_stop(&s);
	assert_int_equal(exchange_run(h, &x), HTTP_CONNECT_FAILED);
	assert_int_equal(x.headers_calls, 0);
	exchange_finish(&x);
	http_destroy(h);
}

static void test_connect_timeout(void **state)
{
	struct http_config config = {
	    .loops = 1, .connections = 1, .proxy = "", .connect_ns = SHORT_NS};
	struct http *h = NULL;
	struct exchange x;

	assert_int_equal(http_create(&config, &h), 0);
	exchange_init(&x, "GET", 1, "/");
	exchange_url(&x, "http://slow.test/");
	assert_int_equal(exchange_run(h, &x), HTTP_CONNECT_TIMEOUT);
	assert_true(x.request.answer.ended_ns - x.request.answer.started_ns < SOON_NS);
	sem_post(&slow_name_may_answer);
	exchange_finish(&x);
	http_destroy(h);
}

/* What an HTTP server says to a TLS greeting. */
static void answer_bad_request(struct connection *c)
{
	char hello[16];

	if (recv(c->fd, hello, sizeof(hello), 0) > 0)
		server_send(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
	server_wait_close(c);
}

static void test_tls_spoken_to_http(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *url = NULL;

	server_start(&s, answer_bad_request, NULL);
	exchange_init(&x, "GET", s.port, "/");
	url = text_format("https://127.0.0.1:%u/", s.port);
	exchange_url(&x, url);
	assert_int_equal(exchange_run(h, &x), HTTP_TLS_FAILED);
	assert_non_null(strstr(x.request.answer.detail, "does not speak https"));
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_unknown_name_and_scheme(void **state)
{
	static const struct {
		const char *url;
		enum http_error error;
	} cases[] = {
	    {"http://nowhere.test/", HTTP_RESOLVE_FAILED},
	    {"ftp://127.0.0.1/", HTTP_PROTOCOL},
	    {"file:///etc/passwd", HTTP_PROTOCOL},
	    {"http://user:secret@127.0.0.1/", HTTP_PROTOCOL},
	    {"http://127.0.0.1:99999/", HTTP_PROTOCOL},
	    {"http://a b/", HTTP_PROTOCOL},
	};
	struct http *h = loops_start(1);
	struct exchange x;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		exchange_init(&x, "GET", 1, "/");
		exchange_url(&x, cases[i].url);
		if (exchange_run(h, &x) != cases[i].error)
			fail_msg("%s: %s (%s)", cases[i].url,
				 http_error_name(x.request.answer.error), x.request.answer.detail);
		assert_null(strstr(x.request.answer.detail, "secret"));
		exchange_finish(&x);
	}
	http_destroy(h);
}

static void test_dead_address_among_good_ones(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *url = NULL;

	server_start(&s, answer_ok, NULL);
	url = text_format("http://dead-first.test:%u/", s.port);
	for (int i = 0; i < 4; i++) {
		exchange_init(&x, "GET", s.port, "/");
		exchange_url(&x, url);
		x.request.fresh_connection = true;
		assert_int_equal(exchange_run(h, &x), HTTP_OK);
		exchange_finish(&x);
	}
	http_destroy(h);
	server_stop(&s);
}

/* After an address failed, the cached answer of the resolver is not used again. */
static void test_name_is_resolved_anew(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	CLEANUP(free) char *url = NULL;

	server_start(&s, answer_ok, NULL);
	url = text_format("http://moving.test:%u/", s.port);
	exchange_init(&x, "GET", s.port, "/");
	exchange_url(&x, url);
	assert_int_equal(exchange_run(h, &x), HTTP_CONNECT_FAILED);
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

/* A resolver that hangs must hold up neither its own request's end nor the others of the loop. */
static void test_slow_name(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange slow, quick;

	server_start(&s, answer_ok, NULL);
	exchange_init(&slow, "GET", s.port, "/");
	exchange_url(&slow, "http://slow.test/");
	http_submit(h, &slow.request);
	exchange_init(&quick, "GET", s.port, "/");
	assert_int_equal(exchange_run(h, &quick), HTTP_OK);
	assert_int_equal(slow.done_calls, 0);
	http_cancel(h, &slow.request);
	exchange_wait(&slow);
	assert_int_equal(slow.request.answer.error, HTTP_CANCELLED);
	assert_int_equal(exchange_run(h, &quick), HTTP_OK);
	sem_post(&slow_name_may_answer);
	exchange_finish(&slow);
	exchange_finish(&quick);
	http_destroy(h);
	server_stop(&s);
}

/* ---- this process ---- */

static void test_out_of_descriptors(void **state)
{
	struct http *h = loops_start(1);
	struct server s;
	struct exchange x;
	struct rlimit before, none;
	struct http *second = NULL;
	struct http_config config = {.loops = 1, .connections = 1};

	server_start(&s, answer_ok, NULL);
	exchange_init(&x, "GET", s.port, "/");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3; /* those that are open stay open */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	exchange_run(h, &x);
	assert_int_equal(http_create(&config, &second), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(x.request.answer.error, HTTP_NO_RESOURCES);
	assert_int_equal(exchange_run(h, &x), HTTP_OK);
	exchange_finish(&x);
	http_destroy(h);
	server_stop(&s);
}

static void test_bad_ca_bundle(void **state)
{
	static const char *const paths[] = {"/nonexistent/ca.pem", "/etc", "/dev/null",
					    "/etc/passwd"};
	struct http_config config = {.loops = 1, .connections = 1};
	struct http *h = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		config.ca_bundle = paths[i];
		assert_int_equal(http_create(&config, &h), -EINVAL);
		assert_null(h);
	}
	config = (struct http_config){.loops = 0, .connections = 1};
	assert_int_equal(http_create(&config, &h), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_faults),
	    cmocka_unit_test(test_upload_stalls),
	    cmocka_unit_test(test_slow_upload_is_no_stall),
	    cmocka_unit_test(test_early_answer_to_upload),
	    cmocka_unit_test(test_refused_connection),
	    cmocka_unit_test(test_connect_timeout),
	    cmocka_unit_test(test_tls_spoken_to_http),
	    cmocka_unit_test(test_unknown_name_and_scheme),
	    cmocka_unit_test(test_dead_address_among_good_ones),
	    cmocka_unit_test(test_name_is_resolved_anew),
	    cmocka_unit_test(test_slow_name),
	    cmocka_unit_test(test_out_of_descriptors),
	    cmocka_unit_test(test_bad_ca_bundle),
	};

	sem_init(&slow_name_may_answer, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
