/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: what goes on the wire next. Classes, slots, retries, op_timeout and the token
 * buckets live here and nowhere else. One dispatcher thread; done callbacks come from it or from a
 * loop's thread, never under a lock.
 */
#ifndef PAILFS_XFER_H
#define PAILFS_XFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/bucket.h>
#include <pailfs/clock.h>
#include <pailfs/cred.h>
#include <pailfs/http.h>
#include <pailfs/lock.h>
#include <pailfs/s3.h>

/* In order of precedence. META has slots of its own: names never wait behind data. */
enum xfer_class { XFER_META, XFER_READ, XFER_WRITE, XFER_AHEAD, XFER_CLASSES };

struct xfer_limit {
	uint64_t rate_bytes_per_s; /* 0: no limit */
	uint64_t burst_bytes;
};

struct xfer_config {
	unsigned parallel;	/* slots for data, >= 1 */
	unsigned retries;	/* tries after the first, per op */
	uint64_t op_timeout_ns; /* without progress (a byte, an answer that is no error, a token) */
	uint64_t server_timeout_ns; /* instead, for verbs that S3 may work on for minutes, from
				       their first try on; 0: op_timeout_ns */
	struct xfer_limit download, upload;
	const struct clock *clock; /* NULL: the system's */
	uint64_t random_seed;	   /* of the jitter; 0: from the system */
};

/*
 * SO_RCVBUF for each socket of a limited direction, so that what the buffers (the kernel's and
 * curl's) of the connections that the limit allows hold is within the burst. 4 KiB to 1 MiB; 0 (the
 * kernel decides) without a limit. For http_config.
 */
uint32_t xfer_socket_buffer_bytes(const struct xfer_limit *limit, unsigned parallel);
/*
 * What a connection carries in a second under a limit, 256 KiB at least: larger parts would keep
 * the few connections from whoever comes later. UINT64_MAX without a limit.
 */
uint64_t xfer_part_bytes(const struct xfer_limit *limit, unsigned parallel);

struct xfer;
struct xfer_op;

/* The end of an op, exactly once: op->s3.result says how. The op is the caller's again. */
typedef void xfer_done(struct xfer_op *op);

struct xfer_op {
	/* set by the caller before xfer_submit */
	struct s3_op s3;
	enum xfer_class class;
	/* who it is for (a stream's number): slots and tokens are shared fairly between flows */
	uint64_t flow;
	bool quiet; /* the caller reports a failure itself: the log has it at debug level only */
	xfer_done *done;
	void *ctx;
	/* xfer/ only; under its lock unless it says otherwise */
	struct xfer_run *run;
	TAILQ_ENTRY(xfer_op) link;
};

/*
 * Starts the dispatcher. http, cred and target outlive it (target is copied). -ENOMEM, -EAGAIN.
 */
int xfer_create(const struct xfer_config *config, struct http *http, struct cred *cred,
		const struct s3_target *target, struct xfer **ret);
/* Fails what waits or runs with -ECANCELED, joins the thread. NULL is fine. */
void xfer_destroy(struct xfer *x);

/* Makes op ready to be filled; xfer_op_finish frees what its answer holds. */
void xfer_op_init(struct xfer_op *op, enum s3_verb verb, enum xfer_class class);
/* Frees what the answer of an ended op holds. NULL is fine. */
void xfer_op_finish(struct xfer_op *op);

/* Queues an op; never blocks; errors arrive through done. Any thread, done callbacks included. */
void xfer_submit(struct xfer *x, struct xfer_op *op);
/*
 * Asks for the op's end: done() follows soon, with -ECANCELED or the end it had meanwhile. The op
 * must be known to be alive: call it only while your own lock keeps done() from freeing it.
 */
void xfer_cancel(struct xfer *x, struct xfer_op *op);
/* Somebody waits for it now: moves it from AHEAD to READ, queued or running. As xfer_cancel. */
void xfer_promote(struct xfer *x, struct xfer_op *op);

/*
 * Submits n ops (their done and ctx are overwritten) and waits for all of them: 0, each with its
 * own result, or what cancel answered, after all have ended. FUSE threads only.
 */
int xfer_run_all(struct xfer *x, struct xfer_op **ops, size_t n, struct cancel *cancel);
/* One op, waited for: its result.err, or what cancel answered. */
int xfer_run(struct xfer *x, struct xfer_op *op, struct cancel *cancel);

/* A new number for xfer_op.flow. */
uint64_t xfer_flow_new(struct xfer *x);
/* True if an op of that class waits for a slot: one that is submitted now would wait, too. */
bool xfer_is_waiting(struct xfer *x, enum xfer_class class);
/* How long the answer to a GET takes to begin once it was sent, at its best lately; 0: none
 * has come yet. */
uint64_t xfer_first_byte_ns(struct xfer *x);
/* A copy of what was configured and learnt so far. */
void xfer_target(struct xfer *x, struct s3_target *ret);

/* The server wants If-Match of what changes objects without quotes (or with them). */
void xfer_set_bare_etags(struct xfer *x, bool bare);

struct xfer_stats {
	uint64_t requests, retries, failures, bytes_down, bytes_up;
	unsigned queued, waiting_retry, running, running_meta;
};
/* Counters since start. */
void xfer_stats(struct xfer *x, struct xfer_stats *ret);
/* Calls fn for each running data op: for SIGUSR1's progress lines. bytes_moved: what came, over all
 * tries, and what this try has sent. fn must be quick and call nothing of xfer/. */
void xfer_each_running(struct xfer *x,
		       void (*fn)(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
				  uint64_t started_ns),
		       void *ctx);

#endif
