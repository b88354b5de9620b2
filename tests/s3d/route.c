/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which operation a request is: the method, whether it names a bucket and a key, and which
 * sub-resource its query has. One table of operations, one of routes, walked from the top.
 */
#include "request.h"

#include <string.h>

const struct op_row op_table[OP_COUNT] = {
    [OP_UNKNOWN] = {"Unknown", NULL, BODY_NONE, NULL},
    [OP_LIST_BUCKETS] = {"ListBuckets", "s3:ListAllMyBuckets", BODY_NONE, op_list_buckets},
    [OP_CREATE_BUCKET] = {"CreateBucket", "s3:CreateBucket", BODY_TEXT, op_create_bucket},
    [OP_HEAD_BUCKET] = {"HeadBucket", "s3:ListBucket", BODY_NONE, op_head_bucket},
    [OP_DELETE_BUCKET] = {"DeleteBucket", "s3:DeleteBucket", BODY_NONE, op_delete_bucket},
    [OP_GET_BUCKET_LOCATION] = {"GetBucketLocation", "s3:GetBucketLocation", BODY_NONE,
				op_get_bucket_location},
    [OP_GET_BUCKET_VERSIONING] = {"GetBucketVersioning", "s3:GetBucketVersioning", BODY_NONE,
				  op_get_bucket_versioning},
    [OP_LIST_OBJECTS] = {"ListObjects", "s3:ListBucket", BODY_NONE, op_list_objects},
    [OP_LIST_OBJECTS_V2] = {"ListObjectsV2", "s3:ListBucket", BODY_NONE, op_list_objects},
    [OP_DELETE_OBJECTS] = {"DeleteObjects", NULL, BODY_TEXT, op_delete_objects},
    [OP_LIST_UPLOADS] = {"ListMultipartUploads", "s3:ListBucketMultipartUploads", BODY_NONE,
			 op_list_uploads},
    [OP_GET_OBJECT] = {"GetObject", "s3:GetObject", BODY_NONE, op_get_object},
    [OP_HEAD_OBJECT] = {"HeadObject", "s3:GetObject", BODY_NONE, op_get_object},
    [OP_PUT_OBJECT] = {"PutObject", "s3:PutObject", BODY_BLOB, op_put_object},
    [OP_COPY_OBJECT] = {"CopyObject", "s3:PutObject", BODY_NONE, op_copy_object},
    [OP_DELETE_OBJECT] = {"DeleteObject", "s3:DeleteObject", BODY_NONE, op_delete_object},
    [OP_GET_OBJECT_TAGGING] = {"GetObjectTagging", "s3:GetObjectTagging", BODY_NONE,
			       op_get_object_tagging},
    [OP_CREATE_UPLOAD] = {"CreateMultipartUpload", "s3:PutObject", BODY_NONE, op_create_upload},
    [OP_UPLOAD_PART] = {"UploadPart", "s3:PutObject", BODY_BLOB, op_upload_part},
    [OP_UPLOAD_PART_COPY] = {"UploadPartCopy", "s3:PutObject", BODY_NONE, op_upload_part_copy},
    [OP_COMPLETE_UPLOAD] = {"CompleteMultipartUpload", "s3:PutObject", BODY_TEXT,
			    op_complete_upload},
    [OP_ABORT_UPLOAD] = {"AbortMultipartUpload", "s3:AbortMultipartUpload", BODY_NONE,
			 op_abort_upload},
    [OP_LIST_PARTS] = {"ListParts", "s3:ListMultipartUploadParts", BODY_NONE, op_list_parts},
    [OP_ADMIN] = {"Admin", NULL, BODY_TEXT, op_admin},
};

enum target { SERVICE, BUCKET, KEY };

/* A route fits when the query has `query` (NULL: nothing asked) and, in turn, `header` is there. */
static const struct route_row {
	const char *method;
	enum target target;
	const char *query, *header;
	enum op op;
} routes[] = {
    {"GET", SERVICE, NULL, NULL, OP_LIST_BUCKETS},
    {"GET", BUCKET, "location", NULL, OP_GET_BUCKET_LOCATION},
    {"GET", BUCKET, "versioning", NULL, OP_GET_BUCKET_VERSIONING},
    {"GET", BUCKET, "uploads", NULL, OP_LIST_UPLOADS},
    {"GET", BUCKET, "list-type", NULL, OP_LIST_OBJECTS_V2},
    {"GET", BUCKET, NULL, NULL, OP_LIST_OBJECTS},
    {"HEAD", BUCKET, NULL, NULL, OP_HEAD_BUCKET},
    {"PUT", BUCKET, NULL, NULL, OP_CREATE_BUCKET},
    {"DELETE", BUCKET, NULL, NULL, OP_DELETE_BUCKET},
    {"POST", BUCKET, "delete", NULL, OP_DELETE_OBJECTS},
    {"GET", KEY, "uploadId", NULL, OP_LIST_PARTS},
    {"GET", KEY, "tagging", NULL, OP_GET_OBJECT_TAGGING},
    {"GET", KEY, NULL, NULL, OP_GET_OBJECT},
    {"HEAD", KEY, NULL, NULL, OP_HEAD_OBJECT},
    {"PUT", KEY, "uploadId", "x-amz-copy-source", OP_UPLOAD_PART_COPY},
    {"PUT", KEY, "uploadId", NULL, OP_UPLOAD_PART},
    {"PUT", KEY, NULL, "x-amz-copy-source", OP_COPY_OBJECT},
    {"PUT", KEY, NULL, NULL, OP_PUT_OBJECT},
    {"POST", KEY, "uploads", NULL, OP_CREATE_UPLOAD},
    {"POST", KEY, "uploadId", NULL, OP_COMPLETE_UPLOAD},
    {"DELETE", KEY, "uploadId", NULL, OP_ABORT_UPLOAD},
    {"DELETE", KEY, NULL, NULL, OP_DELETE_OBJECT},
};

/* Sub-resources that this server does not play: 501 rather than something else by mistake. */
static const char *const not_played[] = {
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "encryption",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "legal-hold",
    "torrent",
    "versions",
    "website",
    "intelligent-tiering",
};

static bool is_played(const struct request *request)
{
	for (size_t i = 0; i < COUNT_OF(not_played); i++)
		if (request_query(request, not_played[i]) != NULL)
			return false;
	return request_query(request, "tagging") == NULL || strcmp(request->method, "GET") == 0;
}

enum op route(const struct request *request)
{
	enum target target = request->bucket_name[0] == '\0' ? SERVICE
			     : request->key_len == 0	     ? BUCKET
							     : KEY;

	if (!is_played(request))
		return OP_UNKNOWN;
	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		const struct route_row *row = &routes[i];

		if (row->target == target && strcmp(row->method, request->method) == 0 &&
		    (row->query == NULL || request_query(request, row->query) != NULL) &&
		    (row->header == NULL || request_header(request, row->header) != NULL))
			return row->op;
	}
	return OP_UNKNOWN;
}
