/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synthetic content: objects whose bytes are a rule and key ranges that are a formula, so that a
 * test has a million names or 300 GB without storing them. Pure functions; the store keeps the
 * ranges and merges them into its listings. Zero-padded numbers sort like their keys: that is why
 * the width must hold the largest one.
 */
#include "synth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned digits_of(uint64_t value)
{
	unsigned digits = 1;

	while (value >= 10) {
		value /= 10;
		digits++;
	}
	return digits;
}

int synth_init(struct synth *range, const char *prefix, const char *format, uint64_t count)
{
	const char *percent = strchr(format, '%');
	struct buf head = {0};
	unsigned width = 0;
	const char *end;

	if (percent == NULL || strchr(percent + 1, '%') != NULL || count == 0)
		return -EINVAL;
	end = percent + 1;
	if (*end == '0')
		width = (unsigned)strtoul(end, (char **)&end, 10);
	if (*end != 'd')
		return -EINVAL;
	if (width == 0)
		width = digits_of(count - 1);
	if (width > 18 || digits_of(count - 1) > width ||
	    strlen(prefix) + strlen(format) + width > KEY_MAX_BYTES)
		return -EINVAL;
	buf_puts(&head, prefix);
	buf_add(&head, format, (size_t)(percent - format));
	*range = (struct synth){.head = head.data,
				.tail = xstrdup(end + 1),
				.width = width,
				.count = count,
				.mtime_ms = wall_ms()};
	return 0;
}

void synth_finish(struct synth *range)
{
	if (range == NULL)
		return;
	free(range->head);
	free(range->tail);
}

size_t synth_key(const struct synth *range, uint64_t i, char out[KEY_MAX_BYTES + 1])
{
	int len = snprintf(out, KEY_MAX_BYTES + 1, "%s%0*" PRIu64 "%s", range->head,
			   (int)range->width, i, range->tail);

	return (size_t)len;
}

uint64_t synth_lower_bound(const struct synth *range, const char *key, size_t len)
{
	uint64_t low = 0, high = range->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		char name[KEY_MAX_BYTES + 1];
		size_t name_len = synth_key(range, middle, name);

		if (bytes_compare(name, name_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool synth_find(const struct synth *range, const char *key, size_t len, uint64_t *ret_i)
{
	char name[KEY_MAX_BYTES + 1];
	uint64_t i = synth_lower_bound(range, key, len);
	size_t name_len;

	if (i == range->count)
		return false;
	name_len = synth_key(range, i, name);
	*ret_i = i;
	return bytes_compare(name, name_len, key, len) == 0;
}

void synth_etag(uint64_t seed, uint64_t size, bool sparse, char out[ETAG_SIZE])
{
	char rule[80];
	int len = snprintf(rule, sizeof(rule), "s3d %s %" PRIu64 " %" PRIu64,
			   sparse ? "zero" : "words", sparse ? 0 : seed, size);

	md5_hex(rule, (size_t)len, out);
}

struct object *synth_object(const char *key, size_t key_len, uint64_t seed, uint64_t size,
			    bool sparse)
{
	struct object *object = object_create(key, key_len);

	synth_etag(seed, size, sparse, object->etag);
	object_add_slice(object, (struct slice){.kind = sparse ? SLICE_ZERO : SLICE_WORDS,
						.seed = seed,
						.length = size});
	fields_add(&object->headers, "Content-Type", "binary/octet-stream");
	return object;
}
