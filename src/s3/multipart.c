/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests around the parts of an upload: create it, complete it, abort it. Builders on the
 * sender's thread, readers on the loop's. The pages that list parts and uploads: uploads.c.
 *
 * Complete's document is built once and kept for repeats (op->parse->text). It is refused here
 * unless every part has an ETag and the numbers ascend: an object of other parts than the caller
 * means must not come to be. With x-amz-mp-object-size the server counts the bytes once more.
 */
#include "multipart.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "attributes.h"
#include "checksum.h"
#include "copy.h"
#include "parse.h"
#include "put.h"
#include "xml_text.h"

int create_build(struct s3_op *op, struct request *r)
{
	request_query(r, "uploads", NULL, 0);
	attributes_build(op, r);
	if (request_uses(r, r->target->checksum_crc32c, S3_FEATURE_CHECKSUM))
		request_header(r, "x-amz-checksum-algorithm", "CRC32C");
	return 0;
}

void create_answer(struct s3_op *op, const struct http_answer *answer)
{
	const char *algorithm = http_answer_header(answer, "x-amz-checksum-algorithm");

	op->has_crc32c = algorithm && !strcmp(algorithm, "CRC32C");
}

/* The id goes into every later URL and into journals: printable, and of S3's length. */
static int create_element(struct s3_op *op, const struct document_element *e)
{
	if (e->depth != 2 || strcmp(e->name, "UploadId") != 0 || !upload_id_is_valid(e))
		return 0;
	op->created_id = arena_copy(&op->parse->arena, e->text, e->length);
	return op->created_id ? 0 : -ENOMEM;
}

static int create_end(struct s3_op *op)
{
	if (op->created_id)
		return 0;
	return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "the answer has no usable UploadId");
}

const struct document_kind create_document = {
    .root = "InitiateMultipartUploadResult",
    .element = create_element,
    .end = create_end,
};

bool upload_id_is_valid(const struct document_element *e)
{
	for (size_t i = 0; i < e->length; i++)
		if (e->text[i] <= ' ' || e->text[i] >= 0x7f)
			return false;
	return e->length > 0 && e->length <= S3_UPLOAD_ID_MAX && !e->bad;
}

static int add_part(struct buf *xml, const struct s3_part *part)
{
	char crc[CHECKSUM_TEXT_BYTES];
	int r;

	r = buf_printf(xml, "<Part><PartNumber>%u</PartNumber><ETag>", part->number);
	r = r ?: xml_text_append(xml, part->etag, strlen(part->etag));
	r = r ?: buf_append_str(xml, "</ETag>");
	if (part->has_crc32c)
		r = r
			?: buf_printf(xml, "<ChecksumCRC32C>%s</ChecksumCRC32C>",
				      checksum_text(part->crc32c, crc));
	return r ?: buf_append_str(xml, "</Part>");
}

static int add_parts(const struct s3_op *op, struct buf *xml)
{
	unsigned last = 0;
	int r = buf_append_str(xml, "<CompleteMultipartUpload xmlns=\"" S3_NAMESPACE "\">");

	for (unsigned i = 0; i < op->part_count && r == 0; i++) {
		const struct s3_part *part = &op->parts[i];

		if (part->number <= last || part->number > S3_PARTS_MAX || !part->etag ||
		    !part->etag[0])
			return -EINVAL;
		last = part->number;
		r = add_part(xml, part);
	}
	return r ?: buf_append_str(xml, "</CompleteMultipartUpload>");
}

/* UINT64_MAX: more than that. */
static uint64_t total_bytes(const struct s3_op *op)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < op->part_count; i++)
		if (__builtin_add_overflow(sum, op->parts[i].size, &sum))
			return UINT64_MAX;
	return sum;
}

int complete_build(struct s3_op *op, struct request *r)
{
	struct buf *xml = &op->parse->text;
	int err = 0;

	if (op->part_count == 0 || total_bytes(op) == UINT64_MAX)
		return -EINVAL;
	if (xml->length == 0)
		err = add_parts(op, xml);
	if (err < 0)
		return err;
	put_upload_query(op, 0, r);
	put_conditions(op, r);
	request_header(r, "Content-Type", "application/xml");
	if (request_uses(r, r->target->mp_object_size, S3_FEATURE_OBJECT_SIZE))
		request_header(r, "x-amz-mp-object-size", "%" PRIu64, total_bytes(op));
	return 0;
}

const struct document_kind complete_document = {
    .root = "CompleteMultipartUploadResult",
    .element = copy_result_element,
    .end = copy_result_end,
};

int abort_build(struct s3_op *op, struct request *r)
{
	put_upload_query(op, 0, r);
	return 0;
}
