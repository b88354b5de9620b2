/* SPDX-License-Identifier: Apache-2.0 */
#ifndef S3D_UTIL_H
#define S3D_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

/* Memory that cannot be had ends the server: a test server has nothing to save. Never NULL. */
void *xcalloc(size_t count, size_t size);
/* realloc and strdup of the same kind. */
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
/* A copy of len bytes with a NUL behind them. */
char *xmemdup(const void *bytes, size_t len);
/* For CLEANUP: frees what the variable points to. */
void cleanup_free(void *variable);

/* Bytes that grow; data is NULL while empty and NUL-terminated otherwise. Zero is a valid start. */
struct buf {
	char *data;
	size_t len, cap;
};

/* Append bytes, a string, formatted text. */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a JSON string with its quotes; bytes that are no UTF-8 become \u00XX each. */
void buf_json(struct buf *b, const char *bytes, size_t len);
/* Frees the bytes and makes the buffer empty. Takes NULL. */
void buf_finish(struct buf *b);

/* A list of names and values (headers, query parameters); names compare without case. */
struct field {
	char *name, *value;
};

struct fields {
	struct field *v;
	size_t count;
};

/* Appends copies. */
void fields_add(struct fields *f, const char *name, const char *value);
/* Appends, or replaces the value of the first of this name. */
void fields_set(struct fields *f, const char *name, const char *value);
/* Removes every field of this name. */
void fields_remove(struct fields *f, const char *name);
/* The first value of this name, borrowed, or NULL. */
const char *fields_get(const struct fields *f, const char *name);
/* Appends copies of all fields of `from`. */
void fields_copy(struct fields *f, const struct fields *from);
/* Frees everything and makes the list empty. Takes NULL. */
void fields_finish(struct fields *f);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t monotonic_ns(void);
/* CLOCK_REALTIME in milliseconds. */
int64_t wall_ms(void);

/* Lower-case hex with a NUL: 2 * len + 1 bytes of out. */
void hex_encode(const void *bytes, size_t len, char *out);
/* Decodes exactly strlen(hex)/2 bytes into out; their number or -EINVAL. */
int hex_decode(const char *hex, unsigned char *out, size_t max);
/* Base64 with a NUL; out has room for 4 * ((len + 2) / 3) + 1 bytes. */
void base64_encode(const void *bytes, size_t len, char *out);
/* Decodes base64; the number of bytes (at most max) or -EINVAL. */
int base64_decode(const char *text, unsigned char *out, size_t max);
/* 2 * bytes random hex digits and a NUL; bytes <= 32. */
void random_hex(char *out, size_t bytes);
/* MD5 and SHA-256 of some bytes as lower-case hex. */
void md5_hex(const void *bytes, size_t len, char out[33]);
void sha256_hex(const void *bytes, size_t len, char out[65]);

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
void http_date(time_t t, char out[32]);
/* Seconds since the epoch of such a date, or -1. */
time_t http_date_parse(const char *text);
/* "1994-11-06T08:49:37.000Z" */
void iso_date(int64_t ms, char out[32]);

/* Percent-decodes in place, optionally '+' as blank; the new length, or -EINVAL (bad escape). */
int url_decode(char *text, bool plus_is_blank);
/* Appends the percent-encoded form; '/' stays when keep_slash. */
void url_encode(struct buf *b, const void *bytes, size_t len, bool keep_slash);
/* Whether the bytes are well-formed UTF-8 (no surrogates, nothing overlong). */
bool utf8_valid(const char *bytes, size_t len);
/* memcmp with the shorter of two equal strings first. */
int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len);
/* A decimal number that fills the whole string; false when it is not one. */
bool parse_u64(const char *text, uint64_t *ret_value);

/* Writes the whole of a small file by way of path.tmp and rename. 0 or -errno. */
int file_replace(const char *path, const void *bytes, size_t len);
/* Reads a whole file; 0 or -errno. The caller finishes ret. */
int file_read(const char *path, struct buf *ret);

#endif
