/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of user metadata that are no plain header text. S3 takes and gives them as RFC 2047
 * encoded words ("Working with object metadata", S3 user guide); a server that does not know that
 * keeps the word as it is, which comes to the same. Pure.
 *
 * Written is one word in base64; read are any number of words, base64 or quoted-printable, of
 * UTF-8. What only looks like a word stays.
 */
#include <pailfs/s3.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include <pailfs/buf.h>
#include <pailfs/cleanup.h>
#include <pailfs/text.h>

#define WORD_START "=?UTF-8?"
#define WORD_B WORD_START "B?"
#define WORD_END "?="

/* Blanks at an end or in a row would be lost: headers are trimmed and folded when signed. */
static bool is_plain(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)bytes[i] < ' ' || (unsigned char)bytes[i] >= 0x7f)
			return false;
		if (bytes[i] == ' ' && (i == 0 || i == n - 1 || bytes[i - 1] == ' '))
			return false;
		if (bytes[i] == '=' && i + 1 < n && bytes[i + 1] == '?')
			return false;
	}
	return true;
}

int s3_meta_encode(const char *bytes, size_t n, char **ret_value)
{
	size_t room = strlen(WORD_B) + (n + 2) / 3 * 4 + strlen(WORD_END) + 1;
	char *value;
	int length;

	for (size_t i = 0; i < n; i++)
		if (bytes[i] == '\0' || bytes[i] == '\r' || bytes[i] == '\n')
			return -EINVAL;
	if (n > S3_ERROR_BYTES_MAX) /* far beyond S3's 2 KB */
		return -EINVAL;
	value = malloc(MAX(room, n + 1));
	if (!value)
		return -ENOMEM;
	if (is_plain(bytes, n)) {
		memcpy(value, bytes, n);
		value[n] = '\0';
	} else {
		memcpy(value, WORD_B, strlen(WORD_B));
		length = EVP_EncodeBlock((unsigned char *)value + strlen(WORD_B),
					 (const unsigned char *)bytes, (int)n);
		memcpy(value + strlen(WORD_B) + length, WORD_END, strlen(WORD_END) + 1);
	}
	*ret_value = value;
	return 0;
}

/* 0, -EBADMSG: no base64, -ENOMEM. */
static int decode_base64(struct buf *out, const char *text, size_t n)
{
	CLEANUP(free) unsigned char *bytes = malloc(n / 4 * 3 + 1);
	int length;

	if (!bytes)
		return -ENOMEM;
	if (n == 0 || n % 4 != 0)
		return n == 0 ? 0 : -EBADMSG;
	length = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)n);
	if (length < 0)
		return -EBADMSG;
	length -= (text[n - 1] == '=') + (text[n - 2] == '=');
	return buf_append(out, bytes, (size_t)length);
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* As decode_base64, of the "Q" encoding. */
static int decode_quoted(struct buf *out, const char *text, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		char c = text[i] == '_' ? ' ' : text[i];

		if (c == '=') {
			int high = i + 2 < n ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < n ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EBADMSG;
			c = (char)(high << 4 | low);
			i += 2;
		}
		r = buf_append(out, &c, 1);
	}
	return r;
}

/* Decodes the word that text begins with; its length, 0 if there is none, or -ENOMEM. */
static long decode_word(struct buf *out, const char *text)
{
	size_t before = out->length;
	const char *start, *end;
	int r;

	if (strncasecmp(text, WORD_START, strlen(WORD_START)) != 0)
		return 0;
	start = text + strlen(WORD_START);
	if (!start[0] || !strchr("bBqQ", start[0]) || start[1] != '?')
		return 0;
	end = strstr(start + 2, WORD_END);
	if (!end)
		return 0;
	if (start[0] == 'b' || start[0] == 'B')
		r = decode_base64(out, start + 2, (size_t)(end - start - 2));
	else
		r = decode_quoted(out, start + 2, (size_t)(end - start - 2));
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		out->length = before;
	return r < 0 ? 0 : end + strlen(WORD_END) - text;
}

int s3_meta_decode(const char *value, char **ret_bytes, size_t *ret_n)
{
	CLEANUP(buf_finish) struct buf out = BUF_INIT;
	bool after_word = false;

	while (*value) {
		size_t gap = after_word ? strspn(value, " ") : 0; /* between words it is none */
		long n = decode_word(&out, value + gap);
		int r = 0;

		if (n < 0)
			return (int)n;
		after_word = n > 0;
		if (n == 0)
			r = buf_append(&out, value, 1);
		if (r < 0)
			return r;
		value += n > 0 ? gap + (size_t)n : 1;
	}
	*ret_n = out.length;
	*ret_bytes = buf_take(&out);
	return *ret_bytes ? 0 : -ENOMEM;
}
