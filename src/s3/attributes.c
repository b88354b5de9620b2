/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of objects. The builders run on the sender's thread, the readers on the loop's.
 *
 * One table serves both directions, so that what a HEAD answered can be asked for again with the
 * copy, to the byte: values are never decoded on the way. request_header refuses control
 * characters, so a value from a caller cannot begin another header.
 *
 * Left out: ACLs other than canned ones, object lock, SSE-C, expiry rules.
 */
#include "attributes.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "parse.h"

#define META_PREFIX "x-amz-meta-"
#define TAGS_MAX 50 /* of an object; S3 allows 10 */

/* When a header is sent. */
enum when {
	WITH_CONTENT, /* it belongs to the bytes: a copy keeps it unless it replaces */
	ALWAYS,	      /* a copy does not keep it by itself */
	WITH_TAGS,
};

static const struct {
	const char *name; /* in lower case, as answers have them */
	size_t offset;
	enum when when;
	bool ask_only;
} headers[] = {
#define FIELD(field) offsetof(struct s3_attributes, field)
    {"cache-control", FIELD(cache_control), WITH_CONTENT, false},
    {"content-disposition", FIELD(content_disposition), WITH_CONTENT, false},
    {"content-encoding", FIELD(content_encoding), WITH_CONTENT, false},
    {"content-language", FIELD(content_language), WITH_CONTENT, false},
    {"content-type", FIELD(content_type), WITH_CONTENT, false},
    {"expires", FIELD(expires), WITH_CONTENT, false},
    {"x-amz-acl", FIELD(acl), ALWAYS, true},
    {"x-amz-server-side-encryption", FIELD(sse), ALWAYS, false},
    {"x-amz-server-side-encryption-aws-kms-key-id", FIELD(sse_kms_key_id), ALWAYS, false},
    {"x-amz-server-side-encryption-bucket-key-enabled", FIELD(sse_bucket_key), ALWAYS, false},
    {"x-amz-storage-class", FIELD(storage_class), ALWAYS, false},
    {"x-amz-tagging", FIELD(tagging), WITH_TAGS, true},
    /* S3 does not copy it with the metadata ("CopyObject", x-amz-website-redirect-location) */
    {"x-amz-website-redirect-location", FIELD(website_redirect), ALWAYS, false},
#undef FIELD
};

static const char **field(const struct s3_attributes *a, size_t offset)
{
	return (const char **)((uintptr_t)a + offset);
}

static void add_headers(const struct s3_attributes *a, enum when when, struct request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		const char *value = *field(a, headers[i].offset);

		if (headers[i].when == when && value)
			request_header(r, headers[i].name, "%s", value);
	}
}

/* A name becomes part of a header's: letters, digits and what RFC 7230 allows in a token. */
static bool is_token(const char *name)
{
	if (!name[0])
		return false;
	for (; *name; name++)
		if (!(*name >= 'a' && *name <= 'z') && !(*name >= '0' && *name <= '9') &&
		    !strchr("!#$%&'*+-.^_`|~", *name))
			return false;
	return true;
}

static void add_meta(const struct s3_attributes *a, struct request *r)
{
	for (unsigned i = 0; i < a->meta_count; i++) {
		char name[256];

		if (!is_token(a->meta[i].name) ||
		    (size_t)snprintf(name, sizeof(name), META_PREFIX "%s", a->meta[i].name) >=
			sizeof(name)) {
			request_fail(r, -EINVAL);
			return;
		}
		request_header_named(r, name, a->meta[i].value);
	}
}

void attributes_build(const struct s3_op *op, struct request *r)
{
	add_headers(&op->attributes, WITH_CONTENT, r);
	add_headers(&op->attributes, ALWAYS, r);
	add_headers(&op->attributes, WITH_TAGS, r);
	add_meta(&op->attributes, r);
}

void attributes_build_copy(const struct s3_op *op, struct request *r)
{
	add_headers(&op->attributes, ALWAYS, r);
	request_header(r, "x-amz-metadata-directive", op->copy.replace ? "REPLACE" : "COPY");
	if (op->copy.replace) {
		add_headers(&op->attributes, WITH_CONTENT, r);
		add_meta(&op->attributes, r);
	}
	if (op->copy.replace_tags) {
		request_header(r, "x-amz-tagging-directive", "REPLACE");
		add_headers(&op->attributes, WITH_TAGS, r);
	}
}

static bool is_plain(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return false;
	return true;
}

static const char *keep(struct s3_op *op, const char *value)
{
	return arena_copy(&op->parse->arena, value, strlen(value));
}

static int out_of_memory(struct s3_op *op)
{
	return op_fail(op, -ENOMEM, S3_RETRY_NO, "", "out of memory");
}

static int read_meta(struct s3_op *op, const struct http_answer *answer)
{
	struct s3_meta *meta =
	    arena_alloc(&op->parse->arena, MAX(answer->header_count, (size_t)1) * sizeof(*meta));
	unsigned count = 0;

	if (!meta)
		return out_of_memory(op);
	for (size_t i = 0; i < answer->header_count; i++) {
		const struct http_header *h = &answer->headers[i];

		if (!text_starts_with(h->name, META_PREFIX) || !is_plain(h->value))
			continue;
		meta[count].name = keep(op, h->name + strlen(META_PREFIX));
		meta[count].value = keep(op, h->value);
		if (!meta[count].name || !meta[count].value)
			return out_of_memory(op);
		count++;
	}
	op->found.meta = meta;
	op->found.meta_count = count;
	return 0;
}

int attributes_answer(struct s3_op *op, const struct http_answer *answer)
{
	const char *tags = http_answer_header(answer, "x-amz-tagging-count");
	uint64_t count;

	op->found = (struct s3_attributes){0};
	op->tag_count = 0;
	if (tags && text_parse_u64(tags, &count) == 0 && count <= TAGS_MAX)
		op->tag_count = (unsigned)count;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		const char *value = http_answer_header(answer, headers[i].name);

		if (headers[i].ask_only || !value || !is_plain(value))
			continue;
		value = keep(op, value);
		if (!value)
			return out_of_memory(op);
		*field(&op->found, headers[i].offset) = value;
	}
	return read_meta(op, answer);
}

int tagging_build(struct s3_op *op, struct request *r)
{
	request_query(r, "tagging", NULL, 0);
	return 0;
}

/* Appends "key" or "=value" to the tags so far, encoded. */
static int add_tag_text(struct s3_op *op, const char *before, const char *text, size_t len)
{
	struct buf *tags = &op->parse->text;
	CLEANUP(free) char *encoded = malloc(text_url_encoded_length(text, len, false) + 1);
	int r;

	if (!encoded)
		return -ENOMEM;
	r = buf_append_str(tags, before);
	return r ?: buf_append(tags, encoded, text_url_encode(text, len, false, encoded));
}

/* Tagging / TagSet / Tag / Key, Value: Key comes first in S3's schema. */
static int tagging_element(struct s3_op *op, const struct document_element *e)
{
	if (e->depth != 4 || e->bad)
		return 0;
	if (!strcmp(e->name, "Key"))
		return add_tag_text(op, op->parse->text.length ? "&" : "", e->text, e->length);
	if (!strcmp(e->name, "Value"))
		return add_tag_text(op, "=", e->text, e->length);
	return 0;
}

static int tagging_end(struct s3_op *op)
{
	const struct buf *tags = &op->parse->text;

	op->tagging = arena_copy(&op->parse->arena, tags->data ?: "", tags->length);
	return op->tagging ? 0 : out_of_memory(op);
}

const struct document_kind tagging_document = {
    .root = "Tagging",
    .element = tagging_element,
    .end = tagging_end,
};
