/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was not wanted to the end: where little of an answer is left, it is received and thrown
 * away, so that the connection can be used again. A new one costs a round trip, several with TLS,
 * and who reads the head of a file and closes it asks for another one next.
 *
 * The request has ended by then: the transfer belongs to nobody but its loop. On the loop's thread.
 */
#include "http_private.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define DRAIN_BYTES_MAX MIB
/* A connection that is so slow takes from the others what a new one would cost. */
#define DRAIN_NS_MAX (30 * NS_PER_MS)
#define DRAINS_MAX 8 /* at once in a loop */

/* How much of the answer's body is still to come, as far as that is known. */
static uint64_t bytes_left(const struct http_request *r)
{
	const struct http_answer *a = &r->answer;

	if (strcmp(r->message.method, "HEAD") == 0)
		return 0;
	if (a->content_length < 0 || (uint64_t)a->content_length < a->body_bytes)
		return UINT64_MAX;
	return (uint64_t)a->content_length - a->body_bytes;
}

bool http_drain_is_worth(const struct http_transfer *t)
{
	const struct http_request *r = t->request;

	if (t->verdict != HTTP_CANCELLED && (t->verdict != HTTP_REFUSED || t->refused != ECANCELED))
		return false;
	return t->answered && r->pacer == NULL && r->body_length == 0 &&
	       t->loop->drain_count < DRAINS_MAX && bytes_left(r) <= DRAIN_BYTES_MAX;
}

void http_drain_begin(struct http_transfer *t)
{
	struct http_loop *l = t->loop;

	t->request = NULL;
	t->drain_until_ns = l->now_ns + DRAIN_NS_MAX;
	l->look_ns = MIN(l->look_ns, t->drain_until_ns);
	TAILQ_INSERT_TAIL(&l->drains, t, link);
	l->drain_count++;
}

void http_drain_end(struct http_transfer *t)
{
	struct http_loop *l = t->loop;

	TAILQ_REMOVE(&l->drains, t, link);
	l->drain_count--;
	curl_multi_remove_handle(l->multi, t->easy); /* closes the connection, unless it is over */
}

uint64_t http_drain_overdue(struct http_loop *l)
{
	struct http_transfer *t;

	/* In the order in which they began. */
	while ((t = TAILQ_FIRST(&l->drains)) != NULL && t->drain_until_ns <= l->now_ns) {
		http_drain_end(t);
		http_transfer_destroy(t);
	}
	return t != NULL ? t->drain_until_ns : UINT64_MAX;
}
