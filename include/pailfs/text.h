/* SPDX-License-Identifier: Apache-2.0 */
/* Text in and out: numbers with units, URL encoding, dates, hex. Pure functions. */
#ifndef PAILFS_TEXT_H
#define PAILFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * Size in bytes: digits and an optional K, M, G, T (powers of 1,024; `k`, `KiB`, `KB` too). No
 * sign, fraction or blank. -EINVAL, -ERANGE beyond UINT64_MAX.
 */
int text_parse_size(const char *text, uint64_t *ret_bytes);

/* Rate in bytes a second: as text_parse_size, but K, M, G are powers of 1,000. */
int text_parse_rate(const char *text, uint64_t *ret_bytes_per_s);

/* Duration: digits (seconds) or with ms, s, m, h, d; `forever` is UINT64_MAX. -EINVAL, -ERANGE. */
int text_parse_duration(const char *text, uint64_t *ret_ns);

/* Decimal digits only. -EINVAL, -ERANGE. */
int text_parse_u64(const char *text, uint64_t *ret_value);

/* As text_parse_u64 over the first len bytes. */
int text_parse_u64n(const char *text, size_t len, uint64_t *ret_value);

/* Octal digits only, at most 07777. -EINVAL, -ERANGE. */
int text_parse_octal(const char *text, unsigned *ret_mode);

/*
 * Writes bytes as people read them ("64 MiB", "1.5 GiB", "700 B") into dst (at least 24 bytes) and
 * returns dst.
 */
const char *text_format_size(uint64_t bytes, char *dst, size_t size);

/* The same for bytes a second, powers of 1,000 ("50 MB/s"). */
const char *text_format_rate(uint64_t bytes_per_s, char *dst, size_t size);

/*
 * Length of the RFC 3986 encoding of len bytes (unreserved A-Z a-z 0-9 - . _ ~ stay, `/` too with
 * keep_slash, the rest %XX in upper case), and the encoding itself. dst needs the length + 1.
 */
size_t text_url_encoded_length(const char *src, size_t len, bool keep_slash);
/* Writes the encoding, NUL-terminated; returns its length. */
size_t text_url_encode(const char *src, size_t len, bool keep_slash, char *dst);

/*
 * Decodes %XX in place of dst (dst may be src); plus_is_space decodes `+` too (S3's listings with
 * encoding-type=url write a blank as `+`). Returns the length, or -EINVAL for a broken escape. The
 * result may hold NUL bytes and is not NUL-terminated.
 */
long text_url_decode(const char *src, size_t len, bool plus_is_space, char *dst);

/* Lower-case hex of len bytes; dst needs 2 * len + 1. */
void text_hex(const void *src, size_t len, char *dst);

/* Parses `2015-08-30T12:36:00.000Z` (fraction optional), UTC. -EINVAL. */
int text_parse_iso8601(const char *text, struct timespec *ret_time);

/* Parses an HTTP date (IMF-fixdate, RFC 850, asctime), independent of the locale. -EINVAL. */
int text_parse_http_date(const char *text, time_t *ret_time);

/* True if text begins with prefix. */
bool text_starts_with(const char *text, const char *prefix);
/* True if text ends with suffix. */
bool text_ends_with(const char *text, const char *suffix);

/* printf into fresh memory; NULL when out of memory. The caller frees it. */
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Makes a printable copy of a key or message for a log line: control characters, quotes' backslash
 * and invalid UTF-8 as \xNN, cut at size - 1 with "...". Returns dst.
 */
const char *text_printable(const char *src, size_t len, char *dst, size_t size);

#endif
