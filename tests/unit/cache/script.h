/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for the cache's tests: it keeps what was submitted, and the test says which bytes arrive
 * and how an op ends. A byte of an object is a function of its offset, so that any view can be
 * checked.
 */
#ifndef PAILFS_TESTS_CACHE_SCRIPT_H
#define PAILFS_TESTS_CACHE_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

#define SCRIPT_OPS_MAX 65536

struct script_op {
	struct xfer_op *op; /* NULL: its done() has returned */
	bool ended;	    /* done() was or is about to be called */
	uint64_t offset, length, flow;
	enum xfer_class class;
	bool cancelled;
};

struct script {
	struct clock clock; /* first */
	_Atomic uint64_t now_ns;
	struct budget *budget;
	struct cache *cache;
	struct lock lock;
	struct cond changed;
	/* under the lock */
	struct script_op *ops; /* in the order of submission */
	size_t count;
	bool stopping;
	/* set by the test */
	bool serving;	  /* script_serve_start was called */
	unsigned failing; /* the server breaks one piece in that many; 0: none */
	pthread_t server;
};

/* A cache over a budget of that size and a script. */
void script_init(struct script *s, uint64_t memory_bytes);
/* Ends the ops that were cancelled or not, destroys the cache. */
void script_finish(struct script *s);
/* Waits until n ops were submitted. */
void script_wait_ops(struct script *s, size_t n);
/* How many were, and how many of them have not ended. */
size_t script_count(struct script *s);
size_t script_open(struct script *s);
/* Delivers the next n bytes of op i (SIZE_MAX: the rest): what the sink answered. */
int script_bytes(struct script *s, size_t i, size_t n);
/* Ends op i. err 0 delivers what is missing first. */
void script_end(struct script *s, size_t i, int err);
/* Serves all ops, a few at once and in a mixed order, from a thread of its own. */
void script_serve_start(struct script *s);

/* Asserts that a view holds the object's bytes from offset on, and releases it. */
void script_check_view(struct view *v, uint64_t offset, size_t length);
/* The byte at an offset. */
unsigned char script_byte(uint64_t offset);

/* A cache_read in a thread of its own. */
struct script_reader {
	struct cache_version *version;
	uint64_t offset;
	size_t length;
	uint64_t flow;
	struct cancel *cancel;
	pthread_t thread;
	struct view view;
	int rc;
	atomic_bool ended;
};

void script_read_start(struct script_reader *r);
/* Starts it and returns when it waits for bytes of the block at an offset, which is on its way. */
void script_read_wait(struct script_reader *r, uint64_t offset);
/* Joins it: what cache_read answered. */
int script_read_join(struct script_reader *r);

/* cache_want in a line. */
uint64_t script_want(struct cache_version *v, uint64_t offset, uint64_t length, uint64_t part_bytes,
		     enum xfer_class class, uint64_t flow);

#endif
