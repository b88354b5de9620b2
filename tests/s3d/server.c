/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The glue to libmicrohttpd: a pool of epoll threads that call handle() for each step of a
 * request. A step never blocks but for the disk; where time must pass, the connection is parked
 * (parker.c) and handle() is called again later. The life of a request:
 *
 *   NEW       headers are there: parsed, authorised, matched with the faults, logged
 *   BODY      the body comes in (also an empty one); a wrong request's body is thrown away
 *   ANSWERED  the operation ran, the answer waits for its time and is queued
 *   DEAD      the peer has gone or the server ends: closed without an answer
 *
 * completed() is called once for each request, however it ended, and frees it. Raw target: MHD's
 * own decoding of the URL is switched off, the request line comes through uri_seen().
 */
#include "server.h"
#include "conn.h"
#include "fault.h"
#include "intake.h"
#include "padding.h"
#include "parker.h"
#include "reqlog.h"
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define THREADS 4
#define CONNECTIONS_MAX 8192
#define CONNECTION_BYTES (256 * 1024)
#define EARLY_NS (NS_PER_MS)

struct server {
	struct s3d *s3d;
	struct MHD_Daemon *daemon;
	unsigned port;
};

static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static void *uri_seen(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct request *request = xcalloc(1, sizeof(*request));
	const char *query = strchr(uri, '?');

	request->s3d = cls;
	request->mhd = mhd;
	request->begun_ns = monotonic_ns();
	request->raw_path = query != NULL ? xmemdup(uri, (size_t)(query - uri)) : xstrdup(uri);
	request->raw_query = xstrdup(query != NULL ? query + 1 : "");
	atomic_fetch_add(&request->s3d->in_flight, 1);
	return request;
}

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	struct request *request = cls;

	request->headers =
	    xrealloc(request->headers, (request->header_count + 1) * sizeof(*request->headers));
	request->headers[request->header_count++] =
	    (struct auth_header){name, value != NULL ? value : ""};
	return MHD_YES;
}

static bool has_body(const struct request *request)
{
	return request->chunked || request->content_length > 0;
}

/* Phase NEW: everything that the headers decide. */
static void begin(struct request *request, const char *method)
{
	struct s3d *s3d = request->s3d;
	const char *length;

	request->conn = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
			    ->socket_context;
	request->method = xstrdup(method);
	request->dialect = s3d->settings.dialect;
	random_hex(request->id, 8);
	MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, add_header, request);
	length = request_header(request, "Content-Length");
	request->has_length = parse_u64(length, &request->content_length);
	request->chunked = request_header(request, "Transfer-Encoding") != NULL;
	request_parse(request);
	if (request->op == OP_ADMIN) {
		request->intake = intake_create(request);
		return;
	}
	atomic_fetch_add(&s3d->requests, 1);
	if (request->answer.status == 0)
		request_authorise(request);
	request->fault = faults_match(s3d->faults, request);
	request->record = reqlog_begin(s3d->log, request);
	if (request->answer.status == 0) {
		struct object *object =
		    request->key_len > 0
			? store_get(s3d->store, request->bucket, request->key, request->key_len)
			: NULL;

		request->existed = object != NULL;
		object_unref(object);
		request->intake = intake_create(request);
	}
}

/* Whether the fault takes the place of the true answer. */
static bool replaces_answer(const struct fault *f)
{
	return f->status != 0 || f->code != NULL || f->body != NULL || f->cut_after == -1 ||
	       f->reset_after == -1 || f->stall_after == -1;
}

static void apply_body_fault(struct request *request, const struct fault *f)
{
	const char *code = f->code;

	if (f->body != NULL) {
		answer_status(request, f->status != 0 ? f->status : 200);
		fields_add(&request->answer.headers, "Content-Type", "application/xml");
		buf_add(&request->answer.bytes, f->body, f->body_len);
		return;
	}
	if (f->status == 0 && code == NULL)
		return;
	if (code == NULL)
		code = f->status == 503 ? "SlowDown" : "InternalError";
	answer_error_detail(request, code, f->message, "");
	if (f->status != 0)
		request->answer.status = f->status;
	else if (request->dialect->throttle_403 && strcmp(code, "SlowDown") == 0)
		request->answer.status = 403;
}

/* A consistent answer that has fewer bytes. */
static void apply_short(struct request *request, uint64_t fewer)
{
	struct answer *answer = &request->answer;
	char text[80];

	if (answer->object == NULL) {
		answer->bytes.len -= fewer < answer->bytes.len ? fewer : answer->bytes.len;
		return;
	}
	if (fewer >= answer->length)
		fewer = answer->length > 0 ? answer->length - 1 : 0;
	answer->length -= fewer;
	if (answer->status != 206)
		return;
	snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)answer->first,
		 (unsigned long long)(answer->first + answer->length - 1),
		 (unsigned long long)answer->object->size);
	fields_set(&answer->headers, "Content-Range", text);
}

static void apply_headers(struct request *request, const struct fault *f)
{
	struct fields *headers = &request->answer.headers;
	char text[32];

	if (f->shorten > 0)
		apply_short(request, f->shorten);
	if (f->content_range != NULL)
		fields_set(headers, "Content-Range", f->content_range);
	if (f->retry_after_s != FAULT_OFF) {
		snprintf(text, sizeof(text), "%lld", (long long)f->retry_after_s);
		fields_set(headers, "Retry-After", text);
	}
	if (f->blanks_ms > 0)
		request->answer.status = 200; /* the status was sent before the outcome was known */
	for (size_t i = 0; i < f->header_count; i++) {
		if (f->headers[i].value != NULL)
			fields_set(headers, f->headers[i].name, f->headers[i].value);
		else
			fields_remove(headers, f->headers[i].name);
	}
	if (f->close || fields_get(headers, "Content-Length") != NULL)
		fields_set(headers, "Connection", "close");
}

static bool is_list(enum op op)
{
	return op == OP_LIST_OBJECTS || op == OP_LIST_OBJECTS_V2 || op == OP_LIST_UPLOADS ||
	       op == OP_LIST_PARTS;
}

/* How long the first byte of the answer is held back, from the request's last byte on. */
static uint64_t delay_ns(const struct request *request)
{
	const struct settings *settings = &request->s3d->settings;
	int64_t ms = settings->first_byte_ms;

	if (request->op == OP_ADMIN)
		return 0;
	if (is_list(request->op) && settings->list_ms >= 0)
		ms = settings->list_ms;
	if (request->fault != NULL)
		ms += (int64_t)request->fault->delay_ms;
	return (uint64_t)ms * NS_PER_MS;
}

/* The request is complete: carries it out and shapes the answer. */
static void carry_out(struct request *request)
{
	const struct fault *f = request->fault;
	bool wanted = f == NULL || f->apply || !replaces_answer(f);
	uint64_t whole_ns = has_body(request) ? monotonic_ns() : request->begun_ns;

	if (wanted && request->answer.status == 0 && intake_end(request->intake)) {
		if (request->row->run != NULL)
			request->row->run(request);
		else
			answer_error(request, "MethodNotAllowed");
	}
	if (f != NULL) {
		apply_body_fault(request, f);
		if (request->answer.status == 0)
			answer_status(request, 200); /* it will not be sent */
		apply_headers(request, f);
	}
	request->due_ns = whole_ns + delay_ns(request);
	request->phase = PHASE_ANSWERED;
}

static void add_common_headers(struct request *request)
{
	struct fields *headers = &request->answer.headers;
	const struct fault *f = request->fault;
	char date[32];

	http_date((time_t)(s3d_now_ms(request->s3d) / 1000), date);
	if (fields_get(headers, "Date") == NULL)
		fields_add(headers, "Date", date);
	fields_add(headers, "Server", "s3d");
	fields_set(headers, "x-amz-request-id", request->id);
	fields_set(headers, "x-amz-id-2", "s3d");
	for (size_t i = 0; f != NULL && i < f->header_count; i++)
		if (f->headers[i].value == NULL)
			fields_remove(headers, f->headers[i].name);
}

static enum MHD_Result queue_answer(struct request *request)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	add_common_headers(request);
	response = stream_response(request);
	if (response == NULL)
		return MHD_NO;
	if (fields_get(&request->answer.headers, "Content-Length") != NULL) /* a lie */
		MHD_set_response_options(response, MHD_RF_INSANITY_HEADER_CONTENT_LENGTH,
					 MHD_RO_END);
	for (size_t i = 0; i < request->answer.headers.count; i++) {
		const struct field *field = &request->answer.headers.v[i];

		if (MHD_add_response_header(response, field->name, field->value) != MHD_YES)
			fprintf(stderr, "s3d: header %s cannot be sent\n", field->name);
	}
	if (request->record != NULL)
		reqlog_answer(request->s3d->log, request->record, request);
	if (request->answer.object != NULL) {
		conn_sending(request->s3d->conns, request->conn, true);
		request->acked_before = conn_acked(request->conn);
	}
	request->phase = PHASE_ANSWERED;
	result = MHD_queue_response(request->mhd, (unsigned)request->answer.status, response);
	MHD_destroy_response(response);
	return result;
}

/* Phase ANSWERED: waits for the time of the answer, or plays the fault that has none. */
static enum MHD_Result answer_in_time(struct request *request)
{
	const struct fault *f = request->fault;
	struct parker *parker = request->s3d->parker;

	if (f != NULL && f->stall_after == -1)
		return park(parker, request, PARK_FOREVER) ? MHD_YES : MHD_NO;
	if (monotonic_ns() < request->due_ns)
		return park(parker, request, request->due_ns) ? MHD_YES : MHD_NO;
	if (f != NULL && f->reset_after == -1)
		conn_reset(request->conn);
	if (f != NULL && (f->reset_after == -1 || f->cut_after == -1))
		return MHD_NO;
	if (f == NULL || f->header_bytes == 0)
		return queue_answer(request);
	if (!request->padded.begun) {
		add_common_headers(request);
		reqlog_answer(request->s3d->log, request->record, request);
	}
	return padded_answer(request, f->header_bytes);
}

/* Takes body bytes; what is not taken stays in *size. */
static enum MHD_Result take_body(struct request *request, const char *bytes, size_t *size)
{
	const struct fault *f = request->fault;
	size_t take = *size;
	uint64_t due;

	if (f != NULL && f->reset_request >= 0) {
		uint64_t left = (uint64_t)f->reset_request - request->body_received;

		if (take >= left) {
			request->body_received += left;
			conn_reset(request->conn);
			return MHD_NO;
		}
	}
	if (request->intake != NULL && request->answer.status == 0)
		intake_feed(request->intake, bytes, take);
	request->body_received += take;
	*size = 0;
	due = conn_received(request->s3d->conns, request->conn, take);
	if (due > monotonic_ns() + EARLY_NS) {
		request->due_ns = due;
		return park(request->s3d->parker, request, due) ? MHD_YES : MHD_NO;
	}
	return MHD_YES;
}

static enum MHD_Result handle_new(struct request *request, const char *method)
{
	const char *expect;

	begin(request, method);
	request->phase = PHASE_BODY;
	if (request->fault != NULL && request->fault->stall_request)
		return park(request->s3d->parker, request, PARK_FOREVER) ? MHD_YES : MHD_NO;
	if (request->fault != NULL && request->fault->reset_request == 0) {
		conn_reset(request->conn);
		return MHD_NO;
	}
	expect = request_header(request, "Expect");
	if (request->answer.status == 0 || expect == NULL || !has_body(request) ||
	    strcasecmp(expect, "100-continue") != 0)
		return MHD_YES;
	return queue_answer(request); /* the client has not sent its body and need not */
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *mhd, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **context)
{
	struct request *request = *context;

	if (request->phase == PHASE_NEW)
		return handle_new(request, method);
	if (request->phase == PHASE_DEAD)
		return MHD_NO;
	if (*upload_size > 0) {
		/* a chunked body may be handed on although it has just been parked */
		if (monotonic_ns() < request->due_ns)
			return MHD_YES;
		return take_body(request, upload, upload_size);
	}
	if (request->phase == PHASE_BODY)
		carry_out(request);
	return answer_in_time(request);
}

/* Body bytes of the answer; of one that was broken off, what the peer acknowledged (its headers
 * count in). */
static uint64_t bytes_sent(const struct request *request, bool whole)
{
	const struct answer *answer = &request->answer;
	uint64_t length = answer->object != NULL ? answer->length : answer->bytes.len;
	uint64_t acked;

	if (request->phase != PHASE_ANSWERED || strcmp(request->method, "HEAD") == 0)
		return 0;
	if (whole)
		return length;
	acked = conn_acked(request->conn) - request->acked_before;
	return acked < length ? acked : length;
}

static void completed(void *cls, struct MHD_Connection *mhd, void **context,
		      enum MHD_RequestTerminationCode code)
{
	struct request *request = *context;
	struct s3d *s3d = cls;

	if (request == NULL)
		return;
	*context = NULL;
	if (request->conn != NULL)
		conn_sending(s3d->conns, request->conn, false);
	if (request->record != NULL)
		reqlog_end(s3d->log, request->record, request,
			   bytes_sent(request, code == MHD_REQUEST_TERMINATED_COMPLETED_OK));
	intake_destroy(request->intake);
	answer_finish(&request->answer);
	buf_finish(&request->padded.pending);
	fault_unref(request->fault);
	fields_finish(&request->query);
	free(request->headers);
	free(request->method);
	free(request->raw_path);
	free(request->raw_query);
	free(request->bucket_name);
	free(request->key);
	free(request);
	atomic_fetch_sub(&s3d->in_flight, 1);
}

static void connection_changed(void *cls, struct MHD_Connection *mhd, void **socket_context,
			       enum MHD_ConnectionNotificationCode code)
{
	struct s3d *s3d = cls;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*socket_context = conn_open(
		    s3d->conns,
		    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
	else
		conn_close(s3d->conns, *socket_context);
}

static bool make_address(const struct server_options *options, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	v4->sin_port = htons((uint16_t)options->port); /* at the same place in both */
	v4->sin_family = AF_INET;
	if (inet_pton(AF_INET, options->listen, &v4->sin_addr) == 1)
		return true;
	v6->sin6_family = AF_INET6;
	return inet_pton(AF_INET6, options->listen, &v6->sin6_addr) == 1;
}

static struct MHD_Daemon *start(struct s3d *s3d, const struct server_options *options,
				const struct sockaddr_storage *address)
{
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			 MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
	    {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)options->cert},
	    {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)options->key},
	    {MHD_OPTION_END, 0, NULL},
	};

	if (options->cert != NULL)
		flags |= MHD_USE_TLS;
	else
		tls[0].option = MHD_OPTION_END;
	if (address->ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(
	    flags, 0, NULL, NULL, handle, s3d, MHD_OPTION_SOCK_ADDR, address,
	    MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
	    MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK, uri_seen,
	    s3d, MHD_OPTION_NOTIFY_COMPLETED, completed, s3d, MHD_OPTION_NOTIFY_CONNECTION,
	    connection_changed, s3d, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
	    MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

struct server *server_create(struct s3d *s3d, const struct server_options *options)
{
	struct sockaddr_storage address;
	struct server *server;
	struct MHD_Daemon *daemon;

	if (!make_address(options, &address)) {
		fprintf(stderr, "s3d: --listen %s is no address\n", options->listen);
		return NULL;
	}
	daemon = start(s3d, options, &address);
	if (daemon == NULL) {
		fprintf(stderr, "s3d: cannot listen on %s port %u: %s\n", options->listen,
			options->port, strerror(errno));
		return NULL;
	}
	server = xcalloc(1, sizeof(*server));
	server->s3d = s3d;
	server->daemon = daemon;
	server->port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	return server;
}

unsigned server_port(const struct server *server)
{
	return server->port;
}

void server_destroy(struct server *server)
{
	if (server == NULL)
		return;
	parker_stop(server->s3d->parker);
	MHD_stop_daemon(server->daemon);
	free(server);
}
