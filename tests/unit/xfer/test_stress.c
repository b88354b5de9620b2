/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole stack below xfer/ with its threads: several threads submit, promote and cancel against
 * a server that refuses, cuts and hangs up at random. Each op ends once, with all of its bytes or
 * cancelled. Made for TSan, which is to find what an assertion cannot.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>
#include <pailfs/xfer.h>

#include "server.h"

#define WORKERS 4
#define ROUNDS 10
#define OPS 12
#define OBJECT_BYTES (UINT64_C(1) << 30)
#define PIECE_BYTES 8192

static struct server server;
static struct http *http;
static struct cred *cred;

/* Byte number n of every object. */
static uint8_t pattern(uint64_t n)
{
	return (uint8_t)(n * 31 + (n >> 8));
}

static void send_range(struct connection *c, uint64_t first, uint64_t last, uint64_t cut_after)
{
	char head[256];
	uint8_t piece[PIECE_BYTES];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 206 Partial Content\r\nContent-Length: %" PRIu64 "\r\n"
		 "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\nETag: \"e\"\r\n\r\n",
		 last - first + 1, first, last, OBJECT_BYTES);
	server_send(c, head);
	uint64_t end = MIN(last + 1, first + cut_after);
	for (uint64_t at = first; at < end; at += PIECE_BYTES) {
		size_t n = MIN(end - at, sizeof(piece));
		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(at + i);
		server_send_bytes(c, piece, n);
	}
}

/* One request in eight is refused, cut, or its connection closed; a key "stuck" is not answered. */
static void moody(struct connection *c)
{
	uint64_t first, last;
	char range[128];

	while (server_read(c)) {
		unsigned mood = __atomic_load_n(&c->server->requests, __ATOMIC_RELAXED) % 24;
		if (strstr(c->head, "/stuck") != NULL) {
			server_wait_close(c);
			return;
		}
		if (mood == 3) {
			server_send(c, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n");
			continue;
		}
		if (strncmp(c->head, "HEAD ", 5) == 0) {
			server_send(c,
				    "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 9\r\n\r\n");
			continue;
		}
		assert_true(server_header(c, "Range", range, sizeof(range)));
		assert_int_equal(sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last), 2);
		send_range(c, first, last, mood == 11 ? 70000 : OBJECT_BYTES);
		if (mood == 11 || mood == 19)
			return;
	}
}

struct item {
	struct xfer_op op;
	struct worker *worker;
	uint64_t next; /* byte that is due */
	bool wrong;
	bool cancelled;
	unsigned dones;
};

struct worker {
	struct xfer *x;
	pthread_t thread;
	uint64_t random;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned left;
	unsigned good, cancelled, bad;
	struct item items[OPS];
};

static uint64_t worker_random(struct worker *w)
{
	w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return w->random >> 33;
}

static int check_bytes(void *ctx, const void *bytes, size_t n)
{
	struct item *item = ctx;
	const uint8_t *b = bytes;

	for (size_t i = 0; i < n; i++)
		item->wrong |= b[i] != pattern(item->next + i);
	item->next += n;
	return 0;
}

static void item_done(struct xfer_op *op)
{
	struct item *item = CONTAINER_OF(op, struct item, op);
	struct worker *w = item->worker;

	pthread_mutex_lock(&w->mutex);
	item->dones++;
	if (--w->left == 0)
		pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mutex);
}

static void item_submit(struct worker *w, struct item *item)
{
	uint64_t dice = worker_random(w);

	memset(item, 0, sizeof(*item));
	item->worker = w;
	if (dice % 4 == 0) {
		xfer_op_init(&item->op, S3_HEAD_OBJECT, XFER_META);
	} else {
		xfer_op_init(&item->op, S3_GET_OBJECT, dice % 2 == 0 ? XFER_READ : XFER_AHEAD);
		item->op.s3.offset = item->next = dice % 1000;
		item->op.s3.length = 1 + worker_random(w) % 300000;
		item->op.s3.object_size = OBJECT_BYTES;
		item->op.s3.sink = check_bytes;
		item->op.s3.sink_ctx = item;
	}
	item->op.s3.key = "key";
	item->op.s3.key_length = 3;
	item->op.flow = dice % 5;
	item->op.quiet = true;
	item->op.done = item_done;
	xfer_submit(w->x, &item->op);
}

static void item_judge(struct worker *w, struct item *item)
{
	const struct s3_op *op = &item->op.s3;
	bool whole = op->verb == S3_HEAD_OBJECT || item->next == op->offset + op->length;

	if (item->dones == 1 && op->result.err == 0 && whole && !item->wrong)
		w->good++;
	else if (item->dones == 1 && op->result.err == -ECANCELED && item->cancelled)
		w->cancelled++;
	else
		w->bad++;
	xfer_op_finish(&item->op);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		w->left = OPS;
		for (unsigned i = 0; i < OPS; i++)
			item_submit(w, &w->items[i]);
		for (unsigned i = 0; i < OPS; i++) {
			struct item *item = &w->items[worker_random(w) % OPS];
			if (i % 3 != 0) {
				xfer_promote(w->x, &item->op);
				continue;
			}
			item->cancelled = true;
			xfer_cancel(w->x, &item->op);
		}
		pthread_mutex_lock(&w->mutex);
		while (w->left > 0)
			pthread_cond_wait(&w->cond, &w->mutex);
		pthread_mutex_unlock(&w->mutex);
		for (unsigned i = 0; i < OPS; i++)
			item_judge(w, &w->items[i]);
	}
	return NULL;
}

static struct xfer *create(uint64_t download_rate)
{
	struct xfer_config config = {
	    .parallel = 6,
	    .retries = 20,
	    .op_timeout_ns = 60 * NS_PER_S,
	    .download = {.rate_bytes_per_s = download_rate, .burst_bytes = download_rate / 10},
	    .random_seed = 7,
	};
	struct s3_target target;
	char endpoint[64], error[160];
	struct xfer *x;

	snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u", server.port);
	assert_int_equal(
	    s3_target_init(&target, endpoint, "bucket", "here-1", -1, error, sizeof(error)), 0);
	assert_int_equal(xfer_create(&config, http, cred, &target, &x), 0);
	return x;
}

struct watcher {
	struct xfer *x;
	pthread_t thread;
	bool stop; /* atomic */
};

static void look_at_op(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
		       uint64_t started_ns)
{
	uint64_t *bytes = ctx;

	*bytes += bytes_moved + op->s3.length;
}

/* Asks for figures all the time, as SIGUSR1 does. */
static void *watcher_main(void *arg)
{
	struct watcher *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		struct xfer_stats stats;
		uint64_t bytes = 0;
		xfer_stats(w->x, &stats);
		xfer_each_running(w->x, look_at_op, &bytes);
		sched_yield();
	}
	return NULL;
}

static void run_workers(struct xfer *x)
{
	static struct worker workers[WORKERS];
	struct watcher watcher = {.x = x};
	unsigned good = 0;

	assert_int_equal(pthread_create(&watcher.thread, NULL, watcher_main, &watcher), 0);

	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];
		*w = (struct worker){.x = x, .random = i};
		pthread_mutex_init(&w->mutex, NULL);
		pthread_cond_init(&w->cond, NULL);
		assert_int_equal(pthread_create(&w->thread, NULL, worker_main, w), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];
		pthread_join(w->thread, NULL);
		assert_int_equal(w->bad, 0);
		assert_int_equal(w->good + w->cancelled, ROUNDS * OPS);
		good += w->good;
	}
	assert_true(good >= WORKERS * ROUNDS * OPS / 2);
	__atomic_store_n(&watcher.stop, true, __ATOMIC_RELAXED);
	pthread_join(watcher.thread, NULL);
}

static void test_many_threads(void **state)
{
	struct xfer *x = create(0);
	struct xfer_stats stats;

	run_workers(x);
	xfer_stats(x, &stats);
	assert_true(stats.retries > 0);
	assert_int_equal(stats.failures, 0);
	assert_int_equal(stats.running + stats.running_meta + stats.queued + stats.waiting_retry,
			 0);
	xfer_destroy(x);
}

static void test_many_threads_with_a_limit(void **state)
{
	struct xfer *x = create(100000000);

	run_workers(x);
	xfer_destroy(x);
}

static int interrupted(struct cancel *c)
{
	return -EINTR;
}

static int swallow(void *ctx, const void *bytes, size_t n)
{
	return 0;
}

static void stuck_get(struct xfer_op *op, const char *key)
{
	xfer_op_init(op, S3_GET_OBJECT, XFER_READ);
	op->s3.key = key;
	op->s3.key_length = strlen(key);
	op->s3.length = 100;
	op->s3.sink = swallow;
	op->quiet = true;
}

/* Who waits may give up: all of its ops have ended when it returns, those in the queue, too. */
static void test_waiter_gives_up(void **state)
{
	struct cancel cancel = {.poll = interrupted};
	struct xfer *x = create(0);
	struct xfer_op ops[9], *list[9];

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		stuck_get(&ops[i], "stuck");
		list[i] = &ops[i];
	}
	assert_int_equal(xfer_run_all(x, list, ARRAY_SIZE(list), &cancel), -EINTR);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(ops[i].s3.result.err, -ECANCELED);
		xfer_op_finish(&ops[i]);
	}
	xfer_destroy(x);
}

static void test_run_one(void **state)
{
	struct cancel cancel = {.poll = interrupted};
	struct xfer *x = create(0);
	struct xfer_op op;

	xfer_op_init(&op, S3_HEAD_OBJECT, XFER_META);
	op.s3.key = "key";
	op.s3.key_length = 3;
	assert_int_equal(xfer_run(x, &op, NULL), 0);
	assert_int_equal(op.s3.object.size, 9);
	xfer_op_finish(&op);
	stuck_get(&op, "stuck");
	assert_int_equal(xfer_run(x, &op, &cancel), -EINTR);
	xfer_op_finish(&op);
	xfer_destroy(x);
}

static void count_end(struct xfer_op *op)
{
	__atomic_add_fetch((unsigned *)op->ctx, 1, __ATOMIC_RELAXED);
}

static void test_destroy_under_way(void **state)
{
	struct xfer *x = create(0);
	struct xfer_op ops[20];
	unsigned ended = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		stuck_get(&ops[i], i % 2 == 0 ? "stuck" : "key");
		ops[i].done = count_end;
		ops[i].ctx = &ended;
		xfer_submit(x, &ops[i]);
	}
	xfer_destroy(x);
	assert_int_equal(ended, ARRAY_SIZE(ops));
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		xfer_op_finish(&ops[i]);
}

static int setup(void **state)
{
	struct http_config config = {.loops = 2,
				     .connections = 32,
				     .connect_ns = 10 * NS_PER_S,
				     .proxy = "",
				     .user_agent = "test"};
	struct cred_config none = {.none = true};
	char error[512];

	server_start(&server, moody, NULL);
	assert_int_equal(http_create(&config, &http), 0);
	assert_int_equal(cred_create(&none, &cred, error, sizeof(error)), 0);
	return 0;
}

static int teardown(void **state)
{
	http_destroy(http);
	cred_destroy(cred);
	server_stop(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_run_one),
	    cmocka_unit_test(test_waiter_gives_up),
	    cmocka_unit_test(test_destroy_under_way),
	    cmocka_unit_test(test_many_threads),
	    cmocka_unit_test(test_many_threads_with_a_limit),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
