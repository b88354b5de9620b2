/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GetObject, HeadObject, PutObject, DeleteObject, GetObjectTagging: conditions, ranges, metadata.
 * Called by server.c when the request is complete; each fills the answer. HEAD takes the same way
 * as GET, its body is left out where the answer is sent.
 */
#include "op.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define METADATA_MAX_BYTES 2048

static const char *const kept_headers[] = {
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Expires",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
};

static const char *const storage_classes[] = {
    "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
    "GLACIER",	"DEEP_ARCHIVE",	      "GLACIER_IR",
};

void answer_missing(struct request *request, const char *code)
{
	bool may_list = request_may(request, request->bucket, "s3:ListBucket", request->bucket_name,
				    request->key);

	answer_error(request, may_list ? code : "AccessDenied");
}

/* The outcome of the four conditions: NULL, "PreconditionFailed" or "NotModified". */
const char *check_conditions(const struct request *request, const char *prefix,
			     const struct object *object)
{
	const char *value[4];
	static const char *const names[4] = {"if-match", "if-unmodified-since", "if-none-match",
					     "if-modified-since"};
	time_t modified = (time_t)(object->mtime_ms / 1000), date;

	for (int i = 0; i < 4; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s%s", prefix, names[i]);
		value[i] = request_header(request, name);
	}
	if (value[0] != NULL && !etag_matches(value[0], object->etag))
		return "PreconditionFailed";
	if (value[0] == NULL && value[1] != NULL) {
		date = http_date_parse(value[1]);
		if (date >= 0 && modified > date)
			return "PreconditionFailed";
	}
	if (value[2] != NULL && etag_matches(value[2], object->etag))
		return "NotModified";
	if (value[2] == NULL && value[3] != NULL) {
		date = http_date_parse(value[3]);
		if (date >= 0 && modified <= date)
			return "NotModified";
	}
	return NULL;
}

int parse_range(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_length)
{
	uint64_t first, last;
	const char *dash;
	char number[32];

	if (text == NULL || strncmp(text, "bytes=", 6) != 0 || strchr(text, ',') != NULL)
		return 0;
	text += 6;
	dash = strchr(text, '-');
	if (dash == NULL || (size_t)(dash - text) >= sizeof(number))
		return 0;
	snprintf(number, sizeof(number), "%.*s", (int)(dash - text), text);
	if (dash == text) {
		if (!parse_u64(dash + 1, &last))
			return 0;
		if (last == 0 || size == 0)
			return -ERANGE;
		*ret_first = last < size ? size - last : 0;
		*ret_length = size - *ret_first;
		return 1;
	}
	if (!parse_u64(number, &first))
		return 0;
	last = UINT64_MAX;
	if (dash[1] != '\0' && (!parse_u64(dash + 1, &last) || last < first))
		return 0;
	if (first >= size)
		return -ERANGE;
	*ret_first = first;
	*ret_length = (last < size - 1 ? last : size - 1) - first + 1;
	return 1;
}

/* The range of ?partNumber=N; 1, 0 (none asked), -ERANGE. */
static int part_range(const struct request *request, const struct object *object,
		      uint64_t *ret_first, uint64_t *ret_length)
{
	const char *text = request_query(request, "partNumber");
	uint64_t number, first = 0;

	if (text == NULL)
		return 0;
	if (!parse_u64(text, &number) || number == 0)
		return -ERANGE;
	if (object->part_count == 0) {
		*ret_first = 0;
		*ret_length = object->size;
		return number == 1 ? 1 : -ERANGE;
	}
	if (number > object->part_count)
		return -ERANGE;
	for (uint64_t i = 0; i + 1 < number; i++)
		first += object->part_bytes[i];
	*ret_first = first;
	*ret_length = object->part_bytes[number - 1];
	return 1;
}

static bool is_archived(const struct object *object)
{
	const char *class = fields_get(&object->headers, "x-amz-storage-class");

	return class != NULL &&
	       (strcmp(class, "GLACIER") == 0 || strcmp(class, "DEEP_ARCHIVE") == 0);
}

static void add_overrides(struct request *request)
{
	static const char *const names[][2] = {
	    {"response-content-type", "Content-Type"},
	    {"response-content-language", "Content-Language"},
	    {"response-expires", "Expires"},
	    {"response-cache-control", "Cache-Control"},
	    {"response-content-disposition", "Content-Disposition"},
	    {"response-content-encoding", "Content-Encoding"},
	};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *value = request_query(request, names[i][0]);

		if (value != NULL)
			fields_set(&request->answer.headers, names[i][1], value);
	}
}

static unsigned tag_count(const char *tagging)
{
	unsigned count = 1;

	for (; *tagging != '\0'; tagging++)
		count += *tagging == '&';
	return count;
}

static void add_object_headers(struct request *request, const struct object *object, bool whole)
{
	struct fields *headers = &request->answer.headers;
	const char *mode = request_header(request, "x-amz-checksum-mode");
	char text[ETAG_SIZE + 2];

	for (size_t i = 0; i < object->headers.count; i++) {
		const struct field *field = &object->headers.v[i];

		if (strcasecmp(field->name, "x-amz-tagging") != 0) {
			fields_add(headers, field->name, field->value);
			continue;
		}
		snprintf(text, sizeof(text), "%u", tag_count(field->value));
		fields_add(headers, "x-amz-tagging-count", text);
	}
	snprintf(text, sizeof(text), "\"%s\"", object->etag);
	fields_add(headers, "ETag", text);
	http_date((time_t)(object->mtime_ms / 1000), text);
	fields_add(headers, "Last-Modified", text);
	fields_add(headers, "Accept-Ranges", "bytes");
	if (mode != NULL && strcasecmp(mode, "ENABLED") == 0 && whole &&
	    !request->dialect->no_checksums)
		fields_copy(headers, &object->checksums);
	if (request_query(request, "partNumber") != NULL && object->part_count > 0) {
		snprintf(text, sizeof(text), "%zu", object->part_count);
		fields_add(headers, "x-amz-mp-parts-count", text);
	}
	add_overrides(request);
}

/* The answer for an object that may be read; consumes its reference. */
static void answer_object(struct request *request, struct object *object)
{
	const char *range = request_header(request, "Range");
	uint64_t first = 0, length = object->size;
	char text[80];
	int ranged;

	if (request->fault != NULL && request->fault->ignore_range)
		range = NULL;
	ranged = part_range(request, object, &first, &length);
	if (ranged == 0)
		ranged = parse_range(range, object->size, &first, &length);
	if (ranged < 0) {
		struct buf elements = {0};

		xml_number(&elements, "ActualObjectSize", object->size);
		answer_error_detail(request, "InvalidRange", NULL, elements.data);
		snprintf(text, sizeof(text), "bytes */%" PRIu64, object->size);
		fields_add(&request->answer.headers, "Content-Range", text);
		buf_finish(&elements);
		object_unref(object);
		return;
	}
	answer_status(request, ranged > 0 ? 206 : 200);
	add_object_headers(request, object, length == object->size);
	if (ranged > 0) {
		snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
			 first + length - 1, object->size);
		fields_add(&request->answer.headers, "Content-Range", text);
	}
	request->answer.object = object;
	request->answer.first = first;
	request->answer.length = length;
}

void op_get_object(struct request *request)
{
	struct object *object =
	    store_get(request->s3d->store, request->bucket, request->key, request->key_len);
	const char *wrong;

	if (object == NULL) {
		answer_missing(request, "NoSuchKey");
		return;
	}
	wrong = check_conditions(request, "", object);
	if (wrong == NULL && request->op == OP_GET_OBJECT && is_archived(object))
		wrong = "InvalidObjectState";
	if (wrong == NULL) {
		answer_object(request, object);
		return;
	}
	answer_error(request, wrong);
	if (strcmp(wrong, "NotModified") == 0) {
		fields_finish(&request->answer.headers);
		add_object_headers(request, object, false);
	}
	object_unref(object);
}

/* Copies the headers that S3 keeps; an error code or NULL. */
const char *keep_headers(const struct request *request, struct object *object)
{
	const char *class = request_header(request, "x-amz-storage-class");
	const char *tagging = request_header(request, "x-amz-tagging");
	size_t metadata = 0;
	bool known = class == NULL;

	for (size_t i = 0; i < request->header_count; i++) {
		const struct auth_header *h = &request->headers[i];

		if (strncasecmp(h->name, "x-amz-meta-", 11) == 0) {
			fields_add(&object->headers, h->name, h->value);
			metadata += strlen(h->name) - 11 + strlen(h->value);
		}
		if (strncasecmp(h->name, "x-amz-server-side-encryption-customer", 37) == 0)
			return "NotImplemented";
	}
	for (size_t i = 0; i < COUNT_OF(kept_headers); i++) {
		const char *value = request_header(request, kept_headers[i]);

		if (value != NULL && strcasecmp(value, "aws-chunked") == 0)
			continue;
		if (value != NULL && strncasecmp(value, "aws-chunked,", 12) == 0)
			value += 12;
		if (value != NULL)
			fields_add(&object->headers, kept_headers[i], value);
	}
	if (fields_get(&object->headers, "Content-Type") == NULL)
		fields_add(&object->headers, "Content-Type", "binary/octet-stream");
	for (size_t i = 0; class != NULL && i < COUNT_OF(storage_classes); i++)
		known = known || strcmp(class, storage_classes[i]) == 0;
	if (class != NULL && strcmp(class, "STANDARD") != 0)
		fields_add(&object->headers, "x-amz-storage-class", class);
	if (tagging != NULL)
		fields_add(&object->headers, "x-amz-tagging", tagging);
	if (!known)
		return "InvalidStorageClass";
	return metadata > METADATA_MAX_BYTES ? "MetadataTooLarge" : NULL;
}

bool may_tag(struct request *request)
{
	CLEANUP(cleanup_free) char *resource = request_resource(request);

	if (request_header(request, "x-amz-tagging") == NULL ||
	    request_may(request, request->bucket, "s3:PutObjectTagging", resource, NULL))
		return true;
	answer_error(request, "AccessDenied");
	return false;
}

bool read_precondition(struct request *request, struct precondition *ret)
{
	const char *none_match = request_header(request, "If-None-Match");

	*ret = (struct precondition){
	    .if_match = request_header(request, "If-Match"),
	    .if_none_match = none_match != NULL,
	    .quotes_refused = request->dialect->quoted_if_match_fails,
	    .existed = request->existed,
	};
	if (request->dialect->put_conditions_only && request->op != OP_PUT_OBJECT) {
		*ret = (struct precondition){0};
		return true;
	}
	if (none_match != NULL && (strcmp(none_match, "*") != 0 || ret->if_match != NULL)) {
		answer_error(request, "NotImplemented");
		return false;
	}
	return true;
}

void answer_put_error(struct request *request, int err)
{
	const char *code = error_code_of(err);
	struct buf elements = {0};

	buf_puts(&elements, "");
	if (err == -EEXIST)
		xml_element(&elements, "Condition", "If-None-Match");
	if (err == -ESTALE)
		xml_element(&elements, "Condition", "If-Match");
	answer_error_detail(request, code, NULL, elements.data);
	buf_finish(&elements);
}

void op_put_object(struct request *request)
{
	struct object *object = object_create(request->key, request->key_len);
	const char *wrong = keep_headers(request, object);
	const char *encryption;
	struct precondition pre;
	char text[ETAG_SIZE + 2];
	int err;

	if (wrong != NULL)
		answer_error(request, wrong);
	if (wrong != NULL || !may_tag(request) || !read_precondition(request, &pre)) {
		object_unref(object);
		return;
	}
	intake_take(request->intake, object);
	object_ref(object);
	err = store_put(request->s3d->store, request->bucket, object, &pre);
	if (err != 0) {
		answer_put_error(request, err);
	} else {
		answer_status(request, 200);
		snprintf(text, sizeof(text), "\"%s\"", object->etag);
		fields_add(&request->answer.headers, "ETag", text);
		fields_copy(&request->answer.headers, &object->checksums);
		encryption = fields_get(&object->headers, "x-amz-server-side-encryption");
		if (encryption != NULL)
			fields_add(&request->answer.headers, "x-amz-server-side-encryption",
				   encryption);
	}
	object_unref(object);
}

void op_delete_object(struct request *request)
{
	const char *if_match = request_header(request, "If-Match");
	int err;

	if (request->dialect->put_conditions_only)
		if_match = NULL;
	err = store_delete(request->s3d->store, request->bucket, request->key, request->key_len,
			   if_match);
	if (err != 0)
		answer_put_error(request, err);
	else
		answer_status(request, 204);
}

void op_get_object_tagging(struct request *request)
{
	struct object *object =
	    store_get(request->s3d->store, request->bucket, request->key, request->key_len);
	CLEANUP(cleanup_free) char *tags = NULL;
	struct buf *b;
	char *rest;

	if (object == NULL) {
		answer_missing(request, "NoSuchKey");
		return;
	}
	if (fields_get(&object->headers, "x-amz-tagging") != NULL)
		tags = xstrdup(fields_get(&object->headers, "x-amz-tagging"));
	object_unref(object);
	b = answer_xml(request);
	buf_puts(b, "<Tagging xmlns=\"" S3_NAMESPACE "\"><TagSet>");
	for (rest = tags; rest != NULL && *rest != '\0';) {
		char *key = strsep(&rest, "&");
		char *value = strchr(key, '=');

		if (value != NULL)
			*value++ = '\0';
		url_decode(key, true);
		if (value != NULL)
			url_decode(value, true);
		buf_puts(b, "<Tag>");
		xml_element(b, "Key", key);
		xml_element(b, "Value", value != NULL ? value : "");
		buf_puts(b, "</Tag>");
	}
	buf_puts(b, "</TagSet></Tagging>");
}
