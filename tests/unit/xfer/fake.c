/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <pailfs/cleanup.h>

#define PIECE_BYTES 16384
#define OBJECT_BYTES (UINT64_C(1) << 30)

static uint64_t fake_now_ns(const struct clock *c)
{
	return CONTAINER_OF(c, struct fake, clock)->now_ns;
}

static time_t fake_wall_s(const struct clock *c)
{
	return FAKE_WALL_S + (time_t)(CONTAINER_OF(c, struct fake, clock)->now_ns / NS_PER_S);
}

static void fake_submit(struct xfer_engine *e, struct http_request *r)
{
	struct fake *f = CONTAINER_OF(e, struct fake, engine);

	assert_true(f->sent_count < FAKE_SENT_MAX);
	http_answer_finish(&r->answer);
	f->sent[f->sent_count++] = r;
	f->sent_total++;
	if (f->on_submit != NULL)
		f->on_submit(f, r);
}

static bool fake_has(const struct fake *f, const struct http_request *r)
{
	for (unsigned i = 0; i < f->sent_count; i++) {
		if (f->sent[i] == r)
			return true;
	}
	return false;
}

/* As http_cancel, it may come too late. */
static void fake_cancel(struct xfer_engine *e, struct http_request *r)
{
	struct fake *f = CONTAINER_OF(e, struct fake, engine);

	if (!fake_has(f, r))
		return;
	f->cancelled = r;
	if (f->obey)
		fake_answer(f, r, &(struct fake_reply){.error = HTTP_CANCELLED});
}

void fake_write_keys(struct fake *f, const char *access_key)
{
	FILE *file = fopen(f->keys_path, "w");

	assert_non_null(file);
	fprintf(file, "[default]\naws_access_key_id = %s\naws_secret_access_key = secret\n",
		access_key);
	assert_int_equal(fclose(file), 0);
}

static void fake_create_cred(struct fake *f)
{
	char error[512];

	strcpy(f->keys_path, "/tmp/pailfs-test-keys-XXXXXX");
	int fd = mkstemp(f->keys_path);
	assert_true(fd >= 0);
	close(fd);
	fake_write_keys(f, "AKID0");
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
	unsetenv("AWS_PROFILE");
	unsetenv("AWS_CONFIG_FILE");
	setenv("AWS_SHARED_CREDENTIALS_FILE", f->keys_path, 1);
	struct cred_config config = {.home = "/nonexistent"};
	assert_int_equal(cred_create(&config, &f->cred, error, sizeof(error)), 0);
}

void fake_init(struct fake *f, struct xfer_config config)
{
	fake_init_at(f, config, "http://127.0.0.1:9000");
}

void fake_init_at(struct fake *f, struct xfer_config config, const char *endpoint)
{
	struct s3_target target;
	char error[160];

	memset(f, 0, sizeof(*f));
	f->engine = (struct xfer_engine){.submit = fake_submit, .cancel = fake_cancel};
	f->clock = (struct clock){.now_ns = fake_now_ns, .wall_s = fake_wall_s};
	f->now_ns = NS_PER_S;
	config.clock = &f->clock;
	config.random_seed = 1;
	if (config.op_timeout_ns == 0)
		config.op_timeout_ns = 60 * NS_PER_S;
	fake_create_cred(f);
	assert_int_equal(
	    s3_target_init(&target, endpoint, "bucket", "here-1", -1, error, sizeof(error)), 0);
	assert_int_equal(xfer_create_on(&config, &f->engine, f->cred, &target, &f->x), 0);
}

/* What was asked to end before, and has not. */
static void fake_end_cancelled(struct fake *f)
{
	for (unsigned i = f->sent_count; i-- > 0;) {
		struct xfer_run *run = CONTAINER_OF(f->sent[i], struct xfer_run, request.http);
		if (run->stop_asked)
			fake_answer(f, f->sent[i], &(struct fake_reply){.error = HTTP_CANCELLED});
	}
}

void fake_finish(struct fake *f)
{
	f->obey = true;
	fake_end_cancelled(f);
	xfer_destroy(f->x);
	cred_destroy(f->cred);
	unlink(f->keys_path);
	assert_int_equal(f->sent_count, 0);
}

static int count_sunk(void *ctx, const void *bytes, size_t n)
{
	struct fake_op *o = ctx;

	o->sunk_bytes += n;
	return 0;
}

static void count_done(struct xfer_op *op)
{
	CONTAINER_OF(op, struct fake_op, op)->dones++;
}

void fake_op_init(struct fake_op *o, unsigned n, enum s3_verb verb, enum xfer_class class)
{
	memset(o, 0, sizeof(*o));
	snprintf(o->key, sizeof(o->key), "k%u", n);
	xfer_op_init(&o->op, verb, class);
	o->op.s3.key = o->key;
	o->op.s3.key_length = strlen(o->key);
	o->op.quiet = true;
	o->op.done = count_done;
}

void fake_get(struct fake *f, struct fake_op *o, unsigned n, enum xfer_class class, uint64_t flow,
	      uint64_t length)
{
	fake_op_init(o, n, S3_GET_OBJECT, class);
	o->op.flow = flow;
	o->op.s3.offset = 4096;
	o->op.s3.length = length;
	o->op.s3.object_size = OBJECT_BYTES;
	o->op.s3.sink = count_sunk;
	o->op.s3.sink_ctx = o;
	xfer_submit(f->x, &o->op);
}

void fake_head(struct fake *f, struct fake_op *o, unsigned n)
{
	fake_op_init(o, n, S3_HEAD_OBJECT, XFER_META);
	xfer_submit(f->x, &o->op);
}

struct http_request *fake_request(const struct fake_op *o)
{
	if (o->op.run == NULL)
		abort(); /* the test looks at an op that has ended */
	return &o->op.run->request.http;
}

bool fake_is_sent(const struct fake *f, const struct fake_op *o)
{
	return o->op.run != NULL && fake_has(f, fake_request(o));
}

const char *fake_line(const struct fake_op *o, const char *name)
{
	const struct http_message *m = &fake_request(o)->message;
	size_t length = strlen(name);

	for (size_t i = 0; i < m->line_count; i++) {
		if (strncasecmp(m->lines[i], name, length) == 0 && m->lines[i][length] == ':')
			return m->lines[i] + length + 2;
	}
	return "";
}

static void fake_forget(struct fake *f, const struct http_request *r)
{
	for (unsigned i = 0; i < f->sent_count; i++) {
		if (f->sent[i] != r)
			continue;
		f->sent_count--;
		memmove(&f->sent[i], &f->sent[i + 1], (f->sent_count - i) * sizeof(f->sent[0]));
		return;
	}
	fail_msg("answered what was not sent");
}

/* The answer owns its headers as one block. */
static void fake_fill_answer(struct http_answer *a, const struct fake_reply *reply)
{
	a->headers = calloc(ARRAY_SIZE(reply->headers), sizeof(a->headers[0]));
	assert_non_null(a->headers);
	for (size_t i = 0; i + 1 < ARRAY_SIZE(reply->headers) && reply->headers[i]; i += 2)
		a->headers[a->header_count++] =
		    (struct http_header){.name = reply->headers[i], .value = reply->headers[i + 1]};
	a->status = reply->status;
	a->connection_reused = reply->reused;
}

static void fake_touch(struct fake *f, struct http_request *r)
{
	__atomic_store_n(&r->last_byte_ns, f->now_ns, __ATOMIC_RELAXED);
}

void fake_answer(struct fake *f, struct http_request *r, const struct fake_reply *reply)
{
	int err = 0;

	fake_forget(f, r);
	fake_fill_answer(&r->answer, reply);
	if (reply->status != 0) {
		fake_touch(f, r);
		r->answer.first_byte_ns = f->now_ns;
		err = r->events->headers(r);
		if (err == 0 && reply->body != NULL)
			err = r->events->data(r, reply->body, strlen(reply->body));
	}
	r->answer.error = err < 0 ? HTTP_REFUSED : reply->error;
	r->answer.refused = -err;
	r->events->done(r);
}

void fake_answer_bytes(struct fake *f, struct fake_op *o, uint64_t n)
{
	fake_answer_request_bytes(f, o, fake_request(o), n);
}

void fake_answer_request_bytes(struct fake *f, struct fake_op *o, struct http_request *r,
			       uint64_t n)
{
	static const char zeros[PIECE_BYTES];
	uint64_t first = o->op.s3.offset + o->op.s3.received;
	uint64_t last = o->op.s3.offset + o->op.s3.length - 1;
	char range[96];

	snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last,
		 o->op.s3.object_size);
	fake_forget(f, r);
	fake_fill_answer(
	    &r->answer, &(struct fake_reply){.status = 206,
					     .headers = {"content-range", range, "etag", "\"e\""}});
	fake_touch(f, r);
	r->answer.first_byte_ns = f->now_ns;
	r->answer.content_length = (int64_t)(last - first + 1);
	assert_int_equal(r->events->headers(r), 0);
	n = MIN(n, last - first + 1);
	for (uint64_t done = 0; done < n; done += MIN(n - done, PIECE_BYTES))
		assert_int_equal(r->events->data(r, zeros, MIN(n - done, PIECE_BYTES)), 0);
	r->answer.body_bytes = n;
	r->answer.error = n == last - first + 1 ? HTTP_OK : HTTP_CUT;
	r->events->done(r);
}

void fake_answer_head(struct fake *f, struct fake_op *o)
{
	struct http_request *r = fake_request(o);

	fake_forget(f, r);
	fake_fill_answer(&r->answer,
			 &(struct fake_reply){.status = 200, .headers = {"etag", "\"e\""}});
	r->answer.content_length = 5;
	assert_int_equal(r->events->headers(r), 0);
	r->events->done(r);
}

void fake_answer_error(struct fake *f, struct fake_op *o, int status, const char *code)
{
	char body[256];

	snprintf(body, sizeof(body), "<Error><Code>%s</Code><Message>m</Message></Error>", code);
	fake_answer(f, fake_request(o), &(struct fake_reply){.status = status, .body = body});
}

void fake_advance(struct fake *f, uint64_t ns)
{
	uint64_t end_ns = f->now_ns + ns;

	for (;;) {
		uint64_t next_ns = dispatch_pass(f->x);
		if (!TAILQ_EMPTY(&f->x->ended))
			continue;
		if (next_ns > end_ns)
			break;
		f->now_ns = MAX(next_ns, f->now_ns);
	}
	f->now_ns = end_ns;
}
