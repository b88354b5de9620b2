/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a signed HTTP message together. Called by s3_build on the thread that sends. Every header
 * that is added here is signed; http/ adds only what nobody signs (User-Agent, Accept).
 */
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pailfs/text.h>

#include "url.h"

#define SERVICE "s3"

void request_init(struct request *r, const char *method, const struct s3_target *target,
		  const char *key, size_t key_length)
{
	*r = (struct request){.target = target, .method = method};
	r->err = url_append_path(&r->path, target, key, key_length);
}

void request_query(struct request *r, const char *name, const char *value, size_t len)
{
	assert(!r->last_query || strcmp(r->last_query, name) < 0);
	r->last_query = name;
	if (r->err == 0)
		r->err = url_append_query(&r->query, name, value, len);
}

/* A line break would begin another header; no header of S3 has control characters. */
static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

void request_fail(struct request *r, int err)
{
	r->err = r->err ?: err;
}

bool request_uses(struct request *r, bool wanted, enum s3_feature feature)
{
	if (!wanted || (r->left_out & feature))
		return false;
	r->features |= feature;
	return true;
}

/* value is taken over; NULL: out of memory. */
static void add_header(struct request *r, const char *name, char *value)
{
	int err = value ? 0 : -ENOMEM;

	if (value && has_control(value))
		err = -EINVAL;
	else if (r->header_count == SIGN_HEADERS_MAX)
		err = -E2BIG;
	request_fail(r, err);
	if (r->err < 0)
		free(value);
	else
		r->headers[r->header_count++] = (struct sign_header){name, value};
}

void request_header(struct request *r, const char *name, const char *fmt, ...)
{
	va_list ap;
	char *value;

	if (r->err < 0)
		return;
	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		value = NULL;
	va_end(ap);
	add_header(r, name, value);
}

void request_header_named(struct request *r, const char *name, const char *value)
{
	char *copy;

	if (r->err < 0)
		return;
	copy = strdup(name);
	if (!copy) {
		request_fail(r, -ENOMEM);
		return;
	}
	add_header(r, copy, strdup(value));
	if (r->err < 0)
		free(copy);
	else
		r->names[r->header_count - 1] = copy;
}

static void request_free(struct request *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		free((char *)r->headers[i].value);
		free(r->names[i]);
	}
	buf_finish(&r->path);
	buf_finish(&r->query);
}

static void add_signature(struct request *r, const struct s3_keys *keys, time_t now_s,
			  const char *payload_hash)
{
	CLEANUP(buf_finish) struct buf value = BUF_INIT;
	char date[SIGN_DATE_BYTES];

	r->err = r->err ?: sign_format_date(now_s, date);
	if (r->err < 0)
		return;
	request_header(r, "x-amz-date", "%s", date);
	request_header(r, "x-amz-content-sha256", "%s", payload_hash);
	if (keys->session_token)
		request_header(r, "x-amz-security-token", "%s", keys->session_token);
	if (r->err < 0)
		return;
	r->err = sign_v4(
	    &(struct sign_request){
		.method = r->method,
		.path = r->path.data,
		.query = r->query.data ? r->query.data : "",
		.headers = r->headers,
		.header_count = r->header_count,
		.payload_hash = payload_hash,
	    },
	    &(struct sign_keys){keys->access_key, keys->secret_key, url_region(r->target), SERVICE,
				now_s},
	    &value);
	if (r->err == 0)
		request_header(r, "Authorization", "%s", value.data);
}

static int to_message(const struct request *r, const char *host, struct http_message *m)
{
	const char *query = r->query.data ? r->query.data : "";

	m->method = r->method;
	m->url = text_format("%s://%s%s%s%s", r->target->https ? "https" : "http", host,
			     r->path.data, *query ? "?" : "", query);
	m->lines = calloc(r->header_count, sizeof(*m->lines));
	if (!m->url || !m->lines)
		return -ENOMEM;
	for (; m->line_count < r->header_count; m->line_count++) {
		const struct sign_header *h = &r->headers[m->line_count];

		m->lines[m->line_count] = h->value[0] != '\0'
					      ? text_format("%s: %s", h->name, h->value)
					      : text_format("%s;", h->name);
		if (!m->lines[m->line_count])
			return -ENOMEM;
	}
	return 0;
}

int request_finish(struct request *r, const struct s3_keys *keys, time_t now_s,
		   const char *payload_hash, struct http_message *ret_message)
{
	const struct s3_target *t = r->target;
	struct http_message message = {0};
	char host[S3_HOST_BYTES];
	int err;

	request_header(r, "Host", "%s", s3_target_host(t, host));
	if (t->requester_pays)
		request_header(r, "x-amz-request-payer", "requester");
	if (t->expected_bucket_owner[0])
		request_header(r, "x-amz-expected-bucket-owner", "%s", t->expected_bucket_owner);
	if (keys->access_key)
		add_signature(r, keys, now_s,
			      t->unsigned_payload ? SIGN_UNSIGNED_PAYLOAD
						  : (payload_hash ?: SIGN_EMPTY_HASH));
	err = r->err ?: to_message(r, host, &message);
	request_free(r);
	if (err < 0) {
		http_message_finish(&message);
		return err;
	}
	*ret_message = message;
	return 0;
}
