/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP server in the test itself: one thread a connection, each runs the test's script. */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVER_CONNECTIONS_MAX 512
#define SERVER_HEAD_MAX (64 * 1024)

struct server;

/* One accepted connection; number counts from 0. Closed when the script returns. */
struct connection {
	struct server *server;
	int fd;
	unsigned number;
	char head[SERVER_HEAD_MAX]; /* the request's line and headers, NUL-terminated */
	char *body;		    /* of body_length bytes */
	size_t body_length;
};

typedef void server_script(struct connection *c);

struct server {
	int fd;
	uint16_t port;
	server_script *script;
	const void *ctx;
	pthread_t thread;
	pthread_t workers[SERVER_CONNECTIONS_MAX];
	unsigned accepted; /* atomic */
	unsigned requests; /* atomic: that server_read has read */
	bool stopping;	   /* atomic */
};

/* How many requests server_read has read. */
static inline unsigned server_requests(const struct server *s)
{
	return __atomic_load_n(&s->requests, __ATOMIC_ACQUIRE);
}

/* Listens on a free port of 127.0.0.1 and runs script for each connection. Aborts on failure. */
void server_start(struct server *s, server_script *script, const void *ctx);
/* Stops; clients should have gone, since scripts may wait for them. */
void server_stop(struct server *s);
/* Reads one request with its body (Content-Length). False at the end of the connection. */
bool server_read(struct connection *c);
/* As server_read, but leaves the body unread. */
bool server_read_head(struct connection *c);
/* Sends text, or n bytes; a client that is gone is no error. */
void server_send(struct connection *c, const char *text);
void server_send_bytes(struct connection *c, const void *bytes, size_t n);
/* Waits until the client closes, reading and dropping what it sends. */
void server_wait_close(struct connection *c);
/* Makes close(2) send RST. */
void server_reset(struct connection *c);
/* The value of a request's header into dst; false if there is none. */
bool server_header(const struct connection *c, const char *name, char *dst, size_t size);

#endif
