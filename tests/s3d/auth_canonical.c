/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical form of a request in AWS Signature Version 4, as S3 defines it, hashed piece by
 * piece without ever being put together in memory.
 *
 * S3 does not see what a client signed, only what it sent. It decodes the path and the query and
 * encodes them again by one fixed rule (upper-case hex, only A-Z a-z 0-9 - _ . ~ plain, '/' plain
 * in the path, '+' in a query is a blank). So a client that sends "%2f", "%7e" or lower-case hex
 * must have signed the canonical spelling; one that signed its own spelling is refused. Dot
 * segments and double slashes stay: they are part of the key.
 *
 * Pure functions, called from any thread. Written from the specification for the test server alone:
 * nothing here is shared with the client under test.
 */
#include "auth_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

struct param {
	char *name, *value;
};

void auth_hex(const unsigned char digest[32], char ret_hex[AUTH_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 32; i++) {
		ret_hex[2 * i] = digits[digest[i] >> 4];
		ret_hex[2 * i + 1] = digits[digest[i] & 15];
	}
	ret_hex[64] = '\0';
}

int auth_hmac(const void *key, size_t key_len, const char *text, unsigned char ret_mac[32])
{
	if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text),
		  ret_mac, NULL))
		return -ENOMEM;
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

/*
 * Decodes len bytes and encodes them again into out (3 * len + 1 bytes). Gives the end (the NUL)
 * or NULL for a broken escape.
 */
static char *recode(const char *in, size_t len, bool in_query, char *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)in[i];

		if (c == '%') {
			int high = i + 2 < len ? hex_value(in[i + 1]) : -1;
			int low = high >= 0 ? hex_value(in[i + 2]) : -1;

			if (low < 0)
				return NULL;
			c = (unsigned char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && in_query) {
			c = ' ';
		}
		if (is_unreserved(c) || (c == '/' && !in_query)) {
			*out++ = (char)c;
		} else {
			*out++ = '%';
			*out++ = digits[c >> 4];
			*out++ = digits[c & 15];
		}
	}
	*out = '\0';
	return out;
}

static int by_name_then_value(const void *a, const void *b)
{
	const struct param *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : strcmp(left->value, right->value);
}

/* Splits the query into recoded pairs that stand in text. Gives the count or -EINVAL. */
static int split_query(const char *query, struct param *params, char *text)
{
	int count = 0;

	while (*query) {
		size_t len = strcspn(query, "&");
		const char *equals = memchr(query, '=', len);
		size_t name_len = equals ? (size_t)(equals - query) : len;

		if (len) {
			params[count].name = text;
			text = recode(query, name_len, true, text);
			if (!text)
				return -EINVAL;
			params[count].value = ++text;
			text = recode(query + name_len + (equals ? 1 : 0),
				      len - name_len - (equals ? 1 : 0), true, text);
			if (!text)
				return -EINVAL;
			text++;
			count++;
		}
		query += len + (query[len] == '&');
	}
	return count;
}

static void hash_text(EVP_MD_CTX *hash, const char *text)
{
	EVP_DigestUpdate(hash, text, strlen(text));
}

static int hash_path(EVP_MD_CTX *hash, const char *path)
{
	size_t len = strlen(path);
	char *text = malloc(3 * len + 1);

	if (!text)
		return -ENOMEM;
	char *end = recode(path, len, false, text);

	if (end)
		hash_text(hash, len ? text : "/");
	free(text);
	return end ? 0 : -EINVAL;
}

static int hash_query(EVP_MD_CTX *hash, const char *query)
{
	size_t len = strlen(query), most = 1;

	for (const char *at = query; *at; at++)
		most += *at == '&';
	struct param *params = calloc(most, sizeof(*params));
	char *text = malloc(3 * len + 2 * most + 1);
	int count = params && text ? split_query(query, params, text) : -ENOMEM;

	if (count > 0)
		qsort(params, (size_t)count, sizeof(*params), by_name_then_value);
	for (int i = 0; i < count; i++) {
		if (i)
			hash_text(hash, "&");
		hash_text(hash, params[i].name);
		hash_text(hash, "=");
		hash_text(hash, params[i].value);
	}
	free(params);
	free(text);
	return count < 0 ? count : 0;
}

/* Trims the value and folds inner runs of blanks to one space. */
static void hash_folded(EVP_MD_CTX *hash, const char *value)
{
	bool first = true;

	for (value += strspn(value, " \t"); *value; value += strspn(value, " \t")) {
		size_t word = strcspn(value, " \t");

		if (!first)
			hash_text(hash, " ");
		EVP_DigestUpdate(hash, value, word);
		value += word;
		first = false;
	}
}

/* One line "name:value,value" of all headers with that name. */
static void hash_header(EVP_MD_CTX *hash, const struct auth_request *request, const char *name,
			size_t name_len)
{
	bool first = true;

	EVP_DigestUpdate(hash, name, name_len);
	hash_text(hash, ":");
	for (size_t i = 0; i < request->header_count; i++) {
		const struct auth_header *header = &request->headers[i];

		if (strncasecmp(header->name, name, name_len) || header->name[name_len])
			continue;
		if (!first)
			hash_text(hash, ",");
		hash_folded(hash, header->value);
		first = false;
	}
	hash_text(hash, "\n");
}

static void hash_headers(EVP_MD_CTX *hash, const struct auth_request *request, const char *names)
{
	for (const char *name = names; *name;) {
		size_t len = strcspn(name, ";");

		hash_header(hash, request, name, len);
		name += len + (name[len] == ';');
	}
	hash_text(hash, "\n");
	hash_text(hash, names);
	hash_text(hash, "\n");
}

int auth_canonical_hash(const struct auth_request *request, const char *signed_headers,
			const char *payload_hash, char ret_hex[AUTH_HEX_SIZE])
{
	unsigned char digest[32];
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	int err = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) ? 0 : -ENOMEM;

	if (!err) {
		hash_text(hash, request->method);
		hash_text(hash, "\n");
		err = hash_path(hash, request->raw_path);
	}
	if (!err) {
		hash_text(hash, "\n");
		err = hash_query(hash, request->raw_query);
	}
	if (!err) {
		hash_text(hash, "\n");
		hash_headers(hash, request, signed_headers);
		hash_text(hash, payload_hash);
		err = EVP_DigestFinal_ex(hash, digest, NULL) ? 0 : -ENOMEM;
	}
	if (!err)
		auth_hex(digest, ret_hex);
	EVP_MD_CTX_free(hash);
	return err;
}
