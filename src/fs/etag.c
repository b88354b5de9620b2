/* SPDX-License-Identifier: Apache-2.0 */
/* ETags in 20 bytes. Values without locks. */
#include "etag.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/text.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Packs `32 hex digits[-N]`; false if it is anything else, or would not come back the same. */
static bool pack_hex(struct etag *e, const char *text, size_t len)
{
	uint64_t parts = 0;
	size_t i;

	if (len < 32)
		return false;
	for (i = 0; i < 16; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		e->hex[i] = (uint8_t)(high << 4 | low);
	}
	if (len > 32) {
		if (text[32] != '-' || len == 33 || text[33] == '0' ||
		    text_parse_u64n(text + 33, len - 33, &parts) < 0 || parts > UINT16_MAX)
			return false;
	}
	e->parts = (uint16_t)parts;
	return true;
}

int etag_init(struct etag *e, const char *text)
{
	size_t len = strlen(text);

	*e = (struct etag){.form = ETAG_NONE};
	if (len == 0)
		return 0;
	if (len > 2 && text[0] == '"' && text[len - 1] == '"' && pack_hex(e, text + 1, len - 2)) {
		e->form = ETAG_HEX_QUOTED;
	} else if (pack_hex(e, text, len)) {
		e->form = ETAG_HEX;
	} else {
		*e = (struct etag){.text = strdup(text), .form = ETAG_TEXT};
		if (e->text == NULL) {
			e->form = ETAG_NONE;
			return -ENOMEM;
		}
	}
	return 0;
}

int etag_copy(struct etag *e, const struct etag *from)
{
	*e = *from;
	if (from->form != ETAG_TEXT)
		return 0;
	e->text = strdup(from->text);
	if (e->text != NULL)
		return 0;
	e->form = ETAG_NONE;
	return -ENOMEM;
}

void etag_finish(struct etag *e)
{
	if (e->form == ETAG_TEXT)
		free(e->text);
	*e = (struct etag){.form = ETAG_NONE};
}

const char *etag_text(const struct etag *e, char dst[S3_ETAG_MAX])
{
	const char *quote = e->form == ETAG_HEX_QUOTED ? "\"" : "";
	char hex[33];

	if (e->form == ETAG_NONE || e->form == ETAG_TEXT) {
		snprintf(dst, S3_ETAG_MAX, "%s", e->form == ETAG_TEXT ? e->text : "");
		return dst;
	}
	text_hex(e->hex, sizeof(e->hex), hex);
	if (e->parts > 0)
		snprintf(dst, S3_ETAG_MAX, "%s%s-%u%s", quote, hex, e->parts, quote);
	else
		snprintf(dst, S3_ETAG_MAX, "%s%s%s", quote, hex, quote);
	return dst;
}

bool etag_equal(const struct etag *a, const struct etag *b)
{
	if (a->form == ETAG_NONE || b->form == ETAG_NONE)
		return a->form == b->form;
	if (a->form == ETAG_TEXT || b->form == ETAG_TEXT)
		return a->form == b->form && s3_etags_equal(a->text, b->text);
	return a->parts == b->parts && memcmp(a->hex, b->hex, sizeof(a->hex)) == 0;
}
