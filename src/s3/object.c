/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading objects. Thread of the loop that runs the transfer; s3_build on the sender's.
 *
 * No byte reaches the sink before the headers prove that it is the right one: of the version that
 * was asked for (ETag), of an object of the size that was known, at the place that was asked for
 * (Content-Range). A server that ignores the range, or answers another one, is asked again and then
 * fails; a version or size that changed is ESTALE at once. An answer that is consistent but shorter
 * is taken, and the rest is asked for again.
 *
 * Bytes are as stored: Content-Encoding is none of our business. Conditions of reading only;
 * versions and part numbers are not asked for.
 */
#include "object.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "attributes.h"
#include "parse.h"

#define YEAR_10000_S INT64_C(253402300800)

/* True if the range is all of an object whose size is known. */
static bool is_whole(const struct s3_op *op)
{
	return op->offset == 0 && op->length == op->object_size;
}

static int build_range(const struct s3_op *op, struct request *r)
{
	uint64_t first = op->offset + op->received;

	if (op->received >= op->length || op->length - 1 > UINT64_MAX - op->offset)
		return -EINVAL;
	if (is_whole(op) && op->received == 0) /* S3 gives checksums of whole objects only */
		request_header(r, "x-amz-checksum-mode", "ENABLED");
	else
		request_header(r, "Range", "bytes=%" PRIu64 "-%" PRIu64, first,
			       op->offset + op->length - 1);
	return 0;
}

int object_build(struct s3_op *op, struct request *r)
{
	if (op->if_match[0])
		request_header(r, "If-Match", "%s", op->if_match);
	return op->verb == S3_GET_OBJECT ? build_range(op, r) : 0;
}

/* Copies a header's value if it fits and is plain; else dst becomes "". False if it was refused. */
static bool copy_plain(const char *value, char *dst, size_t size)
{
	dst[0] = '\0';
	if (!value)
		return true;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	if (strlen(value) >= size)
		return false;
	memcpy(dst, value, strlen(value) + 1);
	return true;
}

bool object_is_archive_class(const char *storage_class)
{
	return !strcmp(storage_class, "GLACIER") || !strcmp(storage_class, "DEEP_ARCHIVE");
}

/* Also of INTELLIGENT_TIERING, which keeps its class and has an archive status. */
static bool is_archived(const struct http_answer *answer, const char *storage_class)
{
	const char *restore = http_answer_header(answer, "x-amz-restore");

	if (restore && strstr(restore, "ongoing-request=\"false\""))
		return false;
	return object_is_archive_class(storage_class) ||
	       http_answer_header(answer, "x-amz-archive-status");
}

/* Everything but the size. */
static int read_attributes(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_object *o = &op->object;
	const char *modified = http_answer_header(answer, "last-modified");
	time_t t;

	*o = (struct s3_object){0};
	if (!copy_plain(http_answer_header(answer, "etag"), o->etag, sizeof(o->etag)))
		return op_fail(op, -EIO, S3_RETRY_NO, "", "the answer's ETag cannot be used");
	copy_plain(http_answer_header(answer, "x-amz-storage-class"), o->storage_class,
		   sizeof(o->storage_class));
	copy_plain(http_answer_header(answer, "content-type"), o->content_type,
		   sizeof(o->content_type));
	if (modified && text_parse_http_date(modified, &t) == 0 && t > 0 && t < YEAR_10000_S)
		o->modified.tv_sec = t;
	o->archived = is_archived(answer, o->storage_class);
	return op->want_attributes ? attributes_answer(op, answer) : 0;
}

bool s3_etags_equal(const char *a, const char *b)
{
	size_t an = strlen(a), bn = strlen(b);

	if (an >= 2 && a[0] == '"' && a[an - 1] == '"')
		a++, an -= 2;
	if (bn >= 2 && b[0] == '"' && b[bn - 1] == '"')
		b++, bn -= 2;
	return an == bn && !memcmp(a, b, an);
}

/* All tries of an op read one version: the one asked for, else the one that came first. */
static int check_version(struct s3_op *op)
{
	char *etag = op->parse->etag;

	if (!etag[0])
		memcpy(etag, op->object.etag, sizeof(op->object.etag));
	if (s3_etags_equal(etag, op->object.etag))
		return 0;
	if (!op->object.etag[0])
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "the answer has no ETag");
	return op_fail(op, -ESTALE, S3_RETRY_NO, "", "the object was replaced");
}

int object_head_answer(struct s3_op *op, const struct http_answer *answer)
{
	int r = read_attributes(op, answer);

	if (r < 0)
		return r;
	r = check_version(op);
	if (r < 0)
		return r;
	if (answer->content_length < 0)
		return op_fail(op, -EIO, S3_RETRY_NO, "NoContentLength",
			       "the answer does not tell the object's size");
	op->object.size = (uint64_t)answer->content_length;
	return 0;
}

/* Takes over the object's size as an answer tells it. */
static int check_total(struct s3_op *op, uint64_t total)
{
	struct s3_parse *p = op->parse;

	if (p->total_bytes != UINT64_MAX && p->total_bytes != total)
		return op_fail(op, -ESTALE, S3_RETRY_NO, "",
			       "the object's size changed from %" PRIu64 " to %" PRIu64,
			       p->total_bytes, total);
	p->total_bytes = total;
	op->object.size = total;
	return 0;
}

/* "bytes FIRST-LAST/TOTAL"; all three are needed. */
static int parse_content_range(const char *text, uint64_t *ret_first, uint64_t *ret_last,
			       uint64_t *ret_total)
{
	const char *dash, *slash;

	if (!text || !text_starts_with(text, "bytes "))
		return -EINVAL;
	text += strlen("bytes ");
	dash = strchr(text, '-');
	slash = strchr(text, '/');
	if (!dash || !slash || dash > slash ||
	    text_parse_u64n(text, (size_t)(dash - text), ret_first) < 0 ||
	    text_parse_u64n(dash + 1, (size_t)(slash - dash - 1), ret_last) < 0 ||
	    text_parse_u64(slash + 1, ret_total) < 0)
		return -EINVAL;
	return *ret_first <= *ret_last && *ret_last < *ret_total ? 0 : -EINVAL;
}

static int check_partial(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;
	const char *text = http_answer_header(answer, "content-range");
	uint64_t first, last, total;
	int r;

	if (parse_content_range(text, &first, &last, &total) < 0)
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "no usable Content-Range");
	r = check_total(op, total);
	if (r < 0)
		return r;
	if (first != op->offset + op->received || last > op->offset + op->length - 1)
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "another range was answered");
	if (answer->content_length >= 0 && (uint64_t)answer->content_length != last - first + 1)
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "",
			       "Content-Length and Content-Range disagree");
	p->wanted = MIN(op->length, total - op->offset);
	p->try_left = last - first + 1;
	return 0;
}

/* A 200 has the whole object, whatever was asked for. */
static int check_whole(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;
	int64_t length = answer->content_length;
	bool unknown = p->total_bytes == UINT64_MAX;
	int r;

	if (op->offset != 0 || op->received != 0 || (!unknown && op->length != p->total_bytes) ||
	    (unknown && (length < 0 || (uint64_t)length > op->length)))
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "the range was ignored");
	if (length >= 0) {
		r = check_total(op, (uint64_t)length);
		if (r < 0)
			return r;
	}
	op->object.size = p->total_bytes;
	p->wanted = p->try_left = p->total_bytes;
	checksum_begin(&p->checksum, answer);
	op->checked_at_end = p->checksum.kind != CHECKSUM_NONE;
	return 0;
}

/*
 * 416: the range begins at or after the end. That is an answer when nobody knew the size, and a
 * changed object when somebody did.
 */
static int check_past_end(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;
	const char *text = http_answer_header(answer, "content-range");
	uint64_t total;

	if (p->total_bytes != UINT64_MAX)
		return op_fail(op, -ESTALE, S3_RETRY_NO, "", "the object became shorter");
	if (op->offset == 0)
		total = 0;
	else if (!text || !text_starts_with(text, "bytes */") ||
		 text_parse_u64(text + strlen("bytes */"), &total) < 0 || total > op->offset)
		return op_fail(op, -EIO, S3_RETRY_NO, "", "the range is past the object's end");
	p->total_bytes = op->object.size = total;
	p->wanted = 0;
	p->body = BODY_IGNORED;
	return 0;
}

int object_get_answer(struct s3_op *op, const struct http_answer *answer)
{
	int r = read_attributes(op, answer);

	if (r < 0)
		return r;
	if (answer->status == 416)
		return check_past_end(op, answer);
	r = check_version(op);
	if (r < 0)
		return r;
	if (answer->status == 206)
		return check_partial(op, answer);
	if (answer->status == 200)
		return check_whole(op, answer);
	return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "status %d is no answer to a GET",
		       answer->status);
}

int object_get_data(struct s3_op *op, const void *bytes, size_t n)
{
	struct s3_parse *p = op->parse;
	size_t fits = MIN((uint64_t)n, p->try_left);
	int r = fits > 0 ? op->sink(op->sink_ctx, bytes, fits) : 0;

	if (r < 0)
		return op_fail(op, r, S3_RETRY_NO, "", "the bytes were refused here");
	checksum_update(&p->checksum, bytes, fits);
	p->try_left -= fits;
	op->received += fits;
	if (n > fits)
		return op_fail(op, -EIO, op->received < p->wanted ? S3_RETRY_BACKOFF : S3_RETRY_NO,
			       "", "more bytes than the answer announced");
	return 0;
}

bool object_get_complete(struct s3_op *op)
{
	struct s3_parse *p = op->parse;
	char key[160];

	if (op->received != p->wanted)
		return false;
	if (checksum_matches(&p->checksum))
		return true;
	/* The sink has taken them: only its owner can ask anew. */
	log_error("%s of %s does not match its bytes: damaged at rest or on its way",
		  checksum_name(p->checksum.kind),
		  text_printable(op->key, op->key_length, key, sizeof(key)));
	op_fail(op, -EIO, S3_RETRY_NO, "", "the object's %s does not match its bytes",
		checksum_name(p->checksum.kind));
	return false;
}
