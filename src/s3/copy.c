/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies inside the bucket: the server moves the bytes. Builders on the sender's thread, the reader
 * on the loop's. The source is named by an encoded header, so its key may hold any byte; that it is
 * still the version that was meant, x-amz-copy-source-if-match holds.
 *
 * Left out: sources in other buckets, versions, the other conditions on the source.
 */
#include "copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#include "attributes.h"
#include "checksum.h"
#include "parse.h"
#include "put.h"

static int build_source(const struct s3_op *op, struct request *r)
{
	const struct s3_copy *c = &op->copy;
	CLEANUP(free) char *key = NULL;

	if (!c->key || c->key_length == 0)
		return -EINVAL;
	if (c->key_length > S3_KEY_MAX)
		return -ENAMETOOLONG;
	key = malloc(text_url_encoded_length(c->key, c->key_length, true) + 1);
	if (!key)
		return -ENOMEM;
	text_url_encode(c->key, c->key_length, true, key);
	request_header(r, "x-amz-copy-source", "/%s/%s", r->target->bucket, key);
	if (c->if_match[0])
		request_header(r, "x-amz-copy-source-if-match", "%s", c->if_match);
	return 0;
}

int copy_object_build(struct s3_op *op, struct request *r)
{
	put_conditions(op, r);
	attributes_build_copy(op, r);
	return build_source(op, r);
}

int copy_part_build(struct s3_op *op, struct request *r)
{
	const struct s3_copy *c = &op->copy;

	if (op->part_number < 1 || op->part_number > S3_PARTS_MAX ||
	    (c->length > 0 && c->length - 1 > UINT64_MAX - c->offset))
		return -EINVAL;
	put_upload_query(op, op->part_number, r);
	if (c->length > 0)
		request_header(r, "x-amz-copy-source-range", "bytes=%" PRIu64 "-%" PRIu64,
			       c->offset, c->offset + c->length - 1);
	return build_source(op, r);
}

int copy_result_element(struct s3_op *op, const struct document_element *e)
{
	if (e->depth != 2 || e->bad)
		return 0;
	if (!strcmp(e->name, "ETag"))
		put_take_etag(op, e->text);
	else if (!strcmp(e->name, "ChecksumCRC32C"))
		op->has_crc32c = checksum_parse(e->text, &op->crc32c) == 0;
	return 0;
}

int copy_result_end(struct s3_op *op)
{
	if (op->object.etag[0])
		return 0;
	return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "the answer has no usable ETag");
}

const struct document_kind copy_object_document = {
    .root = "CopyObjectResult",
    .element = copy_result_element,
    .end = copy_result_end,
};

const struct document_kind copy_part_document = {
    .root = "CopyPartResult",
    .element = copy_result_element,
    .end = copy_result_end,
};
