/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What S3 saw: one record a request, from the moment its headers are understood until its answer
 * has left, in order of arrival. Tests read it through the admin interface. Any thread; one lock.
 * A record belongs to the log while it is listed and to its request while that runs (two flags);
 * the last one frees it. The oldest finished records are dropped beyond RECORDS_MAX.
 */
#include "reqlog.h"
#include "conn.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define RECORDS_MAX 500000

struct log_record {
	struct log_record *next;
	bool listed, running;
	/* set by begin */
	uint64_t n, start_ns;
	enum op op;
	unsigned concurrent;
	char *fixed; /* the JSON members that do not change any more */
	/* filled later */
	uint64_t first_ns, end_ns;
	int status;
	uint64_t bytes_out, bytes_in, range_first, range_last;
	bool has_range;
};

struct reqlog {
	/* set at creation */
	uint64_t start_ns;
	int fd; /* -1: no file */
	/* under the lock */
	pthread_mutex_t lock;
	uint64_t next_n;
	unsigned in_flight[OP_COUNT];
	struct log_record *head, **tail;
	size_t count;
};

struct reqlog *reqlog_create(const char *path, uint64_t start_ns)
{
	struct reqlog *log = xcalloc(1, sizeof(*log));

	log->fd = -1;
	if (path != NULL) {
		log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (log->fd < 0) {
			free(log);
			return NULL;
		}
	}
	log->start_ns = start_ns;
	log->tail = &log->head;
	pthread_mutex_init(&log->lock, NULL);
	return log;
}

static void record_free(struct log_record *record)
{
	if (record->listed || record->running)
		return;
	free(record->fixed);
	free(record);
}

void reqlog_clear(struct reqlog *log)
{
	struct log_record *record;

	pthread_mutex_lock(&log->lock);
	record = log->head;
	log->head = NULL;
	log->tail = &log->head;
	log->count = 0;
	while (record != NULL) {
		struct log_record *next = record->next;

		record->listed = false;
		record_free(record);
		record = next;
	}
	pthread_mutex_unlock(&log->lock);
}

void reqlog_destroy(struct reqlog *log)
{
	if (log == NULL)
		return;
	reqlog_clear(log);
	if (log->fd >= 0)
		close(log->fd);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static void add_member(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, ",\"%s\":", name);
	if (value == NULL)
		buf_puts(b, "null");
	else
		buf_json(b, value, strlen(value));
}

static void add_headers(struct buf *b, const struct request *request)
{
	buf_puts(b, ",\"headers\":{");
	for (size_t i = 0; i < request->header_count; i++) {
		const char *name = request->headers[i].name, *value = request->headers[i].value;
		CLEANUP(cleanup_free) char *lower = xstrdup(name);

		for (char *c = lower; *c != '\0'; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c - 'A' + 'a');
		if (strcmp(lower, "authorization") == 0 ||
		    strcmp(lower, "x-amz-security-token") == 0)
			value = "...";
		if (i > 0)
			buf_puts(b, ",");
		buf_json(b, lower, strlen(lower));
		buf_puts(b, ":");
		buf_json(b, value, strlen(value));
	}
	buf_puts(b, "}");
}

static char *fixed_members(const struct request *request)
{
	const struct auth_result *auth = &request->auth;
	struct buf b = {0};

	add_member(&b, "method", request->method);
	add_member(&b, "op", request->row->name);
	add_member(&b, "bucket", request->bucket_name);
	buf_puts(&b, ",\"key\":");
	buf_json(&b, request->key, request->key_len);
	add_member(&b, "query", request->raw_query);
	add_member(&b, "sse", request_header(request, "x-amz-server-side-encryption"));
	add_member(&b, "access_key", auth->access_key[0] != '\0' ? auth->access_key : NULL);
	add_member(&b, "fault", request->fault != NULL ? request->fault->name : NULL);
	buf_printf(&b, ",\"conn\":%" PRIu64, conn_id(request->conn));
	add_headers(&b, request);
	return b.data;
}

/* The range that the client asked for, as long as the true one is not known. */
static void read_range(struct log_record *record, const struct request *request)
{
	const char *range = request_header(request, "Range");
	uint64_t first, last;

	if (range != NULL && sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last) == 2) {
		record->has_range = true;
		record->range_first = first;
		record->range_last = last;
	}
}

static void drop_oldest_locked(struct reqlog *log)
{
	struct log_record *oldest = log->head;

	if (log->count <= RECORDS_MAX || oldest->running)
		return;
	log->head = oldest->next;
	log->count--;
	oldest->listed = false;
	record_free(oldest);
}

struct log_record *reqlog_begin(struct reqlog *log, const struct request *request)
{
	struct log_record *record = xcalloc(1, sizeof(*record));

	record->start_ns = monotonic_ns();
	record->op = request->op;
	record->fixed = fixed_members(request);
	record->listed = record->running = true;
	read_range(record, request);
	pthread_mutex_lock(&log->lock);
	record->n = ++log->next_n;
	record->concurrent = ++log->in_flight[record->op];
	*log->tail = record;
	log->tail = &record->next;
	log->count++;
	drop_oldest_locked(log);
	pthread_mutex_unlock(&log->lock);
	return record;
}

void reqlog_answer(struct reqlog *log, struct log_record *record, const struct request *request)
{
	const struct answer *answer = &request->answer;

	pthread_mutex_lock(&log->lock);
	record->first_ns = monotonic_ns();
	record->status = answer->status;
	if (answer->status == 206 && answer->object != NULL && answer->length > 0) {
		record->has_range = true;
		record->range_first = answer->first;
		record->range_last = answer->first + answer->length - 1;
	}
	pthread_mutex_unlock(&log->lock);
}

static void add_time(struct buf *b, const struct reqlog *log, const char *name, uint64_t ns)
{
	if (ns == 0)
		buf_printf(b, ",\"%s\":null", name);
	else
		buf_printf(b, ",\"%s\":%.6f", name,
			   (double)(ns - log->start_ns) / (double)NS_PER_S);
}

static void record_write(const struct reqlog *log, const struct log_record *record, struct buf *b)
{
	buf_printf(b, "{\"n\":%" PRIu64, record->n);
	add_time(b, log, "t", record->start_ns);
	add_time(b, log, "t_first", record->first_ns);
	add_time(b, log, "t_end", record->end_ns);
	if (record->status != 0)
		buf_printf(b, ",\"status\":%d", record->status);
	else
		buf_puts(b, ",\"status\":null");
	if (record->has_range)
		buf_printf(b, ",\"range\":[%" PRIu64 ",%" PRIu64 "]", record->range_first,
			   record->range_last);
	else
		buf_puts(b, ",\"range\":null");
	buf_printf(b, ",\"bytes_out\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"concurrent\":%u",
		   record->bytes_out, record->bytes_in, record->concurrent);
	buf_puts(b, record->fixed);
	buf_puts(b, "}");
}

void reqlog_end(struct reqlog *log, struct log_record *record, const struct request *request,
		uint64_t bytes_out)
{
	struct buf line = {0};

	pthread_mutex_lock(&log->lock);
	record->end_ns = monotonic_ns();
	record->bytes_out = bytes_out;
	record->bytes_in = request->body_received;
	log->in_flight[record->op]--;
	if (log->fd >= 0) {
		record_write(log, record, &line);
		buf_puts(&line, "\n");
		if (write(log->fd, line.data, line.len) < 0)
			fprintf(stderr, "s3d: log: %s\n", strerror(errno));
	}
	record->running = false;
	record_free(record);
	pthread_mutex_unlock(&log->lock);
	buf_finish(&line);
}

void reqlog_write(struct reqlog *log, struct buf *to)
{
	pthread_mutex_lock(&log->lock);
	buf_puts(to, "[");
	for (const struct log_record *record = log->head; record != NULL; record = record->next) {
		record_write(log, record, to);
		if (record->next != NULL)
			buf_puts(to, ",\n");
	}
	buf_puts(to, "]\n");
	pthread_mutex_unlock(&log->lock);
}
