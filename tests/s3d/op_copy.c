/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CopyObject and UploadPartCopy. No byte is moved: the new object shares the slices of its source.
 * The source is read under the caller's right to GetObject there.
 */
#include "op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RANGE_SOURCE_MIN_BYTES (5ull << 20)

/* What x-amz-copy-source names. */
struct source {
	char *bucket_name, *key; /* one allocation, bucket_name */
	size_t key_len;
	struct bucket *bucket;
	struct object *object; /* a reference */
};

static void source_finish(struct source *source)
{
	free(source->bucket_name);
	object_unref(source->object);
}

/* Splits "/bucket/key" (percent-encoded); false for anything else. */
static bool source_parse(struct source *source, const char *header)
{
	char *slash;
	int len;

	source->bucket_name = xstrdup(*header == '/' ? header + 1 : header);
	source->bucket_name[strcspn(source->bucket_name, "?")] = '\0';
	slash = strchr(source->bucket_name, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	source->key = slash + 1;
	len = url_decode(source->key, false);
	source->key_len = len > 0 ? (size_t)len : 0;
	return len > 0;
}

/* Finds the source and checks rights and conditions; false with the answer filled. */
static bool source_open(struct request *request, struct source *source)
{
	const char *header = request_header(request, "x-amz-copy-source");
	struct store *store = request->s3d->store;
	struct buf resource = {0};
	const char *wrong = NULL;

	if (!source_parse(source, header)) {
		answer_error_detail(request, "InvalidArgument",
				    "Copy Source must mention the source bucket and key", "");
		return false;
	}
	buf_printf(&resource, "%s/%s", source->bucket_name, source->key);
	source->bucket = store_bucket(store, source->bucket_name);
	if (source->bucket == NULL)
		wrong = "NoSuchBucket";
	else if (!request_may(request, source->bucket, "s3:GetObject", resource.data, NULL))
		wrong = "AccessDenied";
	else
		source->object = store_get(store, source->bucket, source->key, source->key_len);
	buf_finish(&resource);
	if (wrong == NULL && source->object == NULL)
		wrong = "NoSuchKey";
	if (wrong == NULL)
		wrong = check_conditions(request, "x-amz-copy-source-", source->object);
	if (wrong != NULL && strcmp(wrong, "NotModified") == 0)
		wrong = "PreconditionFailed"; /* a copy has no 304 */
	if (wrong != NULL)
		answer_error(request, wrong);
	return wrong == NULL;
}

static bool directive_is(const struct request *request, const char *name, const char *value)
{
	const char *given = request_header(request, name);

	return given != NULL && strcasecmp(given, value) == 0;
}

/* The headers of the copy: the source's, or those of the request; an error code or NULL. */
static const char *copy_headers(struct request *request, const struct object *from,
				struct object *to)
{
	const char *source_tags = fields_get(&from->headers, "x-amz-tagging");
	const char *own_class = request_header(request, "x-amz-storage-class");
	const char *wrong;

	wrong = keep_headers(request, to);
	if (wrong != NULL)
		return wrong;
	if (!directive_is(request, "x-amz-metadata-directive", "REPLACE")) {
		fields_finish(&to->headers);
		fields_copy(&to->headers, &from->headers);
		fields_remove(&to->headers, "x-amz-storage-class");
		if (own_class != NULL && strcmp(own_class, "STANDARD") != 0)
			fields_add(&to->headers, "x-amz-storage-class", own_class);
	}
	if (directive_is(request, "x-amz-tagging-directive", "REPLACE")) {
		const char *tags = request_header(request, "x-amz-tagging");

		fields_remove(&to->headers, "x-amz-tagging");
		if (tags != NULL)
			fields_add(&to->headers, "x-amz-tagging", tags);
	} else {
		fields_remove(&to->headers, "x-amz-tagging");
		if (source_tags != NULL)
			fields_add(&to->headers, "x-amz-tagging", source_tags);
	}
	return NULL;
}

/* The MD5 of a plain object stays; what was multipart gets another one, opaque to clients. */
static void copy_etag(const struct object *from, char to[ETAG_SIZE])
{
	struct buf b = {0};

	if (strchr(from->etag, '-') == NULL) {
		strcpy(to, from->etag);
		return;
	}
	buf_printf(&b, "copy of %s", from->etag);
	md5_hex(b.data, b.len, to);
	buf_finish(&b);
}

static const char *check_copy(const struct request *request, const struct source *source)
{
	bool same =
	    strcmp(source->bucket_name, request->bucket_name) == 0 &&
	    bytes_compare(source->key, source->key_len, request->key, request->key_len) == 0;

	if (source->object->size > COPY_MAX_BYTES)
		return "The specified copy source is larger than the maximum allowable size for a "
		       "copy source: 5368709120";
	if (same && !directive_is(request, "x-amz-metadata-directive", "REPLACE") &&
	    request_header(request, "x-amz-storage-class") == NULL &&
	    request_header(request, "x-amz-server-side-encryption") == NULL)
		return "This copy request is illegal because it is trying to copy an object to "
		       "itself without changing the object's metadata, storage class, website "
		       "redirect location or encryption attributes.";
	return NULL;
}

static void answer_copy(struct request *request, const char *root, const struct object *object)
{
	struct buf *b = answer_xml(request);

	buf_printf(b, "<%s xmlns=\"" S3_NAMESPACE "\">", root);
	xml_date(b, object->mtime_ms);
	xml_etag(b, object->etag);
	buf_printf(b, "</%s>", root);
}

void op_copy_object(struct request *request)
{
	struct object *object = NULL;
	struct source source = {0};
	struct precondition pre;
	const char *wrong;
	int err;

	if (!source_open(request, &source) || !may_tag(request) ||
	    !read_precondition(request, &pre))
		goto out;
	wrong = check_copy(request, &source);
	if (wrong != NULL) {
		answer_error_detail(request, "InvalidRequest", wrong, "");
		goto out;
	}
	object = object_create(request->key, request->key_len);
	wrong = copy_headers(request, source.object, object);
	if (wrong != NULL) {
		answer_error(request, wrong);
		goto out;
	}
	object_share(object, source.object, 0, source.object->size);
	fields_copy(&object->checksums, &source.object->checksums);
	copy_etag(source.object, object->etag);
	err = store_put(request->s3d->store, request->bucket, object_ref(object), &pre);
	if (err != 0)
		answer_put_error(request, err);
	else
		answer_copy(request, "CopyObjectResult", object);
out:
	object_unref(object);
	source_finish(&source);
}

/* The copied range; false with the answer filled. */
static bool copy_range(struct request *request, const struct object *from, uint64_t *ret_first,
		       uint64_t *ret_length)
{
	const char *range = request_header(request, "x-amz-copy-source-range");
	uint64_t last;
	char *dash;

	*ret_first = 0;
	*ret_length = from->size;
	if (range == NULL) {
		if (from->size <= PART_MAX_BYTES)
			return true;
	} else if (strncmp(range, "bytes=", 6) == 0) {
		CLEANUP(cleanup_free) char *first = xstrdup(range + 6);

		dash = strchr(first, '-');
		if (dash != NULL)
			*dash++ = '\0';
		if (dash != NULL && parse_u64(first, ret_first) && parse_u64(dash, &last) &&
		    *ret_first <= last && last < from->size &&
		    from->size > RANGE_SOURCE_MIN_BYTES &&
		    last - *ret_first + 1 <= PART_MAX_BYTES) {
			*ret_length = last - *ret_first + 1;
			return true;
		}
	}
	answer_error_detail(request, "InvalidRequest",
			    "The specified copy range is invalid for the source object size", "");
	return false;
}

void op_upload_part_copy(struct request *request)
{
	const char *id = request_query(request, "uploadId");
	struct source source = {0};
	uint64_t number, first, length;
	struct object *part, *model = NULL;
	struct buf rule = {0};
	int err;

	if (request->dialect->no_upload_part_copy) {
		answer_error(request, "NotImplemented");
		return;
	}
	if (!parse_u64(request_query(request, "partNumber"), &number) || number < 1 ||
	    number > PART_MAX) {
		answer_error(request, "InvalidArgument");
		return;
	}
	if (!source_open(request, &source) || !copy_range(request, source.object, &first, &length))
		goto out;
	model =
	    upload_model(request->s3d->store, request->bucket, request->key, request->key_len, id);
	if (model == NULL) {
		answer_error(request, "NoSuchUpload");
		goto out;
	}
	part = object_create(request->key, request->key_len);
	object_share(part, source.object, first, length);
	buf_printf(&rule, "part %s %llu %llu", source.object->etag, (unsigned long long)first,
		   (unsigned long long)length);
	md5_hex(rule.data, rule.len, part->etag);
	err = upload_put_part(request->s3d->store, request->bucket, id, (unsigned)number,
			      object_ref(part));
	if (err != 0)
		answer_error(request, err == -ENOENT ? "NoSuchUpload" : "InternalError");
	else
		answer_copy(request, "CopyPartResult", part);
	object_unref(part);
out:
	buf_finish(&rule);
	object_unref(model);
	source_finish(&source);
}
