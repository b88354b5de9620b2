/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the verbs, for messages. */
#include <pailfs/s3.h>

#include <pailfs/cleanup.h>

static const struct {
	const char *name;
	const char *action;
} verbs[] = {
    [S3_HEAD_BUCKET] = {"HeadBucket", "s3:ListBucket"},
    [S3_LIST] = {"ListObjectsV2", "s3:ListBucket"},
    [S3_HEAD_OBJECT] = {"HeadObject", "s3:GetObject"},
    [S3_GET_OBJECT] = {"GetObject", "s3:GetObject"},
    [S3_PUT_OBJECT] = {"PutObject", "s3:PutObject"},
    [S3_COPY_OBJECT] = {"CopyObject", "s3:PutObject"},
    [S3_DELETE_OBJECT] = {"DeleteObject", "s3:DeleteObject"},
    [S3_DELETE_OBJECTS] = {"DeleteObjects", "s3:DeleteObject"},
    [S3_CREATE_MULTIPART] = {"CreateMultipartUpload", "s3:PutObject"},
    [S3_UPLOAD_PART] = {"UploadPart", "s3:PutObject"},
    [S3_UPLOAD_PART_COPY] = {"UploadPartCopy", "s3:PutObject"},
    [S3_COMPLETE_MULTIPART] = {"CompleteMultipartUpload", "s3:PutObject"},
    [S3_ABORT_MULTIPART] = {"AbortMultipartUpload", "s3:AbortMultipartUpload"},
    [S3_LIST_PARTS] = {"ListParts", "s3:ListMultipartUploadParts"},
    [S3_LIST_UPLOADS] = {"ListMultipartUploads", "s3:ListBucketMultipartUploads"},
    [S3_GET_TAGGING] = {"GetObjectTagging", "s3:GetObjectTagging"},
};

const char *s3_verb_name(enum s3_verb verb)
{
	return (size_t)verb < ARRAY_SIZE(verbs) ? verbs[verb].name : "unknown";
}

const char *s3_verb_action(enum s3_verb verb)
{
	return (size_t)verb < ARRAY_SIZE(verbs) ? verbs[verb].action : "unknown";
}
