/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where curl gets the body of a request from: the caller's iovecs, or a range of a file. Nothing is
 * consumed: curl may go back to the start when it repeats a request on a new connection, and the
 * next submission begins there too. On the loop's thread, no lock, no allocation.
 */
#include "http_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A limited transfer gets tokens, and so bytes, in such steps. */
#define TAKE_BYTES_MAX ((size_t)16 * 1024)

static void read_iovecs(struct http_transfer *t, char *dst, size_t n)
{
	const struct http_request *r = t->request;

	while (n > 0) {
		const struct iovec *v = &r->body[t->body_index];
		size_t step = MIN(n, v->iov_len - t->body_used);

		assert(t->body_index < r->body_count); /* they add up to body_length */
		memcpy(dst, (const char *)v->iov_base + t->body_used, step);
		dst += step;
		n -= step;
		t->body_used += step;
		if (t->body_used == v->iov_len) {
			t->body_index++;
			t->body_used = 0;
		}
	}
}

/* 0 or -errno; -EIO if the file is shorter than promised. */
static int read_file(const struct http_transfer *t, char *dst, size_t n)
{
	const struct http_request *r = t->request;
	uint64_t offset = r->body_offset + t->body_given;

	while (n > 0) {
		ssize_t got = pread(r->body_fd, dst, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		dst += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

size_t http_body_read(char *dst, size_t size, size_t count, void *transfer)
{
	struct http_transfer *t = transfer;
	const struct http_request *r = t->request;
	size_t n = (size_t)MIN((uint64_t)(size * count), r->body_length - t->body_given);
	int err = 0;

	if (n == 0)
		return 0;
	if (r->pacer != NULL)
		n = MIN(n, TAKE_BYTES_MAX);
	if (!http_transfer_take(t, HTTP_UP, n))
		return CURL_READFUNC_PAUSE;
	if (r->body_count > 0)
		read_iovecs(t, dst, n);
	else
		err = read_file(t, dst, n);
	if (err < 0) {
		t->verdict = HTTP_REFUSED;
		t->refused = -err;
		return CURL_READFUNC_ABORT;
	}
	t->body_given += n;
	__atomic_store_n(&t->request->sent_bytes, t->body_given, __ATOMIC_RELAXED);
	http_transfer_touch(t);
	return n;
}

int http_body_seek(void *transfer, curl_off_t offset, int origin)
{
	struct http_transfer *t = transfer;
	const struct http_request *r = t->request;
	uint64_t left = (uint64_t)offset;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > r->body_length)
		return CURL_SEEKFUNC_FAIL;
	t->body_given = (uint64_t)offset;
	t->body_index = 0;
	t->body_used = 0;
	for (int i = 0; i < r->body_count && left > 0; i++) {
		size_t step = (size_t)MIN(left, (uint64_t)r->body[i].iov_len);

		left -= step;
		t->body_index = step == r->body[i].iov_len ? i + 1 : i;
		t->body_used = step == r->body[i].iov_len ? 0 : step;
	}
	return CURL_SEEKFUNC_OK;
}
