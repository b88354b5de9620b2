/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scheduler on an engine that a test drives by hand: it records what is sent, the test says what
 * comes back and moves the clock. Everything above the engine (xfer/, s3/, cred/) is the real one.
 */
#ifndef PAILFS_TEST_XFER_FAKE_H
#define PAILFS_TEST_XFER_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

#define FAKE_SENT_MAX 1024
#define FAKE_WALL_S 1700000000

struct fake {
	struct xfer_engine engine;
	struct clock clock;
	uint64_t now_ns;
	struct cred *cred;
	struct xfer *x;
	char keys_path[64]; /* the credentials file */
	/* what the engine has, in the order in which it was sent */
	struct http_request *sent[FAKE_SENT_MAX];
	unsigned sent_count;
	unsigned sent_total;
	struct http_request *cancelled; /* the last one that was asked to end */
	bool obey;			/* a request that is cancelled ends at once */
	void (*on_submit)(struct fake *f, struct http_request *r); /* NULL: nothing */
	void *ctx;
};

/* An op with a sink that counts. */
struct fake_op {
	struct xfer_op op;
	char key[32];
	unsigned dones;
	uint64_t sunk_bytes;
};

/* What a server answers. */
struct fake_reply {
	int status;
	const char *headers[8]; /* name, value, ... */
	const char *body;
	enum http_error error;
	bool reused;
};

/* A scheduler with keys AKID0 and nothing under way. config's clock and seed are set here. */
void fake_init(struct fake *f, struct xfer_config config);
/* The same for another server than http://127.0.0.1:9000. */
void fake_init_at(struct fake *f, struct xfer_config config, const char *endpoint);
/* Destroys the scheduler; what still runs ends cancelled. */
void fake_finish(struct fake *f);
/* Replaces the keys in the credentials file. */
void fake_write_keys(struct fake *f, const char *access_key);

/* An op about key "kN" whose ends are counted, for the test to fill and submit. */
void fake_op_init(struct fake_op *o, unsigned n, enum s3_verb verb, enum xfer_class class);
/* Submits a GET of `length` bytes of key "kN". */
void fake_get(struct fake *f, struct fake_op *o, unsigned n, enum xfer_class class, uint64_t flow,
	      uint64_t length);
/* Submits a HEAD of key "kN" in class META. */
void fake_head(struct fake *f, struct fake_op *o, unsigned n);
/* True if the op's request is with the engine. */
bool fake_is_sent(const struct fake *f, const struct fake_op *o);
/* The request of an op that has not ended, as it was sent. */
struct http_request *fake_request(const struct fake_op *o);
/* The value of a line of the op's request, "" if there is none. */
const char *fake_line(const struct fake_op *o, const char *name);

/* Answers. The request must have been sent. */
void fake_answer(struct fake *f, struct http_request *r, const struct fake_reply *reply);
/* Answers a GET with what it asks for, cut after n bytes if it asks for more. */
void fake_answer_bytes(struct fake *f, struct fake_op *o, uint64_t n);
/* The same to one of the op's requests, where there are two. */
void fake_answer_request_bytes(struct fake *f, struct fake_op *o, struct http_request *r,
			       uint64_t n);
/* Answers a HEAD well. */
void fake_answer_head(struct fake *f, struct fake_op *o);
/* Answers with a status and an S3 error code. */
void fake_answer_error(struct fake *f, struct fake_op *o, int status, const char *code);

/* Lets time pass, with all the dispatcher's passes that fall into it. */
void fake_advance(struct fake *f, uint64_t ns);

#endif
