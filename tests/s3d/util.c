/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every part of the server needs: bytes that grow, lists of fields, hex, base64, dates,
 * percent-encoding, small files. Pure functions without state; any thread may call them.
 */
#include "util.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static void *must(void *p)
{
	if (p == NULL) {
		fputs("s3d: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	return must(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *xrealloc(void *p, size_t size)
{
	return must(realloc(p, size > 0 ? size : 1));
}

char *xstrdup(const char *s)
{
	return must(strdup(s));
}

char *xmemdup(const void *bytes, size_t len)
{
	char *copy = xcalloc(1, len + 1);

	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

void cleanup_free(void *variable)
{
	free(*(void **)variable);
}

static void buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap > 0 ? b->cap : 256;

	if (b->len + more + 1 <= b->cap)
		return;
	while (cap < b->len + more + 1)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	buf_reserve(b, len);
	if (len > 0)
		memcpy(b->data + b->len, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len;

	assert(format != NULL);
	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		abort();
	buf_reserve(b, (size_t)len);
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
}

void buf_json(struct buf *b, const char *bytes, size_t len)
{
	bool utf8 = utf8_valid(bytes, len);

	buf_puts(b, "\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
			buf_printf(b, "\\u%04x", c);
		else
			buf_add(b, &bytes[i], 1);
	}
	buf_puts(b, "\"");
}

void buf_finish(struct buf *b)
{
	if (b == NULL)
		return;
	free(b->data);
	*b = (struct buf){0};
}

void fields_add(struct fields *f, const char *name, const char *value)
{
	f->v = xrealloc(f->v, (f->count + 1) * sizeof(*f->v));
	f->v[f->count++] = (struct field){.name = xstrdup(name), .value = xstrdup(value)};
}

static struct field *fields_find(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcasecmp(f->v[i].name, name) == 0)
			return &f->v[i];
	return NULL;
}

void fields_set(struct fields *f, const char *name, const char *value)
{
	struct field *old = fields_find(f, name);
	char *copy;

	if (old == NULL) {
		fields_add(f, name, value);
		return;
	}
	copy = xstrdup(value);
	free(old->value);
	old->value = copy;
}

void fields_remove(struct fields *f, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++) {
		if (strcasecmp(f->v[i].name, name) != 0) {
			f->v[kept++] = f->v[i];
			continue;
		}
		free(f->v[i].name);
		free(f->v[i].value);
	}
	f->count = kept;
}

const char *fields_get(const struct fields *f, const char *name)
{
	const struct field *found = fields_find(f, name);

	return found != NULL ? found->value : NULL;
}

void fields_copy(struct fields *f, const struct fields *from)
{
	for (size_t i = 0; i < from->count; i++)
		fields_add(f, from->v[i].name, from->v[i].value);
}

void fields_finish(struct fields *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->count; i++) {
		free(f->v[i].name);
		free(f->v[i].value);
	}
	free(f->v);
	*f = (struct fields){0};
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t wall_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_REALTIME) / NS_PER_MS);
}

void hex_encode(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(const char *hex, unsigned char *out, size_t max)
{
	size_t len = strlen(hex);

	if (len % 2 != 0 || len / 2 > max)
		return -EINVAL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		out[i] = (unsigned char)(high * 16 + low);
	}
	return (int)(len / 2);
}

void base64_encode(const void *bytes, size_t len, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
}

int base64_decode(const char *text, unsigned char *out, size_t max)
{
	size_t len = strlen(text), padding = 0;
	unsigned char raw[256];
	int got;

	if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof(raw))
		return -EINVAL;
	while (padding < 2 && text[len - 1 - padding] == '=')
		padding++;
	got = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len);
	if (got < 0 || (size_t)got - padding > max)
		return -EINVAL;
	memcpy(out, raw, (size_t)got - padding);
	return got - (int)padding;
}

void random_hex(char *out, size_t bytes)
{
	unsigned char raw[32];

	if (bytes > sizeof(raw) || RAND_bytes(raw, (int)bytes) != 1)
		abort();
	hex_encode(raw, bytes, out);
}

void md5_hex(const void *bytes, size_t len, char out[33])
{
	unsigned char sum[16];

	EVP_Digest(bytes, len, sum, NULL, EVP_md5(), NULL);
	hex_encode(sum, sizeof(sum), out);
}

void sha256_hex(const void *bytes, size_t len, char out[65])
{
	unsigned char sum[32];

	EVP_Digest(bytes, len, sum, NULL, EVP_sha256(), NULL);
	hex_encode(sum, sizeof(sum), out);
}

void http_date(time_t t, char out[32])
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

time_t http_date_parse(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	return end != NULL && *end == '\0' ? timegm(&tm) : -1;
}

void iso_date(int64_t ms, char out[32])
{
	time_t t = (time_t)(ms / 1000);
	char seconds[24];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 32, "%s.%03dZ", seconds, (int)(ms % 1000));
}

int url_decode(char *text, bool plus_is_blank)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		if (*from == '%') {
			int high = hex_digit(from[1]);
			int low = high < 0 ? -1 : hex_digit(from[2]);

			if (low < 0)
				return -EINVAL;
			*to++ = (char)(high * 16 + low);
			from += 2;
		} else {
			*to++ = *from == '+' && plus_is_blank ? ' ' : *from;
		}
	}
	*to = '\0';
	return (int)(to - text);
}

static bool url_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

void url_encode(struct buf *b, const void *bytes, size_t len, bool keep_slash)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++) {
		if (url_plain(p[i]) || (keep_slash && p[i] == '/'))
			buf_add(b, &p[i], 1);
		else
			buf_printf(b, "%%%02X", p[i]);
	}
}

/* The length of the sequence that this lead byte starts, 0 for none, and its smallest second. */
static size_t utf8_sequence(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

bool utf8_valid(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;

	for (size_t i = 0; i < len;) {
		unsigned char low, high;
		size_t count = utf8_sequence(p[i], &low, &high);

		if (count == 0 || count > len - i)
			return false;
		for (size_t k = 1; k < count; k++) {
			if (p[i + k] < low || p[i + k] > high)
				return false;
			low = 0x80;
			high = 0xbf;
		}
		i += count;
	}
	return true;
}

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	size_t common = a_len < b_len ? a_len : b_len;
	int order = common > 0 ? memcmp(a, b, common) : 0;

	if (order != 0)
		return order;
	return a_len < b_len ? -1 : a_len > b_len;
}

bool parse_u64(const char *text, uint64_t *ret_value)
{
	char *end;
	uint64_t value;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*ret_value = value;
	return true;
}

int file_replace(const char *path, const void *bytes, size_t len)
{
	struct buf name = {0};
	const char *p = bytes;
	int fd, err = 0;

	buf_printf(&name, "%s.tmp", path);
	fd = open(name.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		buf_finish(&name);
		return -errno;
	}
	while (len > 0 && err == 0) {
		ssize_t put = write(fd, p, len);

		if (put < 0) {
			err = -errno;
			break;
		}
		p += put;
		len -= (size_t)put;
	}
	if (close(fd) != 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(name.data, path) != 0)
		err = -errno;
	buf_finish(&name);
	return err;
}

int file_read(const char *path, struct buf *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char chunk[16384];
	ssize_t got;

	if (fd < 0)
		return -errno;
	while ((got = read(fd, chunk, sizeof(chunk))) > 0)
		buf_add(ret, chunk, (size_t)got);
	close(fd);
	return got < 0 ? -EIO : 0;
}
