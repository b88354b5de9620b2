/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4. Called from any thread; keeps nothing between calls: the signing key is
 * derived for each request (four HMACs of a few bytes), so a refreshed secret or a new day needs no
 * invalidation, and no secret stays in memory that the caller does not hold himself.
 *
 * The canonical request is put together in one buffer and hashed. Path and query are taken as they
 * are sent: S3 encodes once and normalises nothing ("a//b/../c" is a key). What cannot be signed
 * here: query-string (presigned) requests and chunked payloads; pailfs sends neither.
 */
#include "sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <pailfs/text.h>

#define HASH_BYTES 32
#define SCOPE_END "aws4_request"
#define ALGORITHM "AWS4-HMAC-SHA256"

int sign_format_date(time_t t, char ret_date[SIGN_DATE_BYTES])
{
	struct tm tm;

	if (!gmtime_r(&t, &tm) || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
		return -EINVAL;
	strftime(ret_date, SIGN_DATE_BYTES, "%Y%m%dT%H%M%SZ", &tm);
	return 0;
}

static int sha256(const void *bytes, size_t len, unsigned char ret_hash[HASH_BYTES])
{
	return EVP_Digest(bytes, len, ret_hash, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

int sign_payload_hash(const void *bytes, size_t len, char ret_hash[SIGN_HASH_BYTES])
{
	unsigned char hash[HASH_BYTES];
	int r = sha256(bytes, len, hash);

	if (r < 0)
		return r;
	text_hex(hash, sizeof(hash), ret_hash);
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Appends a header's value without blanks around it and with one for each run of them inside. */
static int append_folded(struct buf *out, const char *value)
{
	int r = 0;

	while (is_blank(*value))
		value++;
	while (*value && r == 0) {
		size_t word = 0;

		while (value[word] && !is_blank(value[word]))
			word++;
		r = buf_append(out, value, word);
		value += word;
		while (is_blank(*value))
			value++;
		if (*value && r == 0)
			r = buf_append(out, " ", 1);
	}
	return r;
}

static int append_lower(struct buf *out, const char *name)
{
	size_t start = out->length;
	int r = buf_append_str(out, name);

	for (size_t i = start; r == 0 && i < out->length; i++)
		if (out->data[i] >= 'A' && out->data[i] <= 'Z')
			out->data[i] += 'a' - 'A';
	return r;
}

/* Sorts by name; headers of one name keep their order (insertion sort is stable). */
static void sort_headers(const struct sign_request *request, const struct sign_header **sorted)
{
	for (size_t i = 0; i < request->header_count; i++) {
		const struct sign_header *h = &request->headers[i];
		size_t at = i;

		for (; at > 0 && strcasecmp(sorted[at - 1]->name, h->name) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = h;
	}
}

/* "name:value\n" for each name, "name:value1,value2\n" for repeated ones; and "name;name". */
static int append_headers(const struct sign_request *request, struct buf *canonical,
			  struct buf *names)
{
	const struct sign_header *sorted[SIGN_HEADERS_MAX];
	int r = 0;

	if (request->header_count > SIGN_HEADERS_MAX)
		return -E2BIG;
	sort_headers(request, sorted);
	for (size_t i = 0; i < request->header_count && r == 0; i++) {
		bool again = i > 0 && !strcasecmp(sorted[i - 1]->name, sorted[i]->name);

		if (again) {
			canonical->data[--canonical->length] = '\0'; /* the line goes on */
			r = buf_append_str(canonical, ",");
		} else {
			r = i > 0 ? buf_append_str(names, ";") : 0;
			r = r ?: append_lower(names, sorted[i]->name);
			r = r ?: append_lower(canonical, sorted[i]->name);
			r = r ?: buf_append_str(canonical, ":");
		}
		r = r ?: append_folded(canonical, sorted[i]->value);
		r = r ?: buf_append_str(canonical, "\n");
	}
	return r;
}

static int hash_canonical(const struct sign_request *request, struct buf *ret_names,
			  char ret_hash[SIGN_HASH_BYTES])
{
	CLEANUP(buf_finish) struct buf text = BUF_INIT;
	int r;

	r = buf_printf(&text, "%s\n%s\n%s\n", request->method, request->path, request->query);
	r = r ?: append_headers(request, &text, ret_names);
	r = r ?: buf_append_str(&text, "\n");
	r = r ?: buf_append(&text, ret_names->data, ret_names->length);
	r = r ?: buf_append_str(&text, "\n");
	r = r ?: buf_append_str(&text, request->payload_hash);
	return r ?: sign_payload_hash(text.data, text.length, ret_hash);
}

/* HMACs of one context: fetching the algorithm costs more than a short HMAC. */
static EVP_MAC_CTX *hmac_create(void)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end()};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;

	EVP_MAC_free(mac); /* the context holds its own reference */
	if (ctx && EVP_MAC_CTX_set_params(ctx, params) != 1) {
		EVP_MAC_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}
DEFINE_CLEANUP(EVP_MAC_CTX, EVP_MAC_CTX_free);

static int hmac(EVP_MAC_CTX *ctx, const void *key, size_t key_len, const char *text,
		unsigned char ret_mac[HASH_BYTES])
{
	size_t n;

	if (EVP_MAC_init(ctx, key, key_len, NULL) == 1 &&
	    EVP_MAC_update(ctx, (const unsigned char *)text, strlen(text)) == 1 &&
	    EVP_MAC_final(ctx, ret_mac, &n, HASH_BYTES) == 1)
		return 0;
	return -ENOMEM;
}

/* The signature: date, region, service and text, each under the HMAC of the one before. */
static int sign_text(const struct sign_keys *keys, const char *day, const char *text,
		     char ret_hex[SIGN_HASH_BYTES])
{
	const char *links[] = {day, keys->region, keys->service, SCOPE_END, text};
	unsigned char mac[HASH_BYTES];
	CLEANUP(EVP_MAC_CTX_free) EVP_MAC_CTX *ctx = hmac_create();
	CLEANUP(free) char *secret = text_format("AWS4%s", keys->secret_key);
	const void *key = secret;
	size_t key_len = secret ? strlen(secret) : 0;
	int r = ctx && secret ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++) {
		r = hmac(ctx, key, key_len, links[i], mac);
		key = mac;
		key_len = sizeof(mac);
	}
	if (r == 0)
		text_hex(mac, sizeof(mac), ret_hex);
	OPENSSL_cleanse(mac, sizeof(mac));
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	return r;
}

int sign_v4(const struct sign_request *request, const struct sign_keys *keys, struct buf *ret_value)
{
	CLEANUP(buf_finish) struct buf names = BUF_INIT;
	CLEANUP(buf_finish) struct buf text = BUF_INIT;
	char date[SIGN_DATE_BYTES], day[9], hash[SIGN_HASH_BYTES], signature[SIGN_HASH_BYTES];
	int r;

	r = sign_format_date(keys->time_s, date);
	r = r ?: hash_canonical(request, &names, hash);
	if (r < 0)
		return r;
	memcpy(day, date, 8);
	day[8] = '\0';
	r = buf_printf(&text, ALGORITHM "\n%s\n%s/%s/%s/" SCOPE_END "\n%s", date, day, keys->region,
		       keys->service, hash);
	r = r ?: sign_text(keys, day, text.data, signature);
	return r
		   ?: buf_printf(ret_value,
				 ALGORITHM " Credential=%s/%s/%s/%s/" SCOPE_END
					   ", SignedHeaders=%s, Signature=%s",
				 keys->access_key, day, keys->region, keys->service,
				 names.data ? names.data : "", signature);
}
