/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object or part in one request. Builders on the sender's thread, put_answer on the loop's.
 *
 * The body itself goes to http/ by s3_op_body; here are the headers that vouch for it: the payload
 * hash is part of the signature (request.c), the CRC32C a header of its own, which S3 compares and
 * answers. An answer without an ETag is none: nobody could name the part, or the version, later.
 */
#include "put.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attributes.h"
#include "checksum.h"
#include "parse.h"

void put_conditions(const struct s3_op *op, struct request *r)
{
	const char *etag = op->if_match;
	size_t n = strlen(etag);

	if (op->if_none_match_any && etag[0]) {
		request_fail(r, -EINVAL);
		return;
	}
	if (op->if_none_match_any)
		request_header(r, "If-None-Match", "*");
	if (r->target->bare_etags && n >= 2 && etag[0] == '"' && etag[n - 1] == '"')
		request_header(r, "If-Match", "%.*s", (int)(n - 2), etag + 1);
	else if (etag[0])
		request_header(r, "If-Match", "%s", etag);
}

void put_upload_query(const struct s3_op *op, unsigned part_number, struct request *r)
{
	char number[12];

	if (!op->upload_id || !op->upload_id[0]) {
		request_fail(r, -EINVAL);
		return;
	}
	if (part_number > 0) {
		snprintf(number, sizeof(number), "%u", part_number);
		request_query(r, "partNumber", number, strlen(number));
	}
	request_query(r, "uploadId", op->upload_id, strlen(op->upload_id));
}

static int build_body(const struct s3_op *op, struct request *r)
{
	const struct s3_body *body = &op->body;
	char crc[CHECKSUM_TEXT_BYTES];

	if (body->length > 0 && !body->sha256[0] && !r->target->unsigned_payload)
		return -EINVAL;
	if (body->has_crc32c && request_uses(r, r->target->checksum_crc32c, S3_FEATURE_CHECKSUM))
		request_header(r, "x-amz-checksum-crc32c", "%s", checksum_text(body->crc32c, crc));
	return 0;
}

int put_object_build(struct s3_op *op, struct request *r)
{
	put_conditions(op, r);
	attributes_build(op, r);
	return build_body(op, r);
}

int put_part_build(struct s3_op *op, struct request *r)
{
	if (op->part_number < 1 || op->part_number > S3_PARTS_MAX)
		return -EINVAL;
	put_upload_query(op, op->part_number, r);
	return build_body(op, r);
}

int delete_object_build(struct s3_op *op, struct request *r)
{
	put_conditions(op, r);
	return 0;
}

void put_take_etag(struct s3_op *op, const char *etag)
{
	size_t n = strlen(etag);
	bool bare = etag[0] != '"'; /* in the documents of some servers (RGW 16.2) */

	op->object.etag[0] = '\0';
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)etag[i] < 0x20 || etag[i] == 0x7f)
			return;
	if (n > 0 && n + 2 < sizeof(op->object.etag) && strcmp(etag, "\"\"") != 0)
		snprintf(op->object.etag, sizeof(op->object.etag), bare ? "\"%s\"" : "%s", etag);
}

int put_answer(struct s3_op *op, const struct http_answer *answer)
{
	const char *etag = http_answer_header(answer, "etag");
	uint32_t crc;

	put_take_etag(op, etag ?: "");
	if (!op->object.etag[0])
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "", "the answer has no usable ETag");
	if (checksum_parse(http_answer_header(answer, "x-amz-checksum-crc32c"), &crc) < 0 ||
	    !(op->sent_features & S3_FEATURE_CHECKSUM))
		return 0;
	if (crc != op->body.crc32c)
		return op_fail(op, -EIO, S3_RETRY_BACKOFF, "",
			       "the server stored something else: its CRC32C differs");
	op->crc32c = crc;
	op->has_crc32c = true;
	return 0;
}
