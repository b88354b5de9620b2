/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON is read as far as s3fs and we write it: one object of strings. Names may hold anything
 * but NUL; what JSON wants escaped is written as \uXXXX. The text comes from a server: every byte
 * of it is looked at once, and what is not understood is refused.
 */
#include "xattr.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int encode64(struct buf *out, const unsigned char *bytes, size_t n)
{
	int rc = 0;

	for (size_t k = 0; k < n && rc == 0; k += 3) {
		uint32_t three = (uint32_t)bytes[k] << 16;
		char text[4];

		three |= k + 1 < n ? (uint32_t)bytes[k + 1] << 8 : 0;
		three |= k + 2 < n ? bytes[k + 2] : 0;
		text[0] = digits64[three >> 18];
		text[1] = digits64[three >> 12 & 63];
		text[2] = k + 1 < n ? digits64[three >> 6 & 63] : '=';
		text[3] = k + 2 < n ? digits64[three & 63] : '=';
		rc = buf_append(out, text, sizeof(text));
	}
	return rc;
}

/* In place; the length, or -EBADMSG. */
static long decode64(char *text, size_t n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t out = 0;

	while (n > 0 && text[n - 1] == '=')
		n--;
	for (size_t k = 0; k < n; k++) {
		const char *at = text[k] != '\0' ? strchr(digits64, text[k]) : NULL;

		if (at == NULL)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)(at - digits64);
		have += 6;
		if (have >= 8) {
			have -= 8;
			text[out++] = (char)(bits >> have & 0xff);
		}
	}
	return (long)out;
}

static void skip_blanks(const char **at)
{
	*at += strspn(*at, " \t\r\n");
}

static int take(const char **at, char wanted)
{
	skip_blanks(at);
	if (**at != wanted)
		return -EBADMSG;
	(*at)++;
	return 0;
}

/* A character behind a backslash, as UTF-8. */
static int take_escaped(const char **at, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found = **at != '\0' ? strchr(from, **at) : NULL;
	unsigned code = 0;
	char utf8[3];

	if (found != NULL) {
		(*at)++;
		return buf_append(out, &to[found - from], 1);
	}
	if (**at != 'u')
		return -EBADMSG;
	for (int k = 1; k <= 4; k++) {
		char c = (*at)[k];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			return -EBADMSG;
		code = code << 4 | (unsigned)digit;
	}
	*at += 5;
	if (code == 0)
		return -EBADMSG;
	if (code < 0x80) {
		utf8[0] = (char)code;
		return buf_append(out, utf8, 1);
	}
	if (code < 0x800) {
		utf8[0] = (char)(0xc0 | code >> 6);
		utf8[1] = (char)(0x80 | (code & 63));
		return buf_append(out, utf8, 2);
	}
	utf8[0] = (char)(0xe0 | code >> 12);
	utf8[1] = (char)(0x80 | (code >> 6 & 63));
	utf8[2] = (char)(0x80 | (code & 63));
	return buf_append(out, utf8, 3);
}

static int take_string(const char **at, struct buf *out)
{
	int rc = take(at, '"');

	while (rc == 0 && **at != '"') {
		const char *start = *at;

		if (*start == '\0')
			return -EBADMSG;
		(*at)++;
		rc = *start == '\\' ? take_escaped(at, out) : buf_append(out, start, 1);
	}
	return rc < 0 ? rc : take(at, '"');
}

static int take_pair(const char **at, struct xattrs *x)
{
	CLEANUP(buf_finish) struct buf name = BUF_INIT;
	CLEANUP(buf_finish) struct buf value = BUF_INIT;
	long length = 0;
	int rc = take_string(at, &name);

	if (rc == 0)
		rc = take(at, ':');
	if (rc == 0)
		rc = take_string(at, &value);
	if (rc == 0 && value.length > 0)
		length = decode64(value.data, value.length);
	if (rc == 0 && (length < 0 || name.length == 0))
		rc = -EBADMSG;
	if (rc < 0)
		return rc;
	return xattrs_set(x, name.data, value.data != NULL ? value.data : "", (size_t)length);
}

static int parse_json(const char *at, struct xattrs *x)
{
	int rc = take(&at, '{');

	skip_blanks(&at);
	while (rc == 0 && *at != '}') {
		rc = take_pair(&at, x);
		skip_blanks(&at);
		if (rc == 0 && *at == ',')
			at++;
		else if (rc == 0 && *at != '}')
			rc = -EBADMSG;
	}
	if (rc == 0)
		rc = take(&at, '}');
	skip_blanks(&at);
	return rc == 0 && *at != '\0' ? -EBADMSG : rc;
}

int xattrs_parse(const char *text, struct xattrs *ret)
{
	CLEANUP(free) char *json = NULL;
	long n;
	int rc;

	*ret = (struct xattrs){0};
	if (text == NULL || text[0] == '\0')
		return 0;
	json = malloc(strlen(text) + 1);
	if (json == NULL)
		return -ENOMEM;
	n = text_url_decode(text, strlen(text), false, json);
	if (n < 0 || memchr(json, '\0', (size_t)n) != NULL)
		return -EBADMSG;
	json[n] = '\0';
	rc = parse_json(json, ret);
	if (rc < 0)
		xattrs_finish(ret);
	return rc == -ENOSPC ? -E2BIG : rc;
}

void xattrs_finish(struct xattrs *x)
{
	for (unsigned k = 0; k < x->count; k++) {
		free(x->all[k].name);
		free(x->all[k].value);
	}
	x->count = 0;
}

static struct xattr *find(struct xattrs *x, const char *name)
{
	for (unsigned k = 0; k < x->count; k++)
		if (strcmp(x->all[k].name, name) == 0)
			return &x->all[k];
	return NULL;
}

const struct xattr *xattrs_find(const struct xattrs *x, const char *name)
{
	return find((struct xattrs *)(uintptr_t)x, name);
}

static int drop(struct xattrs *x, struct xattr *one)
{
	if (one == NULL)
		return -ENODATA;
	free(one->name);
	free(one->value);
	*one = x->all[--x->count];
	return 0;
}

int xattrs_set(struct xattrs *x, const char *name, const void *value, size_t length)
{
	struct xattr *one = find(x, name), made;

	if (value == NULL)
		return drop(x, one);
	if (one == NULL && x->count == XATTRS_MAX)
		return -ENOSPC;
	made = (struct xattr){.name = strdup(name), .value = malloc(length + 1), .length = length};
	if (made.name == NULL || made.value == NULL) {
		free(made.name);
		free(made.value);
		return -ENOMEM;
	}
	memcpy(made.value, value, length);
	made.value[length] = '\0';
	if (one != NULL)
		drop(x, one);
	x->all[x->count++] = made;
	return 0;
}

static int format_name(struct buf *json, const char *name)
{
	int rc = 0;

	for (; *name != '\0' && rc == 0; name++) {
		unsigned char c = (unsigned char)*name;

		if (c < 0x20 || c == '"' || c == '\\')
			rc = buf_printf(json, "\\u%04x", c);
		else
			rc = buf_append(json, name, 1);
	}
	return rc;
}

int xattrs_format(const struct xattrs *x, struct buf *ret_text)
{
	CLEANUP(buf_finish) struct buf json = BUF_INIT;
	CLEANUP(free) char *encoded = NULL;
	int rc = buf_append_str(&json, "{");

	buf_clear(ret_text);
	if (x->count == 0)
		return buf_append_str(ret_text, "");
	for (unsigned k = 0; k < x->count && rc == 0; k++) {
		rc = buf_append_str(&json, k > 0 ? ",\"" : "\"");
		if (rc == 0)
			rc = format_name(&json, x->all[k].name);
		if (rc == 0)
			rc = buf_append_str(&json, "\":\"");
		if (rc == 0)
			rc = encode64(&json, (const unsigned char *)x->all[k].value,
				      x->all[k].length);
		if (rc == 0)
			rc = buf_append_str(&json, "\"");
	}
	if (rc == 0)
		rc = buf_append_str(&json, "}");
	if (rc < 0)
		return rc;
	encoded = malloc(text_url_encoded_length(json.data, json.length, false) + 1);
	if (encoded == NULL)
		return -ENOMEM;
	text_url_encode(json.data, json.length, false, encoded);
	return buf_append_str(ret_text, encoded);
}
