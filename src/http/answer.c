/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer's headers: collected line by line into one growing text that the transfer keeps for
 * its next request, then copied into one block of exact size that the answer owns. Pure functions;
 * header names and values are the server's and may hold any byte but NUL, CR and LF.
 */
#include "http_private.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <pailfs/text.h>

void http_header_block_clear(struct http_header_block *b)
{
	buf_clear(&b->text);
	b->count = 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Cuts blanks off both ends. */
static void trim(const char **text, size_t *len)
{
	while (*len > 0 && is_blank((*text)[0])) {
		(*text)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*text)[*len - 1]))
		(*len)--;
}

/* A line that begins with a blank goes on with the value of the line before (RFC 9112, 5.2). */
static int add_folded(struct http_header_block *b, const char *text, size_t len)
{
	int err;

	if (b->count == 0)
		return 0;
	b->text.data[b->text.length - 1] = ' '; /* was the NUL after the value */
	err = buf_append(&b->text, text, len);
	return err < 0 ? err : buf_append(&b->text, "", 1);
}

int http_header_block_add(struct http_header_block *b, const char *line, size_t len)
{
	bool folded = len > 0 && (line[0] == ' ' || line[0] == '\t');
	const char *colon, *value;
	size_t name_length, value_length, start;

	if (memchr(line, '\0', len) != NULL)
		return -EBADMSG;
	trim(&line, &len);
	if (folded)
		return add_folded(b, line, len);
	colon = memchr(line, ':', len);
	if (colon == NULL)
		return 0;
	name_length = (size_t)(colon - line);
	value = colon + 1;
	value_length = len - name_length - 1;
	trim(&line, &name_length);
	trim(&value, &value_length);
	start = b->text.length;
	if (buf_append(&b->text, line, name_length) < 0 || buf_append(&b->text, "", 1) < 0 ||
	    buf_append(&b->text, value, value_length) < 0 || buf_append(&b->text, "", 1) < 0)
		return -ENOMEM;
	for (char *p = b->text.data + start; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	b->count++;
	return 0;
}

static int64_t parse_length(const char *value)
{
	uint64_t length;

	if (value == NULL || text_parse_u64(value, &length) < 0 || length > INT64_MAX)
		return -1;
	return (int64_t)length;
}

int http_header_block_finish(struct http_header_block *b, struct http_answer *a)
{
	struct http_header *headers = malloc(b->count * sizeof(*headers) + b->text.length + 1);
	char *text;

	if (headers == NULL)
		return -ENOMEM;
	text = (char *)(headers + b->count);
	if (b->text.length > 0)
		memcpy(text, b->text.data, b->text.length);
	for (size_t i = 0; i < b->count; i++) {
		headers[i].name = text;
		text += strlen(text) + 1;
		headers[i].value = text;
		text += strlen(text) + 1;
	}
	free(a->headers);
	a->headers = headers;
	a->header_count = b->count;
	a->content_length = parse_length(http_answer_header(a, "content-length"));
	return 0;
}

const char *http_answer_header(const struct http_answer *a, const char *name)
{
	for (size_t i = 0; i < a->header_count; i++)
		if (strcmp(a->headers[i].name, name) == 0)
			return a->headers[i].value;
	return NULL;
}

void http_answer_finish(struct http_answer *a)
{
	if (a == NULL)
		return;
	free(a->headers);
	*a = (struct http_answer){.content_length = -1};
}

void http_message_finish(struct http_message *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->line_count; i++)
		free(m->lines[i]);
	free(m->lines);
	free(m->url);
	*m = (struct http_message){0};
}
