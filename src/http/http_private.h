/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of http/ share: a loop, and a transfer of one request over a curl handle. */
#ifndef PAILFS_HTTP_PRIVATE_H
#define PAILFS_HTTP_PRIVATE_H

#include <pthread.h>

#include <curl/curl.h>

#include <pailfs/buf.h>
#include <pailfs/http.h>
#include <pailfs/lock.h>

TAILQ_HEAD(http_request_list, http_request);
TAILQ_HEAD(http_transfer_list, http_transfer);

/* http_config with strings of its own. */
struct http_settings {
	uint64_t connect_ns;
	long connections_a_loop;
	long buffer_bytes; /* that curl has for a direction of a transfer, unless it is limited */
	char *ca_bundle, *proxy, *user_agent; /* NULL: not set */
	int receive_buffer_bytes, send_buffer_bytes;
};

struct http_loop {
	/* set at creation */
	const struct http_settings *settings;
	CURLM *multi; /* loop thread only */
	int epoll_fd;
	int wake_fd; /* eventfd: the inbox has something */
	pthread_t thread;
	/* under the lock */
	struct lock lock; /* LOCK_LOOP */
	struct http_request_list inbox;
	bool woken; /* wake_fd is signalled */
	bool cancel_pending;
	bool stopping;
	/* atomic */
	unsigned running; /* submitted and not yet done */
	/* loop thread only */
	struct http_request_list active;
	struct http_transfer_list spare; /* handles to be used again */
	unsigned spare_count;
	struct http_transfer_list drains; /* whose requests have ended */
	unsigned drain_count;
	uint64_t now_ns;		/* when this round began */
	uint64_t curl_timer_ns;		/* when curl wants to be called; UINT64_MAX: not */
	uint64_t look_ns;		/* when to look at the timers of the active requests */
	uint64_t resume_ns;		/* when the first paused one goes on */
	uint64_t distrust_dns_until_ns; /* an address failed: do not use the cached ones */
};

/* The answer's headers while they come in: "name\0value\0" each. */
struct http_header_block {
	struct buf text;
	size_t count;
};

/* One request on one curl handle. Belongs to its loop's thread; is used again for other requests.
 */
struct http_transfer {
	CURL *easy;
	struct http_loop *loop;
	TAILQ_ENTRY(http_transfer) link; /* in loop->spare or loop->drains */
	struct http_request *request;	 /* NULL: it is drained */
	struct curl_slist *lines;
	bool requested; /* the connection is there, the request is on its way */
	/* the body that is sent */
	uint64_t body_given; /* bytes that curl took from us */
	uint64_t body_sent;  /* bytes that curl gave to the kernel, when last looked at */
	int body_index;	     /* into request->body, and how much of that one was given */
	size_t body_used;
	int socket;	    /* of the connection; -1 unknown */
	uint64_t timers_ns; /* since when nothing has moved */
	int kernel_bytes;   /* that the peer has not confirmed, when last looked at */
	/* the answer */
	struct http_header_block block;
	size_t header_bytes; /* all of them, 1xx answers' and trailers' too */
	int block_status;
	bool answered; /* headers() was called */
	/* the end */
	uint64_t drain_until_ns;
	uint64_t resume_ns;	 /* paused for tokens until then; 0: not paused */
	enum http_error verdict; /* why we stopped it ourselves; HTTP_OK: we did not */
	int refused;
	const char *why; /* our words for the verdict; NULL: its name says enough */
	char detail[CURL_ERROR_SIZE];
};

/* loop.c */

/* Prepares a loop (no thread yet). 0, -ENOMEM, -EMFILE... The caller then calls http_loop_finish
 * however it went. */
int http_loop_init(struct http_loop *l, const struct http_settings *settings);
/* Starts its thread. 0 or -EAGAIN. */
int http_loop_start(struct http_loop *l, unsigned number);
/* Tells the thread to cancel everything and to end. */
void http_loop_stop(struct http_loop *l);
/* Waits for the end of the thread. */
void http_loop_join(struct http_loop *l);
/* Frees what a loop without thread holds. */
void http_loop_finish(struct http_loop *l);
/* Queues r. Any thread. */
void http_loop_submit(struct http_loop *l, struct http_request *r);
/* Asks for r's end. Any thread. */
void http_loop_cancel(struct http_loop *l, struct http_request *r);
/* Ends what was submitted after the thread had ended. Returns how many there were. */
unsigned http_loop_drain(struct http_loop *l);
/* Closes a socket of this loop's curl and forgets its number: curl's callback, on the loop's
 * thread. */
int http_loop_close_socket(void *loop, curl_socket_t fd);

/* transfer.c */

/* A handle for the loop; NULL when out of memory. */
struct http_transfer *http_transfer_create(struct http_loop *l);
/* Frees it; not while curl's multi has it. NULL is fine. */
void http_transfer_destroy(struct http_transfer *t);
/* Sets the handle up for r. HTTP_OK, or why it cannot be sent. */
enum http_error http_transfer_begin(struct http_transfer *t, struct http_request *r);
/* The end: fills the request's answer. code: curl's verdict, used where t->verdict has none. */
void http_transfer_end(struct http_transfer *t, CURLcode code);
/* Forgets the request; for a handle that curl's multi no longer has. */
void http_transfer_reset(struct http_transfer *t);
/* Goes on after a pause. 0, or -1: the transfer is over, curl's code is in *ret_code. */
int http_transfer_resume(struct http_transfer *t, CURLcode *ret_code);
/*
 * Has it been quiet for too long? HTTP_OK if not; then *ret_look_ns is when to ask again.
 */
enum http_error http_transfer_overdue(struct http_transfer *t, uint64_t *ret_look_ns);

/* Asks the pacer for n bytes; when refused, notes when to resume and answers false. */
bool http_transfer_take(struct http_transfer *t, enum http_direction direction, size_t n);
/* Bytes moved, or could have: no timer is near its end now. */
void http_transfer_touch(struct http_transfer *t);

/* drain.c */

/* With a verdict: true if it was that nobody wants the rest of the answer, and that is worth
 * receiving all the same, for the connection's sake. */
bool http_drain_is_worth(const struct http_transfer *t);
/* Goes on without its request, which has ended. */
void http_drain_begin(struct http_transfer *t);
/* Takes it out of curl's multi: it is over, or nobody has time for it. */
void http_drain_end(struct http_transfer *t);
/* Ends those that take too long. Returns when to ask again; UINT64_MAX: never. */
uint64_t http_drain_overdue(struct http_loop *l);

/* body.c */

/* Where curl gets the body: CURLOPT_READFUNCTION and CURLOPT_SEEKFUNCTION, for a transfer. */
size_t http_body_read(char *dst, size_t size, size_t count, void *transfer);
/* Goes to offset (from the start); curl rewinds with it before it sends again. */
int http_body_seek(void *transfer, curl_off_t offset, int origin);

/* answer.c */

/* Forgets the lines of the block, keeps its memory. */
void http_header_block_clear(struct http_header_block *b);
/*
 * Adds one line (with or without its CRLF; a folded one goes to the line before). One without a
 * colon is skipped. 0, -ENOMEM, -EBADMSG (a NUL byte).
 */
int http_header_block_add(struct http_header_block *b, const char *line, size_t len);
/* Makes the answer's headers and content_length of it. 0, -ENOMEM. */
int http_header_block_finish(struct http_header_block *b, struct http_answer *a);

/* tls.c */

/* Tells a handle what it trusts: the file, or what curl's build says (NULL). */
CURLcode http_trust(CURL *easy, const char *ca_bundle);

/* turn.c */

/* Lets the calling thread go before others that have run for a while, where the kernel can. */
void http_turn_shorten(void);

/* classify.c */

/* What curl's code means, given how far the transfer came. t->detail is read. */
enum http_error http_classify(const struct http_transfer *t, CURLcode code);
/* One printable line about the error that is in the request's answer already. */
void http_describe(const struct http_transfer *t, CURLcode code, char *dst, size_t size);

#endif
