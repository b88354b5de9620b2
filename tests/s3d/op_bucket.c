/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning.
 */
#include "op.h"

#include <string.h>

static void visit_bucket(void *ctx, const char *name, const struct bucket_info *info)
{
	struct buf *b = ctx;
	char date[32];

	iso_date(info->created_ms, date);
	buf_puts(b, "<Bucket>");
	xml_element(b, "Name", name);
	xml_element(b, "CreationDate", date);
	buf_puts(b, "</Bucket>");
}

void op_list_buckets(struct request *request)
{
	struct buf *b = answer_xml(request);

	buf_puts(b, "<ListAllMyBucketsResult xmlns=\"" S3_NAMESPACE "\"><Owner><ID>s3d</ID>"
		    "<DisplayName>s3d</DisplayName></Owner><Buckets>");
	store_each_bucket(request->s3d->store, visit_bucket, b);
	buf_puts(b, "</Buckets></ListAllMyBucketsResult>");
}

/* The text of <LocationConstraint>, or the server's region. The caller frees it. */
static char *location_constraint(const struct request *request)
{
	const struct buf *body = intake_text(request->intake);
	const char *at = body->data != NULL ? strstr(body->data, "<LocationConstraint>") : NULL;

	if (at == NULL)
		return xstrdup(request->s3d->region);
	at += strlen("<LocationConstraint>");
	return xmemdup(at, strcspn(at, "<"));
}

void op_create_bucket(struct request *request)
{
	CLEANUP(cleanup_free) char *region = location_constraint(request);
	struct buf location = {0};
	int err = store_bucket_make(request->s3d->store, request->bucket_name, region, NULL);

	if (err == -EEXIST)
		answer_error(request, "BucketAlreadyOwnedByYou");
	else if (err == -EINVAL)
		answer_error(request, "InvalidBucketName");
	else if (err != 0)
		answer_error(request, "InternalError");
	if (err != 0)
		return;
	answer_status(request, 200);
	buf_printf(&location, "/%s", request->bucket_name);
	fields_add(&request->answer.headers, "Location", location.data);
	buf_finish(&location);
}

void op_head_bucket(struct request *request)
{
	struct bucket_info info = bucket_info(request->s3d->store, request->bucket);

	answer_status(request, 200);
	fields_add(&request->answer.headers, "x-amz-bucket-region", info.region);
	fields_add(&request->answer.headers, "Content-Type", "application/xml");
}

void op_delete_bucket(struct request *request)
{
	int err = store_bucket_remove(request->s3d->store, request->bucket);

	if (err == -ENOTEMPTY)
		answer_error(request, "BucketNotEmpty");
	else
		answer_status(request, 204);
}

void op_get_bucket_location(struct request *request)
{
	struct bucket_info info = bucket_info(request->s3d->store, request->bucket);
	struct buf *b = answer_xml(request);

	buf_printf(b, "<LocationConstraint xmlns=\"" S3_NAMESPACE "\">%s</LocationConstraint>",
		   strcmp(info.region, "us-east-1") == 0 ? "" : info.region);
}

void op_get_bucket_versioning(struct request *request)
{
	buf_puts(answer_xml(request), "<VersioningConfiguration xmlns=\"" S3_NAMESPACE "\"/>");
}
