/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 transfers over identical curl multi loops, each a thread. This layer moves bytes and
 * headers and keeps timers; it knows neither S3 nor retries nor limits. It never follows a
 * redirect, sends no cookies, reads no netrc, and speaks only the scheme of the URL it was given.
 */
#ifndef PAILFS_HTTP_H
#define PAILFS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include <pailfs/clock.h>

#define HTTP_HEADER_BYTES_MAX (64 * 1024) /* all headers of an answer; more is HTTP_TOO_LARGE */

/* How a transfer ended, as far as HTTP knows. */
enum http_error {
	HTTP_OK,	     /* a whole answer with a status, whatever it says */
	HTTP_RESOLVE_FAILED, /* the name has no address */
	HTTP_CONNECT_FAILED, /* refused, unreachable */
	HTTP_CONNECT_TIMEOUT,
	HTTP_TLS_FAILED,	 /* handshake: not TLS at all, no common version */
	HTTP_CERTIFICATE,	 /* expired, not trusted, another host's: detail says which */
	HTTP_FIRST_BYTE_TIMEOUT, /* request sent, nothing came */
	HTTP_STALLED,		 /* no byte either way for stall_ns */
	HTTP_RESET,		 /* reset or closed before the answer's headers ended */
	HTTP_CUT,		 /* the body ended before Content-Length or the last chunk */
	HTTP_TOO_LARGE,		 /* headers over HTTP_HEADER_BYTES_MAX or body over body_cap */
	HTTP_PROTOCOL,		 /* the answer is not HTTP */
	HTTP_REFUSED,	   /* headers() or data() answered an errno, or reading body_fd failed:
			      see refused */
	HTTP_CANCELLED,	   /* http_cancel */
	HTTP_NO_RESOURCES, /* out of descriptors or memory here */
};

/* One header of an answer; names in lower case. */
struct http_header {
	const char *name;
	const char *value;
};

/* What is sent besides the body. Built by s3/; strings owned; http_message_finish frees them. */
struct http_message {
	const char *method; /* static string: GET, HEAD, PUT, POST, DELETE */
	char *url;
	char **lines; /* "Name: value"; "Name;" sends an empty one */
	size_t line_count;
};

/* What came back. Valid from the headers() callback until the request is submitted again or
 * finished. */
struct http_answer {
	enum http_error error;
	int refused; /* the errno for HTTP_REFUSED */
	int status;  /* 0 if none came */
	struct http_header *headers;
	size_t header_count;
	int64_t content_length; /* -1 if the answer has none */
	uint64_t body_bytes;	/* bytes handed to data() */
	char detail[160];	/* curl's words, for the log */
	/* 0 if it did not happen; sent: the connection was there, the request about to go out */
	uint64_t started_ns, sent_ns, first_byte_ns, ended_ns;
	bool connection_reused;
	bool repeated; /* curl sent it again by itself, when a kept connection broke before any
			  answer: it may have arrived twice */
	char peer[64]; /* address:port that was talked to, "" if none */
};

struct http_request;

enum http_direction { HTTP_DOWN, HTTP_UP };

/*
 * The pacing hook of a limited direction. take is asked, on a loop thread, for n tokens before n
 * bytes pass: true to let them pass; false to pause the transfer, which is asked again after
 * *ret_wait_ns or sooner. gone: the request ended, whatever it waited for is forgotten.
 */
struct http_pacer {
	/* n <= 16 KiB. *ret_wait_ns is written when it answers false. */
	bool (*take)(struct http_pacer *p, struct http_request *r, enum http_direction d, size_t n,
		     uint64_t *ret_wait_ns);
	void (*gone)(struct http_pacer *p, struct http_request *r);
};

/* The callbacks of a request; all on the thread of its loop, never under a lock of http/. */
struct http_events {
	/* Status and headers are complete (of the final answer, not of a 100). 0, or -errno to
	 * stop. */
	int (*headers)(struct http_request *r);
	/* The next n bytes of the body (up to 16 KiB a call). 0, or -errno to stop. */
	int (*data)(struct http_request *r, const void *bytes, size_t n);
	/* The end, exactly once; the request belongs to the caller again and may be freed. */
	void (*done)(struct http_request *r);
};

struct http_request {
	/* set by the caller before http_submit; unchanged until done */
	struct http_message message;
	const struct http_events *events;
	struct http_pacer *pacer; /* NULL: no limit */
	const struct iovec *body; /* borrowed; sent from the start at each submit */
	int body_count;
	int body_fd; /* used instead of body when body_count is 0 and body_length > 0 */
	uint64_t body_offset;
	uint64_t body_length;	/* total; 0 and PUT or POST: an empty body */
	uint64_t body_cap;	/* most bytes of an answer's body; 0: no cap */
	uint64_t first_byte_ns; /* timers; 0: none */
	uint64_t stall_ns;	/* waiting for tokens is not a stall */
	bool fresh_connection;	/* do not reuse one */
	/* answer: written by the loop, the caller's from headers() on */
	struct http_answer answer;
	uint64_t last_byte_ns; /* monotonic time of the last byte either way; atomic (relaxed) */
	uint64_t sent_bytes;   /* of the body, that curl has taken so far; atomic (relaxed) */
	/* http/ only */
	struct http_loop *loop;		/* where it runs: set by http_submit */
	struct http_transfer *transfer; /* loop thread only; NULL until it starts */
	bool cancelled;			/* under the loop's lock */
	TAILQ_ENTRY(http_request) link;
};

struct http_config {
	unsigned loops;	       /* threads, >= 1 */
	unsigned upload_loops; /* so many of them send bodies; 0 or more than loops: all */
	unsigned connections;  /* in use at once, >= 1; a loop keeps open what may be its share */
	uint64_t connect_ns;   /* connect and TLS handshake */
	const char *ca_bundle; /* path of a PEM file, NULL: the system's */
	const char
	    *proxy; /* NULL: http_proxy, https_proxy, no_proxy of the environment; "": none */
	const char *user_agent;
	uint32_t receive_buffer_bytes; /* SO_RCVBUF of each socket; 0: the kernel's autotuning */
	uint32_t send_buffer_bytes;
};

struct http;

/* Starts the loops. -ENOMEM, -EAGAIN (no thread), -EINVAL (bad CA file: message logged). */
int http_create(const struct http_config *config, struct http **ret);
/* Cancels what runs (done() is called for each), joins the threads. NULL is fine. */
void http_destroy(struct http *h);
/*
 * Sends a request; never blocks, never fails: errors arrive through done(). The request goes to the
 * loop with the fewest running ones, of those that send bodies if it has one. Any thread, callbacks
 * included; under any lock of a rank below LOCK_LOOP. What the answer of an earlier submission held
 * is freed.
 */
void http_submit(struct http *h, struct http_request *r);
/*
 * Asks for its end: done() comes soon with HTTP_CANCELLED, or with the end it had meanwhile.
 * Nothing happens to a request that is not submitted or has ended; its memory must be there all the
 * same until this returns. Threads and locks as http_submit; ordered after it by the caller.
 */
void http_cancel(struct http *h, struct http_request *r);
/* The value of an answer's header (name in lower case), NULL if it has none. First of several. */
const char *http_answer_header(const struct http_answer *a, const char *name);
/* Frees what the message owns and empties it. NULL is fine. */
void http_message_finish(struct http_message *m);
/* Frees what the answer owns and empties it. NULL is fine. */
void http_answer_finish(struct http_answer *a);
/* A name for the log: "stalled", "connection reset". Never NULL. */
const char *http_error_name(enum http_error e);

#endif
