/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's half of AWS Signature Version 4, header form, for S3: who signed this request, and
 * did they sign all of it? Strict on purpose, because its client is the program under test: what
 * AWS refuses is refused, and so is what AWS merely tolerates.
 *
 * Any thread may call auth_verify(); it holds no lock, because what auth_db.c hands out stays.
 * The checks run in the order of verify(); the first one that fails names the answer. Token and
 * region are compared after the signature, and the region last, so that a server that is lenient
 * about one of them knows that the signature is right, and wrong_region that nothing else is wrong.
 * Left out: presigned queries and signature version 2 (both refused), and whether the body has the
 * promised hash (the server's work; auth_stream.c for aws-chunked ones).
 */
#include "auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "auth_internal.h"

#define AUTH_WINDOW_S (15 * 60)
#define AUTH_HEADER_MAX 4096 /* bytes of an Authorization header, with its NUL */

/* An answer to a request that is refused. */
struct verdict {
	const char *code;
	int status;
	const char *message;
};

static const struct verdict malformed = {
    "AuthorizationHeaderMalformed", 400,
    "The authorization header is malformed: "
    "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/s3/aws4_request, SignedHeaders=..., "
    "Signature=... is expected."};
static const struct verdict wrong_region = {
    "AuthorizationHeaderMalformed", 400,
    "The authorization header is malformed; the region is wrong."};
static const struct verdict internal_error = {"InternalError", 500, "Out of memory."};

/* The parts of an Authorization header; pointers into text. */
struct authorization {
	char text[AUTH_HEADER_MAX];
	char *access_key, *date, *region, *service, *terminator;
	char *signed_headers, *signature;
};

/* A request while it is judged. */
struct judgement {
	struct auth_db *db;
	const struct auth_request *request;
	time_t now;
	struct authorization authorization;
	const char *amz_date, *payload_hash, *session_token; /* the last: NULL without */
	int tokens; /* how find_header() found session_token */
	const struct credential *credential;
	struct auth_result *result;
};

/* Finds the one header of a name. 1, 0 if there is none, -EINVAL if there are several. */
static int find_header(const struct auth_request *request, const char *name, const char **ret_value)
{
	int found = 0;

	for (size_t i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name))
			continue;
		if (found++)
			return -EINVAL;
		*ret_value = request->headers[i].value;
	}
	return found;
}

/* Takes text up to a separator off the front of *text; NULL if the separator does not come. */
static char *take_until(char **text, char separator)
{
	char *start = *text, *end = strchr(start, separator);

	if (!end || end == start)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return start;
}

static bool parse_credential(char *text, struct authorization *ret)
{
	ret->access_key = take_until(&text, '/');
	ret->date = ret->access_key ? take_until(&text, '/') : NULL;
	ret->region = ret->date ? take_until(&text, '/') : NULL;
	ret->service = ret->region ? take_until(&text, '/') : NULL;
	ret->terminator = text;
	return ret->service;
}

/* Splits "AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...", in any order. */
static bool parse_authorization(const char *value, struct authorization *ret)
{
	static const char scheme[] = "AWS4-HMAC-SHA256 ";
	char *credential = NULL, *save = NULL;
	int fields = 0;

	if (strncmp(value, scheme, strlen(scheme)) || strlen(value) >= sizeof(ret->text))
		return false;
	strcpy(ret->text, value + strlen(scheme));
	for (char *field = strtok_r(ret->text, ", ", &save); field;
	     field = strtok_r(NULL, ", ", &save), fields++) {
		char *name = take_until(&field, '=');

		if (name && !strcmp(name, "Credential"))
			credential = field;
		else if (name && !strcmp(name, "SignedHeaders"))
			ret->signed_headers = field;
		else if (name && !strcmp(name, "Signature"))
			ret->signature = field;
		else
			return false;
	}
	return fields == 3 && credential && ret->signed_headers && ret->signature &&
	       parse_credential(credential, ret);
}

static bool is_lower_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

/* Lower case, strictly ascending, nothing empty. */
static bool signed_headers_are_sorted(const char *names)
{
	const char *last = NULL;
	size_t last_len = 0;

	for (const char *name = names;; name++) {
		size_t len = strcspn(name, ";");

		if (!len || strcspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ") < len)
			return false;
		if (last) {
			size_t common = len < last_len ? len : last_len;
			int order = memcmp(last, name, common);

			if (order > 0 || (!order && last_len >= len))
				return false;
		}
		last = name;
		last_len = len;
		name += len;
		if (!*name)
			return true;
	}
}

static bool is_signed(const char *names, const char *header)
{
	size_t len = strlen(header);

	for (const char *name = names; *name;) {
		size_t name_len = strcspn(name, ";");

		if (name_len == len && !strncasecmp(name, header, len))
			return true;
		name += name_len + (name[name_len] == ';');
	}
	return false;
}

static const struct verdict *check_authorization(struct judgement *j)
{
	static const struct verdict unsupported = {
	    "InvalidRequest", 400,
	    "The authorization mechanism you have provided is not supported. Please use "
	    "AWS4-HMAC-SHA256."};
	static const struct verdict twice = {"InvalidArgument", 400,
					     "Only one Authorization header is allowed."};
	struct authorization *authorization = &j->authorization;
	struct auth_result *ret = j->result;
	const char *value = NULL;

	if (find_header(j->request, "authorization", &value) < 0)
		return &twice;
	if (strncmp(value, "AWS4-HMAC-SHA256", 16))
		return &unsupported;
	if (!parse_authorization(value, authorization) ||
	    !is_lower_hex(authorization->signature, 64) ||
	    !signed_headers_are_sorted(authorization->signed_headers) ||
	    strcmp(authorization->service, "s3") ||
	    strcmp(authorization->terminator, "aws4_request") || strlen(authorization->date) != 8 ||
	    strlen(authorization->region) >= sizeof(ret->region) ||
	    strlen(authorization->access_key) >= sizeof(ret->access_key))
		return &malformed;
	strcpy(ret->access_key, authorization->access_key);
	strcpy(ret->region, authorization->region);
	strcpy(ret->seed_signature, authorization->signature);
	snprintf(ret->scope, sizeof(ret->scope), "%s/%s/s3/aws4_request", authorization->date,
		 authorization->region);
	return NULL;
}

/* Reads 20150830T123600Z and nothing else. */
static bool parse_amz_date(const char *text, time_t *ret_time)
{
	char again[17];
	struct tm tm = {0};
	const char *end = strptime(text, "%Y%m%dT%H%M%SZ", &tm);

	if (!end || *end)
		return false;
	*ret_time = timegm(&tm);
	return strftime(again, sizeof(again), "%Y%m%dT%H%M%SZ", &tm) && !strcmp(again, text);
}

static const struct verdict *check_date(struct judgement *j)
{
	static const struct verdict no_date = {
	    "AccessDenied", 403, "AWS authentication requires a valid x-amz-date header."};
	static const struct verdict wrong_day = {
	    "AuthorizationHeaderMalformed", 400,
	    "The authorization header is malformed; its date is not the day of x-amz-date."};
	static const struct verdict skewed = {
	    "RequestTimeTooSkewed", 403,
	    "The difference between the request time and the current time is too large."};
	time_t when;

	if (find_header(j->request, "x-amz-date", &j->amz_date) != 1 ||
	    !parse_amz_date(j->amz_date, &when))
		return &no_date;
	strcpy(j->result->amz_date, j->amz_date);
	if (strncmp(j->amz_date, j->authorization.date, 8))
		return &wrong_day;
	if (when < j->now - AUTH_WINDOW_S || when > j->now + AUTH_WINDOW_S)
		return &skewed;
	return NULL;
}

static const struct verdict *check_payload(struct judgement *j)
{
	static const struct verdict missing = {
	    "InvalidRequest", 400,
	    "Missing required header for this request: x-amz-content-sha256"};
	static const struct verdict invalid = {
	    "InvalidArgument", 400,
	    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- form that is "
	    "supported, or a valid sha256 value."};
	static const struct {
		const char *value;
		enum auth_payload payload;
	} forms[] = {
	    {"UNSIGNED-PAYLOAD", AUTH_PAYLOAD_UNSIGNED},
	    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", AUTH_PAYLOAD_STREAM_SIGNED},
	    {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER},
	    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", AUTH_PAYLOAD_STREAM_SIGNED_TRAILER},
	};
	int found = find_header(j->request, "x-amz-content-sha256", &j->payload_hash);

	if (!found)
		return &missing;
	for (size_t i = 0; found == 1 && i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!strcmp(j->payload_hash, forms[i].value)) {
			j->result->payload = forms[i].payload;
			return NULL;
		}
	}
	if (found != 1 || !is_lower_hex(j->payload_hash, 64))
		return &invalid;
	j->result->payload = AUTH_PAYLOAD_HASH;
	strcpy(j->result->payload_sha256, j->payload_hash);
	return NULL;
}

static const struct verdict *check_signed_headers(struct judgement *j)
{
	static const struct verdict unsigned_header = {
	    "AccessDenied", 403,
	    "There were headers present in the request which were not signed."};
	const char *names = j->authorization.signed_headers, *host;

	if (find_header(j->request, "host", &host) != 1 || !is_signed(names, "host"))
		return &unsigned_header;
	for (size_t i = 0; i < j->request->header_count; i++) {
		const char *name = j->request->headers[i].name;

		if (!strncasecmp(name, "x-amz-", 6) && !is_signed(names, name))
			return &unsigned_header;
	}
	return NULL;
}

static const struct verdict *check_key(struct judgement *j)
{
	static const struct verdict unknown = {
	    "InvalidAccessKeyId", 403,
	    "The AWS Access Key Id you provided does not exist in our records."};

	j->tokens = find_header(j->request, "x-amz-security-token", &j->session_token);
	j->credential = auth_db_find(j->db, j->authorization.access_key);
	/* S3 does not know a temporary key without its token, either. */
	if (!j->credential || (j->credential->session_token && !j->tokens))
		return &unknown;
	j->result->policy = j->credential->policy;
	return NULL;
}

static int derive_signing_key(struct judgement *j)
{
	const struct authorization *authorization = &j->authorization;
	unsigned char *key = j->result->signing_key;
	char secret[4 + 256];

	snprintf(secret, sizeof(secret), "AWS4%s", j->credential->secret_key);
	int err = auth_hmac(secret, strlen(secret), authorization->date, key);

	if (!err)
		err = auth_hmac(key, 32, authorization->region, key);
	if (!err)
		err = auth_hmac(key, 32, "s3", key);
	if (!err)
		err = auth_hmac(key, 32, "aws4_request", key);
	OPENSSL_cleanse(secret, sizeof(secret));
	return err;
}

static const struct verdict *check_signature(struct judgement *j)
{
	static const struct verdict bad_uri = {"InvalidURI", 400,
					       "Couldn't parse the specified URI."};
	static const struct verdict mismatch = {
	    "SignatureDoesNotMatch", 403,
	    "The request signature we calculated does not match the signature you provided. "
	    "Check your key and signing method."};
	char hash[AUTH_HEX_SIZE], expected[AUTH_HEX_SIZE], text[256];
	unsigned char mac[32];
	int err =
	    auth_canonical_hash(j->request, j->authorization.signed_headers, j->payload_hash, hash);

	if (err == -EINVAL)
		return &bad_uri;
	if (err || derive_signing_key(j))
		return &internal_error;
	snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s", j->amz_date, j->result->scope,
		 hash);
	if (auth_hmac(j->result->signing_key, 32, text, mac))
		return &internal_error;
	auth_hex(mac, expected);
	return CRYPTO_memcmp(expected, j->authorization.signature, 64) ? &mismatch : NULL;
}

static const struct verdict *check_token(struct judgement *j)
{
	static const struct verdict wrong_token = {
	    "InvalidToken", 400, "The provided token is malformed or otherwise invalid."};
	const char *token = j->credential->session_token;

	if (!j->tokens || (j->tokens == 1 && token && !strcmp(token, j->session_token)))
		return NULL;
	j->result->wrong_token = true;
	return &wrong_token;
}

static const struct verdict *check_expiry(struct judgement *j)
{
	static const struct verdict expired = {"ExpiredToken", 400,
					       "The provided token has expired."};
	int64_t expires = j->credential->expires;

	return expires && j->now >= expires ? &expired : NULL;
}

static const struct verdict *check_region(struct judgement *j)
{
	if (!strcmp(auth_db_region(j->db), j->authorization.region))
		return NULL;
	j->result->wrong_region = true;
	return &wrong_region;
}

static const struct verdict *verify(struct judgement *j)
{
	static const struct verdict *(*const checks[])(struct judgement *) = {
	    check_authorization, check_date,  check_payload, check_signed_headers, check_key,
	    check_signature,	 check_token, check_expiry,  check_region,
	};
	const struct verdict *verdict = NULL;

	for (size_t i = 0; !verdict && i < sizeof(checks) / sizeof(checks[0]); i++)
		verdict = checks[i](j);
	return verdict;
}

/* A query that carries its own signature: X-Amz-Signature (v4) or Signature (v2). */
static bool is_presigned(const char *query)
{
	for (const char *at = query; *at;) {
		size_t len = strcspn(at, "&"), name = strcspn(at, "=&");

		if ((name == 15 && !strncasecmp(at, "X-Amz-Signature", name)) ||
		    (name == 15 && !strncasecmp(at, "X-Amz-Algorithm", name)) ||
		    (name == 9 && !strncmp(at, "Signature", name)))
			return true;
		at += len + (at[len] == '&');
	}
	return false;
}

void auth_verify(struct auth_db *db, const struct auth_request *request, time_t now,
		 struct auth_result *ret)
{
	static const struct verdict presigned = {"AccessDenied", 403,
						 "This server does not take presigned requests."};
	struct judgement j = {.db = db, .request = request, .now = now, .result = ret};
	const struct verdict *verdict = NULL;
	const char *value;

	memset(ret, 0, sizeof(*ret));
	ret->payload = AUTH_PAYLOAD_UNSIGNED;
	if (is_presigned(request->raw_query))
		verdict = &presigned;
	else if (!find_header(request, "authorization", &value))
		ret->anonymous = true;
	else
		verdict = verify(&j);
	if (verdict) {
		ret->code = verdict->code;
		ret->status = verdict->status;
		ret->message = verdict->message;
	}
}
