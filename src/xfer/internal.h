/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of xfer/ share: the scheduler's state, one op's run, the engine below. */
#ifndef PAILFS_XFER_INTERNAL_H
#define PAILFS_XFER_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <pailfs/xfer.h>

#include "latency.h"
#include "pacer.h"
#include "queue.h"
#include "retry.h"

/* What sends requests: http_submit and http_cancel; a test's own. Contracts as in http.h. */
struct xfer_engine {
	void (*submit)(struct xfer_engine *e, struct http_request *r);
	void (*cancel)(struct xfer_engine *e, struct http_request *r);
};

/* Where an op is. From ENDED on only its done() is missing. */
enum run_state {
	RUN_QUEUED,   /* in the queue */
	RUN_STARTING, /* has a slot; a thread builds its request and hands it to the engine */
	RUN_RUNNING,  /* the engine has it */
	RUN_WAITING,  /* in the heap, without a slot */
	RUN_ENDED,
};

/* Whose headers came first. Only the winner touches the op. */
enum run_winner { RUN_WON_BY_NONE, RUN_WON_BY_FIRST, RUN_WON_BY_HEDGE };

/* The second request of a try: hedge.c. Its memory goes with the run's. */
struct run_hedge {
	struct http_request http; /* the message is the first one's */
	struct xfer_run *run;
	/* under x->lock */
	bool started; /* the engine has it */
	bool stop;    /* the other one has won */
};

/* An op from its submit to its done(), over all of its tries. */
struct xfer_run {
	/* set at creation */
	struct xfer *x;
	struct xfer_op *op;
	struct pacer *pacer; /* of its direction; NULL: no limit */
	uint64_t submitted_ns;
	bool is_slow; /* S3 may work on it for minutes: server_timeout counts, from its first try */
	/* under x->lock */
	enum run_state state;
	unsigned refs;		 /* the op's until done(), and one of each thread at work on it */
	bool cancelled;		 /* by xfer_cancel or xfer_destroy */
	bool timed_out;		 /* op_timeout is over */
	bool stop_asked;	 /* the engine was asked to end the try */
	unsigned starts;	 /* which try it is, for the thread that starts it */
	unsigned out;		 /* requests of the try that have not ended: 1, or 2 with a hedge */
	struct run_hedge *hedge; /* NULL: none was needed so far */
	uint64_t progress_ns;
	struct queue_item queue; /* class and flow, too */
	struct retry_item wait;
	TAILQ_ENTRY(xfer_run) link;
	STAILQ_ENTRY(xfer_run) work;
	STAILQ_ENTRY(xfer_run) hedge_work; /* the dispatcher's */
	/* of the one thread that starts, feeds or ends the try */
	struct pacer_request request;
	struct cred_keys *keys; /* the try was signed with */
	struct retry_state retry;
	struct s3_result last; /* of the last try that was not cancelled */
	unsigned tries;	       /* sent so far */
	bool fresh_connection; /* for the next try */
	uint64_t received_before;
	uint64_t try_ns; /* start of the current try */
	/* atomic */
	int winner;	      /* enum run_winner, of the current try */
	uint64_t moved_bytes; /* bytes of bodies that came, over all tries */
};

STAILQ_HEAD(run_work, xfer_run);
TAILQ_HEAD(run_list, xfer_run);
TAILQ_HEAD(op_list, xfer_op);

struct xfer_http_engine {
	struct xfer_engine engine;
	struct http *http;
};

struct xfer {
	/* set at creation */
	struct xfer_config config;
	const struct clock *clock;
	struct xfer_engine *engine;
	struct xfer_http_engine http_engine;
	struct cred *cred;
	struct pacer *pacer[2]; /* by enum http_direction; NULL: no limit */
	pthread_t dispatcher;
	bool has_dispatcher; /* false only in tests, which call dispatch_pass */
	struct lock lock;
	struct cond wake; /* the dispatcher's */
	/* under the lock */
	struct s3_target target;
	struct queue queue;
	struct retry_heap heap;
	struct retry_budget budget;
	struct run_list runs; /* all, till done() */
	struct op_list ended; /* done() is the dispatcher's to call */
	size_t run_count;
	unsigned busy; /* threads inside a callback of http/ */
	bool woken;
	bool stopping;
	uint64_t progress_ns; /* of anything */
	uint64_t check_ns;    /* the next look at op_timeout */
	uint64_t requests, retries, failures, bytes_down, bytes_up;
	struct latency latency;		 /* of GETs, till their answers begin */
	struct latency_least first_byte; /* of GETs, from when they were sent */
	uint64_t hedge_credit_milli;
	uint64_t hedge_ns; /* the next look at slow ones */
	/* atomic */
	uint64_t dice;
	uint64_t flows;
};

/* --- run.c: one try --- */

/* A run for op, with one reference; NULL when out of memory. */
struct xfer_run *run_create(struct xfer *x, struct xfer_op *op);
/* Frees a run without references and unlocked. NULL is fine. */
void run_destroy(struct xfer_run *run);
/*
 * Builds the request of the next try with the target, keys and time of now, and lets it join its
 * pacer. 0; -EAGAIN: no keys yet, later; else the op's end. No lock held.
 */
int run_prepare(struct xfer_run *run);

/* How long it may be without progress. */
uint64_t run_timeout_ns(const struct xfer_run *run);

/* Bytes of the answer have come, from the request that won. 0, or -errno to stop. */
int run_data(struct xfer_run *run, const void *bytes, size_t n);

/* What a try's end means. */
struct run_verdict {
	enum retry_when when;
	uint64_t delay_ns;
	bool costs;	      /* the retry is the budget's matter */
	uint64_t progress_ns; /* the last progress of the op */
};

/*
 * The engine is done with the try: fills op->s3.result, takes over what the answer taught (clock,
 * region, keys), gives the try's resources back. No lock held.
 */
struct run_verdict run_conclude(struct xfer_run *run);
/* The last progress of a running try: a byte, or tokens for whoever is before it. Lock held. */
uint64_t run_try_progress_ns(struct xfer_run *run);

/* --- dispatch.c: from state to state --- */

extern const struct http_events xfer_events;

/* Queues n new runs and starts what may start; in the caller's thread. */
void dispatch_submit(struct xfer *x, struct xfer_op **ops, size_t n);
/* Ends a run from outside (cancelled or timed_out is set); true: the caller, unlocked, has to call
 * dispatch_stop with it. */
bool dispatch_end_locked(struct xfer_run *run);
/* Tells the engine to end a run's try; drops the reference of dispatch_end_locked. */
void dispatch_stop(struct xfer_run *run);
/* Moves it to READ wherever it is, and starts what may start then. No lock held. */
void dispatch_promote(struct xfer *x, struct xfer_op *op);
/*
 * One pass over all that time decides: retries, op_timeout, done() calls that are due. Returns when
 * to come again, at the latest. The dispatcher's, or a test's with its own clock.
 */
uint64_t dispatch_pass(struct xfer *x);
/* One of a try's requests has ended. On its loop's thread, no lock held. */
void dispatch_request_done(struct xfer_run *run);
/* Wakes the dispatcher. */
void dispatch_wake_locked(struct xfer *x);

/* --- hedge.c: a second request beside a slow one --- */

/* The headers of one of a try's requests are there. False: the other one was first; end it. */
bool hedge_wins(struct xfer_run *run, enum run_winner who);
/* One of a try's requests has ended: true if it was the last. If not, the run may be gone. */
bool hedge_is_last(struct xfer_run *run);
/* All requests of a try have ended: moves the winner's answer into the first. No lock held. */
void hedge_take_answer(struct xfer_run *run);
/* A try runs, or was promoted: the dispatcher is to look at it when it becomes slow. */
void hedge_watch_locked(struct xfer_run *run);
/* A GET has gone well; its answer began then. */
void hedge_learn_locked(struct xfer_run *run, uint64_t first_byte_ns);
/* Appends the runs that get a second request now, each with a reference, for hedge_start. Returns
 * when to look again. */
uint64_t hedge_pass_locked(struct xfer *x, uint64_t now_ns, struct run_work *hedges);
/* Sends the second request. No lock held. */
void hedge_start(struct xfer_run *run);
/* Tells the engine to end the second request, if there is one. As dispatch_stop. */
void hedge_stop(struct xfer_run *run);
/* Frees it. NULL is fine. */
void hedge_destroy(struct run_hedge *h);

/* --- report.c: what the log says --- */

/* An op has ended; its result and run are still there. No lock held. */
void report_end(const struct xfer_run *run, uint64_t now_ns);
/* An answer to a part of an object is complete; before its resources go. */
void report_part(const struct xfer_run *run, const struct http_answer *answer, uint64_t now_ns);

/* --- xfer.c --- */

/* xfer_create without the dispatcher's thread, on another engine: for tests. */
int xfer_create_on(const struct xfer_config *config, struct xfer_engine *engine, struct cred *cred,
		   const struct s3_target *target, struct xfer **ret);

#endif
