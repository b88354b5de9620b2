/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a cap. Not thread-safe. */
#ifndef PAILFS_BUF_H
#define PAILFS_BUF_H

#include <stddef.h>
#include <stdint.h>

#include <pailfs/cleanup.h>

struct buf {
	char *data;	 /* NUL-terminated whenever it is not NULL */
	size_t length;	 /* without the NUL */
	size_t capacity; /* allocated bytes */
	size_t cap;	 /* most bytes it may hold; 0: no cap */
};

#define BUF_INIT                                                                                   \
	{                                                                                          \
		0                                                                                  \
	}

/* Frees the memory and makes the buffer empty and usable again (the cap stays). NULL is fine. */
void buf_finish(struct buf *b);
/* Cleanup of CLEANUP(buf_finish) for a struct buf on the stack. */
static inline void buf_finishp(struct buf *b)
{
	buf_finish(b);
}
/* Empties the buffer and keeps its memory. */
void buf_clear(struct buf *b);
/* Appends len bytes. -ENOMEM, or -EMSGSIZE beyond the cap (then nothing was appended). */
int buf_append(struct buf *b, const void *data, size_t len);
/* Appends a string. */
int buf_append_str(struct buf *b, const char *text);
/* Appends formatted text. */
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Gives the data away (the caller frees it; "" when empty, NULL when out of memory). */
char *buf_take(struct buf *b);

#endif
