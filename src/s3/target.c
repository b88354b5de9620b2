/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where requests go: reads an endpoint's URL, a bucket's name, a region. Pure functions; the texts
 * they answer are for the user at the mount.
 *
 * A regional endpoint of Amazon, whether given or the default, is not kept as a name: its host is
 * made anew for each request, because it follows the region that is learnt (url.c). Other hosts of
 * Amazon (VPC endpoints, access points, accelerate) stay as given, as anybody else's do.
 */
#include <pailfs/s3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <pailfs/text.h>

#include "region.h"

#define PORT_MAX 65535
#define BUCKET_MIN 3

struct endpoint {
	bool https;
	char host[256];
	uint16_t port; /* 0: the scheme's */
};

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool region_is_valid(const char *region)
{
	size_t n = strnlen(region, S3_REGION_MAX + 1);

	if (n < 1 || n > S3_REGION_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower_or_digit(region[i]) && region[i] != '-')
			return false;
	return true;
}

/* An IPv4 address, or an IPv6 one in its brackets. */
static bool is_address(const char *host)
{
	struct in_addr address;

	return host[0] == '[' || inet_pton(AF_INET, host, &address) == 1;
}

bool s3_bucket_name_valid(const char *text)
{
	size_t n = strnlen(text, S3_BUCKET_MAX + 1);

	if (n < BUCKET_MIN || n > S3_BUCKET_MAX || is_address(text))
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		bool plain = is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');

		if (!plain && (i == 0 || i == n - 1 || !strchr(".-_", c)))
			return false;
	}
	return !strstr(text, "..");
}

/* True if the name can stand in front of a host under a wildcard certificate. */
static bool is_host_label(const char *bucket)
{
	for (; *bucket; bucket++)
		if (!is_lower_or_digit(*bucket) && *bucket != '-')
			return false;
	return true;
}

static bool is_host_character(char c)
{
	return is_lower_or_digit(c) || c == '.' || c == '-' || c == '_';
}

/* Splits "host" or "host:port", "[::1]:port"; lower case. False if it is none. */
static bool parse_authority(const char *text, struct endpoint *e)
{
	const char *close = text[0] == '[' ? strchr(text, ']') : NULL;
	size_t n = close ? (size_t)(close - text) + 1 : strcspn(text, ":");
	uint64_t port = 0;

	if (n == 0 || n >= sizeof(e->host) || (text[0] == '[' && !close))
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i];

		if (close ? !strchr("[]:.0123456789abcdef", c) : !is_host_character(c))
			return false;
		e->host[i] = c;
	}
	e->host[n] = '\0';
	if (text[n] == ':' &&
	    (text_parse_u64(text + n + 1, &port) < 0 || port < 1 || port > PORT_MAX))
		return false;
	e->port = port == (e->https ? 443 : 80) ? 0 : (uint16_t)port;
	return text[n] == ':' || text[n] == '\0';
}

static int parse_endpoint(const char *url, struct endpoint *e, char *ret_error, size_t error_size)
{
	char authority[sizeof(e->host) + 8];
	const char *rest, *end;

	if (!strncasecmp(url, "https://", 8)) {
		e->https = true;
		rest = url + 8;
	} else if (!strncasecmp(url, "http://", 7)) {
		e->https = false;
		rest = url + 7;
	} else {
		snprintf(ret_error, error_size,
			 "the endpoint must begin with https:// or http://, as in "
			 "https://s3.example.com");
		return -EINVAL;
	}
	end = rest + strcspn(rest, "/?#");
	if (strchr(rest, '@') || (*end && strcmp(end, "/") != 0)) {
		snprintf(ret_error, error_size,
			 "the endpoint must be a scheme, a host and a port only: no user, path or "
			 "query");
		return -EINVAL;
	}
	snprintf(authority, sizeof(authority), "%.*s", (int)(end - rest), rest);
	if ((size_t)(end - rest) >= sizeof(authority) || !parse_authority(authority, e)) {
		snprintf(ret_error, error_size,
			 "the endpoint has no valid host and port, as in http://localhost:9000");
		return -EINVAL;
	}
	return 0;
}

/*
 * Recognises "s3[-fips][.dualstack].REGION" and plain "s3" (the text before .amazonaws.com) and
 * takes flags and region from it. Without a region in it, the configured one stays.
 */
static bool take_amazon_labels(const char *labels, struct s3_target *t)
{
	bool fips = text_starts_with(labels, "s3-fips");
	bool dualstack;

	labels += fips ? strlen("s3-fips") : text_starts_with(labels, "s3") ? strlen("s3") : 0;
	dualstack = text_starts_with(labels, ".dualstack");
	labels += dualstack ? strlen(".dualstack") : 0;
	if (*labels == '.' && region_is_valid(labels + 1)) {
		if (!t->region[0])
			snprintf(t->region, sizeof(t->region), "%s", labels + 1);
	} else if (*labels || fips || dualstack) {
		return false;
	}
	t->fips = fips;
	t->dualstack = dualstack;
	return true;
}

/* Makes a target of an Amazon endpoint follow its region. False if the host is not such a one. */
static bool take_amazon_host(const char *host, struct s3_target *t)
{
	static const char *const domains[] = {".amazonaws.com", ".amazonaws.com.cn"};
	size_t n = strlen(host);

	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
		char labels[sizeof(t->host)];

		if (!text_ends_with(host, domains[i]))
			continue;
		snprintf(labels, sizeof(labels), "%.*s", (int)(n - strlen(domains[i])), host);
		return take_amazon_labels(labels, t);
	}
	return false;
}

static int set_endpoint(struct s3_target *t, const char *endpoint, char *ret_error,
			size_t error_size)
{
	struct endpoint e = {0};
	int r;

	if (!endpoint) {
		t->https = t->amazon = true;
		return 0;
	}
	r = parse_endpoint(endpoint, &e, ret_error, error_size);
	if (r < 0)
		return r;
	t->https = e.https;
	t->port = e.port;
	t->amazon = e.port == 0 && take_amazon_host(e.host, t);
	if (!t->amazon)
		memcpy(t->host, e.host, sizeof(t->host));
	return 0;
}

static int set_style(struct s3_target *t, int path_style, char *ret_error, size_t error_size)
{
	bool can_be_host = is_host_label(t->bucket) && !is_address(t->host);

	if (path_style == 0 && !can_be_host) {
		snprintf(ret_error, error_size,
			 "bucket \"%s\" cannot stand in front of the host %s: use path_style",
			 t->bucket, t->amazon ? "of Amazon" : t->host);
		return -EINVAL;
	}
	t->path_style = path_style < 0 ? !t->amazon || !can_be_host : path_style;
	return 0;
}

int s3_target_init(struct s3_target *t, const char *endpoint, const char *bucket,
		   const char *region, int path_style, char *ret_error, size_t error_size)
{
	struct s3_target target = {0};
	int r;

	if (!s3_bucket_name_valid(bucket)) {
		char name[80];

		snprintf(ret_error, error_size,
			 "\"%s\" cannot be a bucket's name: 3 to 63 letters, digits, dots, hyphens",
			 text_printable(bucket, strlen(bucket), name, sizeof(name)));
		return -EINVAL;
	}
	snprintf(target.bucket, sizeof(target.bucket), "%s", bucket);
	if (region && region[0]) {
		r = s3_target_set_region(&target, region);
		if (r < 0) {
			snprintf(
			    ret_error, error_size,
			    "the region must be like us-east-1: at most %d small letters, digits, "
			    "hyphens",
			    S3_REGION_MAX);
			return r;
		}
	}
	r = set_endpoint(&target, endpoint, ret_error, error_size);
	if (r < 0)
		return r;
	target.unsigned_payload = target.checksum_crc32c = target.https;
	target.mp_object_size = true;
	r = set_style(&target, path_style, ret_error, error_size);
	if (r == 0)
		*t = target;
	return r;
}

int s3_target_set_region(struct s3_target *t, const char *region)
{
	if (!region_is_valid(region))
		return -EINVAL;
	memcpy(t->region, region, strlen(region) + 1);
	return 0;
}
