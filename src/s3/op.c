/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an op: builds a try, and hands headers, body and end of its answer to what knows
 * them. An op belongs to one thread at a time (the sender's in s3_build, the loop's until
 * s3_op_end); nothing here is shared or locked.
 *
 * A try, as op->parse has it:
 *	-		s3_op_headers	begun; a failure that the headers show is decided
 *	begun		s3_op_data	object's bytes to the sink, XML to its parser
 *	begun or -	s3_op_end	not decided: complete, or classified by the error table
 * What must outlive a try (bytes wanted, object's size and ETag, checksum, a document that is sent)
 * is in parse, too. What the verbs differ in is one table of rules.
 */
#include <pailfs/s3.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "attributes.h"
#include "copy.h"
#include "deletes.h"
#include "document.h"
#include "list.h"
#include "multipart.h"
#include "object.h"
#include "parse.h"
#include "put.h"
#include "request.h"
#include "url.h"
#include "xml.h"

enum {
	OF_KEY = 1,	 /* about an object: a key is needed */
	CHANGES = 2,	 /* carried out, it leaves something behind */
	SENDS_TEXT = 4,	 /* its body is parse->text */
	SENDS_BODY = 8,	 /* its body is the caller's */
	HAS_VERSION = 16 /* its answer may name a version */
};

/* What there is to know of a verb. */
struct rule {
	const char *method;
	unsigned flags;
	int (*build)(struct s3_op *op, struct request *r); /* NULL: nothing to add */
	/* headers of a good answer: 0, or the err of op_fail; NULL: nothing to check */
	int (*headers)(struct s3_op *op, const struct http_answer *answer);
	const struct document_kind *document; /* what the body must be; NULL: ignored */
	uint64_t cap;			      /* of the body; 0: S3_ERROR_BYTES_MAX */
};

static int begin_list(struct s3_op *op, const struct http_answer *answer);
static int begin_object(struct s3_op *op, const struct http_answer *answer);
static int begin_create(struct s3_op *op, const struct http_answer *answer);

static const struct rule rules[] = {
    [S3_HEAD_BUCKET] = {"HEAD"},
    [S3_LIST] = {"GET", 0, list_build, begin_list, NULL, S3_XML_BYTES_MAX},
    [S3_HEAD_OBJECT] = {"HEAD", OF_KEY | HAS_VERSION, object_build, object_head_answer},
    [S3_GET_OBJECT] = {"GET", OF_KEY | HAS_VERSION, object_build, begin_object},
    [S3_PUT_OBJECT] = {"PUT", OF_KEY | CHANGES | SENDS_BODY | HAS_VERSION, put_object_build,
		       put_answer},
    [S3_COPY_OBJECT] = {"PUT", OF_KEY | CHANGES | HAS_VERSION, copy_object_build, NULL,
			&copy_object_document, S3_ANSWER_BYTES_MAX},
    [S3_DELETE_OBJECT] = {"DELETE", OF_KEY | CHANGES | HAS_VERSION, delete_object_build},
    [S3_DELETE_OBJECTS] = {"POST", CHANGES | SENDS_TEXT, deletes_build, NULL, &deletes_document,
			   S3_XML_BYTES_MAX},
    [S3_CREATE_MULTIPART] = {"POST", OF_KEY | CHANGES, create_build, begin_create, &create_document,
			     S3_ANSWER_BYTES_MAX},
    [S3_UPLOAD_PART] = {"PUT", OF_KEY | CHANGES | SENDS_BODY, put_part_build, put_answer},
    [S3_UPLOAD_PART_COPY] = {"PUT", OF_KEY | CHANGES, copy_part_build, NULL, &copy_part_document,
			     S3_ANSWER_BYTES_MAX},
    [S3_COMPLETE_MULTIPART] = {"POST", OF_KEY | CHANGES | SENDS_TEXT | HAS_VERSION, complete_build,
			       NULL, &complete_document, S3_ANSWER_BYTES_MAX},
    [S3_ABORT_MULTIPART] = {"DELETE", OF_KEY | CHANGES, abort_build},
    [S3_LIST_PARTS] = {"GET", OF_KEY, list_parts_build, NULL, &list_parts_document,
		       S3_XML_BYTES_MAX},
    [S3_LIST_UPLOADS] = {"GET", 0, list_uploads_build, NULL, &list_uploads_document,
			 S3_XML_BYTES_MAX},
    [S3_GET_TAGGING] = {"GET", OF_KEY, tagging_build, NULL, &tagging_document},
};

static bool has(const struct s3_op *op, unsigned flag)
{
	return (rules[op->verb].flags & flag) != 0;
}

static void end_try(struct s3_parse *p)
{
	list_destroy(p->list);
	document_destroy(p->document);
	error_reader_destroy(p->error_reader);
	p->list = NULL;
	p->document = NULL;
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
	    .body = {.fd = -1},
	};
}

void s3_op_finish(struct s3_op *op)
{
	if (!op)
		return;
	s3_page_finish(&op->page);
	if (op->parse) {
		end_try(op->parse);
		arena_finish(&op->parse->arena);
		buf_finish(&op->parse->text);
	}
	free(op->parse);
	op->parse = NULL;
}

static int make_parse(struct s3_op *op)
{
	struct s3_parse *p = op->parse;

	if (p)
		return 0;
	p = op->parse = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	memcpy(p->etag, op->if_match, sizeof(p->etag));
	p->wanted = op->length;
	p->total_bytes = op->object_size;
	return 0;
}

static int check_key(const struct s3_op *op)
{
	if ((size_t)op->verb >= ARRAY_SIZE(rules))
		return -EOPNOTSUPP;
	if (!has(op, OF_KEY))
		return 0;
	if (!op->key || op->key_length == 0)
		return -EINVAL;
	return op->key_length > S3_KEY_MAX ? -ENAMETOOLONG : 0;
}

/* The hash of the document to be sent, which is whole now. */
static int seal_text(struct s3_op *op)
{
	struct s3_parse *p = op->parse;

	p->text_iov = (struct iovec){p->text.data, p->text.length};
	return sign_payload_hash(p->text.data, p->text.length, p->text_hash);
}

static const char *payload_hash(const struct s3_op *op)
{
	if (has(op, SENDS_TEXT))
		return op->parse->text_hash;
	return has(op, SENDS_BODY) && op->body.length > 0 ? op->body.sha256 : NULL;
}

static int add_verb(struct s3_op *op, struct request *r)
{
	int err = has(op, SENDS_TEXT) ? make_parse(op) : 0;

	if (err == 0 && rules[op->verb].build)
		err = rules[op->verb].build(op, r);
	if (err == 0 && has(op, SENDS_TEXT))
		err = seal_text(op);
	return err;
}

int s3_build(struct s3_op *op, const struct s3_target *target, const struct s3_keys *keys,
	     time_t now_s, struct http_message *ret_message)
{
	struct request request;
	int r = check_key(op);

	if (r < 0)
		return r;
	request_init(&request, rules[op->verb].method, target, has(op, OF_KEY) ? op->key : NULL,
		     op->key_length);
	request.left_out = op->left_out;
	r = add_verb(op, &request);
	if (r < 0)
		request_fail(&request, r);
	op->sent_features = request.features;
	op->sent_at_s = now_s;
	op->sent_offset_s = target->clock_offset_s;
	memcpy(op->sent_region, url_region(target), strlen(url_region(target)) + 1);
	return request_finish(&request, keys, now_s + target->clock_offset_s,
			      request.err < 0 ? NULL : payload_hash(op), ret_message);
}

void s3_op_body(const struct s3_op *op, struct http_request *r)
{
	r->body = NULL;
	r->body_count = 0;
	r->body_fd = -1;
	r->body_offset = r->body_length = 0;
	if (has(op, SENDS_TEXT)) {
		r->body = &op->parse->text_iov;
		r->body_count = 1;
		r->body_length = op->parse->text_iov.iov_len;
	} else if (has(op, SENDS_BODY)) {
		r->body = op->body.iov;
		r->body_count = op->body.iov_count;
		r->body_fd = op->body.fd;
		r->body_offset = op->body.offset;
		r->body_length = op->body.length;
	}
}

uint64_t s3_body_cap(const struct s3_op *op)
{
	if (op->verb == S3_GET_OBJECT)
		return MAX(op->length - op->received, (uint64_t)S3_ERROR_BYTES_MAX);
	return rules[op->verb].cap ?: S3_ERROR_BYTES_MAX;
}

/* What an answer may fill and the next one must not find. What an op has received stays. */
static void clear_answer(struct s3_op *op)
{
	op->result = (struct s3_result){0};
	s3_page_finish(&op->page);
	op->upload_page = (struct s3_upload_page){0};
	op->found = (struct s3_attributes){0};
	op->version_id = op->created_id = op->tagging = NULL;
	op->has_crc32c = false;
	if (has(op, CHANGES))
		op->object = (struct s3_object){0};
}

/* Makes op ready for the answer of a new try. */
static int begin_try(struct s3_op *op)
{
	int r = make_parse(op);
	struct s3_parse *p = op->parse;

	if (r < 0)
		return r;
	end_try(p);
	arena_finish(&p->arena);
	p->key_error = NULL;
	p->url_encoded = false;
	if (!has(op, SENDS_TEXT))
		buf_clear(&p->text);
	p->begun = true;
	p->decided = false;
	p->body = BODY_IGNORED;
	p->error = (struct error_body){0};
	p->try_left = 0;
	clear_answer(op);
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

static int begin_object(struct s3_op *op, const struct http_answer *answer)
{
	op->parse->body = BODY_OBJECT;
	return object_get_answer(op, answer);
}

static int begin_create(struct s3_op *op, const struct http_answer *answer)
{
	create_answer(op, answer);
	return 0;
}

static int begin_document(struct s3_op *op, const struct document_kind *kind)
{
	struct s3_parse *p = op->parse;

	p->body = BODY_DOCUMENT;
	p->document = document_create(op, kind);
	return p->document ? 0 : op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
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

static int keep_version(struct s3_op *op, const struct http_answer *answer)
{
	const char *id = http_answer_header(answer, "x-amz-version-id");

	if (!id || !has(op, HAS_VERSION))
		return 0;
	op->version_id = arena_copy(&op->parse->arena, id, strlen(id));
	return op->version_id ? 0 : op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
}

int s3_op_headers(struct s3_op *op, const struct http_answer *answer)
{
	const struct rule *rule = &rules[op->verb];
	int r = begin_try(op);

	if (r < 0)
		return r;
	if (answer->status >= 300 && !is_past_end(op, answer->status))
		return begin_error(op);
	r = keep_version(op, answer);
	if (r == 0 && rule->headers)
		r = rule->headers(op, answer);
	if (r == 0 && rule->document)
		r = begin_document(op, rule->document);
	return r;
}

/* err is what a list or document answered that cannot be used, why its words. */
static int fail_xml(struct s3_op *op, int err, const char *why)
{
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
		return r < 0 ? fail_xml(op, r, list_error(p->list)) : 0;
	case BODY_DOCUMENT:
		r = document_push(p->document, bytes, n);
		return r < 0 ? fail_xml(op, r, document_error(p->document)) : 0;
	case BODY_ERROR: /* cut at its cap: the status and what was read decide */
		return error_reader_push(p->error_reader, bytes, n);
	default:
		return 0;
	}
}

/* The list or document is over: true if it is the one that was asked for, and whole. */
static bool finish_xml(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_parse *p = op->parse;
	bool list = p->body == BODY_LIST;
	int r = list ? list_end(p->list, &op->page) : document_end(p->document);

	if (r == 0)
		return list || rules[op->verb].document->end(op) == 0;
	if (r == -EBADMSG)
		result_classify(op, answer);
	else
		fail_xml(op, r, list ? list_error(p->list) : document_error(p->document));
	return false;
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
	return (p->body != BODY_LIST && p->body != BODY_DOCUMENT) || finish_xml(op, answer);
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
	if (has(op, CHANGES))
		result_settle(op, answer);
	end_try(op->parse);
	return result->err;
}

bool s3_verb_is_slow(enum s3_verb verb)
{
	return verb == S3_COMPLETE_MULTIPART || verb == S3_COPY_OBJECT ||
	       verb == S3_UPLOAD_PART_COPY;
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
