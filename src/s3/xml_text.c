/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escaping, and what can be escaped at all: XML 1.0 has no way to write most control characters,
 * U+FFFE and U+FFFF, or bytes that are no UTF-8. Tab and line breaks are written as references, or
 * a parser would fold them. Pure.
 */
#include "xml_text.h"

#include <errno.h>
#include <string.h>

#include <pailfs/s3.h>

#include "utf8.h"

bool s3_key_in_xml(const char *key, size_t n)
{
	const unsigned char *s = (const unsigned char *)key;

	for (size_t i = 0; i < n;) {
		int length = utf8_length(s + i, n - i);

		if (length <= 0 || (s[i] < 0x20 && !strchr("\t\n\r", s[i])) || s[i] == '\0')
			return false;
		if (length == 3 && s[i] == 0xef && s[i + 1] == 0xbf && s[i + 2] >= 0xbe)
			return false;
		i += (size_t)length;
	}
	return true;
}

static const char *reference(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\t':
		return "&#9;";
	case '\n':
		return "&#10;";
	case '\r':
		return "&#13;";
	default:
		return NULL;
	}
}

int xml_text_append(struct buf *out, const char *text, size_t len)
{
	size_t from = 0;
	int r = s3_key_in_xml(text, len) ? 0 : -EILSEQ;

	for (size_t i = 0; i < len && r == 0; i++) {
		const char *escaped = reference(text[i]);

		if (!escaped)
			continue;
		r = buf_append(out, text + from, i - from);
		r = r ?: buf_append_str(out, escaped);
		from = i + 1;
	}
	return r ?: buf_append(out, text + from, len - from);
}
