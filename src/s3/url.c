/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3 URLs. Pure functions of a target and a key. What is built here is both sent and signed, so
 * there is no second encoding that could disagree: path and query are canonical from the start
 * (RFC 3986 unreserved characters plain, upper-case hex, `/` of keys kept, nothing normalised).
 */
#include "url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/text.h>

#define FIRST_REGION "us-east-1"

const char *url_region(const struct s3_target *t)
{
	return t->region[0] ? t->region : FIRST_REGION;
}

/* s3.REGION.amazonaws.com and its variants ("Amazon S3 endpoints", AWS General Reference). */
static void amazon_host(const struct s3_target *t, char *dst, size_t size)
{
	const char *region = url_region(t);

	snprintf(dst, size, "s3%s.%s%s.amazonaws.com%s", t->fips ? "-fips" : "",
		 t->dualstack ? "dualstack." : "", region,
		 text_starts_with(region, "cn-") ? ".cn" : "");
}

const char *s3_target_host(const struct s3_target *t, char dst[S3_HOST_BYTES])
{
	char amazon[sizeof(t->host)], port[8] = "";

	if (t->amazon)
		amazon_host(t, amazon, sizeof(amazon));
	if (t->port)
		snprintf(port, sizeof(port), ":%u", t->port);
	snprintf(dst, S3_HOST_BYTES, "%s%s%s%s", t->path_style ? "" : t->bucket,
		 t->path_style ? "" : ".", t->amazon ? amazon : t->host, port);
	return dst;
}

static int append_encoded(struct buf *out, const char *text, size_t len, bool keep_slash)
{
	size_t encoded = text_url_encoded_length(text, len, keep_slash);
	CLEANUP(free) char *dst = malloc(encoded + 1);

	if (!dst)
		return -ENOMEM;
	return buf_append(out, dst, text_url_encode(text, len, keep_slash, dst));
}

int url_append_path(struct buf *out, const struct s3_target *t, const char *key, size_t len)
{
	int r = buf_append(out, "/", 1);

	if (t->path_style) {
		r = r ?: append_encoded(out, t->bucket, strlen(t->bucket), false);
		if (key)
			r = r ?: buf_append(out, "/", 1);
	}
	return r ?: (key ? append_encoded(out, key, len, true) : 0);
}

int url_append_query(struct buf *out, const char *name, const char *value, size_t len)
{
	int r = out->length ? buf_append(out, "&", 1) : 0;

	r = r ?: append_encoded(out, name, strlen(name), false);
	r = r ?: buf_append(out, "=", 1);
	return r ?: (value ? append_encoded(out, value, len, false) : 0);
}
