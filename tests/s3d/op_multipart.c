/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, ListParts,
 * ListMultipartUploads: parameters and XML; the rules about parts are in upload.c.
 */
#include "op.h"
#include "xml_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX 1000

void op_create_upload(struct request *request)
{
	struct object *model = object_create(request->key, request->key_len);
	const char *algorithm = request_header(request, "x-amz-checksum-algorithm");
	const char *wrong = keep_headers(request, model);
	char id[UPLOAD_ID_SIZE];
	struct buf *b;

	if (wrong == NULL && algorithm != NULL && !request->dialect->no_checksums &&
	    checksum_by_name(algorithm) < 0)
		wrong = "InvalidRequest";
	if (wrong != NULL)
		answer_error(request, wrong);
	if (wrong != NULL || !may_tag(request)) {
		object_unref(model);
		return;
	}
	if (upload_create(request->s3d->store, request->bucket, model, id) != 0) {
		answer_error(request, "InternalError");
		return;
	}
	b = answer_xml(request);
	if (algorithm != NULL && !request->dialect->no_checksums)
		fields_add(&request->answer.headers, "x-amz-checksum-algorithm", algorithm);
	buf_puts(b, "<InitiateMultipartUploadResult xmlns=\"" S3_NAMESPACE "\">");
	xml_element(b, "Bucket", request->bucket_name);
	xml_element_bytes(b, "Key", request->key, request->key_len);
	xml_element(b, "UploadId", id);
	buf_puts(b, "</InitiateMultipartUploadResult>");
}

/* Whether the upload that the query names is one of this key; fills the answer when not. */
static bool upload_is_there(struct request *request)
{
	struct object *model = upload_model(request->s3d->store, request->bucket, request->key,
					    request->key_len, request_query(request, "uploadId"));

	if (model == NULL)
		answer_error(request, "NoSuchUpload");
	object_unref(model);
	return model != NULL;
}

void op_upload_part(struct request *request)
{
	char text[ETAG_SIZE + 2];
	struct object *part;
	uint64_t number;
	int err;

	if (!parse_u64(request_query(request, "partNumber"), &number) || number < 1 ||
	    number > PART_MAX) {
		answer_error_detail(request, "InvalidArgument",
				    "Part number must be an integer between 1 and 10000, inclusive",
				    "");
		return;
	}
	if (!upload_is_there(request))
		return;
	part = object_create(request->key, request->key_len);
	intake_take(request->intake, part);
	err =
	    upload_put_part(request->s3d->store, request->bucket,
			    request_query(request, "uploadId"), (unsigned)number, object_ref(part));
	if (err != 0) {
		answer_error(request, err == -ENOENT ? "NoSuchUpload" : "InternalError");
	} else {
		answer_status(request, 200);
		snprintf(text, sizeof(text), "\"%s\"", part->etag);
		fields_add(&request->answer.headers, "ETag", text);
		fields_copy(&request->answer.headers, &part->checksums);
	}
	object_unref(part);
}

/* One <Part>; false when it has no valid number or no ETag. */
static bool read_claim(struct xml_doc *doc, struct xml_node *node, const struct dialect *dialect,
		       struct part_claim *claim)
{
	CLEANUP(cleanup_free) char *number = xml_child_text(doc, node, "PartNumber");
	uint64_t value = 0;

	if (!parse_u64(number, &value) || value < 1 || value > PART_MAX)
		return false;
	claim->number = (unsigned)value;
	claim->etag = xml_child_text(doc, node, "ETag");
	for (int i = 0; i < CHECKSUM_MD5 && !dialect->no_checksums; i++) {
		char *sum = xml_child_text(doc, node, checksum_table[i].element);

		if (sum != NULL)
			fields_add(&claim->checksums, checksum_table[i].header, sum);
		free(sum);
	}
	return claim->etag != NULL;
}

static void claims_free(struct part_claim *claims, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((char *)claims[i].etag);
		fields_finish(&claims[i].checksums);
	}
	free(claims);
}

/* The parts of the body; NULL with the answer filled. */
static struct part_claim *read_claims(struct request *request, size_t *ret_count)
{
	struct xml_doc *doc = xml_parse(intake_text(request->intake), "CompleteMultipartUpload");
	struct part_claim *claims = xcalloc(PART_MAX, sizeof(*claims));
	size_t count = 0;
	bool good = doc != NULL;

	for (struct xml_node *node = good ? xml_child(doc, NULL, "Part") : NULL;
	     node != NULL && good; node = xml_next(node, "Part")) {
		good = count < PART_MAX && read_claim(doc, node, request->dialect, &claims[count]);
		count += count < PART_MAX;
	}
	xml_destroy(doc);
	*ret_count = count;
	if (good && count > 0)
		return claims;
	claims_free(claims, count);
	answer_error(request, "MalformedXML");
	return NULL;
}

static void answer_completed(struct request *request, const char *etag,
			     const struct fields *checksums)
{
	struct buf *b = answer_xml(request);

	buf_puts(b, "<CompleteMultipartUploadResult xmlns=\"" S3_NAMESPACE "\">");
	buf_puts(b, "<Location>");
	url_encode(b, request->raw_path, strlen(request->raw_path), true);
	buf_puts(b, "</Location>");
	xml_element(b, "Bucket", request->bucket_name);
	xml_element_bytes(b, "Key", request->key, request->key_len);
	xml_etag(b, etag);
	for (int i = 0; i < CHECKSUM_MD5 && checksums != NULL; i++) {
		const char *sum = fields_get(checksums, checksum_table[i].header);

		if (sum != NULL)
			xml_element(b, checksum_table[i].element, sum);
	}
	buf_puts(b, "</CompleteMultipartUploadResult>");
}

static void answer_not_completed(struct request *request, int err, int put_err)
{
	char etag[ETAG_SIZE];

	if (put_err != 0)
		answer_put_error(request, put_err);
	else if (err != -ENOENT)
		answer_error(request, error_code_of(err));
	else if (!request->dialect->complete_once &&
		 upload_completed(request->s3d->store, request_query(request, "uploadId"), etag))
		answer_completed(request, etag, NULL);
	else
		answer_error(request, "NoSuchUpload");
}

void op_complete_upload(struct request *request)
{
	const char *size = request_header(request, "x-amz-mp-object-size");
	struct complete_rules rules = {.any_order = request->dialect->any_part_order,
				       .equal_parts = request->dialect->equal_parts};
	struct object *object = NULL;
	struct part_claim *claims;
	struct precondition pre;
	size_t count = 0;
	int put_err = 0, err;

	if (size != NULL && !request->dialect->no_checksums) {
		rules.has_size = true;
		if (!parse_u64(size, &rules.size)) {
			answer_error(request, "InvalidArgument");
			return;
		}
	}
	if (!read_precondition(request, &pre))
		return;
	claims = read_claims(request, &count);
	if (claims == NULL)
		return;
	err = upload_complete(request->s3d->store, request->bucket,
			      request_query(request, "uploadId"), claims, count, &rules, &pre,
			      &put_err, &object);
	if (err != 0)
		answer_not_completed(request, err, put_err);
	else
		answer_completed(request, object->etag, &object->checksums);
	object_unref(object);
	claims_free(claims, count);
}

void op_abort_upload(struct request *request)
{
	if (!upload_is_there(request))
		return;
	upload_abort(request->s3d->store, request->bucket, request_query(request, "uploadId"));
	answer_status(request, 204);
}

void op_list_parts(struct request *request)
{
	const char *marker = request_query(request, "part-number-marker");
	const char *max_text = request_query(request, "max-parts");
	uint64_t after = 0, max = PAGE_MAX;
	struct part_info *parts = NULL;
	struct buf *b;
	int count;

	if ((marker != NULL && !parse_u64(marker, &after)) ||
	    (max_text != NULL && !parse_u64(max_text, &max))) {
		answer_error(request, "InvalidArgument");
		return;
	}
	if (max > PAGE_MAX)
		max = PAGE_MAX;
	if (!upload_is_there(request))
		return;
	count = upload_parts(request->s3d->store, request->bucket,
			     request_query(request, "uploadId"), (unsigned)after, max + 1, &parts);
	b = answer_xml(request);
	buf_puts(b, "<ListPartsResult xmlns=\"" S3_NAMESPACE "\">");
	xml_element(b, "Bucket", request->bucket_name);
	xml_element_bytes(b, "Key", request->key, request->key_len);
	xml_element(b, "UploadId", request_query(request, "uploadId"));
	xml_number(b, "PartNumberMarker", after);
	xml_number(b, "MaxParts", max);
	xml_element(b, "IsTruncated", count > (int)max ? "true" : "false");
	if (count > (int)max && max > 0)
		xml_number(b, "NextPartNumberMarker", parts[max - 1].number);
	for (int i = 0; i < count && i < (int)max; i++) {
		buf_puts(b, "<Part>");
		xml_number(b, "PartNumber", parts[i].number);
		xml_date(b, parts[i].mtime_ms);
		xml_etag(b, parts[i].etag);
		xml_number(b, "Size", parts[i].size);
		buf_puts(b, "</Part>");
	}
	buf_puts(b, "</ListPartsResult>");
	free(parts);
}

/* Whether the upload lies behind key-marker and upload-id-marker. */
static bool is_behind(const struct upload_info *info, const char *key, const char *id)
{
	int order = key != NULL ? bytes_compare(info->key, info->key_len, key, strlen(key)) : 1;

	return order > 0 || (order == 0 && id != NULL && strcmp(info->id, id) > 0);
}

static void add_upload(struct buf *b, const struct upload_info *info)
{
	char date[32];

	iso_date(info->initiated_ms, date);
	buf_puts(b, "<Upload>");
	xml_element_bytes(b, "Key", info->key, info->key_len);
	xml_element(b, "UploadId", info->id);
	xml_element(b, "StorageClass", "STANDARD");
	xml_element(b, "Initiated", date);
	buf_puts(b, "</Upload>");
}

void op_list_uploads(struct request *request)
{
	const char *prefix = request_query(request, "prefix");
	const char *key_marker = request_query(request, "key-marker");
	const char *id_marker = request_query(request, "upload-id-marker");
	const char *max_text = request_query(request, "max-uploads");
	const struct upload_info *last = NULL;
	struct upload_info *list;
	struct buf entries = {0}, *b;
	uint64_t max = PAGE_MAX, shown = 0;
	bool truncated = false;
	size_t count;

	if ((max_text != NULL && !parse_u64(max_text, &max)) ||
	    request_query(request, "delimiter") != NULL) {
		answer_error(request, max_text != NULL ? "InvalidArgument" : "NotImplemented");
		return;
	}
	if (max > PAGE_MAX)
		max = PAGE_MAX;
	prefix = prefix != NULL ? prefix : "";
	count = upload_list(request->s3d->store, request->bucket, prefix, strlen(prefix), &list);
	buf_puts(&entries, "");
	for (size_t i = 0; i < count && !truncated; i++) {
		if (!is_behind(&list[i], key_marker, id_marker))
			continue;
		truncated = shown == max;
		if (truncated)
			break;
		add_upload(&entries, &list[i]);
		last = &list[i];
		shown++;
	}
	b = answer_xml(request);
	buf_puts(b, "<ListMultipartUploadsResult xmlns=\"" S3_NAMESPACE "\">");
	xml_element(b, "Bucket", request->bucket_name);
	xml_element(b, "Prefix", prefix);
	xml_element(b, "KeyMarker", key_marker != NULL ? key_marker : "");
	xml_element(b, "UploadIdMarker", id_marker != NULL ? id_marker : "");
	if (truncated && last != NULL) {
		xml_element_bytes(b, "NextKeyMarker", last->key, last->key_len);
		xml_element(b, "NextUploadIdMarker", last->id);
	}
	xml_number(b, "MaxUploads", max);
	xml_element(b, "IsTruncated", truncated ? "true" : "false");
	buf_puts(b, entries.data);
	buf_puts(b, "</ListMultipartUploadsResult>");
	buf_finish(&entries);
	for (size_t i = 0; i < count; i++)
		free(list[i].key);
	free(list);
}
