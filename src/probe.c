/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first request of all, made by itself on http/ and s3/ and not through the scheduler: a person
 * waits in front of the command, so that it is answered within seconds and never retried quietly;
 * and what it learns (region, clock) is known before the scheduler begins. First thread; the
 * callbacks run on a thread of http/. What went wrong is put into words in probe_words.c.
 */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <pailfs/cleanup.h>
#include <pailfs/clock.h>
#include <pailfs/lock.h>
#include <pailfs/log.h>

#include "probe_words.h"

#define PROBE_NS (8 * NS_PER_S)
#define PAUSE_NS (500 * NS_PER_MS)
#define LEARN_MAX 3 /* a region, a clock, fresh keys */

DEFINE_CLEANUP(struct cred_keys, cred_keys_unref);

struct probe {
	const struct probe_config *config;
	struct s3_target *target;
	uint64_t deadline_ns; /* the last moment for an answer */
	uint64_t patient_until_ns;
	unsigned learnt;
};

static int on_headers(struct http_request *r)
{
	struct trial *t = CONTAINER_OF(r, struct trial, http);

	return s3_op_headers(&t->op, &r->answer);
}

static int on_data(struct http_request *r, const void *bytes, size_t n)
{
	struct trial *t = CONTAINER_OF(r, struct trial, http);

	return s3_op_data(&t->op, bytes, n);
}

static void on_done(struct http_request *r)
{
	struct trial *t = CONTAINER_OF(r, struct trial, http);

	SCOPED_LOCK(&t->lock);
	t->done = true;
	cond_signal(&t->ended);
}

static const struct http_events trial_events = {on_headers, on_data, on_done};

void trial_init(struct trial *t, const char *prefix)
{
	memset(t, 0, sizeof(*t));
	lock_init(&t->lock, LOCK_LEAF);
	cond_init(&t->ended);
	s3_op_init(&t->op, S3_LIST);
	t->op.prefix = prefix;
	t->op.prefix_length = strlen(prefix);
	t->op.max_keys = 1;
}

void trial_finish(struct trial *t)
{
	s3_op_finish(&t->op);
	http_answer_finish(&t->http.answer);
	http_message_finish(&t->http.message);
	cond_finish(&t->ended);
	lock_finish(&t->lock);
}

int trial_run(struct trial *t, struct http *http, const struct s3_target *target,
	      const struct s3_keys *keys, uint64_t deadline_ns)
{
	uint64_t now = clock_now_ns();
	int rc = s3_build(&t->op, target, keys, time(NULL), &t->http.message);

	if (rc < 0)
		return rc;
	t->http.events = &trial_events;
	t->http.first_byte_ns = deadline_ns > now ? deadline_ns - now : 1;
	t->http.stall_ns = t->http.first_byte_ns;
	t->http.body_cap = s3_body_cap(&t->op);
	http_submit(http, &t->http);
	lock_acquire(&t->lock);
	while (!t->done)
		cond_wait(&t->ended, &t->lock); /* http/ keeps the time */
	lock_release(&t->lock);
	return s3_op_end(&t->op, &t->http.answer);
}

static bool is_about_the_network(enum http_error error)
{
	return error == HTTP_RESOLVE_FAILED || error == HTTP_CONNECT_FAILED ||
	       error == HTTP_CONNECT_TIMEOUT;
}

static void pause_until(uint64_t at_ns)
{
	struct timespec at = clock_timespec(at_ns);

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Another try makes sense now: true after the pause that it needs. */
static bool wait_for_another_try(struct probe *p, const struct trial *t)
{
	uint64_t now = clock_now_ns();
	bool network = is_about_the_network(t->http.answer.error);
	uint64_t until = network ? p->patient_until_ns : p->deadline_ns;

	if (now + PAUSE_NS >= until)
		return false;
	if (network) {
		log_info("%s; trying again", t->op.result.message);
		p->deadline_ns = now + PAUSE_NS + PROBE_NS;
	}
	pause_until(now + PAUSE_NS);
	return true;
}

/* Takes over what the answer tells. */
static bool learn(struct probe *p, const struct trial *t, const struct cred_keys *keys)
{
	const struct s3_result *r = &t->op.result;

	if (p->learnt++ >= LEARN_MAX)
		return false;
	switch (r->retry) {
	case S3_RETRY_CLOCK:
		log_warn("the clock of this machine is %lld s off the server's; signing with the "
			 "server's time",
			 (long long)-r->clock_offset_s);
		p->target->clock_offset_s = r->clock_offset_s;
		return true;
	case S3_RETRY_REGION:
		log_info("the bucket lives in %s", r->region);
		return s3_target_set_region(p->target, r->region) == 0;
	case S3_RETRY_KEYS:
		return cred_refresh(p->config->cred, keys) == 0;
	default:
		return false;
	}
}

/* One try: 0 (reached), 1 (try again), or -errno with the line. */
static int try_once(struct probe *p, char *error, size_t size)
{
	__attribute__((cleanup(trial_finish))) struct trial t;
	CLEANUP(cred_keys_unref) struct cred_keys *keys = NULL;
	int rc;

	trial_init(&t, p->config->prefix);
	rc = cred_get(p->config->cred, &keys);
	if (rc == -EAGAIN && clock_now_ns() < p->deadline_ns) {
		pause_until(clock_now_ns() + PAUSE_NS);
		return 1;
	}
	if (rc == 0)
		rc = trial_run(&t, p->config->http, p->target, &keys->s3, p->deadline_ns);
	if (rc == 0)
		return 0;
	switch (t.op.result.retry) {
	case S3_RETRY_CLOCK:
	case S3_RETRY_REGION:
	case S3_RETRY_KEYS:
		if (learn(p, &t, keys))
			return 1;
		break;
	case S3_RETRY_NO:
		break;
	default:
		if (wait_for_another_try(p, &t))
			return 1;
		break;
	}
	probe_explain(&t, p->config, p->target, keys, error, size);
	return rc;
}

int probe_bucket(const struct probe_config *config, struct s3_target *target, char *ret_error,
		 size_t error_size)
{
	uint64_t now = clock_now_ns();
	struct probe p = {
	    .config = config,
	    .target = target,
	    .deadline_ns = now + PROBE_NS,
	    .patient_until_ns = now + MIN(config->patience_ns, UINT64_MAX - now),
	};
	int rc;

	do
		rc = try_once(&p, ret_error, error_size);
	while (rc > 0);
	return rc;
}
