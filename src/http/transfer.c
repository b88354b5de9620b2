/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on one curl handle: what curl is told before it, what it calls back during it, and
 * what the answer says after it. All on the thread of the loop. The callbacks take no lock, and
 * allocate only while headers come in.
 *
 * A callback that wants the end writes its reason into t->verdict and makes curl stop; an error of
 * curl's own leaves verdict alone and is named by classify.c.
 */
#include "http_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

#include <pailfs/clock.h>

/* A limited transfer must not read far ahead of its tokens: a quarter of what the socket holds. */
#define PACED_BUFFER_BYTES_MIN (4 * 1024L)
#define PACED_BUFFER_SHARE 4

#define KEEPALIVE_IDLE_S 30L
#define KEEPALIVE_INTERVAL_S 10L
#define DNS_CACHE_S 30L

/* The timers begin anew. That is no byte: last_byte_ns stays. */
static void restart_timers(struct http_transfer *t)
{
	t->timers_ns = t->loop->now_ns;
}

void http_transfer_touch(struct http_transfer *t)
{
	restart_timers(t);
	__atomic_store_n(&t->request->last_byte_ns, t->loop->now_ns, __ATOMIC_RELAXED);
}

/* ---- callbacks of curl ---- */

static size_t stop(struct http_transfer *t, enum http_error verdict)
{
	t->verdict = verdict;
	return CURL_WRITEFUNC_ERROR;
}

static size_t refuse(struct http_transfer *t, int err)
{
	t->refused = -err;
	return stop(t, HTTP_REFUSED);
}

/* The status of "HTTP/1.1 200 OK", 0 if it is none. */
static int parse_status(const char *line, size_t len)
{
	const char *blank = memchr(line, ' ', len);
	int status = 0;

	if (blank == NULL || line + len - blank < 4)
		return 0;
	for (int i = 1; i <= 3; i++) {
		if (blank[i] < '0' || blank[i] > '9')
			return 0;
		status = status * 10 + (blank[i] - '0');
	}
	return status;
}

/* An empty line: the end of a block. That of a 1xx answer is thrown away. */
static size_t end_of_block(struct http_transfer *t, size_t len)
{
	struct http_request *r = t->request;
	int err;

	if (t->block_status < 200) {
		http_header_block_clear(&t->block);
		return len;
	}
	r->answer.status = t->block_status;
	err = http_header_block_finish(&t->block, &r->answer);
	if (err < 0)
		return stop(t, HTTP_NO_RESOURCES);
	t->answered = true;
	err = r->events->headers(r);
	if (err < 0)
		return refuse(t, err);
	if (r->body_cap > 0 && strcmp(r->message.method, "HEAD") != 0 &&
	    r->answer.content_length > 0 && (uint64_t)r->answer.content_length > r->body_cap)
		return stop(t, HTTP_TOO_LARGE);
	return len;
}

static size_t on_header(char *line, size_t size, size_t count, void *transfer)
{
	struct http_transfer *t = transfer;
	size_t len = size * count;
	int err;

	if (t->request == NULL)
		return len;
	http_transfer_touch(t);
	t->header_bytes += len;
	if (t->header_bytes > HTTP_HEADER_BYTES_MAX)
		return stop(t, HTTP_TOO_LARGE);
	if (t->answered) /* a trailer of a chunked body */
		return len;
	if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
		http_header_block_clear(&t->block);
		t->block_status = parse_status(line, len);
		if (t->block_status >= 200)
			t->request->answer.first_byte_ns = clock_now_ns();
		return len;
	}
	if (line[0] == '\r' || line[0] == '\n')
		return end_of_block(t, len);
	err = http_header_block_add(&t->block, line, len);
	if (err < 0)
		return stop(t, err == -EBADMSG ? HTTP_PROTOCOL : HTTP_NO_RESOURCES);
	return len;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *transfer)
{
	struct http_transfer *t = transfer;
	struct http_request *r = t->request;
	size_t n = size * count;
	int err;

	if (r == NULL)
		return n;
	if (!t->answered)
		return stop(t, HTTP_PROTOCOL);
	if (r->body_cap > 0 && n > r->body_cap - r->answer.body_bytes)
		return stop(t, HTTP_TOO_LARGE);
	if (!http_transfer_take(t, HTTP_DOWN, n))
		return CURL_WRITEFUNC_PAUSE;
	http_transfer_touch(t);
	r->answer.body_bytes += n;
	if (t->verdict == HTTP_REFUSED)
		return n;
	err = r->events->data(r, bytes, n);
	if (err == 0)
		return n;
	refuse(t, err);
	if (!http_drain_is_worth(t))
		return CURL_WRITEFUNC_ERROR;
	t->loop->look_ns = 0; /* the request ends there, the connection goes on */
	return n;
}

/* The connection is there and the request is about to go out; again when curl repeats it. */
static int on_connected(void *transfer, char *peer, char *local, int peer_port, int local_port)
{
	struct http_transfer *t = transfer;
	struct http_answer *a = &t->request->answer;

	(void)local;
	(void)local_port;
	a->repeated = t->requested;
	t->requested = true;
	a->sent_ns = clock_now_ns();
	restart_timers(t);
	snprintf(a->peer, sizeof(a->peer), strchr(peer, ':') != NULL ? "[%s]:%d" : "%s:%d", peer,
		 peer_port);
	return CURL_PREREQFUNC_OK;
}

static int on_new_socket(void *transfer, curl_socket_t fd, curlsocktype purpose)
{
	const struct http_settings *settings = ((struct http_transfer *)transfer)->loop->settings;

	(void)purpose;
	if (settings->receive_buffer_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &settings->receive_buffer_bytes, sizeof(int));
	if (settings->send_buffer_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &settings->send_buffer_bytes, sizeof(int));
	return CURL_SOCKOPT_OK; /* a smaller buffer than asked for is no reason to fail */
}

/* ---- before ---- */

/* What is the same for each request. Everything else is off by default after a reset. */
static const struct {
	CURLoption option;
	long value;
} fixed[] = {
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_QUICK_EXIT, 1}, /* do not wait for a stuck resolver's thread */
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    {CURLOPT_DISALLOW_USERNAME_IN_URL, 1},
    {CURLOPT_HTTP_CONTENT_DECODING, 0}, /* bytes as stored */
    {CURLOPT_HTTP09_ALLOWED, 0},
    {CURLOPT_PATH_AS_IS, 1},
    {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
    {CURLOPT_SSL_VERIFYPEER, 1},
    {CURLOPT_SSL_VERIFYHOST, 2},
    {CURLOPT_TCP_NODELAY, 1},
    {CURLOPT_TCP_KEEPALIVE, 1},
    {CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
    {CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
    {CURLOPT_DNS_SHUFFLE_ADDRESSES, 1},
    {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
};

/* Remembers the first failure of a row of curl_easy_setopt calls. */
#define SET(code, ...)                                                                             \
	do {                                                                                       \
		if ((code) == CURLE_OK)                                                            \
			(code) = curl_easy_setopt(__VA_ARGS__);                                    \
	} while (0)

static CURLcode set_callbacks(struct http_transfer *t)
{
	CURLcode code = CURLE_OK;

	SET(code, t->easy, CURLOPT_PRIVATE, t);
	SET(code, t->easy, CURLOPT_ERRORBUFFER, t->detail);
	SET(code, t->easy, CURLOPT_HEADERFUNCTION, on_header);
	SET(code, t->easy, CURLOPT_HEADERDATA, t);
	SET(code, t->easy, CURLOPT_WRITEFUNCTION, on_data);
	SET(code, t->easy, CURLOPT_WRITEDATA, t);
	SET(code, t->easy, CURLOPT_PREREQFUNCTION, on_connected);
	SET(code, t->easy, CURLOPT_PREREQDATA, t);
	SET(code, t->easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
	SET(code, t->easy, CURLOPT_SOCKOPTDATA, t);
	SET(code, t->easy, CURLOPT_CLOSESOCKETFUNCTION, http_loop_close_socket);
	SET(code, t->easy, CURLOPT_CLOSESOCKETDATA,
	    t->loop); /* the socket may outlive the transfer */
	return code;
}

static long buffer_bytes(const struct http_transfer *t, int socket_bytes)
{
	long bytes = t->loop->settings->buffer_bytes;

	if (t->request->pacer == NULL)
		return bytes;
	return MIN(MAX(socket_bytes / PACED_BUFFER_SHARE, PACED_BUFFER_BYTES_MIN), bytes);
}

static CURLcode set_connection(struct http_transfer *t)
{
	const struct http_settings *settings = t->loop->settings;
	const struct http_request *r = t->request;
	bool https = strncmp(r->message.url, "https:", 6) == 0;
	bool resolve_anew = r->fresh_connection || t->loop->now_ns < t->loop->distrust_dns_until_ns;
	CURLcode code = CURLE_OK;

	SET(code, t->easy, CURLOPT_PROTOCOLS_STR, https ? "https" : "http");
	SET(code, t->easy, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)MAX(settings->connect_ns / NS_PER_MS, (uint64_t)1));
	SET(code, t->easy, CURLOPT_BUFFERSIZE, buffer_bytes(t, settings->receive_buffer_bytes));
	SET(code, t->easy, CURLOPT_UPLOAD_BUFFERSIZE, buffer_bytes(t, settings->send_buffer_bytes));
	SET(code, t->easy, CURLOPT_FRESH_CONNECT, (long)r->fresh_connection);
	SET(code, t->easy, CURLOPT_DNS_CACHE_TIMEOUT, resolve_anew ? 0L : DNS_CACHE_S);
	if (code == CURLE_OK && https)
		code = http_trust(t->easy, settings->ca_bundle);
	if (settings->proxy != NULL)
		SET(code, t->easy, CURLOPT_PROXY, settings->proxy);
	if (settings->user_agent != NULL)
		SET(code, t->easy, CURLOPT_USERAGENT, settings->user_agent);
	return code;
}

static CURLcode set_method(struct http_transfer *t)
{
	const struct http_request *r = t->request;
	const char *method = r->message.method;
	CURLcode code = CURLE_OK;

	SET(code, t->easy, CURLOPT_URL, r->message.url);
	if (strcmp(method, "HEAD") == 0) {
		SET(code, t->easy, CURLOPT_NOBODY, 1L);
		return code;
	}
	if (r->body_length > 0 || strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0) {
		SET(code, t->easy, CURLOPT_UPLOAD, 1L);
		SET(code, t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_length);
		SET(code, t->easy, CURLOPT_READFUNCTION, http_body_read);
		SET(code, t->easy, CURLOPT_READDATA, t);
		SET(code, t->easy, CURLOPT_SEEKFUNCTION, http_body_seek);
		SET(code, t->easy, CURLOPT_SEEKDATA, t);
	}
	if (strcmp(method, "GET") != 0)
		SET(code, t->easy, CURLOPT_CUSTOMREQUEST, method);
	return code;
}

static int add_line(struct http_transfer *t, const char *line)
{
	struct curl_slist *longer = curl_slist_append(t->lines, line);

	if (longer == NULL)
		return -ENOMEM;
	t->lines = longer;
	return 0;
}

/* A line break in a header would let a file's name write headers of its own. */
static bool line_is_clean(const char *line)
{
	return line[strcspn(line, "\r\n")] == '\0';
}

static enum http_error set_lines(struct http_transfer *t)
{
	const struct http_message *m = &t->request->message;

	/* curl would add the first and, for a large upload, wait a second for a 100. */
	if (add_line(t, "Accept:") < 0 || add_line(t, "Expect:") < 0)
		return HTTP_NO_RESOURCES;
	for (size_t i = 0; i < m->line_count; i++) {
		if (!line_is_clean(m->lines[i])) {
			t->why = "a header holds a line break";
			return HTTP_PROTOCOL;
		}
		if (add_line(t, m->lines[i]) < 0)
			return HTTP_NO_RESOURCES;
	}
	if (curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->lines) != CURLE_OK)
		return HTTP_NO_RESOURCES;
	return HTTP_OK;
}

enum http_error http_transfer_begin(struct http_transfer *t, struct http_request *r)
{
	CURLcode code = CURLE_OK;

	t->request = r;
	r->answer.started_ns = clock_now_ns();
	r->answer.content_length = -1;
	restart_timers(t);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		SET(code, t->easy, fixed[i].option, fixed[i].value);
	if (code == CURLE_OK)
		code = set_callbacks(t);
	if (code == CURLE_OK)
		code = set_connection(t);
	if (code == CURLE_OK)
		code = set_method(t);
	if (code != CURLE_OK) {
		t->why = curl_easy_strerror(code);
		return HTTP_NO_RESOURCES;
	}
	return set_lines(t);
}

struct http_transfer *http_transfer_create(struct http_loop *l)
{
	struct http_transfer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->loop = l;
	t->socket = -1;
	t->block.text.cap = 2 * HTTP_HEADER_BYTES_MAX;
	t->easy = curl_easy_init();
	if (t->easy == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void http_transfer_destroy(struct http_transfer *t)
{
	if (t == NULL)
		return;
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->lines);
	buf_finish(&t->block.text);
	free(t);
}

/* ---- during ---- */

bool http_transfer_take(struct http_transfer *t, enum http_direction direction, size_t n)
{
	struct http_pacer *pacer = t->request->pacer;
	uint64_t wait_ns = 0;

	if (pacer == NULL || pacer->take(pacer, t->request, direction, n, &wait_ns))
		return true;
	t->resume_ns = clock_now_ns() + wait_ns;
	t->loop->resume_ns = MIN(t->loop->resume_ns, t->resume_ns);
	return false;
}

int http_transfer_resume(struct http_transfer *t, CURLcode *ret_code)
{
	CURLcode code;

	t->resume_ns = 0;
	restart_timers(t); /* they stood still */
	/* This may call on_data at once, with what curl holds, and on_data may pause again. */
	code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
	if (code == CURLE_OK && t->verdict == HTTP_OK)
		return 0;
	*ret_code = code;
	return -1;
}

/* Bytes may leave without a callback, out of curl's buffer or the kernel's. */
static void look_at_upload(struct http_transfer *t)
{
	curl_off_t sent = 0;
	int kernel_bytes = 0;

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (t->socket >= 0 && ioctl(t->socket, SIOCOUTQ, &kernel_bytes) != 0)
		kernel_bytes = 0;
	if ((uint64_t)sent != t->body_sent || kernel_bytes != t->kernel_bytes)
		http_transfer_touch(t);
	t->body_sent = (uint64_t)sent;
	t->kernel_bytes = kernel_bytes;
}

enum http_error http_transfer_overdue(struct http_transfer *t, uint64_t *ret_look_ns)
{
	const struct http_request *r = t->request;
	uint64_t now_ns = t->loop->now_ns;
	bool sending, first;
	uint64_t limit_ns;

	if (t->verdict != HTTP_OK)
		return t->verdict;
	if (!t->requested || t->resume_ns != 0) /* curl's connect timer runs; the pacer's does */
		return HTTP_OK;
	if (r->body_length > 0)
		look_at_upload(t);
	sending = t->body_sent < r->body_length || t->kernel_bytes > 0;
	first = r->answer.first_byte_ns == 0 && !sending;
	limit_ns = first ? r->first_byte_ns : r->stall_ns;
	if (limit_ns == 0)
		return HTTP_OK;
	if (now_ns - t->timers_ns >= limit_ns)
		return first ? HTTP_FIRST_BYTE_TIMEOUT : HTTP_STALLED;
	*ret_look_ns = MIN(*ret_look_ns, t->timers_ns + limit_ns);
	return HTTP_OK;
}

/* ---- after ---- */

static void fill_peer(struct http_transfer *t)
{
	struct http_answer *a = &t->request->answer;
	char *peer = NULL;
	long port = 0;

	if (a->peer[0] != '\0')
		return;
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &peer);
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &port);
	if (peer != NULL && peer[0] != '\0')
		snprintf(a->peer, sizeof(a->peer),
			 strchr(peer, ':') != NULL ? "[%s]:%ld" : "%s:%ld", peer, port);
}

void http_transfer_end(struct http_transfer *t, CURLcode code)
{
	struct http_answer *a = &t->request->answer;
	long connects = 0;

	a->error = t->verdict != HTTP_OK ? t->verdict : http_classify(t, code);
	a->refused = t->refused;
	curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
	a->connection_reused = t->requested && connects == 0;
	fill_peer(t);
	if (a->error == HTTP_OK)
		a->detail[0] = '\0';
	else
		http_describe(t, code, a->detail, sizeof(a->detail));
}

void http_transfer_reset(struct http_transfer *t)
{
	struct http_transfer kept = *t;

	curl_easy_reset(t->easy);
	curl_slist_free_all(t->lines);
	http_header_block_clear(&kept.block);
	*t = (struct http_transfer){
	    .easy = kept.easy, .loop = kept.loop, .block = kept.block, .socket = -1};
}
