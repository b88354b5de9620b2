/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: S3's error codes with their statuses and messages in one table, the XML of an error, and
 * the small XML writer that all operations use. HEAD answers carry no body; that is decided where
 * the answer is sent.
 */
#include "request.h"
#include "object.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct error_row {
	const char *code;
	int status;
	const char *message;
} errors[] = {
    {"AccessDenied", 403, "Access Denied"},
    {"BadDigest", 400,
     "The Content-MD5 or checksum value that you specified did not match what "
     "the server received."},
    {"BadRequest", 400, "An error occurred when parsing the HTTP request."},
    {"BucketAlreadyOwnedByYou", 409,
     "Your previous request to create the named bucket "
     "succeeded and you already own it."},
    {"BucketNotEmpty", 409, "The bucket you tried to delete is not empty"},
    {"ConditionalRequestConflict", 409,
     "A conflicting conditional operation is currently in "
     "progress against this resource. Try again."},
    {"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size"},
    {"EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size"},
    {"ExpiredToken", 400, "The provided token has expired."},
    {"IncompleteBody", 400, "The request body terminated unexpectedly"},
    {"InternalError", 500, "We encountered an internal error. Please try again."},
    {"InvalidAccessKeyId", 403,
     "The AWS Access Key Id you provided does not exist in our "
     "records."},
    {"InvalidArgument", 400, "Invalid Argument"},
    {"InvalidBucketName", 400, "The specified bucket is not valid."},
    {"InvalidDigest", 400, "The Content-MD5 you specified was invalid."},
    {"InvalidObjectState", 403, "The operation is not valid for the object's storage class"},
    {"InvalidPart", 400,
     "One or more of the specified parts could not be found. The part may "
     "not have been uploaded, or the specified entity tag may not match the "
     "part's entity tag."},
    {"InvalidPartOrder", 400,
     "The list of parts was not in ascending order. Parts must be "
     "ordered by part number."},
    {"InvalidRange", 416, "The requested range is not satisfiable"},
    {"InvalidRequest", 400, "Invalid Request"},
    {"InvalidStorageClass", 400, "The storage class you specified is not valid"},
    {"InvalidToken", 400, "The provided token is malformed or otherwise invalid."},
    {"InvalidURI", 400, "Couldn't parse the specified URI."},
    {"KeyTooLongError", 400, "Your key is too long"},
    {"MalformedXML", 400,
     "The XML you provided was not well-formed or did not validate against "
     "our published schema"},
    {"MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size"},
    {"MethodNotAllowed", 405, "The specified method is not allowed against this resource."},
    {"MissingContentLength", 411, "You must provide the Content-Length HTTP header."},
    {"NoSuchBucket", 404, "The specified bucket does not exist"},
    {"NoSuchKey", 404, "The specified key does not exist."},
    {"NoSuchUpload", 404,
     "The specified upload does not exist. The upload ID may be invalid, or "
     "the upload may have been aborted or completed."},
    {"NotImplemented", 501,
     "A header you provided implies functionality that is not "
     "implemented"},
    {"NotModified", 304, "Not Modified"},
    {"PermanentRedirect", 301,
     "The bucket you are attempting to access must be addressed using "
     "the specified endpoint. Please send all future requests to this "
     "endpoint."},
    {"PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"},
    {"RequestHeaderSectionTooLarge", 400,
     "Your request header section exceeds the maximum "
     "allowed size."},
    {"RequestTimeTooSkewed", 403,
     "The difference between the request time and the current time "
     "is too large."},
    {"RequestTimeout", 400,
     "Your socket connection to the server was not read from or written "
     "to within the timeout period."},
    {"ServiceUnavailable", 503, "Service is unable to handle request."},
    {"SignatureDoesNotMatch", 403,
     "The request signature we calculated does not match the "
     "signature you provided. Check your key and signing method."},
    {"SlowDown", 503, "Please reduce your request rate."},
    {"XAmzContentSHA256Mismatch", 400,
     "The provided 'x-amz-content-sha256' header does not "
     "match what was computed."},
};

static const struct error_row *error_find(const char *code)
{
	for (size_t i = 0; i < COUNT_OF(errors); i++)
		if (strcmp(errors[i].code, code) == 0)
			return &errors[i];
	return NULL;
}

int error_status(const char *code)
{
	const struct error_row *row = error_find(code);

	return row != NULL ? row->status : 400;
}

const char *error_code_of(int err)
{
	switch (err) {
	case -EEXIST:
	case -ESTALE:
		return "PreconditionFailed";
	case -EAGAIN:
		return "ConditionalRequestConflict";
	case -ENOENT:
		return "NoSuchKey";
	case -ENODEV:
		return "NoSuchBucket";
	case -EFBIG:
		return "EntityTooSmall";
	case -ERANGE:
		return "InvalidPartOrder";
	case -EPROTO:
	case -EINVAL:
		return "InvalidPart";
	case -EMSGSIZE:
		return "InvalidRequest";
	default:
		return "InternalError";
	}
}

void answer_finish(struct answer *answer)
{
	fields_finish(&answer->headers);
	buf_finish(&answer->bytes);
	object_unref(answer->object);
	*answer = (struct answer){0};
}

void answer_status(struct request *request, int status)
{
	answer_finish(&request->answer);
	request->answer.status = status;
}

struct buf *answer_xml(struct request *request)
{
	answer_status(request, 200);
	fields_add(&request->answer.headers, "Content-Type", "application/xml");
	buf_puts(&request->answer.bytes, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	return &request->answer.bytes;
}

void answer_error_detail(struct request *request, const char *code, const char *message,
			 const char *elements)
{
	const struct error_row *row = error_find(code);
	struct buf *b = answer_xml(request);

	request->answer.status = row != NULL ? row->status : 400;
	if (message == NULL)
		message = row != NULL ? row->message : code;
	buf_puts(b, "<Error>");
	xml_element(b, "Code", code);
	xml_element(b, "Message", message);
	buf_puts(b, elements);
	if (request->key_len > 0)
		xml_element_bytes(b, "Key", request->key, request->key_len);
	if (request->bucket_name != NULL && request->bucket_name[0] != '\0')
		xml_element(b, "BucketName", request->bucket_name);
	xml_element(b, "RequestId", request->id);
	xml_element(b, "HostId", "s3d");
	buf_puts(b, "</Error>");
	if (request->answer.status == 304)
		buf_finish(b);
}

void answer_error(struct request *request, const char *code)
{
	answer_error_detail(request, code, NULL, "");
}

void xml_element_bytes(struct buf *b, const char *name, const char *bytes, size_t len)
{
	buf_printf(b, "<%s>", name);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '&')
			buf_puts(b, "&amp;");
		else if (c == '<')
			buf_puts(b, "&lt;");
		else if (c == '>')
			buf_puts(b, "&gt;");
		else if (c == '"')
			buf_puts(b, "&quot;");
		else if (c < 0x20)
			buf_printf(b, "&#x%x;", c); /* S3 does, though XML 1.0 forbids it */
		else
			buf_add(b, &bytes[i], 1);
	}
	buf_printf(b, "</%s>", name);
}

void xml_element(struct buf *b, const char *name, const char *text)
{
	xml_element_bytes(b, name, text, strlen(text));
}

void xml_number(struct buf *b, const char *name, uint64_t value)
{
	buf_printf(b, "<%s>%" PRIu64 "</%s>", name, value, name);
}

void xml_etag(struct buf *b, const char *etag)
{
	buf_printf(b, "<ETag>&quot;%s&quot;</ETag>", etag);
}

void xml_date(struct buf *b, int64_t ms)
{
	char text[32];

	iso_date(ms, text);
	xml_element(b, "LastModified", text);
}
