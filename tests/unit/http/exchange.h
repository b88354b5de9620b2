/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a test, with what came back; and the loops it runs on. */
#ifndef TEST_HTTP_EXCHANGE_H
#define TEST_HTTP_EXCHANGE_H

#include <semaphore.h>

#include <pailfs/buf.h>
#include <pailfs/http.h>

struct exchange {
	struct http_request request;
	struct buf body; /* the answer's */
	unsigned headers_calls, done_calls;
	int headers_answer, data_answer; /* what the callbacks return */
	void (*on_headers)(struct exchange *x);
	void (*on_done)(struct exchange *x);
	void *ctx;
	sem_t done, got_headers, got_data;
};

/* Loops with short timers, no proxy. Asserts success. */
struct http *loops_start(unsigned loops);

/* A request for path on 127.0.0.1:port (path NULL: `method` on url as given by exchange_url). */
void exchange_init(struct exchange *x, const char *method, uint16_t port, const char *path);
/* Replaces the URL. */
void exchange_url(struct exchange *x, const char *url);
/* Adds a header line. */
void exchange_line(struct exchange *x, const char *line);
/* Waits for done(), at most a minute (then the test fails). */
void exchange_wait(struct exchange *x);
/* Submits and waits. Returns how it ended. */
enum http_error exchange_run(struct http *h, struct exchange *x);
/* Waits for a semaphore, at most a minute (then the test fails). */
void wait_for(sem_t *sem);
void exchange_finish(struct exchange *x);

#endif
