/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripted server of http/'s tests. A script owns its connection and runs on a thread of its
 * own; only the counters are shared.
 */
#include "server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void *work(void *arg)
{
	struct connection *c = arg;

	c->server->script(c);
	close(c->fd);
	free(c->body);
	free(c);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct server *s = arg;

	for (;;) {
		struct connection *c;
		unsigned number;
		int fd = accept(s->fd, NULL, NULL);

		if (__atomic_load_n(&s->stopping, __ATOMIC_ACQUIRE))
			return fd >= 0 ? (close(fd), NULL) : NULL;
		if (fd < 0)
			continue;
		c = calloc(1, sizeof(*c));
		assert(c != NULL);
		number = __atomic_fetch_add(&s->accepted, 1, __ATOMIC_ACQ_REL);
		assert(number < SERVER_CONNECTIONS_MAX);
		c->server = s;
		c->fd = fd;
		c->number = number;
		if (pthread_create(&s->workers[number], NULL, work, c) != 0)
			abort();
	}
}

void server_start(struct server *s, server_script *script, const void *ctx)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);

	memset(s, 0, sizeof(*s));
	s->script = script;
	s->ctx = ctx;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(s->fd, 256) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&address, &length) != 0)
		abort();
	s->port = ntohs(address.sin_port);
	if (pthread_create(&s->thread, NULL, accept_all, s) != 0)
		abort();
}

void server_stop(struct server *s)
{
	__atomic_store_n(&s->stopping, true, __ATOMIC_RELEASE);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (unsigned i = 0; i < s->accepted; i++)
		pthread_join(s->workers[i], NULL);
}

bool server_read_head(struct connection *c)
{
	size_t length = 0;

	while (length < sizeof(c->head) - 1) {
		/* byte by byte: what follows belongs to the body or the next request */
		ssize_t n = recv(c->fd, c->head + length, 1, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		c->head[++length] = '\0';
		if (length >= 4 && strcmp(c->head + length - 4, "\r\n\r\n") == 0) {
			__atomic_add_fetch(&c->server->requests, 1, __ATOMIC_ACQ_REL);
			return true;
		}
	}
	return false;
}

bool server_read(struct connection *c)
{
	char text[32];
	size_t length = 0;

	if (!server_read_head(c))
		return false;
	free(c->body);
	c->body_length = 0;
	if (server_header(c, "Content-Length", text, sizeof(text)))
		c->body_length = strtoul(text, NULL, 10);
	c->body = malloc(c->body_length + 1);
	assert(c->body != NULL);
	while (length < c->body_length) {
		ssize_t n = recv(c->fd, c->body + length, c->body_length - length, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		length += (size_t)n;
	}
	return true;
}

void server_send_bytes(struct connection *c, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		p += sent;
		n -= (size_t)sent;
	}
}

void server_send(struct connection *c, const char *text)
{
	server_send_bytes(c, text, strlen(text));
}

void server_wait_close(struct connection *c)
{
	char dropped[4096];
	ssize_t n;

	do {
		n = recv(c->fd, dropped, sizeof(dropped), 0);
	} while (n > 0 || (n < 0 && errno == EINTR));
}

void server_reset(struct connection *c)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

bool server_header(const struct connection *c, const char *name, char *dst, size_t size)
{
	size_t length = strlen(name);

	for (const char *line = strstr(c->head, "\r\n"); line != NULL;
	     line = strstr(line + 2, "\r\n")) {
		const char *value = line + 2 + length;

		if (strncasecmp(line + 2, name, length) != 0 || *value != ':')
			continue;
		value += 1 + strspn(value + 1, " ");
		snprintf(dst, size, "%.*s", (int)strcspn(value, "\r"), value);
		return true;
	}
	return false;
}
