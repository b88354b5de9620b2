/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an op: builds a try, and hands headers, body and end of its answer to what knows
 * them. An op belongs to one thread at a time (the sender's in s3_build, the loop's until
 * s3_op_end); nothing here is shared or locked.
 *
 * A try, as op->parse has it:
 *	-		s3_op_headers	begun; a failure that the headers show is decided
 *	begun		s3_op_data	object's bytes to the sink, a list or an error to its parser
 *	begun or -	s3_op_end	not decided: complete, or classified by the error table
 * What must outlive a try (bytes wanted, object's size and ETag, checksum) is in parse, too.
 *
 * The verbs of the writing half are named here, but not built yet.
 */
#include <pailfs/s3.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "list.h"
#include "object.h"
#include "parse.h"
#include "request.h"
#include "url.h"
#include "xml.h"

static void end_try(struct s3_parse *p)
{
	list_destroy(p->list);
	error_reader_destroy(p->error_reader);
	p->list = NULL;
	p->error_reader = NULL;
	p->begun = false;
}

void s3_op_init(struct s3_op *op, enum s3_verb verb)
{
	*op = (struct s3_op){
	    .verb = verb,
	    .object_size = UINT64_MAX,
	    .prefix = "",
	    .max_keys = S3_LIST_ENTRIES_MAX,
	};
}

void s3_op_finish(struct s3_op *op)
{
	if (!op)
		return;
	s3_page_finish(&op->page);
	if (op->parse)
		end_try(op->parse);
	free(op->parse);
	op->parse = NULL;
}

static bool has_key(enum s3_verb verb)
{
	return verb == S3_HEAD_OBJECT || verb == S3_GET_OBJECT;
}

static int check_key(const struct s3_op *op)
{
	if (!has_key(op->verb))
		return 0;
	if (!op->key || op->key_length == 0)
		return -EINVAL;
	return op->key_length > S3_KEY_MAX ? -ENAMETOOLONG : 0;
}

static int add_verb(const struct s3_op *op, struct request *r)
{
	switch (op->verb) {
	case S3_HEAD_BUCKET:
		return 0;
	case S3_LIST:
		return list_build(op, r);
	case S3_HEAD_OBJECT:
	case S3_GET_OBJECT:
		return object_build(op, r);
	default:
		return -EOPNOTSUPP;
	}
}

int s3_build(struct s3_op *op, const struct s3_target *target, const struct s3_keys *keys,
	     time_t now_s, struct http_message *ret_message)
{
	bool head = op->verb == S3_HEAD_BUCKET || op->verb == S3_HEAD_OBJECT;
	struct request request;
	int r = check_key(op);

	if (r < 0)
		return r;
	request_init(&request, head ? "HEAD" : "GET", target, has_key(op->verb) ? op->key : NULL,
		     op->key_length);
	r = add_verb(op, &request);
	if (r < 0)
		request.err = r;
	op->sent_at_s = now_s;
	op->sent_offset_s = target->clock_offset_s;
	memcpy(op->sent_region, url_region(target), strlen(url_region(target)) + 1);
	return request_finish(&request, keys, now_s + target->clock_offset_s, NULL, ret_message);
}

uint64_t s3_body_cap(const struct s3_op *op)
{
	switch (op->verb) {
	case S3_LIST:
		return S3_XML_BYTES_MAX;
	case S3_GET_OBJECT:
		return MAX(op->length - op->received, (uint64_t)S3_ERROR_BYTES_MAX);
	default:
		return S3_ERROR_BYTES_MAX;
	}
}

/* Makes op ready for the answer of a new try. */
static int begin_try(struct s3_op *op)
{
	struct s3_parse *p = op->parse;

	if (!p) {
		p = op->parse = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		memcpy(p->etag, op->if_match, sizeof(p->etag));
		p->wanted = op->length;
		p->total_bytes = op->object_size;
	}
	end_try(p);
	p->begun = true;
	p->decided = false;
	p->body = BODY_IGNORED;
	p->error = (struct error_body){0};
	p->try_left = 0;
	op->result = (struct s3_result){0};
	s3_page_finish(&op->page);
	return 0;
}

static int begin_list(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;

	if (answer->status != 200)
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "status %d is no answer to a list",
			       answer->status);
	p->body = BODY_LIST;
	p->list = list_create(op, &p->error);
	return p->list ? 0 : op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
}

static int begin_error(struct s3_op *op)
{
	struct s3_parse *p = op->parse;

	p->body = BODY_ERROR;
	p->error_reader = error_reader_create(&p->error);
	return p->error_reader ? 0 : op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
}

static bool is_past_end(const struct s3_op *op, int status)
{
	return op->verb == S3_GET_OBJECT && status == 416;
}

int s3_op_headers(struct s3_op *op, const struct http_answer *answer)
{
	int r = begin_try(op);

	if (r < 0)
		return r;
	if (answer->status >= 300 && !is_past_end(op, answer->status))
		return begin_error(op);
	switch (op->verb) {
	case S3_LIST:
		return begin_list(op, answer);
	case S3_HEAD_OBJECT:
		return object_head_answer(op, answer);
	case S3_GET_OBJECT:
		op->parse->body = BODY_OBJECT;
		return object_get_answer(op, answer);
	default:
		return 0;
	}
}

/* err is what list_push and list_end answer. */
static int fail_list(struct s3_op *op, int err)
{
	const char *why = list_error(op->parse->list);

	switch (err) {
	case -EILSEQ: /* cut or garbled: as a 500 */
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "%s", why);
	case -ENOMEM:
		return op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
	default:
		return op_fail(op, -EIO, S3_RETRY_NO, "", "%s", why);
	}
}

int s3_op_data(struct s3_op *op, const void *bytes, size_t n)
{
	struct s3_parse *p = op->parse;
	int r;

	switch (p->body) {
	case BODY_OBJECT:
		return object_get_data(op, bytes, n);
	case BODY_LIST:
		r = list_push(p->list, bytes, n);
		return r < 0 ? fail_list(op, r) : 0;
	case BODY_ERROR: /* cut at its cap: the status and what was read decide */
		return error_reader_push(p->error_reader, bytes, n);
	default:
		return 0;
	}
}

static int finish_list(struct s3_op *op, const struct http_answer *answer)
{
	int r = list_end(op->parse->list, &op->page);

	if (r == -EBADMSG) {
		result_classify(op, answer);
		return op->result.err;
	}
	return r < 0 ? fail_list(op, r) : 0;
}

/* True if op has what it asked for. A failure may have been decided on the way. */
static bool is_complete(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;

	if (p->decided || answer->error == HTTP_TOO_LARGE)
		return false;
	if (p->body == BODY_OBJECT) /* whole, however the transfer ended then */
		return object_get_complete(op);
	if (answer->error != HTTP_OK || p->body == BODY_ERROR)
		return false;
	return p->body != BODY_LIST || finish_list(op, answer) == 0;
}

int s3_op_end(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_result *result = &op->result;

	if (!op->parse || !op->parse->begun) {
		int r = begin_try(op);

		if (r < 0) {
			*result = (struct s3_result){.err = r, .status = answer->status};
			return r;
		}
	}
	result->status = answer->status;
	if (answer->status == 0 || !is_complete(op, answer))
		result_classify(op, answer);
	result_learn(op, answer);
	end_try(op->parse);
	return result->err;
}

struct s3_page s3_page_take(struct s3_op *op)
{
	struct s3_page page = op->page;

	op->page = (struct s3_page){0};
	return page;
}

void s3_page_finish(struct s3_page *page)
{
	free(page->entries);
	free(page->arena);
	*page = (struct s3_page){0};
}

void s3_library_init(void)
{
	xml_library_init();
}

void s3_library_finish(void)
{
	xml_library_finish();
}
