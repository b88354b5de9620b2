/* SPDX-License-Identifier: Apache-2.0 */
/* The client's half of http/'s tests: callbacks that record, and waits with a bound. */
#include "exchange.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <pailfs/text.h>

#define WAIT_S 60

static int on_headers(struct http_request *r)
{
	struct exchange *x = CONTAINER_OF(r, struct exchange, request);

	x->headers_calls++;
	if (x->on_headers != NULL)
		x->on_headers(x);
	sem_post(&x->got_headers);
	return x->headers_answer;
}

static int on_data(struct http_request *r, const void *bytes, size_t n)
{
	struct exchange *x = CONTAINER_OF(r, struct exchange, request);

	if (n > 16 * 1024 || buf_append(&x->body, bytes, n) < 0)
		return -E2BIG;
	sem_post(&x->got_data);
	return x->data_answer;
}

static void on_done(struct http_request *r)
{
	struct exchange *x = CONTAINER_OF(r, struct exchange, request);

	x->done_calls++;
	if (x->on_done != NULL)
		x->on_done(x);
	sem_post(&x->done);
}

static const struct http_events events = {on_headers, on_data, on_done};

struct http *loops_start(unsigned loops)
{
	struct http_config config = {
	    .loops = loops,
	    .connections = 16,
	    .connect_ns = 10 * NS_PER_S,
	    .proxy = "",
	    .user_agent = "test/1",
	};
	struct http *h = NULL;

	assert_int_equal(http_create(&config, &h), 0);
	return h;
}

void exchange_init(struct exchange *x, const char *method, uint16_t port, const char *path)
{
	memset(x, 0, sizeof(*x));
	x->request.message.method = method;
	x->request.message.url = text_format("http://127.0.0.1:%u%s", port, path);
	x->request.events = &events;
	x->request.first_byte_ns = WAIT_S * NS_PER_S;
	x->request.stall_ns = WAIT_S * NS_PER_S;
	x->request.body_fd = -1;
	sem_init(&x->done, 0, 0);
	sem_init(&x->got_headers, 0, 0);
	sem_init(&x->got_data, 0, 0);
	assert_non_null(x->request.message.url);
}

void exchange_url(struct exchange *x, const char *url)
{
	free(x->request.message.url);
	x->request.message.url = strdup(url);
	assert_non_null(x->request.message.url);
}

void exchange_line(struct exchange *x, const char *line)
{
	struct http_message *m = &x->request.message;

	m->lines = realloc(m->lines, (m->line_count + 1) * sizeof(char *));
	assert_non_null(m->lines);
	m->lines[m->line_count++] = strdup(line);
}

void wait_for(sem_t *sem)
{
	struct timespec until; /* not sem_clockwait, which TSan does not know */

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	while (sem_timedwait(sem, &until) != 0)
		assert_int_equal(errno, EINTR);
}

void exchange_wait(struct exchange *x)
{
	wait_for(&x->done);
}

enum http_error exchange_run(struct http *h, struct exchange *x)
{
	buf_clear(&x->body);
	http_submit(h, &x->request);
	exchange_wait(x);
	return x->request.answer.error;
}

void exchange_finish(struct exchange *x)
{
	http_message_finish(&x->request.message);
	http_answer_finish(&x->request.answer);
	buf_finish(&x->body);
	sem_destroy(&x->done);
	sem_destroy(&x->got_headers);
	sem_destroy(&x->got_data);
}
