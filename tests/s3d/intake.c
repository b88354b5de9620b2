/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a request: decoded from aws-chunked where it is, summed by every algorithm that a
 * header or the ETag needs, and put into memory, a blob, or nowhere. One thread at a time. With
 * body hashes switched off (benchmarks) the payload hash is not verified and the ETag is random,
 * as one of an encrypted object is; what the client adds by header is verified all the same.
 */
#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TEXT_MAX_BYTES (2ull << 20)
#define ADMIN_MAX_BYTES (1ull << 30)
#define PUT_MAX_BYTES (5ull << 30)

struct intake {
	struct request *request;
	enum body_kind kind;
	uint64_t max, received; /* of the decoded body */
	struct buf text;
	struct blob *blob;
	int fd;
	struct auth_stream *stream; /* aws-chunked only */
	struct checksums *sums;
	unsigned wanted;
	bool verify_payload, random_etag;
	int err;	       /* the first error */
	struct fields digests; /* x-amz-checksum-* as claimed by header or trailer */
	char md5[33];	       /* Content-MD5 as hex, or "" */
};

static bool is_streaming(const struct auth_result *auth)
{
	return !auth->anonymous && auth->payload >= AUTH_PAYLOAD_STREAM_SIGNED;
}

/* Content-MD5 and x-amz-checksum-* of the headers; false for a malformed one. */
static bool read_digest_headers(struct intake *intake)
{
	const struct request *request = intake->request;
	const char *md5 = request_header(request, "Content-MD5");
	const char *trailer = request_header(request, "x-amz-trailer");
	unsigned char raw[CHECKSUM_MAX_BYTES];

	if (md5 != NULL) {
		if (base64_decode(md5, raw, sizeof(raw)) != 16)
			return false;
		hex_encode(raw, 16, intake->md5);
		intake->wanted |= CHECKSUM_BIT(CHECKSUM_MD5);
	}
	if (request->dialect->no_checksums)
		return true;
	if (trailer != NULL && checksum_by_header(trailer) >= 0)
		intake->wanted |= CHECKSUM_BIT(checksum_by_header(trailer));
	for (size_t i = 0; i < request->header_count; i++) {
		int algorithm = checksum_by_header(request->headers[i].name);

		if (algorithm < 0)
			continue;
		if (base64_decode(request->headers[i].value, raw, sizeof(raw)) !=
		    (int)checksum_table[algorithm].bytes)
			return false;
		intake->wanted |= CHECKSUM_BIT(algorithm);
		fields_set(&intake->digests, checksum_table[algorithm].header,
			   request->headers[i].value);
	}
	return true;
}

/* The length of the decoded body; false when none was announced. */
static bool announced_length(const struct request *request, uint64_t *ret)
{
	const char *decoded = request_header(request, "x-amz-decoded-content-length");

	if (is_streaming(&request->auth))
		return parse_u64(decoded, ret);
	*ret = request->content_length;
	return request->has_length;
}

static void prepare_sums(struct intake *intake)
{
	const struct request *request = intake->request;
	const char *encryption = request_header(request, "x-amz-server-side-encryption");
	bool hash = request->s3d->settings.body_hash;
	bool kms = encryption != NULL && strncmp(encryption, "aws:kms", 7) == 0;

	intake->verify_payload = hash && !request->auth.anonymous && request->op != OP_ADMIN &&
				 request->auth.payload == AUTH_PAYLOAD_HASH;
	intake->random_etag = kms || (!hash && intake->md5[0] == '\0');
	if (intake->verify_payload)
		intake->wanted |= CHECKSUM_BIT(CHECKSUM_SHA256);
	if (intake->kind == BODY_BLOB && !intake->random_etag)
		intake->wanted |= CHECKSUM_BIT(CHECKSUM_MD5);
	intake->sums = checksums_create(intake->wanted);
}

struct intake *intake_create(struct request *request)
{
	struct intake *intake = xcalloc(1, sizeof(*intake));
	const char *wrong = NULL;
	uint64_t length = 0;

	intake->request = request;
	intake->kind = request->row->body;
	intake->fd = -1;
	intake->max = request->op == OP_ADMIN	  ? ADMIN_MAX_BYTES
		      : intake->kind == BODY_TEXT ? TEXT_MAX_BYTES
						  : PUT_MAX_BYTES;
	if (!read_digest_headers(intake))
		wrong = "InvalidDigest";
	else if (!announced_length(request, &length) && intake->kind == BODY_BLOB)
		wrong = "MissingContentLength";
	else if (length > intake->max)
		wrong = "EntityTooLarge";
	if (wrong == NULL && is_streaming(&request->auth)) {
		intake->stream = auth_stream_create(&request->auth, length);
		if (intake->stream == NULL)
			wrong = "InternalError";
	}
	if (wrong == NULL && intake->kind == BODY_BLOB) {
		intake->blob = blob_create(store_blobs(request->s3d->store), &intake->fd);
		if (intake->blob == NULL)
			wrong = "InternalError";
	}
	if (wrong != NULL) {
		answer_error(request, wrong);
		intake_destroy(intake);
		return NULL;
	}
	prepare_sums(intake);
	return intake;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t put = write(fd, p, len);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0) {
			p += put;
			len -= (size_t)put;
		}
	}
	return 0;
}

/* The next decoded bytes; also auth_stream_feed()'s callback. */
static int take_bytes(void *ctx, const void *bytes, size_t len)
{
	struct intake *intake = ctx;

	intake->received += len;
	if (intake->received > intake->max)
		return -EFBIG;
	checksums_update(intake->sums, bytes, len);
	if (intake->kind == BODY_TEXT)
		buf_add(&intake->text, bytes, len);
	if (intake->kind == BODY_BLOB)
		return write_all(intake->fd, bytes, len);
	return 0;
}

void intake_feed(struct intake *intake, const void *bytes, size_t len)
{
	if (intake->err != 0)
		return;
	if (intake->stream != NULL)
		intake->err = auth_stream_feed(intake->stream, bytes, len, take_bytes, intake);
	else
		intake->err = take_bytes(intake, bytes, len);
}

/* Ends an aws-chunked body and takes the checksum of its trailer. */
static void end_stream(struct intake *intake)
{
	char name[64] = "", value[128] = "";

	intake->err = auth_stream_end(intake->stream, name, value);
	if (intake->err == 0 && checksum_by_header(name) >= 0 &&
	    !intake->request->dialect->no_checksums)
		fields_set(&intake->digests, checksum_table[checksum_by_header(name)].header,
			   value);
}

/* The first sum that is not what was claimed, as an error code, or NULL. */
static const char *compare_sums(struct intake *intake)
{
	unsigned char sum[CHECKSUM_MAX_BYTES];
	char text[2 * CHECKSUM_MAX_BYTES + 1];

	if (intake->verify_payload) {
		checksums_get(intake->sums, CHECKSUM_SHA256, sum);
		hex_encode(sum, 32, text);
		if (strcmp(text, intake->request->auth.payload_sha256) != 0)
			return "XAmzContentSHA256Mismatch";
	}
	if (intake->md5[0] != '\0') {
		checksums_get(intake->sums, CHECKSUM_MD5, sum);
		hex_encode(sum, 16, text);
		if (strcmp(text, intake->md5) != 0)
			return "BadDigest";
	}
	for (size_t i = 0; i < intake->digests.count; i++) {
		int algorithm = checksum_by_header(intake->digests.v[i].name);

		if ((intake->wanted & CHECKSUM_BIT(algorithm)) == 0)
			return "InvalidRequest"; /* a trailer that was not announced */
		checksums_get(intake->sums, (enum checksum)algorithm, sum);
		base64_encode(sum, checksum_table[algorithm].bytes, text);
		if (strcmp(text, intake->digests.v[i].value) != 0)
			return "BadDigest";
	}
	return NULL;
}

bool intake_end(struct intake *intake)
{
	const char *wrong = NULL;

	if (intake->err == 0 && intake->stream != NULL)
		end_stream(intake);
	if (intake->err == -EBADMSG)
		wrong = "SignatureDoesNotMatch";
	else if (intake->err == -EFBIG)
		wrong = "EntityTooLarge";
	else if (intake->err != 0)
		wrong = "InternalError";
	else
		wrong = compare_sums(intake);
	if (wrong != NULL)
		answer_error(intake->request, wrong);
	return wrong == NULL;
}

void intake_destroy(struct intake *intake)
{
	if (intake == NULL)
		return;
	if (intake->fd >= 0)
		close(intake->fd);
	blob_unref(intake->blob);
	auth_stream_destroy(intake->stream);
	checksums_destroy(intake->sums);
	fields_finish(&intake->digests);
	buf_finish(&intake->text);
	free(intake);
}

const struct buf *intake_text(const struct intake *intake)
{
	return &intake->text;
}

void intake_take(struct intake *intake, struct object *object)
{
	unsigned char sum[CHECKSUM_MAX_BYTES];

	if (intake->random_etag) {
		random_hex(object->etag, 16);
	} else {
		checksums_get(intake->sums, CHECKSUM_MD5, sum);
		hex_encode(sum, 16, object->etag);
	}
	fields_copy(&object->checksums, &intake->digests);
	object_add_slice(
	    object,
	    (struct slice){.kind = SLICE_BLOB, .blob = intake->blob, .length = intake->received});
	intake->blob = NULL;
}

bool intake_has_digest(const struct intake *intake)
{
	return intake->md5[0] != '\0' || intake->digests.count > 0;
}
