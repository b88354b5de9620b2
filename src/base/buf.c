/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a cap; always NUL-terminated behind its bytes. */
#include <pailfs/buf.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_finish(struct buf *b)
{
	if (b == NULL)
		return;
	free(b->data);
	*b = (struct buf){.cap = b->cap};
}

void buf_clear(struct buf *b)
{
	b->length = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

/* Makes room for len more bytes and the NUL. */
static int reserve(struct buf *b, size_t len)
{
	size_t need, capacity;
	char *data;

	if (len > SIZE_MAX / 4 - b->length)
		return -ENOMEM;
	need = b->length + len;
	if (b->cap != 0 && need > b->cap)
		return -EMSGSIZE;
	if (need < b->capacity)
		return 0;
	capacity = MAX((size_t)64, b->capacity);
	while (capacity <= need)
		capacity *= 2;
	data = realloc(b->data, capacity);
	if (data == NULL)
		return -ENOMEM;
	b->data = data;
	b->capacity = capacity;
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int rc = reserve(b, len);

	if (rc < 0)
		return rc;
	if (len > 0)
		memcpy(b->data + b->length, data, len);
	b->length += len;
	b->data[b->length] = '\0';
	return 0;
}

int buf_append_str(struct buf *b, const char *text)
{
	return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	int n, rc;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		return -EINVAL;
	rc = reserve(b, (size_t)n);
	if (rc < 0)
		return rc;
	va_start(args, fmt);
	vsnprintf(b->data + b->length, (size_t)n + 1, fmt, args);
	va_end(args);
	b->length += (size_t)n;
	return 0;
}

char *buf_take(struct buf *b)
{
	char *data = b->data != NULL ? b->data : strdup("");

	*b = (struct buf){.cap = b->cap};
	return data;
}
