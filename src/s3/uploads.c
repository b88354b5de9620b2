/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of ListParts and ListMultipartUploads, for settling what became of an upload and for
 * finding one's own after a crash. Builders on the sender's thread, readers on the loop's.
 *
 * As with listings: an entry that cannot be right is left out and counted, a page that does not
 * tell how to go on is an error. Strings and arrays are in the op's arena; a page has at most
 * S3_LIST_ENTRIES_MAX entries, so that the array is made once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "checksum.h"
#include "multipart.h"
#include "parse.h"
#include "put.h"

static void add_max(const struct s3_op *op, const char *name, struct request *r)
{
	char text[12];

	if (op->max_keys < 1 || op->max_keys > S3_LIST_ENTRIES_MAX) {
		request_fail(r, -EINVAL);
		return;
	}
	snprintf(text, sizeof(text), "%u", op->max_keys);
	request_query(r, name, text, strlen(text));
}

int list_parts_build(struct s3_op *op, struct request *r)
{
	char marker[12];

	add_max(op, "max-parts", r);
	if (op->part_marker > 0) {
		snprintf(marker, sizeof(marker), "%u", op->part_marker);
		request_query(r, "part-number-marker", marker, strlen(marker));
	}
	put_upload_query(op, 0, r);
	return 0;
}

int list_uploads_build(struct s3_op *op, struct request *r)
{
	request_query(r, "encoding-type", "url", 3);
	if (op->key_marker)
		request_query(r, "key-marker", op->key_marker, op->key_marker_length);
	add_max(op, "max-uploads", r);
	if (op->prefix_length > 0)
		request_query(r, "prefix", op->prefix, op->prefix_length);
	if (op->key_marker && op->upload_marker)
		request_query(r, "upload-id-marker", op->upload_marker, strlen(op->upload_marker));
	request_query(r, "uploads", NULL, 0);
	return 0;
}

static int too_many(struct s3_op *op)
{
	op_fail(op, -EIO, S3_RETRY_NO, "", "more than %d entries on a page", S3_LIST_ENTRIES_MAX);
	return -EMSGSIZE;
}

static int fail_next(struct s3_op *op)
{
	return op_fail(op, -EIO, S3_RETRY_NO, "",
		       "a truncated page that does not lead to another one");
}

/* ---- parts ---- */

static int parts_start(struct s3_op *op, unsigned depth, const char *name)
{
	struct s3_upload_page *page = &op->upload_page;

	if (depth != 2 || strcmp(name, "Part") != 0)
		return 0;
	if (!page->parts) {
		page->parts =
		    arena_alloc(&op->parse->arena, S3_LIST_ENTRIES_MAX * sizeof(*page->parts));
		if (!page->parts)
			return -ENOMEM;
	}
	if (page->part_count + page->refused >= S3_LIST_ENTRIES_MAX)
		return too_many(op);
	page->parts[page->part_count] = (struct s3_part){.size = UINT64_MAX};
	return 0;
}

static int part_field(struct s3_op *op, struct s3_part *part, const struct document_element *e)
{
	uint64_t value;

	if (e->bad)
		return 0;
	if (!strcmp(e->name, "PartNumber") && text_parse_u64(e->text, &value) == 0 &&
	    value <= S3_PARTS_MAX)
		part->number = (unsigned)value;
	else if (!strcmp(e->name, "Size") && text_parse_u64(e->text, &value) == 0)
		part->size = value;
	else if (!strcmp(e->name, "ChecksumCRC32C"))
		part->has_crc32c = checksum_parse(e->text, &part->crc32c) == 0;
	else if (!strcmp(e->name, "ETag") && e->length > 0 && e->length < S3_ETAG_MAX) {
		part->etag = arena_copy(&op->parse->arena, e->text, e->length);
		return part->etag ? 0 : -ENOMEM;
	}
	return 0;
}

static int parts_element(struct s3_op *op, const struct document_element *e)
{
	struct s3_upload_page *page = &op->upload_page;
	struct s3_part *part = page->parts ? &page->parts[page->part_count] : NULL;
	uint64_t value;

	if (e->depth == 3 && part && page->part_count < S3_LIST_ENTRIES_MAX)
		return part_field(op, part, e);
	if (e->depth != 2)
		return 0;
	if (!strcmp(e->name, "Part") && part->number > 0 && part->etag && part->size != UINT64_MAX)
		page->part_count++;
	else if (!strcmp(e->name, "Part"))
		page->refused++;
	else if (!strcmp(e->name, "IsTruncated"))
		page->truncated = !strcmp(e->text, "true");
	else if (!strcmp(e->name, "NextPartNumberMarker") && text_parse_u64(e->text, &value) == 0 &&
		 value <= S3_PARTS_MAX)
		page->next_part = (unsigned)value;
	return 0;
}

static int parts_end(struct s3_op *op)
{
	const struct s3_upload_page *page = &op->upload_page;

	if (page->truncated && page->next_part <= op->part_marker)
		return fail_next(op);
	return 0;
}

const struct document_kind list_parts_document = {
    .root = "ListPartsResult",
    .start = parts_start,
    .element = parts_element,
    .end = parts_end,
};

/* ---- uploads ---- */

static int uploads_start(struct s3_op *op, unsigned depth, const char *name)
{
	struct s3_upload_page *page = &op->upload_page;

	if (depth != 2 || strcmp(name, "Upload") != 0)
		return 0;
	if (!page->uploads) {
		page->uploads =
		    arena_alloc(&op->parse->arena, S3_LIST_ENTRIES_MAX * sizeof(*page->uploads));
		if (!page->uploads)
			return -ENOMEM;
	}
	if (page->upload_count + page->refused >= S3_LIST_ENTRIES_MAX)
		return too_many(op);
	page->uploads[page->upload_count] = (struct s3_upload){0};
	return 0;
}

static int upload_field(struct s3_op *op, struct s3_upload *u, const struct document_element *e)
{
	if (!strcmp(e->name, "Initiated")) {
		if (text_parse_iso8601(e->text, &u->initiated) < 0)
			u->initiated = (struct timespec){0};
	} else if (!strcmp(e->name, "Key") && !e->bad && e->length > 0) {
		u->key = arena_copy(&op->parse->arena, e->text, e->length);
		u->key_length = e->length;
		return u->key ? 0 : -ENOMEM;
	} else if (!strcmp(e->name, "UploadId") && upload_id_is_valid(e)) {
		u->id = arena_copy(&op->parse->arena, e->text, e->length);
		return u->id ? 0 : -ENOMEM;
	}
	return 0;
}

static int page_field(struct s3_op *op, const struct document_element *e)
{
	struct s3_upload_page *page = &op->upload_page;

	if (!strcmp(e->name, "IsTruncated"))
		page->truncated = !strcmp(e->text, "true");
	else if (!strcmp(e->name, "EncodingType"))
		op->parse->url_encoded = !strcmp(e->text, "url");
	else if (!strcmp(e->name, "NextKeyMarker") && !e->bad && e->length > 0) {
		page->next_key = arena_copy(&op->parse->arena, e->text, e->length);
		page->next_key_length = e->length;
		return page->next_key ? 0 : -ENOMEM;
	} else if (!strcmp(e->name, "NextUploadIdMarker") && upload_id_is_valid(e)) {
		page->next_upload = arena_copy(&op->parse->arena, e->text, e->length);
		return page->next_upload ? 0 : -ENOMEM;
	}
	return 0;
}

static int uploads_element(struct s3_op *op, const struct document_element *e)
{
	struct s3_upload_page *page = &op->upload_page;
	struct s3_upload *upload = page->uploads ? &page->uploads[page->upload_count] : NULL;

	if (e->depth == 3 && upload && page->upload_count < S3_LIST_ENTRIES_MAX)
		return upload_field(op, upload, e);
	if (e->depth != 2)
		return 0;
	if (strcmp(e->name, "Upload") != 0)
		return page_field(op, e);
	if (upload->key && upload->id)
		page->upload_count++;
	else
		page->refused++;
	return 0;
}

/* In place: the memory is the arena's. False if it cannot be a key. */
static bool decode_key(const struct s3_op *op, const char *key, size_t *length)
{
	char *text = (char *)(uintptr_t)key;
	long n = (long)*length;

	if (op->parse->url_encoded)
		n = text_url_decode(text, *length, true, text);
	if (n <= 0 || n > S3_KEY_MAX)
		return false;
	text[n] = '\0';
	*length = (size_t)n;
	return true;
}

static bool is_same_place(const struct s3_op *op)
{
	const struct s3_upload_page *page = &op->upload_page;

	return op->key_marker && op->key_marker_length == page->next_key_length &&
	       !memcmp(op->key_marker, page->next_key, page->next_key_length) &&
	       !strcmp(op->upload_marker ?: "", page->next_upload ?: "");
}

static int uploads_end(struct s3_op *op)
{
	struct s3_upload_page *page = &op->upload_page;
	size_t kept = 0;

	for (size_t i = 0; i < page->upload_count; i++) {
		struct s3_upload *u = &page->uploads[i];

		if (decode_key(op, u->key, &u->key_length))
			page->uploads[kept++] = *u;
		else
			page->refused++;
	}
	page->upload_count = kept;
	if (!page->truncated)
		return 0;
	if (!page->next_key || !decode_key(op, page->next_key, &page->next_key_length) ||
	    is_same_place(op))
		return fail_next(op);
	return 0;
}

const struct document_kind list_uploads_document = {
    .root = "ListMultipartUploadsResult",
    .start = uploads_start,
    .element = uploads_element,
    .end = uploads_end,
};
