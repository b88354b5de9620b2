/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request line and headers to bucket, key, query, operation and the caller's rights. Runs
 * on MHD's threads when the headers are complete, before the body; whatever is wrong becomes the
 * answer and the body is thrown away later.
 */
#include "request.h"
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX_BYTES 8192
#define ADMIN_PREFIX "/_s3d/"

const char *request_header(const struct request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

const char *request_query(const struct request *request, const char *name)
{
	for (size_t i = 0; i < request->query.count; i++)
		if (strcmp(request->query.v[i].name, name) == 0)
			return request->query.v[i].value;
	return NULL;
}

char *request_resource(const struct request *request)
{
	struct buf b = {0};

	buf_puts(&b, request->bucket_name);
	if (request->key_len > 0) {
		buf_puts(&b, "/");
		buf_add(&b, request->key, request->key_len);
	}
	return b.data;
}

static int parse_query(struct request *request)
{
	CLEANUP(cleanup_free) char *text = xstrdup(request->raw_query);
	char *rest = text;

	while (rest != NULL && *rest != '\0') {
		char *pair = strsep(&rest, "&");
		char *value = strchr(pair, '=');

		if (*pair == '\0')
			continue;
		if (value != NULL)
			*value++ = '\0';
		if (url_decode(pair, true) < 0 || (value != NULL && url_decode(value, true) < 0))
			return -1;
		fields_add(&request->query, pair, value != NULL ? value : "");
	}
	return 0;
}

/* The bucket that a virtual host names, or NULL for path style. The caller frees it. */
static char *host_bucket(const struct request *request)
{
	const char *host = request_header(request, "Host");
	const char *suffix = request->s3d->vhost_suffix;
	size_t len, suffix_len = strlen(suffix);
	char *name, *region_part;

	if (host == NULL)
		return NULL;
	len = strcspn(host, ":");
	if (len < suffix_len + 2 || host[len - suffix_len - 1] != '.' ||
	    strncasecmp(host + len - suffix_len, suffix, suffix_len) != 0)
		return NULL;
	name = xmemdup(host, len - suffix_len - 1);
	region_part = strstr(name, ".s3.");
	if (region_part != NULL)
		*region_part = '\0';
	if (strncmp(name, "s3.", 3) == 0 || strcmp(name, "s3") == 0) {
		free(name);
		return NULL;
	}
	return name;
}

/* Bucket and key of the target; the key stays undecoded in *ret_key. */
static void split_target(struct request *request, const char **ret_key)
{
	const char *path = request->raw_path;

	request->bucket_name = host_bucket(request);
	if (*path == '/')
		path++;
	if (request->bucket_name == NULL) {
		size_t len = strcspn(path, "/");

		request->bucket_name = xmemdup(path, len);
		path += len;
		if (*path == '/')
			path++;
	}
	*ret_key = path;
}

static bool headers_too_large(const struct request *request)
{
	size_t total = 0;

	for (size_t i = 0; i < request->header_count; i++)
		total += strlen(request->headers[i].name) + strlen(request->headers[i].value) + 4;
	return total > HEADERS_MAX_BYTES;
}

/* S3 takes only UTF-8; a planted key of other bytes can be read and removed all the same. */
static bool key_is_good(const struct request *request)
{
	struct object *planted;
	bool is_write = strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0;

	if (memchr(request->key, '\0', request->key_len) != NULL)
		return false;
	if (utf8_valid(request->key, request->key_len))
		return true;
	if (is_write || request->bucket == NULL)
		return false;
	planted = store_get(request->s3d->store, request->bucket, request->key, request->key_len);
	object_unref(planted);
	return planted != NULL;
}

void request_parse(struct request *request)
{
	const char *key;
	int len = 0;

	if (strncmp(request->raw_path, ADMIN_PREFIX, strlen(ADMIN_PREFIX)) == 0) {
		request->op = OP_ADMIN;
		request->row = &op_table[OP_ADMIN];
		request->bucket_name = xstrdup("");
		request->key = xstrdup("");
		if (parse_query(request) != 0)
			answer_error(request, "InvalidURI");
		return;
	}
	split_target(request, &key);
	request->key = xstrdup(key);
	len = url_decode(request->key, false);
	request->key_len = len > 0 ? (size_t)len : 0;
	request->bucket = store_bucket(request->s3d->store, request->bucket_name);
	if (len < 0 || parse_query(request) != 0 || url_decode(request->bucket_name, false) < 0 ||
	    !key_is_good(request)) {
		request->row = &op_table[OP_UNKNOWN];
		answer_error(request, "InvalidURI");
		return;
	}
	request->op = route(request);
	request->row = &op_table[request->op];
	if (headers_too_large(request))
		answer_error(request, "RequestHeaderSectionTooLarge");
	else if (request->key_len > KEY_MAX_BYTES)
		answer_error(request, "KeyTooLongError");
}

bool request_may(const struct request *request, const struct bucket *bucket, const char *action,
		 const char *resource, const char *list_prefix)
{
	struct store *store = request->s3d->store;
	struct bucket_info info = {0};
	struct buf arn = {0};
	bool may;

	if (bucket != NULL)
		info = bucket_info(store, bucket);
	buf_printf(&arn, "arn:aws:s3:::%s", resource);
	if (request->auth.anonymous) {
		bool reads = strcmp(action, "s3:GetObject") == 0 ||
			     strcmp(action, "s3:ListBucket") == 0 ||
			     strcmp(action, "s3:GetBucketLocation") == 0;

		may = (info.is_public && reads) ||
		      (info.has_policy &&
		       bucket_policy_allows(store, bucket, action, arn.data, list_prefix));
	} else {
		may = (request->auth.policy == NULL ||
		       policy_allows(request->auth.policy, action, arn.data, list_prefix)) &&
		      (!info.has_policy ||
		       bucket_policy_allows(store, bucket, action, arn.data, list_prefix));
	}
	buf_finish(&arn);
	return may;
}

static void answer_redirect(struct request *request, const char *region)
{
	struct buf elements = {0};

	buf_printf(&elements, "<Endpoint>%s.s3.%s.%s</Endpoint>", request->bucket_name, region,
		   request->s3d->vhost_suffix);
	answer_error_detail(request, "PermanentRedirect", NULL, elements.data);
	fields_add(&request->answer.headers, "x-amz-bucket-region", region);
	buf_finish(&elements);
}

static void answer_auth_error(struct request *request, const char *region)
{
	const struct auth_result *auth = &request->auth;
	struct buf elements = {0};
	char now[32];

	buf_puts(&elements, "");
	if (auth->wrong_region)
		xml_element(&elements, "Region", region);
	if (strcmp(auth->code, "RequestTimeTooSkewed") == 0) {
		iso_date(s3d_now_ms(request->s3d), now);
		xml_element(&elements, "ServerTime", now);
		xml_number(&elements, "MaxAllowedSkewMilliseconds", 900000);
	}
	answer_error_detail(request, auth->code, auth->message, elements.data);
	if (auth->status != 0)
		request->answer.status = auth->status;
	if (auth->wrong_region)
		fields_add(&request->answer.headers, "x-amz-bucket-region", region);
	buf_finish(&elements);
}

/* Signature and region; false when the answer has been filled. */
static bool authenticate(struct request *request)
{
	struct s3d *s3d = request->s3d;
	struct auth_request signed_part = {.method = request->method,
					   .raw_path = request->raw_path,
					   .raw_query = request->raw_query,
					   .headers = request->headers,
					   .header_count = request->header_count,
					   .tls = s3d->tls};
	struct bucket_info info = {0};
	const char *region = s3d->region;

	if (request->bucket != NULL) {
		info = bucket_info(s3d->store, request->bucket);
		region = info.region;
	}
	auth_verify(s3d->auth, &signed_part, (time_t)(s3d_now_ms(s3d) / 1000), &request->auth);
	if (request->auth.wrong_region &&
	    (request->dialect->any_region || strcmp(request->auth.region, region) == 0)) {
		request->auth.code = NULL;
		request->auth.wrong_region = false;
	}
	if (request->auth.code != NULL) {
		answer_auth_error(request, region);
		return false;
	}
	if (strcmp(region, s3d->region) != 0 && !request->auth.anonymous &&
	    !request->dialect->any_region && strcmp(request->auth.region, region) != 0) {
		answer_redirect(request, region);
		return false;
	}
	return true;
}

static bool payload_unsigned(const struct auth_result *auth)
{
	return auth->payload == AUTH_PAYLOAD_UNSIGNED ||
	       auth->payload == AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER;
}

/* What needs a bucket that is not there, an unknown operation, an unsigned payload over http. */
static bool is_served(struct request *request)
{
	struct s3d *s3d = request->s3d;

	if (request->op == OP_UNKNOWN) {
		answer_error(request, "NotImplemented");
		return false;
	}
	if (request->bucket == NULL && request->op != OP_LIST_BUCKETS &&
	    request->op != OP_CREATE_BUCKET) {
		answer_error(request, "NoSuchBucket");
		return false;
	}
	if (!request->auth.anonymous && payload_unsigned(&request->auth) && !s3d->tls &&
	    s3d->settings.body_hash) {
		answer_error_detail(request, "XAmzContentSHA256Mismatch",
				    "The payload must be signed over plain http.", "");
		return false;
	}
	return true;
}

void request_authorise(struct request *request)
{
	const char *action = request->row->action;
	const char *prefix = NULL;
	CLEANUP(cleanup_free) char *resource = NULL;

	if (!authenticate(request) || !is_served(request) || action == NULL)
		return;
	resource = request_resource(request);
	if (request->op == OP_LIST_OBJECTS || request->op == OP_LIST_OBJECTS_V2)
		prefix = request_query(request, "prefix");
	if (request->op == OP_LIST_BUCKETS) {
		free(resource);
		resource = xstrdup("*");
	}
	if (!request_may(request, request->bucket, action, resource, prefix))
		answer_error(request, "AccessDenied");
}
