/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answer bodies on their way out. MHD's threads call the reader when the socket takes more; it
 * never blocks but for the disk: where a fault wants time to pass, the connection is parked and
 * the reader returns 0. Positions count body bytes from 0.
 */
#include "stream.h"
#include "conn.h"
#include "fault.h"
#include "parker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (256 * 1024)
#define BLANK_NS (100 * NS_PER_MS)
#define DRAIN_NS NS_PER_MS

struct stream {
	struct request *request;
	const struct fault *fault; /* never NULL */
	struct object_reader reader;
	uint64_t length;	  /* of the body, repeated as often as asked */
	uint64_t offset;	  /* sent so far */
	uint64_t blanks_until_ns; /* 0: none */
	uint64_t blanks_at;	  /* offset at which they are put in */
};

static const struct fault plain = {.cut_after = FAULT_OFF,
				   .reset_after = FAULT_OFF,
				   .stall_after = FAULT_OFF,
				   .reset_request = FAULT_OFF,
				   .flip_at = FAULT_OFF};

/* The bytes of the body at the offset; their number, or MHD's error. */
static ssize_t body_read(struct stream *stream, char *to, size_t max)
{
	const struct answer *answer = &stream->request->answer;
	size_t at;
	int64_t got;

	if (answer->object != NULL) {
		got = object_read(answer->object, &stream->reader, answer->first + stream->offset,
				  to, max);
		return got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_WITH_ERROR;
	}
	at = (size_t)(stream->offset % answer->bytes.len);
	if (max > answer->bytes.len - at)
		max = answer->bytes.len - at;
	memcpy(to, answer->bytes.data + at, max);
	return (ssize_t)max;
}

static ssize_t wait_until(struct stream *stream, uint64_t due_ns)
{
	if (park(stream->request->s3d->parker, stream->request, due_ns))
		return 0;
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Where the next disturbance is, or the end of the body. */
static uint64_t next_stop(const struct stream *stream)
{
	const struct fault *f = stream->fault;
	const int64_t stops[] = {f->cut_after, f->reset_after, f->stall_after,
				 stream->blanks_until_ns > 0 ? (int64_t)stream->blanks_at
							     : FAULT_OFF};
	uint64_t stop = stream->length;

	for (size_t i = 0; i < COUNT_OF(stops); i++)
		if (stops[i] >= 0 && (uint64_t)stops[i] < stop)
			stop = (uint64_t)stops[i];
	return stop;
}

static bool is_at(const struct stream *stream, int64_t position)
{
	return position >= 0 && stream->offset >= (uint64_t)position;
}

static ssize_t send_blank(struct stream *stream, char *to)
{
	struct request *request = stream->request;
	uint64_t now = monotonic_ns();

	if (now >= stream->blanks_until_ns) {
		stream->blanks_until_ns = 0;
		return -3; /* go on with the body */
	}
	if (now < request->due_ns)
		return wait_until(stream, request->due_ns);
	request->due_ns = now + BLANK_NS;
	*to = ' ';
	return 1;
}

/* What happens where the stream stands: MHD's return value, or -3: nothing, send on. */
static ssize_t disturb(struct stream *stream, char *to)
{
	const struct fault *f = stream->fault;
	struct request *request = stream->request;

	if (request->phase == PHASE_DEAD)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream->blanks_until_ns > 0 && stream->offset == stream->blanks_at)
		return send_blank(stream, to);
	if (is_at(stream, f->stall_after))
		return wait_until(stream, PARK_FOREVER);
	if (is_at(stream, f->reset_after)) {
		if (conn_unsent(request->conn) > 0) /* so that the client gets all before it */
			return wait_until(stream, monotonic_ns() + DRAIN_NS);
		conn_reset(request->conn);
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	if (is_at(stream, f->cut_after))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream->offset == stream->length)
		return MHD_CONTENT_READER_END_OF_STREAM;
	return -3;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *to, size_t max)
{
	struct stream *stream = cls;
	int64_t flip = stream->fault->flip_at;
	ssize_t got = disturb(stream, to);
	uint64_t stop;

	if (got != -3)
		return got;
	got = disturb(stream, to); /* blanks have just ended: what else is here? */
	if (got != -3)
		return got;
	stop = next_stop(stream);
	if (max > stop - stream->offset)
		max = (size_t)(stop - stream->offset);
	got = body_read(stream, to, max);
	if (got < 0)
		return got;
	if (flip >= 0 && (uint64_t)flip >= stream->offset &&
	    (uint64_t)flip < stream->offset + (uint64_t)got)
		to[(uint64_t)flip - stream->offset] ^= 1;
	stream->offset += (uint64_t)got;
	return got;
}

static void stream_free(void *cls)
{
	struct stream *stream = cls;

	object_reader_finish(&stream->reader);
	free(stream);
}

static bool is_shaped(const struct fault *f)
{
	return f->cut_after != FAULT_OFF || f->reset_after != FAULT_OFF ||
	       f->stall_after != FAULT_OFF || f->flip_at != FAULT_OFF || f->blanks_ms > 0 ||
	       f->body_repeat > 1;
}

/* An fd for sendfile when the body lies in one file; -1 otherwise. */
static int single_file(const struct request *request, uint64_t *ret_offset)
{
	const struct answer *answer = &request->answer;
	uint64_t before = 0;

	for (size_t i = 0; i < answer->object->slice_count; i++) {
		const struct slice *slice = &answer->object->slices[i];
		uint64_t skip = answer->first - before;

		if (skip >= slice->length) {
			before += slice->length;
			continue;
		}
		if (answer->length > slice->length - skip || slice->kind == SLICE_WORDS)
			return -1;
		*ret_offset = slice->kind == SLICE_ZERO ? 0 : slice->offset + skip;
		return slice->kind == SLICE_ZERO ? fcntl(request->s3d->zero_fd, F_DUPFD_CLOEXEC, 0)
						 : blob_open(slice->blob);
	}
	return -1;
}

static struct MHD_Response *through_reader(struct request *request, const struct fault *fault,
					   uint64_t length, bool announced)
{
	struct stream *stream = xcalloc(1, sizeof(*stream));
	const struct buf *bytes = &request->answer.bytes;
	const char *end = bytes->len > 0 ? memchr(bytes->data, '\n', bytes->len) : NULL;
	struct MHD_Response *response;

	stream->request = request;
	stream->fault = fault;
	stream->length = length;
	if (fault->blanks_ms > 0) {
		/* as S3: the XML declaration, blanks, the rest */
		stream->blanks_until_ns = monotonic_ns() + fault->blanks_ms * NS_PER_MS;
		stream->blanks_at = end != NULL ? (uint64_t)(end - bytes->data) + 1 : 0;
		request->due_ns = 0;
		announced = false;
	}
	response = MHD_create_response_from_callback(announced ? length : MHD_SIZE_UNKNOWN,
						     BLOCK_BYTES, stream_read, stream, stream_free);
	if (response == NULL)
		stream_free(stream);
	return response;
}

static ssize_t nothing_to_read(void *cls, uint64_t pos, char *to, size_t max)
{
	return MHD_CONTENT_READER_END_WITH_ERROR; /* never called: HEAD has no body */
}

struct MHD_Response *stream_response(struct request *request)
{
	const struct fault *fault = request->fault != NULL ? request->fault : &plain;
	struct answer *answer = &request->answer;
	uint64_t length = answer->object != NULL ? answer->length : answer->bytes.len;
	bool announced = true;
	uint64_t offset = 0;
	struct MHD_Response *response;
	int fd;

	if (answer->object == NULL && fault->body_repeat > 1)
		length *= fault->body_repeat;
	for (size_t i = 0; i < fault->header_count; i++)
		if (strcasecmp(fault->headers[i].name, "Content-Length") == 0 &&
		    fault->headers[i].value == NULL)
			announced = false;
	if (strcmp(request->method, "HEAD") == 0)
		return MHD_create_response_from_callback(
		    announced ? (answer->object != NULL ? length : 0) : MHD_SIZE_UNKNOWN, 1,
		    nothing_to_read, NULL, NULL);
	if (is_shaped(fault) || !announced)
		return through_reader(request, fault, length, announced);
	if (answer->object == NULL)
		return MHD_create_response_from_buffer(answer->bytes.len, answer->bytes.data,
						       MHD_RESPMEM_PERSISTENT);
	fd = request->s3d->tls ? -1 : single_file(request, &offset);
	if (fd < 0)
		return through_reader(request, fault, length, true);
	response = MHD_create_response_from_fd_at_offset64(length, fd, offset);
	if (response == NULL)
		close(fd);
	return response;
}
