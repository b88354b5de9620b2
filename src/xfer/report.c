/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says about ops: at debug level one line for each part of an object, and one line
 * for each op that failed, at warning level unless the failure is an answer like any other (no
 * such key) or the caller's to report. Keys are made printable; nothing of a request's headers is
 * ever written. Called without a lock, by the thread that ends the op.
 */
#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "internal.h"

#define KEY_TEXT_BYTES 256

static double seconds(uint64_t ns)
{
	return (double)ns / (double)NS_PER_S;
}

/* What the op is about, in quotes: its key, or a listing's prefix. */
static const char *op_subject(const struct s3_op *op, char *dst, size_t size)
{
	if (op->key != NULL)
		return text_printable(op->key, op->key_length, dst, size);
	if (op->prefix != NULL)
		return text_printable(op->prefix, op->prefix_length, dst, size);
	return "";
}

void report_part(const struct xfer_run *run, const struct http_answer *answer, uint64_t now_ns)
{
	const struct s3_op *op = &run->op->s3;
	char key[KEY_TEXT_BYTES], size[24];

	if (op->verb != S3_GET_OBJECT || log_threshold < LOG_LEVEL_DEBUG)
		return;
	uint64_t bytes = op->received - run->received_before;
	double took_s = seconds(MAX(now_ns - run->try_ns, 1));
	log_debug("GET \"%s\" %llu-%llu %s in %.3f s, %.1f MB/s, try %u, queued %.3f s, %s %s",
		  op_subject(op, key, sizeof(key)), (unsigned long long)op->offset,
		  (unsigned long long)(op->offset + op->length - 1),
		  text_format_size(bytes, size, sizeof(size)), took_s, (double)bytes / took_s / 1e6,
		  run->tries, seconds(run->try_ns - run->submitted_ns), answer->peer,
		  answer->connection_reused ? "reused" : "new");
}

/* Failures that are answers like any other: the caller knows what they mean. */
static bool failure_is_expected(int err)
{
	return err == -ENOENT || err == -ENXIO || err == -ESTALE || err == -EEXIST ||
	       err == -EAGAIN || err == -ECANCELED;
}

void report_end(const struct xfer_run *run, uint64_t now_ns)
{
	const struct xfer_op *op = run->op;
	const struct s3_result *r = &op->s3.result;
	char key[KEY_TEXT_BYTES];

	if (r->err == 0)
		return;
	bool quiet = op->quiet || failure_is_expected(r->err);
	if (quiet && log_threshold < LOG_LEVEL_DEBUG)
		return;
	log_at(quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
	       "%s \"%s\"%s: %s (status %d%s%s%s%s; %u tries in %.1f s)", s3_verb_name(op->s3.verb),
	       op_subject(&op->s3, key, sizeof(key)),
	       run->timed_out ? ": no progress for op_timeout" : "", strerrordesc_np(-r->err),
	       r->status, r->code[0] != '\0' ? " " : "", r->code, r->message[0] != '\0' ? ": " : "",
	       r->message, run->tries, seconds(now_ns - run->submitted_ns));
}
