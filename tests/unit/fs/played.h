/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for the writer's tests, at the seams of struct upload_source and struct cache_source: it
 * stores objects and uploads, keeps S3's rules about parts, hashes and conditions (a broken rule
 * fails the test), answers in a mixed order from a thread of its own, and fails what it is told to.
 */
#ifndef PAILFS_TESTS_FS_PLAYED_H
#define PAILFS_TESTS_FS_PLAYED_H

#include "../test.h"

#include <pthread.h>

#include "../../../src/cache/internal.h"
#include "../../../src/fs/upload.h"

#define PLAYED_VERBS (S3_GET_TAGGING + 1)

/* How an op goes wrong. */
struct played_fault {
	int err;	/* 0: it does not */
	bool done;	/* it was carried out all the same */
	bool ambiguous; /* as the op shall say */
};

struct played_object {
	char *key, etag[S3_ETAG_MAX], nonce[NONCE_BYTES], *content_type;
	unsigned char *bytes;
	uint64_t size;
	struct played_object *next;
};

struct played_part {
	char etag[S3_ETAG_MAX];
	unsigned char *bytes;
	uint64_t size;
};

struct played_upload {
	char *key, id[32], nonce[NONCE_BYTES], *content_type;
	struct timespec initiated;
	struct played_part *parts; /* S3_PARTS_MAX */
	struct played_upload *next;
};

struct played_op {
	struct xfer_op *op;
	bool cancelled;
};

struct played {
	struct upload_source source;
	struct cache_source cache_source;
	struct budget *budget;
	struct cache *cache;
	struct lock lock;
	struct cond changed;
	pthread_t thread;
	/* under the lock */
	struct played_op queue[20000];
	size_t queued;
	bool stopping;
	bool held; /* nothing is answered */
	uint64_t random, next_flow;
	unsigned served[PLAYED_VERBS], submitted[PLAYED_VERBS];
	struct played_object *objects;
	struct played_upload *uploads;
	unsigned leftovers; /* a part stays after that many aborts */
	/* asked for each op, under the lock; n: the how many-th of its verb, from 1 */
	struct played_fault (*fault)(struct played *p, const struct xfer_op *op, unsigned n);
	void *fault_ctx;
	bool https;
};

/* A server, a budget of that size and a cache. */
void played_init(struct played *p, uint64_t memory_bytes, uint64_t seed);
/* Ends them: nothing waits for an answer. */
void played_finish(struct played *p);
/* Answers nothing from now on, or goes on. */
void played_hold(struct played *p, bool held);
/* Waits until n ops of that verb were submitted. */
void played_wait(struct played *p, enum s3_verb verb, unsigned n);
/* How many of that verb were answered. */
unsigned played_served(struct played *p, enum s3_verb verb);
/* The object of that key (stays valid until the next publication of it); NULL: none. */
const struct played_object *played_find(struct played *p, const char *key);
/* Puts an object there, as another client. */
void played_put(struct played *p, const char *key, const void *bytes, uint64_t size);
/* Unfinished uploads. */
unsigned played_uploads(struct played *p);
/* An upload of that key, begun by somebody. */
const char *played_begin_upload(struct played *p, const char *key, time_t at_s);

#endif
