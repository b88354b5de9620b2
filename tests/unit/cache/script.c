/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define PIECE_BYTES (16 * 1024) /* what libcurl hands over at once */

static uint64_t script_now(const struct clock *c)
{
	return atomic_load(&((const struct script *)c)->now_ns);
}

static void script_submit(void *ctx, struct xfer_op *op)
{
	struct script *s = ctx;

	SCOPED_LOCK(&s->lock);
	assert_true(s->count < SCRIPT_OPS_MAX);
	assert_int_equal(op->s3.verb, S3_GET_OBJECT);
	assert_true(op->s3.length > 0 && op->s3.offset + op->s3.length <= op->s3.object_size);
	s->ops[s->count++] = (struct script_op){.op = op,
						.offset = op->s3.offset,
						.length = op->s3.length,
						.flow = op->flow,
						.class = op->class};
	cond_broadcast(&s->changed);
}

static struct script_op *script_find_locked(struct script *s, const struct xfer_op *op)
{
	size_t i;

	for (i = s->count; i > 0; i--)
		if (s->ops[i - 1].op == op)
			return &s->ops[i - 1];
	fail_msg("an op that is not alive");
	abort();
}

static void script_cancel(void *ctx, struct xfer_op *op)
{
	struct script *s = ctx;

	SCOPED_LOCK(&s->lock);
	script_find_locked(s, op)->cancelled = true;
	cond_broadcast(&s->changed);
}

static void script_promote(void *ctx, struct xfer_op *op)
{
	struct script *s = ctx;

	SCOPED_LOCK(&s->lock);
	script_find_locked(s, op)->class = XFER_READ;
}

void script_init(struct script *s, uint64_t memory_bytes)
{
	struct cache_source source = {
	    .ctx = s, .submit = script_submit, .cancel = script_cancel, .promote = script_promote};

	*s = (struct script){.clock.now_ns = script_now, .now_ns = 1};
	s->ops = calloc(SCRIPT_OPS_MAX, sizeof(s->ops[0]));
	assert_non_null(s->ops);
	lock_init(&s->lock, LOCK_LEAF);
	cond_init(&s->changed);
	assert_int_equal(budget_create(memory_bytes, &s->budget), 0);
	assert_int_equal(cache_create_over(s->budget, &source, &s->clock, &s->cache), 0);
}

void script_finish(struct script *s)
{
	size_t i;

	if (s->serving) {
		lock_acquire(&s->lock);
		s->stopping = true;
		cond_broadcast(&s->changed);
		lock_release(&s->lock);
		pthread_join(s->server, NULL);
	}
	for (i = 0; i < s->count; i++)
		if (!s->ops[i].ended)
			script_end(s, i, -ECANCELED);
	cache_destroy(s->cache);
	assert_int_equal(budget_used_bytes(s->budget), 0);
	budget_destroy(s->budget);
	cond_finish(&s->changed);
	lock_finish(&s->lock);
	free(s->ops);
}

void script_wait_ops(struct script *s, size_t n)
{
	SCOPED_LOCK(&s->lock);
	while (s->count < n)
		cond_wait(&s->changed, &s->lock);
}

size_t script_count(struct script *s)
{
	SCOPED_LOCK(&s->lock);
	return s->count;
}

size_t script_open(struct script *s)
{
	size_t i, open = 0;

	SCOPED_LOCK(&s->lock);
	for (i = 0; i < s->count; i++)
		open += !s->ops[i].ended;
	return open;
}

unsigned char script_byte(uint64_t offset)
{
	return (unsigned char)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 37);
}

static int op_bytes(struct xfer_op *op, size_t n)
{
	unsigned char piece[PIECE_BYTES];

	n = MIN(n, op->s3.length - op->s3.received);
	while (n > 0) {
		size_t i, chunk = MIN(n, sizeof(piece));
		int err;

		for (i = 0; i < chunk; i++)
			piece[i] = script_byte(op->s3.offset + op->s3.received + i);
		err = op->s3.sink(op->s3.sink_ctx, piece, chunk);
		if (err < 0)
			return err;
		op->s3.received += chunk;
		n -= chunk;
	}
	return 0;
}

int script_bytes(struct script *s, size_t i, size_t n)
{
	assert_false(s->ops[i].ended);
	return op_bytes(s->ops[i].op, n);
}

void script_end(struct script *s, size_t i, int err)
{
	struct xfer_op *op;

	if (err == 0)
		err = script_bytes(s, i, SIZE_MAX);
	lock_acquire(&s->lock);
	assert_false(s->ops[i].ended);
	s->ops[i].ended = true;
	op = s->ops[i].op;
	lock_release(&s->lock);
	op->s3.result.err = err;
	op->done(op); /* until it returns the cache may cancel or promote it */
	lock_acquire(&s->lock);
	s->ops[i].op = NULL;
	lock_release(&s->lock);
}

/* Takes one of the first open ops, in an order that differs; -1: none is open and it is over. */
static ssize_t server_pick(struct script *s, unsigned *dice)
{
	size_t i, seen, wanted;

	SCOPED_LOCK(&s->lock);
	for (;;) {
		seen = 0;
		wanted = (size_t)rand_r(dice) % 4 + 1;
		ssize_t last = -1;
		for (i = 0; i < s->count && seen < wanted; i++) {
			if (s->ops[i].ended)
				continue;
			last = (ssize_t)i;
			seen++;
		}
		if (last >= 0)
			return last;
		if (s->stopping)
			return -1;
		cond_wait(&s->changed, &s->lock);
	}
}

static void *server_main(void *arg)
{
	struct script *s = arg;
	unsigned dice = 1;
	ssize_t i;

	while ((i = server_pick(s, &dice)) >= 0) {
		struct script_op *o = &s->ops[i];
		bool cancelled;
		int err;

		lock_acquire(&s->lock);
		cancelled = o->cancelled;
		lock_release(&s->lock);
		err = cancelled ? -ECANCELED : script_bytes(s, (size_t)i, 3 * PIECE_BYTES / 2);
		if (err == 0 && s->failing > 0 && (unsigned)rand_r(&dice) % s->failing == 0)
			err = -EIO;
		if (err < 0 || o->op->s3.received == o->op->s3.length)
			script_end(s, (size_t)i, err);
	}
	return NULL;
}

void script_serve_start(struct script *s)
{
	s->serving = true;
	assert_int_equal(pthread_create(&s->server, NULL, server_main, s), 0);
}

void script_check_view(struct view *v, uint64_t offset, size_t length)
{
	size_t j, n = 0;
	int i;

	assert_int_equal(v->length, length);
	for (i = 0; i < v->iov_count; i++) {
		const unsigned char *p = v->iov[i].iov_base;

		for (j = 0; j < v->iov[i].iov_len; j++, n++)
			if (p[j] != script_byte(offset + n))
				fail_msg("wrong byte at %llu", (unsigned long long)(offset + n));
	}
	assert_int_equal(n, length);
	view_release(v);
}

static void *reader_main(void *arg)
{
	struct script_reader *r = arg;

	r->rc = cache_read(r->version, r->offset, r->length, r->flow, r->cancel, &r->view);
	atomic_store(&r->ended, true);
	return NULL;
}

void script_read_start(struct script_reader *r)
{
	atomic_store(&r->ended, false);
	assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
}

void script_read_wait(struct script_reader *r, uint64_t offset)
{
	struct cache *c = r->version->cache;
	bool waits = false;

	script_read_start(r);
	while (!waits) {
		SCOPED_LOCK(&c->lock);
		struct block *b = version_find_locked(r->version, offset / BLOCK_BYTES);
		assert_non_null(b);
		waits = !LIST_EMPTY(&b->waiters);
	}
}

int script_read_join(struct script_reader *r)
{
	pthread_join(r->thread, NULL);
	return r->rc;
}

uint64_t script_want(struct cache_version *v, uint64_t offset, uint64_t length, uint64_t part_bytes,
		     enum xfer_class class, uint64_t flow)
{
	const struct cache_want want = {.offset = offset,
					.length = length,
					.part_bytes = part_bytes,
					.class = class,
					.flow = flow};

	return cache_want(v, &want);
}
