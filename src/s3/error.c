/* SPDX-License-Identifier: Apache-2.0 */
/*
 * (verb, HTTP status, S3's code, how the transfer ended) -> (errno, what to do). The only place
 * where a remote error becomes an errno. Pure; any thread.
 *
 * Order: how the transfer ended, if no error status came; then S3's code; then the status alone
 * (HEAD has no body, proxies have other bodies); then the status' hundreds. In each table the first
 * row that fits counts, so a row for some verbs stands before the row for all.
 *
 * Sources: "List of error codes" (S3 API reference); the codes of Ceph and MinIO where they differ.
 */
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define ANY (~0U)
#define OF(verb) (1U << (verb))
#define HEADS (OF(S3_HEAD_BUCKET) | OF(S3_HEAD_OBJECT))
#define OF_UPLOADS                                                                                 \
	(OF(S3_UPLOAD_PART) | OF(S3_COMPLETE_MULTIPART) | OF(S3_ABORT_MULTIPART) |                 \
	 OF(S3_LIST_PARTS))

struct code_row {
	unsigned verbs;
	const char *code;
	struct error_class class;
};

struct status_row {
	unsigned verbs;
	int status;
	struct error_class class;
};

#define NO S3_RETRY_NO
#define BACKOFF S3_RETRY_BACKOFF
#define THROTTLE S3_RETRY_THROTTLE

static const struct error_class by_transfer[] = {
    /* never looked up without a status; an answer that cannot be used */
    [HTTP_OK] = {-EIO, BACKOFF},
    [HTTP_RESOLVE_FAILED] = {-EIO, BACKOFF},
    [HTTP_CONNECT_FAILED] = {-EIO, BACKOFF},
    [HTTP_CONNECT_TIMEOUT] = {-EIO, BACKOFF},
    [HTTP_TLS_FAILED] = {-EIO, BACKOFF},
    /* asking again would only hide who answers */
    [HTTP_CERTIFICATE] = {-EIO, NO},
    [HTTP_FIRST_BYTE_TIMEOUT] = {-EIO, BACKOFF},
    [HTTP_STALLED] = {-EIO, BACKOFF},
    [HTTP_RESET] = {-EIO, BACKOFF},
    [HTTP_CUT] = {-EIO, BACKOFF},
    /* the same flood would come again */
    [HTTP_TOO_LARGE] = {-EIO, NO},
    [HTTP_PROTOCOL] = {-EIO, BACKOFF},
    [HTTP_REFUSED] = {-EIO, BACKOFF},
    [HTTP_CANCELLED] = {-ECANCELED, NO},
    [HTTP_NO_RESOURCES] = {-EIO, BACKOFF},
};

static const struct code_row by_code[] = {
    {ANY, "SlowDown", {-EIO, THROTTLE}},
    {ANY, "Throttling", {-EIO, THROTTLE}},
    {ANY, "ThrottlingException", {-EIO, THROTTLE}},
    {ANY, "TooManyRequests", {-EIO, THROTTLE}},
    {ANY, "RequestLimitExceeded", {-EIO, THROTTLE}},
    {ANY, "BandwidthLimitExceeded", {-EIO, THROTTLE}},
    {ANY, "RequestTimeout", {-EIO, BACKOFF}},
    {ANY, "InternalError", {-EIO, BACKOFF}},
    {ANY, "OperationAborted", {-EIO, BACKOFF}},
    /* the upload is gone with it: new parts are needed */
    {OF(S3_COMPLETE_MULTIPART), "ConditionalRequestConflict", {-EAGAIN, NO}},
    {ANY, "ConditionalRequestConflict", {-EIO, BACKOFF}},
    /* the body was damaged or cut on its way */
    {ANY, "BadDigest", {-EIO, BACKOFF}},
    {ANY, "XAmzContentSHA256Mismatch", {-EIO, BACKOFF}},
    {ANY, "XAmzContentChecksumMismatch", {-EIO, BACKOFF}},
    {ANY, "IncompleteBody", {-EIO, BACKOFF}},

    {ANY, "ExpiredToken", {-EACCES, S3_RETRY_KEYS}},
    {ANY, "InvalidToken", {-EACCES, S3_RETRY_KEYS}},
    {ANY, "TokenRefreshRequired", {-EACCES, S3_RETRY_KEYS}},
    {ANY, "RequestTimeTooSkewed", {-EACCES, S3_RETRY_CLOCK}},
    {ANY, "PermanentRedirect", {-EIO, S3_RETRY_REGION}},
    {ANY, "TemporaryRedirect", {-EIO, S3_RETRY_REGION}},
    {ANY, "Redirect", {-EIO, S3_RETRY_REGION}},
    {ANY, "AuthorizationHeaderMalformed", {-EACCES, S3_RETRY_REGION}},

    {ANY, "AccessDenied", {-EACCES, NO}},
    {ANY, "AllAccessDisabled", {-EACCES, NO}},
    {ANY, "AccountProblem", {-EACCES, NO}},
    {ANY, "InvalidAccessKeyId", {-EACCES, NO}},
    {ANY, "SignatureDoesNotMatch", {-EACCES, NO}},
    {ANY, "NotSignedUp", {-EACCES, NO}},
    {ANY, "InvalidPayer", {-EACCES, NO}},
    /* an archived object without a restored copy */
    {ANY, "InvalidObjectState", {-EACCES, NO}},

    /* what RGW 16.2 says of an upload that is gone */
    {OF(S3_LIST_PARTS), "NoSuchKey", {-ENXIO, NO}},
    {ANY, "NoSuchKey", {-ENOENT, NO}},
    {ANY, "NoSuchBucket", {-ENOENT, NO}},
    {ANY, "NoSuchVersion", {-ENOENT, NO}},
    {ANY, "NoSuchUpload", {-ENXIO, NO}},
    {ANY, "NoSuchTagSet", {-ENODATA, NO}},
    {ANY, "PreconditionFailed", {-ESTALE, NO}},
    {ANY, "InvalidRange", {-ESTALE, NO}},
    {ANY, "KeyTooLongError", {-ENAMETOOLONG, NO}},
    {ANY, "InvalidBucketName", {-EINVAL, NO}},
    {ANY, "NotImplemented", {-EOPNOTSUPP, NO}},
    {ANY, "MethodNotAllowed", {-EOPNOTSUPP, NO}},
    {ANY, "QuotaExceeded", {-EDQUOT, NO}},
    {ANY, "XMinioAdminBucketQuotaExceeded", {-EDQUOT, NO}},
    {ANY, "XMinioStorageFull", {-ENOSPC, NO}},
    {ANY, "EntityTooLarge", {-EFBIG, NO}},
    {ANY, "MetadataTooLarge", {-E2BIG, NO}},
    {ANY, "InvalidStorageClass", {-EINVAL, NO}},
    /* named because they come inside a 200, too, where what is not known is tried again */
    {ANY, "EntityTooSmall", {-EIO, NO}},
    {ANY, "InvalidPart", {-EIO, NO}},
    {ANY, "InvalidPartOrder", {-EIO, NO}},
    {ANY, "InvalidRequest", {-EIO, NO}},
    {ANY, "InvalidArgument", {-EIO, NO}},
    {ANY, "MalformedXML", {-EIO, NO}},
};

static const struct status_row by_status[] = {
    {ANY, 301, {-EIO, S3_RETRY_REGION}},
    {ANY, 302, {-EIO, S3_RETRY_REGION}},
    {ANY, 307, {-EIO, S3_RETRY_REGION}},
    {ANY, 308, {-EIO, S3_RETRY_REGION}},
    /* a HEAD says AuthorizationHeaderMalformed by its headers alone */
    {HEADS, 400, {-EIO, S3_RETRY_REGION}},
    {ANY, 401, {-EACCES, NO}},
    {ANY, 403, {-EACCES, NO}},
    {OF_UPLOADS, 404, {-ENXIO, NO}},
    {ANY, 404, {-ENOENT, NO}},
    {ANY, 405, {-EOPNOTSUPP, NO}},
    {ANY, 408, {-EIO, BACKOFF}},
    {ANY, 409, {-EIO, BACKOFF}},
    {ANY, 410, {-ENOENT, NO}},
    {ANY, 412, {-ESTALE, NO}},
    {ANY, 413, {-EFBIG, NO}},
    {OF(S3_GET_OBJECT), 416, {-ESTALE, NO}},
    {ANY, 429, {-EIO, THROTTLE}},
    {ANY, 501, {-EOPNOTSUPP, NO}},
    /* S3's 503 to a HEAD is SlowDown; a 503 with another body is some proxy's */
    {HEADS, 503, {-EIO, THROTTLE}},
    {ANY, 507, {-ENOSPC, NO}},
};

/* The row for a server's error, and for an answer that cannot be understood. */
static const struct error_class servers_fault = {-EIO, BACKOFF};
static const struct error_class our_fault = {-EIO, NO};

static struct error_class of_transfer(const struct error_input *in)
{
	struct error_class class = {-EIO, BACKOFF};

	if ((size_t)in->http < ARRAY_SIZE(by_transfer))
		class = by_transfer[in->http];
	if (in->http == HTTP_RESET && in->connection_reused && in->status == 0)
		class.retry = S3_RETRY_FRESH; /* the server had closed it while it was idle */
	return class;
}

static struct error_class look_up(const struct error_input *in)
{
	unsigned verb = OF(in->verb);

	if (in->http == HTTP_CANCELLED)
		return of_transfer(in);
	for (size_t i = 0; in->code[0] && i < ARRAY_SIZE(by_code); i++)
		if ((by_code[i].verbs & verb) && !strcmp(by_code[i].code, in->code))
			return by_code[i].class;
	if (in->status < 300)
		return of_transfer(in);
	for (size_t i = 0; i < ARRAY_SIZE(by_status); i++)
		if ((by_status[i].verbs & verb) && by_status[i].status == in->status)
			return by_status[i].class;
	return in->status >= 500 ? servers_fault : our_fault;
}

struct error_class error_classify(const struct error_input *in)
{
	struct error_class class = look_up(in);

	if (in->exclusive && (in->status == 412 || !strcmp(in->code, "PreconditionFailed")))
		class.err = -EEXIST;
	return class;
}
