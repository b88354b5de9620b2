/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, formatted text, printable text. Pure functions. */
#include <pailfs/text.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <pailfs/cleanup.h>

/* Reads digits at *text and steps over them. -EINVAL without any, -ERANGE when too large. */
static int take_digits(const char **text, const char *end, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *p = *text;

	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	}
	if (p == *text)
		return -EINVAL;
	*text = p;
	*ret_value = value;
	return 0;
}

int text_parse_u64n(const char *text, size_t len, uint64_t *ret_value)
{
	const char *p = text;
	uint64_t value;
	int rc = take_digits(&p, text + len, &value);

	if (rc < 0)
		return rc;
	if (p != text + len)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int text_parse_u64(const char *text, uint64_t *ret_value)
{
	return text_parse_u64n(text, strlen(text), ret_value);
}

/* Digits and an optional unit letter, each step `base` larger. */
static int parse_scaled(const char *text, unsigned base, uint64_t *ret_value)
{
	static const char letters[] = "kmgtp";
	const char *p = text, *letter;
	uint64_t value;
	int rc = take_digits(&p, text + strlen(text), &value);

	if (rc < 0)
		return rc;
	letter = *p != '\0' ? strchr(letters, *p | 0x20) : NULL;
	if (letter != NULL) {
		for (; letter >= letters; letter--)
			if (__builtin_mul_overflow(value, base, &value))
				return -ERANGE;
		p++;
		if (*p == 'i')
			p++;
	}
	if (*p == 'B' || *p == 'b')
		p++;
	if (*p != '\0')
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
	return parse_scaled(text, 1024, ret_bytes);
}

int text_parse_rate(const char *text, uint64_t *ret_bytes_per_s)
{
	return parse_scaled(text, 1000, ret_bytes_per_s);
}

int text_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {{"", NS_PER_S},	   {"ms", NS_PER_MS},	   {"s", NS_PER_S},
		     {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"d", 86400 * NS_PER_S}};
	const char *p = text;
	uint64_t value;
	size_t i;
	int rc;

	if (strcmp(text, "forever") == 0) {
		*ret_ns = UINT64_MAX;
		return 0;
	}
	rc = take_digits(&p, text + strlen(text), &value);
	if (rc < 0)
		return rc;
	for (i = 0; i < ARRAY_SIZE(units); i++)
		if (strcmp(p, units[i].unit) == 0)
			return __builtin_mul_overflow(value, units[i].ns, ret_ns) ? -ERANGE : 0;
	return -EINVAL;
}

int text_parse_octal(const char *text, unsigned *ret_mode)
{
	unsigned value = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '7'; p++) {
		value = value * 8 + (unsigned)(*p - '0');
		if (value > 07777)
			return -ERANGE;
	}
	if (p == text || *p != '\0')
		return -EINVAL;
	*ret_mode = value;
	return 0;
}

static const char *format_scaled(uint64_t value, unsigned base, const char *const *units, char *dst,
				 size_t size)
{
	double scaled = (double)value;
	unsigned step = 0;

	while (scaled >= base && units[step + 1] != NULL) {
		scaled /= base;
		step++;
	}
	if (scaled >= 100 || scaled == (double)(uint64_t)scaled)
		snprintf(dst, size, "%.0f %s", scaled, units[step]);
	else
		snprintf(dst, size, "%.1f %s", scaled, units[step]);
	return dst;
}

const char *text_format_size(uint64_t bytes, char *dst, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", NULL};

	return format_scaled(bytes, 1024, units, dst, size);
}

const char *text_format_rate(uint64_t bytes_per_s, char *dst, size_t size)
{
	static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s", NULL};

	return format_scaled(bytes_per_s, 1000, units, dst, size);
}

bool text_starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

char *text_format(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	return text;
}

/* Length of the valid UTF-8 sequence at s (at most n bytes), 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4, i;
	uint32_t code;

	if (len == 0 || len > n || s[0] > 0xf4)
		return 0;
	if (len == 1)
		return 1;
	code = s[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return len;
}

const char *text_printable(const char *src, size_t len, char *dst, size_t size)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t n = 0, i = 0;

	while (i < len) {
		size_t step = utf8_length(s + i, len - i);

		if (n + 4 + sizeof("...") > size) {
			memcpy(dst + n, "...", sizeof("..."));
			return dst;
		}
		if (step == 0 || (step == 1 && (s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\'))) {
			n += (size_t)snprintf(dst + n, size - n, "\\x%02x", s[i]);
			i++;
		} else {
			memcpy(dst + n, s + i, step);
			n += step;
			i += step;
		}
	}
	dst[n] = '\0';
	return dst;
}
