/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer with any amount of headers, straight to the socket. Runs in MHD's thread for this
 * connection as a step of server.c: it writes what the socket takes and parks for a millisecond,
 * so it never blocks. MHD does not know that anything was sent and just closes at the end.
 */
#include "padding.h"
#include "conn.h"
#include "parker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LINE_BYTES 1024
#define LINES 64

/* The answer's own headers and body. */
static void build_tail(struct request *request, struct buf *b)
{
	const struct answer *answer = &request->answer;
	uint64_t length = answer->object != NULL ? answer->length : answer->bytes.len;
	struct object_reader reader = {0};
	char block[16384];

	if (length > PADDED_BODY_MAX)
		length = PADDED_BODY_MAX;
	for (size_t i = 0; i < answer->headers.count; i++)
		buf_printf(b, "%s: %s\r\n", answer->headers.v[i].name, answer->headers.v[i].value);
	buf_printf(b, "Content-Length: %llu\r\nConnection: close\r\n\r\n",
		   (unsigned long long)length);
	if (answer->object == NULL) {
		buf_add(b, answer->bytes.data, (size_t)length);
		return;
	}
	for (uint64_t at = 0; at < length;) {
		size_t want = length - at < sizeof(block) ? (size_t)(length - at) : sizeof(block);
		int64_t got = object_read(answer->object, &reader, answer->first + at, block, want);

		if (got <= 0)
			break;
		buf_add(b, block, (size_t)got);
		at += (uint64_t)got;
	}
	object_reader_finish(&reader);
}

static void build_padding(struct buf *b, uint64_t left)
{
	for (int line = 0; line < LINES && left > 0; line++) {
		size_t start = b->len, value;

		buf_puts(b, "X-Padding: ");
		value = LINE_BYTES - 2 - (b->len - start);
		for (size_t i = 0; i < value; i++)
			buf_add(b, "x", 1);
		buf_puts(b, "\r\n");
		left -= left < LINE_BYTES ? left : LINE_BYTES;
	}
}

/* Fills the pending bytes with what comes next; false at the end. */
static bool refill(struct request *request, uint64_t header_bytes)
{
	struct padded *padded = &request->padded;
	struct buf *b = &padded->pending;

	b->len = 0;
	padded->at = 0;
	if (!padded->begun) {
		padded->begun = true;
		buf_printf(b, "HTTP/1.1 %d Padded\r\n", request->answer.status);
	} else if (padded->padding < header_bytes) {
		build_padding(b, header_bytes - padded->padding);
		padded->padding += b->len;
	} else if (!padded->ended) {
		padded->ended = true;
		build_tail(request, b);
	} else {
		return false;
	}
	return true;
}

enum MHD_Result padded_answer(struct request *request, uint64_t header_bytes)
{
	struct padded *padded = &request->padded;

	for (;;) {
		ssize_t put;

		if (padded->at == padded->pending.len && !refill(request, header_bytes))
			return MHD_NO;
		put = send(conn_fd(request->conn), padded->pending.data + padded->at,
			   padded->pending.len - padded->at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put > 0) {
			padded->at += (size_t)put;
			continue;
		}
		if (put < 0 && errno != EAGAIN)
			return MHD_NO;
		return park(request->s3d->parker, request, monotonic_ns() + NS_PER_MS) ? MHD_YES
										       : MHD_NO;
	}
}
