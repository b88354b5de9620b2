/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills op->result at the end of a try: the class of a failure (error.c decides it), the server's
 * words, and what its headers tell for the next try. Thread of the loop.
 *
 * Of a redirect only the region is taken, from two places and only if it looks like one; its
 * Location is never looked at, so no credential can follow it. A retry that would be the same
 * request again (the region is the one that was signed, no date to learn a clock from) is none.
 *
 * For verbs that change something it also settles whether a failed try may have been carried out,
 * and whether the server refused only what the request can do without.
 */
#include "parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "region.h"

#define RETRY_AFTER_MAX_S 3600
#define CLOCK_WINDOW_S (15 * 60) /* S3 refuses signatures older or newer than that */
#define CLOCK_STEP_MIN_S 60	 /* a smaller correction cannot be what was missing */

int op_fail(struct s3_op *op, int err, enum s3_retry retry, const char *code, const char *fmt, ...)
{
	struct s3_result *r = &op->result;
	va_list ap;

	if (op->parse->decided)
		return r->err;
	op->parse->decided = true;
	r->err = err;
	r->retry = retry;
	snprintf(r->code, sizeof(r->code), "%s", code);
	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
	return err;
}

void result_classify(struct s3_op *op, const struct http_answer *answer)
{
	const struct error_body *e = &op->parse->error;
	struct error_class class = error_classify(&(struct error_input){
	    .verb = op->verb,
	    .http = answer->error,
	    .connection_reused = answer->connection_reused,
	    .status = answer->status,
	    .code = e->code,
	    .exclusive = op->if_none_match_any && !strcasestr(e->condition, "copy-source"),
	});
	char detail[sizeof(op->result.message)];

	text_printable(answer->detail, strnlen(answer->detail, sizeof(answer->detail)), detail,
		       sizeof(detail));
	op_fail(op, class.err, class.retry, e->code, "%s", e->message[0] ? e->message : detail);
}

/* Makes a retry of that kind final. */
static void give_up(struct s3_result *r, enum s3_retry retry, const char *why)
{
	if (r->retry != retry)
		return;
	r->retry = S3_RETRY_NO;
	if (!r->message[0])
		snprintf(r->message, sizeof(r->message), "%s", why);
}

static void learn_region(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_result *r = &op->result;
	const char *header = http_answer_header(answer, "x-amz-bucket-region");

	if (header && region_is_valid(header))
		snprintf(r->region, sizeof(r->region), "%s", header);
	else if (region_is_valid(op->parse->error.region))
		snprintf(r->region, sizeof(r->region), "%s", op->parse->error.region);
	if (!r->region[0])
		give_up(r, S3_RETRY_REGION, "a redirect that names no region is not followed");
	else if (!strcmp(r->region, op->sent_region))
		give_up(r, S3_RETRY_REGION, "a redirect to the same region is not followed");
}

static int server_time(const struct s3_op *op, const struct http_answer *answer, time_t *ret_time)
{
	const char *date = http_answer_header(answer, "date");
	struct timespec t;

	if (date && text_parse_http_date(date, ret_time) == 0)
		return 0;
	if (text_parse_iso8601(op->parse->error.server_time, &t) < 0)
		return -EINVAL;
	*ret_time = t.tv_sec;
	return 0;
}

/* The answer to a HEAD has no code: a refusal from a server with another time is about that. */
static bool is_skewed_head(const struct s3_op *op, int64_t offset_s)
{
	return (op->verb == S3_HEAD_OBJECT || op->verb == S3_HEAD_BUCKET) &&
	       op->result.status == 403 && !op->result.code[0] &&
	       llabs(offset_s - op->sent_offset_s) > CLOCK_WINDOW_S;
}

static void learn_clock(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_result *r = &op->result;
	int64_t offset_s;
	time_t now_s;

	if (answer->status != 403 && r->retry != S3_RETRY_CLOCK)
		return;
	if (server_time(op, answer, &now_s) < 0) {
		give_up(r, S3_RETRY_CLOCK,
			"the server's clock differs and it does not tell its time");
		return;
	}
	offset_s = now_s - op->sent_at_s;
	if (is_skewed_head(op, offset_s))
		r->retry = S3_RETRY_CLOCK;
	if (llabs(offset_s - op->sent_offset_s) < CLOCK_STEP_MIN_S)
		give_up(r, S3_RETRY_CLOCK, "refused for its time, which is the server's");
	if (r->retry == S3_RETRY_CLOCK)
		r->clock_offset_s = offset_s;
}

/* Seconds, or a date: then counted from the answer's own Date, else from our clock's. */
static void learn_retry_after(struct s3_op *op, const struct http_answer *answer)
{
	const char *text = http_answer_header(answer, "retry-after");
	uint64_t wait_s = 0;
	time_t until_s, now_s;

	if (!text)
		return;
	if (text_parse_u64(text, &wait_s) < 0) {
		if (text_parse_http_date(text, &until_s) < 0)
			return;
		if (server_time(op, answer, &now_s) < 0)
			now_s = op->sent_at_s;
		wait_s = until_s > now_s ? (uint64_t)(until_s - now_s) : 0;
	}
	op->result.retry_after_ns = MIN(wait_s, (uint64_t)RETRY_AFTER_MAX_S) * NS_PER_S;
}

void result_learn(struct s3_op *op, const struct http_answer *answer)
{
	learn_region(op, answer);
	learn_clock(op, answer);
	learn_retry_after(op, answer);
}

/* ---- of verbs that change something ---- */

/*
 * The feature that a refusal is about. A refusal that names a header is about that one; "not
 * implemented" without a name may be about any, so they are left out one after the other. That
 * x-amz-mp-object-size is named by an InvalidRequest means that the sizes differ: never left out.
 */
static unsigned refused_feature(const struct s3_op *op, const struct error_body *e, int status)
{
	bool unknown = status == 501 || !strcmp(e->code, "NotImplemented");
	bool invalid = !strcmp(e->code, "InvalidRequest") || !strcmp(e->code, "InvalidArgument");
	bool size = strcasestr(e->header, "object-size") || strcasestr(e->message, "object-size");
	bool sum = strcasestr(e->header, "checksum") || strcasestr(e->message, "checksum");
	unsigned sent = op->sent_features;

	if (unknown && !sum && !size && !e->header[0])
		return sent & S3_FEATURE_CHECKSUM ? S3_FEATURE_CHECKSUM : sent;
	if ((unknown || invalid) && sum)
		return sent & S3_FEATURE_CHECKSUM;
	return unknown && size ? sent & S3_FEATURE_OBJECT_SIZE : 0;
}

static void settle_refusal(struct s3_op *op)
{
	struct s3_result *r = &op->result;
	unsigned feature;

	if (r->err == 0 || r->retry != S3_RETRY_NO)
		return;
	feature = refused_feature(op, &op->parse->error, r->status);
	if (!feature)
		return;
	op->left_out |= feature;
	r->retry = S3_RETRY_WITHOUT;
}

/* Nothing of the request can have reached the server. */
static bool was_not_sent(enum http_error error)
{
	return error == HTTP_RESOLVE_FAILED || error == HTTP_CONNECT_FAILED ||
	       error == HTTP_CONNECT_TIMEOUT || error == HTTP_TLS_FAILED ||
	       error == HTTP_CERTIFICATE || error == HTTP_NO_RESOURCES;
}

/*
 * True if nobody can say whether this failed try was carried out: no status came though it may have
 * been sent; a success whose rest is missing; a server's error, which may come after the deed. A
 * refusal (3xx, 4xx, SlowDown, such an <Error> in a 200) says that it was not.
 */
static bool is_unclear(const struct s3_op *op, const struct http_answer *answer)
{
	const struct s3_result *r = &op->result;

	if (r->status == 0)
		return !was_not_sent(answer->error);
	if (r->status < 300)
		return !r->code[0] || r->retry == S3_RETRY_BACKOFF;
	return r->status >= 500 && r->retry == S3_RETRY_BACKOFF;
}

void result_settle(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_result *r = &op->result;

	op->ambiguous = op->ambiguous || answer->repeated;
	settle_refusal(op);
	if (r->err == 0)
		return;
	if (op->verb == S3_DELETE_OBJECT && r->err == -ENOENT && op->ambiguous &&
	    strcmp(r->code, "NoSuchBucket") != 0) {
		*r = (struct s3_result){.status = r->status}; /* our own earlier try did it */
		return;
	}
	op->ambiguous = op->ambiguous || is_unclear(op, answer);
}
